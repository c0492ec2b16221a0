//! Routes of the catalogue.

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::compare;
use super::compare_views::ComparePage;
use super::pictures::{self, Picture};
use super::plans::{self, PlanForm};
use super::query::CatalogQuery;
use super::service;
use super::views::{AppCard, CataloguePage, Facet, FacetValue, HomePage, ListingPage, PlansPage, SpecialtyCount, VendorPage, plan_card};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, lang_of, see_other_with};
use crate::trade;
use crate::trust;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/", web::get().to(home))
        .route("/apps", web::get().to(catalogue))
        .route("/compare", web::get().to(compare))
        .route("/apps/{vendor}/{app}", web::get().to(listing))
        .route("/vendors/{slug}", web::get().to(vendor))
        .route("/media/{vendor}/{app}/{digest}", web::get().to(picture))
        .route("/media/{vendor}/{app}/{digest}/small", web::get().to(small_picture))
        .route("/vendor/apps/{slug}/plans", web::get().to(plans_page))
        .route("/vendor/apps/{slug}/plans", web::post().to(add_plan))
        .route("/vendor/apps/{slug}/plans/retire", web::post().to(retire_plan))
        .route("/vendor/apps/{slug}/visibility", web::post().to(visibility));
}

/// A page for everyone: from the cache where nobody is signed in and nothing is to be said once.
async fn cached<F>(req: &HttpRequest, app: &App, actor: &Actor, make: F) -> PageResult
where
    F: AsyncFnOnce() -> PageResult,
{
    let plain =
        matches!(actor, Actor::Anonymous) && cookies::read(req, cookies::FLASH).is_none() && cookies::read(req, cookies::CSRF).is_none();
    if !plain {
        return make().await;
    }
    let theme = cookies::read(req, cookies::THEME).unwrap_or_default();
    let key = format!("{}|{theme}|{}", lang_of(req).tag(), req.uri());
    let html = |body: Bytes| {
        HttpResponse::Ok().content_type("text/html; charset=utf-8").insert_header((header::VARY, "Cookie, Accept-Language")).body(body)
    };
    if let Some(body) = app.pages.get(&key) {
        return Ok(html(body));
    }
    let generation = app.pages.generation();
    let response = make().await?;
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let body = actix_web::body::to_bytes(response.into_body()).await.map_err(|e| Error::internal(anyhow::anyhow!("page body: {e}")))?;
    app.pages.put(generation, key, body.clone());
    Ok(html(body))
}

async fn home(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    cached(&req, &app, &actor, async || {
        let page = Page::of(&req, "home-title");
        let found = service::home(&app).await?;
        let names: Vec<(String, String, String)> =
            found.specialties.iter().map(|(s, zh, en, _)| (s.clone(), zh.clone(), en.clone())).collect();
        let card = |c| AppCard::of(&page, c, &found.plans, &names);
        let view = HomePage {
            newest: found.newest.iter().map(card).collect(),
            deployed: found.deployed.iter().map(card).collect(),
            specialties: found
                .specialties
                .into_iter()
                .map(|(slug, zh, en, count)| SpecialtyCount { name: page.pick(&zh, &en).to_owned(), slug, count, selected: false })
                .collect(),
            figures: found.figures,
            page: page.clone(),
        };
        page.render(&view)
    })
    .await
}

async fn catalogue(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<CatalogQuery>) -> PageResult {
    cached(&req, &app, &actor, async || {
        let query = query.into_inner().bounded();
        let page = Page::of(&req, "catalogue-title");
        let found = service::search(&app, query.clone()).await?;
        let cards = found.cards.iter().map(|c| AppCard::of(&page, c, &found.plans, &found.specialties)).collect();
        let [by_specialty, by_scenario, by_input, by_plan] = &found.facets;
        let count = |counts: &[(String, i64)], value: &str| counts.iter().find(|(v, _)| v == value).map_or(0, |(_, n)| *n);
        let specialties = found
            .specialties
            .iter()
            .map(|(slug, zh, en)| SpecialtyCount {
                slug: slug.clone(),
                name: page.pick(zh, en).to_owned(),
                count: count(by_specialty, slug),
                selected: query.specialty == *slug,
            })
            .collect();
        let values = |own: &str, all: Vec<(String, String)>, counts: &[(String, i64)]| -> Vec<FacetValue> {
            let all = all.into_iter().map(|(value, name)| FacetValue { count: count(counts, &value), selected: own == value, value, name });
            all.filter(|v| v.count > 0 || v.selected).collect()
        };
        let scenarios = found.scenarios.iter().filter(|(_, s, ..)| query.specialty.is_empty() || query.specialty == *s);
        let scenarios = scenarios.map(|(slug, _, zh, en)| (slug.clone(), page.pick(zh, en).to_owned())).collect();
        let words = |prefix: &str, words: &[&str]| words.iter().map(|w| ((*w).to_owned(), page.tk(prefix, w))).collect::<Vec<_>>();
        let facets = vec![
            Facet { name: "scenario", title: page.t("facet-scenario"), values: values(&query.scenario, scenarios, by_scenario) },
            Facet {
                name: "input",
                title: page.t("facet-input"),
                values: values(&query.input, words("input-", &["image", "timeseries", "tabular", "audio"]), by_input),
            },
            Facet {
                name: "plan",
                title: page.t("facet-plan"),
                values: values(&query.plan, words("plan-", &["subscription", "perpetual", "trial"]), by_plan),
            },
        ];
        let first = found.cards.iter().take(compare::MAX).map(|(app, (vendor, ..))| (vendor.as_str(), app.slug.as_str()));
        let compare = (query.is_narrowed() && found.cards.len() > 1).then(|| (first.len(), compare::address(first)));
        let next = found.cards.last().filter(|_| found.more).map(|(app, _)| query.with("after", &app.id));
        let view = CataloguePage { query, specialties, facets, cards, total: found.total, compare, next, page: page.clone() };
        page.render(&view)
    })
    .await
}

/// Not kept in the cache of pages: there are more sets of four apps than it has room for.
async fn compare(req: HttpRequest, app: Data<App>, query: Query<Vec<(String, String)>>) -> PageResult {
    let (wanted, cut) = compare::wanted(query.into_inner());
    let n = wanted.len();
    let found = compare::compare(&app, wanted).await?;
    let page = Page::of(&req, "compare-title");
    page.clone().render(&ComparePage::of(page, &found, n, cut))
}

#[derive(Deserialize)]
struct Preview {
    preview: Option<String>,
}

async fn listing(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, query: Query<Preview>) -> PageResult {
    cached(&req, &app, &actor, async || {
        let (vendor, slug) = path.into_inner();
        let found = service::listing(&app, &actor, lang_of(&req), vendor, slug, query.into_inner().preview).await?;
        let manifest = &found.release.manifest;
        let page = Page::of(&req, manifest.title.get(lang_of(&req).tag()));
        let trial_used = trade::service::trial_used(&app, &actor, &found.app.id).await?;
        let evidence = trust::evidence::of_release(&app, &found.subject()).await?;
        page.render(&ListingPage::of(page.clone(), &actor, &found, &evidence, trial_used))
    })
    .await
}

async fn vendor(req: HttpRequest, app: Data<App>, actor: Actor, slug: Path<String>) -> PageResult {
    cached(&req, &app, &actor, async || {
        let (vendor, cards, plans) = service::vendor_page(&app, slug.into_inner()).await?;
        let lang = lang_of(&req);
        let page = Page::of(&req, lang.pick(&vendor.name_zh, &vendor.name_en));
        let specialties = app.db.read(|conn| Ok(super::store::specialties(conn)?)).await?;
        let cards = cards.iter().map(|c| AppCard::of(&page, c, &plans, &specialties)).collect();
        page.render(&VendorPage { since: page.date(&vendor.created_at), slug: vendor.slug, cards, page: page.clone() })
    })
    .await
}

/// A picture of a listing, by digest, so it never changes.
async fn picture(app: Data<App>, actor: Actor, path: Path<(String, String, String)>) -> PageResult {
    let (vendor, slug, digest) = path.into_inner();
    Ok(picture_response(pictures::picture(&app, &actor, vendor, slug, digest).await?))
}

async fn small_picture(app: Data<App>, actor: Actor, path: Path<(String, String, String)>) -> PageResult {
    let (vendor, slug, digest) = path.into_inner();
    Ok(picture_response(pictures::small(&app, &actor, vendor, slug, digest).await?))
}

fn picture_response(picture: Picture) -> HttpResponse {
    let scope = if picture.public { "public" } else { "private" };
    let keep = format!("{scope}, max-age=31536000, immutable");
    HttpResponse::Ok().content_type(picture.kind).insert_header((header::CACHE_CONTROL, keep)).body(picture.bytes)
}

async fn plans_page(req: HttpRequest, app: Data<App>, actor: Actor, slug: Path<String>) -> PageResult {
    show_plans(&req, &app, &actor, slug.into_inner(), StatusCode::OK, PlanForm { kind: "subscription".into(), ..PlanForm::default() }, None)
        .await
}

async fn show_plans(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    slug: String,
    status: StatusCode,
    form: PlanForm,
    error: Option<Error>,
) -> PageResult {
    let (row, plans) = plans::list(app, actor, slug.clone()).await?;
    let page = Page::of(req, "plans-title");
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    let plans = plans.iter().map(|p| plan_card(&page, p, false)).collect();
    let name = page.pick(&row.title_zh, &row.title_en).to_owned();
    page.clone().render_with(status, &PlansPage { slug, app: name, plans, form, errors, page })
}

async fn add_plan(req: HttpRequest, app: Data<App>, actor: Actor, slug: Path<String>, form: Form<PlanForm>) -> PageResult {
    let slug = slug.into_inner();
    match form_result(plans::add(&app, &actor, slug.clone(), &form.0).await)? {
        Ok(_) => Ok(see_other_with(&format!("/vendor/apps/{slug}/plans"), "success", "plans-added", &[])),
        Err(e) => show_plans(&req, &app, &actor, slug, StatusCode::UNPROCESSABLE_ENTITY, form.0, Some(e)).await,
    }
}

#[derive(Deserialize)]
struct PlanId {
    id: String,
}

async fn retire_plan(app: Data<App>, actor: Actor, slug: Path<String>, form: Form<PlanId>) -> PageResult {
    let slug = slug.into_inner();
    plans::retire(&app, &actor, slug.clone(), form.0.id).await?;
    Ok(see_other_with(&format!("/vendor/apps/{slug}/plans"), "success", "plans-retired", &[]))
}

#[derive(Deserialize)]
struct Visibility {
    hidden: bool,
}

async fn visibility(app: Data<App>, actor: Actor, slug: Path<String>, form: Form<Visibility>) -> PageResult {
    let slug = slug.into_inner();
    service::set_hidden(&app, &actor, slug.clone(), form.0.hidden).await?;
    Ok(see_other_with(
        &format!("/vendor/apps/{slug}"),
        "success",
        if form.0.hidden { "listing-now-hidden" } else { "listing-now-shown" },
        &[],
    ))
}
