//! The order, its states, and the pure decisions: which state follows an event, how receipts balance an order, how numbers are made.

use diesel::prelude::*;

use crate::base::db::text::containing;
use crate::base::db::{Timestamp, schema};
use crate::base::error::{Error, Result};
use crate::base::i18n::Names;
use crate::catalog::model::{PlanKind, PricePlan, parse_yuan};

/// Most nodes of one order.
pub const MAX_NODES: i64 = 10_000;
/// Largest amount of an order in fen: the largest amount of yuan that a form accepts.
pub const MAX_AMOUNT: i64 = 999_999_999_999;
/// Letters of a reference, without those that are mixed up when read aloud or copied by hand (no I, O, 0, 1).
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Action of the audit record of an order that is called off.
pub const CANCELLED: &str = "order.cancelled";

crate::base::db::types::text_enum! {
    pub enum OrderState {
        /// Just placed: the state before the first event.
        Placed = "placed",
        /// Waits for the buyer's own approver.
        AwaitingApproval = "awaiting_approval",
        /// Waits for the buyer's transfer.
        AwaitingPayment = "awaiting_payment",
        /// The whole amount has come in.
        Paid = "paid",
        /// The licence is issued.
        Delivered = "delivered",
        /// The buyer has accepted the delivery.
        Accepted = "accepted",
        /// The vendor has its money.
        Settled = "settled",
        /// Called off before the whole amount was paid.
        Cancelled = "cancelled",
        /// The buyer wants its money back.
        RefundRequested = "refund_requested",
        /// The money went back.
        Refunded = "refunded",
        /// Buyer and vendor do not agree.
        Disputed = "disputed",
    }
}

impl OrderState {
    /// States of an order that is paid, without refund or dispute.
    pub const SOLD: [Self; 4] = [Self::Paid, Self::Delivered, Self::Accepted, Self::Settled];
}

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The buyer's organisation requires an approver's consent.
    ApprovalAsked,
    /// The buyer is told where to transfer.
    PaymentAsked,
    /// The whole amount has come in, or nothing is to be paid.
    Paid,
    /// The licence is issued.
    Delivered,
    /// The buyer accepts.
    Accepted,
    /// The vendor is paid out.
    Settled,
    /// Buyer or finance calls the order off.
    Cancelled,
    /// The buyer asks for its money.
    RefundRequested,
    /// The money goes back.
    Refunded,
    /// Buyer or vendor objects.
    Disputed,
}

impl Event {
    pub const ALL: [Self; 10] = [
        Self::ApprovalAsked,
        Self::PaymentAsked,
        Self::Paid,
        Self::Delivered,
        Self::Accepted,
        Self::Settled,
        Self::Cancelled,
        Self::RefundRequested,
        Self::Refunded,
        Self::Disputed,
    ];
}

/// The state after an event.
///
/// # Errors
/// `order-state`: the event is not possible in this state.
pub fn next(state: OrderState, event: Event) -> Result<OrderState> {
    use Event as E;
    use OrderState as S;
    match (state, event) {
        (S::Placed, E::ApprovalAsked) => Ok(S::AwaitingApproval),
        (S::Placed | S::AwaitingApproval, E::PaymentAsked) => Ok(S::AwaitingPayment),
        (S::Placed | S::AwaitingPayment, E::Paid) => Ok(S::Paid),
        (S::Paid, E::Delivered) => Ok(S::Delivered),
        (S::Delivered, E::Accepted) => Ok(S::Accepted),
        (S::Accepted, E::Settled) => Ok(S::Settled),
        (S::Placed | S::AwaitingApproval | S::AwaitingPayment, E::Cancelled) => Ok(S::Cancelled),
        (S::Paid | S::Delivered | S::Accepted, E::RefundRequested) => Ok(S::RefundRequested),
        (S::RefundRequested, E::Refunded) => Ok(S::Refunded),
        (S::Delivered | S::Accepted | S::RefundRequested, E::Disputed) => Ok(S::Disputed),
        _ => Err(Error::conflict("order-state").arg("state", state)),
    }
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::orders)]
pub struct Order {
    /// `ord_…`.
    pub id: String,
    /// For people: `PH-20261123-0007`.
    pub number: String,
    /// The operator that buys.
    pub organization_id: String,
    /// The vendor that sells.
    pub vendor_id: String,
    pub app_id: String,
    /// Plan ordered.
    pub plan_id: String,
    /// The plan's kind when ordered.
    pub plan_kind: PlanKind,
    /// The plan's price per node when ordered, in fen.
    pub unit_price_fen: i64,
    /// The plan's days when ordered, for a trial.
    pub trial_days: i64,
    pub nodes: i64,
    /// To be paid, in fen.
    pub amount_fen: i64,
    /// The text that the buyer names in the transfer.
    pub reference: String,
    pub state: OrderState,
    /// Who placed it.
    pub placed_by: String,
    pub placed_at: Timestamp,
    /// Last change of state.
    pub updated_at: Timestamp,
}

/// A receipt on the platform's account.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::payments)]
pub struct Payment {
    /// `pay_…`.
    pub id: String,
    /// For which order.
    pub order_id: String,
    /// Received, in fen.
    pub amount_fen: i64,
    /// The bank's number of the transfer; unique, so that no transfer is booked twice.
    pub bank_serial: String,
    /// Account name of the payer, as the bank says.
    pub payer: String,
    /// The receipt is one of those that paid its order in full.
    pub matched: bool,
    /// Who confirmed it.
    pub confirmed_by: String,
    pub confirmed_at: Timestamp,
}

/// An order to be placed.
#[derive(Debug, Clone)]
pub struct PlaceOrder {
    pub plan_id: String,
    pub nodes: i64,
}

/// The amount of so many nodes of a plan, in fen. Trials cost nothing, whatever the plan's price says.
///
/// # Errors
/// `nodes-range` and `trial-nodes` on the field `nodes`; `order-too-large`.
pub fn price(plan: &PricePlan, nodes: i64) -> Result<i64> {
    let most = if plan.kind == PlanKind::Trial { plan.trial_nodes.clamp(1, MAX_NODES) } else { MAX_NODES };
    if !(1..=most).contains(&nodes) {
        let mut faults = crate::base::error::Faults::default();
        faults.add_with("nodes", if plan.kind == PlanKind::Trial { "trial-nodes" } else { "nodes-range" }, "max", most);
        faults.check()?;
    }
    if plan.kind == PlanKind::Trial {
        return Ok(0);
    }
    plan.price_fen
        .checked_mul(nodes)
        .filter(|amount| (0..=MAX_AMOUNT).contains(amount))
        .ok_or_else(|| Error::field("nodes", "order-too-large"))
}

/// What the receipts of an order add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The amount that is missing, in fen.
    Missing(i64),
    /// Exactly paid.
    Exact,
    /// The amount in excess, in fen.
    Over(i64),
}

/// Compares the received amount with the owed one, both in fen and not negative.
pub fn balance(owed: i64, received: i64) -> Balance {
    match received.cmp(&owed) {
        std::cmp::Ordering::Less => Balance::Missing(owed - received),
        std::cmp::Ordering::Equal => Balance::Exact,
        std::cmp::Ordering::Greater => Balance::Over(received - owed),
    }
}

/// A search of finance among the orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Pattern for number, reference, and the buyer's names and slug.
    pub pattern: String,
    /// The typed text read as an amount, in fen; none where it is not one.
    pub amount_fen: Option<i64>,
}

impl Search {
    /// The search for a typed text; none where the text is empty.
    pub fn of(text: &str) -> Option<Self> {
        let text: String = text.trim().chars().take(40).collect();
        (!text.is_empty()).then(|| Self { pattern: containing(&text), amount_fen: parse_yuan(&text) })
    }
}

/// The beginning of all order numbers of a day, by the platform's local time.
pub fn day_prefix(now: Timestamp) -> String {
    format!("PH-{}-", now.utc().with_timezone(&crate::base::i18n::local_offset()).format("%Y%m%d"))
}

/// The number of the day's nth order.
pub fn number(prefix: &str, nth: i64) -> String {
    format!("{prefix}{nth:04}")
}

/// A reference of eight letters out of random bytes (32 letters: each byte is as likely to give any).
pub fn reference(random: [u8; 8]) -> String {
    random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31))).map(|letter| char::from(*letter)).collect()
}

/// A bank serial as it is stored: without white space, in capitals. None where it has not 4 to 64 letters, digits and hyphens.
pub fn bank_serial(text: &str) -> Option<String> {
    let serial: String = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    let fits = (4..=64).contains(&serial.len()) && serial.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    fits.then_some(serial)
}

/// An order in a list.
#[derive(Debug, Clone, Queryable)]
pub struct OrderLine {
    pub order: Order,
    /// Title of the app.
    pub app: Names,
    /// The other side: of a purchase who sells, of a sale who buys.
    pub other: Names,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_states_is_exactly_this() {
        use Event as E;
        use OrderState as S;
        let table = [
            (S::Placed, E::ApprovalAsked, S::AwaitingApproval),
            (S::Placed, E::PaymentAsked, S::AwaitingPayment),
            (S::AwaitingApproval, E::PaymentAsked, S::AwaitingPayment),
            (S::Placed, E::Paid, S::Paid),
            (S::AwaitingPayment, E::Paid, S::Paid),
            (S::Paid, E::Delivered, S::Delivered),
            (S::Delivered, E::Accepted, S::Accepted),
            (S::Accepted, E::Settled, S::Settled),
            (S::Placed, E::Cancelled, S::Cancelled),
            (S::AwaitingApproval, E::Cancelled, S::Cancelled),
            (S::AwaitingPayment, E::Cancelled, S::Cancelled),
            (S::Paid, E::RefundRequested, S::RefundRequested),
            (S::Delivered, E::RefundRequested, S::RefundRequested),
            (S::Accepted, E::RefundRequested, S::RefundRequested),
            (S::RefundRequested, E::Refunded, S::Refunded),
            (S::Delivered, E::Disputed, S::Disputed),
            (S::Accepted, E::Disputed, S::Disputed),
            (S::RefundRequested, E::Disputed, S::Disputed),
        ];
        for state in S::ALL.iter().copied() {
            for event in E::ALL {
                let expected = table.iter().find(|(s, e, _)| *s == state && *e == event).map(|(_, _, to)| *to);
                match next(state, event) {
                    Ok(to) => assert_eq!(Some(to), expected, "{state} {event:?}"),
                    Err(e) => {
                        assert_eq!(e.code, "order-state");
                        assert_eq!(expected, None, "{state} {event:?}");
                    }
                }
            }
        }
    }

    fn plan(kind: PlanKind, price_fen: i64) -> PricePlan {
        let created_at = Timestamp::from_unix(0);
        PricePlan { id: "pln".into(), app_id: "app".into(), kind, price_fen, trial_days: 14, trial_nodes: 2, active: true, created_at }
    }

    #[test]
    fn prices_are_bounded() {
        assert_eq!(price(&plan(PlanKind::Subscription, 128_000), 3).unwrap(), 384_000);
        assert_eq!(price(&plan(PlanKind::Trial, 999), 2).unwrap(), 0);
        for (kind, price_fen, nodes, code) in [
            (PlanKind::Trial, 0, 3, "trial-nodes"),
            (PlanKind::Perpetual, 1, 0, "nodes-range"),
            (PlanKind::Perpetual, 1, -5, "nodes-range"),
            (PlanKind::Perpetual, 1, 10_001, "nodes-range"),
            (PlanKind::Perpetual, i64::MAX, 2, "order-too-large"),
            (PlanKind::Perpetual, MAX_AMOUNT, 2, "order-too-large"),
        ] {
            assert_eq!(price(&plan(kind, price_fen), nodes).unwrap_err().fields[0].code, code);
        }
    }

    #[test]
    fn numbers_and_references_read_well() {
        // 2026-11-23 23:30 in UTC is the next day in China.
        let late = Timestamp::new("2026-11-23T23:30:00Z".parse().unwrap());
        assert_eq!(number(&day_prefix(late), 7), "PH-20261124-0007");
        assert_eq!(number("PH-20261124-", 12_345), "PH-20261124-12345");
        let made = reference([0, 31, 32, 255, 7, 8, 128, 64]);
        assert_eq!(made.len(), 8);
        assert!(made.bytes().all(|b| ALPHABET.contains(&b)));
        assert_eq!(balance(100, 99), Balance::Missing(1));
        assert_eq!(balance(100, 100), Balance::Exact);
        assert_eq!(balance(100, 130), Balance::Over(30));
    }

    #[test]
    fn a_search_is_text_and_perhaps_an_amount() {
        assert_eq!(Search::of("  \u{3000} "), None);
        assert_eq!(Search::of(" 北山 ").unwrap(), Search { pattern: "%北山%".into(), amount_fen: None });
        assert_eq!(Search::of("￥1,280").unwrap().amount_fen, Some(128_000));
    }

    #[test]
    fn serials_are_kept_in_one_form() {
        assert_eq!(bank_serial(" icbc 2026-0001 ").as_deref(), Some("ICBC2026-0001"));
        for bad in ["", "123", "12'; DROP TABLE payments", "<script>alert(1)</script>", "流水号一二三四", &"9".repeat(65)] {
            assert_eq!(bank_serial(bad), None, "{bad}");
        }
    }
}
