//! Damaged requests and documents against the parsers of server and node: each is answered, none with a fault of ours. Here documents and the
//! site; in [`nodes`] what nodes send and what is sent to them.
//!
//! `FUZZ_SECONDS` says how long each goes on, `FUZZ_SEED` with which numbers; `make fuzz` sets both. What is read by code that server and node
//! share is in `crates/inference/examples/fuzz`.

mod nodes;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use app_package::oci::{INDEX_TYPE, MANIFEST_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use pithead::account::{service as account, tokens};
use pithead::base::auth::{Actor, Via};
use pithead::trust::documents;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::json;

use crate::damage::{bent, damaged, pick};
use crate::server::{PASSWORD, TestServer};
use crate::sources;

/// How long each test goes on where nothing is said.
const SECONDS: u64 = 5;
/// Slowest answer that is taken.
const SLOWEST: Duration = Duration::from_secs(10);

const SPDX: &str = r#"{"spdxVersion":"SPDX-2.3","name":"belt","packages":[{"name":"a","versionInfo":"1","licenseConcluded":"MIT",
"externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:x/a@1"}]},{"name":"b"}],"relationships":[]}"#;
const SPDX_3: &str = r#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{"type":"CreationInfo","specVersion":"3.0.1"},{"type":"SpdxDocument","name":"belt","specVersion":"3.0.1"},
{"type":"software_Package","name":"a","software_packageVersion":"1"}]}"#;
const CYCLONEDX: &str = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"component":{"name":"belt"}},
"components":[{"name":"a","version":"1","licenses":[{"license":{"id":"MIT"}},{"expression":"MIT OR Apache-2.0"}],"components":[{"name":"b"}]}]}"#;
const STATEMENT: &str = r#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[{"name":"a",
"digest":{"sha256":"00"}}],"predicate":{"buildDefinition":{"buildType":"x","externalParameters":{}},"runDetails":{"builder":{"id":"b"}}}}"#;
const ENVELOPE: &str = r#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"k","sig":"AA=="}]}"#;
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x.y",
"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},
"layers":[],"annotations":{"a":"b"}}"#;
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",
"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"architecture":"amd64","os":"linux"}}],
"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}"#;
/// Digest of the blob `{}`, which `MANIFEST` names.
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
/// Names of queries and forms of the pages and the registry.
const NAMES: [&str; 40] = [
    "before",
    "after",
    "next",
    "q",
    "state",
    "level",
    "site",
    "plot",
    "hours",
    "against",
    "preview",
    "plan",
    "nodes",
    "channel",
    "app",
    "topic",
    "last",
    "n",
    "digest",
    "mount",
    "from",
    "artifactType",
    "id",
    "name",
    "email",
    "role",
    "scope",
    "days",
    "kind",
    "price",
    "reason",
    "decision",
    "hidden",
    "license",
    "release",
    "node",
    "site_id",
    "organization",
    "public_key",
    "lang",
];
const VALUES: [&str; 14] = [
    "",
    "1",
    "-1",
    "none-such",
    "rel_0198c9e0-0000-7000-8000-000000000000",
    "1.0.0",
    "2026-02-30",
    "true",
    "煤",
    "acme/belt",
    "/mine/nodes",
    EMPTY,
    "1280.00",
    "owner@acme.example",
];
/// Headers that the server reads, with what stands in them.
const HEADERS: [(&str, &str); 13] = [
    ("cookie", "__Host-session=abc; theme=dark"),
    ("accept-language", "zh-CN,zh;q=0.9,en;q=0.8"),
    ("accept", "application/vnd.oci.image.manifest.v1+json, */*;q=0.1"),
    ("range", "bytes=0-9,20-"),
    ("range", "bytes=0-1"),
    ("content-range", "0-99"),
    ("if-none-match", "\"abc\", W/\"def\""),
    ("authorization", "Basic b3duZXI6eA=="),
    ("authorization", "Bearer eyJhbGciOiJFZERTQSJ9.e30.AAAA"),
    ("x-forwarded-for", "10.0.0.1, ::1"),
    ("x-request-id", "abc"),
    ("content-type", "application/json; charset=utf-8"),
    ("x-csrf-token", "abc"),
];

/// Time and numbers of one test.
struct Run {
    name: &'static str,
    seed: u64,
    cases: u64,
    end: Instant,
}

impl Run {
    fn begin(name: &'static str) -> Self {
        let number = |key: &str| std::env::var(key).ok().and_then(|value| value.parse().ok());
        let seed = number("FUZZ_SEED").unwrap_or_else(rand::random);
        println!("{name}: seed {seed}");
        Self { name, seed, cases: 0, end: Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(SECONDS)) }
    }

    /// The numbers of the next case, as long as there is time. A case that fails is the first one with its seed.
    fn case(&mut self) -> Option<StdRng> {
        let seed = self.seed.wrapping_add(self.cases);
        if Instant::now() >= self.end {
            println!("{}: {} cases", self.name, self.cases);
            return None;
        }
        self.cases += 1;
        Some(StdRng::seed_from_u64(seed))
    }

    /// Seed of the case that runs, to do it again first.
    fn seed(&self) -> u64 {
        self.seed.wrapping_add(self.cases).wrapping_sub(1)
    }
}

#[test]
fn damaged_documents_are_read_or_refused() {
    let examples = [
        ("application/spdx+json", SPDX),
        ("application/spdx+json", SPDX_3),
        ("application/vnd.cyclonedx+json", CYCLONEDX),
        ("application/vnd.in-toto+json", STATEMENT),
        ("application/vnd.dsse.envelope.v1+json", ENVELOPE),
    ];
    for (kind, text) in &examples[..4] {
        documents::parse(kind, text.as_bytes()).unwrap();
    }
    let mut run = Run::begin("documents");
    while let Some(mut rng) = run.case() {
        let (kind, text) = pick(&examples, &mut rng);
        let began = Instant::now();
        if let Ok(documents::Document::Sbom(sbom)) = documents::parse(kind, damaged(text, &mut rng).as_bytes()) {
            assert!(sbom.packages.len() <= documents::MAX_PACKAGES, "seed {}: {} packages", run.seed(), sbom.packages.len());
        }
        assert!(began.elapsed() < SLOWEST, "seed {}: {:?}", run.seed(), began.elapsed());
    }
}

fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string()
}

/// Names with values, some damaged.
fn pairs(rng: &mut StdRng) -> String {
    let pairs = (0..rng.random_range(0..5)).map(|_| {
        let value = *pick(&VALUES, rng);
        let value = if rng.random_range(0..2) == 0 { damaged(value, rng) } else { value.to_owned() };
        format!("{}={}", pick(&NAMES, rng), encoded(&value))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// A route with something in each placeholder; a slash in it stays one where the route takes a whole path.
fn address(route: &str, rng: &mut StdRng) -> String {
    let (mut out, mut rest) = (String::new(), route);
    while let Some((before, after)) = rest.split_once('{') {
        let value = *pick(&VALUES[1..], rng);
        let value = if rng.random_range(0..2) == 0 { damaged(value, rng) } else { value.to_owned() };
        // An empty part would be another route.
        let value = if value.is_empty() { "-".to_owned() } else { encoded(&value) };
        let value = if after.split('}').next().is_some_and(|name| name.contains(":.")) { value.replace("%2F", "/") } else { value };
        write!(out, "{before}{value}").unwrap();
        rest = after.split_once('}').map_or("", |(_, tail)| tail);
    }
    let query = pairs(rng);
    format!("{out}{rest}{}{query}", if query.is_empty() { "" } else { "?" })
}

/// All addresses of the site and the registry with their methods, as the sources have them; [`nodes`] has the rest.
fn routes() -> Vec<(Method, String)> {
    let mut found = Vec::new();
    for (word, method) in [("get", Method::GET), ("post", Method::POST)] {
        // An event stream does not end; who signs in or out would be somebody else afterwards, or be throttled.
        let left_out = |route: &str| {
            route == "/events" || route.starts_with("/sign-") || route == "/account/sessions/end-others" || sources::is_for_programs(route)
        };
        let of_method = sources::routes(word).into_iter().filter(|route| !left_out(route));
        found.extend(of_method.map(|route| (method.clone(), route)));
    }
    let registry = ["/v2/", "/v2/token", "/v2/acme/belt/{a}", "/v2/acme/belt/manifests/{a}", "/v2/acme/belt/blobs/{a}", "/v2/{path:.*}"];
    let registry = registry.iter().chain(&["/v2/acme/belt/blobs/uploads/{a}", "/v2/acme/belt/tags/list", "/v2/acme/belt/referrers/{a}"]);
    for route in registry {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            found.push((method, (*route).to_owned()));
        }
    }
    assert!(found.len() > 100, "{} routes", found.len());
    found
}

/// What no answer may be. A server that has no time or no room says so and when to come again.
fn judge(response: &Response, seed: u64) {
    let status = response.status();
    let busy = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE);
    assert!(!status.is_server_error() || busy, "seed {seed}: {status} of {}", response.url());
}

async fn send(request: RequestBuilder, seed: u64) {
    let began = Instant::now();
    // The client does not send what is no request at all.
    let (client, request) = request.build_split();
    let Ok(request) = request else { return };
    let told: String = format!("{} {}", request.method(), request.url()).chars().take(500).collect();
    let response = match client.execute(request).await {
        Ok(response) => response,
        // An address of more than 64 KiB is one of those.
        Err(e) if e.is_builder() => return,
        Err(e) => panic!("seed {seed}: no answer to {told}: {:?}", e.without_url()),
    };
    judge(&response, seed);
    response.bytes().await.unwrap_or_else(|e| panic!("seed {seed}: half an answer to {told}: {e:?}"));
    assert!(began.elapsed() < SLOWEST, "seed {seed}: {:?} for {told}", began.elapsed());
}

thread_local! {
    static CLIENT: Client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(SLOWEST * 2).build().unwrap();
}

#[tokio::test]
async fn damaged_requests_are_answered() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The client counts as a proxy, so that what a proxy says of its clients is read.
    let proxies = toml::Value::String("127.0.0.0/8".to_owned()).try_into().unwrap();
    let server = TestServer::start_with(|settings| settings.server.trusted_proxies = proxies).await;
    // Who may do something meets more code than who may not.
    let (mut sessions, mut token) = (Vec::new(), String::new());
    for (kind, slug) in [("vendor", "acme"), ("operator", "mine"), ("platform", "platform")] {
        let (email, _) = server.organization(kind, slug).await;
        let session = account::sign_in(&server.app, &email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
        let actor = account::authenticate_session(&server.app, &session).await.unwrap();
        let Actor::Person(_, Via::Session { csrf, .. }) = &actor else { panic!("no session") };
        sessions.push((format!("__Host-session={session}"), pithead::http::csrf::masked(csrf)));
        if kind == "vendor" {
            token = tokens::create(&server.app, &actor, "fuzz", &["publish", "pull"], 1).await.unwrap();
        }
    }
    let routes = routes();
    let client = CLIENT.with(Client::clone);
    // What is there can be asked for in parts, and be named.
    let push = |request: RequestBuilder, body: &'static str| request.bearer_auth(&token).body(body).send();
    let blobs = format!("{}/v2/acme/belt/blobs", server.base);
    assert_eq!(push(client.post(format!("{blobs}/uploads/?digest={EMPTY}")), "{}").await.unwrap().status(), StatusCode::CREATED);
    let tag = client.put(format!("{}/v2/acme/belt/manifests/one", server.base)).header("content-type", MANIFEST_TYPE);
    assert_eq!(push(tag, MANIFEST).await.unwrap().status(), StatusCode::CREATED);
    let part = client.get(format!("{blobs}/{EMPTY}")).header("range", "bytes=0-0");
    assert_eq!(push(part, "").await.unwrap().status(), StatusCode::PARTIAL_CONTENT);
    let mut run = Run::begin("requests");
    while let Some(mut rng) = run.case() {
        let rng = &mut rng;
        let (method, route) = pick(&routes, rng);
        let mut request = client.request(method.clone(), format!("{}{}", server.base, address(route, rng)));
        for _ in 0..rng.random_range(0..3) {
            let (name, value) = *pick(&HEADERS, rng);
            let value = if rng.random_range(0..3) == 0 { value.to_owned() } else { damaged(value, rng) };
            // What cannot stand in a header is not sent.
            if let Ok(value) = reqwest::header::HeaderValue::from_bytes(value.as_bytes()) {
                request = request.header(name, value);
            }
        }
        if route.starts_with("/v2") && rng.random_range(0..3) > 0 {
            request = request.bearer_auth(&token);
        } else if rng.random_range(0..3) > 0 {
            let (cookie, csrf) = pick(&sessions, rng);
            request = request.header("cookie", cookie).header("x-csrf-token", csrf);
        }
        let body = match (method, route.as_str()) {
            (&Method::GET | &Method::HEAD, _) => String::new(),
            (_, route) if route.starts_with("/v2") => {
                let text = *pick(&[MANIFEST, INDEX], rng);
                if rng.random_range(0..2) == 0 { damaged(text, rng) } else { bent(&serde_json::from_str(text).unwrap(), rng).to_string() }
            }
            (_, route) if route.starts_with("/vendor/upload/") => {
                let yaml = damaged(include_str!("../../demo/apps/coke-quality/app.yaml"), rng);
                let upload = json!({"yaml": yaml, "files": [{"path": pick(&VALUES, rng), "size": 1}]}).to_string();
                if rng.random_range(0..2) == 0 { upload } else { damaged(&upload, rng) }
            }
            _ => {
                let form = pairs(rng);
                if rng.random_range(0..4) == 0 { damaged(&form, rng) } else { form }
            }
        };
        if !body.is_empty() {
            let kind = match route.as_str() {
                route if route.starts_with("/v2") => *pick(&[MANIFEST_TYPE, INDEX_TYPE], rng),
                route if route.starts_with("/vendor/upload/") => "application/json",
                _ => "application/x-www-form-urlencoded",
            };
            request = request.header("content-type", kind).body(body);
        }
        send(request, run.seed()).await;
    }
    assert!(client.get(format!("{}/readyz", server.base)).send().await.unwrap().status().is_success(), "the server is ready");
    server.stop().await;
}
