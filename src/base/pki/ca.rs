//! The certificate authority of node identities: X.509-SVIDs (SPIFFE) signed with ECDSA P-256, as Margo's identity profile asks.
//!
//! The authority chooses the name itself and takes nothing from a request but its public key. Revocation is by the `nodes` table,
//! which every call checks; certificates live for days.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use crate::base::config;
use crate::base::db::Timestamp;
use crate::base::error::{Error, Result};

/// Name of the first authority's files; those of later ones begin with it.
pub const NAME: &str = "node-ca";
/// Life of the node endpoint's certificate in days, and how far it reaches back for clients whose clocks are behind.
const SERVER_DAYS: i64 = 397;
pub const SERVER_BACK: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// The authority that issues, and those whose certificates count beside its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The issuing authority's certificate, PEM.
    pub certificate_pem: String,
    /// The same certificate in DER.
    pub certificate_der: Vec<u8>,
    /// Until when it is valid.
    pub expires_at: Timestamp,
    /// Certificates (DER) of all authorities that are trusted, the issuing one first.
    pub trusted: Vec<Vec<u8>>,
}

/// The authority in use, which changes while the server runs, and the names that it gives.
pub struct NodeCa {
    present: RwLock<Arc<Authority>>,
    folder: PathBuf,
    domain: String,
    wfm: String,
    days: i64,
}

impl std::fmt::Debug for NodeCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeCa").field("domain", &self.domain).field("wfm", &self.wfm).finish_non_exhaustive()
    }
}

/// A certificate that the authority has issued.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// Leaf in PEM, followed by the authority's certificate.
    pub chain_pem: String,
    /// SPIFFE id in the leaf.
    pub spiffe_id: String,
    /// Serial number in hex.
    pub serial: String,
    /// Until when it is valid.
    pub expires_at: Timestamp,
}

/// Certificate and key of the node endpoint, in DER.
#[derive(Debug)]
pub struct ServerIdentity {
    /// Leaf, then the authority's certificate.
    pub chain: Vec<Vec<u8>>,
    /// Private key in PKCS #8.
    pub key: Vec<u8>,
    /// Until when it is valid.
    pub expires_at: Timestamp,
}

impl Authority {
    fn of(key_pem: &str, certificate_pem: String, trusted: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        let key = KeyPair::from_pem(key_pem).context("node CA key is damaged")?;
        let certificate_der = der_of(&certificate_pem)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&certificate_der).context("node CA certificate is damaged")?;
        // With another key the server would start, and nobody would believe what it issues.
        let own = certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
        anyhow::ensure!(own, "the key of the authority of node identities is another one than that in its certificate");
        let expires_at = Timestamp::from_unix(certificate.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).context("node CA certificate is damaged")?;
        Ok(Self { issuer, certificate_pem, certificate_der, expires_at, trusted })
    }

    /// `sha256:<hex>` of the certificate in DER: what an enrolment command pins.
    pub fn pin(&self) -> String {
        pin_of(&self.certificate_der)
    }

    /// All authorities that are trusted, PEM.
    pub fn bundle_pem(&self) -> String {
        self.trusted.iter().map(|der| pem_of(der)).collect()
    }
}

/// See [`Authority::pin`].
pub fn pin_of(der: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(der)))
}

/// Makes key and certificate of an authority in `<dir>/<name>.key.pem` and `<dir>/<name>.pem`, or reads those that are there; gives both as PEM.
pub fn load_or_make(dir: &Path, name: &str, domain: &str) -> anyhow::Result<(String, String)> {
    let key_pem = super::load_or_make(&dir.join(format!("{name}.key.pem")), || Ok(KeyPair::generate()?.serialize_pem()))?;
    let key = KeyPair::from_pem(&key_pem).context("node CA key is damaged")?;
    let certificate_pem = super::load_or_make(&dir.join(format!("{name}.pem")), || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = self::name(&format!("Pithead node CA {domain}"));
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{domain}").try_into()?)];
        params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(3650);
        Ok(params.self_signed(&key)?.pem())
    })?;
    Ok((key_pem, certificate_pem))
}

/// Key and certificate (PEM) of an authority in a folder, by its certificate.
fn find(dir: &Path, der: &[u8]) -> anyhow::Result<(String, String)> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".pem")) else { continue };
        if !name.starts_with(NAME) || name.ends_with(".key") {
            continue;
        }
        let certificate = std::fs::read_to_string(&path)?;
        if der_of(&certificate)? == der {
            let key = path.with_file_name(format!("{name}.key.pem"));
            return Ok((std::fs::read_to_string(&key).with_context(|| format!("cannot read {}", key.display()))?, certificate));
        }
    }
    anyhow::bail!("key and certificate of the authority of node identities are missing in {}", dir.display())
}

/// The authority that a root document has issue certificates, out of a folder.
///
/// # Errors
/// Its key is missing or damaged.
pub fn authority(dir: &Path, trusted: Vec<Vec<u8>>) -> anyhow::Result<Authority> {
    let first = trusted.first().context("the root document names no authority of node identities")?;
    let (key_pem, certificate_pem) = find(dir, first)?;
    Authority::of(&key_pem, certificate_pem, trusted)
}

impl NodeCa {
    /// Loads the first authority's key and certificate from `dir`, or makes them.
    pub fn load_or_make(dir: &Path, trust: &config::Trust) -> anyhow::Result<Self> {
        let (key_pem, certificate_pem) = load_or_make(dir, NAME, &trust.domain)?;
        let trusted = vec![der_of(&certificate_pem)?];
        Ok(Self::with(dir, Authority::of(&key_pem, certificate_pem, trusted)?, trust))
    }

    /// Loads what a root document names: the authority that issues, from `dir`, and those that are trusted beside it, whose keys are not needed.
    pub fn of(dir: &Path, trusted: Vec<Vec<u8>>, trust: &config::Trust) -> anyhow::Result<Self> {
        Ok(Self::with(dir, authority(dir, trusted)?, trust))
    }

    fn with(dir: &Path, authority: Authority, trust: &config::Trust) -> Self {
        let days = trust.node_certificate_days.clamp(1, 365);
        let present = RwLock::new(Arc::new(authority));
        Self { present, folder: dir.to_owned(), domain: trust.domain.clone(), wfm: trust.wfm.clone(), days }
    }

    /// The authority of this moment.
    pub fn present(&self) -> Arc<Authority> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the authorities of a root document. Blocking.
    ///
    /// # Errors
    /// The key of the one that is to issue is missing: the present ones stay.
    pub fn follow(&self, trusted: Vec<Vec<u8>>) -> anyhow::Result<()> {
        if self.present().trusted != trusted {
            let next = Arc::new(authority(&self.folder, trusted)?);
            *self.present.write().unwrap_or_else(PoisonError::into_inner) = next;
        }
        Ok(())
    }

    /// Fingerprint of the issuing authority's certificate: see [`Authority::pin`].
    pub fn pin(&self) -> String {
        self.present().pin()
    }

    /// The trusted authorities as a SPIFFE trust bundle: a JWK set with EC keys of use `x509-svid`.
    pub fn trust_bundle(&self) -> Result<serde_json::Value> {
        let keys = self.present().trusted.iter().map(|der| jwk(der)).collect::<Result<Vec<_>>>()?;
        Ok(serde_json::json!({"spiffe_refresh_hint": 3600, "keys": keys}))
    }

    /// SPIFFE trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.domain
    }

    /// `spiffe://<td>/margo/wfm/<wfm>`.
    pub fn server_id(&self) -> String {
        format!("spiffe://{}/margo/wfm/{}", self.domain, self.wfm)
    }

    /// `spiffe://<td>/margo/wfm/<wfm>/client/<node>`.
    pub fn node_id(&self, node: &str) -> String {
        format!("{}/client/{node}", self.server_id())
    }

    /// The node named by a SPIFFE id of exactly the shape of [`Self::node_id`].
    pub fn node_of<'a>(&self, spiffe_id: &'a str) -> Option<&'a str> {
        let node = spiffe_id.strip_prefix(self.server_id().as_str())?.strip_prefix("/client/")?;
        (!node.is_empty() && !node.contains('/')).then_some(node)
    }

    /// Signs a node's request (PEM, PKCS #10), taking nothing from it but the key.
    ///
    /// # Errors
    /// `csr-invalid` where the request does not parse, its self-signature fails, or its key is not P-256.
    pub fn sign_node(&self, csr_pem: &str, node: &str, now: Timestamp) -> Result<IssuedCertificate> {
        if csr_pem.len() > 16 * 1024 {
            return Err(Error::invalid("csr-invalid"));
        }
        let invalid = |e: rcgen::Error| Error::invalid("csr-invalid").source(e);
        let mut csr = CertificateSigningRequestParams::from_pem(csr_pem).map_err(invalid)?;
        if csr.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(Error::invalid("csr-invalid"));
        }
        let spiffe_id = self.node_id(node);
        let serial = crate::base::ids::random::<16>();
        let life = chrono::TimeDelta::days(self.days);
        let expires = now.plus(life);
        let mut params = CertificateParams::default();
        params.distinguished_name = name(node);
        params.subject_alt_names = vec![SanType::URI(spiffe_id.clone().try_into().map_err(Error::internal)?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        // Its whole life back: where our clock ran ahead, the node renewed meanwhile all the same, and a certificate that begins in what is the
        // future again would lock it out. Only the holder of a valid one renews, so that the clock was ahead by less than that.
        params.not_before = offset(now.minus(life))?;
        params.not_after = offset(expires)?;
        csr.params = params;
        let authority = self.present();
        let certificate = csr.signed_by(&authority.issuer).map_err(Error::internal)?;
        Ok(IssuedCertificate {
            chain_pem: format!("{}{}", certificate.pem(), authority.certificate_pem),
            spiffe_id,
            serial: hex::encode(serial),
            expires_at: expires,
        })
    }

    /// A fresh certificate for the node endpoint: our SPIFFE id, and the host names and addresses of its URL, so that ordinary
    /// tools accept it too. Nodes trust the authority, not this certificate. It ends with the authority at the latest.
    pub fn server_identity(&self, hosts: &[String], now: Timestamp) -> anyhow::Result<ServerIdentity> {
        let key = KeyPair::generate()?;
        let authority = self.present();
        let expires_at = now.plus(chrono::TimeDelta::days(SERVER_DAYS)).min(authority.expires_at);
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.distinguished_name = name("Pithead");
        params.subject_alt_names.push(SanType::URI(self.server_id().try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = offset(now.minus(SERVER_BACK))?;
        params.not_after = offset(expires_at)?;
        let certificate = params.signed_by(&key, &authority.issuer)?;
        let chain = vec![certificate.der().to_vec(), authority.certificate_der.clone()];
        Ok(ServerIdentity { chain, key: key.serialize_der(), expires_at })
    }
}

/// An authority as a JWK.
fn jwk(der: &[u8]) -> Result<serde_json::Value> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|e| Error::internal(anyhow::anyhow!("node CA: {e}")))?;
    // An uncompressed P-256 point: 0x04, then x and y of 32 bytes each (SEC 1 §2.3.3).
    let point = certificate.public_key().subject_public_key.data.as_ref();
    let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..65).unwrap_or_default());
    Ok(serde_json::json!({
        "use": "x509-svid", "kty": "EC", "crv": "P-256",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y), "x5c": [STANDARD.encode(der)],
    }))
}

fn pem_of(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    // Base64 is ASCII: every 64 bytes are 64 characters.
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Pithead");
    name.push(DnType::CommonName, common);
    name
}

fn offset(at: Timestamp) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at.unix()).map_err(Error::internal)
}

pub(super) fn der_of(pem: &str) -> anyhow::Result<Vec<u8>> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    Ok(CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| anyhow::anyhow!("certificate: {e}"))?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_with_another_key_is_refused() {
        let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-ca"));
        NodeCa::load_or_make(&folder, &config::Trust::default()).unwrap();
        std::fs::write(folder.join("node-ca.key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let refused = NodeCa::load_or_make(&folder, &config::Trust::default()).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(refused.contains("is another one than that in its certificate"), "{refused}");
    }

    #[test]
    fn a_certificate_issued_while_our_clock_ran_ahead_holds_when_it_is_right_again() {
        let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-ca"));
        let ca = NodeCa::load_or_make(&folder, &config::Trust::default()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let now = Timestamp::new(chrono::Utc::now());
        let issued = ca.sign_node(&crate::testing::csr(), "nod_1", now.plus(chrono::TimeDelta::days(15))).unwrap();
        let der = der_of(&issued.chain_pem).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        let at = x509_parser::time::ASN1Time::from_timestamp(now.unix()).unwrap();
        assert!(certificate.validity().is_valid_at(at), "{:?}", certificate.validity());
        assert_eq!(certificate.validity().not_after.timestamp(), issued.expires_at.unix());
    }
}
