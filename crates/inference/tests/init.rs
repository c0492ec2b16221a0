//! A new app out of a model's file passes the check with no line edited.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use inference::{
    check::{self, CheckOptions},
    families::{
        Given,
        scaffold::{self, Order},
    },
    worker,
};
use support::{engine, models};

#[test]
fn models_may_share_their_external_data() {
    let dir = std::env::temp_dir().join(format!("pithead-shared-data-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for name in ["one.onnx", "other.onnx"] {
        std::fs::copy(models().join("external_ok.onnx"), dir.join(name)).unwrap();
    }
    std::fs::copy(models().join("weights.bin"), dir.join("weights.bin")).unwrap();
    let order = Order {
        models: ["one.onnx", "other.onnx"].map(|name| dir.join(name)).into(),
        dir: dir.join("app"),
        name: "both".into(),
        given: Given::default(),
        samples: Vec::new(),
        lang: "zh".into(),
    };
    let draft = scaffold::lay_out(&order).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(draft.parts.len(), 2);
    assert!(order.dir.join("weights.bin").is_file());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_new_app_passes_the_check_unedited() {
    let dir = std::env::temp_dir().join(format!("pithead-new-app-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let sample = dir.join("rows.csv");
    std::fs::write(&sample, "ch4,co,t,v\n0.4,3,21,1.5\n").unwrap();
    let order = Order {
        models: vec![models().join("identity4.onnx")],
        dir: dir.join("app"),
        name: "identity".into(),
        given: Given { labels: ["CH4", "一氧化碳", "T", "v"].map(str::to_owned).into(), ..Given::default() },
        samples: vec![sample],
        lang: "zh".into(),
    };
    let draft = scaffold::lay_out(&order).unwrap();
    let answers = worker::answers(&order.dir, None, false, engine());
    assert_eq!((answers.fault.as_ref(), answers.results.len()), (None, 1));
    assert_eq!(answers.results[0].values.iter().map(|value| value.value).collect::<Vec<_>>()[1..], [3.0, 21.0, 1.5]);
    scaffold::write_expected(&draft, &answers.results).unwrap();
    let yaml = std::fs::read_to_string(order.dir.join("app.yaml")).unwrap();
    let manifest = app_package::validate::parse(&yaml).unwrap_or_else(|faults| panic!("{faults:?}"));
    let report = check::run(&order.dir, &manifest, engine(), &CheckOptions { iterations: 1 });
    assert!(report.passed, "{:?}", report.steps);
    std::fs::remove_dir_all(dir).unwrap();
}
