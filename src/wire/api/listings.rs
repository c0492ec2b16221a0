//! Listings: the catalogue, open to everyone, and the developer's own apps.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::once::{Asked, answer, once};
use super::{Before, Both, Listed, Made, words};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::Action;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::catalog::model::{AppRow, ListingState, PlanKind, PricePlan};
use crate::catalog::query::CatalogQuery;
use crate::catalog::service;
use crate::http::api::{ApiResult, tagged};
use crate::http::extract::ApiQuery;
use crate::release;
use crate::release::model::{Channel, Release, ReleaseState};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/listings", web::get().to(list))
        .route("/api/v1/listings/{vendor}/{app}", web::get().to(show))
        .route("/api/v1/own/listings", web::get().to(own))
        .route("/api/v1/own/listings/{app}/hidden", web::post().to(hide));
}

/// What to look for; a value that nothing has finds nothing.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct Wanted {
    /// Words.
    pub q: String,
    /// Slug of a specialty.
    pub specialty: String,
    /// Slug of a scenario.
    pub scenario: String,
    /// Kind of input.
    pub input: String,
    /// Kind of plan.
    pub plan: String,
    /// `fit` (with `q`, where it is the default), `new` (the default without `q`) or `deployed`.
    pub sort: String,
    /// Id of the last app of the page before.
    pub after: String,
}

/// An app.
#[derive(Serialize, ToSchema)]
pub struct Listing {
    pub id: String,
    /// Name of its repository, `vendor/app`.
    pub name: String,
    pub title: Both,
    pub summary: Both,
    pub specialty: String,
    pub scenario: String,
    pub input: String,
    /// Whether it raises alarms that protect people.
    pub safety: bool,
    #[schema(schema_with = words::listing_state)]
    pub state: ListingState,
    /// Newest published release.
    pub release: Option<String>,
    /// When it was first listed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub listed_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// What can be ordered.
    pub plans: Vec<Plan>,
}

impl Listing {
    fn of(vendor: &str, app: AppRow, plans: &[PricePlan]) -> Self {
        Self {
            name: format!("{vendor}/{}", app.slug),
            title: Both::of(app.title_zh, app.title_en),
            summary: Both::of(app.summary_zh, app.summary_en),
            specialty: app.specialty,
            scenario: app.scenario,
            input: app.input,
            safety: app.safety,
            state: app.state,
            release: app.release_id,
            listed_at: app.listed_at,
            updated_at: app.updated_at,
            plans: plans.iter().filter(|plan| plan.app_id == app.id).map(Plan::of).collect(),
            id: app.id,
        }
    }
}

/// A page of what was looked for.
#[derive(Serialize, ToSchema)]
pub struct Matches {
    #[serde(flatten)]
    pub page: Listed<Listing>,
    /// Nothing has all of the words: these are near.
    pub near: bool,
}

/// How an app is paid for.
#[derive(Serialize, ToSchema)]
pub struct Plan {
    pub id: String,
    #[schema(schema_with = words::plan_kind)]
    pub kind: PlanKind,
    /// Price in fen per node (and year, for a subscription).
    pub price_fen: i64,
    /// Days of a trial.
    pub trial_days: i64,
    /// Most nodes of a trial.
    pub trial_nodes: i64,
}

impl Plan {
    fn of(plan: &PricePlan) -> Self {
        Self { id: plan.id.clone(), kind: plan.kind, price_fen: plan.price_fen, trial_days: plan.trial_days, trial_nodes: plan.trial_nodes }
    }
}

/// A version that buyers have seen.
#[derive(Serialize, ToSchema)]
#[allow(clippy::struct_field_names, reason = "the words of the API")]
pub struct Version {
    /// Id of the release.
    pub id: String,
    pub version: String,
    /// Digest of the OCI manifest.
    pub digest: String,
    #[schema(schema_with = words::release_state)]
    pub state: ReleaseState,
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub published_at: Option<Timestamp>,
    /// Why the platform has recalled it.
    pub recalled: Option<String>,
}

impl Version {
    fn of(release: Release) -> Self {
        Self {
            id: release.id,
            version: release.version,
            digest: release.digest,
            state: release.state,
            channel: release.channel,
            published_at: release.published_at,
            recalled: release.recall.map(|recall| recall.into_inner().reason),
        }
    }
}

/// A listing with its versions.
#[derive(Serialize, ToSchema)]
pub struct ListingDetail {
    #[serde(flatten)]
    pub shown: Listing,
    /// The newest 50 versions, newest first.
    pub versions: Vec<Version>,
}

/// Apps of the catalogue
#[utoipa::path(get, path = "/api/v1/listings", tag = "listings", params(Wanted), security(()),
    responses((status = 200, description = "A page of listings", body = Matches)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, query: ApiQuery<Wanted>) -> ApiResult {
    let Wanted { q, specialty, scenario, input, plan, sort, after } = query.0;
    let query = CatalogQuery { q, specialty, scenario, input, plan, sort, after }.bounded();
    let (handle, wanted) = ((**app).clone(), query.clone());
    let found = app.db.read(move |conn| service::search(conn, &handle, &wanted)).await?;
    let last = found.cards.last().filter(|_| found.more).map(|card| card.app.id.clone());
    let next = last.map(|id| query.with("after", &id).replacen("/apps", "/api/v1/listings", 1));
    let items = found.cards.into_iter().map(|card| Listing::of(&card.vendor.slug, card.app, &found.plans)).collect();
    tagged(&req, &Matches { page: Listed { items, next }, near: found.near })
}

/// A listed app with its plans and versions
#[utoipa::path(get, path = "/api/v1/listings/{vendor}/{app}", tag = "listings", security(()),
    params(("vendor" = String, Path, description = "Short name of the developer"), ("app" = String, Path, description = "Short name of the app")),
    responses((status = 200, description = "The listing", body = ListingDetail)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, path: Path<(String, String)>) -> ApiResult {
    let (vendor, slug) = path.into_inner();
    let read = move |conn: &mut Conn| -> Result<ListingDetail> {
        let row = service::find_listing(conn, &vendor, &slug)?;
        let (newest, _) = release::service::shown(conn, &row.id)?;
        let versions = newest.into_iter().map(Version::of).collect();
        let plans = service::list_plans(conn, &row.id)?;
        Ok(ListingDetail { shown: Listing::of(&vendor, row, &plans), versions })
    };
    tagged(&req, &app.db.read(read).await?)
}

/// The developer's own apps, whatever their state
#[utoipa::path(get, path = "/api/v1/own/listings", tag = "listings", params(Before),
    responses((status = 200, description = "A page of apps", body = Listed<Listing>)))]
pub(super) async fn own(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Before>) -> ApiResult {
    let (vendor, rows, plans) = service::list_own(&app, &actor, query.0.before).await?;
    tagged(&req, &Listed::of(rows, service::PAGE, "/api/v1/own/listings", |row| row.id.clone(), |row| Listing::of(&vendor, row, &plans)))
}

/// Whether the catalogue leaves an app out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Visibility {
    /// Take it out of the catalogue, or put it back.
    pub hidden: bool,
}

/// Takes an own app out of the catalogue, or puts it back
///
/// Who has bought a hidden app keeps it.
#[utoipa::path(post, path = "/api/v1/own/listings/{app}/hidden", tag = "listings", request_body = Visibility,
    params(
        ("app" = String, Path, description = "Short name of the app"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for an order"),
    ),
    responses((status = 200, description = "It is done", body = Made)))]
pub(super) async fn hide(app: Data<App>, actor: Actor, slug: Path<String>, asked: Asked<Visibility>) -> ApiResult {
    let (slug, Visibility { hidden }) = (slug.into_inner(), asked.input);
    let hide = move |c: &mut Change<'_>| {
        let id = service::set_hidden_in(c, &slug, hidden)?;
        answer(StatusCode::OK, &Made { id })
    };
    once(&app, &actor, Action::PublishApps, asked.key, hide).await
}
