//! Seats of licences: the nodes that hold them, the deployments there, and freeing a seat.

use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::fleet::store;
use crate::license::service as licenses;

/// A seat with its node.
#[derive(Debug, Clone)]
pub struct Seat {
    pub node_id: String,
    /// Name of the node.
    pub node: String,
    /// Name of its site.
    pub site: String,
    /// Since when the node holds it.
    pub since: Timestamp,
    /// The deployment on the node by this licence that is not gone.
    pub deployment_id: Option<String>,
}

/// Seats of a licence, by site and node. The caller has checked that the reader may see the licence.
pub fn seats_in(conn: &mut Conn, license_id: &str) -> Result<Vec<Seat>> {
    let deployed = store::deployed_by(conn, license_id)?;
    let seat = |(node_id, node, site, since): (String, String, String, Timestamp)| {
        let deployment_id = deployed.iter().find(|(on, _)| *on == node_id).map(|(_, id)| id.clone());
        Seat { node_id, node, site, since, deployment_id }
    };
    Ok(store::seats(conn, license_id)?.into_iter().map(seat).collect())
}

/// Frees a seat of a node on which the app is not deployed any more.
///
/// # Errors
/// `license`, `license-seat` where the node holds none; `seat-in-use` where the app is still deployed there: remove it first.
pub async fn release_seat(app: &App, actor: &Actor, license_id: String, node_id: String) -> Result<()> {
    let owner = policy::require(actor, Action::Deploy)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        let license = licenses::get_own(c, &license_id, &owner).or_not_found("license")?;
        // The licence is locked, so nobody deploys by it between the check and the freeing.
        licenses::hold_in(c, &license.id)?;
        if store::deployed_by(c, &license.id)?.iter().any(|(node, _)| *node == node_id) {
            return Err(Error::conflict("seat-in-use"));
        }
        if licenses::deactivate_in(c, &license.id, &node_id)? { Ok(()) } else { Err(Error::not_found("license-seat")) }
    })
    .await
}
