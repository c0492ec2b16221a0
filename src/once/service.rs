//! Making a change once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;

use super::model::{Answer, KEEP, Kept, Key, MAX_KEPT};
use super::store;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::{Actor, Person};
use crate::base::error::{Error, QueryResultExt as _, Result};

/// Rows removed in one transaction.
const BATCH: i64 = 500;
/// Code of the refusal of a request that is under way.
const RUNNING: &str = "idempotency-key-running";

/// Organisation, person and key of the requests that are under way in this process. With several, the key's row decides.
static UNDER_WAY: Mutex<BTreeSet<(String, String, String)>> = Mutex::new(BTreeSet::new());

/// A request that is under way, until this is dropped.
struct UnderWay((String, String, String));

impl UnderWay {
    fn begin(person: &Person, key: &str) -> Result<Self> {
        let entry = (person.organization_id.clone(), person.user_id.clone(), key.to_owned());
        let fresh = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        if fresh { Ok(Self(entry)) } else { Err(running()) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

fn running() -> Error {
    Error::conflict(RUNNING).retry_after(TimeDelta::seconds(1))
}

/// Makes an audited change and gives its answer. With a key whose change was made within [`KEEP`], gives what is kept of that one's answer and
/// makes nothing; the second value says so.
///
/// # Errors
/// Those of the change; `idempotency-key-running`: the same is under way; `idempotency-key-reused`: the key was used for another request;
/// `too-many-idempotency-keys`.
pub async fn change<F>(app: &App, actor: &Actor, key: Option<Key>, f: F) -> Result<(Answer, bool)>
where
    F: Fn(&mut Change<'_>) -> Result<Answer> + Send + 'static,
{
    let Some(key) = key else { return Ok((audit::change(app, actor, f).await?, false)) };
    let _under_way = UnderWay::begin(actor.person()?, &key.key)?;
    audit::change(app, actor, move |c| once_in(c, &key, &f)).await
}

/// The part of [`change`] that several processes decide by the key's row.
pub(super) fn once_in(
    c: &mut Change<'_>,
    Key { key, request_hash }: &Key,
    f: &impl Fn(&mut Change<'_>) -> Result<Answer>,
) -> Result<(Answer, bool)> {
    let (actor, now) = (c.actor, c.now);
    let person = actor.person()?;
    if let Some(kept) = store::find(c, person, key)? {
        if kept.created_at > now.minus(KEEP) {
            return if kept.request_hash == *request_hash {
                Ok((Answer::new(u16::try_from(kept.status).unwrap_or(200), kept.body), true))
            } else {
                Err(Error::invalid("idempotency-key-reused"))
            };
        }
        store::delete(c, &person.organization_id, &person.user_id, key)?;
    }
    let (kept, oldest) = store::kept_since(c, person, now.minus(KEEP))?;
    if kept >= MAX_KEPT {
        let after = oldest.map_or(KEEP, |at| at.plus(KEEP).utc() - now.utc());
        return Err(Error::rate_limited("too-many-idempotency-keys").arg("max", MAX_KEPT).retry_after(after));
    }
    // The row comes first: of two at once in two processes the second waits here, holding nothing, and is refused.
    let kept = Kept {
        organization_id: person.organization_id.clone(),
        user_id: person.user_id.clone(),
        idempotency_key: key.clone(),
        request_hash: request_hash.clone(),
        status: 0,
        body: String::new(),
        created_at: now,
    };
    store::insert(c, &kept).or_conflict(RUNNING).map_err(|e| if e.code == RUNNING { running() } else { e })?;
    let answer = f(c)?;
    store::keep(c, person, key, i64::from(answer.status), answer.kept())?;
    Ok((answer, false))
}

/// Removes answers that are kept no longer; gives how many.
pub async fn prune(app: &App) -> Result<usize> {
    let before = app.clock.now().minus(KEEP);
    let mut removed = 0;
    loop {
        let gone = app.db.write_aside(move |conn| Ok(store::prune(conn, before, BATCH)?)).await?;
        if gone == 0 {
            return Ok(removed);
        }
        removed += gone;
    }
}
