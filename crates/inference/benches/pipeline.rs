//! Times of the pipeline, for `bench/pipeline.sh`: `pipeline LIBRARY FOLDER`, the folder as `bench/cnn.py` and `bench/heads.py` write it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::path::Path;
use std::time::Instant;

use app_package::pipeline::{Pre, PreImage};
use image::{DynamicImage, RgbImage};
use inference::{
    app::App,
    engine::{Data, TensorData},
    onnx::OnnxRuntime,
    picture,
};
use serde_json::{Map, json};

/// Pairs that are timed, after [`WARM`] that are not.
const PAIRS: usize = 60;
const WARM: usize = 5;

/// A module that looks for the best label of each of 8,400 rows.
fn best() -> Vec<u8> {
    let run = include_str!("../src/own/tests/best.wat");
    let text = format!(
        "(module (memory (export \"memory\") 60)
            (func (export \"pithead_abi\") (result i32) i32.const 1)
            (func (export \"alloc\") (param i32) (result i32) i32.const 131072)
            (func (export \"run\") (param i32 i32) (result i64) {run}))"
    );
    wat::parse_str(text).unwrap()
}

/// Medians in ms of two things done in turn.
fn pairs(mut first: impl FnMut(), mut second: impl FnMut()) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for pair in 0..WARM + PAIRS {
        let begin = Instant::now();
        first();
        let middle = Instant::now();
        second();
        if pair >= WARM {
            times[0].push((middle - begin).as_secs_f64() * 1e3);
            times[1].push(middle.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    })
}

fn open(engine: &OnnxRuntime, dir: &Path) -> App {
    let text = std::fs::read_to_string(dir.join("app.yaml")).unwrap();
    let manifest = app_package::validate::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    App::open(dir, manifest, engine, 1).unwrap()
}

/// Medians in ms of an answer to the first golden sample, and of its model alone.
fn answer(app: &mut App) -> [f64; 2] {
    let sample = std::fs::read(app.dir().join(&app.manifest().golden[0].input)).unwrap();
    let step = app.manifest().model_steps()[0].clone().into_owned();
    let shape = step.inputs[0].shape.clone();
    let elements = TensorData::elements(&shape).unwrap();
    let given = [(step.inputs[0].name.clone(), TensorData::new(shape, Data::F32(vec![0.5; elements])).unwrap())];
    let app = std::cell::RefCell::new(app);
    let whole = || drop(app.borrow_mut().predict(&sample, &Map::new(), "").unwrap());
    let bare = || drop(app.borrow_mut().infer(None, &given).unwrap());
    pairs(whole, bare)
}

fn main() {
    let [library, folder] = [1, 2].map(|at| std::env::args().nth(at).unwrap());
    let (engine, folder) = (OnnxRuntime::init(Path::new(&library)).unwrap(), Path::new(&folder));
    // Smooth, with some noise, as a camera's picture is.
    let shade = |x: u32, y: u32| [(x / 8) as u8 ^ (y % 3) as u8, (y / 5) as u8, ((x + y) / 12) as u8];
    let full_hd = DynamicImage::from(RgbImage::from_fn(1920, 1080, |x, y| image::Rgb(shade(x, y))));
    let pre = |more: serde_json::Value| -> PreImage {
        let mut keys = json!({"width": 640, "height": 640, "fit": "letterbox", "filter": "linear", "scale": 255.0});
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(keys).unwrap()
    };
    let (plain, means) = (pre(json!({})), pre(json!({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})));
    let mut buffers = [Vec::new(), Vec::new()];
    let [first, second] = &mut buffers;
    let [plain, means] = pairs(
        || drop(picture::to_tensor(&plain, &full_hd, first).unwrap()),
        || drop(picture::to_tensor(&means, &full_hd, second).unwrap()),
    );
    println!("picture_ms {plain:.2}\npicture_mean_ms {means:.2}");

    let [whole, bare] = answer(&mut open(&engine, &folder.join("heads")));
    // The picture is one of 64 × 64: what is left is the decoding.
    println!("decode_ms {:.3}", whole - bare);
    std::fs::write(folder.join("own/best.wasm"), best()).unwrap();
    let [whole, bare] = answer(&mut open(&engine, &folder.join("own")));
    println!("own_ms {:.2}", whole - bare);
    let mut cnn = open(&engine, &folder.join("cnn"));
    let [whole, bare] = answer(&mut cnn);
    let sample = std::fs::read(folder.join("cnn").join(&cnn.manifest().golden[0].input)).unwrap();
    let shown = picture::decode(&sample).unwrap();
    let Pre::Image(pre) = cnn.manifest().model_steps()[0].pre.clone() else { panic!("a model of pictures") };
    let [first, _] = &mut buffers;
    let [png, tensor] = pairs(|| drop(picture::decode(&sample).unwrap()), || drop(picture::to_tensor(&pre, &shown, first).unwrap()));
    println!("png_ms {png:.2}\ntensor_ms {tensor:.2}");
    println!("engine_ms {bare:.1}\noverhead_percent {:.2}", (whole - bare) / bare * 100.0);
}
