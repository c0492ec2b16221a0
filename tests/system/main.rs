//! The product as a whole: `pithead demo` as a process of its own with its three nodes, seen from outside. Strangers try what is not
//! theirs, third-party clients talk to registry and nodes, wrong certificates knock, and processes are killed.
//!
//! Environment (set by `make test`): `ORT_LIB`, `TEST_EDGE_BIN`, `TEST_FFMPEG`, `TEST_SKOPEO`, `TEST_PYTHON`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "make test says in variables where the tests find their tools")]

mod api;
mod certificates;
mod chaos;
mod clients;
mod crashes;
mod damage;
mod demo;
mod durable;
mod evaluation;
mod far;
mod keys;
mod mail;
mod parsers;
mod registry;
mod registry_clients;
mod release;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/sources.rs"]
#[allow(dead_code, reason = "tests/api reads more of the sources")]
mod sources;
mod strangers;
mod tables;
mod trust;
