//! Archives as people make them and as enemies do, and what the samples must be.

use std::io::Cursor;

use app_package::manifest::InputKind;
use app_package::pipeline::Drawn;
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::archive::{CODES, Fault, MAX_ARCHIVE, MAX_ENTRIES};
use super::set::MAX_SAMPLES;
use super::*;

/// A file that is gone with its handle.
fn file(bytes: &[u8]) -> File {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("pithead-set-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// A tar entry whose header says what a test likes, true or not.
fn entry(kind: EntryType, name: &[u8], size: u64, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name_literal("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax(record: &str) -> Vec<u8> {
    // A pax record begins with its length, which counts its own digits.
    let mut length = record.len() + 3;
    while format!("{length} {record}\n").len() != length {
        length += 1;
    }
    let data = format!("{length} {record}\n");
    entry(EntryType::XHeader, b"pax", data.len() as u64, data.as_bytes())
}

fn codes(faults: Result<impl std::fmt::Debug, Vec<Fault>>) -> Vec<(String, &'static str)> {
    faults.unwrap_err().into_iter().map(|fault| (fault.place, fault.code)).collect()
}

#[test]
fn hostile_archives_are_refused_with_the_place() {
    let plain = |name: &[u8]| entry(EntryType::Regular, name, 1, b"x");
    let long = |name: &[u8]| [entry(EntryType::GNULongName, b"././@LongLink", name.len() as u64, name), plain(b"short")].concat();
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "", "archive-compressed"),
        ("zip", b"PK\x03\x04 and so on".to_vec(), "", "archive-compressed"),
        ("noise", vec![0x5a; 2048], "#1", "archive-not-tar"),
        (
            "a damaged header",
            {
                let mut a = plain(b"a");
                a[0] = b'b';
                a
            },
            "#1",
            "archive-not-tar",
        ),
        ("symbolic link", entry(EntryType::Symlink, b"a", 0, b""), "a", "archive-special"),
        ("hard link", entry(EntryType::Link, b"a", 0, b""), "a", "archive-special"),
        ("character device", entry(EntryType::Char, b"a", 0, b""), "a", "archive-special"),
        ("fifo", entry(EntryType::Fifo, b"a", 0, b""), "a", "archive-special"),
        ("sparse file", entry(EntryType::GNUSparse, b"a", 0, b""), "a", "archive-special"),
        ("parent", plain(b"../a"), "../a", "archive-path"),
        ("parent in the middle", plain(b"a/../../b"), "a/../../b", "archive-path"),
        ("absolute", plain(b"/etc/passwd"), "/etc/passwd", "archive-path"),
        ("folder outside", entry(EntryType::Directory, b"../a/", 0, b""), "../a/", "archive-path"),
        ("not UTF-8", plain(b"\xff\xfe"), "\u{fffd}\u{fffd}", "archive-path"),
        ("parent in a long name", long(b"../../a"), "../../a", "archive-path"),
        ("parent in an extension", [pax("path=../a"), plain(b"a")].concat(), "../a", "archive-path"),
        ("another size in an extension", [pax("size=9999"), plain(b"a")].concat(), "#1", "archive-extension"),
        ("a link in an extension", [pax("linkpath=/etc"), plain(b"a")].concat(), "#1", "archive-extension"),
        ("sparse in an extension", [pax("GNU.sparse.realsize=1099511627776"), plain(b"a")].concat(), "#1", "archive-extension"),
        ("an extension that is none", entry(EntryType::XHeader, b"pax", 5, b"9 x\n\n"), "#1", "archive-extension"),
        ("a long extension", entry(EntryType::XHeader, b"pax", 20_000, &vec![b' '; 20_000]), "#1", "archive-extension"),
        ("a file twice", [plain(b"a"), plain(b"./a")].concat(), "./a", "archive-name-twice"),
        ("a size past the end", entry(EntryType::Regular, b"a", 8 << 30, b"x"), "#1", "archive-cut-off"),
        ("cut off", plain(b"a")[..512].to_vec(), "#1", "archive-cut-off"),
        (
            "many entries",
            (0..=MAX_ENTRIES).flat_map(|n| entry(EntryType::Directory, format!("d{n}/").as_bytes(), 0, b"")).collect(),
            "#3001",
            "archive-too-many-files",
        ),
    ];
    for (what, bytes, place, code) in table {
        assert!(CODES.contains(&code), "{code}");
        assert_eq!(codes(Archive::open(file(&bytes))), [(place.to_owned(), code)], "{what}");
    }
    // A file larger than any input, all holes.
    let big = file(&entry(EntryType::Regular, b"a", 20_000_001, b""));
    big.set_len(21_000_000).unwrap();
    assert_eq!(codes(Archive::open(big)), [("a".to_owned(), "archive-file-too-large")]);
    let huge = file(b"");
    huge.set_len(MAX_ARCHIVE + 1).unwrap();
    assert_eq!(codes(Archive::open(huge)), [(String::new(), "archive-too-large")]);
}

#[test]
fn archives_of_common_programs_are_read() {
    let long = "p/".repeat(5) + &"x".repeat(90);
    let bytes = [
        entry(EntryType::Directory, b"./", 0, b""),
        pax("mtime=1.5"),
        entry(EntryType::Regular, b"./a.csv", 3, b"abc"),
        pax("path=\u{76d8}/\u{6837}.csv"),
        entry(EntryType::Regular, b"ascii", 2, b"de"),
        entry(EntryType::GNULongName, b"././@LongLink", long.len() as u64 + 1, format!("{long}\0").as_bytes()),
        entry(EntryType::Regular, b"cut", 1, b"f"),
        vec![0; 1024],
    ]
    .concat();
    let mut archive = Archive::open(file(&bytes)).unwrap();
    assert_eq!(archive.paths().collect::<Vec<_>>(), ["a.csv", long.as_str(), "\u{76d8}/\u{6837}.csv"]);
    assert_eq!(archive.read("a.csv").unwrap(), b"abc");
    assert_eq!(archive.read("\u{76d8}/\u{6837}.csv").unwrap(), b"de");
    assert_eq!((archive.read(&long).unwrap(), archive.read("b")), (b"f".to_vec(), None));
}

/// A test set in the making, changed as a test likes.
struct Draft {
    files: Vec<(String, Vec<u8>)>,
    index: Value,
}

impl Draft {
    fn new(input: &str, data: &[u8], expect: &Value, samples: usize) -> Self {
        let mut draft = Self { files: Vec::new(), index: json!({"format": 1, "input": input, "samples": []}) };
        for n in 0..samples {
            draft.files.push((format!("{n}.in"), data.to_vec()));
            draft.files.push((format!("{n}.json"), expect.to_string().into_bytes()));
            draft.index["samples"].as_array_mut().unwrap().push(json!({"input": format!("{n}.in"), "expect": format!("{n}.json")}));
        }
        draft
    }

    fn table() -> Self {
        Self::new("tabular", b"p,q\n1,2\n", &json!({"values": [{"id": "csr", "value": 60.5, "unit": "%"}]}), 10)
    }

    fn set(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.retain(|(path, _)| path != name);
        self.files.push((name.into(), bytes.to_vec()));
        self
    }

    fn archive(&self) -> Archive {
        let index = self.index.to_string().into_bytes();
        self.archive_with(&[("set.json", &index)])
    }

    fn archive_with(&self, more: &[(&str, &[u8])]) -> Archive {
        let mut tar = Builder::new(Vec::new());
        let files = self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        for (name, bytes) in files.chain(more.iter().copied()) {
            let mut header = Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        Archive::open(file(&tar.into_inner().unwrap())).unwrap()
    }

    /// First fault of reading the draft for a figure.
    fn fault(&self, metric: Metric) -> (String, &'static str) {
        codes(TestSet::read(&mut self.archive(), metric)).remove(0)
    }
}

/// Four samples of 16 bits.
fn wav() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for sample in [0i16, 100, -100, 0] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(RgbImage::new(width, height)).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn a_set_is_read_from_json_and_from_yaml() {
    let draft = Draft::table();
    let mut archive = draft.archive();
    let set = TestSet::read(&mut archive, Metric::Mae).unwrap();
    assert_eq!((set.input, set.samples.len()), (InputKind::Tabular, 10));
    assert_eq!(set.quantity, Some(("csr".into(), "%".into())));
    assert_eq!(set.samples[3], set::Sample { input: "3.in".into(), expected: Expected::Value(60.5), scene: Drawn::default() });
    assert!(set.check_inputs(&mut archive).is_empty());
    let yaml = serde_yaml_ng::to_string(&draft.index).unwrap();
    assert_eq!(TestSet::read(&mut draft.archive_with(&[("set.yaml", yaml.as_bytes())]), Metric::Rmse).unwrap(), set);
    // The result of a golden sample serves as an expected one: its best class counts.
    let golden = json!({"classes": [{"label": "weak", "score": 0.2}, {"label": "strong", "score": 0.7}]});
    let set = TestSet::read(&mut Draft::new("tabular", b"p\n1\n", &golden, 10).archive(), Metric::Accuracy).unwrap();
    assert_eq!(set.samples[0].expected, Expected::Class("strong".into()));
    let golden = json!({"detections": [{"label": "bolt", "score": 0.7, "box": [1.0, 2.0, 3.0, 4.0]}]});
    let set = TestSet::read(&mut Draft::new("image", b"", &golden, 10).archive(), Metric::Map50).unwrap();
    assert_eq!(set.samples[0].expected, Expected::Objects(vec![Detection::new("bolt", 1.0, [1.0, 2.0, 3.0, 4.0])]));
}

#[test]
fn what_is_wrong_with_a_set_is_told_with_its_place() {
    let place = |text: &str| text.to_owned();
    let change = |key: &str, value: Value| {
        let mut draft = Draft::table();
        draft.index[key] = value;
        draft
    };
    let value = |text: &str| Draft::table().set("3.json", text.as_bytes());
    let boxes = |text: &str| Draft::new("image", &png(8, 8), &json!({}), 10).set("3.json", text.as_bytes());
    let mut repeated = Draft::table();
    repeated.index["samples"][4]["input"] = json!("3.in");
    let mut missing = Draft::table();
    missing.index["samples"][4]["expect"] = json!("none.json");
    let table = [
        (change("format", json!(2)).fault(Metric::Mae), (place("set.json"), "index-format")),
        (change("more", json!(2)).fault(Metric::Mae), (place("set.json"), "index-malformed")),
        (change("input", json!("film")).fault(Metric::Mae), (place("set.json"), "index-malformed")),
        (change("samples", json!([])).fault(Metric::Mae), (place("set.json"), "samples-too-few")),
        (
            change("samples", json!(vec![json!({"input": "0.in", "expect": "0.json"}); MAX_SAMPLES + 1])).fault(Metric::Mae),
            (place("set.json"), "samples-too-many"),
        ),
        (Draft::table().fault(Metric::Map50), (place("set.json"), "input-metric")),
        (repeated.fault(Metric::Mae), (place("set.json samples[4]"), "sample-repeated")),
        (missing.fault(Metric::Mae), (place("set.json samples[4]"), "sample-file-missing")),
        (Draft::table().set("notes.txt", b"x").fault(Metric::Mae), (place("notes.txt"), "file-unused")),
        (Draft::table().set("3.json", &vec![b' '; 2 << 20]).fault(Metric::Mae), (place("3.json"), "archive-file-too-large")),
        (value("{").fault(Metric::Mae), (place("3.json"), "expect-malformed")),
        (value(r#"{"secret": 1}"#).fault(Metric::Mae), (place("3.json"), "expect-malformed")),
        (value("{}").fault(Metric::Mae), (place("3.json"), "expect-value")),
        (
            value(r#"{"values": [{"id": "csr", "value": 1}, {"id": "cri", "value": 1}]}"#).fault(Metric::Mae),
            (place("3.json"), "expect-value"),
        ),
        (value(r#"{"values": [{"id": "cri", "value": 1, "unit": "%"}]}"#).fault(Metric::Mae), (place("3.json"), "expect-values-mixed")),
        (value(r#"{"classes": [{"label": "a"}]}"#).fault(Metric::Mae), (place("3.json"), "expect-metric")),
        (Draft::table().fault(Metric::Accuracy), (place("0.json"), "expect-metric")),
        (Draft::new("tabular", b"p\n1\n", &json!({}), 10).fault(Metric::Accuracy), (place("0.json"), "expect-class")),
        (boxes(r#"{"detections": [{"label": "bolt", "box": [0, 0, 0, 4]}]}"#).fault(Metric::Map50), (place("3.json"), "expect-box")),
        (boxes(r#"{"detections": [{"label": "bolt", "box": [-1, 0, 4, 4]}]}"#).fault(Metric::Map50), (place("3.json"), "expect-box")),
        (
            boxes(&json!({"detections": vec![json!({"label": "b", "box": [0, 0, 1, 1]}); 301]}).to_string()).fault(Metric::Map50),
            (place("3.json"), "expect-too-many-boxes"),
        ),
        (boxes("{}").fault(Metric::Map50), (place(""), "expect-no-box")),
    ];
    for (found, expected) in table {
        assert!(CODES.contains(&expected.1), "{}", expected.1);
        assert_eq!(found, expected);
    }
    let draft = Draft::table();
    assert_eq!(codes(TestSet::read(&mut draft.archive_with(&[]), Metric::Mae)), [(place(""), "index-missing")]);
    let mut both = draft.archive_with(&[("set.json", b"{}"), ("set.yaml", b"{}")]);
    assert_eq!(codes(TestSet::read(&mut both, Metric::Mae)), [(place(""), "index-twice")]);
}

#[test]
fn inputs_must_be_what_the_set_says() {
    let inputs = |draft: &Draft, metric| {
        let mut archive = draft.archive();
        let set = TestSet::read(&mut archive, metric).unwrap();
        set.check_inputs(&mut archive).into_iter().map(|fault| (fault.place, fault.code)).collect::<Vec<_>>()
    };
    let place = |text: &str| text.to_owned();
    assert_eq!(inputs(&Draft::table().set("3.in", b"p,q\n1\n"), Metric::Mae), [(place("3.in"), "input-not-csv")]);
    assert_eq!(inputs(&Draft::table().set("3.in", &[0xff; 8]), Metric::Mae), [(place("3.in"), "input-not-csv")]);
    let sound = Draft::new("audio", &wav(), &json!({"classes": [{"label": "a"}]}), 10);
    assert!(inputs(&sound, Metric::Accuracy).is_empty());
    assert_eq!(inputs(&sound.set("3.in", b"amplitude\n1\n"), Metric::Accuracy), [(place("3.in"), "input-not-sound")]);
    let csv = Draft::new("audio", b"amplitude\n1\n", &json!({"classes": [{"label": "a"}]}), 10);
    assert_eq!(inputs(&csv.set("3.in", &wav()), Metric::Accuracy), [(place("3.in"), "input-not-csv")]);
    let picture = |w: f32| Draft::new("image", &png(8, 8), &json!({"detections": [{"label": "b", "box": [0.0, 0.0, w, 4.0]}]}), 10);
    assert!(inputs(&picture(8.0), Metric::Map50).is_empty());
    assert_eq!(inputs(&picture(8.0).set("3.in", b"\x89PNG"), Metric::Map50), [(place("3.in"), "input-not-a-picture")]);
    assert_eq!(inputs(&picture(10.0), Metric::Map50).len(), 10, "boxes outside");
}

/// A clip of ten frames at five a second.
fn avi() -> Vec<u8> {
    let mut jpeg = Cursor::new(Vec::new());
    DynamicImage::from(RgbImage::new(16, 16)).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    crate::clip::write(&vec![jpeg.into_inner(); 10], (1, 5), [16, 16])
}

const STAY: &str = r#"{"zone": "danger", "label": "person", "begin": 0.4, "end": 1.2}"#;

/// Ten clips in which somebody stayed in the zone, which is drawn in all of them.
fn clips(expect: &str) -> Draft {
    let mut draft = Draft::new("video", &avi(), &json!({}), 10);
    draft.index["scene"] = json!({"zones": {"danger": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}, "lines": {"gate": [[0, 0.5], [1, 0.5]]}});
    for n in 0..10 {
        draft = draft.set(&format!("{n}.json"), expect.as_bytes());
    }
    draft
}

#[test]
fn what_is_wrong_with_a_set_of_clips_is_told_with_its_place() {
    let good = format!(r#"{{"events": [{STAY}], "counts": {{"lines": {{"gate": {{"in": 1, "out": 0}}}}, "tracks": {{"person": 1}}}}}}"#);
    for metric in [Metric::EventF1, Metric::EventPrecision, Metric::EventRecall, Metric::CrossingMae] {
        let mut archive = clips(&good).archive();
        let set = TestSet::read(&mut archive, metric).unwrap_or_else(|faults| panic!("{metric:?}: {faults:?}"));
        assert_eq!((set.check_inputs(&mut archive), set.tolerance), (vec![], truth::TOLERANCE));
    }
    let one = |third: &str| clips(&good).set("3.json", third.as_bytes());
    let events = |event: &str| one(&format!(r#"{{"events": [{event}]}}"#));
    let index = |key: &str, value: Value| {
        let mut draft = clips(&good);
        draft.index[key] = value;
        draft
    };
    let mut own_scene = clips(&good);
    own_scene.index["samples"][3]["scene"] = json!({"lines": {"gate": [[0, 0.5], [1, 0.5]]}});
    let many = format!(r#"{{"events": [{}]}}"#, vec![r#"{"zone":"danger","begin":0}"#; 10_000].join(","));
    let event = Metric::EventF1;
    for (draft, metric, place, code) in [
        (one("{}"), event, "3.json", "expect-events"),
        (one(r#"{"events": [], "detections": []}"#), event, "", ""),
        (one(r#"{"events": [], "classes": [{"label": "a"}]}"#), event, "3.json", "expect-metric"),
        (one(&many), event, "3.json", "expect-too-many-events"),
        (events(r#"{"zone": "danger", "begin": 1.2, "end": 0.4}"#), event, "3.json", "truth-event-times"),
        (events(r#"{"zone": "danger", "begin": -1}"#), event, "3.json", "truth-event-times"),
        (events(r#"{"zone": "danger", "begin": NaN}"#), event, "3.json", "expect-malformed"),
        (events(r#"{"zone": "danger", "begin": 1e999}"#), event, "3.json", "expect-malformed"),
        (events(r#"{"zone": "danger"}"#), event, "3.json", "expect-malformed"),
        (events(r#"{"zone": "danger", "begin": 0, "sort": 1}"#), event, "3.json", "expect-malformed"),
        (events(r#"{"begin": 0}"#), event, "3.json", "truth-event-what"),
        (events(r#"{"zone": "danger", "direction": "in", "begin": 0}"#), event, "3.json", "truth-event-what"),
        (events(r#"{"zone": "yard", "begin": 0}"#), event, "3.json", "event-undrawn"),
        (own_scene, event, "3.json", "event-undrawn"),
        (clips(r#"{"events": []}"#), event, "", "expect-no-event"),
        (one(r#"{"events": []}"#), Metric::CrossingMae, "3.json", "expect-crossings"),
        (one(r#"{"counts": {"lines": {"door": {"in": 1}}}}"#), Metric::CrossingMae, "3.json", "event-undrawn"),
        (index("scene", json!({"zones": {"danger": [[0.1, 0.1], [0.9, 0.9]]}})), event, "set.json", "scene-shape"),
        (index("scene", json!({"fences": {}})), event, "set.json", "index-malformed"),
        (index("tolerance", json!("2m")), event, "set.json", "tolerance-range"),
        (index("tolerance", json!("soon")), event, "set.json", "index-malformed"),
        // Clips have figures of their own, and nothing else has them.
        (clips(&good), Metric::Mae, "set.json", "input-metric"),
        (clips(&good), Metric::Map50, "set.json", "input-metric"),
        (Draft::table(), event, "set.json", "input-metric"),
        (Draft::table().set("3.json", br#"{"events": []}"#), Metric::Mae, "3.json", "expect-metric"),
    ] {
        let found = TestSet::read(&mut draft.archive(), metric).err().map(|mut faults| faults.remove(0));
        let found = found.map(|fault| (fault.place, fault.code)).unwrap_or_default();
        assert_eq!(found, (place.to_owned(), code));
        assert!(code.is_empty() || CODES.contains(&code), "{code}");
    }
    let mut drawn = Draft::table();
    drawn.index["scene"] = json!({"zones": {"danger": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}});
    assert_eq!(drawn.fault(Metric::Mae), ("set.json".to_owned(), "scene-shape"));
    let inputs = |draft: Draft| {
        let mut archive = draft.archive();
        let set = TestSet::read(&mut archive, event).unwrap();
        set.check_inputs(&mut archive).into_iter().map(|fault| (fault.place, fault.code)).collect::<Vec<_>>()
    };
    // Two seconds long.
    assert_eq!(inputs(events(r#"{"zone": "danger", "begin": 2.0, "end": 2.0}"#)), []);
    assert_eq!(inputs(events(r#"{"zone": "danger", "begin": 2.1}"#)), [("3.in".to_owned(), "event-beyond")]);
    assert_eq!(inputs(events(r#"{"zone": "danger", "begin": 0, "end": 2.1}"#)), [("3.in".to_owned(), "event-beyond")]);
    // Cut off, a picture, MP4, another codec.
    let cut = avi();
    for bytes in [&cut[..cut.len() / 2], &png(8, 8), b"\0\0\0\x20ftypisom", include_bytes!("../../tests/clips/h264.avi")] {
        assert_eq!(inputs(clips(&good).set("3.in", bytes)), [("3.in".to_owned(), "input-not-a-clip")]);
    }
}

#[test]
fn events_are_summed_over_clips() {
    let there = |begins: &[f64]| {
        let event = |begin: &f64| json!({"zone": "danger", "begin": begin, "end": begin});
        Expected::Events(serde_json::from_value(begins.iter().map(event).collect()).unwrap())
    };
    let told = |begins: &[f64]| {
        let event = |begin: &f64| crate::output::Event { zone: Some("danger".into()), begin: *begin, ..Default::default() };
        Ok(AppOutput { events: begins.iter().map(event).collect(), ..AppOutput::default() })
    };
    let bad = || Err(AppError::new("input-too-slow", "x"));
    let tally = |with_bad: bool| {
        let mut tally = Tally { tolerance: Duration::from_millis(500), ..Tally::default() };
        tally.add(there(&[1.0, 5.0, 9.0]), told(&[1.5, 5.6, 9.1, 9.2]), None);
        tally.add(there(&[]), told(&[3.0]), None);
        tally.add(there(&[2.0]), if with_bad { bad() } else { told(&[]) }, None);
        tally
    };
    // Of four events two are found, of five told two are right.
    let figure = |with_bad, metric| tally(with_bad).sum_up(3, metric);
    assert_eq!(figure(false, Metric::EventRecall).value, Some(0.5));
    assert_eq!(figure(false, Metric::EventPrecision).value, Some(0.4));
    assert_eq!(figure(false, Metric::EventF1).value, Some(4.0 / 9.0));
    let mut flood = tally(false);
    flood.add(there(&[]), Ok(AppOutput { left_out: 5, ..AppOutput::default() }), None);
    assert_eq!(flood.sum_up(4, Metric::EventPrecision).value, Some(0.2), "what is left out was told");
    let without = figure(true, Metric::EventF1);
    assert_eq!((without.value, without.failures), (Some(4.0 / 9.0), 1), "no answer finds nothing");
    assert_eq!(figure(true, Metric::EventPrecision).reason.as_deref(), Some("samples-failed"), "no answer is no event that is wrong");
    let mut tally = Tally::default();
    let counted = |json: &str| serde_json::from_str::<AppOutput>(&format!(r#"{{"counts": {{"lines": {json}}}}}"#)).unwrap();
    let lines = vec![("gate".to_owned(), Crossings { inward: 3, outward: 1 }), ("door".to_owned(), Crossings { inward: 2, outward: 0 })];
    tally.add(Expected::Crossings(lines), Ok(counted(r#"{"gate": {"in": 2, "out": 3}, "other": {"in": 9}}"#)), None);
    // 1, 2, 2, 0 off.
    assert_eq!(tally.sum_up(1, Metric::CrossingMae).value, Some(1.25));
}

#[test]
fn a_figure_of_values_needs_an_answer_to_every_sample() {
    let bad = || Err(AppError::new("csv-column-missing", "x"));
    let quantity = ("csr".to_owned(), String::new());
    let answer = |value: f64| {
        Ok(AppOutput { values: vec![crate::output::ValueOut { id: "csr".into(), value, unit: String::new() }], ..AppOutput::default() })
    };
    let mut tally = Tally::default();
    tally.add(Expected::Value(1.0), answer(2.0), Some(&quantity));
    tally.add(Expected::Value(1.0), bad(), Some(&quantity));
    let evaluation = tally.sum_up(2, Metric::Mae);
    assert_eq!((evaluation.value, evaluation.failures, evaluation.reason.as_deref()), (None, 1, Some("samples-failed")));
    let mut tally = Tally::default();
    tally.add(Expected::Value(1.0), bad(), Some(&quantity));
    assert_eq!(tally.sum_up(1, Metric::Mae).reason.as_deref(), Some("csv-column-missing"), "all in the same way");
    // For accuracy a sample without an answer counts as wrong.
    let mut tally = Tally::default();
    let class = crate::output::ClassScore { label: "a".into(), score: 1.0, model: None };
    tally.add(Expected::Class("a".into()), Ok(AppOutput { classes: vec![class], ..AppOutput::default() }), None);
    tally.add(Expected::Class("a".into()), bad(), None);
    let evaluation = tally.sum_up(2, Metric::Accuracy);
    assert_eq!((evaluation.value, evaluation.failures, evaluation.reason), (Some(0.5), 1, None));
}

/// Nothing that is stored or shown can tell of a sample: the types have no place for it.
#[test]
fn an_evaluation_tells_of_no_sample() {
    let mut tally = Tally::default();
    tally.add(Expected::Class("secret-label".into()), Err(AppError::new("input-not-csv", "secret-file.csv holds secret")), None);
    let text = serde_json::to_string(&tally.sum_up(1, Metric::Accuracy)).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let parts: std::collections::BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(parts.into_keys().collect::<Vec<_>>(), ["engine", "failures", "reason", "samples"]);
}

/// An archive of ten pictures with this expected result of each.
fn expecting(expected: &Value) -> Archive {
    let samples: Vec<Value> = (0..10).map(|n| json!({"input": format!("{n}.png"), "expect": format!("{n}.json")})).collect();
    let index = json!({"format": 1, "input": "image", "samples": samples}).to_string();
    let expected = expected.to_string();
    let mut tar = Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    add("set.json", index.as_bytes());
    for n in 0..10 {
        add(&format!("{n}.png"), b"a picture");
        add(&format!("{n}.json"), expected.as_bytes());
    }
    Archive::open(file(&tar.into_inner().unwrap())).unwrap()
}

#[test]
fn masks_points_and_texts_are_expected_as_golden_samples_have_them() {
    let object = |more: Value| {
        let mut object = json!({"label": "person", "score": 0.9, "box": [1, 2, 30, 40], "area": 0.1});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"detections": [object]})
    };
    let mask = json!({"mask": {"size": [2, 2], "counts": [1, 3]}});
    let points = |score: f64| json!({"keypoints": [{"name": "nose", "x": 3.0, "y": 4.0, "score": score}]});
    let good: [(Metric, Value); 6] = [
        (Metric::Map50, object(mask.clone())),
        (Metric::Map50, object(json!({"corners": [[1, 2], [3, 2], [3, 4], [1, 4]]}))),
        (Metric::MaskMap50, object(mask.clone())),
        (Metric::OksMap50, object(points(1.0))),
        (Metric::Cer, json!({"texts": [{"text": "KJ-2026", "score": 1}, {"text": "皮带"}]})),
        (Metric::MaskMap50, object(json!({"mask": {"size": [2, 2], "counts": [0, 4]}, "keypoints": []}))),
    ];
    for (metric, expected) in good {
        let set = TestSet::read(&mut expecting(&expected), metric).unwrap_or_else(|faults| panic!("{metric:?} {expected}: {faults:?}"));
        assert_eq!(set.samples.len(), 10);
        if metric == Metric::Cer {
            assert_eq!(set.samples[0].expected, Expected::Text("KJ-2026\n皮带".into()));
        }
    }
    let bad = [
        (Metric::MaskMap50, object(json!({})), "expect-mask"),
        (Metric::MaskMap50, object(json!({"mask": {"size": [2, 2], "counts": [4]}})), "expect-mask"),
        (Metric::OksMap50, object(mask), "expect-keypoints"),
        (Metric::OksMap50, object(points(0.0)), "expect-keypoints"),
        (Metric::OksMap50, object(json!({"keypoints": [{"name": "", "x": 1, "y": 1, "score": 1}]})), "expect-keypoints"),
        (Metric::OksMap50, object(json!({"keypoints": [{"name": "nose", "x": 1e99, "y": 1, "score": 1}]})), "expect-malformed"),
        (Metric::Map50, object(json!({"corners": [[1, 2], [3, 1e99], [3, 4], [1, 4]]})), "expect-malformed"),
        (Metric::Cer, json!({"texts": []}), "expect-text"),
        (Metric::Cer, json!({"texts": [{"text": " "}]}), "expect-text"),
        (Metric::Cer, json!({"texts": [{"text": "x".repeat(2_001)}]}), "expect-text"),
        (Metric::Cer, object(json!({})), "expect-metric"),
        (Metric::Map50, json!({"texts": [{"text": "x"}]}), "expect-metric"),
    ];
    for (metric, expected, code) in bad {
        let found = codes(TestSet::read(&mut expecting(&expected), metric));
        assert!(
            CODES.contains(&code) && found.iter().all(|(_, found)| *found == code) && found.len() == 10,
            "{code} {expected}: {found:?}"
        );
    }
}
