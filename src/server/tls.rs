//! TLS of the node listener: our certificate, and optional client certificates of our authority. Enrolment comes without one, so all other
//! handlers check that the actor is a node. The certificate is made anew while the server runs, long before it ends.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use rustls::RootCertStore;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use crate::base::app::App;
use crate::base::db::Timestamp;
use crate::base::pki::ca::{Authority, SERVER_BACK};

/// How long before the authority's end it is told.
const WARN: TimeDelta = TimeDelta::days(365);

pub fn config(app: &App) -> anyhow::Result<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Clients::new(app, provider.clone())?);
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Endpoint::new(app, provider)?));
    // No early data: it could be replayed.
    config.max_early_data_size = 0;
    // Nothing is resumed: a session of before would go on by an authority that was dropped since. What the price is: a whole handshake for each
    // connection.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Judges nodes' certificates by the authorities of the moment.
struct Clients {
    app: App,
    provider: Arc<CryptoProvider>,
    current: Mutex<(Arc<Authority>, Arc<dyn ClientCertVerifier>)>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

fn verifier(authority: &Authority, provider: Arc<CryptoProvider>) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in &authority.trusted {
        roots.add(CertificateDer::from(certificate.clone()))?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build()?)
}

impl Clients {
    fn new(app: &App, provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let present = app.ca.present();
        let current = Mutex::new((present.clone(), verifier(&present, provider.clone())?));
        Ok(Self { app: app.clone(), provider, current })
    }

    fn present(&self) -> Arc<dyn ClientCertVerifier> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.app.ca.present();
        if !Arc::ptr_eq(&current.0, &present) {
            match verifier(&present, self.provider.clone()) {
                Ok(made) => *current = (present, made),
                Err(e) => tracing::error!(error = %e, "the authorities of node identities cannot be used"),
            }
        }
        current.1.clone()
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: clients have one certificate, and the list would change under them.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.present().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.present().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.present().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.present().supported_verify_schemes()
    }
}

/// The certificate that the endpoint shows.
struct Endpoint {
    app: App,
    provider: Arc<CryptoProvider>,
    hosts: Vec<String>,
    current: Mutex<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    /// Who issued it.
    authority: Arc<Authority>,
    /// While it is shown: until a third of its life is left, and from its beginning, for a clock may be set back.
    from: Timestamp,
    until: Timestamp,
}

impl Endpoint {
    fn new(app: &App, provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        if let Some(host) = app.settings.server.edge_url.split("://").nth(1).and_then(|rest| rest.split([':', '/']).next())
            && !hosts.iter().any(|h| h == host)
        {
            hosts.push(host.to_owned());
        }
        let current = Mutex::new(make(app, &provider, &hosts)?);
        Ok(Self { app: app.clone(), provider, hosts, current })
    }
}

fn make(app: &App, provider: &CryptoProvider, hosts: &[String]) -> anyhow::Result<Current> {
    let (now, authority) = (app.clock.now(), app.ca.present());
    if now.plus(WARN) > authority.expires_at {
        tracing::warn!(ends = %authority.expires_at.utc(), "the authority of node identities ends: put another one in its place (pithead admin keys authority)");
    }
    let identity = app.ca.server_identity(hosts, now)?;
    let chain = identity.chain.into_iter().map(CertificateDer::from).collect();
    let key = provider.key_provider.load_private_key(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key)))?;
    // At the end of the authority not at each connection.
    let shown = ((identity.expires_at.utc() - now.utc()) * 2 / 3).max(TimeDelta::hours(1));
    let key = Arc::new(CertifiedKey::new(chain, key));
    Ok(Current { key, authority, from: now.minus(SERVER_BACK), until: now.plus(shown) })
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Endpoint {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.app.clock.now();
        if now < current.from || now >= current.until || !Arc::ptr_eq(&current.authority, &self.app.ca.present()) {
            match make(&self.app, &self.provider, &self.hosts) {
                Ok(made) => {
                    tracing::info!(until = %made.until.utc(), "a new certificate of the node endpoint was made");
                    *current = made;
                }
                // The one before may still hold for long; the next connection tries again.
                Err(e) => tracing::error!(error = %e, "the certificate of the node endpoint cannot be renewed"),
            }
        }
        Some(current.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::client::WebPkiServerVerifier;
    use rustls::{ClientConfig, ClientConnection};
    use rustls_pki_types::ServerName;

    use super::*;
    use crate::testing::each_backend;

    /// Connects as a client whose clock shows a time; gives the end of the certificate that it was shown.
    fn connect(config: &Arc<rustls::ServerConfig>, app: &App, at: Timestamp) -> Result<Timestamp, rustls::Error> {
        #[derive(Debug)]
        struct At(Duration);
        impl rustls::time_provider::TimeProvider for At {
            fn current_time(&self) -> Option<UnixTime> {
                Some(UnixTime::since_unix_epoch(self.0))
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(app.ca.present().certificate_der.clone())).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let time = Arc::new(At(Duration::from_secs(at.unix().unsigned_abs())));
        let client = ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap()).unwrap();
        let mut server = rustls::ServerConnection::new(config.clone()).unwrap();
        while client.is_handshaking() {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            server.read_tls(&mut sent.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut sent = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut sent).unwrap();
            }
            client.read_tls(&mut sent.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        let leaf = client.peer_certificates().unwrap()[0].clone();
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        Ok(Timestamp::from_unix(leaf.validity().not_after.timestamp()))
    }

    #[tokio::test]
    async fn the_certificate_is_made_anew_while_the_server_runs() {
        each_backend(|app| async move {
            let config = Arc::new(config(&app).unwrap());
            let kept = config.session_storage.can_cache() || config.ticketer.enabled() || config.send_tls13_tickets > 0;
            assert!(!kept, "an authority that is dropped is dropped for whoever comes back, too");
            let shown = || connect(&config, &app, app.clock.now()).unwrap();
            let first = shown();
            app.clock.advance(TimeDelta::days(200));
            assert_eq!(shown(), first, "more than a third of its life is left");
            app.clock.advance(TimeDelta::days(70));
            assert!(shown() > first);
            app.clock.advance(TimeDelta::days(400));
            assert!(shown() > app.clock.now(), "nobody came while it ended");
            // Of a clock that is set back, the client's is too.
            app.clock.advance(TimeDelta::days(-300));
            shown();
            // None outlives the authority.
            app.clock.advance(app.ca.present().expires_at.utc() - app.clock.now().utc() - TimeDelta::days(100));
            assert_eq!(shown(), app.ca.present().expires_at);
        })
        .await;
    }
}
