//! What people do with alarms, and what stands before a desk (after ISA-18.2, IEC 62682 and EEMUA 191). Owns the tables `alarm_responses`,
//! `alarm_suppressions`, `alarm_acts` and `equipment_alarms`.
//!
//! Invariants: only a person acknowledges, once, and with their name; an alarm that ends unacknowledged stays on the board; what is shelved
//! comes back by itself, after a shift at most; a rule at a subject is suppressed as a whole, never one alarm of it; each act leaves its row and
//! its audit record. Alarms of apps are telemetry's rows, to which only the word of their answer goes back; which of them are still present says [`presence`] alone.

pub mod board;
pub mod equipment;
pub mod figures;
pub mod flood;
pub mod model;
pub mod precision;
pub mod presence;
pub mod service;
pub mod span;
mod store;
pub mod upkeep;
pub mod wall;

#[cfg(test)]
mod tests;
