//! An app's folder on disk, for the commands that developers run: reading, checking, hashing.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app_package::digest::{Digest, Hasher};
use app_package::fault::Fault;
use app_package::manifest::AppManifest;
use app_package::oci::{PackedFile, SOURCE_FILE};
use app_package::path::{PackagePath, is_left_out};
use app_package::validate::{self, FileEntry, MAX_FAULTS, MAX_FILES, MAX_YAML_BYTES};

use super::progress::Progress;
use super::words::Cannot as _;
use crate::base::i18n::Lang;

/// Deepest folder that is looked into; package paths have at most 8 parts.
const MAX_DEPTH: usize = 16;

/// A file of the folder.
#[derive(Debug, Clone)]
pub struct LocalFile {
    /// Path in the package.
    pub path: String,
    /// Where it lies.
    pub source: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// A folder whose app.yaml and files are without fault.
#[derive(Debug)]
pub struct Folder {
    /// What app.yaml says.
    pub manifest: AppManifest,
    /// Text of app.yaml.
    pub yaml: String,
    /// All files, by path.
    pub files: Vec<LocalFile>,
    /// Hidden and system files that were left out; of a folder its own path only.
    pub left_out: Vec<String>,
}

/// What lies in a folder.
#[derive(Default)]
struct Found {
    files: Vec<LocalFile>,
    left_out: Vec<String>,
    faults: Vec<Fault>,
}

/// Reads and checks a folder. The outer error: it cannot be read; the inner: its faults.
pub fn read(dir: &Path, lang: Lang) -> anyhow::Result<Result<Folder, Vec<Fault>>> {
    let mut found = Found::default();
    walk(dir, "", 0, lang, &mut found)?;
    let Found { mut files, mut left_out, faults } = found;
    if !faults.is_empty() {
        return Ok(Err(faults));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    left_out.sort();
    let Some(source) = files.iter().find(|file| file.path == SOURCE_FILE) else {
        return Ok(Err(vec![Fault::new("yaml-missing", "")]));
    };
    let (manifest, yaml) = match parsed(&source.source, source.size, lang)? {
        Ok(parsed) => parsed,
        Err(faults) => return Ok(Err(faults)),
    };
    let entries: Vec<FileEntry> = files.iter().map(|f| FileEntry { path: f.path.clone(), size: f.size }).collect();
    let faults = validate::check_files(&manifest, &yaml, &entries);
    Ok(if faults.is_empty() { Ok(Folder { manifest, yaml, files, left_out }) } else { Err(faults) })
}

/// Reads and checks app.yaml alone, whatever files there are beside it. As [`read`].
pub fn manifest(dir: &Path, lang: Lang) -> anyhow::Result<Result<AppManifest, Vec<Fault>>> {
    let source = dir.join(SOURCE_FILE);
    match std::fs::metadata(&source) {
        Ok(file) if file.is_file() => Ok(parsed(&source, file.len(), lang)?.map(|(manifest, _)| manifest)),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).cannot(lang, "read", &source),
        _ => Ok(Err(vec![Fault::new("yaml-missing", "")])),
    }
}

/// What app.yaml says, and its text.
fn parsed(source: &Path, size: u64, lang: Lang) -> anyhow::Result<Result<(AppManifest, String), Vec<Fault>>> {
    if size > MAX_YAML_BYTES as u64 {
        return Ok(Err(vec![Fault::new("yaml-too-large", "").with("value", size).with("max", MAX_YAML_BYTES)]));
    }
    let bytes = std::fs::read(source).cannot(lang, "read", source)?;
    let Ok(yaml) = String::from_utf8(bytes) else { return Ok(Err(vec![Fault::new("yaml-encoding", "")])) };
    Ok(validate::parse(&yaml).map(|manifest| (manifest, yaml)))
}

/// Collects files. Hidden and system files are left out, as in the browser; links are faults, since what they lead to is not in the folder.
fn walk(dir: &Path, prefix: &str, depth: usize, lang: Lang, found: &mut Found) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).cannot(lang, "read", dir)? {
        let entry = entry.cannot(lang, "read", dir)?;
        let name = match entry.file_name().into_string() {
            Ok(name) => name,
            Err(name) => {
                found.faults.push(Fault::new("path-encoding", "").with("value", name.display()));
                continue;
            }
        };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if is_left_out(&path) {
            if found.left_out.len() < MAX_FILES {
                found.left_out.push(path);
            }
            continue;
        }
        let kind = entry.file_type().cannot(lang, "read", &entry.path())?;
        if kind.is_dir() && depth >= MAX_DEPTH {
            found.faults.push(Fault::new("path-too-deep", "").with("value", &path));
        } else if kind.is_dir() {
            walk(&entry.path(), &path, depth + 1, lang, found)?;
        } else if kind.is_file() {
            // One more than a package holds is enough to say so; a whole disk need not be read.
            if found.files.len() > MAX_FILES {
                return Ok(());
            }
            let size = entry.metadata().cannot(lang, "read", &entry.path())?.len();
            found.files.push(LocalFile { path, source: entry.path(), size });
        } else {
            found.faults.push(Fault::new("file-special", "").with("value", &path));
        }
        if found.faults.len() >= MAX_FAULTS {
            return Ok(());
        }
    }
    Ok(())
}

impl Folder {
    /// Hashes every file; who sits at a terminal sees how far it is.
    pub fn pack(&self, json: bool, lang: Lang) -> anyhow::Result<Vec<PackedFile>> {
        let (mut progress, note) = (Progress::new(self.bytes(), json).briefly(), lang.t("cli-hashing"));
        let mut packed = Vec::with_capacity(self.files.len());
        for file in &self.files {
            // What `read` has checked already.
            let path = PackagePath::parse(&file.path).with_context(|| file.path.clone())?;
            let (digest, size) = hash(&file.source, lang, |sent| progress.show(&file.path, sent, file.size, &note))?;
            progress.done(&file.path, size, &note);
            packed.push(PackedFile { path, digest, size });
        }
        progress.clear();
        Ok(packed)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }
}

/// Digest and length of a file; `seen` is told how many bytes are through.
pub fn hash(path: &Path, lang: Lang, seen: impl Fn(u64)) -> anyhow::Result<(Digest, u64)> {
    let mut file = std::fs::File::open(path).cannot(lang, "read", path)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer).cannot(lang, "read", path)?;
        let Some(part) = buffer.get(..n).filter(|part| !part.is_empty()) else { return Ok((hasher.finish(), size)) };
        hasher.update(part);
        size += part.len() as u64;
        seen(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_system_files_are_left_out_and_told() {
        let dir = std::env::temp_dir().join(crate::base::ids::new("pithead-folder"));
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps/coke-quality");
        let mut own = Vec::new();
        for folder in ["", "golden", "media"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
            for entry in std::fs::read_dir(demo.join(folder)).unwrap().flatten().filter(|entry| entry.path().is_file()) {
                let name = Path::new(folder).join(entry.file_name());
                std::fs::copy(entry.path(), dir.join(&name)).unwrap();
                own.push(name.display().to_string());
            }
        }
        own.sort();
        std::fs::create_dir_all(dir.join("__MACOSX")).unwrap();
        for name in [".DS_Store", "golden/Thumbs.db", "golden/._0.csv", "Desktop.ini", "__MACOSX/train.py"] {
            std::fs::write(dir.join(name), "x").unwrap();
        }
        let folder = read(&dir, Lang::En).unwrap().unwrap();
        assert_eq!(folder.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), own);
        assert_eq!(folder.left_out, [".DS_Store", "Desktop.ini", "__MACOSX", "golden/._0.csv", "golden/Thumbs.db"]);
        // What the check looks at is the same.
        inference::content::scan(&dir).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
