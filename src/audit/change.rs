//! [`Change`]: one audited change of the platform, made by an actor at a time, with what follows once it is kept.
//!
//! Invariants: the records of a change are written last, chain by chain in the order of their names, so that no chain is held while rows
//! are read and two changes never wait for each other's chains in a ring. Pokes, wakes and the clearing of pages happen after the commit
//! and not at all where there is none. A change that leaves records has outlived a power cut when it is answered. A closure has no effect
//! outside its transaction: where the transaction collides with another one (40001, 40P01) it runs again from the start.

use std::ops::{Deref, DerefMut};

use serde_json::Value;

use super::model::{ACCESS_CHAIN, DraftRecord, chain_of, touched};
use super::store;
use crate::base::app::App;
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::{Conn, Timestamp, Touched};
use crate::base::error::{Error, Result};
use crate::base::jobs::Job;
use crate::base::live::Poke;
use crate::base::rate::{self, Rate};

/// A change under way: its transaction, who makes it and when. Derefs to the connection.
pub struct Change<'c> {
    conn: &'c mut Conn,
    /// Who makes it.
    pub actor: &'c Actor,
    /// When: the same time in every row and record of the change.
    pub now: Timestamp,
    entries: Vec<DraftRecord>,
    after: After,
}

/// Effects after the commit of a change.
#[derive(Debug, Default)]
struct After {
    /// What the change has touched.
    touched: Touched,
    /// Whether the change has left records, or must outlive a power cut for another reason.
    lasting: bool,
    /// Whether the change is made however many the organisation has made.
    uncounted: bool,
    pokes: Vec<Poke>,
    wake_jobs: bool,
    wake_search: bool,
    clear_pages: bool,
}

impl After {
    fn happen(self, app: &App) {
        if self.clear_pages {
            app.pages.clear();
        }
        if self.wake_search {
            app.wake_search.notify_one();
        }
        if self.wake_jobs {
            app.wake_jobs.send_replace(());
        }
        for Poke { organization_id, topic } in self.pokes {
            app.live.poke(&organization_id, topic);
        }
    }
}

impl std::fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("actor", &self.actor.label()).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Deref for Change<'_> {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
    }
}

impl Change<'_> {
    /// Records a decision of the actor in the actor's chain. `detail` is a JSON object; it holds no secrets.
    pub fn audit(&mut self, action: &str, subject: &str, detail: &Value) {
        self.audit_as(self.actor, action, subject, detail);
    }

    /// As [`Self::audit`], for another actor than that of the change: a node that is only known now, or the platform itself.
    pub fn audit_as(&mut self, actor: &Actor, action: &str, subject: &str, detail: &Value) {
        self.entries.push(DraftRecord::of(chain_of(actor), actor, action, subject, detail));
    }

    /// Records what the platform does for an organisation, in that organisation's chain: people sign up, sign in, accept an invitation.
    pub fn audit_for(&mut self, organization_id: &str, action: &str, subject: &str, detail: &Value) {
        self.entries.push(DraftRecord::of(organization_id.to_owned(), &Actor::System, action, subject, detail));
    }

    /// Records an attempt that was refused, in the chain of such, which is kept for a time of its own.
    pub fn audit_access(&mut self, actor: &Actor, action: &str, subject: &str, detail: &Value) {
        self.entries.push(DraftRecord::of(ACCESS_CHAIN.to_owned(), actor, action, subject, detail));
    }

    /// Pokes the open pages of an organisation about a topic, once.
    pub fn poke(&mut self, organization_id: &str, topic: impl Into<String>) {
        let poke = Poke { organization_id: organization_id.to_owned(), topic: topic.into() };
        if !self.after.pokes.contains(&poke) {
            self.after.pokes.push(poke);
        }
    }

    /// Puts a job into the queue and wakes the runners.
    pub fn enqueue(&mut self, job: &Job) -> Result<()> {
        self.after.wake_jobs = true;
        job.enqueue(self.conn, self.now)
    }

    /// The same for work of an organisation: organisations take turns.
    pub fn enqueue_for(&mut self, organization_id: &str, job: &Job) -> Result<()> {
        self.after.wake_jobs = true;
        job.enqueue_for(self.conn, Some(organization_id), self.now)
    }

    /// Makes the change outlive a power cut though it leaves no record: whoever sent it forgets it once it was answered.
    pub fn lasting(&mut self) {
        self.after.lasting = true;
    }

    /// Makes the change whatever the organisation has made before: what ends a right, a session or a run must never wait.
    pub fn uncounted(&mut self) {
        self.after.uncounted = true;
    }

    /// Has the search index look for changes of the catalogue, which also clears the page cache.
    pub fn wake_search(&mut self) {
        self.after.wake_search = true;
    }

    /// Clears the page cache right after the commit.
    pub fn clear_pages(&mut self) {
        self.after.clear_pages = true;
    }
}

/// Makes a change in one transaction.
///
/// # Errors
/// Those of the closure; `too-many-changes`.
pub async fn change<T, F>(app: &App, actor: &Actor, f: F) -> Result<T>
where
    T: Send + 'static,
    F: Fn(&mut Change<'_>) -> Result<T> + Send + 'static,
{
    let (actor, now, handle) = (actor.clone(), app.clock.now(), app.clone());
    let per_hour = app.settings.server.changes_per_hour;
    let counted = move |conn: &mut Conn| {
        recorded(conn, &actor, now, |c| {
            let value = f(c)?;
            if !c.entries.is_empty() && !c.after.uncounted {
                count(c, per_hour)?;
            }
            Ok(value)
        })
    };
    app.db.write_then(counted, |after: &After| (after.lasting, after.touched.clone()), move |after| after.happen(&handle)).await
}

/// Counts a change that people make for their organisation, once for each record, for those stay. The platform's own people are not counted.
///
/// # Errors
/// `too-many-changes`.
fn count(c: &mut Change<'_>, per_hour: u32) -> Result<()> {
    let Some(person) = c.actor.as_person().filter(|person| person.kind != OrgKind::Platform) else { return Ok(()) };
    let (bucket, now) = ((format!("changes:{}", person.organization_id), Rate::hourly(per_hour)), c.now);
    let records = u32::try_from(c.entries.len()).unwrap_or(u32::MAX);
    match rate::spend_units(c, vec![bucket], records, now)? {
        Some(wait) => Err(Error::rate_limited("too-many-changes").retry_after(wait)),
        None => Ok(()),
    }
}

/// Makes a change in the caller's transaction, which must commit right after. Nobody is poked or woken.
pub fn change_in<T>(conn: &mut Conn, actor: &Actor, now: Timestamp, f: impl FnOnce(&mut Change<'_>) -> Result<T>) -> Result<T> {
    Ok(recorded(conn, actor, now, f)?.0)
}

fn recorded<T>(conn: &mut Conn, actor: &Actor, now: Timestamp, f: impl FnOnce(&mut Change<'_>) -> Result<T>) -> Result<(T, After)> {
    let mut change = Change { conn, actor, now, entries: Vec::new(), after: After::default() };
    let value = f(&mut change)?;
    let Change { conn, entries, mut after, .. } = change;
    after.lasting |= !entries.is_empty();
    after.touched = touched(actor, &entries);
    store::append(conn, now, entries)?;
    Ok((value, after))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};

    use diesel::result::{DatabaseErrorKind, Error as Diesel};
    use serde_json::json;

    use super::*;
    use crate::audit::model::ChainVerdict;
    use crate::audit::service::verify;
    use crate::base::db::dialect::{self, Row};
    use crate::testing::{self, WRITERS, each_backend, each_backend_racing, race};

    fn collision() -> Error {
        Diesel::DatabaseError(DatabaseErrorKind::SerializationFailure, Box::new("could not serialize access".to_owned())).into()
    }

    #[tokio::test]
    async fn what_follows_happens_once_and_only_after_the_commit() {
        each_backend(|app| async move {
            let mut pokes = app.live.subscribe();
            let refused = change(&app, &Actor::System, |c| {
                c.audit("node.removed", "nod_x", &json!({}));
                c.poke("org_x", "fleet");
                Err::<(), _>(Error::conflict("node-removed"))
            });
            assert_eq!(refused.await.unwrap_err().code, "node-removed");
            let runs = Arc::new(AtomicUsize::new(0));
            let counted = runs.clone();
            let done = change(&app, &Actor::System, move |c| {
                c.audit("node.removed", "nod_y", &json!({}));
                c.poke("org_y", "fleet");
                c.poke("org_y", "fleet");
                if counted.fetch_add(1, Ordering::SeqCst) == 0 { Err(collision()) } else { Ok(()) }
            });
            done.await.unwrap();
            assert_eq!(runs.load(Ordering::SeqCst), 2);
            assert_eq!(pokes.try_recv().unwrap().organization_id, "org_y");
            assert!(pokes.try_recv().is_err(), "one poke, and none of what was not kept");
            assert_eq!(verify(&app).await.unwrap(), ChainVerdict::Intact { records: 1, chains: 1, seals: 0, signed: 0, noted: false });
            // A collision runs the closure three more times, not for ever.
            let counted = runs.clone();
            let busy = change(&app, &Actor::System, move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Err::<(), _>(collision())
            });
            assert_eq!((busy.await.unwrap_err().code, runs.load(Ordering::SeqCst)), ("database-busy", 6));
        })
        .await;
    }

    #[tokio::test]
    async fn people_make_so_many_changes_in_an_hour() {
        testing::each_backend_with(
            |settings| settings.server.changes_per_hour = 3,
            |app| async move {
                let (acme, mine) = (testing::vendor(&app, "acme").await, testing::operator(&app, "mine").await);
                let change_by = async |who: &Actor, recorded: bool| {
                    change(&app, who, move |c| {
                        if recorded {
                            c.audit("node.removed", "nod_x", &json!({}));
                        }
                        Ok(())
                    })
                    .await
                };
                for _ in 0..3 {
                    change_by(&acme, true).await.unwrap();
                }
                let refused = change_by(&acme, true).await.unwrap_err();
                assert_eq!((refused.code, refused.retry_after), ("too-many-changes", Some(1200)));
                change_by(&acme, false).await.unwrap();
                change_by(&mine, true).await.unwrap();
                change_by(&Actor::System, true).await.unwrap();
                // A change counts as often as it leaves records; one that leaves more than the bucket holds takes a full one.
                let records_by = async |who: &Actor, n: usize| {
                    change(&app, who, move |c| {
                        for node in 0..n {
                            c.audit("deployment.requested", &format!("dep_{node}"), &json!({}));
                        }
                        Ok(())
                    })
                    .await
                };
                records_by(&mine, 2).await.unwrap();
                assert_eq!(records_by(&mine, 1).await.unwrap_err().code, "too-many-changes");
                app.clock.advance(chrono::TimeDelta::hours(1));
                records_by(&mine, 200).await.unwrap();
                assert_eq!(records_by(&mine, 1).await.unwrap_err().code, "too-many-changes");
                let moderator = testing::platform(&app, crate::base::auth::Role::Moderator).await;
                for _ in 0..5 {
                    change_by(&moderator, true).await.unwrap();
                }
                testing::assert_intact(&app).await;
            },
        )
        .await;
    }

    #[tokio::test]
    async fn of_two_changes_in_a_ring_both_go_through() {
        each_backend_racing(|app| async move {
            if !app.settings.database.url.starts_with("postgres") {
                return; // its writers stand in line
            }
            let ids = [testing::vendor(&app, "acme").await, testing::vendor(&app, "other").await];
            let ids = ids.map(|actor| actor.organization_id().unwrap().to_owned());
            let (both, runs) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
            let one = |first: String, second: String| {
                let (both, runs, first_time) = (both.clone(), runs.clone(), AtomicUsize::new(0));
                change(&app, &Actor::System, move |c| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    dialect::hold(c, Row::Organization(&first))?;
                    if first_time.fetch_add(1, Ordering::SeqCst) == 0 {
                        both.wait();
                    }
                    dialect::hold(c, Row::Organization(&second))?;
                    c.audit("node.removed", "nod_x", &json!({}));
                    Ok(())
                })
            };
            let (a, b) = tokio::join!(one(ids[0].clone(), ids[1].clone()), one(ids[1].clone(), ids[0].clone()));
            a.unwrap();
            b.unwrap();
            assert!(runs.load(Ordering::SeqCst) >= 3, "one of them ran again");
        })
        .await;
    }

    #[tokio::test]
    async fn writers_of_several_chains_leave_each_without_a_gap() {
        each_backend_racing(|app| async move {
            let (own, rounds) = (app.clone(), 4);
            race(move |n| {
                let app = own.clone();
                async move {
                    let node = Actor::Node { node_id: format!("nod_{}", n % 3), organization_id: "org_x".into() };
                    for _ in 0..rounds {
                        // Records come in another order than the chains are written in.
                        change(&app, &Actor::System, {
                            let node = node.clone();
                            move |c| {
                                c.audit("garbage.collected", "registry", &json!({"n": n}));
                                c.audit_as(&node, "node.enrolled", "nod_x", &json!({}));
                                c.audit_for("org_x", "member.added", "usr_x", &json!({}));
                                c.audit("garbage.collected", "registry", &json!({"n": n}));
                                Ok(())
                            }
                        })
                        .await
                        .unwrap();
                    }
                }
            })
            .await;
            let records = i64::try_from(WRITERS * rounds * 4).unwrap();
            assert_eq!(verify(&app).await.unwrap(), ChainVerdict::Intact { records, chains: 5, seals: 0, signed: 0, noted: false });
        })
        .await;
    }
}
