//! What is wrong with this node, in one place for the status page, `/v2/health/ready` and heartbeats.

use app_package::digest::Digest;
use app_package::margo::State;

use crate::agent::Agent;
use crate::fault::Fault;

/// An app that is wanted and does not run as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    pub deployment: String,
    /// Full name of the app; empty before its document was read.
    pub app: String,
    /// Why: the code of its fault, `app-starting` or `app-restarting`.
    pub code: String,
    /// It serves all the same, as it was wanted before: a change of it has failed.
    pub serves: bool,
}

impl Down {
    /// Whether the node is not ready without it. An app that a recall keeps from starting is named, but nothing at the node is amiss; one whose
    /// change has failed goes on answering.
    pub fn is_awaited(&self) -> bool {
        !self.serves && self.code != "release-recalled"
    }
}

/// Faults of the node as a whole, the worst first: what keeps it from taking the desired state or beginning anything new, from running apps, from keeping reports,
/// its clock, an open API, a copied data folder, and apps that the kernel does not confine. None of them stops what runs.
pub fn faults(agent: &Agent) -> Vec<Fault> {
    let engine = agent.engine().and_then(Result::err);
    let (open, copied) = (agent.config.open.clone(), agent.copied.clone());
    let stale = agent.trust.held().stale(agent.clock.beginning());
    let all = [agent.link.poll_trouble(), stale, engine, agent.outbox.fault(), agent.clock.fault(), open, copied, unconfined(agent)];
    all.into_iter().flatten().collect()
}

/// Apps that run though the kernel does not confine them.
fn unconfined(agent: &Agent) -> Option<Fault> {
    let all = agent.apps.all();
    let apps: Vec<&str> = all.iter().filter(|running| running.process.is_unconfined()).map(|running| running.wanted.app()).collect();
    let message = || format!("the kernel of this machine does not confine {}", apps.join(", "));
    (!apps.is_empty()).then(|| Fault::new("app-unconfined", "app", message()))
}

/// Apps that are wanted and do not run, whatever the reason: who asks whether the node is ready wants to know whether all are served. And those
/// that run as they were wanted before, because the change has failed.
pub fn down(agent: &Agent) -> Vec<Down> {
    let phases = agent.phases();
    let why = |(id, document): (&String, &Digest)| {
        let phase = phases.get(id);
        let app = phase.map(|phase| phase.app.clone()).unwrap_or_default();
        let fault = phase.filter(|phase| phase.state == State::Failed).and_then(|phase| phase.fault.as_ref());
        let (code, serves) = match agent.apps.get(id) {
            Some(running) if running.process.pid().is_some() => {
                let failed = fault.filter(|_| running.wanted.document != *document)?;
                (failed.code.to_string(), true)
            }
            Some(_) => ("app-restarting".to_owned(), false),
            None => (fault.map_or_else(|| "app-starting".to_owned(), |fault| fault.code.to_string()), false),
        };
        Some(Down { deployment: id.clone(), app, code, serves })
    };
    agent.state.get().desired.iter().filter_map(why).collect()
}
