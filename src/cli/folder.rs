//! An app's folder on disk, for the commands that developers run: reading, checking, hashing.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app_package::digest::{Digest, Hasher};
use app_package::fault::Fault;
use app_package::manifest::AppManifest;
use app_package::oci::{PackedFile, SOURCE_FILE};
use app_package::path::PackagePath;
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
}

/// Reads and checks a folder. The outer error: it cannot be read; the inner: its faults.
pub fn read(dir: &Path, lang: Lang) -> anyhow::Result<Result<Folder, Vec<Fault>>> {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    walk(dir, "", 0, lang, &mut files, &mut faults)?;
    if !faults.is_empty() {
        return Ok(Err(faults));
    }
    files.sort_by(|a: &LocalFile, b| a.path.cmp(&b.path));
    let Some(source) = files.iter().find(|file| file.path == SOURCE_FILE) else {
        return Ok(Err(vec![Fault::new("yaml-missing", "")]));
    };
    if source.size > MAX_YAML_BYTES as u64 {
        return Ok(Err(vec![Fault::new("yaml-too-large", "").with("value", source.size).with("max", MAX_YAML_BYTES)]));
    }
    let bytes = std::fs::read(&source.source).cannot(lang, "read", &source.source)?;
    let Ok(yaml) = String::from_utf8(bytes) else { return Ok(Err(vec![Fault::new("yaml-encoding", "")])) };
    let manifest = match validate::parse(&yaml) {
        Ok(manifest) => manifest,
        Err(faults) => return Ok(Err(faults)),
    };
    let entries: Vec<FileEntry> = files.iter().map(|f| FileEntry { path: f.path.clone(), size: f.size }).collect();
    let faults = validate::check_files(&manifest, &yaml, &entries);
    Ok(if faults.is_empty() { Ok(Folder { manifest, yaml, files }) } else { Err(faults) })
}

/// Collects files. Hidden ones are left out, as in the browser; links are faults, since what they lead to is not in the folder.
fn walk(dir: &Path, prefix: &str, depth: usize, lang: Lang, out: &mut Vec<LocalFile>, faults: &mut Vec<Fault>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).cannot(lang, "read", dir)? {
        let entry = entry.cannot(lang, "read", dir)?;
        let name = match entry.file_name().into_string() {
            Ok(name) => name,
            Err(name) => {
                faults.push(Fault::new("path-encoding", "").with("value", name.display()));
                continue;
            }
        };
        if name.starts_with('.') || matches!(name.as_str(), "__MACOSX" | "Thumbs.db" | "desktop.ini") {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().cannot(lang, "read", &entry.path())?;
        if kind.is_dir() && depth >= MAX_DEPTH {
            faults.push(Fault::new("path-too-deep", "").with("value", &path));
        } else if kind.is_dir() {
            walk(&entry.path(), &path, depth + 1, lang, out, faults)?;
        } else if kind.is_file() {
            // One more than a package holds is enough to say so; a whole disk need not be read.
            if out.len() > MAX_FILES {
                return Ok(());
            }
            out.push(LocalFile { path, source: entry.path(), size: entry.metadata().cannot(lang, "read", &entry.path())?.len() });
        } else {
            faults.push(Fault::new("file-special", "").with("value", &path));
        }
        if faults.len() >= MAX_FAULTS {
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
