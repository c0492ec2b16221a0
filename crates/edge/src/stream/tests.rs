use app_package::stream::{ClockState, Known, Misplaced, Placed};

use super::*;
use crate::testing::Scratch;

fn plain(_: &RawValue) -> Class {
    Class { level: None, rule: 0 }
}

fn leveled(body: &RawValue) -> Class {
    let body: serde_json::Value = serde_json::from_str(body.get()).unwrap();
    let level = match body["level"].as_str() {
        Some("critical") => AlarmLevel::Critical,
        Some("warning") => AlarmLevel::Warning,
        _ => AlarmLevel::Notice,
    };
    Class { level: Some(level), rule: body["rule"].as_u64().unwrap_or(0) }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn push(stream: &mut Stream, class: Class, seconds: i64, body: &serde_json::Value) {
    let moment = Moment { at: at(seconds), mono: 1, boot: "b".into(), clock: ClockState::Trusted };
    stream.push(&moment, class, &serde_json::value::to_raw_value(body).unwrap()).unwrap();
}

fn numbered(stream: &mut Stream, numbers: std::ops::RangeInclusive<i64>) {
    for n in numbers {
        push(stream, Class { level: Some(AlarmLevel::Warning), rule: 0 }, n, &serde_json::json!({ "n": n, "level": "warning" }));
    }
}

/// A platform: what it has of a stream, and the bodies that it took.
struct Platform {
    known: Known,
    taken: Vec<serde_json::Value>,
    lost: u64,
}

impl Platform {
    fn new(stream: &Stream) -> Self {
        Self { known: Known::new(stream.name()), taken: Vec::new(), lost: 0 }
    }

    fn take(&mut self, texts: &[String]) -> Result<(), Misplaced> {
        for text in texts {
            let item = Item::read(text).unwrap();
            if let Placed::Taken { new } = self.known.place(&item.span(text))? {
                match item {
                    Item::Record(record) => self.taken.push(serde_json::from_str(record.body.get()).unwrap()),
                    Item::Dropped(_) => self.lost += new,
                }
            }
        }
        Ok(())
    }

    fn held(&self) -> Held {
        Held { last: self.known.last, gaps: self.known.gaps.iter().map(|gap| (gap.from, gap.to)).collect() }
    }

    /// Sends all, a few at a time.
    fn exchange(&mut self, stream: &mut Stream, now: DateTime<Utc>) {
        for _ in 0..10_000 {
            let live = stream.batch(Lane::Live, 700, 3, now);
            let texts = if live.is_empty() { stream.batch(Lane::Backlog, 700, 3, now) } else { live };
            if texts.is_empty() {
                return;
            }
            self.take(&texts).unwrap();
            stream.answered(self.held(), now);
        }
        panic!("it never ends");
    }

    fn numbers(&self) -> Vec<i64> {
        self.taken.iter().map(|body| body["n"].as_i64().unwrap()).collect()
    }
}

#[test]
fn all_arrives_once_over_restarts_and_lost_answers() {
    let dir = Scratch::new();
    let open = || Stream::open(dir.path(), Kind::Alarms, leveled);
    let mut stream = open();
    numbered(&mut stream, 1..=5);
    let mut platform = Platform::new(&stream);
    // The answer is lost with the agent.
    platform.take(&stream.batch(Lane::Backlog, 10_000, 3, at(6))).unwrap();
    drop(stream);
    let mut stream = open();
    numbered(&mut stream, 6..=8);
    platform.exchange(&mut stream, at(9));
    assert_eq!((platform.numbers(), stream.waiting(), stream.is_done()), ((1..=8).collect(), 0, true));
    drop(stream);
    // What the platform has is known after a restart.
    let mut stream = open();
    assert_eq!((stream.waiting(), stream.batch(Lane::Backlog, 10_000, 3, at(9)).len()), (0, 0));
    numbered(&mut stream, 9..=9);
    platform.exchange(&mut stream, at(10));
    assert_eq!(platform.numbers(), (1..=9).collect::<Vec<_>>());
}

#[test]
fn after_a_long_outage_the_last_hour_goes_first() {
    let dir = Scratch::new();
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    let mut platform = Platform::new(&stream);
    for n in 1..=20 {
        push(
            &mut stream,
            leveled(&serde_json::value::to_raw_value(&serde_json::json!({})).unwrap()),
            n * 3600,
            &serde_json::json!({ "n": n }),
        );
    }
    platform.exchange(&mut stream, at(20 * 3600 + 60));
    assert_eq!(platform.numbers(), [20].into_iter().chain(1..=19).collect::<Vec<_>>());
    assert_eq!(platform.known.through(), 20);
}

#[test]
fn a_torn_end_is_dropped_and_a_damaged_middle_begins_another_stream() {
    let dir = Scratch::new();
    let path = dir.path().join("alarms.jsonl");
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    numbered(&mut stream, 1..=4);
    let name = stream.name().to_owned();
    drop(stream);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    assert_eq!((stream.name(), stream.waiting(), stream.next), (name.as_str(), 3, 4));
    drop(stream);
    // A flipped byte in the second record: what is before it goes on, under another name, and is not spoilt.
    let mut damaged = whole;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    assert_ne!(stream.name(), name);
    let mut platform = Platform::new(&stream);
    platform.exchange(&mut stream, at(9));
    assert!(!platform.taken.is_empty() && platform.numbers().iter().all(|n| (1..=3).contains(n)), "{:?}", platform.numbers());
}

#[test]
fn a_platform_that_was_set_back_gets_what_is_still_kept() {
    let dir = Scratch::new();
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    let mut platform = Platform::new(&stream);
    numbered(&mut stream, 1..=6);
    platform.exchange(&mut stream, at(7));
    let copy = (platform.known.clone(), platform.taken.clone());
    numbered(&mut stream, 7..=12);
    platform.exchange(&mut stream, at(13));
    (platform.known, platform.taken) = copy;
    numbered(&mut stream, 13..=14);
    platform.exchange(&mut stream, at(15));
    let mut all = platform.numbers();
    all.sort_unstable();
    assert_eq!(all, (1..=14).collect::<Vec<_>>());
    // Eight days later the tail is gone; the platform is told so, and the stream goes on.
    stream.answered(platform.held(), at(8 * 86_400));
    (platform.known, platform.taken) = (Known::new(stream.name()), Vec::new());
    numbered(&mut stream, 691_300..=691_301);
    platform.exchange(&mut stream, at(691_302));
    assert_eq!((platform.taken.len(), platform.lost, platform.known.through()), (2, 14, 16));
}

#[test]
fn no_number_is_given_twice_where_nothing_is_kept_of_those_before() {
    let dir = Scratch::new();
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    let mut platform = Platform::new(&stream);
    numbered(&mut stream, 1..=3);
    platform.exchange(&mut stream, at(4));
    stream.answered(platform.held(), at(8 * 86_400));
    stream.rewrite().unwrap();
    let name = stream.name().to_owned();
    drop(stream);
    // The mark knows, too; here it is lost.
    std::fs::remove_file(dir.path().join("alarms.mark")).unwrap();
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    assert_eq!((stream.name(), stream.next), (name.as_str(), 4));
    numbered(&mut stream, 4..=4);
    platform.exchange(&mut stream, at(5));
    assert_eq!((platform.numbers(), platform.known.through()), (vec![1, 2, 3, 4], 4));
}

#[test]
fn a_platform_that_knows_more_than_was_written_is_another_machines() {
    let dir = Scratch::new();
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    numbered(&mut stream, 1..=3);
    let name = stream.name().to_owned();
    // It claims what was never sent: nothing goes.
    stream.answered(Held { last: 3, gaps: Vec::new() }, at(4));
    assert_eq!((stream.name(), stream.waiting()), (name.as_str(), 3));
    stream.answered(Held { last: 9, gaps: Vec::new() }, at(4));
    assert_ne!(stream.name(), name);
    let mut platform = Platform::new(&stream);
    platform.exchange(&mut stream, at(5));
    assert_eq!(platform.numbers(), [1, 2, 3]);
}

#[test]
fn room_is_made_by_level_then_by_rule_and_the_chain_holds() {
    let dir = Scratch::new();
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    let body = |n: i64, rule: u64, level: &str| serde_json::json!({ "n": n, "rule": rule, "level": level, "pad": "x".repeat(200) });
    for n in 1..=120 {
        let (rule, level) = match n {
            1..=5 => (1, "notice"),
            n if n % 3 == 0 => (3, "warning"),
            n if n % 10 == 0 => (4, "critical"),
            _ => (2, "notice"),
        };
        let body = body(n, rule, level);
        push(&mut stream, leveled(&serde_json::value::to_raw_value(&body).unwrap()), n, &body);
    }
    let mut platform = Platform::new(&stream);
    platform.take(&stream.batch(Lane::Backlog, 5_000, 2, at(121))).unwrap();
    let each = stream.bytes() / 120;
    // Half of it goes: only notices, of the rule that made most.
    stream.shrink(each * 80).unwrap();
    let levels = |stream: &Stream, level| stream.entries.iter().filter(|e| !e.dropped && e.class.level == Some(level)).count();
    let of_rule = |stream: &Stream, rule| stream.entries.iter().filter(|e| !e.dropped && e.class.rule == rule).count();
    assert_eq!((levels(&stream, AlarmLevel::Warning), levels(&stream, AlarmLevel::Critical), of_rule(&stream, 1)), (39, 8, 5));
    assert!(stream.lost() > 20, "{}", stream.lost());
    // To nearly nothing: critical ones stay to the last.
    stream.shrink(each * 6).unwrap();
    assert!(levels(&stream, AlarmLevel::Critical) > 0 && levels(&stream, AlarmLevel::Warning) == 0);
    let lost = stream.lost();
    drop(stream);
    let mut stream = Stream::open(dir.path(), Kind::Alarms, leveled);
    assert_eq!(stream.lost(), lost, "told also by the next agent");
    platform.exchange(&mut stream, at(200));
    assert_eq!((platform.known.through(), platform.taken.len() as u64 + platform.lost), (120, 120));
}

#[test]
fn what_the_disk_refuses_waits_in_memory_and_its_loss_is_told() {
    let dir = Scratch::new();
    let mut stream = Stream::open(dir.path(), Kind::Critical, plain);
    numbered(&mut stream, 1..=2);
    let name = stream.name().to_owned();
    // A folder in the place of the temporary file: nothing can be written anew, and what is open takes nothing.
    std::fs::create_dir(dir.path().join("critical.jsonl.tmp")).unwrap();
    stream.refused = Some((Fault::new("disk-full", "store", ""), Instant::now()));
    numbered(&mut stream, 3..=5);
    assert_eq!((stream.waiting(), stream.unstored() > 0), (5, true));
    let mut platform = Platform::new(&stream);
    platform.take(&stream.batch(Lane::Backlog, 100_000, 3, at(6))).unwrap();
    stream.answered(platform.held(), at(6));
    drop(stream);
    std::fs::remove_dir(dir.path().join("critical.jsonl.tmp")).unwrap();
    // Two were in memory only, and not taken.
    let mut stream = Stream::open(dir.path(), Kind::Critical, plain);
    assert_eq!((stream.lost(), stream.name() == name, stream.waiting()), (2, false, 0));
    let mut platform = Platform::new(&stream);
    numbered(&mut stream, 6..=6);
    platform.exchange(&mut stream, at(7));
    assert_eq!((platform.lost, platform.numbers()), (2, vec![6]));
    drop(stream);
    assert_eq!(Stream::open(dir.path(), Kind::Critical, plain).lost(), 2);
}
