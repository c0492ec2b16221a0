//! A proposal as an app: its whole manifest, and `app.yaml` with comments that say what was concluded and what the developer must look at.

use app_package::{
    manifest::{AppManifest, Golden, InputKind, ModelCard, Resources, Tolerance},
    pipeline::{Drawn, Post, Scene, Step},
    text::Text,
};
use serde_json::{Value, json};

use super::{
    Proposal, Topic, labels, say,
    yaml::{self, Comments},
};

/// What is known of an app beside its model's tensors.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Slug of the app and the model.
    pub name: String,
    /// The model's file as its developer names it.
    pub file: String,
    /// Bytes of the model with its external data.
    pub bytes: u64,
    /// The exporter's words about the licence.
    pub license: Option<String>,
    /// Samples: the input's path and that of the expected result.
    pub samples: Vec<(String, String)>,
}

/// The manifest of a proposal; what a developer must say in their own words is filled with what is true of every model.
/// None only where the version is none, which it is.
pub fn manifest(proposal: &Proposal, listing: &Listing) -> Option<AppManifest> {
    let mut step = proposal.step.clone();
    step.name.clone_from(&listing.name);
    let file = labels::plain(&listing.file, 60);
    let name = labels::plain(&listing.name, 60);
    let (zh, en) = match proposal.input {
        InputKind::Image => ("图像", "pictures"),
        InputKind::Video => ("视频", "moving pictures"),
        InputKind::Timeseries => ("时间序列", "time series"),
        InputKind::Audio => ("声音", "sound"),
        InputKind::Tabular => ("表格", "table rows"),
    };
    let samples = if listing.samples.is_empty() { vec![placeholder(proposal.input)] } else { listing.samples.clone() };
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
        input: proposal.input,
        fps: None,
        models: Vec::new(),
        pipeline: None,
        steps: vec![Step::Model(step)],
        scene: Scene::default(),
        procedures: Vec::new(),
        alarms: Vec::new(),
        parameters: Vec::new(),
        resources: Resources { memory_mib: mebibytes.saturating_mul(4).clamp(512, 262_144), ..Resources::default() },
        golden: golden.collect(),
        card: ModelCard {
            training_data: say("开发者尚未说明训练数据。", "The developer has not said yet what it was trained on."),
            limits: say("开发者尚未说明适用范围。", "The developer has not said yet where it fails."),
            metrics: Vec::new(),
        },
        media: Vec::new(),
    })
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

/// The licence that the exporter names, where it binds whoever passes the model on; else one that allows nothing.
fn license(listing: &Listing) -> &'static str {
    let agpl = listing.license.as_deref().is_some_and(|words| words.contains("AGPL-3.0"));
    if agpl { "AGPL-3.0-only" } else { "LicenseRef-Proprietary" }
}

/// The text of `app.yaml` for the first proposal, in the language `zh` or `en`; the others stand in comments at its end.
pub fn app_yaml(proposals: &[Proposal], listing: &Listing, lang: &str) -> String {
    let Some((first, others)) = proposals.split_first() else { return String::new() };
    let Some(manifest) = manifest(first, listing) else { return String::new() };
    let notes = Notes::new(first, listing, lang);
    let mut out: Vec<String> = notes.head.iter().map(|line| comment(line)).collect();
    out.push(String::new());
    let value = written_out(serde_json::to_value(&manifest).unwrap_or_default());
    out.extend(yaml::lines(&value, "", &notes.comments));
    out.push(String::new());
    out.extend(rule(first, lang).iter().map(|line| comment(line)));
    for other in others {
        out.push(String::new());
        let words = say(
            "另一种解读：若上面的不对，用它替换 steps。",
            "Another reading: put it in the place of steps where the one above is wrong.",
        );
        out.push(comment(&format!("{} ({})", words.get(lang), other.family)));
        out.extend(other.because.iter().map(|text| comment(&format!("- {}", text.get(lang)))));
        let mut step = other.step.clone();
        step.name.clone_from(&listing.name);
        let steps = written_out(json!({"steps": [Step::Model(step)]}));
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
fn rule(proposal: &Proposal, lang: &str) -> Vec<String> {
    let condition = match proposal.step.post.first() {
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
    fn new(proposal: &Proposal, listing: &Listing, lang: &str) -> Self {
        let file = labels::plain(&listing.file, 200);
        let mut head = vec![
            say(format!("由 pithead init 根据 {file} 写成。"), format!("Written by pithead init from {file}.")).get(lang).to_owned(),
            say(
                format!("标有“{}”的行须由开发者填写或核对。", yaml::MARK),
                format!("Lines marked \"{}\" are to be written or looked at by the developer.", yaml::MARK),
            )
            .get(lang)
            .to_owned(),
            say(format!("解读为 {}，依据：", proposal.family), format!("Read as {}, because:", proposal.family)).get(lang).to_owned(),
        ];
        head.extend(proposal.because.iter().chain(&proposal.notes).map(|text| format!("- {}", text.get(lang))));
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
        if let Some(words) = &listing.license {
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
        for question in &proposal.questions {
            let path = place(proposal, question.about);
            let word = say("现取", "taken for now");
            notes.add(&path, &format!("{} ({}: {})", question.text.get(lang), word.get(lang), question.default));
            notes.comments.marked.insert(path);
        }
        notes
    }

    fn add(&mut self, path: &str, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        self.comments.above.entry(path.to_owned()).or_default().push(line);
    }
}

/// The place of `app.yaml` that a question is about.
fn place(proposal: &Proposal, topic: Topic) -> String {
    use app_package::pipeline::Pre;
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
    let (pre, post) = (format!("steps[0].model.pre.{pre}"), format!("steps[0].model.post[0].{post}"));
    match topic {
        Topic::Size => format!("{pre}.width"),
        Topic::Picture | Topic::Scaling => pre,
        Topic::Columns => format!("{pre}.{columns}"),
        Topic::Window => format!("{pre}.layout"),
        Topic::Labels => format!("{post}.labels"),
        Topic::Activation => format!("{post}.activation"),
        Topic::Background => format!("{post}.background"),
        Topic::Values => format!("{post}.items"),
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
                    // Format 1's word for an activation.
                    if step.get("softmax") == Some(&json!(false)) {
                        step.remove("softmax");
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
