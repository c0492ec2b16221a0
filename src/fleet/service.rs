//! Use cases of sites and nodes ([`node`]), of nodes' identities ([`identity`]), of deployments ([`deployment`]) and of the overview.

pub mod deployment;
pub mod identity;
pub mod node;

use app_package::license::Verdict;

pub use deployment::{DeployInput, deploy, remove_deployment, removed_in};
pub use identity::{Enrolled, authenticate_node, enroll, enroll_in, renew};
pub use node::{create_node, create_site, new_code, remove_node};

use super::model::{DeploymentState, NodeState, ONLINE_WITHIN};
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Result;
use crate::catalog::model::AppName;
use crate::license;
use crate::license::model::License;
use crate::telemetry;

/// Topic of everything that the operator's overview and lists show.
pub const TOPIC: &str = "fleet";

/// What the operator sees first.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Sites.
    pub sites: i64,
    /// Nodes that are up.
    pub online: i64,
    /// Nodes that are enrolled and not up.
    pub offline: i64,
    /// Nodes that wait for their first call.
    pub waiting: i64,
    /// Apps that run.
    pub running: i64,
    /// Apps that failed.
    pub failed: i64,
    /// Apps on their way.
    pub under_way: i64,
    /// Latest alarms.
    pub alarms: Vec<telemetry::model::AlarmLine>,
    /// Licences that end within 30 days or are in grace.
    pub ending: Vec<(License, AppName)>,
}

/// The operator's overview.
pub async fn overview(app: &App, actor: &Actor) -> Result<Overview> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            let sites = store::list_sites(conn, &owner)?.len();
            let (mut online, mut offline, mut waiting) = (0, 0, 0);
            for (_, state, seen) in store::node_pulses(conn, &owner)? {
                match state {
                    NodeState::Waiting => waiting += 1,
                    // Its agent has never called.
                    NodeState::Enrolled if seen.is_none() => waiting += 1,
                    NodeState::Enrolled if seen.is_some_and(|at| at.plus(ONLINE_WITHIN) >= now) => online += 1,
                    _ => offline += 1,
                }
            }
            let (mut running, mut failed, mut under_way) = (0, 0, 0);
            for (state, n) in store::deployment_counts(conn, &owner)? {
                match state {
                    DeploymentState::Installed => running += n,
                    DeploymentState::Failed => failed += n,
                    DeploymentState::Removed => {}
                    _ => under_way += n,
                }
            }
            let alarms = telemetry::service::latest_alarms(conn, &owner, 5)?;
            let mut ending = license::service::ending(conn, &owner, now)?;
            // What is long over is history, not news, unless something still wants to run by it.
            let ids: Vec<&str> = ending.iter().map(|(l, _)| l.id.as_str()).collect();
            let used = store::licenses_in_use(conn, &ids)?;
            ending.retain(|(l, _)| !matches!(l.verdict_at(now), Verdict::Expired { grace_until: None }) || used.contains(&l.id));
            Ok(Overview {
                sites: i64::try_from(sites).unwrap_or(i64::MAX),
                online,
                offline,
                waiting,
                running,
                failed,
                under_way,
                alarms,
                ending,
            })
        })
        .await
}
