//! Publishing a demo app: upload, check, submit, approve, as a vendor and a moderator do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use app_package::digest::Digest;
use app_package::manifest::AppManifest;
use app_package::validate;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::moderation::model::ModerationDecision;
use crate::release::model::{Channel, ReleaseState};
use crate::release::upload::{Upload, UploadFile};
use crate::{moderation, registry, release};

/// The files of an app's folder, by path.
pub fn read_folder(dir: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("no demo app at {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir)?.to_string_lossy().replace('\\', "/");
                files.push((name, std::fs::read(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The manifest of an app's files.
pub fn manifest_of(files: &[(String, Vec<u8>)]) -> anyhow::Result<AppManifest> {
    let yaml = files.iter().find(|(name, _)| name == "app.yaml").context("no app.yaml")?;
    validate::parse(std::str::from_utf8(&yaml.1)?).map_err(|faults| {
        let texts: Vec<String> = faults.iter().map(|f| f.message("en")).collect();
        anyhow::anyhow!("app.yaml: {}", texts.join("; "))
    })
}

/// Uploads an app as its vendor; gives the id of the release, whose check is queued.
pub async fn upload(app: &App, vendor: &Actor, files: &[(String, Vec<u8>)]) -> anyhow::Result<String> {
    let manifest = manifest_of(files)?;
    let person = vendor.person().map_err(to_anyhow)?;
    let name = format!("{}/{}", person.organization_slug, manifest.name);
    let (organization_id, now) = (person.organization_id.clone(), app.clock.now());
    let repository = app
        .db
        .write({
            let name = name.clone();
            move |conn| registry::service::ensure_repository(conn, &organization_id, &name, now)
        })
        .await
        .map_err(to_anyhow)?;
    let mut listed = Vec::with_capacity(files.len());
    let mut yaml = String::new();
    for (path, bytes) in files {
        if path == "app.yaml" {
            yaml = String::from_utf8(bytes.clone())?;
        }
        registry::service::store_blob_small(app, &repository.id, bytes).await.map_err(to_anyhow)?;
        listed.push(UploadFile { path: path.clone(), size: bytes.len() as u64, digest: Digest::of(bytes).to_string() });
    }
    let address = release::upload::finish_upload(app, vendor, Upload { yaml, files: listed }, None).await.map_err(to_anyhow)?;
    address.map_err(|faults| anyhow::anyhow!("{name} refused: {faults:?}"))?;
    let found = find(app, &name, &manifest.version.to_string()).await?;
    Ok(found.with_context(|| format!("{name} was not kept"))?.0)
}

/// The release of a repository's tag, and its state.
pub async fn find(app: &App, repository: &str, tag: &str) -> anyhow::Result<Option<(String, ReleaseState)>> {
    use crate::base::db::schema::{releases, repositories, tags};
    use diesel::prelude::*;
    let (repository, tag) = (repository.to_owned(), tag.to_owned());
    let found = app.db.read(move |conn| {
        let digest = tags::table
            .inner_join(repositories::table.on(repositories::id.eq(tags::repository_id)))
            .filter(repositories::name.eq(repository).and(tags::name.eq(tag)))
            .select(tags::digest)
            .first::<String>(conn)
            .optional()?;
        let Some(digest) = digest else { return Ok(None) };
        let release = releases::table.filter(releases::digest.eq(digest)).order(releases::id.desc());
        Ok(release.select((releases::id, releases::state)).first(conn).optional()?)
    });
    found.await.map_err(to_anyhow)
}

/// Waits until the server has checked a release.
pub async fn checked(app: &App, release_id: &str) -> anyhow::Result<()> {
    loop {
        let id = release_id.to_owned();
        let release = app.db.read(move |conn| release::service::get(conn, &id)).await.map_err(to_anyhow)?;
        match release.state {
            ReleaseState::Checking => {}
            ReleaseState::Failed => {
                let id = release_id.to_owned();
                let report = app.db.read(move |conn| release::service::check_report(conn, &id)).await.map_err(to_anyhow)?;
                let reasons: Vec<String> = report.map(|r| r.steps.into_iter().filter_map(|s| s.reason).collect()).unwrap_or_default();
                anyhow::bail!("{} {} failed its check: {}", release.manifest.name, release.version, reasons.join("; "));
            }
            _ => return Ok(()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Submits a checked release as its vendor and approves it as a moderator.
pub async fn approve(app: &App, vendor: &Actor, moderator: &Actor, release_id: &str, reason: &str) -> anyhow::Result<()> {
    moderation::submission::submit(app, vendor, release_id, Channel::Stable).await.map_err(to_anyhow)?;
    let id = release_id.to_owned();
    let case_id = app
        .db
        .read(move |conn| {
            use crate::base::db::schema::cases::dsl;
            use diesel::prelude::*;
            Ok(dsl::cases
                .filter(dsl::release_id.eq(id).and(dsl::state.eq(moderation::model::CaseState::Open)))
                .select(dsl::id)
                .first::<String>(conn)?)
        })
        .await
        .map_err(to_anyhow)?;
    moderation::service::decide(app, moderator, &case_id, ModerationDecision::Approve, reason).await.map_err(to_anyhow)
}

/// A domain error as the command line shows it.
pub fn to_anyhow(e: crate::base::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{e}")
}
