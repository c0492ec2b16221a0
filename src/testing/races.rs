//! The races of docs/RACES.md, each with [`WRITERS`] writers at once. On PostgreSQL they meet; on SQLite they stand in line.

use std::collections::BTreeSet;

use bytes::Bytes;
use diesel::prelude::*;
use ed25519_dalek::SigningKey;
use serde_json::Map;

use super::{PASSWORD, WRITERS, assert_intact, csr, each_backend_racing, member, operator, platform, race, repository, shop, vendor};
use crate::account::team;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{
    activations, audit_records, deployments, invitations, licenses, manifests, memberships, orders, payments, plans, releases, sites, tags,
};
use crate::base::error::Result;
use crate::catalog::model::PlanKind;
use crate::catalog::plans::PlanForm;
use crate::fleet::service::{self as fleet, DeployInput};
use crate::license;
use crate::moderation::model::ModerationDecision;
use crate::registry::model::Reference;
use crate::release::lifecycle::DeprecationForm;
use crate::release::model::Channel;
use crate::testing::shop::{APP, approve, offer, submitted};
use crate::trade::model::PlaceOrder;
use crate::trade::service::ReceiptInput;
use crate::{catalog, moderation, registry, release, trade, trust};

/// A listed app with a subscription at 1,280 yuan and a trial; its plans, its vendor, and a mine with a buyer for each writer.
struct Market {
    vendor: Actor,
    buyers: Vec<Actor>,
    finance: Actor,
    subscription: String,
    trial: String,
}

async fn market(app: &App) -> Market {
    let vendor = vendor(app, "acme").await;
    let (_, case) = submitted(app, &vendor, "1.0.0", Channel::Stable).await;
    let plans = offer(app, &vendor, APP).await;
    approve(app, &case).await;
    let mine = operator(app, "mine").await.organization_id().unwrap().to_owned();
    let mut buyers = Vec::new();
    for n in 0..WRITERS {
        buyers.push(member(app, &mine, Role::Owner, &format!("buyer{n}@mine.example")).await);
    }
    Market {
        vendor,
        buyers,
        finance: platform(app, Role::Finance).await,
        subscription: plans[&PlanKind::Subscription].clone(),
        trial: plans[&PlanKind::Trial].clone(),
    }
}

async fn place(app: App, buyer: Actor, plan_id: String) -> Result<String> {
    trade::service::place(&app, &buyer, PlaceOrder { plan_id, nodes: 1 }).await
}

async fn receive(app: App, finance: Actor, order: String, yuan: &str, n: usize) -> Result<trade::service::Receipt> {
    let receipt =
        ReceiptInput { amount: yuan.into(), bank_serial: format!("ICBC-{order}-{n}"), payer: "北矿".into(), accept_excess: false };
    trade::service::confirm_payment(&app, &finance, &order, &ReceiptInput { bank_serial: receipt.bank_serial.replace('_', "-"), ..receipt })
        .await
}

/// How many went through, and the codes of the others.
fn sorted<T>(results: Vec<Result<T>>) -> (usize, BTreeSet<String>) {
    let refused = results.iter().filter_map(|r| r.as_ref().err());
    let codes = refused.map(|e| e.fields.first().map_or(e.code, |f| f.code).to_owned()).collect();
    (results.iter().filter(|r| r.is_ok()).count(), codes)
}

fn codes(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|code| (*code).to_owned()).collect()
}

#[tokio::test]
async fn orders_at_once_get_numbers_without_a_gap() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let made = race(|n| place(app.clone(), market.buyers[n].clone(), market.subscription.clone())).await;
        assert_eq!(sorted(made), (WRITERS, codes(&[])));
        let numbers: BTreeSet<String> =
            app.db.read(|conn| Ok(orders::table.select(orders::number).load(conn)?)).await.unwrap().into_iter().collect();
        let wanted: BTreeSet<String> = (1..=WRITERS).map(|n| format!("PH-20260101-{n:04}")).collect();
        assert_eq!(numbers, wanted);
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn of_many_trials_at_once_one_is_given() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let made = race(|n| place(app.clone(), market.buyers[n].clone(), market.trial.clone())).await;
        assert_eq!(sorted(made), (1, codes(&["trial-used"])));
        let issued: i64 = app.db.read(|conn| Ok(licenses::table.count().get_result(conn)?)).await.unwrap();
        assert_eq!(issued, 1);
    })
    .await;
}

#[tokio::test]
async fn of_many_clicks_one_order_comes() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let made = race(|_| place(app.clone(), market.buyers[0].clone(), market.subscription.clone())).await;
        let ids: BTreeSet<String> = made.into_iter().map(Result::unwrap).collect();
        assert_eq!(ids.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn receipts_at_once_pay_an_order_once() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let order = place(app.clone(), market.buyers[0].clone(), market.subscription.clone()).await.unwrap();
        // Together they are exactly what is owed.
        let booked = race(|n| receive(app.clone(), market.finance.clone(), order.clone(), "80", n)).await;
        assert_eq!(sorted(booked), (WRITERS, codes(&[])));
        let id = order.clone();
        let (state, issued): (String, i64) = app
            .db
            .read(move |conn| {
                let state = orders::table.find(&id).select(orders::state).first(conn)?;
                Ok((state, licenses::table.filter(licenses::order_id.eq(&id)).count().get_result(conn)?))
            })
            .await
            .unwrap();
        assert_eq!((state.as_str(), issued), ("delivered", 1));
        // Each alone is all that is owed: one is booked.
        let order = place(app.clone(), market.buyers[1].clone(), market.subscription.clone()).await.unwrap();
        let booked = race(|n| receive(app.clone(), market.finance.clone(), order.clone(), "1280", n)).await;
        assert_eq!(sorted(booked), (1, codes(&["order-not-awaiting-payment"])));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn an_order_is_called_off_or_paid_never_both() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        for round in 0..4 {
            let buyer = market.buyers[round].clone();
            let order = place(app.clone(), buyer.clone(), market.subscription.clone()).await.unwrap();
            race(|n| {
                let (app, buyer, finance, order) = (app.clone(), buyer.clone(), market.finance.clone(), order.clone());
                async move {
                    if n % 2 == 0 {
                        trade::cancel::by_buyer(&app, &buyer, &order).await.is_ok()
                    } else {
                        receive(app, finance, order, "10", n).await.is_ok()
                    }
                }
            })
            .await;
            let (state, came): (String, i64) = app
                .db
                .read(move |conn| {
                    let state = orders::table.find(&order).select(orders::state).first(conn)?;
                    Ok((state, payments::table.filter(payments::order_id.eq(&order)).count().get_result(conn)?))
                })
                .await
                .unwrap();
            assert_eq!(state == "cancelled", came == 0, "{state} with {came} receipts");
        }
    })
    .await;
}

#[tokio::test]
async fn plans_at_once_are_counted() {
    each_backend_racing(|app| async move {
        let market = market(&app).await;
        let add = |price: String| {
            let (app, vendor) = (app.clone(), market.vendor.clone());
            let form = PlanForm { kind: "subscription".into(), price, ..PlanForm::default() };
            async move { catalog::plans::add(&app, &vendor, APP.into(), &form).await }
        };
        assert_eq!(sorted(race(|_| add("99".into())).await), (1, codes(&["plan-exists"])));
        let (_, refused) = sorted(race(|n| add(format!("{}", 100 + n))).await);
        assert_eq!(refused, codes(&["too-many-plans"]));
        let active: i64 = app.db.read(|conn| Ok(plans::table.filter(plans::active.eq(true)).count().get_result(conn)?)).await.unwrap();
        assert_eq!(active, 12);
    })
    .await;
}

#[tokio::test]
async fn of_releases_published_at_once_the_highest_is_shown() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        let moderator = platform(&app, Role::Moderator).await;
        let mut cases = Vec::new();
        for version in ["1.7.0", "1.0.0", "1.2.0", "1.5.0", "1.6.0", "1.1.0", "1.3.0", "1.4.0"] {
            cases.push(submitted(&app, &acme, version, Channel::Stable).await.1);
        }
        // Two at each case, of whom one decides.
        let decided = race(|n| {
            let (app, moderator, case) = (app.clone(), moderator.clone(), cases[n % cases.len()].clone());
            async move { moderation::service::decide(&app, &moderator, &case, ModerationDecision::Approve, "").await }
        })
        .await;
        assert_eq!(sorted(decided), (8, codes(&["case-decided"])));
        let shown: String = app
            .db
            .read(|conn| {
                let listed = catalog::service::find_listing(conn, "acme", APP)?;
                Ok(releases::table.find(listed.release_id.unwrap()).select(releases::version).first(conn)?)
            })
            .await
            .unwrap();
        assert_eq!(shown, "1.7.0");
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_manifest_is_deleted_or_checked_never_both() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
            let (id, _) = submitted(&app, &acme, version, Channel::Stable).await;
            let failed = id.clone();
            let digest: String = app
                .db
                .write(move |conn| {
                    diesel::update(releases::table.find(&failed)).set(releases::state.eq("failed")).execute(conn)?;
                    diesel::update(manifests::table).set(manifests::visibility.eq("private")).execute(conn)?;
                    Ok(releases::table.find(&failed).select(releases::digest).first(conn)?)
                })
                .await
                .unwrap();
            race(|n| {
                let (app, acme, id, digest) = (app.clone(), acme.clone(), id.clone(), digest.clone());
                async move {
                    if n % 2 == 0 {
                        release::service::recheck(&app, &acme, &id).await.is_ok()
                    } else {
                        let repository = repository(&app, &acme, &format!("acme/{APP}")).await;
                        registry::manifests::delete(&app, &acme, repository, Reference::parse(&digest).unwrap()).await.is_ok()
                    }
                }
            })
            .await;
            let (state, stored): (String, i64) = app
                .db
                .read(move |conn| {
                    let state = releases::table.find(&id).select(releases::state).first(conn)?;
                    Ok((state, manifests::table.filter(manifests::digest.eq(&digest)).count().get_result(conn)?))
                })
                .await
                .unwrap();
            assert_eq!(state == "checking", stored == 1, "{state} with {stored} manifests");
        }
    })
    .await;
}

#[tokio::test]
async fn of_those_who_remove_each_other_some_stay() {
    each_backend_racing(|app| async move {
        let owner = operator(&app, "mine").await;
        let organization = owner.organization_id().unwrap().to_owned();
        let mut ring = Vec::new();
        for n in 0..WRITERS {
            ring.push(member(&app, &organization, Role::Owner, &format!("owner{n}@mine.example")).await);
        }
        let removed = race(|n| {
            let (app, who, whom) = (app.clone(), ring[n].clone(), ring[n ^ 1].person().unwrap().user_id.clone());
            async move { team::remove(&app, &who, whom).await }
        })
        .await;
        // Two by two they remove each other: of each pair one goes.
        let done = removed.iter().filter(|r| r.is_ok()).count();
        assert!(removed.chunks(2).all(|pair| pair.iter().filter(|r| r.is_ok()).count() == 1));
        let left: i64 = app
            .db
            .read(move |conn| Ok(memberships::table.filter(memberships::organization_id.eq(organization)).count().get_result(conn)?))
            .await
            .unwrap();
        assert_eq!(usize::try_from(left).unwrap(), WRITERS + 1 - done);
    })
    .await;
}

#[tokio::test]
async fn an_address_has_one_open_invitation_that_is_accepted_once() {
    each_backend_racing(|app| async move {
        let owner = operator(&app, "mine").await;
        let sent = race(|_| {
            let (app, owner) = (app.clone(), owner.clone());
            async move { team::invite(&app, &owner, "new@mine.example", "member").await }
        })
        .await;
        let secrets: Vec<String> = sent.into_iter().map(Result::unwrap).collect();
        let open: i64 =
            app.db.read(|conn| Ok(invitations::table.filter(invitations::revoked_at.is_null()).count().get_result(conn)?)).await.unwrap();
        assert_eq!(open, 1);
        let mut good = Vec::new();
        for secret in secrets {
            if team::find_invitation(&app, &secret).await.is_ok() {
                good.push(secret);
            }
        }
        let [secret] = good.as_slice() else { panic!("not one is open") };
        let accepted = race(|_| {
            let (app, secret) = (app.clone(), secret.clone());
            async move { team::accept(&app, &secret, "New", PASSWORD.into(), "10.0.0.9").await }
        })
        .await;
        assert_eq!(accepted.into_iter().flatten().count(), 1);
        assert_eq!(team::list(&app, &owner).await.unwrap().0.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn keys_at_once_stay_within_the_limit() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        let added = race(|n| {
            let (app, acme) = (app.clone(), acme.clone());
            let key = SigningKey::from_bytes(&[u8::try_from(n).unwrap() + 1; 32]);
            async move { trust::service::add(&app, &acme, "key", &app_package::public_key::to_pem(&key.verifying_key())).await }
        })
        .await;
        assert_eq!(sorted(added), (trust::model::MAX_ACTIVE, codes(&["too-many-keys"])));
        let id = trust::service::list(&app, &acme).await.unwrap()[0].id.clone();
        let revoked = race(|_| {
            let (app, acme, id) = (app.clone(), acme.clone(), id.clone());
            async move { trust::service::revoke(&app, &acme, id).await }
        })
        .await;
        assert_eq!(sorted(revoked), (1, codes(&["key-over"])));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn test_sets_at_once_stay_within_the_limit() {
    each_backend_racing(|app| async move {
        let administrator = platform(&app, Role::Administrator).await;
        let made = race(|_| {
            let (app, administrator) = (app.clone(), administrator.clone());
            async move {
                let archive = crate::evaluation::tests::archive();
                let pieces = vec![Ok::<_, std::io::Error>(Bytes::from(archive))];
                let form = crate::evaluation::tests::form();
                crate::evaluation::service::create(&app, &administrator, &form, futures_util::stream::iter(pieces)).await
            }
        })
        .await;
        assert_eq!(sorted(made), (5, codes(&["too-many-sets"])));
    })
    .await;
}

/// Enrolled nodes on a site of their own.
async fn nodes(app: &App, actor: &Actor, n: usize) -> Vec<String> {
    let site = fleet::create_site(app, actor, "一号井").await.unwrap();
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
            let node = fleet_node(&app, &shop).await;
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

/// A new enrolled node.
async fn fleet_node(app: &App, shop: &shop::Shop) -> String {
    let site = fleet::create_site(app, &shop.operator, &crate::base::ids::new("site")).await.unwrap();
    let issued = fleet::create_node(app, &shop.operator, &site, "node").await.unwrap();
    fleet::enroll(app, issued.code, csr(), "1.0.0".into()).await.unwrap();
    issued.node_id
}

#[tokio::test]
async fn nothing_is_deployed_to_a_node_that_goes() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        for _ in 0..4 {
            let license = shop::license(&app, &shop, PlanKind::Subscription, 1).await;
            let node = fleet_node(&app, &shop).await;
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
async fn a_version_received_twice_is_one_release() {
    each_backend_racing(|app| async move {
        let acme = vendor(&app, "acme").await;
        // Two packages of one version: safety class or not.
        let came = race(|n| {
            let (app, acme) = (app.clone(), acme.clone());
            async move { shop::push(&app, &acme, &shop::belt("belt", "1.0.0", n % 2 == 0)).await }
        })
        .await;
        let (taken, refused) = sorted(came);
        assert!(
            taken >= 1 && refused.is_subset(&codes(&["manifest-busy", "tag-immutable", "release-version-taken", "database-busy"])),
            "{refused:?}"
        );
        let (kept, tagged, received): (Vec<String>, Vec<String>, i64) = app
            .db
            .read(|conn| {
                let received = audit_records::table.filter(audit_records::action.eq("release.received")).count();
                Ok((
                    releases::table.select(releases::digest).load(conn)?,
                    tags::table.select(tags::digest).load(conn)?,
                    received.get_result(conn)?,
                ))
            })
            .await
            .unwrap();
        assert_eq!((kept.len(), &tagged, received), (1, &kept, 1));
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn no_two_versions_name_each_other_as_successor() {
    each_backend_racing(|app| async move {
        let shop = shop::shop(&app).await;
        let versions = [("1.0.0", shop.listing.release_id.clone()), ("1.1.0", shop::publish(&app, &shop, "1.1.0").await)];
        let done = race(|n| {
            let (app, vendor) = (app.clone(), shop.vendor.clone());
            let ((_, id), (successor, _)) = (versions[n % 2].clone(), versions[(n + 1) % 2].clone());
            let form =
                DeprecationForm { message_en: "Take the other one.".into(), successor: successor.into(), ..DeprecationForm::default() };
            async move { release::lifecycle::deprecate(&app, &vendor, &id, &form).await }
        })
        .await;
        assert_eq!(sorted(done).0, 1);
        let left: i64 =
            app.db.read(|conn| Ok(releases::table.filter(releases::state.eq("published")).count().get_result(conn)?)).await.unwrap();
        assert_eq!(left, 1);
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
