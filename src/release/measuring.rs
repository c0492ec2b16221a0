//! Measuring a release again: its figures are bound to its digest, but not to the hour in which the machine was busy.
//!
//! Invariants: the state of the release does not change; only a check that passes gives figures, and steady ones are not replaced by others
//! that are not; the figures that are not shown stay in the history; who asked, and what came of it, is audited and told to the developer.

use inference::check::{CheckReport, RunCard};
use serde::{Deserialize, Serialize};
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

/// Figures of another measurement than the one that is shown.
#[derive(Debug, Clone)]
pub struct Other {
    /// Without what the bytes alone decide.
    pub card: RunCard,
    pub at: Timestamp,
}

/// Figures of a release beside those that are shown.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The newest, newest first.
    pub newest: Vec<Other>,
    /// How many there are.
    pub total: i64,
}

/// What came of measuring a release again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub at: Timestamp,
    pub figures: Figures,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What has become of new figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figures {
    /// They are shown.
    Shown,
    /// They were not steady, those before are: they went to the history.
    Uncertain,
    /// The check did not pass.
    None,
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

/// Figures of a release beside those that are shown.
pub fn history(conn: &mut Conn, release_id: &str) -> Result<History> {
    let (cards, total) = store::other_cards(conn, release_id)?;
    Ok(History { newest: cards.into_iter().map(|(card, at)| Other { card, at }).collect(), total })
}

/// What came of the last time that a release was measured again.
pub fn outcome(conn: &mut Conn, release_id: &str) -> Result<Option<Outcome>> {
    Ok(store::measured(conn, release_id)?)
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

/// Ends a measurement that could not be carried out on any try.
pub fn give_up(conn: &mut Conn, release_id: &str, now: Timestamp) -> Result<()> {
    let release = service::get(conn, release_id)?;
    if !is_measurable(release.state) {
        return Ok(());
    }
    audit::change_in(conn, &Actor::System, now, |c| record_in(c, &release, jobs::not_run()))
}

/// Whether times are known to be those of the app.
fn is_steady(card: &RunCard) -> bool {
    card.latency_ms.measured.is_some_and(|how| how.steady)
}

/// Puts new figures in place of the old ones, which go to the history; or the new ones there, where only the old ones are steady.
fn record_in(c: &mut Change<'_>, release: &Release, report: CheckReport) -> Result<()> {
    let now = c.now;
    let reason = report.steps.iter().find(|s| !s.ok).and_then(|s| s.reason.clone());
    let median = |report: &CheckReport| report.run_card.as_ref().map(|card| card.latency_ms.median);
    let before = store::latest_report(c, &release.id)?;
    let detail = json!({
        "version": release.version, "digest": release.digest, "passed": report.passed, "reason": reason,
        "median_before": before.as_ref().and_then(|(old, _)| median(old)), "median": median(&report),
        "steady": report.run_card.as_ref().map(is_steady),
    });
    let old = before.and_then(|(old, at)| Some((old.run_card?, at)));
    let steady = report.run_card.as_ref().is_some_and(is_steady);
    let figures = match &old {
        _ if !report.passed => Figures::None,
        Some((card, _)) if is_steady(card) && !steady => Figures::Uncertain,
        _ => Figures::Shown,
    };
    let aside = match figures {
        Figures::None => None,
        Figures::Uncertain => report.run_card.clone().map(|card| (card, now)),
        Figures::Shown => old,
    };
    if let Some((card, at)) = aside {
        store::keep_card(c, &release.id, card, at)?;
    }
    if figures == Figures::Shown {
        store::insert_report(c, release, report, now)?;
    }
    if figures != Figures::None {
        // The pages of other replicas go by the mark, those of this one at once.
        catalog::service::touch_in(c, &release.app_id)?;
        c.clear_pages();
    }
    store::set_measured(c, &release.id, Outcome { at: now, figures, reason })?;
    c.audit("release.measured", &release.id, &detail);
    Ok(())
}

#[cfg(test)]
mod tests;
