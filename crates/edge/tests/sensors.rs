//! Sensors at the real agent: mosquitto is the broker, pymodbus the controller.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use app_package::manifest::AppManifest;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use support::node::{Node, installed, until};
use support::{Server, app};

const PASSWORD: &str = "p@ss/w%rd";
const IN_ADDRESS: &str = "p%40ss%2Fw%25rd";

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// mosquitto, in the clear and over TLS; ends with the value.
struct Broker {
    folder: PathBuf,
    child: Option<Child>,
    plain: u16,
    tls: u16,
}

impl Broker {
    fn start() -> Self {
        let folder = support::node::folder();
        std::fs::create_dir_all(&folder).unwrap();
        let authority = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&authority).unwrap();
        let issuer = Issuer::new(params, authority);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        write("ca.pem", certificate.pem());
        write("own.pem", own.pem());
        write("own.key", key.serialize_pem());
        let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(folder.join("users")).args(["admin", PASSWORD]).status();
        assert!(made.unwrap().success());
        let (plain, tls) = (free_port(), free_port());
        let at = folder.display();
        write(
            "mosquitto.conf",
            format!(
                "listener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\ncertfile {at}/own.pem\nkeyfile {at}/own.key\n\
                 allow_anonymous false\npassword_file {at}/users\npersistence true\npersistence_location {at}/\nuser root\n"
            ),
        );
        let mut broker = Self { folder, child: None, plain, tls };
        broker.run();
        broker
    }

    fn run(&mut self) {
        // Where Debian has it, which is not in everybody's PATH.
        let mut command = Command::new("/usr/sbin/mosquitto");
        command.arg("-c").arg(self.folder.join("mosquitto.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.tls)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as an operator does, so that it keeps its sessions.
    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            child.wait().unwrap();
        }
    }

    fn publish(&self, topic: &str, payload: &str) {
        let mut command = Command::new("mosquitto_pub");
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.plain.to_string(),
            "-u",
            "admin",
            "-P",
            PASSWORD,
            "-q",
            "1",
            "-t",
            topic,
            "-m",
            payload,
        ]);
        assert!(command.status().unwrap().success());
    }

    fn plain(&self) -> String {
        format!("mqtt://admin:{IN_ADDRESS}@127.0.0.1:{}", self.plain)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// pymodbus; ends with the value.
struct Controller {
    child: Child,
    port: u16,
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "make test says in variables where the tests find their tools")]
    fn start() -> Self {
        let python = std::env::var("TEST_PYTHON").expect("set TEST_PYTHON to a Python with the packages of scripts/test-requirements.txt");
        let port = free_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modbus/server.py");
        let mut command = Command::new(python);
        command.arg(script).arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self { child, port }
    }

    fn late(&mut self, seconds: u32) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{seconds}").unwrap();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The app of tables with its columns as a window of two rows of `p` and `q`: value `a` is `2 p + 1` of the row before the last.
fn window() -> (BTreeMap<String, Vec<u8>>, AppManifest) {
    let (mut files, manifest) = app("1.0.0", 3.0);
    let mut manifest = serde_json::to_value(manifest).unwrap();
    manifest["name"] = json!("belt-window");
    manifest["models"][0]["name"] = json!("belt-window");
    manifest["input"] = json!("timeseries");
    manifest["pipeline"]["pre"] = json!({ "window": { "columns": ["p", "q"], "length": 2, "layout": "flat" } });
    files.insert("sample.csv".to_owned(), b"p,q\n1,2\n3,4\n".to_vec());
    files.insert("app.yaml".to_owned(), serde_json::to_vec(&manifest).unwrap());
    (files, serde_json::from_value(manifest).unwrap())
}

/// A node with the app of tables and that of windows, both of which alarm where `a` is over 20.
async fn node(server: &Server, sources: Value) -> Node {
    let mut node = Node::enrol(server);
    for (id, (files, manifest)) in [("dep_1", app("1.0.0", 3.0)), ("dep_2", window())] {
        let release = server.publish(&files, &manifest);
        server.deploy(id, &release, &Server::claims(&release), json!({ "limit": 20.0 }));
    }
    node.write_sources(&sources);
    let log = node.log();
    node.start_logged(&[], &[("RUST_LOG", "debug")], &log);
    installed(server, "dep_1", 3).await;
    installed(server, "dep_2", 3).await;
    node
}

/// Sensors of both apps at a broker.
fn sensors(id: &str, address: &str, ca: &str) -> Value {
    let topic = |name: &str, pointer: &str| json!({ "name": name, "topic": format!("belt/{name}"), "pointer": pointer });
    let channels = json!([topic("p", "/v"), topic("q", ""), topic("r", ""), topic("s", "")]);
    json!({
        "id": id, "kind": "mqtt", "address": address, "rate": 10, "apps": [{ "app": "acme/belt-load" }, { "app": "belt-window", "place": "井口" }],
        "sensors": { "channels": channels, "every": 0.5, "stale": 8, "ca": ca },
    })
}

fn channel<'a>(source: &'a Value, name: &str) -> &'a Value {
    source["channels"].as_array().and_then(|all| all.iter().find(|channel| channel["name"] == name)).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_become_rows_and_alarms_and_what_is_no_number_is_told() {
    let (server, mut broker) = (Server::start(), Broker::start());
    let node = node(&server, json!([sensors("belt-1", &broker.plain(), "")])).await;
    let connected = |source: &Value| source["fault"].is_null() && source["channels"].is_array();
    node.source("belt-1", "it is there", connected).await;
    let begun = Instant::now();
    let tell = |p: &str| {
        for (topic, payload) in [("belt/p", p), ("belt/q", "2"), ("belt/r", "3"), ("belt/s", "4")] {
            broker.publish(topic, payload);
        }
    };
    // It may subscribe a moment later.
    let all = |source: &Value| source["apps"].as_array().unwrap().iter().all(|app| app["last"]["values"][0]["value"] == 31.0);
    loop {
        tell("{\"v\": 15}");
        tokio::time::sleep(Duration::from_millis(700)).await;
        let (_, told) = node.get("/v1/sources").await.unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        if all(&told["sources"][0]) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "{told}");
    }
    // Apps of tables and of windows alarm, each with the source.
    for app in ["acme/belt-load", "acme/belt-window"] {
        let alarm = until("an alarm of the source", async || {
            server.world().reports.iter().find(|r| r["kind"] == "alarm" && r["source"] == "belt-1" && r["app"] == app).cloned()
        })
        .await;
        let place = if app == "acme/belt-window" { "井口过载" } else { "3号皮带过载" };
        assert!(alarm["rule"] == "over" && alarm["text"]["zh"] == place, "{alarm}");
    }
    // What is no number is told; the value of before holds.
    tell("{\"v\": \"often\"}");
    let unreadable = node.source("belt-1", "unreadable", |source| channel(source, "p")["code"] == "sensor-unreadable").await;
    assert_eq!(channel(&unreadable, "p")["value"], 15.0, "{unreadable}");
    // Then nothing comes any more, and no app is asked.
    let nothing = |source: &Value| source["fault"]["code"] == "source-silent" && source["apps"][0]["last"]["code"] == "source-silent";
    let silent = node.source("belt-1", "source-silent", nothing).await;
    assert_eq!(channel(&silent, "q")["code"], "sensor-late", "{silent}");

    // What is sent while the agent is away comes when it is back, also over a restart of the broker.
    broker.stop();
    node.source("belt-1", "source-unreachable", |source| source["fault"]["code"] == "source-unreachable").await;
    broker.run();
    broker.publish("belt/q", "77");
    node.source("belt-1", "what waited", |source| channel(source, "q")["value"] == 77.0).await;

    let (_, page) = node.get("/sources/belt-1?test=acme/belt-load").await.unwrap();
    assert!(page.contains("77.0") && !page.contains("<img"), "{page}");
    for (what, text) in [
        ("page", node.get("/sources/belt-1").await.unwrap().1),
        ("sources", node.get("/v1/sources").await.unwrap().1),
        ("log", std::fs::read_to_string(node.log()).unwrap()),
        ("file", std::fs::read_to_string(node.data.join("sources.json")).unwrap()),
    ] {
        assert!(!text.contains(PASSWORD) && !text.contains(IN_ADDRESS), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_trusted_or_refuses_is_named() {
    let (server, broker) = (Server::start(), Broker::start());
    let secure = |host: &str| format!("mqtts://admin:{IN_ADDRESS}@{host}:{}", broker.tls);
    let wrong = format!("mqtt://admin:wrong@127.0.0.1:{}", broker.plain);
    let node = node(
        &server,
        json!([
            sensors("wrong", &wrong, ""),
            sensors("unknown", &secure("localhost"), ""),
            sensors("other", &secure("127.0.0.1"), "broker.pem"),
            sensors("right", &secure("localhost"), "broker.pem"),
        ]),
    )
    .await;
    std::fs::copy(broker.folder.join("ca.pem"), node.data.join("broker.pem")).unwrap();
    node.source("wrong", "credentials-refused", |source| source["fault"]["code"] == "credentials-refused").await;
    node.source("unknown", "source-untrusted", |source| source["fault"]["code"] == "source-untrusted").await;
    let name = |source: &Value| source["fault"]["error"].as_str().is_some_and(|why| why.contains("certificate not valid for name"));
    let other = node.source("other", "its certificate is of another name", name).await;
    assert_eq!(other["fault"]["code"], "source-untrusted");
    // The others do not disturb the one that is right.
    let begun = Instant::now();
    loop {
        broker.publish("belt/q", "5");
        let (_, told) = node.get("/v1/sources").await.unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        let right = told["sources"].as_array().unwrap().iter().find(|source| source["id"] == "right").unwrap().clone();
        if channel(&right, "q")["value"] == 5.0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "{told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_is_read_one_register_is_refused_and_a_late_answer_is_given_up() {
    let (server, mut controller) = (Server::start(), Controller::start());
    let register = |name: &str, table: &str, address: u16, number: &str, words: &str| {
        let register = json!({ "table": table, "address": address, "type": number, "words": words, "unit": 7 });
        json!({ "name": name, "register": register })
    };
    let mut scaled = register("r", "holding", 4, "u16", "high-first");
    (scaled["scale"], scaled["offset"]) = (json!(0.1), json!(-20));
    let mut outside = register("outside", "holding", 4, "u16", "high-first");
    outside["max"] = json!(500);
    let channels = json!([
        register("p", "holding", 0, "f32", "high-first"),
        register("q", "holding", 2, "f32", "low-first"),
        scaled,
        register("s", "holding", 5, "i16", "high-first"),
        register("coil", "coil", 3, "u16", "high-first"),
        register("discrete", "discrete", 4, "u16", "high-first"),
        register("wide", "input", 10, "u32", "high-first"),
        register("refused", "holding", 999, "u16", "high-first"),
        outside,
    ]);
    let plc = json!({
        "id": "plc", "kind": "modbus-tcp", "address": format!("modbus://127.0.0.1:{}", controller.port), "rate": 5,
        "apps": [{ "app": "acme/belt-load" }, { "app": "belt-window" }], "sensors": { "channels": channels, "every": 0.5, "stale": 5 },
    });
    let node = node(&server, json!([plc])).await;
    let both = |source: &Value| source["apps"].as_array().unwrap().iter().all(|app| app["last"]["values"][0]["value"] == 42.0);
    let read = node.source("plc", "both apps have answered", both).await;
    for (name, value) in [("p", 20.5), ("q", 20.5), ("s", -2.0), ("coil", 1.0), ("discrete", 1.0), ("wide", 5.0)] {
        assert_eq!(channel(&read, name)["value"], value, "{name}: {read}");
    }
    assert!((channel(&read, "r")["value"].as_f64().unwrap() - 50.0).abs() < 1e-9, "{read}");
    assert_eq!((&channel(&read, "refused")["code"], &channel(&read, "refused")["value"]), (&json!("sensor-unreadable"), &Value::Null));
    assert_eq!((&channel(&read, "outside")["code"], &channel(&read, "outside")["value"]), (&json!("sensor-out-of-range"), &Value::Null));
    assert!(read["fault"].is_null() && read["apps"][0]["last"]["doubtful"].is_string(), "{read}");
    until("an alarm of the source", async || {
        server.world().reports.iter().find(|r| r["kind"] == "alarm" && r["source"] == "plc" && r["app"] == "acme/belt-window").cloned()
    })
    .await;
    controller.late(4);
    let late = node.source("plc", "it is late", |source| source["fault"]["code"] == "source-unreachable").await;
    assert!(late["fault"]["error"].as_str().unwrap().contains("no answer within"), "{late}");
    controller.late(0);
    node.source("plc", "it is back", |source| source["fault"].is_null() && channel(source, "p")["value"] == 20.5).await;
}
