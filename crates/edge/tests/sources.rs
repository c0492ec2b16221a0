//! Cameras, video files and pictures at the real agent: `GStreamer`'s RTSP server is the camera, ffmpeg that of `scripts/ffmpeg.sh`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use app_package::manifest::AppManifest;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use support::node::{Node, installed, until};
use support::{Server, app};

const PASSWORD: &str = "p@ss/w%rd";

/// A tool that `make test` has found.
#[expect(clippy::disallowed_methods, reason = "make test says in variables where the tests find their tools")]
fn tool(variable: &str, what: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("set {variable} to {what}"))
}

fn ffmpeg() -> String {
    tool("TEST_FFMPEG", "what scripts/ffmpeg.sh prints")
}

/// `GStreamer`'s RTSP server; ends with the value.
struct Cameras {
    child: Child,
    port: u16,
}

impl Cameras {
    fn start(login: &[&str]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let python = tool("TEST_GSTREAMER", "a Python that has GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0)");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rtsp/server.py");
        let mut command = Command::new(python);
        command.arg(script).arg(port.to_string()).args(login).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self { child, port }
    }

    fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.port)
    }

    fn with_password(&self, path: &str) -> String {
        format!("rtsp://admin:p%40ss%2Fw%25rd@127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An app that takes what is white for a person, of single or of moving pictures, and gives an alarm.
fn spots(name: &str, input: &str) -> (BTreeMap<String, Vec<u8>>, AppManifest) {
    let (_, manifest) = app("1.0.0", 3.0);
    let mut manifest = serde_json::to_value(manifest).unwrap();
    let fields = manifest.as_object_mut().unwrap();
    for gone in ["models", "pipeline", "parameters"] {
        fields.remove(gone);
    }
    let text = |t: &str| json!({ "zh": t, "en": t });
    fields.insert("format".into(), json!(2));
    fields.insert("name".into(), json!(name));
    fields.insert("input".into(), json!(input));
    fields.insert("safety".into(), json!(input == "image"));
    let mut steps = vec![json!({ "model": {
        "name": name, "file": "model.onnx",
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 1, 36, 64] }], "outputs": [{ "name": "y", "datatype": "FP32", "shape": [1, 1, 36, 64] }],
        "pre": { "image": { "width": 64, "height": 36, "color": "gray" } },
        "post": [{ "grid": { "output": "y", "labels": [{ "id": "person", "text": text("person") }], "score": 0.5 } }],
    } })];
    if input == "video" {
        steps.push(json!({ "track": { "lost": "1s", "confirm": "0.2s" } }));
        fields.insert("scene".into(), json!({ "zones": [{ "id": "fence", "title": text("fence"), "enter": "0.2s", "leave": "0.2s" }] }));
    }
    fields.insert("steps".into(), json!(steps));
    fields.insert(
        "alarms".into(),
        json!([{ "id": "there", "when": "detections.exists(d, d.label == 'person')", "level": "warning", "text": text("{place}") }]),
    );
    fields.insert("golden".into(), json!([{ "name": "one", "input": "sample.png", "expect": "sample.json" }]));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/models/spots.onnx");
    let files = BTreeMap::from([
        ("app.yaml".to_owned(), serde_json::to_vec(&manifest).unwrap()),
        ("model.onnx".to_owned(), std::fs::read(model).unwrap()),
        ("sample.png".to_owned(), picture(0)),
        ("sample.json".to_owned(), b"{}".to_vec()),
    ]);
    (files, serde_json::from_value(manifest).unwrap())
}

/// A black picture with so many white columns, as PNG.
fn picture(white: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(64, 36, |x, y| Rgb([if x < white && y > 5 { 255 } else { 0 }; 3]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// What a camera of snapshots was asked: pictures that it gave, those that were as before, and the picture.
type Asked = Arc<(AtomicU32, AtomicU32, Mutex<Vec<u8>>)>;

/// A node with both apps, that has been started with these sources.
async fn node(server: &Server, sources: Value) -> Node {
    let mut node = Node::enrol(server);
    for (id, name, input) in [("dep_1", "stills", "image"), ("dep_2", "moves", "video")] {
        let (files, manifest) = spots(name, input);
        let release = server.publish(&files, &manifest);
        server.deploy(id, &release, &Server::claims(&release), json!({}));
    }
    node.write_sources(&sources);
    let log = node.log();
    let ffmpeg = ffmpeg();
    node.start_logged(&["--ffmpeg", &ffmpeg], &[("RUST_LOG", "debug")], &log);
    installed(server, "dep_1", 3).await;
    installed(server, "dep_2", 3).await;
    node
}

fn bound(id: &str, kind: &str, address: &str) -> Value {
    json!({ "id": id, "kind": kind, "address": address, "rate": 10, "apps": [{ "app": "acme/stills" }, { "app": "moves", "place": "井口" }] })
}

fn answered(source: &Value, least: u64) -> bool {
    source["apps"].as_array().is_some_and(|apps| apps.len() == 2 && apps.iter().all(|app| app["answered"].as_u64() >= Some(least)))
}

/// The agent and all that comes of it.
fn family(node: &Node) -> Vec<String> {
    let mut all = node.children();
    let mut at = 0;
    while let Some(pid) = all.get(at).cloned() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            all.extend(std::fs::read_to_string(task.path().join("children")).unwrap_or_default().split_whitespace().map(str::to_owned));
        }
        at += 1;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_of_both_codecs_are_watched_by_two_apps_and_their_password_is_nowhere() {
    let (server, cameras) = (Server::start(), Cameras::start(&["--login", "digest", "admin", PASSWORD]));
    let sources = json!([bound("one", "rtsp", &cameras.with_password("h264")), bound("two", "rtsp", &cameras.with_password("h265"))]);
    let node = node(&server, sources).await;
    for (id, codec) in [("one", "H.264"), ("two", "H.265")] {
        // Both find the ball, and the app of moving pictures follows it.
        let found = |source: &Value, at: usize| source["apps"][at]["last"]["detections"][0].clone();
        let both = |source: &Value| found(source, 0)["label"] == "person" && found(source, 1)["track"].is_u64();
        let source = node.source(id, codec, |source| answered(source, 20) && both(source)).await;
        assert_eq!((&source["codec"], &source["size"], &source["fault"]), (&json!(codec), &json!([320, 240]), &Value::Null), "{source}");
        assert!(source["apps"][0]["app"] == "acme/stills" && found(&source, 0)["track"].is_null(), "{source}");
        assert_eq!(source["apps"][0]["last"]["source"], id);
        // The decoder is confined: another user, no new rights, a filter of system calls.
        let status = std::fs::read_to_string(format!("/proc/{}/status", source["decoder"])).unwrap();
        let line =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace().next().unwrap().to_owned();
        assert_eq!(
            (line("Name:"), line("NoNewPrivs:"), line("Seccomp:"), line("CapEff:")),
            ("ffmpeg".into(), "1".into(), "2".into(), "0000000000000000".into())
        );
        if rustix::process::geteuid().is_root() {
            assert_eq!(line("Uid:"), "65534");
        }
    }
    // Alarms say which source.
    for (id, app) in [("one", "acme/stills"), ("two", "acme/moves")] {
        let alarm = until("an alarm of the source", async || {
            server.world().reports.iter().find(|r| r["kind"] == "alarm" && r["source"] == id && r["app"] == app).cloned()
        })
        .await;
        assert_eq!(alarm["result"]["source"], id, "{alarm}");
        assert_eq!(alarm["text"]["zh"], if app == "acme/moves" { "井口" } else { "3号皮带" });
    }
    let (_, metrics) = node.get("/metrics").await.unwrap();
    assert!(metrics.contains("pithead_edge_source_up{source=\"two\"} 1"), "{metrics}");

    // No command line, environment, file, page or log holds the password.
    let all = family(&node);
    assert!(all.len() >= 4, "two apps and two decoders: {all:?}");
    let mut texts: Vec<(String, String)> = Vec::new();
    for pid in &all {
        for file in ["cmdline", "environ"] {
            texts.push((
                format!("{file} of {pid}"),
                String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned(),
            ));
        }
    }
    for page in ["/v1/sources", "/sources", "/sources/one", "/", "/metrics"] {
        texts.push((page.to_owned(), node.get(page).await.unwrap().1));
    }
    texts.push(("reports".into(), serde_json::to_string(&server.world().reports).unwrap()));
    texts.push(("log".into(), std::fs::read_to_string(node.log()).unwrap()));
    texts.push(("sources.json".into(), std::fs::read_to_string(node.data.join("sources.json")).unwrap()));
    for (what, text) in texts {
        assert!(!text.contains(PASSWORD) && !text.contains("p%40ss") && !text.contains("w%25rd"), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_waits_until_it_is_changed_and_what_cannot_be_decoded_is_named() {
    let (server, cameras) = (Server::start(), Cameras::start(&["--login", "basic", "admin", PASSWORD]));
    let mut wrong = bound("one", "rtsp", &cameras.url("h264"));
    wrong["address"] = json!(format!("rtsp://admin:wrong@127.0.0.1:{}/h264", cameras.port));
    let others = [
        bound("vp8", "rtsp", &cameras.with_password("vp8")),
        bound("none", "rtsp", &cameras.with_password("nothing")),
        bound("far", "rtsp", "rtsp://127.0.0.1:9/1"),
    ];
    let node = node(&server, json!([wrong, others[0], others[1], others[2]])).await;
    for (id, code) in
        [("one", "credentials-refused"), ("vp8", "codec-unsupported"), ("none", "source-unknown"), ("far", "source-unreachable")]
    {
        node.source(id, code, |source| source["fault"]["code"] == code).await;
    }
    let before = node.source("one", "there", |_| true).await;
    assert_eq!(before["restarts"], 0, "it is not tried again for minutes: {before}");
    let begun = Instant::now();
    node.write_sources(&json!([bound("one", "rtsp", &cameras.with_password("h264"))]));
    node.source("one", "frames with the right password", |source| answered(source, 5)).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_changes_its_size_goes_on_one_that_stalls_is_begun_anew_and_a_black_one_is_not_judged_by() {
    let (server, cameras) = (Server::start(), Cameras::start(&[]));
    let sources = ["change", "stall", "black"].map(|id| bound(id, "rtsp", &cameras.url(id)));
    let node = node(&server, json!(sources)).await;
    node.source("change", "the first size", |source| source["size"] == json!([320, 240])).await;
    let changed = node.source("change", "the second size", |source| source["size"] == json!([640, 360]) && answered(source, 60)).await;
    assert_eq!((&changed["restarts"], &changed["fault"]), (&json!(0), &Value::Null), "{changed}");
    let stalled = node.source("stall", "a fault of the one that stalls", |source| source["fault"]["code"] == "source-silent").await;
    assert!(stalled["frames"].as_u64() > Some(10), "{stalled}");
    node.source("stall", "it is begun anew", |source| source["restarts"].as_u64() > Some(0) && source["fault"].is_null()).await;
    let black = node
        .source("black", "picture-not-usable", |source| {
            source["apps"].as_array().unwrap().iter().all(|app| app["last"]["code"] == "picture-not-usable")
        })
        .await;
    assert!(black["troubles"] == json!(["black"]) && black["apps"][0]["unusable"].as_u64() > Some(0), "{black}");
    // The platform is told, and not where its cameras are.
    let beat = until("a heartbeat with the black picture", async || {
        let told = |report: &&Value| {
            let sources = report["sources"].as_array();
            report["kind"] == "heartbeat" && sources.is_some_and(|all| all.iter().any(|source| source["troubles"] == json!(["black"])))
        };
        server.world().reports.iter().find(told).cloned()
    })
    .await;
    let told = beat["sources"].as_array().unwrap().iter().find(|source| source["id"] == "black").unwrap();
    assert_eq!((&told["state"], &told["kind"], &told["code"]), (&json!("running"), &json!("rtsp"), &Value::Null), "{told}");
    assert_eq!((beat["sources"].as_array().unwrap().len(), &told["apps"]), (3, &json!(["acme/stills", "moves"])), "{beat}");
    assert!(!beat.to_string().contains("rtsp://"), "{beat}");
    // One that goes away altogether is lost: what was found last is no answer any more.
    drop(cameras);
    let lost = node.source("change", "it is lost", |source| source["apps"][0]["last"]["code"] == "picture-not-usable").await;
    assert!(lost["apps"][0]["last"]["error"].as_str().unwrap().ends_with("lost"), "{lost}");
    // Of two apps the one of safety class says so, for each camera.
    let blind: Vec<Value> = until("all are told", async || {
        let begun = |report: &&Value| report["rule"] == "camera-blind" && report["phase"] == "begin";
        let blind: Vec<Value> = server.world().reports.iter().filter(begun).cloned().collect();
        let of: BTreeSet<&str> = blind.iter().map(|alarm| alarm["source"].as_str().unwrap()).collect();
        (of.len() >= 3).then_some(blind)
    })
    .await;
    let mut of: Vec<&str> = blind.iter().map(|alarm| alarm["source"].as_str().unwrap()).collect();
    of.sort_unstable();
    of.dedup();
    assert_eq!(of, ["black", "change", "stall"]);
    assert!(blind.iter().all(|alarm| alarm["app"] == "acme/stills" && alarm["level"] == "warning"), "{blind:?}");
}

#[test]
fn what_runs_in_the_decoders_place_reaches_nothing() {
    let dir = support::node::folder();
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("identity.json"), "key").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // Python as the decoder, which tries what a hostile stream would have ffmpeg do.
    let script = "import os, socket, sys, signal
def tries(name, what):
    try: what()
    except OSError as e: print(name, e.errno, flush=True)
    else: print(name, 0, flush=True)
secret, port, parent = sys.argv[1], int(sys.argv[2]), os.getppid()
tries('read', lambda: open(secret).read())
tries('list', lambda: os.listdir(os.path.dirname(secret)))
tries('write', lambda: open(secret + '.new', 'w'))
tries('cmdline', lambda: open(f'/proc/{parent}/cmdline').read())
tries('connect', lambda: socket.create_connection(('127.0.0.1', port), 1))
tries('listen', lambda: socket.create_server(('127.0.0.1', 0)))
tries('fork', lambda: os.fork() or os._exit(0))
tries('exec', lambda: os.execv('/usr/bin/env', ['env']))
tries('kill', lambda: os.kill(parent, signal.SIGUSR1))
tries('stdin', lambda: sys.stdin.read())
";
    let mut command = Command::new(env!("CARGO_BIN_EXE_pithead-edge"));
    command.args(["decoder", "--ffmpeg", "/usr/bin/python3", "--", "-S", "-E", "-c", script]).arg(dir.join("identity.json"));
    let output = command.arg(listener.local_addr().unwrap().port().to_string()).stdin(Stdio::null()).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tried: BTreeMap<&str, i32> =
        text.lines().filter_map(|line| line.split_once(' ')).map(|(name, errno)| (name, errno.parse().unwrap())).collect();
    assert_eq!(tried.len(), 10, "{text} {}", String::from_utf8_lossy(&output.stderr));
    // Refused by the kernel: EPERM or EACCES. Its standard input is all that it has.
    let passed: Vec<_> = tried.iter().filter(|(name, errno)| **name != "stdin" && ![1, 13].contains(*errno)).collect();
    assert!(passed.is_empty() && tried["stdin"] == 0, "{tried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_file_is_played_over_and_over_by_every_format() {
    let server = Server::start();
    let node = node(&server, json!([])).await;
    let media = node.data.join("media");
    std::fs::create_dir_all(&media).unwrap();
    for (file, codec) in [("a.mp4", "libx264"), ("b.avi", "mjpeg")] {
        let mut command = Command::new(ffmpeg());
        command.args([
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=10",
            "-t",
            "1",
            "-pix_fmt",
            "yuvj420p",
            "-c:v",
            codec,
        ]);
        assert!(command.arg(media.join(file)).stdin(Stdio::null()).status().unwrap().success());
    }
    std::fs::write(media.join("broken.mp4"), vec![7; 10_000]).unwrap();
    let mut sources = vec![
        bound("mp4", "file", "a.mp4"),
        bound("avi", "file", "b.avi"),
        bound("broken", "file", "broken.mp4"),
        bound("gone", "file", "gone.mp4"),
    ];
    sources[0]["rate"] = json!(5);
    node.write_sources(&json!(sources));
    let begun = Instant::now();
    for id in ["mp4", "avi"] {
        let source = node.source(id, "more frames than it has", |source| source["frames"].as_u64() >= Some(25)).await;
        assert_eq!((&source["size"], &source["restarts"]), (&json!([320, 180]), &json!(0)), "{source}");
    }
    // Five frames a second of ten, at the pace of the clock.
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    // An app that is busy misses frames, and holds up nobody.
    let is_app = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pithead-app");
    let busy = node.children().into_iter().find(is_app).unwrap();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &busy]).status().unwrap().success());
    let counts = |source: &Value, key: &str| [0, 1].map(|at| source["apps"][at][key].as_u64().unwrap());
    signal("-STOP");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = counts(&node.source("avi", "there", |_| true).await, "answered");
    let during = node
        .source("avi", "one goes on", |source| counts(source, "answered").iter().zip(before).any(|(now, before)| *now >= before + 10))
        .await;
    signal("-CONT");
    let now = counts(&during, "answered");
    let stopped = usize::from(now[0] > before[0]);
    assert_eq!(now[stopped], before[stopped], "{during}");
    node.source("avi", "it goes on with the newest", |source| {
        counts(source, "dropped")[stopped] >= 5 && counts(source, "answered")[stopped] > now[stopped]
    })
    .await;

    let broken = node.source("broken", "a fault", |source| source["fault"]["code"] == "decoder-failed").await;
    assert!(broken["fault"]["error"].as_str().unwrap().starts_with("ffmpeg: "), "{broken}");
    node.source("gone", "a fault", |source| source["fault"]["code"] == "source-unreachable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_asked_for_with_their_tag_and_a_folder_is_emptied_picture_by_picture() {
    let server = Server::start();
    let asked: Asked = Arc::new((AtomicU32::new(0), AtomicU32::new(0), Mutex::new(picture(30))));
    let (listener, seen) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), asked.clone());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let camera = |request: HttpRequest, seen: web::Data<Asked>| async move {
            let login = request.headers().get("authorization").is_some_and(|value| value == "Basic YWRtaW46cEBzcy93JXJk");
            if !login {
                return HttpResponse::Unauthorized().insert_header(("www-authenticate", "Basic realm=\"camera\"")).finish();
            }
            if request.headers().get("if-none-match").is_some_and(|tag| tag == "\"1\"") {
                seen.1.fetch_add(1, Ordering::Relaxed);
                return HttpResponse::NotModified().finish();
            }
            seen.0.fetch_add(1, Ordering::Relaxed);
            HttpResponse::Ok().insert_header(("etag", "\"1\"")).body(seen.2.lock().unwrap().clone())
        };
        let app = move || App::new().app_data(web::Data::new(seen.clone())).route("/picture", web::get().to(camera));
        actix_web::rt::System::new().block_on(HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run()).unwrap();
    });
    let node = node(&server, json!([])).await;
    let folder = node.data.join("media/inbox");
    std::fs::create_dir_all(&folder).unwrap();
    let waits = node.data.join("media/waits/1.png");
    std::fs::create_dir_all(waits.parent().unwrap()).unwrap();
    std::fs::write(&waits, picture(10)).unwrap();
    node.write_sources(&json!([
        json!({ "id": "waits", "kind": "folder", "address": "waits", "apps": [{ "app": "acme/stills" }, { "app": "acme/absent" }] }),
        bound("camera", "snapshot", &format!("http://admin:p%40ss%2Fw%25rd@127.0.0.1:{port}/picture")),
        bound("inbox", "folder", "inbox")
    ]));
    let camera = node.source("camera", "an answer", |source| answered(source, 1)).await;
    assert_eq!(camera["apps"][0]["last"]["detections"][0]["label"], "person", "{camera}");
    until("the tag is shown", async || (asked.1.load(Ordering::Relaxed) > 3).then_some(())).await;
    assert_eq!(asked.0.load(Ordering::Relaxed), 1);

    for number in 0..5 {
        std::fs::write(folder.join(format!("{number}.png")), picture(10 + number)).unwrap();
    }
    std::fs::write(folder.join("no.png"), b"no picture").unwrap();
    // One that is still being written is left alone.
    let whole = picture(20);
    let slow = folder.join("slow.png");
    for part in 1..=8 {
        std::fs::write(&slow, &whole[..whole.len() * part / 8]).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let inbox = node.source("inbox", "all pictures", |source| answered(source, 6)).await;
    assert!(inbox["apps"].as_array().unwrap().iter().all(|app| app["dropped"] == 0), "none is passed over: {inbox}");
    until("all are moved", async || folder.join("done/slow.png").exists().then_some(())).await;
    assert_eq!((std::fs::read_dir(folder.join("done")).unwrap().count(), folder.join("unreadable/no.png").exists()), (6, true));
    let none = node.source("waits", "one app is missing", |source| source["fault"]["code"] == "app-not-running").await;
    assert!(waits.exists() && none["apps"][1]["last"].is_null(), "it waits for all that are to see it: {none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_added_and_tried_on_the_nodes_page() {
    let server = Server::start();
    let cameras = Cameras::start(&["--login", "digest", "admin", PASSWORD]);
    let node = node(&server, json!([])).await;
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let body: Vec<String> = fields.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
        let request =
            node.client.post(format!("http://{}{path}", node.address)).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(body.join("&")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let address = cameras.url("h264");
    let fields = [
        ("id", "belt-3"),
        ("name", "3号皮带"),
        ("kind", "rtsp"),
        ("address", &address),
        ("user", "admin"),
        ("password", PASSWORD),
        ("rate", "5"),
        ("app", "acme/moves"),
        ("app", "acme/gone"),
        ("scene:acme/moves", "{\"zones\":{\"fence\":[[0,0],[1,0],[1,1],[0,1]]}}"),
    ];
    // The client follows to the page that shows it.
    let (status, page) = post("/sources", &fields).await;
    assert_eq!(status, 200, "{page}");
    let source = node.source("belt-3", "answers", |source| source["apps"][1]["answered"].as_u64() > Some(10)).await;
    assert!(source["apps"][1]["last"]["error"].is_null(), "{source}");
    assert_eq!(source["apps"][0]["last"]["code"], "app-not-running", "{source}");
    let (_, page) = node.get("/sources/belt-3").await.unwrap();
    assert!(page.contains("value=\"acme/gone\" checked"), "what does not run now is not unbound by the next change: {page}");
    assert!(page.contains("3号皮带") && page.contains("fence") && !page.contains(PASSWORD) && !page.contains("admin"), "{page}");
    let (_, page) = node.get("/sources/belt-3?test=acme/moves").await.unwrap();
    assert!(page.contains("/sources/belt-3/picture?app=acme%2Fmoves") && page.contains("&quot;person&quot;"), "{page}");
    let picture = node.client.get(format!("http://{}/sources/belt-3/picture?app=acme%2Fmoves", node.address)).send().await.unwrap();
    assert_eq!(picture.headers()["content-type"], "image/jpeg");
    let picture = image::load_from_memory(&picture.bytes().await.unwrap()).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 240));
    // The zone is drawn in it, and only there.
    let red = picture.to_rgb8().pixels().filter(|pixel| pixel.0[0] > 150 && pixel.0[1] < 110).count();
    assert!(red > 300, "{red}");
    // What cannot be is refused with its field, and changes nothing.
    let with = |key: &str, value: &str| fields.map(|(k, v)| if k == key { (k, value.to_owned()) } else { (k, v.to_owned()) });
    for (key, value, why) in [
        ("kind", "file", "must"),
        ("address", "ftp://h", "address"),
        ("rate", "0", "rate"),
        ("id", "A", "id"),
        ("scene:acme/moves", "{\"zones\":{\"other\":[[0,0],[1,0],[1,1]]}}", "other"),
    ] {
        let fields = with(key, value);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let (status, text) = post("/sources", &fields).await;
        assert!(status == 400 && text.contains("source-invalid") && (text.contains(why) || key == "kind"), "{key}: {status} {text}");
    }
    for outside in ["/etc", "../store"] {
        let (status, text) = post("/sources", &[("id", "x"), ("kind", "folder"), ("address", outside), ("rate", "1")]).await;
        assert!(status == 400 && text.contains("media"), "{outside}: {status} {text}");
    }
    let (status, _) = post("/sources/belt-3/remove", &[]).await;
    assert_eq!(status, 200);
    until("it is gone", async || node.get("/sources/belt-3").await.filter(|(status, _)| *status == 404)).await;
    assert!(!std::fs::read_to_string(node.data.join("source-logins.json")).unwrap().contains("admin"));
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
