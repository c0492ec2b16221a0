//! Tests of the server from outside its slices: texts, schema, routes and rights, the wire.

mod parity;
mod rights;
#[path = "../support/server.rs"]
mod server;
mod texts;
