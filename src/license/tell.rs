//! What webhooks of an operator are told of its licences.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::base::app::App;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::license::model::{ENDING_SOON, License};
use crate::license::store;
use crate::webhook;
use crate::webhook::model::{Event, EventKind};

/// Time in which a licence that has come near its end is looked for: the clock's work comes each hour, and may be held up.
const LATELY: TimeDelta = TimeDelta::days(2);
/// Licences told of in one transaction.
const BATCH: i64 = 200;

fn data(license: &License, reason: Option<&str>) -> Value {
    json!({
        "license": license.id, "order": license.order_id, "listing": license.app_id, "state": license.state, "ends_at": license.ends_at,
        "reason": reason,
    })
}

/// Tells what has become of a licence, in the transaction of its cause.
pub fn told(conn: &mut Conn, license: &License, kind: EventKind, reason: Option<&str>, now: Timestamp) -> Result<()> {
    webhook::service::tell(conn, &license.organization_id, &Event::new(kind, data(license, reason)), now)
}

/// Tells of licences that have come within 30 days of their end of late. The id of a message is of its licence, so that it is made once.
pub async fn tell_ending(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut after = String::new();
    loop {
        let behind = after.clone();
        let last = app
            .db
            .write_aside(move |conn| {
                let found = store::ending_after(conn, &behind, (now, now.plus(ENDING_SOON)), LATELY, BATCH)?;
                for license in &found {
                    let event = Event::new(EventKind::LicenseEnding, data(license, None));
                    let event = Event { id: Some(format!("evt_ending_{}", license.id)), ..event };
                    webhook::service::tell(conn, &license.organization_id, &event, now)?;
                }
                Ok(found.last().map(|license| license.id.clone()))
            })
            .await?;
        match last {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}
