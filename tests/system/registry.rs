//! The server and the garbage collector are killed at a hundred random moments while clients push. After each start: what was
//! acknowledged is there, byte for byte; what was not is there whole or not at all; an upload goes on where the server says it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::oci::{Descriptor, EMPTY_BYTES, EMPTY_TYPE, ImageManifest, MANIFEST_TYPE, WEIGHT_TYPE};
use diesel::connection::SimpleConnection as _;
use pithead::account::service::{self as account, SignUp};
use pithead::account::tokens;
use pithead::base::app::App;
use pithead::base::clock::Clock;
use pithead::base::config::Settings;
use pithead::base::db::{Db, Location};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use reqwest::{Client, Method, Response, StatusCode};

const ROUNDS: usize = 100;
const REPOSITORY: &str = "acme/belt";
/// Bytes of one chunk.
const CHUNK: usize = 96 * 1024;
/// Bytes of a blob that goes in one body, long enough that a part of it is made durable on the way.
const LONG: usize = 20 * 1024 * 1024;

struct Site {
    folder: PathBuf,
    base: String,
    port: u16,
    edge_port: u16,
    token: String,
    client: Client,
}

/// A process that ends with the value.
struct Running(Child);

impl Running {
    fn kill_9(&mut self) {
        // SIGKILL; one that has ended already is as dead.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_9();
    }
}

impl Site {
    /// A data folder with a vendor and a token, and free ports.
    async fn prepare() -> Self {
        let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-crash"));
        let mut settings = Settings::default();
        settings.data_dir.0.clone_from(&folder);
        settings.database.url = format!("sqlite:{}", folder.join("pithead.db").display());
        let app = App::open(settings, Clock::System).unwrap();
        let input = SignUp {
            email: "owner@acme.example".into(),
            name: "Owner".into(),
            password: "a lamp in the dark".into(),
            kind: "vendor".into(),
            slug: "acme".into(),
            name_zh: "acme公司".into(),
            name_en: "acme Ltd".into(),
        };
        let (user, organization) = account::sign_up(&app, input).await.unwrap();
        let actor = account::actor_for(&app, &user, &organization).await.unwrap();
        let token = tokens::create(&app, &actor, "crash test", &["publish"], 30).await.unwrap();
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, edge_port) = (free(), free());
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { folder, base: format!("http://127.0.0.1:{port}"), port, edge_port, token, client }
    }

    fn command(&self, arguments: &[&str]) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("process.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pithead"))
            .args(arguments)
            .env("PITHEAD_DATA_DIR", &self.folder)
            .env("PITHEAD_SERVER__LISTEN", format!("127.0.0.1:{}", self.port))
            .env("PITHEAD_SERVER__EDGE_LISTEN", format!("127.0.0.1:{}", self.edge_port))
            .env("PITHEAD_SERVER__PUBLIC_URL", &self.base)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Running(child)
    }

    async fn serve(&self) -> Running {
        let mut server = self.command(&["serve"]);
        let begin = Instant::now();
        loop {
            if self.client.get(format!("{}/readyz", self.base)).send().await.is_ok_and(|r| r.status().is_success()) {
                return server;
            }
            if let Some(status) = server.0.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.folder.join("process.log")).unwrap_or_default();
                panic!("the server ended with {status}: {log}");
            }
            assert!(begin.elapsed() < Duration::from_mins(1), "the server was not ready in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// One call; none where the connection broke, as it does when the server is killed.
    async fn call(&self, method: Method, path: &str, headers: &[(&str, String)], body: Vec<u8>) -> Option<Response> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.send().await.ok()
    }

    async fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let answer = self.call(Method::GET, &format!("/v2/{REPOSITORY}/blobs/{digest}"), &[], Vec::new()).await.expect("the server runs");
        match answer.status() {
            StatusCode::OK => Some(answer.bytes().await.expect("a whole body").to_vec()),
            StatusCode::NOT_FOUND => None,
            other => panic!("{digest}: {other}"),
        }
    }

    /// Makes blobs look as if nobody had touched them for years, so that the collector may take them.
    async fn age(&self, digests: &[Digest]) {
        let url = format!("sqlite:{}", self.folder.join("pithead.db").display());
        let names = digests.iter().map(|d| format!("'{d}'")).collect::<Vec<_>>().join(",");
        let sql = format!(
            "UPDATE blobs SET touched_at = '2020-01-01 00:00:00' WHERE digest IN ({names});
             UPDATE repository_blobs SET created_at = '2020-01-01 00:00:00' WHERE digest IN ({names});"
        );
        Db::open(&Location::parse(&url).unwrap(), 1).unwrap().write(move |conn| Ok(conn.batch_execute(&sql)?)).await.unwrap();
    }
}

/// What clients know: only what they were told.
#[derive(Default)]
struct Known {
    /// Blobs that were answered with 201, and must stay.
    stored: HashMap<Digest, Vec<u8>>,
    /// Blobs sent, perhaps without an answer, and garbage: whole or absent.
    tried: HashMap<Digest, Vec<u8>>,
    /// Tags that were answered with 201.
    tagged: HashMap<String, Vec<u8>>,
    /// Tags sent without an answer.
    tags_tried: HashMap<String, Vec<u8>>,
    /// An upload under way: location, all its bytes, and bytes acknowledged.
    open: Option<(String, Vec<u8>, usize)>,
}

impl Known {
    /// Sends an upload, or goes on with one, as far as the server lives. True when it was acknowledged.
    async fn upload(&mut self, site: &Site, bytes: Vec<u8>) -> Option<()> {
        let digest = Digest::of(&bytes);
        self.tried.insert(digest.clone(), bytes.clone());
        let begun = site.call(Method::POST, &format!("/v2/{REPOSITORY}/blobs/uploads/"), &[], Vec::new()).await?;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        self.open = Some((header(&begun, "location"), bytes, 0));
        self.go_on(site).await
    }

    async fn go_on(&mut self, site: &Site) -> Option<()> {
        while let Some((location, bytes, sent)) = self.open.clone() {
            if sent == bytes.len() {
                let digest = Digest::of(&bytes);
                let closed = site.call(Method::PUT, &format!("{location}?digest={digest}"), &[], Vec::new()).await?;
                assert_eq!(closed.status(), StatusCode::CREATED, "all bytes were acknowledged");
                self.stored.insert(digest, bytes);
                self.open = None;
                return Some(());
            }
            let end = if bytes.len() == LONG { LONG } else { bytes.len().min(sent + CHUNK) };
            let range = [("content-range", format!("{sent}-{}", end - 1))];
            let answer = site.call(Method::PATCH, &location, &range, bytes[sent..end].to_vec()).await?;
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            self.open = Some((location, bytes, end));
        }
        Some(())
    }

    /// After a start: asks where the upload is, which is no less than was acknowledged, and ends it.
    async fn resume(&mut self, site: &Site) {
        let Some((location, bytes, sent)) = self.open.take() else { return };
        let state = site.call(Method::GET, &location, &[], Vec::new()).await.expect("the server runs");
        if state.status() == StatusCode::NOT_FOUND {
            // It was finished, and only the answer was lost.
            assert_eq!(sent, bytes.len(), "an upload with {sent} acknowledged bytes is gone");
            assert_eq!(site.blob(&Digest::of(&bytes)).await.as_ref(), Some(&bytes), "neither upload nor blob");
            self.stored.insert(Digest::of(&bytes), bytes);
            return;
        }
        assert_eq!(state.status(), StatusCode::NO_CONTENT);
        let offset: usize = header(&state, "x-upload-offset").parse().unwrap();
        assert!(offset >= sent && offset <= bytes.len(), "{sent} bytes were acknowledged, the server has {offset}");
        self.open = Some((location, bytes, offset));
        self.go_on(site).await.expect("the server runs");
    }

    /// A manifest of a stored blob under a new tag.
    async fn tag(&mut self, site: &Site, name: String) -> Option<()> {
        let (_, layer) = self.stored.iter().next()?;
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.into()),
            artifact_type: Some("application/vnd.test.thing".into()),
            config: Descriptor::of(EMPTY_TYPE, EMPTY_BYTES),
            layers: vec![Descriptor::of(WEIGHT_TYPE, layer)],
            subject: None,
            annotations: Some([("name".to_owned(), name.clone())].into()),
        };
        let bytes = manifest.to_bytes();
        self.tags_tried.insert(name.clone(), bytes.clone());
        let kind = [("content-type", MANIFEST_TYPE.to_owned())];
        let answer = site.call(Method::PUT, &format!("/v2/{REPOSITORY}/manifests/{name}"), &kind, bytes.clone()).await?;
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap_or_default());
        self.tagged.insert(name, bytes);
        Some(())
    }

    async fn verify(&self, site: &Site, sample: Option<usize>) {
        for (digest, bytes) in self.stored.iter().take(sample.unwrap_or(usize::MAX)) {
            assert_eq!(site.blob(digest).await.as_ref(), Some(bytes), "an acknowledged blob");
        }
        for (digest, bytes) in self.tried.iter().take(sample.unwrap_or(usize::MAX)) {
            if let Some(found) = site.blob(digest).await {
                assert_eq!(&found, bytes, "a blob is whole or absent");
            }
        }
        for (name, bytes) in self.tags_tried.iter().take(sample.unwrap_or(usize::MAX)) {
            let answer =
                site.call(Method::GET, &format!("/v2/{REPOSITORY}/manifests/{name}"), &[], Vec::new()).await.expect("the server runs");
            match answer.status() {
                StatusCode::OK => assert_eq!(&answer.bytes().await.unwrap(), bytes),
                StatusCode::NOT_FOUND => assert!(!self.tagged.contains_key(name), "the acknowledged tag {name} is gone"),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

fn random(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(1..most)];
    rng.fill_bytes(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_a_hundred_moments_nothing_acknowledged_is_lost() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let site = Site::prepare().await;
    let mut known = Known::default();
    let mut garbage: Vec<Vec<u8>> = Vec::new();
    let begin = Instant::now();
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let mut server = site.serve().await;
        known.resume(&site).await;
        known.verify(&site, Some(4)).await;
        if round == 0 {
            known.upload(&site, EMPTY_BYTES.to_vec()).await.expect("the server runs");
            known.upload(&site, random(&mut rng, 1000)).await.expect("the server runs");
            known.tag(&site, "first".into()).await.expect("the server runs");
        }
        // Garbage of the last round is collected while the same bytes are pushed again.
        // What an upload of the last round has acknowledged anew is no garbage.
        let aged: Vec<Digest> = garbage.iter().map(|bytes| Digest::of(bytes)).filter(|digest| !known.stored.contains_key(digest)).collect();
        site.age(&aged).await;
        let mut collector = site.command(&["admin", "storage", "collect"]);
        let moment = Duration::from_millis(rng.random_range(1..400));
        let work = async {
            for number in 0.. {
                match number % 4 {
                    0 if !garbage.is_empty() => {
                        known.upload(&site, garbage[0].clone()).await?;
                    }
                    2 if number == 2 && round % 10 == 0 => {
                        let mut bytes = vec![0; LONG];
                        rng.fill_bytes(&mut bytes);
                        known.upload(&site, bytes).await?;
                    }
                    1 => known.tag(&site, format!("t-{round}-{number}")).await?,
                    _ => {
                        let bytes = random(&mut rng, 4 * CHUNK);
                        known.upload(&site, bytes).await?;
                    }
                }
            }
            Some(())
        };
        if tokio::time::timeout(moment, work).await.is_err() {
            interrupted += 1;
        }
        // The dropped call was on its way: the kill meets the server at work.
        server.kill_9();
        if round % 2 == 0 {
            collector.kill_9();
        }
        drop(collector);
        // What the next round throws away: two blobs that no manifest names. From now on they are whole or absent.
        garbage = known
            .stored
            .keys()
            .filter(|d| d.as_str() != Digest::of(EMPTY_BYTES).as_str())
            .take(2)
            .cloned()
            .collect::<Vec<_>>()
            .iter()
            .filter(|digest| !known.tags_tried.values().any(|m| String::from_utf8_lossy(m).contains(digest.as_str())))
            .filter_map(|digest| known.stored.remove(digest))
            .collect();
    }
    let server = site.serve().await;
    known.resume(&site).await;
    known.verify(&site, None).await;
    println!(
        "{ROUNDS} kills in {:?}, {interrupted} in the middle of a call; {} blobs and {} tags acknowledged",
        begin.elapsed(),
        known.stored.len(),
        known.tagged.len()
    );
    drop(server);
    let scrubbed = Command::new(env!("CARGO_BIN_EXE_pithead"))
        .args(["admin", "storage", "scrub"])
        .env("PITHEAD_DATA_DIR", &site.folder)
        .output()
        .unwrap();
    assert!(scrubbed.status.success(), "{}", String::from_utf8_lossy(&scrubbed.stdout));
    let audit = Command::new(env!("CARGO_BIN_EXE_pithead"))
        .args(["admin", "audit", "verify"])
        .env("PITHEAD_DATA_DIR", &site.folder)
        .output()
        .unwrap();
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    remove(&site.folder);
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
}
