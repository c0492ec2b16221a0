//! Queries of orders and payments.

use diesel::prelude::*;

use crate::base::db::schema::{apps, licenses, orders, organizations, payments, users};
use crate::base::db::text::{ESCAPE, lower};
use crate::base::db::{Conn, Timestamp};
use crate::catalog::model::PlanKind;
use crate::trade::model::{Order, OrderLine, OrderState, Payment, Search};

pub fn insert(conn: &mut Conn, order: &Order) -> QueryResult<usize> {
    diesel::insert_into(orders::table).values(order).execute(conn)
}

pub fn get(conn: &mut Conn, id: &str) -> QueryResult<Order> {
    orders::table.find(id).select(Order::as_select()).first(conn)
}

/// Whether some order has this reference.
pub fn reference_taken(conn: &mut Conn, reference: &str) -> QueryResult<bool> {
    let found: i64 = orders::table.filter(orders::reference.eq(reference)).count().get_result(conn)?;
    Ok(found > 0)
}

/// Whether an operator has had its trial of an app.
pub fn trial_used(conn: &mut Conn, organization_id: &str, app_id: &str) -> QueryResult<bool> {
    let of = orders::organization_id.eq(organization_id).and(orders::app_id.eq(app_id)).and(orders::plan_kind.eq(PlanKind::Trial));
    let found: i64 = orders::table.filter(of.and(orders::state.ne(OrderState::Cancelled))).count().get_result(conn)?;
    Ok(found > 0)
}

/// The same order by the same person since a moment.
pub fn find_twin(
    conn: &mut Conn,
    user_id: &str,
    organization_id: &str,
    plan_id: &str,
    nodes: i64,
    since: Timestamp,
) -> QueryResult<Option<Order>> {
    let same = orders::organization_id
        .eq(organization_id)
        .and(orders::placed_by.eq(user_id))
        .and(orders::plan_id.eq(plan_id))
        .and(orders::nodes.eq(nodes));
    orders::table
        .filter(same.and(orders::placed_at.ge(since)).and(orders::state.ne(OrderState::Cancelled)))
        .order(orders::id.desc())
        .select(Order::as_select())
        .first(conn)
        .optional()
}

/// The newest order of an operator for the same that waits for its payment.
pub fn find_unpaid(conn: &mut Conn, organization_id: &str, plan_id: &str, nodes: i64) -> QueryResult<Option<Order>> {
    let same = orders::organization_id.eq(organization_id).and(orders::plan_id.eq(plan_id)).and(orders::nodes.eq(nodes));
    orders::table
        .filter(same.and(orders::state.eq(OrderState::AwaitingPayment)))
        .order(orders::id.desc())
        .select(Order::as_select())
        .first(conn)
        .optional()
}

/// Moves an order from the state `from` to `to`; 0 rows where it is not in `from`.
pub fn mark(conn: &mut Conn, id: &str, from: OrderState, to: OrderState, now: Timestamp) -> QueryResult<usize> {
    diesel::update(orders::table.filter(orders::id.eq(id).and(orders::state.eq(from))))
        .set((orders::state.eq(to), orders::updated_at.eq(now)))
        .execute(conn)
}

/// An operator's orders before an id, newest first, with the vendor's names.
pub fn list_bought(conn: &mut Conn, organization_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<OrderLine>> {
    let mut query = orders::table
        .inner_join(apps::table.on(apps::id.eq(orders::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(orders::vendor_id)))
        .filter(orders::organization_id.eq(organization_id.to_owned()))
        .order(orders::id.desc())
        .limit(limit)
        .select((Order::as_select(), (apps::title_zh, apps::title_en), (organizations::name_zh, organizations::name_en)))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(orders::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// A vendor's orders before an id, newest first, with the buyer's names.
pub fn list_sold(conn: &mut Conn, vendor_id: &str, before: Option<&str>, limit: i64) -> QueryResult<Vec<OrderLine>> {
    let mut query = orders::table
        .inner_join(apps::table.on(apps::id.eq(orders::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(orders::organization_id)))
        .filter(orders::vendor_id.eq(vendor_id.to_owned()))
        .order(orders::id.desc())
        .limit(limit)
        .select((Order::as_select(), (apps::title_zh, apps::title_en), (organizations::name_zh, organizations::name_en)))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(orders::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// Orders after an id that wait for payment, oldest first, with the buyer's names; those that fit a search, or all.
pub fn list_awaiting(conn: &mut Conn, search: Option<&Search>, after: Option<&str>, limit: i64) -> QueryResult<Vec<OrderLine>> {
    let mut query = orders::table
        .inner_join(apps::table.on(apps::id.eq(orders::app_id)))
        .inner_join(organizations::table.on(organizations::id.eq(orders::organization_id)))
        .filter(orders::state.eq(OrderState::AwaitingPayment))
        .order(orders::id)
        .limit(limit)
        .select((Order::as_select(), (apps::title_zh, apps::title_en), (organizations::name_zh, organizations::name_en)))
        .into_boxed();
    if let Some(Search { pattern, amount_fen }) = search {
        let part = || lower(pattern.clone());
        let order = lower(orders::number).like(part()).escape(ESCAPE).or(lower(orders::reference).like(part()).escape(ESCAPE));
        let names = lower(organizations::name_zh).like(part()).escape(ESCAPE).or(lower(organizations::name_en).like(part()).escape(ESCAPE));
        let buyer = names.or(lower(organizations::slug).like(part()).escape(ESCAPE));
        // A text that is no amount matches no order: no amount is negative.
        query = query.filter(order.or(buyer).or(orders::amount_fen.eq(amount_fen.unwrap_or(-1))));
    }
    if let Some(after) = after {
        query = query.filter(orders::id.gt(after.to_owned()));
    }
    query.load(conn)
}

/// Number of orders that wait for payment.
pub fn count_awaiting(conn: &mut Conn) -> QueryResult<i64> {
    orders::table.filter(orders::state.eq(OrderState::AwaitingPayment)).count().get_result(conn)
}

/// How many orders of a buyer wait for their payment.
pub fn count_open(conn: &mut Conn, organization_id: &str) -> QueryResult<i64> {
    let open = orders::organization_id.eq(organization_id).and(orders::state.eq(OrderState::AwaitingPayment));
    orders::table.filter(open).count().get_result(conn)
}

pub fn insert_payment(conn: &mut Conn, payment: &Payment) -> QueryResult<usize> {
    diesel::insert_into(payments::table).values(payment).execute(conn)
}

/// Whether a bank serial is booked.
pub fn serial_used(conn: &mut Conn, serial: &str) -> QueryResult<bool> {
    let found: i64 = payments::table.filter(payments::bank_serial.eq(serial)).count().get_result(conn)?;
    Ok(found > 0)
}

/// Receipts of an order, oldest first, with the name of the person who confirmed each.
pub fn payments_of(conn: &mut Conn, order_id: &str) -> QueryResult<Vec<(Payment, String)>> {
    payments::table
        .inner_join(users::table.on(users::id.eq(payments::confirmed_by)))
        .filter(payments::order_id.eq(order_id))
        .order(payments::id)
        .select((Payment::as_select(), users::name))
        .load(conn)
}

/// Order ids and amounts of the receipts of several orders.
pub fn amounts_of(conn: &mut Conn, order_ids: &[&str]) -> QueryResult<Vec<(String, i64)>> {
    payments::table
        .filter(payments::order_id.eq_any(order_ids.iter().copied()))
        .select((payments::order_id, payments::amount_fen))
        .load(conn)
}

/// Marks all receipts of an order as those that paid it.
pub fn match_payments(conn: &mut Conn, order_id: &str) -> QueryResult<usize> {
    diesel::update(payments::table.filter(payments::order_id.eq(order_id))).set(payments::matched.eq(true)).execute(conn)
}

/// Receipts before an id, newest first, with number and state of their order and the name of the person who confirmed each.
pub fn list_payments(conn: &mut Conn, before: Option<&str>, limit: i64) -> QueryResult<Vec<(Payment, String, OrderState, String)>> {
    let mut query = payments::table
        .inner_join(orders::table.on(orders::id.eq(payments::order_id)))
        .inner_join(users::table.on(users::id.eq(payments::confirmed_by)))
        .order(payments::id.desc())
        .limit(limit)
        .select((Payment::as_select(), orders::number, orders::state, users::name))
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(payments::id.lt(before.to_owned()));
    }
    query.load(conn)
}

/// Licence of an order: id, and when it was issued.
pub fn license_of(conn: &mut Conn, order_id: &str) -> QueryResult<Option<(String, Timestamp)>> {
    licenses::table.filter(licenses::order_id.eq(order_id)).select((licenses::id, licenses::created_at)).first(conn).optional()
}

pub fn user_name(conn: &mut Conn, id: &str) -> QueryResult<String> {
    users::table.find(id).select(users::name).first(conn)
}
