//! Who this node is: its key, certificate (X.509-SVID), trust bundle and the platform's public keys.
//!
//! Invariants: the private key never leaves this folder and has mode 0600; key and certificate are replaced together, in one
//! file, so a power cut between them cannot leave a pair that does not fit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use app_package::dsse::Envelope;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::Clock;
use crate::fault::Fault;
use crate::{files, tls};

/// What the server answers to enrolment and renewal.
#[derive(Debug, Clone, Deserialize)]
pub struct Issued {
    /// Id of the node on the platform, also Margo's `deviceId`.
    pub node_id: String,
    /// `spiffe://<td>/margo/wfm/<wfm>/client/<node>`.
    pub spiffe_id: String,
    /// Leaf and chain.
    pub certificate_pem: String,
    /// CA certificates that the server must chain to.
    pub trust_bundle_pem: String,
    /// Public keys for licences and release signatures of a server without root documents.
    pub jwks: serde_json::Value,
    /// The root document, which a server of before does not have.
    #[serde(default)]
    pub root: Option<Envelope>,
    /// Name given by the operator.
    #[serde(default)]
    pub node_name: String,
    /// Site of the node.
    #[serde(default)]
    pub site_name: String,
    /// Seconds between polls where the server does not hold them.
    #[serde(default)]
    pub poll_seconds: Option<u64>,
    /// Seconds between heartbeats.
    #[serde(default)]
    pub heartbeat_seconds: Option<u64>,
}

/// The stored identity. `Debug` is not derived: it holds the private key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// Base URL of the server, `https://host:port`.
    pub server: String,
    pub node_id: String,
    /// SPIFFE id of the node.
    pub spiffe_id: String,
    /// Leaf and chain.
    pub certificate_pem: String,
    /// Private key, PKCS#8.
    pub key_pem: String,
    /// CA certificates that the server must chain to.
    pub trust_bundle_pem: String,
    /// Public keys that the node got at enrolment. They count as long as it holds no root document ([`crate::trust`]).
    pub jwks: serde_json::Value,
    /// Name given by the operator.
    pub node_name: String,
    /// Site of the node.
    pub site_name: String,
    /// Seconds between polls.
    pub poll_seconds: u64,
    /// Seconds between heartbeats.
    pub heartbeat_seconds: u64,
    /// Address of the local API that was asked for at enrolment.
    #[serde(default)]
    pub listen: Option<String>,
    /// Last renewal of the certificate, by the platform's time in seconds since 1970.
    #[serde(default)]
    pub renewed_at: Option<i64>,
}

/// A new key with its signing request.
pub struct Request {
    /// Private key, PKCS#8 PEM.
    pub key_pem: String,
    /// Signing request, PEM. The server sets the names itself.
    pub csr_pem: String,
}

fn unusable(what: &str, error: impl std::fmt::Display) -> Fault {
    Fault::new("identity-unusable", "identity", format!("{what}: {error}"))
}

impl Request {
    /// A fresh P-256 key and a request for a certificate over it.
    pub fn new() -> Result<Self, Fault> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| unusable("key", e))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key).map_err(|e| unusable("signing request", e))?;
        Ok(Self { key_pem: key.serialize_pem(), csr_pem: csr.pem().map_err(|e| unusable("signing request", e))? })
    }
}

impl Identity {
    /// Takes what the server issued after checking that it fits: the leaf carries the id, is over our key, and chains to
    /// the bundle's domain.
    pub fn accept(server: &str, request: &Request, issued: Issued) -> Result<Self, Fault> {
        let leaf = leaf(&issued.certificate_pem)?;
        if tls::uri_san(&leaf).as_deref() != Some(issued.spiffe_id.as_str()) {
            return Err(unusable("certificate", "does not carry the node's SPIFFE id"));
        }
        if tls::fleet_manager_of(&issued.spiffe_id).is_none() || !issued.spiffe_id.ends_with(&format!("/client/{}", issued.node_id)) {
            return Err(unusable("SPIFFE id", "does not have the shape of a node's id"));
        }
        let key = KeyPair::from_pem(&request.key_pem).map_err(|e| unusable("key", e))?;
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|e| unusable("certificate", e))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(unusable("certificate", "is over another key than ours"));
        }
        tls::anchors(&issued.trust_bundle_pem)?;
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            node_id: issued.node_id,
            spiffe_id: issued.spiffe_id,
            certificate_pem: issued.certificate_pem,
            key_pem: request.key_pem.clone(),
            trust_bundle_pem: issued.trust_bundle_pem,
            jwks: issued.jwks,
            node_name: issued.node_name,
            site_name: issued.site_name,
            poll_seconds: issued.poll_seconds.unwrap_or(15).clamp(1, 3600),
            heartbeat_seconds: issued.heartbeat_seconds.unwrap_or(15).clamp(1, 3600),
            listen: None,
            renewed_at: None,
        })
    }

    fn file(data: &Path) -> PathBuf {
        data.join("identity.json")
    }

    /// Reads the identity; `None` on a node that is not enrolled.
    pub fn load(data: &Path) -> Result<Option<Self>, Fault> {
        files::read_json(&Self::file(data))
    }

    /// Stores the identity (mode 0600).
    pub fn save(&self, data: &Path) -> Result<(), Fault> {
        files::private_dir(data)?;
        files::write_json(&Self::file(data), self)
    }

    /// The HTTPS client of this identity.
    pub fn client(&self, clock: &Arc<Clock>) -> Result<reqwest::Client, Fault> {
        let spiffe_id = tls::fleet_manager_of(&self.spiffe_id).ok_or_else(|| unusable("SPIFFE id", "not a node's id"))?;
        let expect = tls::Expect::Server { anchors: tls::anchors(&self.trust_bundle_pem)?, spiffe_id };
        tls::client(expect, Some((&self.certificate_pem, &self.key_pem)), clock.clone())
    }

    /// The authority that issued the certificate, DER: the one after the leaf.
    pub fn issuer(&self) -> Option<Vec<u8>> {
        let mut chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes()).skip(1);
        chain.next()?.ok().map(|certificate| certificate.to_vec())
    }

    /// Beginning and end of the certificate's life. It begins as long before its issue as it ends after it.
    pub fn validity(&self) -> Result<(DateTime<Utc>, DateTime<Utc>), Fault> {
        let leaf = leaf(&self.certificate_pem)?;
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|e| unusable("certificate", e))?;
        let at = |t: i64| DateTime::from_timestamp(t, 0).ok_or_else(|| unusable("certificate", "dates out of range"));
        let validity = parsed.validity();
        Ok((at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?))
    }
}

/// Certificates (DER) as the PEM of a trust bundle.
pub fn bundle(certificates: &[Vec<u8>]) -> String {
    let mut pem = String::new();
    for certificate in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

fn leaf(pem: &str) -> Result<CertificateDer<'static>, Fault> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| unusable("certificate", e))
}

/// Least time between two renewals, whatever dates the certificates have.
const RENEW_PAUSE: TimeDelta = TimeDelta::hours(1);

/// When the certificate may be renewed again after a renewal; none where there was no renewal.
pub fn not_before(renewed: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    renewed.map(|at| at + RENEW_PAUSE)
}

/// Time of renewal: when two thirds of the time after a certificate's issue are over, and not within an hour of the renewal before.
pub fn renew_at(from: DateTime<Utc>, to: DateTime<Utc>, renewed: Option<DateTime<Utc>>) -> DateTime<Utc> {
    // The time after the issue is half of the life.
    let due = to - (to - from).max(TimeDelta::zero()) / 6;
    not_before(renewed).map_or(due, |at| due.max(at))
}

/// The identity without its secrets, as `enroll` and `status` print it.
#[derive(Serialize)]
pub struct Summary {
    pub server: String,
    pub node_id: String,
    pub spiffe_id: String,
    pub node_name: String,
    pub site_name: String,
    /// End of the certificate's life; `None` where the certificate is not readable.
    pub certificate_until: Option<DateTime<Utc>>,
}

impl From<&Identity> for Summary {
    fn from(identity: &Identity) -> Self {
        Self {
            server: identity.server.clone(),
            node_id: identity.node_id.clone(),
            spiffe_id: identity.spiffe_id.clone(),
            node_name: identity.node_name.clone(),
            site_name: identity.site_name.clone(),
            certificate_until: identity.validity().ok().map(|v| v.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_at_two_thirds() {
        // Issued at 0.
        let from = DateTime::from_timestamp(-9000, 0).unwrap();
        let to = DateTime::from_timestamp(9000, 0).unwrap();
        assert_eq!(renew_at(from, to, None).timestamp(), 6000);
        assert_eq!(renew_at(to, from, None), from);
        // A certificate that is due as soon as it is there is not renewed again at once.
        assert_eq!(renew_at(from, to, Some(from)).timestamp(), 6000);
        assert_eq!(renew_at(from, to, Some(to)).timestamp(), 9000 + 3600);
    }

    #[test]
    fn request_is_p256() {
        let request = Request::new().unwrap();
        assert!(request.csr_pem.contains("BEGIN CERTIFICATE REQUEST"));
        assert!(request.key_pem.contains("BEGIN PRIVATE KEY"));
    }
}
