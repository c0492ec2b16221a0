//! Schema changes, embedded for both backends under the same names; each runs in its own transaction.

use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Conn;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Applies what is missing; gives the names applied.
pub fn up(conn: &mut Conn) -> anyhow::Result<Vec<String>> {
    let done = match conn {
        Conn::Sqlite(c) => c.run_pending_migrations(SQLITE),
        Conn::Postgres(c) => c.run_pending_migrations(POSTGRES),
    };
    done.map(|versions| versions.iter().map(ToString::to_string).collect()).map_err(|e| anyhow::anyhow!("migration failed: {e}"))
}

#[cfg(test)]
mod tests {
    use diesel::RunQueryDsl as _;
    use diesel::dsl::sql;
    use diesel::sql_types::Text;

    use super::*;

    #[tokio::test]
    async fn contents_of_manifests_lie_behind_what_is_read_without_them() {
        crate::testing::each_backend(|app| async move {
            let last = app.db.read(|conn| {
                if matches!(conn, Conn::Postgres(_)) {
                    return Ok("content".to_owned()); // there they lie apart
                }
                let last = "(SELECT name FROM pragma_table_info('manifests') ORDER BY cid DESC LIMIT 1)";
                Ok(diesel::select(sql::<Text>(last)).get_result::<String>(conn)?)
            });
            assert_eq!(last.await.unwrap(), "content", "SQLite walks all of a content to a column behind it");
        })
        .await;
    }
}
