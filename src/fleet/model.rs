//! Rows, and the pure decisions: enrolment codes, whether a node is up, whether an app fits it ([`fit`]).

use app_package::manifest::AppManifest;
use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::{Map, Value};

use crate::base::db::{Json, Timestamp, schema};
use crate::release::model::{Channel, ReleaseState};

mod hardware;

pub use hardware::{Fit, Hardware, NodeProvider, Serves, fit};

crate::base::db::types::text_enum! {
    /// State of a node's identity.
    pub enum NodeState {
        /// Has an enrolment code and was never enrolled.
        Waiting = "waiting",
        /// Its certificate is accepted.
        Enrolled = "enrolled",
        /// Its certificate is not accepted any more.
        Removed = "removed",
    }
}

crate::base::db::types::text_enum! {
    /// State of a deployment, in Margo's words.
    pub enum DeploymentState {
        /// The node has not begun with it.
        Pending = "pending",
        /// Under way.
        Installing = "installing",
        /// Running, proved on the golden samples.
        Installed = "installed",
        /// Installing or running failed; `error` says why.
        Failed = "failed",
        /// Being taken away.
        Removing = "removing",
        /// Gone.
        Removed = "removed",
    }
}

/// A node counts as up when it was seen within this time. It calls by heartbeats (`fleet.heartbeat_seconds`, 20 at most) and by polls, each
/// every 15 s: one of them may be lost. Open pages hear of its end within seconds ([`super::silence`]), so that they show it within half a
/// minute.
pub const ONLINE_WITHIN: TimeDelta = TimeDelta::seconds(24);

/// The first and the last moment of a call by which a node counts as up. One that is further ahead was noted before the clock was set back,
/// and says nothing of now.
pub fn up_between(now: Timestamp) -> (Timestamp, Timestamp) {
    (now.minus(ONLINE_WITHIN), now.plus(ONLINE_WITHIN))
}

/// Whether a node that called last at this time counts as up.
pub fn heard_lately(seen_at: Option<Timestamp>, now: Timestamp) -> bool {
    let (first, last) = up_between(now);
    seen_at.is_some_and(|at| (first..=last).contains(&at))
}

/// Time for which two machines with one identity are told after they last took turns.
pub const DOUBLED: TimeDelta = TimeDelta::minutes(10);

/// Runs of an agent that are known beside the one that reported last: so many machines more with one identity are noticed.
const RUNS_BEFORE: usize = 3;

/// Whether a run of an agent takes turns with others: it reports again after another run did. A restart begins a new run, and a former one
/// never comes back, unless its data folder lives on another machine. `before` are the runs before the present one, with blanks between.
pub fn takes_turns(present: Option<&str>, before: Option<&str>, instance: &str) -> bool {
    present != Some(instance) && before.is_some_and(|before| before.split(' ').any(|run| run == instance))
}

/// The runs before the next one, the last first; none where there is none.
pub fn runs_before(present: Option<&str>, before: Option<&str>) -> Option<String> {
    let runs = present.into_iter().chain(before.into_iter().flat_map(|before| before.split(' ')));
    let runs: Vec<&str> = runs.take(RUNS_BEFORE).collect();
    (!runs.is_empty()).then(|| runs.join(" "))
}

/// A mine or a part of it.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::sites)]
pub struct Site {
    /// `sit_…`.
    pub id: String,
    pub organization_id: String,
    /// Name, unique in the organisation.
    pub name: String,
    pub created_at: Timestamp,
}

/// An edge node.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::nodes)]
pub struct Node {
    /// `nod_…`; also its Margo device id.
    pub id: String,
    pub organization_id: String,
    /// Where it stands.
    pub site_id: String,
    /// Name, unique at the site.
    pub name: String,
    /// State of its identity.
    pub state: NodeState,
    /// SHA-256 of the normalised enrolment code.
    pub code_hash: Option<String>,
    /// End of the code's validity.
    pub code_expires_at: Option<Timestamp>,
    /// When the code was used.
    pub code_used_at: Option<Timestamp>,
    /// Serial number of the certificate in force, in hex.
    pub certificate_serial: Option<String>,
    /// Serial number of the certificate before, accepted until the new one is used (the answer to a renewal can get lost).
    pub certificate_previous_serial: Option<String>,
    /// End of the certificate.
    pub certificate_expires_at: Option<Timestamp>,
    /// Margo capabilities as sent, JSON.
    pub capabilities: Option<String>,
    pub agent_version: Option<String>,
    /// Last call.
    pub seen_at: Option<Timestamp>,
    /// Version of the node's desired state.
    pub manifest_version: i64,
    /// Digest of the node's desired state.
    pub manifest_digest: Option<String>,
    pub created_at: Timestamp,
    /// Fault of the agent that the last heartbeat reported, as `code: words`.
    pub trouble: Option<String>,
    /// Alarms that never come, as the last heartbeat counted them: lost because the node had no room for them,
    pub alarms_dropped: i64,
    /// and held back since the agent's start because their rule raised too many.
    pub alarms_suppressed: i64,
}

/// Suffix of a removed node's name in its row, so that the node that replaces it can have the name.
pub fn removed_suffix(node_id: &str) -> String {
    format!(" ~{}", node_id.chars().skip(node_id.chars().count().saturating_sub(6)).collect::<String>())
}

/// A node's name as people gave it, also after it was removed.
pub fn shown_name<'a>(name: &'a str, node_id: &str) -> &'a str {
    name.strip_suffix(&removed_suffix(node_id)).unwrap_or(name)
}

impl Node {
    /// Its name as people gave it.
    pub fn shown_name(&self) -> &str {
        shown_name(&self.name, &self.id)
    }

    /// Whether it is up.
    pub fn online(&self, now: Timestamp) -> bool {
        self.state == NodeState::Enrolled && heard_lately(self.seen_at, now)
    }

    /// Whether the node is enrolled and its agent has never called since.
    pub fn silent(&self) -> bool {
        self.state == NodeState::Enrolled && self.seen_at.is_none()
    }

    /// The word of its badge: `enrolling`, `enrolled`, `online`, `offline` or `removed`.
    pub fn shown_state(&self, now: Timestamp) -> &'static str {
        match self.state {
            NodeState::Waiting => "enrolling",
            NodeState::Removed => "removed",
            NodeState::Enrolled if self.silent() => "enrolled",
            NodeState::Enrolled if self.online(now) => "online",
            NodeState::Enrolled => "offline",
        }
    }

    /// End of the enrolment code that can be used now, if there is one.
    pub fn open_code(&self, now: Timestamp) -> Option<Timestamp> {
        let open = self.state != NodeState::Removed && self.code_hash.is_some() && self.code_used_at.is_none();
        self.code_expires_at.filter(|end| open && *end > now)
    }

    /// The hardware that the node has reported.
    pub fn hardware(&self) -> Option<Hardware> {
        Hardware::parse(self.capabilities.as_deref()?)
    }
}

/// An app on a node.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::deployments)]
pub struct Deployment {
    /// `dep_…`; an update keeps it.
    pub id: String,
    pub organization_id: String,
    pub node_id: String,
    pub app_id: String,
    /// Release wanted.
    pub release_id: String,
    pub license_id: String,
    /// Values of the app's parameters.
    pub parameters: Json<Map<String, Value>>,
    /// Whether the operator wants the app on the node.
    pub wanted: bool,
    /// Digest of the deployment document; empty until it is written.
    pub digest: String,
    /// Version of the node's desired state that holds the last change; 0 until it is written.
    pub target_version: i64,
    /// Version that the node has taken.
    pub adopted_version: i64,
    /// State by the node's reports and the platform's decisions.
    pub state: DeploymentState,
    /// Why it failed.
    pub error: Option<String>,
    /// Person who deployed it first.
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Deployment {
    /// The word of its badge: its state, but `offline` where it should run on a node that is not heard from.
    pub fn shown_state(&self, online: bool) -> &'static str {
        if self.state == DeploymentState::Installed && !online { "offline" } else { self.state.as_str() }
    }
}

/// Something that happened to a deployment.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::deployment_events)]
pub struct DeploymentEvent {
    /// `dev_…`.
    pub id: String,
    pub deployment_id: String,
    /// State entered.
    pub state: String,
    /// Version of the app.
    pub version: String,
    /// Why it failed.
    pub error: Option<String>,
    pub at: Timestamp,
    /// The changed settings in words: [`changes`].
    pub note: Option<String>,
    /// Name of the person who asked for it, as it was then; none for what a node reports.
    pub made_by: Option<String>,
}

/// The part of a release that deploying needs.
#[derive(Debug, Clone, Queryable)]
pub struct ReleaseInfo {
    /// `rel_…`.
    pub id: String,
    pub app_id: String,
    /// Semantic version.
    pub version: String,
    /// Digest of the OCI manifest.
    pub digest: String,
    pub state: ReleaseState,
    /// The release's app.yaml.
    pub manifest: Json<AppManifest>,
}

/// A release in a list.
#[derive(Debug, Clone, QueryableByName)]
pub struct ReleaseName {
    /// `rel_…`.
    #[diesel(sql_type = Text)]
    pub id: String,
    #[diesel(sql_type = Text)]
    pub app_id: String,
    /// Semantic version.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// Whom it is for.
    #[diesel(sql_type = Text)]
    pub channel: Channel,
}

/// A seat of a licence with the node that holds it.
#[derive(Debug, Clone, Queryable)]
pub struct Seat {
    /// `nod_…`.
    pub node_id: String,
    /// Name of the node.
    pub node: String,
    /// Name of its site.
    pub site: String,
    /// Since when the node holds it.
    pub since: Timestamp,
    /// The deployment on the node by this licence that is not gone.
    pub deployment_id: Option<String>,
}

/// The 32 characters of codes, 5 bits each, without those that are mixed up when read out underground (I, O, 0, 1).
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Characters of a code: 60 bits, for a secret that lives for hours and is used once.
const CODE_LENGTH: usize = 12;

/// A new enrolment code: three groups of four characters of [`ALPHABET`], joined by hyphens.
pub fn new_code() -> String {
    let mut code = String::with_capacity(CODE_LENGTH + 2);
    for (i, byte) in crate::base::ids::random::<CODE_LENGTH>().into_iter().enumerate() {
        if i > 0 && i % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'A')));
    }
    code
}

/// The hash under which a code is stored, whatever its case and hyphens; none where it cannot be a code.
pub fn code_hash(code: &str) -> Option<String> {
    if code.len() > 64 {
        return None;
    }
    let plain: String = code.chars().filter(|c| *c != '-' && !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    let fits = plain.len() == CODE_LENGTH && plain.bytes().all(|b| ALPHABET.contains(&b));
    fits.then(|| crate::base::ids::hash_secret(&plain))
}

/// Longest note of a change, in characters.
const MAX_NOTE: usize = 500;

/// The settings that differ from a deployment's present ones, such as `bolt_score: 0.6 → 0.5`; none where all are the same.
pub fn changes(was: &Deployment, license_id: &str, parameters: &Map<String, Value>) -> Option<String> {
    let shown = |value: Option<&Value>| value.map_or_else(|| "–".to_owned(), super::parameters::shown);
    let mut changed: Vec<String> = parameters
        .iter()
        .filter(|(name, value)| was.parameters.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}: {} → {}", shown(was.parameters.get(name)), shown(Some(value))))
        .collect();
    if was.license_id != license_id {
        changed.push(format!("license: {} → {license_id}", was.license_id));
    }
    (!changed.is_empty()).then(|| changed.join("; ").chars().take(MAX_NOTE).collect())
}

/// The change that deploying makes on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The app is not there.
    Install,
    /// Another version is there.
    Update {
        /// Version on the node now.
        from: String,
    },
    /// The same version with other parameters, or under another licence.
    Reconfigure,
    /// Nothing changes.
    Same,
}

impl Change {
    /// Second part of the key `fleet-change-…`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Update { .. } => "update",
            Self::Reconfigure => "reconfigure",
            Self::Same => "same",
        }
    }

    /// Compares with the existing deployment, given with the version of its release.
    pub fn of(existing: Option<(&Deployment, &str)>, release_id: &str, license_id: &str, parameters: &Map<String, Value>) -> Self {
        match existing {
            Some((d, version)) if d.wanted && d.release_id != release_id => Self::Update { from: version.to_owned() },
            // Deploying the same again is a new try where the deployment has failed.
            Some((d, _))
                if d.wanted && d.license_id == license_id && *d.parameters == *parameters && d.state != DeploymentState::Failed =>
            {
                Self::Same
            }
            Some((d, _)) if d.wanted => Self::Reconfigure,
            _ => Self::Install,
        }
    }
}

/// A row of a list of deployments: deployment, version, node, site, last call of the node.
pub type DeploymentRow = (Deployment, String, String, String, Option<Timestamp>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_with_one_identity_are_noticed_when_the_first_reports_again() {
        let noticed = |runs: &str| {
            let (mut present, mut before) = (None::<String>, None::<String>);
            runs.split(' ').position(|run| {
                let turns = takes_turns(present.as_deref(), before.as_deref(), run);
                if present.as_deref() != Some(run) {
                    before = runs_before(present.as_deref(), before.as_deref());
                    present = Some(run.to_owned());
                }
                turns
            })
        };
        assert_eq!(noticed("a b a b"), Some(2));
        assert_eq!(noticed("a b c a b c"), Some(3));
        assert_eq!(noticed("a a b b c c d a"), Some(7));
        assert_eq!(noticed("a b c d e f g"), None, "restarts");
    }
}
