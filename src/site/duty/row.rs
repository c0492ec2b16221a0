//! An alarm as pages of the duty room show it.

use serde_json::Value;

use super::picture::{self, Picture, findings};
use crate::alarm_management::board::{Entry, Origin};
use crate::alarm_management::model::{ActRow, AlarmState, SuppressionKind, Verdict, split_subject};
use crate::fleet::model::shown_name;
use crate::http::page::{Ago, Page};
use crate::telemetry::model::Level;
use crate::telemetry::pictures::Whole;

/// Characters of a digest that a page shows.
const DIGEST: usize = 19;

/// One alarm.
pub struct Row {
    pub id: String,
    pub level: Level,
    /// Word of the level.
    pub level_word: String,
    pub state: AlarmState,
    pub state_word: String,
    /// Text in the reader's language.
    pub text: String,
    /// `site · node`, with the camera where there is one; of a licence the app.
    pub place: String,
    pub node_href: String,
    /// Title of the app, empty where it is about a node.
    pub app: String,
    /// Page of the app in the market.
    pub app_href: String,
    /// Page of what it is about.
    pub href: String,
    /// Slug of the rule, with the begin of the digest of the release.
    pub rule: String,
    pub digest: String,
    pub digest_full: String,
    /// When, to the second.
    pub at: String,
    pub ago: Ago,
    /// When it ended.
    pub ended: String,
    pub late: bool,
    /// How many frames had it, where it was more than one, and when the last one did.
    pub seen: Option<(String, String)>,
    /// When by the node's clock, where that is off.
    pub node_at: String,
    /// Who acknowledged it, and when.
    pub acknowledged_by: String,
    pub acknowledged_at: String,
    pub verdict: Option<Verdict>,
    pub verdict_word: String,
    /// Why it is shelved or out of service, by whom, and until when.
    pub suppressed: Option<(String, String, String)>,
    /// Address of its picture; empty where it has none.
    pub thumb: String,
}

impl Row {
    pub fn of(page: &Page, entry: &Entry) -> Self {
        let mut row = match &entry.origin {
            Origin::App(line) => {
                let alarm = &line.alarm;
                let node = format!("{} · {}", line.site, shown_name(&line.node, &alarm.node_id));
                let place = if alarm.source.is_empty() { node.clone() } else { format!("{node} · {}", alarm.source) };
                Self {
                    text: without_place(page.pick(&alarm.text_zh, &alarm.text_en), &node),
                    place,
                    node_at: alarm.node_at.as_ref().map(|at| page.moment(at)).unwrap_or_default(),
                    node_href: format!("/mine/nodes/{}", alarm.node_id),
                    app: page.pick(&line.app_zh, &line.app_en).to_owned(),
                    app_href: format!("/apps/{}/{}", line.vendor, line.app),
                    href: format!("/mine/deployments/{}", alarm.deployment_id),
                    rule: alarm.rule.clone(),
                    digest: alarm.release_digest.chars().take(DIGEST).collect(),
                    digest_full: alarm.release_digest.clone(),
                    ..Self::blank(page, entry)
                }
            }
            Origin::Equipment(line) => {
                let kind = line.alarm.kind;
                let app = line.app.as_ref().map(|names| page.name(names).to_owned()).unwrap_or_default();
                let place = line.node.as_ref().map(|(id, node, site)| format!("{site} · {}", shown_name(node, id)));
                let address = match kind.as_str() {
                    "app-lost" => "/mine/deployments/",
                    "licence-ending" => "/mine/licenses/",
                    _ => "/mine/nodes/",
                };
                Self {
                    text: match &line.source {
                        Some((_, name)) => page.t1("duty-equipment-source-lost", "name", name),
                        None => page.tk("duty-equipment-", kind),
                    },
                    place: place.unwrap_or_else(|| app.clone()),
                    node_href: line.node.as_ref().map(|(id, ..)| format!("/mine/nodes/{id}")).unwrap_or_default(),
                    app,
                    href: format!("{address}{}", split_subject(&line.alarm.subject).0),
                    rule: kind.as_str().to_owned(),
                    ..Self::blank(page, entry)
                }
            }
        };
        if let Some(response) = &entry.response {
            row.acknowledged_by.clone_from(&response.acknowledged_by);
            row.acknowledged_at = page.moment(&response.acknowledged_at);
            row.verdict = response.verdict;
            row.verdict_word = response.verdict.map(|verdict| page.tk("duty-verdict-", verdict)).unwrap_or_default();
        }
        row
    }

    fn blank(page: &Page, entry: &Entry) -> Self {
        let until = |ends: Option<_>| ends.map(|at| page.moment(&at)).unwrap_or_default();
        Self {
            id: entry.id.clone(),
            level: entry.level,
            level_word: page.tk("telemetry-level-", entry.level),
            state: entry.state,
            state_word: page.tk("duty-state-", entry.state),
            text: String::new(),
            place: String::new(),
            node_href: String::new(),
            app: String::new(),
            app_href: String::new(),
            href: String::new(),
            rule: String::new(),
            digest: String::new(),
            digest_full: String::new(),
            at: page.moment(&entry.raised_at),
            ago: page.ago(&entry.raised_at),
            ended: entry.presence.ended_at.map(|at| page.moment(&at)).unwrap_or_default(),
            late: entry.presence.late,
            seen: (entry.presence.count > 1).then(|| (page.count(&entry.presence.count), page.moment(&entry.presence.last_at))),
            node_at: String::new(),
            acknowledged_by: String::new(),
            acknowledged_at: String::new(),
            verdict: None,
            verdict_word: String::new(),
            suppressed: entry.suppression.as_ref().map(|s| (s.reason.clone(), s.made_by.clone(), until(s.ends_at))),
            thumb: entry.picture.as_ref().map(|_| picture::address(&entry.id)).unwrap_or_default(),
        }
    }

    /// How its sign is drawn: full while nobody has acknowledged it and it is present, hollow where it is over, a line once it is acknowledged.
    pub fn sign(&self) -> &'static str {
        match self.state {
            AlarmState::Active => "full",
            AlarmState::Returned => "hollow",
            _ => "line",
        }
    }

    /// Whether it waits for somebody.
    pub fn calls(&self) -> bool {
        matches!(self.state, AlarmState::Active | AlarmState::Returned)
    }

    /// Whether a verdict is the one that was given.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "a template passes references")]
    pub fn is_judged(&self, verdict: &Verdict) -> bool {
        self.verdict == Some(*verdict)
    }
}

/// The text of an alarm without the place at its beginning, where it has one: pages show the place beside the text.
fn without_place(text: &str, place: &str) -> String {
    let rest = text.strip_prefix(place).and_then(|rest| rest.strip_prefix(['：', ':'])).map(str::trim_start);
    rest.filter(|rest| !rest.is_empty()).unwrap_or(text).to_owned()
}

/// What a person did with an alarm.
pub struct ActItem {
    pub at: String,
    /// What, by whom.
    pub what: String,
    pub by: String,
    pub note: String,
}

impl ActItem {
    fn of(page: &Page, act: &ActRow) -> Self {
        let what = page.tk("duty-act-", act.kind);
        let more = match (act.verdict, act.ends_at) {
            (Some(verdict), _) => page.tk("duty-verdict-", verdict),
            (None, Some(ends)) => page.t1("duty-until", "time", page.moment(&ends)),
            (None, None) => String::new(),
        };
        let what = if more.is_empty() { what } else { format!("{what}: {more}") };
        Self { at: page.moment(&act.at), what, by: act.made_by.clone(), note: act.note.clone() }
    }
}

/// What is said of the picture that came with an alarm.
pub struct Shot {
    /// Whether it was blurred, in words.
    pub privacy: String,
    /// When it came.
    pub at: String,
    /// Where the whole one is, and who asked for it.
    pub whole: Whole,
    pub asked_by: String,
}

/// The alarm that a desk looks at.
pub struct Current {
    pub row: Row,
    pub picture: Option<Picture>,
    pub shot: Option<Shot>,
    /// What the app saw, as names and values.
    pub found: Vec<(String, String)>,
    pub acts: Vec<ActItem>,
    /// Minutes for which it may be shelved, with their words.
    pub shelves: Vec<(i64, String)>,
    pub is_shelved: bool,
    pub is_out: bool,
}

impl Current {
    pub fn of(page: &Page, entry: &Entry, acts: &[ActRow]) -> Self {
        let result = match &entry.origin {
            Origin::App(line) => serde_json::from_str::<Value>(&line.alarm.result).unwrap_or_default(),
            Origin::Equipment(_) => Value::Null,
        };
        // Of a clip it is said when in it the alarm began.
        let second = result.get("at").and_then(Value::as_f64).map(|at| (page.t("telemetry-at-second"), format!("{at:.1} s")));
        let offered: &[i64] = if entry.shelf_level == Level::Critical { &[15, 30, 60] } else { &[30, 60, 120, 240, 480] };
        let word = |minutes: i64| {
            if minutes < 60 { page.t1("duty-minutes", "n", minutes) } else { page.t1("duty-hours", "n", minutes / 60) }
        };
        let kind = entry.suppression.as_ref().map(|s| s.kind);
        Self {
            row: Row::of(page, entry),
            picture: Picture::of(entry),
            shot: entry.picture.as_ref().map(|picture| Shot {
                privacy: page.tk("duty-picture-", picture.privacy),
                at: page.moment(&picture.received_at),
                whole: picture.whole(),
                asked_by: picture.asked_by.clone().unwrap_or_default(),
            }),
            found: second.into_iter().chain(findings(&result)).collect(),
            acts: acts.iter().map(|act| ActItem::of(page, act)).collect(),
            shelves: offered.iter().map(|&minutes| (minutes, word(minutes))).collect(),
            is_shelved: kind == Some(SuppressionKind::Shelved),
            is_out: kind == Some(SuppressionKind::OutOfService),
        }
    }
}
