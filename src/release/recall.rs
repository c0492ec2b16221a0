//! Calling a published release back. A recall is final: what was dangerous once is corrected by another version.
//!
//! It takes the release from everybody who has not got it: no pull, no deployment, no update. It stops nothing that runs, for whether a
//! warning system of a mine is safer off than on is its operator's to decide; they are told at once ([`crate::base::jobs::Job::TellNodes`]).

use std::collections::HashMap;

use app_package::orders::MAX_REVOKED;

use super::model::{Event, Recall, Release};
use super::{service, store};
use crate::audit::Change;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::base::jobs::Job;
use crate::catalog;
use crate::webhook::model::EventKind;

/// Recalls a release, in the caller's transaction; the caller has asked for the right and audits the decision. Nobody deploys the release
/// once this returns: deploying holds the app before it looks.
///
/// # Errors
/// `release`, `release-state`.
pub fn recall_in(c: &mut Change<'_>, release_id: &str, reason: &str) -> Result<Release> {
    let now = c.now;
    let seen = service::get(c, release_id)?;
    service::hold_app(c, &seen.app_id)?;
    let mut release = service::get(c, release_id)?;
    release.state = service::transition(c, &release, Event::Recalled, now)?;
    store::set_recall(c, release_id, Recall { reason: reason.to_owned(), at: now })?;
    service::list_newest_in(c, &release.app_id)?;
    c.enqueue(&Job::TellNodes { release_id: release_id.to_owned(), after: String::new() })?;
    service::told(c, &release, EventKind::ReleaseRecalled, Some(reason))?;
    let owner = catalog::service::owner(c, &release.app_id)?;
    c.poke(&owner.organization_id, service::topic(release_id));
    c.poke(&owner.organization_id, "releases");
    c.clear_pages();
    Ok(release)
}

/// Why each of some releases was recalled; those that were not are left out.
pub fn recalls(conn: &mut Conn, release_ids: &[&str]) -> Result<HashMap<String, Recall>> {
    Ok(store::recalls(conn, release_ids)?)
}

/// Digests of the releases that were recalled, those of the newest releases first.
pub fn digests(conn: &mut Conn) -> Result<Vec<String>> {
    Ok(store::recalled(conn, i64::try_from(MAX_REVOKED).unwrap_or(i64::MAX))?)
}

/// Version of the list of recalled releases: their number, and the Unix time of the newest. It grows with each recall, also where a copy of the
/// database was restored since, which lacks some: no two lists have got the same version.
pub fn version(conn: &mut Conn) -> Result<i64> {
    let (count, newest) = store::last_recalled(conn)?;
    Ok(count.saturating_add(newest.map_or(0, Timestamp::unix)))
}

/// Why a release was recalled.
pub fn of(conn: &mut Conn, release_id: &str) -> Result<Option<Recall>> {
    Ok(store::recalls(conn, &[release_id])?.remove(release_id))
}
