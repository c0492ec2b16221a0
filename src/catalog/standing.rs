//! Suspending listings. A suspended listing is neither found nor sold; licences, deployments and pulls of those who have it go on.
//!
//! A listing is suspended by itself, with a reason, or with its organisation, whose reason it is then. Each can come and go without the
//! other: what is suspended for two reasons goes on when both are gone.

use super::{follows, service, store};
use crate::account;
use crate::audit::Change;
use crate::base::db::Conn;
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Result, exactly_one};
use crate::catalog::model::{AppRow, ListingState};

/// Suspends a listing, in the caller's transaction; the caller has asked for the right and audits the decision.
///
/// # Errors
/// `listing`; `standing-unchanged`.
pub fn suspend_in(c: &mut Change<'_>, app_id: &str, reason: &str) -> Result<AppRow> {
    let now = c.now;
    let app = held(c, app_id)?;
    exactly_one(store::suspend(c, app_id, reason, now)?, "standing-unchanged")?;
    changed(c);
    Ok(app)
}

/// Lets a listing go on, in the caller's transaction; it stays suspended where its organisation is. Those who follow its scenario are told
/// where it is the first app of that.
///
/// # Errors
/// `listing`; `standing-unchanged` where it is not suspended by itself.
pub fn resume_in(c: &mut Change<'_>, app_id: &str) -> Result<AppRow> {
    let app = held(c, app_id)?;
    exactly_one(store::resume(c, app_id)?, "standing-unchanged")?;
    if account::standing::suspension(c, &app.organization_id)?.is_none() {
        resume_all_in(c, &app.organization_id)?;
    } else {
        changed(c);
    }
    Ok(app)
}

/// Suspends the listings of an organisation that was just suspended.
pub fn suspend_all_in(c: &mut Change<'_>, organization_id: &str) -> Result<()> {
    let now = c.now;
    store::suspend_of(c, organization_id, now)?;
    changed(c);
    Ok(())
}

/// Lets the listings of an organisation go on that have no reason of their own to be suspended, and has those told who follow their scenarios.
pub fn resume_all_in(c: &mut Change<'_>, organization_id: &str) -> Result<()> {
    let now = c.now;
    store::resume_of(c, organization_id, now)?;
    // All of its scenarios, since only those that had no app are followed; by slug, so that two organisations that go on at once do not wait
    // for each other in a ring.
    for scenario in store::scenarios_of(c, organization_id)? {
        follows::served(c, &scenario)?;
    }
    changed(c);
    Ok(())
}

/// Why a listing is suspended, by itself or with its organisation; none where it is not.
pub fn suspension(conn: &mut Conn, app: &AppRow) -> Result<Option<String>> {
    match store::suspension(conn, &app.id)? {
        None if app.state == ListingState::Suspended => account::standing::suspension(conn, &app.organization_id),
        own => Ok(own),
    }
}

/// Whether a listing is suspended by itself, not only with its organisation.
pub fn is_suspended_itself(conn: &mut Conn, app_id: &str) -> Result<bool> {
    Ok(store::suspension(conn, app_id)?.is_some())
}

/// The listing, with its organisation held: whether that is suspended does not change until the listing is.
fn held(conn: &mut Conn, app_id: &str) -> Result<AppRow> {
    let app = service::get_app(conn, app_id)?;
    dialect::hold(conn, Row::Organization(&app.organization_id))?;
    Ok(app)
}

/// Search, catalogue and kept pages lose or get listings.
fn changed(c: &mut Change<'_>) {
    c.wake_search();
    c.clear_pages();
}
