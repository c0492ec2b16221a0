//! What the platform signs for a node besides its documents: that a manifest is its desired state, until when, and the list of recalled releases.
//!
//! Invariant: a statement names the digest of the bytes that the node was served, so that neither the line nor the node's certificate authority
//! alone can tell it what to run.

use app_package::digest::Digest;
use app_package::dsse::Envelope;
use app_package::orders::{Revocations, StateStatement};
use chrono::TimeDelta;

use super::{served, store};
use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::fleet::model::NodeState;
use crate::release;

/// Life of a statement. A node asks for another one when half of it is over; a line that is down for longer keeps new things away, and stops
/// nothing.
const LIFE: TimeDelta = TimeDelta::days(7);

/// The signed statement on a node's desired state of this moment.
///
/// # Errors
/// `not-authorized`.
pub async fn statement(app: &App, node_id: &str) -> Result<Envelope> {
    // It is written now if it never was.
    served::manifest_digest(app, node_id).await?;
    let id = node_id.to_owned();
    let (head, revocations) = app.db.read(move |conn| Ok((store::head(conn, &id)?, release::recall::count(conn)?))).await?;
    let Some((NodeState::Enrolled, version, Some(digest), _)) = head else { return Err(Error::forbidden("not-authorized")) };
    let (keys, now) = (app.keys.get(), app.clock.now());
    let statement = StateStatement {
        node: app.ca.node_id(node_id),
        manifest_version: u64::try_from(version).map_err(Error::internal)?,
        digest: Digest::parse(&digest).map_err(Error::internal)?,
        root: keys.root.version,
        revocations: u64::try_from(revocations).map_err(Error::internal)?,
        issued: now.unix(),
        expires: now.plus(LIFE).unix(),
    };
    Ok(statement.sign(&keys.state.key))
}

/// The signed list of recalled releases.
pub async fn revocations(app: &App) -> Result<Envelope> {
    let (version, digests) = app.db.read(|conn| Ok((release::recall::count(conn)?, release::recall::digests(conn)?))).await?;
    let mut releases =
        digests.iter().map(|digest| Digest::parse(digest)).collect::<std::result::Result<Vec<_>, _>>().map_err(Error::internal)?;
    releases.sort();
    let list = Revocations { version: u64::try_from(version).map_err(Error::internal)?, releases };
    Ok(list.sign(&app.keys.get().approve.key))
}
