//! What an exporter writes into a model beside its graph: `metadata_props` of onnx.proto3, each a key and a value in text.
//!
//! Whoever made the file wrote it, so it is taken as a hint and never as an order: bounded in count and length, and what is longer or is no
//! UTF-8 is passed over and counted.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{Result, Walk, look, not_onnx};

/// Most pairs that are kept.
const MAX_PAIRS: usize = 64;
/// Longest key in bytes.
const MAX_KEY: u64 = 256;
/// Longest value in bytes: a list of a thousand labels is longer than any other text in a model.
const MAX_VALUE: u64 = 64 * 1024;

/// Keys and values that an exporter wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pairs: BTreeMap<String, String>,
    /// Pairs that were passed over: too many, too long, or no UTF-8.
    pub left_out: u32,
}

impl Metadata {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        Self { pairs: pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect(), left_out: 0 }
    }
}

/// What a model's exporter wrote beside the graph. Codes as [`super::inspect`].
pub fn metadata(root: &Path, model: &Path) -> Result<Metadata> {
    Ok(look(root, model, None, Some(Metadata::default()))?.metadata.unwrap_or_default())
}

impl Walk {
    /// A text of at most `max` bytes; none where it is longer or no UTF-8.
    pub(super) fn short(&mut self, length: u64, max: u64) -> Result<Option<String>> {
        if length > max {
            self.skip(length)?;
            return Ok(None);
        }
        Ok(String::from_utf8(self.bytes(length)?).ok())
    }

    /// A pair, which ends at `end`.
    pub(super) fn pair(&mut self, end: u64) -> Result<()> {
        let (mut key, mut value) = (None, None);
        while self.position < end {
            let tag = self.varint()?;
            match (tag >> 3, tag & 7) {
                (_, 0) => drop(self.varint()?),
                (_, 1) => self.skip(8)?,
                (_, 5) => self.skip(4)?,
                (field, 2) => {
                    let length = self.varint()?;
                    if self.position.checked_add(length).is_none_or(|stop| stop > end) {
                        return Err(not_onnx("a length runs past its end"));
                    }
                    match field {
                        1 => key = self.short(length, MAX_KEY)?,
                        2 => value = self.short(length, MAX_VALUE)?,
                        _ => self.skip(length)?,
                    }
                }
                _ => return Err(not_onnx("it has an unknown wire type")),
            }
        }
        if self.position != end {
            return Err(not_onnx("a field runs past its end"));
        }
        let Some(metadata) = &mut self.metadata else { return Ok(()) };
        match (key, value) {
            // The first of two with the same key stays.
            (Some(key), Some(value)) if metadata.pairs.len() < MAX_PAIRS => {
                metadata.pairs.entry(key).or_insert(value);
            }
            _ => metadata.left_out = metadata.left_out.saturating_add(1),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with its length before it.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3) | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap());
        out.extend(bytes);
        out
    }

    /// A model with an empty graph and these pairs.
    fn model(pairs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![8, 9];
        bytes.extend(field(7, &[]));
        for pair in pairs {
            bytes.extend(field(14, pair));
        }
        bytes
    }

    fn pair(key: &[u8], value: &[u8]) -> Vec<u8> {
        [field(1, key), field(2, value)].concat()
    }

    fn read(bytes: &[u8]) -> Result<Metadata> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("pithead-metadata-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("model.onnx");
        std::fs::write(&file, bytes).unwrap();
        let found = metadata(&dir, &file);
        std::fs::remove_dir_all(dir).unwrap();
        found
    }

    #[test]
    fn pairs_are_read() {
        let names = "{0: '安全帽', 1: \"b:c\"}";
        let found = read(&model(&[pair(b"names", names.as_bytes()), pair(b"task", b"detect"), pair(b"task", b"pose")])).unwrap();
        assert_eq!((found.get("names"), found.get("task"), found.get("none")), (Some(names), Some("detect"), None));
        assert_eq!(found.left_out, 0);
    }

    #[test]
    fn hostile_pairs_are_passed_over() {
        let long = vec![b'x'; usize::try_from(MAX_VALUE).unwrap() + 1];
        let longest = vec![b'x'; usize::try_from(MAX_VALUE).unwrap()];
        let pairs = [pair(b"long", &long), pair(b"longest", &longest), pair(b"bytes", b"\xff\xfe"), pair(&long, b"a"), field(2, b"no key")];
        let found = read(&model(&pairs)).unwrap();
        assert_eq!(found.left_out, 4);
        assert_eq!(found.get("longest").map(str::len), Some(longest.len()));
        assert_eq!(found.get("long").or(found.get("bytes")), None);
        let many: Vec<_> = (0..1_000).map(|n| pair(format!("k{n:04}").as_bytes(), b"v")).collect();
        let found = read(&model(&many)).unwrap();
        assert_eq!((found.pairs.len(), found.left_out), (MAX_PAIRS, 1_000 - 64));
        // A pair within a pair's key is text; lengths that lie are no ONNX.
        let nested = (0..200).fold(b"end".to_vec(), |inner, _| field(1, &inner));
        assert_eq!(read(&model(&[nested])).unwrap().left_out, 1);
        assert_eq!(read(&model(&[vec![10, 0x7f, b'a']])).unwrap_err().code, "not-onnx");
        assert_eq!(read(&model(&[vec![8]])).unwrap_err().code, "not-onnx");
    }
}
