//! Sites, nodes, deployments and seats.

use chrono::TimeDelta;
use diesel::prelude::*;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Map;

use super::{codes, sorted};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::schema::{activations, deployments, licenses, sites};
use crate::base::error::Result;
use crate::catalog::model::PlanKind;
use crate::fleet::service::{self as fleet, DeployInput};
use crate::license;
use crate::testing::{WRITERS, assert_intact, csr, each_backend_racing, each_backend_with, operator, race, shop};

/// Enrolled nodes on a site of their own.
async fn nodes(app: &App, actor: &Actor, n: usize) -> Vec<String> {
    let site = fleet::create_site(app, actor, &crate::base::ids::new("site")).await.unwrap();
    let mut out = Vec::new();
    for i in 0..n {
        let issued = fleet::create_node(app, actor, &site, &format!("node {i}")).await.unwrap();
        fleet::enroll(app, issued.code, csr(), "1.0.0".into()).await.unwrap();
        out.push(issued.node_id);
    }
    out
}

async fn deploy(app: App, shop: shop::Shop, license_id: String, node_ids: Vec<String>) -> Result<Vec<String>> {
    let input = DeployInput { release_id: shop.listing.release_id.clone(), license_id, node_ids, parameters: Map::new() };
    fleet::deploy(&app, &shop.operator, input).await
}

/// Deployments that are wanted, and seats taken.
async fn wanted_and_seats(app: &App) -> (i64, i64, i64) {
    app.db
        .read(|conn| {
            let wanted = deployments::table.filter(deployments::wanted.eq(true)).count().get_result(conn)?;
            let counted: Vec<i64> = licenses::table.select(licenses::nodes_active).load(conn)?;
            Ok((wanted, activations::table.count().get_result(conn)?, counted.into_iter().sum()))
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn seats_are_never_oversold() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        let license = shop::license(&app, &shop, PlanKind::Subscription, 5).await;
        let nodes = nodes(&app, &shop.operator, WRITERS).await;
        let deployed = race(|n| deploy(app.clone(), shop.clone(), license.id.clone(), vec![nodes[n].clone()])).await;
        assert_eq!(sorted(deployed), (5, codes(&["too-many-nodes"])));
        assert_eq!(wanted_and_seats(&app).await, (5, 5, 5));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_seat_is_not_freed_under_a_deployment() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        for _ in 0..4 {
            let license = shop::license(&app, &shop, PlanKind::Subscription, 1).await;
            let node = nodes(&app, &shop.operator, 1).await.remove(0);
            let (of, on) = (license.id.clone(), node.clone());
            crate::audit::change(&app, &shop.operator, move |c| license::service::activate_in(c, &of, &on)).await.unwrap();
            race(|n| {
                let (app, shop, license, node) = (app.clone(), shop.clone(), license.id.clone(), node.clone());
                async move {
                    if n % 2 == 0 {
                        deploy(app, shop, license, vec![node]).await.is_ok()
                    } else {
                        fleet::release_seat(&app, &shop.operator, license, node).await.is_ok()
                    }
                }
            })
            .await;
            let (wanted, taken, counted) = wanted_and_seats(&app).await;
            assert!(wanted <= taken && taken == counted, "{wanted} wanted by {taken} seats, counted as {counted}");
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_deployed_to_a_node_that_goes() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        for _ in 0..4 {
            let license = shop::license(&app, &shop, PlanKind::Subscription, 1).await;
            let node = nodes(&app, &shop.operator, 1).await.remove(0);
            race(|n| {
                let (app, shop, license, node) = (app.clone(), shop.clone(), license.id.clone(), node.clone());
                async move {
                    if n % 2 == 0 {
                        deploy(app, shop, license, vec![node]).await.is_ok()
                    } else {
                        fleet::remove_node(&app, &shop.operator, &node).await.is_ok()
                    }
                }
            })
            .await;
            assert_eq!(wanted_and_seats(&app).await, (0, 0, 0));
        }
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_code_enrols_one_node() {
    each_backend_racing(|app| async move {
        let mine = operator(&app, "mine").await;
        let site = fleet::create_site(&app, &mine, "一号井").await.unwrap();
        let issued = fleet::create_node(&app, &mine, &site, "node").await.unwrap();
        let enrolled = race(|_| {
            let (app, code) = (app.clone(), issued.code.clone());
            async move { fleet::enroll(&app, code, csr(), "1.0.0".into()).await }
        })
        .await;
        assert_eq!(sorted(enrolled), (1, codes(&["enrollment-code-used"])));
    })
    .await;
}

#[tokio::test]
async fn a_certificate_in_use_is_never_forgotten() {
    each_backend_racing(|app| async move {
        let mine = operator(&app, "mine").await;
        let node = crate::testing::node(&app, &mine).await;
        for _ in 0..8 {
            // So that nodes may renew again.
            app.clock.advance(TimeDelta::hours(4));
            // Renewed, and not used yet.
            let issued = fleet::renew(&app, &node, csr()).await.unwrap().issued;
            let der = CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap();
            let accepted = race(|n| {
                let (app, node, der) = (app.clone(), node.clone(), der.clone());
                async move {
                    if n % 2 == 0 {
                        fleet::NodeCertificate::new(der.to_vec()).authenticate(&app).await.is_ok()
                    } else {
                        // Only some may renew at once.
                        assert!(fleet::renew(&app, &node, csr()).await.err().is_none_or(|e| e.code == "too-many-renewals"));
                        false
                    }
                }
            })
            .await;
            let still = fleet::NodeCertificate::new(der.to_vec()).authenticate(&app).await.is_ok();
            assert_eq!(accepted.contains(&true), still, "who was let in once is let in until a newer certificate is used");
        }
    })
    .await;
}

#[tokio::test]
async fn sites_at_once_stay_within_the_limit() {
    each_backend_racing(|app| async move {
        let owner = operator(&app, "mine").await;
        let make = |name: String| {
            let (app, owner) = (app.clone(), owner.clone());
            async move { fleet::create_site(&app, &owner, &name).await }
        };
        assert_eq!(sorted(race(|_| make("East".into())).await), (1, codes(&["site-name-taken"])));
        let (organization_id, now) = (owner.organization_id().unwrap().to_owned(), app.clock.now());
        app.db
            .write(move |conn| {
                for n in 0..491 {
                    let row = (sites::id.eq(format!("sit_{n}")), sites::organization_id.eq(&organization_id));
                    diesel::insert_into(sites::table)
                        .values((row, sites::name.eq(format!("W{n}")), sites::created_at.eq(now)))
                        .execute(conn)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(sorted(race(|n| make(format!("North {n}"))).await), (8, codes(&["too-many-sites"])));
    })
    .await;
}

#[tokio::test]
async fn nodes_at_once_stay_within_the_limit() {
    let few = |settings: &mut crate::base::config::Settings| {
        settings.database.connections = u32::try_from(WRITERS).unwrap() + 2;
        settings.fleet.max_nodes = 5;
    };
    each_backend_with(few, |app| async move {
        let owner = operator(&app, "mine").await;
        let site = fleet::create_site(&app, &owner, "East").await.unwrap();
        let made = race(|n| {
            let (app, owner, site) = (app.clone(), owner.clone(), site.clone());
            async move { fleet::create_node(&app, &owner, &site, &format!("belt {n}")).await }
        })
        .await;
        assert_eq!(sorted(made), (5, codes(&["too-many-fleet-nodes"])));
        let removed = fleet::node::list_nodes(&app, &owner, None).await.unwrap().remove(0).node.id;
        fleet::remove_node(&app, &owner, &removed).await.unwrap();
        fleet::create_node(&app, &owner, &site, "belt 99").await.unwrap();
    })
    .await;
}
