//! Statements of the queue of jobs.

use diesel::sql_types::{Nullable, Text};
use diesel::{QueryResult, RunQueryDsl, sql_query};

use crate::base::db::{Conn, Timestamp, schema};

/// A job to be put into the queue.
#[derive(Debug)]
pub struct NewJob<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    pub payload: &'a str,
    /// Whose work it is; none for the platform's own.
    pub organization_id: Option<&'a str>,
    pub run_at: Timestamp,
}

/// Inserts a job that waits. A node's rebuilding waits once: the one that is there then runs as soon, begins anew, and is the platform's own
/// where this one is. Its row is written even where nothing of it changes, so that nobody begins it before the caller's transaction ends.
pub fn insert_job(conn: &mut Conn, job: &NewJob<'_>) -> QueryResult<usize> {
    sql_query(
        "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, organization_id) \
         VALUES ($1, $2, $3, 'waiting', 0, $4, $4, $5) \
         ON CONFLICT (payload) WHERE state = 'waiting' AND kind = 'rebuild-node' DO UPDATE SET attempts = 0, \
           run_at = CASE WHEN excluded.run_at < jobs.run_at THEN excluded.run_at ELSE jobs.run_at END, \
           organization_id = CASE WHEN excluded.organization_id IS NULL THEN NULL ELSE jobs.organization_id END",
    )
    .bind::<Text, _>(job.id)
    .bind::<Text, _>(job.kind)
    .bind::<Text, _>(job.payload)
    .bind::<diesel::sql_types::Timestamp, _>(job.run_at)
    .bind::<Nullable<Text>, _>(job.organization_id)
    .execute(conn)
}

#[derive(diesel::QueryableByName)]
struct DueJob {
    #[diesel(sql_type = diesel::sql_types::Timestamp)]
    run_at: Timestamp,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Nullable<Text>)]
    organization_id: Option<String>,
}

/// Organisations of which a claim looks for a job: another server may take or hold the jobs of the first ones at the same moment.
const CANDIDATES: usize = 8;

/// Takes a due job of some kinds for a lease, or none: first what was begun and not ended, then what is nobody's, then the oldest of the
/// organisation whose last job was begun longest ago. Two workers never take the same one: PostgreSQL skips locked rows, SQLite has one
/// writer. What waits or is leased until after `furthest` was planned by a clock that was ahead, and is due. Each look is a step into an
/// index, however many jobs wait: a claim holds the only writer of SQLite.
pub fn claim_job(
    conn: &mut Conn,
    kinds: &[&'static str],
    now: Timestamp,
    lease_until: Timestamp,
    furthest: Timestamp,
) -> QueryResult<Option<String>> {
    use diesel::prelude::*;
    use schema::jobs::dsl;
    let Some(DueJob { id, organization_id, .. }) = due_job(conn, kinds, now, furthest)? else { return Ok(None) };
    diesel::update(dsl::jobs.filter(dsl::id.eq(&id)))
        .set((dsl::state.eq("running"), dsl::lease_until.eq(lease_until), dsl::attempts.eq(dsl::attempts + 1)))
        .execute(conn)?;
    if let Some(organization_id) = organization_id {
        sql_query(
            "INSERT INTO job_turns (organization_id, served_at) VALUES ($1, $2) \
             ON CONFLICT (organization_id) DO UPDATE SET served_at = excluded.served_at",
        )
        .bind::<Text, _>(organization_id)
        .bind::<diesel::sql_types::Timestamp, _>(now)
        .execute(conn)?;
    }
    Ok(Some(id))
}

fn due_job(conn: &mut Conn, kinds: &[&'static str], now: Timestamp, furthest: Timestamp) -> QueryResult<Option<DueJob>> {
    use diesel::prelude::*;
    let locked = match conn {
        Conn::Postgres(_) => " FOR UPDATE SKIP LOCKED",
        Conn::Sqlite(_) => "",
    };
    let words = kinds.join("', '");
    let left: Option<DueJob> = sql_query(format!(
        "SELECT run_at, id, organization_id FROM jobs WHERE state = 'running' AND kind IN ('{words}') \
         AND (lease_until < $1 OR lease_until > $2) ORDER BY run_at, id LIMIT 1{locked}"
    ))
    .bind::<diesel::sql_types::Timestamp, _>(now)
    .bind::<diesel::sql_types::Timestamp, _>(furthest)
    .get_result(conn)
    .optional()?;
    if left.is_some() {
        return Ok(left);
    }
    if let Some(own) = oldest_job(conn, kinds, None, now, locked)? {
        return Ok(Some(own));
    }
    for organization_id in next_in_turn(conn, kinds, now)? {
        if let Some(job) = oldest_job(conn, kinds, Some(&organization_id), now, locked)? {
            return Ok(Some(job));
        }
    }
    sql_query(format!(
        "SELECT run_at, id, organization_id FROM jobs WHERE state = 'waiting' AND kind IN ('{words}') AND run_at > $1 \
         ORDER BY run_at, id LIMIT 1{locked}"
    ))
    .bind::<diesel::sql_types::Timestamp, _>(furthest)
    .get_result(conn)
    .optional()
}

/// The oldest due job of an organisation, or of nobody.
fn oldest_job(
    conn: &mut Conn,
    kinds: &[&'static str],
    organization_id: Option<&str>,
    now: Timestamp,
    locked: &str,
) -> QueryResult<Option<DueJob>> {
    use diesel::prelude::*;
    let whose = if organization_id.is_some() { "= $2" } else { "IS NULL" };
    let mut oldest: Option<DueJob> = None;
    for kind in kinds {
        // SQLite numbers `$1` and `$2` as they come. The order is that of the index as a whole: PostgreSQL does not see that the
        // organisation is one and the same where it is none.
        let query = sql_query(format!(
            "SELECT run_at, id, organization_id FROM jobs WHERE state = 'waiting' AND kind = '{kind}' AND run_at <= $1 \
             AND organization_id {whose} ORDER BY organization_id, run_at, id LIMIT 1{locked}"
        ))
        .bind::<diesel::sql_types::Timestamp, _>(now);
        let found: Option<DueJob> = match organization_id {
            Some(id) => query.bind::<Text, _>(id).get_result(conn).optional()?,
            None => query.get_result(conn).optional()?,
        };
        if let Some(found) = found
            && oldest.as_ref().is_none_or(|oldest| (found.run_at, &found.id) < (oldest.run_at, &oldest.id))
        {
            oldest = Some(found);
        }
    }
    Ok(oldest)
}

#[derive(diesel::QueryableByName)]
struct InTurn {
    #[diesel(sql_type = Nullable<diesel::sql_types::Timestamp>)]
    served_at: Option<Timestamp>,
    #[diesel(sql_type = diesel::sql_types::Timestamp)]
    run_at: Timestamp,
    #[diesel(sql_type = Text)]
    organization_id: String,
}

/// Organisations with a due job, the one first whose last job was begun longest ago. Their jobs are not read: the query steps from one
/// organisation to the next.
fn next_in_turn(conn: &mut Conn, kinds: &[&'static str], now: Timestamp) -> QueryResult<Vec<String>> {
    let mut found: Vec<InTurn> = Vec::new();
    for kind in kinds {
        let waits = format!("jobs.state = 'waiting' AND jobs.kind = '{kind}'");
        let rows: Vec<InTurn> = sql_query(format!(
            "WITH RECURSIVE whose (organization_id) AS ( \
               SELECT (SELECT jobs.organization_id FROM jobs WHERE {waits} AND jobs.organization_id IS NOT NULL \
                       ORDER BY jobs.organization_id LIMIT 1) \
               UNION ALL \
               SELECT (SELECT jobs.organization_id FROM jobs WHERE {waits} AND jobs.organization_id > whose.organization_id \
                       ORDER BY jobs.organization_id LIMIT 1) \
               FROM whose WHERE whose.organization_id IS NOT NULL) \
             SELECT served_at, run_at, organization_id FROM ( \
               SELECT whose.organization_id AS organization_id, job_turns.served_at AS served_at, \
                 (SELECT jobs.run_at FROM jobs WHERE {waits} AND jobs.organization_id = whose.organization_id \
                  ORDER BY jobs.run_at LIMIT 1) AS run_at \
               FROM whose LEFT JOIN job_turns ON job_turns.organization_id = whose.organization_id \
               WHERE whose.organization_id IS NOT NULL) AS due \
             WHERE run_at <= $1 ORDER BY served_at NULLS FIRST, run_at, organization_id LIMIT {CANDIDATES}"
        ))
        .bind::<diesel::sql_types::Timestamp, _>(now)
        .load(conn)?;
        found.extend(rows);
    }
    found.sort_by(|a, b| (a.served_at, a.run_at, &a.organization_id).cmp(&(b.served_at, b.run_at, &b.organization_id)));
    // One with jobs of several kinds comes more than once; a second look at it does no harm.
    found.truncate(CANDIDATES);
    Ok(found.into_iter().map(|row| row.organization_id).collect())
}
