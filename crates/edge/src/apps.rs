//! The apps that run now, for the local API, heartbeats and the licence watch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use app_package::manifest::AppManifest;
use app_package::pipeline::ModelStep;
use serde_json::{Map, Value};

use crate::process::Process;
use crate::release::Wanted;
use crate::telemetry::Stats;

/// One running deployment. It is replaced as a whole on every change.
#[derive(Clone)]
pub struct Running {
    /// Deployment document in force.
    pub wanted: Wanted,
    /// The release's `app.yaml`.
    pub manifest: Arc<AppManifest>,
    /// The app's models in order, as the Open Inference Protocol serves them.
    pub models: Vec<ModelStep>,
    /// Parameter values of the app, defaults included.
    pub values: Map<String, Value>,
    /// Standing of the licence at its last check: `valid` or what it warns of.
    pub standing: Cow<'static, str>,
    pub process: Arc<Process>,
    pub stats: Arc<Stats>,
}

impl Running {
    /// What the licence warns of; `None` where it is valid.
    pub fn warning(&self) -> Option<&str> {
        (self.standing != "valid").then_some(&*self.standing)
    }
}

/// All running deployments by id.
#[derive(Default)]
pub struct Apps(RwLock<BTreeMap<String, Arc<Running>>>);

impl Apps {
    /// All running deployments, in order of id.
    pub fn all(&self) -> Vec<Arc<Running>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A running deployment by id.
    pub fn get(&self, id: &str) -> Option<Arc<Running>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// A running deployment by id, by its app's full name or by the last part of that name; of several the first by id.
    pub fn find(&self, name: &str) -> Option<Arc<Running>> {
        let apps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(name).or_else(|| apps.values().find(|a| a.wanted.app() == name || a.wanted.slug() == name)).cloned()
    }

    /// A running deployment with the place of one of its models: by the model's name, by `<app>.<model>` or `<deployment>.<model>`, or by the
    /// app's name, which is its first model. Of several the first by the deployment's id ([`Self::shared`]).
    pub fn find_model(&self, name: &str) -> Option<(Arc<Running>, usize)> {
        let apps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let model = |a: &Running, name: &str| a.models.iter().position(|model| model.name == name);
        let long = |a: &Running| model(a, name.strip_prefix(a.wanted.slug())?.strip_prefix('.')?);
        let longest = |a: &Running| model(a, name.strip_prefix(&*a.wanted.id)?.strip_prefix('.')?);
        let by = |place: &dyn Fn(&Running) -> Option<usize>| apps.values().find_map(|a| Some((a.clone(), place(a)?)));
        by(&|a| model(a, name))
            .or_else(|| by(&long))
            .or_else(|| by(&longest))
            .or_else(|| by(&|a| (a.wanted.slug() == name && !a.models.is_empty()).then_some(0)))
    }

    /// Where several deployments have a model of this name, so that it means the first one's: of each the name that means its own alone.
    pub fn shared(&self, model: &str) -> Vec<String> {
        let apps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let have: Vec<&Arc<Running>> = apps.values().filter(|a| a.models.iter().any(|own| own.name == model)).collect();
        if have.len() < 2 {
            return Vec::new();
        }
        let alone = |a: &Running| apps.values().filter(|other| other.wanted.slug() == a.wanted.slug()).count() == 1;
        have.iter().map(|a| format!("{}.{model}", if alone(a) { a.wanted.slug() } else { &*a.wanted.id })).collect()
    }

    /// Puts a deployment in place of its former self, whose process ends with the last request to it.
    pub fn put(&self, running: Running) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(running.wanted.id.clone(), Arc::new(running));
    }

    /// Puts a process in the place of the one that serves a deployment; whether that was still `former`.
    pub fn exchange(&self, id: &str, former: &Arc<Process>, next: Arc<Process>) -> bool {
        let mut apps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = apps.get_mut(id).filter(|running| Arc::ptr_eq(&running.process, former)) else { return false };
        next.take_over();
        *running = Arc::new(Running { process: next, ..Running::clone(running) });
        true
    }

    pub fn remove(&self, id: &str) -> Option<Arc<Running>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id)
    }
}
