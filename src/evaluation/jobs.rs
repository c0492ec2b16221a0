//! Scoring: a release's files and a set's archive beside each other, judged by a confined child process.

use inference::evaluate::Evaluation;
use inference::worker;
use serde_json::json;

use super::model::{Score, TestSet};
use super::store;
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::child::{Folder, child};
use crate::base::config::Checks;
use crate::base::db::dialect::{self, Row};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result};
use crate::base::jobs::Job;
use crate::base::storage::BlobStore;
use crate::release::model::Release;
use crate::{audit, release};
use app_package::digest::Digest;

/// The hidden command that turns this program into the child.
pub const CHILD_COMMAND: &str = "evaluation-child";
/// Releases enqueued at once. A check of another organisation waits for one of them at most.
const PAGE: i64 = 20;

/// Enqueues scoring of a scenario's releases after one, a page at a time.
pub async fn fan_out(app: &App, set_id: &str, after: &str) -> Result<()> {
    let (set_id, after) = (set_id.to_owned(), after.to_owned());
    audit::change(app, &Actor::System, move |c| {
        let set = store::get_set(c, &set_id).or_not_found("evaluation-set")?;
        if set.retired_at.is_some() {
            return Ok(());
        }
        let page = store::releases_without(c, &set, &after, PAGE)?;
        for (release_id, organization_id) in &page {
            c.enqueue_for(organization_id, &Job::EvaluateRelease { release_id: release_id.clone(), set_id: set_id.clone() })?;
        }
        match page.last() {
            Some((last, _)) if i64::try_from(page.len()) == Ok(PAGE) => {
                c.enqueue(&Job::EvaluateScenario { set_id: set_id.clone(), after: last.clone() })
            }
            _ => Ok(()),
        }
    })
    .await
}

/// Scores a release on a set. A release that has a figure is left alone, so a second run does nothing.
pub async fn evaluate(app: &App, release_id: &str, set_id: &str) -> Result<()> {
    let (release_id, wanted) = (release_id.to_owned(), set_id.to_owned());
    let found = app.db.read(move |conn| due(conn, &release_id, &wanted)).await?;
    let Some((release, set, content)) = found else { return Ok(()) };
    let evaluation = if release.manifest.input.as_str() == set.input {
        let (_, files) = release::package::files(&content)?;
        // Ids only: the name of a folder can be seen by others on the machine.
        let folder = Folder::new(&app.settings, &format!("{}-{}", release.id, set.id));
        let (blobs, settings) = (app.blobs.clone(), app.settings.checks.clone());
        let set = set.clone();
        tokio::task::spawn_blocking(move || run(&folder, &blobs, &files, &set, &settings)).await.map_err(Error::internal)??
    } else {
        Evaluation::failed("input-kind-differs")
    };
    audit::change(app, &Actor::System, move |c| record_in(c, &release, &set, &evaluation)).await
}

/// Release, set and the release's manifest bytes, if there is something to do.
fn due(conn: &mut Conn, release_id: &str, set_id: &str) -> Result<Option<(Release, TestSet, Vec<u8>)>> {
    let set = store::get_set(conn, set_id).or_not_found("evaluation-set")?;
    let release = release::service::get(conn, release_id)?;
    let scored = store::get_score(conn, release_id, set_id)?.is_some_and(|score| score.value.is_some());
    if scored || set.retired_at.is_some() || release.manifest.scenario != set.scenario || !store::is_scored(&release) {
        return Ok(None);
    }
    let (_, content) = release::jobs::content_in(conn, &release)?;
    Ok(Some((release, set, content)))
}

/// Lays app and archive out and runs the child; blocks for at most the wall time of the settings.
fn run(
    folder: &Folder,
    blobs: &BlobStore,
    files: &[(app_package::path::PackagePath, app_package::oci::Descriptor)],
    set: &TestSet,
    settings: &Checks,
) -> Result<Evaluation> {
    let Some(child) = child(settings)? else { return Ok(Evaluation::failed("engine-missing")) };
    let app = folder.stage("app", blobs, files)?;
    let archive = folder.path().join("set");
    let digest = Digest::parse(&set.digest).map_err(Error::internal)?;
    blobs.lay_blocking(&digest, u64::try_from(set.size_bytes).map_err(Error::internal)?, &archive)?;
    let (app, archive) = (std::fs::canonicalize(app)?, std::fs::canonicalize(archive)?);
    let metric = set.metric.engine();
    Ok(worker::run_evaluation(&child.program, &[CHILD_COMMAND], &app, &archive, &child.lib, metric, &child.limits, child.wall))
}

/// Stores an outcome, unless there is a figure already.
pub(super) fn record_in(c: &mut Change<'_>, release: &Release, set: &TestSet, evaluation: &Evaluation) -> Result<()> {
    // Hold the scenario: of two outcomes at once the second finds the first.
    dialect::hold(c, Row::Scenario(&set.scenario))?;
    if store::get_score(c, &release.id, &set.id)?.is_some_and(|score| score.value.is_some()) {
        return Ok(());
    }
    let hardware = evaluation.hardware.as_ref().map(|h| format!("{} × {} · {}", h.cpu, h.cores, h.architecture));
    // With a figure and a reason the reason counts; a child that gives neither has not run.
    let reason = match (evaluation.value, &evaluation.reason) {
        (Some(_), None) => None,
        (_, Some(reason)) => Some(reason.clone()),
        (None, None) => Some("not-run".to_owned()),
    };
    let score = Score {
        release_id: release.id.clone(),
        set_id: set.id.clone(),
        digest: release.digest.clone(),
        value: evaluation.value.filter(|_| reason.is_none()).map(|value| set.metric.rounded(value)),
        samples: i64::from(evaluation.samples),
        failures: i64::from(evaluation.failures),
        reason,
        engine: evaluation.engine.clone(),
        hardware: hardware.unwrap_or_default(),
        scored_at: c.now,
    };
    store::put_score(c, &score)?;
    let detail = json!({
        "set": set.id, "digest": score.digest, "metric": set.metric, "value": score.value, "samples": score.samples,
        "failures": score.failures, "reason": score.reason,
    });
    c.audit("evaluation.scored", &release.id, &detail);
    c.wake_search();
    Ok(())
}

/// Stores the outcome `not-run` of scoring that could not be carried out on any try; an administrator may have it tried again.
pub fn give_up(conn: &mut Conn, release_id: &str, set_id: &str, now: Timestamp) -> Result<()> {
    let set = store::get_set(conn, set_id).or_not_found("evaluation-set")?;
    let release = release::service::get(conn, release_id)?;
    audit::change_in(conn, &Actor::System, now, |c| record_in(c, &release, &set, &Evaluation::failed("not-run")))
}
