//! Rows of a flood, and alarms that are acknowledged together.

use std::collections::BTreeSet;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Desk, act, desk, find, rules};
use crate::alarm_management::board;
use crate::alarm_management::flood::{alone, grouped};
use crate::alarm_management::model::{Act, AlarmState, Filter, RuleAt, Show};
use crate::alarm_management::service::{Acknowledged, MOST_AT_ONCE, acknowledge_all};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::testing::{self, each_backend};

/// Ids of the open warnings.
async fn warnings(app: &App, desk: &Desk) -> Vec<String> {
    let open = desk.list(app, Show::Open).await;
    open.iter().filter(|(entry, _)| entry.level.as_str() == "warning").map(|(entry, _)| entry.id.clone()).collect()
}

#[tokio::test]
async fn a_flood_is_shown_by_rule_and_place_and_nothing_is_dropped() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("bolt", "warning"); 3]).await;
        let (_, html) = testing::page(&app, operator, Method::GET, "/duty/board", "").await;
        assert_eq!((html.matches("class=\"board-row").count(), html.contains("class=\"board-more")), (3, false), "no flood: {html}");

        desk.raise(&app, 4, &[("bolt", "warning"); 4]).await;
        desk.raise(&app, 8, &[("fire", "critical"); 2]).await;
        desk.raise(&app, 10, &[("smoke", "warning"); 2]).await;
        desk.raise(&app, 12, &[("gas", "warning")]).await;
        assert!(board::summary(&app, operator).await.unwrap().flood_since.is_some());
        let open = desk.list(&app, Show::Open).await;
        let (all, groups) = (alone(open.clone()), grouped(open.clone()));
        assert_eq!(all.len(), 12);
        let told: Vec<(&str, usize)> = groups.iter().map(|group| (group.newest.point().1, group.count())).collect();
        assert_eq!(told, [("fire", 1), ("fire", 1), ("gas", 1), ("smoke", 2), ("bolt", 7)]);
        let members: BTreeSet<&str> = groups.iter().flat_map(|group| group.members().map(|entry| entry.id.as_str())).collect();
        assert_eq!(members.len(), 12, "each once");

        let (_, html) = testing::page(&app, operator, Method::GET, "/duty/board", "").await;
        assert_eq!((html.matches("class=\"board-row").count(), html.matches("class=\"board-more").count()), (5, 2), "{html}");
        // A row opens to its alarms, without script.
        let place = groups.last().unwrap().newest.rule_at();
        assert_eq!(place, RuleAt { subject: desk.deployment.clone(), rule: "bolt".into(), source: String::new() });
        let of_place = Filter { place: Some(place), ..Filter::default() };
        assert_eq!(rules(&board::list(&app, operator, of_place, None, 50).await.unwrap()), ["bolt"; 7]);
        let path = format!("/duty/board?subject={}&rule=bolt", desk.deployment);
        let (status, html) = testing::page(&app, operator, Method::GET, &path, "").await;
        assert_eq!((status, html.matches("class=\"board-row").count(), html.contains("class=\"board-more")), (200, 7, false), "{html}");
        for hostile in ["rule=%00", "source=%3Cscript%3Ealert(1)%3C/script%3E", "rule=node-lost&source=x", "rule="] {
            let path = format!("/duty/board?subject={}&{hostile}", desk.deployment);
            let (status, html) = testing::page(&app, operator, Method::GET, &path, "").await;
            assert!(status == 200 && !html.contains("<script>alert"), "{hostile}: {status}");
        }

        // What is acknowledged stands in a row of its own part of the list.
        acknowledge_all(&app, operator, vec![find(&open, "bolt")], "").await.unwrap();
        let groups = grouped(desk.list(&app, Show::Open).await);
        let told: Vec<(&str, usize)> = groups.iter().map(|group| (group.newest.point().1, group.count())).collect();
        assert_eq!(told, [("fire", 1), ("fire", 1), ("gas", 1), ("smoke", 2), ("bolt", 6), ("bolt", 1)]);
        // Other lists are what they were.
        let (_, html) = testing::page(&app, operator, Method::GET, "/duty/board?show=history", "").await;
        assert_eq!(html.matches("class=\"board-row").count(), 12);
    })
    .await;
}

#[tokio::test]
async fn the_platforms_alarms_have_a_place_too() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        desk.beat(&app, 1, Some("clock-wrong")).await;
        crate::alarm_management::equipment::look(&app).await.unwrap();
        let at = |rule: &str| Filter {
            place: Some(RuleAt { subject: desk.node_id.clone(), rule: rule.to_owned(), source: String::new() }),
            ..Filter::default()
        };
        for (rule, n) in [("clock-wrong", 1), ("disk-full", 0), ("no such kind", 0)] {
            assert_eq!(board::list(&app, &desk.shop.operator, at(rule), None, 9).await.unwrap().len(), n, "{rule}");
        }
    })
    .await;
}

#[tokio::test]
async fn warnings_are_acknowledged_together_and_critical_ones_by_themselves() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        let mine = operator.organization_id().unwrap().to_owned();
        let member = testing::member(&app, &mine, Role::Member, "duty@north.example").await;
        let approver = testing::member(&app, &mine, Role::Approver, "approver@north.example").await;
        let stranger = testing::operator(&app, "stranger").await;
        desk.raise(&app, 1, &[("bolt", "warning"), ("smoke", "warning"), ("word", "notice"), ("fire", "critical")]).await;
        let ids = warnings(&app, &desk).await;
        let history = desk.list(&app, Show::History).await;
        let (fire, word) = (find(&history, "fire"), find(&history, "word"));
        let all = async |who: &Actor, ids: &[String]| acknowledge_all(&app, who, ids.to_vec(), "seen").await;

        for (who, code) in [(&approver, "not-permitted"), (&stranger, "alarm"), (&Actor::System, "sign-in-required")] {
            assert_eq!(all(who, &ids).await.unwrap_err().code, code);
        }
        let with = |more: &str| ids.iter().cloned().chain([more.to_owned()]).collect::<Vec<_>>();
        for (more, code) in
            [(fire.as_str(), "alarm-critical"), ("alm_none", "alarm"), ("\0", "alarm"), ("", "alarm"), ("a' or 1=1", "alarm")]
        {
            assert_eq!(all(operator, &with(more)).await.unwrap_err().code, code, "{more:?}");
        }
        let field = |e: crate::base::error::Error| e.fields[0].code;
        assert_eq!(field(all(operator, &[]).await.unwrap_err()), "no-alarms-chosen");
        assert_eq!(field(all(operator, &vec![ids[0].clone(); MOST_AT_ONCE + 1]).await.unwrap_err()), "too-many-alarms-chosen");
        assert_eq!(field(acknowledge_all(&app, operator, ids.clone(), &"x".repeat(501)).await.unwrap_err()), "too-long");
        assert_eq!(warnings(&app, &desk).await.len(), 2);
        assert!(board::detail(&app, operator, ids[0].clone()).await.unwrap().0.response.is_none(), "all or none");

        // One has an answer already; one is named twice.
        act(&app, operator, &ids[0], Act::Acknowledge, "").await.unwrap();
        let chosen: Vec<String> = ids.iter().chain(&ids).chain([&word]).cloned().collect();
        assert_eq!(all(&member, &chosen).await.unwrap(), Acknowledged { done: 2, before: 1 });
        assert_eq!(all(&member, &chosen).await.unwrap(), Acknowledged { done: 0, before: 3 });
        let (entry, acts) = board::detail(&app, operator, ids[1].clone()).await.unwrap();
        assert_eq!((entry.state, acts.len(), acts[0].note.as_str()), (AlarmState::Acknowledged, 1, "seen"));
        assert_eq!(entry.response.unwrap().acknowledged_by, member.person().unwrap().name);
        assert_eq!(board::detail(&app, operator, ids[0].clone()).await.unwrap().1.len(), 1, "whoever was first has");
        assert!(board::detail(&app, operator, fire).await.unwrap().0.response.is_none());
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_form_and_a_program_acknowledge_what_they_name() {
    each_backend(|app| async move {
        let desk = desk(&app).await;
        let operator = &desk.shop.operator;
        desk.raise(&app, 1, &[("bolt", "warning"); 4]).await;
        desk.raise(&app, 5, &[("fire", "critical")]).await;
        let ids = warnings(&app, &desk).await;
        let (_, html) = testing::page(&app, operator, Method::GET, "/duty/board", "").await;
        assert_eq!(html.matches("name=\"ids\"").count(), 4, "no box at a critical one: {html}");
        let post = async |form: &str| testing::page(&app, operator, Method::POST, "/duty/board/acknowledge", form).await.0;
        // A row of a flood sends several with commas between.
        assert_eq!(post(&format!("ids={}%2C{}&ids={}&note=seen&back=%2Fduty%2Fboard", ids[0], ids[1], ids[2])).await, 303);
        assert_eq!(warnings(&app, &desk).await.len(), 4, "present and acknowledged");
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(board::detail(&app, operator, id.clone()).await.unwrap().0.response.is_some(), n < 3, "{n}");
        }
        assert_eq!((post("").await, post("ids=&ids=,,,").await), (303, 303), "back with the reason");
        assert_eq!(post("ids=alm_none").await, 404);
        assert_eq!(post(&format!("ids={}", [ids[3].as_str(); 51].join(","))).await, 303);
        assert!(board::detail(&app, operator, ids[3].clone()).await.unwrap().0.response.is_none());

        let call = async |body: Value| testing::page(&app, operator, Method::POST, "/api/v1/alarms/acknowledge", &body.to_string()).await;
        let (status, told) = call(json!({"ids": ids, "note": "by a program"})).await;
        assert_eq!((status, serde_json::from_str::<Value>(&told).unwrap()), (200, json!({"acknowledged": 1, "answered_before": 3})));
        for (body, status) in [
            (json!({"ids": []}), 422),
            (json!({"ids": vec!["alm_none"; 51]}), 422),
            (json!({"ids": ["alm_none"]}), 404),
            (json!({"ids": "alm_none"}), 422),
            (json!({"ids": [1]}), 422),
            (json!({"ids": ["alm_none"], "verdict": "real"}), 422),
            (json!({}), 422),
        ] {
            assert_eq!(call(body.clone()).await.0, status, "{body}");
        }
    })
    .await;
}
