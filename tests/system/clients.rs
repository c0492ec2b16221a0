//! Programs that we did not write talk to registry and node: skopeo, and NVIDIA's Python client for the Open Inference Protocol.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::demo::{Demo, tool};

fn skopeo(arguments: &[&str]) -> Output {
    Command::new(tool("TEST_SKOPEO")).args(["--command-timeout", "60s"]).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn skopeo_pulls_what_a_licence_covers_and_nothing_else() {
    let demo = Demo::shared();
    let host = demo.base.trim_start_matches("http://");
    let (email, _, token) = demo.person("operator-deployer");
    let credentials = format!("{email}:{token}");
    let plain = ["--tls-verify=false", "--creds", &credentials];
    let app = |name: &str| format!("docker://{host}/{name}");

    let tags = skopeo(&[&["list-tags"], &plain[..], &[&app("heitan-vision/belt-foreign-object")]].concat());
    assert!(tags.status.success(), "{}", text(&tags));
    let tags: Value = serde_json::from_slice(&tags.stdout).unwrap();
    let version = tags["Tags"][0].as_str().expect("a version").to_owned();

    // All blobs arrive whole: skopeo verifies each digest.
    let layout = demo.folder.join("layout");
    let from = format!("{}:{version}", app("heitan-vision/belt-foreign-object"));
    let to = format!("oci:{}:app", layout.display());
    let copied = skopeo(&[
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--src-creds",
        &credentials,
        "--override-os",
        "linux",
        &from,
        &to,
    ]);
    assert!(copied.status.success(), "{}", text(&copied));
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let manifest: Value = serde_json::from_slice(&std::fs::read(layout.join("blobs/sha256").join(digest)).unwrap()).unwrap();
    let titles: Vec<&str> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|layer| layer["annotations"]["org.opencontainers.image.title"].as_str())
        .collect();
    assert!(titles.contains(&"app.yaml") && titles.contains(&"model.onnx"), "{titles:?}");

    for (name, credentials) in [
        // Not bought.
        ("heitan-vision/walk-drive-conflict", credentials.as_str()),
        // Nobody's token.
        ("heitan-vision/belt-foreign-object", "x:pht_not-a-token"),
    ] {
        let refused = skopeo(&["inspect", "--raw", "--tls-verify=false", "--creds", credentials, &format!("{}:{version}", app(name))]);
        assert!(!refused.status.success(), "{name}: {}", text(&refused));
    }
    let anonymous = skopeo(&["inspect", "--raw", "--tls-verify=false", "--no-creds", &from]);
    assert!(!anonymous.status.success(), "{}", text(&anonymous));
}

#[test]
fn the_inference_client_of_triton_runs_a_model_on_a_node() {
    let demo = Demo::shared();
    let address = demo.nodes[0].trim_start_matches("http://");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/triton.py");
    let output = Command::new(tool("TEST_PYTHON")).arg(program).args([address, "coke-quality"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok");
}
