//! Use cases of the catalogue, and what other slices ask of it inside their own transactions.

use app_package::manifest::AppManifest;
use serde_json::json;

use super::model::{AppRow, ListingState, Plan};
use super::pictures;
use super::query::CatalogQuery;
use super::store::{self, Card};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Lang;
use crate::base::ids;
use crate::release::difference::Difference;
use crate::release::model::Release;
use crate::site::parts::chain::{self, ChainLink, Reader};
use crate::trust::evidence::Subject;
use crate::{audit, evaluation, release};

/// What a catalogue page shows.
#[derive(Debug)]
pub struct Found {
    /// Apps of this page.
    pub cards: Vec<Card>,
    /// Their active plans.
    pub plans: Vec<Plan>,
    /// Whether there is a next page.
    pub more: bool,
    /// All that the query finds.
    pub total: i64,
    /// Counts by specialty, scenario, input and plan kind.
    pub facets: [Vec<(String, i64)>; 4],
    /// Specialties in order.
    pub specialties: Vec<(String, String, String)>,
    /// Scenarios in order.
    pub scenarios: Vec<(String, String, String, String)>,
}

/// Searches the catalogue. Open to everyone.
pub async fn search(app: &App, query: CatalogQuery) -> Result<Found> {
    let app_in = app.clone();
    app.db
        .read(move |conn| {
            let hits = if query.q.is_empty() { None } else { Some(app_in.search.find(&query.q)?) };
            let hits = hits.as_deref();
            let (cards, more) = store::list_cards(conn, &query, hits)?;
            let ids: Vec<&str> = cards.iter().map(|(app, _)| app.id.as_str()).collect();
            let plans = store::plans_of(conn, &ids)?;
            let plan_counts = store::plan_facet(conn, &query, hits)?.into_iter().map(|(k, n)| (k.as_str().to_owned(), n)).collect();
            let facets = [
                store::facet(conn, &query, hits, "specialty")?,
                store::facet(conn, &query, hits, "scenario")?,
                store::facet(conn, &query, hits, "input")?,
                plan_counts,
            ];
            let total = store::count_found(conn, &query, hits)?;
            Ok(Found { cards, plans, more, total, facets, specialties: store::specialties(conn)?, scenarios: store::scenarios(conn)? })
        })
        .await
}

/// What the home page shows.
#[derive(Debug)]
pub struct Home {
    /// Newest listings.
    pub newest: Vec<Card>,
    /// Most deployed listings.
    pub deployed: Vec<Card>,
    /// Their plans.
    pub plans: Vec<Plan>,
    /// Specialties with their number of listings.
    pub specialties: Vec<(String, String, String, i64)>,
    /// Developers, products, mines, nodes up.
    pub figures: (i64, i64, i64, i64),
}

/// Reads the home page's data.
pub async fn home(app: &App) -> Result<Home> {
    let up_since = app.clock.now().minus(chrono::TimeDelta::seconds(45));
    app.db
        .read(move |conn| {
            let (mut newest, _) = store::list_cards(conn, &CatalogQuery::default(), None)?;
            newest.truncate(8);
            let (mut deployed, _) = store::list_cards(conn, &CatalogQuery { sort: "deployed".into(), ..CatalogQuery::default() }, None)?;
            deployed.retain(|(app, _)| app.deployments > 0);
            deployed.truncate(4);
            let ids: Vec<&str> = newest.iter().chain(&deployed).map(|(app, _)| app.id.as_str()).collect();
            let plans = store::plans_of(conn, &ids)?;
            let counts = store::counts_by_specialty(conn)?;
            let specialties = store::specialties(conn)?
                .into_iter()
                .map(|(slug, zh, en)| {
                    let n = counts.iter().find(|(s, _)| *s == slug).map_or(0, |(_, n)| *n);
                    (slug, zh, en, n)
                })
                .collect();
            Ok(Home { newest, deployed, plans, specialties, figures: store::figures(conn, up_since)? })
        })
        .await
}

/// Everything on a listing page.
#[derive(Debug)]
pub struct Listing {
    /// The app.
    pub app: AppRow,
    /// Vendor: id, slug, name zh, name en.
    pub vendor: (String, String, String, String),
    /// The release shown.
    pub release: Release,
    /// Its check report.
    pub report: Option<inference::check::CheckReport>,
    /// Its scores on hidden test sets.
    pub scores: Vec<evaluation::service::Shown>,
    /// Pictures: digest and texts.
    pub gallery: Vec<(String, app_package::manifest::Text)>,
    /// The newest releases that buyers have seen, newest first.
    pub releases: Vec<Release>,
    /// The version before the shown one, and what differs.
    pub previous: Option<(String, Difference)>,
    /// Active plans.
    pub plans: Vec<Plan>,
    /// Names of specialty and scenario, zh and en.
    pub words: ((String, String), (String, String)),
    /// The chain for this reader.
    pub chain: Vec<ChainLink>,
    /// Shown before it is listed, to its vendor or a moderator.
    pub preview: bool,
}

impl Listing {
    /// The release shown, to ask for what is attached to it.
    pub fn subject(&self) -> Subject {
        Subject {
            organization_id: self.vendor.0.clone(),
            vendor: self.vendor.1.clone(),
            app: self.app.slug.clone(),
            version: self.release.version.clone(),
            digest: self.release.digest.clone(),
        }
    }
}

/// Reads a listing. What is not listed is seen by its vendor and by those who may see cases, with `preview` naming the release.
///
/// # Errors
/// `listing`.
pub async fn listing(app: &App, actor: &Actor, lang: Lang, vendor: String, slug: String, preview: Option<String>) -> Result<Listing> {
    let (actor, now) = (actor.clone(), app.clock.now());
    app.db
        .read(move |conn| {
            let missing = || Error::not_found("listing");
            let row = store::find_by_slugs(conn, &vendor, &slug)?.ok_or_else(missing)?;
            let own = actor.organization_id() == Some(row.organization_id.as_str());
            let insider = own || policy::require(&actor, Action::ViewCases).is_ok();
            let open = matches!(row.state, ListingState::Listed | ListingState::Hidden);
            if !open && !insider {
                return Err(missing());
            }
            let preview = preview.filter(|_| insider);
            let releases = release::service::shown(conn, &row.id)?;
            let release_id = preview.as_ref().or(row.release_id.as_ref()).ok_or_else(missing)?;
            let shown = release::service::of_app(conn, &row.id, release_id)?.ok_or_else(missing)?;
            let report = release::service::check_report(conn, &shown.id)?;
            let previous = release::lifecycle::compared(conn, &shown, None)?;
            let scores = evaluation::service::shown_in(conn, &row.id, &shown.id, shown.published_at)?;
            let gallery = pictures::gallery(conn, &format!("{vendor}/{slug}"), &shown.digest, &shown.manifest)?;
            let organization = crate::account::store::get_organization(conn, &row.organization_id)?;
            let plans = store::plans_of(conn, &[row.id.as_str()])?;
            let words = words(conn, &row)?;
            let chain = chain::of_release(conn, &Reader::of(&actor, lang, now), &shown.id)?;
            Ok(Listing {
                vendor: (organization.id, organization.slug, organization.name_zh, organization.name_en),
                release: shown,
                preview: preview.is_some(),
                report,
                scores,
                gallery,
                releases,
                previous,
                plans,
                words,
                chain,
                app: row,
            })
        })
        .await
}

fn words(conn: &mut Conn, row: &AppRow) -> Result<((String, String), (String, String))> {
    let specialty =
        store::specialties(conn)?.into_iter().find(|(s, ..)| *s == row.specialty).map(|(_, zh, en)| (zh, en)).unwrap_or_default();
    let scenario =
        store::scenarios(conn)?.into_iter().find(|(s, ..)| *s == row.scenario).map(|(_, _, zh, en)| (zh, en)).unwrap_or_default();
    Ok((specialty, scenario))
}

/// A vendor's public page: the organisation and its listed apps with their plans.
pub async fn vendor_page(app: &App, slug: String) -> Result<(crate::account::model::Organization, Vec<Card>, Vec<Plan>)> {
    app.db
        .read(move |conn| {
            let vendor = crate::account::store::find_organization_by_slug(conn, &slug)?
                .filter(|o| o.kind == OrgKind::Vendor)
                .ok_or_else(|| Error::not_found("organization"))?;
            let cards = store::cards_of_vendor(conn, &vendor.id)?;
            let ids: Vec<&str> = cards.iter().map(|(app, _)| app.id.as_str()).collect();
            let plans = store::plans_of(conn, &ids)?;
            Ok((vendor, cards, plans))
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
    let own: Vec<&str> = all.iter().filter(|(_, of, ..)| of == specialty).map(|(slug, ..)| slug.as_str()).collect();
    if own.is_empty() {
        let known: Vec<String> = store::specialties(conn)?.into_iter().map(|(slug, ..)| slug).collect();
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

/// Makes the highest published release of the best channel the listing's own: texts, cover, state. Called in the transaction that
/// publishes, promotes or deprecates, and that holds the app's row: of two at once the second sees what the first has published. Where
/// nothing is published any more, the listing stays as it is.
pub fn listed_in(c: &mut Change<'_>, app_id: &str) -> Result<()> {
    let now = c.now;
    c.wake_search();
    let app = get_app(c, app_id)?;
    let Some(release) = release::service::latest_published(c, app_id)? else {
        // What is said of its version has changed: pages that are kept must go.
        store::touch(c, app_id, now)?;
        return Ok(());
    };
    store::update_texts(c, &with_texts(app.clone(), &release.manifest, now))?;
    let vendor = crate::account::store::get_organization(c, &app.organization_id)?;
    let repository = format!("{}/{}", vendor.slug, app.slug);
    let cover = pictures::gallery(c, &repository, &release.digest, &release.manifest)?.into_iter().next().map(|(digest, _)| digest);
    store::set_listed(c, app_id, &release.id, cover.as_deref(), now)?;
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
pub fn get_plan(conn: &mut Conn, plan_id: &str) -> Result<Plan> {
    store::get_plan(conn, plan_id).or_not_found("plan")
}

/// Active plans of an app.
pub fn list_plans(conn: &mut Conn, app_id: &str) -> Result<Vec<Plan>> {
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
    let organization_id = policy::require(actor, Action::PublishApps)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        let now = c.now;
        let row = store::find_own(c, &organization_id, &slug)?.ok_or_else(|| Error::not_found("listing"))?;
        let (from, to) = if hidden { (ListingState::Listed, ListingState::Hidden) } else { (ListingState::Hidden, ListingState::Listed) };
        exactly_one(store::set_state(c, &row.id, from, to, now)?, "listing-state")?;
        c.audit(if hidden { "listing.hidden" } else { "listing.shown" }, &row.id, &json!({}));
        c.wake_search();
        Ok(())
    })
    .await
}
