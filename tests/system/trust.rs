//! A vendor signs, the platform approves, a stranger's eye verifies and pulls: the real commands against a real server, and what happens
//! when bytes, keys or folders are not what they should be.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::oci::{DSSE_TYPE, ImageManifest, SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE};
use pithead::account::{service as account, tokens};
use pithead::base::app::App;
use pithead::base::auth::{Actor, Role};
use pithead::base::i18n::Lang;
use pithead::moderation::model::ModerationDecision;
use pithead::moderation::service as moderation;
use pithead::moderation::submission;
use pithead::release::model::{Channel, ReleaseState};
use pithead::site::vendor::console;
use pithead::stops::model::Stop;
use pithead::stops::service as stops;
use pithead::trust::service as keys;
use serde_json::Value;

use crate::server::TestServer;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Exit code, standard output, standard error of the command, which finds its token in the environment.
async fn pithead(token: &str, arguments: &[&str]) -> (i32, String, String) {
    let (token, arguments): (String, Vec<String>) = (token.to_owned(), arguments.iter().map(|a| (*a).to_owned()).collect());
    let run = move || Command::new(env!("CARGO_BIN_EXE_pithead")).args(arguments).env("PITHEAD_TOKEN", token).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

async fn actor(app: &App, email: &str) -> Actor {
    let cookie = account::sign_in(app, email, crate::server::PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
    account::authenticate_session(app, &cookie).await.unwrap()
}

/// Waits for the check; submits and approves.
async fn approve(app: &App, vendor: &Actor, moderator: &Actor) {
    let begin = Instant::now();
    let detail = loop {
        let detail = console::release_detail(app, vendor, Lang::En, "coke-quality", "1.0.0").await.unwrap();
        if detail.release.state != ReleaseState::Checking {
            break detail;
        }
        assert!(begin.elapsed() < Duration::from_mins(3), "the check did not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(detail.release.state, ReleaseState::Ready, "{:?}", detail.report);
    submission::submit(app, vendor, &detail.release.id, Channel::Stable).await.unwrap();
    let (_, open) = moderation::list_open(app, moderator, None).await.unwrap();
    moderation::decide(app, moderator, &open[0].case.id, ModerationDecision::Approve, "").await.unwrap();
}

/// Files below a folder by path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Changes one byte of a stored blob.
fn flip(app: &App, digest: &Digest) {
    let path = app.blobs.local_path(digest).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let changed = path.with_extension("changed");
    std::fs::write(&changed, bytes).unwrap();
    std::fs::rename(&changed, &path).unwrap();
}

/// Outcome and code of a check, as `--json` tells it.
fn finding(out: &str, check: &str) -> (String, String) {
    let told: Value = serde_json::from_str(out).unwrap();
    let finding = told["findings"].as_array().unwrap().iter().find(|f| f["check"] == check).unwrap();
    (finding["outcome"].as_str().unwrap().to_owned(), finding["code"].as_str().unwrap().to_owned())
}

fn pair(outcome: &str, code: &str) -> (String, String) {
    (outcome.to_owned(), code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_release_is_signed_verified_pulled_and_tampered_with() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let app = server.app.clone();
    let folder = Folder(std::env::temp_dir().join(pithead::base::ids::new("pithead-trust")));
    std::fs::create_dir_all(&folder.0).unwrap();
    let at = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let (email, _) = server.organization("vendor", "acme").await;
    let vendor = actor(&app, &email).await;
    let (_, platform) = server.organization("platform", "platform").await;
    let email = server.person(&platform, Role::Moderator, "moderator@platform.example").await;
    let moderator = actor(&app, &email).await;
    let token = tokens::create(&app, &vendor, "build", &["publish"], 1).await.unwrap();

    // A key: private, for its owner alone, never overwritten.
    let (code, out, err) = pithead("", &["keygen", "-o", &at("one.pem"), "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    let kid = made["kid"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::metadata(at("one.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, err) = pithead("", &["keygen", "-o", &at("one.pem"), "--lang", "zh"]).await;
    assert!(code == 2 && err.contains("已经存在"), "{err}");
    assert_eq!(keys::add(&app, &vendor, "build server", made["public_key"].as_str().unwrap()).await.unwrap(), kid);

    // Pushed and signed at once; then the platform approves.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps/coke-quality");
    let push = ["push", source.to_str().unwrap(), "--server", &server.base, "--sign", &at("one.pem"), "--json"];
    let (code, out, err) = pithead(&token, &push).await;
    assert_eq!(code, 0, "{out} {err}");
    let pushed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(pushed["signed_by"], kid);
    assert!(!err.contains("note:"), "{err}");
    let reference = format!("{}/acme/coke-quality:1.0.0", server.base);
    let roots = at("roots");
    let verify = async |rest: &[&str]| pithead(&token, &[&["verify", &reference, "--json", "--roots", &roots], rest].concat()).await;
    let (code, out, _) = verify(&[]).await;
    assert_eq!((code, finding(&out, "platform"), finding(&out, "vendor")), (1, pair("failed", "none"), pair("ok", "valid")));
    approve(&app, &vendor, &moderator).await;
    let (code, out, err) = verify(&["--require-vendor"]).await;
    assert_eq!((code, finding(&out, "platform"), finding(&out, "vendor")), (0, pair("ok", "valid"), pair("ok", "valid")), "{out} {err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["digest"], told["version"].as_str()), (&pushed["digest"], Some("1.0.0")));
    // The same by digest, in words, in Chinese.
    let by_digest = format!("acme/coke-quality@{}", pushed["digest"].as_str().unwrap());
    let (code, out, err) = pithead(&token, &["verify", &by_digest, "--server", &server.base, "--roots", &roots, "--lang", "zh"]).await;
    assert!(code == 0 && out.matches("通过").count() == 3 && out.contains(&kid), "{out} {err}");
    assert!(out.lines().all(|line| line.starts_with("通过")), "{out}");

    // Keys of the platform that are pinned: the right ones, and another.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let jwks = client.get(format!("{}/.well-known/jwks.json", server.base)).send().await.unwrap().text().await.unwrap();
    std::fs::write(at("platform.json"), jwks).unwrap();
    assert_eq!(verify(&["--key", &at("platform.json")]).await.0, 0);
    std::fs::write(at("other.pem"), made["public_key"].as_str().unwrap()).unwrap();
    let (code, out, _) = verify(&["--key", &at("other.pem")]).await;
    assert_eq!((code, finding(&out, "platform")), (1, pair("failed", "unknown-key")));
    assert_eq!(verify(&["--key", &at("nothing.json")]).await.0, 2);

    // The root document was kept; one that its operator gave out does as well; another platform's does not, nor one that has ended.
    let kept = std::fs::read_dir(&roots).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(&kept, at("root.json")).unwrap();
    assert_eq!(verify(&["--root", &at("root.json")]).await.0, 0);
    let stranger = |expires: i64| {
        let (key, online) = (ed25519_dalek::SigningKey::from_bytes(&[5; 32]), ed25519_dalek::SigningKey::from_bytes(&[6; 32]));
        let mut root = app_package::root::Root::new(1, chrono::DateTime::from_timestamp(expires, 0).unwrap(), 1);
        root.add(app_package::root::Role::Root, &key.verifying_key(), true);
        for role in app_package::root::Role::ONLINE {
            root.add(role, &online.verifying_key(), true);
        }
        root.node_ca.push("AAAA".into());
        let mut envelope = root.unsigned();
        app_package::dsse::countersign(&mut envelope, &key).unwrap();
        envelope.to_bytes()
    };
    std::fs::write(at("stranger.json"), stranger(4_000_000_000)).unwrap();
    let (code, out, _) = verify(&["--root", &at("stranger.json")]).await;
    assert_eq!((code, finding(&out, "platform")), (1, pair("failed", "unknown-key")));
    std::fs::write(&kept, stranger(1_000_000_000)).unwrap();
    let (code, out, err) = verify(&[]).await;
    assert!(code == 1 && out.contains("has ended"), "{out} {err}");
    std::fs::write(&kept, "{}").unwrap();
    assert_eq!(verify(&[]).await.0, 2);
    std::fs::remove_file(&kept).unwrap();

    // Another key, which nobody knows: said, and of no weight beside the good one.
    assert_eq!(pithead("", &["keygen", "-o", &at("two.pem")]).await.0, 0);
    let (code, _, err) = pithead(&token, &["sign", &reference, "--key", &at("two.pem")]).await;
    assert!(code == 0 && err.contains("note:"), "{err}");
    assert_eq!(verify(&["--require-vendor"]).await.0, 0);
    // The good one is revoked: what it signed counts no more, until the release is signed with a registered key.
    let id = keys::list(&app, &vendor).await.unwrap()[0].id.clone();
    keys::revoke(&app, &vendor, id).await.unwrap();
    let (code, out, _) = verify(&[]).await;
    assert_eq!((code, finding(&out, "platform"), finding(&out, "vendor")), (1, pair("ok", "valid"), pair("failed", "unknown-key")));
    let (_, out, _) = pithead("", &["keygen", "-o", &at("three.pem"), "--json"]).await;
    let made: Value = serde_json::from_str(&out).unwrap();
    keys::add(&app, &vendor, "next", made["public_key"].as_str().unwrap()).await.unwrap();
    let (code, out, err) = pithead(&token, &["sign", &reference, "--key", &at("three.pem"), "--json"]).await;
    assert_eq!(code, 0, "{out} {err}");
    assert_eq!(verify(&["--require-vendor"]).await.0, 0);

    // Pulled: the same bytes under the same names, once.
    let pull = async |to: &str, rest: &[&str]| pithead(&token, &[&["pull", &reference, "-o", &at(to)], rest].concat()).await;
    let (code, out, err) = pull("app", &["--json"]).await;
    assert_eq!(code, 0, "{out} {err}");
    assert_eq!(files(&folder.0.join("app")), files(&source));
    assert!(!folder.0.join("app.part").exists());
    let (code, _, err) = pull("app", &["--lang", "zh"]).await;
    assert!(code == 2 && err.contains("已存在"), "{err}");
    // Goes on with what had come before a break.
    let model = std::fs::read(source.join("model.onnx")).unwrap();
    let digest = Digest::of(&model);
    let part = folder.0.join(format!("again.part/{}.part", digest.hex()));
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, &model[..model.len() / 2]).unwrap();
    let (code, out, err) = pull("again", &[]).await;
    assert_eq!(code, 0, "{out} {err}");
    assert_eq!(files(&folder.0.join("again")), files(&source));
    // What had come is not what it should be: found out, thrown away, fetched anew the next time.
    std::fs::create_dir_all(folder.0.join("bad.part")).unwrap();
    let part = folder.0.join(format!("bad.part/{}.part", digest.hex()));
    std::fs::write(&part, vec![0; model.len() / 2]).unwrap();
    let (code, _, err) = pull("bad", &[]).await;
    assert!(code == 1 && err.contains(digest.as_str()) && !folder.0.join("bad").exists() && !part.exists(), "{err}");
    assert_eq!(pull("bad", &[]).await.0, 0);

    // The platform takes its approval back: its signature is as good as before, and the list that it signs says so.
    let admin = server.person(&platform, Role::Administrator, "administrator@platform.example").await;
    let admin = actor(&app, &admin).await;
    let release = console::release_detail(&app, &vendor, Lang::En, "coke-quality", "1.0.0").await.unwrap().release.id;
    stops::act(&app, &admin, Stop::RecallRelease, &release, "false alarms underground").await.unwrap();
    let (code, out, _) = verify(&[]).await;
    assert_eq!((code, finding(&out, "platform")), (1, pair("failed", "approval-revoked")));

    // Nor is an old list believed, which does not name it.
    let seen = kept.with_extension("revocations");
    let version: u64 = std::fs::read_to_string(&seen).unwrap().parse().unwrap();
    std::fs::write(&seen, (version + 1).to_string()).unwrap();
    let (code, out, _) = verify(&[]).await;
    assert_eq!((code, finding(&out, "platform")), (1, pair("failed", "revocations-unsigned")));
    std::fs::remove_file(&seen).unwrap();

    // Who may not, and what is not there.
    let (code, _, err) = pithead("pht_wrong", &["pull", &reference, "-o", &at("no")]).await;
    assert!(code == 1 && err.contains(&Lang::En.t("error-token-invalid")) && !folder.0.join("no").exists(), "{err}");
    let (code, _, err) = pithead(&token, &["verify", &reference.replace("1.0.0", "9.9.9"), "--roots", &roots, "--lang", "zh"]).await;
    assert!(code == 1 && err.contains("服务器拒绝"), "{err}");
    assert_eq!(pithead(&token, &["verify", "acme/coke-quality:1.0.0"]).await.0, 2);

    // A byte of the model changes on the server's disk: nothing is pulled.
    flip(&app, &digest);
    let (code, out, err) = pull("flipped", &["--json"]).await;
    assert!(code == 1 && err.contains(digest.as_str()) && !folder.0.join("flipped").exists(), "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["ok"], false);
    // So does a byte of each signature: nothing is verified any more.
    let envelopes = app
        .db
        .read(|conn| {
            use diesel::prelude::*;
            use pithead::base::db::schema::manifests;
            let signatures = manifests::table.filter(manifests::artifact_type.eq_any([SIGNATURE_TYPE, VENDOR_SIGNATURE_TYPE]));
            Ok(signatures.select(manifests::content).load::<Vec<u8>>(conn)?)
        })
        .await
        .unwrap();
    assert_eq!(envelopes.len(), 4);
    for manifest in envelopes {
        let manifest = ImageManifest::parse(&manifest).unwrap();
        flip(&app, &manifest.layers.iter().find(|l| l.media_type == DSSE_TYPE).unwrap().digest);
    }
    let (code, out, _) = verify(&[]).await;
    assert_eq!((code, finding(&out, "platform"), finding(&out, "vendor")), (1, pair("failed", "none"), pair("failed", "malformed")));
    server.stop().await;
}
