//! Routes of orders and payments.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use serde::Deserialize;

use super::cancel;
use super::model::{Balance, PlaceOrder};
use super::service::{self, ReceiptInput, Side};
use super::views::{
    AwaitingRow, BoughtPage, FormPage, HistoryRow, OrderPage, OrderView, PaymentPage, PaymentsPage, ReceivedPage, Row, SalePage, SoldPage,
};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::paging;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/apps/{vendor}/{app}/order", web::get().to(order_form))
        .route("/apps/{vendor}/{app}/order", web::post().to(place))
        .route("/mine/orders", web::get().to(bought))
        .route("/mine/orders/{id}", web::get().to(order))
        .route("/mine/orders/{id}/cancel", web::post().to(cancel_own))
        .route("/vendor/orders", web::get().to(sold))
        .route("/vendor/orders/{id}", web::get().to(sale))
        .route("/admin/payments", web::get().to(payments))
        .route("/admin/payments/received", web::get().to(received))
        .route("/admin/payments/{id}", web::get().to(payment))
        .route("/admin/payments/{id}", web::post().to(confirm))
        .route("/admin/payments/{id}/cancel", web::post().to(cancel_part_paid));
}

#[derive(Deserialize)]
struct OrderForm {
    #[serde(default)]
    plan: String,
    nodes: Option<String>,
}

async fn order_form(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, query: Query<OrderForm>) -> PageResult {
    let OrderForm { plan, nodes } = query.into_inner();
    if plan.is_empty() {
        return choose_plan(&app, &actor, path.into_inner()).await;
    }
    show_form(&req, &app, &actor, path.into_inner(), plan, nodes.unwrap_or_else(|| "1".into()), None).await
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
    error: Option<Error>,
) -> PageResult {
    let offer = service::offer(app, actor, path.0, path.1, plan).await?;
    let page = Page::of(req, "order-form-title");
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    let nodes = nodes.chars().take(20).collect();
    page.clone().render_with(status, &FormPage::of(page, &offer, nodes, app.settings.license.grace_days, errors))
}

async fn place(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, form: Form<OrderForm>) -> PageResult {
    let OrderForm { plan, nodes } = form.0;
    let nodes = nodes.unwrap_or_default();
    if plan.is_empty() {
        return choose_plan(&app, &actor, path.into_inner()).await;
    }
    // A plan of the app in the address, not of another one.
    let (vendor, slug) = path.clone();
    service::offer(&app, &actor, vendor, slug, plan.clone()).await?;
    let input = PlaceOrder { plan_id: plan.clone(), nodes: nodes.trim().parse().unwrap_or(0) };
    match form_result(service::place(&app, &actor, input).await)? {
        Ok(id) => Ok(see_other_with(&format!("/mine/orders/{id}"), "success", "order-placed", &[])),
        Err(error) => show_form(&req, &app, &actor, path.into_inner(), plan, nodes, Some(error)).await,
    }
}

#[derive(Deserialize)]
struct Before {
    before: Option<String>,
}

async fn bought(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list_bought(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::PAGE, "/mine/orders", "before", query.before.as_deref(), |l| l.0.id.clone());
    let page = Page::of(&req, "orders-title");
    let rows = lines.iter().map(|line| Row::of(&page, line, "/mine/orders")).collect();
    page.clone().render(&BoughtPage { page, rows, previous, next })
}

async fn order(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "order-title");
    let detail = service::detail(&app, &actor, page.locale(), Side::Buyer, id.into_inner()).await?;
    let order = OrderView::of(&page, &detail, Side::Buyer);
    let may_cancel = order.awaiting && !order.any_received && policy::require(&actor, Action::PlaceOrders).is_ok();
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

async fn sold(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list_sold(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::PAGE, "/vendor/orders", "before", query.before.as_deref(), |l| l.0.id.clone());
    let page = Page::of(&req, "sales-title");
    let rows = lines.iter().map(|line| Row::of(&page, line, "/vendor/orders")).collect();
    page.clone().render(&SoldPage { page, rows, previous, next })
}

async fn sale(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "order-title");
    let detail = service::detail(&app, &actor, page.locale(), Side::Vendor, id.into_inner()).await?;
    let order = OrderView::of(&page, &detail, Side::Vendor);
    page.title = format!("{} {}", page.title, order.number);
    page.clone().render(&SalePage { page, order })
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
    after: Option<String>,
}

async fn payments(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Search>) -> PageResult {
    let Search { q, after } = query.into_inner();
    let q: String = q.trim().chars().take(40).collect();
    let mut waiting = service::list_awaiting(&app, &actor, &q, after.clone()).await?;
    let path = if q.is_empty() {
        "/admin/payments".to_owned()
    } else {
        format!("/admin/payments?{}", serde_urlencoded::to_string([("q", &q)]).unwrap_or_default())
    };
    let (previous, next) = paging(&mut waiting, service::PAGE, &path, "after", after.as_deref(), |w| w.line.0.id.clone());
    let page = Page::of(&req, "payments-title");
    let rows = waiting.iter().map(|w| AwaitingRow::of(&page, w)).collect();
    // Only where it is plain which order is meant.
    let one = !q.is_empty() && waiting.len() == 1 && previous.is_none() && next.is_none();
    let may_confirm = one && policy::require(&actor, Action::ConfirmPayments).is_ok();
    let (form, errors) = (ReceiptInput::default(), FormErrors::default());
    page.clone().render(&PaymentsPage { page, rows, q, may_confirm, form, errors, previous, next })
}

async fn received(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list_payments(&app, &actor, query.before.clone()).await?;
    let (previous, next) =
        paging(&mut lines, service::PAGE, "/admin/payments/received", "before", query.before.as_deref(), |l| l.0.id.clone());
    let page = Page::of(&req, "payments-received-title");
    let rows = lines.iter().map(|line| HistoryRow::of(&page, line)).collect();
    page.clone().render(&ReceivedPage { page, rows, previous, next })
}

async fn payment(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    show_payment(&req, &app, &actor, id.into_inner(), ReceiptInput::default(), String::new(), None).await
}

async fn show_payment(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    id: String,
    form: ReceiptInput,
    reason: String,
    error: Option<Error>,
) -> PageResult {
    let mut page = Page::of(req, "payment-title");
    let detail = service::detail(app, actor, page.locale(), Side::Platform, id).await?;
    let mut order = OrderView::of(&page, &detail, Side::Platform);
    order.license_href = order.license_href.filter(|_| policy::require(actor, Action::RevokeLicenses).is_ok());
    let may_confirm = order.awaiting && policy::require(actor, Action::ConfirmPayments).is_ok();
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    page.title = format!("{} {}", page.title, order.number);
    page.clone().render_with(status, &PaymentPage { page, order, may_confirm, form, reason, errors })
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

async fn cancel_part_paid(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, form: Form<Reason>) -> PageResult {
    let (id, reason) = (id.into_inner(), form.0.reason);
    match form_result(cancel::by_finance(&app, &actor, &id, &reason).await)? {
        Ok((order, owed_back_fen)) => Ok(see_other_with(
            &format!("/admin/payments/{id}"),
            "warning",
            "payment-cancelled",
            &[("number", &order.number), ("amount", &Page::of(&req, "").money(&owed_back_fen))],
        )),
        Err(error) => show_payment(&req, &app, &actor, id, ReceiptInput::default(), reason, Some(error)).await,
    }
}

async fn confirm(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, form: Form<ReceiptInput>) -> PageResult {
    let (id, form) = (id.into_inner(), form.0);
    match form_result(service::confirm_payment(&app, &actor, &id, &form).await)? {
        Ok(receipt) => {
            let money = |fen: i64| Page::of(&req, "").money(&fen);
            let (kind, key, amount) = match receipt.balance {
                Balance::Exact => ("success", "payment-done", receipt.received_fen),
                Balance::Missing(fen) => ("warning", "payment-missing", fen),
                Balance::Over(fen) => ("warning", "payment-over", fen),
            };
            Ok(see_other_with(
                &format!("/admin/payments/{id}"),
                kind,
                key,
                &[("number", &receipt.order.number), ("amount", &money(amount))],
            ))
        }
        Err(error) => show_payment(&req, &app, &actor, id, form, String::new(), Some(error)).await,
    }
}
