//! The parsers that read what strangers send, each on damaged examples of what it expects, with what must hold whatever comes.

use std::path::{Component, Path, PathBuf};

use app_package::{
    digest::Digest,
    dsse::{self, Envelope, ReleaseStatement},
    keys::KeySet,
    manifest::AppManifest,
    oci::{ImageManifest, Index, PackedFile, build_manifest, config_json},
    path::PackagePath,
    pipeline::{
        AlarmLevel, AlarmRule, Align, Color, Column, Filter, Fit, Layout, Missing, Per, Pre, PreColumns, PreImage, PreWindow, WindowLayout,
    },
    text::Text,
    validate::{self, FileEntry, MAX_FAULTS},
};
use image::ColorType;
use inference::{
    alarm::{Params, Rules},
    content, model_file, output, picture, table,
};

use crate::{
    decoders, documents,
    hostile::{Base, Rng, case, noise},
    videos,
};

/// Words that parsers stumble over.
const WORDS: [&str; 22] = [
    "null",
    "~",
    "- ",
    ": ",
    "{",
    "[",
    "\"",
    "'",
    "|\n",
    "&a ",
    "*a ",
    "!!binary ",
    "<<: ",
    "1e999",
    "-9223372036854775809",
    "0x7fffffff",
    "\u{202e}",
    "\u{feff}",
    "\0",
    "\\u0000",
    "🪨",
    "{value:",
];

/// What is damaged.
pub struct Examples {
    bases: Vec<Base>,
    /// Name of the app that `oci` and `envelope` are about.
    pub name: String,
    pub oci: Vec<u8>,
    pub envelope: Vec<u8>,
    payload: Vec<u8>,
    pub keys: KeySet,
    pictures: Vec<Vec<u8>>,
    tables: Vec<Vec<u8>>,
    rules: Vec<String>,
    /// A file that a target may write; its neighbours too.
    pub file: PathBuf,
}

/// One parser: makes its input from the numbers, and says what does not hold.
pub type Target = fn(&Examples, &mut Rng) -> Result<(), String>;

/// All, by name.
pub const TARGETS: [(&str, Target); 23] = [
    ("model-file", model),
    ("app-yaml", yaml),
    ("license", license),
    ("oci-manifest", oci),
    ("envelope", envelope),
    ("picture", decode),
    ("table", csv),
    ("alarm-rule", rule),
    ("path", path),
    ("content", scan),
    ("license-token", documents::license_token),
    ("key-text", documents::key_text),
    ("judged", documents::judged),
    ("margo", documents::margo),
    ("expect", documents::expect),
    ("test-set", documents::test_set),
    ("decoder", decoders::decode),
    ("sound", decoders::wav),
    ("part", decoders::part),
    ("tiles", decoders::tiles),
    ("own-step", documents::own_step),
    ("clip", videos::avi),
    ("tracks", videos::tracks),
];

impl Examples {
    /// `dir` takes the files that a parser wants to open.
    pub fn new(bases: Vec<Base>, dir: &Path) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let mut keys = KeySet::new();
        let kid = keys.insert(key.verifying_key());
        let manifest = &bases[0].manifest;
        let packed: Vec<PackedFile> = ["app.yaml", "model.onnx", "golden/1.png"]
            .map(|path| PackedFile { path: PackagePath::parse(path).unwrap(), digest: Digest::of(path.as_bytes()), size: 9 })
            .into();
        let oci = build_manifest(manifest, "acme", &packed);
        let statement = ReleaseStatement {
            digest: Digest::of(&oci),
            vendor: "acme".into(),
            app: manifest.name.clone(),
            version: manifest.version.clone(),
            verdict: "approved".into(),
        };
        let (mut pictures, mut tables) = (vec![jpeg()], Vec::new());
        for base in &bases {
            let reads_pictures = base.manifest.model_steps().iter().any(|step| matches!(step.pre, Pre::Image(_)));
            if reads_pictures { &mut pictures } else { &mut tables }.push(base.sample().to_vec());
        }
        let rules = bases.iter().flat_map(|b| b.manifest.alarms()).map(|rule| rule.when.clone()).collect();
        let payload = statement.to_payload();
        let envelope = statement.sign(&kid, &key).to_bytes();
        Self {
            name: statement.app.clone(),
            bases,
            oci,
            envelope,
            payload,
            keys,
            pictures,
            tables,
            rules,
            file: dir.join("parsed/model.onnx"),
        }
    }
}

fn jpeg() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(48, 32, |x, y| image::Rgb([x, y, x ^ y].map(|v| u8::try_from(v * 5 % 256).unwrap())));
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// A few changes that know nothing of the format.
pub fn damaged(bytes: impl AsRef<[u8]>, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = bytes.as_ref().to_vec();
    for _ in 0..=rng.below(3) {
        if bytes.is_empty() {
            break;
        }
        match rng.below(7) {
            0 | 1 => {
                let times = 1 + rng.below(3);
                noise::flip(&mut bytes, rng, times);
            }
            2 => noise::chunk_removed(&mut bytes, rng),
            3 => noise::chunk_repeated(&mut bytes, rng),
            4 => noise::bytes_inserted(&mut bytes, rng),
            5 => noise::zeroed(&mut bytes, rng),
            _ => bytes.truncate(rng.below(bytes.len())),
        }
    }
    bytes
}

/// Changes of lines and words.
pub fn damaged_text(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for _ in 0..=rng.below(4) {
        let (at, other) = (rng.below(lines.len()), rng.below(lines.len()));
        match rng.below(8) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => {
                let &indent = rng.pick(&["  ", "\t", "- ", "      "]);
                lines[at].insert_str(0, indent);
            }
            4 => lines[at] = lines[at].trim_start().into(),
            5 => {
                let word = rng.pick(&WORDS).repeat(*rng.pick(&[1, 1, 1, 30, 2_000]));
                let place = lines[at].char_indices().map(|(i, _)| i).nth(rng.below(40)).unwrap_or(lines[at].len());
                lines[at].insert_str(place, &word);
            }
            6 => {
                let value = (*rng.pick(&WORDS)).to_owned();
                lines[at] = lines[at].split_once(':').map_or(value.clone(), |(key, _)| format!("{key}: {value}"));
            }
            _ => {
                let bytes = damaged(lines[at].as_bytes(), rng);
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    lines.join("\n")
}

pub fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn model(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let bytes = if rng.below(2) == 0 { case(&examples.bases, rng.number()).model } else { damaged(&rng.pick(&examples.bases).model, rng) };
    std::fs::write(&examples.file, bytes).map_err(|e| e.to_string())?;
    match model_file::inspect(examples.file.parent().unwrap(), &examples.file) {
        Ok(structure) => ensure(structure.operators.len() <= 200 && structure.opsets.len() <= 200, "more names than are told"),
        Err(e) => ensure(!e.code.is_empty() && e.message.chars().count() <= 2_000, "an error without a reason"),
    }
}

/// Where the config is not the manifest.
fn differing(manifest: &str, config: &str) -> String {
    let same = manifest.chars().zip(config.chars()).take_while(|(one, other)| one == other).count();
    let part = |text: &str| text.chars().skip(same.saturating_sub(60)).take(120).collect::<String>();
    format!("the config is not the manifest: {} against {}", part(config), part(manifest))
}

fn yaml(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let base = rng.pick(&examples.bases);
    let text = damaged_text(&base.yaml, rng);
    match validate::parse(&text) {
        Ok(manifest) => {
            let again: AppManifest = serde_json::from_slice(&config_json(&manifest)).map_err(|e| e.to_string())?;
            ensure(again == manifest, &differing(&format!("{manifest:?}"), &format!("{again:?}")))?;
            let size = *rng.pick(&[0, 1, u64::MAX]);
            let mut files: Vec<FileEntry> = ["app.yaml", "model.onnx", "golden/1.json"].map(|p| FileEntry { path: p.into(), size }).into();
            files.push(FileEntry { path: damaged_text("golden/1.csv", rng), size });
            told(&validate::check_files(&manifest, &text, &files))
        }
        Err(faults) => {
            ensure(!faults.is_empty(), "refused without a fault")?;
            told(&faults)
        }
    }
}

/// An expression put together at random.
fn license(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let words = [
        "MIT",
        "Apache-2.0",
        "GPL-2.0",
        "GPL-3.0-only",
        "wxWindows",
        "+",
        "(",
        ")",
        " ",
        " AND ",
        " OR ",
        " WITH ",
        "/",
        "LicenseRef-",
        "LicenseRef-a",
        "DocumentRef-",
        "AdditionRef-x",
        ":",
        "Classpath-exception-2.0",
        "煤",
        "-",
        ".",
        "apache",
        "NOASSERTION",
        "é",
    ];
    let text: String = (0..=rng.below(9)).map(|_| *rng.pick(&words)).collect();
    let yaml = examples.bases[0].yaml.replacen("license: Apache-2.0", &format!("license: \"{text}\""), 1);
    validate::parse(&yaml).map_or_else(|faults| told(&faults), |_| Ok(()))
}

/// Every fault has words, within bounds.
fn told(faults: &[app_package::fault::Fault]) -> Result<(), String> {
    ensure(faults.len() <= MAX_FAULTS + 1, "too many faults")?;
    let long = |text: &str| text.is_empty() || text.chars().count() > 2_000;
    match faults.iter().find(|f| long(&f.message("en")) || long(&f.message("zh"))) {
        Some(fault) => Err(format!("words of {}", fault.code)),
        None => Ok(()),
    }
}

fn oci(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let bytes = if rng.below(2) == 0 {
        damaged(&examples.oci, rng)
    } else {
        damaged_text(&String::from_utf8_lossy(&examples.oci).replace(',', ",\n"), rng).into_bytes()
    };
    if let Ok(manifest) = ImageManifest::parse(&bytes) {
        let again = ImageManifest::parse(&manifest.to_bytes()).map_err(|e| e.to_string())?;
        ensure(again == manifest, "written and read, another manifest")?;
        manifest.layers.iter().filter_map(app_package::oci::Descriptor::path).try_for_each(|path| inside(&path))?;
        let _ = (manifest.effective_artifact_type(), manifest.layer("app.yaml"));
    }
    if let Ok(index) = Index::parse(&bytes) {
        ensure(Index::parse(&index.to_bytes()).as_ref() == Ok(&index), "written and read, another index")?;
    }
    Ok(())
}

fn envelope(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let bytes = damaged(&examples.envelope, rng);
    if let Ok(envelope) = Envelope::parse(&bytes)
        && let Ok(payload) = dsse::verify(&envelope, &examples.keys)
    {
        ensure(payload == examples.payload, "a signature fits what was never signed")?;
    }
    if let Ok(statement) = ReleaseStatement::from_payload(&damaged(&examples.payload, rng)) {
        ReleaseStatement::from_payload(&statement.to_payload()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn decode(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let mut bytes = damaged(rng.pick(&examples.pictures), rng);
    if rng.below(2) == 0 {
        mend_png(&mut bytes);
    }
    let Ok(found) = picture::decode(&bytes) else { return Ok(()) };
    let pixels = u64::from(found.width()) * u64::from(found.height());
    ensure(pixels > 0 && pixels <= picture::MAX_PIXELS, "more pixels than are read")?;
    if pixels > 1_000_000 {
        return Ok(());
    }
    let pre = PreImage {
        width: 1 + u32::try_from(rng.below(64)).unwrap(),
        height: 1 + u32::try_from(rng.below(64)).unwrap(),
        fit: *rng.pick(&[Fit::Stretch, Fit::Letterbox, Fit::Crop, Fit::Pad, Fit::Multiple]),
        crop: *rng.pick(&[1.0, 0.875, 0.1]),
        widest: *rng.pick(&[None, Some(1), Some(200)]),
        multiple: *rng.pick(&[None, Some(1), Some(32), Some(1_000)]),
        shorter: *rng.pick(&[None, Some(1), Some(4_096)]),
        align: *rng.pick(&[Align::Center, Align::TopLeft]),
        fill: rng.pick(&[vec![], vec![0]]).clone(),
        filter: *rng.pick(&[
            Filter::LinearAntialias,
            Filter::Linear,
            Filter::LinearFloat,
            Filter::Cubic,
            Filter::CubicAntialias,
            Filter::Lanczos,
            Filter::LanczosAntialias,
            Filter::Area,
            Filter::Nearest,
        ]),
        color: *rng.pick(&[Color::Rgb, Color::Bgr, Color::Gray]),
        scale: 255.0,
        layout: *rng.pick(&[Layout::Nchw, Layout::Nhwc, Layout::Flat]),
        mean: Vec::new(),
        std: Vec::new(),
        window: *rng.pick(&[None, None, Some([100.0, 30_000.0])]),
        tiles: None,
    };
    let mut out = Vec::new();
    let Ok((shape, _)) = picture::to_tensor(&pre, &found, &mut out) else {
        return ensure(pre.window.is_some() && found.color() != ColorType::L16, "a picture that was refused");
    };
    let said = picture::shape(&pre);
    ensure(shape.len() == said.len() && shape.iter().zip(&said).all(|(a, b)| a == b || *b < 0), "a tensor of another shape")?;
    let expected: i64 = shape.iter().product();
    ensure(i64::try_from(out.len()) == Ok(expected) && out.iter().all(|v| v.is_finite()), "a tensor of another size, or not finite")
}

/// Right checksums of a PNG's chunks, so that the decoder looks at what is in them.
fn mend_png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4).and_then(|b| usize::try_from(u32::from_be_bytes(b.try_into().unwrap())).ok()) {
        let Some(body) = at.checked_add(8 + length).and_then(|end| bytes.get(at + 4..end)) else { return };
        let sum = crc32(body);
        at += 8 + length;
        let Some(place) = bytes.get_mut(at..at + 4) else { return };
        place.copy_from_slice(&sum.to_be_bytes());
        at += 4;
    }
}

/// ISO 3309, as the PNG specification has it in annex D.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn csv(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let example = rng.pick(&examples.tables);
    let header = String::from_utf8_lossy(example).lines().next().unwrap_or_default().to_owned();
    let rules = [Missing::Refuse, Missing::Number(0.0), Missing::Last];
    let names: Vec<Column> = header.split(',').map(|name| Column { missing: *rng.pick(&rules), ..Column::plain(name) }).collect();
    let bytes = if rng.below(2) == 0 { damaged(example, rng) } else { damaged_text(&String::from_utf8_lossy(example), rng).into_bytes() };
    let mut out = Vec::new();
    let length = 1 + rng.below(300);
    let layout = *rng.pick(&[WindowLayout::TimeMajor, WindowLayout::ChannelMajor, WindowLayout::Flat]);
    let window = PreWindow {
        columns: names.clone(),
        length: u32::try_from(length).unwrap(),
        layout,
        mean: Vec::new(),
        std: Vec::new(),
        spectrum: None,
    };
    if table::window(&window, &bytes, &mut out).is_ok() {
        ensure(out.len() == length * names.len() && out.iter().all(|v| v.is_finite()), "a window of another size, or not finite")?;
    }
    if table::columns(&PreColumns { names: names.clone(), each: false }, &bytes, &mut out).is_ok() {
        ensure(out.len() == names.len() && out.iter().all(|v| v.is_finite()), "a row of another size, or not finite")?;
    }
    Ok(())
}

fn rule(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let words = [
        "(", ")", "!", "-", "[", "]", "&&", "||", "?", ":", "+", ".exists(", "classes", "values", "9e9", "'a'", ".size()", ".map(x,",
        "{'a':",
    ];
    let mut when = rng.pick(&examples.rules).clone();
    for _ in 0..=rng.below(6) {
        let place = when.char_indices().map(|(i, _)| i).nth(rng.below(200)).unwrap_or(when.len());
        let word = rng.pick(&words).repeat(*rng.pick(&[1, 1, 1, 20, 900]));
        when.insert_str(place, &word);
    }
    when.truncate(when.floor_char_boundary(2_000));
    let text = Text { zh: "{place}{".into(), en: "{value:a}".into() };
    let rule = AlarmRule { id: "r".into(), when, level: AlarmLevel::Notice, text, lasting: None, hold: None, per: Per::Camera };
    let mut manifest = rng.pick(&examples.bases).manifest.clone();
    match &mut manifest.pipeline {
        Some(pipeline) => pipeline.alarms = vec![rule],
        None => manifest.alarms = vec![rule],
    }
    let Ok(rules) = Rules::compile(&manifest) else { return Ok(()) };
    let params = Params::new(&[], &serde_json::Map::new()).map_err(|e| e.to_string())?;
    let mut found = output::AppOutput {
        classes: vec![output::ClassScore { label: "a".into(), score: 0.5, model: None }; 100],
        values: vec![output::ValueOut { id: "a".into(), value: f64::MAX, unit: String::new() }],
        ..output::AppOutput::default()
    };
    rules.evaluate(&mut found, &params, "North");
    ensure(found.alarms.len() + found.rule_faults.len() <= 1, "a rule that answers twice")
}

fn path(_: &Examples, rng: &mut Rng) -> Result<(), String> {
    let parts = ["..", ".", "/", "\\", "a", "C:", "\0", "con", "é", "e\u{301}", " ", "model.onnx", "\u{202e}", "//", "~"];
    let text: String = (0..rng.below(12)).map(|_| *rng.pick(&parts)).collect();
    PackagePath::parse(&text).map_or(Ok(()), |path| inside(&path))
}

/// A package path stays in its folder.
fn inside(path: &PackagePath) -> Result<(), String> {
    let plain = Path::new(path.as_str()).components().all(|part| matches!(part, Component::Normal(_)));
    ensure(plain, &format!("`{path}` leaves the package"))
}

/// The folder of the model, with a file of a random kind in it.
fn scan(examples: &Examples, rng: &mut Rng) -> Result<(), String> {
    let folder = examples.file.parent().unwrap().with_file_name("scanned");
    let name = format!(
        "file.{}",
        rng.pick(&["onnx", "yaml", "json", "csv", "txt", "md", "png", "jpg", "webp", "avi", "bin", "data", "pkl", "wasm", ""])
    );
    let bytes = match rng.below(4) {
        0 => damaged(&rng.pick(&examples.bases).model, rng),
        1 => damaged(rng.pick(&examples.pictures), rng),
        2 => damaged(&examples.oci, rng),
        _ => damaged(rng.pick(&examples.tables), rng),
    };
    let io = |e: std::io::Error| e.to_string();
    std::fs::create_dir_all(&folder).map_err(io)?;
    std::fs::write(folder.join(&name), bytes).map_err(io)?;
    let outcome = content::scan(&folder);
    std::fs::remove_dir_all(&folder).map_err(io)?;
    match outcome {
        Ok(()) => Ok(()),
        Err(e) => ensure(e.message.contains(&name), "an error that does not name the file"),
    }
}
