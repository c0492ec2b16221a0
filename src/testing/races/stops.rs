//! Stops against what they stop.

use diesel::prelude::*;
use serde_json::{Map, Value};

use super::{codes, sorted};
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{apps, audit_records, deployments, organizations, users};
use crate::catalog::model::PlanKind;
use crate::fleet::service::{self as fleet, DeployInput};
use crate::stops::model::Stop;
use crate::stops::service as stops;
use crate::testing::{WRITERS, assert_intact, csr, each_backend_racing, member, platform, race, shop};

#[tokio::test]
async fn a_recall_counts_every_deployment_that_came_before_it() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        let moderator = platform(&app, Role::Moderator).await;
        let license = shop::license(&app, &shop, PlanKind::Subscription, i64::try_from(WRITERS).unwrap()).await;
        let site = fleet::create_site(&app, &shop.operator, "一号井").await.unwrap();
        let mut nodes = Vec::new();
        for n in 0..WRITERS {
            let issued = fleet::create_node(&app, &shop.operator, &site, &format!("node {n}")).await.unwrap();
            fleet::enroll(&app, issued.code, csr(), "1.0.0".into()).await.unwrap();
            nodes.push(issued.node_id);
        }
        let done = race(|n| {
            let (app, shop, license_id, node_id) = (app.clone(), shop.clone(), license.id.clone(), nodes[n].clone());
            let moderator = moderator.clone();
            async move {
                let release_id = shop.listing.release_id.clone();
                if n == WRITERS / 2 {
                    return stops::act(&app, &moderator, Stop::RecallRelease, &release_id, "misses smoke").await.map(|_| ());
                }
                let input = DeployInput { release_id, license_id, node_ids: vec![node_id], parameters: Map::new() };
                fleet::deploy(&app, &shop.operator, input).await.map(|_| ())
            }
        })
        .await;
        assert!(done[WRITERS / 2].is_ok());
        let (through, refused) = sorted(done);
        assert!(refused.is_subset(&codes(&["release-recalled"])), "{refused:?}");
        let (there, detail): (i64, String) = app
            .db
            .read(|conn| {
                let recalled = audit_records::table.filter(audit_records::action.eq("release.recalled"));
                Ok((deployments::table.count().get_result(conn)?, recalled.select(audit_records::detail).first(conn)?))
            })
            .await
            .unwrap();
        let counted = serde_json::from_str::<Value>(&detail).unwrap()["deployments"].as_i64().unwrap_or(0);
        assert_eq!((usize::try_from(there).unwrap(), counted), (through - 1, there));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn of_administrators_who_disable_each_other_one_stays() {
    each_backend_racing(|app| async move {
        let first = platform(&app, Role::Administrator).await;
        let organization = first.organization_id().unwrap().to_owned();
        let mut ring: Vec<Actor> = Vec::new();
        for n in 0..WRITERS {
            ring.push(member(&app, &organization, Role::Administrator, &format!("admin{n}@platform.example")).await);
        }
        // Each disables the next one in a ring: who was disabled disables nobody.
        let disabled = race(|n| {
            let (app, who, whom) = (app.clone(), ring[n].clone(), ring[(n + 1) % WRITERS].person().unwrap().user_id.clone());
            async move { stops::act(&app, &who, Stop::DisablePerson, &whom, "left").await }
        })
        .await;
        let (through, refused) = sorted(disabled);
        assert!(through >= 1 && refused.is_subset(&codes(&["not-permitted"])), "{through} {refused:?}");
        let left: i64 = app.db.read(|conn| Ok(users::table.filter(users::disabled_at.is_null()).count().get_result(conn)?)).await.unwrap();
        // With the owner whom the platform was made with.
        assert_eq!(usize::try_from(left).unwrap(), users_of(&app).await - through);
        assert!(left >= 1);
    })
    .await;
}

async fn users_of(app: &crate::base::app::App) -> usize {
    let all: i64 = app.db.read(|conn| Ok(users::table.count().get_result(conn)?)).await.unwrap();
    usize::try_from(all).unwrap()
}

#[tokio::test]
async fn no_listing_goes_on_under_a_suspended_organisation() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        let admin = platform(&app, Role::Administrator).await;
        let vendor = shop.vendor.organization_id().unwrap().to_owned();
        for _ in 0..4 {
            stops::act(&app, &admin, Stop::SuspendListing, &shop.listing.app_id, "unclear texts").await.unwrap();
            let done = race(|n| {
                let (app, admin, vendor, listing) = (app.clone(), admin.clone(), vendor.clone(), shop.listing.app_id.clone());
                async move {
                    if n % 2 == 0 {
                        stops::act(&app, &admin, Stop::ResumeListing, &listing, "texts are clear").await.is_ok()
                    } else {
                        stops::act(&app, &admin, Stop::SuspendOrganization, &vendor, "fraud").await.is_ok()
                    }
                }
            })
            .await;
            assert_eq!(done.iter().filter(|done| **done).count(), 2, "one of each");
            let state: String = app.db.read(|conn| Ok(apps::table.select(apps::state).first(conn)?)).await.unwrap();
            assert_eq!(state, "suspended");
            stops::act(&app, &admin, Stop::ResumeOrganization, &vendor, "cleared").await.unwrap();
            let (state, suspended): (String, i64) = app
                .db
                .read(|conn| {
                    let held = organizations::table.filter(organizations::suspended_at.is_not_null());
                    Ok((apps::table.select(apps::state).first(conn)?, held.count().get_result(conn)?))
                })
                .await
                .unwrap();
            assert_eq!((state.as_str(), suspended), ("listed", 0));
        }
        assert_intact(&app).await;
    })
    .await;
}
