//! Streams of what a node has to tell: numbered records, each with the digest of the one before. Pure; node and server share it.
//!
//! A record's digest is that of its text as it is sent. So the receiver takes each record once, in whatever pieces they come, sees what is
//! missing, and sees a record that somebody else wrote under the node's name. A stream has a random name and ends with the disk that it lies
//! on; another one begins, instead of one that counts from one again.
//!
//! Invariants: [`Known`] never takes a number twice; what it has not got are its gaps, and a gap closes only with records that fit at both
//! ends.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;

/// Gaps that a receiver remembers at most. A sender makes one for each outage that is longer than its live records reach back.
pub const MAX_GAPS: usize = 16;
/// Longest name of a stream.
pub const MAX_NAME: usize = 64;

/// What a stream is about. Critical alarms have one of their own, so that none waits for lesser ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// States of deployments.
    Status,
    /// Critical alarms.
    Critical,
    /// The other alarms.
    Alarms,
    /// Counters, cumulative.
    Usage,
}

impl Kind {
    /// In the order in which they are sent.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Status, Self::Usage, Self::Alarms];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Critical => "critical",
            Self::Alarms => "alarms",
            Self::Usage => "usage",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a text may be the name of a stream.
pub fn is_name(text: &str) -> bool {
    (8..=MAX_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// What the first record of a stream has for the digest of the one before: that of the stream's name.
pub fn beginning(stream: &str) -> Digest {
    Digest::of(stream.as_bytes())
}

/// How far the sender believes its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockState {
    /// It agrees with the platform's.
    Trusted,
    /// The machine's is wrong; the platform's time is gone by.
    Adjusted,
    /// Nobody has told the time in this run.
    Untrusted,
}

/// A record.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record<'a> {
    /// From 1 on.
    pub seq: u64,
    /// Digest of the record before.
    pub prev: Digest,
    /// When, by the sender's clock, RFC 3339.
    pub at: chrono::DateTime<chrono::Utc>,
    /// When, by the machine's steady clock: milliseconds since it was started.
    pub mono: u64,
    /// Name of the machine's run that `mono` counts in.
    pub boot: String,
    /// What `at` is worth.
    pub clock: ClockState,
    /// What it tells, by the kind of the stream.
    #[serde(borrow)]
    pub body: &'a RawValue,
}

/// How many records of each level a run of dropped ones had; those of other kinds count as `other`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lost {
    /// Critical alarms.
    pub critical: u64,
    /// Warnings.
    pub warning: u64,
    /// Notices.
    pub notice: u64,
    /// What is no alarm.
    pub other: u64,
}

impl Lost {
    /// All together.
    pub fn sum(self) -> u64 {
        [self.critical, self.warning, self.notice, self.other].into_iter().fold(0, u64::saturating_add)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            critical: self.critical.saturating_add(more.critical),
            warning: self.warning.saturating_add(more.warning),
            notice: self.notice.saturating_add(more.notice),
            other: self.other.saturating_add(more.other),
        }
    }
}

/// Why records were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The ring was full.
    NoRoom,
    /// The disk took nothing, and the agent ended with them.
    AgentEnded,
    /// They were taken before, and are kept no longer: the receiver has lost them.
    TakenBefore,
    /// The disk does not give them back.
    Damaged,
}

/// What stands in the place of records that were dropped, so that the chain still holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Digest of the record before the first one; none where the sender has forgotten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Digest>,
    /// Digest of the last one.
    pub hash: Digest,
    /// How many there were.
    pub lost: Lost,
    /// Why they are not there.
    pub why: Why,
}

/// A member of a stream as it is sent: the text of a [`Record`], or `{"dropped": …}`.
#[derive(Debug)]
pub enum Item<'a> {
    /// A record.
    Record(Record<'a>),
    /// A run of records that were dropped.
    Dropped(Dropped),
}

impl<'a> Item<'a> {
    /// Reads a member's JSON.
    pub fn read(text: &'a str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Marked {
            dropped: Option<Dropped>,
        }
        match serde_json::from_str::<Marked>(text)?.dropped {
            Some(dropped) => Ok(Self::Dropped(dropped)),
            None => serde_json::from_str(text).map(Self::Record),
        }
    }

    /// Its place in the chain.
    pub fn span(&self, text: &str) -> Span {
        match self {
            Self::Record(record) => {
                Span { from: record.seq, to: record.seq, prev: Some(record.prev.clone()), hash: Digest::of(text.as_bytes()) }
            }
            Self::Dropped(dropped) => Span { from: dropped.from, to: dropped.to, prev: dropped.prev.clone(), hash: dropped.hash.clone() },
        }
    }
}

/// Numbers of one member, with the digests at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Digest of what is before; a member without one fits everywhere.
    pub prev: Option<Digest>,
    /// Digest of the last one.
    pub hash: Digest,
}

/// Numbers that the receiver has not got, though it has later ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First number.
    pub from: u64,
    /// Last number.
    pub to: u64,
    /// Digest of the record before the first; none where nobody remembers it.
    pub after: Option<Digest>,
    /// What the record behind the last one names as the one before it.
    pub before: Option<Digest>,
}

/// What a receiver has of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Highest number; 0 before the first.
    pub last: u64,
    /// Its digest.
    pub head: Digest,
    /// What is missing below it, in order.
    pub gaps: Vec<Gap>,
}

/// What became of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It was taken.
    Taken {
        /// How many of its numbers were not there.
        new: u64,
    },
    /// It was there before.
    Repeated,
}

/// Why a member cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// It does not follow on what is there: two senders write under one name, or one was set back.
    #[error("the record does not follow on those before")]
    Forked,
    /// The member before it is missing, and no further gap is remembered.
    #[error("number {0} is expected")]
    Expected(u64),
    /// Its numbers cannot be.
    #[error("the numbers of the record cannot be")]
    Invalid,
}

impl Misplaced {
    /// Stable error code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Forked => "stream-forked",
            Self::Expected(_) => "expected-seq",
            Self::Invalid => "record-invalid",
        }
    }
}

impl Known {
    /// What is known of a stream before its first record.
    pub fn new(stream: &str) -> Self {
        Self { last: 0, head: beginning(stream), gaps: Vec::new() }
    }

    /// No number up to this one is missing.
    pub fn through(&self) -> u64 {
        self.gaps.first().map_or(self.last, |gap| gap.from.saturating_sub(1))
    }

    /// Whether a number is there.
    pub fn has(&self, seq: u64) -> bool {
        seq <= self.last && !self.gaps.iter().any(|gap| (gap.from..=gap.to).contains(&seq))
    }

    /// Takes a member at its place. On a fault nothing changes.
    ///
    /// # Errors
    /// [`Misplaced`].
    pub fn place(&mut self, span: &Span) -> Result<Placed, Misplaced> {
        let Span { from, to, prev, hash } = span;
        if *from == 0 || to < from || *to == u64::MAX {
            return Err(Misplaced::Invalid);
        }
        if *to > self.last {
            return self.extend(span);
        }
        let Some(place) = self.gaps.iter().position(|gap| gap.from <= *to && *from <= gap.to) else {
            // Of the newest one the digest is known: another text under its number was written by somebody else.
            return if *to == self.last && *hash != self.head { Err(Misplaced::Forked) } else { Ok(Placed::Repeated) };
        };
        let Some(gap) = self.gaps.get(place) else { return Err(Misplaced::Invalid) };
        if *from > gap.from {
            return Err(Misplaced::Expected(gap.from));
        }
        // A run of dropped ones that began before the gap names a record that nobody compares any more.
        if *from == gap.from && !fits(prev.as_ref(), gap.after.as_ref()) {
            return Err(Misplaced::Forked);
        }
        if *to == gap.to && !fits(Some(hash), gap.before.as_ref()) {
            return Err(Misplaced::Forked);
        }
        let new = to.min(&gap.to) - gap.from + 1;
        if *to >= gap.to {
            self.gaps.remove(place);
        } else if let Some(gap) = self.gaps.get_mut(place) {
            (gap.from, gap.after) = (to + 1, Some(hash.clone()));
        }
        Ok(Placed::Taken { new })
    }

    /// Takes a member that ends behind all that is there.
    fn extend(&mut self, span: &Span) -> Result<Placed, Misplaced> {
        let next = self.last + 1;
        if span.from == next && !fits(span.prev.as_ref(), Some(&self.head)) {
            return Err(Misplaced::Forked);
        }
        let begins = span.from.max(next);
        if begins > next {
            if self.gaps.len() >= MAX_GAPS {
                return Err(Misplaced::Expected(self.gaps.first().map_or(next, |gap| gap.from)));
            }
            self.gaps.push(Gap { from: next, to: begins - 1, after: Some(self.head.clone()), before: span.prev.clone() });
        }
        (self.last, self.head) = (span.to, span.hash.clone());
        Ok(Placed::Taken { new: span.to - begins + 1 })
    }
}

fn fits(one: Option<&Digest>, other: Option<&Digest>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of `count` records, each with its place.
    fn chain(name: &str, count: u64) -> Vec<Span> {
        let mut prev = beginning(name);
        (1..=count)
            .map(|seq| {
                let hash = Digest::of(format!("{name} {seq} {prev}").as_bytes());
                Span { from: seq, to: seq, prev: Some(std::mem::replace(&mut prev, hash.clone())), hash }
            })
            .collect()
    }

    fn run(records: &[Span]) -> Span {
        let (first, last) = (&records[0], &records[records.len() - 1]);
        Span { from: first.from, to: last.to, prev: first.prev.clone(), hash: last.hash.clone() }
    }

    #[test]
    fn each_is_taken_once_whatever_is_sent_again() {
        let (records, mut known) = (chain("stream-a", 5), Known::new("stream-a"));
        for record in &records {
            assert_eq!(known.place(record), Ok(Placed::Taken { new: 1 }));
            assert_eq!(known.place(record), Ok(Placed::Repeated));
        }
        assert_eq!((known.last, known.through(), known.place(&records[1])), (5, 5, Ok(Placed::Repeated)));
    }

    #[test]
    fn the_newest_may_come_first_and_the_rest_must_fit_at_both_ends() {
        let (records, mut known) = (chain("stream-a", 9), Known::new("stream-a"));
        known.place(&records[0]).unwrap();
        for record in &records[6..] {
            known.place(record).unwrap();
        }
        assert_eq!((known.last, known.through(), known.has(3), known.has(8)), (9, 1, false, true));
        assert_eq!(known.place(&records[3]), Err(Misplaced::Expected(2)), "a gap is filled from its beginning");
        let foreign = chain("stream-b", 9);
        assert_eq!(known.place(&foreign[1]), Err(Misplaced::Forked));
        for record in &records[1..5] {
            known.place(record).unwrap();
        }
        // The last of the gap must be what the record behind it names.
        let wrong = Span { hash: Digest::of(b"another"), ..records[5].clone() };
        assert_eq!(known.place(&wrong), Err(Misplaced::Forked));
        known.place(&records[5]).unwrap();
        assert_eq!((known.gaps.len(), known.through()), (0, 9));
    }

    #[test]
    fn two_senders_under_one_name_show() {
        let (mut known, one) = (Known::new("stream-a"), chain("stream-a", 4));
        for record in &one[..3] {
            known.place(record).unwrap();
        }
        // The twin went on from the second record with another third one.
        let twin = Span { hash: Digest::of(b"the twin's"), ..one[2].clone() };
        assert_eq!(known.place(&twin), Err(Misplaced::Forked));
        let after = Span { from: 4, to: 4, prev: Some(twin.hash), hash: Digest::of(b"and on") };
        assert_eq!(known.place(&after), Err(Misplaced::Forked));
        assert_eq!(known.place(&one[3]), Ok(Placed::Taken { new: 1 }), "nothing was spoilt");
    }

    #[test]
    fn what_was_dropped_stands_for_its_numbers() {
        let (records, mut known) = (chain("stream-a", 9), Known::new("stream-a"));
        for record in &records[..3] {
            known.place(record).unwrap();
        }
        // The sender does not know that 3 was taken: its answer was lost.
        assert_eq!(known.place(&run(&records[2..6])), Ok(Placed::Taken { new: 3 }));
        assert_eq!(known.place(&run(&records[2..6])), Ok(Placed::Repeated));
        known.place(&records[6]).unwrap();
        assert_eq!(known.place(&run(&records[8..])), Ok(Placed::Taken { new: 1 }), "with a gap before it");
        assert_eq!(known.place(&run(&records[6..8])), Ok(Placed::Taken { new: 1 }));
        assert_eq!((known.last, known.through()), (9, 9));
        for (from, to) in [(0, 3), (7, 6), (12, u64::MAX)] {
            let span = Span { from, to, prev: None, hash: Digest::of(b"x") };
            assert_eq!(known.place(&span), Err(Misplaced::Invalid));
        }
    }

    #[test]
    fn a_receiver_that_was_set_back_asks_for_what_it_lost() {
        let (records, mut known) = (chain("stream-a", 6), Known::new("stream-a"));
        known.place(&records[0]).unwrap();
        known.place(&records[5]).unwrap();
        assert_eq!(known.through(), 1);
        // The sender keeps 4 and 5, and has forgotten what came before.
        let forgotten = Span { from: 1, to: 3, prev: None, hash: records[2].hash.clone() };
        assert_eq!(known.place(&forgotten), Ok(Placed::Taken { new: 2 }));
        assert_eq!(known.place(&records[3]), Ok(Placed::Taken { new: 1 }));
        assert_eq!(known.place(&records[4]), Ok(Placed::Taken { new: 1 }));
        assert_eq!(known.through(), 6);
    }

    #[test]
    fn gaps_are_bounded() {
        let (records, mut known) = (chain("stream-a", 100), Known::new("stream-a"));
        let taken = records.iter().skip(1).step_by(2).filter(|record| known.place(record).is_ok()).count();
        assert_eq!((taken, known.gaps.len()), (MAX_GAPS, MAX_GAPS));
        assert_eq!(known.place(&records[99]), Err(Misplaced::Expected(1)));
        known.place(&records[0]).unwrap();
        assert!(known.place(&records[99]).is_ok());
    }

    /// Any order, any repetition, any runs dropped: what is taken is each number once.
    #[test]
    fn any_order_gives_each_number_once() {
        let records = chain("stream-a", 40);
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut chance = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..300 {
            let (mut known, mut counted, mut tries) = (Known::new("stream-a"), 0, 0);
            while known.through() < 40 {
                tries += 1;
                assert!(tries < 20_000, "{known:?}");
                let begin = usize::try_from(chance(40)).unwrap();
                let length = usize::try_from(1 + chance(3)).unwrap().min(40 - begin);
                let span = run(&records[begin..begin + length]);
                let before = known.clone();
                match known.place(&span) {
                    Ok(Placed::Taken { new }) => counted += new,
                    Ok(Placed::Repeated) => assert_eq!(known, before),
                    Err(fault) => {
                        assert!(matches!(fault, Misplaced::Expected(_)), "{fault:?} {span:?} {before:?}");
                        assert_eq!(known, before);
                    }
                }
                let missing: u64 = known.gaps.iter().map(|gap| gap.to - gap.from + 1).sum();
                assert_eq!(counted + missing, known.last);
            }
            assert_eq!((counted, known.last, known.head.clone()), (40, 40, records[39].hash.clone()));
        }
    }

    #[test]
    fn records_are_read_with_the_digest_of_their_text() {
        let prev = beginning("stream-a");
        let text = format!(
            "{{\"seq\":1,\"prev\":\"{prev}\",\"at\":\"2026-11-30T00:00:00Z\",\"mono\":5,\"boot\":\"b\",\"clock\":\"trusted\",\"body\":{{\"x\": 1}}}}"
        );
        let item = Item::read(&text).unwrap();
        let Item::Record(record) = &item else { panic!("{item:?}") };
        assert_eq!((record.seq, record.body.get()), (1, "{\"x\": 1}"));
        assert_eq!(Known::new("stream-a").place(&item.span(&text)), Ok(Placed::Taken { new: 1 }));
        let dropped =
            Dropped { from: 2, to: 9, prev: None, hash: Digest::of(b"x"), lost: Lost { notice: 8, ..Lost::default() }, why: Why::NoRoom };
        let text = serde_json::json!({ "dropped": dropped }).to_string();
        assert!(matches!(Item::read(&text).unwrap(), Item::Dropped(read) if read == dropped));
        for wrong in ["{}", "3", "{\"dropped\":{}}", "{\"seq\":1}"] {
            assert!(Item::read(wrong).is_err(), "{wrong}");
        }
    }
}
