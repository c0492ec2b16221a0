//! What the writes of this process have touched, so that whoever keeps in memory what it has read can ask whether it still holds.
//!
//! Invariants: a write is noted after its commit and before its answer; so what was read after a mark was taken, and holds since that mark,
//! misses no write that was answered. A write that does not say what it touches touches everything.

use std::collections::{BTreeSet, HashMap};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names that are told apart; with more, all that is kept is over once.
const MAX_NAMES: usize = 10_000;

/// What a write touches, by names: ids of organisations, people, nodes and what else records are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Touched {
    /// What has one of these names; with none, nothing that is kept anywhere.
    Only(BTreeSet<String>),
    #[default]
    Everything,
}

#[derive(Debug, Default)]
struct Noted {
    /// Mark of the last write that touched everything.
    everything: u64,
    /// Mark of the last write that touched a name.
    names: HashMap<String, u64>,
}

/// The marks of one process.
#[derive(Debug, Default)]
pub struct Marks {
    last: AtomicU64,
    noted: RwLock<Noted>,
}

impl Marks {
    /// The mark of this moment. Take it before the data is read.
    pub fn now(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Whether no write has touched one of the names since a mark.
    pub fn hold(&self, mark: u64, names: &[String]) -> bool {
        let Ok(noted) = self.noted.read() else { return false };
        noted.everything <= mark && names.iter().all(|name| noted.names.get(name).is_none_or(|touched| *touched <= mark))
    }

    /// Notes a write.
    pub fn note(&self, touched: Touched) {
        if touched == Touched::Only(BTreeSet::new()) {
            return;
        }
        let Ok(mut noted) = self.noted.write() else { return };
        // Under the lock, so that whoever takes the new mark finds the names that belong to it.
        let mark = self.last.fetch_add(1, Ordering::AcqRel) + 1;
        match touched {
            Touched::Only(names) if noted.names.len() + names.len() <= MAX_NAMES => {
                noted.names.extend(names.into_iter().map(|name| (name, mark)));
            }
            Touched::Only(_) | Touched::Everything => {
                noted.names.clear();
                noted.everything = mark;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> Touched {
        Touched::Only(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn what_was_read_holds_until_one_of_its_names_is_touched() {
        let (marks, names) = (Marks::default(), ["org_a".to_owned(), "usr_1".to_owned()]);
        let before = marks.now();
        marks.note(only(&["org_b"]));
        marks.note(only(&[]));
        assert!(marks.hold(before, &names), "others");
        let between = marks.now();
        marks.note(only(&["org_b", "usr_1"]));
        assert!(!marks.hold(before, &names) && !marks.hold(between, &names));
        assert!(marks.hold(between, &names[..1]) && marks.hold(marks.now(), &names));
        let last = marks.now();
        marks.note(Touched::Everything);
        assert!(!marks.hold(last, &[]) && marks.hold(marks.now(), &names));
    }

    #[test]
    fn names_are_bounded() {
        let marks = Marks::default();
        for n in 0..MAX_NAMES {
            marks.note(only(&[&format!("org_{n}")]));
        }
        let mark = marks.now();
        marks.note(only(&["one more"]));
        assert!(marks.noted.read().unwrap().names.is_empty());
        assert!(!marks.hold(mark, &["org_x".to_owned()]), "all is over rather than one name forgotten");
    }
}
