//! The two migrated schemas are the same, and every migration goes down and up again on both.

use std::path::PathBuf;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use pithead::base::config::Trust;
use pithead::base::db::{Conn, Db, Location, migrate};
use pithead::base::pki::pins;

#[derive(QueryableByName, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::struct_field_names, reason = "the names of information_schema")]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    data_type: String,
    #[diesel(sql_type = Bool)]
    required: bool,
}

fn columns(conn: &mut Conn) -> Vec<Column> {
    let mut rows: Vec<Column> = match conn {
        Conn::Sqlite(lite) => diesel::sql_query(
            "SELECT m.name AS table_name, p.name AS column_name, lower(p.type) AS data_type, (p.\"notnull\" = 1 OR p.pk > 0) AS required \
             FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_\\_diesel%' ESCAPE '\\'",
        )
        .load(lite)
        .unwrap(),
        Conn::Postgres(pg) => diesel::sql_query(
            "SELECT table_name::text, column_name::text, data_type::text, (is_nullable = 'NO') AS required FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_\\_diesel%'",
        )
        .load(pg)
        .unwrap(),
    };
    for row in &mut rows {
        let same = match row.data_type.as_str() {
            "timestamp without time zone" => "timestamp",
            "bytea" => "blob",
            other => other,
        };
        row.data_type = same.to_owned();
    }
    rows.sort();
    rows
}

/// Table, column and whether it is required, as `schema.rs` says, sorted.
fn declared() -> Vec<(String, String, bool)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/base/db/schema.rs")).unwrap();
    let mut columns = Vec::new();
    for table in text.split("diesel::table! {").skip(1) {
        let (head, body) = table.split_once(") {").unwrap();
        let name = head.trim().split(' ').next().unwrap();
        for column in body.split('}').next().unwrap().lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" -> ")) {
            columns.push((name.to_owned(), column.0.to_owned(), !column.1.starts_with("Nullable")));
        }
    }
    columns.sort();
    columns
}

/// An empty database of each kind; both go with the value.
struct Both {
    lite: Db,
    pg: Db,
    file: PathBuf,
    schema: String,
}

impl Both {
    fn empty() -> Self {
        let file = std::env::temp_dir().join(pithead::base::ids::new("parity"));
        let lite = Db::open(&Location::parse(&format!("sqlite:{}", file.display())).unwrap(), 1).unwrap();
        let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set: run make test");
        let schema = pithead::base::ids::new("parity");
        let admin = Db::open(&Location::parse(&url).unwrap(), 2).unwrap();
        admin.blocking().unwrap().batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
        let separator = if url.contains('?') { '&' } else { '?' };
        let pg = Db::open(&Location::parse(&format!("{url}{separator}options=-c%20search_path%3D{schema}")).unwrap(), 2).unwrap();
        Self { lite, pg, file, schema }
    }

    fn each(&self) -> [&Db; 2] {
        [&self.lite, &self.pg]
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        if let Ok(mut conn) = self.pg.blocking() {
            let _ = conn.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.schema));
        }
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
fn both_schemas_are_the_same_after_up_down_and_up() {
    let both = Both::empty();
    let [lite, pg] = both.each();
    for _ in 0..2 {
        migrate::up(&mut lite.blocking().unwrap()).unwrap();
        migrate::up(&mut pg.blocking().unwrap()).unwrap();
        let (a, b) = (columns(&mut lite.blocking().unwrap()), columns(&mut pg.blocking().unwrap()));
        assert!(a.len() > 100, "only {} columns were found", a.len());
        assert_eq!(a, b);
        let migrated: Vec<_> = a.into_iter().map(|c| (c.table_name, c.column_name, c.required)).collect();
        assert_eq!(declared(), migrated, "src/base/db/schema.rs");
        down_to_before(&mut lite.blocking().unwrap(), "2026-11-23-000000");
        down_to_before(&mut pg.blocking().unwrap(), "2026-11-23-000000");
        assert!(columns(&mut lite.blocking().unwrap()).is_empty());
        assert!(columns(&mut pg.blocking().unwrap()).is_empty());
    }
}

/// Takes migrations back until the one of this name is gone.
fn down_to_before(conn: &mut Conn, name: &str) {
    use diesel_migrations::{FileBasedMigrations, MigrationHarness as _};
    let folder = |backend: &str| FileBasedMigrations::from_path(format!("{}/migrations/{backend}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    loop {
        let version = match conn {
            Conn::Sqlite(c) => c.revert_last_migration(folder("sqlite")),
            Conn::Postgres(c) => c.revert_last_migration(folder("postgres")),
        };
        // The version is the name's digits.
        if version.unwrap().to_string() == name.chars().filter(char::is_ascii_digit).collect::<String>() {
            return;
        }
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

fn count(conn: &mut Conn, query: &str) -> i64 {
    diesel::sql_query(query).get_result::<Count>(conn).unwrap().n
}

#[test]
fn the_audit_chain_of_the_version_before_stays_verifiable() {
    use pithead::audit::model::{ChainVerdict, GENESIS, OLD_CHAIN, Record};
    use pithead::audit::service::{Known, Note, verify_in};
    const NAME: &str = "2026-11-29-000000";
    let both = Both::empty();
    for db in both.each() {
        {
            let mut conn = db.blocking().unwrap();
            migrate::up(&mut conn).unwrap();
            down_to_before(&mut conn, NAME);
            let mut previous_hash = GENESIS.to_owned();
            for sequence in 1..=3 {
                let mut record = Record {
                    chain: OLD_CHAIN.into(),
                    sequence,
                    at: pithead::base::db::Timestamp::from_unix(1_767_225_600 + sequence),
                    actor: "system".into(),
                    organization_id: None,
                    action: "quota.set".into(),
                    subject: "org_x".into(),
                    detail: "{}".into(),
                    previous_hash,
                    hash: String::new(),
                };
                record.hash = record.expected_hash();
                diesel::sql_query(format!(
                    "INSERT INTO audit_records (sequence, at, actor, action, subject, detail, previous_hash, hash) \
                     VALUES ({sequence}, '2026-01-01 00:00:0{sequence}', 'system', 'quota.set', 'org_x', '{{}}', '{}', '{}')",
                    record.previous_hash, record.hash
                ))
                .execute(&mut *conn)
                .unwrap();
                previous_hash = record.hash;
            }
            migrate::up(&mut conn).unwrap();
        }
        let known = Known { keys: app_package::keys::KeySet::new(), note: Note::Absent };
        let intact = ChainVerdict::Intact { records: 3, chains: 1, seals: 0, signed: 0, noted: false };
        let mut conn = db.blocking().unwrap();
        assert_eq!(verify_in(&mut conn, &known).unwrap(), intact);
        assert_eq!(count(&mut conn, "SELECT sequence AS n FROM audit_heads WHERE chain = '0'"), 3);
        conn.batch_execute(
            "INSERT INTO audit_records (chain, sequence, at, actor, action, subject, detail, previous_hash, hash) VALUES \
             ('org_x', 1, '2026-01-02 00:00:00', 'system', 'quota.set', 'org_x', '{}', 'a', 'b'), \
             ('platform', 1, '2026-01-02 00:00:01', 'system', 'quota.set', 'org_x', '{}', 'a', 'c')",
        )
        .unwrap();
        // Down keeps every record, up takes them all for the old chain.
        down_to_before(&mut conn, NAME);
        assert_eq!(count(&mut conn, "SELECT COUNT(*) AS n FROM audit_records"), 5);
        assert_eq!(count(&mut conn, "SELECT sequence AS n FROM audit_records WHERE hash = 'c'"), 5);
        migrate::up(&mut conn).unwrap();
        assert_eq!(count(&mut conn, "SELECT COUNT(*) AS n FROM audit_records WHERE chain = '0'"), 5);
        let broken = ChainVerdict::Broken { chain: OLD_CHAIN.into(), sequence: 4, fault: "previous-hash" };
        assert_eq!(verify_in(&mut conn, &known).unwrap(), broken);
    }
}

#[test]
fn seals_of_the_version_before_stay_verifiable() {
    use pithead::audit::model::{ChainVerdict, GENESIS, Leaf, OLD_CHAIN, Record};
    use pithead::audit::seal;
    use pithead::audit::service::{Known, Note, verify_in};
    let mut record = Record {
        chain: OLD_CHAIN.into(),
        sequence: 1,
        at: pithead::base::db::Timestamp::from_unix(1_767_225_600),
        actor: "system".into(),
        organization_id: None,
        action: "quota.set".into(),
        subject: "org_x".into(),
        detail: "{}".into(),
        previous_hash: GENESIS.into(),
        hash: String::new(),
    };
    record.hash = record.expected_hash();
    let hash = record.hash;
    let root = seal::root(&mut [Leaf { chain: OLD_CHAIN.into(), sequence: 1, hash: hash.clone(), number: 1 }]);
    let both = Both::empty();
    for db in both.each() {
        let mut conn = db.blocking().unwrap();
        migrate::up(&mut conn).unwrap();
        down_to_before(&mut conn, "2026-11-29-000082");
        conn.batch_execute(&format!(
            "INSERT INTO audit_records (chain, sequence, at, actor, action, subject, detail, previous_hash, hash) VALUES \
             ('0', 1, '2026-01-01 00:00:00', 'system', 'quota.set', 'org_x', '{{}}', '{GENESIS}', '{hash}'); \
             INSERT INTO audit_heads (chain, sequence, hash) VALUES ('0', 1, '{hash}'); \
             INSERT INTO audit_seals (number, at, root) VALUES (1, '2026-01-01 00:00:10', '{root}'); \
             INSERT INTO audit_seal_leaves (chain, sequence, hash, number) VALUES ('0', 1, '{hash}', 1);"
        ))
        .unwrap();
        migrate::up(&mut conn).unwrap();
        let known = Known { keys: app_package::keys::KeySet::new(), note: Note::Absent };
        let intact = ChainVerdict::Intact { records: 1, chains: 1, seals: 1, signed: 0, noted: false };
        assert_eq!(verify_in(&mut conn, &known).unwrap(), intact);
    }
}

#[test]
fn both_backends_have_migrations_of_the_same_names() {
    let names = |backend: &str| {
        let mut names: Vec<_> = std::fs::read_dir(format!("{}/migrations/{backend}", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[derive(QueryableByName, Debug, PartialEq, Eq)]
struct Shown {
    #[diesel(sql_type = Text)]
    digest: String,
    #[diesel(sql_type = Text)]
    visibility: String,
}

/// A release of the version before in each state, what refers to one of them, the same manifest in a repository that is no app's, and a
/// hidden test set.
const OWNED: &str = "
INSERT INTO organizations (id, slug, kind, name_zh, name_en, created_at) VALUES ('org_1', 'acme', 'vendor', 'a', 'a', '2026-01-01 00:00:00');
INSERT INTO users (id, email, name, password_hash, created_at) VALUES ('usr_1', 'a@b.example', 'A', 'x', '2026-01-01 00:00:00');
INSERT INTO apps (id, organization_id, slug, title_zh, title_en, summary_zh, summary_en, specialty, scenario, input, safety, state, deployments, created_at, updated_at)
  SELECT 'app_1', 'org_1', 'belt', 't', 't', 's', 's', specialty, slug, 'image', FALSE, 'listed', 0, '2026-01-01 00:00:00', '2026-01-01 00:00:00'
  FROM scenarios ORDER BY slug LIMIT 1;
INSERT INTO repositories (id, name, organization_id, created_at) VALUES
  ('rep_1', 'acme/belt', 'org_1', '2026-01-01 00:00:00'), ('rep_2', 'acme/other', 'org_1', '2026-01-01 00:00:00');
INSERT INTO blobs (digest, size_bytes, created_at, touched_at) VALUES ('sha256:set', 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00');
INSERT INTO evaluation_sets (id, scenario, name_zh, name_en, metric, input, unit, samples, digest, size_bytes, created_by, created_at)
  SELECT 'evs_1', slug, 'n', 'n', 'accuracy', 'image', '', 1, 'sha256:set', 1, 'usr_1', '2026-01-01 00:00:00' FROM scenarios ORDER BY slug LIMIT 1;
INSERT INTO throttles (subject, failures, window_started_at) VALUES ('account:a', 3, '2026-01-01 00:00:00');
";

#[test]
fn visibility_and_pins_come_from_the_rows_of_the_version_before() {
    const NAME: &str = "2026-11-29-000001";
    let states = [
        ("draft", "private"),
        ("checking", "kept"),
        ("failed", "private"),
        ("ready", "kept"),
        ("in_review", "kept"),
        ("changes_requested", "kept"),
        ("approved", "kept"),
        ("rejected", "private"),
        ("published", "public"),
        ("deprecated", "public"),
        ("recalled", "kept"),
    ];
    let both = Both::empty();
    for db in both.each() {
        let mut conn = db.blocking().unwrap();
        migrate::up(&mut conn).unwrap();
        down_to_before(&mut conn, NAME);
        conn.batch_execute(OWNED).unwrap();
        let empty = if matches!(*conn, Conn::Sqlite(_)) { "x''" } else { "''" };
        let manifest = |repository: &str, digest: &str, subject: &str| {
            format!(
                "INSERT INTO manifests (repository_id, digest, media_type, subject, content, created_at) \
                 VALUES ('{repository}', '{digest}', 'm', {subject}, {empty}, '2026-01-01 00:00:00')"
            )
        };
        for (n, (state, _)) in states.iter().enumerate() {
            conn.batch_execute(&manifest("rep_1", state, "NULL")).unwrap();
            conn.batch_execute(&format!(
                "INSERT INTO releases (id, app_id, version, digest, manifest, size_bytes, state, created_by, created_at, updated_at) \
                 VALUES ('rel_{n}', 'app_1', '{n}.0.0', '{state}', '{{}}', 1, '{state}', 'usr_1', '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
            ))
            .unwrap();
        }
        conn.batch_execute(&manifest("rep_1", "signature", "'published'")).unwrap();
        conn.batch_execute(&manifest("rep_2", "published", "NULL")).unwrap();
        for _ in 0..2 {
            migrate::up(&mut conn).unwrap();
            for (digest, visibility) in states {
                let shown: Shown = diesel::sql_query(format!(
                    "SELECT digest, visibility FROM manifests WHERE repository_id = 'rep_1' AND digest = '{digest}'"
                ))
                .get_result(&mut *conn)
                .unwrap();
                assert_eq!(shown, Shown { digest: digest.into(), visibility: visibility.into() });
            }
            assert_eq!(
                count(&mut conn, "SELECT COUNT(*) AS n FROM manifests WHERE visibility = 'private'"),
                3 + 2,
                "and the two that are none"
            );
            assert_eq!(count(&mut conn, "SELECT COUNT(*) AS n FROM blob_pins WHERE digest = 'sha256:set' AND holder = 'evs_1'"), 1);
            down_to_before(&mut conn, NAME);
            assert_eq!(count(&mut conn, "SELECT COUNT(*) AS n FROM manifests"), 13);
            assert_eq!(count(&mut conn, "SELECT COUNT(*) AS n FROM releases WHERE state = 'in_review'"), 2);
            assert_eq!(count(&mut conn, "SELECT COUNT(*) AS n FROM throttles WHERE failures = 3 AND blocked_until IS NULL"), 1);
        }
    }
}

#[test]
fn sets_that_go_down_take_their_pins_along() {
    let both = Both::empty();
    for db in both.each() {
        let mut conn = db.blocking().unwrap();
        migrate::up(&mut conn).unwrap();
        conn.batch_execute(OWNED).unwrap();
        for (id, metric) in [("evs_2", "cer"), ("evs_3", "event-f1")] {
            conn.batch_execute(&format!(
                "INSERT INTO evaluation_sets (id, scenario, name_zh, name_en, metric, input, unit, samples, digest, size_bytes, created_by, created_at) \
                 SELECT '{id}', scenario, 'n', 'n', '{metric}', 'video', '', 1, digest, 1, created_by, created_at FROM evaluation_sets WHERE id = 'evs_1'"
            ))
            .unwrap();
        }
        conn.batch_execute("INSERT INTO blob_pins (digest, holder) SELECT digest, id FROM evaluation_sets").unwrap();
        let pins = "SELECT COUNT(*) AS n FROM blob_pins";
        assert_eq!(count(&mut conn, pins), 3);
        down_to_before(&mut conn, "2026-11-30-000020");
        assert_eq!(count(&mut conn, pins), 2);
        down_to_before(&mut conn, "2026-11-30-000000");
        assert_eq!(count(&mut conn, pins), 1);
    }
}

#[test]
fn a_database_of_the_version_before_knows_that_it_had_keys() {
    const NAME: &str = "2026-11-29-000042";
    let both = Both::empty();
    for db in both.each() {
        let mut conn = db.blocking().unwrap();
        let pinned = |conn: &mut Conn| {
            migrate::up(conn).unwrap();
            count(conn, "SELECT COUNT(*) AS n FROM key_pins WHERE fingerprint = ''")
        };
        assert_eq!(pinned(&mut conn), 0, "a fresh one has signed nothing");
        down_to_before(&mut conn, NAME);
        conn.batch_execute(OWNED).unwrap();
        assert_eq!(pinned(&mut conn), 0, "nor has one with a draft");
        down_to_before(&mut conn, NAME);
        conn.batch_execute(
            "INSERT INTO releases (id, app_id, version, digest, manifest, size_bytes, state, created_by, created_at, updated_at, published_at) \
             VALUES ('rel_1', 'app_1', '1.0.0', 'd', '{}', 1, 'published', 'usr_1', '2026-01-01 00:00:00', '2026-01-01 00:00:00', '2026-01-01 00:00:00')",
        )
        .unwrap();
        assert_eq!(pinned(&mut conn), 1);
        drop(conn);
        let folder = std::env::temp_dir().join(pithead::base::ids::new("parity-keys"));
        let refused = pins::load(&mut db.blocking().unwrap(), &folder, &Trust::default()).unwrap_err().to_string();
        assert!(refused.contains("platform.pem is missing") && !folder.exists(), "{refused}");
    }
}

#[test]
fn signatures_of_the_platform_are_told_from_those_of_vendors_in_rows_of_the_version_before() {
    const NAME: &str = "2026-11-29-000010";
    let both = Both::empty();
    for db in both.each() {
        let mut conn = db.blocking().unwrap();
        migrate::up(&mut conn).unwrap();
        down_to_before(&mut conn, NAME);
        conn.batch_execute(OWNED).unwrap();
        let empty = if matches!(*conn, Conn::Sqlite(_)) { "x''" } else { "''" };
        let signature = "application/vnd.pithead.signature.v1+json";
        let manifest = |repository: &str, digest: &str, kind: &str, subject: &str, annotations: &str, at: &str| {
            format!(
                "INSERT INTO manifests (repository_id, digest, media_type, artifact_type, subject, annotations, content, created_at, visibility) \
                 VALUES ('{repository}', '{digest}', 'm', '{kind}', {subject}, '{annotations}', {empty}, '2026-01-02 00:00:00.{at}', \
                 '{}')",
                if digest == "release" && repository == "rep_1" { "public" } else { "private" }
            )
        };
        let (long, short) = ("x".repeat(16 * 1024 + 1), "x".repeat(16 * 1024));
        for row in [
            manifest("rep_1", "release", "app", "NULL", &short, "000001"),
            manifest("rep_1", "platform", signature, "'release'", &long, "000002"),
            // Attached by the vendor, before and after.
            manifest("rep_1", "before", signature, "'release'", "", "000001"),
            manifest("rep_1", "after", signature, "'release'", "", "000003"),
            manifest("rep_1", "sbom", &"t".repeat(256), "'release'", "", "000002"),
            // The same in a repository that is no app's.
            manifest("rep_2", "platform", signature, "'release'", "", "000002"),
            "INSERT INTO releases (id, app_id, version, digest, manifest, size_bytes, state, created_by, created_at, updated_at, published_at) \
             VALUES ('rel_1', 'app_1', '1.0.0', 'release', '{}', 1, 'published', 'usr_1', '2026-01-01 00:00:00', '2026-01-01 00:00:00', \
             '2026-01-02 00:00:00.000002')"
                .to_owned(),
        ] {
            conn.batch_execute(&row).unwrap();
        }
        let is = |conn: &mut Conn, condition: &str| count(conn, &format!("SELECT COUNT(*) AS n FROM manifests WHERE {condition}"));
        for again in [false, true] {
            migrate::up(&mut conn).unwrap();
            assert_eq!(is(&mut conn, "visibility = 'kept' AND repository_id = 'rep_1' AND digest = 'platform'"), 1);
            assert_eq!((is(&mut conn, "visibility = 'kept'"), is(&mut conn, "visibility = 'public'")), (1, 1));
            assert_eq!((is(&mut conn, "annotations IS NULL"), is(&mut conn, "length(annotations) = 16384")), (1, 1));
            assert_eq!(is(&mut conn, "artifact_type IS NULL AND digest = 'sbom'"), 1);
            assert_eq!(is(&mut conn, "NOT linked"), 6, "the server links them: {again}");
            conn.batch_execute("INSERT INTO manifest_blobs (repository_id, digest, manifest) VALUES ('rep_1', 'b', 'release')").unwrap();
            assert!(conn.batch_execute("DELETE FROM manifests WHERE digest = 'release'").is_err(), "what is linked goes with its links");
            down_to_before(&mut conn, NAME);
            assert_eq!((is(&mut conn, "visibility = 'private'"), is(&mut conn, "visibility = 'public'")), (5, 1));
        }
    }
}
