//! Pictures of alarms: a small one that a node sends when an alarm begins, and the whole one, which it sends only where a person has asked for
//! it. Both go with their alarm.
//!
//! Invariants: the first small picture of an alarm stays; a node sends pictures of its own alarms only, and only as the mine wants them
//! ([`account::pictures`]); bytes are JPEG by their first and last marker and are decoded nowhere on the server; they are read by themselves,
//! never with a list.

use std::collections::BTreeMap;

use diesel::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::model::Level;
use super::service::TOPIC;
use super::store;
use super::streams::is_short;
use crate::account;
use crate::account::model::AlarmPictures;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Person};
use crate::base::db::{Conn, Timestamp, schema};
use crate::base::error::{Error, Faults, Result};
use crate::fleet;

/// Largest small picture, and largest whole one, in bytes.
pub const MAX_SMALL: usize = 48 * 1024;
pub const MAX_WHOLE: usize = 1024 * 1024;
/// Longest side of a source picture, in pixels.
const MAX_SIDE: i64 = 100_000;
/// Whole pictures that a node is asked for at a time.
const MAX_WANTED: i64 = 20;

crate::base::db::types::text_enum! {
    /// Whether what is in a picture was made unrecognisable by the node.
    pub enum Privacy {
        Blurred = "blurred",
        Plain = "plain",
    }
}

crate::base::db::types::text_enum! {
    /// Where the whole picture of an alarm is.
    pub enum Whole {
        /// Nobody has asked for it.
        NotAsked = "none",
        /// Asked for; the node has not sent it yet.
        Asked = "asked",
        Here = "here",
        /// The node has it no more.
        Gone = "gone",
    }
}

/// A picture without its bytes.
#[derive(Debug, Clone, Queryable)]
pub struct Picture {
    pub alarm_id: String,
    /// Size of the source picture in pixels: the boxes of the alarm's result are in these.
    pub width: i64,
    pub height: i64,
    pub privacy: Privacy,
    /// Who asked for the whole one, by the name of then.
    pub asked_by: Option<String>,
    pub asked_at: Option<Timestamp>,
    pub gone_at: Option<Timestamp>,
    pub received_at: Timestamp,
    /// Whether the whole one is here.
    pub has_whole: bool,
}

impl Picture {
    pub fn whole(&self) -> Whole {
        match (self.has_whole, self.gone_at, self.asked_at) {
            (true, ..) => Whole::Here,
            (false, Some(_), _) => Whole::Gone,
            (false, None, Some(_)) => Whole::Asked,
            (false, None, None) => Whole::NotAsked,
        }
    }
}

/// A small picture as it is stored.
#[derive(Debug, Insertable)]
#[diesel(table_name = schema::alarm_pictures)]
pub struct NewPicture {
    pub alarm_id: String,
    pub organization_id: String,
    pub node_id: String,
    pub episode: String,
    pub width: i64,
    pub height: i64,
    pub privacy: Privacy,
    pub small: Vec<u8>,
    pub received_at: Timestamp,
}

/// An alarm with a picture, as an overview shows it.
#[derive(Debug, Clone, Queryable)]
pub struct PictureLine {
    pub alarm_id: String,
    pub level: Level,
    pub text_zh: String,
    pub text_en: String,
    pub raised_at: Timestamp,
}

/// What a node says of a picture.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Frame {
    /// Size of the source picture in pixels.
    pub width: i64,
    pub height: i64,
    pub privacy: Privacy,
}

/// Which of the two pictures of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Small,
    Whole,
}

/// Takes the small picture of an episode. Where there is one already, that stays.
///
/// # Errors
/// `not-authorized`; `alarm-unknown`: the node has told of no such episode yet; `pictures-off`, `picture-not-blurred`: the mine wants them
/// otherwise; `picture-not-jpeg`; a wrong size.
pub async fn take(app: &App, actor: &Actor, episode: String, frame: Frame, bytes: Vec<u8>) -> Result<()> {
    let (node_id, owner) = fleet::margo::node(actor)?;
    let mut faults = Faults::default();
    for (field, side) in [("width", frame.width), ("height", frame.height)] {
        if !(1..=MAX_SIDE).contains(&side) {
            faults.add_range(field, 1, MAX_SIDE);
        }
    }
    faults.check()?;
    require_jpeg(&bytes)?;
    audit::change(app, actor, move |c| {
        hear(c, &node_id)?;
        require_wanted(c, &owner, frame.privacy)?;
        let alarm_id = alarm_of(c, &node_id, &episode)?;
        if store::picture(c, &owner, &alarm_id)?.is_some() {
            return Ok(());
        }
        let picture = NewPicture {
            alarm_id,
            organization_id: owner.clone(),
            node_id: node_id.clone(),
            episode: episode.clone(),
            width: frame.width,
            height: frame.height,
            privacy: frame.privacy,
            small: bytes.clone(),
            received_at: c.now,
        };
        store::insert_picture(c, &picture)?;
        arrived(c, &owner);
        Ok(())
    })
    .await
}

/// Takes the whole picture of an episode, where somebody has asked for it.
///
/// # Errors
/// As [`take`]; `picture-not-asked`: nobody wants it, or the node has said that it has it no more.
pub async fn take_whole(app: &App, actor: &Actor, episode: String, bytes: Vec<u8>) -> Result<()> {
    let (node_id, owner) = fleet::margo::node(actor)?;
    require_jpeg(&bytes)?;
    audit::change(app, actor, move |c| {
        hear(c, &node_id)?;
        let alarm_id = alarm_of(c, &node_id, &episode)?;
        let picture = store::picture(c, &owner, &alarm_id)?.ok_or_else(|| Error::conflict("picture-not-asked"))?;
        match picture.whole() {
            Whole::Here => return Ok(()),
            Whole::Asked => {}
            Whole::NotAsked | Whole::Gone => return Err(Error::conflict("picture-not-asked")),
        }
        require_wanted(c, &owner, picture.privacy)?;
        store::keep_whole_picture(c, &alarm_id, &bytes)?;
        arrived(c, &owner);
        Ok(())
    })
    .await
}

/// Notes that the node has the whole picture of an episode no more. What is here stays.
///
/// # Errors
/// `not-authorized`, `alarm-unknown`.
pub async fn mark_gone(app: &App, actor: &Actor, episode: String) -> Result<()> {
    let (node_id, owner) = fleet::margo::node(actor)?;
    audit::change(app, actor, move |c| {
        hear(c, &node_id)?;
        let alarm_id = alarm_of(c, &node_id, &episode)?;
        let now = c.now;
        if store::mark_picture_gone(c, &alarm_id, now)? == 1 {
            arrived(c, &owner);
        }
        Ok(())
    })
    .await
}

/// Locks the node's row, so that of two requests of one node the second finds what the first has done.
fn hear(c: &mut Change<'_>, node_id: &str) -> Result<()> {
    let now = c.now;
    if fleet::service::note_call(c, node_id, now)? == 1 { Ok(()) } else { Err(Error::forbidden("not-authorized")) }
}

/// Id of the node's alarm of an episode.
fn alarm_of(conn: &mut Conn, node_id: &str, episode: &str) -> Result<String> {
    let found = if is_short(episode) { store::alarm_of_episode(conn, node_id, episode)? } else { None };
    found.ok_or_else(|| Error::not_found("alarm-unknown"))
}

fn require_wanted(conn: &mut Conn, owner: &str, privacy: Privacy) -> Result<()> {
    match (account::pictures::chosen(conn, owner)?, privacy) {
        (AlarmPictures::Off, _) => Err(Error::conflict("pictures-off")),
        // It was made before the mine chose otherwise.
        (AlarmPictures::Blurred, Privacy::Plain) => Err(Error::conflict("picture-not-blurred")),
        _ => Ok(()),
    }
}

/// Start and end of image (ITU-T T.81, table B.1), and the marker that follows the start.
fn require_jpeg(bytes: &[u8]) -> Result<()> {
    let whole = bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.ends_with(&[0xff, 0xd9]);
    if whole { Ok(()) } else { Err(Error::invalid("picture-not-jpeg")) }
}

/// The node forgets what was answered; open boards show it.
fn arrived(c: &mut Change<'_>, owner: &str) {
    c.lasting();
    c.poke(owner, TOPIC);
}

/// Episodes of a node whose whole pictures are wanted, the oldest request first.
pub fn wanted(conn: &mut Conn, node_id: &str, setting: AlarmPictures) -> QueryResult<Vec<String>> {
    if setting == AlarmPictures::Off { Ok(Vec::new()) } else { store::wanted_pictures(conn, node_id, MAX_WANTED) }
}

/// Asks the node for the whole picture of an alarm of the operator.
///
/// # Errors
/// Those of [`ask_in`].
pub async fn ask(app: &App, actor: &Actor, id: &str) -> Result<()> {
    policy::require(actor, Action::AnswerAlarms)?;
    let id = id.to_owned();
    audit::change(app, actor, move |c| ask_in(c, &id)).await
}

/// As [`ask`], in the caller's transaction. What was asked for already, or is here, is well.
///
/// # Errors
/// `picture`: there is none of this alarm, or it is not the operator's. `picture-gone`: the node has it no more.
pub fn ask_in(c: &mut Change<'_>, id: &str) -> Result<()> {
    let person = policy::require(c.actor, Action::AnswerAlarms)?;
    let (owner, now) = (&person.organization_id, c.now);
    let picture = store::picture(c, owner, id)?.ok_or_else(|| Error::not_found("picture"))?;
    match picture.whole() {
        Whole::NotAsked => {}
        Whole::Asked | Whole::Here => return Ok(()),
        Whole::Gone => return Err(Error::conflict("picture-gone")),
    }
    // Of two who ask at once the first is noted.
    if store::ask_for_picture(c, id, &person.name, now)? == 1 {
        c.audit("alarm.picture-asked", id, &json!({}));
        c.poke(owner, TOPIC);
    }
    Ok(())
}

/// Who may look at pictures: people of the mine, and a screen that shows its wall.
fn reader(actor: &Actor) -> Result<&Person> {
    policy::require(actor, Action::ViewFleet).or_else(|e| policy::require(actor, Action::ViewWall).map_err(|_| e))
}

/// The bytes of a picture of the operator, JPEG.
///
/// # Errors
/// `picture`: it is not here, or not the operator's.
pub async fn read(app: &App, actor: &Actor, id: String, size: Size) -> Result<Vec<u8>> {
    let owner = reader(actor)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let bytes = match size {
                Size::Small => store::small_picture(conn, &owner, &id)?,
                Size::Whole => store::whole_picture(conn, &owner, &id)?,
            };
            bytes.ok_or_else(|| Error::not_found("picture"))
        })
        .await
}

/// Pictures of some alarms, by alarm, for other pages.
pub fn of(conn: &mut Conn, organization_id: &str, alarm_ids: &[String]) -> QueryResult<BTreeMap<String, Picture>> {
    let pictures = store::pictures(conn, organization_id, alarm_ids)?;
    Ok(pictures.into_iter().map(|picture| (picture.alarm_id.clone(), picture)).collect())
}

/// The latest alarms of an organisation that have a picture, for other pages.
pub fn latest(conn: &mut Conn, organization_id: &str, limit: i64) -> QueryResult<Vec<PictureLine>> {
    store::latest_pictures(conn, organization_id, limit)
}
