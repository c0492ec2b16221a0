//! [`App`]: what every part needs, opened once. [`crate::server`] puts it behind the listeners.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{Notify, watch};

use crate::base::auth::known::KnownTokens;
use crate::base::bodies::Bodies;
use crate::base::clock::Clock;
use crate::base::config::Settings;
use crate::base::db::{Db, Location, migrate};
use crate::base::live::Hub;
use crate::base::load::Load;
use crate::base::metrics::Metrics;
use crate::base::open::Open;
use crate::base::page_cache::PageCache;
use crate::base::pki::{ca::NodeCa, keys::Keyring, pins};
use crate::base::private;
use crate::base::ready::Readiness;
use crate::base::room::Room;
use crate::base::storage::BlobStore;
use crate::base::text_index;
use crate::base::turns::Gates;

/// What every part needs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of [`App`].
pub struct Parts {
    pub settings: Settings,
    pub db: Db,
    /// Blobs and staged uploads.
    pub blobs: BlobStore,
    /// Room on the disk.
    pub room: Room,
    /// Whether the database takes writes.
    pub ready: Readiness,
    /// The platform's signing keys.
    pub keys: Keyring,
    /// Authority of node identities.
    pub ca: NodeCa,
    pub clock: Clock,
    /// Pokes for open pages.
    pub live: Hub,
    /// Turns of requests, by class.
    pub load: Load,
    pub metrics: Metrics,
    /// Search index.
    pub search: text_index::Index,
    /// Actors whose token was looked up a moment ago.
    pub known_tokens: KnownTokens,
    /// Rendered pages for readers who are not signed in.
    pub pages: PageCache,
    /// One sign-in attempt per account at a time.
    pub gates: Gates,
    /// Connections, requests, streams and polls that are open.
    pub open: Open,
    /// Memory for bodies of requests.
    pub bodies: Bodies,
    /// Wakes the search index's follower at once.
    pub wake_search: Notify,
    /// Wakes the job runners at once.
    pub wake_jobs: watch::Sender<()>,
    /// Becomes true when the server stops.
    pub stop: watch::Sender<bool>,
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Opens database, keys, storage and search under the settings' folder; migrates.
    pub fn open(settings: Settings, clock: Clock) -> anyhow::Result<Self> {
        let data = settings.data_dir.0.clone();
        private::folder(&data)?;
        let room = Room::of(&data, &settings.storage);
        let location = Location::parse(&settings.database.url)?;
        let on_disk = matches!(&location, Location::Sqlite(_));
        if let Location::Sqlite(path) = &location {
            // SQLite gives the files beside it the mode that it has itself.
            private::file(Path::new(path))?;
            for beside in ["-wal", "-shm"] {
                private::tighten(Path::new(&format!("{path}{beside}")), 0o600)?;
            }
        }
        let db = Db::open_on(&location, settings.database.connections, settings.database.durable, on_disk.then(|| room.clone()))
            .context("cannot open the database")?;
        let (applied, (keys, ca)) = {
            let conn = &mut *db.blocking().map_err(|e| anyhow::anyhow!("{e}"))?;
            (migrate::up(conn)?, pins::load(conn, &data.join("keys"), &settings.trust)?)
        };
        if !applied.is_empty() {
            tracing::info!(count = applied.len(), "migrations applied");
        }
        let metrics = Metrics::default();
        Ok(Self(Arc::new(Parts {
            blobs: BlobStore::open(&data.join("storage"), &settings.storage)?,
            room,
            ready: Readiness::default(),
            keys,
            ca,
            search: text_index::Index::default(),
            db,
            clock,
            live: Hub::default(),
            load: Load::of(&settings.load, &metrics),
            metrics,
            known_tokens: KnownTokens::default(),
            pages: PageCache::default(),
            gates: Gates::default(),
            open: Open::default(),
            bodies: Bodies::default(),
            wake_search: Notify::new(),
            wake_jobs: watch::channel(()).0,
            stop: watch::channel(false).0,
            settings,
        })))
    }

    /// Becomes true when the server stops: long polls and event streams end on it.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}
