//! /mine/orders: the order form, and the operator's orders.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::config::Bank;
use crate::base::error::Error;
use crate::catalog::model::PlanKind;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::{Before, paging};
use crate::site::parts::order::{OrderRow, OrderView, price};
use crate::trade::model::{MAX_NODES, Order, PlaceOrder};
use crate::trade::service::{OrderOffer, Side};
use crate::trade::{cancel, service};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/apps/{vendor}/{app}/order", web::get().to(order_form))
        .route("/apps/{vendor}/{app}/order", web::post().to(place))
        .route("/mine/orders", web::get().to(bought))
        .route("/mine/orders/{id}", web::get().to(order))
        .route("/mine/orders/{id}/cancel", web::post().to(cancel_own));
}

/// `/apps/{vendor}/{app}/order`.
#[derive(Template)]
#[template(path = "mine/order_form.html")]
pub struct FormPage {
    pub page: Page,
    pub href: String,
    pub app: String,
    pub vendor: String,
    pub plan_id: String,
    pub plan: String,
    pub terms: String,
    pub unit_price: String,
    pub unit_note: String,
    pub trial: bool,
    /// The plan is a trial that the organisation has had.
    pub trial_used: bool,
    pub subscription: bool,
    pub safety: bool,
    pub most_nodes: i64,
    pub nodes: String,
    /// The total price; none where the number of nodes is no valid one.
    pub total: Option<String>,
    pub grace_days: i64,
    /// An order for the same that is not paid yet: number and address.
    pub twin: Option<(String, String)>,
    pub errors: FormErrors,
}

impl FormPage {
    /// The form with what was typed.
    pub fn of(page: Page, offer: &OrderOffer, nodes: String, grace_days: i64, errors: FormErrors) -> Self {
        let plan = &offer.plan;
        let trial = plan.kind == PlanKind::Trial;
        let total = nodes.trim().parse().ok().and_then(|n| crate::trade::model::price(plan, n).ok());
        let free = trial || plan.price_fen == 0;
        Self {
            href: format!("/apps/{}/{}", offer.vendor.slug, offer.app.slug),
            app: page.pick(&offer.app.title_zh, &offer.app.title_en).to_owned(),
            vendor: page.pick(&offer.vendor.name_zh, &offer.vendor.name_en).to_owned(),
            plan_id: plan.id.clone(),
            plan: page.tk("plan-", plan.kind),
            terms: if trial {
                page.t2("plan-trial-terms", "days", plan.trial_days, "nodes", plan.trial_nodes)
            } else {
                page.tk("plan-terms-", plan.kind)
            },
            unit_price: if free { page.t("price-free") } else { page.money(&plan.price_fen) },
            unit_note: if trial { String::new() } else { page.tk("plan-note-", plan.kind) },
            trial,
            trial_used: offer.trial_used,
            subscription: plan.kind == PlanKind::Subscription,
            safety: offer.app.safety,
            most_nodes: if trial { plan.trial_nodes.clamp(1, MAX_NODES) } else { MAX_NODES },
            total: total.map(|fen| price(&page, fen)),
            nodes,
            grace_days,
            twin: None,
            errors,
            page,
        }
    }
}

/// `/mine/orders`.
#[derive(Template)]
#[template(path = "mine/orders.html")]
pub struct BoughtPage {
    pub page: Page,
    pub rows: Vec<OrderRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// `/mine/orders/{id}`.
#[derive(Template)]
#[template(path = "mine/order.html")]
pub struct OrderPage {
    pub page: Page,
    pub order: OrderView,
    pub bank: Bank,
    pub may_cancel: bool,
}

#[derive(Deserialize)]
struct OrderForm {
    #[serde(default)]
    plan: String,
    nodes: Option<String>,
    /// Number of the unpaid order for the same, beside which the reader wants this one.
    #[serde(default)]
    beside: String,
}

async fn order_form(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, query: Query<OrderForm>) -> PageResult {
    let OrderForm { plan, nodes, .. } = query.into_inner();
    if plan.is_empty() {
        return choose_plan(&app, &actor, path.into_inner()).await;
    }
    show_form(&req, &app, &actor, path.into_inner(), plan, nodes.unwrap_or_else(|| "1".into()), Again::No).await
}

/// An order form that names no plan leads to the plans.
async fn choose_plan(app: &App, actor: &Actor, (vendor, slug): (String, String)) -> PageResult {
    service::require_listing(app, actor, vendor.clone(), slug.clone()).await?;
    Ok(see_other_with(&format!("/apps/{vendor}/{slug}#plans"), "info", "order-choose-plan", &[]))
}

async fn show_form(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    path: (String, String),
    plan: String,
    nodes: String,
    again: Again,
) -> PageResult {
    let offer = service::offer(app, actor, path.0, path.1, plan).await?;
    let page = Page::of(req, "order-form-title");
    let (status, errors, twin) = match again {
        Again::No => (StatusCode::OK, FormErrors::default(), None),
        Again::Wrong(e) => (StatusCode::UNPROCESSABLE_ENTITY, FormErrors::of(&page, &e), None),
        Again::Twin(order) => (StatusCode::CONFLICT, FormErrors::default(), Some((order.number, format!("/mine/orders/{}", order.id)))),
    };
    let nodes = nodes.chars().take(20).collect();
    let form = FormPage::of(page.clone(), &offer, nodes, app.settings.license.grace_days, errors);
    page.render_with(status, &FormPage { twin, ..form })
}

/// Why the order form is shown again.
enum Again {
    No,
    Wrong(Error),
    /// There is an unpaid order for the same.
    Twin(Box<Order>),
}

async fn place(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, form: Form<OrderForm>) -> PageResult {
    let OrderForm { plan, nodes, beside } = form.0;
    let nodes = nodes.unwrap_or_default();
    if plan.is_empty() {
        return choose_plan(&app, &actor, path.into_inner()).await;
    }
    // Check that the plan belongs to the app in the address.
    let (vendor, slug) = path.clone();
    service::offer(&app, &actor, vendor, slug, plan.clone()).await?;
    let input = PlaceOrder { plan_id: plan.clone(), nodes: nodes.trim().parse().unwrap_or(0) };
    if let Some(twin) = service::unpaid_twin(&app, &actor, &input).await?.filter(|twin| twin.number != beside) {
        return show_form(&req, &app, &actor, path.into_inner(), plan, nodes, Again::Twin(Box::new(twin))).await;
    }
    match form_result(service::place(&app, &actor, input).await)? {
        Ok(id) => Ok(see_other_with(&format!("/mine/orders/{id}"), "success", "order-placed", &[])),
        Err(error) => show_form(&req, &app, &actor, path.into_inner(), plan, nodes, Again::Wrong(error)).await,
    }
}

async fn bought(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list_bought(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::PAGE, "/mine/orders", "before", query.before.as_deref(), |l| l.order.id.clone());
    let page = Page::of(&req, "orders-title");
    let rows = lines.iter().map(|line| OrderRow::of(&page, line, "/mine/orders")).collect();
    page.clone().render(&BoughtPage { page, rows, previous, next })
}

async fn order(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "order-title");
    let may_order = policy::require(&actor, Action::PlaceOrders).is_ok();
    let order = OrderView::read(&app, actor, &page, Side::Buyer, id.into_inner()).await?;
    let may_cancel = order.awaiting && !order.any_received && may_order;
    page.title = format!("{} {}", page.title, order.number);
    page.clone().render(&OrderPage { page, order, bank: app.settings.bank.clone(), may_cancel })
}

async fn cancel_own(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let id = id.into_inner();
    let back = format!("/mine/orders/{id}");
    match form_result(cancel::by_buyer(&app, &actor, &id).await)? {
        Ok(()) => Ok(see_other_with(&back, "success", "order-now-cancelled", &[])),
        Err(e) if e.code == "order-has-payments" => Ok(see_other_with(&back, "danger", "error-order-has-payments", &[])),
        Err(_) => Ok(see_other_with(&back, "info", "order-not-cancelled", &[])),
    }
}
