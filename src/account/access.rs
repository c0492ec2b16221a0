//! What the audit log keeps of attempts that were refused. Whoever is refused can send as many as they like, so what is written is bounded:
//! of wrong passwords the first and the fifth of a place in its window, of a person who may not come in the 1st, 10th, 100th, … in an hour,
//! of requests without the right as many of a person, or of the address of a stranger, at a route, and of all together [`PER_HOUR`] records
//! an hour, and one that says that there were more.

use chrono::TimeDelta;
use serde_json::json;

use super::throttle;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Result;
use crate::base::networks::network_of;
use crate::base::turns::Queue;

/// Records of one hour: at about 400 bytes each less than 10 MB a day.
const PER_HOUR: i64 = 1000;
const HOUR: TimeDelta = TimeDelta::hours(1);
/// Which refusals of a subject in an hour are recorded.
const DUE: [i64; 6] = [1, 10, 100, 1000, 10_000, 100_000];
/// Subject of the records that stand for no account: what was typed may be a password.
const NO_ACCOUNT: &str = "unknown";

/// Counting is a write: of strangers few are counted side by side, and whoever comes while these wait is not.
static STRANGERS: Queue = Queue::new(1, 16);

/// A request that a signed-in person had no right to make, or with a secret that is none.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Stable word of the error.
    pub code: &'static str,
    pub method: String,
    /// Pattern of the address, `/admin/cases/{id}`.
    pub route: String,
    /// Client address.
    pub address: String,
}

/// Records the n-th wrong password of a place.
pub(super) fn wrong_password(c: &mut Change<'_>, user_id: Option<&str>, address: &str, n: i64) -> Result<()> {
    if within_bound(c)? {
        c.audit_access(&Actor::Anonymous, "sign-in.failed", user_id.unwrap_or(NO_ACCOUNT), &json!({"address": address, "times": n}));
    }
    Ok(())
}

/// Records that a person with the right password was not let in; `code` is the reason's.
pub(super) async fn not_let_in(app: &App, user_id: &str, address: &str, code: &'static str) -> Result<()> {
    let (user_id, address) = (user_id.to_owned(), address.to_owned());
    audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let n = throttle::count_in(c, &format!("not-let-in:{user_id}"), HOUR, now)?;
        if DUE.contains(&n) && within_bound(c)? {
            c.audit_access(&Actor::Anonymous, "sign-in.failed", &user_id, &json!({"address": address, "code": code, "times": n}));
        }
        Ok(())
    })
    .await
}

/// Records that a person or a stranger was refused.
pub async fn refused(app: &App, actor: &Actor, refusal: Refusal) -> Result<()> {
    let turn = match actor {
        Actor::Person(..) => None,
        _ => match STRANGERS.turn().await {
            Ok(turn) => Some(turn),
            Err(_) => return Ok(()),
        },
    };
    let user_id = actor.as_person().map_or(NO_ACCOUNT, |person| &person.user_id).to_owned();
    let whose = actor.as_person().map_or_else(|| network_of(&refusal.address), |person| person.user_id.clone());
    let (who, told) = (actor.clone(), refusal.clone());
    // In the platform's name: a refusal spends nothing of what the organisation may change.
    let recorded = audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let subject = format!("refused:{whose}:{} {}", told.method, told.route);
        let n = throttle::count_in(c, &subject, HOUR, now)?;
        let due = DUE.contains(&n);
        if due && within_bound(c)? {
            let detail = json!({"address": told.address, "code": told.code, "method": told.method, "route": told.route, "times": n});
            c.audit_access(&who, "access.refused", &user_id, &detail);
        }
        Ok(due)
    })
    .await?;
    drop(turn);
    if recorded {
        let Refusal { code, method, route, address } = refusal;
        tracing::info!(actor = actor.label(), code, method, route, address, "refused");
    }
    Ok(())
}

/// Whether another record may be written; the first that may not is replaced by one that says so.
fn within_bound(c: &mut Change<'_>) -> Result<bool> {
    let now = c.now;
    let n = throttle::count_in(c, "records:access", HOUR, now)?;
    if n == PER_HOUR + 1 {
        c.audit_access(&Actor::System, "access.left-out", "platform", &json!({"records": PER_HOUR}));
    }
    Ok(n <= PER_HOUR)
}
