//! Brings one deployment up: document → licence → release manifest → signature → files → child → golden check → swap.
//!
//! Invariant: whatever ran before keeps running until the last step, and after any failure. Every step may be cancelled
//! and has a limit; everything fetched stays on disk, so a retry goes on where the last try ended.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use app_package::digest::Digest;
use app_package::dsse::MAX_ENVELOPE_BYTES;
use app_package::license::Purpose;
use app_package::manifest::AppManifest;
use app_package::margo::State;
use app_package::oci::{self, Descriptor, ImageManifest};

use crate::agent::Agent;
use crate::apps::Running;
use crate::cloud::MAX_DOCUMENT;
use crate::fault::Fault;
use crate::process::{Launch, Process};
use crate::release::{self, Wanted};
use crate::state::Installed;
use crate::wire::Request;

/// Limit of all golden samples together.
const GOLDEN: Duration = Duration::from_mins(5);
/// Signatures of one release that are looked at, where the document does not name the platform's: one page of referrers. Vendors sign too.
const MAX_SIGNATURES: usize = 50;
/// Longest manifest of a signature, and longest envelope, in bytes.
const MAX_SIGNATURE: usize = MAX_ENVELOPE_BYTES;
/// Fault of a line that is down: the next try may find the signature.
const UNREACHABLE: &str = "server-unreachable";
/// Fault of a signature by a key that is trusted no longer.
const UNKNOWN_KEY: &str = "signature-unknown-key";
/// Least memory of an app, in bytes.
const LEAST_MEMORY: u64 = 128 * 1024 * 1024;

/// Runs work that blocks on the disk outside the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Fault::new("cancelled", "store", e.to_string()))?
}

/// Brings a deployment to the state that a document asks for.
pub async fn bring_up(agent: &Arc<Agent>, id: &str, document: &Digest, adopted: u64) -> Result<(), Fault> {
    let yaml = if let Some(yaml) = agent.store.get(document, MAX_DOCUMENT as u64)? {
        yaml
    } else {
        let yaml = agent.cloud.document(id, document).await?;
        agent.store.put(&yaml)?;
        yaml
    };
    let wanted = Wanted::parse(id, document, &yaml)?;
    agent.note(id, &wanted);
    let before = agent.state.get().installed.remove(id);
    let purpose = match &before {
        Some(installed) if installed.release == wanted.release.digest => Purpose::Run,
        Some(_) => Purpose::Update,
        None => Purpose::Deploy,
    };
    if let Some(reason) = &wanted.recalled {
        // What runs goes on, for stopping a warning system is its operator's decision; nothing else becomes a recalled release.
        if purpose != Purpose::Run {
            return Err(Fault::new("release-recalled", "release", reason.clone()));
        }
        tracing::warn!(deployment = id, %reason, "the platform has recalled this release; the app keeps running");
    }
    if purpose != Purpose::Run {
        // Before a byte of the release is fetched.
        may_begin(agent, &wanted, purpose)?;
        agent.report(id, &wanted.component, adopted, State::Installing, None);
    }
    let image = image_of(agent, &wanted).await?;
    let (app, config) = config_of(agent, &wanted, &image).await?;
    let same = before.as_ref().is_some_and(|installed| &installed.document == document);
    let standing = agent.standing(&wanted, app.safety, purpose, same)?;
    let values = wanted.values(&app)?;
    let signature = signature_of(agent, &wanted, before.as_ref().filter(|_| purpose == Purpose::Run)).await?;
    let stats = agent.stats(id, &wanted.release.digest);
    let process = if let Some(running) = agent.apps.get(id).filter(|r| r.wanted.release.digest == wanted.release.digest) {
        // The same release with another licence, other values or another place: the process stays.
        running.process.clone()
    } else {
        let dir = files_of(agent, &wanted, &image).await?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the cores of this node")]
        let threads = (app.resources.cpu.ceil().clamp(1.0, 256.0) as usize).min(cores);
        let launch = Launch {
            exe: agent.config.exe.clone(),
            dir,
            config,
            ort_lib: agent.config.ort_lib.clone(),
            provider: None,
            run: agent.run_dir(),
            memory_bytes: (u64::from(app.resources.memory_mib) * 1024 * 1024).max(LEAST_MEMORY),
            threads,
            allow_unconfined: runs_unconfined(agent.config.allow_unconfined, app.safety, purpose),
            waiting: agent.config.waiting,
        };
        let process = Process::start(launch, stats.clone()).await?;
        golden(&process).await?;
        process
    };
    if purpose != Purpose::Run {
        // Fetching may have taken hours: what was believed at the beginning is asked again.
        may_begin(agent, &wanted, purpose)?;
        let envelope = agent.store.get(&signature, MAX_DOCUMENT as u64)?;
        release::signature(&wanted, envelope.as_deref().unwrap_or_default(), agent.trust.held().approve())?;
    }
    let installed = Installed { document: document.clone(), release: wanted.release.digest.clone(), signature, adopted };
    let component = wanted.component.clone();
    agent.state.update(|s| s.installed.insert(id.to_owned(), installed))?;
    let models = app.model_steps().into_iter().map(Cow::into_owned).collect();
    agent.apps.put(Running { wanted, manifest: Arc::new(app), models, values, standing, process, stats });
    agent.report(id, &component, adopted, State::Installed, None);
    Ok(())
}

/// Whether the platform's word of this moment and the licence let a release begin here.
fn may_begin(agent: &Agent, wanted: &Wanted, purpose: Purpose) -> Result<(), Fault> {
    let held = agent.trust.held();
    if let Some(fault) = held.stale(agent.clock.beginning()) {
        return Err(fault);
    }
    if held.revoked(&wanted.release.digest) {
        return Err(Fault::new("release-revoked", "release", "the platform has revoked its approval of this release"));
    }
    // Safety makes no difference to deploying and updating.
    agent.licensed(wanted, false, purpose).map(drop)
}

/// Whether an app runs where the kernel cannot confine it: by the operator's word, or because it guards people and has run here before. That
/// it does is told (`app-unconfined`).
fn runs_unconfined(allowed: bool, safety: bool, purpose: Purpose) -> bool {
    allowed || (safety && purpose == Purpose::Run)
}

async fn image_of(agent: &Agent, wanted: &Wanted) -> Result<ImageManifest, Fault> {
    let digest = &wanted.release.digest;
    if let Some(bytes) = agent.store.get(digest, MAX_DOCUMENT as u64)? {
        return release::image(&bytes);
    }
    let bytes = agent.cloud.manifest(wanted.app(), digest, MAX_DOCUMENT).await?;
    let image = release::image(&bytes)?;
    agent.store.put(&bytes)?;
    Ok(image)
}

/// A small blob: from the store, or fetched into it.
async fn small(agent: &Agent, repository: &str, descriptor: &Descriptor, limit: usize) -> Result<Vec<u8>, Fault> {
    if descriptor.size > limit as u64 {
        return Err(Fault::new("release-manifest-invalid", "release", format!("{} is over {limit} bytes", descriptor.digest)));
    }
    if let Some(bytes) = agent.store.get(&descriptor.digest, limit as u64)? {
        return Ok(bytes);
    }
    agent.store.fetch(&agent.cloud, repository, descriptor).await?;
    let bytes = agent.store.get(&descriptor.digest, limit as u64)?;
    bytes.ok_or_else(|| Fault::new("disk", "store", format!("{} is gone again", descriptor.digest)))
}

async fn config_of(agent: &Agent, wanted: &Wanted, image: &ImageManifest) -> Result<(AppManifest, std::path::PathBuf), Fault> {
    let bytes = small(agent, wanted.app(), &image.config, MAX_DOCUMENT).await?;
    Ok((release::config(wanted, &bytes)?, agent.store.path(&image.config.digest)))
}

/// Digest of an envelope by which the platform approves this release: the stored envelope, the one that the document names, or one that
/// refers to the release in the registry. Others may attach what they like: it is passed over.
async fn signature_of(agent: &Agent, wanted: &Wanted, before: Option<&Installed>) -> Result<Digest, Fault> {
    if let Some(installed) = before
        && let Some(envelope) = agent.store.get(&installed.signature, MAX_DOCUMENT as u64)?
    {
        match release::signature(wanted, &envelope, agent.trust.held().approve()) {
            Ok(()) => return Ok(installed.signature.clone()),
            Err(fault) if fault.code != UNKNOWN_KEY => return Err(fault),
            Err(fault) => {
                // The key that approved is trusted no longer. The release may have been signed again; what runs goes on in any case.
                return match signature_anew(agent, wanted).await {
                    Ok(digest) => Ok(digest),
                    Err(none) => {
                        tracing::warn!(deployment = wanted.id, %fault, %none, "the app keeps running without an approval that is trusted today");
                        Ok(installed.signature.clone())
                    }
                };
            }
        }
    }
    signature_anew(agent, wanted).await
}

/// The same, out of the registry.
async fn signature_anew(agent: &Agent, wanted: &Wanted) -> Result<Digest, Fault> {
    let mut last = Fault::new("signature-absent", "release", "the platform has not signed this release");
    if let Some(named) = &wanted.signature {
        match envelope_of(agent, wanted, named).await {
            // It may have been signed again since, with a newer key: what is attached is looked at then.
            Err(fault) if fault.code != UNREACHABLE => last = fault,
            other => return other,
        }
    }
    let index = agent.cloud.signatures(wanted.app(), &wanted.release.digest).await?;
    let fits = |d: &&Descriptor| {
        d.size <= MAX_SIGNATURE as u64
            && d.artifact_type.as_deref().is_none_or(|t| t == oci::SIGNATURE_TYPE)
            && wanted.signature.as_ref() != Some(&d.digest)
    };
    for descriptor in index.manifests.iter().filter(fits).take(MAX_SIGNATURES) {
        match envelope_of(agent, wanted, &descriptor.digest).await {
            Err(fault) if fault.code != UNREACHABLE => last = fault,
            other => return other,
        }
    }
    Err(last)
}

/// The envelope of a signature's manifest, if the platform approves this release by it: the only one, as the platform writes it.
async fn envelope_of(agent: &Agent, wanted: &Wanted, digest: &Digest) -> Result<Digest, Fault> {
    let other = |why: &str| Fault::new("signature-malformed", "release", format!("{digest}: {why}"));
    let bytes = agent.cloud.manifest(wanted.app(), digest, MAX_SIGNATURE).await?;
    let manifest = ImageManifest::parse(&bytes).map_err(|e| other(&e.to_string()))?;
    if manifest.subject.as_ref().is_none_or(|s| s.digest != wanted.release.digest) {
        return Err(other("not of this release"));
    }
    let layer = manifest.layers.iter().find(|l| l.media_type == oci::DSSE_TYPE).ok_or_else(|| other("no envelope"))?;
    let envelope = small(agent, wanted.app(), layer, MAX_SIGNATURE).await?;
    release::signature(wanted, &envelope, agent.trust.held().approve())?;
    Ok(layer.digest.clone())
}

/// The release's folder, complete and checked byte for byte.
async fn files_of(agent: &Arc<Agent>, wanted: &Wanted, image: &ImageManifest) -> Result<std::path::PathBuf, Fault> {
    let digest = wanted.release.digest.clone();
    let (keeper, manifest) = (agent.clone(), image.clone());
    let checked = digest.clone();
    if blocking(move || keeper.store.is_staged(&checked, &manifest)).await? {
        return Ok(agent.store.release(&digest));
    }
    for (_, layer) in crate::store::files_of(image)? {
        agent.store.fetch(&agent.cloud, wanted.app(), layer).await?;
    }
    let (keeper, manifest) = (agent.clone(), image.clone());
    blocking(move || {
        let folder = keeper.store.stage(&digest, &manifest)?;
        if keeper.store.is_staged(&digest, &manifest)? {
            return Ok(folder);
        }
        // A blob went bad on this disk: all blobs of the release are dropped, the next try fetches them again.
        for layer in &manifest.layers {
            crate::files::remove(&keeper.store.path(&layer.digest))?;
        }
        Err(Fault::new("digest-mismatch", "store", "a stored file is damaged; fetching it again"))
    })
    .await
}

/// The health check: the golden samples must come out as the vendor said.
pub async fn golden(process: &Process) -> Result<(), Fault> {
    let (_, body) = process.call(&Request::Golden, b"", GOLDEN).await?;
    let report: serde_json::Value = serde_json::from_slice(&body).map_err(|e| Fault::new("golden-not-reproduced", "app", e.to_string()))?;
    let count = |key: &str| report.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let (reproduced, total) = (count("reproduced"), count("total"));
    if total > 0 && reproduced == total {
        return Ok(());
    }
    let samples = report.get("samples").and_then(serde_json::Value::as_array);
    let wrong = samples.into_iter().flatten().find(|s| s.get("ok") != Some(&serde_json::Value::Bool(true)));
    let text = |key: &str| wrong.and_then(|s| s.get(key)).and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
    Err(Fault::new(
        "golden-not-reproduced",
        "app",
        format!("{reproduced} of {total} golden samples were reproduced; {} {}", text("name"), text("message")).trim_end().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_operator_or_a_safety_app_from_before_goes_without_confinement() {
        for purpose in [Purpose::Deploy, Purpose::Update, Purpose::Run] {
            assert!(runs_unconfined(true, false, purpose) && !runs_unconfined(false, false, purpose), "{purpose:?}");
            assert_eq!(runs_unconfined(false, true, purpose), purpose == Purpose::Run, "{purpose:?}");
        }
    }
}
