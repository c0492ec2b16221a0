//! Reading and verifying the chains.

use crate::audit::model::ChainVerdict;
use crate::audit::verify;
use crate::base::app::App;
use crate::base::auth::{Actor, policy};
use crate::base::db::Db;
use crate::base::error::Result;

pub use super::store::{list_before, records_on};

/// Records on one page.
pub const PAGE: i64 = 25;

/// Records that an export reads at once.
pub const EXPORT: i64 = 500;

/// Verifies all chains on behalf of an auditor.
pub async fn verify_as(app: &App, actor: &Actor) -> Result<ChainVerdict> {
    policy::require(actor, policy::Action::ViewAudit)?;
    verify(&app.db).await
}

/// Verifies all chains and seals.
pub async fn verify(db: &Db) -> Result<ChainVerdict> {
    db.read(verify::verify).await
}
