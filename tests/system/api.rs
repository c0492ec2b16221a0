//! What programs of buyers and developers meet, by tools that we did not write: schemathesis calls `/api/v1` by its own document, and the
//! reference library of Standard Webhooks checks our signatures.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::Utc;
use pithead::webhook::model::{new_secret, signatures};
use serde_json::json;

use crate::demo::{Demo, tool};

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system").join(name)
}

/// Seconds for each of the tokens.
const SECONDS: &str = "15";

#[test]
fn every_answer_is_as_the_document_has_it() {
    let demo = Demo::shared();
    let tokens = ["operator-owner", "vendor-owner", "moderator"].map(|role| demo.person(role).2);
    let output = Command::new(tool("TEST_PYTHON"))
        .arg(program("api.py"))
        .args([&demo.base, SECONDS])
        .args(&tokens)
        // It leaves a folder where it runs.
        .current_dir(&demo.folder)
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.trim() == "ok", "{told}");
}

#[test]
fn the_reference_library_of_webhooks_takes_our_signatures() {
    let (first, second, now) = (new_secret(), new_secret(), Utc::now().timestamp());
    let body = r#"{"type":"alarm.raised","data":{"text":{"zh":"皮带"}}}"#;
    let case = |secret: &str, signed: &[&str], at: i64, body: &str, good: bool| {
        let signature = signatures(signed, "evt_1", at, r#"{"type":"alarm.raised","data":{"text":{"zh":"皮带"}}}"#);
        let headers = json!({"webhook-id": "evt_1", "webhook-timestamp": at.to_string(), "webhook-signature": signature});
        json!({"secret": secret, "headers": headers, "body": body, "good": good}).to_string()
    };
    let cases = [
        case(&first, &[&first], now, body, true),
        case(&first, &[&second, &first], now, body, true),
        case(&first, &[&second], now, body, false),
        case(&first, &[&first], now, &body.replace("皮带", "煤仓"), false),
        case(&first, &[&first], now - 3_600, body, false),
    ];
    let mut python = Command::new(tool("TEST_PYTHON"))
        .arg(program("webhooks.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    python.stdin.take().unwrap().write_all(cases.join("\n").as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
