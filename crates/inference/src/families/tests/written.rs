//! What is written is read back as the proposal, and asks for few lines.

use app_package::{manifest::InputKind, validate};

use super::*;
use crate::families::{
    parts::{self, Part},
    scaffold::{self, Order, Refusal},
    write::{Listing, app_yaml, manifest},
    yaml::MARK,
};

fn listing() -> Listing {
    Listing {
        name: "helmet".into(),
        bytes: 300 << 20,
        licenses: vec!["AGPL-3.0 License (https://ultralytics.com/license)".into()],
        samples: vec![("golden/1.jpg".into(), "golden/1.json".into())],
        ..Listing::default()
    }
}

/// The only model of an app.
fn alone(readings: Vec<Proposal>) -> [Part; 1] {
    [Part { name: "helmet".into(), path: "model.onnx".into(), file: "helmet best.onnx".into(), readings }]
}

/// A signature of each family, and what goes with it.
fn all() -> Vec<(Signature, Metadata)> {
    let none = Metadata::default;
    let image: (&str, u64, &[i64]) = ("images", F32, &[1, 3, 640, 640]);
    let with = |outputs: Tensors<'_>| signature(&[image], outputs);
    let triple: Tensors<'_> = &[("labels", I64, &[1, 300]), ("boxes", F32, &[1, 300, 4]), ("scores", F32, &[1, 300])];
    vec![
        (with(&[("output0", F32, &[1, 6, 8_400])]), ultralytics("detect", TWO, &[("end2end", "False")])),
        (with(&[("output0", F32, &[1, 300, 6])]), ultralytics("detect", TWO, &[("end2end", "True")])),
        (with(&[("output0", F32, &[1, 300, 6])]), none()),
        (with(&[("output0", F32, &[1, 38, 8_400]), ("output1", F32, &[1, 32, 160, 160])]), ultralytics("segment", TWO, &[])),
        (with(&[("output0", F32, &[1, 2])]), ultralytics("classify", TWO, &[])),
        (with(&[("output", F32, &[1, 25_200, 7])]), metadata(&[("stride", "32"), ("names", TWO)])),
        (with(&[("output", F32, &[1, 8_400, 7])]), none()),
        (signature(&[image, ("orig_target_sizes", I64, &[-1, 2])], triple), none()),
        (with(&[("dets", F32, &[1, 300, 4]), ("labels", F32, &[1, 300, 4])]), none()),
        (with(&[("logits", F32, &[1, 100, 5]), ("pred_boxes", F32, &[1, 100, 4])]), none()),
        (
            signature(&[image, ("im_shape", F32, &[-1, 2]), ("scale_factor", F32, &[-1, 2])], &[("n", F32, &[-1, 6]), ("c", I32, &[-1])]),
            none(),
        ),
        (with(&[("dets", F32, &[1, 100, 5]), ("labels", I64, &[1, 100])]), none()),
        (with(triple), none()),
        (with(&[("pred_score", F32, &[1, 1])]), none()),
        (with(&[("y", F32, &[1, 5])]), none()),
        (with(&[("output0", F32, &[1, 14, 8_400])]), ultralytics("pose", "{0: 'a'}", &[("kpt_shape", "[3, 3]"), ("end2end", "False")])),
        (with(&[("output0", F32, &[1, 7, 8_400])]), ultralytics("obb", TWO, &[("end2end", "False")])),
        (signature(&[("x", F32, &[-1, 3, 48, -1])], &[("y", F32, &[-1, -1, 5])]), metadata(&[("character", "a\n\u{3000}\nb")])),
        (signature(&[("x", F32, &[-1, 3, -1, -1])], &[("y", F32, &[-1, 1, -1, -1])]), none()),
        (with(&[("out", F32, &[1, 4, 640, 640])]), none()),
        (
            signature(
                &[("input", F32, &[-1, -1]), ("state", F32, &[2, -1, 128]), ("sr", I64, &[])],
                &[("output", F32, &[-1, 1]), ("stateN", F32, &[-1, -1, -1])],
            ),
            none(),
        ),
        (signature(&[("age", F32, &[-1, 1]), ("maker", TEXT, &[-1, 1])], &[("probabilities", F32, &[-1, 2])]), none()),
        (signature(&[("X", F32, &[-1, 4])], &[("label", I64, &[1]), ("probabilities", F32, &[1, 3])]), none()),
        (signature(&[("x", F32, &[1, 4])], &[("y", F32, &[1, 3])]), none()),
        (signature(&[("x", F32, &[1, 48, 3])], &[("y", F32, &[1, 2])]), none()),
    ]
}

#[test]
fn what_is_written_is_read_back_as_the_proposal() {
    let mut seen = std::collections::BTreeSet::new();
    for (signature, metadata) in all() {
        let found = plainly(&signature, &metadata);
        assert!(!found.is_empty(), "{signature:?}");
        for at in 0..found.len() {
            // Each reading once in the first place.
            let mut order = found.clone();
            order.rotate_left(at);
            let mut listing = listing();
            let extension = match order[0].input {
                InputKind::Image => "jpg",
                InputKind::Video => "avi",
                InputKind::Audio => "wav",
                InputKind::Timeseries | InputKind::Tabular => "csv",
            };
            listing.samples = vec![(format!("golden/1.{extension}"), "golden/1.json".into())];
            for lang in ["zh", "en"] {
                let part = alone(order.clone());
                let text = app_yaml(&part, &listing, lang);
                let read = validate::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"));
                assert_eq!(Some(&read), manifest(&part, &listing).as_ref(), "{text}");
                let step = read.model_steps().remove(0);
                assert_eq!(
                    (&step.pre, &step.post, &step.feed, &step.state, &step.into),
                    (&order[0].step.pre, &order[0].step.post, &order[0].step.feed, &order[0].step.state, &order[0].step.into)
                );
                let marked = text.lines().filter(|line| line.ends_with(MARK) && !line.starts_with('#')).count();
                assert!(marked <= 11, "{marked} marked lines\n{text}");
                assert!(text.lines().all(|line| line.chars().count() <= 400), "{text}");
            }
            seen.insert(order[0].family);
        }
    }
    let known: std::collections::BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(seen, known, "each family is written once");
}

#[test]
fn what_the_file_says_needs_no_answer() {
    let (signature, metadata) = all().remove(0);
    let text = app_yaml(&alone(plainly(&signature, &metadata)), &listing(), "en");
    let marked: Vec<&str> = text.lines().filter(|line| line.ends_with(MARK)).collect();
    assert_eq!(marked.len(), 7, "{text}");
    for part in [
        "# Written by Pithead from helmet best.onnx.\n",
        "# helmet is read as yolo, because:\n# - metadata: Ultralytics 8.4, task detect\n",
        "\nlicense: AGPL-3.0-only  # edit\n",
        "          filter: linear\n",
        "          - {id: head-bare, text: {en: \"head: 'bare'\"}}\n",
        "row: [box, scores]",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // The other reading stands below, in comments.
    let (signature, metadata) = all().remove(2);
    let text = app_yaml(&alone(plainly(&signature, &metadata)), &listing(), "zh");
    assert!(text.contains("# helmet 的另一种解读") && text.contains("#         - boxes:") && text.contains("relative"), "{text}");
}

/// A folder that goes away with the value.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("pithead-init-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_is_laid_out_and_never_written_over() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let folder = Folder::new("layout");
    let sample = folder.0.join("rows.csv");
    std::fs::write(&sample, "a,b,c,d\n1,2,3,4\n").unwrap();
    let mut order = Order {
        models: vec![models.join("identity4.onnx")],
        dir: folder.0.join("app"),
        name: "identity".into(),
        samples: vec![sample.clone()],
        lang: "en".into(),
        ..Order::default()
    };
    let draft = scaffold::lay_out(&order).unwrap();
    assert_eq!(draft.expected, [order.dir.join("golden/1.json")]);
    let text = std::fs::read_to_string(order.dir.join("app.yaml")).unwrap();
    assert!(text.contains("names: [a, b, c, d]"), "{text}");
    assert_eq!(std::fs::read(order.dir.join("golden/1.csv")).unwrap(), std::fs::read(&sample).unwrap());
    assert!(matches!(scaffold::lay_out(&order), Err(Refusal::Taken(_))));
    // A file in the way stays, and what was copied before it goes.
    order.dir = folder.0.join("other");
    std::fs::create_dir_all(order.dir.join("golden")).unwrap();
    std::fs::write(order.dir.join("golden/1.csv"), "mine").unwrap();
    assert!(matches!(scaffold::lay_out(&order), Err(Refusal::Write(_, e)) if e.kind() == std::io::ErrorKind::AlreadyExists));
    assert!(!order.dir.join("model.onnx").exists());
    assert_eq!(std::fs::read_to_string(order.dir.join("golden/1.csv")).unwrap(), "mine");
    // External data go with the model.
    order = Order { models: vec![models.join("external_ok.onnx")], dir: folder.0.join("external"), samples: Vec::new(), ..order };
    match scaffold::lay_out(&order) {
        Ok(_) => assert!(order.dir.join("weights.bin").is_file()),
        Err(other) => panic!("{other:?}"),
    }
    order = Order { models: vec![sample.clone()], dir: folder.0.join("none"), ..order };
    assert!(matches!(scaffold::lay_out(&order), Err(Refusal::Model(file, e)) if file == sample && e.code == "not-onnx"));
    assert!(!order.dir.exists());
    for models in [Vec::new(), vec![sample; 7]] {
        assert!(matches!(scaffold::lay_out(&Order { models, ..order.clone() }), Err(Refusal::Models)));
    }
}

/// A model of each of these families, named `part-1`, `part-2`, ….
fn parts_of(models: Vec<(Signature, Metadata)>) -> Vec<Part> {
    let part = |(at, (signature, metadata)): (usize, (Signature, Metadata))| {
        let name = format!("part-{}", at + 1);
        Part { path: format!("{name}.onnx"), file: format!("{name}.onnx"), name, readings: plainly(&signature, &metadata) }
    };
    models.into_iter().enumerate().map(part).collect()
}

#[test]
fn later_models_run_for_what_earlier_ones_find() {
    let recogniser = || (signature(&[("x", F32, &[-1, 3, 48, -1])], &[("y", F32, &[-1, -1, 5])]), metadata(&[("character", "a\nb\nc")]));
    let detector = (signature(&[("x", F32, &[-1, 3, -1, -1])], &[("y", F32, &[-1, 1, -1, -1])]), Metadata::default());
    let boxes = (signature(&[("images", F32, &[1, 3, 640, 640])], &[("o", F32, &[1, 6, 8_400])]), ultralytics("detect", TWO, &[]));
    let mut parts = parts_of(vec![detector, recogniser(), boxes, recogniser()]);
    parts::join(&mut parts).unwrap();
    let text = app_yaml(&parts, &listing(), "en");
    let app = validate::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"));
    assert_eq!(Some(&app), manifest(&parts, &listing()).as_ref());
    let steps = app.model_steps();
    let of: Vec<_> = steps.iter().map(|step| step.of.as_ref().map(|of| (of.labels.join(" "), of.turn))).collect();
    let both = "text helmet head-bare".to_owned();
    // Lines of text are turned upright to be read; where objects are found again, they are not.
    assert_eq!(of, [None, Some(("text".to_owned(), true)), Some(("text".to_owned(), false)), Some((both, true))]);
    // Each reads its own alphabet.
    let alphabets: Vec<_> = parts.iter().flat_map(|part| &part.readings[0].files).map(|(name, _)| name.as_str()).collect();
    assert_eq!(alphabets, ["alphabet.txt", "part-4-alphabet.txt"]);
    let read: Vec<_> = app.posts().filter_map(|post| post.file().map(|(_, path)| path)).collect();
    assert_eq!(read, alphabets);
    assert!(text.contains("steps:\n") && text.contains("# for which objects it runs") && !text.contains("taken for one line"), "{text}");

    // Where nothing is found, each reads the whole input; values keep ids of their own.
    let number = || (signature(&[("x", F32, &[1, 4])], &[("y", F32, &[1, 1])]), Metadata::default());
    let mut parts = parts_of(vec![number(), number()]);
    parts::join(&mut parts).unwrap();
    let app = manifest(&parts, &listing()).unwrap();
    let ids: Vec<_> = app.posts().flat_map(|post| post.values().map(|(id, ..)| id.to_owned()).collect::<Vec<_>>()).collect();
    assert_eq!((app.model_steps()[1].of.is_none(), ids), (true, vec!["value-1".to_owned(), "part-2-value-1".to_owned()]));

    // One app reads one kind of input.
    let mut parts = parts_of(vec![number(), recogniser()]);
    let why = parts::join(&mut parts).unwrap_err();
    assert!(why.en.contains("part-2 reads image, the first one tabular"), "{}", why.en);
}

#[test]
fn gaps_of_samples_become_rules() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let folder = Folder::new("gaps");
    let samples = [("1.csv", "a,b,c,d\n1,,3,4\n"), ("2.csv", "a,b,c,d\n1,2,3,NA\n"), ("3.csv", "no table \"\n")].map(|(name, text)| {
        let path = folder.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let order = Order {
        models: vec![models.join("identity4.onnx")],
        dir: folder.0.join("app"),
        name: "identity".into(),
        samples: samples.into(),
        lang: "en".into(),
        ..Order::default()
    };
    scaffold::lay_out(&order).unwrap();
    let text = std::fs::read_to_string(order.dir.join("app.yaml")).unwrap();
    assert!(
        text.contains("{name: b, missing: \"nan\"}") && text.contains("{name: d, missing: \"nan\"}") && text.contains("- a\n"),
        "{text}"
    );
    assert!(text.contains("# b, d have gaps in a sample"), "{text}");
}
