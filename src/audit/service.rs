//! Reading and verifying the chains.

use crate::audit::model::ChainVerdict;
use crate::audit::note;
use crate::base::app::App;
use crate::base::auth::{Actor, policy};
use crate::base::error::Result;

pub use super::note::Note;
pub use super::store::{list_before, records_on};
pub use super::verify::{Known, verify as verify_in};

/// Records on one page.
pub const PAGE: i64 = 25;

/// Records that an export reads at once.
pub const EXPORT: i64 = 500;

/// Verifies all chains on behalf of an auditor.
pub async fn verify_as(app: &App, actor: &Actor) -> Result<ChainVerdict> {
    policy::require(actor, policy::Action::ViewAudit)?;
    verify(app).await
}

/// Verifies all chains and seals, by the keys and the note that lie outside the database.
pub async fn verify(app: &App) -> Result<ChainVerdict> {
    let (path, keys) = (note::path(app), app.keys.get());
    app.db.read(move |conn| verify_in(conn, &Known { keys: keys.log.set.clone(), note: note::read(&path)? })).await
}
