use super::*;
use crate::file_kind::Refused;
use crate::path::PathFault;
use crate::pipeline::{BoxUnit, Post};

const GOOD: &str = include_str!("../../fixtures/app.yaml");

/// The faults after one replacement in the good file, as `code@line key`.
fn after(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    faults_of(&GOOD.replacen(from, to, 1))
}

fn faults_of(yaml: &str) -> Vec<String> {
    let faults = parse(yaml).map(|_| ()).unwrap_err();
    faults.iter().map(|f| format!("{}@{} {}", f.code, f.line.unwrap_or(0), f.key)).collect()
}

fn codes_of(yaml: &str) -> Vec<&'static str> {
    parse(yaml).unwrap_err().iter().map(|f| f.code).collect()
}

fn line_of(text: &str) -> usize {
    GOOD.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn the_example_is_valid_and_read_whole() {
    let app = parse(GOOD).unwrap();
    assert_eq!(parse(&format!("\u{feff}{GOOD}")).unwrap(), app, "a byte-order mark is passed over");
    assert_eq!(app.models[0].engine.min, "1.17", "a text that looks like a number stays a text");
    assert_eq!(app.golden[0].truth.as_ref().unwrap().counts.as_ref().unwrap()["bolt"], 1);
    assert_eq!(app.parameters[0].default, serde_json::json!(0.6));
    assert!(app.safety);
    assert_eq!(app.description.en.lines().count(), 3);
}

#[test]
fn canonical_json_reads_back_equal() {
    let app = parse(GOOD).unwrap();
    let json = crate::oci::config_json(&app);
    assert_eq!(serde_json::from_slice::<AppManifest>(&json).unwrap(), app);
    // JSON is YAML: the table of the format and the types agree on every key.
    assert_eq!(parse(&String::from_utf8(json).unwrap()).unwrap(), app);
}

#[test]
fn all_faults_at_once_with_lines() {
    let yaml =
        GOOD.replace("name: belt-watch", "nmae: belt-watch").replace("score: 0.5", "score: 7").replace("safety: true", "safety: maybe");
    let found = faults_of(&yaml);
    for wanted in [
        "missing-key@2 name".to_owned(),
        "unknown-key-hint@3 nmae".to_owned(),
        format!("wrong-type-bool@{} safety", line_of("safety: true")),
        format!("out-of-range@{} pipeline.post[0].grid.score", line_of("score: 0.5")),
    ] {
        assert!(found.contains(&wanted), "{wanted} not in {found:#?}");
    }
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn single_faults() {
    let table = [
        ("format: 1\n", "format: 3\n", "format-unsupported"),
        ("name: belt-watch", "name: Belt Watch", "slug-shape"),
        ("name: belt-watch", "name: a--b", "slug-shape"),
        ("version: 1.2.0", "version: 1.2", "version-shape"),
        ("version: 1.2.0", "version: 1.2.0+build", "version-build"),
        ("title: { zh: 皮带异物检测, en: Belt foreign-object watch }", "title: Belt", "text-shape"),
        ("title: { zh: 皮带异物检测, en: Belt foreign-object watch }", "title: {zh: \"\"}", "text-empty"),
        ("changes: { zh: 首个版本。, en: First version. }", "changes:", "empty-value"),
        ("input: image", "input: smell", "not-one-of"),
        ("file: model.onnx", "file: ../model.onnx", "path-parent"),
        ("file: model.onnx", "file: /etc/model.onnx", "path-absolute"),
        ("file: model.onnx", "file: model.exe", "file-extension"),
        ("shape: [1, 1]", "shape: [1, 99999999999999999999]", "wrong-type-int"),
        ("scale: 100", "scale: .nan", "number-not-finite"),
        ("scale: 100", "scale: 1e999", "number-not-finite"),
        ("scale: 100", "scale: 1e300", "out-of-range"),
        ("scale: 100", "scale: \"100\"", "wrong-type-number"),
        ("choices: [day, night]", "choices: day", "wrong-type-list"),
        ("output: heat", "output: haet", "output-unknown"),
        ("id: lump", "id: bolt", "duplicate-name"),
        ("shape: [1, 2, 8, 12]", "shape: [1, 3, 8, 12]", "labels-count"),
        ("shape: [1, 3, 64, 96]", "shape: [1, 64, 96, 3]", "input-shape"),
        ("datatype: FP32, shape: [1, 3", "datatype: UINT8, shape: [1, 3", "input-datatype"),
        ("mean: [0.5, 0.5, 0.5]", "mean: [0.5]", "per-channel"),
        ("{label} on the belt", "{lable} on the belt", "placeholder-unknown"),
        ("default: 0.6", "default: 6", "default-out-of-range"),
        ("default: 0.6", "default: high", "default-type"),
        ("default: day", "default: noon", "default-out-of-range"),
        ("max: 1\n", "max: -1\n", "min-over-max"),
        ("type: choice", "type: string", "choices-not-for-type"),
        ("counts: { bolt: 1", "counts: { nut: 1", "truth-unknown"),
        ("input: golden/bolt-1.png", "input: golden/bolt-1.csv", "file-extension"),
        ("safety: true", "safety: true\nsafety: false", "duplicate-key"),
        ("safety: true", "safety: !!bool true", "yaml-tag"),
        ("safety: true", "safety: &a true", "yaml-alias"),
        ("safety: true", "safety: *a", "yaml-syntax"),
        ("safety: true", "safety: true\n? [a, b]\n: c", "key-not-text"),
        ("safety: true", "safety: true\n7: c", "unknown-key"),
        ("license: Apache-2.0", "license: Apache-2.0\nproviders: [openvino, cuda, openvino]", "duplicate-name"),
        ("license: Apache-2.0", "license: Apache-2.0\nproviders: [openvino, cpu]", "not-one-of"),
        ("license: Apache-2.0", "license: Apache-2.0\nproviders: openvino", "wrong-type-list"),
        ("license: Apache-2.0", "license: \"a\\nb\"", "text-one-line"),
        ("license: Apache-2.0", "license: Apache2", "license-unknown-hint"),
        ("license: Apache-2.0", "license: GPL-3.0", "license-deprecated"),
        ("license: Apache-2.0", "license: MIT Apache-2.0", "license-expression"),
        ("license: Apache-2.0", "license: \"a\\u202eb\"", "text-control"),
        ("grid:", "gird:", "exactly-one-key"),
        ("metrics:\n", "metrics: none\n", "yaml-syntax"),
    ];
    for (from, to, code) in table {
        let found = after(from, to);
        assert!(found.iter().any(|f| f.starts_with(&format!("{code}@"))), "{to:?}: wanted {code}, found {found:?}");
    }
}

#[test]
fn input_kinds_need_their_pre_processing() {
    assert!(after("input: image", "input: tabular").iter().any(|f| f.starts_with("pre-not-for-input@")));
}

#[test]
fn over_long_names() {
    assert_eq!(after("name: belt-watch", &format!("name: {}", "a".repeat(61))), ["text-too-long@3 name"]);
    let long = format!("file: {}.onnx", "a".repeat(98));
    assert!(after("file: model.onnx", &long)[0].starts_with("path-too-long@"));
    let message = parse(&GOOD.replace("belt-watch", &"a".repeat(10_000))).unwrap_err()[0].message("en");
    assert!(message.len() < 300, "{message}");
}

#[test]
fn hostile_yaml_gives_faults() {
    assert_eq!(codes_of(&" ".repeat(MAX_YAML_BYTES + 1)), ["yaml-too-large"]);
    assert_eq!(codes_of(""), ["yaml-empty"]);
    assert_eq!(codes_of("# nothing\n"), ["yaml-empty"]);
    assert_eq!(codes_of("- a\n"), ["yaml-not-a-map"]);
    assert_eq!(codes_of("just text"), ["yaml-not-a-map"]);
    assert_eq!(codes_of("a: 1\n---\nb: 2\n"), ["yaml-documents"]);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
    assert!(codes_of(bomb).contains(&"yaml-alias"));
    assert!(codes_of("a: &x {b: *x}").contains(&"yaml-alias"));
    assert!(codes_of("<<: {a: 1}").contains(&"yaml-alias"));
    // The scanner looks ahead for keys, so that its own limit of 255 flow levels may be met first.
    for deep in [format!("a: {}", "[".repeat(100_000)), "- ".repeat(100_000), "? ".repeat(100_000), format!("a: {}", "{b: ".repeat(60_000))]
    {
        assert!(matches!(codes_of(&deep)[..], ["yaml-too-deep" | "yaml-syntax"]), "{:?}", codes_of(&deep));
    }
    assert_eq!(codes_of(&format!("a: {}1{}", "[".repeat(30), "]".repeat(30))), ["yaml-too-deep"]);
    assert_eq!(codes_of(&"- ".repeat(30)), ["yaml-too-deep"]);
    assert_eq!(codes_of(&format!("a: [{}]", "1,".repeat(100_000))), ["yaml-too-complex"]);
    let many = (0..20_000).map(|i| format!("k{i}: 1")).collect::<Vec<_>>().join("\n");
    let found = codes_of(&many);
    assert_eq!((found.len(), found.last().copied()), (MAX_FAULTS + 1, Some("too-many-faults")));
}

#[test]
fn no_cut_of_the_example_panics() {
    for (i, _) in GOOD.char_indices().step_by(7) {
        let (head, tail) = GOOD.split_at(i);
        let _ = (parse(head), parse(tail));
    }
    for c in ["\0", "\t", "\u{feff}", "{", "]", "'", "\"", "|", "%", "@", "\r", "&", "*", "!"] {
        for (i, _) in GOOD.char_indices().step_by(31) {
            let (head, tail) = GOOD.split_at(i);
            let _ = parse(&format!("{head}{c}{tail}"));
        }
    }
}

#[test]
fn every_code_has_both_languages_once() {
    let mut seen = std::collections::HashSet::new();
    for row in messages::MESSAGES {
        assert!(seen.insert(row.code), "{} twice", row.code);
        assert!(row.en.is_ascii() || row.en.contains('—'), "{}", row.en);
        assert!(!row.zh.is_ascii() && row.zh != row.en, "{}", row.code);
        // Half-width stops next to Chinese characters are slips of the keyboard; between code words they are code.
        let chinese = |c: char| ('\u{3400}'..='\u{9fff}').contains(&c);
        let signs: Vec<char> = row.zh.chars().collect();
        let slip = signs.windows(2).any(|pair| chinese(pair[0]) && matches!(pair[1], ',' | ';' | '?' | '!' | '(' | ')'));
        assert!(!slip && !row.zh.contains("},"), "{}", row.zh);
        for text in [row.zh, row.en] {
            for name in text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name) {
                assert!(messages::ARGUMENTS.contains(&name), "{} quotes {name}", row.code);
            }
        }
    }
    let sources = [
        include_str!("check.rs"),
        include_str!("rules.rs"),
        include_str!("rules/steps.rs"),
        include_str!("rules/objects.rs"),
        include_str!("rules/own.rs"),
        include_str!("rules/spectrum.rs"),
        include_str!("rules/video.rs"),
        include_str!("files.rs"),
        include_str!("license.rs"),
        include_str!("yaml.rs"),
        include_str!("../validate.rs"),
    ];
    for code in sources.iter().flat_map(|s| s.split("Fault::new(\"").skip(1)).filter_map(|rest| rest.split('"').next()) {
        assert!(seen.contains(code), "{code} has no message");
    }
    for refused in [Refused::Program, Refused::Pickle, Refused::Archive] {
        assert!(seen.contains(refused.fault().unwrap()));
    }
    for fault in [PathFault::Empty, PathFault::Part, PathFault::Character, PathFault::Combining, PathFault::TooDeep] {
        assert!(seen.contains(fault.code()));
    }
}

fn entries() -> Vec<FileEntry> {
    ["app.yaml", "model.onnx", "golden/bolt-1.png", "golden/bolt-1.json", "media/cover.png", "README.md"]
        .map(|path| FileEntry { path: path.into(), size: 1_000 })
        .into()
}

#[test]
fn a_text_of_what_nobody_sees_is_no_text() {
    let title = parse(GOOD).unwrap().title.en;
    for unseen in ['\u{200b}', '\u{2060}', '\u{feff}', '\u{202e}'] {
        let yaml = GOOD.replacen(&title, &format!("\"\\u{:04x}\"", u32::from(unseen)), 1);
        assert_eq!(codes_of(&yaml), ["text-control"], "{unseen:?}");
    }
}

#[test]
fn files_that_fit() {
    assert_eq!(check_files(&parse(GOOD).unwrap(), GOOD, &entries()), []);
}

#[test]
fn files_that_do_not_fit() {
    let app = parse(GOOD).unwrap();
    let with = |change: &dyn Fn(&mut Vec<FileEntry>)| {
        let mut files = entries();
        change(&mut files);
        check_files(&app, GOOD, &files).iter().map(|f| format!("{} {}", f.code, f.key)).collect::<Vec<_>>()
    };
    let faults = check_files(&app, GOOD, &entries()[2..]);
    let named = faults.iter().find(|f| f.key == "models[0].file").unwrap();
    assert!(GOOD.lines().nth(named.line.unwrap() as usize - 1).unwrap().contains("model.onnx"), "{named:?}");
    let extra = |path: &str, size| FileEntry { path: path.into(), size };
    assert_eq!(with(&|f| drop(f.remove(1))), ["file-missing models[0].file"]);
    assert_eq!(with(&|f| f[1].size = 0), ["file-empty models[0].file"]);
    assert_eq!(with(&|f| f[4].size = 3 << 20), ["file-too-large media[0].file"]);
    assert_eq!(with(&|f| f.push(extra("../evil", 1))), ["path-parent "]);
    assert_eq!(with(&|f| f.push(extra("big.bin", MAX_FILE_BYTES + 1))), ["file-too-large big.bin"]);
    assert_eq!(with(&|f| f.push(extra("train.py", 1))), ["file-program train.py"]);
    assert_eq!(with(&|f| f.push(extra("model.pth", 1))), ["file-pickle model.pth"]);
    assert_eq!(with(&|f| f.push(extra("golden.zip", 1))), ["file-archive golden.zip"]);
    assert_eq!(with(&|f| f.push(extra("golden/.DS_Store", 1))), ["file-hidden golden/.DS_Store"]);
    assert_eq!(with(&|f| f.push(extra("readme.MD", 1))), ["file-twice readme.MD"]);
    assert_eq!(with(&|f| f.push(extra("media/cover.png/x", 1))), ["file-and-folder media/cover.png/x"]);
    assert_eq!(with(&|f| f.insert(0, extra("README.MD/a/b", 1))), ["file-and-folder README.MD/a/b"]);
    assert_eq!(with(&|f| f.push(extra("media/cover.pn/x", 1))), [""; 0]);
    assert_eq!(with(&|f| f.push(extra("cafe\u{301}.txt", 1))), ["path-combining "]);
    assert_eq!(with(&|f| f.extend((0..2_000).map(|i| extra(&format!("x/{i}"), 1)))), ["too-many-files "]);
}

/// Every key of the format with whether it must be there, as the documentation names them.
fn keys(kind: &schema::Kind, place: &str, out: &mut std::collections::BTreeMap<String, &'static str>) {
    use schema::Kind;
    // What stands in many places is described once.
    let place = match place.rsplit('.').next() {
        Some("inputs[]" | "outputs[]") => "tensor",
        Some("labels[]") => "label",
        Some("spectrum") => "spectrum",
        Some("bands[]" | "envelope") => "band",
        _ => place,
    };
    // A clip is made of pictures, whose keys are described once.
    if place.ends_with("clip.image") {
        return;
    }
    let (fields, variant): (&[schema::Field], bool) = match kind {
        Kind::Obj(fields) => (fields, false),
        Kind::Variant(fields) => (fields, true),
        Kind::List(_, _, item) => return keys(item, &format!("{place}[]"), out),
        _ => return,
    };
    for field in fields {
        let key = if place.is_empty() { field.name.to_owned() } else { format!("{place}.{}", field.name) };
        out.insert(
            key.clone(),
            if variant {
                ""
            } else if field.required {
                "yes"
            } else {
                "no"
            },
        );
        keys(&field.kind, &key, out);
    }
}

#[test]
fn the_documentation_names_every_key() {
    let (mut wanted, mut second) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    keys(&schema::APP, "", &mut wanted);
    keys(&schema::APP_2, "", &mut second);
    // What both formats have is described once, under the keys of the first.
    for (key, must) in second {
        let moved = [("steps[].model.pre", "pipeline.pre"), ("steps[].model.post", "pipeline.post"), ("steps[].model.", "models[].")];
        let moved = moved.into_iter().find_map(|(to, from)| Some(format!("{from}{}", key.strip_prefix(to)?)));
        let key =
            moved.or_else(|| Some(format!("pipeline.{}", key.strip_prefix("alarms").map(|rest| format!("alarms{rest}"))?))).unwrap_or(key);
        wanted.entry(key).or_insert(must);
    }
    let wanted: Vec<String> = wanted.into_iter().map(|(key, must)| format!("{key} {must}")).collect();
    let mut wanted = wanted;
    wanted.sort();
    let english = (include_str!("../../../../docs/PUBLISHING.md"), "## Keys of app.yaml");
    let chinese = (include_str!("../../../../docs/PUBLISHING.zh-CN.md"), "## app.yaml 的键");
    for (page, heading) in [english, chinese] {
        let (_, table) = page.split_once(heading).unwrap();
        let mut told: Vec<String> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .map(|(key, rest)| format!("{key} {}", rest.split('|').next().unwrap().trim()))
            .collect();
        told.sort();
        assert_eq!(told, wanted, "{heading}");
    }
}

#[test]
fn the_tutorial_of_the_documentation_is_without_fault() {
    let docs = include_str!("../../../../docs/PUBLISHING.md");
    let (_, yaml) = docs.split_once("```yaml\n").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    assert_eq!(parse(yaml).map(|app| app.golden.len()), Ok(3));
}

const SECOND: &str = include_str!("../../fixtures/app-2.yaml");

/// The codes after one replacement in the good file of format 2.
fn second_after(from: &str, to: &str) -> Vec<&'static str> {
    assert!(SECOND.contains(from), "{from}");
    codes_of(&SECOND.replacen(from, to, 1))
}

#[test]
fn the_second_format_is_read_whole_and_written_as_it_was_read() {
    let app = parse(SECOND).unwrap();
    let json = serde_json::to_value(&app).unwrap();
    assert_eq!(serde_json::from_value::<AppManifest>(json.clone()).unwrap(), app);
    assert!(json.get("models").is_none() && json.get("pipeline").is_none());
    let step = app.model_steps().into_iter().next().unwrap();
    assert_eq!((step.feed.len(), app.posts().count(), app.alarms().len()), (2, 2, 1));
    let Some(Post::Boxes(boxes)) = app.posts().next() else { panic!("{app:?}") };
    assert_eq!((boxes.classes(), boxes.width(), boxes.unit), (3, 6, BoxUnit::Source));
    // What has its default is not written, so that both ways to say it are the same bytes.
    let plain = parse(&SECOND.replacen("          crop: 1\n", "", 1).replacen("            grid: none\n", "", 1)).unwrap();
    assert_eq!(serde_json::to_string(&plain).unwrap(), serde_json::to_string(&app).unwrap());
}

#[test]
fn the_first_format_keeps_its_bytes() {
    let first = serde_json::to_string(&parse(GOOD).unwrap()).unwrap();
    for new in ["steps", "\"alarms\":[]", "filter", "crop", "scale\":255", "row", "beside", "activation", "feed"] {
        assert!(!first.contains(new), "{new}");
    }
    assert_eq!(
        crate::digest::Digest::of(first.as_bytes()).as_str(),
        "sha256:382ff9b12213a90e57ba7c7e9b53ddf85bc3be9363934c9e017e4892eb9f1cc3"
    );
}

#[test]
fn single_faults_of_the_second_format() {
    let table = [
        ("format: 2", "format: 1", "unknown-key"),
        ("row: [box, score, skip-1]", "row: [box, skore, skip-1]", "row-part"),
        ("row: [box, score, skip-1]", "row: [box, score, skip-0]", "row-part"),
        ("row: [box, score, skip-1]", "row: [score, skip-5]", "row-incomplete"),
        ("row: [box, score, skip-1]", "row: [box, box, score]", "row-incomplete"),
        ("row: [box, score, skip-1]", "row: [box, scores, score]", "row-incomplete"),
        ("row: [box, score, skip-1]", "row: [box, score]", "labels-count"),
        ("beside: { class: classes, count: count }", "beside: { class: klass }", "output-unknown"),
        ("into: image", "into: picture", "input-unknown"),
        ("threshold: [0.25]", "treshold: [0.25]", "input-unfed"),
        ("threshold: [0.25]", "threshold: source", "feed-shape"),
        ("threshold: [0.25]", "threshold: [.nan]", "number-not-finite"),
        ("threshold: [0.25]", "threshold: []", "list-length"),
        ("fill: [0, 64, 128]", "fill: [0, 64]", "per-channel"),
        ("fill: [0, 64, 128]", "fill: [0, 64, 300]", "out-of-range"),
        ("filter: linear", "filter: lanczos3", "not-one-of"),
        ("shape: [-1, 3, 640, 640]", "shape: [-1, 3, 320, 640]", "input-shape"),
        ("activation: softmax", "softmax: true", "unknown-key"),
        ("max: 100", "max: 301", "out-of-range"),
        ("counts: { bolt: 1 }", "counts: { nut: 1 }", "truth-unknown"),
        ("counts: { bolt: 1 }", "texts: [KJ-1]", "truth-texts"),
        ("{label} on the belt", "{lable} on the belt", "placeholder-unknown"),
    ];
    for (from, to, code) in table {
        let found = second_after(from, to);
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
    // A file that lies about how many dimensions there are is no fault.
    assert_eq!(parse(&SECOND.replacen("shape: [1, 6, -1]", "shape: [6, -1]", 1)).map(|_| ()), Ok(()));
}

const STEPS: &str = include_str!("../../fixtures/app-2-steps.yaml");

#[test]
fn several_models_are_read_whole_and_written_as_they_were_read() {
    let app = parse(STEPS).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let json = crate::oci::config_json(&app);
    assert_eq!(serde_json::from_slice::<AppManifest>(&json).unwrap(), app);
    assert_eq!(parse(&String::from_utf8(json).unwrap()).unwrap(), app);
    assert_eq!(app.posts().count(), 7);
    assert!(app.names_models() && !parse(SECOND).unwrap().names_models());
    let ids: Vec<&str> = app.posts().flat_map(Post::values).map(|(id, ..)| id).collect();
    assert_eq!(ids, ["unusual", "water", "coal", "strength"]);
    let missing = check_files(&app, STEPS, &[]);
    for (path, line) in [("alphabet.txt", "alphabet: alphabet.txt"), ("crew.json", "vectors: crew.json")] {
        let line = STEPS.lines().position(|text| text.contains(line)).unwrap() + 1;
        assert!(missing.iter().any(|f| f.message("en").contains(path) && f.line == u32::try_from(line).ok()), "{path}: {missing:#?}");
    }
}

#[test]
fn single_faults_of_several_models() {
    let table = [
        ("name: reader", "name: finder", "duplicate-name"),
        ("labels: [plate], turn: true", "labels: [plates], turn: true", "of-label"),
        ("file: people.onnx", "file: people.onnx\n      of: {}", "of-first"),
        ("prototypes: output1", "agnostic: true", "row-needs"),
        ("prototypes: output1", "prototypes: output2", "output-unknown"),
        ("row: [box, scores, masks-32, keypoints, angle]", "row: [box, scores, masks-32, skip-7]", "row-needs"),
        ("layout: columns", "layout: columns\n            box: xyxy", "row-needs"),
        ("names: [head, feet], dims: 3", "names: [head, feet], dims: 2", "labels-count"),
        ("output: pred_score, map: anomaly_map, threshold", "threshold", "anomaly-source"),
        ("{ id: water, text", "{ id: unusual, text", "duplicate-name"),
        ("background: first", "background: none", "labels-count"),
        ("alphabet: alphabet.txt", "alphabet: ../alphabet.txt", "path-parent"),
        ("fit: pad, widest: 3200", "fit: pad, widest: 9999", "out-of-range"),
        ("shape: [-1, 3, 48, -1]", "shape: [-1, 3, 32, -1]", "input-shape"),
        ("{place}: {label} {text}", "{place}: {label} {words}", "placeholder-unknown"),
    ];
    for (from, to, code) in table {
        assert!(STEPS.contains(from), "{from}");
        let found = parse(&STEPS.replacen(from, to, 1)).map(|_| ()).unwrap_err();
        let found: Vec<&str> = found.iter().map(|f| f.code).collect();
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
}

/// The example of several models with an own step behind each kind of step that one can read.
fn with_own() -> String {
    let steps = "  - wasm: { name: counter, file: count.wasm, in: [objects, keypoints], out: values, fuel: 1000000, items: [{ id: lying-down, text: { en: Lying down } }] }
  - wasm: { name: taps, file: taps.wasm, of: { labels: [person] }, in: [frame, source-size, objects], out: values, memory_mib: 8, items: [{ id: taps, text: { en: Taps }, unit: \"1/min\" }] }
  - wasm: { name: sorter, file: sort.wasm, in: [objects], out: objects }
";
    let raw = "  - model:
      name: raw
      file: raw.onnx
      inputs: [{ name: x, datatype: FP32, shape: [1, 3, 32, 32] }]
      outputs: [{ name: y, datatype: FP32, shape: [1, 10, 6] }]
      pre: { image: { width: 32, height: 32 } }
  - wasm: { name: decoder, file: decode.wasm, in: [tensors], out: objects, unit: pixels, labels: [{ id: bolt, text: { en: bolt } }] }
";
    // Of the models the first stays, for there are at most six steps.
    let (head, rest) = STEPS.split_once("  - model:\n      name: unusual\n").unwrap();
    let (_, tail) = rest.split_once("alarms:\n").unwrap();
    let tail = tail.replace(" && values.water > 0.2", "").replace(", values: { water: [0.3, 0.1] }", ", values: { lying-down: [0, 0] }");
    format!("{head}{raw}{steps}alarms:\n{}", tail.replace(", plate: 1", ", bolt: 1"))
}

#[test]
fn own_steps_are_read_whole_and_written_as_they_were_read() {
    let text = with_own();
    let app = parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let json = crate::oci::config_json(&app);
    assert_eq!(serde_json::from_slice::<AppManifest>(&json).unwrap(), app);
    assert_eq!(parse(&String::from_utf8(json).unwrap()).unwrap(), app);
    assert_eq!((app.model_steps().len(), app.wasm_steps().count(), app.names_models()), (2, 4, true));
    assert_eq!(app.labels().map(|label| label.id.as_str()).collect::<Vec<_>>(), ["person", "bolt"]);
    assert_eq!(app.values().map(|(id, _, unit)| (id, unit)).collect::<Vec<_>>(), [("lying-down", ""), ("taps", "1/min")]);
    let file = |path: &str, size| FileEntry { path: path.into(), size };
    let found = check_files(&app, &text, &[file("decode.wasm", 4 << 20), file("count.wasm", (4 << 20) + 1), file("other.wasm", 9)]);
    let told = |code: &str, key: &str| found.iter().any(|fault| fault.code == code && fault.key == key);
    assert!(told("file-too-large", "steps[3].wasm.file") && told("file-missing", "steps[4].wasm.file"), "{found:#?}");
    assert!(told("file-program", "other.wasm") && !found.iter().any(|fault| fault.key.contains("[2].wasm")), "{found:#?}");
}

#[test]
fn single_faults_of_own_steps() {
    let whole = with_own();
    for (from, to, code) in [
        ("name: counter", "name: decoder", "duplicate-name"),
        ("name: counter", "name: people", "duplicate-name"),
        ("file: count.wasm", "file: count.so", "file-extension"),
        ("in: [objects, keypoints]", "in: [objects, pictures]", "not-one-of"),
        ("in: [objects, keypoints]", "in: [objects, objects]", "duplicate-name"),
        ("in: [objects, keypoints]", "in: []", "list-length"),
        ("in: [objects, keypoints]", "in: [values]", "wasm-nothing-before"),
        ("in: [objects, keypoints]", "in: [texts]", "wasm-nothing-before"),
        ("in: [objects, keypoints]", "in: [tensors]", "wasm-tensors"),
        ("in: [objects, keypoints]", "in: [tracks]", "wasm-nothing-before"),
        ("in: [objects, keypoints]", "in: [objects, time]", "wasm-needs-clip"),
        ("in: [objects, keypoints]", "in: [objects, state]", "wasm-needs-clip"),
        ("in: [tensors]", "in: [frame]", "post-missing"),
        ("in: [tensors]", "of: {}, in: [tensors]", "wasm-tensors"),
        ("out: values, fuel", "out: classes, fuel", "wasm-out-needs"),
        ("out: values, fuel", "out: texts, fuel", "wasm-out-without"),
        ("out: objects, unit: pixels", "out: objects, unit: metres", "not-one-of"),
        ("in: [objects], out: objects", "in: [objects], out: objects, unit: pixels", "wasm-out-without"),
        ("id: bolt", "id: person", "duplicate-name"),
        ("id: taps", "id: lying-down", "duplicate-name"),
        ("labels: [person] }, in", "labels: [nut] }, in", "of-label"),
        ("in: [objects], out: objects", "of: { turn: true }, in: [objects], out: objects", "of-turn"),
        ("fuel: 1000000", "fuel: 999", "out-of-range"),
        ("memory_mib: 8", "memory_mib: 513", "out-of-range"),
        ("in: [frame, source-size, objects]", "in: [frame, source-size, objects], keep: true", "unknown-key"),
    ] {
        assert!(whole.contains(from), "{from}");
        let found = parse(&whole.replacen(from, to, 1)).map(|_| ()).unwrap_err();
        let found: Vec<&str> = found.iter().map(|f| f.code).collect();
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
    let alone = "  - wasm: { name: own, file: own.wasm, in: [frame], out: objects, labels: [{ id: dark, text: { en: dark } }] }\n";
    let codes = |text: &str| parse(text).map(|_| ()).unwrap_err().iter().map(|fault| fault.code).collect::<Vec<_>>();
    assert!(codes(&with_steps("image", alone, "png")).contains(&"steps-no-model"));
    assert!(codes(&with_steps("tabular", alone, "csv")).contains(&"wasm-needs-picture"));
}

/// The example of several models with these steps, and golden samples of this extension.
fn with_steps(input: &str, steps: &str, extension: &str) -> String {
    let (head, rest) = STEPS.split_once("input: image\nsteps:\n").unwrap();
    let (_, tail) = rest.split_once("golden:\n").unwrap();
    let tail = tail.replace(", truth: { counts: { person: 1, plate: 1 }, values: { water: [0.3, 0.1] } }", "");
    format!("{head}input: {input}\nsteps:\n{steps}golden:\n{}", tail.replace("one.png", &format!("one.{extension}")))
}

#[test]
fn tables_say_what_stands_for_an_empty_cell() {
    let steps = "  - model:
      name: pump
      file: pump.onnx
      inputs: [{ name: temp, datatype: FP32, shape: [-1, 1] }, { name: maker, datatype: BYTES, shape: [-1, 1] }]
      outputs: [{ name: probabilities, datatype: FP32, shape: [-1, 2] }]
      pre: { columns: { names: [{ name: temp, missing: nan }, { name: maker, type: text, missing: empty }], each: true } }
      post: [{ classes: { output: probabilities, labels: [{ id: ok, text: { en: ok } }, { id: bad, text: { en: bad } }] } }]
";
    let whole = with_steps("tabular", steps, "csv");
    let app = parse(&whole).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let json = String::from_utf8(crate::oci::config_json(&app)).unwrap();
    assert!(json.contains(r#""names":[{"name":"temp","missing":"nan"},{"name":"maker","type":"text","missing":"empty"}],"each":true"#));
    assert_eq!(parse(&json).unwrap(), app);
    let plain = parse(&whole.replacen("missing: nan", "missing: 7.5", 1)).unwrap();
    assert!(String::from_utf8(crate::oci::config_json(&plain)).unwrap().contains(r#""missing":7.5"#));
    for (from, to, code) in [
        ("missing: nan", "missing: last", "column-missing"),
        ("missing: nan", "missing: empty", "column-missing"),
        ("missing: nan", "missing: none", "not-one-of"),
        ("missing: empty", "missing: 3", "column-missing"),
        ("each: true", "each: false", "column-text"),
        ("{ name: temp, missing", "{ name: heat, missing", "input-unfed"),
        ("{ name: temp, missing", "{ name: heat, missing", "input-unknown"),
        ("{ name: temp, missing: nan }", "maker", "duplicate-name"),
    ] {
        assert!(whole.contains(from), "{from}");
        let found = codes_of(&whole.replacen(from, to, 1));
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
}

#[test]
fn sound_carries_a_state_from_window_to_window() {
    let steps = "  - model:
      name: voice
      file: voice.onnx
      inputs:
        - { name: input, datatype: FP32, shape: [-1, -1] }
        - { name: state, datatype: FP32, shape: [2, -1, 128] }
        - { name: sr, datatype: INT64, shape: [] }
      outputs: [{ name: output, datatype: FP32, shape: [-1, 1] }, { name: stateN, datatype: FP32, shape: [-1, -1, -1] }]
      pre: { sound: { rate: 16000, length: 512, context: 64, over: mean } }
      feed: { sr: sample-rate }
      state: [{ in: state, out: stateN }]
      post: [{ values: { output: output, items: [{ id: speech, text: { en: Speech } }] } }]
";
    let whole = with_steps("audio", steps, "wav");
    let app = parse(&whole).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(parse(&String::from_utf8(crate::oci::config_json(&app)).unwrap()).unwrap(), app);
    for (from, to, code) in [
        ("one.wav", "one.csv", "file-extension"),
        ("context: 64", "context: 600", "out-of-range"),
        ("in: state", "in: states", "input-unknown"),
        ("out: stateN", "out: stateM", "output-unknown"),
        ("state: [{ in: state, out: stateN }]", "state: []", "input-unfed"),
        ("sr: sample-rate", "sr: source-size", "feed-needs-picture"),
        (
            "sound: { rate: 16000, length: 512, context: 64, over: mean }",
            "window: { columns: [amplitude], length: 512 }",
            "state-needs-sequence",
        ),
    ] {
        assert!(whole.contains(from), "{from}");
        let found = codes_of(&whole.replacen(from, to, 1));
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
}

#[test]
fn a_head_of_another_family_is_told_with_what_to_write() {
    // Format 1, as a Ultralytics export is shaped.
    let first = GOOD.replacen("shape: [1, 2, 8, 12]", "shape: [1, 6, 84]", 1).replacen("    - grid:", "    - boxes:", 1);
    let first = first.replacen("        score: 0.5\n", "        score: 0.5\n        iou: 0.5\n", 1);
    let told = |yaml: &str, code: &str| {
        let faults = parse(yaml).map(|_| ()).unwrap_err();
        let fault = faults.iter().find(|fault| fault.code == code).unwrap_or_else(|| panic!("{faults:#?}"));
        (fault.message("en"), fault.message("zh"))
    };
    let (en, zh) = told(&first, "boxes-format");
    assert!(en.ends_with("Write format: 2 and one of: row: [box, scores], layout: columns (YOLOv8)."), "{en}");
    assert!(zh.contains("row: [box, scores], layout: columns (YOLOv8)"), "{zh}");
    let second = with_steps(
        "image",
        "  - model:
      name: net
      file: net.onnx
      inputs: [{ name: x, datatype: FP32, shape: [1, 3, 64, 64] }]
      outputs: [{ name: y, datatype: FP32, shape: [1, 300, 6] }]
      pre: { image: { width: 64, height: 64 } }
      post: [{ boxes: { output: y, labels: [{ id: a, text: { en: a } }, { id: b, text: { en: b } }, { id: c, text: { en: c } }], score: 0.5 } }]
",
        "png",
    );
    let (en, _) = told(&second, "boxes-row");
    assert!(
        en.contains("row: [box, score, class], box: xyxy (YOLO26, YOLOv10, nms=True); row: [box, score, class], unit: relative (RT-DETR)"),
        "{en}"
    );
    assert!(codes_of(&second.replacen("[1, 300, 6]", "[1, 300, 11]", 1)).contains(&"labels-count"), "nobody exports such ones");
}

const NET: &str = "  - model:
      name: net
      file: net.onnx
      inputs: [{ name: x, datatype: FP32, shape: SHAPE }]
      outputs: [{ name: y, datatype: FP32, shape: [1, 2] }]
      pre: PRE
      post: [{ classes: { output: y, labels: [{ id: ok, text: { en: ok } }, { id: bad, text: { en: bad } }] } }]
";

#[test]
fn spectra_fit_their_samples_and_their_tensor() {
    let net = |input: &str, extension: &str, shape: &str, pre: &str| {
        with_steps(input, &NET.replace("SHAPE", shape).replace("PRE", pre), extension)
    };
    let mel = "{ sound: { rate: 16000, length: 16000, spectrum: { fft: 512, frame: 400, hop: 160, pad: zeros, mel: { bands: 64, low: 50 }, log: db, layout: nctf } } }";
    let sound = net("audio", "wav", "[1, 1, 101, 64]", mel);
    let bearing = "{ window: { columns: [x, y], length: 8192, spectrum: { rate: 12800, fft: 4096, average: true, envelope: { low: 2000, high: 5000 }, layout: ncft } } }";
    let window = net("timeseries", "csv", "[-1, 2, 2049, 1]", bearing);
    for whole in [&sound, &window] {
        let app = parse(whole).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let json = String::from_utf8(crate::oci::config_json(&app)).unwrap();
        assert_eq!(parse(&json.replace(",\"softmax\":false", "")).unwrap(), app);
    }
    for (whole, from, to, code) in [
        (&sound, "101, 64", "100, 64", "input-shape"),
        (&sound, "pad: zeros", "pad: none", "input-shape"),
        (&sound, "layout: nctf", "layout: nft", "input-shape"),
        (&sound, "frame: 400", "frame: 513", "out-of-range"),
        (&sound, "low: 50", "low: 8000", "range-order"),
        (&sound, "low: 50", "low: 50, high: 8001", "out-of-range"),
        (&sound, "low: 50", "low: 50, high: 40", "range-order"),
        (&sound, "log: db", "rate: 16000", "spectrum-rate-twice"),
        (&sound, "log: db", "bands: [{ low: 1, high: 2 }]", "spectrum-bands-twice"),
        (&sound, "log: db", "mean: [1, 2]", "spectrum-per-band"),
        (&sound, "log: db", "std: [0]", "out-of-range"),
        (&sound, "hop: 160", "hop: 1", "input-shape"),
        (&sound, "length: 16000", "length: 2000000, hop: 16000", "input-shape"),
        (&sound, "fft: 512, frame: 400, hop: 160", "fft: 65536, hop: 1", "spectrum-too-large"),
        (&window, "rate: 12800, ", "", "missing-key"),
        (&window, "rate: 12800", "rate: 9999", "out-of-range"),
        (&window, "layout: ncft", "layout: ntf", "spectrum-columns"),
        (&window, "length: 8192", "length: 4095", "spectrum-too-short"),
        (&window, "length: 8192", "length: 8192, layout: flat", "spectrum-layout"),
        (&window, "average: true", "average: false", "input-shape"),
        (&window, "low: 2000, high: 5000", "low: 5000, high: 5000", "range-order"),
    ] {
        assert!(whole.contains(from), "{from}");
        let found = codes_of(&whole.replacen(from, to, 1));
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
}

#[test]
fn tiles_windows_and_faces_go_with_what_they_need() {
    let tiled = "
  - model:
      name: faces
      file: faces.onnx
      inputs: [{ name: x, datatype: FP32, shape: [1, 3, 320, 320] }]
      outputs: [{ name: y, datatype: FP32, shape: [1, -1, 16] }]
      pre: { image: { width: 320, height: 320, window: [2900, 3200], tiles: { width: 640, height: 480, overlap: 0.25, whole: true } } }
      post: [{ boxes: { output: y, labels: [{ id: face, text: { en: face } }], score: 0.5, row: [box, score, keypoints, skip-1], keypoints: { names: [a, b, c, d, e], dims: 2 } } }]
  - model:
      name: who
      file: who.onnx
      of: { labels: [face], align: arcface }
      inputs: [{ name: x, datatype: FP32, shape: [1, 3, 112, 112] }]
      outputs: [{ name: y, datatype: FP32, shape: [1, 2] }]
      pre: { image: { width: 112, height: 112 } }
      post: [{ classes: { output: y, labels: [{ id: ok, text: { en: ok } }, { id: bad, text: { en: bad } }] } }]
";
    let whole = with_steps("image", tiled.trim_start_matches('\n'), "png");
    let app = parse(&whole).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let json = String::from_utf8(crate::oci::config_json(&app)).unwrap();
    assert_eq!(parse(&json.replace(",\"softmax\":false", "")).unwrap(), app);
    for (from, to, code) in [
        ("window: [2900, 3200]", "window: [3200, 3200]", "range-order"),
        ("window: [2900, 3200]", "window: [3200]", "list-length"),
        ("window: [2900, 3200]", "window: [0, 65536]", "out-of-range"),
        ("overlap: 0.25", "overlap: 1", "out-of-range"),
        ("width: 640, height: 480, ", "width: 640, ", "missing-key"),
        ("skip-1]", "angle]", "tiles-need-boxes"),
        (
            "post: [{ boxes: {",
            "post: [{ grid: { output: y, labels: [{ id: f, text: { en: f } }], score: 0.5 } }, { boxes: {",
            "tiles-need-boxes",
        ),
        ("skip-1], keypoints: { names: [a, b, c, d, e]", "skip-3], keypoints: { names: [a, b, c, d]", "of-align"),
        ("align: arcface", "align: plate", "not-one-of"),
        ("width: 112, height: 112", "width: 112, height: 112, tiles: { width: 64, height: 64 }", "tiles-need-boxes"),
        ("align: arcface", "align: arcface, square: true", "of-align-alone"),
        ("{ classes: { output: y, labels: [{", "{ grid: { output: y, score: 0.5, labels: [{", "of-turn"),
    ] {
        assert!(whole.contains(from), "{from}");
        let found = codes_of(&whole.replacen(from, to, 1));
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
}

const VIDEO: &str = include_str!("../../fixtures/app-2-video.yaml");

#[test]
fn moving_pictures_are_read_whole_and_written_as_they_were_read() {
    let app = parse(VIDEO).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let json = crate::oci::config_json(&app);
    assert_eq!(serde_json::from_slice::<AppManifest>(&json).unwrap(), app);
    let text = String::from_utf8(json).unwrap();
    assert_eq!(parse(&text).unwrap(), app);
    // Spans are stored in one way, however they are written.
    assert!(text.contains(r#""for":"500ms","hold":"10s","per":"zone""#), "{text}");
    assert_eq!(parse(&VIDEO.replacen("lost: 3s", "lost: 3000ms", 1)).unwrap(), app);
    assert_eq!((app.model_steps().len(), app.names_models(), app.posts().count()), (2, true, 2));
    assert_eq!(app.track().map(|track| track.lost.seconds()), Some(3.0));
    assert_eq!(app.golden[0].parameters["linger"], serde_json::json!(1.5));
}

#[test]
fn single_faults_of_moving_pictures() {
    let zone = "danger: [[0.2, 0.5], [0.8, 0.5], [0.8, 1], [0.2, 1]]";
    let table = [
        ("lost: 3s", "lost: 3", "span-shape"),
        ("lost: 3s", "lost: 3 frames", "span-shape"),
        ("lost: 3s", "lost: 2h", "out-of-range"),
        ("fps: 5", "fps: 0", "out-of-range"),
        ("labels: [person], lost", "labels: [persons], lost", "label-unknown"),
        ("high: 0.5, low: 0.1", "high: 0.5, low: 0.6", "min-over-max"),
        ("  - track: { labels: [person], lost: 3s, confirm: 0.4s, high: 0.5, low: 0.1, iou: 0.1 }\n", "", "scene-needs-track"),
        ("steps:\n  - model", "steps:\n  - track: {}\n  - model", "track-first"),
        ("scene:\n  zones:\n", "  - track: {}\nscene:\n  zones:\n", "track-twice"),
        ("id: danger, title", "id: danger-zone, title", "snake-shape"),
        ("labels: [person], anchor", "labels: [people], anchor", "label-unknown"),
        ("anchor: bottom-center", "anchor: top", "not-one-of"),
        ("per: zone", "per: person", "not-one-of"),
        ("frames: 16", "frames: 65", "out-of-range"),
        ("frames: 16", "frames: 8", "input-shape"),
        ("frames: 16", "layout: ntchw, frames: 16", "input-shape"),
        ("image: { width: 112, height: 112 }", "image: { width: 112, height: 112, layout: nhwc }", "clip-image"),
        ("image: { width: 112, height: 112 }", "image: { width: 4096, height: 4096 }", "clip-large"),
        ("      file: people.onnx\n", "      file: people.onnx\n      every: 1s\n", "every-finds"),
        (zone, "danger: [[0.2, 0.5], [0.8, 0.5], [0.2, 1], [0.8, 1]]", "polygon-crosses"),
        (zone, "danger: [[0.2, 0.5], [0.21, 0.5], [0.21, 0.51]]", "polygon-small"),
        (zone, "danger: [[0.2, 0.5], [0.8, 0.5]]", "list-length"),
        (zone, "danger: [[0.2, 0.5], [0.8, 1.5], [0.2, 1]]", "out-of-range"),
        (zone, "danger: [[0.2, 0.5], [0.8, .nan], [0.2, 1]]", "number-not-finite"),
        (zone, "fence: [[0.2, 0.5], [0.8, 0.5], [0.8, 1]]", "scene-unknown"),
        (zone, "fence: [[0.2, 0.5], [0.8, 0.5], [0.8, 1]]", "scene-missing"),
        ("gate: [[0.1, 0.9], [0.1, 0.1]]", "gate: [[0.1, 0.9], [0.1, 0.9]]", "line-short"),
        ("{ linger: 1.5 }", "{ lingers: 1.5 }", "parameter-undeclared"),
        ("zone: danger, label: person, begin", "zone: fence, label: person, begin", "truth-event-unknown"),
        ("label: person, begin: 2.4", "label: dog, begin: 2.4", "truth-event-unknown"),
        ("rule: inside, zone", "rule: outside, zone", "truth-event-unknown"),
        ("line: gate, direction", "line: door, direction", "truth-event-unknown"),
        ("procedure: round, state", "procedure: walk, state", "truth-event-unknown"),
        ("crossings: { gate:", "crossings: { door:", "truth-event-unknown"),
        ("direction: in", "direction: inward", "not-one-of"),
        ("state: done", "state: ready", "not-one-of"),
        ("{ line: gate, direction: in, begin: 1 }", "{ begin: 1 }", "truth-event-what"),
        ("{ line: gate, direction", "{ line: gate, zone: danger, direction", "truth-event-what"),
        ("rule: inside, zone: danger, begin", "rule: inside, label: person, begin", "truth-event-what"),
        ("begin: 2.4, end: 7", "begin: 2.4, end: 2.3", "truth-event-times"),
        ("begin: 2.4, end: 7", "begin: -1, end: 7", "out-of-range"),
        ("begin: 2.4, end: 7", "begin: .nan, end: 7", "number-not-finite"),
        ("begin: 2.4, end: 7", "begin: 2.4, end: .inf", "number-not-finite"),
        ("begin: 2.4, end: 7", "end: 7", "missing-key"),
        ("{ in: 1, out: 0 }", "{ in: -1 }", "out-of-range"),
        ("walk.avi", "walk.mp4", "file-extension"),
        ("{zone}\" }", "{zones}\" }", "placeholder-unknown"),
        ("id: bar, title: { en: Bar }", "id: look, title: { en: Bar }", "duplicate-name"),
        ("within: 10m", "within: 25h", "out-of-range"),
        ("input: video", "input: image", "needs-video"),
        ("format: 2", "format: 1", "unknown-key"),
    ];
    for (from, to, code) in table {
        assert!(VIDEO.contains(from), "{from}");
        let found = codes_of(&VIDEO.replacen(from, to, 1));
        assert!(found.contains(&code), "{to:?}: wanted {code}, found {found:?}");
    }
    // What an own step finds is followed, and counts in zones, as what a model finds.
    let decoded = VIDEO.replacen("      post:\n        - boxes:\n            output: output0\n            labels: [{ id: person, text: { zh: 人, en: person } }, { id: bar, text: { zh: 撬棍, en: bar } }]\n            score: 0.1\n            row: [box, score, class]\n            box: xyxy\n",
        "  - wasm: { name: head, file: head.wasm, in: [tensors], out: objects, unit: pixels, labels: [{ id: person, text: { en: person } }, { id: bar, text: { en: bar } }] }\n", 1);
    assert_ne!(decoded, VIDEO);
    assert!(parse(&decoded).is_ok(), "{:?}", faults_of(&decoded));
    assert!(codes_of(&decoded.replacen("labels: [person], lost", "labels: [dog], lost", 1)).contains(&"label-unknown"));
    let keeping = decoded.replacen("in: [tensors], out: objects", "in: [tensors, time, state], out: objects", 1);
    assert!(parse(&keeping).is_ok(), "{:?}", faults_of(&keeping));
    assert!(codes_of(&keeping.replacen("time, state", "tracks", 1)).contains(&"wasm-nothing-before"), "what it finds is followed after it");
    assert!(codes_of(&keeping.replacen("in: [tensors, time, state]", "of: {}, in: [time, state]", 1)).contains(&"wasm-needs-clip"));
    // Old tensors would be decoded again and again.
    let resting = decoded.replacen("      file: people.onnx\n", "      file: people.onnx\n      every: 1s\n", 1);
    assert!(codes_of(&resting).contains(&"every-finds"));
    // Each key that says nothing of a still picture is named.
    let still = faults_of(&VIDEO.replacen("input: video", "input: image", 1).replacen("walk.avi", "walk.png", 1));
    let named = |key: &str| still.iter().any(|fault| fault.starts_with("needs-video@") && fault.ends_with(&format!(" {key}")));
    for key in [
        "fps",
        "scene",
        "procedures",
        "steps[1].track",
        "steps[2].model.every",
        "alarms[0].for",
        "alarms[0].hold",
        "alarms[0].per",
        "golden[0].scene",
        "golden[0].truth.events",
        "golden[0].truth.crossings",
    ] {
        assert!(named(key), "{key}: {still:#?}");
    }
    for (n, code) in [(600, "list-length"), (10_000, "yaml-too-large")] {
        let many = format!("      events:\n{}", "        - { zone: danger, begin: 0 }\n".repeat(n));
        let found = codes_of(&VIDEO.replacen("      events:\n", &many, 1));
        assert!(found.contains(&code), "{n}: {found:?}");
    }
    let early = faults_of(&VIDEO.replacen("end: 7", "end: 2.3", 1));
    let line = VIDEO.lines().position(|line| line.contains("end: 7")).unwrap() + 1;
    assert_eq!(early, [format!("truth-event-times@{line} golden[0].truth.events[0]")]);
    // A picture is a clip of one frame.
    assert!(parse(&VIDEO.replacen("walk.avi", "walk.png", 1)).is_ok());
}

#[test]
fn the_line_of_a_place_is_found() {
    let line = |text: &str| u32::try_from(VIDEO.lines().position(|line| line.contains(text)).unwrap() + 1).ok();
    for (key, text) in [
        ("alarms[0].when", "detections.exists(d, d.zones.danger"),
        ("procedures[0].start", "start: zones"),
        ("procedures[0].steps[1].when", "id: bar, title: { en: Bar }"),
        ("golden[0].scene.zones.danger", "zones: { danger:"),
        ("golden[0].scene.zones.danger[2][1]", "zones: { danger:"),
    ] {
        assert_eq!(super::line_of(VIDEO, key), line(text), "{key}");
    }
    for key in ["", "alarms[9].when", "alarms[x]", "alarms[", "alarms[0].when.more", "alarms[18446744073709551616]", "none"] {
        assert_eq!(super::line_of(VIDEO, key), None, "{key}");
    }
}
