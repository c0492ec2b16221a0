//! Bare models read in the confined child: the proposal, answers that are followed without a file, and files that are none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use app_package::{pipeline::AlarmLevel, text::Text, validate};
use inference::{
    families::{Topic, write::Said},
    sandbox::Limits,
    worker::{FILES, FormAnswers, ORDER, Reading, ReadingOrder, run_reading},
};
use support::models;

/// A folder that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("pithead-reading-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join(FILES)).unwrap();
        Self(std::fs::canonicalize(dir).unwrap())
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let to = self.0.join(FILES).join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }

    fn model(&self, path: &str, name: &str) {
        self.put(path, &std::fs::read(models().join(name)).unwrap());
    }

    /// Runs the child.
    fn read(&self, order: &ReadingOrder) -> Reading {
        std::fs::write(self.0.join(ORDER), serde_json::to_vec(order).unwrap()).unwrap();
        let exe = std::env::current_exe().unwrap();
        let child = exe.parent().unwrap().parent().unwrap().join("examples/check_child");
        run_reading(&child, &["reading"], &self.0, &Limits::default(), Duration::from_secs(30))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn order(models: &[&str]) -> ReadingOrder {
    let form = FormAnswers { name: "gas".into(), lang: "en".into(), ..FormAnswers::default() };
    ReadingOrder { models: models.iter().map(|name| (*name).to_owned()).collect(), form, ..ReadingOrder::default() }
}

#[test]
fn a_model_becomes_a_form_and_its_answers_an_app() {
    let folder = Folder::new("form");
    folder.model("export/gas.onnx", "identity4.onnx");
    folder.put("rows.csv", b"ch4,co,t,v\n0.4,3,21,1.5\n");
    folder.put("classes.txt", "CH4\r\n一氧化碳\nT\nv\n\n".as_bytes());
    let wanted = ReadingOrder { samples: vec!["rows.csv".into()], labels: Some("classes.txt".into()), ..order(&["export/gas.onnx"]) };
    let first = folder.read(&wanted);
    assert_eq!(first.refusal, None);
    let facts = first.facts.clone().unwrap();
    assert_eq!((facts.given.columns.join(" "), facts.given.labels[1].as_str()), ("ch4 co t v".to_owned(), "一氧化碳"));
    assert_eq!((first.models[0].family.as_str(), first.input.as_str()), ("columns", "tabular"));
    assert_eq!(first.files, [("model.onnx".to_owned(), "export/gas.onnx".to_owned())]);
    assert_eq!(first.samples, [("golden/1.csv".to_owned(), "golden/1.json".to_owned(), "rows.csv".to_owned())]);
    let app = validate::parse(&first.yaml).unwrap_or_else(|faults| panic!("{faults:?}\n{}", first.yaml));
    assert_eq!((app.name.as_str(), app.specialty.as_str(), app.alarms.len()), ("gas", "to-be-chosen", 0));
    for place in ["title", "summary", "specialty", "scenario", "license", "card.training_data", "card.limits"] {
        assert!(first.open.iter().any(|open| open == place), "{place} of {:?}", first.open);
    }

    // Answers are followed by what was read: the files may be gone.
    std::fs::remove_dir_all(folder.0.join(FILES)).unwrap();
    let text = |zh: &str, en: &str| Text { zh: zh.into(), en: en.into() };
    let said = Said {
        title: text("瓦斯: #1\n\"", ""),
        summary: text("", "Watches gas."),
        specialty: "safety-supervision".into(),
        scenario: "gas".into(),
        license: "Apache-2.0".into(),
        training_data: text("", "A year."),
        limits: text("", "None."),
        score: None,
        alarm: Some((AlarmLevel::Critical, first.signs[1].clone())),
        settled: first.models[0].questions.iter().map(|question| question.place.clone()).collect(),
    };
    let form = FormAnswers { said, ..wanted.form.clone() };
    let next = folder.read(&ReadingOrder { facts: Some(facts), form, ..wanted });
    assert_eq!((next.facts.is_none(), next.refusal.as_ref(), next.open.as_slice()), (true, None, &[][..]), "{}", next.yaml);
    let app = validate::parse(&next.yaml).unwrap_or_else(|faults| panic!("{faults:?}\n{}", next.yaml));
    assert_eq!((app.title.zh.as_str(), app.license.as_str()), ("瓦斯: #1\n\"", "Apache-2.0"));
    assert_eq!((app.alarms[0].id.as_str(), app.alarms[0].level), (first.signs[1].as_str(), AlarmLevel::Critical));
    assert!(!next.yaml.contains("# edit\n") && !next.yaml.contains("An example of an alarm"), "{}", next.yaml);
    // What a listing says changes no result; what a step says does.
    assert_eq!(first.runs, next.runs);
}

#[test]
fn later_models_follow_the_finders_unless_they_are_told_otherwise() {
    let folder = Folder::new("order");
    folder.model("a.onnx", "means.onnx");
    folder.model("b.onnx", "finder.onnx");
    let alone = folder.read(&order(&["a.onnx"]));
    assert!(alone.refusal.is_none(), "{:?}", alone.refusal);
    let wanted = order(&["a.onnx", "b.onnx"]);
    let read = folder.read(&wanted);
    assert!(read.refusal.is_none(), "{:?}", read.refusal);
    let facts = read.facts.clone();
    let turned = FormAnswers { order: read.models.iter().rev().map(|model| model.at).collect(), ..wanted.form.clone() };
    let other = folder.read(&ReadingOrder { facts, form: turned, ..wanted });
    let places = |reading: &Reading| reading.models.iter().map(|model| model.at).collect::<Vec<_>>();
    assert_eq!(places(&other), places(&read).into_iter().rev().collect::<Vec<_>>());
    assert_ne!(read.runs, other.runs);
}

#[test]
fn external_data_go_with_their_model() {
    let folder = Folder::new("external");
    folder.model("net/external_ok.onnx", "external_ok.onnx");
    let missing = folder.read(&order(&["net/external_ok.onnx"])).refusal.unwrap();
    assert_eq!((missing.file.as_str(), missing.code.as_str()), ("net/external_ok.onnx", "external-data-missing"));
    folder.model("net/weights.bin", "weights.bin");
    let read = folder.read(&order(&["net/external_ok.onnx"]));
    if let Some(refusal) = &read.refusal {
        panic!("{refusal:?}");
    }
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(read.files, [pair("model.onnx", "net/external_ok.onnx"), pair("weights.bin", "net/weights.bin")]);
    for name in ["external_parent.onnx", "external_absolute.onnx"] {
        folder.model(name, name);
        assert_eq!(folder.read(&order(&[name])).refusal.unwrap().code, "external-data-outside", "{name}");
    }
}

/// A field of protobuf with bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A model with these inputs and outputs: name, and field and bytes of its type.
fn onnx(inputs: &[(&str, u8, &[u8])], outputs: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let value = |(name, kind, inner): &(&str, u8, &[u8])| [field(1, name.as_bytes()), field(2, &field(*kind, inner))].concat();
    let graph: Vec<u8> =
        inputs.iter().flat_map(|v| field(11, &value(v))).chain(outputs.iter().flat_map(|v| field(12, &value(v)))).collect();
    [&[8, 8][..], &field(7, &graph)].concat()
}

#[test]
fn files_that_are_no_app_are_refused_with_what_to_do() {
    let folder = Folder::new("hostile");
    let floats: &[u8] = &[8, 1];
    let whole = std::fs::read(models().join("boxes.onnx")).unwrap();
    let cases: [(&str, Vec<u8>, &str, &str); 6] = [
        ("text", b"this is a text\n".to_vec(), "not-onnx", ""),
        ("empty", Vec::new(), "not-onnx", ""),
        ("cut", whole[..whole.len() / 2].to_vec(), "not-onnx", ""),
        ("nothing-in", onnx(&[], &[("y", 1, floats)]), "export-unknown", "no input"),
        ("sequence", onnx(&[("x", 1, floats)], &[("y", 4, &[])]), "export-unknown", "zipmap=False"),
        // Says what the tensors look like.
        ("unknown", onnx(&[("strange", 1, floats)], &[("head", 1, floats)]), "export-unknown", "strange"),
    ];
    for (name, bytes, code, words) in cases {
        let path = format!("{name}.onnx");
        folder.put(&path, &bytes);
        let reading = folder.read(&order(&[&path]));
        let refusal = reading.refusal.clone().unwrap_or_else(|| panic!("{name}: {reading:?}"));
        assert_eq!((refusal.file.as_str(), refusal.code.as_str()), (path.as_str(), code), "{refusal:?}");
        assert!(refusal.why.en.contains(words), "{name}: {refusal:?}");
    }
    // A link out of the folder is not followed: the child may read nothing else.
    std::os::unix::fs::symlink("/etc/passwd", folder.0.join(FILES).join("link.onnx")).unwrap();
    assert_eq!(folder.read(&order(&["link.onnx"])).refusal.unwrap().code, "model-unreadable");
    // None.
    assert_eq!(folder.read(&order(&[])).refusal.unwrap().code, "draft-models");
    folder.put("labels.txt", b"\xff\xfe\x00");
    let labels = ReadingOrder { labels: Some("labels.txt".into()), ..order(&["unknown.onnx"]) };
    assert_eq!(folder.read(&labels).refusal.unwrap().code, "labels-unreadable");
    // An order that is none.
    std::fs::write(folder.0.join(ORDER), "{").unwrap();
    let exe = std::env::current_exe().unwrap();
    let child: &Path = &exe.parent().unwrap().parent().unwrap().join("examples/check_child");
    let reading = run_reading(child, &["reading"], &folder.0, &Limits::default(), Duration::from_secs(30));
    assert_eq!(reading.refusal.unwrap().code, "check-not-started");
}

#[test]
fn a_later_answer_settles_a_question() {
    let folder = Folder::new("settled");
    folder.model("helmet.onnx", "means.onnx");
    let wanted = order(&["helmet.onnx"]);
    let read = folder.read(&wanted);
    let asked: Vec<_> = read.models[0].questions.iter().map(|question| question.topic).collect();
    let question = read.models[0].questions.iter().find(|question| question.topic == Topic::Labels);
    let question = question.unwrap_or_else(|| panic!("{asked:?}"));
    assert!(read.open.contains(&question.place), "{asked:?} {:?}", read.open);
    let labels = (0..read.labels.len()).map(|n| format!("word {n}")).collect();
    let form = FormAnswers { labels, ..wanted.form.clone() };
    let next = folder.read(&ReadingOrder { facts: read.facts.clone(), form, ..wanted });
    assert!(next.yaml.contains("word 0") && !next.open.contains(&question.place), "{:?}", next.open);
    assert_ne!(read.runs, next.runs);
}
