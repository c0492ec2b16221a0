//! A running demo, and people signed in to it.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use pithead::base::db::{Conn, Db, Location};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

/// `pithead demo` on free ports with a folder of its own; ends with the value.
pub struct Demo {
    child: Child,
    /// Its data.
    pub folder: PathBuf,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    /// `https://127.0.0.1:PORT`, the endpoint of nodes.
    pub edge: String,
    /// Local interfaces of the nodes.
    pub nodes: [String; 3],
    port: u16,
    /// Environment of the server, and so of its nodes.
    environment: Vec<(String, String)>,
    /// Further arguments of the command.
    arguments: Vec<String>,
}

/// The demo that tests share while at least one of them runs.
static SHARED: Mutex<Weak<Demo>> = Mutex::new(Weak::new());

impl Demo {
    /// The demo of all tests that change nothing another one looks at.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(demo) = shared.upgrade() {
            return demo;
        }
        let demo = Arc::new(Self::start());
        *shared = Arc::downgrade(&demo);
        demo
    }

    /// A demo of one's own, loaded, with its nodes running.
    pub fn start() -> Self {
        Self::start_in(std::env::temp_dir().join(pithead::base::ids::new("pithead-system")), Vec::new())
    }

    /// The same in a folder and an environment that the caller has chosen.
    pub fn start_in(folder: PathBuf, environment: Vec<(String, String)>) -> Self {
        Self::start_with(folder, environment, Vec::new())
    }

    fn start_with(folder: PathBuf, environment: Vec<(String, String)>, arguments: Vec<String>) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_block();
        let at = |n: u16| format!("127.0.0.1:{}", port + n);
        let mut demo = Self {
            child: spawn(&folder, port, &environment, &arguments),
            folder,
            base: format!("http://{}", at(0)),
            edge: format!("https://{}", at(363)),
            nodes: [1021, 1022, 1023].map(|n| format!("http://{}", at(n))),
            port,
            environment,
            arguments,
        };
        demo.wait();
        demo
    }

    /// Kills the server, as a power cut does, and gives its nodes' processes nothing to hold on to.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data; the time until it is ready.
    pub fn again(&mut self) -> Duration {
        let begin = Instant::now();
        self.child = spawn(&self.folder, self.port, &self.environment, &self.arguments);
        self.wait();
        begin.elapsed()
    }

    fn wait(&mut self) {
        let begin = Instant::now();
        while !self.said("Pithead is ready.") {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the demo ended with {status}:\n{}", self.log());
            }
            assert!(begin.elapsed() < Duration::from_mins(4), "the demo was not ready in time:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn said(&self, words: &str) -> bool {
        std::fs::read_to_string(self.folder.join("out.log")).is_ok_and(|text| text.contains(words))
    }

    /// What the demo has said.
    pub fn log(&self) -> String {
        ["out.log", "err.log"].map(|name| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()).join("\n")
    }

    /// Password and API token of a role, as in `sign-ins.json`.
    pub fn person(&self, role: &str) -> (String, String, String) {
        let text = std::fs::read_to_string(self.folder.join("sign-ins.json")).unwrap();
        let people: Vec<pithead::demo::SignIn> = serde_json::from_str(&text).unwrap();
        let person = people.into_iter().find(|p| p.role == role).unwrap_or_else(|| panic!("no {role} in the demo"));
        (person.email, person.password, person.token)
    }

    /// Reads the database.
    pub async fn read<T: Send + 'static>(&self, query: impl FnOnce(&mut Conn) -> pithead::base::error::Result<T> + Send + 'static) -> T {
        let url = format!("sqlite:{}", self.folder.join("pithead.db").display());
        Db::open(&Location::parse(&url).unwrap(), 1).unwrap().read(query).await.unwrap()
    }

    /// Signs a person of the demo in.
    pub async fn sign_in(&self, role: &str) -> Reader {
        let (email, password, _) = self.person(role);
        Reader::sign_in(&self.base, &email, &password).await.unwrap_or_else(|| panic!("sign-in of {email}"))
    }

    /// Signs a new organisation up; its owner.
    pub async fn sign_up(&self, kind: &str, slug: &str) -> Reader {
        Reader::sign_up(&self.base, kind, slug).await
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its nodes too.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let begin = Instant::now();
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path, port: u16, environment: &[(String, String)], arguments: &[String]) -> Child {
    let log = |name| std::fs::File::create(folder.join(name)).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_pithead"))
        .args(["demo", "--port", &port.to_string(), "--ort-lib", &tool("ORT_LIB"), "--edge-bin", &tool("TEST_EDGE_BIN"), "--data"])
        .arg(folder)
        .arg("--apps")
        .arg(root.join("demo/apps"))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log("out.log"))
        .stderr(log("err.log"))
        .spawn()
        .unwrap()
}

/// What `make test` has put into a variable.
pub fn tool(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `make test`"))
}

/// A port whose whole family is free: the site, the endpoint of nodes, three nodes.
fn free_block() -> u16 {
    for _ in 0..200 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() % 20_000 + 20_000;
        let family: Vec<_> = [0, 363, 1021, 1022, 1023].iter().map(|n| TcpListener::bind(("127.0.0.1", port + n))).collect();
        if family.iter().all(Result::is_ok) {
            return port;
        }
    }
    panic!("no free ports");
}

/// Someone with a browser's cookies.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    base: String,
    cookie: String,
    csrf: String,
}

impl Reader {
    /// Someone who is not signed in, with a form before them.
    pub async fn nobody(base: &str) -> Self {
        Self::arrived(base).await.expect("a form with a CSRF cookie")
    }

    async fn arrived(base: &str) -> Option<Self> {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut reader = Self { client, base: base.to_owned(), cookie: String::new(), csrf: String::new() };
        let response = reader.page("/sign-in").await?;
        reader.cookie = cookie(&response, "__Host-csrf")?;
        reader.csrf = csrf_field(&response.text().await.ok()?)?;
        Some(reader)
    }

    /// Someone who signs in; none where the connection broke or the server refused.
    pub async fn sign_in(base: &str, email: &str, password: &str) -> Option<Self> {
        let nobody = Self::arrived(base).await?;
        let response = nobody.attempt("/sign-in", &[("email", email), ("password", password)]).await?;
        let reader = Self { cookie: cookie(&response, "__Host-session")?, ..nobody };
        let csrf = csrf_field(&reader.page("/account").await?.text().await.ok()?)?;
        Some(Self { csrf, ..reader })
    }

    /// The owner of a new organisation.
    pub async fn sign_up(base: &str, kind: &str, slug: &str) -> Self {
        let reader = Self::nobody(base).await;
        let email = format!("owner@{slug}.example");
        let fields = [
            ("kind", kind),
            ("slug", slug),
            ("name_zh", ""),
            ("name_en", slug),
            ("name", slug),
            ("email", &email),
            ("password", "a lamp in the dark"),
        ];
        let response = reader.form("/sign-up", &fields).await;
        assert_eq!(response.status(), 303, "sign-up of {slug}");
        reader.signed_in(&response).await
    }

    /// The same browser, signed in by an answer.
    pub async fn signed_in(&self, response: &Response) -> Self {
        let reader = Self { cookie: cookie(response, "__Host-session").expect("a session"), ..self.clone() };
        let csrf = csrf_field(&reader.get("/account").await.text().await.unwrap()).expect("a form");
        Self { csrf, ..reader }
    }

    /// The same person with a further cookie that an answer has set.
    pub fn with_cookie(&self, response: &Response, name: &str) -> Self {
        Self { cookie: format!("{}; {}", self.cookie, cookie(response, name).expect("the cookie")), ..self.clone() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header("cookie", &self.cookie).header("accept-language", "en")
    }

    /// A form, with the CSRF value; none where the connection broke or nothing came back.
    pub async fn attempt(&self, path: &str, fields: &[(&str, &str)]) -> Option<Response> {
        self.filled(path, fields).timeout(Duration::from_secs(20)).send().await.ok()
    }

    async fn page(&self, path: &str) -> Option<Response> {
        self.request(Method::GET, path).timeout(Duration::from_secs(20)).send().await.ok()
    }

    /// A page.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    fn filled(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut fields = fields.to_vec();
        fields.push(("_csrf", &self.csrf));
        let body = serde_urlencoded::to_string(fields).unwrap();
        self.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    /// A form, with the CSRF value.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.filled(path, fields).send().await.unwrap()
    }

    /// A JSON body, with the CSRF value.
    pub async fn json(&self, path: &str, body: &serde_json::Value) -> Response {
        self.request(Method::POST, path).header("x-csrf-token", &self.csrf).json(body).send().await.unwrap()
    }
}

fn cookie(response: &Response, name: &str) -> Option<String> {
    let set = response.headers().get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    set.filter_map(|value| value.split(';').next()).find(|pair| pair.starts_with(name)).map(ToOwned::to_owned)
}

fn csrf_field(html: &str) -> Option<String> {
    let (_, after) = html.split_once("name=\"_csrf\" value=\"")?;
    after.split('"').next().map(ToOwned::to_owned)
}

/// Names of the cameras of whose alarms the mine was told.
async fn cameras_with_alarms(demo: &Demo) -> BTreeSet<String> {
    let (_, _, token) = demo.person("operator-owner");
    let client = Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("{}/api/v1/alarms", demo.base)).bearer_auth(token).send().await.unwrap();
    let alarms: Value = response.error_for_status().unwrap().json().await.unwrap();
    alarms["items"].as_array().unwrap().iter().map(|alarm| alarm["source"].as_str().unwrap().to_owned()).collect()
}

/// Three cameras raise alarms by themselves within a minute. Each app of `demo/format-2` passes its check, is approved and for sale while the
/// demo already runs; a second start goes on where the first was ended.
#[tokio::test(flavor = "multi_thread")]
async fn further_apps_are_listed_while_the_demo_runs() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let further = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/format-2");
    let apps = std::fs::read_dir(&further).unwrap().flatten().filter(|entry| entry.path().join("app.yaml").exists()).count();
    let arguments = ["--further".to_owned(), further.to_str().unwrap().to_owned(), "--ffmpeg".to_owned(), tool("TEST_FFMPEG")];
    let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-system"));
    let mut demo = Demo::start_with(folder, Vec::new(), arguments.into());
    let begin = Instant::now();
    loop {
        let cameras = cameras_with_alarms(&demo).await;
        if ["belt-2", "belt-roadway", "main-belt"].iter().all(|camera| cameras.contains(*camera)) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "alarms of {cameras:?} only\n{}", demo.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("three cameras have raised alarms {:?} after the start", begin.elapsed());
    let listed = |demo: &Demo| {
        let log = demo.log();
        let (_, after) = log.split_once("Pithead is ready.").unwrap_or_default();
        assert!(!after.contains("Not all further apps"), "{log}");
        after.matches("\n  listed ").count()
    };
    let until = |demo: &Demo, wanted: usize| {
        let begin = Instant::now();
        while listed(demo) < wanted {
            // What the one that was killed had in hand waits for the end of its lease.
            assert!(begin.elapsed() < Duration::from_mins(12), "{} of {wanted}\n{}", listed(demo), demo.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    until(&demo, 2);
    demo.kill();
    let first = listed(&demo);
    demo.again();
    // One may have been for sale before its line was written.
    until(&demo, apps - first - 1);
    std::thread::sleep(Duration::from_secs(2));
    assert!((apps - first - 1..=apps - first).contains(&listed(&demo)), "{first} and {} of {apps}", listed(&demo));
}
