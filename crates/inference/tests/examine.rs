//! What is told before an upload is what the check finds after it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::Path;

use inference::check::{self, CheckOptions};
use inference::examine::examine;
use serde_json::json;
use support::{Package, engine, models};

/// A change that makes a package odd.
type Change = fn(&mut Package);

fn write(package: &Package, name: &str, bytes: &[u8]) {
    std::fs::write(package.dir.join(name), bytes).unwrap();
}

/// The bytes of an ONNX file of one node after the other, each of which takes what the one before makes.
fn chain(operators: &[&str]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let node = |(at, operator): (usize, &&str)| {
        let parts = [field(1, format!("t{at}").as_bytes()), field(2, format!("t{}", at + 1).as_bytes()), field(4, operator.as_bytes())];
        field(1, &parts.concat())
    };
    let graph: Vec<u8> = operators.iter().enumerate().flat_map(node).collect();
    [vec![8, 8], field(7, &graph)].concat()
}

#[test]
fn a_softmax_is_seen_where_its_numbers_are_only_handed_on() {
    let folder = std::env::temp_dir().join(format!("pithead-softmax-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = |operators: &[&str]| {
        let file = folder.join("model.onnx");
        std::fs::write(&file, chain(operators)).unwrap();
        inference::model_file::signature(&folder, &file).unwrap().softmax
    };
    let last = |operators: &[&str]| made(operators).contains(&format!("t{}", operators.len()));
    assert!(last(&["Conv", "Softmax"]) && last(&["Softmax", "Identity", "Reshape"]));
    assert!(!last(&["Softmax", "Log"]) && !last(&["Conv", "Identity"]) && !last(&["Softmax", "Log", "Identity"]));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_the_check_finds_without_the_model_is_told_before_the_upload() {
    let odd: [(&str, Change); 16] = [
        ("", |_| ()),
        ("", |p| write(p, ".hidden.py", b"import os")),
        ("", |p| write(p, "Thumbs.db", b"\xd0\xcf")),
        ("file-outside", |p| std::os::unix::fs::symlink("/etc/passwd", p.dir.join("a.txt")).unwrap()),
        ("file-kind-unknown", |p| write(p, "manual.pdf", b"%PDF-1.7")),
        ("program-in-package", |p| write(p, "train.py", b"import os")),
        ("secret-in-package", |p| write(p, "a.txt", b"-----BEGIN PRIVATE KEY-----")),
        ("file-kind-mismatch", |p| write(p, "notes.json", b"{'a': 1}")),
        ("not-onnx", |p| write(p, "model.onnx", b"a text")),
        ("file-missing", |p| std::fs::remove_file(p.dir.join("sample.csv")).unwrap()),
        ("tensor-mismatch", |p| p.manifest["models"][0]["inputs"][0]["name"] = json!("X")),
        ("tensor-mismatch", |p| p.manifest["models"][0]["outputs"][0]["shape"] = json!([1, 5])),
        ("alarm-rule-invalid", |p| {
            p.manifest["pipeline"]["alarms"] = json!([{"id": "r", "when": "values.a >", "level": "notice", "text": {"en": "x"}}]);
        }),
        ("expect-unreadable", |p| write(p, "sample.json", b"{\"values\": 1}")),
        ("csv-column-missing", |p| write(p, "sample.csv", b"p,q,r\n1,2,3\n")),
        ("input-too-large", |p| write(p, "sample.csv", &vec![b'1'; 20_000_001])),
    ];
    for (code, change) in odd {
        let mut package = Package::table("identity4.onnx");
        change(&mut package);
        let manifest = package.parsed();
        let told = examine(&package.dir, &manifest);
        let report = check::run(&package.dir, &manifest, engine(), &CheckOptions { iterations: 2 });
        let found = report.steps.last().map(|step| (step.code.clone(), step.reason.clone().unwrap_or_default())).unwrap();
        match told.first() {
            None => assert!(code.is_empty() && report.passed, "{code}: {report:?}"),
            Some((step, e)) => {
                assert_eq!(e.code, code, "{told:?}");
                assert_eq!(found, ((*step).to_owned(), e.code.to_owned()), "{report:?}");
            }
        }
    }
}

#[test]
fn all_is_told_at_once() {
    let mut package = Package::table("identity4.onnx");
    package.manifest["models"][0]["inputs"][0]["name"] = json!("X");
    package.manifest["pipeline"]["alarms"] = json!([{"id": "r", "when": "(", "level": "notice", "text": {"en": "x"}}]);
    write(&package, "manual.pdf", b"%PDF-1.7");
    write(&package, "sample.json", b"[");
    let steps: Vec<&str> = examine(&package.dir, &package.parsed()).iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, ["content", "tensors-match", "alarm-rules", "golden"]);
    assert!(steps.iter().all(|step| check::STEPS.contains(step)));
}

#[test]
fn good_packages_are_without_fault() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/apps");
    let mut seen = 0;
    for entry in std::fs::read_dir(demo).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let yaml = std::fs::read_to_string(entry.path().join("app.yaml")).unwrap();
        let manifest = app_package::validate::parse(&yaml).unwrap();
        assert_eq!(examine(&entry.path(), &manifest), [], "{}", entry.path().display());
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_file_says_the_tensors_that_the_engine_finds() {
    use inference::engine::Engine as _;
    for name in ["identity4.onnx", "boxes.onnx", "grid.onnx", "mean.onnx", "hang.onnx", "hungry.onnx"] {
        let path = models().join(name);
        let (file, session) = (inference::model_file::signature(&models(), &path).unwrap(), engine().load(&path, 1).unwrap());
        let names = |list: &[inference::model_file::Header]| list.iter().map(|h| (h.name.clone(), h.shape.clone())).collect::<Vec<_>>();
        let real =
            |list: &[inference::engine::TensorInfo]| list.iter().map(|t| (t.name.clone(), Some(t.shape.clone()))).collect::<Vec<_>>();
        assert_eq!((names(&file.inputs), names(&file.outputs)), (real(session.inputs()), real(session.outputs())), "{name}");
    }
}
