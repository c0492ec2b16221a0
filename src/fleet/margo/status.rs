//! Status posts of nodes. What a post changes is decided by [`decide`], a pure function.

use app_package::margo::{DeploymentStatus, State, StatusError};

use super::{faults, own_device, store};
use chrono::TimeDelta;

use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result, exactly_one};
use crate::base::rate::{self, Rate};
use crate::fleet::model::{Deployment, DeploymentEvent, DeploymentState};
use crate::fleet::{service, store as fleet};

/// How many times a node's rate all nodes of an operator have together.
const TOGETHER: u32 = 20;

/// Age against the last event up to which a state is the present one.
const LEEWAY: TimeDelta = TimeDelta::seconds(2);

/// The meaning of a status post for a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The node reports on an older wish, or has not yet begun with the present one.
    Old,
    /// The deployment is in this state.
    Is(DeploymentState),
    /// The app that was to be removed is gone.
    Gone,
}

/// Decides what a status post means. As long as the node has not adopted the version of the deployment's last change, its report says
/// nothing about that change, whatever the state (Margo: read receipts). After that, only states that lead to the wish count.
pub fn decide(wanted: bool, target: i64, adopted: i64, reported: State) -> Meaning {
    if adopted < target {
        return Meaning::Old;
    }
    match (wanted, reported) {
        (true, State::Pending) => Meaning::Is(DeploymentState::Pending),
        (true, State::Installing) => Meaning::Is(DeploymentState::Installing),
        (true, State::Installed) => Meaning::Is(DeploymentState::Installed),
        (_, State::Failed) => Meaning::Is(DeploymentState::Failed),
        (false, State::Removing) => Meaning::Is(DeploymentState::Removing),
        (false, State::Removed) => Meaning::Gone,
        (true, State::Removing | State::Removed) | (false, State::Pending | State::Installing | State::Installed) => Meaning::Old,
    }
}

/// Takes a status post. Gives whether anything changed that people see.
///
/// # Errors
/// `semantic-error` with the fields, also where the node has no deployment of that id (Margo's table knows no 404 here), `json-malformed`, `not-authorized`, `deployment-changed`
/// where the operator changed the wish at the same moment, `too-many-states` where the node reports more changes than it may.
pub async fn post(app: &App, actor: &Actor, node_id: &str, deployment_id: &str, body: &[u8]) -> Result<bool> {
    let status = DeploymentStatus::read(faults::json(body)?).map_err(faults::semantic)?;
    if status.deployment_id != deployment_id {
        return Err(faults::field("deploymentId", "must be the deployment id of the path"));
    }
    if let Some(device_id) = &status.device_id {
        own_device(node_id, device_id)?;
    }
    let (node_id, per_hour) = (node_id.to_owned(), app.settings.fleet.states_per_hour);
    audit::change(app, actor, move |c| {
        let now = c.now;
        let changed = post_in(c, &node_id, &status, now, per_hour)?;
        if changed {
            // The node forgets a state that was answered.
            c.lasting();
        }
        if let (true, Some(owner)) = (changed, c.actor.organization_id()) {
            c.poke(owner, format!("deployment:{}", status.deployment_id));
            c.poke(owner, format!("node:{node_id}"));
            c.poke(owner, service::TOPIC);
        }
        Ok(changed)
    })
    .await
}

/// Takes a state that a node has told as a record, of a time by the platform's clock; gives the deployment where anything changed that people
/// see. A state that is older than the last one of the history is noted there, and is not what the deployment is in.
///
/// # Errors
/// Those of [`post`].
pub fn recorded(c: &mut Change<'_>, node_id: &str, status: &str, at: Timestamp, per_hour: u32) -> Result<Option<String>> {
    let status = DeploymentStatus::read(faults::json(status.as_bytes())?).map_err(faults::semantic)?;
    let changed = post_in(c, node_id, &status, at, per_hour)?;
    Ok(changed.then_some(status.deployment_id))
}

fn post_in(c: &mut Change<'_>, node_id: &str, status: &DeploymentStatus, at: Timestamp, per_hour: u32) -> Result<bool> {
    let now = c.now;
    // Noting the call locks the node's row, as everything that changes the node's deployments does.
    if service::note_call(c, node_id, now)? != 1 {
        return Err(Error::forbidden("not-authorized"));
    }
    let found = fleet::find_deployment(c, &status.deployment_id)?.filter(|(d, _)| d.node_id == node_id);
    let (deployment, version) = found.ok_or_else(|| faults::field("deploymentId", "is no deployment of this device"))?;
    let current = store::head(c, node_id)?.map_or(0, |(_, version, _, _)| version);
    let adopted = i64::try_from(status.adopted_manifest_version).unwrap_or(i64::MAX);
    if adopted > current {
        return Err(faults::field("adoptedManifestVersion", &format!("must not be higher than the newest version, {current}")));
    }
    let news = store::set_adopted(c, &deployment.id, adopted)? == 1;
    let (state, error) = status.counted();
    let changed = match decide(deployment.wanted, deployment.target_version, adopted, state) {
        Meaning::Old => false,
        Meaning::Is(state) => {
            let moved = move_to(c, &deployment, &version, state, error, at)?;
            if moved {
                count(c, node_id, &deployment.organization_id, per_hour)?;
            }
            moved
        }
        Meaning::Gone => {
            service::removed_in(c, &deployment.id)?;
            true
        }
    };
    Ok(news || changed)
}

/// Counts a row of the history, by node and by operator. Over the rate nothing of the post is kept: the node posts its last state again.
fn count(c: &mut Change<'_>, node_id: &str, organization_id: &str, per_hour: u32) -> Result<()> {
    let of_node = (format!("states:{node_id}"), Rate::hourly(per_hour));
    let of_organization = (format!("states:{organization_id}"), Rate::hourly(per_hour.saturating_mul(TOGETHER)));
    let now = c.now;
    match rate::spend(c, vec![of_node, of_organization], now)? {
        Some(wait) => Err(Error::rate_limited("too-many-states").retry_after(wait)),
        None => Ok(()),
    }
}

/// Writes a state and notes it in the history, if state or error differ from the present ones.
pub(in crate::fleet) fn move_to(
    conn: &mut Conn,
    deployment: &Deployment,
    version: &str,
    state: DeploymentState,
    error: Option<&StatusError>,
    now: Timestamp,
) -> Result<bool> {
    let error = error.filter(|_| state == DeploymentState::Failed).map(words);
    if deployment.state == state && deployment.error == error {
        return Ok(false);
    }
    // What was counted in milliseconds may seem a moment older than it is.
    if fleet::last_event(conn, &deployment.id)?.is_none_or(|last| last <= now.plus(LEEWAY)) {
        exactly_one(store::set_state(conn, deployment, state, error.as_deref())?, "deployment-changed")?;
    }
    let event = DeploymentEvent {
        id: crate::base::ids::new("dev"),
        deployment_id: deployment.id.clone(),
        state: state.as_str().to_owned(),
        version: version.to_owned(),
        error,
        at: now,
        note: None,
        made_by: None,
    };
    service::deployment::happened(conn, &event)?;
    Ok(true)
}

/// `code: message` of an error, as pages show it.
fn words(error: &StatusError) -> String {
    let text = match (error.code.is_empty(), error.message.is_empty()) {
        (false, false) => format!("{}: {}", error.code, error.message),
        (false, true) => error.code.clone(),
        _ => error.message.clone(),
    };
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(2_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_the_wish_counts() {
        use DeploymentState as D;
        for reported in [State::Pending, State::Installing, State::Installed, State::Failed, State::Removing, State::Removed] {
            assert_eq!(decide(true, 5, 4, reported), Meaning::Old);
            assert_eq!(decide(false, 5, 4, reported), Meaning::Old);
        }
        assert_eq!(decide(true, 5, 5, State::Installed), Meaning::Is(D::Installed));
        assert_eq!(decide(true, 5, 7, State::Failed), Meaning::Is(D::Failed));
        assert_eq!(decide(true, 5, 5, State::Removed), Meaning::Old);
        assert_eq!(decide(false, 5, 5, State::Installed), Meaning::Old);
        assert_eq!(decide(false, 5, 5, State::Removing), Meaning::Is(D::Removing));
        assert_eq!(decide(false, 5, 5, State::Removed), Meaning::Gone);
    }
}
