//! From a push to a release: a manifest of an app that gets a version's tag becomes the release of that version, in the transaction that
//! stores it.

use std::sync::Arc;

use app_package::oci::{ARTIFACT_TYPE, MANIFEST_TYPE};
use serde_json::json;

use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Person};
use crate::base::config::Checks;
use crate::base::db::Json;
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;
use crate::base::jobs::Job;
use crate::registry::manifests::Push;
use crate::registry::model::Repository;
use crate::release::model::{Channel, Event, Release, ReleaseState};
use crate::release::package::{self, PackageContents};
use crate::release::service::{recheck_in, show_manifest, topic};
use crate::release::{limits, model, store};
use crate::{catalog, registry};

/// Takes a manifest into a repository. An app's manifest that gets a version's tag becomes a release, which waits for its check; a
/// floating tag (`latest`) only points at one. Pushing the same bytes again changes nothing, but starts the check anew where it had
/// failed. A refused push leaves nothing, neither manifest nor tag.
///
/// A version is used up when its bytes have passed the check: it is one digest for ever then, and a correction is a new version. While it is
/// checked it is taken. Bytes that failed are replaced by others under the same version.
///
/// # Errors
/// `quota-exceeded`, `disk-full`; those of [`registry::manifests::push_in`] and [`package::load`]; `release-name`, `release-tag`, `specialty-unknown`,
/// `scenario-unknown`, `release-version-taken`, `too-many-checks`, `too-many-checks-waiting`, `too-many-versions`.
pub async fn push(app: &App, actor: &Actor, repository: Repository, push: Arc<Push>) -> Result<()> {
    registry::quota::require(app, &repository.organization_id, push.stored_bytes()).await?;
    // The database writes it twice: into its log, and into its pages.
    app.room.require(push.stored_bytes().saturating_mul(2))?;
    let arrival = arrival(app, actor, &repository, &push).await?;
    let (id, pushed) = (repository.id.clone(), push.clone());
    let damaged = app.db.read(move |conn| registry::manifests::is_damaged(conn, &id, &pushed.digest)).await?;
    let settings = app.settings.checks.clone();
    audit::change(app, actor, move |c| {
        if let Some(Arrival { vendor, incoming }) = &arrival {
            make_way_in(c, &repository.id, vendor, incoming, push.digest.as_str())?;
        }
        registry::manifests::push_in(c, &repository, &push, damaged)?;
        if let Some(Arrival { vendor, incoming }) = &arrival {
            let release_id = receive_in(c, vendor, incoming, push.digest.as_str(), &settings)?;
            c.poke(&vendor.organization_id, topic(&release_id));
            c.poke(&vendor.organization_id, "releases");
        }
        Ok(())
    })
    .await
}

/// A release that is about to arrive.
struct Arrival {
    /// Who publishes it.
    vendor: Person,
    /// What its bytes say.
    incoming: PackageContents,
}

/// The release that a push brings, if it is one: read from the blobs that its manifest names, once the repository is seen to hold them.
async fn arrival(app: &App, actor: &Actor, repository: &Repository, push: &Arc<Push>) -> Result<Option<Arrival>> {
    if push.artifact_type() != Some(ARTIFACT_TYPE) || push.versions().next().is_none() {
        return Ok(None);
    }
    // Nodes ask for an image manifest, and take nothing of another type.
    if push.media_type != MANIFEST_TYPE {
        return Err(Error::invalid("release-malformed"));
    }
    let vendor = policy::require_own(actor, Action::PublishApps, &repository.organization_id, "name-unknown")?.clone();
    let (id, pushed) = (repository.id.clone(), push.clone());
    app.db.read(move |conn| pushed.require_parts(conn, &id)).await?;
    let incoming = package::load(&app.blobs, &push.bytes).await.map_err(|e| match e.code {
        // Collected between the two looks, as what nobody has named for long may be.
        "blob-unknown" => Error::invalid("manifest-blob-unknown"),
        _ => e,
    })?;
    let expected = format!("{}/{}", vendor.organization_slug, incoming.manifest.name);
    if repository.name != expected {
        return Err(Error::invalid("release-name").arg("expected", expected).arg("found", &repository.name));
    }
    let version = incoming.manifest.version.to_string();
    if let Some(tag) = push.versions().find(|tag| *tag != version) {
        return Err(Error::invalid("release-tag").arg("expected", version).arg("found", tag));
    }
    Ok(Some(Arrival { vendor, incoming }))
}

/// Frees the tag of the version for these bytes, where the ones before have failed their check.
fn make_way_in(c: &mut Change<'_>, repository_id: &str, vendor: &Person, incoming: &PackageContents, digest: &str) -> Result<()> {
    // Held before the state is read: a check that is asked for again holds it, too.
    dialect::hold(c, Row::Repository(repository_id))?;
    let (name, version) = (&incoming.manifest.name, incoming.manifest.version.to_string());
    match store::find_own_version(c, &vendor.organization_id, name, &version)? {
        Some((old, ReleaseState::Failed)) if old != digest => registry::manifests::free_version_in(c, repository_id, &version, &old),
        _ => Ok(()),
    }
}

fn receive_in(c: &mut Change<'_>, person: &Person, incoming: &PackageContents, digest: &str, settings: &Checks) -> Result<String> {
    let (PackageContents { manifest, size_bytes, files }, now) = (incoming, c.now);
    let app_id = catalog::service::upsert_from_manifest(c, &person.organization_id, manifest)?;
    let version = manifest.version.to_string();
    let taken = || Error::conflict("release-version-taken").arg("version", &version);
    let known = store::find_version(c, &app_id, &version)?;
    if let Some(known) = &known {
        if known.digest == digest {
            if known.state == ReleaseState::Failed {
                recheck_in(c, known, settings)?;
            }
            return Ok(known.id.clone());
        }
        if known.state != ReleaseState::Failed {
            return Err(taken());
        }
    }
    let release = Release {
        id: known.as_ref().map_or_else(|| ids::new("rel"), |known| known.id.clone()),
        app_id,
        version: version.clone(),
        digest: digest.to_string(),
        size_bytes: i64::try_from(*size_bytes).map_err(Error::internal)?,
        state: model::next(ReleaseState::Draft, Event::Received)?,
        created_by: person.user_id.clone(),
        created_at: now,
        updated_at: now,
        published_at: None,
        channel: Channel::of(&manifest.version, Channel::Stable),
        deprecation: None,
        recall: None,
        manifest: Json::new(manifest.clone()),
    };
    limits::count_check(c, &person.organization_id, settings, now)?;
    if let Some(failed) = &known {
        exactly_one(store::replace(c, failed, &release)?, "release-version-taken").map_err(|e| e.arg("version", &version))?;
    } else {
        if store::count_versions(c, &release.app_id)? >= store::MAX_VERSIONS {
            return Err(Error::conflict("too-many-versions").arg("max", store::MAX_VERSIONS));
        }
        store::insert(c, &release).or_conflict("release-version-taken").map_err(|e| e.arg("version", &version))?;
    }
    show_manifest(c, &release, release.state)?;
    c.enqueue_for(&person.organization_id, &Job::CheckRelease { release_id: release.id.clone() })?;
    let detail = json!({
        "app": release.app_id, "version": version, "digest": release.digest, "files": files.len(), "bytes": release.size_bytes,
        "replaces": known.map(|failed| failed.digest),
    });
    c.audit("release.received", &release.id, &detail);
    Ok(release.id)
}
