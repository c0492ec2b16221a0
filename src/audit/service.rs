//! Reading and verifying the chain.

use crate::audit::model::{ChainVerdict, Told};
use crate::audit::{store, verify};
use crate::base::app::App;
use crate::base::auth::{Actor, policy};
use crate::base::db::{Conn, Db};
use crate::base::error::Result;

pub use super::store::list_before;

/// Records on one page.
pub const PAGE: i64 = 25;

/// Decisions on one subject that are told with it.
const TOLD: i64 = 50;

/// Records of one export at the most.
pub const EXPORT: i64 = 5000;

/// The decisions of some kinds on a subject, oldest first, the last fifty. The caller has checked that the reader may see the subject.
pub fn told(conn: &mut Conn, subject: &str, actions: &[&str]) -> Result<Vec<Told>> {
    let mut told = Vec::new();
    for (record, by) in store::list_told(conn, subject, actions, TOLD)?.into_iter().rev() {
        let detail: serde_json::Value = serde_json::from_str(&record.detail).unwrap_or_default();
        let reason = detail.get("reason").and_then(|reason| reason.as_str()).unwrap_or_default().to_owned();
        told.push(Told { action: record.action, at: record.at, by: by.unwrap_or_default(), reason });
    }
    Ok(told)
}

/// Verifies all chains on behalf of an auditor.
pub async fn verify_as(app: &App, actor: &Actor) -> Result<ChainVerdict> {
    policy::require(actor, policy::Action::ViewAudit)?;
    verify(&app.db).await
}

/// Verifies all chains and seals.
pub async fn verify(db: &Db) -> Result<ChainVerdict> {
    db.read(verify::verify).await
}
