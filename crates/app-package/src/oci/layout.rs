//! The OCI image layout: what lies in the tar that `pithead pack` writes and an air-gapped mine carries on a stick.
//!
//! `oci-layout`, `index.json`, `blobs/<algorithm>/<hex>`. Referrers (signatures) stand in the index beside the release.

use std::collections::BTreeMap;

use super::{Descriptor, Index, OciError};
use crate::digest::Digest;

/// Name of the marker file.
pub const LAYOUT_FILE: &str = "oci-layout";
/// Name of the index.
pub const INDEX_FILE: &str = "index.json";
/// Annotation with the tag of a manifest.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The marker file's content.
pub fn layout_json() -> Vec<u8> {
    br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()
}

/// Path of a blob in the layout.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The digest whose blob lies at a path; `None` for any other file.
pub fn blob_digest(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// The index: manifests in the given order, each with its tag where it has one.
pub fn index_json(manifests: &[(Descriptor, Option<&str>)]) -> Vec<u8> {
    let manifests = manifests
        .iter()
        .map(|(descriptor, tag)| {
            let mut descriptor = descriptor.clone();
            if let Some(tag) = tag {
                descriptor.annotations.get_or_insert_with(BTreeMap::new).insert(REF_NAME.to_owned(), (*tag).to_owned());
            }
            descriptor
        })
        .collect();
    Index::of(manifests).to_bytes()
}

/// Checks the marker file and reads the index.
pub fn read(layout: &[u8], index: &[u8]) -> Result<Index, OciError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let marker: Marker = super::parse_json(layout)?;
    if marker.image_layout_version != "1.0.0" {
        return Err(OciError::WrongKind);
    }
    Index::parse(index)
}
