//! A vendor with listed apps, an operator, and what the operator has bought: all of it made through the services, as people make it. Only
//! the automatic check, which needs ONNX Runtime and a process of its own, is taken as passed.

#![expect(clippy::missing_panics_doc, reason = "tests")]

use std::collections::BTreeMap;

use app_package::digest::Digest;
use app_package::manifest::AppManifest;
use app_package::oci::{MANIFEST_TYPE, PackedFile, build_manifest, config_json};
use app_package::path::PackagePath;
use app_package::validate;
use diesel::prelude::*;

use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{cases, licenses};
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::catalog::model::PlanKind;
use crate::catalog::plans::{self, PlanForm};
use crate::license::model::License;
use crate::moderation::model::{CaseState, ModerationDecision};
use crate::registry::manifests::Push;
use crate::registry::model::Reference;
use crate::release::model::{Channel, ReleaseState};
use crate::site::vendor::console;
use crate::trade::model::PlaceOrder;
use crate::trade::service::ReceiptInput;
use crate::{license, moderation, registry, release, testing, trade};

/// The demo app that is sold.
pub const APP: &str = "coke-quality";
/// Title of the apps of [`Shop`], in both languages.
pub const HOSTILE_TITLE: &str = "<script>alert(1)</script>";

/// A vendor `acme` with the listed app `belt`, and an operator `mine`.
#[derive(Clone)]
pub struct Shop {
    pub vendor: Actor,
    pub operator: Actor,
    pub listing: Listing,
}

/// A listed app: 1.0.0 is published.
#[derive(Clone)]
pub struct Listing {
    pub app_id: String,
    pub release_id: String,
    /// Digest of the release.
    pub digest: String,
    /// A subscription at 1,280 yuan, a perpetual licence at 12,800, a trial of 14 days on two nodes.
    pub plans: BTreeMap<PlanKind, String>,
}

pub async fn shop(app: &App) -> Shop {
    let vendor = testing::vendor(app, "acme").await;
    let listing = listing(app, &vendor, "belt", false).await;
    Shop { operator: testing::operator(app, "mine").await, vendor, listing }
}

/// The belt detector of the demo under another name, version and class.
pub fn belt(slug: &str, version: &str, safety: bool) -> BTreeMap<String, Vec<u8>> {
    let mut files = testing::demo_app("belt-foreign-object");
    let title = ["主运皮带异物检测", "Foreign objects on the main belt"];
    let yaml = String::from_utf8(files["app.yaml"].clone())
        .unwrap()
        .replacen("\nname: belt-foreign-object\n", &format!("\nname: {slug}\n"), 1)
        .replacen("\nversion: 1.0.0\n", &format!("\nversion: {version}\n"), 1)
        .replacen("\nsafety: false\n", &format!("\nsafety: {safety}\n"), 1)
        .replacen(title[0], &format!("\"{HOSTILE_TITLE}\""), 1)
        .replacen(title[1], &format!("\"{HOSTILE_TITLE}\""), 1);
    files.insert("app.yaml".into(), yaml.into_bytes());
    files
}

/// A version of [`APP`], or of the same app under another name.
fn demo(slug: &str, version: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = testing::demo_app(APP);
    let yaml = String::from_utf8(files["app.yaml"].clone())
        .unwrap()
        .replacen(&format!("\nname: {APP}\n"), &format!("\nname: {slug}\n"), 1)
        .replacen("version: 1.0.0", &format!("version: {version}"), 1);
    files.insert("app.yaml".into(), yaml.into_bytes());
    files
}

/// Stores the files of a package as its vendor and pushes its manifest.
pub async fn push(app: &App, vendor: &Actor, files: &BTreeMap<String, Vec<u8>>) -> Result<AppManifest> {
    let manifest = validate::parse(std::str::from_utf8(&files["app.yaml"]).unwrap()).unwrap();
    let (slug, version) = (&vendor.person().unwrap().organization_slug, manifest.version.to_string());
    let repository = testing::repository(app, vendor, &format!("{slug}/{}", manifest.name)).await;
    for bytes in files.values().chain([&config_json(&manifest)]) {
        registry::service::store_blob_small(app, &repository.id, bytes).await.unwrap();
    }
    let packed: Vec<PackedFile> = files
        .iter()
        .map(|(path, bytes)| PackedFile { path: PackagePath::parse(path).unwrap(), digest: Digest::of(bytes), size: bytes.len() as u64 })
        .collect();
    let bytes = build_manifest(&manifest, slug, &packed).into();
    let push = Push::read(Reference::parse(&version).unwrap(), Vec::new(), MANIFEST_TYPE, bytes).unwrap();
    release::arrival::push(app, vendor, repository, push.into()).await?;
    Ok(manifest)
}

/// Pushes a package, takes its check as passed, and submits it for a channel. Gives release and case.
async fn submit(app: &App, vendor: &Actor, files: &BTreeMap<String, Vec<u8>>, channel: Channel) -> (String, String) {
    let manifest = push(app, vendor, files).await.unwrap();
    let version = manifest.version.to_string();
    let id = console::release_detail(app, vendor, Lang::En, &manifest.name, &version).await.unwrap().release.id;
    let (checked, now) = (id.clone(), app.clock.now());
    app.db.write(move |conn| release::service::mark_in(conn, &checked, &[ReleaseState::Checking], ReleaseState::Ready, now)).await.unwrap();
    moderation::submission::submit(app, vendor, &id, channel).await.unwrap();
    let case = open_case_of(app, &id).await;
    (id, case)
}

/// A version of [`APP`] that waits for a moderator; its release and case.
pub async fn submitted(app: &App, vendor: &Actor, version: &str, channel: Channel) -> (String, String) {
    submitted_as(app, vendor, APP, version, channel).await
}

/// As [`submitted`], of the same app under another name.
pub async fn submitted_as(app: &App, vendor: &Actor, slug: &str, version: &str, channel: Channel) -> (String, String) {
    submit(app, vendor, &demo(slug, version), channel).await
}

pub async fn open_case_of(app: &App, release_id: &str) -> String {
    let open = cases::release_id.eq(release_id.to_owned()).and(cases::state.eq(CaseState::Open));
    app.db.read(move |conn| Ok(cases::table.filter(open).select(cases::id).first(conn)?)).await.unwrap()
}

pub async fn approve(app: &App, case: &str) {
    let moderator = testing::platform(app, Role::Moderator).await;
    moderation::service::decide(app, &moderator, case, ModerationDecision::Approve, "").await.unwrap();
}

/// A listed app of the vendor with its plans.
pub async fn listing(app: &App, vendor: &Actor, slug: &str, safety: bool) -> Listing {
    let (release_id, case) = submit(app, vendor, &belt(slug, "1.0.0", safety), Channel::Stable).await;
    approve(app, &case).await;
    let id = release_id.clone();
    let published = app.db.read(move |conn| release::service::get(conn, &id)).await.unwrap();
    Listing { app_id: published.app_id, release_id, digest: published.digest, plans: offer(app, vendor, slug).await }
}

/// Adds the plans of [`Listing`] to an app.
pub async fn offer(app: &App, vendor: &Actor, slug: &str) -> BTreeMap<PlanKind, String> {
    let mut added = BTreeMap::new();
    for (kind, price) in [(PlanKind::Subscription, "1,280.00"), (PlanKind::Perpetual, "12,800.00"), (PlanKind::Trial, "")] {
        let form = PlanForm { kind: kind.to_string(), price: price.into(), trial_days: "14".into(), trial_nodes: "2".into() };
        added.insert(kind, plans::add(app, vendor, slug.to_owned(), &form).await.unwrap());
    }
    added
}

/// Publishes a further version of the app `belt`; its release.
pub async fn publish(app: &App, shop: &Shop, version: &str) -> String {
    let (release_id, case) = submit(app, &shop.vendor, &belt("belt", version, false), Channel::Stable).await;
    approve(app, &case).await;
    release_id
}

/// A version of the app `belt` that waits for a moderator; its release.
pub async fn draft(app: &App, shop: &Shop, version: &str) -> String {
    submit(app, &shop.vendor, &belt("belt", version, false), Channel::Stable).await.0
}

/// A licence of the operator for the app `belt`: ordered, paid and delivered.
pub async fn license(app: &App, shop: &Shop, kind: PlanKind, nodes: i64) -> License {
    license_for(app, &shop.operator, &shop.listing, kind, nodes).await
}

/// The same for another app or operator. Each order has a buyer of its own: the same person ordering the same twice within seconds is a
/// double click.
pub async fn license_for(app: &App, operator: &Actor, listing: &Listing, kind: PlanKind, nodes: i64) -> License {
    let email = format!("{}@mine.example", crate::base::ids::new("buyer").replace('_', "-"));
    let buyer = testing::member(app, operator.organization_id().unwrap(), Role::Owner, &email).await;
    let order = trade::service::place(app, &buyer, PlaceOrder { plan_id: listing.plans[&kind].clone(), nodes }).await.unwrap();
    let yuan = match kind {
        PlanKind::Subscription => 1_280 * nodes,
        PlanKind::Perpetual => 12_800 * nodes,
        PlanKind::Trial => 0,
    };
    if yuan > 0 {
        let bank_serial = order.replace('_', "-").to_uppercase();
        let receipt = ReceiptInput { amount: yuan.to_string(), bank_serial, payer: "北矿".into(), accept_excess: false };
        trade::service::confirm_payment(app, &testing::platform(app, Role::Finance).await, &order, &receipt).await.unwrap();
    }
    app.db
        .read(move |conn| {
            let id: String = licenses::table.filter(licenses::order_id.eq(order)).select(licenses::id).first(conn)?;
            license::service::get(conn, &id)
        })
        .await
        .unwrap()
}
