//! Cameras and other sources of a node, as its last heartbeat told them.
//!
//! Invariants: a row is written where something has changed, so that a heartbeat each few seconds writes nothing; it goes when a heartbeat does
//! not name its source. A list that cannot be read changes nothing, and a member that cannot be read is left out: the heartbeat counts all the
//! same. What a node says of a source is text of a stranger, bounded here.

use std::collections::BTreeMap;

use diesel::prelude::*;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::model::figure;
use super::store;
use crate::base::db::{Conn, Timestamp, schema};

crate::base::db::types::text_enum! {
    /// Where a source stands.
    pub enum SourceState {
        /// Pictures come.
        Running = "running",
        /// It has begun, and no picture has come yet.
        Connecting = "connecting",
        Failed = "failed",
    }
}

/// Most sources of a node that are kept: as many as an agent has.
const MAX_SOURCES: usize = 64;
/// Longest list that is read, in bytes.
const MAX_LIST: usize = 256 * 1024;
/// Longest id of a source, longest word, and most troubles at a time; longest name, in characters, and most apps of a source.
const MAX_ID: usize = 60;
const MAX_WORD: usize = 40;
const MAX_TROUBLES: usize = 8;
const MAX_NAME: usize = 100;
const MAX_APPS: usize = 32;
/// What leaves nothing to be seen, as the node's `Trouble::blinds` has it.
const BLIND: [&str; 2] = ["black", "frozen"];

/// A source of a node.
#[derive(Debug, Clone, PartialEq, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::node_sources)]
pub struct NodeSource {
    pub node_id: String,
    /// The node's name of it, a slug.
    pub source_id: String,
    /// What people call it.
    pub name: String,
    /// `rtsp`, `file`, `snapshot`, `folder`, or what a later agent knows.
    pub kind: String,
    pub state: SourceState,
    /// Why it has failed.
    pub code: Option<String>,
    /// What is wrong with its picture, words with spaces between them.
    pub troubles: String,
    /// Size of its pictures.
    pub width: Option<i64>,
    pub height: Option<i64>,
    /// Frames a second that apps are given.
    pub rate: f64,
    /// The apps that look at it, a line each.
    pub apps: String,
    /// Since when state, code and troubles are as they are.
    pub since: Timestamp,
    /// Since when nobody can see anything by it: it has failed, or its picture is black or stands still.
    pub lost_since: Option<Timestamp>,
}

impl NodeSource {
    /// What is wrong with its picture.
    pub fn troubles(&self) -> impl Iterator<Item = &str> {
        self.troubles.split_ascii_whitespace()
    }

    /// The apps that look at it.
    pub fn apps(&self) -> impl Iterator<Item = &str> {
        self.apps.lines()
    }

    /// As it is after what was known before.
    fn after(self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self };
        let same = (self.state, &self.code, &self.troubles) == (before.state, &before.code, &before.troubles);
        let lost_since = match self.lost_since {
            Some(now) => Some(before.lost_since.unwrap_or(now)),
            // An agent that has just started has not seen yet what it lost before.
            None if self.state == SourceState::Connecting => before.lost_since,
            None => None,
        };
        Self { since: if same { before.since } else { self.since }, lost_since, ..self }
    }
}

/// A heartbeat without a list.
pub(super) fn none() -> String {
    "[]".to_owned()
}

/// The list of a heartbeat as it came: of many heartbeats only the last one is read. Of one that is too long nothing is kept, which is no list.
pub(super) fn list<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = <&RawValue>::deserialize(input)?.get();
    Ok(if text.len() <= MAX_LIST { text.to_owned() } else { String::new() })
}

/// A source as a node tells of it.
#[derive(Deserialize)]
struct Told {
    id: String,
    #[serde(default)]
    name: String,
    kind: String,
    state: SourceState,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    troubles: Vec<String>,
    #[serde(default)]
    size: Option<[u32; 2]>,
    #[serde(default)]
    rate: f64,
    #[serde(default)]
    apps: Vec<String>,
}

/// Whether a text is a slug of at most so many bytes.
fn is_slug(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A text on one line, cut where it is too long.
fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

impl Told {
    /// Its row, where its words are such.
    fn row(self, node_id: &str, now: Timestamp) -> Option<NodeSource> {
        if !is_slug(&self.id, MAX_ID) || !is_slug(&self.kind, MAX_WORD) {
            return None;
        }
        let name = line(&self.name);
        let troubles: Vec<&str> =
            self.troubles.iter().map(String::as_str).filter(|word| is_slug(word, MAX_WORD)).take(MAX_TROUBLES).collect();
        let lost = self.state == SourceState::Failed || troubles.iter().any(|word| BLIND.contains(word));
        let apps: Vec<String> = self.apps.iter().map(|app| line(app)).filter(|app| !app.is_empty()).take(MAX_APPS).collect();
        Some(NodeSource {
            node_id: node_id.to_owned(),
            name: if name.trim().is_empty() { self.id.clone() } else { name },
            source_id: self.id,
            kind: self.kind,
            state: self.state,
            code: self.code.filter(|code| is_slug(code, MAX_WORD)),
            troubles: troubles.join(" "),
            width: self.size.map(|[width, _]| i64::from(width)),
            height: self.size.map(|[_, height]| i64::from(height)),
            rate: figure(self.rate, 1_000.0),
            apps: apps.join("\n"),
            since: now,
            lost_since: lost.then_some(now),
        })
    }
}

/// Reads a heartbeat's list, each member by itself: the rows by the source's id, and how many members were refused. `None` where it is no list.
fn read(text: &str, node_id: &str, now: Timestamp) -> Option<(BTreeMap<String, NodeSource>, u64)> {
    let members: Option<Vec<&RawValue>> = serde_json::from_str(text).ok()?;
    let members = members.unwrap_or_default();
    let (mut rows, mut refused) = (BTreeMap::new(), members.len().saturating_sub(MAX_SOURCES) as u64);
    for member in members.into_iter().take(MAX_SOURCES) {
        let told = serde_json::from_str::<Told>(member.get()).ok();
        match told.and_then(|told| told.row(node_id, now)) {
            Some(row) => drop(rows.insert(row.source_id.clone(), row)),
            None => refused += 1,
        }
    }
    Some((rows, refused))
}

/// What became of a heartbeat's list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Whether anything is other than before.
    pub changed: bool,
    /// Members, or the list as a whole, that cannot be read.
    pub refused: u64,
}

/// Keeps what a heartbeat says of its node's sources. The caller has locked the node's row.
pub(super) fn keep(conn: &mut Conn, node_id: &str, text: &str, now: Timestamp) -> QueryResult<Kept> {
    let Some((told, refused)) = read(text, node_id, now) else { return Ok(Kept { changed: false, refused: 1 }) };
    let known = store::sources_of(conn, node_id)?;
    let known: BTreeMap<String, NodeSource> = known.into_iter().map(|row| (row.source_id.clone(), row)).collect();
    let wanted = told.into_iter().map(|(id, row)| {
        let row = row.after(known.get(&id));
        (id, row)
    });
    let wanted: BTreeMap<String, NodeSource> = wanted.collect();
    let stale: Vec<&str> = known.iter().filter(|(id, row)| wanted.get(*id) != Some(*row)).map(|(id, _)| id.as_str()).collect();
    let fresh: Vec<&NodeSource> = wanted.iter().filter(|(id, row)| known.get(*id) != Some(*row)).map(|(_, row)| row).collect();
    store::replace_sources(conn, node_id, &stale, &fresh)?;
    Ok(Kept { changed: !stale.is_empty() || !fresh.is_empty(), refused })
}

/// The sources of a node, in order of id, for other pages. The caller has asked for the right to see the node.
pub fn of_node(conn: &mut Conn, node_id: &str) -> QueryResult<Vec<NodeSource>> {
    store::sources_of(conn, node_id)
}

/// How many sources of each node have failed or show a picture that cannot be trusted, for other pages; a node without is not in the map.
pub fn troubled(conn: &mut Conn, node_ids: &[String]) -> QueryResult<BTreeMap<String, i64>> {
    store::troubled_sources(conn, node_ids)
}
