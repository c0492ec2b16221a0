//! Programs that we did not write push to the registry and pull from it: skopeo, the Python oras client, oci-client, containerd's resolver,
//! crane, curl.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use diesel::prelude::*;
use futures_util::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use pithead::base::db::schema::{apps, releases};
use serde_json::Value;

use crate::demo::{Demo, tool};

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn good(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Host, user and token of a vendor of the demo.
fn vendor(demo: &Demo, role: &str) -> (String, String, String) {
    let (email, _, token) = demo.person(role);
    (demo.base.trim_start_matches("http://").to_owned(), email, token)
}

/// `pithead pack` → `skopeo copy` of the archive: a release like any other, checked by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_skopeo_pushes_becomes_a_release() {
    let demo = Demo::shared();
    let (host, user, token) = vendor(&demo, "vendor-owner");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps/belt-foreign-object");
    let folder = demo.folder.join("skopeo-push");
    good("cp", &["-r", source.to_str().unwrap(), folder.to_str().unwrap()]);
    let yaml = std::fs::read_to_string(folder.join("app.yaml")).unwrap();
    let changed = yaml.lines().map(|l| if l.starts_with("version:") { "version: 7.0.0" } else { l }).collect::<Vec<_>>().join("\n");
    std::fs::write(folder.join("app.yaml"), changed).unwrap();
    let archive = demo.folder.join("app.tar");
    good(env!("CARGO_BIN_EXE_pithead"), &["pack", folder.to_str().unwrap(), "--vendor", "heitan-vision", "-o", archive.to_str().unwrap()]);
    let to = format!("docker://{host}/heitan-vision/belt-foreign-object:7.0.0");
    let from = format!("oci-archive:{}", archive.display());
    let credentials = format!("{user}:{token}");
    let copy = ["copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", &credentials, &from, &to];
    good(&tool("TEST_SKOPEO"), &copy);
    let begin = Instant::now();
    loop {
        let state: String = demo
            .read(|conn| {
                Ok(releases::table
                    .inner_join(apps::table.on(apps::id.eq(releases::app_id)))
                    .filter(apps::slug.eq("belt-foreign-object").and(releases::version.eq("7.0.0")))
                    .select(releases::state)
                    .first(conn)?)
            })
            .await;
        if state == "ready" {
            break;
        }
        assert_eq!(state, "checking");
        assert!(begin.elapsed() < Duration::from_mins(3), "the check did not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What waits for its moderator cannot be taken away under them, and buyers do not see it yet.
    let deleted = run(&tool("TEST_SKOPEO"), &["delete", "--tls-verify=false", "--creds", &credentials, &to]);
    assert!(!deleted.status.success(), "a checked release was deleted");
    let (buyer, _, buyer_token) = demo.person("operator-deployer");
    let creds = format!("{buyer}:{buyer_token}");
    let tags = good(
        &tool("TEST_SKOPEO"),
        &["list-tags", "--tls-verify=false", "--creds", &creds, &format!("docker://{host}/heitan-vision/belt-foreign-object")],
    );
    assert!(!tags.contains("\"7.0.0\""), "{tags}");
}

/// What is no release is stored as what it is: pushed by oras, copied out and in again by skopeo with the same digest, deleted.
#[test]
fn oras_pushes_and_skopeo_copies_both_ways() {
    let demo = Demo::shared();
    let (host, user, token) = vendor(&demo, "ordos-signal");
    let folder = demo.folder.join("oras");
    std::fs::create_dir_all(&folder).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/oras_client.py");
    let repository = "ordos-signal/notes";
    let arguments = [program.to_str().unwrap(), &host, repository, &user, &token, folder.to_str().unwrap()];
    assert_eq!(good(&tool("TEST_PYTHON"), &arguments).trim().lines().last(), Some("ok"));

    let skopeo = tool("TEST_SKOPEO");
    let credentials = format!("{user}:{token}");
    let at = |tag: &str| format!("docker://{host}/{repository}:{tag}");
    let raw = |tag: &str| good(&skopeo, &["inspect", "--raw", "--tls-verify=false", "--creds", &credentials, &at(tag)]);
    let archive = format!("oci-archive:{}:1", folder.join("notes.tar").display());
    good(&skopeo, &["copy", "--preserve-digests", "--src-tls-verify=false", "--src-creds", &credentials, &at("1"), &archive]);
    good(&skopeo, &["copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", &credentials, &archive, &at("copy")]);
    assert_eq!(raw("1"), raw("copy"), "the exact bytes");
    let repository_address = format!("docker://{host}/{repository}");
    let tags = good(&skopeo, &["list-tags", "--tls-verify=false", "--creds", &credentials, &repository_address]);
    let tags: Value = serde_json::from_str(&tags).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["1", "2", "copy"]));
    // skopeo deletes by digest, so all tags of the same manifest go.
    good(&skopeo, &["delete", "--tls-verify=false", "--creds", &credentials, &at("copy")]);
    for tag in ["1", "copy"] {
        assert!(!run(&skopeo, &["inspect", "--raw", "--tls-verify=false", "--creds", &credentials, &at(tag)]).status.success(), "{tag}");
    }
    raw("2");
    // Another vendor sees nothing of it.
    let (_, other, other_token) = vendor(&demo, "taihang-ai");
    let stranger = format!("{other}:{other_token}");
    assert!(!run(&skopeo, &["inspect", "--raw", "--tls-verify=false", "--creds", &stranger, &at("2")]).status.success());
}

/// What containerd, nerdctl and k3s pull with, and crane: `POST /token` with its refresh token, images of Docker's schema 2, the catalogue.
#[test]
fn clients_in_go_sign_in_push_and_pull() {
    let demo = Demo::shared();
    let (host, user, token) = vendor(&demo, "ordos-signal");
    let told = good(&tool("TEST_GO_CLIENTS"), &[&host, "ordos-signal/go", &user, &token]);
    assert_eq!(told.trim().lines().last(), Some("ok"));
}

/// An image as docker itself pushes it, which skopeo makes of one of OCI: out and in again byte for byte, with its type.
#[test]
fn skopeo_copies_images_of_docker() {
    let demo = Demo::shared();
    let (host, user, token) = vendor(&demo, "ordos-signal");
    let (skopeo, credentials) = (tool("TEST_SKOPEO"), format!("{user}:{token}"));
    let folder = demo.folder.join("docker-image");
    image_layout(&folder);
    let at = |tag: &str| format!("docker://{host}/ordos-signal/image:{tag}");
    let push = ["copy", "--format", "v2s2", "--dest-tls-verify=false", "--dest-creds", &credentials];
    good(&skopeo, &[&push[..], &[&format!("oci:{}:1", folder.display()), &at("1.0.0")]].concat());
    let raw = |tag: &str| good(&skopeo, &["inspect", "--raw", "--tls-verify=false", "--creds", &credentials, &at(tag)]);
    let manifest: Value = serde_json::from_str(&raw("1.0.0")).unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    // As a plain image it is understood, too.
    let inspected = good(&skopeo, &["inspect", "--tls-verify=false", "--creds", &credentials, &at("1.0.0")]);
    assert_eq!(serde_json::from_str::<Value>(&inspected).unwrap()["Layers"].as_array().map(Vec::len), Some(1));
    let archive = format!("docker-archive:{}", demo.folder.join("image.tar").display());
    good(&skopeo, &["copy", "--src-tls-verify=false", "--src-creds", &credentials, &at("1.0.0"), &archive]);
    let again = ["copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds", &credentials];
    good(&skopeo, &[&again[..], &["--dest-creds", &credentials, &at("1.0.0"), &at("copy")]].concat());
    assert_eq!(raw("1.0.0"), raw("copy"), "the exact bytes");
}

/// A folder with an image of one layer, an empty archive, in the layout of OCI.
fn image_layout(folder: &Path) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |kind: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        serde_json::json!({"mediaType": kind, "digest": digest.as_str(), "size": bytes.len()})
    };
    let layer = [0u8; 1024];
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "history": [{"created_by": "test"}],
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).as_str()]},
    });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let mut named = blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    named["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "1"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [named]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

/// The Rust client of the oras project: token flow, chunked push, mount, partial pull, referrers.
#[tokio::test(flavor = "multi_thread")]
async fn oci_client_pushes_mounts_pulls_and_finds_referrers() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::shared();
    let (host, user, token) = vendor(&demo, "taihang-ai");
    let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
    let auth = RegistryAuth::Basic(user, token);
    let first: Reference = format!("{host}/taihang-ai/weights:main").parse().unwrap();
    let second: Reference = format!("{host}/taihang-ai/other:main").parse().unwrap();
    // Larger than the client's chunk of 4 MiB.
    let data: Vec<u8> = (0..9_000_001u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
    let layer = ImageLayer::new(data.clone(), "application/vnd.cncf.model.weight.v1.raw".into(), None);
    let config = Config::new(b"{}".to_vec(), "application/vnd.test.config.v1+json".into(), None);
    client.push(&first, &[layer], config, &auth, None).await.unwrap();
    let digest = Digest::of(&data);
    client.mount_blob(&second, &first, digest.as_str()).await.unwrap();
    assert!(client.blob_exists(&second, digest.as_str()).await.unwrap());

    let pulled = client.pull(&first, &auth, vec!["application/vnd.cncf.model.weight.v1.raw"]).await.unwrap();
    assert_eq!(pulled.layers[0].data, data);
    let descriptor = OciDescriptor { digest: digest.to_string(), size: 9_000_001, ..OciDescriptor::default() };
    let part = client.pull_blob_stream_partial(&first, &descriptor, 9_000_000, Some(1)).await.unwrap();
    let oci_client::client::BlobResponse::Partial(mut part) = part else { panic!("a partial answer") };
    assert_eq!(part.stream.next().await.unwrap().unwrap(), &data[9_000_000..]);

    // A manifest that refers to it, as an SBOM does.
    let subject_digest = client.fetch_manifest_digest(&first, &auth).await.unwrap();
    let (raw, _) = client.pull_manifest_raw(&first, &auth, &["application/vnd.oci.image.manifest.v1+json"]).await.unwrap();
    let sbom = br#"{"spdxVersion":"SPDX-2.3"}"#.to_vec();
    let referrer: Reference = format!("{host}/taihang-ai/weights:sbom").parse().unwrap();
    client.push_blob(&referrer, sbom.clone(), Digest::of(&sbom).as_str()).await.unwrap();
    let manifest = OciImageManifest {
        artifact_type: Some("application/spdx+json".into()),
        config: OciDescriptor {
            media_type: "application/vnd.test.config.v1+json".into(),
            digest: Digest::of(b"{}").to_string(),
            size: 2,
            ..OciDescriptor::default()
        },
        layers: vec![OciDescriptor {
            media_type: "application/spdx+json".into(),
            digest: Digest::of(&sbom).to_string(),
            size: i64::try_from(sbom.len()).unwrap(),
            ..OciDescriptor::default()
        }],
        subject: Some(OciDescriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            digest: subject_digest.clone(),
            size: i64::try_from(raw.len()).unwrap(),
            ..OciDescriptor::default()
        }),
        ..OciImageManifest::default()
    };
    client.push_manifest(&referrer, &manifest.into()).await.unwrap();
    let by_digest: Reference = format!("{host}/taihang-ai/weights@{subject_digest}").parse().unwrap();
    let found = client.pull_referrers(&by_digest, Some("application/spdx+json")).await.unwrap();
    assert_eq!(found.manifests.len(), 1);
    assert_eq!(found.manifests[0].artifact_type.as_deref(), Some("application/spdx+json"));
}

/// The chunk cycle as anybody can type it.
#[test]
fn curl_uploads_in_chunks() {
    let demo = Demo::shared();
    let (host, user, token) = vendor(&demo, "ordos-signal");
    let credentials = format!("{user}:{token}");
    let curl = |arguments: &[&str]| good("curl", &[&["-sS", "-u", &credentials, "-i"], arguments].concat());
    let header = |answer: &str, name: &str| {
        let line = answer.lines().find(|l| l.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    let base = format!("http://{host}");
    let begun = curl(&["-X", "POST", "-H", "Content-Length: 0", &format!("{base}/v2/ordos-signal/curl/blobs/uploads/")]);
    assert!(begun.starts_with("HTTP/1.1 202"), "{begun}");
    let first = format!("{base}{}", header(&begun, "location"));
    let octets = "Content-Type: application/octet-stream";
    let sent = curl(&["-X", "PATCH", "-H", octets, "-H", "Content-Range: 0-4", "--data-binary", "hello", &first]);
    assert!(sent.starts_with("HTTP/1.1 202") && header(&sent, "range") == "0-4", "{sent}");
    // Out of order: refused, and the upload goes on.
    let second = format!("{base}{}", header(&sent, "location"));
    let refused = curl(&["-X", "PATCH", "-H", octets, "-H", "Content-Range: 9-13", "--data-binary", "world", &second]);
    assert!(refused.starts_with("HTTP/1.1 416") && header(&refused, "range") == "0-4", "{refused}");
    let state = curl(&[&second]);
    assert!(state.starts_with("HTTP/1.1 204") && header(&state, "range") == "0-4", "{state}");
    let digest = Digest::of(b"hello world");
    let closed = curl(&["-X", "PUT", "-H", octets, "--data-binary", " world", &format!("{second}?digest={digest}")]);
    assert!(closed.starts_with("HTTP/1.1 201") && header(&closed, "docker-content-digest") == digest.as_str(), "{closed}");
    let pulled = curl(&["-H", "Range: bytes=6-", &format!("{base}/v2/ordos-signal/curl/blobs/{digest}")]);
    assert!(pulled.starts_with("HTTP/1.1 206") && pulled.ends_with("world"), "{pulled}");
}
