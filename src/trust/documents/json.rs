//! JSON of strangers, read without holding its lists.

use std::fmt;
use std::marker::PhantomData;

use app_package::path::invisible;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Fault, MAX_PACKAGES, MAX_TEXT};

/// Reads JSON; the fault says where it ended, in the parser's words.
pub(super) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    // Some tools write a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|e| Fault::Malformed(e.to_string().chars().take(MAX_TEXT).collect()))
}

/// A field that should hold a text; a number counts as its text, anything else as empty.
#[derive(Debug, Default)]
pub(super) struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.chars().filter(|c| !c.is_control() && !invisible(*c)).take(MAX_TEXT).collect()))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Word, E> {
                Ok(Word(n.to_string()))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Word, E> {
                Ok(Word(n.to_string()))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Word, E> {
                Ok(Word(n.to_string()))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Word, E> {
                Ok(Word::default())
            }
            fn visit_unit<E>(self) -> Result<Word, E> {
                Ok(Word::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Word::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Word::default())
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Reads a list item by item; `null` is an empty one.
pub(super) fn each<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D, take: impl FnMut(T)) -> Result<(), D::Error> {
    struct Items<T, F>(F, PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Items<T, F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(item) = seq.next_element()? {
                (self.0)(item);
            }
            Ok(())
        }
    }
    deserializer.deserialize_any(Items(take, PhantomData))
}

/// A list of which the first items are kept, at most `MAX`, and all are counted.
#[derive(Debug)]
pub(super) struct First<T, const MAX: usize = MAX_PACKAGES> {
    pub items: Vec<T>,
    pub total: usize,
}

impl<T, const MAX: usize> Default for First<T, MAX> {
    fn default() -> Self {
        Self { items: Vec::new(), total: 0 }
    }
}

impl<T, const MAX: usize> First<T, MAX> {
    pub fn push(&mut self, item: T) {
        self.total += 1;
        if self.items.len() < MAX {
            self.items.push(item);
        }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for First<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = Self::default();
        each(deserializer, |item| found.push(item))?;
        Ok(found)
    }
}
