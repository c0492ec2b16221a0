//! Tests of the server from outside its slices: texts, schema, routes and rights, the wire.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "make test says in variables where the tests find their tools")]

mod calls;
mod conditions;
mod crowds;
mod evaluation;
mod forms;
mod house;
mod load;
mod methods;
mod noise;
mod parity;
mod programs;
mod questions;
mod rights;
mod security_headers;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/sources.rs"]
mod sources;
mod texts;
