//! Reading and verifying the chain.

use super::model::{ChainVerdict, Record, fault};
use super::store;
use crate::app::App;
use crate::auth::{Actor, policy};
use crate::db::{Conn, Db};
use crate::error::Result;

/// Records on one page.
pub const PAGE: i64 = 50;

/// One page of records, newest first, before a sequence number.
pub async fn list(app: &App, actor: &Actor, before: Option<i64>, subject: Option<String>) -> Result<Vec<Record>> {
    policy::require(actor, policy::Action::ViewAudit)?;
    app.db.read(move |conn| Ok(store::list_before(conn, before.unwrap_or(i64::MAX), subject.as_deref(), PAGE + 1)?)).await
}

/// Verifies the whole chain on behalf of an auditor.
pub async fn verify_as(app: &App, actor: &Actor) -> Result<ChainVerdict> {
    policy::require(actor, policy::Action::ViewAudit)?;
    verify(&app.db).await
}

/// Verifies the whole chain, a thousand records at a time.
pub async fn verify(db: &Db) -> Result<ChainVerdict> {
    db.read(verify_blocking).await
}

fn verify_blocking(conn: &mut Conn) -> Result<ChainVerdict> {
    let mut previous: Option<(String, i64)> = None;
    loop {
        let after = previous.as_ref().map_or(0, |(_, n)| *n);
        let records = store::list_after(conn, after, 1000)?;
        if records.is_empty() {
            return Ok(ChainVerdict::Intact { records: after });
        }
        for record in records {
            if let Some((sequence, fault)) = fault(previous.as_ref().map(|(h, n)| (h.as_str(), *n)), &record) {
                return Ok(ChainVerdict::Broken { sequence, fault });
            }
            previous = Some((record.hash, record.sequence));
        }
    }
}
