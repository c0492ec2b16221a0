//! Listings: taxonomy, texts, plans, search. Owns `apps`, `plans`, `specialties`, `scenarios`.

pub mod jobs;
pub mod routes;
pub mod search;
