//! Acts of people and alarms of the platform on both backends.

use actix_web::http::Method;
use app_package::digest::Digest;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::board::{self, Listed};
use super::equipment::look;
use super::model::{Act, AlarmState, Cursor, EquipmentKind, Filter, Show, Verdict};
use super::presence::PRESENT_FOR;
use super::service::act;
use super::{figures, upkeep};
use crate::base::app::App;
use crate::base::auth::policy::Scope;
use crate::base::auth::{Actor, Role, Via};
use crate::catalog;
use crate::catalog::model::PlanKind;
use crate::fleet::service::{self as fleet, DeployInput};
use crate::site::parts::listing::holds_license;
use crate::stops::model::Stop;
use crate::telemetry;
use crate::telemetry::model::{LATE, Level};
use crate::telemetry::taking::take;
use crate::testing::shop::{Shop, license, shop};
use crate::testing::{self, drain_jobs, each_backend};

mod history;
mod precision;
mod together;
mod waiting;

struct Desk {
    shop: Shop,
    node: Actor,
    node_id: String,
    deployment: String,
    digest: Digest,
}

async fn desk(app: &App) -> Desk {
    let shop = shop(app).await;
    let site = fleet::create_site(app, &shop.operator, "East").await.unwrap();
    let issued = fleet::create_node(app, &shop.operator, &site, "belt 1").await.unwrap();
    let enrolled = fleet::enroll(app, issued.code, testing::csr(), "1.0.0".into()).await.unwrap();
    let license = license(app, &shop, PlanKind::Subscription, 5).await;
    let input = DeployInput {
        release_id: shop.listing.release_id.clone(),
        license_id: license.id.clone(),
        node_ids: vec![enrolled.node_id.clone()],
        parameters: Map::new(),
    };
    let deployment = fleet::deploy(app, &shop.operator, input).await.unwrap().remove(0);
    drain_jobs(app).await;
    let digest = Digest::parse(&shop.listing.digest).unwrap();
    let node = Actor::Node { node_id: enrolled.node_id.clone(), organization_id: enrolled.organization_id };
    Desk { shop, node, node_id: enrolled.node_id, deployment, digest }
}

impl Desk {
    /// Raises alarms: rule and level of each.
    async fn raise(&self, app: &App, first: u64, alarms: &[(&str, &str)]) {
        self.raise_after(app, first, TimeDelta::zero(), alarms).await;
    }

    /// Raises alarms that took so long to come.
    async fn raise_after(&self, app: &App, first: u64, age: TimeDelta, alarms: &[(&str, &str)]) {
        let at = app.clock.now().minus(age).utc();
        let report = |(n, (rule, level)): (usize, &(&str, &str))| {
            json!({"sequence": first + n as u64, "at": at, "kind": "alarm", "deployment_id": self.deployment,
                "digest": self.digest, "rule": rule, "level": level, "text": {"zh": "<i>锚杆</i>", "en": "<i>bolt</i>"},
                "result": {"detections": [{"label": "bolt", "score": 0.9, "box": [10, 20, 30, 40]}]}})
        };
        let reports = json!({"reports": alarms.iter().enumerate().map(report).collect::<Vec<_>>()});
        take(app, &self.node, serde_json::from_str(&reports.to_string()).unwrap()).await.unwrap();
    }

    /// A heartbeat of the node, with its agent's trouble.
    async fn beat(&self, app: &App, sequence: u64, trouble: Option<&str>) {
        let trouble = trouble.map(|code| json!({"code": code, "message": "x"}));
        let beat = json!({"reports": [{"sequence": sequence, "at": app.clock.now().utc(), "kind": "heartbeat",
            "node": {"cpu_percent": 1, "memory_used_bytes": 1, "memory_total_bytes": 2, "trouble": trouble}}]});
        take(app, &self.node, serde_json::from_str(&beat.to_string()).unwrap()).await.unwrap();
    }

    /// A heartbeat of the node with its sources: id, state and trouble of each.
    async fn beat_sources(&self, app: &App, sequence: u64, sources: &[(&str, &str, &str)]) {
        let source = |(id, state, trouble): &(&str, &str, &str)| {
            json!({"id": id, "name": format!("Camera {id}"), "kind": "rtsp", "state": state,
                "troubles": trouble.split_whitespace().collect::<Vec<_>>()})
        };
        let beat = json!({"reports": [{"sequence": sequence, "at": app.clock.now().utc(), "kind": "heartbeat",
            "node": {"cpu_percent": 1, "memory_used_bytes": 1, "memory_total_bytes": 2},
            "sources": sources.iter().map(source).collect::<Vec<_>>()}]});
        take(app, &self.node, serde_json::from_str(&beat.to_string()).unwrap()).await.unwrap();
    }

    async fn list(&self, app: &App, show: Show) -> Listed {
        board::list(app, &self.shop.operator, Filter { show, ..Filter::default() }, None, 100).await.unwrap()
    }
}

fn rules(listed: &Listed) -> Vec<String> {
    listed.iter().map(|(entry, _)| entry.point().1.to_owned()).collect()
}

fn find(listed: &Listed, rule: &str) -> String {
    listed.iter().find(|(entry, _)| entry.point().1 == rule).map(|(entry, _)| entry.id.clone()).unwrap()
}

#[tokio::test]
async fn a_queue_goes_by_what_calls_then_level_then_age() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        desk.raise(&app, 1, &[("old-warning", "warning"), ("fire", "critical"), ("word", "notice")]).await;
        desk.raise(&app, 4, &[("new-warning", "warning"), ("second-fire", "critical")]).await;
        let open = desk.list(&app, Show::Open).await;
        assert_eq!(rules(&open), ["second-fire", "fire", "new-warning", "old-warning"], "and a notice needs no answer");
        assert_eq!(desk.list(&app, Show::History).await.len(), 5);

        // Pages of two go on where the one before ended, through all parts of the list.
        let owner = &desk.shop.operator;
        act(&app, owner, &find(&open, "second-fire"), Act::Acknowledge, "seen").await.unwrap();
        let (mut seen, mut after) = (Vec::new(), None::<Cursor>);
        loop {
            let page = board::list(&app, owner, Filter::default(), after.clone(), 2).await.unwrap();
            let Some((_, last)) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(rules(&page));
        }
        assert_eq!(seen, ["fire", "new-warning", "old-warning", "second-fire"]);

        // Over: what was acknowledged leaves the board, what was not stays.
        app.clock.advance(PRESENT_FOR);
        let open = desk.list(&app, Show::Open).await;
        assert_eq!(rules(&open), ["fire", "new-warning", "old-warning"]);
        assert!(open.iter().all(|(entry, _)| entry.state == AlarmState::Returned));
        let narrowed = Filter { level: Some(Level::Warning), deployment_id: Some(desk.deployment.clone()), ..Filter::default() };
        assert_eq!(board::list(&app, owner, narrowed, None, 9).await.unwrap().len(), 2);
        let elsewhere = Filter { site_id: Some("sit_none".into()), ..Filter::default() };
        assert!(board::list(&app, owner, elsewhere, None, 9).await.unwrap().is_empty());
        let foreign = board::list(&app, &desk.shop.vendor, Filter::default(), None, 9).await;
        assert_eq!(foreign.unwrap_err().code, "not-permitted");
    })
    .await;
}

#[tokio::test]
async fn the_first_to_acknowledge_has_and_a_verdict_is_changed_by_who_saw_it() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        let member = testing::member(&app, operator.organization_id().unwrap(), Role::Member, "duty@north.example").await;
        let approver = testing::member(&app, operator.organization_id().unwrap(), Role::Approver, "approver@north.example").await;
        let stranger = testing::operator(&app, "stranger").await;
        desk.raise(&app, 1, &[("fire", "critical")]).await;
        let id = find(&desk.list(&app, Show::Open).await, "fire");
        for (who, code) in [(&approver, "not-permitted"), (&stranger, "alarm"), (&Actor::System, "sign-in-required")] {
            assert_eq!(act(&app, who, &id, Act::Acknowledge, "").await.unwrap_err().code, code);
        }
        act(&app, &member, &id, Act::Acknowledge, "on my way").await.unwrap();
        assert_eq!(act(&app, operator, &id, Act::Acknowledge, "").await.unwrap_err().code, "alarm-acknowledged");
        let judge = |verdict, instead_of| Act::Judge { verdict, instead_of };
        act(&app, operator, &id, judge(Verdict::Real, None), "").await.unwrap();
        assert_eq!(act(&app, &member, &id, judge(Verdict::False, None), "").await.unwrap_err().code, "alarm-judged");
        act(&app, &member, &id, judge(Verdict::False, Some(Verdict::Real)), "only a lamp").await.unwrap();
        let (entry, acts) = board::detail(&app, operator, id.clone()).await.unwrap();
        let response = entry.response.unwrap();
        assert_eq!((response.acknowledged_by.as_str(), response.verdict), (member.person().unwrap().name.as_str(), Some(Verdict::False)));
        assert_eq!(acts.iter().map(|act| act.note.as_str()).collect::<Vec<_>>(), ["only a lamp", "", "on my way"]);
        assert_eq!(board::detail(&app, &stranger, id.clone()).await.unwrap_err().code, "alarm");

        // A verdict at once acknowledges, too.
        desk.raise(&app, 2, &[("smoke", "warning")]).await;
        let smoke = find(&desk.list(&app, Show::Open).await, "smoke");
        act(&app, &member, &smoke, judge(Verdict::Test, None), "").await.unwrap();
        assert_eq!(board::detail(&app, operator, smoke).await.unwrap().0.state, AlarmState::Acknowledged);
        let report = figures::report(&app, operator).await.unwrap();
        assert_eq!((report.figures.count, report.figures.judged_false, report.figures.test, report.figures.unanswered), (2, 1, 1, 0));
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_shelf_holds_the_whole_rule_and_ends_by_itself() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        let member = testing::member(&app, operator.organization_id().unwrap(), Role::Member, "duty@north.example").await;
        desk.raise(&app, 1, &[("bolt", "warning"), ("fire", "critical")]).await;
        let open = desk.list(&app, Show::Open).await;
        let (bolt, fire) = (find(&open, "bolt"), find(&open, "fire"));
        let shelve = |minutes| Act::Shelve { minutes };
        assert_eq!(act(&app, &member, &fire, shelve(61), "loud").await.unwrap_err().fields[0].code, "out-of-range");
        assert_eq!(act(&app, &member, &bolt, shelve(30), "").await.unwrap_err().fields[0].field, "note");
        act(&app, &member, &bolt, shelve(30), "belt stands").await.unwrap();
        assert_eq!(act(&app, operator, &bolt, shelve(30), "belt stands").await.unwrap_err().code, "alarm-suppressed");
        desk.raise(&app, 3, &[("bolt", "warning")]).await;
        assert_eq!(rules(&desk.list(&app, Show::Open).await), ["fire"]);
        assert_eq!(rules(&desk.list(&app, Show::Shelved).await), ["bolt", "bolt"]);
        app.clock.advance(TimeDelta::minutes(30));
        assert_eq!(rules(&desk.list(&app, Show::Open).await), ["fire", "bolt", "bolt"], "they call again");
        assert_eq!(act(&app, operator, &bolt, Act::Unshelve, "").await.unwrap_err().code, "alarm-not-suppressed");
        act(&app, operator, &bolt, shelve(480), "belt stands").await.unwrap();
        act(&app, operator, &bolt, Act::Unshelve, "").await.unwrap();

        // Out of service is for those who manage, and until they say otherwise.
        assert_eq!(act(&app, &member, &bolt, Act::TakeOut, "camera away").await.unwrap_err().code, "not-permitted");
        act(&app, operator, &bolt, Act::TakeOut, "camera away").await.unwrap();
        app.clock.advance(TimeDelta::days(3));
        assert_eq!(rules(&desk.list(&app, Show::OutOfService).await), ["bolt", "bolt"]);
        assert_eq!(act(&app, operator, &bolt, Act::Unshelve, "").await.unwrap_err().code, "alarm-not-suppressed");
        act(&app, operator, &bolt, Act::PutBack, "").await.unwrap();
        assert_eq!(desk.list(&app, Show::Open).await.len(), 3);
        assert!(figures::report(&app, operator).await.unwrap().standing == 3);
        testing::assert_intact(&app).await;
        app.clock.advance(TimeDelta::days(app.settings.telemetry.keep_alarm_days) + TimeDelta::minutes(1));
        assert_eq!(upkeep::prune(&app).await.unwrap(), 8, "five acts and three suppressions");
        assert_eq!(upkeep::prune(&app).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_the_platform_sees_is_in_the_same_list_once() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        desk.raise(&app, 1, &[("bolt", "warning")]).await;
        assert_eq!(look(&app).await.unwrap(), (0, 0), "all is well");
        app.clock.advance(TimeDelta::minutes(2));
        assert_eq!(look(&app).await.unwrap(), (1, 0));
        assert_eq!(look(&app).await.unwrap(), (0, 0), "once");
        let open = desk.list(&app, Show::Open).await;
        assert_eq!(rules(&open), ["node-lost", "bolt"]);
        let lost = find(&open, "node-lost");
        let (entry, _) = board::detail(&app, &desk.shop.operator, lost.clone()).await.unwrap();
        assert_eq!((entry.state, entry.point().0), (AlarmState::Active, desk.node_id.as_str()));
        let site = board::summary(&app, &desk.shop.operator).await.unwrap().sites.remove(0).0;
        let here = Filter { site_id: Some(site), ..Filter::default() };
        assert_eq!(board::list(&app, &desk.shop.operator, here, None, 9).await.unwrap().len(), 2);

        // Programs read the same list.
        for (query, seen) in [
            (String::new(), ["node-lost", "bolt"].as_slice()),
            (format!("?before={lost}"), &["bolt"]),
            (format!("?deployment={}", desk.deployment), &["bolt"]),
            ("?level=critical".to_owned(), &[]),
        ] {
            let (_, told) = testing::page(&app, &desk.shop.operator, Method::GET, &format!("/api/v1/alarms{query}"), "").await;
            let told: Value = serde_json::from_str(&told).unwrap();
            let rules: Vec<&str> = told["items"].as_array().unwrap().iter().filter_map(|item| item["rule"].as_str()).collect();
            assert_eq!(rules, seen, "{query}");
        }
        let (status, _) = testing::page(&app, &desk.shop.operator, Method::GET, "/api/v1/alarms?before=a.b", "").await;
        assert_eq!(status, 422);
        act(&app, &desk.shop.operator, &lost, Act::Acknowledge, "").await.unwrap();

        // It is back: with a clock that is wrong.
        desk.beat(&app, 2, Some("clock-wrong")).await;
        assert_eq!(look(&app).await.unwrap(), (1, 1));
        assert_eq!(rules(&desk.list(&app, Show::Open).await), [EquipmentKind::ClockWrong.as_str(), "bolt"]);
    })
    .await;
}

#[tokio::test]
async fn silence_ends_no_fault() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        desk.beat(&app, 1, Some("clock-wrong")).await;
        assert_eq!(look(&app).await.unwrap(), (1, 0));
        app.clock.advance(TimeDelta::minutes(2));
        assert_eq!(look(&app).await.unwrap(), (1, 0), "lost, and its last word was of a wrong clock");
        assert_eq!(rules(&desk.list(&app, Show::Open).await), ["node-lost", "clock-wrong"]);
        desk.beat(&app, 2, Some("state-unwritable")).await;
        assert_eq!(look(&app).await.unwrap(), (1, 2));
        let present: Vec<String> = desk
            .list(&app, Show::Open)
            .await
            .iter()
            .filter(|(entry, _)| entry.presence.ended_at.is_none())
            .map(|(entry, _)| entry.point().1.to_owned())
            .collect();
        assert_eq!(present, ["disk-full"]);
        app.clock.advance(TimeDelta::seconds(15));
        desk.beat(&app, 3, None).await;
        assert_eq!(look(&app).await.unwrap(), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_camera_that_shows_nothing_for_a_minute_is_an_alarm_of_its_own_and_silence_is_no_news() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        let lost = [("belt-3", "failed", ""), ("gate", "running", "black"), ("yard", "running", "dark")];
        for (sequence, wait, begun) in [(1, 0, 0), (2, 59, 0), (3, 1, 2)] {
            app.clock.advance(TimeDelta::seconds(wait));
            desk.beat_sources(&app, sequence, &lost).await;
            assert_eq!(look(&app).await.unwrap(), (begun, 0), "after {wait} s more");
        }
        assert_eq!(look(&app).await.unwrap(), (0, 0), "once");
        let open = desk.list(&app, Show::Open).await;
        assert_eq!(rules(&open), ["source-lost", "source-lost"]);
        let mut subjects: Vec<&str> = open.iter().map(|(entry, _)| entry.point().0).collect();
        subjects.sort_unstable();
        assert_eq!(subjects, [format!("{}:belt-3", desk.node_id), format!("{}:gate", desk.node_id)]);

        // Both are told apart, at the desk and by programs.
        let (_, page) = testing::page(&app, operator, Method::GET, "/duty/board", "").await;
        let href = format!("/mine/nodes/{}\"", desk.node_id);
        assert!(page.contains("Camera lost: Camera belt-3") && page.contains("Camera lost: Camera gate") && page.contains(&href), "{page}");
        let (_, told) = testing::page(&app, operator, Method::GET, "/api/v1/alarms", "").await;
        let told: Value = serde_json::from_str(&told).unwrap();
        let gate = told["items"].as_array().unwrap().iter().find(|item| item["source"] == "gate").unwrap();
        assert_eq!((&gate["node_id"], &gate["level"]), (&json!(desk.node_id), &json!("warning")), "{gate}");
        assert_eq!(gate["text"], json!({"zh": "摄像机画面丢失：Camera gate", "en": "Camera lost: Camera gate"}));
        let site = board::summary(&app, operator).await.unwrap().sites.remove(0).0;
        let here = Filter { site_id: Some(site), ..Filter::default() };
        assert_eq!(board::list(&app, operator, here, None, 9).await.unwrap().len(), 2);

        // One is shelved, and the other calls on.
        let of =
            |source: &str| open.iter().find(|(entry, _)| entry.point().0.ends_with(source)).map(|(entry, _)| entry.id.clone()).unwrap();
        act(&app, operator, &of(":belt-3"), Act::Shelve { minutes: 30 }, "camera away").await.unwrap();
        assert_eq!(desk.list(&app, Show::Open).await.len(), 1);
        let names = figures::report(&app, operator).await.unwrap().names;
        assert!(names.iter().any(|(_, (place, _))| place.ends_with("· Camera gate")), "{names:?}");

        // A lost node ends neither; one camera runs again when the node is back, of the other nothing is known yet.
        app.clock.advance(TimeDelta::minutes(2));
        assert_eq!(look(&app).await.unwrap(), (1, 0), "the node");
        desk.beat_sources(&app, 4, &[("belt-3", "connecting", ""), ("gate", "running", ""), ("yard", "running", "")]).await;
        assert_eq!(look(&app).await.unwrap(), (0, 2), "the node and the gate");
        assert_eq!(board::detail(&app, operator, of(":belt-3")).await.unwrap().0.presence.ended_at, None);
        // One that is not there any more is no alarm, and keeps its place in the list.
        desk.beat_sources(&app, 5, &[]).await;
        assert_eq!(look(&app).await.unwrap(), (0, 1));
        let (entry, _) = board::detail(&app, operator, of(":belt-3")).await.unwrap();
        assert!(entry.presence.ended_at.is_some());
        assert!(testing::page(&app, operator, Method::GET, "/duty/board?show=history", "").await.1.contains("Camera lost: belt-3"));

        // What was lost for half a minute when the node was heard last is not known to be lost still.
        let frozen = [("yard", "running", "frozen")];
        desk.beat_sources(&app, 6, &frozen).await;
        app.clock.advance(TimeDelta::seconds(30));
        desk.beat_sources(&app, 7, &frozen).await;
        app.clock.advance(TimeDelta::minutes(2));
        assert_eq!(look(&app).await.unwrap(), (1, 0), "the node alone");
        desk.beat_sources(&app, 8, &frozen).await;
        assert_eq!(look(&app).await.unwrap(), (1, 1), "the yard begins, the node is back");
        fleet::remove_node(&app, operator, &desk.node_id).await.unwrap();
        assert_eq!(look(&app).await.unwrap(), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_and_is_shelved_stays_in_a_list() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        desk.raise(&app, 1, &[("bolt", "warning")]).await;
        let bolt = find(&desk.list(&app, Show::Open).await, "bolt");
        act(&app, &desk.shop.operator, &bolt, Act::Acknowledge, "").await.unwrap();
        act(&app, &desk.shop.operator, &bolt, Act::Shelve { minutes: 30 }, "belt stands").await.unwrap();
        assert_eq!(rules(&desk.list(&app, Show::Shelved).await), ["bolt"]);
        assert!(desk.list(&app, Show::Open).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_shelf_is_bounded_by_what_the_rule_is_now() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("bolt", "warning")]).await;
        let old = find(&desk.list(&app, Show::Open).await, "bolt");
        assert_eq!(board::detail(&app, operator, old.clone()).await.unwrap().0.shelf_level, Level::Warning);
        desk.raise(&app, 2, &[("bolt", "critical"), ("smoke", "warning")]).await;
        let (entry, _) = board::detail(&app, operator, old.clone()).await.unwrap();
        assert_eq!((entry.level, entry.shelf_level), (Level::Warning, Level::Critical));
        let shelve = |minutes| Act::Shelve { minutes };
        assert_eq!(act(&app, operator, &old, shelve(61), "belt stands").await.unwrap_err().fields[0].code, "out-of-range");
        act(&app, operator, &old, shelve(60), "belt stands").await.unwrap();
        // One of a rule that is critical no more stays what it is.
        app.clock.advance(TimeDelta::hours(1));
        let critical = desk.list(&app, Show::Open).await.remove(0).0;
        desk.raise(&app, 4, &[("bolt", "warning")]).await;
        assert_eq!(critical.level, Level::Critical);
        assert!(act(&app, operator, &critical.id, shelve(61), "belt stands").await.is_err());
        act(&app, operator, &old, shelve(480), "belt stands").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_desk_rings_for_what_is_new_and_wants_an_answer() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise_after(&app, 1, LATE + TimeDelta::minutes(1), &[("fire", "critical")]).await;
        desk.raise(&app, 2, &[("word", "notice")]).await;
        let summary = board::summary(&app, operator).await.unwrap();
        assert_eq!((summary.critical, summary.ringing_critical, summary.ringing_warning), (1, 0, 0), "it calls, and rings no bell");
        for path in ["/duty/board", "/duty/board?show=history"] {
            let (_, html) = testing::page(&app, operator, Method::GET, path, "").await;
            assert!(html.contains("data-critical=\"0\"") && !html.contains("data-newest"), "{html}");
        }
        desk.raise(&app, 3, &[("bolt", "warning"), ("smoke", "critical")]).await;
        let summary = board::summary(&app, operator).await.unwrap();
        assert_eq!((summary.critical, summary.ringing_critical, summary.ringing_warning), (2, 1, 1));
        let smoke = find(&desk.list(&app, Show::Open).await, "smoke");
        let (_, html) = testing::page(&app, operator, Method::GET, "/duty/board", "").await;
        assert!(html.contains("data-critical=\"1\"") && html.contains(&format!("data-newest=\"{smoke}\"")), "{html}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_stays_as_long_as_its_alarm() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("bolt", "warning")]).await;
        app.clock.advance(TimeDelta::minutes(2));
        look(&app).await.unwrap();
        let open = desk.list(&app, Show::Open).await;
        let (bolt, lost) = (find(&open, "bolt"), find(&open, "node-lost"));
        for id in [&bolt, &lost] {
            act(&app, operator, id, Act::Acknowledge, "").await.unwrap();
        }
        let age = TimeDelta::days(app.settings.telemetry.keep_alarm_days) + TimeDelta::minutes(1);
        app.clock.advance(age);
        assert_eq!(upkeep::prune(&app).await.unwrap(), 2, "two acts");
        for id in [&bolt, &lost] {
            assert!(board::detail(&app, operator, id.clone()).await.unwrap().0.response.is_some(), "{id}");
        }
        telemetry::upkeep::prune(&app).await.unwrap();
        assert_eq!(upkeep::prune(&app).await.unwrap(), 1, "the answer to what is gone");
        assert!(board::detail(&app, operator, lost.clone()).await.unwrap().0.response.is_some());
        desk.beat(&app, 2, None).await;
        look(&app).await.unwrap();
        app.clock.advance(age);
        assert_eq!(upkeep::prune(&app).await.unwrap(), 2, "an alarm of the platform that is over, and its answer");
        assert_eq!(board::detail(&app, operator, lost).await.unwrap_err().code, "alarm");
    })
    .await;
}

#[tokio::test]
async fn a_screen_knows_its_mine_and_not_whose_token_it_has() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let person = desk.shop.operator.person().unwrap().clone();
        let with = |scope| Actor::Person(Box::new(person.clone()), Via::Token { id: "tok_x".into(), scopes: vec![scope] });
        let screen = with(Scope::Wall);
        for path in ["/duty/wall", "/apps"] {
            let (status, html) = testing::page(&app, &screen, Method::GET, path, "").await;
            assert_eq!(status, 200, "{path}");
            assert!(html.contains(&person.organization_name.en) && !html.contains(&person.name), "{path}: {html}");
        }

        // What was bought and is suspended is for those who may see licences.
        let moderator = testing::platform(&app, Role::Moderator).await;
        let id = desk.shop.listing.app_id.clone();
        crate::stops::service::act(&app, &moderator, Stop::SuspendListing, &id, "it is looked into").await.unwrap();
        for (who, holds) in [(desk.shop.operator.clone(), true), (with(Scope::Read), true), (screen, false), (Actor::Anonymous, false)] {
            let found = app.db.read(move |conn| {
                let row = catalog::service::find_by_slugs(conn, "acme", "belt")?.unwrap();
                holds_license(conn, &who, &row)
            });
            assert_eq!(found.await.unwrap(), holds);
        }
    })
    .await;
}

#[tokio::test]
async fn the_board_shows_escaped_words_boxes_and_forms() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("bolt", "warning"), ("fire", "critical")]).await;
        let id = find(&desk.list(&app, Show::Open).await, "bolt");
        for path in [
            "/duty/board".to_owned(),
            "/duty/board?show=history&level=x&site=%00&shift=last&after=9.x".to_owned(),
            format!("/duty/board?alarm={id}"),
            "/duty/wall".to_owned(),
            "/duty/report".to_owned(),
            "/duty/figures".to_owned(),
            "/duty/board/export".to_owned(),
        ] {
            let (status, html) = testing::page(&app, operator, Method::GET, &path, "").await;
            assert_eq!(status, 200, "{path}");
            assert!(!(html.contains("<i>") || html.contains("<script>alert")) || path.ends_with("/export"), "{path}");
        }
        let (_, html) = testing::page(&app, operator, Method::GET, &format!("/duty/board?alarm={id}"), "").await;
        assert!(
            html.contains("<rect class=\"box alarm\" x=\"10\" y=\"20\" width=\"30\" height=\"40\">") && html.contains("bolt 0.90"),
            "{html}"
        );
        assert!(html.contains("data-critical=\"1\"") && html.contains("data-warning=\"1\""), "{html}");
        let (status, _) =
            testing::page(&app, operator, Method::POST, &format!("/duty/board/{id}/judge"), "verdict=false&note=a+lamp").await;
        assert_eq!(status, 303);
        let (status, _) = testing::page(&app, operator, Method::POST, &format!("/duty/board/{id}/acknowledge"), "").await;
        assert_eq!(status, 303, "back with the reason");
        assert_eq!(board::detail(&app, operator, id.clone()).await.unwrap().1.len(), 1);
        let stranger = testing::operator(&app, "stranger").await;
        let (status, _) = testing::page(&app, &stranger, Method::POST, &format!("/duty/board/{id}/shelve"), "minutes=5&note=because").await;
        assert_eq!(status, 404);
        let (_, csv) = testing::page(&app, operator, Method::GET, "/duty/board/export?level=warning", "").await;
        assert!(csv.lines().count() == 2 && csv.contains("\"false\""), "{csv}");
    })
    .await;
}
