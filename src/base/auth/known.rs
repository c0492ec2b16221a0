//! Actors whose API token was looked up a moment ago: a program that asks many times in a second is looked up once.
//!
//! An actor is known for a second, and only while this process has written nothing that touches the person, the token or the organisation
//! ([`Marks`]): so a revocation that was answered holds from the next request, and one that another process made when the second is over.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::TimeDelta;

use super::Actor;
use crate::base::db::{Marks, Timestamp};

/// How long an actor is known.
const LIFE: TimeDelta = TimeDelta::seconds(1);
/// Most actors; with more, all are looked up again.
const MAX: usize = 1024;

#[derive(Debug)]
struct Known {
    actor: Actor,
    /// Taken before the token was read.
    mark: u64,
    at: Timestamp,
    /// End of the token.
    until: Timestamp,
    /// Names of whom it concerns.
    of: Vec<String>,
}

/// Actors by the hash of their token.
#[derive(Debug, Default)]
pub struct KnownTokens(Mutex<HashMap<String, Known>>);

impl KnownTokens {
    /// The actor of a token, where it is known.
    pub fn actor(&self, hash: &str, marks: &Marks, now: Timestamp) -> Option<Actor> {
        let known = self.0.lock().ok()?;
        // `at <= now`: a clock that was set back must not prolong what is known.
        let holds = |known: &&Known| known.at <= now && now < known.at.plus(LIFE) && now < known.until && marks.hold(known.mark, &known.of);
        known.get(hash).filter(holds).map(|known| known.actor.clone())
    }

    /// Keeps the actor of a token that was read after `mark` and `at` were taken, and ends at `until`. Only people have tokens.
    pub fn keep(&self, hash: String, (mark, at): (u64, Timestamp), until: Timestamp, token_id: &str, actor: &Actor) {
        let (Some(person), Ok(mut known)) = (actor.as_person(), self.0.lock()) else { return };
        if known.len() >= MAX {
            known.clear();
        }
        let of = vec![person.user_id.clone(), actor.label(), person.organization_id.clone(), token_id.to_owned()];
        known.insert(hash, Known { actor: actor.clone(), mark, at, until, of });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::Touched;
    use crate::testing::{self, each_backend};

    #[tokio::test]
    async fn an_actor_is_known_for_a_second_and_until_a_write_that_touches_them() {
        each_backend(|app| async move {
            let (mine, marks, at) = (testing::operator(&app, "mine").await, Marks::default(), app.clock.now());
            let person = mine.person().unwrap();
            let (later, known) = (|ms| at.plus(TimeDelta::milliseconds(ms)), KnownTokens::default());
            let keep = |until| known.keep("hash".into(), (marks.now(), at), until, "tok_1", &mine);
            let holds = |now| known.actor("hash", &marks, now).is_some();
            keep(later(60_000));
            assert_eq!([at, later(999), later(1_000), later(-1)].map(holds), [true, true, false, false]);
            assert!(known.actor("another", &marks, at).is_none());
            keep(later(500));
            assert_eq!([later(499), later(500)].map(holds), [true, false], "the token is over");
            for name in [person.user_id.clone(), mine.label(), person.organization_id.clone(), "tok_1".to_owned()] {
                keep(later(60_000));
                marks.note(Touched::Only(["org_other".to_owned()].into()));
                assert!(holds(at));
                marks.note(Touched::Only([name].into()));
                assert!(!holds(at));
            }
            known.keep("node".into(), (marks.now(), at), later(60_000), "tok_1", &Actor::System);
            assert!(known.actor("node", &marks, at).is_none());
        })
        .await;
    }
}
