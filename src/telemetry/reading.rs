//! Reading a request's reports. The text of each is kept until it is read by itself, straight into its type: as trees of JSON a request of
//! many short members would take a hundred times its length. At most [`MAX_REPORTS`] are kept, and one is no longer than [`MAX_REPORT`].

use std::collections::{BTreeMap, BTreeSet};

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::model::{MAX_REPORTS, Report};
use super::streams::{MAX_PARTS, Part, ReadPart, Sent};
use crate::base::error::{Error, Result};
use crate::base::open::{Entry, Open, Whose};
use crate::base::turns::{Queue, QueueTurn};

/// Longest report in bytes: twice what an agent sends.
pub(super) const MAX_REPORT: usize = 512 * 1024;
/// Longest fault that is told, in characters: it may quote the report.
const MAX_FAULT: usize = 200;
/// Requests with more bytes of reports are worked off one at a time, so that many at once hold no more than their texts, which are bounded
/// ([`crate::base::bodies`]). Those that wait have their turns of the class, which must not be all that one core has (32): small alarms need
/// the others.
const LARGE: usize = 256 * 1024;
static READING: Queue = Queue::new(1, 16);
/// Large requests of one node, and of all nodes of an operator, that have a turn or wait, so that none fills the queue: an agent sends one at a
/// time, and once more where its line broke.
const OF_A_NODE: usize = 2;
const OF_AN_OPERATOR: usize = 4;

/// Reports as they came: the first [`MAX_REPORTS`], and how many there are.
#[derive(Debug, Default)]
pub struct Reports {
    texts: Vec<Box<RawValue>>,
    count: usize,
}

impl<'de> Deserialize<'de> for Reports {
    fn deserialize<D: Deserializer<'de>>(input: D) -> std::result::Result<Self, D::Error> {
        input.deserialize_seq(Listed)
    }
}

struct Listed;

impl<'de> Visitor<'de> for Listed {
    type Value = Reports;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of reports")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Reports, A::Error> {
        let mut reports = Reports::default();
        while reports.count < MAX_REPORTS {
            let Some(text) = seq.next_element()? else { return Ok(reports) };
            reports.texts.push(text);
            reports.count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            reports.count += 1;
        }
        Ok(reports)
    }
}

/// A request's reports, read.
#[derive(Debug, Default)]
pub struct Readable {
    /// By number, the order in which the node made them, and by the hash of their text.
    pub fresh: BTreeMap<(u64, String), Report>,
    /// The numbers of all that have one. That of an unreadable report counts as done, too: the node would send it for ever otherwise.
    pub numbers: BTreeSet<u64>,
    /// Reports that came twice.
    pub repeated: u64,
    /// Reports that cannot be read.
    pub refused: u64,
    /// What is wrong with the first of those.
    pub fault: Option<String>,
}

#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}

impl Reports {
    /// Texts of those that are kept.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| text.get())
    }

    fn bytes(&self) -> usize {
        self.texts().map(str::len).sum()
    }
}

/// What a node sends in one request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default)]
    reports: Reports,
    #[serde(default)]
    streams: Vec<Part>,
    /// Name of the machine's run, and milliseconds since it began.
    #[serde(default)]
    boot: String,
    #[serde(default)]
    mono: u64,
}

/// A request, read.
#[derive(Debug, Default)]
pub struct ReadRequest {
    pub reports: Readable,
    pub streams: Vec<ReadPart>,
    pub sent: Sent,
}

impl From<Reports> for Request {
    fn from(reports: Reports) -> Self {
        Self { reports, ..Self::default() }
    }
}

impl Request {
    /// Waits for a turn where the reports are large; hold it until they are written.
    ///
    /// # Errors
    /// `too-many-reports`; `too-many-connections`: the node, or its operator, has more such requests open; `server-busy`: too many wait for
    /// theirs.
    pub async fn turn(&self, open: &Open, operator: &str, node_id: &str) -> Result<Option<(QueueTurn<'static>, [Entry; 2])>> {
        let count = self.streams.iter().map(|part| part.records.count).sum::<usize>() + self.reports.count;
        if count > MAX_REPORTS || self.streams.len() > MAX_PARTS {
            return Err(Error::too_large("too-many-reports").arg("max", MAX_REPORTS));
        }
        let bytes = self.streams.iter().map(|part| part.records.bytes()).sum::<usize>() + self.reports.bytes();
        if bytes <= LARGE {
            return Ok(None);
        }
        let entries = [
            open.enter(Whose::Reports(node_id.to_owned()), OF_A_NODE)?,
            open.enter(Whose::OperatorReports(operator.to_owned()), OF_AN_OPERATOR)?,
        ];
        Ok(Some((READING.turn().await?, entries)))
    }

    /// Reads each report and each record by itself.
    pub fn read(self) -> ReadRequest {
        let sent = Sent { boot: self.boot, mono: self.mono };
        ReadRequest { reports: self.reports.read(), streams: self.streams.into_iter().map(Part::read).collect(), sent }
    }
}

impl Reports {
    /// Reads each by itself.
    fn read(self) -> Readable {
        let mut readable = Readable::default();
        for text in self.texts {
            let text = text.get();
            let Some(sequence) = serde_json::from_str(text).ok().map(|Numbered { sequence }| sequence).filter(|n| *n > 0) else {
                readable.refused += 1;
                readable.fault.get_or_insert_with(|| "no `sequence` above 0".to_owned());
                continue;
            };
            readable.numbers.insert(sequence);
            match read(text) {
                Ok(report) => {
                    let hash = hex::encode(Sha256::digest(text));
                    if readable.fresh.insert((sequence, hash), report).is_some() {
                        readable.repeated += 1;
                    }
                }
                Err(error) => {
                    readable.refused += 1;
                    readable.fault.get_or_insert_with(|| format!("{sequence}: {error}").chars().take(MAX_FAULT).collect());
                }
            }
        }
        readable
    }
}

fn read(text: &str) -> serde_json::Result<Report> {
    if text.len() > MAX_REPORT {
        return Err(serde_json::Error::custom(format_args!("{} bytes", text.len())));
    }
    Report::read(text)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::testing::measure::{alone, peak_of};

    const LIMIT: usize = 2 << 20;

    fn request(text: &str) -> Request {
        reports(text).into()
    }

    fn reports(text: &str) -> Reports {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn many_short_members_take_little_memory() {
        if !alone("telemetry::reading::tests::many_short_members_take_little_memory") {
            return;
        }
        let filled = |head: &str, item: &str, tail: &str| {
            let items = vec![item; (LIMIT - head.len() - tail.len()) / (item.len() + 1)].join(",");
            format!("{head}{items}{tail}")
        };
        let head = "{\"sequence\":1,\"at\":\"2026-11-29T00:00:00Z\",\"kind\":";
        let result = format!("{head}\"alarm\",\"result\":{{\"x\":[{}]}}}}", vec!["{\"\":0}"; 9_000].join(","));
        let sources = format!("{head}\"heartbeat\",\"sources\":[{}]}}", vec!["{\"\":0}"; 9_000].join(","));
        let beat = format!("[{head}\"heartbeat\",\"node\":{{\"x\":[");
        let record = "{\"seq\":1,\"prev\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"at\":\"2026-11-29T00:00:00Z\",\"mono\":1,\"boot\":\"b\",\"clock\":\"trusted\",\"body\":";
        for (kind, key) in [("alarms", "origin"), ("alarms", "result"), ("status", "x"), ("usage", "counters")] {
            let head = format!("{{\"streams\":[{{\"stream\":\"streamaaaa\",\"kind\":\"{kind}\",\"records\":[");
            let one = format!("{record}{{\"{key}\":{{\"x\":[{}]}}}}}}", vec!["{\"\":0}"; 9_000].join(","));
            // The pages of the program itself are resident from here on.
            drop(serde_json::from_str::<Request>(&format!("{head}{record}{{}}}}]}}]}}")).unwrap().read());
            let body = filled(&head, &one, "]}]}");
            let ((), peak) = peak_of(|| drop(serde_json::from_str::<Request>(&body).unwrap().read()));
            assert!(peak < 6 * LIMIT as u64, "{peak} bytes more for {kind} {key}");
        }
        for body in [
            filled("[", "{\"\":0}", "]"),
            filled("[[", "{\"\":0}", "]]"),
            filled(&beat, "{\"\":0}", "]}}]"),
            filled("[", &result, "]"),
            filled("[", &sources, "]"),
        ] {
            let (count, peak) = peak_of(|| {
                let reports = reports(&body);
                let count = reports.count;
                assert!(reports.read().fresh.is_empty());
                count
            });
            assert!(peak < 6 * LIMIT as u64, "{peak} bytes more for {count} reports: {}…", body.get(..40).unwrap_or_default());
        }
    }

    #[test]
    fn each_is_read_by_itself_and_the_first_fault_told() {
        let beat = "\"at\":\"2026-11-29T00:00:00Z\",\"kind\":\"heartbeat\",\"node\":{\"cpu_percent\":1,\"memory_used_bytes\":1,\"memory_total_bytes\":1}}";
        let long = format!("{{\"sequence\":7,\"x\":\"{}\",{beat}", "x".repeat(MAX_REPORT));
        let text =
            format!("[3,{{\"sequence\":4}},{{\"sequence\":5,{beat},{{\"sequence\":5,{beat},{{\"sequence\":6,\"kind\":\"gossip\"}},{long}]");
        let Readable { fresh, numbers, repeated, refused, fault } = reports(&text).read();
        assert_eq!((fresh.len(), Vec::from_iter(numbers), repeated, refused), (1, vec![4, 5, 6, 7], 1, 4));
        assert_eq!(fault.as_deref(), Some("no `sequence` above 0"));
        assert!(reports("[{\"sequence\":4},3]").read().fault.unwrap().starts_with("4: missing field"));
        let quoted = format!("[{{\"sequence\":1,\"kind\":\"{}\"}}]", "x".repeat(10_000));
        assert_eq!(reports(&quoted).read().fault.map(|fault| fault.len()), Some(MAX_FAULT));
    }

    #[tokio::test]
    async fn large_ones_are_worked_off_one_at_a_time() {
        let (open, large) = (Open::default(), request(&format!("[\"{}\"]", "x".repeat(LARGE))));
        assert!(request("[1]").turn(&open, "org_1", "nod_1").await.unwrap().is_none());
        let turn = large.turn(&open, "org_1", "nod_1").await.unwrap();
        assert!(turn.is_some());
        let (mut second, mut other) = (Box::pin(large.turn(&open, "org_1", "nod_1")), Box::pin(large.turn(&open, "org_1", "nod_2")));
        assert!(second.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none(), "they wait");
        assert_eq!(large.turn(&open, "org_1", "nod_1").await.unwrap_err().code, "too-many-connections");
        drop(turn);
        let second = second.await.unwrap();
        assert!(second.is_some() && other.as_mut().now_or_never().is_none(), "one at a time");
        drop(second);
        assert!(other.await.unwrap().is_some());

        // The nodes of one operator leave room for those of others.
        let turn = large.turn(&open, "org_1", "nod_1").await.unwrap();
        let nodes: Vec<String> = (2..=OF_AN_OPERATOR).map(|n| format!("nod_{n}")).collect();
        let mut wait: Vec<_> = nodes.iter().map(|node| Box::pin(large.turn(&open, "org_1", node))).collect();
        assert!(wait.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()), "they wait");
        assert_eq!(large.turn(&open, "org_1", "nod_99").await.unwrap_err().code, "too-many-connections");
        let mut other = Box::pin(large.turn(&open, "org_2", "nod_100"));
        assert!(other.as_mut().now_or_never().is_none(), "it waits");
        drop((wait, turn));
        assert!(other.await.unwrap().is_some());
        let many = request(&format!("[{}]", ["0"; MAX_REPORTS + 1].join(",")));
        assert_eq!(many.turn(&open, "org_1", "nod_1").await.unwrap_err().code, "too-many-reports");
    }
}
