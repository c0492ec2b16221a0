//! A release beside another version of its app.

use std::collections::BTreeMap;

use crate::base::db::Conn;
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::release::difference::{Difference, Side};
use crate::release::model::{Release, ReleaseState};
use crate::release::{package, store};
use crate::{catalog, registry};

/// States of versions that a release is compared with by default: those that buyers have.
const PREDECESSORS: [ReleaseState; 2] = [ReleaseState::Published, ReleaseState::Deprecated];

/// The version that a release is compared with, and the difference. Without `with` it is the highest lower version that buyers have;
/// none where there is no such. The caller has checked that the reader may see both.
///
/// # Errors
/// `release`: that version does not exist.
pub fn compared(conn: &mut Conn, release: &Release, with: Option<&str>) -> Result<Option<(String, Difference)>> {
    let other = match with {
        Some(version) => Some(store::find_version(conn, &release.app_id, version)?.ok_or_else(|| Error::not_found("release"))?),
        None => predecessor(conn, release)?,
    };
    let Some(other) = other else { return Ok(None) };
    let reports = (store::latest_report(conn, &other.id)?, store::latest_report(conn, &release.id)?);
    let files = (files(conn, &other)?, files(conn, release)?);
    let before = Side { manifest: &other.manifest, report: reports.0.as_ref().map(|(report, _)| report), files: files.0.as_ref() };
    let after = Side { manifest: &release.manifest, report: reports.1.as_ref().map(|(report, _)| report), files: files.1.as_ref() };
    Ok(Some((other.version.clone(), Difference::between(before, after))))
}

fn predecessor(conn: &mut Conn, release: &Release) -> Result<Option<Release>> {
    let versions = store::versions(conn, &release.app_id, &PREDECESSORS)?;
    let lower = versions.into_iter().filter_map(|(id, version, _)| Some((semver::Version::parse(&version).ok()?, id)));
    let lower = lower.filter(|(version, _)| *version < release.manifest.version);
    lower.max().map(|(_, id)| store::get(conn, &id).or_not_found("release")).transpose()
}

/// Digest and bytes of each file of a release; none where its manifest is gone, as that of a failed one may be.
fn files(conn: &mut Conn, release: &Release) -> Result<Option<BTreeMap<String, (String, u64)>>> {
    let owner = catalog::service::owner(conn, &release.app_id)?;
    let Some(repository) = registry::service::repository(conn, &owner.repository())? else { return Ok(None) };
    let Some(stored) = registry::service::find_manifest(conn, &repository.id, &release.digest)? else { return Ok(None) };
    let (_, files) = package::files(&stored.content)?;
    Ok(Some(files.into_iter().map(|(path, layer)| (path.as_str().to_owned(), (layer.digest.to_string(), layer.size))).collect()))
}
