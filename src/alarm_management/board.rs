//! What stands before a desk: the queue, one alarm with what was done with it, the figures above them.

use chrono::TimeDelta;

use super::model::{
    ActRow, AlarmState, Cursor, EquipmentAlarm, EquipmentKind, Filter, Response, RuleAt, Show, Suppression, SuppressionKind, flood_since,
    split_subject,
};
use super::presence::Presence;
use super::store::{self, Band};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::i18n::Names;
use crate::telemetry;
use crate::telemetry::model::{AlarmLine, Level};
use crate::telemetry::pictures::Picture;

/// Alarms on one page.
pub const PAGE: i64 = 30;
/// Alarms of one portion of an export.
pub const EXPORT: i64 = 500;
/// Most that is counted of what calls: beyond it a desk is flooded anyway.
pub const MOST_COUNTED: usize = 100;
/// Most points that are suppressed at a time and shown, and most acts of one alarm.
const MOST: i64 = 500;
/// Most alarms of a day that are read, for floods and for the bars of hours.
const MOST_OF_A_DAY: i64 = 20_000;

/// Where an alarm comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    App(Box<AlarmLine>),
    Equipment(Box<EquipmentLine>),
}

/// An alarm of the platform with the names that a page shows.
#[derive(Debug, Clone)]
pub struct EquipmentLine {
    pub alarm: EquipmentAlarm,
    /// The node, its name and its site; none of a licence.
    pub node: Option<(String, String, String)>,
    /// Title of the app, where it is about one.
    pub app: Option<Names>,
    /// The camera or other source, where it is about one: the node's name of it, and what people call it.
    pub source: Option<(String, String)>,
}

/// An alarm as a desk sees it.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: String,
    pub level: Level,
    pub raised_at: Timestamp,
    pub presence: Presence,
    pub origin: Origin,
    pub response: Option<Response>,
    pub suppression: Option<Suppression>,
    pub state: AlarmState,
    /// The level by which its shelf is bounded: of an alarm that is looked at that of its rule where it is higher, else its own.
    pub shelf_level: Level,
    /// The picture that came with it.
    pub picture: Option<Picture>,
}

impl Entry {
    /// Subject and rule of its point.
    pub fn point(&self) -> (&str, &str) {
        match &self.origin {
            Origin::App(line) => (&line.alarm.deployment_id, &line.alarm.rule),
            Origin::Equipment(line) => (&line.alarm.subject, line.alarm.kind.as_str()),
        }
    }

    /// Its point, with the camera or sensor of an app's alarm.
    pub fn rule_at(&self) -> RuleAt {
        let (subject, rule) = self.point();
        let source = match &self.origin {
            Origin::App(line) => line.alarm.source.clone(),
            Origin::Equipment(_) => String::new(),
        };
        RuleAt { subject: subject.to_owned(), rule: rule.to_owned(), source }
    }

    /// Whether nobody has acknowledged it yet.
    pub fn calls(&self) -> bool {
        matches!(self.state, AlarmState::Active | AlarmState::Returned)
    }

    /// Whether a desk rings for it: notices need no answer, and what came in late is no news.
    pub fn rings(&self) -> bool {
        self.calls() && self.level != Level::Notice && !self.presence.late
    }
}

/// Alarms of a list, each with its place in it.
pub type Listed = Vec<(Entry, Cursor)>;

/// The parts of a list in their order. What calls goes by level, then age; what is acknowledged and present follows.
fn bands(show: Show) -> Vec<Band> {
    match show {
        Show::Open => [(false, Level::Critical), (false, Level::Warning), (true, Level::Critical), (true, Level::Warning)]
            .into_iter()
            .map(|(acknowledged, level)| Band {
                acknowledged: Some(acknowledged),
                present: acknowledged,
                suppressed: Some(None),
                level: Some(level),
                ..Band::default()
            })
            .collect(),
        Show::Shelved => vec![Band { suppressed: Some(Some(SuppressionKind::Shelved)), ..Band::default() }],
        Show::OutOfService => vec![Band { suppressed: Some(Some(SuppressionKind::OutOfService)), ..Band::default() }],
        Show::History => vec![Band::default()],
    }
}

/// Alarms of the operator after a place in the list, at most `limit`.
pub async fn list(app: &App, actor: &Actor, filter: Filter, after: Option<Cursor>, limit: i64) -> Result<Listed> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let now = app.clock.now();
    app.db.read(move |conn| list_in(conn, &owner, &filter, after.as_ref(), now, limit)).await
}

/// As [`list`]; the caller has asked for the right to see the organisation's alarms.
pub(super) fn list_in(conn: &mut Conn, owner: &str, filter: &Filter, after: Option<&Cursor>, now: Timestamp, limit: i64) -> Result<Listed> {
    let mut found: Vec<(Origin, usize)> = Vec::new();
    for (number, band) in bands(filter.show).into_iter().enumerate() {
        let left = limit - i64::try_from(found.len()).unwrap_or(limit);
        let wrong_level = filter.level.is_some() && band.level.is_some() && filter.level != band.level;
        if left <= 0 || wrong_level || after.is_some_and(|after| after.band > number) {
            continue;
        }
        let before = after.filter(|after| after.band == number);
        let of_apps = store::of_apps(conn, owner, filter, band, before, now, left)?.into_iter().map(|line| Origin::App(Box::new(line)));
        let own = store::of_equipment(conn, owner, filter, band, before, now, left)?;
        let mut part: Vec<Origin> = named(conn, own)?.into_iter().map(|line| Origin::Equipment(Box::new(line))).chain(of_apps).collect();
        part.sort_by(|a, b| id(b).cmp(id(a)));
        part.truncate(usize::try_from(left).unwrap_or_default());
        found.extend(part.into_iter().map(|origin| (origin, number)));
    }
    let (origins, numbers): (Vec<Origin>, Vec<usize>) = found.into_iter().unzip();
    let entries = entries(conn, owner, origins, now)?;
    let at = |(entry, band): (Entry, usize)| {
        let cursor = Cursor { band, id: entry.id.clone() };
        (entry, cursor)
    };
    Ok(entries.into_iter().zip(numbers).map(at).collect())
}

fn id(origin: &Origin) -> &str {
    match origin {
        Origin::App(line) => &line.alarm.id,
        Origin::Equipment(line) => &line.alarm.id,
    }
}

/// Alarms with their answers, their pictures and what suppresses them.
fn entries(conn: &mut Conn, owner: &str, origins: Vec<Origin>, now: Timestamp) -> Result<Vec<Entry>> {
    let ids: Vec<String> = origins.iter().map(|origin| id(origin).to_owned()).collect();
    let mut responses = store::responses(conn, &ids)?;
    let mut pictures = telemetry::pictures::of(conn, owner, &ids)?;
    let suppressions = store::in_force(conn, owner, now, MOST)?;
    let entry = |origin: Origin| {
        let (id, level, raised_at, presence) = match &origin {
            Origin::App(line) => (line.alarm.id.clone(), line.alarm.level, line.alarm.raised_at, Presence::of(&line.alarm, now)),
            Origin::Equipment(line) => {
                let alarm = &line.alarm;
                let presence = Presence { last_at: alarm.ended_at.unwrap_or(now), ended_at: alarm.ended_at, count: 1, late: false };
                (alarm.id.clone(), alarm.level, alarm.began_at, presence)
            }
        };
        let (response, picture) = (responses.remove(&id), pictures.remove(&id));
        let state = AlarmState::Active;
        let mut entry = Entry { id, level, raised_at, presence, origin, response, suppression: None, state, shelf_level: level, picture };
        let (subject, rule) = entry.point();
        entry.suppression = suppressions.iter().find(|s| s.subject == subject && s.rule == rule).cloned();
        let suppressed = entry.suppression.as_ref().map(|s| s.kind);
        entry.state = AlarmState::of(entry.presence.ended_at.is_none(), entry.response.is_some(), suppressed);
        entry
    };
    Ok(origins.into_iter().map(entry).collect())
}

/// Alarms of the platform with names.
fn named(conn: &mut Conn, alarms: Vec<EquipmentAlarm>) -> Result<Vec<EquipmentLine>> {
    if alarms.is_empty() {
        return Ok(Vec::new());
    }
    let of = |kinds: &[EquipmentKind]| -> Vec<String> {
        alarms.iter().filter(|alarm| kinds.contains(&alarm.kind)).map(|alarm| split_subject(&alarm.subject).0.to_owned()).collect()
    };
    let deployments = store::deployment_names(conn, &of(&[EquipmentKind::AppLost]))?;
    let licenses = store::license_names(conn, &of(&[EquipmentKind::LicenceEnding]))?;
    let sources = store::source_names(conn, &of(&[EquipmentKind::SourceLost]))?;
    let mut node_ids = of(&[EquipmentKind::NodeLost, EquipmentKind::ClockWrong, EquipmentKind::DiskFull, EquipmentKind::SourceLost]);
    node_ids.extend(deployments.values().map(|(node, ..)| node.clone()));
    let nodes = store::node_names(conn, &node_ids)?;
    let line = |alarm: EquipmentAlarm| {
        let deployment = deployments.get(&alarm.subject);
        let (id, source) = split_subject(&alarm.subject);
        let source = source.map(|id| (id.to_owned(), sources.get(&alarm.subject).map_or(id, String::as_str).to_owned()));
        let node_id = deployment.map_or(id, |(node, ..)| node.as_str());
        let node = nodes.get(node_id).map(|(node, site)| (node_id.to_owned(), node.clone(), site.clone()));
        let titles = deployment.map(|(_, zh, en)| (zh, en)).or_else(|| licenses.get(&alarm.subject).map(|(zh, en)| (zh, en)));
        let app = titles.map(|(zh, en)| Names { zh: zh.clone(), en: en.clone() });
        EquipmentLine { alarm, node, app, source }
    };
    Ok(alarms.into_iter().map(line).collect())
}

/// One alarm of the operator with what was done with it, the newest first.
///
/// # Errors
/// `alarm`: not there, or not the operator's.
pub async fn detail(app: &App, actor: &Actor, id: String) -> Result<(Entry, Vec<ActRow>)> {
    let (actor, now) = (actor.clone(), app.clock.now());
    app.db.read(move |conn| detail_in(conn, &actor, &id, now)).await
}

/// As [`detail`], on the caller's connection.
///
/// # Errors
/// As [`detail`].
pub fn detail_in(conn: &mut Conn, actor: &Actor, id: &str, now: Timestamp) -> Result<(Entry, Vec<ActRow>)> {
    let owner = &policy::require(actor, Action::ViewFleet)?.organization_id;
    let origin = match store::equipment_alarm(conn, owner, id)? {
        Some(alarm) => named(conn, vec![alarm])?.pop().map(|line| Origin::Equipment(Box::new(line))),
        None => Some(Origin::App(Box::new(telemetry::service::alarm_in(conn, actor, id)?))),
    };
    let mut entry = entries(conn, owner, origin.into_iter().collect(), now)?.pop().ok_or_else(|| Error::not_found("alarm"))?;
    entry.shelf_level = store::point(conn, owner, id)?.map_or(entry.level, |point| point.level);
    Ok((entry, store::acts(conn, owner, id, MOST)?))
}

/// A count of what calls in words.
pub fn up_to(n: usize) -> String {
    if n >= MOST_COUNTED { format!("{}+", MOST_COUNTED - 1) } else { n.to_string() }
}

/// The line above the queue.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Unacknowledged by level, at most [`MOST_COUNTED`] each.
    pub critical: usize,
    pub warning: usize,
    /// Of these the ones for which a desk rings.
    pub ringing_critical: usize,
    pub ringing_warning: usize,
    /// Points that are shelved, with their ends, and out of service.
    pub suppressions: Vec<Suppression>,
    /// Since when there are more than a person can answer.
    pub flood_since: Option<Timestamp>,
    /// New in the last ten minutes.
    pub in_ten_minutes: usize,
    /// Alarms of the last 24 hours, the oldest first, without notices.
    pub raised: Vec<(Timestamp, Level)>,
    pub sites: Vec<(String, String)>,
    pub apps: Vec<(String, Names)>,
}

/// The line above the queue of the operator.
pub async fn summary(app: &App, actor: &Actor) -> Result<Summary> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let now = app.clock.now();
    app.db.read(move |conn| summary_in(conn, &owner, now)).await
}

/// As [`summary`]; the caller has asked for the right to see the organisation's alarms.
pub fn summary_in(conn: &mut Conn, owner: &str, now: Timestamp) -> Result<Summary> {
    let (filter, most) = (Filter::default(), i64::try_from(MOST_COUNTED).unwrap_or(i64::MAX));
    // How many call, and for how many of them a desk rings.
    let mut calling = |level: Level| -> Result<(usize, usize)> {
        let band = Band { acknowledged: Some(false), suppressed: Some(None), level: Some(level), ..Band::default() };
        let of_apps = store::of_apps(conn, owner, &filter, band, None, now, most)?;
        let own = store::of_equipment(conn, owner, &filter, band, None, now, most)?.len();
        // What came in late may be all that was read, with others behind it.
        let prompt = if of_apps.iter().any(|line| line.alarm.late) {
            store::of_apps(conn, owner, &filter, Band { rings: true, ..band }, None, now, most)?.len()
        } else {
            of_apps.len()
        };
        Ok(((of_apps.len() + own).min(MOST_COUNTED), (prompt + own).min(MOST_COUNTED)))
    };
    let ((critical, ringing_critical), (warning, ringing_warning)) = (calling(Level::Critical)?, calling(Level::Warning)?);
    let raised = store::raised_since(conn, owner, now.minus(TimeDelta::days(1)), MOST_OF_A_DAY)?;
    let times: Vec<Timestamp> = raised.iter().map(|(at, _)| *at).collect();
    let recent = now.minus(TimeDelta::minutes(10));
    Ok(Summary {
        critical,
        warning,
        ringing_critical,
        ringing_warning,
        suppressions: store::in_force(conn, owner, now, MOST)?,
        flood_since: flood_since(&times, now),
        in_ten_minutes: times.iter().filter(|at| **at > recent).count(),
        raised,
        sites: store::places(conn, owner)?,
        apps: store::apps_of(conn, owner)?.into_iter().map(|(id, zh, en)| (id, Names { zh, en })).collect(),
    })
}
