//! The two migrated schemas are the same, and every migration goes down and up again on both.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use pithead::base::db::{Conn, Db, Location, migrate};

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

fn postgres() -> (Db, String) {
    let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set: run make test");
    let schema = pithead::base::ids::new("parity");
    let admin = Db::open(&Location::parse(&url).unwrap(), 2).unwrap();
    admin.blocking().unwrap().batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
    let separator = if url.contains('?') { '&' } else { '?' };
    let db = Db::open(&Location::parse(&format!("{url}{separator}options=-c%20search_path%3D{schema}")).unwrap(), 2).unwrap();
    (db, schema)
}

#[test]
fn both_schemas_are_the_same_after_up_down_and_up() {
    let file = std::env::temp_dir().join(pithead::base::ids::new("parity"));
    let lite = Db::open(&Location::parse(&format!("sqlite:{}", file.display())).unwrap(), 1).unwrap();
    let (pg, schema) = postgres();
    for _ in 0..2 {
        migrate::up(&mut lite.blocking().unwrap()).unwrap();
        migrate::up(&mut pg.blocking().unwrap()).unwrap();
        let (a, b) = (columns(&mut lite.blocking().unwrap()), columns(&mut pg.blocking().unwrap()));
        assert!(a.len() > 100, "only {} columns were found", a.len());
        assert_eq!(a, b);
        migrate::down_all(&mut lite.blocking().unwrap()).unwrap();
        migrate::down_all(&mut pg.blocking().unwrap()).unwrap();
        assert!(columns(&mut lite.blocking().unwrap()).is_empty());
        assert!(columns(&mut pg.blocking().unwrap()).is_empty());
    }
    pg.blocking().unwrap().batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).unwrap();
    std::fs::remove_file(file).unwrap();
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
