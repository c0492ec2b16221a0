//! Durable background work. A job is enqueued in the caller's transaction (so it exists exactly when its cause does), claimed for a
//! lease, and done at least once: jobs are idempotent. A failed job is tried again with growing pauses, then kept as `failed`.

use chrono::TimeDelta;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::db::{Conn, Timestamp, dialect, schema};
use crate::error::Result;

/// Tries before a job is kept as failed.
const MAX_ATTEMPTS: i64 = 8;
/// A worker that dies gives its job back after so long.
const LEASE: TimeDelta = TimeDelta::minutes(10);

/// All kinds of work, with what each needs. The JSON of this is the stored payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Job {
    /// Check an uploaded release in a child process.
    CheckRelease {
        /// Release id.
        release_id: String,
    },
    /// Write the desired state of a node anew.
    RebuildNode {
        /// Node id.
        node_id: String,
    },
    /// End uploads that nobody finished.
    ExpireUploads,
}

impl Job {
    fn kind(&self) -> &'static str {
        match self {
            Self::CheckRelease { .. } => "check-release",
            Self::RebuildNode { .. } => "rebuild-node",
            Self::ExpireUploads => "expire-uploads",
        }
    }

    /// Puts the job into the queue, in the caller's transaction.
    pub fn enqueue(&self, conn: &mut Conn, now: Timestamp) -> Result<()> {
        use schema::jobs::dsl;
        diesel::insert_into(dsl::jobs)
            .values((
                dsl::id.eq(crate::ids::new("job")),
                dsl::kind.eq(self.kind()),
                dsl::payload.eq(serde_json::to_string(self)?),
                dsl::state.eq("waiting"),
                dsl::attempts.eq(0i64),
                dsl::run_at.eq(now),
                dsl::created_at.eq(now),
            ))
            .execute(conn)?;
        Ok(())
    }

    /// Puts the job into the queue for a time, unless one of its kind waits already.
    pub fn enqueue_once(&self, conn: &mut Conn, at: Timestamp) -> Result<()> {
        use schema::jobs::dsl;
        let waiting = dsl::jobs.filter(dsl::kind.eq(self.kind()).and(dsl::state.eq("waiting")));
        if diesel::select(diesel::dsl::exists(waiting)).get_result(conn)? { Ok(()) } else { self.enqueue(conn, at) }
    }

    async fn run(&self, app: &App) -> Result<()> {
        match self {
            Self::CheckRelease { release_id } => crate::release::jobs::check(app, release_id).await,
            Self::RebuildNode { node_id } => crate::fleet::jobs::rebuild(app, node_id).await,
            Self::ExpireUploads => crate::registry::jobs::expire_uploads(app).await,
        }
    }
}

/// Runs jobs until told to stop; looks at once when woken, and every second anyway (another replica may have enqueued).
pub async fn run(app: App, mut stop: tokio::sync::watch::Receiver<bool>) {
    loop {
        match run_one(&app).await {
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
            () = app.wake_jobs.notified() => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Runs one due job, if any. Tests call it until it says false.
pub async fn run_one(app: &App) -> Result<bool> {
    let now = app.clock.now();
    let claimed = app
        .db
        .write(move |conn| {
            let Some(id) = dialect::claim_job(conn, now, now.plus(LEASE))? else { return Ok(None) };
            let (payload, attempts): (String, i64) =
                schema::jobs::table.find(&id).select((schema::jobs::payload, schema::jobs::attempts)).first(conn)?;
            Ok(Some((id, payload, attempts)))
        })
        .await?;
    let Some((id, payload, attempts)) = claimed else { return Ok(false) };
    let outcome = match serde_json::from_str::<Job>(&payload) {
        Ok(job) => job.run(app).await,
        Err(e) => Err(e.into()),
    };
    app.metrics.jobs.get_or_create(&[("outcome", if outcome.is_ok() { "ok" } else { "error" })]).inc();
    let now = app.clock.now();
    app.db
        .write(move |conn| {
            use schema::jobs::dsl;
            let row = dsl::jobs.find(&id);
            match outcome {
                Ok(()) => diesel::delete(row).execute(conn)?,
                Err(e) => {
                    tracing::error!(job = %id, attempts, error = %e, "job failed");
                    let state = if attempts >= MAX_ATTEMPTS { "failed" } else { "waiting" };
                    let pause = TimeDelta::seconds(1 << attempts.clamp(0, 10));
                    diesel::update(row)
                        .set((
                            dsl::state.eq(state),
                            dsl::run_at.eq(now.plus(pause)),
                            dsl::lease_until.eq(None::<Timestamp>),
                            dsl::last_error.eq(e.to_string()),
                        ))
                        .execute(conn)?
                }
            };
            Ok(())
        })
        .await?;
    Ok(true)
}
