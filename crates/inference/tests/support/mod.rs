//! Packages made of the tiny models in `tests/models` (see `make_models.py`).
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use app_package::manifest::AppManifest;
use inference::onnx::OnnxRuntime;
use serde_json::{Value, json};

/// The library; a test without it fails with this one line.
pub fn lib() -> PathBuf {
    std::env::var_os("ORT_LIB").expect("set ORT_LIB to the path of libonnxruntime.so.1.24 or newer").into()
}

pub fn engine() -> &'static OnnxRuntime {
    static ENGINE: OnceLock<OnnxRuntime> = OnceLock::new();
    ENGINE.get_or_init(|| OnnxRuntime::init(&lib()).unwrap())
}

pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

/// A package folder that goes away with the value.
pub struct Package {
    pub dir: PathBuf,
    pub manifest: Value,
}

impl Drop for Package {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn text(t: &str) -> Value {
    json!({"zh": t, "en": t})
}

pub fn label(id: &str) -> Value {
    json!({"id": id, "text": {"zh": format!("{id}中"), "en": format!("{id} en")}})
}

impl Package {
    /// A table app on `model`, which takes and gives four numbers.
    pub fn table(model: &str) -> Self {
        let items: Vec<Value> =
            ["a", "b", "c", "d"].map(|id| json!({"id": id, "text": text(id), "unit": "%", "scale": 2.0, "offset": 1.0})).into();
        Self::new(
            "tabular",
            model,
            ([1, 4].as_slice(), [1, 4].as_slice()),
            json!({"pre": {"columns": {"names": ["p", "q", "r", "s"]}}, "post": [{"values": {"output": "y", "items": items}}]}),
            b"p,q,r,s\n1,2,3,4\n",
            &json!({"values": [{"id": "a", "value": 3.0}, {"id": "b", "value": 5.0}, {"id": "c", "value": 7.0}, {"id": "d", "value": 9.0}]}),
        )
    }

    pub fn new(input: &str, model: &str, shapes: (&[i64], &[i64]), pipeline: Value, sample: &[u8], expect: &Value) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("pithead-inference-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        if !model.is_empty() && models().join(model).exists() {
            std::fs::copy(models().join(model), dir.join("model.onnx")).unwrap();
        }
        let file = match input {
            "image" => "sample.png",
            "video" => "sample.avi",
            "audio" => "sample.wav",
            _ => "sample.csv",
        };
        std::fs::write(dir.join(file), sample).unwrap();
        std::fs::write(dir.join("sample.json"), expect.to_string()).unwrap();
        let tensor = |name: &str, shape: &[i64]| json!([{"name": name, "datatype": "FP32", "shape": shape}]);
        let manifest = json!({
            "format": 1, "name": "test-app", "version": "1.0.0", "title": text("Test"), "summary": text("A test app."),
            "description": text("A test app."), "changes": text("First."),
            "specialty": "main-haulage", "scenario": "belt-foreign-object", "license": "Apache-2.0", "input": input,
            "models": [{"name": "m", "file": "model.onnx", "inputs": tensor("x", shapes.0), "outputs": tensor("y", shapes.1)}],
            "pipeline": pipeline,
            "golden": [{"name": "one", "input": file, "expect": "sample.json"}],
            "card": {"training_data": text("None."), "limits": text("None."),
                     "metrics": [{"name": "accuracy", "value": 1.0, "baseline": 0.5, "dataset": text("One sample.")}]},
        });
        Self { dir, manifest }
    }

    /// An app of format 2 with these steps, whose models are those of `tests/models`.
    pub fn steps(input: &str, steps: Value, sample: &[u8], expect: &Value) -> Self {
        let mut package = Self::new(input, "", (&[], &[]), json!({}), sample, expect);
        for step in steps.as_array().unwrap() {
            // Modules of own steps are the test's own.
            if let Some(file) = step["model"]["file"].as_str() {
                std::fs::copy(models().join(file), package.dir.join(file)).unwrap();
            }
        }
        let manifest = package.manifest.as_object_mut().unwrap();
        manifest.remove("models");
        manifest.remove("pipeline");
        manifest.insert("format".into(), json!(2));
        manifest.insert("steps".into(), steps);
        package
    }

    pub fn parsed(&self) -> AppManifest {
        serde_json::from_value(self.manifest.clone()).unwrap()
    }

    /// Writes `app.yaml` (JSON is YAML).
    pub fn write_yaml(&self) -> &Self {
        std::fs::write(self.dir.join("app.yaml"), serde_json::to_string_pretty(&self.manifest).unwrap()).unwrap();
        self
    }
}

/// A clip of these frames, five a second: Motion-JPEG in AVI, as `ffmpeg` writes it.
pub fn avi(frames: &[image::RgbImage]) -> Vec<u8> {
    fn chunk(id: &[u8], data: &[u8]) -> Vec<u8> {
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        [id, &size, data, if data.len() % 2 == 1 { &[0] } else { &[] }].concat()
    }
    let jpeg = |frame: &image::RgbImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(frame).unwrap();
        chunk(b"00dc", &bytes.into_inner())
    };
    let header = [b"vidsMJPG".as_slice(), &[0; 12], &1u32.to_le_bytes(), &5u32.to_le_bytes(), &[0; 28]].concat();
    let format = [&[0; 16][..], b"MJPG", &[0; 20]].concat();
    let stream = chunk(b"LIST", &[b"strl".as_slice(), &chunk(b"strh", &header), &chunk(b"strf", &format)].concat());
    let headers = chunk(b"LIST", &[b"hdrl".as_slice(), &chunk(b"avih", &[0; 56]), &stream].concat());
    let movi = chunk(b"LIST", &[b"movi".to_vec(), frames.iter().flat_map(jpeg).collect()].concat());
    chunk(b"RIFF", &[b"AVI ".as_slice(), &headers, &movi].concat())
}
