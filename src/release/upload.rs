//! The browser's way to a release: check app.yaml as it is dropped, then put together what was uploaded.

use std::collections::HashMap;
use std::sync::Arc;

use app_package::digest::Digest;
use app_package::fault::Fault;
use app_package::manifest::AppManifest;
use app_package::oci::{MANIFEST_TYPE, PackedFile, SOURCE_FILE, build_manifest, config_json};
use app_package::path::PackagePath;
use app_package::validate::{self, FileEntry};
use inference::worker::RuleTrouble;
use serde::{Deserialize, Serialize};

use super::{arrival, limits, model, rules, store};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Person};
use crate::base::db::{Conn, Touched};
use crate::base::error::{Error, Result};
use crate::base::i18n::Lang;
use crate::base::i18n::error_text;
use crate::catalog;
use crate::registry;
use crate::registry::manifests::Push;
use crate::registry::model::Reference;
use crate::release::model::ReleaseState;

/// Last part of the repository that takes the files of an app before its name is known. No app has this name: app names hold no dot.
pub const INBOX: &str = "new.app";

/// A file of the folder.
#[derive(Debug, Clone, Deserialize)]
pub struct UploadFile {
    /// Path in the package.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Digest; only needed by [`finish_upload`].
    #[serde(default)]
    pub digest: String,
}

/// What the browser sends.
#[derive(Debug, Clone, Deserialize)]
pub struct Upload {
    /// Text of app.yaml.
    pub yaml: String,
    /// All files of the folder.
    pub files: Vec<UploadFile>,
}

/// A fault for `js/upload.js`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UploadFault {
    /// 1-based line of app.yaml.
    pub line: Option<u32>,
    /// Place in app.yaml, or a file's path.
    pub key: String,
    /// Stable word.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: Message,
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    pub zh: String,
    pub en: String,
}

impl From<Fault> for UploadFault {
    fn from(fault: Fault) -> Self {
        let message = Message { zh: fault.message("zh"), en: fault.message("en") };
        Self { line: fault.line, key: fault.key, code: fault.code, message }
    }
}

impl UploadFault {
    /// A fault that only the platform knows of, at a top-level key of app.yaml.
    fn at(yaml: &str, key: &str, error: &Error) -> Self {
        let text = |lang| error_text(lang, error.code, &error.args);
        let prefix = format!("{key}:");
        let line = yaml.lines().position(|line| line.starts_with(&prefix)).and_then(|at| u32::try_from(at + 1).ok());
        Self { line, key: key.to_owned(), code: error.code, message: Message { zh: text(Lang::Zh), en: text(Lang::En) } }
    }

    /// A fault of a rule or of what a procedure asks, at its line.
    fn of_rule(yaml: &str, trouble: RuleTrouble) -> Self {
        let code = if trouble.code == "alarm-rule-too-complex" { "alarm-rule-too-complex" } else { "alarm-rule-invalid" };
        let error = Error::invalid(code).arg("detail", trouble.message);
        // The child's words are a stranger's.
        let line = validate::line_of(yaml, &trouble.key);
        Self { line, ..Self::at("", &trouble.key, &error) }
    }
}

/// The release that the folder would become.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub name: String,
    pub version: String,
    pub title: app_package::text::Text,
    pub files: usize,
    pub bytes: u64,
}

/// Result of a check: no faults, or some.
#[derive(Debug, Serialize)]
pub struct UploadReport {
    /// What is wrong; empty where all is right.
    pub faults: Vec<UploadFault>,
    /// The release as app.yaml describes it, where that could be read.
    pub summary: Option<Summary>,
}

/// Checks a folder before its files are sent. `only` is the app whose page is open, if any.
pub async fn check_upload(app: &App, actor: &Actor, upload: Upload, only: Option<String>) -> Result<UploadReport> {
    let person = policy::require(actor, Action::PublishApps)?.clone();
    let manifest = match read(&upload) {
        Ok(manifest) => manifest,
        Err(faults) => return Ok(UploadReport { faults, summary: None }),
    };
    let summary = Summary {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        title: manifest.title.clone(),
        files: upload.files.len(),
        bytes: upload.files.iter().map(|f| f.size).fold(0, u64::saturating_add),
    };
    let rules = rules::troubles(app, &person.organization_id, &manifest, &upload.yaml).await?;
    let (settings, now) = (app.settings.checks.clone(), app.clock.now());
    let faults = app
        .db
        .read(move |conn| {
            let mut faults = platform_faults(conn, &upload.yaml, &manifest, only.as_deref())?;
            faults.extend(rules.into_iter().map(|trouble| UploadFault::of_rule(&upload.yaml, trouble)));
            let version = manifest.version.to_string();
            if store::find_own_version(conn, &person.organization_id, &manifest.name, &version)?.is_some_and(|(_, state)| is_used(state)) {
                faults.push(UploadFault::at(&upload.yaml, "version", &taken(&version)));
            } else if let Some(e) = limits::refusal(conn, &person.organization_id, &settings, now)? {
                // Said before the files are sent, not after.
                faults.push(UploadFault::at(&upload.yaml, "version", &e));
            }
            Ok(faults)
        })
        .await?;
    Ok(UploadReport { faults, summary: Some(summary) })
}

/// Puts a release together from uploaded files; gives the address of its page, or the faults. A repeated call gives the same.
///
/// # Errors
/// `upload-blob-missing`, `upload-size`, `digest-invalid`, and those of [`arrival::push`]; none leaves more than links that are
/// collected, and the repository of the app.
pub async fn finish_upload(
    app: &App,
    actor: &Actor,
    upload: Upload,
    only: Option<String>,
) -> Result<std::result::Result<String, Vec<UploadFault>>> {
    let person = policy::require(actor, Action::PublishApps)?.clone();
    let manifest = match read(&upload) {
        Ok(manifest) => manifest,
        Err(faults) => return Ok(Err(faults)),
    };
    let packed = packed(&upload)?;
    let digest = Digest::of(&build_manifest(&manifest, &person.organization_slug, &packed));
    let name = format!("{}/{}", person.organization_slug, manifest.name);
    let version = manifest.version.to_string();
    let address = model::address(&manifest.name, &version);

    let (who, wanted, yaml, known, settings, now) =
        (person.clone(), manifest.clone(), upload.yaml.clone(), digest, app.settings.checks.clone(), app.clock.now());
    let faults = app.db.read(move |conn| {
        let mut faults = platform_faults(conn, &yaml, &wanted, only.as_deref())?;
        let version = wanted.version.to_string();
        match store::find_own_version(conn, &who.organization_id, &wanted.name, &version)? {
            Some((old, state)) if is_used(state) => {
                if old != known.as_str() {
                    faults.push(UploadFault::at(&yaml, "version", &taken(&version)));
                }
            }
            // A check will be asked for.
            _ => {
                if let Some(e) = limits::refusal(conn, &who.organization_id, &settings, now)? {
                    return Err(e);
                }
            }
        }
        Ok(faults)
    });
    let faults = faults.await?;
    if !faults.is_empty() {
        return Ok(Err(faults));
    }
    let bytes = build_manifest(&manifest, &person.organization_slug, &packed);
    let small = [upload.yaml.into_bytes(), config_json(&manifest)];
    // Before anything is stored: what is refused leaves nothing.
    let more = (small.iter().map(Vec::len).sum::<usize>() + bytes.len()) as u64;
    registry::quota::require(app, &person.organization_id, more).await?;
    app.room.require(more.saturating_mul(2))?;
    let (who, files, blobs) = (person.clone(), packed, small.clone().map(|bytes| (Digest::of(&bytes), bytes.len() as u64)));
    let touched = Touched::Only([person.organization_id.clone()].into());
    let linked = app.db.write_touching(touched, move |conn| {
        let repository = registry::service::ensure_repository(conn, &who.organization_id, &name, now)?;
        link(conn, &who, &repository.id, &files, now)?;
        for (digest, size) in &blobs {
            registry::service::link_blob_in(conn, &repository.id, digest, *size, now)?;
        }
        Ok(repository)
    });
    let repository = linked.await?;
    // Linked, they count for the organisation and are not collected; so they are stored outside of the transaction.
    for bytes in small {
        app.blobs.put(&Digest::of(&bytes), bytes).await?;
    }
    let push = Push::read(Reference::Tag(version), Vec::new(), MANIFEST_TYPE, bytes.into())?;
    arrival::push(app, actor, repository, Arc::new(push)).await?;
    Ok(Ok(address))
}

/// Whether a version in this state has its bytes for good, or may still get them so.
fn is_used(state: ReleaseState) -> bool {
    state != ReleaseState::Failed
}

fn taken(version: &str) -> Error {
    Error::conflict("release-version-taken").arg("version", version)
}

/// Reads app.yaml and checks the list of files against it.
fn read(upload: &Upload) -> std::result::Result<AppManifest, Vec<UploadFault>> {
    let told = |faults: Vec<Fault>| faults.into_iter().map(UploadFault::from).collect::<Vec<_>>();
    let manifest = validate::parse(&upload.yaml).map_err(told)?;
    let entries: Vec<FileEntry> = upload.files.iter().map(|f| FileEntry { path: f.path.clone(), size: f.size }).collect();
    let faults = validate::check_files(&manifest, &upload.yaml, &entries);
    if faults.is_empty() { Ok(manifest) } else { Err(told(faults)) }
}

/// Faults that need the database or the page: the taxonomy, and the app whose page is open.
fn platform_faults(conn: &mut Conn, yaml: &str, manifest: &AppManifest, only: Option<&str>) -> Result<Vec<UploadFault>> {
    let mut faults = Vec::new();
    if let Some(only) = only.filter(|only| *only != manifest.name) {
        let error = Error::invalid("upload-other-app").arg("expected", only).arg("found", &manifest.name);
        faults.push(UploadFault::at(yaml, "name", &error));
    }
    if let Some((key, error)) = catalog::service::classification_fault(conn, &manifest.specialty, &manifest.scenario)? {
        faults.push(UploadFault::at(yaml, key, &error));
    }
    Ok(faults)
}

/// The files as layers; app.yaml is the text that was checked, whatever the list says of it.
fn packed(upload: &Upload) -> Result<Vec<PackedFile>> {
    let path = |text: &str| PackagePath::parse(text).map_err(|e| Error::invalid("digest-invalid").source(e));
    let mut packed =
        vec![PackedFile { path: path(SOURCE_FILE)?, digest: Digest::of(upload.yaml.as_bytes()), size: upload.yaml.len() as u64 }];
    for file in upload.files.iter().filter(|f| f.path != SOURCE_FILE) {
        let digest = Digest::parse(&file.digest).map_err(|e| Error::invalid("digest-invalid").source(e))?;
        packed.push(PackedFile { path: path(&file.path)?, digest, size: file.size });
    }
    Ok(packed)
}

/// Links the files' blobs into the app's repository; they must lie in some repository of the vendor already.
fn link(conn: &mut Conn, person: &Person, repository_id: &str, files: &[PackedFile], now: crate::base::db::Timestamp) -> Result<()> {
    let files: HashMap<&str, &PackedFile> =
        files.iter().filter(|f| f.path.as_str() != SOURCE_FILE).map(|f| (f.digest.as_str(), f)).collect();
    let digests: Vec<&str> = files.keys().copied().collect();
    registry::service::touch_blobs_in(conn, &digests, now)?;
    let sizes = registry::service::sizes_in_organization(conn, &person.organization_id, &digests)?;
    for (digest, file) in files {
        let size = sizes.get(digest).ok_or_else(|| Error::invalid("upload-blob-missing").arg("path", file.path.as_str()))?;
        if u64::try_from(*size) != Ok(file.size) {
            return Err(Error::invalid("upload-size").arg("path", file.path.as_str()));
        }
        registry::service::link_blob_in(conn, repository_id, &file.digest, file.size, now)?;
    }
    Ok(())
}
