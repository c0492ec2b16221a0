//! How much an organisation may store: the setting, or a limit of its own. Each blob counts once, each manifest in each repository, and
//! received bytes of uploads.

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

/// What an organisation stores and may store.
pub fn usage_in(conn: &mut Conn, app: &App, organization_id: &str) -> Result<Usage> {
    let own = store::quota(conn, organization_id)?;
    let limit = own.map_or(app.settings.registry.quota_gib.saturating_mul(GIB), |bytes| u64::try_from(bytes).unwrap_or(0));
    Ok(Usage { used: u64::try_from(dialect::stored_bytes(conn, organization_id)?).unwrap_or(0), limit })
}

/// Checks that an organisation may store so many bytes more.
///
/// # Errors
/// `quota-exceeded`.
pub async fn require(app: &App, organization_id: &str, more: u64) -> Result<()> {
    let (parts, organization_id) = (app.clone(), organization_id.to_owned());
    let usage = app.db.read(move |conn| usage_in(conn, &parts, &organization_id)).await?;
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
