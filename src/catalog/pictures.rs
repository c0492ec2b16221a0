//! Pictures of a release: digests and descriptions, from its OCI manifest.

use app_package::manifest::AppManifest;
use app_package::oci::ImageManifest;
use app_package::text::Text;
use diesel::prelude::*;

use crate::base::db::Conn;
use crate::base::error::Result;

/// Digests and descriptions of a release's pictures, from its OCI manifest.
pub fn gallery(conn: &mut Conn, repository: &str, digest: &str, manifest: &AppManifest) -> Result<Vec<(String, Text)>> {
    use crate::base::db::schema::{manifests, repositories};
    let content: Option<Vec<u8>> = manifests::table
        .inner_join(repositories::table.on(repositories::id.eq(manifests::repository_id)))
        .filter(repositories::name.eq(repository).and(manifests::digest.eq(digest)))
        .select(manifests::content)
        .first(conn)
        .optional()?;
    Ok(content.map(|content| pictures(&content, manifest)).unwrap_or_default())
}

pub fn pictures(content: &[u8], manifest: &AppManifest) -> Vec<(String, Text)> {
    let Ok(image) = ImageManifest::parse(content) else { return Vec::new() };
    let digest_of = |file: &str| image.layer(file).map(|layer| layer.digest.to_string());
    manifest.media.iter().filter_map(|m| Some((digest_of(&m.file)?, m.alt.clone()))).collect()
}
