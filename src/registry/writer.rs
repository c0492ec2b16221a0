//! From the body of a request to the staged file. Bytes are gathered into pieces; while one fills, the one before is written and
//! hashed, each on a thread of its own, and what was written before that is made durable. So the disk has its work early, and the
//! answer, which says that all is durable, waits for the last few pieces only. No thread is held between pieces.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::model::{MAX_BLOB, Upload};
use super::offset::{Chunk, Guard, advance, require_room};
use crate::base::app::App;
use crate::base::error::{Error, Result};

/// Bytes written and hashed at once; an upload holds two such pieces.
pub(super) const PIECE: usize = 512 * 1024;
/// Bytes after which a long request's progress is made durable, while more comes.
const CHECKPOINT: u64 = 16 * 1024 * 1024;
/// Bytes that may be written and not yet durable: more than that waits for the disk.
const BEHIND: u64 = 64 * 1024 * 1024;

/// A part of a body.
pub(super) enum Piece {
    /// Some bytes, as they came.
    Data(Bytes),
    /// The body was whole. A channel that closes without it has a client that went away.
    End,
}

/// Appends one request's body to an upload.
pub(super) struct Writer {
    pub app: App,
    pub upload: Upload,
    /// Length that the request announced, in bytes.
    pub announced: Option<u64>,
}

impl Writer {
    /// Takes the body to its end; gives the upload with its new offset. Nothing writes any more when the lock is given back.
    pub async fn run(mut self, mut guard: Guard, pieces: mpsc::Receiver<Piece>) -> Result<(Guard, Upload)> {
        let start = self.upload.offset();
        let hash = match guard.running.take() {
            Some((at, hash)) if at == start => Some(hash),
            _ if start == 0 => Some(Sha256::new()),
            _ => None,
        };
        guard.running = hash.clone().map(|h| (start, h));
        let file = self.app.blobs.append_at(&self.upload.id, start).await?.into_std().await;
        let mut pipe = Pipe::new(file, start, hash);
        let taken = self.take(&mut guard, &mut pipe, pieces).await;
        pipe.quiesce().await;
        taken?;
        Ok((guard, self.upload))
    }

    async fn take(&mut self, guard: &mut Guard, pipe: &mut Pipe, mut pieces: mpsc::Receiver<Piece>) -> Result<()> {
        let start = self.upload.offset();
        let (mut received, mut ended) = (0u64, false);
        while let Some(piece) = pieces.recv().await {
            let Piece::Data(mut bytes) = piece else {
                ended = true;
                break;
            };
            received += bytes.len() as u64;
            if self.announced.is_some_and(|n| received > n) {
                return Err(Error::invalid("size-invalid"));
            }
            if start + received > MAX_BLOB {
                return Err(Error::too_large("blob-too-large").arg("bytes", MAX_BLOB));
            }
            while pipe.fill(&mut bytes) {
                pipe.settle().await?;
                self.checkpoint(guard, pipe).await?;
                pipe.hand_over();
            }
        }
        if ended && self.announced.is_some_and(|n| received != n) {
            return Err(Error::invalid("size-invalid"));
        }
        pipe.settle().await?;
        pipe.hand_over();
        pipe.settle().await?;
        if pipe.written > self.upload.offset() {
            // Await the sync under way before starting another: the system reports a fault of the disk only once.
            pipe.durable(true).await?;
            pipe.sync();
            if let Some((to, hash)) = pipe.durable(true).await? {
                self.commit(guard, to, hash).await?;
            }
        }
        if ended { Ok(()) } else { Err(Error::invalid("body-broken")) }
    }

    /// Commits what has become durable, and starts the next sync when enough is written.
    async fn checkpoint(&mut self, guard: &mut Guard, pipe: &mut Pipe) -> Result<()> {
        let behind = pipe.written - self.upload.offset();
        if let Some((to, hash)) = pipe.durable(behind >= BEHIND).await? {
            self.commit(guard, to, hash).await?;
            if self.announced.is_none() {
                require_room(&self.app, &self.upload, Chunk::default()).await?;
            } else {
                // Many may have been promised the same room.
                self.app.room.require(0)?;
            }
        }
        if pipe.syncing.is_none() && pipe.written - self.upload.offset() >= CHECKPOINT {
            pipe.sync();
        }
        Ok(())
    }

    async fn commit(&mut self, guard: &mut Guard, to: u64, hash: Option<Sha256>) -> Result<()> {
        advance(&self.app, &self.upload, self.upload.offset(), to).await?;
        self.upload.offset_bytes = i64::try_from(to).map_err(Error::internal)?;
        guard.running = hash.map(|h| (to, h));
        Ok(())
    }
}

/// The way to the disk: a piece that fills, one that is written and hashed, a sync under way.
struct Pipe {
    file: Arc<File>,
    /// Bytes of the upload that are written and hashed. They match `hash` only while no piece is `moving`.
    written: u64,
    /// Hash of the `written` bytes; none where bytes from before a restart have not been hashed.
    hash: Option<Sha256>,
    filling: BytesMut,
    /// Memory of a piece that has been written, for the next one.
    spare: BytesMut,
    moving: Option<Moving>,
    syncing: Option<Syncing>,
}

struct Moving {
    piece: Bytes,
    write: JoinHandle<std::io::Result<()>>,
    hash: Option<JoinHandle<Sha256>>,
}

struct Syncing {
    to: u64,
    hash: Option<Sha256>,
    sync: JoinHandle<std::io::Result<()>>,
}

/// An offset, and the hash of the bytes before it.
type Mark = (u64, Option<Sha256>);

impl Pipe {
    fn new(file: File, start: u64, hash: Option<Sha256>) -> Self {
        let file = Arc::new(file);
        Self { file, written: start, hash, filling: BytesMut::new(), spare: BytesMut::new(), moving: None, syncing: None }
    }

    /// Takes bytes into the piece that fills; true when it is full.
    fn fill(&mut self, bytes: &mut Bytes) -> bool {
        if self.filling.is_empty() {
            self.filling.reserve(PIECE);
        }
        let n = bytes.len().min(PIECE.saturating_sub(self.filling.len()));
        self.filling.extend_from_slice(&bytes.split_to(n));
        self.filling.len() >= PIECE
    }

    /// Begins to write and hash the piece that has filled. No other may be moving.
    fn hand_over(&mut self) {
        if self.filling.is_empty() {
            return;
        }
        let piece = std::mem::replace(&mut self.filling, std::mem::take(&mut self.spare)).freeze();
        let (file, bytes) = (self.file.clone(), piece.clone());
        let write = spawn_blocking(move || (&*file).write_all(&bytes));
        let bytes = piece.clone();
        let hash = self.hash.take().map(|mut hash| {
            spawn_blocking(move || {
                hash.update(&bytes);
                hash
            })
        });
        self.moving = Some(Moving { piece, write, hash });
    }

    /// Waits until the piece that moves is written and hashed.
    async fn settle(&mut self) -> Result<()> {
        let Some(Moving { piece, write, hash }) = self.moving.take() else { return Ok(()) };
        write.await.map_err(Error::internal)??;
        if let Some(hash) = hash {
            self.hash = Some(hash.await.map_err(Error::internal)?);
        }
        self.written += piece.len() as u64;
        // Both threads have dropped the piece, so its memory can be used again.
        self.spare = piece.try_into_mut().unwrap_or_default();
        self.spare.clear();
        Ok(())
    }

    /// Begins to make all that is written durable. No piece may be moving.
    fn sync(&mut self) {
        let file = self.file.clone();
        let sync = spawn_blocking(move || file.sync_data());
        self.syncing = Some(Syncing { to: self.written, hash: self.hash.clone(), sync });
    }

    /// What the sync under way has made durable, once it is over; `wait` waits for that.
    async fn durable(&mut self, wait: bool) -> Result<Option<Mark>> {
        match self.syncing.take() {
            Some(done) if wait || done.sync.is_finished() => {
                done.sync.await.map_err(Error::internal)??;
                Ok(Some((done.to, done.hash)))
            }
            other => {
                self.syncing = other;
                Ok(None)
            }
        }
    }

    /// Waits until no thread uses the file, whatever has become of the bytes.
    async fn quiesce(&mut self) {
        if let Some(moving) = self.moving.take() {
            let _ = moving.write.await;
        }
        if let Some(syncing) = self.syncing.take() {
            let _ = syncing.sync.await;
        }
    }
}
