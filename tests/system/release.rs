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

    // A model that is none is taken, and fails its check with that reason.
    let broken = folder.0.join("broken");
    copy(&demo("coke-quality"), &broken);
    let yaml = std::fs::read_to_string(broken.join("app.yaml")).unwrap();
    std::fs::write(broken.join("app.yaml"), yaml.replacen("version: 1.0.0", "version: 1.0.1", 1)).unwrap();
    std::fs::write(broken.join("model.onnx"), b"this is no model").unwrap();
    assert_eq!(run(broken, token.clone()).await.unwrap().0, 0);
    let detail = settled(&app, &actor, "coke-quality", "1.0.1").await;
    assert_eq!(detail.release.state, ReleaseState::Failed);
    let (report, _) = detail.report.unwrap();
    assert!(report.steps.iter().any(|s| s.reason.as_deref() == Some("not-onnx")), "{report:?}");

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
