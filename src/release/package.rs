//! From the bytes of a pushed manifest to what the release is. Nothing that a client says beside the bytes counts.

use std::collections::HashSet;

use app_package::fault::Fault;
use app_package::manifest::AppManifest;
use app_package::oci::{ARTIFACT_TYPE, CONFIG_TYPE, Descriptor, ImageManifest, SOURCE_FILE, config_json};
use app_package::path::PackagePath;
use app_package::validate::{self, FileEntry, MAX_FILES, MAX_YAML_BYTES};

use crate::base::error::{Error, Result};
use crate::base::storage::BlobStore;
use crate::registry::service::is_foreign;

/// Longest config blob in bytes: JSON of an app.yaml takes at most a few times its length.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// A release as its bytes say.
#[derive(Debug, Clone)]
pub struct PackageContents {
    /// What app.yaml says.
    pub manifest: AppManifest,
    /// The package's files.
    pub files: Vec<(PackagePath, Descriptor)>,
    /// Bytes of manifest, config and layers.
    pub size_bytes: u64,
}

/// The files that a manifest's layers stand for.
///
/// # Errors
/// `release-malformed`; `release-path` where a layer has no legal path.
pub fn files(content: &[u8]) -> Result<(ImageManifest, Vec<(PackagePath, Descriptor)>)> {
    let image = ImageManifest::parse(content).map_err(|e| Error::invalid("release-malformed").source(e))?;
    if image.effective_artifact_type() != ARTIFACT_TYPE || image.config.media_type != CONFIG_TYPE {
        return Err(Error::invalid("release-malformed"));
    }
    // A push does not ask whether the repository holds a foreign layer, so its blob may be somebody else's.
    if image.layers.iter().any(|layer| is_foreign(&layer.media_type)) {
        return Err(Error::invalid("release-malformed"));
    }
    if image.layers.len() > MAX_FILES {
        return Err(Error::invalid("release-too-many-files").arg("max", MAX_FILES));
    }
    let bad = |layer: &Descriptor| Error::invalid("release-path").arg("digest", &layer.digest);
    let files: Vec<(PackagePath, Descriptor)> =
        image.layers.iter().map(|layer| layer.path().map(|path| (path, layer.clone())).ok_or_else(|| bad(layer))).collect::<Result<_>>()?;
    // A file that is another one's folder cannot be laid out on disk; a path twice would hide one of the two.
    let paths: HashSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let clashes = |path: &str| path.match_indices('/').any(|(at, _)| path.get(..at).is_some_and(|parent| paths.contains(parent)));
    if let Some((_, layer)) = files.iter().find(|(path, _)| clashes(path.as_str())) {
        return Err(bad(layer));
    }
    if paths.len() < files.len() {
        return Err(Error::invalid("release-path-twice"));
    }
    Ok((image, files))
}

/// Reads and checks a release: app.yaml without fault, all its files among the layers, the config blob the canonical JSON of app.yaml.
///
/// # Errors
/// Those of [`files`]; `release-no-yaml`, `release-invalid` (with the first fault), `release-config`.
pub async fn load(blobs: &BlobStore, content: &[u8]) -> Result<PackageContents> {
    let (image, files) = files(content)?;
    let source = image.layer(SOURCE_FILE).ok_or_else(|| Error::invalid("release-no-yaml"))?;
    let limit = MAX_YAML_BYTES as u64;
    if source.size > limit {
        return Err(Error::too_large("release-yaml-too-large").arg("bytes", limit));
    }
    let yaml = String::from_utf8(blobs.read_small(&source.digest, limit).await?).map_err(|_| Error::invalid("release-yaml-encoding"))?;
    let manifest = validate::parse(&yaml).map_err(|faults| refused(&faults))?;
    let entries: Vec<FileEntry> =
        files.iter().map(|(path, layer)| FileEntry { path: path.as_str().to_owned(), size: layer.size }).collect();
    let faults = validate::check_files(&manifest, &yaml, &entries);
    if !faults.is_empty() {
        return Err(refused(&faults));
    }
    let config = config_json(&manifest);
    if image.config.size > MAX_CONFIG || blobs.read_small(&image.config.digest, MAX_CONFIG).await? != config {
        return Err(Error::invalid("release-config"));
    }
    let layers: u64 = image.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
    let size_bytes = layers.saturating_add(image.config.size).saturating_add(content.len() as u64);
    Ok(PackageContents { manifest, files, size_bytes })
}

/// The faults of a package as one error, with the first in words.
fn refused(faults: &[Fault]) -> Error {
    let error = Error::invalid("release-invalid").arg("count", faults.len());
    let Some(first) = faults.first() else { return error };
    let place = |word: &str| first.line.map_or_else(String::new, |line| word.replace("{}", &line.to_string()));
    error
        .arg("zh", format!("{}{}", place("第 {} 行："), first.message("zh")))
        .arg("en", format!("{}{}", place("line {}: "), first.message("en")))
}
