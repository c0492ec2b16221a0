//! Calling an order off: by its buyer while nothing has come in, by finance once a part has.

use serde_json::json;

use crate::account;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::trade::model::{Event, Order};
use crate::trade::service::{poke, received};
use crate::trade::{model, store};

/// Action in the audit log; its detail holds the reason that the order's page shows.
pub const ACTION: &str = "order.cancelled";
/// Shortest and longest reason in characters.
const REASON: (usize, usize) = (3, 500);

/// The buyer calls an order off that is not paid yet.
///
/// # Errors
/// `order` (not there, or another's), `order-state`, `order-has-payments` where money has come in: that is finance's to cancel.
pub async fn by_buyer(app: &App, actor: &Actor, order_id: &str) -> Result<()> {
    policy::require(actor, Action::PlaceOrders)?;
    let (asking, order_id, now) = (actor.clone(), order_id.to_owned(), app.clock.now());
    let (order, platform) = app
        .db
        .write(move |conn| {
            dialect::lock_audit_chain(conn)?;
            let order = store::get(conn, &order_id).or_not_found("order")?;
            policy::require_own(&asking, Action::PlaceOrders, &order.organization_id, "order")?;
            let paid = !store::payments_of(conn, &order.id)?.is_empty();
            call_off(conn, &order, now)?;
            if paid {
                return Err(Error::conflict("order-has-payments"));
            }
            audit::record(conn, now, &asking, ACTION, &order.id, &json!({"number": order.number}))?;
            Ok((order, account::service::platform_organizations(conn)?))
        })
        .await?;
    poke(app, &order, &platform);
    Ok(())
}

/// Finance calls a part-paid order off, with a reason that both sides read. What came in is owed back to the payer, and recorded so;
/// paying it back is done at the bank. Gives the order and what is owed back, in fen.
///
/// # Errors
/// `order`, `order-state`, `order-without-payments` (the buyer cancels that), a wrong `reason`.
pub async fn by_finance(app: &App, actor: &Actor, order_id: &str, reason: &str) -> Result<(Order, i64)> {
    policy::require(actor, Action::ConfirmPayments)?;
    let mut faults = Faults::default();
    let reason = faults.text("reason", reason, REASON.0, REASON.1);
    faults.check()?;
    let (asking, order_id, now) = (actor.clone(), order_id.to_owned(), app.clock.now());
    let (order, owed_back_fen, platform) = app
        .db
        .write(move |conn| {
            dialect::lock_audit_chain(conn)?;
            let order = store::get(conn, &order_id).or_not_found("order")?;
            let owed_back_fen = received(conn, &order.id)?;
            call_off(conn, &order, now)?;
            if owed_back_fen == 0 {
                return Err(Error::conflict("order-without-payments"));
            }
            let detail = json!({"number": order.number, "reason": reason, "owed_back_fen": owed_back_fen});
            audit::record(conn, now, &asking, ACTION, &order.id, &detail)?;
            Ok((order, owed_back_fen, account::service::platform_organizations(conn)?))
        })
        .await?;
    poke(app, &order, &platform);
    Ok((order, owed_back_fen))
}

fn call_off(conn: &mut Conn, order: &Order, now: Timestamp) -> Result<()> {
    let to = model::next(order.state, Event::Cancelled)?;
    exactly_one(store::mark(conn, &order.id, order.state, to, now)?, "order-state").map_err(|e| e.arg("state", order.state))
}
