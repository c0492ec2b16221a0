//! The automatic check: the release's files in a folder of their own, judged by a confined child process.

use std::path::Path;

use app_package::oci::Descriptor;
use app_package::path::PackagePath;
use inference::check::{CheckReport, STEPS, Step};
use inference::worker;
use serde_json::json;

use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::child::{Folder, child};
use crate::base::config::Checks;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::release::malware::Patience;
use crate::release::model::{Event, Release, ReleaseState};
use crate::release::{malware, package, service, store};
use crate::{audit, catalog, registry};

/// The hidden command that turns this program into the child.
pub const CHILD_COMMAND: &str = "check-child";

/// Checks a release and stores the report. A release that does not wait for a check is left alone, so a second run does nothing.
pub async fn check(app: &App, release_id: &str) -> Result<()> {
    let id = release_id.to_owned();
    let found = app
        .db
        .read(move |conn| {
            let release = service::get(conn, &id)?;
            if release.state != ReleaseState::Checking {
                return Ok(None);
            }
            let (organization_id, content) = content_in(conn, &release)?;
            Ok(Some((release, organization_id, content)))
        })
        .await?;
    let Some((release, organization_id, content)) = found else { return Ok(()) };
    let (_, files) = package::files(&content)?;
    let folder = Folder::new(&app.settings, &release.id);
    let (blobs, settings) = (app.blobs.clone(), app.settings.checks.clone());
    let report = tokio::task::spawn_blocking(move || -> Result<CheckReport> {
        let dir = folder.stage("", &blobs, &files)?;
        if let Some(report) = infected(&dir, &files, &settings)? {
            return Ok(report);
        }
        judge(&dir, &settings)
    })
    .await
    .map_err(Error::internal)??;
    audit::change(app, &Actor::System, move |c| {
        c.poke(&organization_id, service::topic(&release.id));
        c.poke(&organization_id, "releases");
        record_in(c, &release, report.clone())
    })
    .await
}

/// The organisation that a release belongs to, and the bytes of its manifest.
pub(crate) fn content_in(conn: &mut Conn, release: &Release) -> Result<(String, Vec<u8>)> {
    let owner = catalog::service::owner(conn, &release.app_id)?;
    let lost = || Error::internal(anyhow::anyhow!("manifest of release {} is gone", release.id));
    let repository = registry::service::repository(conn, &owner.repository())?.ok_or_else(lost)?;
    let stored = registry::service::find_manifest(conn, &repository.id, &release.digest)?.ok_or_else(lost)?;
    Ok((owner.organization_id, stored.content))
}

/// Ends a check that could not be carried out on any try: the release has failed, and the vendor may have it checked again.
pub fn give_up(conn: &mut Conn, release_id: &str, now: Timestamp) -> Result<()> {
    let release = service::get(conn, release_id)?;
    if release.state != ReleaseState::Checking {
        return Ok(());
    }
    let report = not_started("check-not-run", "the platform could not run the check");
    audit::change_in(conn, &Actor::System, now, |c| record_in(c, &release, report))
}

fn record_in(c: &mut Change<'_>, release: &Release, report: CheckReport) -> Result<()> {
    let now = c.now;
    let event = if report.passed { Event::CheckPassed } else { Event::CheckFailed };
    service::transition(c, release, event, now)?;
    let reason = report.steps.iter().find(|s| !s.ok).and_then(|s| s.reason.clone());
    let detail = json!({"digest": release.digest, "passed": report.passed, "reason": reason});
    store::insert_report(c, release, report, now)?;
    c.audit("release.checked", &release.id, &detail);
    Ok(())
}

/// The failed report of a package in which the scanner of the settings finds malware; none for a clean one or without a scanner.
///
/// # Errors
/// `scanner-unreachable`, whereupon the job is tried again.
fn infected(dir: &Path, files: &[(PackagePath, Descriptor)], settings: &Checks) -> Result<Option<CheckReport>> {
    if settings.clamd_socket.is_empty() {
        return Ok(None);
    }
    let paths = files.iter().map(|(path, _)| path.as_str());
    let found = malware::scan(&settings.clamd_socket, Patience::default(), dir, paths)?;
    Ok(found.map(|found| not_started("malware-found", &format!("`{}`: {}", found.path, found.signature))))
}

/// Runs the child on a folder; blocks for at most the wall time of the settings.
///
/// # Errors
/// Only where this program cannot find itself; all else is in the report.
pub fn judge(dir: &Path, settings: &Checks) -> Result<CheckReport> {
    let Some(child) = child(settings)? else { return Ok(not_started("engine-missing", "checks.ort_lib names no file")) };
    let dir = std::fs::canonicalize(dir)?;
    Ok(worker::run_check(&child.program, &[CHILD_COMMAND], &dir, &child.lib, &child.limits, child.wall))
}

/// The failed report of a check whose child did not start.
fn not_started(reason: &str, detail: &str) -> CheckReport {
    let code = STEPS.first().copied().unwrap_or_default().to_owned();
    let step = Step { code, ok: false, reason: Some(reason.to_owned()), detail: Some(detail.to_owned()), duration_ms: 0.0 };
    CheckReport { steps: vec![step], ..CheckReport::default() }
}
