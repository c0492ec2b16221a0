//! Does the manifest describe the model? Compared once when an app is opened, and before an upload. And what fills the model's inputs.

use app_package::pipeline::{
    Column, ColumnKind, Feed, FeedOf, Missing, ModelStep, Post, PostBoxes, Pre, PreColumns, PreSound, RowLayout, Tensor,
};

use crate::{
    engine::{Data, TensorData, TensorInfo},
    error::{AppError, Result},
    frames,
    geometry::Geometry,
    picture, table,
};

/// Most elements of an input that is fed.
const MAX_FED: usize = 1 << 20;

/// The shape that the pre-processing makes for an input of a model; -1 where it follows the app's input.
pub fn input_shape(pre: &Pre, real: &[i64]) -> Vec<i64> {
    match pre {
        Pre::Sound(PreSound { spectrum: Some(spectrum), context, length, .. }) => {
            spectrum.shape(u64::from(*context) + u64::from(*length), 1)
        }
        // Sound may be a row without a dimension for the batch.
        Pre::Sound(sound) => {
            let samples = i64::from(sound.context) + i64::from(sound.length);
            if real.len() == 1 { vec![samples] } else { vec![1, samples] }
        }
        Pre::Image(image) => picture::shape(image),
        Pre::Clip(clip) => frames::shape(clip),
        Pre::Window(window) => table::window_shape(window),
        Pre::Columns(columns) => vec![1, i64::try_from(columns.names.len()).unwrap_or(i64::MAX)],
    }
}

/// The columns, where each is an input of the model.
pub fn each(pre: &Pre) -> Option<&PreColumns> {
    match pre {
        Pre::Columns(columns) => Some(columns).filter(|columns| columns.each),
        Pre::Image(_) | Pre::Window(_) | Pre::Sound(_) | Pre::Clip(_) => None,
    }
}

/// True when two shapes can be the same; -1 fits anything.
fn fits(a: &[i64], b: &[i64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| a == b || a < 0 || b < 0)
}

/// True when a tensor of this shape can have so many elements.
fn holds(shape: &[i64], elements: i64) -> bool {
    let fixed = shape.iter().filter(|d| **d >= 0).fold(1_i64, |product, d| product.saturating_mul(*d));
    if shape.iter().any(|d| *d < 0) { fixed > 0 && elements % fixed == 0 } else { fixed == elements }
}

/// The input of the model that the app's input fills: the one that is named, else the only one that is not fed.
pub fn main_input<'a>(step: &ModelStep, inputs: &'a [TensorInfo]) -> Option<&'a TensorInfo> {
    let carried = |name: &String| step.state.iter().any(|carried| &carried.into == name);
    let mut left = inputs.iter().filter(|info| !step.feed.contains_key(&info.name) && !carried(&info.name));
    match &step.into {
        Some(name) => left.find(|info| &info.name == name),
        None => left.next().filter(|_| left.next().is_none()),
    }
}

/// That a datatype is none that numbers fill.
pub fn unfillable(datatype: &str) -> AppError {
    AppError::new("tensor-datatype", format!("an input of type {datatype} cannot be filled with numbers"))
}

/// The shape of an input that is fed with so many numbers: what the model leaves open is one, or where it leaves one dimension open, as many
/// as there are numbers.
fn fed_shape(shape: &[i64], numbers: usize) -> Vec<i64> {
    let fixed: i64 = shape.iter().filter(|d| **d >= 0).fold(1, |product, d| product.saturating_mul(*d));
    let open = shape.iter().filter(|d| **d < 0).count();
    let all = i64::try_from(numbers).unwrap_or(i64::MAX);
    let rest = if open == 1 && fixed > 0 && all % fixed == 0 { all / fixed } else { 1 };
    shape.iter().map(|&d| if d < 0 { rest } else { d }).collect()
}

/// The tensor of an input that is fed; of what is told of a picture the place alone. Codes `tensor-mismatch`, `tensor-datatype`.
pub fn fed(feed: &Feed, info: &TensorInfo) -> Result<TensorData> {
    let wrong = |shape: &[i64], numbers: usize| {
        AppError::new("tensor-mismatch", format!("`feed` has {numbers} numbers for the input `{}` of shape {shape:?}", info.name))
    };
    let of = |numbers: &[f64]| Data::of(&info.datatype, numbers.iter().copied()).ok_or_else(|| unfillable(&info.datatype));
    let numbers: &[f64] = match feed {
        Feed::Number(number) => {
            let shape = fed_shape(&info.shape, 1);
            let elements = TensorData::elements(&shape).filter(|&n| n <= MAX_FED).ok_or_else(|| wrong(&shape, 1))?;
            return TensorData::new(shape, of(&vec![*number; elements])?);
        }
        Feed::Numbers(numbers) => numbers,
        Feed::Of(FeedOf::SampleRate) => &[0.0],
        Feed::Of(_) => &[0.0; 2],
    };
    let shape = fed_shape(&info.shape, numbers.len());
    TensorData::new(shape.clone(), of(numbers)?).map_err(|_| wrong(&shape, numbers.len()))
}

/// What is known of a picture, as [`FeedOf`] says; nothing of sound.
pub fn told(of: FeedOf, geometry: &Geometry) -> Option<[f64; 2]> {
    let ([w, h], [fitted_w, fitted_h], [x, y]) = (geometry.source, geometry.fitted, geometry.scale());
    let told = match of {
        FeedOf::SampleRate => return None,
        FeedOf::SourceSize => [h, w],
        FeedOf::SourceSizeWh => [w, h],
        FeedOf::TensorSize => [fitted_h, fitted_w],
        FeedOf::ScaleYx => [y, x],
    };
    Some(told.map(f64::from))
}

/// Compares declared and real tensors, the pre-processing's shape with the input, what is fed with the other inputs, and the labels with the
/// outputs. Code `tensor-mismatch`, with every difference in the message.
pub fn check(step: &ModelStep, format: u32, inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Result<()> {
    let mut faults = Vec::new();
    compare("input", &step.inputs, inputs, true, &mut faults);
    compare("output", &step.outputs, outputs, false, &mut faults);
    if let Some(columns) = each(&step.pre) {
        for column in &columns.names {
            match inputs.iter().find(|info| info.name == column.name) {
                None => faults.push(format!("`columns` names `{}`, which is no input of the model", column.name)),
                Some(info) => faults.extend(cell_fault(column, info)),
            }
        }
        let known = |name: &String| columns.names.iter().any(|column| &column.name == name) || step.feed.contains_key(name);
        for info in inputs.iter().filter(|info| !known(&info.name)) {
            faults.push(format!("input `{}` is neither a column nor in `feed`", info.name));
        }
    } else {
        main_faults(step, format, inputs, &mut faults);
    }
    for carried in &step.state {
        let real = inputs.iter().find(|info| info.name == carried.into);
        let next = outputs.iter().find(|info| info.name == carried.from);
        match (real, next) {
            (Some(real), Some(next)) if real.datatype != next.datatype => {
                faults.push(format!("`state`: `{}` is {}, `{}` is {}", real.name, real.datatype, next.name, next.datatype));
            }
            (Some(real), Some(_)) => faults.extend(fed(&Feed::Number(0.0), real).err().map(|e| e.message)),
            _ => faults.push(format!("`state` names `{}` and `{}`, which are no input and output", carried.into, carried.from)),
        }
    }
    for (name, feed) in &step.feed {
        match inputs.iter().find(|info| &info.name == name) {
            None => faults.push(format!("`feed` names `{name}`, which is no input of the model")),
            Some(info) => faults.extend(fed(feed, info).err().map(|e| e.message)),
        }
        let told = match feed {
            Feed::Of(FeedOf::SampleRate) => Some(("sound", matches!(step.pre, Pre::Sound(_)))),
            Feed::Of(_) => Some(("a picture", matches!(step.pre, Pre::Image(_)))),
            Feed::Number(_) | Feed::Numbers(_) => None,
        };
        if let Some((what, false)) = told {
            faults.push(format!("`{name}` is told of {what}, and the app reads none"));
        }
    }
    for post in &step.post {
        labels(post, step, format, outputs, &mut faults);
    }
    if faults.is_empty() { Ok(()) } else { Err(AppError::new("tensor-mismatch", faults.join("; "))) }
}

/// A column whose cells its input cannot hold.
fn cell_fault(column: &Column, info: &TensorInfo) -> Option<String> {
    let text = column.kind == ColumnKind::Text;
    if text != (info.datatype == "BYTES") {
        let kind = if text { "text" } else { "numbers" };
        return Some(format!("column `{}` holds {kind}, its input takes {}", column.name, info.datatype));
    }
    let whole = !info.datatype.starts_with("FP") && !text;
    if whole && column.missing == Missing::Nan {
        return Some(format!(
            "column `{}`: {} has no NaN for an empty cell; write `missing: refuse` or a number",
            column.name, info.datatype
        ));
    }
    (!fits(&[1, 1], &info.shape) && !fits(&[1], &info.shape))
        .then(|| format!("column `{}` makes [1, 1], its input takes {:?}", column.name, info.shape))
}

/// The input that is prepared takes what is made for it.
fn main_faults(step: &ModelStep, format: u32, inputs: &[TensorInfo], faults: &mut Vec<String>) {
    match main_input(step, inputs) {
        Some(real) => {
            let shape = input_shape(&step.pre, &real.shape);
            let columns = match &step.pre {
                Pre::Columns(columns) => columns.names.as_slice(),
                Pre::Window(window) => window.columns.as_slice(),
                Pre::Image(_) | Pre::Sound(_) | Pre::Clip(_) => &[],
            };
            let lost = columns.iter().filter(|column| column.missing == Missing::Nan && !real.datatype.starts_with("FP"));
            faults.extend(lost.map(|column| format!("column `{}`: {} has no NaN for an empty cell", column.name, real.datatype)));
            if format == 1 && real.datatype != "FP32" {
                faults.push(format!("the pre-processing makes FP32, input `{}` takes {}", real.name, real.datatype));
            } else if Data::of(&real.datatype, std::iter::empty()).is_none() {
                faults.push(unfillable(&real.datatype).message);
            }
            if !fits(&shape, &real.shape) {
                faults.push(format!("the pre-processing makes {shape:?}, input `{}` takes {:?}", real.name, real.shape));
            }
        }
        None if format == 1 => faults.push("the pipeline needs a model with exactly one input".into()),
        None => faults.push(match &step.into {
            Some(name) => format!("`into` names `{name}`, which is no input of the model, or is fed"),
            None => "more than one input of the model, or none, is not in `feed`; name with `into` the one that is prepared".into(),
        }),
    }
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

/// The shapes that the rows of boxes may have.
fn row_shape(boxes: &PostBoxes) -> Vec<i64> {
    let width = dim(boxes.width());
    match boxes.layout {
        RowLayout::Rows => vec![1, -1, width],
        RowLayout::Columns => vec![1, width, -1],
    }
}

fn labels(post: &Post, step: &ModelStep, format: u32, outputs: &[TensorInfo], faults: &mut Vec<String>) {
    let (name, output, shape) = match post {
        Post::Classes(p) => ("classes", &p.output, vec![1, dim(p.labels.len())]),
        Post::Boxes(p) => ("boxes", &p.output, row_shape(p)),
        Post::Grid(p) => ("grid", &p.output, vec![1, dim(p.labels.len()), -1, -1]),
        Post::Values(p) => ("values", &p.output, vec![1, dim(p.items.len())]),
        Post::Segments(_) | Post::Anomaly(_) | Post::Text(_) | Post::Gallery(_) => return named(post, step, outputs, faults),
    };
    if post.finds() && !matches!(step.pre, Pre::Image(_)) {
        faults.push(format!("`{name}` needs a picture as input"));
    }
    if let Post::Boxes(p) = post {
        let beside = [&p.beside.scores, &p.beside.score, &p.beside.class, &p.beside.count, &p.beside.masks, &p.prototypes];
        for tensor in beside.into_iter().flatten().filter(|tensor| outputs.iter().all(|o| &o.name != *tensor)) {
            faults.push(format!("`{name}` reads `{tensor}`, which is no output of the model"));
        }
    }
    match outputs.iter().find(|o| &o.name == output) {
        None => faults.push(format!("`{name}` reads `{output}`, which is no output of the model")),
        // Items with a place say where they are; that is seen when the model runs.
        Some(_) if matches!(post, Post::Values(p) if p.items.iter().any(|item| item.at.is_some())) => {}
        // Of classes and values only the number of elements counts, as where they are read.
        Some(o) if matches!(post, Post::Classes(_) | Post::Values(_)) && holds(&o.shape, shape.last().copied().unwrap_or(-1)) => {}
        // A head may lie about how many dimensions there are; what the model really gives is seen when it runs.
        Some(o) if format > 1 && o.shape.len() != shape.len() => {}
        Some(o) if !fits(&o.shape, &shape) => faults.push(format!("`{name}` reads {shape:?}, output `{output}` has {:?}", o.shape)),
        Some(_) => {}
    }
}

/// Steps that find out when the model runs what shape there is: their outputs are there.
fn named(post: &Post, step: &ModelStep, outputs: &[TensorInfo], faults: &mut Vec<String>) {
    let (word, read) = match post {
        Post::Segments(p) => ("segments", vec![Some(&p.output)]),
        Post::Anomaly(p) => ("anomaly", vec![p.output.as_ref(), p.map.as_ref(), p.reconstruction.as_ref()]),
        Post::Text(p) => ("text", vec![Some(&p.output)]),
        Post::Gallery(p) => ("gallery", vec![Some(&p.output)]),
        Post::Boxes(_) | Post::Classes(_) | Post::Grid(_) | Post::Values(_) => return,
    };
    for name in read.into_iter().flatten().filter(|name| outputs.iter().all(|o| o.name != **name)) {
        faults.push(format!("`{word}` reads `{name}`, which is no output of the model"));
    }
    if matches!(post, Post::Segments(_)) && !matches!(step.pre, Pre::Image(_)) {
        faults.push(format!("`{word}` needs a picture as input"));
    }
}

fn dim(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_alone_is_a_row_of_one() {
        for (shape, elements) in
            [(&[1][..], 1), (&[], 1), (&[3], 3), (&[1, 3], 3), (&[1, 1, 3], 3), (&[-1], 7), (&[-1, 3], 3), (&[-1, -1], 5)]
        {
            assert!(holds(shape, elements), "{shape:?} {elements}");
        }
        for (shape, elements) in [(&[2][..], 1), (&[], 2), (&[1, 4], 3), (&[-1, 4], 3), (&[0, -1], 1)] {
            assert!(!holds(shape, elements), "{shape:?} {elements}");
        }
    }

    #[test]
    fn what_is_fed_is_shaped_as_the_model_takes_it() {
        let info = |shape: &[i64]| TensorInfo { name: "f".to_owned(), datatype: "INT64".to_owned(), shape: shape.to_vec() };
        let shaped = |feed: &Feed, shape: &[i64]| fed(feed, &info(shape)).map(|tensor| (tensor.shape, tensor.data)).map_err(|e| e.code);
        assert_eq!(shaped(&Feed::Of(FeedOf::SourceSizeWh), &[-1, 2]), Ok((vec![1, 2], Data::I64(vec![0, 0]))));
        assert_eq!(shaped(&Feed::Number(0.6), &[1, 2]), Ok((vec![1, 2], Data::I64(vec![1, 1]))));
        assert_eq!(shaped(&Feed::Numbers(vec![1.0, 2.0, 3.0, 4.0]), &[-1, 2]), Ok((vec![2, 2], Data::I64(vec![1, 2, 3, 4]))));
        assert_eq!(shaped(&Feed::Number(5.0), &[]), Ok((vec![], Data::I64(vec![5]))));
        assert_eq!(shaped(&Feed::Numbers(vec![1.0, 2.0, 3.0]), &[1, 2]), Err("tensor-mismatch"));
        assert_eq!(shaped(&Feed::Number(1.0), &[1 << 20, 1 << 20]), Err("tensor-mismatch"));
        assert_eq!(shaped(&Feed::Of(FeedOf::ScaleYx), &[3]), Err("tensor-mismatch"));
        let text = TensorInfo { name: "f".to_owned(), datatype: "BYTES".to_owned(), shape: vec![1] };
        assert_eq!(fed(&Feed::Number(1.0), &text).unwrap_err().code, "tensor-datatype");
    }

    #[test]
    fn one_input_is_left_for_what_is_prepared() {
        let app = app_package::validate::parse(include_str!("../../app-package/fixtures/app-2.yaml")).unwrap();
        let step = app.model_steps().remove(0).into_owned();
        let inputs: Vec<TensorInfo> =
            step.inputs.iter().map(|t| TensorInfo { name: t.name.clone(), datatype: t.datatype.clone(), shape: t.shape.clone() }).collect();
        let name = |step: &ModelStep| main_input(step, &inputs).map(|info| info.name.clone());
        assert_eq!(name(&step).as_deref(), Some("image"));
        assert_eq!(name(&ModelStep { into: None, ..step.clone() }).as_deref(), Some("image"));
        assert_eq!(name(&ModelStep { into: Some("im_shape".to_owned()), ..step.clone() }), None, "it is fed");
        assert_eq!(name(&ModelStep { into: None, feed: std::collections::BTreeMap::new(), ..step }), None, "three are left");
    }
}
