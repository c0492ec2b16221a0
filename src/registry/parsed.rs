//! Manifests as bytes: what the registry takes of them, and whether they have their digest.

use std::collections::BTreeMap;

use app_package::digest::Digest;
use app_package::oci::{DOCKER_LIST_TYPE, DOCKER_MANIFEST_TYPE, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE, OciError};
use sha2::{Digest as _, Sha512};

use super::model::parse_digest;
use crate::base::error::{Error, Result};

/// Longest annotations of a manifest that are kept beside it and repeated in lists of referrers, in bytes of JSON. Longer ones are read in
/// the manifest itself.
pub(super) const MAX_ANNOTATIONS: usize = 16 * 1024;
/// Longest media type (RFC 6838: 127 characters on either side of the slash).
pub(super) const MAX_TYPE: usize = 255;
/// Most descriptors in a manifest.
const MAX_PARTS: usize = 4096;

/// The parts of a manifest that the registry uses. Descriptors are kept without their annotations, which may be most of the manifest.
#[derive(Debug)]
pub(super) struct Parsed {
    pub artifact_type: Option<String>,
    pub subject: Option<String>,
    /// JSON; none where they are longer than [`MAX_ANNOTATIONS`].
    pub annotations: Option<String>,
    /// Digest and size.
    pub blobs: Vec<(Digest, u64)>,
    pub manifests: Vec<Digest>,
}

fn read(media_type: &str, bytes: &[u8]) -> Result<Parsed> {
    let refuse = |e: OciError| match e {
        OciError::TooLarge => Error::too_large("manifest-too-large"),
        other => Error::invalid("manifest-invalid").arg("reason", other),
    };
    let kept = |annotations: Option<BTreeMap<String, String>>| -> Result<Option<String>> {
        let text = annotations.as_ref().map(serde_json::to_string).transpose()?;
        Ok(text.filter(|text| text.len() <= MAX_ANNOTATIONS))
    };
    match media_type {
        MANIFEST_TYPE | DOCKER_MANIFEST_TYPE => {
            let m = ImageManifest::parse_as(media_type, bytes).map_err(refuse)?;
            let artifact_type = Some(m.effective_artifact_type().to_owned());
            let blobs = m.layers.into_iter().filter(|layer| !is_foreign(&layer.media_type)).chain([m.config]);
            Ok(Parsed {
                artifact_type,
                subject: m.subject.map(|s| s.digest.to_string()),
                annotations: kept(m.annotations)?,
                blobs: blobs.map(|d| (d.digest, d.size)).collect(),
                manifests: Vec::new(),
            })
        }
        INDEX_TYPE | DOCKER_LIST_TYPE => {
            let i = Index::parse_as(media_type, bytes).map_err(refuse)?;
            let artifact_type = i.artifact_type.filter(|t| !t.is_empty());
            Ok(Parsed {
                artifact_type,
                subject: i.subject.map(|s| s.digest.to_string()),
                annotations: kept(i.annotations)?,
                blobs: Vec::new(),
                manifests: i.manifests.into_iter().map(|d| d.digest).collect(),
            })
        }
        other => {
            let other: String = other.chars().take(MAX_TYPE).collect();
            let taken =
                format!("media type {other:?}; {MANIFEST_TYPE}, {INDEX_TYPE}, {DOCKER_MANIFEST_TYPE} or {DOCKER_LIST_TYPE} is taken");
            Err(Error::invalid("manifest-invalid").arg("reason", taken))
        }
    }
}

/// As [`read`], for what is pushed.
pub(super) fn parse(media_type: &str, bytes: &[u8]) -> Result<Parsed> {
    let parsed = read(media_type, bytes)?;
    if parsed.artifact_type.as_ref().is_some_and(|t| t.len() > MAX_TYPE) {
        return Err(Error::invalid("manifest-invalid").arg("reason", "artifactType"));
    }
    if parsed.blobs.len() + parsed.manifests.len() > MAX_PARTS {
        return Err(Error::too_large("manifest-too-many-parts").arg("max", MAX_PARTS));
    }
    Ok(parsed)
}

/// Digests of the blobs that a stored manifest names.
pub(super) fn blobs_of(media_type: &str, content: &[u8]) -> Result<Vec<String>> {
    Ok(read(media_type, content)?.blobs.into_iter().map(|(digest, _)| digest.to_string()).collect())
}

/// Layers that are fetched from elsewhere and never pushed here (image-spec, "non-distributable layers").
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

/// Digest of bytes in an algorithm.
pub(super) fn digest_in(algorithm: &str, bytes: &[u8]) -> Result<Digest> {
    if algorithm == "sha512" { parse_digest(&format!("sha512:{}", hex::encode(Sha512::digest(bytes)))) } else { Ok(Digest::of(bytes)) }
}

/// Whether a stored manifest's bytes have its digest.
pub(super) fn is_whole(digest: &str, content: &[u8]) -> bool {
    parse_digest(digest).is_ok_and(|digest| digest_in(digest.algorithm(), content).is_ok_and(|actual| actual == digest))
}
