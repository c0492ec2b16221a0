//! Listings and organisations that stand still.

use actix_web::http::Method;

use super::{SHOWN, WHY, code, documents, input, installed, sign_in, state};
use crate::account::{service as account, team, tokens};
use crate::base::auth::{Actor, Role};
use crate::base::i18n::Lang;
use crate::base::notify::NoticeKind;
use crate::catalog::follows::follow;
use crate::catalog::model::PlanKind;
use crate::fleet::service as fleet;
use crate::stops::model::{Reach, Stop};
use crate::stops::service::{act, preview};
use crate::testing::shop::{license, shop};
use crate::testing::{self, PASSWORD, assert_intact, drain_jobs, each_backend, page};
use crate::trade::model::PlaceOrder;
use crate::{catalog, notice, trade};

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
async fn who_follows_a_scenario_is_told_once_of_an_app_that_comes_back_as_its_first() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let (listing, vendor) = (shop.listing.app_id.as_str(), shop.vendor.organization_id().unwrap());
        let told = async |who: &Actor| {
            drain_jobs(&app).await;
            let inbox = notice::service::inbox(&app, who, None).await.unwrap();
            inbox.iter().filter(|message| message.kind == NoticeKind::ScenarioServed).count()
        };
        for (reader, stop, resume, id) in [
            (&shop.operator, Stop::SuspendListing, Stop::ResumeListing, listing),
            (&testing::operator(&app, "pit").await, Stop::SuspendOrganization, Stop::ResumeOrganization, vendor),
        ] {
            act(&app, &admin, stop, id, WHY).await.unwrap();
            follow(&app, reader, "belt-foreign-object".into(), Lang::En).await.unwrap();
            assert_eq!(told(reader).await, 0);
            // Back, and once more before anybody was told.
            act(&app, &admin, resume, id, "cleared").await.unwrap();
            act(&app, &admin, stop, id, WHY).await.unwrap();
            act(&app, &admin, resume, id, "cleared").await.unwrap();
            assert_eq!((told(reader).await, told(&shop.operator).await), (1, 1));
        }
        // One that comes back hidden, or not yet since its organisation is suspended too, serves nobody.
        let reader = testing::operator(&app, "drift").await;
        catalog::service::set_hidden(&app, &shop.vendor, "belt".into(), true).await.unwrap();
        act(&app, &admin, Stop::SuspendListing, listing, WHY).await.unwrap();
        follow(&app, &reader, "belt-foreign-object".into(), Lang::En).await.unwrap();
        act(&app, &admin, Stop::ResumeListing, listing, "cleared").await.unwrap();
        assert_eq!((state(&app).await.as_str(), told(&reader).await), ("hidden", 0));
        catalog::service::set_hidden(&app, &shop.vendor, "belt".into(), false).await.unwrap();
        act(&app, &admin, Stop::SuspendListing, listing, WHY).await.unwrap();
        act(&app, &admin, Stop::SuspendOrganization, vendor, WHY).await.unwrap();
        act(&app, &admin, Stop::ResumeListing, listing, "cleared").await.unwrap();
        assert_eq!((state(&app).await.as_str(), told(&reader).await), ("suspended", 0));
        act(&app, &admin, Stop::ResumeOrganization, vendor, "cleared").await.unwrap();
        assert_eq!(told(&reader).await, 1);
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
        let secret = team::invite(&app, &other, "owner@mine.example", "member", "10.0.0.1").await.unwrap();
        team::accept_as_known(&app, &secret, PASSWORD.into(), account::Browser::at("10.0.0.1")).await.unwrap();
        let signed_in = sign_in(&app, "owner@mine.example").await.unwrap();
        assert_eq!(signed_in.organization_id(), other.organization_id());
        assert_eq!(code(account::switch_organization(&app, &signed_in, mine).await), "organization-suspended");
    })
    .await;
}
