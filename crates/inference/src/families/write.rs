//! A proposal as an app: its whole manifest, and `app.yaml` with comments that say what was concluded and what the developer must look at.

use std::collections::BTreeSet;

use app_package::{
    manifest::{AppManifest, Golden, InputKind, ModelCard, Resources, Tolerance},
    pipeline::{AlarmLevel, AlarmRule, Drawn, ModelStep, Per, Post, Pre, Scene, Step},
    text::Text,
};
use serde::{Deserialize, Serialize};
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
    /// What the developer has said already.
    pub said: Said,
}

/// What a developer says of an app in their own words, and of what its models leave open. What is empty is still to be said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    pub title: Text,
    pub summary: Text,
    /// Slugs of the market's list.
    pub specialty: String,
    pub scenario: String,
    /// SPDX expression.
    pub license: String,
    pub training_data: Text,
    pub limits: Text,
    /// Least score of what the first model finds, 0 to 1.
    pub score: Option<f32>,
    /// An alarm to begin with: its level, and which of [`signs`] it is for, the first where that is none of them.
    pub alarm: Option<(AlarmLevel, String)>,
    /// Places of questions whose answer for now is right.
    pub settled: BTreeSet<String>,
}

/// The text at this place, where the developer has said it.
fn said<'a>(listing: &'a Listing, path: &str) -> Option<&'a Text> {
    let text = match path {
        "title" => &listing.said.title,
        "summary" => &listing.said.summary,
        "card.training_data" => &listing.said.training_data,
        "card.limits" => &listing.said.limits,
        _ => return None,
    };
    (!text.zh.is_empty() || !text.en.is_empty()).then_some(text)
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
    let text = |path: &str, zh: String, en: String| said(listing, path).cloned().unwrap_or_else(|| say(zh, en));
    let word = |said: &str, open: &str| if said.is_empty() { open.to_owned() } else { said.to_owned() };
    let mebibytes = u32::try_from(listing.bytes >> 20).unwrap_or(u32::MAX);
    Some(AppManifest {
        format: 2,
        name: listing.name.clone(),
        version: "0.1.0".parse().ok()?,
        title: text("title", name.clone(), name),
        summary: text("summary", format!("用模型 {file} 分析{zh}。"), format!("Runs the model {file} on {en}.")),
        description: Text::default(),
        changes: Text::default(),
        specialty: word(&listing.said.specialty, TO_BE_CHOSEN),
        scenario: word(&listing.said.scenario, TO_BE_CHOSEN),
        safety: false,
        license: word(&listing.said.license, license(listing)),
        input,
        fps: None,
        models: Vec::new(),
        pipeline: None,
        steps,
        scene: Scene::default(),
        procedures: Vec::new(),
        alarms: alarm(parts, &listing.said).into_iter().collect(),
        parameters: Vec::new(),
        resources: Resources { memory_mib: mebibytes.saturating_mul(4).clamp(512, 262_144), ..Resources::default() },
        providers: Vec::new(),
        golden: golden.collect(),
        card: ModelCard {
            training_data: text(
                "card.training_data",
                "开发者尚未说明训练数据。".to_owned(),
                "The developer has not said yet what it was trained on.".to_owned(),
            ),
            limits: text("card.limits", "开发者尚未说明适用范围。".to_owned(), "The developer has not said yet where it fails.".to_owned()),
            metrics: Vec::new(),
        },
        media: Vec::new(),
    })
}

/// Stands for a specialty or scenario that is still to be chosen.
pub const TO_BE_CHOSEN: &str = "to-be-chosen";

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
    let rule = rule(parts, &listing.said, lang);
    if !rule.is_empty() {
        out.push(String::new());
        out.extend(rule.iter().map(|line| comment(line)));
    }
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

/// What an alarm can be for: the id of a label or value, and the condition that tells it.
pub fn signs(parts: &[Part]) -> Vec<(String, String)> {
    let posts = parts.iter().filter_map(|part| part.readings.first()).flat_map(|reading| &reading.step.post);
    let of = |post: &Post| -> Vec<(String, String)> {
        let labels =
            |condition: &dyn Fn(&str) -> String| post.labels().iter().map(|label| (label.id.clone(), condition(&label.id))).collect();
        match post {
            Post::Values(values) => values.items.iter().map(|item| (item.id.clone(), format!("values['{}'] > 0.5", item.id))).collect(),
            Post::Classes(_) => labels(&|id| format!("classes.exists(c, c.label == '{id}' && c.score > 0.5)")),
            post if post.finds() => labels(&|id| format!("detections.exists(d, d.label == '{id}')")),
            _ => Vec::new(),
        }
    };
    posts.flat_map(of).collect()
}

/// Text of an alarm to begin with.
fn alarm_text() -> Text {
    say("{place}：请查看", "{place}: have a look")
}

/// The alarm that the developer wishes; none where the models say nothing that could be one's sign.
fn alarm(parts: &[Part], said: &Said) -> Option<AlarmRule> {
    let (level, sign) = said.alarm.as_ref()?;
    let signs = signs(parts);
    let (id, when) = signs.iter().find(|(id, _)| id == sign).or(signs.first())?;
    Some(AlarmRule {
        id: id.clone(),
        when: when.clone(),
        level: *level,
        text: alarm_text(),
        lasting: None,
        hold: None,
        per: Per::default(),
    })
}

/// An alarm to begin with, as comments, where the developer wishes none yet.
fn rule(parts: &[Part], said: &Said, lang: &str) -> Vec<String> {
    let signs = signs(parts);
    let Some((_, condition)) = signs.first().filter(|_| said.alarm.is_none()) else { return Vec::new() };
    let words = say("报警规则的一个例子：", "An example of an alarm:");
    let Text { zh, en } = alarm_text();
    let lines = format!(
        "{}\nalarms:\n  - id: seen\n    when: \"{condition}\"\n    level: notice\n    text: {{zh: \"{zh}\", en: \"{en}\"}}",
        words.get(lang)
    );
    lines.lines().map(str::to_owned).collect()
}

/// Places of `app.yaml` that the developer has to fill in or to look at.
pub fn open(parts: &[Part], listing: &Listing) -> BTreeSet<String> {
    Notes::new(parts, listing, "en").comments.marked
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
            say(format!("由 Pithead 根据 {file} 写成。"), format!("Written by Pithead from {file}.")).get(lang).to_owned(),
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
        let known = &listing.said;
        for path in ["title", "summary", "card.training_data", "card.limits"] {
            if said(listing, path).is_none() {
                notes.comments.marked.insert(path.to_owned());
            }
        }
        for (path, word) in [("specialty", &known.specialty), ("scenario", &known.scenario), ("license", &known.license)] {
            if word.is_empty() {
                notes.comments.marked.insert(path.to_owned());
            }
        }
        if known.specialty.is_empty() {
            let words = say(
                "市场分类中的专业与场景，例如 main-haulage、belt-foreign-object",
                "specialty and scenario of the market's list, such as main-haulage and belt-foreign-object",
            );
            notes.add("specialty", words.get(lang));
        }
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
                if known.settled.contains(&path) {
                    continue;
                }
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
pub fn place(at: usize, proposal: &Proposal, topic: Topic) -> String {
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
