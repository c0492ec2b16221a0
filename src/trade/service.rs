//! Use cases of orders and payments.
//!
//! The tables decide between two requests at once: the day's next number is a counter; one trial per operator and app and one order per
//! number and reference are unique. Receipts of one order are serialised by the order's row, orders of one person by the row of the
//! membership.

use std::collections::HashMap;

use chrono::TimeDelta;
use serde_json::json;

use crate::account::model::{DecisionNote, Organization};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::dialect::Row;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Lang;
use crate::base::ids;
use crate::catalog::model::{AppRow, ListingState, PlanKind, PricePlan, parse_yuan};
use crate::license::model::IssueInput;
use crate::trade::model::{Balance, Event, Order, OrderLine, OrderState, Payment, PlaceOrder, Search};
pub use crate::trade::store::count_open;
use crate::trade::{model, store};
use crate::webhook::model::{Event as Told, EventKind};
use crate::{account, audit, catalog, license, release, webhook};

/// Orders on one page.
pub const PAGE: i64 = 50;
/// Topic of pokes about orders.
pub const TOPIC: &str = "orders";
/// The same order by the same person within this time is a double click.
const DOUBLE_CLICK: TimeDelta = TimeDelta::seconds(5);
/// Orders of an operator that wait for their payment.
const MAX_OPEN: i64 = 500;
/// Longest name of a payer in characters.
const MAX_PAYER: usize = 120;

/// Places an order and gives its id. An order that costs nothing counts as paid and is delivered in the same transaction.
///
/// The same person ordering the same again within [`DOUBLE_CLICK`] gets the order that is there.
///
/// # Errors
/// `plan`, `plan-over`, `app-without-release`, `listing` (not listed), `nodes-range`, `trial-nodes`, `trial-used`, `order-too-large`,
/// `too-many-orders`.
pub async fn place(app: &App, actor: &Actor, input: PlaceOrder) -> Result<String> {
    policy::require(actor, Action::PlaceOrders)?;
    let composed = app.clone();
    audit::change(app, actor, move |c| place_in(c, &composed, &input, false)).await
}

/// As [`place`], in the caller's transaction. `keyed`: the request says by its key whether it is the same ([`crate::once`]), so that one with
/// another key is another order, however soon it comes.
pub fn place_in(c: &mut Change<'_>, app: &App, input: &PlaceOrder, keyed: bool) -> Result<String> {
    let person = policy::require(c.actor, Action::PlaceOrders)?;
    let now = c.now;
    // Orders of one person are serialised, so that the second request of a double click finds the first.
    dialect::hold(c, Row::Member(&person.user_id, &person.organization_id))?;
    let plan = catalog::service::get_plan(c, &input.plan_id)?;
    let row = orderable(c, &plan)?;
    let amount_fen = model::price(&plan, input.nodes)?;
    let since = now.minus(DOUBLE_CLICK);
    if !keyed && let Some(twin) = store::find_twin(c, &person.user_id, &person.organization_id, &plan.id, input.nodes, since)? {
        return Ok(twin.id);
    }
    // Orders of one operator are counted under its row, so that the second of two at once counts the first.
    dialect::hold(c, Row::Organization(&person.organization_id))?;
    if amount_fen > 0 && store::count_open(c, &person.organization_id)? >= MAX_OPEN {
        return Err(Error::conflict("too-many-orders").arg("max", MAX_OPEN));
    }
    let trial = plan.kind == PlanKind::Trial;
    if trial && store::trial_used(c, &person.organization_id, &row.id)? {
        return Err(Error::conflict("trial-used"));
    }
    let prefix = model::day_prefix(now);
    let event = if amount_fen == 0 { Event::Paid } else { Event::PaymentAsked };
    let mut order = Order {
        id: ids::new("ord"),
        number: String::new(),
        organization_id: person.organization_id.clone(),
        vendor_id: row.organization_id,
        app_id: row.id,
        plan_kind: plan.kind,
        unit_price_fen: if trial { 0 } else { plan.price_fen },
        trial_days: plan.trial_days,
        plan_id: plan.id,
        nodes: input.nodes,
        amount_fen,
        reference: free_reference(c)?,
        state: model::next(OrderState::Placed, event)?,
        placed_by: person.user_id.clone(),
        placed_at: now,
        updated_at: now,
    };
    // The number comes last: its counter is locked until the transaction ends, and concurrent orders wait for it.
    order.number = model::number(&prefix, ids::number(c, &prefix)?);
    // Number and reference hardly ever clash, so a conflict of a trial means that the trial was used.
    store::insert(c, &order).or_conflict(if trial { "trial-used" } else { "order-busy" })?;
    let detail = json!({
        "number": order.number, "app": order.app_id, "plan": order.plan_kind, "nodes": order.nodes, "unit_price_fen": order.unit_price_fen,
        "amount_fen": order.amount_fen,
    });
    c.audit("order.placed", &order.id, &detail);
    told(c, &order, EventKind::OrderPlaced)?;
    if order.state == OrderState::Paid {
        order.state = deliver(c, app, &order)?;
    }
    poke(c, &order)?;
    Ok(order.id)
}

/// The operator's order for the same that still waits for its payment: whoever orders once more is asked whether they mean it. None for the
/// second request of a double click, which [`place`] knows.
pub async fn unpaid_twin(app: &App, actor: &Actor, input: &PlaceOrder) -> Result<Option<Order>> {
    let person = policy::require(actor, Action::PlaceOrders)?;
    let (user_id, owner, since) = (person.user_id.clone(), person.organization_id.clone(), app.clock.now().minus(DOUBLE_CLICK));
    let (plan_id, nodes) = (input.plan_id.clone(), input.nodes);
    app.db
        .read(move |conn| {
            let twice = store::find_twin(conn, &user_id, &owner, &plan_id, nodes, since)?.is_some();
            Ok(if twice { None } else { store::find_unpaid(conn, &owner, &plan_id, nodes)? })
        })
        .await
}

/// The app of a plan that can be ordered now.
fn orderable(conn: &mut Conn, plan: &PricePlan) -> Result<AppRow> {
    let row = catalog::service::get_app(conn, &plan.app_id)?;
    if row.state != ListingState::Listed {
        return Err(Error::not_found("listing"));
    }
    if !plan.active {
        return Err(Error::conflict("plan-over"));
    }
    // A listed app may have no version on sale: all may be deprecated.
    if release::service::latest_published(conn, &row.id)?.is_none() {
        return Err(Error::conflict("app-without-release"));
    }
    Ok(row)
}

/// A reference that no order has.
fn free_reference(conn: &mut Conn) -> Result<String> {
    for _ in 0..8 {
        let reference = model::reference(ids::random::<8>());
        if !store::reference_taken(conn, &reference)? {
            return Ok(reference);
        }
    }
    Err(Error::unavailable("order-busy"))
}

/// Issues the licence of an order that is paid, and marks it delivered.
fn deliver(c: &mut Change<'_>, app: &App, order: &Order) -> Result<OrderState> {
    let now = c.now;
    let license = issue(c, app, order)?;
    let to = model::next(OrderState::Paid, Event::Delivered)?;
    exactly_one(store::mark(c, &order.id, OrderState::Paid, to, now)?, "order-state").map_err(|e| e.arg("state", order.state))?;
    c.audit("order.delivered", &order.id, &json!({"number": order.number, "license": license}));
    told(c, order, EventKind::OrderFulfilled)?;
    Ok(to)
}

/// Issues the licence through the licence slice; gives its id.
fn issue(c: &mut Change<'_>, app: &App, order: &Order) -> Result<String> {
    let input = IssueInput {
        order_id: order.id.clone(),
        organization_id: order.organization_id.clone(),
        vendor_id: order.vendor_id.clone(),
        app_id: order.app_id.clone(),
        plan_kind: order.plan_kind,
        trial_days: order.trial_days,
        nodes: order.nodes,
    };
    Ok(license::service::issue_in(c, &app.settings.license, input)?.id)
}

/// The result of confirming a receipt.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The order as it is now.
    pub order: Order,
    /// All that came in for it, in fen.
    pub received_fen: i64,
    /// The received amount compared with the owed one.
    pub balance: Balance,
}

/// The receipt form of finance, as typed.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct ReceiptInput {
    /// Amount in yuan.
    #[serde(default)]
    pub amount: String,
    /// Serial number of the bank.
    #[serde(default)]
    pub bank_serial: String,
    /// Account name of the payer, by the bank's statement.
    #[serde(default)]
    pub payer: String,
    /// Finance confirms that more than the owed amount has come in.
    #[serde(default)]
    pub accept_excess: bool,
}

/// Books a receipt on the platform's account for an order. Where the order's receipts now cover its amount, it is paid and delivered in
/// the same transaction; else the receipt is kept as unmatched and the order goes on waiting, with what is missing shown to both sides.
/// An excess is owed to the buyer and shown to both; paying it back is done at the bank.
///
/// # Errors
/// `order`, `amount-invalid`, `amount-exceeds-order`, `bank-serial-invalid`, `bank-serial-used`, `order-not-awaiting-payment`.
pub async fn confirm_payment(app: &App, actor: &Actor, order_id: &str, input: &ReceiptInput) -> Result<Receipt> {
    let person = policy::require(actor, Action::ConfirmPayments)?.clone();
    let mut faults = Faults::default();
    let amount_fen = parse_yuan(&input.amount).filter(|fen| *fen > 0);
    if amount_fen.is_none() {
        faults.add("amount", "amount-invalid");
    }
    let serial = model::bank_serial(&input.bank_serial);
    if serial.is_none() {
        faults.add("bank_serial", "bank-serial-invalid");
    }
    let payer = faults.line("payer", &input.payer, 1, MAX_PAYER);
    faults.check()?;
    let (Some(amount_fen), Some(bank_serial)) = (amount_fen, serial) else { return Err(Error::invalid("invalid-input")) };
    let (composed, order_id) = (app.clone(), order_id.to_owned());
    let accept_excess = input.accept_excess;
    audit::change(app, actor, move |c| {
        let now = c.now;
        let mut order = store::get(c, &order_id).or_not_found("order")?;
        // Holds the order, so that its receipts follow one another and nobody calls it off meanwhile.
        let awaiting = OrderState::AwaitingPayment;
        let held = store::mark(c, &order.id, awaiting, awaiting, now)?;
        if store::serial_used(c, &bank_serial)? {
            return Err(Error::field("bank_serial", "bank-serial-used"));
        }
        if held == 0 {
            return Err(Error::conflict("order-not-awaiting-payment").arg("number", &order.number));
        }
        // An overpayment is usually a typing error: require `accept_excess`.
        let excess = received(c, &order.id)?.saturating_add(amount_fen) - order.amount_fen;
        if excess > 0 && !accept_excess {
            // The error is made in no language: amounts read the same in both.
            let yuan = Lang::Zh.money(excess);
            let mut error = Error::field("amount", "amount-exceeds-order").and_field("accept_excess", "choose-one");
            if let Some(field) = error.fields.first_mut() {
                field.args.push(("excess", yuan));
            }
            return Err(error);
        }
        let payment = Payment {
            id: ids::new("pay"),
            order_id: order.id.clone(),
            amount_fen,
            bank_serial: bank_serial.clone(),
            payer: payer.clone(),
            matched: false,
            confirmed_by: person.user_id.clone(),
            confirmed_at: now,
        };
        store::insert_payment(c, &payment).or_conflict("bank-serial-used")?;
        let received_fen = received(c, &order.id)?;
        let balance = model::balance(order.amount_fen, received_fen);
        let detail = json!({
            "order": order.number, "amount_fen": amount_fen, "bank_serial": payment.bank_serial, "received_fen": received_fen,
            "owed_fen": order.amount_fen, "excess_fen": excess.max(0),
        });
        c.audit("payment.confirmed", &order.id, &detail);
        if !matches!(balance, Balance::Missing(_)) {
            store::match_payments(c, &order.id)?;
            let to = model::next(awaiting, Event::Paid)?;
            exactly_one(store::mark(c, &order.id, awaiting, to, now)?, "order-not-awaiting-payment")?;
            c.audit("order.paid", &order.id, &json!({"number": order.number, "amount_fen": order.amount_fen}));
            order.state = to;
            told(c, &order, EventKind::OrderPaid)?;
            order.state = deliver(c, &composed, &order)?;
        }
        poke(c, &order)?;
        Ok(Receipt { order, received_fen, balance })
    })
    .await
}

/// All that came in for an order, in fen.
pub(super) fn received(conn: &mut Conn, order_id: &str) -> Result<i64> {
    let amounts = store::amounts_of(conn, &[order_id])?;
    amounts
        .iter()
        .try_fold(0i64, |sum, (_, fen)| sum.checked_add(*fen))
        .ok_or_else(|| Error::internal(anyhow::anyhow!("receipts of {order_id} overflow")))
}

/// Pokes the pages of all who see an order: buyer, vendor and the platform.
pub(super) fn poke(c: &mut Change<'_>, order: &Order) -> Result<()> {
    let platform = account::service::platform_organizations(c)?;
    for id in [&order.organization_id, &order.vendor_id].into_iter().chain(&platform) {
        c.poke(id, TOPIC);
    }
    Ok(())
}

/// Tells the webhooks of buyer and vendor what has become of an order.
pub(super) fn told(c: &mut Change<'_>, order: &Order, kind: EventKind) -> Result<()> {
    let data = json!({
        "order": order.id, "number": order.number, "listing": order.app_id, "plan": order.plan_id, "nodes": order.nodes,
        "amount_fen": order.amount_fen,
    });
    let (event, now) = (Told::new(kind, data), c.now);
    for id in [&order.organization_id, &order.vendor_id] {
        webhook::service::tell(c, id, &event, now)?;
    }
    Ok(())
}

/// What the order form shows.
#[derive(Debug, Clone)]
pub struct OrderOffer {
    pub app: AppRow,
    pub vendor: Organization,
    pub plan: PricePlan,
    /// It is a trial, and the reader's organisation has had its trial of the app.
    pub trial_used: bool,
}

/// The plan of an order form, with the app at the form's address.
///
/// # Errors
/// `listing`, `plan` (also where it belongs to another app), `plan-over`.
pub async fn offer(app: &App, actor: &Actor, vendor: String, slug: String, plan_id: String) -> Result<OrderOffer> {
    let buyer = policy::require(actor, Action::PlaceOrders)?.organization_id.clone();
    app.db
        .read(move |conn| {
            let row = catalog::service::find_listing(conn, &vendor, &slug)?;
            let plan = catalog::service::get_plan(conn, &plan_id)?;
            if plan.app_id != row.id {
                return Err(Error::not_found("plan"));
            }
            orderable(conn, &plan)?;
            let vendor = account::service::get_organization(conn, &row.organization_id)?;
            let trial_used = plan.kind == PlanKind::Trial && store::trial_used(conn, &buyer, &row.id)?;
            Ok(OrderOffer { app: row, vendor, plan, trial_used })
        })
        .await
}

/// Whether the reader's organisation buys and has had its trial of an app: pages do not offer a second one.
pub async fn trial_used(app: &App, actor: &Actor, app_id: &str) -> Result<bool> {
    let Ok(buyer) = policy::require(actor, Action::PlaceOrders) else { return Ok(false) };
    let (buyer, app_id) = (buyer.organization_id.clone(), app_id.to_owned());
    app.db.read(move |conn| Ok(store::trial_used(conn, &buyer, &app_id)?)).await
}

/// Whether there is a listing at an address; for an order form that names no plan.
///
/// # Errors
/// `listing`: there is none.
pub async fn require_listing(app: &App, actor: &Actor, vendor: String, slug: String) -> Result<()> {
    policy::require(actor, Action::PlaceOrders)?;
    app.db.read(move |conn| catalog::service::find_listing(conn, &vendor, &slug).map(|_| ())).await
}

/// The operator's orders, newest first, one more than a page.
pub async fn list_bought(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<OrderLine>> {
    let id = policy::require(actor, Action::ViewOrders)?.organization_id.clone();
    app.db.read(move |conn| Ok(store::list_bought(conn, &id, before.as_deref(), PAGE + 1)?)).await
}

/// The vendor's orders, newest first, one more than a page.
pub async fn list_sold(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<OrderLine>> {
    let id = policy::require(actor, Action::ViewSales)?.organization_id.clone();
    app.db.read(move |conn| Ok(store::list_sold(conn, &id, before.as_deref(), PAGE + 1)?)).await
}

/// The side from which an order is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The operator that buys.
    Buyer,
    /// The vendor that sells.
    Vendor,
    /// The platform, which confirms payments.
    Platform,
}

/// An order with all that its page shows.
#[derive(Debug, Clone)]
pub struct OrderDetail {
    pub order: Order,
    pub app: AppRow,
    /// Who buys.
    pub buyer: Organization,
    /// Who sells.
    pub vendor: Organization,
    /// Name of the person who placed the order.
    pub placed_by: String,
    /// Receipts, oldest first, with the name of who confirmed each.
    pub payments: Vec<(Payment, String)>,
    /// All that came in, in fen.
    pub received_fen: i64,
    /// Licence and when it was issued.
    pub license: Option<(String, Timestamp)>,
    /// The decision by which the licence is suspended or revoked now.
    pub held: Option<DecisionNote>,
    /// The decision by which the order was called off.
    pub cancelled: Option<DecisionNote>,
}

/// One order for one side.
///
/// # Errors
/// `order`: not there, or not this side's.
pub fn detail_in(conn: &mut Conn, actor: &Actor, side: Side, order_id: &str) -> Result<OrderDetail> {
    let action = match side {
        Side::Buyer => Action::ViewOrders,
        Side::Vendor => Action::ViewSales,
        Side::Platform => Action::ViewPayments,
    };
    policy::require(actor, action)?;
    let order = store::get(conn, order_id).or_not_found("order")?;
    match side {
        Side::Buyer => {
            policy::require_own(actor, action, &order.organization_id, "order")?;
        }
        Side::Vendor => {
            policy::require_own(actor, action, &order.vendor_id, "order")?;
        }
        Side::Platform => {}
    }
    let license = store::license_of(conn, &order.id)?;
    let held = license.as_ref().map(|(id, _)| license::service::held(conn, id)).transpose()?.flatten();
    let cancelled = order.state == OrderState::Cancelled;
    let cancelled = if cancelled { account::service::decision_notes(conn, &order.id, &[model::CANCELLED])?.pop() } else { None };
    Ok(OrderDetail {
        app: catalog::service::get_app(conn, &order.app_id)?,
        buyer: account::service::get_organization(conn, &order.organization_id)?,
        vendor: account::service::get_organization(conn, &order.vendor_id)?,
        placed_by: store::user_name(conn, &order.placed_by)?,
        payments: store::payments_of(conn, &order.id)?,
        received_fen: received(conn, &order.id)?,
        license,
        held,
        cancelled,
        order,
    })
}

/// An order that waits for payment.
#[derive(Debug, Clone)]
pub struct Awaiting {
    /// The order with its names; the other side is the buyer.
    pub line: OrderLine,
    /// What came in, in fen.
    pub received_fen: i64,
}

fn with_receipts(conn: &mut Conn, lines: Vec<OrderLine>) -> Result<Vec<Awaiting>> {
    let ids: Vec<&str> = lines.iter().map(|line| line.order.id.as_str()).collect();
    let mut sums: HashMap<String, i64> = HashMap::new();
    for (id, fen) in store::amounts_of(conn, &ids)? {
        let sum = sums.entry(id).or_default();
        *sum = sum.saturating_add(fen);
    }
    Ok(lines.into_iter().map(|line| Awaiting { received_fen: sums.get(&line.order.id).copied().unwrap_or(0), line }).collect())
}

/// Orders that wait for payment, oldest first, one more than a page; those that fit the search text, or all where it is empty.
pub async fn list_awaiting(app: &App, actor: &Actor, search: &str, after: Option<String>) -> Result<Vec<Awaiting>> {
    policy::require(actor, Action::ViewPayments)?;
    let search = Search::of(search);
    app.db
        .read(move |conn| {
            let lines = store::list_awaiting(conn, search.as_ref(), after.as_deref(), PAGE + 1)?;
            with_receipts(conn, lines)
        })
        .await
}

/// How many orders wait for payment, and the oldest of them; for the platform's dashboard, whose caller has checked the reader.
pub fn awaiting_in(conn: &mut Conn, limit: i64) -> Result<(i64, Vec<Awaiting>)> {
    let lines = store::list_awaiting(conn, None, None, limit)?;
    Ok((store::count_awaiting(conn)?, with_receipts(conn, lines)?))
}

/// A receipt with number and state of its order, and the name of the person who confirmed it.
pub type PaymentLine = (Payment, String, OrderState, String);

/// Receipts, newest first, one more than a page.
pub async fn list_payments(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<PaymentLine>> {
    policy::require(actor, Action::ViewPayments)?;
    app.db.read(move |conn| Ok(store::list_payments(conn, before.as_deref(), PAGE + 1)?)).await
}
