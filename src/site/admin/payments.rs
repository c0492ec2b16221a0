//! /admin/payments: orders that wait for payment, and receipts.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::error::Error;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::{Before, paging};
use crate::site::parts::order::{AwaitingRow, OrderView};
use crate::trade::model::{Balance, OrderState};
use crate::trade::service::{PaymentLine, ReceiptInput, Side};
use crate::trade::{cancel, service};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/payments", web::get().to(payments))
        .route("/admin/payments/received", web::get().to(received))
        .route("/admin/payments/{id}", web::get().to(payment))
        .route("/admin/payments/{id}", web::post().to(confirm))
        .route("/admin/payments/{id}/cancel", web::post().to(cancel_part_paid));
}

/// `/admin/payments`.
#[derive(Template)]
#[template(path = "admin/payments.html")]
pub struct PaymentsPage {
    pub page: Page,
    pub rows: Vec<AwaitingRow>,
    pub q: String,
    /// Whether the receipt form is shown: exactly one order fits the search.
    pub may_confirm: bool,
    pub form: ReceiptInput,
    pub errors: FormErrors,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// A receipt in the history.
pub struct HistoryRow {
    pub at: String,
    pub href: String,
    pub number: String,
    pub amount: String,
    pub serial: String,
    pub payer: String,
    pub matched: bool,
    pub order_state: OrderState,
    pub by: String,
}

impl HistoryRow {
    pub fn of(page: &Page, (payment, number, order_state, by): &PaymentLine) -> Self {
        Self {
            at: page.datetime(&payment.confirmed_at),
            href: format!("/admin/payments/{}", payment.order_id),
            number: number.clone(),
            amount: page.money(&payment.amount_fen),
            serial: payment.bank_serial.clone(),
            payer: payment.payer.clone(),
            matched: payment.matched,
            order_state: *order_state,
            by: by.clone(),
        }
    }
}

/// `/admin/payments/received`.
#[derive(Template)]
#[template(path = "admin/payments_received.html")]
pub struct ReceivedPage {
    pub page: Page,
    pub rows: Vec<HistoryRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// `/admin/payments/{id}`.
#[derive(Template)]
#[template(path = "admin/payment.html")]
pub struct PaymentPage {
    pub page: Page,
    pub order: OrderView,
    pub may_confirm: bool,
    pub form: ReceiptInput,
    /// Reason for calling the order off, as typed.
    pub reason: String,
    pub errors: FormErrors,
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
    let (previous, next) = paging(&mut waiting, service::PAGE, &path, "after", after.as_deref(), |w| w.line.order.id.clone());
    let page = Page::of(&req, "payments-title");
    let rows = waiting.iter().map(|w| AwaitingRow::of(&page, w)).collect();
    // The receipt form stands beside the search only where exactly one order fits.
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
    let mut order = OrderView::read(app, actor.clone(), &page, Side::Platform, id).await?;
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
    pub reason: String,
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
