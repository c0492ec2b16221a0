//! The file of a stream: read back, appended to, written anew, and marked where it cannot be.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::stream::{self, Item, Kind};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Class, Entry, Place, Stream, mark, unreadable};
use crate::fault::Fault;
use crate::files;

/// Longest line that is read back, in bytes; a record is no longer than the outbox lets it be.
const MAX_LINE: u64 = 1024 * 1024;
/// Time between two tries to write to a disk that has refused.
const RETRY_DISK: Duration = Duration::from_secs(5);

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Head {
    stream: String,
    kind: Kind,
    /// Number of the next record when the file was written anew, and the digest of the one before it: what the platform has may be gone from the
    /// file, and no number is given twice.
    next: u64,
    last: Digest,
}

fn disk(e: &std::io::Error) -> Fault {
    Fault::disk("a stream", e)
}

impl Stream {
    /// Reads the file as far as it is whole.
    pub(super) fn load(&mut self, class: fn(&RawValue) -> Class) -> Result<(), Fault> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(disk(&e)),
        };
        let size = file.metadata().map_err(|e| disk(&e))?.len();
        let mut reader = BufReader::new(&file);
        let (mut offset, mut line, mut written) = (0u64, Vec::new(), None);
        let mut result = Ok(());
        loop {
            line.clear();
            let read = Read::by_ref(&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).map_err(|e| disk(&e))? as u64;
            if read == 0 {
                break;
            }
            let whole = line.strip_suffix(b"\n");
            let text = whole.and_then(|line| std::str::from_utf8(line).ok());
            let text = text.ok_or_else(|| unreadable("a torn line"));
            let taken = if written.is_some() {
                text.and_then(|text| self.take_line(text, offset, class))
            } else {
                text.and_then(|text| self.take_head(text)).map(|head| written = Some(head))
            };
            if let Err(fault) = taken {
                // Only the end can be torn; what is written there was not sent. Else the rest is passed over, too.
                if offset + read < size || written.is_none() {
                    result = Err(fault);
                }
                break;
            }
            offset += read;
        }
        (self.file, self.file_bytes) = (Some(file), offset);
        if let Some((next, head)) = written.filter(|(next, _)| *next > self.next || self.entries.is_empty()) {
            (self.next, self.head) = (next, head);
        }
        result
    }

    /// The number and the digest that the first line says.
    fn take_head(&mut self, text: &str) -> Result<(u64, Digest), Fault> {
        let head: Head = serde_json::from_str(text).map_err(unreadable)?;
        if head.kind != self.kind || !stream::is_name(&head.stream) || head.next == 0 {
            return Err(unreadable("the first line"));
        }
        self.name = head.stream;
        Ok((head.next, head.last))
    }

    fn take_line(&mut self, text: &str, offset: u64, class: fn(&RawValue) -> Class) -> Result<(), Fault> {
        let item = Item::read(text).map_err(unreadable)?;
        let span = item.span(text);
        // What the platform has may be gone from the beginning and from between.
        let follows = span.from != self.next || self.entries.is_empty() || span.prev.as_ref().is_none_or(|prev| *prev == self.head);
        if span.from < self.next || span.to < span.from || !follows {
            return Err(unreadable(format_args!("record {} does not follow on those before", span.from)));
        }
        let (at, class, dropped) = match &item {
            Item::Record(record) => (record.at, class(record.body), false),
            Item::Dropped(_) => (DateTime::UNIX_EPOCH, Class { level: None, rule: 0 }, true),
        };
        let bytes = u32::try_from(text.len()).map_err(unreadable)?;
        self.entries.push_back(Entry { from: span.from, to: span.to, bytes, at, class, dropped, place: Place::File(offset) });
        (self.next, self.head) = (span.to + 1, span.hash);
        Ok(())
    }

    /// Writes the newest record to the disk, and all that waits in memory where the disk has refused before.
    pub(super) fn store_last(&mut self) -> Result<(), Fault> {
        match (&self.refused, &mut self.file, self.entries.back_mut()) {
            (Some((fault, at)), ..) if at.elapsed() < RETRY_DISK => Err(fault.clone()),
            (None, Some(file), Some(last)) => {
                let Place::Memory(text) = &last.place else { return Ok(()) };
                let line = format!("{text}\n");
                let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
                if let Err(e) = written {
                    let fault = disk(&e);
                    self.refused = Some((fault.clone(), Instant::now()));
                    return Err(fault);
                }
                last.place = Place::File(self.file_bytes);
                self.file_bytes += line.len() as u64;
                Ok(())
            }
            _ => self.rewrite(),
        }
    }

    /// Tries a disk that has refused again, where it is time.
    pub fn retry(&mut self) {
        if self.refused.as_ref().is_some_and(|(_, at)| at.elapsed() >= RETRY_DISK) {
            // Why not is noted.
            let _ = self.rewrite();
        }
    }

    /// Marks for the next run what is in memory only. While the disk takes all there is nothing to mark.
    pub(super) fn note_held(&mut self) {
        let waits = |e: &&Entry| !e.dropped && matches!(e.place, Place::Memory(_)) && !self.held.has(e.from);
        let unstored = || self.entries.iter().filter(waits).map(|e| e.from);
        let (held, since) = (unstored().count() as u64, unstored().min().unwrap_or(0));
        let mark = mark::Mark { stream: self.tag(), next: self.next, dropped: self.lost, held, since, acked: self.held.through() };
        let before = self.mark.read();
        // What the platform has taken is no loss where the mark is from before: it goes once more, and the platform knows it.
        if self.refused.is_some() || (held, self.lost) != (before.held, before.dropped) {
            self.mark.set(mark);
        } else {
            self.mark.note(mark);
        }
    }

    /// The text of a member.
    pub(super) fn text(&self, entry: &Entry) -> Result<String, Fault> {
        match &entry.place {
            Place::Memory(text) => Ok(text.clone()),
            Place::File(offset) => {
                let file = self.file.as_ref().ok_or_else(|| unreadable("the file is gone"))?;
                let mut bytes = vec![0; entry.bytes as usize];
                file.read_exact_at(&mut bytes, *offset).map_err(|e| disk(&e))?;
                String::from_utf8(bytes).map_err(unreadable)
            }
        }
    }

    /// Writes the whole file anew, with what waits in memory.
    pub(super) fn rewrite(&mut self) -> Result<(), Fault> {
        let done = self.written_anew();
        match done {
            Ok((file, size, offsets)) => {
                for (entry, offset) in self.entries.iter_mut().zip(offsets) {
                    entry.place = Place::File(offset);
                }
                (self.file, self.refused, self.file_bytes) = (Some(file), None, size);
                self.note_held();
                Ok(())
            }
            Err(fault) => {
                self.refused = Some((fault.clone(), Instant::now()));
                self.note_held();
                Err(fault)
            }
        }
    }

    fn written_anew(&self) -> Result<(File, u64, Vec<u64>), Fault> {
        let head = Head { stream: self.name.clone(), kind: self.kind, next: self.next, last: self.head.clone() };
        let head = serde_json::to_string(&head).map_err(unreadable)?;
        let (mut offset, mut offsets) = (head.len() as u64 + 1, Vec::with_capacity(self.entries.len()));
        files::replace(&self.path, |file| {
            let mut file = BufWriter::new(file);
            writeln!(file, "{head}").map_err(|e| disk(&e))?;
            for entry in &self.entries {
                let text = self.text(entry)?;
                writeln!(file, "{text}").map_err(|e| disk(&e))?;
                offsets.push(offset);
                offset += text.len() as u64 + 1;
            }
            file.flush().map_err(|e| disk(&e))
        })?;
        let file = OpenOptions::new().read(true).append(true).mode(0o600).open(&self.path).map_err(|e| disk(&e))?;
        Ok((file, offset, offsets))
    }
}
