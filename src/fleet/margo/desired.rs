//! The desired state of a node, written anew from its deployments.
//!
//! Invariants: documents and manifest are written in one transaction with the new version; the version only grows, and only when the
//! content changes, so doing the job twice changes nothing; the documents of the last [`KEEP`] manifests stay, for a node that is
//! still fetching them. A deployment whose document cannot be written keeps the one that it has: it must not keep the others' news away.

use std::collections::{BTreeMap, BTreeSet};

use app_package::license::{Purpose, Verdict};
use app_package::margo::{StateManifest, StatusError};
use diesel::Connection as _;

use super::documents::{DeploymentSpec, Document};
use super::store::Target;
use super::{desired_topic, documents, status, store};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Kind, Result, exactly_one};
use crate::fleet::model::{Deployment, DeploymentState, Node, NodeState};
use crate::fleet::{service, store as fleet};
use crate::license::service as licenses;
use crate::license::service::LicenseUse;
use crate::{audit, catalog, license, registry};

/// Manifests whose documents are kept.
const KEEP: usize = 3;

/// Writes the desired state of a node anew, and tells the polls that wait for it.
///
/// # Errors
/// Also where a deployment was left as it is, once the others are written: the job tries again.
pub async fn rebuild(app: &App, node_id: &str) -> Result<()> {
    // Licences that are written now must be signed by the key of this moment: one that was distrusted seconds ago would sign them for good.
    let ring = app.keys.clone();
    if let Err(e) = tokio::task::spawn_blocking(move || ring.refresh()).await.map_err(Error::internal)? {
        tracing::error!(error = %format!("{e:#}"), "the next root document cannot be taken");
    }
    let (handle, id) = (app.clone(), node_id.to_owned());
    let fault = audit::change(app, &Actor::System, move |c| {
        let mut fault = None;
        if let Some(organization_id) = rebuild_in(c, &handle, &id, &mut fault)? {
            c.poke(&organization_id, desired_topic(&id));
            c.poke(&organization_id, format!("node:{id}"));
            c.poke(&organization_id, service::TOPIC);
        }
        Ok(fault)
    })
    .await?;
    fault.map_or(Ok(()), Err)
}

/// The place of a deployment in the desired state.
enum Outcome {
    /// The node shall run this document.
    Run(Document),
    /// The platform withholds the deployment: its licence was suspended or revoked.
    Withheld(&'static str),
    /// The operator wants the app removed.
    Gone,
    /// No document can be written, and there is none from before.
    Missing,
}

/// Gives the operator's organisation id where something changed; `fault` is why a deployment was left as it is.
fn rebuild_in(c: &mut Change<'_>, app: &App, node_id: &str, fault: &mut Option<Error>) -> Result<Option<String>> {
    let now = c.now;
    // The row lock serialises rebuilds of one node, and nothing is deployed to the node meanwhile.
    store::lock(c, node_id)?;
    let Some((node, site)) = fleet::find_node(c, node_id)? else { return Ok(None) };
    if node.state == NodeState::Removed {
        store::drop_documents(c, node_id)?;
        return Ok(Some(node.organization_id));
    }
    let mut outcomes = Vec::new();
    let namespace = store::slug(c, &node.organization_id)?;
    for (deployment, target) in store::deployments(c, node_id)? {
        // In a savepoint: after an SQL error PostgreSQL takes nothing more in the transaction, and the others' news must be written.
        let judged = c.transaction(|conn| outcome(conn, app, &node, &site, &namespace, &deployment, &target, now));
        let outcome = match judged {
            Err(e) if !matches!(e.kind, Kind::Unavailable | Kind::Full) => {
                tracing::error!(node = node_id, deployment = %deployment.id, error = %e, "the deployment is left as it is");
                *fault = Some(e);
                kept(c, &deployment)?
            }
            other => other?,
        };
        outcomes.push((deployment, target.version, outcome));
    }
    let run = |o: &Outcome| if let Outcome::Run(document) = o { Some(document.clone()) } else { None };
    let wanted: BTreeMap<String, Document> = outcomes.iter().filter_map(|(d, _, o)| Some((d.id.clone(), run(o)?))).collect();
    let bundle = if wanted.is_empty() { None } else { Some(documents::bundle(&wanted)?) };

    let present: Option<StateManifest> = match &node.manifest_digest {
        Some(digest) => store::document(c, node_id, digest, "manifest")?.and_then(|content| serde_json::from_slice(&content).ok()),
        None => None,
    };
    // At least the Unix time: even after a restore from an older copy the next version is higher than all that the node has seen.
    let next = node
        .manifest_version
        .checked_add(1)
        .ok_or_else(|| Error::internal(anyhow::anyhow!("node {node_id}: no version is left")))?
        .max(now.unix());
    let mut manifest = documents::manifest(u64::try_from(next).unwrap_or(1), &wanted, bundle.as_ref());
    let version = if let Some(present) = present.as_ref().filter(|p| p.deployments == manifest.deployments && p.bundle == manifest.bundle) {
        manifest = present.clone();
        node.manifest_version
    } else {
        let known: BTreeSet<String> = store::digests(c, node_id)?.into_iter().collect();
        let written = documents::manifest_document(&manifest)?;
        let all = wanted.values().map(|d| ("deployment", d)).chain(bundle.iter().map(|d| ("bundle", d))).chain([("manifest", &written)]);
        let mut done = known;
        for (kind, document) in all {
            if done.insert(document.digest.to_string()) {
                store::insert_document(c, node_id, document.digest.as_str(), kind, &document.content, now)?;
            }
        }
        exactly_one(store::advance(c, node_id, node.manifest_version, next, written.digest.as_str())?, "deployment-changed")?;
        prune(c, node_id)?;
        next
    };
    let mut settled = false;
    for (deployment, release, outcome) in &outcomes {
        settled |= settle(c, deployment, release, outcome, version)?;
    }
    let advanced = version != node.manifest_version;
    if advanced {
        tracing::info!(node = node_id, version, deployments = manifest.deployments.len(), "desired state written");
    }
    Ok((advanced || settled).then_some(node.organization_id))
}

#[expect(clippy::too_many_arguments, reason = "one call; a struct would only rename them")]
fn outcome(
    conn: &mut Conn,
    app: &App,
    node: &Node,
    site: &str,
    namespace: &str,
    deployment: &Deployment,
    Target { version, digest, recall }: &Target,
    now: Timestamp,
) -> Result<Outcome> {
    if !deployment.wanted {
        return Ok(Outcome::Gone);
    }
    let license = licenses::get(conn, &deployment.license_id)?;
    let name = catalog::service::app_name(conn, &deployment.app_id)?;
    let asked = LicenseUse {
        node_id: Some(&node.id),
        app: &name.repository(),
        version: &semver::Version::parse(version).map_err(Error::internal)?,
        digest: &app_package::digest::Digest::parse(digest).map_err(Error::internal)?,
        purpose: Purpose::Run,
    };
    // Only suspension and revocation are judged here, since a token cannot tell them; the node judges time, node and version, also offline.
    let verdict = licenses::verdict_for(conn, app, &license, asked, now)?;
    let held_back = matches!(verdict, Verdict::Suspended | Verdict::Revoked);
    if held_back && !verdict.allows(Purpose::Run, license.safety, license.enforcement.into()) {
        return Ok(Outcome::Withheld(license::model::refusal(verdict).code));
    }
    let repository = name.repository();
    let signature = registry::service::platform_signature_in(conn, &repository, digest)?;
    let document = documents::deployment(DeploymentSpec {
        id: &deployment.id,
        node_id: &node.id,
        namespace,
        registry: host(&app.settings.server.edge_url),
        repository,
        digest,
        version,
        signature: signature.as_deref().map(app_package::digest::Digest::parse).transpose().map_err(Error::internal)?,
        license: licenses::token_for(conn, app, &license, &node.id, digest)?,
        parameters: (*deployment.parameters).clone(),
        safety: license.safety,
        place: format!("{site} · {}", node.name),
        // A recall takes no deployment away: a document that is gone would end the app, or the version before that runs in its place.
        recalled: recall.as_ref().map(|recall| recall.reason.clone()),
        wished_at: deployment.updated_at,
    })?;
    Ok(Outcome::Run(document))
}

/// A deployment as the node has it now.
fn kept(conn: &mut Conn, deployment: &Deployment) -> Result<Outcome> {
    let content = store::document(conn, &deployment.node_id, &deployment.digest, "deployment")?;
    Ok(content.map_or(Outcome::Missing, |content| Outcome::Run(Document::of(content))))
}

/// Host and port of the node endpoint, where nodes reach the registry.
fn host(edge_url: &str) -> &str {
    let rest = edge_url.split_once("://").map_or(edge_url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Writes the outcome on the deployment's row. Gives whether that changed anything.
fn settle(c: &mut Change<'_>, deployment: &Deployment, release: &str, outcome: &Outcome, version: i64) -> Result<bool> {
    let now = c.now;
    match outcome {
        Outcome::Run(document) if document.digest.as_str() == deployment.digest => Ok(false),
        Outcome::Run(document) => {
            store::aim(c, &deployment.id, document.digest.as_str(), version)?;
            // A deployment that was withheld runs again.
            if deployment.digest.is_empty() && deployment.state == DeploymentState::Failed {
                status::move_to(c, deployment, release, DeploymentState::Pending, None, now)?;
            }
            Ok(true)
        }
        Outcome::Withheld(code) => {
            let error = StatusError { code: (*code).to_owned(), ..StatusError::default() };
            let moved = status::move_to(c, deployment, release, DeploymentState::Failed, Some(&error), now)?;
            if !deployment.digest.is_empty() {
                store::aim(c, &deployment.id, "", version)?;
            }
            Ok(moved)
        }
        // The node never got the deployment, or has adopted a state without it (the licence was held back): nothing is left to remove.
        Outcome::Gone if deployment.digest.is_empty() && deployment.adopted_version >= deployment.target_version => {
            service::removed_in(c, &deployment.id)?;
            Ok(true)
        }
        Outcome::Gone if !deployment.digest.is_empty() => {
            store::aim(c, &deployment.id, "", version)?;
            Ok(true)
        }
        Outcome::Gone | Outcome::Missing => Ok(false),
    }
}

/// Deletes the documents that none of the last manifests lists.
fn prune(conn: &mut Conn, node_id: &str) -> Result<()> {
    let mut manifests: Vec<(String, StateManifest)> = Vec::new();
    for (digest, content) in store::manifests(conn, node_id)? {
        manifests.push((digest, serde_json::from_slice(&content)?));
    }
    manifests.sort_by_key(|(_, manifest)| std::cmp::Reverse(manifest.manifest_version));
    let mut keep = BTreeSet::new();
    for (digest, manifest) in manifests.iter().take(KEEP) {
        keep.insert(digest.clone());
        keep.extend(manifest.bundle.iter().map(|b| b.digest.to_string()));
        keep.extend(manifest.deployments.iter().map(|d| d.digest.to_string()));
    }
    let old: Vec<String> = store::digests(conn, node_id)?.into_iter().filter(|digest| !keep.contains(digest)).collect();
    if !old.is_empty() {
        store::delete_documents(conn, node_id, &old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use serde_json::Map;

    use super::*;
    use crate::base::auth::Role;
    use crate::base::db::schema::releases;
    use crate::catalog::model::PlanKind;
    use crate::fleet::margo::{node, served};
    use crate::fleet::service::DeployInput;
    use crate::stops::model::Stop;
    use crate::stops::service as stops;
    use crate::testing::shop::{license_for, listing, shop};
    use crate::testing::{self, drain_jobs, each_backend};

    /// The documents of a node's desired state, by deployment.
    async fn written(app: &App, node_id: &str) -> BTreeMap<String, String> {
        let digest = served::manifest_digest(app, node_id).await.unwrap();
        let manifest = served::document(app, node_id, &digest, served::Kind::Manifest).await.unwrap();
        let manifest: StateManifest = serde_json::from_slice(&manifest).unwrap();
        let mut written = BTreeMap::new();
        for deployment in manifest.deployments {
            let content = served::document(app, node_id, deployment.digest.as_str(), served::Kind::Deployment).await.unwrap();
            written.insert(deployment.deployment_id, String::from_utf8(content).unwrap());
        }
        written
    }

    #[tokio::test]
    async fn a_deployment_that_cannot_be_written_keeps_no_recall_from_another() {
        each_backend(|app| async move {
            let shop = shop(&app).await;
            let other = listing(&app, &shop.vendor, "else", false).await;
            let (node_id, _) = node(&testing::node(&app, &shop.operator).await).unwrap();
            let mut ids = Vec::new();
            for listing in [&shop.listing, &other] {
                let input = DeployInput {
                    release_id: listing.release_id.clone(),
                    license_id: license_for(&app, &shop.operator, listing, PlanKind::Subscription, 1).await.id,
                    node_ids: vec![node_id.clone()],
                    parameters: Map::new(),
                };
                ids.push(service::deploy(&app, &shop.operator, input).await.unwrap().remove(0));
            }
            drain_jobs(&app).await;
            let before = written(&app, &node_id).await;
            let broken = other.release_id.clone();
            app.db
                .write(move |conn| Ok(diesel::update(releases::table.find(broken)).set(releases::version.eq("none")).execute(conn)?))
                .await
                .unwrap();
            let moderator = testing::platform(&app, Role::Moderator).await;
            stops::act(&app, &moderator, Stop::RecallRelease, &shop.listing.release_id, "misses smoke").await.unwrap();
            // The job is told, so that it tries again; what could be written is written once.
            assert_eq!(rebuild(&app, &node_id).await.unwrap_err().kind, Kind::Internal);
            let after = written(&app, &node_id).await;
            assert!(!before[&ids[0]].contains("misses smoke") && after[&ids[0]].contains("misses smoke"), "{after:?}");
            assert_eq!((after.len(), &after[&ids[1]]), (2, &before[&ids[1]]));
            let digest = served::manifest_digest(&app, &node_id).await.unwrap();
            assert!(rebuild(&app, &node_id).await.is_err());
            assert_eq!(served::manifest_digest(&app, &node_id).await.unwrap(), digest);
            // An error of the database keeps no news from another, either.
            let mended = other.release_id.clone();
            app.db
                .write(move |conn| Ok(diesel::update(releases::table.find(mended)).set(releases::version.eq("1.0.0")).execute(conn)?))
                .await
                .unwrap();
            service::remove_deployment(&app, &shop.operator, &ids[0]).await.unwrap();
            app.db.write(|conn| Ok(diesel::sql_query("ALTER TABLE manifests RENAME TO lost").execute(conn)?)).await.unwrap();
            assert_eq!(rebuild(&app, &node_id).await.unwrap_err().kind, Kind::Internal);
            let last = written(&app, &node_id).await;
            assert_eq!((last.len(), &last[&ids[1]]), (1, &before[&ids[1]]));
        })
        .await;
    }
}
