//! Identities of nodes: enrolment by a one-time code, renewal, and the node behind a client certificate.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::TOPIC;
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::dialect::{self, Row};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result, exactly_one};
use crate::base::jobs::Job;
use crate::base::pki::ca::{IssuedCertificate, NodeCa};
use crate::base::rate::{self, Rate};
use crate::fleet::model::{self, NodeState};
use crate::fleet::store;

/// Longest agent version that is kept, in characters.
const MAX_VERSION: usize = 60;

/// Renewals of one node: a certificate lives for days, and an answer may be lost on a bad line.
const RENEWALS: Rate = Rate { units: 3, every: TimeDelta::hours(3) };

/// A node that has got its certificate.
#[derive(Debug, Clone)]
pub struct Enrolment {
    pub node_id: String,
    pub organization_id: String,
    pub node_name: String,
    pub site_name: String,
    /// The certificate.
    pub issued: IssuedCertificate,
}

/// [`enroll_in`] in a transaction of its own.
pub async fn enroll(app: &App, code: String, csr_pem: String, agent_version: String) -> Result<Enrolment> {
    let handle = app.clone();
    audit::change(app, &Actor::System, move |c| enroll_in(c, &handle, &code, &csr_pem, &agent_version)).await
}

/// Enrols the node of a code: signs its request and puts the certificate on the accepted list. The code is used up by one conditional
/// update, so of two callers one gets the node.
///
/// # Errors
/// `enrollment-code-unknown`, `enrollment-code-used`, `enrollment-code-expired`, `csr-invalid`.
pub fn enroll_in(c: &mut Change<'_>, app: &App, code: &str, csr_pem: &str, agent_version: &str) -> Result<Enrolment> {
    let now = c.now;
    let unknown = || Error::not_found("enrollment-code-unknown");
    let hash = model::code_hash(code).ok_or_else(unknown)?;
    let (node, site_name) = store::find_node_by_code(c, &hash)?.filter(|(n, _)| n.state != NodeState::Removed).ok_or_else(unknown)?;
    if node.code_used_at.is_some() {
        return Err(Error::conflict("enrollment-code-used"));
    }
    if node.code_expires_at.is_none_or(|end| end <= now) {
        return Err(Error::gone("enrollment-code-expired"));
    }
    let issued = app.ca.sign_node(csr_pem, &node.id, now)?;
    let version: String = agent_version.chars().filter(|c| !c.is_control()).take(MAX_VERSION).collect();
    exactly_one(store::use_code(c, &node.id, &hash, &issued.serial, issued.expires_at, &version, now)?, "enrollment-code-used")?;
    c.enqueue_for(&node.organization_id, &Job::RebuildNode { node_id: node.id.clone() })?;
    let actor = Actor::Node { node_id: node.id.clone(), organization_id: node.organization_id.clone() };
    let detail = json!({"spiffe_id": issued.spiffe_id, "serial": issued.serial, "expires_at": issued.expires_at, "agent_version": version});
    c.audit_as(&actor, "node.enrolled", &node.id, &detail);
    c.poke(&node.organization_id, format!("node:{}", node.id));
    c.poke(&node.organization_id, TOPIC);
    Ok(Enrolment { node_id: node.id, organization_id: node.organization_id, node_name: node.name, site_name, issued })
}

/// Renews the certificate of the node that asks.
///
/// The certificate before stays accepted until the new one is used for the first time: the answer can get lost on a bad line, and a
/// node that is locked out needs a person to go there.
///
/// # Errors
/// `certificate-not-accepted` where the actor is no node or not enrolled any more, `csr-invalid`, `too-many-renewals`.
pub async fn renew(app: &App, actor: &Actor, csr_pem: String) -> Result<Enrolment> {
    let Actor::Node { node_id, .. } = actor else { return Err(refused()) };
    let (handle, id) = (app.clone(), node_id.clone());
    audit::change(app, actor, move |c| {
        let now = c.now;
        // The row lock makes the second of two renewals at once see the first.
        dialect::hold(c, Row::Node(&id))?;
        let (node, site_name) = store::find_node(c, &id)?.filter(|(n, _)| n.state == NodeState::Enrolled).ok_or_else(refused)?;
        if let Some(wait) = rate::spend(c, vec![(format!("renewals:{id}"), RENEWALS)], now)? {
            return Err(Error::rate_limited("too-many-renewals").retry_after(wait));
        }
        let issued = handle.ca.sign_node(&csr_pem, &node.id, now)?;
        // If the certificate of the last renewal was never used, the node still has the one before.
        let previous = node.certificate_previous_serial.or(node.certificate_serial);
        let rows = store::renew_certificate(c, &node.id, &issued.serial, previous.as_deref(), issued.expires_at)?;
        if rows != 1 {
            return Err(refused());
        }
        c.audit("node.certificate-renewed", &node.id, &json!({"serial": issued.serial, "expires_at": issued.expires_at}));
        Ok(Enrolment { node_id: node.id, organization_id: node.organization_id, node_name: node.name, site_name, issued })
    })
    .await
}

fn refused() -> Error {
    Error::unauthenticated("certificate-not-accepted")
}

/// How long it holds what was read of a node.
const LIFE: TimeDelta = TimeDelta::seconds(1);

/// A node's client certificate on a connection, with what was last read of the node: good for a second, and only while no write of this
/// process touches the node or its operator ([`crate::base::db::Marks`]). So a removal shows at the next call, one by another process a
/// second later.
#[derive(Debug)]
pub struct NodeCertificate {
    der: Vec<u8>,
    hash: [u8; 32],
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    at: Timestamp,
    /// Unix time of the certificate's end.
    until: i64,
    caller: Caller,
}

/// A node that calls, as it was last read.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Ids of node and operator.
    of: [String; 2],
    /// Digest of its desired state, where one is written.
    digest: Option<String>,
    /// Its last call, as known here: all calls over a connection share it.
    seen: Arc<Mutex<Option<Timestamp>>>,
    /// Taken before the node was read; none where it was not.
    mark: Option<u64>,
}

impl Caller {
    /// A node of which nothing was read.
    pub fn new(node_id: String, organization_id: String) -> Self {
        Self { of: [node_id, organization_id], digest: None, seen: Arc::default(), mark: None }
    }

    pub fn node_id(&self) -> &str {
        let [node_id, _] = &self.of;
        node_id
    }

    pub fn actor(&self) -> Actor {
        let [node_id, organization_id] = self.of.clone();
        Actor::Node { node_id, organization_id }
    }

    /// Digest of its desired state, if nothing was written since that could have changed it.
    pub fn digest(&self, app: &App) -> Option<String> {
        self.holds(app).then(|| self.digest.clone()).flatten()
    }

    fn holds(&self, app: &App) -> bool {
        self.mark.is_some_and(|mark| app.db.marks().hold(mark, &self.of))
    }

    /// Whether the call is to be noted as its last one: no more often than each so long.
    pub fn calls(&self, now: Timestamp, each: TimeDelta) -> bool {
        let Ok(mut seen) = self.seen.lock() else { return true };
        // A last call that lies ahead was noted before the clock was set back.
        let due = seen.is_none_or(|at| at > now || at.plus(each) < now);
        if due {
            *seen = Some(now);
        }
        due
    }
}

impl NodeCertificate {
    /// From the handshake, which has verified chain and signature.
    pub fn new(der: Vec<u8>) -> Self {
        Self { hash: Sha256::digest(&der).into(), der, known: Mutex::default() }
    }

    /// SHA-256 of the certificate.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The node of the certificate. TLS has verified chain and signature; here the certificate's name, time and serial are checked.
    ///
    /// # Errors
    /// `certificate-not-accepted`: not of our shape, expired, replaced by a newer one, or of a node that was removed.
    pub async fn authenticate(&self, app: &App) -> Result<Caller> {
        let now = app.clock.now();
        let kept = self.known.lock().ok().and_then(|known| known.clone());
        // `at <= now`: a clock that was set back must not prolong its life.
        let fresh = |known: &Known| known.at <= now && now < known.at.plus(LIFE) && now.unix() < known.until && known.caller.holds(app);
        if let Some(known) = kept.filter(fresh) {
            return Ok(known.caller);
        }
        let known = self.read(app, now).await?;
        let caller = known.caller.clone();
        if let Ok(mut kept) = self.known.lock() {
            *kept = Some(known);
        }
        Ok(caller)
    }

    async fn read(&self, app: &App, now: Timestamp) -> Result<Known> {
        let Some((node_id, serial, until)) = read_certificate(&app.ca, &self.der, now) else { return Err(refused()) };
        let mark = Some(app.db.marks().now());
        let id = node_id.clone();
        let row = app.db.read(move |conn| Ok(store::caller(conn, &id)?)).await?;
        let Some(row) = row.filter(|row| row.state == NodeState::Enrolled) else { return Err(refused()) };
        let is = |known: &Option<String>| known.as_deref().is_some_and(|known| plain(known) == serial);
        if is(&row.serial) {
            if let (Some(_), Some(current)) = (&row.previous_serial, row.serial.clone()) {
                let id = node_id.clone();
                let rows = app.db.write(move |conn| Ok(store::forget_previous_certificate(conn, &id, &current)?)).await?;
                if rows != 1 {
                    // Renewed since the read above: this one counts as never used, and is not on the list any more.
                    return Err(refused());
                }
            }
        } else if !is(&row.previous_serial) {
            return Err(refused());
        }
        let seen = Arc::new(Mutex::new(row.seen_at));
        let caller = Caller { of: [node_id, row.organization_id], digest: row.digest, seen, mark };
        Ok(Known { at: now, until, caller })
    }
}

/// Whether a node is enrolled now.
pub fn is_enrolled(conn: &mut Conn, node_id: &str) -> Result<bool> {
    Ok(store::find_node(conn, node_id)?.is_some_and(|(node, _)| node.state == NodeState::Enrolled))
}

/// Whether a node shall run one of some releases, by their digests.
pub fn runs(conn: &mut Conn, node_id: &str, digests: &[&str]) -> Result<bool> {
    Ok(store::runs(conn, node_id, digests)?)
}

/// Node id, serial and end of a node certificate that is valid now: one URI name of our SPIFFE shape, and no CA.
fn read_certificate(ca: &NodeCa, der: &[u8], now: Timestamp) -> Option<(String, String, i64)> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() || certificate.is_ca() {
        return None;
    }
    let validity = certificate.validity();
    if validity.not_before.timestamp() > now.unix() || validity.not_after.timestamp() <= now.unix() {
        return None;
    }
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let node_id = ca.node_of(uri)?;
    Some((node_id.to_owned(), plain(&hex::encode(certificate.raw_serial())), validity.not_after.timestamp()))
}

/// A serial in hex without leading zeros: DER adds or drops a zero byte to keep the number positive and short.
fn plain(serial: &str) -> String {
    serial.trim_start_matches('0').to_ascii_lowercase()
}
