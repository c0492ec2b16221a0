//! Recalls of releases.

use actix_web::http::Method;
use diesel::prelude::*;
use serde_json::{Value, json};

use super::{SHOWN, WHY, code, documents, input, installed};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{audit_records, deployments, messages};
use crate::catalog::model::PlanKind;
use crate::fleet::service as fleet;
use crate::registry::model::Visibility;
use crate::stops::model::{Reach, Stop};
use crate::stops::service::{act, preview};
use crate::stops::store;
use crate::testing::shop::{license, publish, shop};
use crate::testing::{self, assert_intact, drain_jobs, each_backend, page};
use crate::trade::model::PlaceOrder;
use crate::{registry, trade};

async fn visibility(app: &App, digest: &str) -> Option<Visibility> {
    let digest = digest.to_owned();
    app.db
        .read(move |conn| {
            let repository = registry::service::repository(conn, "acme/belt")?.unwrap();
            Ok(registry::service::visibility(conn, &repository.id, &digest)?)
        })
        .await
        .unwrap()
}

async fn recorded(app: &App, action: &'static str) -> Value {
    let detail: String = app
        .db
        .read(move |conn| {
            let of = audit_records::table.filter(audit_records::action.eq(action)).order(audit_records::sequence.desc());
            Ok(of.select(audit_records::detail).first(conn)?)
        })
        .await
        .unwrap();
    serde_json::from_str(&detail).unwrap()
}

#[tokio::test]
async fn a_recall_takes_a_release_from_everybody_and_stops_nothing() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let (moderator, mine) = (testing::platform(&app, Role::Moderator).await, &shop.operator);
        let bought = license(&app, &shop, PlanKind::Subscription, 3).await;
        let (node, other) = (testing::node(&app, mine).await, second_node(&app, mine).await);
        let deployment = fleet::deploy(&app, mine, input(&shop, &bought.id, &node)).await.unwrap().remove(0);
        drain_jobs(&app).await;
        installed(&app, &node, &deployment).await;
        let before = documents(&app, &node).await;
        let release = shop.listing.release_id.clone();

        // Who may, and with which reason.
        for who in [&shop.vendor, mine, &testing::platform(&app, Role::Finance).await, &testing::platform(&app, Role::Auditor).await] {
            assert_eq!(code(act(&app, who, Stop::RecallRelease, &release, WHY).await), "not-permitted");
            assert_eq!(code(preview(&app, who, Stop::RecallRelease, &release).await), "not-permitted");
        }
        assert_eq!(code(act(&app, &Actor::Anonymous, Stop::RecallRelease, &release, WHY).await), "sign-in-required");
        assert_eq!(code(act(&app, &moderator, Stop::RecallRelease, &release, " x ").await), "too-short");
        assert_eq!(code(act(&app, &moderator, Stop::RecallRelease, &release, &"长".repeat(501)).await), "too-long");
        assert_eq!(code(act(&app, &moderator, Stop::RecallRelease, "rel_none", WHY).await), "release");

        let told = preview(&app, &moderator, Stop::RecallRelease, &release).await.unwrap().reach;
        assert_eq!(told, Reach { licenses: 1, deployments: 1, nodes: 1, mines: 1, ..Reach::default() });
        assert_eq!(visibility(&app, &shop.listing.digest).await, Some(Visibility::Public));
        let (_, reach) = act(&app, &moderator, Stop::RecallRelease, &release, WHY).await.unwrap();
        assert_eq!(reach, told);
        assert_eq!(
            recorded(&app, "release.recalled").await,
            json!({"reason": WHY, "licenses": 1, "deployments": 1, "nodes": 1, "mines": 1})
        );
        assert_eq!(code(act(&app, &moderator, Stop::RecallRelease, &release, WHY).await), "release-state");
        assert_eq!(code(preview(&app, &moderator, Stop::RecallRelease, &release).await), "release-state");

        // Buyers and nodes get it no more, and nobody deploys or orders it.
        assert_eq!(visibility(&app, &shop.listing.digest).await, Some(Visibility::Kept));
        assert_eq!(code(fleet::deploy(&app, mine, input(&shop, &bought.id, &other)).await), "release-recalled");
        let order = PlaceOrder { plan_id: shop.listing.plans[&PlanKind::Subscription].clone(), nodes: 1 };
        assert_eq!(code(trade::service::place(&app, mine, order).await), "app-without-release");

        // The node hears of it, and keeps what it has: the same deployment, with the reason.
        drain_jobs(&app).await;
        let after = documents(&app, &node).await;
        assert_eq!((before.len(), after.len()), (1, 1));
        assert!(!before[0].contains("recalled") && after[0].contains(&format!("recalled: {WHY}")), "{}", after[0]);
        let (wanted, state): (bool, String) =
            app.db.read(|conn| Ok(deployments::table.select((deployments::wanted, deployments::state)).first(conn)?)).await.unwrap();
        assert!(wanted && state == "installed");
        // Its settings stay adjustable, where it is.
        let mut again = input(&shop, &bought.id, &node);
        again.parameters.insert("bolt_score".into(), json!(0.9));
        fleet::deploy(&app, mine, again).await.unwrap();
        drain_jobs(&app).await;
        installed(&app, &node, &deployment).await;

        // Everybody whom it concerns reads why.
        let admin = testing::platform(&app, Role::Administrator).await;
        let pages = [
            (&Actor::Anonymous, "/apps/acme/belt".to_owned()),
            (&shop.vendor, "/vendor/apps/belt/releases/1.0.0".into()),
            (mine, "/mine".into()),
            (mine, "/mine/deployments".into()),
            (mine, format!("/mine/deployments/{deployment}")),
            (mine, format!("/mine/licenses/{}", bought.id)),
            (&admin, format!("/admin/releases/{release}")),
        ];
        for (who, path) in pages {
            let (status, html) = page(&app, who, Method::GET, &path, "").await;
            assert!(status == 200 && html.contains(SHOWN) && !html.contains(WHY), "{path}: {status}");
        }
        let html = page(&app, mine, Method::GET, &format!("/mine/deployments/{deployment}"), "").await.1;
        assert!(html.contains("There is no other version"), "{html}");
        assert!(!page(&app, mine, Method::GET, "/apps/acme/belt", "").await.1.contains("/order?plan="));

        // A correction is offered, and taking it ends the notice.
        let newer = "Apps with a newer version: 1";
        assert!(!page(&app, mine, Method::GET, "/mine", "").await.1.contains(newer));
        publish(&app, &shop, "1.1.0").await;
        let html = page(&app, mine, Method::GET, "/mine", "").await.1;
        assert!(html.contains(newer), "{html}");
        let html = page(&app, mine, Method::GET, &format!("/mine/deployments/{deployment}"), "").await.1;
        assert!(html.contains("Update it to another version below") && html.contains("1.1.0"), "{html}");
        let html = page(&app, mine, Method::GET, "/apps/acme/belt", "").await.1;
        assert!(html.contains("/order?plan=") && html.contains(SHOWN), "{html}");
        assert_intact(&app).await;
    })
    .await;
}

async fn second_node(app: &App, mine: &Actor) -> Actor {
    let site = fleet::create_site(app, mine, "二号井").await.unwrap();
    let issued = fleet::create_node(app, mine, &site, "主运 2").await.unwrap();
    let enrolled = fleet::enroll(app, issued.code, testing::csr(), "1.0.0".into()).await.unwrap();
    Actor::Node { node_id: enrolled.node_id, organization_id: enrolled.organization_id }
}

#[tokio::test]
async fn an_order_that_is_older_than_the_recall_is_delivered() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let order = PlaceOrder { plan_id: shop.listing.plans[&PlanKind::Perpetual].clone(), nodes: 1 };
        let order = trade::service::place(&app, &shop.operator, order).await.unwrap();
        let html = page(&app, &shop.operator, Method::GET, "/mine", "").await.1;
        assert!(html.contains("Orders that wait for payment: 1"), "{html}");
        act(&app, &moderator, Stop::RecallRelease, &shop.listing.release_id, WHY).await.unwrap();
        let receipt = trade::service::ReceiptInput {
            amount: "12800".into(),
            bank_serial: "RECALL-0001".into(),
            payer: "北矿".into(),
            accept_excess: false,
        };
        let finance = testing::platform(&app, Role::Finance).await;
        trade::service::confirm_payment(&app, &finance, &order, &receipt).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_people_of_mines_that_run_it_get_a_message_in_both_languages() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let mine = shop.operator.organization_id().unwrap().to_owned();
        let bought = license(&app, &shop, PlanKind::Subscription, 3).await;
        fleet::deploy(&app, &shop.operator, input(&shop, &bought.id, &testing::node(&app, &shop.operator).await)).await.unwrap();
        testing::operator(&app, "elsewhere").await;
        let viewer = testing::member(&app, &mine, Role::Member, "member@mine.example").await;
        app.clock.advance(chrono::TimeDelta::days(1));
        testing::member(&app, &mine, Role::Deployer, "deployer@mine.example").await;
        let gone = testing::member(&app, &mine, Role::Member, "gone@mine.example").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        act(&app, &admin, Stop::DisablePerson, &gone.person().unwrap().user_id, WHY).await.unwrap();
        drain_jobs(&app).await;
        act(&app, &admin, Stop::RecallRelease, &shop.listing.release_id, WHY).await.unwrap();
        drain_jobs(&app).await;
        let told: Vec<(String, String, String)> = app
            .db
            .read(|conn| {
                let of = messages::table.filter(messages::kind.eq("release-recalled")).order(messages::address);
                Ok(of.select((messages::address, messages::subject, messages::body)).load(conn)?)
            })
            .await
            .unwrap();
        let to: Vec<&str> = told.iter().map(|(address, ..)| address.as_str()).collect();
        assert!(to.contains(&"deployer@mine.example") && to.contains(&"owner@mine.example"), "{to:?}");
        assert!(to.iter().all(|address| address.ends_with("@mine.example") && *address != "gone@mine.example"), "{to:?}");
        for (_, subject, body) in &told {
            assert!(subject.contains("版本召回") && subject.contains("Recalled: acme/belt 1.0.0"), "{subject}");
            assert!(body.contains("deployments: 1. ") && body.contains("(for mine; ") && body.contains("矿山 mine；"), "{body}");
            assert!(body.contains("不会停止") && body.contains("Nothing is stopped") && body.contains("/mine/deployments"), "{body}");
            assert!(!body.contains("smoke"), "no text that somebody chose goes into a mail: {body}");
        }
        let first = app.db.read(move |conn| Ok(store::people_of(conn, &mine, 2)?)).await.unwrap();
        assert_eq!(first.len(), 2, "bounded");
        assert!(first.iter().all(|(id, _)| *id != viewer.person().unwrap().user_id), "who deploys comes first: {first:?}");
    })
    .await;
}
