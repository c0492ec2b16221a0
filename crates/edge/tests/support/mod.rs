//! A small server with the endpoints that a node uses, on mutual TLS, whose answers a test can bend.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::{App, HttpServer, web};
use app_package::digest::Digest;
use app_package::dsse::ReleaseStatement;
use app_package::keys::{KeySet, kid_of};
use app_package::license::{self, Claims, Enforcement};
use app_package::manifest::AppManifest;
use app_package::margo::{ApplicationDeployment, Extensions, OnnxDeployment, ReleaseRef};
use app_package::oci::{self, Descriptor, PackedFile};
use app_package::path::PackagePath;
use ed25519_dalek::SigningKey;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use routes::{Context, routes};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};

pub const MANAGER: &str = "spiffe://test.example/margo/wfm/main";
pub const NODE: &str = "nod_1";
pub const CODE: &str = "AAAA-BBBB-CCCC";

use app_package::stream::Known;

pub mod node;
mod routes;
pub mod signed;

#[derive(Default)]
pub struct World {
    pub version: u64,
    pub deployments: BTreeMap<String, Vec<u8>>,
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifests: BTreeMap<String, Vec<u8>>,
    pub signatures: BTreeMap<String, Vec<Descriptor>>,
    /// Manifest of the platform's signature that a document names, by release; a server from before names none.
    pub named: BTreeMap<String, Digest>,
    /// Digests of the blobs that were asked for.
    pub asked: BTreeSet<String>,
    pub statuses: Vec<Value>,
    /// Where set, statuses are answered 503 for 40 s, and counted here.
    pub refused: Option<u32>,
    /// Heartbeats, and the bodies of records of alarms, with `kind`, in the order of their coming.
    pub reports: Vec<Value>,
    /// Bodies of the other records, with `kind`.
    pub records: Vec<Value>,
    /// What is known of each stream.
    pub streams: BTreeMap<String, Known>,
    pub capabilities: Option<Value>,
    pub enrolled: bool,
    /// Certificates renewed.
    pub renewals: u32,
    /// Issues certificates that are due to be renewed.
    pub aged: bool,
    /// Answers 503 to everything.
    pub down: bool,
    /// Accepts the node's certificate no more.
    pub removed: bool,
    /// Cuts this many blob answers off after half.
    pub cut: u32,
    pub resumed: u32,
    /// Serves a wrong body for this document.
    pub forged: BTreeSet<String>,
    /// What is signed for nodes; a server from before root documents signs nothing.
    pub signed: Option<signed::Signed>,
}

pub struct Server {
    pub world: Arc<Mutex<World>>,
    pub url: String,
    pub pin: String,
    pub key: SigningKey,
    /// Certificate of the authority, DER.
    pub authority: Vec<u8>,
    ca: Arc<(Issuer<'static, KeyPair>, String)>,
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().unwrap())
}

impl Server {
    pub fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_cert = params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(uri(MANAGER));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let cert = params.signed_by(&key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca_cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).allow_unauthenticated().build().unwrap();
        let key_der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![cert.der().clone(), ca_cert.der().clone()], key_der)
            .unwrap();
        let signing = SigningKey::from_bytes(&[7; 32]);
        let mut keys = KeySet::new();
        keys.insert(signing.verifying_key());
        let world = Arc::new(Mutex::new(World { version: 1, ..World::default() }));
        let ca = Arc::new((issuer, ca_cert.pem()));
        let context = web::Data::new(Context { world: world.clone(), ca: ca.clone(), jwks: keys.to_jwks() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                HttpServer::new(move || App::new().app_data(context.clone()).app_data(web::PayloadConfig::new(8 << 20)).configure(routes))
                    .workers(1)
                    .disable_signals()
                    .listen_rustls_0_23(listener, tls)
                    .unwrap()
                    .run()
                    .await
                    .unwrap();
            });
        });
        Self {
            world,
            url: format!("https://localhost:{port}"),
            pin: Digest::of(ca_cert.der()).to_string(),
            key: signing,
            authority: ca_cert.der().to_vec(),
            ca,
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Publishes a package folder; gives its release.
    pub fn publish(&self, files: &BTreeMap<String, Vec<u8>>, app: &AppManifest) -> ReleaseRef {
        let mut world = self.world();
        let packed: Vec<PackedFile> = files
            .iter()
            .map(|(path, bytes)| PackedFile {
                path: PackagePath::parse(path).unwrap(),
                digest: Digest::of(bytes),
                size: bytes.len() as u64,
            })
            .collect();
        for bytes in files.values().chain([&oci::config_json(app)]) {
            world.blobs.insert(Digest::of(bytes).to_string(), bytes.clone());
        }
        let manifest = oci::build_manifest(app, "acme", &packed);
        let digest = Digest::of(&manifest);
        let subject = Descriptor::of(oci::MANIFEST_TYPE, &manifest);
        world.manifests.insert(digest.to_string(), manifest);
        let statement = ReleaseStatement {
            digest: digest.clone(),
            vendor: "acme".into(),
            app: app.name.clone(),
            version: app.version.clone(),
            verdict: "approved".into(),
        };
        let envelope = statement.sign(&kid_of(&self.key.verifying_key()), &self.key).to_bytes();
        let signature = oci::signature_manifest(oci::SIGNATURE_TYPE, &subject, &envelope);
        world.blobs.insert(Digest::of(&envelope).to_string(), envelope);
        let mut descriptor = Descriptor::of(oci::MANIFEST_TYPE, &signature);
        descriptor.artifact_type = Some(oci::SIGNATURE_TYPE.into());
        world.blobs.insert(Digest::of(oci::EMPTY_BYTES).to_string(), oci::EMPTY_BYTES.to_vec());
        world.manifests.insert(descriptor.digest.to_string(), signature);
        world.signatures.insert(digest.to_string(), vec![descriptor]);
        ReleaseRef { repository: format!("acme/{}", app.name), digest, version: app.version.clone() }
    }

    pub fn claims(release: &ReleaseRef) -> Claims {
        let now = chrono::Utc::now().timestamp();
        Claims {
            iss: "https://test.example".into(),
            sub: "org_1".into(),
            jti: "lic_1".into(),
            iat: now,
            nbf: now - 10,
            exp: Some(now + 3600),
            app: release.repository.clone(),
            versions: "*".into(),
            plan: "annual".into(),
            nodes: vec![format!("{MANAGER}/client/{NODE}")],
            node_limit: 1,
            grace_days: 0,
            enforcement: Enforcement::Block,
            safety: false,
            digests: Vec::new(),
        }
    }

    /// Wants a release on the node, as deployment `id`, under this licence.
    pub fn deploy(&self, id: &str, release: &ReleaseRef, claims: &Claims, parameters: Value) {
        self.want(id, release, claims, parameters, None);
    }

    /// The same of a release that the platform has recalled.
    pub fn deploy_recalled(&self, id: &str, release: &ReleaseRef, claims: &Claims, reason: &str) {
        self.want(id, release, claims, json!({}), Some(reason.to_owned()));
    }

    fn want(&self, id: &str, release: &ReleaseRef, claims: &Claims, parameters: Value, recalled: Option<String>) {
        let license = license::sign(claims, &self.key, &kid_of(&self.key.verifying_key())).unwrap();
        let pithead = Extensions {
            release: release.clone(),
            signature: self.world().named.get(release.digest.as_str()).cloned(),
            license,
            parameters: parameters.as_object().cloned().unwrap_or_default(),
            safety: false,
            place: "3号皮带".into(),
            recalled,
        };
        let document =
            ApplicationDeployment::onnx(OnnxDeployment { id, namespace: "mine", device_id: NODE, registry: "localhost", pithead });
        let mut world = self.world();
        world.deployments.insert(id.to_owned(), serde_yaml_ng::to_string(&document).unwrap().into_bytes());
        world.version += 1;
    }

    /// The last state that the node reported for a deployment, with the error's code.
    pub fn state(&self, id: &str) -> Option<(String, u64, String)> {
        let world = self.world();
        let last = world.statuses.iter().rev().find(|s| s["deploymentId"] == id)?;
        let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
        Some((text(&last["status"]["state"]), last["adoptedManifestVersion"].as_u64()?, text(&last["status"]["error"]["code"])))
    }
}

/// The library; a test without it fails with this one line.
pub fn ort_lib() -> PathBuf {
    std::env::var_os("ORT_LIB").expect("set ORT_LIB to the path of libonnxruntime.so.1.24 or newer").into()
}

/// A table app on the identity model of the inference crate: values are `2 x + 1`; alarm when `a` is over the limit.
pub fn app(version: &str, expected: f64) -> (BTreeMap<String, Vec<u8>>, AppManifest) {
    let text = |t: &str| json!({ "zh": t, "en": t });
    let tensor = |name: &str| json!([{ "name": name, "datatype": "FP32", "shape": [1, 4] }]);
    let item = |id: &str| json!({ "id": id, "text": text(id), "unit": "%", "scale": 2.0, "offset": 1.0 });
    let manifest = json!({
        "format": 1, "name": "belt-load", "version": version, "title": text("Belt load"), "summary": text("A test app."),
        "description": text("A test app."), "changes": text("First."),
        "specialty": "main-haulage", "scenario": "belt-foreign-object", "license": "Apache-2.0", "input": "tabular",
        "models": [{ "name": "belt", "file": "model.onnx", "inputs": tensor("x"), "outputs": tensor("y") }],
        "pipeline": {
            "pre": { "columns": { "names": ["p", "q", "r", "s"] } },
            "post": [{ "values": { "output": "y", "items": [item("a"), item("b"), item("c"), item("d")] } }],
            "alarms": [{ "id": "over", "when": "values.a > params.limit", "level": "critical", "text": { "zh": "{place}过载", "en": "{place} overloaded" } }],
        },
        "parameters": [{ "name": "limit", "type": "number", "default": 100.0, "title": text("Limit") }],
        "golden": [{ "name": "one", "input": "sample.csv", "expect": "sample.json" }],
        "card": { "training_data": text("None."), "limits": text("None."),
                  "metrics": [{ "name": "accuracy", "value": 1.0, "baseline": 0.5, "dataset": text("One sample.") }] },
    });
    let values = [("a", expected), ("b", 5.0), ("c", 7.0), ("d", 9.0)].map(|(id, value)| json!({ "id": id, "value": value }));
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/models/identity4.onnx");
    let files = BTreeMap::from([
        ("app.yaml".to_owned(), serde_json::to_vec_pretty(&manifest).unwrap()),
        ("model.onnx".to_owned(), std::fs::read(model).unwrap()),
        ("sample.csv".to_owned(), b"p,q,r,s\n1,2,3,4\n".to_vec()),
        ("sample.json".to_owned(), json!({ "values": values }).to_string().into_bytes()),
    ]);
    (files, serde_json::from_value(manifest).unwrap())
}
