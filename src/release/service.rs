//! Use cases of releases. Transitions go through [`model::next`]; each is audited in its transaction.

use inference::check::CheckReport;
use serde_json::json;

use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::config::Checks;
use crate::base::db::dialect::Row;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::jobs::Job;
use crate::catalog::model::Owner;
use crate::catalog::service::Newest;
use crate::registry::model::Visibility;
use crate::release::difference::Flag;
use crate::release::model::{Channel, Event, Release, ReleaseLine, ReleaseState};
use crate::release::{comparison, limits, model, signing, store};
use crate::webhook::model::{Event as Told, EventKind};
use crate::{audit, catalog, registry, webhook};

pub use super::store::{find_version, latest_report, versions};

/// Topic of pokes about a release.
pub fn topic(release_id: &str) -> String {
    format!("release:{release_id}")
}

/// Has a failed release checked anew, in the caller's transaction.
pub(super) fn recheck_in(c: &mut Change<'_>, release: &Release, settings: &Checks) -> Result<()> {
    let now = c.now;
    // The manifest of a failed release may be deleted: not until this change ends.
    let owner = hold_repository(c, &release.app_id)?;
    limits::count_check(c, &owner.organization_id, settings, now)?;
    transition(c, release, Event::Rechecked, now)?;
    c.enqueue_for(&owner.organization_id, &Job::CheckRelease { release_id: release.id.clone() })?;
    c.audit("release.rechecked", &release.id, &json!({"digest": release.digest}));
    Ok(())
}

/// Holds the repository of an app, so that its manifests stay until this change ends; gives whose it is.
fn hold_repository(conn: &mut Conn, app_id: &str) -> Result<Owner> {
    let owner = catalog::service::owner(conn, app_id)?;
    if let Some(repository) = registry::service::repository(conn, &owner.repository())? {
        dialect::hold(conn, Row::Repository(&repository.id))?;
    }
    Ok(owner)
}

/// Holds an app, so that decisions on what it publishes, and in which channel, stand in line; before it its repository, whose manifests
/// such a decision writes. A push holds both in this order.
pub(super) fn hold_app(conn: &mut Conn, app_id: &str) -> Result<()> {
    hold_repository(conn, app_id)?;
    Ok(dialect::hold(conn, Row::App(app_id))?)
}

/// Moves a release on by an event, if nothing else has moved it since it was read.
pub(super) fn transition(conn: &mut Conn, release: &Release, event: Event, now: Timestamp) -> Result<ReleaseState> {
    let to = model::next(release.state, event)?;
    exactly_one(store::mark(conn, &release.id, &release.digest, &[release.state], to, now)?, "release-state")?;
    show_manifest(conn, release, to)?;
    Ok(to)
}

/// Tells the registry who may see the manifest of a release in a state, and whether it must stay. A release whose manifest was deleted may
/// go on only to states that need none.
///
/// # Errors
/// `release-content-gone`.
pub(super) fn show_manifest(conn: &mut Conn, release: &Release, state: ReleaseState) -> Result<()> {
    let owner = catalog::service::owner(conn, &release.app_id)?;
    let repository = registry::service::repository(conn, &owner.repository())?;
    let shown = repository.map(|r| registry::service::set_visibility(conn, &r.id, &release.digest, state.visibility())).transpose()?;
    if shown == Some(true) || state.visibility() == Visibility::Private { Ok(()) } else { Err(Error::gone("release-content-gone")) }
}

/// A release of the actor's organisation, for changing it.
pub(super) fn own(conn: &mut Conn, actor: &Actor, release_id: &str) -> Result<Release> {
    let release = get(conn, release_id)?;
    let owner = catalog::service::owner(conn, &release.app_id)?;
    policy::require_own(actor, Action::PublishApps, &owner.organization_id, "release")?;
    Ok(release)
}

/// Runs the check of a failed release again, for example after the platform was short of memory.
///
/// # Errors
/// `release`, `release-state`, `too-many-checks`, `too-many-checks-waiting`.
pub async fn recheck(app: &App, actor: &Actor, release_id: &str) -> Result<()> {
    let person = policy::require(actor, Action::PublishApps)?.clone();
    let (id, settings) = (release_id.to_owned(), app.settings.checks.clone());
    audit::change(app, actor, move |c| {
        let actor = c.actor;
        let release = own(c, actor, &id)?;
        recheck_in(c, &release, &settings)?;
        c.poke(&person.organization_id, topic(&id));
        Ok(())
    })
    .await
}

/// Puts a checked release of the actor's organisation into review, in the caller's transaction; gives it with what is worse than in the
/// version before. The caller opens its case.
///
/// # Errors
/// `release` (not there), `release-state`.
pub fn submit_in(c: &mut Change<'_>, release_id: &str, channel: Channel) -> Result<(Release, Vec<Flag>)> {
    let (actor, now) = (c.actor, c.now);
    let vendor = policy::require(actor, Action::PublishApps)?.organization_id.clone();
    let mut release = own(c, actor, release_id)?;
    release.state = transition(c, &release, Event::Submitted, now)?;
    release.channel = Channel::of(&release.manifest.version, channel);
    store::set_channel(c, &release.id, release.channel, now)?;
    let flags = comparison::compared(c, &release, None)?.map(|(_, difference)| difference.flags).unwrap_or_default();
    let detail = json!({"version": release.version, "digest": release.digest, "channel": release.channel});
    c.audit("release.submitted", &release.id, &detail);
    c.poke(&vendor, topic(release_id));
    c.poke(&vendor, "releases");
    Ok((release, flags))
}

/// Publishes a release in review, in the moderator's transaction: signs its digest as the platform, attaches the signature as a referrer
/// of its manifest, and lists it. The caller has checked that the actor may decide, and pokes `release:<id>`.
///
/// # Errors
/// `release`, `release-state`.
pub fn approve_in(c: &mut Change<'_>, app: &App, release_id: &str) -> Result<()> {
    let now = c.now;
    let mut release = get(c, release_id)?;
    hold_app(c, &release.app_id)?;
    release.state = transition(c, &release, Event::Approved, now)?;
    store::set_published(c, &release.id, now)?;
    let signature = signing::sign_in(c, app, &release, now)?;
    let detail = json!({"version": release.version, "digest": release.digest, "signature": signature, "kid": app.keys.get().approve.kid});
    c.audit("release.published", &release.id, &detail);
    told(c, &release, EventKind::ReleasePublished, None)?;
    list_newest_in(c, &release.app_id)?;
    // Once more after its submission: a set may have been made since.
    c.enqueue(&Job::ScoreRelease { release_id: release.id })
}

/// Tells the developer's webhooks what has become of a release, in the transaction of its cause.
pub fn told(c: &mut Change<'_>, release: &Release, kind: EventKind, reason: Option<&str>) -> Result<()> {
    let (owner, now) = (catalog::service::owner(c, &release.app_id)?, c.now);
    let data = json!({
        "release": release.id, "app": owner.repository(), "version": release.version, "digest": release.digest, "state": release.state,
        "reason": reason,
    });
    webhook::service::tell(c, &owner.organization_id, &Told::new(kind, data), now)
}

/// Moves a release to a state if it is in one of `from`, in the caller's transaction; the caller audits its decision.
///
/// # Errors
/// `release-state`: it is in another state, or the step does not exist.
pub fn mark_in(conn: &mut Conn, release_id: &str, from: &[ReleaseState], to: ReleaseState, now: Timestamp) -> Result<()> {
    let from: Vec<ReleaseState> = from.iter().copied().filter(|state| model::follows(*state, to)).collect();
    let release = get(conn, release_id)?;
    exactly_one(store::mark(conn, release_id, &release.digest, &from, to, now)?, "release-state").map_err(|e| e.arg("state", to))?;
    show_manifest(conn, &release, to)
}

/// A release by id.
///
/// # Errors
/// `release`: there is none.
pub fn get(conn: &mut Conn, id: &str) -> Result<Release> {
    store::get(conn, id).or_not_found("release")
}

/// Makes the highest published release of the best channel the listing's own. Called in the transaction that publishes, promotes,
/// deprecates or recalls, and that holds the app's row: of two at once the second sees what the first has published.
pub(super) fn list_newest_in(c: &mut Change<'_>, app_id: &str) -> Result<()> {
    let newest = latest_published(c, app_id)?;
    catalog::service::list_in(c, app_id, newest.as_ref().map(|r| Newest { release_id: &r.id, digest: &r.digest, manifest: &r.manifest }))
}

/// The highest published version of an app (precedence of Semantic Versioning 2.0.0 §11); of the channel `beta` only where nothing is
/// stable.
pub fn latest_published(conn: &mut Conn, app_id: &str) -> Result<Option<Release>> {
    latest(conn, app_id, ReleaseState::Published)
}

/// As [`latest_published`], for a sale: a deprecated or recalled version where all of them are, since an order may be older than that.
/// The buyer has paid for the app, and the correction that comes is covered.
pub fn latest_sold(conn: &mut Conn, app_id: &str) -> Result<Option<Release>> {
    for state in [ReleaseState::Published, ReleaseState::Deprecated, ReleaseState::Recalled] {
        if let Some(release) = latest(conn, app_id, state)? {
            return Ok(Some(release));
        }
    }
    Ok(None)
}

fn latest(conn: &mut Conn, app_id: &str, state: ReleaseState) -> Result<Option<Release>> {
    let versions = store::versions(conn, app_id, &[state])?;
    let parsed = versions.into_iter().filter_map(|(id, version, channel)| Some((semver::Version::parse(&version).ok()?, channel, id)));
    let rank = |channel: Channel| u8::from(channel == Channel::Stable);
    let Some((.., id)) = parsed.max_by(|(a, ours, _), (b, theirs, _)| rank(*ours).cmp(&rank(*theirs)).then_with(|| a.cmp(b))) else {
        return Ok(None);
    };
    Ok(Some(store::get(conn, &id)?))
}

/// Releases of a developer on one page.
pub const PAGE: i64 = 50;

/// The developer's own releases before an id, newest first, one more than a page; each with the short name of its app.
pub async fn list_own(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<ReleaseLine>> {
    let vendor = policy::require(actor, Action::ViewOwnApps)?.organization_id.clone();
    app.db.read(move |conn| Ok(store::list_own(conn, &vendor, before.as_deref(), PAGE + 1)?)).await
}

/// One of the developer's own releases.
///
/// # Errors
/// `release`: not there, or another's.
pub fn own_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<ReleaseLine> {
    let vendor = &policy::require(actor, Action::ViewOwnApps)?.organization_id;
    store::own_line(conn, vendor, id).or_not_found("release")
}

/// A release of an app by id.
pub fn of_app(conn: &mut Conn, app_id: &str, id: &str) -> Result<Option<Release>> {
    Ok(store::of_app(conn, app_id, id)?)
}

/// The newest releases of an app that buyers have seen, newest first, and how many there are.
pub fn shown(conn: &mut Conn, app_id: &str) -> Result<(Vec<Release>, i64)> {
    Ok(store::shown(conn, app_id)?)
}

/// The last check report of a release.
pub fn check_report(conn: &mut Conn, release_id: &str) -> Result<Option<CheckReport>> {
    Ok(store::latest_report(conn, release_id)?.map(|(report, _)| report))
}

/// The last check report of each of some releases, by release.
pub fn check_reports(conn: &mut Conn, release_ids: &[&str]) -> Result<std::collections::HashMap<String, CheckReport>> {
    Ok(store::latest_reports(conn, release_ids)?)
}

/// Releases by id, in no order; ids that name none are left out.
pub fn get_all(conn: &mut Conn, ids: &[&str]) -> Result<Vec<Release>> {
    Ok(store::get_all(conn, ids)?)
}

/// Version and state of those digests that are releases.
pub fn by_digest(conn: &mut Conn, digests: &[&str]) -> Result<std::collections::HashMap<String, (String, ReleaseState)>> {
    Ok(store::by_digest(conn, digests)?.into_iter().map(|(digest, version, state)| (digest, (version, state))).collect())
}
