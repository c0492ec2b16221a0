//! The whole chain through the pages alone, in a real browser, with a real node: vendor → moderator → operator → node → predict → audit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "make test says in variables where the tests find their tools")]

mod board;
#[path = "../support/browser.rs"]
mod browser;
mod drafts;
mod journey;
mod open_pages;
#[path = "../support/server.rs"]
mod server;
