//! OCI image manifests and indexes (image-spec v1.1): reading what was pushed, building ours, the image layout.
//!
//! Building is deterministic: the same app.yaml and files give the same bytes, hence the same digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::manifest::AppManifest;
use crate::path::{PackagePath, extension};

pub mod layout;

/// Artifact type of an app release.
pub const ARTIFACT_TYPE: &str = "application/vnd.pithead.app.v1+json";
/// Media type of the config blob, the canonical JSON of app.yaml.
pub const CONFIG_TYPE: &str = "application/vnd.pithead.app.config.v1+json";
/// Artifact type of the platform's signature of a release: nobody else can push one.
pub const SIGNATURE_TYPE: &str = "application/vnd.pithead.signature.v1+json";
/// Artifact type of a vendor's signature of a release. Those from before it was a type of its own have [`SIGNATURE_TYPE`].
pub const VENDOR_SIGNATURE_TYPE: &str = "application/vnd.pithead.vendor-signature.v1+json";
/// Media type of a DSSE envelope.
pub const DSSE_TYPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Media type of an OCI image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of Docker's manifest, schema 2: of the shape of an image manifest.
pub const DOCKER_MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's list of manifests: of the shape of an image index.
pub const DOCKER_LIST_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The empty descriptor's media type.
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The empty descriptor's bytes.
pub const EMPTY_BYTES: &[u8] = b"{}";
/// Media type of ONNX weights.
pub const WEIGHT_TYPE: &str = "application/vnd.cncf.model.weight.v1.raw";
/// Media type of labels and configuration beside the weights.
pub const WEIGHT_CONFIG_TYPE: &str = "application/vnd.cncf.model.weight.config.v1.raw";
/// Media type of documents.
pub const DOC_TYPE: &str = "application/vnd.cncf.model.doc.v1.raw";
/// Annotation with a layer's path in the package.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Name of the developer's own description among the files.
pub const SOURCE_FILE: &str = "app.yaml";
/// Longest manifest that is read (distribution-spec: registries should take at least 4 MiB).
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// A content descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Bytes of the content.
    pub size: u64,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Artifact type of a referred manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            annotations: None,
            artifact_type: None,
        }
    }

    /// The path in the package that a layer's title annotation gives, when it is a legal one.
    pub fn path(&self) -> Option<PackagePath> {
        self.annotations.as_ref()?.get(TITLE).and_then(|title| PackagePath::parse(title).ok())
    }
}

/// An image manifest. Reading is tolerant: what we do not know is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`MANIFEST_TYPE`], may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What the artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Config blob.
    pub config: Descriptor,
    /// Layers in order.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// The manifest this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// An image index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`INDEX_TYPE`], may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What the artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Manifests.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// The manifest this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Bytes are not a manifest or index that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// More than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest is larger than 4 MiB")]
    TooLarge,
    /// Not JSON of the expected shape; says where.
    #[error("not an OCI manifest: {0}")]
    Malformed(String),
    /// `schemaVersion` is not 2, or `mediaType` contradicts.
    #[error("schemaVersion must be 2 and mediaType must fit")]
    WrongKind,
}

impl OciError {
    /// Stable error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "manifest-too-large",
            Self::Malformed(_) => "manifest-malformed",
            Self::WrongKind => "manifest-wrong-kind",
        }
    }
}

fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, OciError> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(OciError::TooLarge);
    }
    serde_json::from_slice(bytes).map_err(|error| OciError::Malformed(error.to_string().chars().take(200).collect()))
}

impl ImageManifest {
    /// Reads a pushed manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, OciError> {
        Self::parse_as(MANIFEST_TYPE, bytes)
    }

    /// Reads a pushed manifest of another media type with the same shape.
    pub fn parse_as(media_type: &str, bytes: &[u8]) -> Result<Self, OciError> {
        let manifest: Self = parse_json(bytes)?;
        let fits = manifest.media_type.as_deref().is_none_or(|t| t == media_type);
        if manifest.schema_version == 2 && fits { Ok(manifest) } else { Err(OciError::WrongKind) }
    }

    /// The artifact type as the referrers API gives it: `artifactType`, else the config's media type.
    pub fn effective_artifact_type(&self) -> &str {
        self.artifact_type.as_deref().filter(|t| !t.is_empty()).unwrap_or(&self.config.media_type)
    }

    /// The layer whose title is this path.
    pub fn layer(&self, path: &str) -> Option<&Descriptor> {
        self.layers.iter().find(|layer| layer.annotations.as_ref().and_then(|a| a.get(TITLE)).is_some_and(|title| title == path))
    }

    /// The bytes of this manifest as we write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Index {
    /// Reads a pushed index.
    pub fn parse(bytes: &[u8]) -> Result<Self, OciError> {
        Self::parse_as(INDEX_TYPE, bytes)
    }

    /// Reads a pushed index of another media type with the same shape.
    pub fn parse_as(media_type: &str, bytes: &[u8]) -> Result<Self, OciError> {
        let index: Self = parse_json(bytes)?;
        let fits = index.media_type.as_deref().is_none_or(|t| t == media_type);
        if index.schema_version == 2 && fits { Ok(index) } else { Err(OciError::WrongKind) }
    }

    /// An index of these manifests (also the answer of the referrers API).
    pub fn of(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(INDEX_TYPE.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: None,
        }
    }

    /// The bytes of this index as we write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A file of a package after it was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFile {
    /// Path in the package.
    pub path: PackagePath,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// The media type of a file, by its role in the app and then by its extension.
pub fn media_type_for(path: &str, app: &AppManifest) -> &'static str {
    if app.models.iter().any(|model| model.file == path) {
        return WEIGHT_TYPE;
    }
    match extension(path).as_str() {
        "onnx" | "data" | "bin" | "pb" | "onnx_data" => WEIGHT_TYPE,
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "csv" => "text/csv",
        "md" | "pdf" | "html" => DOC_TYPE,
        "json" if app.golden.iter().any(|golden| golden.expect == path || golden.input == path) => "application/json",
        "yaml" | "yml" | "json" | "txt" | "names" | "toml" => WEIGHT_CONFIG_TYPE,
        _ if path.rsplit('/').next().is_some_and(|name| matches!(name, "LICENSE" | "README" | "NOTICE")) => DOC_TYPE,
        _ => "application/octet-stream",
    }
}

/// The config blob: JSON of the manifest with its fields in the order of the types, absent options left out, no white space.
pub fn config_json(app: &AppManifest) -> Vec<u8> {
    serde_json::to_vec(app).unwrap_or_default()
}

/// The image manifest of a release. `files` should hold [`SOURCE_FILE`] too, so that the source is kept.
pub fn build_manifest(app: &AppManifest, vendor_slug: &str, files: &[PackedFile]) -> Vec<u8> {
    let mut sorted: Vec<&PackedFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    sorted.dedup_by(|a, b| a.path == b.path);
    let layers = sorted
        .into_iter()
        .map(|file| Descriptor {
            media_type: media_type_for(file.path.as_str(), app).to_owned(),
            digest: file.digest.clone(),
            size: file.size,
            annotations: Some([(TITLE.to_owned(), file.path.as_str().to_owned())].into()),
            artifact_type: None,
        })
        .collect();
    let annotations = [
        (TITLE.to_owned(), app.title.get("en").to_owned()),
        ("org.opencontainers.image.version".to_owned(), app.version.to_string()),
        ("org.opencontainers.image.vendor".to_owned(), vendor_slug.to_owned()),
        ("org.opencontainers.image.licenses".to_owned(), app.license.clone()),
    ];
    ImageManifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        artifact_type: Some(ARTIFACT_TYPE.to_owned()),
        config: Descriptor::of(CONFIG_TYPE, &config_json(app)),
        layers,
        subject: None,
        annotations: Some(annotations.into()),
    }
    .to_bytes()
}

/// The manifest that attaches a DSSE envelope to a release as a referrer of a type.
pub fn signature_manifest(artifact_type: &str, subject: &Descriptor, envelope: &[u8]) -> Vec<u8> {
    // Only the three members that identify the subject: annotations of the release are not repeated.
    let subject = Descriptor {
        media_type: subject.media_type.clone(),
        digest: subject.digest.clone(),
        size: subject.size,
        annotations: None,
        artifact_type: None,
    };
    ImageManifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        artifact_type: Some(artifact_type.to_owned()),
        config: Descriptor::of(EMPTY_TYPE, EMPTY_BYTES),
        layers: vec![Descriptor::of(DSSE_TYPE, envelope)],
        subject: Some(subject),
        annotations: None,
    }
    .to_bytes()
}

#[cfg(test)]
mod tests;
