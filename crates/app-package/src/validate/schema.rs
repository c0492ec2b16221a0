//! The formats of `app.yaml` as tables: which keys there are, which must be there, and their bounds.
//!
//! The types of [`crate::manifest`] say the same in Rust; a test holds both together.

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// The number 1 or 2.
    Format,
    /// Text in both languages, each at most that many characters; at least one filled.
    Text(usize),
    /// Text in both languages as [`Kind::Text`], but both may be left empty.
    OptionalText(usize),
    /// Kebab-case slug of at most that many characters.
    Slug(usize),
    /// Like a slug, `_` allowed too: names in results and rules.
    Ident,
    /// Snake case, begins with a letter: usable in a rule as `params.name`.
    Snake,
    /// One line of text, 1 to that many characters.
    Line(usize),
    /// An SPDX expression of at most 100 characters.
    License,
    /// One line of text, may be empty.
    Unit,
    /// One line of text of at most that many characters, may be empty.
    LineOrNone(usize),
    /// Several lines of text, 1 to that many characters.
    Lines(usize),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number in these bounds.
    Int(i64, i64),
    /// A finite number in these bounds.
    Num(f64, f64),
    /// true or false.
    Bool,
    /// A semantic version without build metadata.
    Version,
    /// `major.minor`.
    MinVersion,
    /// A path in the package with one of these extensions.
    Path(&'static [&'static str]),
    /// Text, number or boolean.
    Scalar,
    /// A length of time such as `0.6s`, in these bounds in milliseconds.
    Span(u32, u32),
    /// A part of a row of boxes.
    RowPart,
    /// A number, a list of 1 to that many numbers, or one of these words.
    Feed(usize, &'static [&'static str]),
    /// A number in these bounds, or one of these words.
    NumOr(f64, f64, &'static [&'static str]),
    /// One line of text, 1 to that many characters, or something longer that is written out.
    LineOr(usize, &'static Kind),
    /// A list with these bounds on its length.
    List(usize, usize, &'static Kind),
    /// Names → values, at most that many.
    MapOf(usize, &'static Kind),
    /// An object with these keys.
    Obj(&'static [Field]),
    /// An object with exactly one of these keys.
    Variant(&'static [Field]),
}

/// A key of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub name: &'static str,
    pub required: bool,
    pub kind: Kind,
}

const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, required: true, kind }
}

const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, required: false, kind }
}

/// Largest magnitude of a free number; fits `f32` and is beyond any measured quantity.
const BIG: f64 = 1e12;
const PICTURES: &[&str] = &["png", "jpg", "jpeg"];

/// The whole of `app.yaml` with what one format alone has in the midst: the order of keys is that of messages.
macro_rules! app {
    ($inputs:expr, $golden:expr, $($own:expr),+) => {
        Kind::Obj(&[
            must("format", Kind::Format),
            must("name", Kind::Slug(60)),
            must("version", Kind::Version),
            must("title", Kind::Text(80)),
            must("summary", Kind::Text(240)),
            may("description", Kind::OptionalText(8_000)),
            may("changes", Kind::OptionalText(4_000)),
            must("specialty", Kind::Slug(60)),
            must("scenario", Kind::Slug(60)),
            may("safety", Kind::Bool),
            must("license", Kind::License),
            must("input", Kind::OneOf($inputs)),
            $($own),+,
            may("parameters", Kind::List(0, 50, &PARAMETER)),
            may("resources", RESOURCES),
            may("providers", Kind::List(0, 3, &Kind::OneOf(&["openvino", "cuda", "cann"]))),
            must("golden", Kind::List(1, 50, &$golden)),
            must("card", CARD),
            may("media", Kind::List(0, 8, &MEDIA)),
        ])
    };
}

/// Format 1.
pub(super) const APP: Kind =
    app!(&["image", "timeseries", "tabular", "audio"], GOLDEN, must("models", Kind::List(1, 1, &MODEL)), must("pipeline", PIPELINE));

/// Format 2.
pub(super) const APP_2: Kind = app!(
    &["image", "video", "timeseries", "tabular", "audio"],
    GOLDEN_2,
    may("fps", Kind::Num(0.1, 60.0)),
    must("steps", Kind::List(1, 12, &STEP)),
    may("scene", SCENE),
    may("procedures", Kind::List(0, 8, &PROCEDURE)),
    may("alarms", Kind::List(0, 32, &ALARM_2))
);

const STEP: Kind = Kind::Variant(&[must("model", MODEL_STEP), must("track", TRACK), must("wasm", WASM_STEP)]);

/// What an own step may be given.
const GIVEN: &[&str] = &["tensors", "frame", "source-size", "objects", "keypoints", "values", "texts", "tracks", "time", "state"];

const WASM_STEP: Kind = Kind::Obj(&[
    must("name", Kind::Slug(60)),
    must("file", Kind::Path(&["wasm"])),
    may("of", OF),
    must("in", Kind::List(1, GIVEN.len(), &Kind::OneOf(GIVEN))),
    must("out", Kind::OneOf(&["objects", "classes", "values", "texts"])),
    may("unit", Kind::OneOf(&["pixels", "relative", "source"])),
    may("labels", Kind::List(0, 1_000, &LABEL)),
    may("items", Kind::List(0, 256, &Kind::Obj(&[must("id", Kind::Ident), must("text", Kind::Text(80)), may("unit", Kind::Unit)]))),
    may("fuel", Kind::Int(1_000, 500_000_000)),
    may("memory_mib", Kind::Int(1, 512)),
]);

/// A day in milliseconds, and a minute.
const DAY: u32 = 86_400_000;
const MINUTE: u32 = 60_000;

const TRACK: Kind = Kind::Obj(&[
    may("labels", Kind::List(0, 1_000, &Kind::Ident)),
    may("lost", Kind::Span(0, MINUTE)),
    may("confirm", Kind::Span(0, MINUTE)),
    may("high", Kind::Num(0.0, 1.0)),
    may("low", Kind::Num(0.0, 1.0)),
    may("iou", Kind::Num(0.001, 1.0)),
]);

const ANCHOR: Kind = Kind::OneOf(&["bottom-center", "center"]);

const SCENE: Kind = Kind::Obj(&[may("zones", Kind::List(0, 16, &ZONE)), may("lines", Kind::List(0, 16, &LINE))]);

const ZONE: Kind = Kind::Obj(&[
    must("id", Kind::Snake),
    must("title", Kind::Text(80)),
    may("labels", Kind::List(0, 1_000, &Kind::Ident)),
    may("anchor", ANCHOR),
    may("enter", Kind::Span(0, MINUTE)),
    may("leave", Kind::Span(0, MINUTE)),
    may("required", Kind::Bool),
]);

const LINE: Kind = Kind::Obj(&[
    must("id", Kind::Snake),
    must("title", Kind::Text(80)),
    may("labels", Kind::List(0, 1_000, &Kind::Ident)),
    may("anchor", ANCHOR),
    may("required", Kind::Bool),
]);

const PROCEDURE: Kind = Kind::Obj(&[
    must("id", Kind::Snake),
    must("title", Kind::Text(80)),
    must("start", Kind::Lines(2_000)),
    must("within", Kind::Span(1_000, DAY)),
    must(
        "steps",
        Kind::List(
            1,
            20,
            &Kind::Obj(&[
                must("id", Kind::Ident),
                must("title", Kind::Text(80)),
                must("when", Kind::Lines(2_000)),
                may("for", Kind::Span(0, DAY)),
                may("optional", Kind::Bool),
            ]),
        ),
    ),
    may("end", Kind::Lines(2_000)),
]);

const POINT: Kind = Kind::List(2, 2, &Kind::Num(0.0, 1.0));

const DRAWN: Kind =
    Kind::Obj(&[may("zones", Kind::MapOf(16, &Kind::List(3, 32, &POINT))), may("lines", Kind::MapOf(16, &Kind::List(2, 2, &POINT)))]);

const ENGINE: Kind = Kind::Obj(&[must("name", Kind::OneOf(&["onnxruntime"])), must("min", Kind::MinVersion)]);

const MODEL_STEP: Kind = Kind::Obj(&[
    must("name", Kind::Slug(60)),
    must("file", Kind::Path(&["onnx"])),
    may("engine", ENGINE),
    may("of", OF),
    may("every", Kind::Span(1, DAY)),
    must("inputs", Kind::List(1, 64, &TENSOR_2)),
    must("outputs", Kind::List(1, 64, &TENSOR_2)),
    must(
        "pre",
        Kind::Variant(&[
            must("image", PRE_IMAGE_2),
            must("window", PRE_WINDOW_2),
            must("columns", PRE_COLUMNS_2),
            must("sound", PRE_SOUND),
            must("clip", PRE_CLIP),
        ]),
    ),
    may("into", Kind::Line(200)),
    may("feed", Kind::MapOf(15, &Kind::Feed(4_096, &["source-size", "source-size-wh", "tensor-size", "scale-yx", "sample-rate"]))),
    may("state", Kind::List(0, 16, &Kind::Obj(&[must("in", Kind::Line(200)), must("out", Kind::Line(200))]))),
    may("post", Kind::List(0, 8, &POST_2)),
]);

const OF: Kind = Kind::Obj(&[
    may("labels", Kind::List(0, 1_000, &Kind::Ident)),
    may("expand", Kind::Num(0.0, 4.0)),
    may("square", Kind::Bool),
    may("turn", Kind::Bool),
    may("align", Kind::OneOf(&["arcface"])),
    may("max", Kind::Int(1, 100)),
]);

const TENSOR_2: Kind = Kind::Obj(&[
    must("name", Kind::Line(200)),
    must(
        "datatype",
        Kind::OneOf(&["FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL", "BYTES"]),
    ),
    must("shape", Kind::List(0, 8, &Kind::Int(-1, 1_000_000_000))),
]);

const MODEL: Kind = Kind::Obj(&[
    must("name", Kind::Slug(60)),
    must("file", Kind::Path(&["onnx"])),
    may("engine", ENGINE),
    must("inputs", Kind::List(1, 1, &TENSOR)),
    must("outputs", Kind::List(1, 16, &TENSOR)),
]);

const TENSOR: Kind = Kind::Obj(&[
    must("name", Kind::Line(200)),
    must("datatype", Kind::OneOf(&["FP32", "FP64", "INT64", "INT32", "UINT8", "BOOL"])),
    must("shape", Kind::List(0, 8, &Kind::Int(-1, 1_000_000_000))),
]);

const PIPELINE: Kind = Kind::Obj(&[
    must("pre", Kind::Variant(&[must("image", PRE_IMAGE), must("window", PRE_WINDOW), must("columns", PRE_COLUMNS)])),
    must("post", Kind::List(1, 8, &POST)),
    may("alarms", Kind::List(0, 32, &ALARM)),
]);

const PRE_IMAGE: Kind = Kind::Obj(&[
    must("width", Kind::Int(1, 4_096)),
    must("height", Kind::Int(1, 4_096)),
    may("fit", Kind::OneOf(&["stretch", "letterbox"])),
    may("color", Kind::OneOf(&["rgb", "gray"])),
    may("layout", Kind::OneOf(&["nchw", "nhwc", "flat"])),
    may("mean", Kind::List(0, 3, &Kind::Num(-BIG, BIG))),
    may("std", Kind::List(0, 3, &Kind::Num(1e-6, BIG))),
]);

const PRE_IMAGE_2: Kind = Kind::Obj(&[
    must("width", Kind::Int(1, 4_096)),
    must("height", Kind::Int(1, 4_096)),
    may("fit", Kind::OneOf(&["stretch", "letterbox", "crop", "pad", "multiple"])),
    may("crop", Kind::Num(0.1, 1.0)),
    may("widest", Kind::Int(1, 8_192)),
    may("multiple", Kind::Int(1, 1_024)),
    may("shorter", Kind::Int(1, 4_096)),
    may("align", Kind::OneOf(&["center", "top-left"])),
    may("fill", Kind::List(0, 3, &Kind::Int(0, 255))),
    may(
        "filter",
        Kind::OneOf(&[
            "linear-antialias",
            "linear",
            "linear-float",
            "cubic",
            "cubic-antialias",
            "lanczos",
            "lanczos-antialias",
            "area",
            "nearest",
        ]),
    ),
    may("color", Kind::OneOf(&["rgb", "bgr", "gray"])),
    may("scale", Kind::Num(1e-6, BIG)),
    may("layout", Kind::OneOf(&["nchw", "nhwc", "flat"])),
    may("mean", Kind::List(0, 3, &Kind::Num(-BIG, BIG))),
    may("std", Kind::List(0, 3, &Kind::Num(1e-6, BIG))),
    may("window", Kind::List(2, 2, &Kind::Num(0.0, 65_535.0))),
    may("tiles", TILES),
]);

const TILES: Kind = Kind::Obj(&[
    must("width", Kind::Int(16, 16_384)),
    must("height", Kind::Int(16, 16_384)),
    may("overlap", Kind::Num(0.0, 0.9)),
    may("whole", Kind::Bool),
]);

const PRE_WINDOW: Kind = Kind::Obj(&[
    must("columns", Kind::List(1, 256, &Kind::Line(100))),
    must("length", Kind::Int(1, 100_000)),
    may("layout", Kind::OneOf(&["time-major", "channel-major", "flat"])),
    may("mean", Kind::List(0, 256, &Kind::Num(-BIG, BIG))),
    may("std", Kind::List(0, 256, &Kind::Num(1e-6, BIG))),
]);

const PRE_COLUMNS: Kind = Kind::Obj(&[must("names", Kind::List(1, 256, &Kind::Line(100)))]);

const COLUMN: Kind = Kind::LineOr(
    100,
    &Kind::Obj(&[
        must("name", Kind::Line(100)),
        may("type", Kind::OneOf(&["number", "text"])),
        may("missing", Kind::NumOr(-BIG, BIG, &["refuse", "nan", "last", "empty"])),
    ]),
);

const PRE_WINDOW_2: Kind = Kind::Obj(&[
    must("columns", Kind::List(1, 256, &COLUMN)),
    must("length", Kind::Int(1, 100_000)),
    may("layout", Kind::OneOf(&["time-major", "channel-major", "flat"])),
    may("mean", Kind::List(0, 256, &Kind::Num(-BIG, BIG))),
    may("std", Kind::List(0, 256, &Kind::Num(1e-6, BIG))),
    may("spectrum", SPECTRUM),
]);

const PRE_COLUMNS_2: Kind = Kind::Obj(&[must("names", Kind::List(1, 256, &COLUMN)), may("each", Kind::Bool)]);

const PRE_SOUND: Kind = Kind::Obj(&[
    must("rate", Kind::Int(1_000, 192_000)),
    must("length", Kind::Int(1, 2_000_000)),
    may("context", Kind::Int(0, 2_000_000)),
    may("hop", Kind::Int(1, 2_000_000)),
    may("scale", Kind::Num(1e-6, BIG)),
    may("over", Kind::OneOf(&["max", "mean", "last"])),
    may("spectrum", SPECTRUM),
]);

/// Half of the highest rate.
const HZ: Kind = Kind::Num(0.0, 1e6);

const BAND: Kind = Kind::Obj(&[must("low", HZ), must("high", HZ)]);

const SPECTRUM: Kind = Kind::Obj(&[
    may("rate", Kind::Num(1e-3, 2e6)),
    must("fft", Kind::Int(4, 65_536)),
    may("frame", Kind::Int(2, 65_536)),
    may("hop", Kind::Int(1, 2_000_000)),
    may("window", Kind::OneOf(&["hann", "hamming", "none"])),
    may("pad", Kind::OneOf(&["none", "zeros", "reflect"])),
    may("envelope", BAND),
    may("scale", Kind::OneOf(&["amplitude", "power"])),
    may("norm", Kind::OneOf(&["none", "spectrum", "density"])),
    may("average", Kind::Bool),
    may("bands", Kind::List(0, 1_000, &BAND)),
    may(
        "mel",
        Kind::Obj(&[
            must("bands", Kind::Int(1, 512)),
            may("low", HZ),
            may("high", HZ),
            may("norm", Kind::OneOf(&["slaney", "none"])),
            may("formula", Kind::OneOf(&["slaney", "htk"])),
        ]),
    ),
    may("log", Kind::OneOf(&["none", "db", "ln", "log10"])),
    may("floor", Kind::Num(1e-30, BIG)),
    may("offset", Kind::Num(0.0, BIG)),
    may("range", Kind::Num(0.0, 1_000.0)),
    may("layout", Kind::OneOf(&["ntf", "nft", "nctf", "ncft", "flat"])),
    may("mean", Kind::List(0, 32_769, &Kind::Num(-BIG, BIG))),
    may("std", Kind::List(0, 32_769, &Kind::Num(1e-6, BIG))),
]);

const PRE_CLIP: Kind = Kind::Obj(&[
    must("image", PRE_IMAGE_2),
    must("frames", Kind::Int(2, 64)),
    must("every", Kind::Span(1, MINUTE)),
    may("layout", Kind::OneOf(&["ncthw", "ntchw"])),
]);

const LABEL: Kind = Kind::Obj(&[must("id", Kind::Ident), must("text", Kind::Text(80))]);

const GRID: Kind =
    Kind::Obj(&[must("output", Kind::Line(200)), must("labels", Kind::List(1, 1_000, &LABEL)), must("score", Kind::Num(0.0, 1.0))]);

const VALUES: Kind = Kind::Obj(&[must("output", Kind::Line(200)), must("items", Kind::List(1, 256, &VALUE))]);

const POST: Kind = Kind::Variant(&[
    must(
        "classes",
        Kind::Obj(&[must("output", Kind::Line(200)), must("labels", Kind::List(1, 1_000, &LABEL)), may("softmax", Kind::Bool)]),
    ),
    must(
        "boxes",
        Kind::Obj(&[
            must("output", Kind::Line(200)),
            must("labels", Kind::List(1, 1_000, &LABEL)),
            must("score", Kind::Num(0.0, 1.0)),
            must("iou", Kind::Num(0.0, 1.0)),
        ]),
    ),
    must("grid", GRID),
    must("values", VALUES),
]);

const ACTIVATION: Kind = Kind::OneOf(&["none", "sigmoid", "softmax"]);

const POST_2: Kind = Kind::Variant(&[
    must(
        "classes",
        Kind::Obj(&[
            must("output", Kind::Line(200)),
            must("labels", Kind::List(1, 1_000, &LABEL)),
            may("activation", ACTIVATION),
            may("top", Kind::Int(1, 1_000)),
        ]),
    ),
    must(
        "boxes",
        Kind::Obj(&[
            must("output", Kind::Line(200)),
            must("labels", Kind::List(1, 1_000, &LABEL)),
            must("score", Kind::Num(0.0, 1.0)),
            may("iou", Kind::Num(0.0, 1.0)),
            must("row", Kind::List(1, 16, &Kind::RowPart)),
            may("beside", BESIDE),
            may("layout", Kind::OneOf(&["rows", "columns"])),
            may("box", Kind::OneOf(&["cxcywh", "xyxy", "xywh"])),
            may("unit", Kind::OneOf(&["pixels", "relative", "source"])),
            may("activation", ACTIVATION),
            may("background", Kind::OneOf(&["none", "first", "last"])),
            may("grid", Kind::OneOf(&["none", "yolox"])),
            may("prototypes", Kind::Line(200)),
            may("keypoints", Kind::Obj(&[must("names", Kind::List(1, 133, &Kind::Ident)), must("dims", Kind::Int(2, 3))])),
            may("agnostic", Kind::Bool),
            may("max", Kind::Int(1, 300)),
        ]),
    ),
    must(
        "grid",
        Kind::Obj(&[
            must("output", Kind::Line(200)),
            must("labels", Kind::List(1, 1_000, &LABEL)),
            must("score", Kind::Num(0.0, 1.0)),
            may("activation", ACTIVATION),
            may("mean", Kind::Num(0.0, 1.0)),
            may("dilate", Kind::Bool),
            may("turn", Kind::Bool),
            may("unclip", Kind::Num(0.0, 10.0)),
        ]),
    ),
    must("values", Kind::Obj(&[must("output", Kind::Line(200)), must("items", Kind::List(1, 256, &VALUE_2))])),
    must(
        "segments",
        Kind::Obj(&[
            must("output", Kind::Line(200)),
            must("labels", Kind::List(1, 1_000, &LABEL)),
            may("background", Kind::OneOf(&["none", "first", "last"])),
            may("activation", ACTIVATION),
            may("layout", Kind::OneOf(&["nchw", "nhwc"])),
            may("score", Kind::Num(0.0, 1.0)),
            may("least", Kind::Num(0.0, 1.0)),
        ]),
    ),
    must(
        "anomaly",
        Kind::Obj(&[
            may("output", Kind::Line(200)),
            may("map", Kind::Line(200)),
            may("reconstruction", Kind::Line(200)),
            may("error", Kind::OneOf(&["mse", "mae"])),
            must("threshold", Kind::Num(-BIG, BIG)),
            must("label", LABEL),
        ]),
    ),
    must(
        "text",
        Kind::Obj(&[
            must("output", Kind::Line(200)),
            must("alphabet", Kind::Path(&["txt"])),
            may("blank", Kind::OneOf(&["first", "last"])),
            may("activation", ACTIVATION),
        ]),
    ),
    must(
        "gallery",
        Kind::Obj(&[
            must("output", Kind::Line(200)),
            must("labels", Kind::List(1, 1_000, &LABEL)),
            must("vectors", Kind::Path(&["json"])),
            must("threshold", Kind::Num(-1.0, 1.0)),
        ]),
    ),
]);

const BESIDE: Kind = Kind::Obj(&[
    may("scores", Kind::Line(200)),
    may("score", Kind::Line(200)),
    may("class", Kind::Line(200)),
    may("masks", Kind::Line(200)),
    may("count", Kind::Line(200)),
]);

const VALUE: Kind = Kind::Obj(&[
    must("id", Kind::Ident),
    must("text", Kind::Text(80)),
    may("unit", Kind::Unit),
    may("scale", Kind::Num(-BIG, BIG)),
    may("offset", Kind::Num(-BIG, BIG)),
]);

const VALUE_2: Kind = Kind::Obj(&[
    must("id", Kind::Ident),
    must("text", Kind::Text(80)),
    may("unit", Kind::Unit),
    may("scale", Kind::Num(-BIG, BIG)),
    may("offset", Kind::Num(-BIG, BIG)),
    may("at", Kind::List(0, 8, &Kind::Int(0, 1_000_000))),
    may("reduce", Kind::OneOf(&["mean", "max", "min", "last"])),
]);

/// A rule with what one format alone has.
macro_rules! alarm {
    ($($own:expr),*) => {
        Kind::Obj(&[
            must("id", Kind::Ident),
            must("when", Kind::Lines(2_000)),
            must("level", Kind::OneOf(&["notice", "warning", "critical"])),
            must("text", Kind::Text(240)),
            $($own),*
        ])
    };
}

const ALARM: Kind = alarm!();

const ALARM_2: Kind =
    alarm!(may("for", Kind::Span(0, DAY)), may("hold", Kind::Span(0, DAY)), may("per", Kind::OneOf(&["camera", "object", "zone"])));

const PARAMETER: Kind = Kind::Obj(&[
    must("name", Kind::Snake),
    must("type", Kind::OneOf(&["string", "integer", "number", "boolean", "choice"])),
    must("default", Kind::Scalar),
    may("min", Kind::Num(-BIG, BIG)),
    may("max", Kind::Num(-BIG, BIG)),
    may("choices", Kind::List(1, 50, &Kind::Line(100))),
    must("title", Kind::Text(80)),
    may("help", Kind::OptionalText(500)),
]);

const RESOURCES: Kind = Kind::Obj(&[
    must("cpu", Kind::Num(0.05, 64.0)),
    must("memory_mib", Kind::Int(16, 262_144)),
    must("architectures", Kind::List(1, 5, &Kind::OneOf(&["amd64", "arm64", "arm", "riscv64", "other"]))),
    may("accelerators", Kind::List(0, 8, &Kind::Slug(60))),
]);

/// A sample with what its format has.
macro_rules! golden {
    ([$($tolerance:expr),*], [$($truth:expr),*], $($own:expr),*) => {
        Kind::Obj(&[
            must("name", Kind::Slug(60)),
            must("input", Kind::Path(&[])),
            must("expect", Kind::Path(&["json"])),
            may("tolerance", Kind::Obj(&[must("absolute", Kind::Num(0.0, BIG)), must("relative", Kind::Num(0.0, 1.0)), $($tolerance),*])),
            may(
                "truth",
                Kind::Obj(&[
                    may("class", Kind::Ident),
                    may("counts", Kind::MapOf(1_000, &Kind::Int(0, 100_000))),
                    may("values", Kind::MapOf(256, &Kind::List(2, 2, &Kind::Num(-BIG, BIG)))),
                    may("texts", Kind::List(0, 50, &Kind::LineOrNone(200))),
                    $($truth),*
                ]),
            ),
            $($own),*
        ])
    };
}

const GOLDEN: Kind = golden!([], [],);

const GOLDEN_2: Kind = golden!(
    [may("time", Kind::Span(0, MINUTE))],
    [may("events", Kind::List(0, 500, &EVENT)), may("crossings", Kind::MapOf(16, &CROSSINGS))],
    may("scene", DRAWN),
    may("parameters", Kind::MapOf(50, &Kind::Scalar))
);

/// A day in seconds.
const SECONDS: Kind = Kind::Num(0.0, 86_400.0);

const EVENT: Kind = Kind::Obj(&[
    may("rule", Kind::Ident),
    may("zone", Kind::Snake),
    may("line", Kind::Snake),
    may("procedure", Kind::Snake),
    may("label", Kind::Ident),
    may("direction", Kind::OneOf(&["in", "out"])),
    may("state", Kind::OneOf(&["idle", "running", "done", "late", "out-of-order", "abandoned"])),
    must("begin", SECONDS),
    may("end", SECONDS),
]);

const CROSSINGS: Kind = Kind::Obj(&[may("in", Kind::Int(0, 1_000_000)), may("out", Kind::Int(0, 1_000_000))]);

const CARD: Kind =
    Kind::Obj(&[must("training_data", Kind::Text(4_000)), must("limits", Kind::Text(4_000)), must("metrics", Kind::List(0, 20, &METRIC))]);

const METRIC: Kind = Kind::Obj(&[
    must("name", Kind::Slug(60)),
    may("title", Kind::Text(60)),
    must("value", Kind::Num(-BIG, BIG)),
    must("baseline", Kind::Num(-BIG, BIG)),
    must("dataset", Kind::Text(500)),
]);

const MEDIA: Kind = Kind::Obj(&[must("file", Kind::Path(&["png", "jpg", "jpeg", "webp"])), must("alt", Kind::Text(240))]);

/// Extensions that a golden input may have.
pub(super) fn input_extensions(input: &str) -> &'static [&'static str] {
    match input {
        "image" => PICTURES,
        "video" => &["avi", "png", "jpg", "jpeg"],
        "sound" => &["wav"],
        _ => &["csv"],
    }
}
