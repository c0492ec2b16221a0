//! Listings: taxonomy, texts, plans, search. Owns `apps`, `plans`, `scenario_follows`, `specialties`, `scenarios`.
//!
//! Invariants: a listing's texts are those of its newest published release; only `listed` apps are found and sold; the search index
//! and the page cache are derived data, thrown away whenever something changes.

pub mod follows;
pub mod model;
pub mod pictures;
pub mod plans;
pub mod query;
pub mod search;
pub mod service;
pub mod standing;
mod store;
