//! The agent: what it holds, and the small decisions that its loops share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use app_package::digest::Digest;
use app_package::keys::KeySet;
use app_package::license::{Purpose, Verdict};
use app_package::margo::{DeploymentStatus, State, StateManifest};
use app_package::stream::Kind;
use chrono::{DateTime, Utc};
use inference::provider::Library;
use tokio::sync::Notify;

use crate::apps::Apps;
use crate::clock::Clock;
use crate::cloud::{Cloud, MAX_DOCUMENT, check_digest};
use crate::episodes::Episodes;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::link::Link;
use crate::outbox::Outbox;
use crate::pictures::Pictures;
use crate::providers::Providers;
use crate::release::{self, Wanted, is_deployment_id};
use crate::sources::Sources;
use crate::state::{StateFile, status_of};
use crate::store::Store;
use crate::telemetry::{Node, Stats};
use crate::trust::Trust;
use crate::usage::{Counts, Usage};
use crate::{files, machine, model};

/// Fault of a licence by a key that is trusted no longer.
const UNKNOWN_KEY: &str = "license-unknown-key";
/// Deployments on one node at most.
const MAX_DEPLOYMENTS: usize = 200;

/// Settings of `run`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder with identity, state and releases.
    pub data: PathBuf,
    /// ONNX Runtime library.
    pub ort_lib: PathBuf,
    /// Libraries of providers that apps may run on in the CPU's place.
    pub providers: Vec<Library>,
    /// Program started for each app: the agent's own.
    pub exe: PathBuf,
    /// ffmpeg, which decodes cameras and video files.
    pub ffmpeg: Option<PathBuf>,
    /// Seconds that the server may hold a poll.
    pub wait_seconds: u64,
    /// Whether apps run where the kernel cannot confine them, too.
    pub allow_unconfined: bool,
    /// Whether a data folder of another machine becomes this one's.
    pub adopt: bool,
    /// Token that callers of the local API must show; none asks for nothing.
    pub token: Option<String>,
    /// Why it asks for nothing where it should.
    pub open: Option<Fault>,
    /// Connections of the local API at a time.
    pub connections: usize,
    /// Requests of one app that are in hand at a time, those that wait with those that are worked on.
    pub waiting: usize,
}

/// Where a deployment stands, for the status page and heartbeats; there also while no process runs.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Full name of the app; empty before the document was read.
    pub app: String,
    pub version: String,
    /// State last reported.
    pub state: State,
    /// Reason of a failed state.
    pub fault: Option<Fault>,
}

/// Everything the loops and the local API share.
pub struct Agent {
    pub config: Config,
    /// The data folder belongs to another machine.
    pub copied: Option<Fault>,
    /// Random name of this run. The platform sees by it when two machines share an identity.
    pub instance: String,
    /// Start of this run, by the clock of that moment.
    pub started: DateTime<Utc>,
    /// The time that licences and reports go by.
    pub clock: Arc<Clock>,
    /// The server.
    pub cloud: Cloud,
    /// How calls to the server went.
    pub link: Link,
    /// Blobs and releases.
    pub store: Store,
    /// State on disk.
    pub state: StateFile,
    /// Running deployments.
    pub apps: Apps,
    /// What the server has not taken yet.
    pub outbox: Outbox,
    /// Alarms that go on.
    pub episodes: Episodes,
    /// Pictures of alarms.
    pub pictures: Pictures,
    /// Counters over restarts.
    pub usage: Usage,
    /// The node's own load.
    pub node: Node,
    /// Rung when the desired state changed.
    pub changed: Notify,
    /// Rung when a status waits to be sent.
    pub unsent: Notify,
    /// Rung when other authorities are trusted.
    pub authorities: Notify,
    /// Whom this node believes.
    pub trust: Trust,
    /// What is known of the providers.
    pub providers: Providers,
    /// What it looks at by itself.
    pub sources: Sources,
    identity: RwLock<Identity>,
    stats: Mutex<BTreeMap<(String, Digest), Arc<Stats>>>,
    phases: Mutex<BTreeMap<String, Phase>>,
    engine: Mutex<Option<Result<String, Fault>>>,
    /// Lock file, held as long as the agent lives: one agent per data folder. The kernel frees the lock however the agent ends.
    _lock: File,
}

impl Agent {
    /// Opens the data folder of an enrolled node. Blocking.
    pub fn open(config: Config) -> Result<Arc<Self>, Fault> {
        let identity = Identity::load(&config.data)?
            .ok_or_else(|| Fault::new("not-enrolled", "identity", "no identity in the data folder; run `pithead-edge enroll` first"))?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(config.data.join("lock"))
            .map_err(|e| Fault::disk("cannot open the lock file", &e))?;
        lock.try_lock().map_err(|_| Fault::new("already-running", "state", "another agent uses this data folder"))?;
        // The lock file tells our process id to whoever finds it locked; on a full disk it stays empty.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        let copied = machine::claim(&config.data, config.adopt).err();
        if let Some(fault) = &copied {
            tracing::warn!(%fault, "the data folder was copied");
        }
        let run = config.data.join("run");
        files::private_dir(&run)?;
        // Sockets of a former run. The folder stays: on a full disk no new one could be made.
        for socket in std::fs::read_dir(&run).into_iter().flatten().flatten() {
            files::remove(&socket.path())?;
        }
        let clock = Arc::new(Clock::open(&config.data, identity.validity().ok().map(|(from, _)| from)));
        let agent = Self {
            cloud: Cloud::new(&identity.server, identity.client(&clock)?, clock.clone()),
            link: Link::open(&config.data, clock.clone()),
            store: Store::open(&config.data.join("store"))?,
            state: StateFile::open(&config.data)?,
            apps: Apps::default(),
            outbox: Outbox::open(&config.data)?,
            episodes: Episodes::open(&config.data),
            pictures: Pictures::open(&config.data),
            usage: Usage::open(&config.data),
            node: Node::default(),
            changed: Notify::new(),
            unsent: Notify::new(),
            authorities: Notify::new(),
            trust: Trust::open(
                &config.data,
                KeySet::from_jwks(&identity.jwks).map_err(|e| Fault::new(e.code(), "identity", e.to_string()))?,
            )?,
            providers: Providers::default(),
            sources: Sources::default(),
            identity: RwLock::new(identity),
            stats: Mutex::default(),
            phases: Mutex::default(),
            engine: Mutex::default(),
            config,
            copied,
            instance: uuid::Uuid::new_v4().simple().to_string(),
            started: clock.now(),
            clock,
            _lock: lock,
        };
        Ok(Arc::new(agent))
    }

    /// Folder of sockets.
    pub fn run_dir(&self) -> PathBuf {
        self.config.data.join("run")
    }

    pub fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores another identity (renewal, other authorities) and uses it from now on.
    pub fn use_identity(&self, next: Identity) -> Result<(), Fault> {
        let client = next.client(&self.clock)?;
        next.save(&self.config.data)?;
        if let Ok((from, _)) = next.validity() {
            self.clock.certified(from);
        }
        self.cloud.replace(client);
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Judges a licence for this node at the present time. What is to run on goes by a time that nobody on the line can move.
    pub fn licensed(&self, wanted: &Wanted, safety: bool, purpose: Purpose) -> Result<Verdict, Fault> {
        let claims = release::claims(wanted, self.trust.held().license())?;
        if let Some(issued) = release::issued(&claims) {
            self.clock.licensed(issued);
        }
        let now = if purpose == Purpose::Run { self.clock.running() } else { self.clock.beginning() };
        release::licensed(wanted, &claims, safety, &self.identity().spiffe_id, purpose, now)
    }

    /// The standing of a licence for running on: `valid` or what it warns of. An app that is installed with this very document goes on when the
    /// key that signed its licence is trusted no longer: it was judged when the app began, and the platform signs another one. One of safety
    /// class is never stopped by its licence.
    pub fn standing(&self, wanted: &Wanted, safety: bool, purpose: Purpose, installed: bool) -> Result<Cow<'static, str>, Fault> {
        match self.licensed(wanted, safety, purpose) {
            Ok(verdict) => Ok(verdict.code().into()),
            Err(fault) if (safety || fault.code == UNKNOWN_KEY) && installed && purpose == Purpose::Run => Ok(fault.code),
            Err(fault) => Err(fault),
        }
    }

    /// Counters of a release in a deployment; they outlive its processes. Another release begins at zero, so that work of the former one
    /// never counts as its own.
    pub fn stats(&self, id: &str, release: &Digest) -> Arc<Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).entry((id.to_owned(), release.clone())).or_default().clone()
    }

    /// What each release in each deployment has done since the start of the agent, by meter.
    pub fn counted(&self) -> Counts {
        let stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |stats: &Stats| {
            let meters = [("inferences", &stats.inferences), ("errors", &stats.errors)];
            meters.into_iter().map(|(meter, count)| (meter, count.load(Ordering::Relaxed))).collect()
        };
        stats.iter().map(|((id, release), stats)| ((id.clone(), release.to_string()), counts(stats))).collect()
    }

    /// Remembers app and version of a deployment, for [`Self::phases`].
    pub fn note(&self, id: &str, wanted: &Wanted) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let phase = phases.entry(id.to_owned()).or_insert_with(|| Phase {
            app: String::new(),
            version: String::new(),
            state: State::Pending,
            fault: None,
        });
        wanted.app().clone_into(&mut phase.app);
        phase.version = wanted.release.version.to_string();
    }

    /// Names (id, full name, last part of the full name) of deployments that are installed, do not run yet and have not failed: for a
    /// moment after a start of the agent these are all.
    fn starting(&self) -> Vec<[String; 3]> {
        let phases = self.phases();
        let state = self.state.get();
        let waits = |id: &String| self.apps.get(id).is_none() && phases.get(id).is_none_or(|phase| phase.state != State::Failed);
        let names = |(id, document): (&String, &Digest)| {
            let yaml = self.store.get(document, MAX_DOCUMENT as u64).ok().flatten()?;
            let wanted = Wanted::parse(id, document, &yaml).ok()?;
            Some([id.clone(), wanted.app().to_owned(), wanted.slug().to_owned()])
        };
        state.installed.iter().filter(|(id, _)| waits(id)).filter_map(|(id, i)| names((id, &i.document))).collect()
    }

    /// Whether an app is being started, by any of its names.
    pub fn starting_app(&self, name: &str) -> bool {
        self.starting().iter().any(|names| names.iter().any(|known| known == name))
    }

    /// Whether a model may be that of an app that is being started. A model's own name is known only when its app runs.
    pub fn starting_model(&self, name: &str) -> bool {
        let starting = self.starting();
        match name.split_once('.') {
            Some((app, _)) => starting.iter().any(|[_, _, slug]| slug == app),
            None => !starting.is_empty(),
        }
    }

    /// Where every known deployment stands, by id.
    pub fn phases(&self) -> BTreeMap<String, Phase> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Queues the state of a deployment for the server; on a full disk it waits in memory. Each is a record, and the last of each deployment
    /// waits for Margo's status post.
    pub fn report(&self, id: &str, component: &str, adopted: u64, state: State, fault: Option<&Fault>) {
        if let Some(fault) = fault {
            tracing::warn!(deployment = id, state = state.as_str(), %fault, "deployment");
        } else {
            tracing::info!(deployment = id, state = state.as_str(), "deployment");
        }
        {
            let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
            if state == State::Removed {
                phases.remove(id);
            } else {
                let phase = phases.entry(id.to_owned()).or_insert_with(|| Phase {
                    app: component.to_owned(),
                    version: String::new(),
                    state,
                    fault: None,
                });
                phase.state = state;
                phase.fault = fault.cloned();
            }
        }
        let status = status_of(id, component, adopted, state, fault);
        self.record(&status);
        self.state.hold(|s| s.unsent.insert(id.to_owned(), status));
        self.unsent.notify_one();
    }

    /// Puts a state into its stream.
    fn record(&self, status: &DeploymentStatus) {
        let body = serde_json::to_value(status).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default();
        if let Err(fault) = self.outbox.push(Kind::Status, self.clock.now(), self.clock.state(), body) {
            tracing::error!(%fault, "a state could not be stored");
        }
    }

    /// Remembers the version of ONNX Runtime, or why it cannot be used.
    pub fn note_engine(&self, engine: Result<String, Fault>) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine);
    }

    /// Version of ONNX Runtime, or why it cannot be used; `None` until it was looked at.
    pub fn engine(&self) -> Option<Result<String, Fault>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Judges a state manifest and takes it. The platform has signed it, and all documents are here and checked, before anything changes; on
    /// any fault the old state stays.
    pub async fn adopt(&self, etag: &str, body: &[u8]) -> Result<(), Fault> {
        let digest = Digest::of(body);
        let signed = self.ask_orders(digest.as_str()).await?;
        let invalid = |why: String| Fault::new("state-manifest-invalid", "manifest", why);
        let manifest: StateManifest = serde_json::from_slice(body).map_err(|e| invalid(e.to_string()))?;
        let state = self.state.get();
        // Of a state that is signed, nobody who answers in between chooses the tag.
        let etag = signed.as_ref().map_or(etag, |signed| signed.digest.as_str());
        model::accept_version(state.manifest_version, state.etag.as_deref(), manifest.manifest_version, etag)?;
        if signed.as_ref().is_some_and(|signed| signed.manifest_version != manifest.manifest_version) {
            return Err(Fault::new("state-not-signed", "trust", "the platform has signed another version of the desired state"));
        }
        if manifest.deployments.len() > MAX_DEPLOYMENTS {
            return Err(invalid(format!("more than {MAX_DEPLOYMENTS} deployments")));
        }
        let mut desired = BTreeMap::new();
        for deployment in &manifest.deployments {
            let (id, digest) = (&deployment.deployment_id, &deployment.digest);
            if !is_deployment_id(id) || desired.insert(id.clone(), digest.clone()).is_some() {
                return Err(invalid(format!("deployment id {id:?} is not legal or is listed twice")));
            }
            if digest.algorithm() != "sha256" {
                return Err(Fault::new("digest-algorithm-unsupported", "manifest", digest.to_string()));
            }
            if self.store.get(digest, MAX_DOCUMENT as u64)?.is_none() {
                let document = self.cloud.document(id, digest).await?;
                check_digest("deployment document", digest.as_str(), &document)?;
                self.store.put(&document)?;
            }
        }
        let version = manifest.manifest_version;
        let unchanged = self.state.update(|s| {
            s.manifest_version = version;
            s.etag = Some(etag.to_owned());
            let gone: Vec<String> =
                s.desired.keys().filter(|id| !desired.contains_key(*id) && !s.installed.contains_key(*id)).cloned().collect();
            s.desired = desired;
            let mut same = Vec::new();
            for (id, installed) in &mut s.installed {
                if s.desired.get(id) == Some(&installed.document) {
                    installed.adopted = version;
                    same.push(id.clone());
                }
            }
            (same, gone)
        })?;
        let (same, gone) = unchanged;
        for id in same {
            // The server learns that this version was taken, also where nothing had to be done for it.
            if let Some(running) = self.apps.get(&id) {
                self.report(&id, &running.wanted.component, version, State::Installed, None);
            }
        }
        for id in gone {
            self.report(&id, &id, version, State::Removed, None);
        }
        tracing::info!(version, "desired state taken");
        self.changed.notify_one();
        Ok(())
    }

    /// Digests (hexadecimal) of all that is still needed on disk.
    pub fn needed(&self) -> std::collections::BTreeSet<String> {
        let state = self.state.get();
        let mut keep = std::collections::BTreeSet::new();
        let mut hold = |digest: &Digest| keep.insert(digest.hex().to_owned());
        let mut releases = Vec::new();
        for installed in state.installed.values() {
            hold(&installed.document);
            hold(&installed.signature);
            releases.push(installed.release.clone());
        }
        for (id, document) in &state.desired {
            hold(document);
            if let Ok(Some(yaml)) = self.store.get(document, MAX_DOCUMENT as u64)
                && let Ok(wanted) = Wanted::parse(id, document, &yaml)
            {
                releases.push(wanted.release.digest);
            }
        }
        releases.extend(self.apps.all().iter().map(|r| r.wanted.release.digest.clone()));
        for release in releases {
            hold(&release);
            if let Ok(Some(bytes)) = self.store.get(&release, MAX_DOCUMENT as u64)
                && let Ok(image) = release::image(&bytes)
            {
                hold(&image.config.digest);
                image.layers.iter().for_each(|l| {
                    hold(&l.digest);
                });
            }
        }
        keep
    }
}
