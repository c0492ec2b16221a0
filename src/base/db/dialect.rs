//! The only home of SQL that differs between the backends, or that diesel's `MultiConnection` cannot express. What the queue of jobs needs
//! of it is in [`jobs`].

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, RunQueryDsl, sql_query};

use super::schema;
use super::{Conn, Timestamp};

mod jobs;

pub use jobs::{NewJob, claim_job, insert_job};

/// A row that is held ([`hold`]) while what belongs to it changes.
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// An app: its plans, and which release is shown.
    App(&'a str),
    /// A licence: its seats and the deployments that use it.
    License(&'a str),
    /// A person in an organisation: user id, organisation id.
    Member(&'a str, &'a str),
    /// A node: its identity and its deployments.
    Node(&'a str),
    /// An organisation: its team and its keys.
    Organization(&'a str),
    /// A repository: which of its manifests must stay.
    Repository(&'a str),
    /// A scenario by its slug: which of its releases are scored on which of its sets.
    Scenario(&'a str),
    /// A person: their password, and what it opens.
    User(&'a str),
}

/// Holds a row until the transaction ends, so that later reads in it see all changes of those who held the row before. SQLite has one
/// writer anyway.
///
/// Rows are taken in the order member, organisation, person, repository, node, licence, app, scenario, before the rows that belong to them; the
/// heads of audit chains come last of all ([`lock_audit_head`]).
pub fn hold(conn: &mut Conn, row: Row<'_>) -> QueryResult<()> {
    use diesel::prelude::*;
    use schema::{apps, licenses, memberships, nodes, organizations, repositories, scenarios, users};
    let Conn::Postgres(pg) = conn else { return Ok(()) };
    let held: Vec<String> = match row {
        Row::App(id) => apps::table.find(id).select(apps::id).for_no_key_update().load(pg)?,
        Row::License(id) => licenses::table.find(id).select(licenses::id).for_no_key_update().load(pg)?,
        Row::Member(user_id, organization_id) => {
            let of = memberships::user_id.eq(user_id).and(memberships::organization_id.eq(organization_id));
            memberships::table.filter(of).select(memberships::user_id).for_no_key_update().load(pg)?
        }
        Row::Node(id) => nodes::table.find(id).select(nodes::id).for_no_key_update().load(pg)?,
        Row::Organization(id) => organizations::table.find(id).select(organizations::id).for_no_key_update().load(pg)?,
        Row::Repository(id) => repositories::table.find(id).select(repositories::id).for_no_key_update().load(pg)?,
        Row::Scenario(slug) => scenarios::table.find(slug).select(scenarios::slug).for_no_key_update().load(pg)?,
        Row::User(id) => users::table.find(id).select(users::id).for_no_key_update().load(pg)?,
    };
    drop(held);
    Ok(())
}

/// Number and hash of the newest record of an audit chain, whose head is held until the transaction ends: one transaction at a time
/// appends. A new chain begins at 0 with `genesis`.
pub fn lock_audit_head(conn: &mut Conn, chain: &str, genesis: &str) -> QueryResult<(i64, String)> {
    use diesel::prelude::*;
    use schema::audit_heads::dsl;
    let head = || dsl::audit_heads.find(chain).select((dsl::sequence, dsl::hash));
    let held = |conn: &mut Conn| match conn {
        Conn::Postgres(pg) => head().for_update().first(pg).optional(),
        Conn::Sqlite(lite) => head().first(lite).optional(),
    };
    if let Some(found) = held(conn)? {
        return Ok(found);
    }
    sql_query("INSERT INTO audit_heads (chain, sequence, hash) VALUES ($1, 0, $2) ON CONFLICT (chain) DO NOTHING")
        .bind::<Text, _>(chain)
        .bind::<Text, _>(genesis)
        .execute(conn)?;
    held(conn)?.ok_or(diesel::result::Error::NotFound)
}

/// When a bucket is full again; its row is held until the transaction ends. A new one is full now.
pub fn hold_rate(conn: &mut Conn, subject: &str, now: Timestamp) -> QueryResult<Timestamp> {
    use diesel::prelude::*;
    use schema::rates::dsl;
    let row = || dsl::rates.find(subject).select(dsl::full_at);
    // A full bucket may be deleted between the two statements.
    for _ in 0..3 {
        sql_query("INSERT INTO rates (subject, full_at) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING")
            .bind::<Text, _>(subject)
            .bind::<diesel::sql_types::Timestamp, _>(now)
            .execute(conn)?;
        let held = match conn {
            Conn::Postgres(pg) => row().for_no_key_update().first(pg).optional()?,
            Conn::Sqlite(lite) => row().first(lite).optional()?,
        };
        if let Some(full_at) = held {
            return Ok(full_at);
        }
    }
    Err(diesel::result::Error::NotFound)
}

/// Notes the fingerprint of a key, in place of an older one.
pub fn pin_key(conn: &mut Conn, name: &str, fingerprint: &str) -> QueryResult<usize> {
    sql_query(
        "INSERT INTO key_pins (name, fingerprint) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint",
    )
    .bind::<Text, _>(name)
    .bind::<Text, _>(fingerprint)
    .execute(conn)
}

/// A seal of the audit log, as it is stored.
#[derive(Debug)]
pub struct SealRow<'a> {
    pub number: i64,
    pub at: Timestamp,
    pub root: &'a str,
    pub previous: &'a str,
    pub signed_from: i64,
    pub kid: &'a str,
    pub signature: &'a str,
}

/// Inserts a seal; 0 rows where its number is taken.
pub fn insert_seal(conn: &mut Conn, seal: &SealRow<'_>) -> QueryResult<usize> {
    sql_query(
        "INSERT INTO audit_seals (number, at, root, previous, signed_from, kid, signature) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (number) DO NOTHING",
    )
    .bind::<BigInt, _>(seal.number)
    .bind::<diesel::sql_types::Timestamp, _>(seal.at)
    .bind::<Text, _>(seal.root)
    .bind::<Text, _>(seal.previous)
    .bind::<BigInt, _>(seal.signed_from)
    .bind::<Text, _>(seal.kid)
    .bind::<Text, _>(seal.signature)
    .execute(conn)
}

/// Acknowledges an alarm that nobody has answered; 0 rows where somebody has.
pub fn acknowledge_first(conn: &mut Conn, alarm_id: &str, organization_id: &str, by: &str, at: Timestamp) -> QueryResult<usize> {
    sql_query(
        "INSERT INTO alarm_responses (alarm_id, organization_id, acknowledged_by, acknowledged_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (alarm_id) DO NOTHING",
    )
    .bind::<Text, _>(alarm_id)
    .bind::<Text, _>(organization_id)
    .bind::<Text, _>(by)
    .bind::<diesel::sql_types::Timestamp, _>(at)
    .execute(conn)
}

/// The next number of a counter, 1 at first. Holds the counter until the transaction ends, so that no number is left out.
pub fn count_up(conn: &mut Conn, name: &str) -> QueryResult<i64> {
    use diesel::prelude::*;
    sql_query("INSERT INTO counters (name, value) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1")
        .bind::<Text, _>(name)
        .execute(conn)?;
    schema::counters::table.find(name).select(schema::counters::value).first(conn)
}

/// Inserts a blob or, where it is known, marks it as just touched (garbage collection spares what was touched lately).
pub fn touch_blob(conn: &mut Conn, digest: &str, size_bytes: i64, now: Timestamp) -> QueryResult<()> {
    sql_query(
        "INSERT INTO blobs (digest, size_bytes, created_at, touched_at) VALUES ($1, $2, $3, $3) \
         ON CONFLICT (digest) DO UPDATE SET touched_at = excluded.touched_at",
    )
    .bind::<Text, _>(digest)
    .bind::<BigInt, _>(size_bytes)
    .bind::<diesel::sql_types::Timestamp, _>(now)
    .execute(conn)
    .map(|_| ())
}

/// Inserts the row of a blob and holds it until the transaction ends; false where the blob has a row already.
pub fn claim_blob(conn: &mut Conn, digest: &str, now: Timestamp) -> QueryResult<bool> {
    sql_query("INSERT INTO blobs (digest, size_bytes, created_at, touched_at) VALUES ($1, 0, $2, $2) ON CONFLICT (digest) DO NOTHING")
        .bind::<Text, _>(digest)
        .bind::<diesel::sql_types::Timestamp, _>(now)
        .execute(conn)
        .map(|rows| rows == 1)
}

/// What an organisation stores.
#[derive(Debug, diesel::QueryableByName)]
pub struct Stored {
    /// Bytes but for the links.
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    /// Links of its repositories to blobs.
    #[diesel(sql_type = BigInt)]
    links: i64,
}

impl Stored {
    /// Bytes for which it counts, with so many for each link.
    pub fn bytes(&self, of_link: u64) -> u64 {
        u64::try_from(self.bytes).unwrap_or(0).saturating_add(self.links().saturating_mul(of_link))
    }

    pub fn links(&self) -> u64 {
        u64::try_from(self.links).unwrap_or(0)
    }
}

/// Bytes that an organisation stores: each blob of its repositories once and as a block of the disk at least, each link of a repository to
/// one, its manifests with the annotations that are kept beside them, and the received bytes of its uploads. (`sum` of diesel gives a type that the backends do not share.)
pub fn stored_bytes(conn: &mut Conn, organization_id: &str) -> QueryResult<Stored> {
    sql_query(
        "SELECT CAST(\
           (SELECT COALESCE(SUM(CASE WHEN size_bytes < 4096 THEN 4096 ELSE size_bytes END), 0) FROM blobs WHERE digest IN \
             (SELECT l.digest FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id WHERE r.organization_id = $1)) \
           + (SELECT COALESCE(SUM(length(m.content) + COALESCE(octet_length(m.annotations), 0)), 0) \
              FROM manifests m JOIN repositories r ON r.id = m.repository_id WHERE r.organization_id = $1) \
           + (SELECT COALESCE(SUM(u.offset_bytes), 0) FROM uploads u JOIN repositories r ON r.id = u.repository_id WHERE r.organization_id = $1) \
         AS BIGINT) AS bytes, \
         (SELECT COUNT(*) FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id WHERE r.organization_id = $1) AS links",
    )
    .bind::<Text, _>(organization_id)
    .get_result(conn)
}

/// Texts as rows of one column `value`, so that one statement takes however many there are: what stands after FROM, where `place` (`$3`) is
/// their JSON array.
fn texts(conn: &Conn, place: &str) -> String {
    match conn {
        Conn::Postgres(_) => format!("json_array_elements_text(CAST({place} AS json)) AS named (value)"),
        Conn::Sqlite(_) => format!("json_each({place}) AS named"),
    }
}

/// `id`, `app_id`, `version` and `channel` of the releases of some apps that are in a state, at most `limit` of each app: stable ones first,
/// then the newest.
pub fn newest_releases<T>(conn: &mut Conn, state: &str, app_ids: &[String], limit: i64) -> QueryResult<Vec<T>>
where
    T: diesel::QueryableByName<<Conn as diesel::Connection>::Backend> + 'static,
{
    // SQLite numbers parameters in the order in which they are first named, so that is the order of their numbers.
    let from = texts(conn, "$2");
    sql_query(format!(
        "SELECT id, app_id, version, channel FROM (SELECT id, app_id, version, channel, \
         ROW_NUMBER() OVER (PARTITION BY app_id ORDER BY channel DESC, published_at DESC, id DESC) AS place \
         FROM releases WHERE state = $1 AND app_id IN (SELECT named.value FROM {from})) AS ranked \
         WHERE place <= $3 ORDER BY app_id, place"
    ))
    .bind::<Text, _>(state)
    .bind::<Text, _>(serde_json::json!(app_ids).to_string())
    .bind::<BigInt, _>(limit)
    .load(conn)
}

/// A tag and the manifest that it points at.
#[derive(diesel::QueryableByName)]
struct Tagged {
    #[diesel(sql_type = Text)]
    digest: String,
    #[diesel(sql_type = Text)]
    name: String,
}

/// Digests and names of the tags that point at some manifests, in order of names, at most `limit` of each manifest.
pub fn tags_of(conn: &mut Conn, repository_id: &str, digests: &[&str], limit: i64) -> QueryResult<Vec<(String, String)>> {
    let from = texts(conn, "$2");
    let rows: Vec<Tagged> = sql_query(format!(
        "SELECT digest, name FROM (SELECT digest, name, ROW_NUMBER() OVER (PARTITION BY digest ORDER BY name) AS place \
         FROM tags WHERE repository_id = $1 AND digest IN (SELECT named.value FROM {from})) AS ranked \
         WHERE place <= $3 ORDER BY digest, place"
    ))
    .bind::<Text, _>(repository_id)
    .bind::<Text, _>(serde_json::json!(digests).to_string())
    .bind::<BigInt, _>(limit)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| (row.digest, row.name)).collect())
}

/// Notes the blobs that a manifest names.
pub fn link_manifest(conn: &mut Conn, repository_id: &str, manifest: &str, digests: &[&str]) -> QueryResult<usize> {
    // `WHERE TRUE` keeps SQLite from reading ON as a join's.
    let from = texts(conn, "$3");
    sql_query(format!(
        "INSERT INTO manifest_blobs (repository_id, digest, manifest) SELECT $1, named.value, $2 FROM {from} WHERE TRUE \
         ON CONFLICT (repository_id, digest, manifest) DO NOTHING"
    ))
    .bind::<Text, _>(repository_id)
    .bind::<Text, _>(manifest)
    .bind::<Text, _>(serde_json::json!(digests).to_string())
    .execute(conn)
}

/// Remembers what some tags have named; what is remembered already stays.
pub fn retire_tags(conn: &mut Conn, repository_id: &str, digest: &str, names: &[&str]) -> QueryResult<usize> {
    let from = texts(conn, "$3");
    sql_query(format!(
        "INSERT INTO retired_tags (repository_id, name, digest) SELECT $1, named.value, $2 FROM {from} WHERE TRUE \
         ON CONFLICT (repository_id, name) DO NOTHING"
    ))
    .bind::<Text, _>(repository_id)
    .bind::<Text, _>(digest)
    .bind::<Text, _>(serde_json::json!(names).to_string())
    .execute(conn)
}

/// Sets an organisation's own storage limit.
pub fn put_quota(conn: &mut Conn, organization_id: &str, limit_bytes: i64) -> QueryResult<()> {
    sql_query(
        "INSERT INTO storage_quotas (organization_id, limit_bytes) VALUES ($1, $2) \
         ON CONFLICT (organization_id) DO UPDATE SET limit_bytes = excluded.limit_bytes",
    )
    .bind::<Text, _>(organization_id)
    .bind::<BigInt, _>(limit_bytes)
    .execute(conn)
    .map(|_| ())
}

/// Notes that a repository holds a blob; gives whether that is new.
pub fn link_blob(conn: &mut Conn, repository_id: &str, digest: &str, now: Timestamp) -> QueryResult<bool> {
    sql_query("INSERT INTO repository_blobs (repository_id, digest, created_at) VALUES ($1, $2, $3) ON CONFLICT (repository_id, digest) DO NOTHING")
        .bind::<Text, _>(repository_id)
        .bind::<Text, _>(digest)
        .bind::<diesel::sql_types::Timestamp, _>(now)
        .execute(conn)
        .map(|rows| rows == 1)
}

/// Points a tag at a digest, moving it where it exists.
pub fn put_tag(conn: &mut Conn, repository_id: &str, name: &str, digest: &str, now: Timestamp) -> QueryResult<()> {
    sql_query(
        "INSERT INTO tags (repository_id, name, digest, updated_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (repository_id, name) DO UPDATE SET digest = excluded.digest, updated_at = excluded.updated_at",
    )
    .bind::<Text, _>(repository_id)
    .bind::<Text, _>(name)
    .bind::<Text, _>(digest)
    .bind::<diesel::sql_types::Timestamp, _>(now)
    .execute(conn)
    .map(|_| ())
}

/// Counts one attempt of a subject (account or address): starts a new window where the last began before `window_start`, or further ahead than
/// a window is long, by a clock that was set back since. Gives the attempts in the window, this one included.
pub fn count_attempt(conn: &mut Conn, subject: &str, now: Timestamp, window_start: Timestamp) -> QueryResult<i64> {
    use diesel::prelude::*;
    sql_query(
        "INSERT INTO throttles (subject, failures, window_started_at) VALUES ($1, 1, $2) \
         ON CONFLICT (subject) DO UPDATE SET \
           failures = CASE WHEN throttles.window_started_at BETWEEN $3 AND $4 THEN throttles.failures + 1 ELSE 1 END, \
           window_started_at = CASE WHEN throttles.window_started_at BETWEEN $3 AND $4 THEN throttles.window_started_at ELSE $2 END",
    )
    .bind::<Text, _>(subject)
    .bind::<diesel::sql_types::Timestamp, _>(now)
    .bind::<diesel::sql_types::Timestamp, _>(window_start)
    .bind::<diesel::sql_types::Timestamp, _>(now.plus(now.utc() - window_start.utc()))
    .execute(conn)?;
    schema::throttles::table.find(subject).select(schema::throttles::failures).first(conn)
}

/// Inserts a repository, or leaves the one that has the name.
pub fn insert_repository(conn: &mut Conn, id: &str, name: &str, organization_id: &str, now: Timestamp) -> QueryResult<usize> {
    sql_query("INSERT INTO repositories (id, name, organization_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING")
        .bind::<Text, _>(id)
        .bind::<Text, _>(name)
        .bind::<Text, _>(organization_id)
        .bind::<diesel::sql_types::Timestamp, _>(now)
        .execute(conn)
}

/// Length of a manifest's content in bytes, the same type on both backends.
pub fn content_length() -> diesel::expression::SqlLiteral<BigInt> {
    diesel::dsl::sql::<BigInt>("CAST(length(content) AS BIGINT)")
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The collation that orders bytes, whatever the database's own.
fn bytewise(conn: &Conn) -> &'static str {
    match conn {
        Conn::Postgres(_) => "\"C\"",
        Conn::Sqlite(_) => "BINARY",
    }
}

/// Names of repositories after a name, in ASCII order; of one organisation, or of all.
pub fn repositories_after(conn: &mut Conn, organization_id: Option<&str>, after: &str, limit: i64) -> QueryResult<Vec<String>> {
    let collation = bytewise(conn);
    let rows: Vec<Name> = sql_query(format!(
        "SELECT name FROM repositories WHERE name COLLATE {collation} > $1 AND ($2 = '' OR organization_id = $2) \
         ORDER BY name COLLATE {collation} LIMIT $3"
    ))
    .bind::<Text, _>(after)
    .bind::<Text, _>(organization_id.unwrap_or_default())
    .bind::<BigInt, _>(limit)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Names of a repository's tags after a name, in ASCII order; with `visibility` only tags of manifests that have it.
pub fn tags_after(conn: &mut Conn, repository_id: &str, after: &str, limit: i64, visibility: Option<&str>) -> QueryResult<Vec<String>> {
    let collation = bytewise(conn);
    let rows: Vec<Name> = sql_query(format!(
        "SELECT name FROM tags WHERE repository_id = $1 AND name COLLATE {collation} > $2 \
         AND ($3 = '' OR digest IN (SELECT digest FROM manifests WHERE repository_id = $1 AND visibility = $3)) \
         ORDER BY name COLLATE {collation} LIMIT $4"
    ))
    .bind::<Text, _>(repository_id)
    .bind::<Text, _>(after)
    .bind::<Text, _>(visibility.unwrap_or_default())
    .bind::<BigInt, _>(limit)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}
