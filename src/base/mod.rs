//! The ground: what every part needs. It knows no slice of the domain and no HTTP.

pub mod app;
pub mod auth;
pub mod bodies;
pub mod child;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod i18n;
pub mod ids;
pub mod jobs;
pub mod live;
pub mod load;
pub mod metrics;
pub mod networks;
pub mod notify;
pub mod open;
pub mod page_cache;
pub mod pki;
pub mod private;
pub mod rate;
pub mod ready;
pub mod room;
pub mod storage;
pub mod text_index;
pub mod turns;
