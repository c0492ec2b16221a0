//! Submitting a release: its case is opened in the same transaction, and it is scored on hidden test sets from then on.

use crate::account;
use crate::audit;
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Result;
use crate::base::jobs::Job;
use crate::moderation::service::open_case_in;
use crate::release;
use crate::release::difference::Flag;
use crate::release::model::Channel;

/// Submits a checked release for review, for a channel; a pre-release is always beta.
///
/// # Errors
/// `release` (not there), `release-state`; `case-open`: it waits for a moderator already.
pub async fn submit(app: &App, actor: &Actor, release_id: &str, channel: Channel) -> Result<()> {
    policy::require(actor, Action::PublishApps)?;
    let id = release_id.to_owned();
    audit::change(app, actor, move |c| submit_in(c, &id, channel)).await
}

/// As [`submit`], in the caller's transaction.
pub fn submit_in(c: &mut Change<'_>, release_id: &str, channel: Channel) -> Result<()> {
    let vendor = &policy::require(c.actor, Action::PublishApps)?.organization_id;
    let (release, mut flags) = release::service::submit_in(c, release_id, channel)?;
    if account::service::resembles(c, vendor)?.is_some() {
        flags.push(Flag::NameResembles);
    }
    open_case_in(c, &release, vendor, flags)?;
    c.enqueue_for(vendor, &Job::ScoreRelease { release_id: release.id })
}
