//! How much an organisation may store: the setting, or a limit of its own. Each blob counts once, each manifest in each repository, and
//! received bytes of uploads.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::store;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, dialect};
use crate::base::error::{Error, Result};

const GIB: u64 = 1 << 30;

/// Bytes stored, and bytes that may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes stored.
    pub used: u64,
    /// Bytes that may be stored.
    pub limit: u64,
}

/// Bytes for which each link of a repository to a blob counts.
pub const LINK: u64 = 256;
/// Links from which on an organisation's sum is kept for a while, for it walks all of them.
const MANY: u64 = 10_000;

/// Sums of organisations with many links, and until when each is kept. An entry is made by such an organisation.
static KEPT: LazyLock<Mutex<HashMap<String, (u64, Instant)>>> = LazyLock::new(Mutex::default);

/// What an organisation stores and may store.
pub fn usage_in(conn: &mut Conn, app: &App, organization_id: &str) -> Result<Usage> {
    Ok(Usage { used: dialect::stored_bytes(conn, organization_id)?.bytes(LINK), limit: limit_in(conn, app, organization_id)? })
}

fn limit_in(conn: &mut Conn, app: &App, organization_id: &str) -> Result<u64> {
    let own = store::quota(conn, organization_id)?;
    Ok(own.map_or(app.settings.registry.quota_gib.saturating_mul(GIB), |bytes| u64::try_from(bytes).unwrap_or(0)))
}

/// Bytes that an organisation stores. With many links it is the sum of up to a second for each 20,000, which may miss what came since.
fn used_in(conn: &mut Conn, organization_id: &str) -> Result<u64> {
    // The map is whole after each single operation, also after a panic elsewhere.
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((used, _)) = kept().get(organization_id).filter(|(_, until)| *until > Instant::now()) {
        return Ok(*used);
    }
    let stored = dialect::stored_bytes(conn, organization_id)?;
    if stored.links() >= MANY {
        let until = Instant::now() + Duration::from_millis(stored.links() / 20);
        kept().insert(organization_id.to_owned(), (stored.bytes(LINK), until));
    }
    Ok(stored.bytes(LINK))
}

/// Checks that an organisation may store so many bytes more.
///
/// # Errors
/// `quota-exceeded`.
pub async fn require(app: &App, organization_id: &str, more: u64) -> Result<()> {
    let (parts, organization_id) = (app.clone(), organization_id.to_owned());
    let usage = app.db.read(move |conn| {
        let used = used_in(conn, &organization_id)?;
        Ok(Usage { used, limit: limit_in(conn, &parts, &organization_id)? })
    });
    let usage = usage.await?;
    // Ask for room for one byte at least: an upload of unknown length is refused once the limit is reached. Stored blobs stay.
    let fits = usage.used.checked_add(more.max(1)).is_some_and(|sum| sum <= usage.limit);
    if fits { Ok(()) } else { Err(Error::forbidden("quota-exceeded").arg("used", mib(usage.used)).arg("limit", mib(usage.limit))) }
}

/// Id of an organisation by its short name.
fn find(conn: &mut Conn, slug: &str) -> Result<String> {
    let found = crate::account::service::find_organization_by_slug(conn, slug)?;
    found.map(|organization| organization.id).ok_or_else(|| Error::not_found("organization"))
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Gives an organisation a limit of its own in GiB, or with none the setting's again.
///
/// # Errors
/// `organization`: there is no organisation of this name.
pub async fn set(app: &App, slug: &str, gib: Option<u64>) -> Result<Usage> {
    let (parts, slug) = (app.clone(), slug.to_owned());
    audit::change(app, &Actor::System, move |c| {
        let organization_id = find(c, &slug)?;
        match gib {
            Some(gib) => {
                let bytes = i64::try_from(gib.saturating_mul(GIB)).unwrap_or(i64::MAX);
                dialect::put_quota(c, &organization_id, bytes)?;
            }
            None => {
                store::delete_quota(c, &organization_id)?;
            }
        }
        c.audit("quota.set", &organization_id, &json!({"gib": gib}));
        usage_in(c, &parts, &organization_id)
    })
    .await
}

/// What an organisation stores and may store, by its name.
///
/// # Errors
/// `organization`: there is no organisation of this name.
pub async fn show(app: &App, slug: &str) -> Result<Usage> {
    let (parts, slug) = (app.clone(), slug.to_owned());
    app.db
        .read(move |conn| {
            let organization_id = find(conn, &slug)?;
            usage_in(conn, &parts, &organization_id)
        })
        .await
}
