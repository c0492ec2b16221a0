//! What can be said of a package before it is sent: all that the check finds without running the model.
//!
//! Each part is looked at by the very code of the check, so a package is not refused here for what the check takes. It may still fail
//! there: what the engine makes of the model, and what the model makes of the samples, is seen only when they run.

use std::path::Path;

use app_package::manifest::{AppManifest, Golden, InputKind};
use app_package::pipeline::{ModelStep, Pre};

use crate::{
    alarm::Rules,
    app, check, clip, content,
    engine::TensorInfo,
    error::{AppError, Result},
    golden,
    model_file::{self, Header},
    picture, sound, table, tensors,
};

/// Faults of a package whose `app.yaml` is without one, with the step of the check that would find each ([`check::STEPS`]), in the order of
/// the steps.
pub fn examine(dir: &Path, manifest: &AppManifest) -> Vec<(&'static str, AppError)> {
    let mut faults = Vec::new();
    let mut note = |step: &'static str, outcome: Result<()>| match outcome {
        Ok(()) => true,
        Err(e) => {
            faults.push((step, e));
            false
        }
    };
    let whole = note("files", check::files(dir, manifest).map(drop));
    note("content", content::scan(dir));
    if whole {
        note("tensors-match", described(dir, manifest));
    }
    note("alarm-rules", Rules::compile(manifest).map(drop));
    // All steps of an app read one kind of input; those for each object are given its picture.
    let steps = manifest.model_steps();
    let video = manifest.input == InputKind::Video;
    for sample in &manifest.golden {
        let read = steps.iter().filter(|step| step.of.is_none()).find_map(|step| readable(dir, video, &step.pre, sample).err());
        note("golden", read.map_or(Ok(()), Err));
    }
    faults
}

/// The models' files say the tensors that the manifest says.
fn described(dir: &Path, manifest: &AppManifest) -> Result<()> {
    let steps = manifest.model_steps();
    steps.iter().try_for_each(|step| described_step(dir, manifest.format, step).map_err(|e| app::told(&e, step, steps.len())))
}

fn described_step(dir: &Path, format: u32, model: &ModelStep) -> Result<()> {
    let (path, _) = model_file::package_file(dir, &model.file)?;
    let signature = model_file::signature(dir, &path)?;
    // A file may leave the shape of an output to the engine: nothing is known that could differ from what is declared.
    let declared = |name: &str| model.inputs.iter().chain(&model.outputs).find(|t| t.name == name).map(|t| t.shape.clone());
    let info = |header: &Header| {
        let datatype = header.datatype().ok_or_else(|| {
            let message = format!("`{}` is no tensor; export the model without ZipMap or sequences", header.name);
            AppError::new("tensor-not-dense", message)
        })?;
        let shape = header.shape.clone().or_else(|| declared(&header.name)).unwrap_or_default();
        Ok(TensorInfo { name: header.name.clone(), datatype: datatype.to_owned(), shape })
    };
    let inputs = signature.inputs.iter().map(info).collect::<Result<Vec<_>>>()?;
    let outputs = signature.outputs.iter().map(info).collect::<Result<Vec<_>>>()?;
    tensors::check(model, format, &inputs, &outputs)
}

/// A sample's input can be prepared, and its expected result read.
fn readable(dir: &Path, video: bool, pre: &Pre, sample: &Golden) -> Result<()> {
    golden::expected(dir, sample)?;
    let input = golden::read(dir, &sample.input)?;
    golden::noted_within(sample, &input)?;
    let mut tensor = Vec::new();
    let outcome = match pre {
        Pre::Image(_) | Pre::Clip(_) if video && !picture::is_known(&input) => {
            clip::read(&input).and_then(|clip| clip.frames().try_for_each(|frame| frame.map(drop)))
        }
        Pre::Image(_) | Pre::Clip(_) => picture::decode(&input).map(drop),
        Pre::Window(window) => table::check(&input).and_then(|()| table::window(window, &input, &mut tensor)),
        Pre::Columns(columns) => table::row(columns, &input).map(drop),
        Pre::Sound(pre) => sound::read(&input, pre.rate).and_then(|samples| sound::windows(pre, samples.len()).map(drop)),
    };
    outcome.map_err(|e| AppError::new(e.code, format!("`{}`: {}", sample.name, e.message)))
}
