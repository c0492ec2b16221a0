//! `pithead pull`: a release's files into a folder. Each is checked against its digest while it comes; the folder appears when all are
//! there, or not at all. What has come before a break lies beside it in `<folder>.part` and is used the next time.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app_package::digest::{Digest, Hasher};
use app_package::oci::Descriptor;
use app_package::path::PackagePath;
use clap::Args;
use reqwest::header::CONTENT_RANGE;
use reqwest::{StatusCode, Url};
use serde_json::json;

use super::client::{self, Credentials, Lost, Refused, Remote};
use super::folder::hash;
use super::package::{self, Output};
use super::progress::Progress;
use super::reference::Reference;
use super::words::{Cannot as _, shown};
use crate::base::i18n::Lang;
use crate::base::i18n::error_text;
use crate::release::package::files;

/// `pithead pull REF -o DIR`.
#[derive(Debug, Args)]
pub struct Pull {
    /// The release: `[https://host/]vendor/app:version`, or `@digest` instead of `:version`.
    pub reference: String,
    /// Folder to make; must not be there, or be empty.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Address of the site, where the reference does not name it.
    #[arg(long)]
    pub server: Option<Url>,
    /// Token with the scope `pull` or `publish`.
    #[command(flatten)]
    pub credentials: Credentials,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// Pulls a release.
pub fn pull(args: &Pull) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let reference = Reference::parse(&args.reference, args.server.as_ref(), lang)?;
    let place = Place::of(&args.output, lang)?;
    let remote = Remote::new(reference.server.clone(), args.credentials.read(lang)?, lang)?;
    let repository = reference.repository();
    let result = client::block_on(async {
        let (bytes, digest) = remote.manifest(&repository, reference.wanted()).await?;
        let (_, files) = files(&bytes).map_err(|e| Refused(error_text(lang, e.code, &e.args)))?;
        anyhow::ensure!(files.iter().all(|(_, layer)| layer.digest.algorithm() == "sha256"), lang.t("cli-digest-kind"));
        let total: u64 = files.iter().map(|(_, layer)| layer.size).fold(0, u64::saturating_add);
        place.prepare(lang)?;
        let mut progress = Progress::new(total, args.told.json);
        for (path, layer) in &files {
            place.fetch(&remote, &repository, path, layer, &mut progress).await?;
        }
        place.lay(&files, lang)?;
        progress.end(lang);
        if args.told.json {
            let (output, n) = (&args.output, files.len());
            package::print(&json!({"ok": true, "output": output, "digest": digest, "files": n, "bytes": total}));
        } else {
            let n = lang.format("cli-files", &[("n", &files.len().to_string())]);
            print_line!("{}\n{repository}, {n}, {digest}", args.output.display());
        }
        Ok(ExitCode::SUCCESS)
    });
    client::conclude(result, &args.told)
}

/// Where a release goes: the folder, and the one beside it that holds what has come.
#[derive(Debug)]
struct Place {
    target: PathBuf,
    stage: PathBuf,
}

impl Place {
    /// Checks that the folder can be made.
    fn of(target: &Path, lang: Lang) -> anyhow::Result<Self> {
        let taken = || anyhow::anyhow!(lang.format("cli-output-taken", &[("path", &shown(target))]));
        // The name of a folder to come, not `.`, `..` or `/`.
        let name = target.file_name().ok_or_else(taken)?;
        match std::fs::symlink_metadata(target) {
            Ok(there) if there.is_dir() => {
                anyhow::ensure!(std::fs::read_dir(target).cannot(lang, "read", target)?.next().is_none(), taken());
            }
            Ok(_) => return Err(taken()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).cannot(lang, "read", target),
        }
        let mut stage = name.to_owned();
        stage.push(".part");
        Ok(Self { target: target.to_owned(), stage: target.with_file_name(stage) })
    }

    /// Makes the folder for what comes, or goes on with the one that is there.
    fn prepare(&self, lang: Lang) -> anyhow::Result<()> {
        match std::fs::symlink_metadata(&self.stage) {
            Ok(there) if there.is_dir() => Ok(()),
            Ok(_) => anyhow::bail!(lang.format("cli-output-taken", &[("path", &shown(&self.stage))])),
            Err(_) => std::fs::DirBuilder::new().mode(0o700).create(&self.stage).cannot(lang, "write", &self.stage),
        }
    }

    fn whole(&self, digest: &Digest) -> PathBuf {
        self.stage.join(digest.hex())
    }

    /// Fetches a blob, unless it has come already.
    async fn fetch(
        &self,
        remote: &Remote,
        repository: &str,
        path: &PackagePath,
        layer: &Descriptor,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let whole = self.whole(&layer.digest);
        if is_file(&whole) {
            let (found, size) = hash(&whole, remote.lang, |_| {})?;
            if found == layer.digest && size == layer.size {
                progress.done(path.as_str(), layer.size, &remote.lang.t("cli-already-there"));
                return Ok(());
            }
        }
        remove(&whole, remote.lang)?;
        let part = whole.with_extension("part");
        let mut failures = 0;
        loop {
            match receive(remote, repository, path, layer, &part, progress, &mut failures).await {
                Ok(()) => break,
                Err(e) => remote.wait(&mut failures, e).await?,
            }
        }
        std::fs::rename(&part, &whole).cannot(remote.lang, "write", &whole)?;
        progress.done(path.as_str(), layer.size, "");
        Ok(())
    }

    /// Lays all files out and gives the folder its name.
    fn lay(&self, files: &[(PackagePath, Descriptor)], lang: Lang) -> anyhow::Result<()> {
        let tree = self.stage.join("tree");
        match std::fs::remove_dir_all(&tree) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).cannot(lang, "write", &tree),
            _ => {}
        }
        std::fs::create_dir(&tree).cannot(lang, "write", &tree)?;
        let mut uses: HashMap<&Digest, usize> = HashMap::new();
        for (_, layer) in files {
            *uses.entry(&layer.digest).or_default() += 1;
        }
        for (path, layer) in files {
            // Stays inside: a package path has no `..`, is relative, and no two of a release clash.
            let to = tree.join(path.as_str());
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder).cannot(lang, "write", folder)?;
            }
            let left = uses.entry(&layer.digest).or_default();
            *left = left.saturating_sub(1);
            let from = self.whole(&layer.digest);
            let laid = if *left == 0 { std::fs::rename(&from, &to) } else { std::fs::copy(&from, &to).map(|_| ()) };
            laid.cannot(lang, "write", &to)?;
        }
        std::fs::rename(&tree, &self.target).cannot(lang, "write", &self.target)?;
        // Blobs of another version may be left in it.
        std::fs::remove_dir_all(&self.stage).cannot(lang, "write", &self.stage)
    }
}

/// Whether a file lies there that is no link.
fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|there| there.is_file())
}

/// Removes a file, if there is one.
fn remove(path: &Path, lang: Lang) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).cannot(lang, "write", path),
        _ => Ok(()),
    }
}

/// Opens what has come of a blob; gives it with its hash so far, at its end.
fn resume(part: &Path, size: u64, lang: Lang) -> anyhow::Result<(File, Hasher, u64)> {
    if !is_file(part) {
        remove(part, lang)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part).cannot(lang, "write", part)?;
    let (mut hasher, mut from, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer).cannot(lang, "read", part)?;
        let Some(piece) = buffer.get(..n).filter(|piece| !piece.is_empty()) else { break };
        hasher.update(piece);
        from += piece.len() as u64;
    }
    if from > size {
        restart(&mut file).cannot(lang, "write", part)?;
        (hasher, from) = (Hasher::new(), 0);
    }
    Ok((file, hasher, from))
}

fn restart(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0)).map(|_| ())
}

/// One go at a blob, from where the last one ended. Bytes that do not have their digest are removed.
async fn receive(
    remote: &Remote,
    repository: &str,
    path: &PackagePath,
    layer: &Descriptor,
    part: &Path,
    progress: &Progress,
    failures: &mut u32,
) -> anyhow::Result<()> {
    let (lang, size) = (remote.lang, layer.size);
    let (mut file, mut hasher, mut from) = resume(part, size, lang)?;
    if from < size || size == 0 {
        let mut response = remote.download(repository, &layer.digest, from).await?;
        let begins = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).map(|v| v.starts_with(&format!("bytes {from}-")));
        if response.status() == StatusCode::PARTIAL_CONTENT {
            anyhow::ensure!(begins == Some(true), Lost::new(lang.t("cli-out-of-step")));
        } else if from > 0 {
            restart(&mut file).cannot(lang, "write", part)?;
            (hasher, from) = (Hasher::new(), 0);
        }
        while let Some(piece) = remote.piece(&mut response).await? {
            if from + piece.len() as u64 > size {
                remove(part, lang)?;
                return Err(remote.unfit(layer.digest.as_str()));
            }
            file.write_all(&piece).cannot(lang, "write", part)?;
            hasher.update(&piece);
            from += piece.len() as u64;
            // What came through counts as a fresh start.
            *failures = 0;
            progress.show(path.as_str(), from, size, "");
        }
        anyhow::ensure!(from == size, Lost::new(lang.t("cli-lost-short")));
    }
    if hasher.finish() != layer.digest {
        remove(part, lang)?;
        return Err(remote.unfit(layer.digest.as_str()));
    }
    file.sync_all().cannot(lang, "write", part)
}
