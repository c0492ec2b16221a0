//! The commands for developers against a running server, with the real engine: check, pack, push, and the automatic check after it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pithead::account::service as account;
use pithead::account::tokens;
use pithead::base::app::App;
use pithead::base::auth::Actor;
use pithead::base::i18n::Lang;
use pithead::release::model::ReleaseState;
use pithead::release::upload::check_upload;
use pithead::site::vendor::console::{self, ReleaseDetail};

use crate::server::TestServer;

fn ort_lib() -> String {
    std::env::var("ORT_LIB").expect("set ORT_LIB to the path of libonnxruntime.so.1.24 or newer")
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(pithead::base::ids::new("pithead-cli"));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn demo(app: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(app)
}

/// Exit code, standard output, standard error.
fn pithead(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pithead")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn pack_is_deterministic_and_faults_have_lines() {
    let folder = Folder::new();
    let (a, b) = (folder.0.join("a.tar"), folder.0.join("b.tar"));
    let dir = demo("coke-quality");
    for tar in [&a, &b] {
        let (code, _, err) = pithead(&["pack", dir.to_str().unwrap(), "-o", tar.to_str().unwrap()]);
        assert_eq!(code, 0, "{err}");
    }
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());

    let broken = folder.0.join("broken");
    copy(&dir, &broken);
    let yaml = std::fs::read_to_string(broken.join("app.yaml")).unwrap();
    std::fs::write(broken.join("app.yaml"), yaml.replacen("format: 1", "format: 1\nunknown: 2", 1)).unwrap();
    let (code, out, err) = pithead(&["pack", broken.to_str().unwrap(), "-o", a.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("app.yaml:3:") && err.contains("unknown-key"), "{err}");
    let (code, out, _) = pithead(&["check", broken.to_str().unwrap(), "--json"]);
    assert_eq!(code, 1);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["faults"][0]["line"], 3);
    std::os::unix::fs::symlink("/etc/passwd", broken.join("golden/link")).unwrap();
    let pack = |dir: &Path| pithead(&["pack", dir.to_str().unwrap(), "-o", a.to_str().unwrap()]);
    let (code, _, err) = pack(&broken);
    assert!(code == 1 && err.contains("golden/link") && err.contains("file-special"), "{err}");
    std::fs::remove_file(broken.join("golden/link")).unwrap();
    std::fs::write(broken.join("app.yaml"), b"format: 1\n\xff").unwrap();
    let (code, _, err) = pack(&broken);
    assert!(code == 1 && err.contains("yaml-encoding"), "{err}");
    std::fs::remove_file(broken.join("app.yaml")).unwrap();
    let (code, _, err) = pack(&broken);
    assert!(code == 1 && err.contains("yaml-missing"), "{err}");
    let inside = dir.join("golden/own.tar");
    let (code, _, err) = pithead(&["pack", dir.to_str().unwrap(), "-o", inside.to_str().unwrap()]);
    assert!(code == 2 && !inside.exists() && err.contains("lies in the folder"), "{err}");
    let (code, _, err) = pithead(&["pack", dir.to_str().unwrap(), "-o", a.to_str().unwrap(), "--vendor", "Not/A Name"]);
    assert!(code == 2 && err.contains("lower-case"), "{err}");
    let nowhere = ["pack", "/nowhere", "-o", a.to_str().unwrap()];
    let (code, _, err) = pithead(&nowhere);
    assert!(code == 2 && err.contains("cannot read /nowhere: no such file"), "{err}");
    let (code, _, err) = pithead(&[&nowhere[..], &["--lang", "zh"]].concat());
    assert!(code == 2 && err.contains("无法读取 /nowhere：没有该文件或文件夹"), "{err}");
}

#[test]
fn init_writes_an_app_that_passes_its_check() {
    let folder = Folder::new();
    let (ort, dir) = (ort_lib(), folder.0.join("coke"));
    let model = demo("coke-quality").join("model.onnx");
    let samples = [1, 2].map(|n| demo("coke-quality").join(format!("golden/{n}.csv")).to_str().unwrap().to_owned());
    let [model, dir] = [&model, &dir].map(|path| path.to_str().unwrap());
    let args = ["init", model, "--dir", dir, "--name", "coke", "--ort-lib", &ort, "--pictures", &samples[0], &samples[1]];
    let (code, out, err) = pithead(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("read as columns") && out.contains("another reading"), "{out}");
    let yaml = std::fs::read_to_string(Path::new(dir).join("app.yaml")).unwrap();
    assert!(yaml.contains("format: 2") && yaml.contains("ash_ad, vdaf"), "{yaml}");
    // What it gives is what the demo's own app gives, but for names, scales and units.
    let values = |path: PathBuf| serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap()["values"].clone();
    let (ours, theirs) = (values(Path::new(dir).join("golden/1.json")), values(demo("coke-quality").join("golden/1.json")));
    assert_eq!((ours.as_array().map(Vec::len), theirs.as_array().map(Vec::len)), (Some(3), Some(3)), "{ours} {theirs}");
    let (code, out, err) = pithead(&["check", dir, "--ort-lib", &ort]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = pithead(&["init", model, "--dir", dir, "--name", "coke"]);
    assert!(code == 2 && out.is_empty() && err.contains("not written over"), "{out}{err}");
    let (code, _, err) = pithead(&["init", "/nowhere.onnx", "--lang", "zh"]);
    assert!(code != 0 && !err.is_empty() && !Path::new("nowhere").exists(), "{err}");
    let text = folder.0.join("notes.onnx");
    std::fs::write(&text, "no model").unwrap();
    let (code, out, _) = pithead(&["init", text.to_str().unwrap(), "--dir", folder.0.join("x").to_str().unwrap(), "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, told["code"].as_str()), (1, Some("not-onnx")), "{out}");
    assert!(!folder.0.join("x/app.yaml").exists());
}

#[test]
fn init_of_two_models_has_the_second_look_at_what_the_first_finds() {
    let folder = Folder::new();
    let ort = ort_lib();
    let model = |app: &str| demo(app).join("model.onnx").to_str().unwrap().to_owned();
    let (finds, looks) = (model("belt-foreign-object"), model("gangue-sorting"));
    let picture = demo("belt-foreign-object").join("golden/1.png");
    let dir = folder.0.join("two");
    let [picture, dir_text] = [&picture, &dir].map(|path| path.to_str().unwrap());
    let (code, out, err) = pithead(&["init", &finds, &looks, "--dir", dir_text, "--name", "two", "--ort-lib", &ort, "--pictures", picture]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("read as segments") && out.contains("read as imagenet") && out.contains("for which objects"), "{out}");
    let yaml = std::fs::read_to_string(dir.join("app.yaml")).unwrap();
    assert!(yaml.contains("file: model-2.onnx") && yaml.contains("of: {labels: [class-0, class-1, class-2]}"), "{yaml}");
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("golden/1.json")).unwrap()).unwrap();
    let found = expected["detections"].as_array().unwrap();
    assert!(!found.is_empty() && found.iter().all(|one| one["classes"].as_array().map(Vec::len) == Some(3)), "{expected}");
    let (code, out, err) = pithead(&["check", dir_text, "--ort-lib", &ort]);
    assert_eq!(code, 0, "{out}{err}");
    let other = folder.0.join("other");
    let other = other.to_str().unwrap();
    let (code, _, err) = pithead(&["init", &finds, &model("coke-quality"), "--dir", other, "--lang", "zh"]);
    assert!(code == 1 && err.contains("一个应用只读一种输入"), "{err}");
    let (code, _, err) = pithead(&[&["init"], &[finds.as_str(); 7][..], &["--dir", other]].concat());
    assert!(code == 2 && err.contains("1 to 6 models"), "{err}");
    let (code, _, err) = pithead(&["init", &finds, picture, "--dir", other]);
    assert!(code == 1 && err.contains("golden/1.png: ") && err.contains("not-onnx"), "{err}");
    assert!(!Path::new(other).exists());
}

#[test]
fn try_answers_files_and_shows_them_on_a_page() {
    let folder = Folder::new();
    let (ort, app) = (ort_lib(), demo("coke-quality"));
    let table = std::fs::read_to_string(app.join("golden/1.csv")).unwrap();
    let (good, page) = (folder.0.join("<b>one.csv"), folder.0.join("page.html"));
    // Two rows: one is no line.
    std::fs::write(&good, format!("{table}{}\n", table.lines().last().unwrap())).unwrap();
    let tried = |files: &[&Path], rest: &[&str]| {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let args: Vec<&str> =
            ["try", app.to_str().unwrap(), "--ort-lib", &ort].into_iter().chain(files).chain(rest.iter().copied()).collect();
        pithead(&args)
    };
    let (code, out, err) = tried(&[&good], &["--out", page.to_str().unwrap()]);
    assert!(code == 0 && err.is_empty() && out.contains(" = "), "{out}{err}");
    let shown = std::fs::read_to_string(&page).unwrap();
    assert!(shown.contains("&lt;b&gt;one") && !shown.contains("<b>one") && shown.contains("<polyline"), "{shown}");

    // Those before the one that cannot be answered are told, and the fault names the developer's file.
    let odd = folder.0.join("odd.csv");
    std::fs::write(&odd, "a,b\n1,2\n").unwrap();
    let (code, out, err) = tried(&[&good, &odd, &good], &[]);
    assert!(code == 1 && out.contains("one") && err.contains("odd.csv") && err.contains("csv-column-missing"), "{out}{err}");
    let large = folder.0.join("large.csv");
    std::fs::File::create(&large).unwrap().set_len(40_000_000).unwrap();
    let (code, out, _) = tried(&[&large], &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["fault"]["code"], told["files"].as_array().map(Vec::len)), (1, &"input-too-large".into(), Some(0)), "{out}");
    let (code, _, err) = tried(&[Path::new("/nowhere.csv")], &["--lang", "zh"]);
    assert!(code == 2 && err.contains("无法读取 /nowhere.csv"), "{err}");
    let (code, _, err) = tried(&[&folder.0], &[]);
    assert!(code == 2 && err.contains("cannot read"), "{err}");
    let (code, _, err) = tried(&vec![good.as_path(); 201], &[]);
    assert!(code == 2 && err.contains("200"), "{err}");
    // An app at fault is told of as by the other commands.
    let (code, _, err) = pithead(&["try", folder.0.to_str().unwrap(), good.to_str().unwrap()]);
    assert!(code == 1 && err.contains("yaml-missing"), "{err}");
}

#[test]
fn try_draws_what_happened_in_a_clip() {
    let folder = Folder::new();
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/format-2/restricted-area");
    let (clip, out) = (app.join("golden/1.avi"), folder.0.join("shown"));
    let of = |rest: &[&str]| {
        let ort = ort_lib();
        let args = ["try", app.to_str().unwrap(), clip.to_str().unwrap(), "--ort-lib", &ort, "--out", out.to_str().unwrap()];
        pithead(&[&args, rest].concat())
    };
    let (code, told, err) = of(&["--lang", "zh"]);
    // Titles and texts of the app, not ids.
    assert!(
        code == 0 && err.is_empty() && told.contains("有人在禁区内停留  禁区") && told.contains("s  通道口  进  人员 1"),
        "{told}{err}"
    );
    let mut names: Vec<String> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let events = 5;
    assert_eq!(names.len(), 2 + events, "{names:?}");
    assert!(names.contains(&"01-1.avi".to_owned()) && names.contains(&"index.html".to_owned()), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("01-1-0006.4s-") && name.ends_with("-inside.jpg")), "{names:?}");
    let before = std::fs::read(&clip).unwrap();
    let after = std::fs::read(out.join("01-1.avi")).unwrap();
    let (before, after) = (inference::clip::read(&before).unwrap(), inference::clip::read(&after).unwrap());
    assert_eq!((after.count(), after.lasts()), (before.count(), before.lasts()));
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    assert_eq!(page.matches("<figure>").count(), events, "{page}");
    // What is written is a clip that the app reads.
    let (code, _, err) = pithead(&["try", app.to_str().unwrap(), out.join("01-1.avi").to_str().unwrap(), "--ort-lib", &ort_lib()]);
    assert!(code == 0, "{err}");
}

#[test]
fn push_says_what_is_missing_and_does_not_wait_for_nobody() {
    let dir = demo("coke-quality");
    let push = |rest: &[&str]| pithead(&[&["push", dir.to_str().unwrap()], rest].concat());
    let (code, _, err) = push(&["--server", "http://127.0.0.1:9"]);
    assert!(code == 2 && err.contains("--token-file") && err.contains("--token TOKEN"), "{err}");
    let (code, _, err) = push(&["--server", "http://127.0.0.1:9/vendor/apps", "--token", "t"]);
    assert!(code == 2 && err.contains("the site alone"), "{err}");
    // Bound and let go: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, err) = push(&["--server", &format!("http://{address}"), "--token", "t"]);
    assert!(code == 2 && err.contains("nobody answers at") && err.contains(&address.port().to_string()), "{err}");
    assert_eq!(err.matches("trying again").count(), 2, "{err}");
    // The same in Chinese, but for the words of the system.
    let (code, _, err) = push(&["--server", &format!("http://{address}"), "--token", "t", "--lang", "zh"]);
    let said = err.replace("pithead", "").replace("http", "").replace("os error", "").replace("Connection refused", "");
    assert!(code == 2 && err.contains("没有应答") && !said.chars().any(|c| c.is_ascii_alphabetic()), "{err}");
}

#[test]
fn check_runs_the_model_in_a_confined_child() {
    let dir = demo("coke-quality");
    let (code, out, err) = pithead(&["check", dir.to_str().unwrap(), "--ort-lib", &ort_lib(), "--json"]);
    assert_eq!(code, 0, "{out} {err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["passed"], true);
    assert!(report["run_card"]["latency_ms"]["p95"].as_f64().unwrap() > 0.0);

    let folder = Folder::new();
    let broken = folder.0.join("broken");
    copy(&dir, &broken);
    std::fs::write(broken.join("model.onnx"), b"this is no model").unwrap();
    let (code, out, _) = pithead(&["check", broken.to_str().unwrap(), "--ort-lib", &ort_lib(), "--json"]);
    assert_eq!(code, 1);
    assert!(out.contains("not-onnx"), "{out}");
}

/// OpenVINO is there for x86-64 alone.
#[cfg(target_arch = "x86_64")]
#[test]
fn check_and_try_run_the_model_on_a_provider() {
    let folder = Folder::new();
    let dir = folder.0.join("coke");
    copy(&demo("coke-quality"), &dir);
    let yaml = std::fs::read_to_string(dir.join("app.yaml")).unwrap();
    std::fs::write(dir.join("app.yaml"), format!("{yaml}\nproviders: [cuda, openvino]\n")).unwrap();
    let library = std::env::var("OPENVINO_LIB").expect("set OPENVINO_LIB to what scripts/openvino.sh prints");
    let (dir, ort, provider) = (dir.to_str().unwrap(), ort_lib(), format!("openvino={library}"));
    let (code, out, err) = pithead(&["check", dir, "--ort-lib", &ort, "--provider", &provider, "--json"]);
    assert_eq!(code, 0, "{out} {err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let columns = &report["run_card"]["providers"];
    assert_eq!((&columns[0]["provider"], &columns[0]["reason"]), (&"cuda".into(), &"provider-not-here".into()), "{columns}");
    let own = &columns[1];
    assert_eq!((&own["about"]["name"], &own["about"]["precision"]), (&"openvino".into(), &"FP32".into()), "{own}");
    assert!(
        own["reason"].is_null() && own["total"] == own["reproduced"] && own["figures"]["latency_ms"]["p95"].as_f64() > Some(0.0),
        "{own}"
    );
    // One that does not load is no fault of the app.
    let (code, out, err) = pithead(&["check", dir, "--ort-lib", &ort, "--provider", &format!("cuda={library}")]);
    assert!(code == 0 && out.contains("cuda") && out.contains("cannot be loaded"), "{out} {err}");

    let input = format!("{dir}/golden/1.csv");
    let (code, out, err) = pithead(&["try", dir, &input, "--ort-lib", &ort, "--provider", &provider, "--json"]);
    let tried: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && tried["files"][0]["result"]["values"][0]["value"].is_f64(), "{out} {err}");
    let (code, _, err) = pithead(&["try", dir, &input, "--ort-lib", &ort, "--provider", "openvino"]);
    assert!(code == 2 && err.contains("NAME=LIBRARY"), "{err}");
}

/// A change of a folder, and the code that both commands tell; none where it is no fault.
type Odd = (&'static str, fn(&Path));

#[test]
fn check_and_push_agree_on_odd_packages() {
    let write = |dir: &Path, name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    let odd: [Odd; 11] = [
        ("", |_| ()),
        ("", |dir| {
            std::fs::create_dir_all(dir.join(".git")).unwrap();
            std::fs::write(dir.join(".git/train.py"), "import os").unwrap();
            std::fs::write(dir.join("golden/.DS_Store"), "x").unwrap();
        }),
        ("file-special", |dir| std::os::unix::fs::symlink("/etc/passwd", dir.join("golden/link.csv")).unwrap()),
        ("file-program", |dir| std::fs::write(dir.join("train.py"), "import os").unwrap()),
        ("file-kind-unknown", |dir| std::fs::write(dir.join("manual.pdf"), "%PDF-1.7").unwrap()),
        ("file-too-large", |dir| std::fs::File::create(dir.join("golden/1.csv")).unwrap().set_len(20_000_001).unwrap()),
        ("file-empty", |dir| std::fs::write(dir.join("golden/1.json"), "").unwrap()),
        ("file-kind-mismatch", |dir| std::fs::write(dir.join("golden/1.json"), "{'values': 1}").unwrap()),
        ("expect-unreadable", |dir| std::fs::write(dir.join("golden/1.json"), "[1]").unwrap()),
        ("not-onnx", |dir| std::fs::write(dir.join("model.onnx"), "this is no model").unwrap()),
        ("tensor-mismatch", |dir| {
            let yaml = std::fs::read_to_string(dir.join("app.yaml")).unwrap();
            assert!(yaml.contains("inputs:\n  - name: "));
            std::fs::write(dir.join("app.yaml"), yaml.replacen("inputs:\n  - name: ", "inputs:\n  - name: other-", 1)).unwrap();
        }),
    ];
    let folder = Folder::new();
    for (n, (code, change)) in odd.into_iter().enumerate() {
        let dir = folder.0.join(n.to_string());
        copy(&demo("coke-quality"), &dir);
        write(&dir, "notes.txt", b"a file that nobody names");
        change(&dir);
        let dir = dir.to_str().unwrap();
        let checked = pithead(&["check", dir, "--ort-lib", &ort_lib()]);
        // Nobody listens there: a package without fault comes as far as the network.
        let pushed = pithead(&["push", dir, "--server", "http://127.0.0.1:9", "--token", "t"]);
        let fault = i32::from(!code.is_empty());
        assert_eq!(checked.0, fault, "{code}: {checked:?}");
        assert_eq!(pushed.0, if fault == 1 { 1 } else { 2 }, "{code}: {pushed:?}");
        let words = Lang::En.t(&format!("check-reason-{code}"));
        let said = |(_, out, err): &(i32, String, String)| [out, err].iter().any(|text| text.contains(code) || text.contains(&words));
        assert!(said(&checked) && said(&pushed), "{code}: {checked:?} {pushed:?}");
    }
}

async fn settled(app: &App, actor: &Actor, slug: &str, version: &str) -> ReleaseDetail {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let detail = console::release_detail(app, actor, Lang::En, slug, version).await.unwrap();
        if detail.release.state != ReleaseState::Checking {
            return detail;
        }
        assert!(Instant::now() < deadline, "the check did not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn push_uploads_and_the_platform_checks() {
    let folder = Folder::new();
    let server = TestServer::start().await;
    let app = server.app.clone();
    let (email, organization) = server.organization("vendor", "acme").await;
    let user = app.db.read(move |conn| Ok(account::find_user_by_email(conn, &email)?)).await.unwrap().unwrap();
    let actor = account::actor_for(&app, &user.id, &organization).await.unwrap();
    let token = tokens::create(&app, &actor, "build", &["publish"], 30).await.unwrap();
    let address = server.base.clone();
    let run = |dir: PathBuf, token: String| {
        let address = address.clone();
        tokio::task::spawn_blocking(move || pithead(&["push", dir.to_str().unwrap(), "--server", &address, "--token", &token, "--json"]))
    };

    let (code, out, err) = run(demo("coke-quality"), token.clone()).await.unwrap();
    assert_eq!(code, 0, "{out} {err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["location"], format!("{address}/vendor/apps/coke-quality/releases/1.0.0"));
    let detail = settled(&app, &actor, "coke-quality", "1.0.0").await;
    let (report, _) = detail.report.unwrap();
    assert_eq!(detail.release.state, ReleaseState::Ready, "{report:?}");
    assert!(report.run_card.unwrap().golden_total > 0);
    // Again: everything is there, nothing changes.
    let (code, out, err) = run(demo("coke-quality"), token.clone()).await.unwrap();
    assert_eq!(code, 0, "{out} {err}");
    assert!(err.contains("already there"), "{err}");
    assert!(!err.contains('\u{1b}'), "no terminal, no control codes: {err:?}");

    // What only the platform knows is told with its line before anything is sent.
    let lost = folder.0.join("lost");
    copy(&demo("coke-quality"), &lost);
    let yaml = std::fs::read_to_string(lost.join("app.yaml")).unwrap();
    let yaml = yaml.replacen("scenario: coke-quality", "scenario: no-such-thing", 1).replacen("version: 1.0.0", "version: 1.0.9", 1);
    let line = yaml.lines().position(|l| l.starts_with("scenario:")).unwrap() + 1;
    std::fs::write(lost.join("app.yaml"), yaml).unwrap();
    let (code, out, err) = run(lost, token.clone()).await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, told["faults"][0]["code"].as_str(), told["faults"][0]["line"].as_u64()),
        (1, Some("scenario-unknown"), Some(line as u64))
    );
    assert!(!err.contains("model.onnx"), "{err}");

    // A model that is none is told before anything is sent.
    let broken = folder.0.join("broken");
    copy(&demo("coke-quality"), &broken);
    let yaml = std::fs::read_to_string(broken.join("app.yaml")).unwrap();
    std::fs::write(broken.join("app.yaml"), yaml.replacen("version: 1.0.0", "version: 1.0.1", 1)).unwrap();
    std::fs::write(broken.join("model.onnx"), b"this is no model").unwrap();
    let (code, out, err) = run(broken.clone(), token.clone()).await.unwrap();
    assert!(code == 1 && out.contains("not-onnx") && !err.contains('%'), "{out} {err}");
    // A wrong result is seen only when the model runs. The version is free then, and the corrected bytes take it.
    let good = std::fs::read(demo("coke-quality").join("golden/1.json")).unwrap();
    std::fs::copy(demo("coke-quality").join("model.onnx"), broken.join("model.onnx")).unwrap();
    std::fs::copy(demo("coke-quality").join("golden/2.json"), broken.join("golden/1.json")).unwrap();
    assert_eq!(run(broken.clone(), token.clone()).await.unwrap().0, 0);
    let detail = settled(&app, &actor, "coke-quality", "1.0.1").await;
    let (report, _) = detail.report.unwrap();
    assert!(report.steps.iter().any(|s| s.reason.as_deref() == Some("golden-mismatch")), "{report:?}");
    let sample = &report.golden.as_ref().unwrap().samples[0];
    assert!(!sample.ok && sample.worst_difference > 0.0, "{sample:?}");
    std::fs::write(broken.join("golden/1.json"), good).unwrap();
    let (code, out, err) = run(broken, token.clone()).await.unwrap();
    assert_eq!(code, 0, "{out} {err}");
    let corrected = settled(&app, &actor, "coke-quality", "1.0.1").await;
    assert_eq!((corrected.release.state, corrected.release.id), (ReleaseState::Ready, detail.release.id));

    // The same version with other bytes, and a bad token, are refused with the reason.
    let changed = folder.0.join("changed");
    copy(&demo("coke-quality"), &changed);
    std::fs::write(changed.join("README.md"), "changed").unwrap();
    let (code, _, err) = run(changed, token).await.unwrap();
    assert_eq!(code, 1, "{err}");
    let (code, _, err) = run(demo("coke-quality"), "pht_wrong".into()).await.unwrap();
    assert!(code == 1 && err.contains(&Lang::En.t("error-token-invalid")), "{err}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_rule_that_is_none_is_told_before_the_upload() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (email, _) = server.organization("vendor", "acme").await;
    let cookie = account::sign_in(&server.app, &email, crate::server::PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
    let vendor = account::authenticate_session(&server.app, &cookie).await.unwrap();
    let dir = demo("coke-quality");
    let yaml = std::fs::read_to_string(dir.join("app.yaml")).unwrap();
    let mut files = Vec::new();
    let mut open = vec![dir.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let known = entry.metadata().unwrap();
            if known.is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(&dir).unwrap().to_str().unwrap().to_owned();
                files.push(serde_json::json!({"path": path, "size": known.len()}));
            }
        }
    }
    let check = async |yaml: &str| {
        let upload = serde_json::from_value(serde_json::json!({"yaml": yaml, "files": files})).unwrap();
        check_upload(&server.app, &vendor, upload, None).await.unwrap().faults
    };
    assert_eq!(check(&yaml).await, []);
    let rule = "values.cri > params.cri_max";
    let deep = format!("{}true{}", "(".repeat(990), ")".repeat(990));
    // The last is one that a parser likes to think about for long: no answer, so no fault, and the server lives.
    for (wrong, code) in [
        ("values.cri >", Some("alarm-rule-invalid")),
        ("value.cri > 1.0", Some("alarm-rule-invalid")),
        ("(classes + classes).exists(a, true)", Some("alarm-rule-too-complex")),
        (&deep, None),
    ] {
        let begin = Instant::now();
        let mut faults = check(&yaml.replace(rule, wrong)).await;
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        // On a crowded machine a child may not come to an answer in its few seconds.
        for _ in 0..4 {
            if code.is_some() && faults.is_empty() {
                faults = check(&yaml.replace(rule, wrong)).await;
            }
        }
        let Some(code) = code else { continue };
        assert_eq!(faults.len(), 1, "{faults:?}");
        let line = yaml.lines().position(|line| line.contains(rule)).unwrap() + 1;
        assert_eq!((faults[0].code, faults[0].key.as_str(), faults[0].line), (code, "pipeline.alarms[1].when", u32::try_from(line).ok()));
        assert!(faults[0].message.en.contains("cri-high") && faults[0].message.zh.starts_with("规则"), "{faults:?}");
    }
    server.stop().await;
}
