//! Reading a node's desired state, and its capabilities.

use app_package::digest::Digest;
use app_package::margo::DeviceCapabilities;
use chrono::TimeDelta;

use super::{desired, faults, node, store};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::{Error, Result};
use crate::fleet::model::NodeState;
use crate::fleet::service::{self, Caller};

/// Polls note the node's call at most this often: each note is a write.
const NOTE_EVERY: TimeDelta = TimeDelta::seconds(5);

/// Longest capabilities that are stored, in bytes.
const MAX_CAPABILITIES: usize = 16 * 1024;

/// Kind of a stored document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Manifest,
    Deployment,
    Bundle,
}

impl Kind {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Deployment => "deployment",
            Self::Bundle => "bundle",
        }
    }

    /// Error code where the document does not exist.
    pub fn missing(self) -> &'static str {
        match self {
            Self::Manifest | Self::Deployment => "deployment-not-found",
            Self::Bundle => "bundle-not-found",
        }
    }
}

fn not_authorized() -> Error {
    Error::forbidden("not-authorized")
}

/// Notes that a node has called: at the begin of a poll, for while one waits nobody knows whether its line holds.
pub async fn called(app: &App, caller: &Caller) -> Result<()> {
    let now = app.clock.now();
    if caller.calls(now, NOTE_EVERY) {
        let id = caller.node_id().to_owned();
        app.db.write_aside(move |conn| service::note_call(conn, &id, now)).await?;
    }
    Ok(())
}

/// Digest of the node's desired state, written now if it never was. A long poll calls this on every look, so that a node that was removed
/// meanwhile learns nothing more.
pub async fn manifest_digest(app: &App, node_id: &str) -> Result<String> {
    if let Some(digest) = look(app, node_id).await? {
        return Ok(digest);
    }
    desired::rebuild(app, node_id).await?;
    look(app, node_id).await?.ok_or_else(|| Error::unavailable("database-busy"))
}

async fn look(app: &App, node_id: &str) -> Result<Option<String>> {
    let id = node_id.to_owned();
    let head = app.db.read(move |conn| Ok(store::head(conn, &id)?)).await?;
    let Some((NodeState::Enrolled, _, digest, _)) = head else { return Err(not_authorized()) };
    Ok(digest)
}

/// A document of the node, by its digest.
///
/// # Errors
/// `deployment-not-found`, `bundle-not-found`: also for a digest that only another node has.
pub async fn document(app: &App, node_id: &str, digest: &str, kind: Kind) -> Result<Vec<u8>> {
    let missing = move || Error::not_found(kind.missing());
    let digest = Digest::parse(digest).map_err(|_| missing())?;
    let id = node_id.to_owned();
    app.db.read(move |conn| store::document(conn, &id, digest.as_str(), kind.as_str())?.ok_or_else(missing)).await
}

/// Stores the capabilities of a node. Gives whether it had none before.
///
/// # Errors
/// `json-malformed`, `semantic-error` with the fields, `not-authorized`.
pub async fn put_capabilities(app: &App, actor: &Actor, body: &[u8]) -> Result<bool> {
    let json = checked(&node(actor)?.0, body)?;
    audit::change(app, actor, move |c| {
        let node_id = heard(c)?;
        let created = store::capabilities(c, &node_id)?.is_none();
        store::set_capabilities(c, &node_id, Some(&json))?;
        Ok(created)
    })
    .await
}

/// The document as it is stored: the parsed one, so nothing is kept that was not checked. It is gone before anybody waits for the database,
/// for extensions of others take many times their length; and where they make it long they are left out, since it is read with every list
/// of nodes to choose from. We know none.
fn checked(node_id: &str, body: &[u8]) -> Result<String> {
    let mut capabilities = DeviceCapabilities::read(faults::json(body)?).map_err(faults::semantic)?;
    if capabilities.properties.id != node_id {
        return Err(faults::field("properties.id", "must be the device id of the path"));
    }
    let mut text = serde_json::to_string(&capabilities)?;
    if text.len() > MAX_CAPABILITIES {
        capabilities.extensions.clear();
        text = serde_json::to_string(&capabilities)?;
    }
    if text.len() > MAX_CAPABILITIES {
        return Err(faults::field("", "must be at most 16384 bytes without extensions"));
    }
    Ok(text)
}

/// Deletes the capabilities of a node.
///
/// # Errors
/// `device-not-found` where the node has none, `not-authorized`.
pub async fn delete_capabilities(app: &App, actor: &Actor) -> Result<()> {
    audit::change(app, actor, |c| {
        let node_id = heard(c)?;
        if store::capabilities(c, &node_id)?.is_none() {
            return Err(Error::not_found("device-not-found"));
        }
        store::set_capabilities(c, &node_id, None)?;
        Ok(())
    })
    .await
}

/// Notes the call of the node that makes the change, and pokes the pages that show the node; gives its id.
fn heard(c: &mut Change<'_>) -> Result<String> {
    let (node_id, organization_id) = node(c.actor)?;
    let now = c.now;
    if service::note_call(c, &node_id, now)? != 1 {
        return Err(not_authorized());
    }
    c.poke(&organization_id, format!("node:{node_id}"));
    c.poke(&organization_id, service::TOPIC);
    Ok(node_id)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn long_capabilities_lose_their_extensions() {
        let properties = json!({"id": "nod_x", "vendor": "v", "modelNumber": "m", "serialNumber": "s"});
        let stored = |extension: usize, label: usize| {
            let labels: Vec<String> = vec!["x".repeat(500); label];
            let document = json!({"properties": properties, "labels": {"a": labels}, "x-a-extensions": {"a": "x".repeat(extension)}});
            checked("nod_x", document.to_string().as_bytes()).map(|text| serde_json::from_str::<Value>(&text).unwrap())
        };
        assert_eq!(stored(1_000, 2).unwrap()["x-a-extensions"]["a"].as_str().map(str::len), Some(1_000));
        let short = stored(17_000, 2).unwrap();
        assert!(short.get("x-a-extensions").is_none() && short["labels"]["a"].as_array().is_some_and(|all| all.len() == 2));
        assert!(stored(0, 40).unwrap_err().fields[0].args[0].1.contains("16384"));
    }
}
