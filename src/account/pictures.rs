//! What a mine wants of pictures of its alarms. Its nodes are told so with each answer to their reports.

use serde_json::json;

use super::model::AlarmPictures;
use super::store;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Conn;
use crate::base::error::Result;

/// What an organisation wants. The caller has asked for the right to see it.
pub fn chosen(conn: &mut Conn, organization_id: &str) -> Result<AlarmPictures> {
    Ok(store::alarm_pictures(conn, organization_id)?)
}

/// Chooses what the actor's mine wants from now on. What is here already stays.
///
/// # Errors
/// `not-permitted`.
pub async fn choose(app: &App, actor: &Actor, wanted: AlarmPictures) -> Result<()> {
    let owner = policy::require(actor, Action::ManageNodes)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        if store::set_alarm_pictures(c, &owner, wanted)? == 1 {
            c.audit("alarm.pictures-chosen", &owner, &json!({"pictures": wanted}));
        }
        Ok(())
    })
    .await
}
