//! The database: one code for embedded SQLite and for PostgreSQL, chosen by the URL's scheme.
//!
//! [`Db::read`] and [`Db::write`] run a closure on the blocking pool with a connection; a write is always exactly one transaction.
//! SQLite has one writer connection and several query-only readers (WAL), so writers never meet; PostgreSQL has one pool.
//! Concurrency is decided by constraints, conditional updates and held rows ([`dialect::hold`]), never by reading first. Everything that
//! differs between the backends is in [`dialect`].

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::r2d2::{ManageConnection, Pool, PooledConnection};
use diesel::{Connection, ConnectionError, ConnectionResult, PgConnection, SqliteConnection};

use crate::base::error::{Error, Kind, Result};
use crate::base::room::Room;

pub mod dialect;
pub mod marks;
pub mod migrate;
pub mod schema;
pub mod text;
pub mod types;

pub use marks::{Marks, Touched};
pub use types::{Json, Timestamp};

pub use conn::Conn;
mod conn {
    /// A connection to either backend.
    #[derive(diesel::MultiConnection)]
    pub enum Conn {
        /// PostgreSQL.
        Postgres(diesel::PgConnection),
        /// SQLite.
        Sqlite(diesel::SqliteConnection),
    }
}

/// Which database, from the URL `sqlite:PATH` or `postgres://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Path of the database file.
    Sqlite(String),
    /// libpq connection URL.
    Postgres(String),
}

impl Location {
    /// Reads a URL. A scheme that is neither is an error: a typo must not create an empty database.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            anyhow::ensure!(!path.is_empty() && path != ":memory:", "sqlite: needs the path of a file");
            Ok(Self::Sqlite(path.to_owned()))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres(url.to_owned()))
        } else {
            anyhow::bail!("database URL must begin with sqlite: or postgres://")
        }
    }
}

/// Rests before a transaction that collided runs again, each lengthened by up to as much again at random: the other one then holds its
/// rows first, where both would fall into the same ring once more.
const PAUSES: [Duration; 3] = [Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(80)];

/// Opens connections for a pool.
#[derive(Debug, Clone)]
pub struct Manager {
    location: Location,
    query_only: bool,
    durable: bool,
}

impl ManageConnection for Manager {
    type Connection = Conn;
    type Error = ConnectionError;

    fn connect(&self) -> ConnectionResult<Conn> {
        match &self.location {
            Location::Postgres(url) => {
                let mut conn = PgConnection::establish(url)?;
                if !self.durable {
                    conn.batch_execute("SET synchronous_commit = off").map_err(ConnectionError::CouldntSetupConfiguration)?;
                }
                Ok(Conn::Postgres(conn))
            }
            Location::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(path)?;
                let pragmas = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; \
                               PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY;";
                conn.batch_execute(pragmas).map_err(ConnectionError::CouldntSetupConfiguration)?;
                if self.query_only {
                    conn.batch_execute("PRAGMA query_only = ON;").map_err(ConnectionError::CouldntSetupConfiguration)?;
                }
                Ok(Conn::Sqlite(conn))
            }
        }
    }

    fn is_valid(&self, conn: &mut Conn) -> ConnectionResult<()> {
        conn.batch_execute("SELECT 1").map_err(ConnectionError::CouldntSetupConfiguration)
    }

    fn has_broken(&self, conn: &mut Conn) -> bool {
        match conn {
            // A connection given back inside a transaction (a panic in the closure) must not be lent again.
            Conn::Postgres(c) => diesel::r2d2::R2D2Connection::is_broken(c),
            Conn::Sqlite(c) => diesel::r2d2::R2D2Connection::is_broken(c),
        }
    }
}

/// The pools. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    read: Pool<Manager>,
    write: Pool<Manager>,
    marks: Arc<Marks>,
    /// Room to give up where the disk is full.
    room: Option<Room>,
    /// SQLite's log, which is synced after a lasting change.
    wal: Option<Arc<PathBuf>>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("read", &self.read.state()).field("write", &self.write.state()).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the pools and checks that the database answers. Creates the SQLite file where it is absent; does not migrate.
    pub fn open(location: &Location, connections: u32) -> anyhow::Result<Self> {
        Self::open_on(location, connections, true, None)
    }

    /// The same; with `durable` a lasting change ([`Self::write_then`]) outlives a power cut, and where a write finds the disk full, what
    /// was laid aside in `room` is given up.
    pub fn open_on(location: &Location, connections: u32, durable: bool, room: Option<Room>) -> anyhow::Result<Self> {
        let pool = |size: u32, query_only: bool| {
            Pool::builder()
                .max_size(size)
                .min_idle(Some(1))
                .test_on_check_out(matches!(location, Location::Postgres(_)))
                .connection_timeout(Duration::from_secs(10))
                .build(Manager { location: location.clone(), query_only, durable })
        };
        let marks = Arc::default();
        Ok(match location {
            Location::Sqlite(path) => {
                let write = pool(1, false)?;
                // The log lies beside the file itself, wherever a link to it lies.
                let file = std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
                let wal = durable.then(|| Arc::new(PathBuf::from(format!("{}-wal", file.display()))));
                Self { read: pool(connections.max(1), true)?, write, marks, room, wal }
            }
            Location::Postgres(_) => {
                let write = pool(connections.max(2), false)?;
                Self { read: write.clone(), write, marks, room, wal: None }
            }
        })
    }

    /// Runs a query closure on the blocking pool.
    pub async fn read<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        on_pool(self.read.clone(), f).await
    }

    /// Runs a closure in one transaction on the blocking pool; an `Err` rolls everything back.
    pub async fn write<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        self.write_touching(Touched::Everything, f).await
    }

    /// As [`Db::write`], for rows on which nothing depends that is kept in memory ([`Marks`]): times of last use, queues, offsets.
    pub async fn write_aside<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        self.write_touching(Touched::Only(BTreeSet::new()), f).await
    }

    /// As [`Db::write`], for rows that concern what is named only.
    pub async fn write_touching<T, F>(&self, touched: Touched, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        let marks = self.marks.clone();
        on_pool(self.write.clone(), move |conn| {
            let mut ended = false;
            let result = in_transaction(conn, |conn| f(conn).inspect(|_| ended = true));
            // Note it also after an error of the commit: it may have happened and its answer been lost. Note it here: the caller may be gone.
            if ended {
                marks.note(touched);
            }
            result
        })
        .await
    }

    /// As [`Db::write`], for a closure that does nothing outside its transaction: where the transaction collides with another one
    /// (40001, 40P01), it runs again from the start after a short pause, three times at most; so it does once room was made on a full disk.
    /// `kept` says of what follows whether the change has outlived a power cut when this answers, and with it all that was committed before
    /// it, and what it touches. `then` runs after the commit, also where the caller has gone meanwhile.
    pub async fn write_then<T, A, F>(&self, f: F, kept: fn(&A) -> (bool, Touched), then: impl FnOnce(A) + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        A: 'static,
        F: Fn(&mut Conn) -> Result<(T, A)> + Send + 'static,
    {
        let (pool, marks, room, wal) = (self.write.clone(), self.marks.clone(), self.room.clone(), self.wal.clone());
        on_thread(move || {
            let mut conn = pool.get().map_err(busy)?;
            let ended = Cell::new(false);
            let run = |conn: &mut Conn| f(conn).inspect(|_| ended.set(true));
            let mut result = in_transaction(&mut conn, run);
            for pause in PAUSES {
                match &result {
                    Err(e) if e.is_collision() => std::thread::sleep(pause.mul_f64(1.0 + rand::random::<f64>())),
                    Err(e) if released(room.as_ref(), e) => {}
                    _ => break,
                }
                tracing::info!("a transaction runs once more");
                result = in_transaction(&mut conn, run);
            }
            let known = result.as_ref().ok().map(|(_, after)| kept(after));
            let lasting = known.as_ref().is_some_and(|(lasting, _)| *lasting);
            // As in `write_touching`: a commit without an answer may have happened.
            if ended.get() {
                marks.note(known.map_or(Touched::Everything, |(_, touched)| touched));
            }
            drop(conn);
            let (value, after) = result?;
            // SQLite itself syncs its log at checkpoints only. It is synced here, beside the next writer instead of before it.
            let synced = match wal.filter(|_| lasting).map(|wal| File::open(&*wal).and_then(|log| log.sync_data())) {
                // A file system without shared memory has no such log: SQLite keeps a journal there, and syncs it by itself.
                Some(Err(e)) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
            then(after);
            synced?;
            Ok(value)
        })
        .await
    }

    /// Proves that the database takes a write: a counter of its own, in a transaction that is kept.
    pub async fn prove(&self) -> Result<()> {
        on_pool(self.write.clone(), |conn| in_transaction(conn, |conn| Ok(dialect::count_up(conn, "ready").map(|_| ())?))).await
    }

    /// What the writes of this process have touched; those of other processes leave no mark.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// A connection for code that is synchronous by nature (migrations, command line).
    pub fn blocking(&self) -> Result<PooledConnection<Manager>> {
        self.write.get().map_err(busy)
    }
}

/// No connection came free in time.
fn busy(e: diesel::r2d2::PoolError) -> Error {
    Error::unavailable("database-busy").retry_after(chrono::TimeDelta::seconds(5)).source(e)
}

/// Whether room was made after an error that says there is none.
fn released(room: Option<&Room>, e: &Error) -> bool {
    e.kind == Kind::Full && room.is_some_and(Room::release)
}

/// Runs a closure in one transaction. SQLite takes its write lock at the start: after a read the transaction could not go on if another
/// process (a command of an administrator) had written meanwhile.
fn in_transaction<T>(conn: &mut Conn, f: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
    use diesel::connection::{AnsiTransactionManager, TransactionManager as _};
    type Manager = <Conn as Connection>::TransactionManager;
    match conn {
        Conn::Sqlite(lite) => AnsiTransactionManager::begin_transaction_sql(lite, "BEGIN IMMEDIATE")?,
        Conn::Postgres(pg) => AnsiTransactionManager::begin_transaction(pg)?,
    }
    match f(conn) {
        Ok(value) => {
            Manager::commit_transaction(conn)?;
            Ok(value)
        }
        Err(e) => match Manager::rollback_transaction(conn) {
            Ok(()) | Err(diesel::result::Error::BrokenTransactionManager) => Err(e),
            // SQLite ends a transaction by itself where the disk is full, and then has none to take back. The pool drops the connection.
            Err(rollback) => {
                tracing::debug!(error = %rollback, "a transaction was not taken back by us");
                Err(e)
            }
        },
    }
}

async fn on_pool<T, F>(pool: Pool<Manager>, f: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
{
    on_thread(move || f(&mut *pool.get().map_err(busy)?)).await
}

/// Runs a closure on the blocking pool, in the caller's span.
async fn on_thread<T, F>(f: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(f)).await.map_err(Error::internal)?
}
