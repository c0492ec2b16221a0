//! What is known of a file before any family is asked: its picture's input, its names, and what Ultralytics writes.

use app_package::pipeline::{
    Activation, Align, Background, Beside, BoxForm, BoxGrid, BoxUnit, Color, Filter, Fit, Label, Layout, PostBoxes, PreImage, RowLayout,
    RowPart,
};

use super::{Given, Question, Topic, ask, python};
use crate::model_file::{Header, Metadata, Signature};

/// Whether a tensor holds floats: FP32, FP16 or FP64.
pub fn is_float(header: &Header) -> bool {
    matches!(header.element, 1 | 10 | 11)
}

/// Whether a tensor holds INT32 or INT64.
pub fn is_integer(header: &Header) -> bool {
    matches!(header.element, 6 | 7)
}

/// Longest side of a picture, as `app.yaml` takes it.
const MAX_SIDE: i64 = 4_096;
/// Most names that are looked at.
const MAX_NAMES: usize = 1_024;

/// The input that takes a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pub name: String,
    pub layout: Layout,
    /// One channel in place of three.
    pub gray: bool,
    /// Where the file fixes them.
    pub width: Option<u32>,
    pub height: Option<u32>,
}

/// What Ultralytics' exporter says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ultralytics {
    /// `detect`, `segment`, `pose`, `obb` or `classify`; empty where nothing is said.
    pub task: String,
    /// Whether rows are final, where that is said: by the head, or by `nms=True` of the export.
    pub end2end: Option<bool>,
    pub nms: Option<bool>,
    /// Whether the head is that of RT-DETR, where that is said.
    pub rtdetr: Option<bool>,
    /// How many points there are, and numbers of each, where that is said.
    pub keypoints: Option<(usize, u8)>,
    /// Their names, where they are said.
    pub points: Option<Vec<String>>,
    pub version: Option<(u32, u32)>,
}

/// All that the families look at.
pub struct Facts<'a> {
    pub inputs: &'a [Header],
    pub outputs: &'a [Header],
    pub signature: &'a Signature,
    pub metadata: &'a Metadata,
    pub given: &'a Given,
    pub picture: Option<Picture>,
    /// Names of the classes in the model's order.
    pub names: Option<Vec<String>>,
    pub ultralytics: Option<Ultralytics>,
}

impl<'a> Facts<'a> {
    pub fn new(signature: &'a Signature, metadata: &'a Metadata, given: &'a Given) -> Self {
        Self {
            inputs: &signature.inputs,
            outputs: &signature.outputs,
            signature,
            metadata,
            given,
            picture: signature.inputs.iter().find_map(picture),
            names: metadata.get("names").and_then(names).or_else(|| metadata.get("character").and_then(lines)),
            ultralytics: ultralytics(metadata),
        }
    }

    /// The output of that name, of floats.
    pub fn float(&self, name: &str) -> Option<&'a Header> {
        self.outputs.iter().find(|output| output.name == name && is_float(output))
    }

    /// The output of that name, of whole numbers.
    pub fn integer(&self, name: &str) -> Option<&'a Header> {
        self.outputs.iter().find(|output| output.name == name && is_integer(output))
    }

    /// Inputs beside the picture.
    pub fn others(&self) -> impl Iterator<Item = &'a Header> {
        let picture = self.picture.as_ref().map(|picture| picture.name.clone());
        self.inputs.iter().filter(move |input| Some(&input.name) != picture.as_ref())
    }

    /// The picture alone goes in.
    pub fn only_picture(&self) -> Option<&Picture> {
        self.picture.as_ref().filter(|_| self.inputs.len() == 1)
    }

    /// How many labels are named, by the developer or the file.
    pub fn named(&self) -> Option<usize> {
        if self.given.labels.is_empty() { self.names.as_ref().map(Vec::len) } else { Some(self.given.labels.len()) }
    }

    /// A picture of the size that the file says, else the developer, else `fallback`, which is asked; stretched and divided by 255.
    pub fn image(&self, picture: &Picture, fallback: u32, questions: &mut Vec<Question>) -> PreImage {
        let said = self.metadata.get("imgsz").filter(|_| self.ultralytics.is_some()).and_then(size);
        let known = self.given.size.or(said);
        let side = |fixed: Option<u32>, known: Option<u32>| fixed.or(known).unwrap_or(fallback);
        let (width, height) = (side(picture.width, known.map(|size| size.0)), side(picture.height, known.map(|size| size.1)));
        if known.is_none() && (picture.width.is_none() || picture.height.is_none()) {
            let zh = "文件没有固定图像的大小，请填写训练时的大小，或用 --size 指定";
            let en = "the file leaves the size of the picture open; write that of the training, or give --size";
            questions.push(ask(Topic::Size, zh, en, format!("{width}x{height}")));
        }
        PreImage {
            width,
            height,
            fit: Fit::Stretch,
            crop: 1.0,
            align: Align::Center,
            widest: None,
            multiple: None,
            shorter: None,
            fill: Vec::new(),
            filter: Filter::Linear,
            color: if picture.gray { Color::Gray } else { Color::Rgb },
            scale: 255.0,
            layout: picture.layout,
            mean: Vec::new(),
            std: Vec::new(),
            window: None,
            tiles: None,
        }
    }
}

/// The mean and deviation of the pictures of `ImageNet`, of three channels.
pub fn normalise(image: &mut PreImage) {
    if image.color != Color::Gray {
        image.mean = vec![0.485, 0.456, 0.406];
        image.std = vec![0.229, 0.224, 0.225];
    }
}

/// A letterbox with the grey border of the YOLO family.
pub fn letterbox(image: &mut PreImage, align: Align) {
    (image.fit, image.align, image.fill) = (Fit::Letterbox, align, vec![114]);
}

/// Boxes with this row; final, in the order given, above a score of 0.25.
pub fn boxes(output: &str, labels: Vec<Label>, row: Vec<RowPart>, form: BoxForm, unit: BoxUnit) -> PostBoxes {
    PostBoxes {
        output: output.to_owned(),
        labels,
        score: 0.25,
        iou: None,
        row,
        beside: Beside::default(),
        layout: RowLayout::default(),
        form,
        unit,
        activation: Activation::default(),
        background: Background::default(),
        grid: BoxGrid::default(),
        prototypes: None,
        keypoints: None,
        agnostic: false,
        max: None,
    }
}

/// The dimensions of a tensor of this rank.
pub fn dims<const N: usize>(header: &Header) -> Option<[i64; N]> {
    header.shape.as_deref()?.try_into().ok()
}

/// A dimension that is this number, or that the file leaves open.
pub fn may_be(dimension: i64, number: usize) -> bool {
    dimension < 0 || usize::try_from(dimension) == Ok(number)
}

/// A fixed dimension.
pub fn fixed(dimension: i64) -> Option<usize> {
    usize::try_from(dimension).ok().filter(|n| *n > 0)
}

fn picture(input: &Header) -> Option<Picture> {
    let [batch, a, b, c] = dims::<4>(input)?;
    if !is_float(input) || !may_be(batch, 1) {
        return None;
    }
    let channels = |n: i64| n == 1 || n == 3;
    let (layout, colors, height, width) =
        if channels(a) || (a < 0 && !channels(c)) { (Layout::Nchw, a, b, c) } else { (Layout::Nhwc, c, a, b) };
    if !channels(colors) && colors >= 0 {
        return None;
    }
    let side = |n: i64| u32::try_from(n).ok().filter(|_| (1..=MAX_SIDE).contains(&n));
    if [height, width].iter().any(|n| *n >= 0 && side(*n).is_none()) {
        return None;
    }
    Some(Picture { name: input.name.clone(), layout, gray: colors == 1, width: side(width), height: side(height) })
}

/// Names of classes out of a dict by number, or a list; a number that is left out has an empty name.
fn names(text: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    for (key, name) in python::pairs(text)? {
        let at: usize = key.parse().ok().filter(|at| *at < MAX_NAMES)?;
        if out.len() <= at {
            out.resize(at + 1, String::new());
        }
        if let Some(slot) = out.get_mut(at) {
            *slot = name;
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Names of classes, one a line, as `PaddleOCR` writes them.
fn lines(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.lines().take(MAX_NAMES + 1).map(str::to_owned).collect();
    (1..=MAX_NAMES).contains(&names.len()).then_some(names)
}

/// Width and height out of `[height, width]`.
fn size(text: &str) -> Option<(u32, u32)> {
    let pairs = python::pairs(text)?;
    let side = |key| python::value(&pairs, key)?.parse::<u32>().ok().filter(|n| (1..=MAX_SIDE).contains(&i64::from(*n)));
    Some((side("1")?, side("0")?))
}

fn ultralytics(metadata: &Metadata) -> Option<Ultralytics> {
    let author = metadata.get("author").is_some_and(|author| author.trim() == "Ultralytics");
    let keys = metadata.get("task").is_some() && metadata.get("stride").is_some();
    if !(author || keys) {
        return None;
    }
    let flag = |word: &str| match word.trim() {
        "True" | "true" => Some(true),
        "False" | "false" => Some(false),
        _ => None,
    };
    let args = metadata.get("args").and_then(python::pairs).unwrap_or_default();
    let described = metadata.get("description").unwrap_or_default().to_ascii_lowercase();
    let by_name = (described.contains("rtdetr") || described.contains("rt-detr")).then_some(true);
    let version = metadata.get("version").and_then(|text| {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    });
    let keypoints = metadata.get("kpt_shape").and_then(python::pairs).and_then(|shape| {
        let side = |key| python::value(&shape, key)?.parse::<usize>().ok();
        Some((side("0").filter(|n| (1..=133).contains(n))?, u8::try_from(side("1").filter(|n| matches!(n, 2 | 3))?).ok()?))
    });
    // Names by class, each a list; of all classes the same points.
    let points = metadata.get("kpt_names").and_then(|text| {
        let (_, list) = text.split_once('[')?;
        let (names, _) = list.split_once(']')?;
        Some(python::pairs(&format!("[{names}]"))?.into_iter().map(|(_, name)| name).collect())
    });
    Some(Ultralytics {
        task: metadata.get("task").unwrap_or_default().trim().to_owned(),
        end2end: metadata.get("end2end").and_then(flag),
        nms: python::value(&args, "nms").and_then(flag),
        rtdetr: metadata.get("head").map(|head| head.contains("RTDETR")).or(by_name),
        keypoints,
        points,
        version,
    })
}
