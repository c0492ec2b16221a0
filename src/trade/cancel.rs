//! Cancelling an order: by its buyer while no money has come in, by finance once a part has.

use serde_json::json;

use crate::audit;
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::trade::model::{Event, Order};
use crate::trade::service::{poke, received, told};
use crate::trade::{model, store};
use crate::webhook::model::EventKind;

/// Shortest and longest reason in characters.
const REASON: (usize, usize) = (3, 500);

/// The buyer calls an order off that is not paid yet.
///
/// # Errors
/// `order` (not there, or another's), `order-state`, `order-has-payments` where money has come in: finance cancels such an order.
pub async fn by_buyer(app: &App, actor: &Actor, order_id: &str) -> Result<()> {
    policy::require(actor, Action::PlaceOrders)?;
    let order_id = order_id.to_owned();
    audit::change(app, actor, move |c| by_buyer_in(c, &order_id)).await
}

/// As [`by_buyer`], in the caller's transaction.
pub fn by_buyer_in(c: &mut Change<'_>, order_id: &str) -> Result<()> {
    policy::require(c.actor, Action::PlaceOrders)?;
    let order = store::get(c, order_id).or_not_found("order")?;
    policy::require_own(c.actor, Action::PlaceOrders, &order.organization_id, "order")?;
    // Cancel before reading the receipts: the update holds the order, so no receipt comes in between.
    call_off(c, &order)?;
    if !store::payments_of(c, &order.id)?.is_empty() {
        return Err(Error::conflict("order-has-payments"));
    }
    c.audit(model::CANCELLED, &order.id, &json!({"number": order.number}));
    told(c, &order, EventKind::OrderCancelled)?;
    poke(c, &order)
}

/// Finance calls a part-paid order off, with a reason that both sides read. The received amount is owed back to the payer, and recorded
/// so; paying it back is done at the bank. Gives the order and the amount owed back, in fen.
///
/// # Errors
/// `order`, `order-state`, `order-without-payments` (the buyer cancels that), a wrong `reason`.
pub async fn by_finance(app: &App, actor: &Actor, order_id: &str, reason: &str) -> Result<(Order, i64)> {
    policy::require(actor, Action::ConfirmPayments)?;
    let mut faults = Faults::default();
    let reason = faults.text("reason", reason, REASON.0, REASON.1);
    faults.check()?;
    let order_id = order_id.to_owned();
    audit::change(app, actor, move |c| {
        let order = store::get(c, &order_id).or_not_found("order")?;
        call_off(c, &order)?;
        let owed_back_fen = received(c, &order.id)?;
        if owed_back_fen == 0 {
            return Err(Error::conflict("order-without-payments"));
        }
        c.audit(model::CANCELLED, &order.id, &json!({"number": order.number, "reason": reason, "owed_back_fen": owed_back_fen}));
        told(c, &order, EventKind::OrderCancelled)?;
        poke(c, &order)?;
        Ok((order, owed_back_fen))
    })
    .await
}

fn call_off(c: &mut Change<'_>, order: &Order) -> Result<()> {
    let (to, now) = (model::next(order.state, Event::Cancelled)?, c.now);
    exactly_one(store::mark(c, &order.id, order.state, to, now)?, "order-state").map_err(|e| e.arg("state", order.state))
}
