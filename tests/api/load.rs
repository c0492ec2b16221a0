//! A flood of strangers over real sockets: they are told to come again, and everybody else is answered as quickly as without them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pithead::account::service as account;
use pithead::base::config::LoadClass;
use pithead::base::load::Class;
use pithead::base::open::Who;
use pithead::fleet::service as fleet;
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};

use crate::server::{PASSWORD, TestServer};

fn plain() -> reqwest::ClientBuilder {
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(30))
}

/// A client with the certificate of a node of a mine.
async fn node(server: &TestServer, mine: &str) -> Client {
    let (email, _) = server.organization("operator", mine).await;
    let cookie = account::sign_in(&server.app, &email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
    let owner = account::authenticate_session(&server.app, &cookie).await.unwrap();
    let site = fleet::create_site(&server.app, &owner, "Shaft 1").await.unwrap();
    let code = fleet::create_node(&server.app, &owner, &site, "Winder").await.unwrap().code;
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let issued = fleet::enroll(&server.app, code, request, "1.0.0".into()).await.unwrap().issued;
    let identity = Identity::from_pem(format!("{}{}", issued.chain_pem, key.serialize_pem()).as_bytes()).unwrap();
    let authority = Certificate::from_pem(server.app.ca.present().certificate_pem.as_bytes()).unwrap();
    plain().tls_certs_only([authority]).identity(identity).build().unwrap()
}

/// Posts a heartbeat; how long the answer took.
async fn report(server: &TestServer, node: &Client, sequence: usize) -> Duration {
    let begin = Instant::now();
    let body = json!({"reports": [{"sequence": sequence, "at": server.app.clock.now().utc(), "kind": "heartbeat",
        "node": {"cpu_percent": 1.0, "memory_used_bytes": 1, "memory_total_bytes": 2, "trouble": null}, "apps": []}]});
    let answer = node.post(format!("{}/edge/reports", server.app.settings.server.edge_url)).json(&body).send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    begin.elapsed()
}

async fn health(server: &TestServer, client: &Client) -> Duration {
    let begin = Instant::now();
    assert_eq!(client.get(format!("{}/healthz", server.base)).send().await.unwrap().status().as_u16(), 200);
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_searches_leaves_nodes_and_health_quick() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server =
        Arc::new(TestServer::start_with(|settings| settings.load.searches = LoadClass { at_once: 1, waiting: 2, seconds: 1 }).await);
    let (node, watcher, stranger) = (node(&server, "mine").await, plain().build().unwrap(), plain().build().unwrap());
    let (over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicUsize::new(0) }; 2]));
    let flood: Vec<_> = (0..60)
        .map(|n| {
            let (stranger, over, counts, base) = (stranger.clone(), over.clone(), counts.clone(), server.base.clone());
            tokio::spawn(async move {
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    asked += 1;
                    let answer =
                        stranger.get(format!("{base}/apps?q=belt+{n}+{asked}")).header("accept-language", "en").send().await.unwrap();
                    let status = answer.status().as_u16();
                    if status == 200 {
                        counts[0].fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                    let page = answer.text().await.unwrap();
                    assert!(
                        status == 503 && (1..=3).contains(&after) && page.contains("Too much is asked of the platform"),
                        "{status}: {page}"
                    );
                    counts[1].fetch_add(1, Ordering::Relaxed);
                    // Not even the seconds that it was told.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut slowest = Duration::ZERO;
    for sequence in 1..=20 {
        slowest = slowest.max(report(&server, &node, sequence).await).max(health(&server, &watcher).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    over.store(true, Ordering::Relaxed);
    for done in join_all(flood).await {
        done.unwrap();
    }
    let [served, shed] = [counts[0].load(Ordering::Relaxed), counts[1].load(Ordering::Relaxed)];
    assert!(served > 0 && shed > served, "{served} served, {shed} shed");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let metrics = watcher.get(format!("{}/metrics", server.base)).send().await.unwrap().text().await.unwrap();
    let told = |class: &str, outcome: &str| -> usize {
        let line = metrics.lines().find(|l| l.starts_with("pithead_load_total") && l.contains(class) && l.contains(outcome));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |n| n.parse().unwrap())
    };
    assert_eq!((told("\"searches\"", "\"admitted\""), told("\"searches\"", "\"shed\"")), (served, shed));
    assert_eq!((told("\"reports\"", "\"admitted\""), told("\"reports\"", "\"shed\"")), (20, 0));
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_the_old_page_where_no_new_one_can_be_made() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start_with(|settings| settings.load.strangers = LoadClass { at_once: 1, waiting: 1, seconds: 1 }).await;
    let client = plain().build().unwrap();
    let ask = async |path: &str, cookie: &str| {
        let request = client.get(format!("{}{path}", server.base)).header("accept-language", "en").header("cookie", cookie);
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), header("warning"), header("age").is_some(), header("retry-after").is_some())
    };
    // The follower of the catalogue has looked for the first time.
    while server.app.pages.generation() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ask("/", "").await, (200, None, false, false));
    let held = server.app.load.admit(Class::Strangers, None).await.unwrap();
    assert_eq!(ask("/", "").await, (200, None, false, false), "it lies ready");
    assert_eq!(ask("/", "__Host-session=none").await, (200, None, false, false), "also for a session that is none");
    server.app.pages.clear();
    for cookie in ["", "__Host-session=none"] {
        assert_eq!(ask("/", cookie).await, (200, Some("110 - \"Response is Stale\"".into()), true, false));
    }
    assert_eq!(ask("/vendors/nobody", "").await, (503, None, false, true));
    // A cookie that is no session is no way around it.
    assert_eq!(ask("/vendors/nobody", "__Host-session=none").await, (503, None, false, true));
    drop(held);
    assert_eq!(ask("/", "").await, (200, None, false, false));
    assert_eq!(ask("/vendors/nobody", "__Host-session=none").await, (404, None, false, false));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shed_is_told_in_their_own_form_and_a_slow_body_holds_no_turn() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let one = LoadClass { at_once: 1, waiting: 1, seconds: 1 };
    let server = TestServer::start_with(|settings| {
        settings.load.strangers = one.clone();
        settings.load.pulls = one.clone();
        settings.load.people = one.clone();
    })
    .await;
    // Bodies that never come.
    let address = server.base.strip_prefix("http://").unwrap();
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\na=";
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    let client = plain().build().unwrap();
    let ask = async |path: &str, authorization: Option<&str>| {
        let request = client.get(format!("{}{path}", server.base));
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        let answer = request.send().await.unwrap();
        let after = answer.headers().get("retry-after").is_some();
        (answer.status().as_u16(), after, answer.text().await.unwrap())
    };
    assert_eq!(ask("/sign-in", None).await.0, 200);
    let load = &server.app.load;
    let held = [
        load.admit(Class::Strangers, None).await.unwrap(),
        load.admit(Class::Pulls, None).await.unwrap(),
        load.admit(Class::People, None).await.unwrap(),
    ];
    let (status, after, page) = ask("/sign-in", None).await;
    assert!(status == 503 && after && page.contains("<html"), "{page}");
    let (status, after, text) = ask("/v2/acme/belt/tags/list", Some("Bearer eyJ")).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert!(status == 429 && after, "{text}");
    assert_eq!((&told["errors"][0]["code"], &told["errors"][0]["detail"]["code"]), (&json!("TOOMANYREQUESTS"), &json!("server-busy")));
    // What has no body needs no new connection.
    let pull = client.get(format!("{}/v2/acme/belt/tags/list", server.base)).header("authorization", "Bearer eyJ").send().await.unwrap();
    assert!(pull.status() == 429 && !pull.headers().contains_key("connection"), "{:?}", pull.headers());
    let (status, after, text) = ask("/api/v1/nodes", Some("Bearer pht_none")).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert!(status == 503 && after && told["code"] == "server-busy", "{text}");
    for path in ["/healthz", "/metrics", "/favicon.ico"] {
        assert!(ask(path, None).await.0 < 400, "{path}");
    }
    drop((slow, held));

    // Who shows a token that is none gets no memory for a large body: it is refused before a byte of it has come.
    let begin = async |path: &str, shown: &str| {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let kind = "Content-Type: application/json\r\nContent-Length: 1500000";
        socket.write_all(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{shown}\r\n{kind}\r\n\r\n").as_bytes()).await.unwrap();
        socket
    };
    let status = async |mut socket: tokio::net::TcpStream| {
        let mut answer = [0; 12];
        tokio::time::timeout(Duration::from_secs(8), socket.read_exact(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert_eq!(status(begin("/api/v1/orders", "Authorization: Bearer pht_none").await).await, "HTTP/1.1 401");

    // Who shows a session that is none waits among strangers, and gives the turn of people back before, also where its body has it.
    let strangers = load.admit(Class::Strangers, None).await.unwrap();
    let waits = begin("/mine/nodes", "Cookie: __Host-session=none").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::time::timeout(Duration::from_millis(500), load.admit(Class::People, None)).await.expect("nobody has the turn").unwrap();
    assert_eq!(status(waits).await, "HTTP/1.1 503");
    drop(strangers);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_flood_leave_a_place_for_the_third() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start_with(|settings| settings.load.reports = LoadClass { at_once: 1, waiting: 11, seconds: 20 }).await;
    let nodes = [node(&server, "mine").await, node(&server, "north").await, node(&server, "south").await];
    let held = server.app.load.admit(Class::Reports, None).await.unwrap();
    let url = format!("{}/edge/reports", server.app.settings.server.edge_url);
    let flood: Vec<_> = (0..16)
        .map(|n| {
            let call = nodes[n % 2].post(&url).json(&json!({"reports": []}));
            tokio::spawn(async move { call.send().await.unwrap().status().as_u16() })
        })
        .collect();
    // Three of twelve places each; the others are told at once.
    let begin = Instant::now();
    while flood.iter().filter(|call| call.is_finished()).count() < 10 {
        assert!(begin.elapsed() < Duration::from_secs(10), "the others are told at once");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let release = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(held);
    };
    tokio::join!(report(&server, &nodes[2], 1), release);
    let told = join_all(flood).await.into_iter().map(Result::unwrap);
    assert_eq!(told.filter(|status| *status == 503).count(), 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_reports_come_through_where_bodies_take_all_memory() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let node = node(&server, "mine").await;
    let mut held = Vec::new();
    for n in 0..4 {
        loop {
            let mut body = server.app.bodies.of(Who::Certificate([n; 32]));
            if body.hold(2 << 20, 2 << 20).and_then(|()| body.whole()).is_err() {
                break;
            }
            held.push(body);
        }
    }
    report(&server, &node, 1).await;
    let large = async || {
        let body = format!("{{\"reports\":[{}]}}", " ".repeat(100_000));
        let call = node.post(format!("{}/edge/reports", server.app.settings.server.edge_url)).header("content-type", "application/json");
        let answer = call.body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
    };
    assert_eq!(large().await, (503, true));
    drop(held);
    assert_eq!(large().await, (200, false));
    server.stop().await;
}
