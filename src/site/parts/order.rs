//! An order as pages show it: amounts, progress, moments.

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Result;
use crate::http::page::{Ago, Page};
use crate::license::model::LicenseDecision;
use crate::site::parts::chain::{self, ChainLink, Reader};
use crate::trade::model::{Balance, Order, OrderLine, OrderState, balance};
use crate::trade::service::{Awaiting, OrderDetail, Side, detail_in};

/// An order in a list.
pub struct OrderRow {
    pub href: String,
    pub number: String,
    pub app: String,
    /// Name of the other side: the vendor for a buyer, else the buyer.
    pub other: String,
    pub plan: String,
    pub nodes: String,
    pub amount: String,
    pub state: OrderState,
    pub placed: String,
}

impl OrderRow {
    /// The row of a line; the order's page is below `base`.
    pub fn of(page: &Page, OrderLine { order, app, other }: &OrderLine, base: &str) -> Self {
        Self {
            href: format!("{base}/{}", order.id),
            number: order.number.clone(),
            app: page.name(app).to_owned(),
            other: page.name(other).to_owned(),
            plan: page.tk("plan-", order.plan_kind),
            nodes: page.count(&order.nodes),
            amount: price(page, order.amount_fen),
            state: order.state,
            placed: page.datetime(&order.placed_at),
        }
    }
}

/// A receipt of an order.
pub struct ReceiptRow {
    pub at: String,
    pub amount: String,
    pub serial: String,
    pub payer: String,
    pub matched: bool,
    pub by: String,
}

/// A moment of the order's life.
pub struct Moment {
    pub tone: &'static str,
    pub at: String,
    pub what: String,
    pub note: String,
}

/// The order as its pages show it.
pub struct OrderView {
    pub id: String,
    pub number: String,
    pub state: OrderState,
    pub app: String,
    pub app_href: String,
    pub buyer: String,
    pub vendor: String,
    pub plan: String,
    pub nodes: String,
    pub unit_price: String,
    pub amount: String,
    pub reference: String,
    pub placed: String,
    pub placed_by: String,
    pub awaiting: bool,
    /// Index of the current of placed, payment, delivered; 3 when all are done; none where it was called off.
    pub progress: Option<usize>,
    pub next_who: String,
    pub next_text: String,
    /// Whether any receipt was booked.
    pub any_received: bool,
    pub received: String,
    pub missing: Option<String>,
    pub over: Option<String>,
    /// The amount received for an order that was called off afterwards.
    pub owed_back: Option<String>,
    /// Why it was called off; empty where the buyer did.
    pub reason: String,
    /// The licence is suspended or revoked: what happened, why, what can be done.
    pub held: Option<(String, String, String)>,
    pub receipts: Vec<ReceiptRow>,
    pub moments: Vec<Moment>,
    pub license_href: Option<String>,
    /// Asked before a receipt is booked.
    pub confirm: String,
    pub chain: Vec<ChainLink>,
}

impl OrderView {
    /// An order as one side sees it.
    ///
    /// # Errors
    /// `order`: not there, or not this side's.
    pub async fn read(app: &App, actor: Actor, page: &Page, side: Side, order_id: String) -> Result<Self> {
        let reader = Reader::of(&actor, page.locale(), app.clock.now());
        let (detail, links) = app
            .db
            .read(move |conn| {
                let detail = detail_in(conn, &actor, side, &order_id)?;
                let links = chain::of_order(conn, &reader, &order_id)?;
                Ok((detail, links))
            })
            .await?;
        Ok(Self::of(page, &detail, links, side))
    }

    fn of(page: &Page, detail: &OrderDetail, links: Vec<ChainLink>, side: Side) -> Self {
        let order = &detail.order;
        let awaiting = order.state == OrderState::AwaitingPayment;
        let left = balance(order.amount_fen, detail.received_fen);
        let any_received = !detail.payments.is_empty();
        let (missing, over) = match left {
            Balance::Missing(fen) => (Some(page.money(&fen)), None),
            Balance::Over(fen) => (None, Some(page.money(&fen))),
            Balance::Exact => (None, None),
        };
        let step = match (left, side) {
            _ if !awaiting => match (&detail.held, order.state) {
                (Some(held), OrderState::Delivered) if held.action == LicenseDecision::Revoke.action() => "license-revoked",
                (Some(_), OrderState::Delivered) => "license-suspended",
                (_, OrderState::Cancelled) if any_received => "cancelled-part-paid",
                (_, state) => state.as_str(),
            },
            (_, Side::Platform) if any_received => "book-rest",
            (_, Side::Platform) => "book",
            _ if any_received => "underpaid",
            _ => "awaiting-payment",
        };
        let cancelled = order.state == OrderState::Cancelled;
        let (missing, over) = if cancelled { (None, None) } else { (missing, over) };
        Self {
            id: order.id.clone(),
            number: order.number.clone(),
            state: order.state,
            app: page.pick(&detail.app.title_zh, &detail.app.title_en).to_owned(),
            app_href: format!("/apps/{}/{}", detail.vendor.slug, detail.app.slug),
            buyer: page.pick(&detail.buyer.name_zh, &detail.buyer.name_en).to_owned(),
            vendor: page.pick(&detail.vendor.name_zh, &detail.vendor.name_en).to_owned(),
            plan: page.tk("plan-", order.plan_kind),
            nodes: page.count(&order.nodes),
            unit_price: price(page, order.unit_price_fen),
            amount: price(page, order.amount_fen),
            reference: order.reference.clone(),
            placed: page.datetime(&order.placed_at),
            placed_by: detail.placed_by.clone(),
            awaiting,
            progress: progress(order.state),
            next_who: page.tk("order-who-", step),
            next_text: page.tk("order-next-", step),
            any_received,
            received: page.money(&detail.received_fen),
            missing,
            over,
            owed_back: (cancelled && any_received).then(|| page.money(&detail.received_fen)),
            reason: detail.cancelled.as_ref().map(|told| told.reason.clone()).unwrap_or_default(),
            held: detail.held.as_ref().filter(|_| side != Side::Vendor).map(|told| crate::site::parts::license::notice(page, told)),
            receipts: detail
                .payments
                .iter()
                .map(|(p, by)| ReceiptRow {
                    at: page.datetime(&p.confirmed_at),
                    amount: page.money(&p.amount_fen),
                    serial: p.bank_serial.clone(),
                    payer: p.payer.clone(),
                    matched: p.matched,
                    by: by.clone(),
                })
                .collect(),
            moments: moments(page, detail),
            license_href: detail.license.as_ref().filter(|_| side != Side::Vendor).map(|(id, _)| match side {
                Side::Platform => format!("/admin/licenses/{id}"),
                _ => format!("/mine/licenses/{id}"),
            }),
            confirm: confirm(page, order, page.pick(&detail.buyer.name_zh, &detail.buyer.name_en)),
            chain: links,
        }
    }
}

/// A price, or that it is free.
pub fn price(page: &Page, fen: i64) -> String {
    if fen == 0 { page.t("price-free") } else { page.money(&fen) }
}

fn progress(state: OrderState) -> Option<usize> {
    use OrderState as S;
    match state {
        S::Placed | S::AwaitingApproval => Some(0),
        S::AwaitingPayment => Some(1),
        S::Paid => Some(2),
        S::Delivered | S::Accepted | S::Settled => Some(3),
        S::Cancelled | S::RefundRequested | S::Refunded | S::Disputed => None,
    }
}

/// The order's history, oldest first.
fn moments(page: &Page, detail: &OrderDetail) -> Vec<Moment> {
    let order = &detail.order;
    let mut moments = vec![Moment {
        tone: "green",
        at: page.datetime(&order.placed_at),
        what: page.t("order-moment-placed"),
        note: detail.placed_by.clone(),
    }];
    moments.extend(detail.payments.iter().map(|(payment, _)| Moment {
        tone: if payment.matched { "green" } else { "amber" },
        at: page.datetime(&payment.confirmed_at),
        what: page.t1("order-moment-received", "amount", page.money(&payment.amount_fen)),
        note: if payment.matched { String::new() } else { page.t("order-moment-unmatched") },
    }));
    if let Some((_, at)) = &detail.license {
        let key = if order.amount_fen == 0 { "order-moment-delivered-free" } else { "order-moment-delivered" };
        moments.push(Moment { tone: "green", at: page.datetime(at), what: page.t(key), note: String::new() });
    }
    if let Some(held) = &detail.held {
        moments.push(Moment {
            tone: "red",
            at: page.datetime(&held.at),
            what: page.tk("audit-action-", held.action.replace('.', "-")),
            note: String::new(),
        });
    }
    if order.state == OrderState::Cancelled {
        moments.push(Moment {
            tone: "grey",
            at: page.datetime(&order.updated_at),
            what: page.t("order-moment-cancelled"),
            note: detail.cancelled.as_ref().map(|told| told.reason.clone()).unwrap_or_default(),
        });
    }
    moments
}

/// An order that waits for payment.
pub struct AwaitingRow {
    pub href: String,
    pub number: String,
    pub reference: String,
    pub buyer: String,
    pub app: String,
    pub amount: String,
    pub received: String,
    /// Receipts and amount differ: `missing`, `over`, or none came.
    pub difference: Option<(&'static str, String)>,
    pub since: Ago,
    /// Asked before a receipt is booked.
    pub confirm: String,
}

impl AwaitingRow {
    pub fn of(page: &Page, awaiting: &Awaiting) -> Self {
        let OrderLine { order, app, other: buyer } = &awaiting.line;
        let difference = match balance(order.amount_fen, awaiting.received_fen) {
            Balance::Missing(fen) if awaiting.received_fen > 0 => Some(("missing", page.money(&fen))),
            _ => None,
        };
        Self {
            href: format!("/admin/payments/{}", order.id),
            number: order.number.clone(),
            reference: order.reference.clone(),
            buyer: page.name(buyer).to_owned(),
            app: page.name(app).to_owned(),
            amount: page.money(&order.amount_fen),
            received: page.money(&awaiting.received_fen),
            difference,
            since: page.ago(&order.placed_at),
            confirm: confirm(page, order, page.name(buyer)),
        }
    }
}

/// The question before a receipt is booked; the script replaces `{amount}` and `{payer}` by the typed values.
fn confirm(page: &Page, order: &Order, buyer: &str) -> String {
    let owed = page.money(&order.amount_fen);
    let words = [("buyer", buyer), ("number", &order.number), ("owed", &owed), ("amount", "{amount}"), ("payer", "{payer}")];
    page.locale().format("payment-confirm", &words)
}
