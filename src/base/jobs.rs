//! Durable background work. A job is enqueued in the caller's transaction (so it exists exactly when its cause does), claimed for a
//! lease, and done at least once: jobs are idempotent. A failed job is tried again with growing pauses, then kept as `failed`, and
//! [`Worker::give_up`] ends what waited for it. A server that stops gives back what does not end within its grace time, so that the next
//! one goes on at once. Each [`Lane`] has a runner of its own, so that a node's new state never waits for a
//! check. In a lane organisations take turns: whose job was begun longest ago is next, and what is nobody's goes first.

use chrono::TimeDelta;
use diesel::prelude::*;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::base::app::App;
use crate::base::config::Settings;
use crate::base::db::{Conn, Timestamp, dialect, schema};
use crate::base::error::{Error, Kind, Result};
use crate::base::i18n::Lang;
use crate::base::notify::Notice;

/// Tries before a job is kept as failed.
const MAX_ATTEMPTS: i64 = 8;
/// Lease of a job: the job of a worker that died is claimed again after it. Checks get their wall time on top.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// Lease of housekeeping. A second run beside a slow first one does no harm.
const UPKEEP_LEASE: TimeDelta = TimeDelta::hours(6);

/// All kinds of work, with what each needs. The JSON of this is the stored payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Job {
    /// Check an uploaded release in a child process.
    CheckRelease { release_id: String },
    /// Measure a release that passed its check once more, in a child process.
    MeasureRelease { release_id: String },
    /// Read the models with which an app is begun, in a child process.
    ReadDraft { draft_id: String },
    /// Make the expected results of a begun app's samples, in a child process.
    AnswerDraft { draft_id: String },
    /// Enqueue scoring of a release on the hidden test sets of its scenario.
    ScoreRelease { release_id: String },
    /// Score a release on a hidden test set in a child process.
    EvaluateRelease { release_id: String, set_id: String },
    /// Enqueue scoring of the releases of a set's scenario.
    EvaluateScenario {
        set_id: String,
        /// Release id after which to go on; empty for the beginning.
        after: String,
    },
    /// Write the desired state of a node anew.
    RebuildNode { node_id: String },
    /// Enqueue rebuilding of the nodes for which a release is wanted, so that they hear of its recall.
    TellNodes {
        release_id: String,
        /// Deployment id after which to go on; empty for the beginning.
        after: String,
    },
    /// Enqueue notices to the people of mines for which a recalled release is wanted.
    TellPeople {
        release_id: String,
        /// Organisation id after which to go on; empty for the beginning.
        after: String,
    },
    /// Enqueue notices to those who follow a scenario that has its first app.
    TellFollowers { scenario: String },
    /// End uploads that nobody finished.
    ExpireUploads,
    /// Remove what nothing in the registry refers to.
    CollectGarbage,
    /// Delete what is kept for a time only.
    PruneHistory,
    /// Tell the person of an address, if there is one, how to choose a new password.
    OfferReset {
        /// As it was typed, in lower case.
        email: String,
        lang: Lang,
    },
    /// Make a message of a notice.
    Notify { notice: Notice },
    /// Send a message by mail.
    SendMessage { message_id: String },
}

/// Work that must not wait for other work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Checks and scoring of releases, minutes each.
    Checks,
    /// Reading of dropped models, seconds each: somebody sits before the page.
    Drafts,
    /// What nodes wait for, and other jobs of a moment.
    Prompt,
    /// Messages and mail: strangers can cause some, and mail waits for another server.
    Mail,
    /// Housekeeping, which may take long and never hurries.
    Upkeep,
}

impl Lane {
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Checks => &["check-release", "measure-release", "answer-draft", "score-release", "evaluate-release", "evaluate-scenario"],
            Self::Drafts => &["read-draft"],
            Self::Prompt => &["rebuild-node", "tell-nodes", "expire-uploads"],
            Self::Mail => &["offer-reset", "notify", "send-message", "tell-people", "tell-followers"],
            Self::Upkeep => &["collect-garbage", "prune-history"],
        }
    }

    fn lease(self, settings: &Settings) -> TimeDelta {
        match self {
            Self::Checks => LEASE + TimeDelta::seconds(settings.checks.longest_seconds().try_into().unwrap_or(i64::from(u32::MAX))),
            Self::Drafts | Self::Prompt | Self::Mail => LEASE,
            Self::Upkeep => UPKEEP_LEASE,
        }
    }

    /// The furthest that work of this lane is planned ahead: what waits longer was planned by a clock that was ahead.
    fn furthest(self) -> TimeDelta {
        TimeDelta::days(if self == Self::Upkeep { 40 } else { 2 })
    }

    /// Pause after a failed try. Eight tries of a mail take two hours, for a mail server may be away for long and may refuse the first try of
    /// a sender that it does not know (greylisting).
    fn pause(self, attempts: i64) -> TimeDelta {
        let doubled = 1 << attempts.clamp(0, 10);
        TimeDelta::seconds(if self == Self::Mail { 30 * doubled } else { doubled })
    }
}

impl Job {
    fn kind(&self) -> &'static str {
        match self {
            Self::CheckRelease { .. } => "check-release",
            Self::MeasureRelease { .. } => "measure-release",
            Self::ReadDraft { .. } => "read-draft",
            Self::AnswerDraft { .. } => "answer-draft",
            Self::ScoreRelease { .. } => "score-release",
            Self::EvaluateRelease { .. } => "evaluate-release",
            Self::EvaluateScenario { .. } => "evaluate-scenario",
            Self::RebuildNode { .. } => "rebuild-node",
            Self::TellNodes { .. } => "tell-nodes",
            Self::TellPeople { .. } => "tell-people",
            Self::TellFollowers { .. } => "tell-followers",
            Self::ExpireUploads => "expire-uploads",
            Self::CollectGarbage => "collect-garbage",
            Self::PruneHistory => "prune-history",
            Self::OfferReset { .. } => "offer-reset",
            Self::Notify { .. } => "notify",
            Self::SendMessage { .. } => "send-message",
        }
    }

    /// Puts the job into the queue, in the caller's transaction. A node's rebuilding waits once ([`dialect::insert_job`]).
    pub fn enqueue(&self, conn: &mut Conn, now: Timestamp) -> Result<()> {
        self.enqueue_for(conn, None, now)
    }

    /// The same for work of an organisation, to run at a time: in a lane organisations take turns.
    pub fn enqueue_for(&self, conn: &mut Conn, organization_id: Option<&str>, at: Timestamp) -> Result<()> {
        let job = dialect::NewJob {
            id: &crate::base::ids::new("job"),
            kind: self.kind(),
            payload: &serde_json::to_string(self)?,
            organization_id,
            run_at: at,
        };
        dialect::insert_job(conn, &job)?;
        Ok(())
    }

    /// Puts a job that runs into the queue again, to run at a time for whom it runs, unless the very same waits already.
    pub fn enqueue_again(&self, conn: &mut Conn, at: Timestamp) -> Result<()> {
        use schema::jobs::dsl;
        let same = || dsl::jobs.filter(dsl::kind.eq(self.kind()));
        let payload = serde_json::to_string(self)?;
        let waits = same().filter(dsl::state.eq("waiting").and(dsl::payload.eq(&payload)));
        if diesel::select(diesel::dsl::exists(waits)).get_result(conn)? {
            return Ok(());
        }
        let runs = same().filter(dsl::state.eq("running").and(dsl::payload.eq(&payload))).select(dsl::organization_id);
        let owner: Option<Option<String>> = runs.first(conn).optional()?;
        self.enqueue_for(conn, owner.flatten().as_deref(), at)
    }

    /// Whether the very same job waits or runs.
    pub fn is_open(&self, conn: &mut Conn) -> Result<bool> {
        use schema::jobs::dsl;
        // By the states one by one and as literals, so that an index tells it, however long the queue is.
        let payload = serde_json::to_string(self)?;
        for state in ["state = 'running'", "state = 'waiting'"] {
            let state = diesel::dsl::sql::<diesel::sql_types::Bool>(state);
            let open = dsl::jobs.filter(state.and(dsl::kind.eq(self.kind())).and(dsl::payload.eq(&payload)));
            if diesel::select(diesel::dsl::exists(open)).get_result(conn)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts the job into the queue, to run at a time, unless one of its kind waits already; one that waits until later runs then, too.
    pub fn enqueue_once(&self, conn: &mut Conn, at: Timestamp) -> Result<()> {
        use schema::jobs::dsl;
        let waiting = dsl::kind.eq(self.kind()).and(dsl::state.eq("waiting"));
        diesel::update(dsl::jobs.filter(waiting).filter(dsl::run_at.gt(at))).set(dsl::run_at.eq(at)).execute(conn)?;
        if diesel::select(diesel::dsl::exists(dsl::jobs.filter(waiting))).get_result(conn)? { Ok(()) } else { self.enqueue(conn, at) }
    }
}

/// How many jobs of a lane wait or run.
pub fn count_open(conn: &mut Conn, lane: Lane) -> Result<i64> {
    use schema::jobs::dsl;
    Ok(dsl::jobs.filter(dsl::kind.eq_any(lane.kinds()).and(dsl::state.ne("failed"))).count().get_result(conn)?)
}

/// Deletes jobs that failed before a time, at most so many.
pub fn prune_failed(conn: &mut Conn, before: Timestamp, limit: i64) -> Result<usize> {
    use schema::jobs::dsl;
    let of = dsl::jobs.filter(dsl::state.eq("failed").and(dsl::run_at.lt(before)));
    let old: Vec<String> = of.order(dsl::run_at).limit(limit).select(dsl::id).load(conn)?;
    Ok(diesel::delete(dsl::jobs.filter(dsl::id.eq_any(old))).execute(conn)?)
}

/// What a runner does with a job. The table of all kinds is in `server`, which may call the slices that do them.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    /// Does the job.
    pub run: for<'a> fn(&'a App, &'a Job) -> BoxFuture<'a, Result<()>>,
    /// After the last try: tells those who wait for the outcome, in the transaction that gives the job up.
    pub give_up: fn(&mut Conn, &Job, Timestamp) -> Result<()>,
}

/// Runs a lane's jobs until told to stop; looks at once when woken, and every second anyway (another replica may have enqueued).
pub async fn run(app: App, lane: Lane, worker: Worker, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut woken = app.wake_jobs.subscribe();
    loop {
        let more = run_one(&app, lane, worker).await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "job queue");
            false
        });
        // What was given back is for the next start, not for this one.
        if *stop.borrow() {
            return;
        }
        if more {
            continue;
        }
        tokio::select! {
            _ = woken.changed() => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Runs one due job of a lane, if any. Tests call it until it says false.
pub async fn run_one(app: &App, lane: Lane, worker: Worker) -> Result<bool> {
    let (now, lease) = (app.clock.now(), lane.lease(&app.settings));
    let claimed = app
        .db
        .write_aside(move |conn| {
            let Some(id) = dialect::claim_job(conn, lane.kinds(), now, now.plus(lease), now.plus(lane.furthest()))? else {
                return Ok(None);
            };
            let (payload, attempts): (String, i64) =
                schema::jobs::table.find(&id).select((schema::jobs::payload, schema::jobs::attempts)).first(conn)?;
            Ok(Some((id, payload, attempts)))
        })
        .await?;
    let Some((id, payload, attempts)) = claimed else { return Ok(false) };
    let job = serde_json::from_str::<Job>(&payload);
    let outcome = match &job {
        Ok(job) => tokio::select! {
            // A job that is done at the end of the grace time is not given back and done twice.
            biased;
            outcome = (worker.run)(app, job) => outcome,
            () = grace_is_over(app) => {
                give_back(app, id, attempts).await?;
                return Ok(false);
            }
        },
        Err(e) => Err(Error::internal(anyhow::anyhow!("payload of {id}: {e}"))),
    };
    app.metrics.jobs.get_or_create(&[("outcome", if outcome.is_ok() { "ok" } else { "error" })]).inc();
    if let Err(e) = &outcome {
        // What may go through later is no fault of ours, and strangers can cause it: an address that the mail server refuses for now.
        if e.kind == Kind::Unavailable {
            tracing::warn!(job = %id, attempts, error = %e, "job failed for now");
        } else {
            tracing::error!(job = %id, attempts, error = %e, "job failed");
        }
    }
    let now = app.clock.now();
    let last = outcome.is_err() && attempts >= MAX_ATTEMPTS;
    let ended = move |conn: &mut Conn| -> Result<()> {
        use schema::jobs::dsl;
        // Only what is still this worker's: where its lease was over, another one has taken the job, or what was wished since waits in its row.
        let own = || dsl::state.eq("running").and(dsl::attempts.eq(attempts));
        if !diesel::select(diesel::dsl::exists(dsl::jobs.find(&id).filter(own()))).get_result::<bool>(conn)? {
            return Ok(());
        }
        match outcome {
            Ok(()) => diesel::delete(dsl::jobs.find(&id).filter(own())).execute(conn)?,
            // The same waits by now, and only once: that one does it.
            Err(_) if !last && waits_once(conn, job.as_ref().ok(), &payload)? => {
                diesel::delete(dsl::jobs.find(&id).filter(own())).execute(conn)?
            }
            Err(e) => {
                if let (true, Ok(job)) = (last, &job) {
                    (worker.give_up)(conn, job, now)?;
                }
                let state = if last { "failed" } else { "waiting" };
                // A notice may hold a secret link, which must not lie about as long as what failed is kept.
                let emptied = (last && matches!(job, Ok(Job::Notify { .. }))).then(|| dsl::payload.eq("{}"));
                diesel::update(dsl::jobs.find(&id).filter(own()))
                    .set((
                        emptied,
                        dsl::state.eq(state),
                        dsl::run_at.eq(now.plus(lane.pause(attempts))),
                        dsl::lease_until.eq(None::<Timestamp>),
                        dsl::last_error.eq(e.to_string()),
                    ))
                    .execute(conn)?
            }
        };
        Ok(())
    };
    // Nothing that is kept depends on the queue; what ends with a job that is given up may be anything.
    if last {
        app.db.write(ended).await?;
    } else {
        app.db.write_aside(ended).await?;
    }
    Ok(true)
}

/// Ends when the server has been told to stop and the time is over that it leaves to what runs.
async fn grace_is_over(app: &App) {
    // The sender lives as long as the app.
    let _ = app.stopping().wait_for(|stop| *stop).await;
    tokio::time::sleep(std::time::Duration::from_secs(app.settings.server.shutdown_seconds)).await;
}

/// Ends the lease of a job that was not done, as if it had not been begun: what was begun is taken first.
async fn give_back(app: &App, id: String, attempts: i64) -> Result<()> {
    use schema::jobs::dsl;
    let over = app.clock.now().plus(TimeDelta::seconds(-1));
    app.db
        .write_aside(move |conn| {
            diesel::update(dsl::jobs.find(&id).filter(dsl::state.eq("running").and(dsl::attempts.eq(attempts))))
                .set((dsl::lease_until.eq(over), dsl::attempts.eq(attempts - 1)))
                .execute(conn)?;
            tracing::info!(job = %id, "not done by the end of the grace time, given back");
            Ok(())
        })
        .await
}

/// Whether a job of the kind that waits only once waits.
fn waits_once(conn: &mut Conn, job: Option<&Job>, payload: &str) -> Result<bool> {
    use schema::jobs::dsl;
    if !matches!(job, Some(Job::RebuildNode { .. })) {
        return Ok(false);
    }
    // Literal, so that SQLite sees that the index is of these.
    let waiting = diesel::dsl::sql::<diesel::sql_types::Bool>("state = 'waiting' AND kind = 'rebuild-node'");
    Ok(diesel::select(diesel::dsl::exists(dsl::jobs.filter(dsl::payload.eq(payload)).filter(waiting))).get_result(conn)?)
}

#[cfg(test)]
mod tests;
