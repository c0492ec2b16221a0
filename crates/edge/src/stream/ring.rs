//! Room: what a stream gives up when there is too much of it. First goes what the platform has, then notices, then warnings, and critical
//! alarms last; of one level the rule with the most loses its oldest, so that a flood costs the rule that makes it.

use super::{AlarmLevel, Class, Digest, Dropped, Entry, Fault, HashMap, HashSet, Item, Lost, Place, Stream, VecDeque, Why, unreadable};

/// What goes first.
const ORDER: [Option<AlarmLevel>; 4] = [None, Some(AlarmLevel::Notice), Some(AlarmLevel::Warning), Some(AlarmLevel::Critical)];

fn lost(level: Option<AlarmLevel>) -> Lost {
    let none = Lost::default();
    match level {
        None => Lost { other: 1, ..none },
        Some(AlarmLevel::Notice) => Lost { notice: 1, ..none },
        Some(AlarmLevel::Warning) => Lost { warning: 1, ..none },
        Some(AlarmLevel::Critical) => Lost { critical: 1, ..none },
    }
}

impl Stream {
    /// Gives up records until at most so many bytes are left, and writes the file anew.
    pub fn shrink(&mut self, most: u64) -> Result<(), Fault> {
        if self.bytes() <= most {
            return Ok(());
        }
        let held = self.held.clone();
        self.entries.retain(|entry| !held.has(entry.to));
        let victims = self.victims(self.bytes().saturating_sub(most));
        let mut kept = VecDeque::with_capacity(self.entries.len());
        let mut run: Option<Dropped> = None;
        for entry in std::mem::take(&mut self.entries) {
            let gone = victims.contains(&entry.from);
            // What the disk does not give back stays where it is: without its digest the chain would break.
            let next = if gone || entry.dropped { self.gone(&entry, gone).ok() } else { None };
            let Some(next) = next else {
                kept.extend(run.take().as_ref().map(entry_of));
                kept.push_back(entry);
                continue;
            };
            self.lost = self.lost.saturating_add(u64::from(gone));
            run = match run.take() {
                Some(former) if former.to + 1 == next.from => {
                    Some(Dropped { to: next.to, hash: next.hash, lost: former.lost.plus(next.lost), ..former })
                }
                former => {
                    kept.extend(former.as_ref().map(entry_of));
                    Some(next)
                }
            };
        }
        kept.extend(run.as_ref().map(entry_of));
        self.entries = kept;
        self.rewrite()
    }

    /// The numbers of the records to give up for so many bytes.
    fn victims(&self, mut bytes: u64) -> HashSet<u64> {
        let mut victims = HashSet::new();
        for level in ORDER {
            let mut rules: HashMap<u64, VecDeque<(u64, u64)>> = HashMap::new();
            for entry in self.entries.iter().filter(|entry| !entry.dropped && entry.class.level == level) {
                rules.entry(entry.class.rule).or_default().push_back((entry.from, u64::from(entry.bytes)));
            }
            while bytes > 0 {
                // Of equally many the older one goes.
                let most = rules.values_mut().max_by_key(|of| (of.len(), std::cmp::Reverse(of.front().map(|(from, _)| *from))));
                let Some((from, size)) = most.and_then(VecDeque::pop_front) else { break };
                victims.insert(from);
                bytes = bytes.saturating_sub(size);
            }
        }
        victims
    }

    /// What stays of a record that goes, or of some that went before.
    fn gone(&self, entry: &Entry, record: bool) -> Result<Dropped, Fault> {
        let text = self.text(entry)?;
        match Item::read(&text).map_err(unreadable)? {
            Item::Dropped(dropped) if !record => Ok(dropped),
            item => {
                let span = item.span(&text);
                let (from, to, hash) = (span.from, span.to, Digest::of(text.as_bytes()));
                Ok(Dropped { from, to, prev: span.prev, hash, lost: lost(entry.class.level), why: Why::NoRoom })
            }
        }
    }
}

pub(super) fn entry_of(dropped: &Dropped) -> Entry {
    let text = serde_json::json!({ "dropped": dropped }).to_string();
    Entry {
        from: dropped.from,
        to: dropped.to,
        bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
        at: chrono::DateTime::UNIX_EPOCH,
        class: Class { level: None, rule: 0 },
        dropped: true,
        place: Place::Memory(text),
    }
}
