//! Plans and visibility of a listing.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::catalog::plans::PlanForm;
use crate::catalog::{plans, service};
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::site::parts::card::{PlanCard, plan_card};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor/apps/{slug}/plans", web::get().to(plans_page))
        .route("/vendor/apps/{slug}/plans", web::post().to(add_plan))
        .route("/vendor/apps/{slug}/plans/retire", web::post().to(retire_plan))
        .route("/vendor/apps/{slug}/visibility", web::post().to(visibility));
}

/// `/vendor/apps/{slug}/plans`.
#[derive(Template)]
#[template(path = "vendor/plans.html")]
pub struct PlansPage {
    pub page: Page,
    pub slug: String,
    pub app: String,
    pub plans: Vec<PlanCard>,
    pub form: PlanForm,
    pub errors: FormErrors,
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
