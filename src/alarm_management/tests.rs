//! Acts of people and alarms of the platform on both backends.

use actix_web::http::Method;
use app_package::digest::Digest;
use chrono::TimeDelta;
use serde_json::{Map, json};

use super::board::{self, Listed};
use super::equipment::look;
use super::model::{Act, AlarmState, Cursor, EquipmentKind, Filter, Show, Verdict};
use super::presence::PRESENT_FOR;
use super::service::act;
use super::{figures, upkeep};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::catalog::model::PlanKind;
use crate::fleet::service::{self as fleet, DeployInput};
use crate::telemetry::model::Level;
use crate::telemetry::taking::take;
use crate::testing::shop::{Shop, license, shop};
use crate::testing::{self, drain_jobs, each_backend};

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
        let report = |(n, (rule, level)): (usize, &(&str, &str))| {
            json!({"sequence": first + n as u64, "at": app.clock.now().utc(), "kind": "alarm", "deployment_id": self.deployment,
                "digest": self.digest, "rule": rule, "level": level, "text": {"zh": "<i>锚杆</i>", "en": "<i>bolt</i>"},
                "result": {"detections": [{"label": "bolt", "score": 0.9, "box": [10, 20, 30, 40]}]}})
        };
        let reports = json!({"reports": alarms.iter().enumerate().map(report).collect::<Vec<_>>()});
        take(app, &self.node, serde_json::from_str(&reports.to_string()).unwrap()).await.unwrap();
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
        let here = Filter { node_id: Some(desk.node_id.clone()), ..Filter::default() };
        assert_eq!(board::list(&app, &desk.shop.operator, here, None, 9).await.unwrap().len(), 2);
        act(&app, &desk.shop.operator, &lost, Act::Acknowledge, "").await.unwrap();

        // It is back: with a clock that is wrong.
        let beat = json!({"reports": [{"sequence": 2, "at": app.clock.now().utc(), "kind": "heartbeat",
            "node": {"cpu_percent": 1, "memory_used_bytes": 1, "memory_total_bytes": 2, "trouble": {"code": "clock-wrong", "message": "x"}}}]});
        take(&app, &desk.node, serde_json::from_str(&beat.to_string()).unwrap()).await.unwrap();
        assert_eq!(look(&app).await.unwrap(), (1, 1));
        assert_eq!(rules(&desk.list(&app, Show::Open).await), [EquipmentKind::ClockWrong.as_str(), "bolt"]);
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
