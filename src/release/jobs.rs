//! The automatic check: the release's files in a folder of their own, judged by a confined child process.

use std::path::Path;

use app_package::oci::Descriptor;
use app_package::path::PackagePath;
use inference::check::{CheckOptions, CheckReport, STEPS, Step};
use inference::column::Column;
use inference::provider::Library;
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

/// Longest report that is stored, in bytes of JSON, and the items that are kept of the lists of a longer one.
const MAX_REPORT: usize = 256 * 1024;
const MAX_LISTED: usize = 50;

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
    let report = judged(app, &release, &content).await?;
    audit::change(app, &Actor::System, move |c| {
        c.poke(&organization_id, service::topic(&release.id));
        c.poke(&organization_id, "releases");
        record_in(c, &release, report.clone())
    })
    .await
}

/// Lays the files of a release out, has them looked at by the scanner of the settings, and judged.
pub(super) async fn judged(app: &App, release: &Release, content: &[u8]) -> Result<CheckReport> {
    let (_, files) = package::files(content)?;
    let folder = Folder::new(&app.settings, &release.id);
    let (blobs, settings, data) = (app.blobs.clone(), app.settings.checks.clone(), app.settings.data_dir.0.clone());
    tokio::task::spawn_blocking(move || -> Result<CheckReport> {
        let dir = folder.stage("", &blobs, &files)?;
        if let Some(report) = infected(&dir, &files, &settings)? {
            return Ok(report);
        }
        let report = judge(&dir, &settings)?;
        let providers = settings.libraries().unwrap_or_default();
        let own = [dir.as_path(), data.as_path(), Path::new(&settings.ort_lib)];
        let own = own.into_iter().chain(providers.iter().map(|library| library.file.as_path()));
        Ok(bounded(without_paths(report, &own.collect::<Vec<_>>())))
    })
    .await
    .map_err(Error::internal)?
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
    let report = not_run();
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

/// Runs the child on a folder, and again on each provider that the app names and the settings have; blocks for at most the wall time of the
/// settings each. What comes of a provider is a column of the run card and no fault of the app.
///
/// # Errors
/// Only where this program cannot find itself; all else is in the report.
pub fn judge(dir: &Path, settings: &Checks) -> Result<CheckReport> {
    let Some(child) = child(settings)? else { return Ok(not_started("engine-missing", "checks.ort_lib names no file")) };
    let dir = std::fs::canonicalize(dir)?;
    let on = |provider: Option<&Library>| {
        let options = CheckOptions::default();
        worker::run_check_with(&child.program, &[CHILD_COMMAND], &dir, &child.lib, &child.limits, child.wall, options, provider)
    };
    let mut report = on(None);
    for library in &child.providers {
        let named = report.run_card.iter_mut().flat_map(|card| &mut card.providers);
        for column in named.filter(|column| column.provider == library.provider).take(1) {
            *column = Column::of(library.provider, on(Some(library)));
        }
    }
    Ok(report)
}

/// Takes the server's own folders out of what its child says, for the vendor reads it: those of some paths, a file's being the one that it
/// lies in. Names of files stay.
fn without_paths(mut report: CheckReport, paths: &[&Path]) -> CheckReport {
    let real: Vec<_> = paths.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
    let all = paths.iter().copied().chain(real.iter().map(AsRef::as_ref));
    let folders = all.filter_map(|path| if path.is_file() { path.parent() } else { Some(path) });
    let mut folders: Vec<String> =
        folders.filter(|folder| folder.is_absolute() && folder.parent().is_some()).map(|folder| folder.display().to_string()).collect();
    // A folder in another one goes first.
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
    let clean = |text: &mut Option<String>| {
        if let Some(text) = text {
            for folder in &folders {
                *text = without_folder(text, folder);
            }
        }
    };
    report.steps.iter_mut().for_each(|step| clean(&mut step.detail));
    report.golden.iter_mut().flat_map(|golden| &mut golden.samples).for_each(|sample| clean(&mut sample.message));
    report.run_card.iter_mut().flat_map(|card| &mut card.providers).for_each(|column| clean(&mut column.detail));
    report
}

/// A text without a folder: what lies in it is named from there, and the folder itself is `…`. A longer path or name that has the folder's
/// within it stays, for it is the vendor's.
fn without_folder(text: &str, folder: &str) -> String {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let goes_on = |tail: &str| {
        let mut chars = tail.chars();
        match chars.next() {
            // The dot may be that of the sentence.
            Some('.') => chars.next().is_some_and(in_name),
            next => next.is_some_and(in_name),
        }
    };
    let (mut out, mut end) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices(folder) {
        let (head, tail) = (text.get(..at).unwrap_or_default(), text.get(at + folder.len()..).unwrap_or_default());
        if head.chars().next_back().is_some_and(|c| in_name(c) || matches!(c, '.' | '/')) || goes_on(tail) {
            continue;
        }
        out.push_str(text.get(end..at).unwrap_or_default());
        end = at + folder.len();
        if tail.starts_with('/') {
            end += 1;
        } else {
            out.push('…');
        }
    }
    out + text.get(end..).unwrap_or_default()
}

/// A report as it is stored: reports count against no quota, and a child that a package has taken over prints what it likes.
fn bounded(mut report: CheckReport) -> CheckReport {
    let fits = |report: &CheckReport| serde_json::to_string(report).is_ok_and(|text| text.len() <= MAX_REPORT);
    if fits(&report) {
        return report;
    }
    report.faults.truncate(MAX_LISTED);
    if let Some(golden) = &mut report.golden {
        golden.samples.truncate(MAX_LISTED);
    }
    if fits(&report) { report } else { not_started("report-too-long", "the report of the check is too long") }
}

/// The failed report of a check that could not be carried out.
pub(super) fn not_run() -> CheckReport {
    not_started("check-not-run", "the platform could not run the check")
}

/// The failed report of a check whose child did not start.
fn not_started(reason: &str, detail: &str) -> CheckReport {
    let code = STEPS.first().copied().unwrap_or_default().to_owned();
    let step = Step { code, ok: false, reason: Some(reason.to_owned()), detail: Some(detail.to_owned()), notice: None, duration_ms: 0.0 };
    CheckReport { steps: vec![step], ..CheckReport::default() }
}

#[cfg(test)]
mod tests {
    use inference::golden::{GoldenReport, SampleReport};

    use super::*;

    #[test]
    fn a_report_names_files_and_none_of_the_servers_folders() {
        let data = std::env::temp_dir().join(crate::base::ids::new("pithead-paths"));
        let (dir, lib) = (data.join("checks/rel_1"), data.join("engine/libonnxruntime.so.1.32.0"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir_all(data.join("engine")).unwrap();
        std::fs::write(&lib, b"").unwrap();
        let link = data.join("lib.so");
        std::os::unix::fs::symlink(&lib, &link).unwrap();
        let said = |path: &Path| format!("cannot load {}: not here", path.display());
        let step = |path: &Path| Step { detail: Some(said(path)), ..Step::default() };
        let report = CheckReport {
            steps: vec![step(&dir.join("models/a.onnx")), step(&lib), step(&link), step(&dir)],
            golden: Some(GoldenReport {
                samples: vec![SampleReport { message: Some(said(&dir.join("x.csv"))), ..SampleReport::default() }],
                ..GoldenReport::default()
            }),
            ..CheckReport::default()
        };
        let told = without_paths(report, &[&dir, &data, &link]);
        std::fs::remove_dir_all(&data).unwrap();
        assert!(!serde_json::to_string(&told).unwrap().contains(data.to_str().unwrap()), "{told:?}");
        let details: Vec<&str> = told.steps.iter().filter_map(|step| step.detail.as_deref()).collect();
        assert_eq!(details[0], "cannot load models/a.onnx: not here");
        assert_eq!(details[1], "cannot load libonnxruntime.so.1.32.0: not here");
        assert_eq!(told.golden.unwrap().samples[0].message.as_deref(), Some("cannot load x.csv: not here"));
        // Neither the root nor a path that is relative is looked for.
        let report = CheckReport { steps: vec![step(Path::new("/a/b"))], ..CheckReport::default() };
        assert_eq!(without_paths(report.clone(), &[Path::new("/"), Path::new("a"), Path::new("")]), report);
    }

    #[test]
    fn names_of_the_vendor_that_look_like_a_folder_stay() {
        for (said, told) in [
            ("models/data/a.csv", "models/data/a.csv"),
            ("`models/data`", "`models/data`"),
            ("/database/a.csv and /data.csv", "/database/a.csv and /data.csv"),
            ("煤/data/a.csv", "煤/data/a.csv"),
            ("/data/checks/a.csv: not here", "checks/a.csv: not here"),
            ("in \"/data/data/a.csv\"", "in \"data/a.csv\""),
            ("/data: full, so is (/data). See /data.", "…: full, so is (…). See …."),
            ("/data", "…"),
        ] {
            assert_eq!(without_folder(said, "/data"), told);
        }
    }

    #[test]
    fn a_long_report_is_cut_and_one_that_stays_long_has_failed() {
        let step = Step { code: "files".into(), ok: true, ..Step::default() };
        let passed = CheckReport { passed: true, steps: vec![step.clone()], ..CheckReport::default() };
        assert_eq!(bounded(passed.clone()), passed);
        let golden = GoldenReport { samples: vec![SampleReport::default(); 10_000], total: 10_000, ..GoldenReport::default() };
        let cut = bounded(CheckReport { golden: Some(golden), faults: vec![json!("x".repeat(100)); 5_000], ..passed.clone() });
        assert!(cut.passed && cut.steps == passed.steps && cut.faults.len() == MAX_LISTED);
        assert_eq!(cut.golden.map(|golden| (golden.samples.len(), golden.total)), Some((MAX_LISTED, 10_000)));
        let endless = bounded(CheckReport { steps: vec![step; 10_000], ..passed });
        assert_eq!((endless.passed, endless.steps[0].reason.as_deref()), (false, Some("report-too-long")));
    }
}
