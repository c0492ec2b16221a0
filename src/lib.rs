//! Pithead (坑口), an industrial app marketplace for mining. The chain that must hold, and the slice that serves each link:
//!
//! listed ([`registry`], [`release`], [`catalog`]) → checked ([`release`], [`evaluation`]) → approved ([`moderation`]) → bought
//! ([`trade`]) → licensed ([`license`]) → deployed ([`fleet`]) → running ([`telemetry`], [`alarm_management`]) → proven ([`audit`]). [`stops`] ends any of it.
//!
//! Dependencies point one way, row by row: [`base`], the slices in the order of `tests/api/house.rs`, [`http`], [`wire`] and [`site`],
//! [`server`], then [`demo`] and [`cli`]. A slice calls another below it only through its `service`. See docs/ARCHITECTURE.md.

pub mod account;
pub mod alarm_management;
pub mod audit;
pub mod base;
pub mod catalog;
pub mod cli;
pub mod demo;
pub mod draft;
pub mod evaluation;
pub mod fleet;
pub mod http;
pub mod license;
pub mod moderation;
pub mod notice;
pub mod once;
pub mod registry;
pub mod release;
pub mod server;
pub mod site;
pub mod stops;
pub mod telemetry;
#[cfg(test)]
#[allow(clippy::missing_panics_doc, reason = "tests fail by panicking")]
pub mod testing;
pub mod trade;
pub mod trust;
pub mod webhook;
pub mod wire;
