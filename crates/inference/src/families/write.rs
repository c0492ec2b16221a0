//! A proposal as an app: its whole manifest, and `app.yaml` with comments that say what was concluded and what the developer must look at.

use app_package::{
    manifest::{AppManifest, Golden, InputKind, ModelCard, Resources, Tolerance},
    pipeline::{Drawn, ModelStep, Post, Pre, Scene, Step},
    text::Text,
};
use serde_json::{Value, json};

use super::{
    Proposal, Topic, labels,
    parts::Part,
    say,
    yaml::{self, Comments},
};

/// What is known of an app beside its models' tensors.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Slug of the app.
    pub name: String,
    /// Bytes of the models with their external data.
    pub bytes: u64,
    /// The exporters' words about the licence, a word for each.
    pub licenses: Vec<String>,
    /// Samples: the input's path and that of the expected result.
    pub samples: Vec<(String, String)>,
}

/// The manifest of the first reading of each model; what a developer must say in their own words is filled with what is true of every
/// model. None only where there is no model.
pub fn manifest(parts: &[Part], listing: &Listing) -> Option<AppManifest> {
    let input = parts.first()?.readings.first()?.input;
    let steps = parts.iter().filter_map(|part| Some(step(part, part.readings.first()?))).collect();
    let file = files(parts);
    let name = labels::plain(&listing.name, 60);
    let (zh, en) = match input {
        InputKind::Image => ("图像", "pictures"),
        InputKind::Video => ("视频", "moving pictures"),
        InputKind::Timeseries => ("时间序列", "time series"),
        InputKind::Audio => ("声音", "sound"),
        InputKind::Tabular => ("表格", "table rows"),
    };
    let samples = if listing.samples.is_empty() { vec![placeholder(input)] } else { listing.samples.clone() };
    let golden = samples.into_iter().enumerate().map(|(at, (input, expect))| Golden {
        name: format!("sample-{}", at + 1),
        input,
        expect,
        tolerance: Tolerance::default(),
        truth: None,
        scene: Drawn::default(),
        parameters: serde_json::Map::new(),
    });
    let mebibytes = u32::try_from(listing.bytes >> 20).unwrap_or(u32::MAX);
    Some(AppManifest {
        format: 2,
        name: listing.name.clone(),
        version: "0.1.0".parse().ok()?,
        title: say(name.clone(), name),
        summary: say(format!("用模型 {file} 分析{zh}。"), format!("Runs the model {file} on {en}.")),
        description: Text::default(),
        changes: Text::default(),
        specialty: "to-be-chosen".to_owned(),
        scenario: "to-be-chosen".to_owned(),
        safety: false,
        license: license(listing).to_owned(),
        input,
        fps: None,
        models: Vec::new(),
        pipeline: None,
        steps,
        scene: Scene::default(),
        procedures: Vec::new(),
        alarms: Vec::new(),
        parameters: Vec::new(),
        resources: Resources { memory_mib: mebibytes.saturating_mul(4).clamp(512, 262_144), ..Resources::default() },
        providers: Vec::new(),
        golden: golden.collect(),
        card: ModelCard {
            training_data: say("开发者尚未说明训练数据。", "The developer has not said yet what it was trained on."),
            limits: say("开发者尚未说明适用范围。", "The developer has not said yet where it fails."),
            metrics: Vec::new(),
        },
        media: Vec::new(),
    })
}

/// A reading of a model as a step.
fn step(part: &Part, reading: &Proposal) -> Step {
    Step::Model(ModelStep { name: part.name.clone(), file: part.path.clone(), ..reading.step.clone() })
}

/// The models' files as their developer names them.
fn files(parts: &[Part]) -> String {
    labels::plain(&parts.iter().map(|part| part.file.as_str()).collect::<Vec<_>>().join(", "), 60)
}

fn placeholder(input: InputKind) -> (String, String) {
    let extension = match input {
        InputKind::Image => "jpg",
        InputKind::Video => "avi",
        InputKind::Audio => "wav",
        InputKind::Timeseries | InputKind::Tabular => "csv",
    };
    (format!("golden/1.{extension}"), "golden/1.json".to_owned())
}

/// The licence that an exporter names, where it binds whoever passes the model on; else one that allows nothing.
fn license(listing: &Listing) -> &'static str {
    let agpl = listing.licenses.iter().any(|words| words.contains("AGPL-3.0"));
    if agpl { "AGPL-3.0-only" } else { "LicenseRef-Proprietary" }
}

/// The text of `app.yaml` for the first reading of each model, in the language `zh` or `en`; the others stand in comments at its end.
pub fn app_yaml(parts: &[Part], listing: &Listing, lang: &str) -> String {
    let Some(manifest) = manifest(parts, listing) else { return String::new() };
    let notes = Notes::new(parts, listing, lang);
    let mut out: Vec<String> = notes.head.iter().map(|line| comment(line)).collect();
    out.push(String::new());
    let value = written_out(serde_json::to_value(&manifest).unwrap_or_default());
    out.extend(yaml::lines(&value, "", &notes.comments));
    out.push(String::new());
    out.extend(rule(parts, lang).iter().map(|line| comment(line)));
    let others = parts.iter().flat_map(|part| part.readings.iter().skip(1).map(move |other| (part, other)));
    for (part, other) in others {
        out.push(String::new());
        let words = say(
            format!("{} 的另一种解读：若上面的不对，用它替换该步。", part.name),
            format!("Another reading of {}: put it in the place of its step where the one above is wrong.", part.name),
        );
        out.push(comment(&format!("{} ({})", words.get(lang), other.family)));
        out.extend(other.because.iter().map(|text| comment(&format!("- {}", text.get(lang)))));
        let steps = written_out(json!({"steps": [step(part, other)]}));
        out.extend(yaml::lines(&steps, "", &Comments::default()).iter().map(|line| comment(line)));
    }
    let mut text = out.join("\n");
    text.push('\n');
    text
}

/// A comment line; what a text holds cannot end it.
fn comment(text: &str) -> String {
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { "#".to_owned() } else { format!("# {line}") }
}

/// A rule to begin with.
fn rule(parts: &[Part], lang: &str) -> Vec<String> {
    let first = parts.first().and_then(|part| part.readings.first());
    let condition = match first.and_then(|reading| reading.step.post.first()) {
        Some(Post::Boxes(boxes)) => boxes.labels.first().map(|label| format!("detections.exists(d, d.label == '{}')", label.id)),
        Some(Post::Classes(classes)) => {
            classes.labels.first().map(|label| format!("classes.exists(c, c.label == '{}' && c.score > 0.5)", label.id))
        }
        Some(Post::Values(values)) => values.items.first().map(|item| format!("values['{}'] > 0.5", item.id)),
        _ => None,
    };
    let Some(condition) = condition else { return Vec::new() };
    let words = say("报警规则的一个例子：", "An example of an alarm:");
    let lines = format!(
        "{}\nalarms:\n  - id: seen\n    when: \"{condition}\"\n    level: notice\n    text: {{zh: \"{{place}}：请查看\", en: \"{{place}}: have a look\"}}",
        words.get(lang)
    );
    lines.lines().map(str::to_owned).collect()
}

/// Comments of a proposal.
struct Notes {
    head: Vec<String>,
    comments: Comments,
}

impl Notes {
    fn new(parts: &[Part], listing: &Listing, lang: &str) -> Self {
        let file = files(parts);
        let mut head = vec![
            say(format!("由 pithead init 根据 {file} 写成。"), format!("Written by pithead init from {file}.")).get(lang).to_owned(),
            say(
                format!("标有“{}”的行须由开发者填写或核对。", yaml::MARK),
                format!("Lines marked \"{}\" are to be written or looked at by the developer.", yaml::MARK),
            )
            .get(lang)
            .to_owned(),
        ];
        let firsts = || parts.iter().filter_map(|part| Some((part, part.readings.first()?)));
        for (part, reading) in firsts() {
            let (name, family) = (&part.name, reading.family);
            head.push(say(format!("{name} 解读为 {family}，依据："), format!("{name} is read as {family}, because:")).get(lang).to_owned());
            head.extend(reading.because.iter().chain(&reading.notes).map(|text| format!("- {}", text.get(lang))));
        }
        let mut notes = Self { head, comments: Comments::default() };
        for path in ["title", "summary", "specialty", "scenario", "license", "card.training_data", "card.limits"] {
            notes.comments.marked.insert(path.to_owned());
        }
        notes.add(
            "specialty",
            say(
                "市场分类中的专业与场景，例如 main-haulage、belt-foreign-object",
                "specialty and scenario of the market's list, such as main-haulage and belt-foreign-object",
            )
            .get(lang),
        );
        for words in &listing.licenses {
            let words = labels::plain(words, 120);
            notes.add("license", say(format!("模型的元数据写着：{words}"), format!("the model's metadata say: {words}")).get(lang));
        }
        if listing.samples.is_empty() {
            let words = say(
                "请放入样本及其预期结果；pithead init --pictures FILE 会生成",
                "put a sample and its expected result here; pithead init --pictures FILE makes them",
            );
            notes.add("golden", words.get(lang));
            notes.comments.marked.insert("golden".to_owned());
        }
        let word = say("现取", "taken for now");
        for (at, (_, reading)) in firsts().enumerate() {
            for question in &reading.questions {
                let path = place(at, reading, question.about);
                notes.add(&path, &format!("{} ({}: {})", question.text.get(lang), word.get(lang), question.default));
                notes.comments.marked.insert(path);
            }
        }
        notes
    }

    fn add(&mut self, path: &str, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        self.comments.above.entry(path.to_owned()).or_default().push(line);
    }
}

/// The place of `app.yaml` that a question about the step of this number is about.
fn place(at: usize, proposal: &Proposal, topic: Topic) -> String {
    let (pre, columns) = match &proposal.step.pre {
        Pre::Image(_) => ("image", ""),
        Pre::Window(_) => ("window", "columns"),
        Pre::Columns(_) => ("columns", "names"),
        Pre::Sound(_) => ("sound", ""),
        Pre::Clip(_) => ("clip", ""),
    };
    let post = match proposal.step.post.first() {
        Some(Post::Boxes(_)) => "boxes",
        Some(Post::Classes(_)) => "classes",
        Some(Post::Grid(_)) => "grid",
        Some(Post::Segments(_)) => "segments",
        Some(Post::Anomaly(_)) => "anomaly",
        Some(Post::Text(_)) => "text",
        Some(Post::Gallery(_)) => "gallery",
        Some(Post::Values(_)) | None => "values",
    };
    let step = format!("steps[{at}].model");
    let (pre, post) = (format!("{step}.pre.{pre}"), format!("{step}.post[0].{post}"));
    match topic {
        Topic::Size => format!("{pre}.width"),
        Topic::Picture | Topic::Scaling => pre,
        Topic::Columns => format!("{pre}.{columns}"),
        Topic::Window => format!("{pre}.layout"),
        Topic::Labels => format!("{post}.labels"),
        Topic::Activation => format!("{post}.activation"),
        Topic::Background => format!("{post}.background"),
        Topic::Values => format!("{post}.items"),
        Topic::Objects => format!("{step}.of"),
    }
}

/// A manifest in full: what is left out where it has its default is written, and what says nothing is left out.
fn written_out(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            for key in keys {
                let Some(inner) = map.remove(&key) else { continue };
                let mut inner = written_out(inner);
                let defaults: Vec<(&str, Value)> = match key.as_str() {
                    "image" => vec![("filter", json!("linear-antialias")), ("scale", json!(255))],
                    "boxes" => vec![
                        ("layout", json!("rows")),
                        ("box", json!("cxcywh")),
                        ("unit", json!("pixels")),
                        ("activation", json!("none")),
                        ("background", json!("none")),
                    ],
                    "classes" => vec![("activation", json!("none"))],
                    _ => Vec::new(),
                };
                if let Value::Object(step) = &mut inner {
                    for (key, default) in defaults {
                        step.entry(key).or_insert(default);
                    }
                    // A language that is not filled.
                    if step.keys().all(|key| key == "zh" || key == "en") && !step.is_empty() {
                        step.retain(|_, text| text != "");
                        if step.is_empty() {
                            continue;
                        }
                    }
                }
                map.insert(key, inner);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = written_out(item.take())),
        _ => {}
    }
    value
}
