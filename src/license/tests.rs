//! Licences on both backends.

use actix_web::http::Method;
use app_package::digest::Digest;
use app_package::license::{Context, Purpose, Verdict, evaluate, verify};
use chrono::TimeDelta;
use diesel::prelude::*;

use super::model::{License, LicenseDecision, LicenseState, PullTerms, ends_at};
use super::{service, store};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::Timestamp;
use crate::base::db::schema::jobs;
use crate::base::error::{Kind, Result};
use crate::catalog::model::PlanKind;
use crate::fleet;
use crate::testing::page;
use crate::testing::shop::{draft, license, license_for, listing, publish, shop};
use crate::testing::{self, each_backend};

async fn reload(app: &App, id: &str) -> License {
    let id = id.to_owned();
    app.db.read(move |conn| service::get(conn, &id)).await.unwrap()
}

async fn activate(app: &App, actor: &Actor, license: &str, node: &str) -> Result<()> {
    let (license, node) = (license.to_owned(), node.to_owned());
    crate::audit::change(app, actor, move |c| service::activate_in(c, &license, &node)).await
}

async fn nodes(app: &App, actor: &Actor, n: usize) -> Vec<String> {
    let site = fleet::service::create_site(app, actor, &format!("site {}", crate::base::ids::new("x"))).await.unwrap();
    let mut out = Vec::new();
    for i in 0..n {
        out.push(fleet::service::create_node(app, actor, &site, &format!("node {i}")).await.unwrap().node_id);
    }
    out
}

#[test]
fn a_licence_ends_at_the_end_of_a_local_day() {
    let offset = crate::base::i18n::local_offset();
    // 2026-01-01 00:00 UTC is 08:00 at the mine; the year ends with 2027-01-01 there, which is 16:00 UTC.
    let now = Timestamp::from_unix(1_767_225_600);
    assert_eq!(ends_at(PlanKind::Subscription, 0, now, offset).unwrap().rfc3339(), "2027-01-01T16:00:00.000000Z");
    assert_eq!(ends_at(PlanKind::Trial, 7, now, offset).unwrap().rfc3339(), "2026-01-08T16:00:00.000000Z");
    assert_eq!(ends_at(PlanKind::Perpetual, 0, now, offset), None);
    // 29 February has no anniversary: the last day of that month.
    let leap = Timestamp::from_unix(1_835_395_200);
    assert_eq!(ends_at(PlanKind::Subscription, 0, leap, offset).unwrap().rfc3339(), "2029-02-28T16:00:00.000000Z");
}

#[tokio::test]
async fn what_is_issued_follows_from_the_order() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        publish(&app, &shop, "2.1.0").await;
        draft(&app, &shop, "3.0.0").await;
        let yearly = license(&app, &shop, PlanKind::Subscription, 5).await;
        assert_eq!((yearly.versions.as_str(), yearly.node_limit, yearly.nodes_active, yearly.grace_days), ("*", 5, 0, 14));
        assert_eq!(yearly.state, LicenseState::Active);
        let perpetual = license(&app, &shop, PlanKind::Perpetual, 1).await;
        assert_eq!((perpetual.versions.as_str(), perpetual.ends_at), ("^2", None));
        let trial = license(&app, &shop, PlanKind::Trial, 1).await;
        assert_eq!(trial.grace_days, 0);
        let guard = listing(&app, &shop.vendor, "guard", true).await;
        let safety = license_for(&app, &shop.operator, &guard, PlanKind::Subscription, 1).await;
        assert_eq!((safety.safety, safety.enforcement), (true, super::model::Enforcement::Advisory));
    })
    .await;
}

#[tokio::test]
async fn the_node_limit_holds_under_concurrent_activation() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 3).await;
        let mut tasks = tokio::task::JoinSet::new();
        for node in nodes(&app, &shop.operator, 16).await {
            let (app, actor, id) = (app.clone(), shop.operator.clone(), license.id.clone());
            tasks.spawn(async move { activate(&app, &actor, &id, &node).await });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 3);
        assert!(
            outcomes.iter().filter_map(|o| o.as_ref().err()).all(|e| e.code == "too-many-nodes" && e.kind == Kind::Conflict),
            "{outcomes:?}"
        );
        let id = license.id.clone();
        assert_eq!(app.db.read(move |conn| Ok(store::active_nodes(conn, &id)?)).await.unwrap().len(), 3);
        assert_eq!(reload(&app, &license.id).await.nodes_active, 3);
    })
    .await;
}

#[tokio::test]
async fn one_node_takes_one_seat_however_often_it_is_activated() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = nodes(&app, &shop.operator, 1).await.remove(0);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (app, actor, id, node) = (app.clone(), shop.operator.clone(), license.id.clone(), node.clone());
            tasks.spawn(async move { activate(&app, &actor, &id, &node).await });
        }
        assert!(tasks.join_all().await.iter().all(Result::is_ok));
        assert_eq!(reload(&app, &license.id).await.nodes_active, 1);
        fleet::service::release_seat(&app, &shop.operator, license.id.clone(), node.clone()).await.unwrap();
        assert_eq!(reload(&app, &license.id).await.nodes_active, 0);
        assert_eq!(fleet::service::release_seat(&app, &shop.operator, license.id.clone(), node).await.unwrap_err().code, "license-seat");
    })
    .await;
}

#[tokio::test]
async fn a_token_is_bound_to_node_and_digest() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let nodes = nodes(&app, &shop.operator, 2).await;
        let digest = Digest::of(b"release");
        let token = |node: String| {
            let (handle, license, digest) = (app.clone(), license.clone(), digest.to_string());
            let app = app.clone();
            async move { app.db.read(move |conn| service::token_for(conn, &handle, &license, &node, &digest)).await.unwrap() }
        };
        let text = token(nodes[0].clone()).await;
        app.clock.advance(TimeDelta::hours(1));
        assert_eq!(text, token(nodes[0].clone()).await, "the same terms give the same token");
        let terms = verify(&text, &app.keys.get().license.set).unwrap().terms().unwrap();
        let version = semver::Version::new(1, 0, 0);
        let judge = |node: &str, name: &str, digest: &Digest| {
            let node = app.ca.node_id(node);
            evaluate(
                &terms,
                &Context {
                    now: app.clock.now().utc(),
                    node: Some(&node),
                    app: name,
                    version: &version,
                    digest,
                    purpose: Purpose::Run,
                    active_nodes: 1,
                },
            )
        };
        assert!(matches!(judge(&nodes[0], "acme/belt", &digest), Verdict::Valid { .. }));
        assert_eq!(judge(&nodes[1], "acme/belt", &digest), Verdict::NodeNotActivated);
        assert_eq!(judge(&nodes[0], "acme/other", &digest), Verdict::ScopeMismatch);
        assert_eq!(judge(&nodes[0], "acme/belt", &Digest::of(b"another")), Verdict::VersionNotCovered);

        activate(&app, &shop.operator, &license.id, &nodes[0]).await.unwrap();
        activate(&app, &shop.operator, &license.id, &nodes[1]).await.unwrap();
        let (name, file) = service::file(&app, &shop.operator, license.id.clone()).await.unwrap();
        assert!(name.starts_with("belt-lic_") && name.ends_with(".jwt"));
        assert_eq!(verify(&file, &app.keys.get().license.set).unwrap().nodes.len(), 2);
    })
    .await;
}

async fn detail(app: &App, actor: &Actor, id: &str) -> Result<service::LicenseDetail> {
    let (actor, id) = (actor.clone(), id.to_owned());
    app.db.read(move |conn| service::detail_in(conn, &actor, &id)).await
}

#[tokio::test]
async fn another_operator_sees_no_licence() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let other = testing::operator(&app, "other").await;
        assert_eq!(detail(&app, &other, &license.id).await.unwrap_err().kind, Kind::NotFound);
        assert_eq!(service::file(&app, &other, license.id.clone()).await.unwrap_err().kind, Kind::NotFound);
        assert_eq!(fleet::service::release_seat(&app, &other, license.id.clone(), "nod_x".into()).await.unwrap_err().code, "license");
        assert!(service::list(&app, &other, None).await.unwrap().is_empty());
        assert_eq!(detail(&app, &shop.vendor, &license.id).await.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(detail(&app, &Actor::Anonymous, &license.id).await.unwrap_err().kind, Kind::Unauthenticated);
        assert_eq!(service::list(&app, &shop.operator, None).await.unwrap().len(), 1);
        assert_eq!(detail(&app, &shop.operator, &license.id).await.unwrap().line.license.node_limit, 2);
    })
    .await;
}

async fn pull_terms(app: &App, actor: &Actor, repository: &'static str) -> PullTerms {
    let (organization, now) = (actor.organization_id().unwrap().to_owned(), app.clock.now());
    app.db.read(move |conn| service::pull_terms(conn, &organization, repository, now)).await.unwrap()
}

/// Whether people may pull some version.
async fn may_pull(app: &App, actor: &Actor, repository: &'static str) -> bool {
    pull_terms(app, actor, repository).await.cover_any()
}

#[tokio::test]
async fn pulling_needs_a_licence_in_force() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let other = testing::operator(&app, "other").await;
        assert!(!may_pull(&app, &shop.operator, "acme/belt").await);
        license(&app, &shop, PlanKind::Subscription, 1).await;
        assert!(may_pull(&app, &shop.operator, "acme/belt").await);
        assert!(!may_pull(&app, &other, "acme/belt").await);
        assert!(!may_pull(&app, &shop.operator, "acme/other").await);
        assert!(!may_pull(&app, &shop.operator, "belt").await);
        app.clock.advance(TimeDelta::days(370));
        assert!(may_pull(&app, &shop.operator, "acme/belt").await, "in the grace period");
        app.clock.advance(TimeDelta::days(14));
        assert!(!may_pull(&app, &shop.operator, "acme/belt").await);

        let guard = listing(&app, &shop.vendor, "guard", true).await;
        license_for(&app, &shop.operator, &guard, PlanKind::Trial, 1).await;
        assert!(may_pull(&app, &shop.operator, "acme/guard").await);
        app.clock.advance(TimeDelta::days(100));
        let terms = pull_terms(&app, &shop.operator, "acme/guard").await;
        assert!(terms.may_run, "a safety app never stops, so its nodes may fetch again what they run");
        assert!(!terms.cover_any(), "and that gives nobody the right to pull for ever");
        assert!(!pull_terms(&app, &shop.operator, "acme/belt").await.may_run);
    })
    .await;
}

#[tokio::test]
async fn a_licence_lets_pull_the_versions_that_it_covers() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        publish(&app, &shop, "2.1.0").await;
        license(&app, &shop, PlanKind::Perpetual, 1).await;
        let covered = |terms: &PullTerms, version: &str| terms.cover(&version.parse().unwrap());
        let terms = pull_terms(&app, &shop.operator, "acme/belt").await;
        assert_eq!(["1.9.9", "2.0.0", "2.7.0", "3.0.0"].map(|v| covered(&terms, v)), [false, true, true, false]);
        assert!(terms.cover_any() && !terms.cover_all());
        // A second licence adds its own.
        license(&app, &shop, PlanKind::Subscription, 1).await;
        let terms = pull_terms(&app, &shop.operator, "acme/belt").await;
        assert!(terms.cover_all() && covered(&terms, "3.0.0-rc.1"));
        app.clock.advance(TimeDelta::days(370));
        assert!(pull_terms(&app, &shop.operator, "acme/belt").await.cover_all(), "in the days of grace");
        app.clock.advance(TimeDelta::days(14));
        let terms = pull_terms(&app, &shop.operator, "acme/belt").await;
        assert!(!terms.cover_all() && covered(&terms, "2.7.0") && terms.may_run);
    })
    .await;
}

#[tokio::test]
async fn an_administrator_suspends_reinstates_and_revokes() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let license = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = nodes(&app, &shop.operator, 1).await.remove(0);
        activate(&app, &shop.operator, &license.id, &node).await.unwrap();
        let administrator = testing::platform(&app, Role::Administrator).await;
        let decide = |actor: Actor, decision, reason: &'static str| {
            let (app, id) = (app.clone(), license.id.clone());
            async move { service::decide(&app, &actor, id, decision, reason).await }
        };
        assert_eq!(decide(shop.operator.clone(), LicenseDecision::Revoke, "no reason").await.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(decide(administrator.clone(), LicenseDecision::Suspend, " ").await.unwrap_err().kind, Kind::Invalid);
        decide(administrator.clone(), LicenseDecision::Suspend, "payment disputed").await.unwrap();
        // Who holds it reads that, why, and what it means; so does who bought it.
        let (own, order) = (format!("/mine/licenses/{}", license.id), format!("/mine/orders/{}", license.order_id));
        for path in [&own, &order] {
            let (status, shown) = page(&app, &shop.operator, Method::GET, path, "").await;
            let said = shown.contains("suspended on 1 Jan 2026") && shown.contains("Reason: payment disputed");
            assert!(status == 200 && said, "{path}");
        }
        let (_, shown) = page(&app, &shop.operator, Method::GET, &own, "").await;
        assert!(shown.contains("the app stops on its nodes") && shown.contains("Grace period"));
        let rebuilds = jobs::table.filter(jobs::kind.eq("rebuild-node")).count();
        assert_eq!(
            app.db.read(move |conn| Ok(rebuilds.get_result::<i64>(conn)?)).await.unwrap(),
            1,
            "the node concerned gets its state anew"
        );
        assert!(!may_pull(&app, &shop.operator, "acme/belt").await);
        assert_eq!(activate(&app, &shop.operator, &license.id, "nod_x").await.unwrap_err().code, "license-suspended");
        assert_eq!(decide(administrator.clone(), LicenseDecision::Suspend, "once more").await.unwrap_err().code, "license-state");
        decide(administrator.clone(), LicenseDecision::Reinstate, "settled").await.unwrap();
        assert!(may_pull(&app, &shop.operator, "acme/belt").await);
        decide(administrator.clone(), LicenseDecision::Revoke, "fraud").await.unwrap();
        let (_, shown) = page(&app, &shop.operator, Method::GET, &own, "").await;
        assert!(shown.contains("Reason: fraud") && !shown.contains("Reason: payment disputed"));
        assert!(!shown.contains("Grace period") && !shown.contains("when you deploy"), "a revoked licence promises nothing");
        let (status, shown) = page(&app, &administrator, Method::GET, &format!("/admin/licenses/{}", license.id), "").await;
        let history = ["payment disputed", "settled", "fraud"].map(|reason| shown.contains(reason));
        assert_eq!((status, history), (200, [true; 3]));
        assert_eq!(decide(administrator.clone(), LicenseDecision::Reinstate, "again").await.unwrap_err().code, "license-state");
        assert_eq!(service::file(&app, &shop.operator, license.id.clone()).await.unwrap_err().code, "license-revoked");
        testing::assert_intact(&app).await;
    })
    .await;
}
