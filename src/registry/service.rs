//! What other slices and the protocol use of the registry. Callers check permissions.

use app_package::oci::{SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE};
use serde_json::json;

pub use super::blobs::{link_blob_in, pin_blob_in, publish, store_blob_in, store_blob_small, touch_blobs_in};
pub use super::manifests::{find_manifest, published_in, put_manifest_in};
pub use super::model::Artifact;
use super::model::{Repository, RepositoryName, Visibility};
pub use super::parsed::is_foreign;
use super::store;
pub use super::store::{artifacts, referrers_of, repository_lines, sizes_in_organization, visibility};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
pub use crate::base::db::dialect::tags_of;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Result};
use crate::base::ids;

/// Longest manifest of a signature in bytes: one config and a few layers.
const MAX_SIGNATURE_MANIFEST: i64 = 16 * 1024;
/// Repositories of one organisation.
const MAX_REPOSITORIES: i64 = 1000;

/// A repository by name.
pub fn repository(conn: &mut Conn, name: &str) -> Result<Option<Repository>> {
    Ok(store::repository(conn, name)?)
}

/// Names of repositories after a name, in ASCII order; of one organisation, or of all.
pub fn names_after(conn: &mut Conn, organization_id: Option<&str>, after: &str, limit: i64) -> Result<Vec<String>> {
    Ok(dialect::repositories_after(conn, organization_id, after, limit)?)
}

/// Those of some names that are repositories, in the same order, at most `limit`.
pub fn existing(conn: &mut Conn, names: impl Iterator<Item = String>, limit: i64) -> Result<Vec<String>> {
    let names: Vec<String> = names.collect();
    let known = store::known_repositories(conn, &names)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(names.into_iter().filter(|name| known.contains(name)).take(limit).collect())
}

/// Writes who may see a manifest and whether it must stay; false where there is no such manifest.
pub fn set_visibility(conn: &mut Conn, repository_id: &str, digest: &str, visibility: Visibility) -> Result<bool> {
    Ok(store::set_visibility(conn, repository_id, digest, visibility)? == 1)
}

/// Signatures that refer to a manifest: when each came, and its manifest's bytes; the platform's own, then the newest, at most `limit`.
/// Longer manifests than a signature needs are left out.
pub fn signatures_in(conn: &mut Conn, repository_id: &str, digest: &str, limit: i64) -> Result<Vec<(Timestamp, Vec<u8>)>> {
    Ok(store::referring(conn, repository_id, digest, &[SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE], MAX_SIGNATURE_MANIFEST, limit)?)
}

/// Digest of the manifest by which the platform signed another one of a repository.
pub fn platform_signature_in(conn: &mut Conn, repository_name: &str, digest: &str) -> Result<Option<String>> {
    Ok(store::platform_signature(conn, repository_name, digest)?)
}

/// Referrers of a manifest with one of some artifact types; the newest, at most `limit`.
pub fn attached_in(conn: &mut Conn, repository_id: &str, digest: &str, artifact_types: &[&str], limit: i64) -> Result<Vec<Artifact>> {
    Ok(store::referrers_of_types(conn, repository_id, digest, artifact_types, limit)?)
}

/// An organisation's repository by name, making it where absent.
///
/// # Errors
/// `name-invalid`; `name-unknown` where the name belongs to another organisation; `too-many-repositories`.
pub fn ensure_repository(conn: &mut Conn, organization_id: &str, name: &str, now: Timestamp) -> Result<Repository> {
    let name = RepositoryName::parse(name)?;
    if let Some(found) = store::repository(conn, name.as_str())? {
        return owned(found, organization_id);
    }
    if store::count_repositories(conn, organization_id)? >= MAX_REPOSITORIES {
        return Err(Error::conflict("too-many-repositories").arg("max", MAX_REPOSITORIES));
    }
    dialect::insert_repository(conn, &ids::new("rep"), name.as_str(), organization_id, now)?;
    let found = store::repository(conn, name.as_str())?.ok_or_else(|| Error::not_found("name-unknown"))?;
    owned(found, organization_id)
}

fn owned(repository: Repository, organization_id: &str) -> Result<Repository> {
    if repository.organization_id == organization_id { Ok(repository) } else { Err(Error::not_found("name-unknown")) }
}

/// Makes an actor's repository.
///
/// # Errors
/// As [`ensure_repository`].
pub async fn create_repository(app: &App, actor: &Actor, name: &RepositoryName) -> Result<Repository> {
    let organization_id = actor.person()?.organization_id.clone();
    let name = name.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        let repository = ensure_repository(c, &organization_id, name.as_str(), now)?;
        c.audit("repository.created", &repository.id, &json!({"name": name.as_str()}));
        Ok(repository)
    })
    .await
}
