//! Stops on both backends: what each takes away, what goes on, who may do it, what is recorded.

use actix_web::http::Method;
use diesel::prelude::*;
use serde_json::{Map, Value, json};

use super::model::{Reach, Stop};
use super::service::{act, preview, resolve};
use crate::account::{service as account, team, tokens};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{api_tokens, apps, audit_records, deployments, sessions, users};
use crate::base::error::{Error, Result};
use crate::catalog::model::PlanKind;
use crate::fleet::margo::{served, status};
use crate::fleet::service::{self as fleet, DeployInput};
use crate::registry::model::Visibility;
use crate::testing::shop::{Shop, license, publish, shop};
use crate::testing::{self, PASSWORD, assert_intact, drain_jobs, each_backend, page};
use crate::trade::model::PlaceOrder;
use crate::{catalog, registry, trade};

/// A reason that would be markup if it were not text.
const WHY: &str = "misses <b>smoke</b> at night";
const SHOWN: &str = "misses &#60;b&#62;smoke&#60;/b&#62; at night";

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    let error: Error = result.unwrap_err();
    error.fields.first().map_or(error.code, |field| field.code)
}

fn node_id(node: &Actor) -> String {
    node.label().trim_start_matches("node:").to_owned()
}

fn input(shop: &Shop, license_id: &str, node: &Actor) -> DeployInput {
    DeployInput {
        release_id: shop.listing.release_id.clone(),
        license_id: license_id.to_owned(),
        node_ids: vec![node_id(node)],
        parameters: Map::new(),
    }
}

/// The node reports a deployment as installed in the newest desired state.
async fn installed(app: &App, node: &Actor, deployment: &str) {
    let id = node_id(node);
    let digest = served::manifest_digest(app, &id).await.unwrap();
    let manifest: Value = serde_json::from_slice(&served::document(app, &id, &digest, served::Kind::Manifest).await.unwrap()).unwrap();
    let body = json!({"deploymentId": deployment, "adoptedManifestVersion": manifest["manifestVersion"], "status": {"state": "installed"},
        "components": [{"name": "belt", "state": "installed"}]});
    status::post(app, node, &id, deployment, body.to_string().as_bytes()).await.unwrap();
}

/// The newest documents of deployments in the node's desired state.
async fn documents(app: &App, node: &Actor) -> Vec<String> {
    let id = node_id(node);
    let digest = served::manifest_digest(app, &id).await.unwrap();
    let manifest: Value = serde_json::from_slice(&served::document(app, &id, &digest, served::Kind::Manifest).await.unwrap()).unwrap();
    let mut out = Vec::new();
    for deployment in manifest["deployments"].as_array().unwrap() {
        let digest = deployment["digest"].as_str().unwrap();
        out.push(String::from_utf8(served::document(app, &id, digest, served::Kind::Deployment).await.unwrap()).unwrap());
    }
    out
}

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
        publish(&app, &shop, "1.1.0").await;
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

async fn sign_in(app: &App, email: &str) -> Result<Actor> {
    let cookie = account::sign_in(app, email, PASSWORD.into(), "10.0.0.1", "test").await?;
    account::authenticate_session(app, &cookie).await
}

#[tokio::test]
async fn a_disabled_person_is_out_at_once_and_reads_why() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let id = acme.person().unwrap().user_id.clone();
        let cookie = account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let signed_in = account::authenticate_session(&app, &cookie).await.unwrap();
        let token = tokens::create(&app, &signed_in, "build", &["publish"], 9).await.unwrap();
        for who in [&acme, &testing::platform(&app, Role::Moderator).await, &testing::platform(&app, Role::Auditor).await] {
            assert_eq!(code(act(&app, who, Stop::DisablePerson, &id, "left").await), "not-permitted");
        }
        let told = preview(&app, &admin, Stop::DisablePerson, &id).await.unwrap().reach;
        assert_eq!(told, Reach { people: 1, sessions: 1, tokens: 1, ..Reach::default() });
        let (_, reach) = act(&app, &admin, Stop::DisablePerson, &id, WHY).await.unwrap();
        assert_eq!(reach, told);
        assert!(matches!(account::authenticate_session(&app, &cookie).await.unwrap(), Actor::Anonymous));
        assert_eq!(code(account::authenticate_token(&app, &token).await), "token-invalid");
        // Only who knows the password reads the reason.
        let wrong = account::sign_in(&app, "owner@acme.example", "another lamp".into(), "10.0.0.1", "test").await;
        assert_eq!(code(wrong), "wrong-password");
        let refused = sign_in(&app, "owner@acme.example").await.unwrap_err();
        assert_eq!((refused.code, refused.args[0].1.as_str()), ("person-disabled", WHY));
        let form = format!("email=owner%40acme.example&password={}", PASSWORD.replace(' ', "+"));
        let (status, html) = page(&app, &Actor::Anonymous, Method::POST, "/sign-in", &form).await;
        assert!(status == 403 && html.contains(SHOWN), "{status} {html}");
        // No invitation brings them back.
        let other = testing::operator(&app, "mine").await;
        let secret = team::invite(&app, &other, "owner@acme.example", "member").await.unwrap();
        assert_eq!(code(team::accept(&app, &secret, "", PASSWORD.into(), "10.0.0.1").await), "person-disabled");
        assert_eq!(code(act(&app, &admin, Stop::DisablePerson, &id, WHY).await), "standing-unchanged");

        act(&app, &admin, Stop::EnablePerson, &id, "back").await.unwrap();
        assert_eq!(code(act(&app, &admin, Stop::EnablePerson, &id, "back").await), "standing-unchanged");
        sign_in(&app, "owner@acme.example").await.unwrap();
        assert_eq!(code(account::authenticate_token(&app, &token).await), "token-invalid");
        let html = page(&app, &admin, Method::GET, &format!("/admin/people/{id}"), "").await.1;
        assert!(html.contains(SHOWN) && html.contains("/admin/stops/disable-person/"), "{html}");
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn one_session_one_token_or_all_sessions_end() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let id = acme.person().unwrap().user_id.clone();
        let mut cookies = Vec::new();
        for _ in 0..3 {
            cookies.push(account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "test").await.unwrap());
        }
        let token = tokens::create(&app, &acme, "build", &["publish"], 9).await.unwrap();
        let other = tokens::create(&app, &acme, "other", &["publish"], 9).await.unwrap();
        let (hash, token_id): (String, String) = {
            let hash = crate::base::ids::hash_secret(&cookies[0]);
            let named = api_tokens::table.filter(api_tokens::name.eq("build")).select(api_tokens::id);
            (hash, app.db.read(move |conn| Ok(named.first(conn)?)).await.unwrap())
        };
        let html = page(&app, &admin, Method::GET, &format!("/admin/people/{id}"), "").await.1;
        assert!(
            html.contains(&format!("/admin/stops/end-session/{hash}")) && html.contains(&format!("/admin/stops/revoke-token/{token_id}"))
        );
        act(&app, &admin, Stop::EndSession, &hash, "lost phone").await.unwrap();
        assert_eq!(code(act(&app, &admin, Stop::EndSession, &hash, "lost phone").await), "session-over");
        let open = async |cookie: &str| !matches!(account::authenticate_session(&app, cookie).await.unwrap(), Actor::Anonymous);
        assert_eq!((open(&cookies[0]).await, open(&cookies[1]).await), (false, true));
        act(&app, &admin, Stop::RevokeToken, &token_id, "leaked").await.unwrap();
        assert_eq!(code(act(&app, &admin, Stop::RevokeToken, &token_id, "leaked").await), "token-over");
        assert_eq!(code(account::authenticate_token(&app, &token).await), "token-invalid");
        let (_, reach) = act(&app, &admin, Stop::EndSessions, &id, "lost phone").await.unwrap();
        assert_eq!(reach, Reach { sessions: 2, ..Reach::default() });
        assert_eq!((open(&cookies[1]).await, open(&cookies[2]).await), (false, false));
        account::authenticate_token(&app, &other).await.unwrap();
        assert_eq!(code(preview(&app, &admin, Stop::EndSession, "none").await), "session-over");
        let left: i64 =
            app.db.read(|conn| Ok(sessions::table.filter(sessions::revoked_at.is_null()).count().get_result(conn)?)).await.unwrap();
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_stays() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let everybody: Vec<String> = app.db.read(|conn| Ok(users::table.select(users::id).load(conn)?)).await.unwrap();
        let own = admin.person().unwrap().user_id.clone();
        // The platform was made with another administrator.
        for id in everybody.iter().filter(|id| **id != own) {
            act(&app, &admin, Stop::DisablePerson, id, "left").await.unwrap();
        }
        for who in [&admin, &Actor::System] {
            assert_eq!(code(act(&app, who, Stop::DisablePerson, &own, "left").await), "last-administrator");
        }
        let platform = admin.organization_id().unwrap();
        for who in [&admin, &Actor::System] {
            assert_eq!(code(act(&app, who, Stop::SuspendOrganization, platform, "by mistake").await), "platform-not-suspended");
        }
        assert_eq!(code(act(&app, &admin, Stop::DisablePerson, "usr_none", "left").await), "person");
    })
    .await;
}

async fn state(app: &App) -> String {
    app.db.read(|conn| Ok(apps::table.select(apps::state).first(conn)?)).await.unwrap()
}

#[tokio::test]
async fn a_suspended_listing_is_not_sold_and_what_was_bought_goes_on() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let (mine, stranger) = (&shop.operator, testing::operator(&app, "other").await);
        let bought = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = testing::node(&app, mine).await;
        let id = shop.listing.app_id.clone();
        for who in [&shop.vendor, mine, &testing::platform(&app, Role::Auditor).await] {
            assert_eq!(code(act(&app, who, Stop::SuspendListing, &id, WHY).await), "not-permitted");
        }
        let (_, reach) = act(&app, &moderator, Stop::SuspendListing, &id, WHY).await.unwrap();
        assert_eq!(reach, Reach { listings: 1, licenses: 1, ..Reach::default() });
        assert_eq!(code(act(&app, &moderator, Stop::SuspendListing, &id, WHY).await), "standing-unchanged");
        let order = PlaceOrder { plan_id: shop.listing.plans[&PlanKind::Subscription].clone(), nodes: 1 };
        assert_eq!(code(trade::service::place(&app, mine, order).await), "listing");
        assert_eq!(code(catalog::service::set_hidden(&app, &shop.vendor, "belt".into(), true).await), "listing-state");
        for who in [&Actor::Anonymous, &stranger] {
            assert_eq!(page(&app, who, Method::GET, "/apps/acme/belt", "").await.0, 404);
            assert!(!page(&app, who, Method::GET, "/apps", "").await.1.contains("/apps/acme/belt"));
        }
        // Those who have it, its developer and moderators read why.
        for who in [mine, &shop.vendor, &moderator] {
            let (status, html) = page(&app, who, Method::GET, "/apps/acme/belt", "").await;
            assert!(status == 200 && html.contains(SHOWN) && !html.contains("/order?plan="), "{status}");
        }
        assert!(page(&app, &shop.vendor, Method::GET, "/vendor/apps/belt", "").await.1.contains(SHOWN));
        let html = page(&app, &moderator, Method::GET, &format!("/admin/listings/{id}"), "").await.1;
        assert!(html.contains(SHOWN) && html.contains("/admin/stops/resume-listing/"), "{html}");
        fleet::deploy(&app, mine, input(&shop, &bought.id, &node)).await.unwrap();
        act(&app, &moderator, Stop::ResumeListing, &id, "cleared").await.unwrap();
        assert_eq!(code(act(&app, &moderator, Stop::ResumeListing, &id, "cleared").await), "standing-unchanged");
        assert_eq!(page(&app, &Actor::Anonymous, Method::GET, "/apps/acme/belt", "").await.0, 200);

        // What its vendor had hidden comes back hidden.
        catalog::service::set_hidden(&app, &shop.vendor, "belt".into(), true).await.unwrap();
        act(&app, &moderator, Stop::SuspendListing, &id, WHY).await.unwrap();
        act(&app, &moderator, Stop::ResumeListing, &id, "cleared").await.unwrap();
        assert_eq!(state(&app).await, "hidden");
    })
    .await;
}

#[tokio::test]
async fn a_suspended_organisation_stands_still_and_its_buyers_go_on() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let (vendor, mine) = (shop.vendor.organization_id().unwrap().to_owned(), &shop.operator);
        let bought = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = testing::node(&app, mine).await;
        let cookie = account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let token = tokens::create(&app, &shop.vendor, "build", &["publish"], 9).await.unwrap();
        assert_eq!(
            code(act(&app, &testing::platform(&app, Role::Moderator).await, Stop::SuspendOrganization, &vendor, WHY).await),
            "not-permitted"
        );
        let told = preview(&app, &admin, Stop::SuspendOrganization, &vendor).await.unwrap().reach;
        assert_eq!(told, Reach { people: 1, sessions: 1, tokens: 1, listings: 1, licenses: 1, ..Reach::default() });
        let (_, reach) = act(&app, &admin, Stop::SuspendOrganization, &vendor, WHY).await.unwrap();
        assert_eq!(reach, told);
        assert!(matches!(account::authenticate_session(&app, &cookie).await.unwrap(), Actor::Anonymous));
        assert_eq!(code(account::authenticate_token(&app, &token).await), "token-invalid");
        let refused = sign_in(&app, "owner@acme.example").await.unwrap_err();
        assert_eq!((refused.code, refused.args[0].1.as_str()), ("organization-suspended", WHY));
        assert_eq!(page(&app, &Actor::Anonymous, Method::GET, "/apps/acme/belt", "").await.0, 404);
        assert!(page(&app, mine, Method::GET, "/apps/acme/belt", "").await.1.contains(SHOWN));
        fleet::deploy(&app, mine, input(&shop, &bought.id, &node)).await.unwrap();
        let html = page(&app, &admin, Method::GET, &format!("/admin/organizations/{vendor}"), "").await.1;
        assert!(
            html.contains(SHOWN) && html.contains("/admin/stops/resume-organization/") && html.contains("owner@acme.example"),
            "{html}"
        );

        // Two reasons: both must be gone.
        act(&app, &admin, Stop::SuspendListing, &shop.listing.app_id, "unclear texts").await.unwrap();
        act(&app, &admin, Stop::ResumeOrganization, &vendor, "cleared").await.unwrap();
        assert_eq!(state(&app).await, "suspended");
        act(&app, &admin, Stop::SuspendOrganization, &vendor, WHY).await.unwrap();
        act(&app, &admin, Stop::ResumeListing, &shop.listing.app_id, "cleared").await.unwrap();
        assert_eq!(state(&app).await, "suspended");
        act(&app, &admin, Stop::ResumeOrganization, &vendor, "cleared").await.unwrap();
        assert_eq!(state(&app).await, "listed");
        assert!(sign_in(&app, "owner@acme.example").await.unwrap().as_person().is_some());

        // What is published meanwhile is listed when the organisation goes on, and not before.
        let (_, case) = testing::shop::submitted(&app, &shop.vendor, "1.0.0", crate::release::model::Channel::Stable).await;
        act(&app, &admin, Stop::SuspendOrganization, &vendor, WHY).await.unwrap();
        testing::shop::approve(&app, &case).await;
        let coke = format!("/apps/acme/{}", testing::shop::APP);
        assert_eq!(page(&app, &Actor::Anonymous, Method::GET, &coke, "").await.0, 404);
        act(&app, &admin, Stop::ResumeOrganization, &vendor, "cleared").await.unwrap();
        assert_eq!(page(&app, &Actor::Anonymous, Method::GET, &coke, "").await.0, 200);
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_suspended_mine_keeps_its_nodes() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let mine = shop.operator.organization_id().unwrap().to_owned();
        let bought = license(&app, &shop, PlanKind::Subscription, 2).await;
        let node = testing::node(&app, &shop.operator).await;
        let deployment = fleet::deploy(&app, &shop.operator, input(&shop, &bought.id, &node)).await.unwrap().remove(0);
        drain_jobs(&app).await;
        let before = documents(&app, &node).await;
        act(&app, &admin, Stop::SuspendOrganization, &mine, WHY).await.unwrap();
        drain_jobs(&app).await;
        // The node reads its state, reports, and may fetch what it runs.
        assert_eq!(documents(&app, &node).await, before);
        installed(&app, &node, &deployment).await;
        let (owner, now) = (mine.clone(), app.clock.now());
        assert!(app.db.read(move |conn| crate::license::service::pull_terms(conn, &owner, "acme/belt", now)).await.unwrap().cover_any());
        // A person with another organisation acts for that one.
        let other = testing::operator(&app, "other").await;
        let secret = team::invite(&app, &other, "owner@mine.example", "member").await.unwrap();
        team::accept(&app, &secret, "", PASSWORD.into(), "10.0.0.1").await.unwrap();
        let signed_in = sign_in(&app, "owner@mine.example").await.unwrap();
        assert_eq!(signed_in.organization_id(), other.organization_id());
        assert_eq!(code(account::switch_organization(&app, &signed_in, mine).await), "organization-suspended");
    })
    .await;
}

#[tokio::test]
async fn the_command_line_finds_what_people_name() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let find = async |stop, text: &str| resolve(&app, stop, text).await;
        assert_eq!(find(Stop::RecallRelease, "acme/belt:1.0.0").await.unwrap(), shop.listing.release_id);
        assert_eq!(find(Stop::RecallRelease, &shop.listing.release_id).await.unwrap(), shop.listing.release_id);
        assert_eq!(find(Stop::SuspendListing, "acme/belt").await.unwrap(), shop.listing.app_id);
        assert_eq!(find(Stop::SuspendOrganization, "acme").await.unwrap(), shop.vendor.organization_id().unwrap());
        assert_eq!(find(Stop::DisablePerson, "Owner@acme.example").await.unwrap(), shop.vendor.person().unwrap().user_id);
        for (stop, text, missing) in [
            (Stop::RecallRelease, "acme/belt:9.0.0", "release"),
            (Stop::SuspendListing, "acme/none", "listing"),
            (Stop::DisablePerson, "none@acme.example", "person"),
        ] {
            assert_eq!(code(find(stop, text).await), missing);
        }
        assert_eq!(code(preview(&app, &Actor::System, Stop::SuspendOrganization, "none").await), "organization");
        // The platform itself may, and is recorded as such.
        act(&app, &Actor::System, Stop::SuspendOrganization, shop.vendor.organization_id().unwrap(), WHY).await.unwrap();
        let by: String = app
            .db
            .read(|conn| {
                let of = audit_records::table.filter(audit_records::action.eq("organization.suspended"));
                Ok(of.select(audit_records::actor).first(conn)?)
            })
            .await
            .unwrap();
        assert_eq!(by, "system");
    })
    .await;
}

#[tokio::test]
async fn a_page_stands_before_each_stop() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let path = format!("/admin/stops/suspend-listing/{}", shop.listing.app_id);
        let (status, html) = page(&app, &admin, Method::GET, &path, "").await;
        assert!(status == 200 && html.contains("1 listing") && html.contains("name=\"reason\""), "{status} {html}");
        assert_eq!(state(&app).await, "listed");
        let (status, html) = page(&app, &admin, Method::POST, &path, "reason=x").await;
        assert!(status == 422 && html.contains("invalid-feedback"), "{status} {html}");
        assert_eq!(page(&app, &admin, Method::POST, &path, "reason=unclear").await.0, 303);
        assert_eq!(state(&app).await, "suspended");
        assert_eq!(page(&app, &admin, Method::GET, &path, "").await.0, 409);
        for wrong in ["/admin/stops/nonsense/x", "/admin/stops/recall-release/x", "/admin/stops/disable-person/x"] {
            assert_eq!(page(&app, &admin, Method::GET, wrong, "").await.0, 404, "{wrong}");
        }
        for list in ["/admin/organizations?q=ACM", "/admin/people?q=owner%40acme"] {
            let (status, html) = page(&app, &admin, Method::GET, list, "").await;
            assert!(status == 200 && html.contains("acme") && !html.contains("owner@mine.example"), "{list}: {html}");
        }
        let html = page(&app, &admin, Method::GET, "/admin/organizations?q=%25", "").await.1;
        assert!(html.contains("Nothing found"), "{html}");
    })
    .await;
}
