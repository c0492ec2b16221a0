//! Does the manifest describe the model? Compared once when an app is opened, and before an upload.

use app_package::manifest::AppManifest;
use app_package::pipeline::{Model, Post, Pre, Tensor};

use crate::{
    engine::TensorInfo,
    error::{AppError, Result},
    picture, table,
};

/// The shape that the pre-processing makes.
pub fn input_shape(pre: &Pre) -> Vec<i64> {
    match pre {
        Pre::Image(image) => picture::shape(image),
        Pre::Window(window) => table::window_shape(window),
        Pre::Columns(columns) => vec![1, i64::try_from(columns.names.len()).unwrap_or(i64::MAX)],
    }
}

/// True when two shapes can be the same; -1 fits anything.
fn fits(a: &[i64], b: &[i64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| a == b || a < 0 || b < 0)
}

/// The manifest's only model. Code `model-missing`.
pub fn model(manifest: &AppManifest) -> Result<&Model> {
    manifest.models.first().ok_or_else(|| AppError::new("model-missing", "the manifest names no model"))
}

/// Compares declared and real tensors, the pre-processing's shape with the input, and the labels with the outputs.
/// Code `tensor-mismatch`, with every difference in the message.
pub fn check(manifest: &AppManifest, inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Result<()> {
    let model = model(manifest)?;
    let mut faults = Vec::new();
    compare("input", &model.inputs, inputs, true, &mut faults);
    compare("output", &model.outputs, outputs, false, &mut faults);
    match (inputs, model.inputs.as_slice()) {
        ([real], [_]) => {
            let shape = input_shape(&manifest.pipeline.pre);
            if real.datatype != "FP32" {
                faults.push(format!("the pre-processing makes FP32, input `{}` takes {}", real.name, real.datatype));
            }
            if !fits(&shape, &real.shape) {
                faults.push(format!("the pre-processing makes {shape:?}, input `{}` takes {:?}", real.name, real.shape));
            }
        }
        _ => faults.push("the pipeline needs a model with exactly one input".into()),
    }
    for post in &manifest.pipeline.post {
        labels(post, manifest, outputs, &mut faults);
    }
    if faults.is_empty() { Ok(()) } else { Err(AppError::new("tensor-mismatch", faults.join("; "))) }
}

fn compare(what: &str, declared: &[Tensor], real: &[TensorInfo], all: bool, faults: &mut Vec<String>) {
    for tensor in declared {
        match real.iter().find(|r| r.name == tensor.name) {
            None => faults.push(format!("the model has no {what} `{}`", tensor.name)),
            Some(r) if r.datatype != tensor.datatype => {
                faults.push(format!("{what} `{}` is {}, declared {}", r.name, r.datatype, tensor.datatype));
            }
            Some(r) if !fits(&r.shape, &tensor.shape) => {
                faults.push(format!("{what} `{}` has shape {:?}, declared {:?}", r.name, r.shape, tensor.shape));
            }
            Some(_) => {}
        }
    }
    if all {
        for r in real.iter().filter(|r| declared.iter().all(|t| t.name != r.name)) {
            faults.push(format!("{what} `{}` of the model is not declared", r.name));
        }
    }
}

fn labels(post: &Post, manifest: &AppManifest, outputs: &[TensorInfo], faults: &mut Vec<String>) {
    let (step, output, shape) = match post {
        Post::Classes(p) => ("classes", &p.output, vec![1, dim(p.labels.len())]),
        Post::Boxes(p) => ("boxes", &p.output, vec![1, -1, dim(p.labels.len()).saturating_add(5)]),
        Post::Grid(p) => ("grid", &p.output, vec![1, dim(p.labels.len()), -1, -1]),
        Post::Values(p) => ("values", &p.output, vec![1, dim(p.items.len())]),
    };
    if matches!(post, Post::Boxes(_) | Post::Grid(_)) && !matches!(manifest.pipeline.pre, Pre::Image(_)) {
        faults.push(format!("`{step}` needs a picture as input"));
    }
    match outputs.iter().find(|o| &o.name == output) {
        None => faults.push(format!("`{step}` reads `{output}`, which is no output of the model")),
        Some(o) if !fits(&o.shape, &shape) => faults.push(format!("`{step}` reads {shape:?}, output `{output}` has {:?}", o.shape)),
        Some(_) => {}
    }
}

fn dim(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
