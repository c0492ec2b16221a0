//! Orders and payments: what an operator buys and owes, and the receipts for it. Owns the tables `orders` and `payments`.
//!
//! Invariants: an order keeps the price of the moment it was placed; its state changes only by [`model::next`], in one transaction with
//! the audit record; a bank serial is booked once; an order is paid exactly when its receipts add up to its amount, and the licence is
//! issued in that same transaction, so that there is never a paid order without one nor a licence without a paid order.

pub mod cancel;
pub mod model;
pub mod service;
mod store;

#[cfg(test)]
mod tests;
