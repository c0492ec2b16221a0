//! Use cases of the catalogue, and what other slices ask of it inside their own transactions.

use app_package::manifest::AppManifest;
use serde_json::json;

use crate::account::model::Organization;
use crate::audit;
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, OrgKind, policy};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;
use crate::catalog::model::{AppName, AppRow, Card, ListingState, PricePlan};
use crate::catalog::{follows, pictures, store};

pub use super::search::{SearchResult, search};
pub use super::store::{app_names, cards_at, counts_by_specialty, find_by_slugs, list_cards, owner, plans_of, scenarios, specialties};

/// What a vendor's public page shows.
pub struct VendorShown {
    pub vendor: Organization,
    /// A page of its listed apps.
    pub cards: Vec<Card>,
    /// Their active plans.
    pub plans: Vec<PricePlan>,
    /// Whether there is a next page.
    pub more: bool,
}

/// A vendor's public page, of the listed apps that follow the one named, or of the first ones.
///
/// # Errors
/// `organization`.
pub fn vendor_page(conn: &mut Conn, slug: &str, after: &str) -> Result<VendorShown> {
    let vendor = crate::account::service::find_organization_by_slug(conn, slug)?
        .filter(|o| o.kind == OrgKind::Vendor)
        .ok_or_else(|| Error::not_found("organization"))?;
    let (cards, more) = store::cards_of_vendor(conn, &vendor.id, after)?;
    let ids: Vec<&str> = cards.iter().map(|card| card.app.id.as_str()).collect();
    let plans = store::plans_of(conn, &ids)?;
    Ok(VendorShown { vendor, cards, plans, more })
}

/// Apps of a developer on one page.
pub const PAGE: i64 = 50;

/// The developer's own apps before an id, newest first, one more than a page; with the short name of the developer and the active plans.
pub async fn list_own(app: &App, actor: &Actor, before: Option<String>) -> Result<(String, Vec<AppRow>, Vec<PricePlan>)> {
    let person = policy::require(actor, Action::ViewOwnApps)?.clone();
    app.db
        .read(move |conn| {
            let rows = store::list_own(conn, &person.organization_id, before.as_deref(), PAGE + 1)?;
            let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            let plans = store::plans_of(conn, &ids)?;
            Ok((person.organization_slug, rows, plans))
        })
        .await
}

/// Makes or updates the app that a release's manifest describes; a listed app keeps its texts until the release is published. Gives
/// the app's id.
///
/// # Errors
/// Those of [`classification_fault`].
pub fn upsert_from_manifest(c: &mut Change<'_>, organization_id: &str, manifest: &AppManifest) -> Result<String> {
    let now = c.now;
    if let Some((_, error)) = classification_fault(c, &manifest.specialty, &manifest.scenario)? {
        return Err(error);
    }
    if let Some(app) = store::find_own(c, organization_id, &manifest.name)? {
        if app.release_id.is_none() {
            store::update_texts(c, &with_texts(app.clone(), manifest, now))?;
        }
        return Ok(app.id);
    }
    let fresh = AppRow {
        id: ids::new("app"),
        organization_id: organization_id.to_owned(),
        slug: manifest.name.clone(),
        title_zh: String::new(),
        title_en: String::new(),
        summary_zh: String::new(),
        summary_en: String::new(),
        specialty: String::new(),
        scenario: String::new(),
        input: String::new(),
        safety: false,
        state: ListingState::Draft,
        release_id: None,
        cover_digest: None,
        deployments: 0,
        listed_at: None,
        created_at: now,
        updated_at: now,
    };
    let app = with_texts(fresh, manifest, now);
    store::insert_app(c, &app).or_conflict("app-exists")?;
    c.audit("app.created", &app.id, &json!({"name": app.slug}));
    Ok(app.id)
}

/// What is wrong with specialty and scenario, with the key of app.yaml and what would be right: `specialty-unknown`, `scenario-unknown`.
pub fn classification_fault(conn: &mut Conn, specialty: &str, scenario: &str) -> Result<Option<(&'static str, Error)>> {
    let all = store::scenarios(conn)?;
    let own: Vec<&str> = all.iter().filter(|s| s.specialty == specialty).map(|s| s.slug.as_str()).collect();
    if own.is_empty() {
        let known: Vec<String> = store::specialties(conn)?.into_iter().map(|specialty| specialty.slug).collect();
        let error = Error::invalid("specialty-unknown").arg("specialty", specialty).arg("known", known.join(", "));
        return Ok(Some(("specialty", error)));
    }
    if own.contains(&scenario) {
        return Ok(None);
    }
    let error = Error::invalid("scenario-unknown").arg("specialty", specialty).arg("scenario", scenario).arg("known", own.join(", "));
    Ok(Some(("scenario", error)))
}

fn with_texts(app: AppRow, manifest: &AppManifest, now: Timestamp) -> AppRow {
    AppRow {
        title_zh: manifest.title.zh.clone(),
        title_en: manifest.title.en.clone(),
        summary_zh: manifest.summary.zh.clone(),
        summary_en: manifest.summary.en.clone(),
        specialty: manifest.specialty.clone(),
        scenario: manifest.scenario.clone(),
        input: manifest.input.as_str().to_owned(),
        safety: manifest.safety,
        updated_at: now,
        ..app
    }
}

/// The release that a listing shows.
pub struct Newest<'a> {
    pub release_id: &'a str,
    /// Digest of its manifest.
    pub digest: &'a str,
    /// Its `app.yaml`.
    pub manifest: &'a AppManifest,
}

/// Makes the listing show a release: texts, cover, state. Where nothing is published any more, the listing stays as it is. Called in a
/// transaction that holds the app's row.
pub fn list_in(c: &mut Change<'_>, app_id: &str, newest: Option<Newest<'_>>) -> Result<()> {
    let now = c.now;
    let app = get_app(c, app_id)?;
    // The version it shows was deprecated or recalled.
    let Some(release) = newest else { return touch_in(c, app_id) };
    c.wake_search();
    store::update_texts(c, &with_texts(app.clone(), release.manifest, now))?;
    let vendor = crate::account::service::get_organization(c, &app.organization_id)?;
    let repository = format!("{}/{}", vendor.slug, app.slug);
    let cover = pictures::gallery(c, &repository, release.digest, release.manifest)?.into_iter().next().map(|(digest, _)| digest);
    store::set_listed(c, app_id, release.release_id, cover.as_deref(), now)?;
    if matches!(app.state, ListingState::Draft | ListingState::InReview | ListingState::Listed) {
        follows::served(c, &release.manifest.scenario)?;
    }
    Ok(())
}

/// Marks an app as changed where something else that its pages show has: this replica and the others look for such marks, and clear the pages
/// that they keep.
pub fn touch_in(c: &mut Change<'_>, app_id: &str) -> Result<()> {
    let now = c.now;
    store::touch(c, app_id, now)?;
    c.wake_search();
    Ok(())
}

/// An app by id.
pub fn get_app(conn: &mut Conn, app_id: &str) -> Result<AppRow> {
    store::find_by_id(conn, app_id)?.ok_or_else(|| Error::not_found("listing"))
}

/// A listed app by the slugs of its address.
pub fn find_listing(conn: &mut Conn, vendor_slug: &str, app_slug: &str) -> Result<AppRow> {
    store::find_by_slugs(conn, vendor_slug, app_slug)?
        .filter(|a| a.state == ListingState::Listed)
        .ok_or_else(|| Error::not_found("listing"))
}

/// A plan by id.
pub fn get_plan(conn: &mut Conn, plan_id: &str) -> Result<PricePlan> {
    store::get_plan(conn, plan_id).or_not_found("plan")
}

/// Active plans of an app.
pub fn list_plans(conn: &mut Conn, app_id: &str) -> Result<Vec<PricePlan>> {
    Ok(store::plans_of(conn, &[app_id])?)
}

/// Counts a deployment of the app, for sorting by use.
pub fn count_deployment(conn: &mut Conn, app_id: &str) -> Result<()> {
    store::count_deployment(conn, app_id)?;
    Ok(())
}

/// Takes a listing of the vendor out of the catalogue, or puts it back.
///
/// # Errors
/// `listing` (not the vendor's), `listing-state`.
pub async fn set_hidden(app: &App, actor: &Actor, slug: String, hidden: bool) -> Result<()> {
    policy::require(actor, Action::PublishApps)?;
    audit::change(app, actor, move |c| set_hidden_in(c, &slug, hidden).map(|_| ())).await
}

/// As [`set_hidden`], in the caller's transaction; gives the app's id.
pub fn set_hidden_in(c: &mut Change<'_>, slug: &str, hidden: bool) -> Result<String> {
    let (vendor, now) = (&policy::require(c.actor, Action::PublishApps)?.organization_id, c.now);
    let row = store::find_own(c, vendor, slug)?.ok_or_else(|| Error::not_found("listing"))?;
    let (from, to) = if hidden { (ListingState::Listed, ListingState::Hidden) } else { (ListingState::Hidden, ListingState::Listed) };
    exactly_one(store::set_state(c, &row.id, from, to, now)?, "listing-state")?;
    c.audit(if hidden { "listing.hidden" } else { "listing.shown" }, &row.id, &json!({}));
    if !hidden {
        follows::served(c, &row.scenario)?;
    }
    c.wake_search();
    Ok(row.id)
}

/// Names of the app of a licence or deployment.
pub fn app_name(conn: &mut Conn, app_id: &str) -> Result<AppName> {
    store::app_name(conn, app_id).or_not_found("license-app")
}
