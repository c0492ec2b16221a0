//! Apps on an execution provider in the confined child: what it gives is held against the golden samples, and a library that is none ends in a
//! reason. OpenVINO is that of `scripts/openvino.sh`, which is there for x86-64 alone.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use app_package::manifest::{AppManifest, Provider};
use inference::check::{CheckOptions, CheckReport};
use inference::column::{Column, NOT_HERE};
use inference::provider::Library;
use inference::sandbox::Limits;
use inference::worker;
use support::{Package, lib};

const WALL: Duration = Duration::from_mins(2);

fn child(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().parent().unwrap().join("examples").join(name)
}

/// The ONNX Runtime with OpenVINO built in; a test without it fails with this one line.
fn openvino() -> Library {
    let file = std::env::var_os("OPENVINO_LIB").expect("set OPENVINO_LIB to what scripts/openvino.sh prints");
    Library { provider: Provider::OpenVino, file: file.into() }
}

fn check(dir: &Path, provider: Option<&Library>) -> CheckReport {
    let options = CheckOptions { iterations: 5 };
    let report = worker::run_check_with(&child("check_child"), &[], dir, &lib(), &Limits::default(), WALL, options, provider);
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    report
}

fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/apps").join(name)
}

#[test]
fn openvino_reproduces_the_golden_samples_of_real_models_in_the_confined_child() {
    for name in ["belt-foreign-object", "coke-quality"] {
        let report = check(&demo(name), Some(&openvino()));
        assert!(report.passed, "{name}: {:?}", report.steps.last());
        let confinement = report.confinement.clone().unwrap();
        assert!(confinement.seccomp && confinement.limits, "{confinement:?}");
        let column = Column::of(Provider::OpenVino, report);
        let about = column.about.unwrap();
        assert_eq!((about.name, about.device.as_str(), about.precision.as_str()), (Provider::OpenVino, "cpu", "FP32"));
        // The ONNX Runtime that it is built into.
        assert!(about.version.starts_with("1.24"), "{}", about.version);
        assert!(column.reason.is_none() && column.total > 0 && column.reproduced == column.total, "{name}");
        assert!(column.figures.unwrap().latency_ms.median > 0.0);
        // In FP32 nothing but the order of sums differs; in BF16 coke-quality is off by 0.14.
        assert!(column.worst_difference < 0.01, "{name}: {}", column.worst_difference);
    }
}

/// A demo app of which each golden sample promises to the last digit what the CPU gives.
fn exact(name: &str) -> tempdir::Folder {
    let folder = tempdir::Folder::copy(&demo(name));
    let answers = worker::run_samples(&child("samples_child"), &[], (&folder.0, None, false), (&lib(), None), &Limits::default(), WALL);
    assert_eq!(answers.fault, None);
    let yaml = std::fs::read_to_string(folder.0.join("app.yaml")).unwrap();
    let manifest: AppManifest = app_package::validate::parse(&yaml).unwrap();
    let mut manifest = serde_json::to_value(manifest).unwrap();
    manifest["providers"] = serde_json::json!(["openvino", "cuda"]);
    for (sample, result) in manifest["golden"].as_array_mut().unwrap().iter_mut().zip(&answers.results) {
        sample["tolerance"] = serde_json::json!({"absolute": 0, "relative": 0});
        std::fs::write(folder.0.join(sample["expect"].as_str().unwrap()), result.to_file()).unwrap();
    }
    std::fs::write(folder.0.join("app.yaml"), manifest.to_string()).unwrap();
    folder
}

#[test]
fn golden_samples_decide_whether_a_provider_will_do() {
    let app = exact("belt-foreign-object");
    let on_cpu = check(&app.0, None);
    assert!(on_cpu.passed, "{:?}", on_cpu.steps.last());
    assert_eq!(on_cpu.provider.map(|provider| provider.name), Some(Provider::Cpu));
    // The card names what the app does, in its order; who checks fills in what it has.
    let columns = on_cpu.run_card.unwrap().providers;
    let named: Vec<_> = columns.iter().map(|column| (column.provider, column.reason.as_deref())).collect();
    assert_eq!(named, [(Provider::OpenVino, Some(NOT_HERE)), (Provider::Cuda, Some(NOT_HERE))]);
    // OpenVINO adds up in another order.
    let column = Column::of(Provider::OpenVino, check(&app.0, Some(&openvino())));
    assert_eq!(column.reason.as_deref(), Some("golden-mismatch"));
    assert!(column.figures.is_none() && column.reproduced < column.total && column.worst_difference > 0.0, "{column:?}");
    assert_eq!(column.about.map(|about| about.precision), Some("FP32".to_owned()));
}

#[test]
fn a_library_without_the_provider_ends_in_a_reason() {
    let package = Package::table("identity4.onnx");
    package.write_yaml();
    let text = package.dir.join("libtext.so");
    std::fs::write(&text, "no library").unwrap();
    let beside = openvino().file.with_file_name("libonnxruntime_providers_shared.so");
    for (provider, file) in [
        // Built in: tried by loading, each in an ONNX Runtime that does not have it.
        (Provider::Cuda, lib()),
        (Provider::Cann, lib()),
        (Provider::Cuda, openvino().file),
        (Provider::OpenVino, lib()),
        // A plugin: nothing there, no library, and one that is no plugin.
        (Provider::OpenVino, "/nothing/libplugin.so".into()),
        (Provider::Cuda, "/nothing/libonnxruntime.so.1.31.1".into()),
        (Provider::OpenVino, text.clone()),
        (Provider::Cann, beside),
    ] {
        let report = check(&package.dir, Some(&Library { provider, file: file.clone() }));
        let column = Column::of(provider, report);
        assert_eq!(column.reason.as_deref(), Some("provider-missing"), "{provider:?} {}: {column:?}", file.display());
        assert!(column.about.is_none() && column.detail.is_some_and(|words| words.starts_with(provider.as_str())));
    }
}

mod tempdir {
    use std::path::{Path, PathBuf};

    /// A copy of a folder that goes away with the value.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn copy(from: &Path) -> Self {
            let own = std::env::temp_dir().join(format!("pithead-providers-{}", std::process::id()));
            copy(from, &own);
            Self(own)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).map(drop).unwrap();
            }
        }
    }
}
