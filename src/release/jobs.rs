//! The automatic check: the release's files in a folder of their own, judged by a confined child process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use app_package::oci::Descriptor;
use app_package::path::PackagePath;
use inference::check::{CheckReport, STEPS, Step};
use inference::sandbox::Limits;
use inference::worker;
use serde_json::json;

use super::malware::{self, Patience};
use super::model::{Event, Release, ReleaseState};
use super::{package, service, store};
use crate::app::App;
use crate::auth::Actor;
use crate::config::{Checks, Settings};
use crate::db::{Conn, Timestamp};
use crate::error::{Error, Result};
use crate::storage::BlobStore;
use crate::{audit, evaluation, ids, registry};

/// The hidden command that turns this program into the child.
pub const CHILD_COMMAND: &str = "check-child";
/// Open files of the child.
const OPEN_FILES: u64 = 256;

/// Checks a release and stores the report. A release that does not wait for a check is left alone, so doing it twice does it once.
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
    let now = app.clock.now();
    app.db.write(move |conn| record_in(conn, &release, report, now)).await?;
    app.live.poke(&organization_id, service::topic(release_id));
    app.live.poke(&organization_id, "releases");
    Ok(())
}

/// The organisation that a release belongs to, and the bytes of its manifest.
pub(crate) fn content_in(conn: &mut Conn, release: &Release) -> Result<(String, Vec<u8>)> {
    let owner = store::owner(conn, &release.app_id)?;
    let lost = || Error::internal(anyhow::anyhow!("manifest of release {} is gone", release.id));
    let repository = registry::service::repository(conn, &owner.repository())?.ok_or_else(lost)?;
    let stored = registry::service::find_manifest(conn, &repository.id, &release.digest)?.ok_or_else(lost)?;
    Ok((owner.organization_id, stored.content))
}

/// A check that could not be carried out, try after try, ends as failed with that reason; the vendor may have it checked again.
pub fn give_up(conn: &mut Conn, release_id: &str, now: Timestamp) -> Result<()> {
    let release = service::get(conn, release_id)?;
    if release.state != ReleaseState::Checking {
        return Ok(());
    }
    record_in(conn, &release, not_started("check-not-run", "the platform could not run the check"), now)
}

fn record_in(conn: &mut Conn, release: &Release, report: CheckReport, now: Timestamp) -> Result<()> {
    let event = if report.passed { Event::CheckPassed } else { Event::CheckFailed };
    service::transition(conn, release, event, now)?;
    let reason = report.steps.iter().find(|s| !s.ok).and_then(|s| s.reason.clone());
    let detail = json!({"digest": release.digest, "passed": report.passed, "reason": reason});
    if report.passed {
        evaluation::service::score_release_in(conn, &release.id, &release.manifest.scenario, now)?;
    }
    store::insert_report(conn, release, report, now)?;
    audit::record(conn, now, &Actor::System, "release.checked", &release.id, &detail)
}

/// The report of a package in which the scanner of the settings finds something; without a scanner none.
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

/// What a confined child is run with. It works in `/`, so all paths are absolute.
pub(crate) struct Child {
    /// Program.
    pub program: PathBuf,
    /// Library of the engine.
    pub lib: PathBuf,
    /// Limits.
    pub limits: Limits,
    /// Time after which it is ended.
    pub wall: Duration,
}

/// What the settings say of children; none where the engine's library is not there.
pub(crate) fn child(settings: &Checks) -> Result<Option<Child>> {
    let Ok(lib) = std::fs::canonicalize(&settings.ort_lib) else { return Ok(None) };
    let program = if settings.program.is_empty() { std::env::current_exe()? } else { PathBuf::from(&settings.program) };
    let limits =
        Limits { memory_bytes: settings.memory_mib.saturating_mul(1 << 20), cpu_seconds: settings.cpu_seconds, open_files: OPEN_FILES };
    Ok(Some(Child { program, lib, limits, wall: Duration::from_secs(settings.wall_seconds) }))
}

/// A report that ends before the child began.
fn not_started(reason: &str, detail: &str) -> CheckReport {
    let code = STEPS.first().copied().unwrap_or_default().to_owned();
    let step = Step { code, ok: false, reason: Some(reason.to_owned()), detail: Some(detail.to_owned()), duration_ms: 0.0 };
    CheckReport { steps: vec![step], ..CheckReport::default() }
}

/// A folder for one run, gone with the value.
pub(crate) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
        // The last run under a name takes that with it; with another one in it, it stays.
        if let Some(name) = self.0.parent() {
            let _ = std::fs::remove_dir(name);
        }
    }
}

/// After this time a folder of the same name is a leftover of a crash: no run lasts as long.
const LEFTOVER: Duration = Duration::from_hours(6);

/// Removes a folder. One that stays only costs space; a later run under the same name removes it.
fn remove(dir: &Path) {
    if let Err(e) = std::fs::remove_dir_all(dir)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %dir.display(), error = %e, "check folder stays");
    }
}

impl Folder {
    /// A folder of this run alone, of a name that tells nobody anything; made when something is laid out in it. Two runs under one
    /// name may overlap, where a job is claimed again or queued twice.
    pub(crate) fn new(settings: &Settings, name: &str) -> Self {
        Self(settings.data_dir.0.join("checks").join(name).join(ids::new("run")))
    }

    /// Removes what a crash has left of earlier runs under the same name.
    fn sweep(&self) {
        let runs = self.0.parent().and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
        let old = |entry: &std::fs::DirEntry| {
            let changed = entry.metadata().and_then(|known| known.modified());
            changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFTOVER))
        };
        runs.filter(old).for_each(|entry| remove(&entry.path()));
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Lays a package's blobs out by their paths, below a folder of this one or, for an empty name, in it; gives where.
    pub(crate) fn stage(&self, below: &str, blobs: &BlobStore, files: &[(PackagePath, Descriptor)]) -> Result<PathBuf> {
        self.sweep();
        let dir = if below.is_empty() { self.0.clone() } else { self.0.join(below) };
        std::fs::create_dir_all(&dir)?;
        for (path, layer) in files {
            let target = dir.join(path.as_str());
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            blobs.lay_blocking(&layer.digest, layer.size, &target)?;
        }
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_under_one_name_do_not_meet() {
        let data = std::env::temp_dir().join(ids::new("pithead-folders"));
        let mut settings = Settings::default();
        settings.data_dir.0 = data.clone();
        let blobs = BlobStore::open(&data, &settings.storage).unwrap();
        let (one, two) = (Folder::new(&settings, "rel_1"), Folder::new(&settings, "rel_1"));
        let first = one.stage("", &blobs, &[]).unwrap();
        std::fs::write(first.join("app.yaml"), "x").unwrap();
        let second = two.stage("", &blobs, &[]).unwrap();
        assert!(first != second && first.join("app.yaml").exists());
        drop(two);
        assert!(!second.exists() && first.join("app.yaml").exists());
        drop(one);
        assert_eq!(std::fs::read_dir(data.join("checks")).unwrap().count(), 0);
        std::fs::remove_dir_all(data).unwrap();
    }
}
