//! What models give and what stands beside them, on tensors of any shape and number: decoders of every kind, sound, spectra, parts of pictures.

use app_package::pipeline::{Alignment, Of, Post, PreSound, Spectrum, Tiles};
use image::{DynamicImage, GrayImage, RgbImage};
use inference::engine::{Data, TensorData};
use inference::geometry::Geometry;
use inference::{
    output::{AppOutput, Detection},
    picture::{self, Shape},
    post, sound,
    spectrum::Analyser,
    tiles::{self, Found},
};
use serde_json::{Value, json};

use crate::hostile::Rng;
use crate::parsers::{Examples, damaged, ensure};

/// Codes that a decoder may refuse with.
const REFUSALS: [&str; 3] = ["tensor-shape", "tensor-mismatch", "output-not-finite"];

fn label(id: &str) -> Value {
    json!({"id": id, "text": {"en": id}})
}

fn number(rng: &mut Rng) -> f32 {
    match rng.below(12) {
        0 => *rng.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, 1e-40, 1e9]),
        1..4 => f32::from(u16::try_from(rng.below(100)).unwrap()),
        _ => f32::from(u16::try_from(rng.below(1_000)).unwrap()) / 1_000.0,
    }
}

/// A step of a random kind, with the shape that it wants.
fn step(rng: &mut Rng) -> (Value, Vec<i64>) {
    let side = i64::try_from(1 + rng.below(12)).unwrap();
    let activation = *rng.pick(&["none", "sigmoid", "softmax"]);
    match rng.below(7) {
        0 => {
            let row = *rng.pick(&[&["box", "scores", "masks-2"][..], &["box", "scores", "keypoints"], &["box", "score", "class", "angle"]]);
            let mut step = json!({"output": "o", "labels": [label("a"), label("b")], "score": 0.3, "row": row, "activation": activation});
            let width = match row.last() {
                Some(&"masks-2") => {
                    step["prototypes"] = json!("p");
                    8
                }
                Some(&"keypoints") => {
                    step["keypoints"] = json!({"names": ["x", "y"], "dims": 3});
                    12
                }
                _ => 7,
            };
            if rng.below(2) == 0 {
                step["iou"] = json!(0.5);
            }
            (json!({ "boxes": step }), vec![1, side * 9, width])
        }
        1 => {
            let mut step =
                json!({"output": "o", "labels": [label("a")], "score": 0.4, "turn": rng.below(2) == 0, "dilate": rng.below(2) == 0});
            if rng.below(2) == 0 {
                (step["unclip"], step["mean"]) = (json!(1.6), json!(0.3));
            }
            (json!({ "grid": step }), vec![1, 1, side * 3, side * 2])
        }
        2 => {
            let background = *rng.pick(&["none", "first", "last"]);
            let step = json!({"output": "o", "labels": [label("a"), label("b")], "background": background, "activation": activation, "least": 0.1});
            let classes = if background == "none" { 2 } else { 3 };
            (json!({ "segments": step }), if rng.below(2) == 0 { vec![1, classes, side, side * 2] } else { vec![1, side, side] })
        }
        3 => (json!({"anomaly": {"map": "o", "threshold": 0.5, "label": label("a")}}), vec![1, 1, side, side]),
        4 => (json!({"anomaly": {"reconstruction": "o", "threshold": 0.5, "label": label("a")}}), vec![1, 3, side, side]),
        5 => (json!({"text": {"output": "o", "alphabet": "alphabet.txt", "activation": activation}}), vec![1, side * 5, 4]),
        _ => {
            let at: Vec<usize> = (0..rng.below(4)).map(|_| rng.below(5)).collect();
            let reduce = *rng.pick(&["mean", "max", "min", "last"]);
            let item = json!({"id": "v", "text": {"en": "v"}, "at": at, "reduce": reduce});
            (json!({"values": {"output": "o", "items": [item]}}), vec![1, side, 3])
        }
    }
}

/// Every decoder answers or refuses, and what it finds lies in the picture.
pub fn decode(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let (step, mut shape) = step(rng);
    let step: Post = serde_json::from_value(step).map_err(|e| e.to_string())?;
    let dir = examples.file.parent().unwrap();
    let alphabet = rng.pick(&["a\nb\nc\n", "a\n \n\u{3000}", "", "a\n\nb"]);
    std::fs::write(dir.join("alphabet.txt"), alphabet).map_err(|e| e.to_string())?;
    let Ok(steps) = post::ready(dir, std::slice::from_ref(&step)) else { return Ok(()) };
    let mut elements = usize::try_from(shape.iter().product::<i64>()).unwrap();
    // Now and then a shape of another size, or one that lies.
    match rng.below(12) {
        0 => shape.reverse(),
        1 => shape.push(*rng.pick(&[-1, 0, 1, i64::MAX])),
        2 => elements = elements.saturating_sub(1),
        _ => {}
    }
    let mut tensor = |shape: Vec<i64>, elements: usize| TensorData { shape, data: Data::F32((0..elements).map(|_| number(rng)).collect()) };
    let outputs = [("o".to_owned(), tensor(shape.clone(), elements)), ("p".to_owned(), tensor(vec![1, 2, 8, 8], 128))];
    let given = tensor(shape, elements);
    let geometry = Geometry { tensor: [64.0, 64.0], source: [128.0, 72.0], fitted: [64.0, 36.0], offset: [0.0, 14.0] };
    match post::run(&steps, &outputs, Some(&geometry), Some(&given)) {
        Ok(found) => sane(&found, geometry.source),
        Err(e) => ensure(REFUSALS.contains(&e.code), &format!("an unknown refusal: {e}")),
    }
}

fn sane(found: &AppOutput, [width, height]: [f32; 2]) -> Result<(), String> {
    for thing in &found.detections {
        let [x, y, w, h] = thing.bbox;
        ensure(
            x >= 0.0 && y >= 0.0 && w > 0.0 && h > 0.0 && x + w <= width + 0.1 && y + h <= height + 0.1,
            "a thing outside of the picture",
        )?;
        ensure(thing.area.is_none_or(|area| (0.0..=1.0).contains(&area)), "an area that is no share")?;
        if let Some(mask) = &thing.mask {
            let cells: u64 = mask.counts.iter().map(|n| u64::from(*n)).sum();
            ensure(cells == u64::from(mask.size[0]) * u64::from(mask.size[1]), "a mask of another size than its grid")?;
        }
    }
    ensure(found.detections.len() <= 300 * 2, "more things than a step gives")?;
    ensure(found.values.iter().all(|value| value.value.is_finite()), "a value that is not finite")?;
    // What is told is JSON, and read back as it was.
    let text = serde_json::to_string(found).map_err(|e| e.to_string())?;
    serde_json::from_str::<AppOutput>(&text).map(drop).map_err(|e| e.to_string())
}

/// A recording is read or refused, and its windows are whole.
pub fn wav(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let (channels, bits) = (1 + u16::try_from(rng.below(3)).unwrap(), *rng.pick(&[8u16, 16, 24, 32]));
    let rate = *rng.pick(&[8_000u32, 16_000, 44_100, 999]);
    let data: Vec<u8> = (0..rng.below(4_000)).map(|_| rng.pick(&[0u8, 127, 128, 255, 7]).to_owned()).collect();
    let align = channels * bits / 8;
    let length = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let format = [1u16.to_le_bytes(), channels.to_le_bytes()].concat();
    let rates = [rate.to_le_bytes(), (rate * u32::from(align)).to_le_bytes()].concat();
    let whole = [
        b"RIFF",
        &length(36 + data.len())[..],
        b"WAVEfmt ",
        &length(16),
        &format,
        &rates,
        &align.to_le_bytes(),
        &bits.to_le_bytes(),
        b"data",
        &length(data.len()),
        &data,
    ];
    let bytes = if rng.below(3) == 0 { whole.concat() } else { damaged(whole.concat(), rng) };
    let Ok(samples) = sound::read(&bytes, 16_000) else { return Ok(()) };
    ensure(
        samples.len() <= sound::MAX_SAMPLES && samples.iter().all(|sample| sample.is_finite()),
        "samples that are too many or not finite",
    )?;
    let context = rng.below(50);
    let pre = json!({"rate": 16_000, "length": 50 + rng.below(200), "context": context, "hop": 1 + rng.below(60)});
    let pre: PreSound = serde_json::from_value(pre).map_err(|e| e.to_string())?;
    let Ok(windows) = sound::windows(&pre, samples.len()) else { return Ok(()) };
    let mut out = Vec::new();
    for window in windows.take(100) {
        sound::fill(&pre, &samples, window, &mut out);
        ensure(out.len() == pre.length as usize + context, "a window of another length")?;
    }
    spectrum(&out, rng)
}

/// A spectrum has the shape that is said of it, and is finite.
fn spectrum(samples: &[f32], rng: &mut Rng) -> Result<(), String> {
    let fft = 4 + rng.below(60);
    let mut json = json!({
        "fft": fft, "frame": 2 + rng.below(fft - 1), "hop": 1 + rng.below(80), "average": rng.below(2) == 0,
        "window": rng.pick(&["hann", "hamming", "none"]), "pad": rng.pick(&["none", "zeros", "reflect"]),
        "scale": rng.pick(&["amplitude", "power"]), "norm": rng.pick(&["none", "spectrum", "density"]),
        "log": rng.pick(&["none", "db", "ln", "log10"]), "layout": rng.pick(&["ntf", "nft", "nctf", "ncft", "flat"]),
    });
    if rng.below(2) == 0 {
        json["envelope"] = json!({"low": rng.below(4_000), "high": 4_000 + rng.below(4_000)});
    }
    match rng.below(3) {
        0 => json["bands"] = json!([{"low": 0, "high": 1_000}, {"low": 7_999, "high": 8_000}]),
        1 => json["mel"] = json!({"bands": 1 + rng.below(80), "formula": rng.pick(&["slaney", "htk"])}),
        _ => {}
    }
    let spec: Spectrum = serde_json::from_value(json).map_err(|e| e.to_string())?;
    let shape = spec.shape(samples.len() as u64, 1);
    if samples.is_empty() || spec.transforms(samples.len() as u64) == 0 {
        return Ok(());
    }
    let found = Analyser::new(&spec, 16_000.0).run(samples, 1).map_err(|e| e.to_string())?;
    ensure(i64::try_from(found.len()) == Ok(shape.iter().product()), "a spectrum of another shape")?;
    ensure(found.iter().all(|value| value.is_finite()), "a spectrum that is not finite")
}

/// Tiles lie in the picture, cover it, and are so many at most; what is found in them is merged to no more.
pub fn tiles(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let mut side = |most: usize| 1 + u32::try_from(rng.below(most)).unwrap();
    let (w, h, width, height) = (side(2_000), side(2_000), side(1_000), side(1_000));
    let cut = Tiles { width, height, overlap: *rng.pick(&[0.0, 0.2, 0.9]), whole: rng.below(2) == 0 };
    let Ok(places) = tiles::places(&cut, (w, h)) else { return Ok(()) };
    ensure(places.len() <= tiles::MAX_TILES, "more tiles than are run")?;
    ensure(places.iter().all(|[x, y, tw, th]| *tw > 0 && *th > 0 && x + tw <= w && y + th <= h), "a tile outside of the picture")?;
    ensure(
        (0..20).all(|_| {
            let (x, y) = (u32::try_from(rng.below(w as usize)).unwrap(), u32::try_from(rng.below(h as usize)).unwrap());
            places.iter().any(|[left, top, tw, th]| (*left..left + tw).contains(&x) && (*top..top + th).contains(&y))
        }),
        "a pixel in no tile",
    )?;
    let found: Vec<Found> = (0..rng.below(60))
        .map(|_| {
            let tile = rng.pick(&places).map(|side| f32::from(u16::try_from(side).unwrap()));
            let bbox = [number(rng), number(rng), number(rng).abs(), number(rng).abs()].map(|side| side * 500.0);
            Found { tile, object: Detection::new(*rng.pick(&["a", "b"]), number(rng), bbox) }
        })
        .collect();
    let count = found.len();
    let merged = tiles::merge(found, rng.below(2) == 0);
    ensure(merged.len() <= count && (count == 0 || !merged.is_empty()), "objects that were lost or made")
}

/// A part of a picture is a picture, whatever box there is.
pub fn part(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let (w, h) = (1 + u32::try_from(rng.below(60)).unwrap(), 1 + u32::try_from(rng.below(60)).unwrap());
    let picture: DynamicImage = if rng.below(2) == 0 { GrayImage::new(w, h).into() } else { RgbImage::new(w, h).into() };
    let mut place = || number(rng) * 64.0 - 16.0;
    let bbox = [place(), place(), place(), place()];
    let outline = [[place(), place()], [place(), place()], [place(), place()], [place(), place()]];
    let points = [[place(), place()], [place(), place()], [place(), place()], [place(), place()], [place(), place()]];
    let points = points.get(..*rng.pick(&[0, 4, 5])).unwrap_or_default();
    let align = *rng.pick(&[None, Some(Alignment::Arcface)]);
    let of = Of { expand: *rng.pick(&[0.0, 0.1, 4.0]), square: rng.below(2) == 0, turn: rng.below(2) == 0, align, ..Of::default() };
    let shape = Shape { bbox, outline: &outline, turned: rng.below(2) == 0, points };
    let Some(part) = picture::cut(&picture, &of, &shape) else { return Ok(()) };
    ensure(part.picture.width() > 0 && part.picture.height() > 0, "an empty part")?;
    ensure(part.origin.iter().all(|at| at.is_finite()), "a part that lies nowhere")
}
