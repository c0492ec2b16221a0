//! Rows that other slices make in production (app, release, order), for tests of licences and deployments.

#![expect(clippy::missing_panics_doc, reason = "tests")]

use app_package::digest::Digest;
use app_package::manifest::AppManifest;
use diesel::prelude::*;

use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{apps, orders, plans, releases};
use crate::base::db::{Json, Timestamp};
use crate::base::ids;
use crate::catalog::model::PlanKind;
use crate::license::model::{IssueInput, License};
use crate::license::service;
use crate::testing;

/// A vendor with a listed app, and an operator.
#[derive(Clone)]
pub struct Shop {
    pub vendor: Actor,
    pub operator: Actor,
    pub app_id: String,
    pub plan_id: String,
    pub release_id: String,
}

/// The belt detector of the demo, as another version.
pub fn manifest(version: &str) -> AppManifest {
    let text = include_str!("../../demo/apps/belt-foreign-object/app.yaml");
    let mut manifest = app_package::validate::parse(text).unwrap();
    manifest.version = version.parse().unwrap();
    manifest
}

pub async fn shop(app: &App) -> Shop {
    let vendor = testing::vendor(app, "acme").await;
    let operator = testing::operator(app, "mine").await;
    let (app_id, plan_id) = listing(app, &vendor, "belt", false).await;
    let release_id = release(app, &vendor, &app_id, "1.0.0", "published").await;
    Shop { vendor, operator, app_id, plan_id, release_id }
}

/// An app of the vendor with a plan.
pub async fn listing(app: &App, vendor: &Actor, slug: &str, safety: bool) -> (String, String) {
    let (owner, slug, now) = (vendor.organization_id().unwrap().to_owned(), slug.to_owned(), app.clock.now());
    let (app_id, plan_id) = (ids::new("app"), ids::new("pln"));
    app.db
        .write(move |conn| {
            diesel::insert_into(apps::table)
                .values((
                    (
                        apps::id.eq(&app_id),
                        apps::organization_id.eq(owner),
                        apps::slug.eq(slug),
                        apps::title_zh.eq("<script>alert(1)</script>"),
                        apps::title_en.eq("<script>alert(1)</script>"),
                    ),
                    (
                        apps::summary_zh.eq("x"),
                        apps::summary_en.eq("x"),
                        apps::specialty.eq("main-haulage"),
                        apps::scenario.eq("belt-foreign-object"),
                        apps::input.eq("image"),
                    ),
                    (
                        apps::safety.eq(safety),
                        apps::state.eq("listed"),
                        apps::deployments.eq(0i64),
                        apps::created_at.eq(now),
                        apps::updated_at.eq(now),
                    ),
                ))
                .execute(conn)?;
            diesel::insert_into(plans::table)
                .values((
                    plans::id.eq(&plan_id),
                    plans::app_id.eq(&app_id),
                    plans::kind.eq("subscription"),
                    plans::price_fen.eq(100i64),
                    plans::trial_days.eq(0i64),
                    plans::trial_nodes.eq(0i64),
                    plans::active.eq(true),
                    plans::created_at.eq(now),
                ))
                .execute(conn)?;
            Ok((app_id, plan_id))
        })
        .await
        .unwrap()
}

pub async fn release(app: &App, vendor: &Actor, app_id: &str, version: &str, state: &'static str) -> String {
    let (user, app_id, version, now) = (vendor.person().unwrap().user_id.clone(), app_id.to_owned(), version.to_owned(), app.clock.now());
    let id = ids::new("rel");
    let row = id.clone();
    app.db
        .write(move |conn| {
            diesel::insert_into(releases::table)
                .values((
                    releases::id.eq(&row),
                    releases::app_id.eq(&app_id),
                    releases::version.eq(&version),
                    releases::digest.eq(Digest::of(row.as_bytes()).to_string()),
                    releases::manifest.eq(Json::new(manifest(&version))),
                    releases::size_bytes.eq(1i64),
                    releases::state.eq(state),
                    releases::created_by.eq(user),
                    releases::created_at.eq(now),
                    releases::updated_at.eq(now),
                    releases::published_at.eq(Some(now)),
                ))
                .execute(conn)?;
            Ok(())
        })
        .await
        .unwrap();
    id
}

/// Who confirms payments; the same person each time.
async fn finance(app: &App) -> Actor {
    let known = app.db.read(|conn| Ok(crate::account::service::find_user_by_email(conn, "finance@platform.example")?)).await.unwrap();
    let Some(user) = known else { return testing::platform(app, Role::Finance).await };
    let platform = app.db.read(|conn| Ok(crate::account::service::find_organization_by_slug(conn, "platform")?)).await.unwrap().unwrap();
    crate::account::service::actor_for(app, &user.id, &platform.id).await.unwrap()
}

/// A licence of the operator for the shop's app.
pub async fn license(app: &App, shop: &Shop, kind: PlanKind, nodes: i64) -> License {
    license_for(app, shop, &shop.operator, &shop.app_id, &shop.plan_id, kind, nodes).await
}

pub async fn license_for(app: &App, shop: &Shop, operator: &Actor, app_id: &str, plan_id: &str, kind: PlanKind, nodes: i64) -> License {
    let person = operator.person().unwrap().clone();
    let finance = finance(app).await;
    let (settings, now) = (app.settings.license.clone(), app.clock.now());
    let input = IssueInput {
        order_id: ids::new("ord"),
        organization_id: person.organization_id.clone(),
        vendor_id: shop.vendor.organization_id().unwrap().to_owned(),
        app_id: app_id.to_owned(),
        plan_kind: kind,
        trial_days: 7,
        nodes,
    };
    let plan_id = plan_id.to_owned();
    crate::audit::change(app, &finance, move |c| {
        insert_order(c, &input, &plan_id, &person.user_id, now);
        service::issue_in(c, &settings, input.clone())
    })
    .await
    .unwrap()
}

fn insert_order(conn: &mut crate::base::db::Conn, input: &IssueInput, plan_id: &str, user_id: &str, now: Timestamp) {
    diesel::insert_into(orders::table)
        .values((
            (
                orders::id.eq(&input.order_id),
                orders::number.eq(&input.order_id),
                orders::organization_id.eq(&input.organization_id),
                orders::vendor_id.eq(&input.vendor_id),
            ),
            (
                orders::app_id.eq(&input.app_id),
                orders::plan_id.eq(plan_id),
                orders::plan_kind.eq(input.plan_kind.as_str()),
                orders::unit_price_fen.eq(100i64),
            ),
            (
                orders::trial_days.eq(input.trial_days),
                orders::nodes.eq(input.nodes),
                orders::amount_fen.eq(100i64),
                orders::reference.eq(&input.order_id),
            ),
            (orders::state.eq("paid"), orders::placed_by.eq(user_id), orders::placed_at.eq(now), orders::updated_at.eq(now)),
        ))
        .execute(conn)
        .unwrap();
}
