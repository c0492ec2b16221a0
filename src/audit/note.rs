//! The note of the newest seal: its signed envelope in a file of the data folder, so that a database that was set back, cut or replaced as a
//! whole, signatures and all, is told from the one that was sealed last.
//!
//! Invariant: the note moves only along seals that name one another, to one that a key of the log has signed. A seal that the database has lost
//! stays noted until somebody takes the file away: a copy that was restored and one that a thief has cut look the same.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use app_package::dsse::{DsseError, Envelope};
use app_package::keys::KeySet;

use super::seal::{PAGE, Seal, Statement};
use super::store;
use crate::base::app::App;
use crate::base::db::Conn;
use crate::base::error::Result;

/// Name of the file.
const FILE: &str = "audit-seal.json";

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// There is no file.
    Absent,
    Seal(Statement),
    /// No envelope of a seal.
    Damaged,
}

/// Place of the file.
pub fn path(app: &App) -> PathBuf {
    app.settings.data_dir.0.join(FILE)
}

/// Reads the file. Blocking.
pub fn read(path: &Path) -> std::io::Result<Note> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Note::Absent),
        Err(e) => return Err(e),
    };
    let payload = Envelope::parse(&bytes).ok().and_then(|envelope| envelope.decoded());
    let statement = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    Ok(statement.map_or(Note::Damaged, Note::Seal))
}

/// Moves the note on to the newest seal. Gives whether the database holds the seal that is noted, and what follows from it.
pub async fn keep(app: &App) -> Result<bool> {
    let (path, keys) = (path(app), app.keys.get());
    app.db.read(move |conn| keep_in(conn, &path, &keys.log.set)).await
}

fn keep_in(conn: &mut Conn, path: &Path, keys: &KeySet) -> Result<bool> {
    let (newest, fits) = match read(path)? {
        Note::Damaged => (None, false),
        Note::Absent => (store::last_seal(conn)?.filter(|seal| seal.judge(keys).is_ok()), true),
        Note::Seal(noted) => match store::seal_of(conn, noted.number)? {
            Some(seal) if seal.statement == noted => following(conn, noted, keys)?,
            _ => (None, false),
        },
    };
    if let Some(seal) = newest {
        write(path, &seal.envelope().to_bytes())?;
    }
    Ok(fits)
}

/// The newest seal behind one that a key of the log has signed, and whether all up to it name one another. A seal by a key that is trusted no
/// more is passed over: the next one covers it.
fn following(conn: &mut Conn, mut last: Statement, keys: &KeySet) -> Result<(Option<Seal>, bool)> {
    let mut newest = None;
    loop {
        let page = store::seals_after(conn, last.number, PAGE)?;
        if page.is_empty() {
            return Ok((newest, true));
        }
        for seal in page {
            let judged = seal.judge(keys);
            let passed = judged.is_ok() || (judged == Err(DsseError::UnknownKey) && seal.is_signed());
            if !passed || seal.statement.number != last.number + 1 || seal.statement.previous != last.hash() {
                return Ok((newest, false));
            }
            last = seal.statement.clone();
            if judged.is_ok() {
                newest = Some(seal);
            }
        }
    }
}

/// Writes the file, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
