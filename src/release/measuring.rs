//! Measuring a release again: its figures are bound to its digest, but not to the hour in which the machine was busy.
//!
//! Invariants: the state of the release does not change; only a check that passes replaces figures, and what it replaces stays in the
//! history; who asked, and what came of it, is audited.

use inference::check::{CheckReport, RunCard};
use serde_json::json;

use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, OrgKind};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::jobs::Job;
use crate::catalog;
use crate::release::model::{Release, ReleaseState};
use crate::release::{jobs, limits, service, store};

/// States in which a release has figures that somebody goes by.
const MEASURED: [ReleaseState; 5] =
    [ReleaseState::Ready, ReleaseState::InReview, ReleaseState::ChangesRequested, ReleaseState::Published, ReleaseState::Deprecated];

/// Figures that later ones have replaced.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Without what the bytes alone decide.
    pub card: RunCard,
    pub at: Timestamp,
}

/// Whether a release in this state can be measured again.
pub fn is_measurable(state: ReleaseState) -> bool {
    MEASURED.contains(&state)
}

/// Has a release measured again: its developer, or the platform's moderators and administrators.
///
/// # Errors
/// `release` (not there, not theirs); `release-state`; `measure-waiting`: it will be already; `too-many-measurements`, `too-many-checks`.
pub async fn ask(app: &App, actor: &Actor, release_id: &str) -> Result<()> {
    let (id, settings) = (release_id.to_owned(), app.settings.checks.clone());
    audit::change(app, actor, move |c| {
        let (actor, now) = (c.actor, c.now);
        let release = permitted(c, actor, &id)?;
        if !is_measurable(release.state) {
            return Err(Error::conflict("release-state").arg("state", release.state));
        }
        let owner = catalog::service::owner(c, &release.app_id)?.organization_id;
        let by_vendor = actor.organization_id() == Some(owner.as_str());
        // The bucket is held from here on: the second of two who ask at once sees the first one's job.
        limits::count_measurement(c, &release.id, by_vendor.then_some(owner.as_str()), &settings, now)?;
        let job = Job::MeasureRelease { release_id: id.clone() };
        if job.is_open(c)? {
            return Err(Error::conflict("measure-waiting"));
        }
        c.enqueue_for(&owner, &job)?;
        c.audit("release.measuring", &release.id, &json!({"version": release.version, "digest": release.digest}));
        c.poke(&owner, service::topic(&id));
        Ok(())
    })
    .await
}

/// A release that the actor may have measured.
fn permitted(conn: &mut Conn, actor: &Actor, release_id: &str) -> Result<Release> {
    match actor {
        Actor::Person(person, _) if person.kind == OrgKind::Platform => {
            policy::require(actor, Action::DecideCases)?;
            service::get(conn, release_id)
        }
        _ => service::own(conn, actor, release_id),
    }
}

/// Whether a release waits to be measured again.
pub fn waits(conn: &mut Conn, release_id: &str) -> Result<bool> {
    Job::MeasureRelease { release_id: release_id.to_owned() }.is_open(conn)
}

/// Figures of a release that were replaced, newest first.
pub fn history(conn: &mut Conn, release_id: &str) -> Result<Vec<Earlier>> {
    Ok(store::earlier_cards(conn, release_id)?.into_iter().map(|(card, at)| Earlier { card, at }).collect())
}

/// Measures a release: the whole check once more, for figures of what would not pass are none.
pub async fn measure(app: &App, release_id: &str) -> Result<()> {
    let id = release_id.to_owned();
    let found = app
        .db
        .read(move |conn| {
            let release = service::get(conn, &id)?;
            if !is_measurable(release.state) {
                return Ok(None);
            }
            let (organization_id, content) = jobs::content_in(conn, &release)?;
            Ok(Some((release, organization_id, content)))
        })
        .await?;
    let Some((release, organization_id, content)) = found else { return Ok(()) };
    let report = jobs::judged(app, &release, &content).await?;
    audit::change(app, &Actor::System, move |c| {
        c.poke(&organization_id, service::topic(&release.id));
        record_in(c, &release, report.clone())
    })
    .await
}

/// Puts new figures in place of the old ones, which go to the history.
fn record_in(c: &mut Change<'_>, release: &Release, report: CheckReport) -> Result<()> {
    let now = c.now;
    let reason = report.steps.iter().find(|s| !s.ok).and_then(|s| s.reason.clone());
    let median = |report: &CheckReport| report.run_card.as_ref().map(|card| card.latency_ms.median);
    let before = store::latest_report(c, &release.id)?;
    let detail = json!({
        "version": release.version, "digest": release.digest, "passed": report.passed, "reason": reason,
        "median_before": before.as_ref().and_then(|(old, _)| median(old)), "median": median(&report),
    });
    if report.passed {
        if let Some((card, at)) = before.and_then(|(old, at)| Some((old.run_card?, at))) {
            store::keep_card(c, &release.id, card, at)?;
        }
        store::insert_report(c, release, report, now)?;
        // The pages of other replicas go by the mark, those of this one at once.
        catalog::service::touch_in(c, &release.app_id)?;
        c.clear_pages();
    }
    c.audit("release.measured", &release.id, &detail);
    Ok(())
}

#[cfg(test)]
mod tests;
