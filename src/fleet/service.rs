//! Use cases of sites and nodes ([`node`]), of nodes' identities ([`identity`]), of deployments ([`deployment_plan`], [`deployment`])
//! and of freeing seats ([`seat`]).

pub mod deployment;
pub mod deployment_plan;
pub mod identity;
pub mod node;
pub mod seat;

pub use deployment::{deploy, deploy_in, deploy_seen, remove_deployment, remove_deployment_in, removed_in};
pub use deployment_plan::DeployInput;
pub use identity::{Caller, Enrolment, NodeCertificate, enroll, enroll_in, renew};
pub use node::{create_node, create_node_in, create_site, create_site_in, new_code, new_code_in, remove_node, remove_node_in};
pub use seat::release_seat;

pub use super::silence::note_call;
pub use super::store::{
    deployment_counts, licenses_in_use, node_pulses, note_instance, seats_of, set_trouble, sites_of, unheard_deployments,
};

/// Topic of pokes about the operator's overview and fleet lists.
pub const TOPIC: &str = "fleet";
