//! Pithead (坑口), an industrial app marketplace for mining. The chain that must hold, and the slice that serves each link:
//!
//! listed ([`registry`], [`release`], [`catalog`]) → checked ([`release`], [`evaluation`]) → approved ([`moderation`]) → bought ([`trade`]) → licensed
//! ([`license`]) → deployed ([`fleet`]) → running ([`telemetry`]) → proven ([`audit`]).
//!
//! Dependencies point one way: http → slice → db. A slice calls another only through its `service`. See docs/ARCHITECTURE.md.

pub mod account;
pub mod app;
pub mod audit;
pub mod auth;
pub mod catalog;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod demo;
pub mod error;
pub mod evaluation;
pub mod fleet;
pub mod http;
pub mod i18n;
pub mod ids;
pub mod jobs;
pub mod license;
pub mod live;
pub mod metrics;
pub mod moderation;
pub mod pki;
pub mod registry;
pub mod release;
pub mod server;
pub mod storage;
pub mod telemetry;
#[cfg(test)]
#[allow(clippy::missing_panics_doc, reason = "tests fail by panicking")]
pub mod testing;
pub mod trade;
pub mod trust;
