//! /mine: the overview of a mine.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use app_package::license::Verdict;
use askama::Template;

use crate::alarm_management::board::{self, up_to};
use crate::alarm_management::figures::ratio;
use crate::alarm_management::wall::{self, Hour};
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::Timestamp;
use crate::base::error::Result;
use crate::catalog::model::AppName;
use crate::fleet::model::{DeploymentState, NodeState, heard_lately, shown_name};
use crate::fleet::service::deployment::{self, DeploymentLine};
use crate::http::page::{Ago, Page, PageResult};
use crate::license::model::License;
use crate::site::mine::waiting::{Duties, Waiting, waiting};
use crate::site::parts::license::until;
use crate::telemetry::model::Level;
use crate::{fleet, license, telemetry, trade};

/// Deployments of recalled versions that the overview lists.
const MAX_RECALLED: i64 = 10;

/// Pictures of alarms that the overview shows.
const SHOTS: i64 = 6;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine", web::get().to(today)).route("/mine/fragment", web::get().to(today_fragment));
}

async fn today(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let overview = read_overview(&app, &actor).await?;
    let page = Page::of(&req, "fleet-today-title");
    let today = Today::of(&page, &overview, app.clock.now());
    page.clone().render(&TodayPage { page, today })
}

async fn today_fragment(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let overview = read_overview(&app, &actor).await?;
    let page = Page::of(&req, "fleet-today-title");
    let today = Today::of(&page, &overview, app.clock.now());
    page.clone().render(&TodayFragment { page, today })
}

/// One alarm of the overview.
pub struct AlarmItem {
    /// `notice`, `warning`, `critical`.
    pub level: String,
    /// Colour of the badge.
    pub tone: &'static str,
    /// Text in the page's language.
    pub text: String,
    /// Site and node; empty where the text begins with them.
    pub place: String,
    /// App that raised it.
    pub app: String,
    /// Page of the deployment that raised it.
    pub href: String,
    /// How long ago.
    pub ago: Ago,
}

/// An alarm with the picture that came with it.
pub struct ShotItem {
    /// The alarm at the board.
    pub href: String,
    /// Address of its picture.
    pub image: String,
    pub level: Level,
    pub level_word: String,
    pub text: String,
    pub ago: Ago,
}

/// One licence that ends.
pub struct EndingItem {
    pub href: String,
    pub app: String,
    /// Last day.
    pub until: String,
    /// Word of the badge.
    pub state: &'static str,
}

/// One deployment of a version that the platform has recalled.
pub struct RecalledItem {
    /// Page of the deployment, where the operator decides.
    pub href: String,
    pub app: String,
    pub version: String,
    /// Site and node.
    pub place: String,
    pub reason: String,
}

impl RecalledItem {
    pub fn of(page: &Page, line: &DeploymentLine) -> Self {
        Self {
            href: format!("/mine/deployments/{}", line.deployment.id),
            app: page.pick(&line.app.title_zh, &line.app.title_en).to_owned(),
            version: line.version.clone(),
            place: format!("{} · {}", line.site, shown_name(&line.node, &line.deployment.node_id)),
            reason: line.recall.as_ref().map(|recall| recall.reason.clone()).unwrap_or_default(),
        }
    }
}

/// The part of the overview that is fetched anew after changes.
pub struct Today {
    /// What waits for the reader.
    pub waits: Vec<Waiting>,
    pub duties: Duties,
    pub sites: String,
    /// Nodes up.
    pub online: String,
    /// `2 down, 1 waiting`.
    pub nodes_note: String,
    pub running: String,
    /// `1 failed, 2 under way`.
    pub running_note: String,
    /// What calls at the board: how many, and how many of it are critical.
    pub calling: String,
    pub calling_note: String,
    /// The last 24 hours: height of each hour's bar of 60, with its words.
    pub hours: Vec<(usize, f64, f64, String)>,
    pub day: usize,
    /// Whether there is no site yet.
    pub empty: bool,
    /// Latest alarms.
    pub alarms: Vec<AlarmItem>,
    /// The latest alarms that have a picture.
    pub shots: Vec<ShotItem>,
    pub ending: Vec<EndingItem>,
    /// Deployments of versions that the platform has recalled.
    pub recalled: Vec<RecalledItem>,
}

impl Today {
    pub fn of(page: &Page, overview: &Overview, now: Timestamp) -> Self {
        let alarms = overview.alarms.iter().map(|line| AlarmItem {
            tone: match line.alarm.level {
                Level::Critical => "red",
                Level::Warning => "amber",
                Level::Notice => "steel",
            },
            level: page.tk("fleet-level-", line.alarm.level),
            text: page.pick(&line.alarm.text_zh, &line.alarm.text_en).to_owned(),
            place: Some(format!("{} · {}", line.site, shown_name(&line.node, &line.alarm.node_id)))
                .filter(|place| !page.pick(&line.alarm.text_zh, &line.alarm.text_en).starts_with(place.as_str()))
                .unwrap_or_default(),
            app: page.pick(&line.app_zh, &line.app_en).to_owned(),
            href: format!("/mine/deployments/{}", line.alarm.deployment_id),
            ago: page.ago(&line.alarm.raised_at),
        });
        let shots = overview.shots.iter().map(|line| ShotItem {
            href: format!("/duty/board?alarm={}", line.alarm_id),
            image: format!("/duty/alarms/{}/picture", line.alarm_id),
            level: line.level,
            level_word: page.tk("telemetry-level-", line.level),
            text: page.pick(&line.text_zh, &line.text_en).to_owned(),
            ago: page.ago(&line.raised_at),
        });
        let ending = overview.ending.iter().map(|(license, app)| EndingItem {
            href: format!("/mine/licenses/{}", license.id),
            app: page.pick(&app.title_zh, &app.title_en).to_owned(),
            until: until(page, license),
            state: license.shown_state(now),
        });
        let ending: Vec<EndingItem> = ending.collect();
        Self {
            waits: waiting(page, overview, &ending),
            duties: overview.duties,
            sites: page.count(&overview.sites),
            online: page.count(&overview.online),
            // Those that are lost stand in the list of whoever may do something about it.
            nodes_note: if overview.duties.nodes {
                page.t1("fleet-nodes-waiting", "n", overview.waiting)
            } else {
                page.t2("fleet-nodes-note", "offline", overview.offline, "waiting", overview.waiting)
            },
            running: page.count(&overview.running),
            running_note: {
                let note = page.t2("fleet-running-note", "failed", overview.failed, "way", overview.under_way);
                let unheard = page.t1("fleet-running-unheard", "n", overview.unheard);
                if overview.unheard == 0 { note } else { format!("{unheard} · {note}") }
            },
            calling: up_to(overview.calling.0 + overview.calling.1),
            calling_note: page.t1("duty-calling-note", "n", up_to(overview.calling.0)),
            hours: bars(page, &overview.hours),
            day: overview.hours.iter().map(|hour| hour.critical + hour.warning).sum(),
            empty: overview.sites == 0,
            alarms: alarms.collect(),
            shots: shots.collect(),
            ending,
            recalled: overview.recalled.iter().map(|line| RecalledItem::of(page, line)).collect(),
        }
    }
}

/// Height of the bars of hours.
const BARS: f64 = 60.0;

/// The bars of some hours: place, top, height, words.
fn bars(page: &Page, hours: &[Hour]) -> Vec<(usize, f64, f64, String)> {
    let most = hours.iter().map(|hour| hour.critical + hour.warning).max().unwrap_or(0).max(5);
    let bar = |(i, hour): (usize, &Hour)| {
        let n = hour.critical + hour.warning;
        let height = BARS * ratio(n, most);
        (i * 20, BARS - height, height, format!("{}: {n}", page.datetime(&hour.begin)))
    };
    hours.iter().enumerate().map(bar).collect()
}

/// `/mine`.
#[derive(Template)]
#[template(path = "mine/today.html")]
pub struct TodayPage {
    pub page: Page,
    /// What is shown and renewed.
    pub today: Today,
}

/// `/mine/fragment`.
#[derive(Template)]
#[template(path = "mine/today_fragment.html")]
pub struct TodayFragment {
    pub page: Page,
    /// What is shown and renewed.
    pub today: Today,
}

/// The data of the operator's overview.
#[derive(Debug, Clone)]
pub struct Overview {
    /// What the reader may do something about.
    pub duties: Duties,
    /// Orders that wait for the mine's payment.
    pub orders: i64,
    /// Deployments for which there is a newer version.
    pub updates: usize,
    pub sites: i64,
    /// Nodes that are up.
    pub online: i64,
    /// Nodes that are enrolled and not up.
    pub offline: i64,
    /// Nodes that wait for their first call.
    pub waiting: i64,
    /// Apps that run.
    pub running: i64,
    /// Apps that ran on nodes which are not heard from now.
    pub unheard: i64,
    /// Apps that failed.
    pub failed: i64,
    /// Apps that are being installed or removed, or wait for it.
    pub under_way: i64,
    /// Critical alarms and warnings that nobody has acknowledged.
    pub calling: (usize, usize),
    /// Alarms of the last 24 hours.
    pub hours: Vec<Hour>,
    /// Latest alarms.
    pub alarms: Vec<telemetry::model::AlarmLine>,
    /// The latest alarms that have a picture.
    pub shots: Vec<telemetry::pictures::PictureLine>,
    /// Licences that end within 30 days or are in grace.
    pub ending: Vec<(License, AppName)>,
    /// Deployments of versions that the platform has recalled.
    pub recalled: Vec<DeploymentLine>,
}

/// Reads the operator's overview.
pub async fn read_overview(app: &App, actor: &Actor) -> Result<Overview> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let (now, duties) = (app.clock.now(), Duties::of(actor));
    app.db
        .read(move |conn| {
            let sites = fleet::service::sites_of(conn, &owner)?.len();
            let (mut online, mut offline, mut waiting) = (0, 0, 0);
            for (_, state, seen) in fleet::service::node_pulses(conn, &owner)? {
                match state {
                    NodeState::Waiting => waiting += 1,
                    // An enrolled node whose agent has never called counts as waiting.
                    NodeState::Enrolled if seen.is_none() => waiting += 1,
                    NodeState::Enrolled if heard_lately(seen, now) => online += 1,
                    _ => offline += 1,
                }
            }
            let (mut running, mut failed, mut under_way) = (0, 0, 0);
            for (state, n) in fleet::service::deployment_counts(conn, &owner)? {
                match state {
                    DeploymentState::Installed => running += n,
                    DeploymentState::Failed => failed += n,
                    DeploymentState::Removed => {}
                    _ => under_way += n,
                }
            }
            let unheard = fleet::service::unheard_deployments(conn, &owner, now)?;
            running -= unheard;
            let alarms = telemetry::service::latest_alarms(conn, &owner, 5)?;
            let summary = board::summary_in(conn, &owner, now)?;
            let mut ending = license::service::ending(conn, &owner, now)?;
            // Leave out licences whose grace is over, unless a wanted deployment still uses them.
            let ids: Vec<&str> = ending.iter().map(|(l, _)| l.id.as_str()).collect();
            let used = fleet::service::licenses_in_use(conn, &ids)?;
            ending.retain(|(l, _)| !matches!(l.verdict_at(now), Verdict::Expired { grace_until: None }) || used.contains(&l.id));
            Ok(Overview {
                duties,
                orders: if duties.orders { trade::service::count_open(conn, &owner)? } else { 0 },
                updates: if duties.updates { deployment::updates(conn, &owner)? } else { 0 },
                sites: i64::try_from(sites).unwrap_or(i64::MAX),
                online,
                offline,
                waiting,
                running,
                unheard,
                failed,
                under_way,
                calling: (summary.critical, summary.warning),
                hours: wall::hours(&summary.raised, now),
                alarms,
                shots: telemetry::pictures::latest(conn, &owner, SHOTS)?,
                ending,
                recalled: deployment::recalled(conn, &owner, None, MAX_RECALLED)?,
            })
        })
        .await
}
