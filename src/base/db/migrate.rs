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
