//! Durable background work. A job is enqueued in the caller's transaction (so it exists exactly when its cause does), claimed for a
//! lease, and done at least once: jobs are idempotent. A failed job is tried again with growing pauses, then kept as `failed`, and
//! [`Worker::give_up`] ends what waited for it. Each [`Lane`] has a runner of its own, so that a node's new state never waits for a
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
            Self::Checks => &["check-release", "measure-release", "score-release", "evaluate-release", "evaluate-scenario"],
            Self::Prompt => &["rebuild-node", "tell-nodes", "expire-uploads"],
            Self::Mail => &["offer-reset", "notify", "send-message", "tell-people", "tell-followers"],
            Self::Upkeep => &["collect-garbage", "prune-history"],
        }
    }

    fn lease(self, settings: &Settings) -> TimeDelta {
        match self {
            Self::Checks => LEASE + TimeDelta::seconds(settings.checks.wall_seconds.try_into().unwrap_or(i64::from(u32::MAX))),
            Self::Prompt | Self::Mail => LEASE,
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
        match run_one(&app, lane, worker).await {
            Ok(true) => {
                if *stop.borrow() {
                    return;
                }
                continue;
            }
            Ok(false) => {}
            Err(e) => tracing::error!(error = %e, "job queue"),
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
        Ok(job) => (worker.run)(app, job).await,
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
mod tests {
    use super::*;
    use crate::base::notify::NoticeKind;

    fn claim(conn: &mut Conn, at: Timestamp) -> Result<Option<String>> {
        let lane = Lane::Checks;
        Ok(dialect::claim_job(conn, lane.kinds(), at, at.plus(LEASE), at.plus(lane.furthest()))?)
    }

    #[tokio::test]
    async fn what_a_clock_ahead_has_planned_or_begun_is_done_when_it_is_set_back() {
        crate::testing::each_backend(|app| async move {
            let (now, ahead) = (app.clock.now(), app.clock.now().plus(TimeDelta::days(400)));
            app.db
                .write(move |conn| {
                    Job::ScoreRelease { release_id: "begun".into() }.enqueue(conn, ahead)?;
                    assert!(claim(conn, ahead)?.is_some());
                    Job::ScoreRelease { release_id: "planned".into() }.enqueue(conn, ahead)?;
                    assert!(claim(conn, now)?.is_some() && claim(conn, now)?.is_some() && claim(conn, now)?.is_none());
                    Job::ScoreRelease { release_id: "tomorrow".into() }.enqueue(conn, now.plus(TimeDelta::days(1)))?;
                    assert!(claim(conn, now)?.is_none());
                    // Upkeep runs on time too, though it is planned once only.
                    for at in [ahead, now] {
                        Job::PruneHistory.enqueue_once(conn, at)?;
                    }
                    let planned: Vec<Timestamp> = schema::jobs::table
                        .filter(schema::jobs::kind.eq(Job::PruneHistory.kind()))
                        .select(schema::jobs::run_at)
                        .load(conn)?;
                    assert_eq!(planned, [now]);
                    Ok(())
                })
                .await
                .unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn organisations_take_turns() {
        crate::testing::each_backend(|app| async move {
            let now = app.clock.now();
            let job = |id: &str| Job::CheckRelease { release_id: id.to_owned() };
            app.db
                .write(move |conn| {
                    for (n, (organization, id)) in
                        [("org_a", "a1"), ("org_a", "a2"), ("org_a", "a3"), ("org_b", "b1")].into_iter().enumerate()
                    {
                        let at = now.plus(TimeDelta::seconds(i64::try_from(n).unwrap()));
                        job(id).enqueue_for(conn, Some(organization), at)?;
                    }
                    // The platform's own work goes first, and nobody loses a turn by it.
                    Job::ScoreRelease { release_id: "own".into() }.enqueue(conn, now.plus(TimeDelta::seconds(9)))
                })
                .await
                .unwrap();
            let mut order = Vec::new();
            for n in 10..15 {
                let at = now.plus(TimeDelta::seconds(n));
                let payload: String = app
                    .db
                    .write(move |conn| {
                        let id = claim(conn, at)?.unwrap();
                        Ok(schema::jobs::table.find(id).select(schema::jobs::payload).first(conn)?)
                    })
                    .await
                    .unwrap();
                let (Job::CheckRelease { release_id } | Job::ScoreRelease { release_id }) = serde_json::from_str(&payload).unwrap() else {
                    panic!("{payload}")
                };
                order.push(release_id);
            }
            assert_eq!(order, ["own", "a1", "b1", "a2", "a3"], "of three slow ones and one, the one is second");
            let late = now.plus(TimeDelta::seconds(20));
            let none = app.db.write(move |conn| claim(conn, late)).await;
            assert_eq!(none.unwrap(), None, "none twice");
        })
        .await;
    }

    fn rebuild(node_id: impl Into<String>) -> Job {
        Job::RebuildNode { node_id: node_id.into() }
    }

    /// The node whose rebuilding is begun next.
    fn next_node(conn: &mut Conn, at: Timestamp) -> Result<Option<String>> {
        let lane = Lane::Prompt;
        let Some(id) = dialect::claim_job(conn, lane.kinds(), at, at.plus(LEASE), at.plus(lane.furthest()))? else { return Ok(None) };
        let payload: String = schema::jobs::table.find(id).select(schema::jobs::payload).first(conn)?;
        let Job::RebuildNode { node_id } = serde_json::from_str(&payload)? else { panic!("{payload}") };
        Ok(Some(node_id))
    }

    #[tokio::test]
    async fn nobody_waits_behind_what_one_mine_has_asked_for() {
        crate::testing::each_backend(|app| async move {
            let now = app.clock.now();
            let order = app.db.write(move |conn| {
                for n in 0..2_000 {
                    rebuild(format!("a{n}")).enqueue_for(conn, Some("org_a"), now)?;
                }
                let later = now.plus(TimeDelta::seconds(1));
                rebuild("b").enqueue_for(conn, Some("org_b"), later)?;
                // A recall, also of a node whose rebuilding waits already.
                for node in ["recalled", "a1999"] {
                    rebuild(node).enqueue(conn, later)?;
                }
                let at = |n| now.plus(TimeDelta::seconds(n));
                Ok([next_node(conn, at(2))?, next_node(conn, at(3))?, next_node(conn, at(4))?, next_node(conn, at(5))?])
            });
            let order = order.await.unwrap().map(Option::unwrap);
            assert_eq!([&*order[0], &order[1], &order[3]], ["a1999", "recalled", "b"]);
            assert!(order[2].starts_with('a'), "{order:?}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_node_waits_once_beside_the_one_that_runs() {
        fn fail<'a>(_: &'a App, _: &'a Job) -> BoxFuture<'a, Result<()>> {
            Box::pin(async { Err(Error::unavailable("database-busy")) })
        }
        #[allow(clippy::unnecessary_wraps, reason = "as the queue wants it")]
        fn keep(_: &mut Conn, _: &Job, _: Timestamp) -> Result<()> {
            Ok(())
        }
        crate::testing::each_backend(|app| async move {
            let now = app.clock.now();
            let states = async || {
                let states =
                    app.db.read(|conn| Ok(schema::jobs::table.select(schema::jobs::state).order(schema::jobs::state).load(conn)?));
                let states: Vec<String> = states.await.unwrap();
                states
            };
            let ask = async || app.db.write(move |conn| rebuild("nod_x").enqueue_for(conn, Some("org_a"), now)).await.unwrap();
            ask().await;
            ask().await;
            assert_eq!(states().await, ["waiting"]);
            // A try that fails while the same waits leaves it to that one; alone it waits for the next try.
            let worker = Worker { run: fail, give_up: keep };
            assert!(app.db.write(move |conn| next_node(conn, now)).await.unwrap().is_some());
            ask().await;
            assert_eq!(states().await, ["running", "waiting"]);
            app.clock.advance(TimeDelta::minutes(10));
            assert!(run_one(&app, Lane::Prompt, worker).await.unwrap());
            assert_eq!(states().await, ["waiting"]);
            assert!(run_one(&app, Lane::Prompt, worker).await.unwrap());
            assert_eq!(states().await, ["waiting"]);
            // What is asked for anew does not wait for the pause after a failure.
            ask().await;
            assert_eq!(app.db.write(move |conn| next_node(conn, now)).await.unwrap().as_deref(), Some("nod_x"));
        })
        .await;
    }

    #[tokio::test]
    async fn a_claim_takes_no_longer_where_many_wait() {
        crate::testing::each_backend(|app| async move {
            let now = app.clock.now();
            let took = app.db.write(move |conn| {
                if matches!(conn, Conn::Postgres(_)) {
                    return Ok(std::time::Duration::ZERO); // it has no single writer, and no figures of a table that was just filled
                }
                diesel::sql_query(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
                     INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, organization_id) \
                     SELECT 'job_' || i, 'rebuild-node', 'x' || i, 'waiting', 0, $1, $1, 'org_' || (i % 20) FROM n",
                )
                .bind::<diesel::sql_types::Timestamp, _>(now)
                .execute(conn)?;
                let begin = std::time::Instant::now();
                for _ in 0..100 {
                    let lane = Lane::Prompt;
                    assert!(dialect::claim_job(conn, lane.kinds(), now, now.plus(LEASE), now.plus(lane.furthest()))?.is_some());
                }
                Ok(begin.elapsed())
            });
            let took = took.await.unwrap();
            assert!(took < std::time::Duration::from_secs(1), "100 claims took {took:?}; with a sort of all that waits, four seconds");
        })
        .await;
    }

    #[test]
    fn every_job_has_one_lane() {
        let id = || "x".to_owned();
        let next = |job: &Job| match job {
            Job::CheckRelease { .. } => Some(Job::MeasureRelease { release_id: id() }),
            Job::MeasureRelease { .. } => Some(Job::ScoreRelease { release_id: id() }),
            Job::ScoreRelease { .. } => Some(Job::EvaluateRelease { release_id: id(), set_id: id() }),
            Job::EvaluateRelease { .. } => Some(Job::EvaluateScenario { set_id: id(), after: id() }),
            Job::EvaluateScenario { .. } => Some(Job::RebuildNode { node_id: id() }),
            Job::RebuildNode { .. } => Some(Job::TellNodes { release_id: id(), after: id() }),
            Job::TellNodes { .. } => Some(Job::TellPeople { release_id: id(), after: id() }),
            Job::TellPeople { .. } => Some(Job::TellFollowers { scenario: id() }),
            Job::TellFollowers { .. } => Some(Job::ExpireUploads),
            Job::ExpireUploads => Some(Job::CollectGarbage),
            Job::CollectGarbage => Some(Job::PruneHistory),
            Job::PruneHistory => Some(Job::OfferReset { email: id(), lang: Lang::En }),
            Job::OfferReset { .. } => Some(Notice::new(NoticeKind::ResetPassword, Lang::En, "x", "x").job()),
            Job::Notify { .. } => Some(Job::SendMessage { message_id: id() }),
            Job::SendMessage { .. } => None,
        };
        let mut jobs = 0;
        let mut job = Some(Job::CheckRelease { release_id: id() });
        while let Some(this) = job {
            let lanes =
                [Lane::Checks, Lane::Prompt, Lane::Mail, Lane::Upkeep].into_iter().filter(|lane| lane.kinds().contains(&this.kind()));
            assert_eq!(lanes.count(), 1, "{}", this.kind());
            job = next(&this);
            jobs += 1;
        }
        assert_eq!(jobs, [Lane::Checks, Lane::Prompt, Lane::Mail, Lane::Upkeep].iter().map(|lane| lane.kinds().len()).sum::<usize>());
    }
}
