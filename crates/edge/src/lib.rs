//! `pithead-edge`, the node agent: takes the desired state from the server, verifies and runs apps, serves them locally.
//!
//! The node belongs to a mine, not to a data centre: it starts and serves without the server, never lets go of what works
//! before its successor is proven, and believes nothing that is not signed or addressed by digest.

pub mod agent;
pub mod alarms;
pub mod apps;
pub mod clock;
pub mod cloud;
pub mod enroll;
pub mod episodes;
pub mod fault;
pub mod files;
pub mod health;
pub mod host;
pub mod identity;
pub mod install;
pub mod link;
pub mod local;
pub mod machine;
pub mod model;
pub mod orders;
pub mod outbox;
pub mod pictures;
pub mod process;
pub mod providers;
mod rates;
pub mod reconcile;
pub mod release;
pub mod run;
pub mod sources;
pub mod state;
pub mod store;
mod stream;
pub mod telemetry;
pub mod tensor;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token;
pub mod trust;
pub mod usage;
pub mod watches;
pub mod wire;
