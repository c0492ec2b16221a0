//! What a module is given: what was seen so far, as tensors.

use std::time::Duration;

use app_package::manifest::AppManifest;
use app_package::pipeline::{Given, Post, PostBoxes, Step, WasmStep};
use image::DynamicImage;

use super::message::Tensors;
use crate::{
    engine::{Data, TensorData},
    geometry::Geometry,
    output::{AppOutput, Detection, ValueOut},
};

/// The numbers of an own step's labels, and the order of points and values.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    /// Labels of objects: of the steps before in their order, each once, then the step's own.
    pub(super) labels: Vec<String>,
    pub(super) keypoints: Vec<String>,
    pub(super) values: Vec<String>,
}

impl Vocabulary {
    /// What the steps before the one at this place declare.
    pub fn before(manifest: &AppManifest, at: usize, own: &WasmStep) -> Self {
        let mut known = Self::default();
        let each = own.of.is_some();
        let add = |list: &mut Vec<String>, id: &str| {
            if list.iter().all(|known| known != id) {
                list.push(id.to_owned());
            }
        };
        for step in manifest.steps.iter().take(at) {
            match step {
                Step::Model(model) => {
                    for post in &model.post {
                        if post.finds() {
                            post.labels().iter().for_each(|label| add(&mut known.labels, &label.id));
                        }
                        if let Post::Boxes(PostBoxes { keypoints: Some(points), .. }) = post {
                            points.names.iter().for_each(|name| add(&mut known.keypoints, name));
                        }
                        if model.of.is_some() == each {
                            post.values().for_each(|(id, ..)| add(&mut known.values, id));
                        }
                    }
                }
                Step::Track(_) => {}
                Step::Wasm(other) => {
                    if super::finds(other) {
                        other.labels.iter().for_each(|label| add(&mut known.labels, &label.id));
                    }
                    if other.of.is_some() == each {
                        other.items.iter().for_each(|item| add(&mut known.values, &item.id));
                    }
                }
            }
        }
        if super::finds(own) {
            own.labels.iter().for_each(|label| add(&mut known.labels, &label.id));
        }
        known
    }

    /// Number of a label; −1 for none of these.
    pub(super) fn number(&self, label: &str) -> i32 {
        self.labels.iter().position(|known| known == label).and_then(|at| i32::try_from(at).ok()).unwrap_or(-1)
    }
}

/// What was seen of an input so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen<'a> {
    /// The picture, of a step for each object its part.
    pub frame: Option<&'a DynamicImage>,
    /// Width and height of the source picture.
    pub source: [u32; 2],
    /// Outputs of the model before, as its `outputs` has them.
    pub tensors: &'a [(String, TensorData)],
    /// Where the picture lies in that model's tensor.
    pub geometry: Option<&'a Geometry>,
    /// What was found; of a step for each object that object alone.
    pub objects: &'a [Detection],
    pub values: &'a [ValueOut],
    pub texts: &'a [crate::output::TextOut],
    /// Since the source began.
    pub time: Duration,
    /// What the step left at the frame before.
    pub state: Option<&'a TensorData>,
}

impl<'a> Seen<'a> {
    /// All that the steps before say of an input.
    pub fn of(result: &'a AppOutput, frame: Option<&'a DynamicImage>) -> Self {
        let source = frame.map_or([0, 0], |picture| [picture.width(), picture.height()]);
        Self { frame, source, objects: &result.detections, values: &result.values, texts: &result.texts, ..Self::default() }
    }

    /// What they say of one object, whose part of the picture this is.
    pub fn of_object(object: &'a Detection, part: &'a DynamicImage, source: [u32; 2]) -> Self {
        let texts = object.said.text.as_slice();
        Self { frame: Some(part), source, objects: std::slice::from_ref(object), values: &object.said.values, texts, ..Self::default() }
    }
}

/// The tensor's name in the message.
pub(super) fn word(given: Given) -> &'static str {
    match given {
        Given::Tensors => "tensors",
        Given::Frame => "frame",
        Given::SourceSize => "source-size",
        Given::Objects => "objects",
        Given::Keypoints => "keypoints",
        Given::Values => "values",
        Given::Texts => "texts",
        Given::Tracks => "tracks",
        Given::Time => "time",
        Given::State => "state",
    }
}

/// The tensors in the order of the step's `in`.
pub(super) fn of(step: &WasmStep, known: &Vocabulary, seen: &Seen<'_>) -> Tensors {
    let mut all = Vec::new();
    for given in &step.given {
        let (shape, data) = match given {
            Given::Tensors => {
                all.extend(seen.tensors.iter().cloned());
                continue;
            }
            Given::Frame => frame(seen.frame),
            Given::SourceSize => {
                let [width, height] = seen.source.map(side);
                (vec![2], Data::F32(vec![height, width]))
            }
            Given::Objects => {
                (vec![length(seen.objects.len()), 6], Data::F32(seen.objects.iter().flat_map(|object| row(known, object)).collect()))
            }
            Given::Keypoints => {
                let points = seen.objects.iter().flat_map(|object| points(known, object));
                (vec![length(seen.objects.len()), length(known.keypoints.len()), 3], Data::F32(points.collect()))
            }
            Given::Values => {
                let value = |id: &String| seen.values.iter().find(|value| &value.id == id).map_or(f64::NAN, |value| value.value);
                (vec![length(known.values.len())], Data::F64(known.values.iter().map(value).collect()))
            }
            Given::Tracks => {
                let number = |object: &Detection| object.track.and_then(|track| i32::try_from(track).ok()).unwrap_or(-1);
                (vec![length(seen.objects.len())], Data::I32(seen.objects.iter().map(number).collect()))
            }
            Given::Time => (vec![1], Data::F64(vec![seen.time.as_secs_f64()])),
            Given::State => seen.state.map_or((vec![0], Data::U8(Vec::new())), |state| (state.shape.clone(), state.data.clone())),
            Given::Texts => (vec![length(seen.texts.len())], Data::Text(seen.texts.iter().map(|text| text.text.clone()).collect())),
        };
        all.push((word(*given).to_owned(), TensorData { shape, data }));
    }
    all
}

fn length(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "sides of pictures are far below 2^24")]
pub(super) fn side(pixels: u32) -> f32 {
    pixels as f32
}

fn frame(picture: Option<&DynamicImage>) -> (Vec<i64>, Data) {
    let rgb = picture.map(DynamicImage::to_rgb8).unwrap_or_default();
    (vec![i64::from(rgb.height()), i64::from(rgb.width()), 3], Data::U8(rgb.into_raw()))
}

#[expect(clippy::cast_precision_loss, reason = "there are at most some thousand labels")]
fn row(known: &Vocabulary, object: &Detection) -> [f32; 6] {
    let [x, y, w, h] = object.bbox;
    [known.number(&object.label) as f32, object.score, x, y, w, h]
}

fn points(known: &Vocabulary, object: &Detection) -> Vec<f32> {
    let point =
        |name: &String| object.keypoints.iter().find(|point| &point.name == name).map_or([0.0; 3], |point| [point.x, point.y, point.score]);
    known.keypoints.iter().flat_map(point).collect()
}
