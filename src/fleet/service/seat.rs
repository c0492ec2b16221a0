//! Freeing a seat of a licence.

use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::fleet::store;
use crate::license::service as licenses;

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
        if store::is_deployed(c, &license.id, &node_id)? {
            return Err(Error::conflict("seat-in-use"));
        }
        if licenses::deactivate_in(c, &license.id, &node_id)? { Ok(()) } else { Err(Error::not_found("license-seat")) }
    })
    .await
}
