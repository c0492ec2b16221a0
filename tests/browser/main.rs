//! The whole chain through the pages alone, in a real browser, with a real node: vendor → moderator → operator → node → predict → audit.

#[path = "../support/browser.rs"]
mod browser;
mod journey;
#[path = "../support/server.rs"]
mod server;
