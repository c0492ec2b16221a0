//! TLS towards the server: rustls with our own check of who answers.
//!
//! Names in DNS are not identities here. After enrolment the peer must chain to the trust bundle and carry exactly the
//! SPIFFE id of our own fleet manager; at enrolment the chain must end in the CA whose digest the operator was shown.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use app_package::digest::Digest;

use crate::clock::Clock;
use crate::fault::Fault;

/// No certificate of the peer has the pinned digest. By the time the error has gone through the HTTP client only its text
/// is left, and the text of this one is [`PIN_MISMATCH`].
#[derive(Debug)]
struct CaPinMismatch;

/// Word in the error text of a call that failed because of the pin.
pub const PIN_MISMATCH: &str = "CaPinMismatch";

impl std::fmt::Display for CaPinMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(PIN_MISMATCH)
    }
}

impl std::error::Error for CaPinMismatch {}

/// Whom we expect at the other end.
#[derive(Debug, Clone)]
pub enum Expect {
    /// Enrolment: the sha256 of the CA certificate's DER, `sha256:<hex>`.
    Pin(String),
    /// Afterwards: these anchors and this SPIFFE id.
    Server {
        /// Trust bundle.
        anchors: RootCertStore,
        /// `spiffe://<td>/margo/wfm/<wfm>`.
        spiffe_id: String,
    },
}

struct PeerVerifier {
    provider: Arc<CryptoProvider>,
    expect: Expect,
    clock: Arc<Clock>,
}

impl std::fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerVerifier").field("expect", &self.expect).finish_non_exhaustive()
    }
}

/// Beginning of a certificate's life, in seconds since 1970.
fn begins_at(der: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    u64::try_from(certificate.validity().not_before.timestamp()).ok()
}

/// The only URI subject alternative name of a certificate (an SVID has exactly one).
pub fn uri_san(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let first = uris.next()?;
    uris.next().is_none().then_some(first)
}

/// True for `spiffe://<td>/margo/wfm/<wfm>` and for nothing below it: a node's own certificate must not pass as a server's.
pub fn is_fleet_manager(spiffe_id: &str) -> bool {
    let Some(rest) = spiffe_id.strip_prefix("spiffe://") else { return false };
    let parts: Vec<&str> = rest.split('/').collect();
    matches!(parts.as_slice(), [domain, "margo", "wfm", wfm] if !domain.is_empty() && !wfm.is_empty())
}

/// The fleet manager's id out of a node's own id (`…/margo/wfm/<wfm>/client/<node>`).
pub fn fleet_manager_of(node_id: &str) -> Option<String> {
    let (manager, node) = node_id.rsplit_once("/client/")?;
    (is_fleet_manager(manager) && !node.is_empty() && !node.contains('/')).then(|| manager.to_owned())
}

fn bad(error: CertificateError) -> Error {
    Error::InvalidCertificate(error)
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Times are judged by what certificates prove, not by a clock: a machine's that stands at 1970 or runs ahead, or a platform's that ran
        // ahead for a day, must not cut the node off, for the platform is where it learns the time. A certificate that the authority has
        // signed proves that it is as late as the beginning of its life.
        let proved = u64::try_from(self.clock.documented().timestamp()).unwrap_or(0);
        let begun = std::iter::once(end_entity).chain(intermediates).filter_map(|certificate| begins_at(certificate)).max();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(proved.max(begun.unwrap_or(0))));
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let id = || uri_san(end_entity).ok_or_else(|| bad(CertificateError::BadEncoding));
        let pinned;
        let anchors = match &self.expect {
            Expect::Pin(pin) => {
                // The pin is checked first, so that another server on this address is reported as a wrong pin.
                let root = intermediates.iter().find(|c| Digest::of(c).as_str() == pin);
                let root = root.ok_or_else(|| bad(CertificateError::Other(OtherError(Arc::new(CaPinMismatch)))))?;
                if !is_fleet_manager(&id()?) {
                    return Err(bad(CertificateError::ApplicationVerificationFailure));
                }
                let mut store = RootCertStore::empty();
                store.add(root.clone().into_owned())?;
                pinned = store;
                &pinned
            }
            Expect::Server { anchors, spiffe_id } => {
                if &id()? != spiffe_id {
                    return Err(bad(CertificateError::NotValidForName));
                }
                anchors
            }
        };
        verify_server_cert_signed_by_trust_anchor(&parsed, anchors, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn unusable(what: &str, error: impl std::fmt::Display) -> Fault {
    Fault::new("identity-unusable", "identity", format!("{what}: {error}"))
}

/// The anchors of a PEM bundle; an empty one is refused.
pub fn anchors(pem: &str) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| unusable("trust bundle", e))?;
        store.add(certificate).map_err(|e| unusable("trust bundle", e))?;
    }
    if store.is_empty() { Err(unusable("trust bundle", "no certificate in it")) } else { Ok(store) }
}

/// An HTTPS client that talks to the expected server only, with our certificate and key (PEM) where there are some.
///
/// There is no overall time limit on the client: each call sets its own, downloads only a limit between two reads.
pub fn client(expect: Expect, identity: Option<(&str, &str)>, clock: Arc<Clock>) -> Result<reqwest::Client, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(PeerVerifier { provider: provider.clone(), expect, clock });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("TLS versions", e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain: Vec<_> =
                CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().map_err(|e| unusable("certificate", e))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| unusable("private key", e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| unusable("certificate", e))?
        }
    };
    // Early data can be replayed; never send any.
    config.enable_early_data = false;
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .https_only(true)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(15))
        .read_timeout(Duration::from_mins(1))
        .pool_idle_timeout(Duration::from_mins(1))
        .user_agent(concat!("pithead-edge/", env!("CARGO_PKG_VERSION")))
        // The server's messages go into an English log.
        .default_headers(HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static("en"))]))
        .build()
        .map_err(|e| unusable("HTTPS client", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_pin_is_known_by_its_text() {
        assert!(bad(CertificateError::Other(OtherError(Arc::new(CaPinMismatch)))).to_string().contains(PIN_MISMATCH));
    }

    #[test]
    fn only_the_manager_itself_is_a_manager() {
        assert!(is_fleet_manager("spiffe://pithead.example/margo/wfm/main"));
        assert!(!is_fleet_manager("spiffe://pithead.example/margo/wfm/main/client/n1"));
        assert!(!is_fleet_manager("spiffe:///margo/wfm/main"));
        assert!(!is_fleet_manager("https://pithead.example/margo/wfm/main"));
    }

    #[test]
    fn manager_comes_out_of_the_own_id() {
        let own = "spiffe://td/margo/wfm/w/client/n1";
        assert_eq!(fleet_manager_of(own).as_deref(), Some("spiffe://td/margo/wfm/w"));
        assert_eq!(fleet_manager_of("spiffe://td/margo/wfm/w"), None);
        assert_eq!(fleet_manager_of("spiffe://td/other/w/client/n1"), None);
    }
}
