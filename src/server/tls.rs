//! TLS of the node listener: our certificate, and optional client certificates of our authority. Enrolment comes without one, so all other
//! handlers check that the actor is a node. The certificate is made anew while the server runs, long before it ends.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::base::app::App;
use crate::base::db::Timestamp;
use crate::base::pki::ca::SERVER_BACK;

/// How long before the authority's end it is told.
const WARN: TimeDelta = TimeDelta::days(365);

pub fn config(app: &App) -> anyhow::Result<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(app.ca.certificate_der.clone()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated().build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Endpoint::new(app, provider)?));
    // No early data: it could be replayed.
    config.max_early_data_size = 0;
    Ok(config)
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
    let now = app.clock.now();
    if now.plus(WARN) > app.ca.expires_at {
        tracing::warn!(ends = %app.ca.expires_at.utc(), "the authority of node identities ends; after that all nodes must be enrolled again");
    }
    let identity = app.ca.server_identity(hosts, now)?;
    let chain = identity.chain.into_iter().map(CertificateDer::from).collect();
    let key = provider.key_provider.load_private_key(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key)))?;
    // At the end of the authority not at each connection.
    let shown = ((identity.expires_at.utc() - now.utc()) * 2 / 3).max(TimeDelta::hours(1));
    let key = Arc::new(CertifiedKey::new(chain, key));
    Ok(Current { key, from: now.minus(SERVER_BACK), until: now.plus(shown) })
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
        if now < current.from || now >= current.until {
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
    use rustls_pki_types::{ServerName, UnixTime};

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
        roots.add(CertificateDer::from(app.ca.certificate_der.clone())).unwrap();
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
            app.clock.advance(app.ca.expires_at.utc() - app.clock.now().utc() - TimeDelta::days(100));
            assert_eq!(shown(), app.ca.expires_at);
        })
        .await;
    }
}
