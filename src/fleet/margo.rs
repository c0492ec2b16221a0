//! Margo's part of the fleet: documents of a node's desired state and reading them, capabilities, status posts. The endpoints are in
//! [`crate::wire::margo`].

pub mod desired;
pub mod documents;
mod faults;
pub mod orders;
pub mod recall;
pub mod served;
pub mod status;
mod store;

use crate::base::auth::Actor;
use crate::base::error::Error;

/// Topic that tells long polls of a node's new desired state.
pub fn desired_topic(node_id: &str) -> String {
    format!("desired:{node_id}")
}

/// The node that calls, and its operator.
pub fn node(actor: &Actor) -> Result<(String, String), Error> {
    match actor {
        Actor::Node { node_id, organization_id } => Ok((node_id.clone(), organization_id.clone())),
        _ => Err(Error::forbidden("not-authorized")),
    }
}

/// Checks that a node speaks for itself only: devices behind a gateway are not supported.
pub fn own_device(node_id: &str, device_id: &str) -> Result<(), Error> {
    if device_id == node_id {
        Ok(())
    } else if device_id.contains('/') {
        Err(Error::not_found("gateway-not-found"))
    } else {
        Err(Error::forbidden("not-authorized"))
    }
}
