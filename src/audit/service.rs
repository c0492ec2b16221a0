//! Reading and verifying the chain.

use std::collections::HashMap;

use super::model::{ChainVerdict, Filter, Named, Record, Told, fault};
use super::{names, store};
use crate::base::app::App;
use crate::base::auth::{Actor, policy};
use crate::base::db::{Conn, Db};
use crate::base::error::Result;

/// Records on one page.
pub const PAGE: i64 = 25;

/// Decisions on one subject that are told with it.
const TOLD: i64 = 50;

/// Records of one export at the most.
pub const EXPORT: i64 = 5000;

/// Records with what the ids in them stand for.
#[derive(Debug)]
pub struct Found {
    /// Records, newest first.
    pub records: Vec<Record>,
    /// Ids of actors, subjects and details.
    pub names: HashMap<String, Named>,
}

/// Records that fit a filter, newest first, before a sequence number; one more than a page.
pub async fn list(app: &App, actor: &Actor, before: Option<i64>, filter: Filter) -> Result<Found> {
    read(app, actor, before, filter, PAGE + 1).await
}

/// The newest records that fit a filter, for a file.
pub async fn export(app: &App, actor: &Actor, filter: Filter) -> Result<Found> {
    read(app, actor, None, filter, EXPORT).await
}

async fn read(app: &App, actor: &Actor, before: Option<i64>, filter: Filter, limit: i64) -> Result<Found> {
    policy::require(actor, policy::Action::ViewAudit)?;
    app.db
        .read(move |conn| {
            let sought = if filter.q.is_empty() { None } else { Some(names::sought(conn, &filter.q)?) };
            let records = store::list_before(conn, before.unwrap_or(i64::MAX), &filter, sought.as_ref(), limit)?;
            let names = names::of(conn, &records)?;
            Ok(Found { records, names })
        })
        .await
}

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
