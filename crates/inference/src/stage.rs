//! A loaded model of an app with what fills its inputs and what becomes of its outputs.

use std::path::Path;

use app_package::pipeline::{Feed, FeedOf, ModelStep, Post, Pre, PreColumns, PreImage, Tiles};
use image::DynamicImage;

use crate::{
    engine::{Data, Session, TensorData, TensorInfo},
    error::{AppError, Result},
    frames::Frames,
    geometry::Geometry,
    output::AppOutput,
    picture, post, sound,
    spectrum::Analyser,
    table::{self, Cell},
    tensors,
    tiles::{self, Found},
};

/// What a stage is asked about.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    Picture(&'a DynamicImage),
    /// The last frames, for a step that takes several.
    Frames(&'a Frames),
    /// CSV or WAV.
    Bytes(&'a [u8]),
}

/// What a model gave for one input, as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    /// The outputs that its step declares, in that order; of sound none.
    pub outputs: Vec<(String, TensorData)>,
    /// Where the picture lies in the model's tensor.
    pub geometry: Option<Geometry>,
}

/// One model, ready to answer.
pub(crate) struct Stage {
    step: ModelStep,
    session: Box<dyn Session>,
    posts: Vec<post::Ready>,
    /// The prepared input, its buffer used again for each prediction where the model takes FP32.
    prepared: Vec<f32>,
    /// The model's inputs by name: first what [`ModelStep::pre`] fills, then what [`ModelStep::feed`] and [`ModelStep::state`] do.
    inputs: Vec<(String, TensorData)>,
    /// Inputs that are told of the app's input, by their place in `inputs`.
    told: Vec<(usize, FeedOf)>,
    /// What makes spectra of samples, where the step asks for them.
    analyser: Option<Analyser>,
    /// Inputs that hold a state, by their place in `inputs`, with what they begin with and the output that comes after.
    carried: Vec<(usize, TensorData, String)>,
}

impl Stage {
    /// A loaded model that was held against the step before. Codes `tensor-mismatch`, and those of [`post::ready`].
    pub fn new(dir: &Path, step: ModelStep, session: Box<dyn Session>) -> Result<Self> {
        let posts = post::ready(dir, &step.post)?;
        let analyser = match &step.pre {
            Pre::Sound(sound) => sound.spectrum.as_ref().map(|spectrum| Analyser::new(spectrum, f64::from(sound.rate))),
            Pre::Window(window) => window.spectrum.as_ref().map(|spectrum| Analyser::new(spectrum, spectrum.rate.unwrap_or(1.0))),
            Pre::Image(_) | Pre::Columns(_) | Pre::Clip(_) => None,
        };
        let (inputs, told, carried) = (Vec::new(), Vec::new(), Vec::new());
        let mut stage = Self { step, session, posts, prepared: Vec::new(), inputs, told, analyser, carried };
        let lacking = |name: &str| AppError::new("tensor-mismatch", format!("nothing fills the input `{name}`"));
        let prepared = prepared(&stage.step, stage.session.inputs())?;
        let empty = |info: &TensorInfo, shape| Ok::<_, AppError>((info.name.clone(), TensorData { shape, data: none_of(&info.datatype)? }));
        for info in &prepared {
            let shape = if prepared.len() == 1 { tensors::input_shape(&stage.step.pre, &info.shape) } else { vec![1, 1] };
            stage.inputs.push(empty(info, shape)?);
        }
        for info in stage.session.inputs().iter().filter(|info| prepared.iter().all(|p| p.name != info.name)) {
            let place = stage.inputs.len();
            let tensor = if let Some(carried) = stage.step.state.iter().find(|carried| carried.into == info.name) {
                let zeros = tensors::fed(&Feed::Number(0.0), info)?;
                stage.carried.push((place, zeros.clone(), carried.from.clone()));
                zeros
            } else {
                let feed = stage.step.feed.get(&info.name).ok_or_else(|| lacking(&info.name))?;
                if let Feed::Of(of) = feed {
                    stage.told.push((place, *of));
                }
                tensors::fed(feed, info)?
            };
            stage.inputs.push((info.name.clone(), tensor));
        }
        Ok(stage)
    }

    pub fn step(&self) -> &ModelStep {
        &self.step
    }

    /// Prepares pictures in another way, of the same shape.
    pub fn prepare_as(&mut self, image: PreImage) {
        self.step.pre = Pre::Image(image);
    }

    /// Answers for one input, without alarms.
    pub fn answer(&mut self, input: Input<'_>) -> Result<AppOutput> {
        self.answer_raw(input).map(|(answer, _)| answer)
    }

    /// As [`Self::answer`], with what the model gave.
    pub fn answer_raw(&mut self, input: Input<'_>) -> Result<(AppOutput, Raw)> {
        if let (Pre::Sound(pre), Input::Bytes(bytes)) = (self.step.pre.clone(), input) {
            let samples = sound::read(bytes, pre.rate)?;
            let mut over = sound::Summary::new(pre.over);
            self.windows(&pre, &samples, |stage, outputs| {
                over.add(post::run(&stage.posts, &outputs, None, stage.main())?);
                Ok(())
            })?;
            return Ok((over.finish(), Raw::default()));
        }
        if let (Pre::Image(PreImage { tiles: Some(tiles), .. }), Input::Picture(picture)) = (&self.step.pre, input) {
            let tiles = tiles.clone();
            return Ok((self.tiled(&tiles, picture)?, Raw::default()));
        }
        self.one(input)
    }

    fn one(&mut self, input: Input<'_>) -> Result<(AppOutput, Raw)> {
        let geometry = self.prepare(input)?;
        let mut outputs = self.session.run(&self.inputs)?;
        self.carry(&outputs)?;
        let answer = post::run(&self.posts, &outputs, geometry.as_ref(), self.main())?;
        outputs.retain(|(name, _)| self.step.outputs.iter().any(|declared| declared.name == *name));
        outputs.sort_by_key(|(name, _)| self.step.outputs.iter().position(|declared| declared.name == *name));
        Ok((answer, Raw { outputs, geometry }))
    }

    /// What is found in the tiles of a picture, best first.
    #[expect(clippy::cast_precision_loss, reason = "places in a picture")]
    fn tiled(&mut self, tiles: &Tiles, picture: &DynamicImage) -> Result<AppOutput> {
        let mut found = Vec::new();
        for [x, y, w, h] in tiles::places(tiles, (picture.width(), picture.height()))? {
            let part = picture.crop_imm(x, y, w, h);
            let share = picture::area(&part) / picture::area(picture);
            let tile = [x, y, w, h].map(|side| side as f32);
            let objects = self.one(Input::Picture(&part))?.0.detections.into_iter().map(|d| d.moved([x as f32, y as f32], share));
            found.extend(objects.map(|object| Found { tile, object }));
        }
        let boxes = self.step.post.iter().find_map(|post| if let Post::Boxes(boxes) = post { Some(boxes) } else { None });
        let mut detections = tiles::merge(found, boxes.is_some_and(|boxes| boxes.agnostic));
        detections.truncate(boxes.map_or(post::MAX_DETECTIONS, post::most));
        Ok(AppOutput { detections, ..AppOutput::default() })
    }

    /// The model's raw outputs for one input, of sound those of the last window.
    pub fn outputs(&mut self, input: Input<'_>) -> Result<Vec<(String, TensorData)>> {
        if let (Pre::Sound(pre), Input::Bytes(bytes)) = (self.step.pre.clone(), input) {
            let samples = sound::read(bytes, pre.rate)?;
            let mut last = Vec::new();
            self.windows(&pre, &samples, |_, outputs| {
                last = outputs;
                Ok(())
            })?;
            return Ok(last);
        }
        self.resume(None);
        self.prepare(input)?;
        self.session.run(&self.inputs)
    }

    /// Whether runs hand on a state.
    pub fn carries(&self) -> bool {
        !self.carried.is_empty()
    }

    /// Begins the next run with what [`Self::state`] was after another one, or with zeros.
    pub fn resume(&mut self, state: Option<Vec<TensorData>>) {
        let mut state = state.unwrap_or_default().into_iter();
        for (place, zeros, _) in &self.carried {
            if let Some((_, tensor)) = self.inputs.get_mut(*place) {
                *tensor = state.next().unwrap_or_else(|| zeros.clone());
            }
        }
    }

    /// What the last run left for the next one.
    pub fn state(&self) -> Vec<TensorData> {
        self.carried.iter().filter_map(|(place, ..)| self.inputs.get(*place).map(|(_, tensor)| tensor.clone())).collect()
    }

    /// Hands the outputs on to the next run. A state may take another shape once, as models do that take its size from the picture. Codes
    /// `tensor-shape` where it does so again, as it would grow without end, and `output-not-finite`, as no later run would recover.
    fn carry(&mut self, outputs: &[(String, TensorData)]) -> Result<()> {
        for (place, zeros, from) in &self.carried {
            let next = outputs.iter().find(|(name, _)| name == from);
            let (Some((name, tensor)), Some((_, next))) = (self.inputs.get_mut(*place), next) else { continue };
            if next.shape != tensor.shape && tensor.shape != zeros.shape {
                let message = format!("`{from}` is {:?}; the state `{name}` was {:?} before, and stays so", next.shape, tensor.shape);
                return Err(AppError::new("tensor-shape", message));
            }
            if next.data.to_f32().iter().any(|number| !number.is_finite()) {
                return Err(AppError::new("output-not-finite", format!("the state `{from}` has a number that is not finite")));
            }
            *tensor = next.clone();
        }
        Ok(())
    }

    /// Runs the model on this in the place of what is prepared; its other inputs are as at the last prediction.
    pub fn run_on(&mut self, prepared: TensorData) -> Result<Vec<(String, TensorData)>> {
        let Some((_, tensor)) = self.inputs.first_mut() else { return self.session.run(&self.inputs) };
        let kept = std::mem::replace(tensor, prepared);
        let outcome = self.session.run(&self.inputs);
        if let Some((_, tensor)) = self.inputs.first_mut() {
            *tensor = kept;
        }
        outcome
    }

    /// Runs the model on tensors as they are. Codes `tensor-shape` when a tensor's data does not fill its shape, `tensor-unknown`,
    /// `tensor-datatype`.
    pub fn infer(&mut self, inputs: &[(String, TensorData)]) -> Result<Vec<(String, TensorData)>> {
        for (name, tensor) in inputs {
            if TensorData::elements(&tensor.shape) != Some(tensor.data.len()) {
                return Err(AppError::new(
                    "tensor-shape",
                    format!("`{name}`: {:?} does not hold {} elements", tensor.shape, tensor.data.len()),
                ));
            }
            let Some(known) = self.session.inputs().iter().find(|i| &i.name == name) else {
                return Err(AppError::new("tensor-unknown", format!("the model has no input `{name}`")));
            };
            if known.datatype != tensor.data.datatype() {
                let message = format!("input `{name}` takes {}, not {}", known.datatype, tensor.data.datatype());
                return Err(AppError::new("tensor-datatype", message));
            }
        }
        self.session.run(inputs)
    }

    /// The model's input that is prepared from the app's; none where each column is an input.
    pub fn main_input(&self) -> Option<&TensorInfo> {
        let single = tensors::each(&self.step.pre).is_none();
        let (name, _) = self.inputs.first().filter(|_| single)?;
        self.session.inputs().iter().find(|info| &info.name == name)
    }

    /// Shape of what is prepared; -1 where it follows the input.
    pub fn input_shape(&self) -> Vec<i64> {
        let real = self.main_input().map(|info| info.shape.clone()).unwrap_or_default();
        tensors::input_shape(&self.step.pre, &real)
    }

    /// What the model was given at the last prediction.
    fn main(&self) -> Option<&TensorData> {
        self.inputs.first().map(|(_, tensor)| tensor)
    }

    /// Fills the input tensors.
    fn prepare(&mut self, input: Input<'_>) -> Result<Option<Geometry>> {
        if let (Some(columns), Input::Bytes(bytes)) = (tensors::each(&self.step.pre).cloned(), input) {
            return self.fill_each(&columns, bytes).map(|()| None);
        }
        let mut buffer = self.take_buffer();
        let (shape, geometry) = match (&self.step.pre, input) {
            (Pre::Image(pre), Input::Picture(picture)) => {
                let (shape, geometry) = picture::to_tensor(pre, picture, &mut buffer)?;
                (Some(shape), Some(geometry))
            }
            (Pre::Window(pre), Input::Bytes(bytes)) => {
                table::window(pre, bytes, &mut buffer)?;
                if let Some(analyser) = &self.analyser {
                    buffer = analyser.run(&buffer, pre.columns.len())?;
                }
                (None, None)
            }
            (Pre::Columns(pre), Input::Bytes(bytes)) => table::columns(pre, bytes, &mut buffer).map(|()| (None, None))?,
            (Pre::Clip(pre), Input::Frames(frames)) => {
                frames.fill(pre, &mut buffer);
                (None, frames.geometry)
            }
            (Pre::Image(_) | Pre::Clip(_), Input::Bytes(_)) | (_, Input::Picture(_) | Input::Frames(_)) | (Pre::Sound(_), _) => {
                return Err(AppError::new("tensor-mismatch", "the steps of an app read one kind of input"));
            }
        };
        self.put_buffer(buffer, shape)?;
        if let Some(geometry) = &geometry {
            self.tell(|of| tensors::told(of, geometry))?;
        }
        Ok(geometry)
    }

    /// Fills the inputs that are told of the app's input with the numbers that there are.
    fn tell<const N: usize>(&mut self, numbers: impl Fn(FeedOf) -> Option<[f64; N]>) -> Result<()> {
        for (place, of) in &self.told {
            if let (Some((_, tensor)), Some(numbers)) = (self.inputs.get_mut(*place), numbers(*of)) {
                tensor.data = like(&tensor.data, numbers.into_iter())?;
            }
        }
        Ok(())
    }

    /// The buffer of what is prepared. Where the model takes FP32 it is the tensor's own, and nothing is copied.
    fn take_buffer(&mut self) -> Vec<f32> {
        match self.inputs.first_mut() {
            Some((_, TensorData { data: Data::F32(buffer), .. })) => std::mem::take(buffer),
            _ => std::mem::take(&mut self.prepared),
        }
    }

    fn put_buffer(&mut self, buffer: Vec<f32>, shape: Option<Vec<i64>>) -> Result<()> {
        let Some((_, tensor)) = self.inputs.first_mut() else { return Ok(()) };
        if matches!(tensor.data, Data::F32(_)) {
            tensor.data = Data::F32(buffer);
        } else {
            tensor.data = like(&tensor.data, buffer.iter().copied().map(f64::from))?;
            self.prepared = buffer;
        }
        if let Some(shape) = shape {
            tensor.shape = shape;
        }
        Ok(())
    }

    /// Fills an input for each column.
    fn fill_each(&mut self, columns: &PreColumns, bytes: &[u8]) -> Result<()> {
        for (cell, column) in table::row(columns, bytes)?.into_iter().zip(&columns.names) {
            let Some((_, tensor)) = self.inputs.iter_mut().find(|(name, _)| *name == column.name) else { continue };
            tensor.data = match cell {
                Cell::Number(number) => like(&tensor.data, std::iter::once(number))?,
                Cell::Text(text) => Data::Text(vec![text]),
            };
        }
        Ok(())
    }

    /// Runs the model on each whole window of a sound, from an empty state.
    fn windows(
        &mut self,
        pre: &app_package::pipeline::PreSound,
        samples: &[f32],
        mut each: impl FnMut(&Self, Vec<(String, TensorData)>) -> Result<()>,
    ) -> Result<()> {
        let windows = sound::windows(pre, samples.len())?;
        self.resume(None);
        self.tell(|of| (of == FeedOf::SampleRate).then_some([f64::from(pre.rate)]))?;
        for window in windows {
            let mut buffer = self.take_buffer();
            sound::fill(pre, samples, window, &mut buffer);
            if let Some(analyser) = &self.analyser {
                buffer = analyser.run(&buffer, 1)?;
            }
            self.put_buffer(buffer, None)?;
            let outputs = self.session.run(&self.inputs)?;
            self.carry(&outputs)?;
            each(self, outputs)?;
        }
        Ok(())
    }
}

/// The inputs that are prepared from the app's: one, or one for each column.
fn prepared(step: &ModelStep, inputs: &[TensorInfo]) -> Result<Vec<TensorInfo>> {
    let Some(columns) = tensors::each(&step.pre) else {
        let main = tensors::main_input(step, inputs);
        return Ok(vec![
            main.ok_or_else(|| AppError::new("tensor-mismatch", "no input of the model is left for what is prepared"))?.clone(),
        ]);
    };
    let find = |name: &String| inputs.iter().find(|info| &info.name == name).cloned();
    let found: Option<Vec<TensorInfo>> = columns.names.iter().map(|column| find(&column.name)).collect();
    found.ok_or_else(|| AppError::new("tensor-mismatch", "a column is no input of the model"))
}

/// Numbers of the same datatype.
fn like(data: &Data, numbers: impl Iterator<Item = f64>) -> Result<Data> {
    Data::of(data.datatype(), numbers).ok_or_else(|| tensors::unfillable(data.datatype()))
}

/// No elements of a datatype.
fn none_of(datatype: &str) -> Result<Data> {
    if datatype == "BYTES" {
        return Ok(Data::Text(Vec::new()));
    }
    Data::of(datatype, std::iter::empty()).ok_or_else(|| tensors::unfillable(datatype))
}
