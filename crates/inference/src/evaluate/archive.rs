//! The archive of a test set: an uncompressed tar, read in place.
//!
//! Nothing is ever unpacked, so a path in it can reach nowhere; an uncompressed archive is no larger than the bytes that came. Only files
//! and folders are taken: links, devices and sparse files are faults, as are names that are no package paths. Every fault has its place.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use app_package::path::PackagePath;
use tar::{EntryType, PaxExtensions};

use crate::app::MAX_INPUT;

/// Largest archive in bytes.
pub const MAX_ARCHIVE: u64 = 256 << 20;
/// Most entries: two files a sample, the index, and folders.
pub const MAX_ENTRIES: usize = 3_000;
/// Faults told at once.
pub const MAX_FAULTS: usize = 50;
/// Longest name or extension header in bytes.
const MAX_EXTENSION: u64 = 16 << 10;

/// Codes of all faults of an archive and of what is in it.
pub const CODES: [&str; 46] = [
    "archive-compressed",
    "archive-not-tar",
    "archive-cut-off",
    "archive-too-large",
    "archive-too-many-files",
    "archive-extension",
    "archive-special",
    "archive-path",
    "archive-name-twice",
    "archive-file-too-large",
    "index-missing",
    "index-twice",
    "index-malformed",
    "index-format",
    "samples-too-few",
    "samples-too-many",
    "sample-file-missing",
    "sample-repeated",
    "file-unused",
    "expect-malformed",
    "expect-class",
    "expect-box",
    "expect-mask",
    "expect-keypoints",
    "expect-text",
    "expect-too-many-boxes",
    "expect-no-box",
    "expect-value",
    "expect-values-mixed",
    "expect-metric",
    "input-metric",
    "input-not-a-picture",
    "input-not-csv",
    "input-not-sound",
    "input-too-large",
    "input-not-a-clip",
    "expect-events",
    "expect-too-many-events",
    "expect-no-event",
    "expect-crossings",
    "truth-event-what",
    "truth-event-times",
    "event-undrawn",
    "event-beyond",
    "scene-shape",
    "tolerance-range",
];

/// What is wrong with a test set, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path in the archive, or place in its index; empty for the whole.
    pub place: String,
    /// One of [`CODES`].
    pub code: &'static str,
    /// A number or words for the text; may be empty.
    pub detail: String,
}

impl Fault {
    /// A fault at a place; place and detail are cut to 200 characters, without control characters.
    pub fn new(code: &'static str, place: impl Into<String>, detail: impl ToString) -> Self {
        let shorten = |text: String| text.chars().filter(|c| !c.is_control()).take(200).collect();
        Self { place: shorten(place.into()), code, detail: shorten(detail.to_string()) }
    }
}

/// An archive with the places of its files.
#[derive(Debug)]
pub struct Archive {
    file: File,
    /// First byte and length by path.
    files: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    /// Reads the headers of all entries. Blocking.
    ///
    /// # Errors
    /// The faults, at most [`MAX_FAULTS`]; what is broken in the archive itself ends the reading.
    pub fn open(file: File) -> Result<Self, Vec<Fault>> {
        let whole = |code, detail: &dyn std::fmt::Display| vec![Fault::new(code, "", detail)];
        let length = file.metadata().map_err(|e| whole("archive-not-tar", &e))?.len();
        if length > MAX_ARCHIVE {
            return Err(whole("archive-too-large", &(MAX_ARCHIVE >> 20)));
        }
        if is_compressed(&file) {
            return Err(whole("archive-compressed", &""));
        }
        let mut faults = Vec::new();
        let mut files = BTreeMap::new();
        let mut tar = tar::Archive::new(&file);
        let entries = tar.entries_with_seek().map_err(|e| whole("archive-not-tar", &e))?.raw(true);
        // A name from an extension header, for the entry after it.
        let mut name = None;
        for (number, entry) in entries.enumerate() {
            if faults.len() >= MAX_FAULTS {
                break;
            }
            let place = format!("#{}", number + 1);
            if number >= MAX_ENTRIES {
                faults.push(Fault::new("archive-too-many-files", place, MAX_ENTRIES));
                break;
            }
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    faults.push(Fault::new("archive-not-tar", place, e));
                    break;
                }
            };
            let (first, size) = (entry.raw_file_position(), entry.size());
            if first.checked_add(size).is_none_or(|end| end > length) {
                faults.push(Fault::new("archive-cut-off", place, ""));
                break;
            }
            let kind = entry.header().entry_type();
            if matches!(kind, EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName) {
                match extension(kind, size, &mut entry) {
                    Ok(found) => name = found.or(name),
                    Err(what) => faults.push(Fault::new("archive-extension", place, what)),
                }
                continue;
            }
            let bytes = name.take().unwrap_or_else(|| entry.header().path_bytes().into_owned());
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            // `tar -C folder .` writes paths that begin with `./`.
            let path = shown.strip_prefix("./").unwrap_or(&shown);
            match kind {
                EntryType::Directory if matches!(path, "" | ".") => {}
                EntryType::Directory => {
                    if let Err(e) = parse(path.strip_suffix('/').unwrap_or(path), &bytes) {
                        faults.push(Fault::new("archive-path", shown, e));
                    }
                }
                EntryType::Regular => match parse(path, &bytes) {
                    Err(e) => faults.push(Fault::new("archive-path", shown, e)),
                    Ok(_) if size > MAX_INPUT as u64 => faults.push(Fault::new("archive-file-too-large", shown, MAX_INPUT)),
                    Ok(path) => {
                        if files.insert(path, (first, size)).is_some() {
                            faults.push(Fault::new("archive-name-twice", shown, ""));
                        }
                    }
                },
                _ => faults.push(Fault::new("archive-special", shown, "")),
            }
        }
        if faults.is_empty() { Ok(Self { file, files }) } else { Err(faults) }
    }

    /// Paths of the archive's files, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Length of a file in bytes, if there is such a file.
    pub fn size(&self, path: &str) -> Option<u64> {
        self.files.get(path).map(|(_, size)| *size)
    }

    /// The bytes of a file, none where there is no such file or the archive cannot be read any more.
    pub fn read(&mut self, path: &str) -> Option<Vec<u8>> {
        let &(first, size) = self.files.get(path)?;
        let size = usize::try_from(size).ok()?;
        self.file.seek(SeekFrom::Start(first)).ok()?;
        let mut bytes = vec![0; size];
        self.file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// Checks a path of an archive: UTF-8, and a legal package path.
fn parse(path: &str, bytes: &[u8]) -> Result<String, String> {
    if std::str::from_utf8(bytes).is_err() {
        return Err("the name is not UTF-8".into());
    }
    PackagePath::parse(path).map(|path| path.as_str().to_owned()).map_err(|e| e.to_string())
}

/// Whether the file begins as gzip, bzip2, xz, zstd, ZIP, 7-Zip or RAR do.
fn is_compressed(mut file: &File) -> bool {
    let mut first = [0u8; 6];
    let read = file.read_exact(&mut first);
    if file.rewind().is_err() || read.is_err() {
        return false;
    }
    let begins: [&[u8]; 7] =
        [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z'], &[0x28, 0xb5, 0x2f, 0xfd], b"PK\x03\x04", b"7z\xbc\xaf", b"Rar!"];
    begins.iter().any(|begin| first.starts_with(begin))
}

/// Reads an extension header, which describes the entry after it; returns that entry's name where the header gives one. Times, owners and
/// comments are passed over; what changes where the data lies or what it means is refused, for two programs may read it differently.
fn extension(kind: EntryType, size: u64, data: &mut impl Read) -> Result<Option<Vec<u8>>, String> {
    if size > MAX_EXTENSION {
        return Err(format!("{size} bytes"));
    }
    let mut bytes = Vec::new();
    data.take(MAX_EXTENSION).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if kind == EntryType::GNULongName {
        return Ok(Some(bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()));
    }
    let mut name = None;
    for record in PaxExtensions::new(&bytes) {
        let record = record.map_err(|e| e.to_string())?;
        match record.key_bytes() {
            b"path" if kind == EntryType::XHeader => name = Some(record.value_bytes().to_vec()),
            key if matches!(key, b"path" | b"size" | b"linkpath") || key.starts_with(b"GNU.sparse.") => {
                return Err(String::from_utf8_lossy(key).into_owned());
            }
            _ => {}
        }
    }
    Ok(name)
}
