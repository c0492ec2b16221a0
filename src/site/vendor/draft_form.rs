//! The form of a draft: what was typed, what it means, and the page that shows it beside the app.yaml that follows.

use std::collections::BTreeSet;

use app_package::pipeline::AlarmLevel;
use app_package::text::Text;
use app_package::validate;
use askama::Template;
use inference::families::propose::size;
use inference::families::write::Said;
use inference::worker::{FormAnswers, ModelReading, Reading};

use crate::base::error::{Error, Result};
use crate::catalog::model::{Scenario, SlugName};
use crate::draft::model::{Draft, DraftState};
use crate::http::extract::FormPairs;
use crate::http::page::{FormErrors, Page};
use crate::site::parts::report::reason;

/// Words of the levels of an alarm, the least first.
const LEVELS: [(&str, AlarmLevel); 3] =
    [("notice", AlarmLevel::Notice), ("warning", AlarmLevel::Warning), ("critical", AlarmLevel::Critical)];
/// Most labels, as app.yaml takes them.
const MAX_LABELS: usize = 1_000;

/// The fields as they stand in the form.
#[derive(Debug, Clone, Default)]
pub struct DraftForm {
    /// Revision of the draft that the page showed.
    pub revision: i64,
    texts: Vec<(&'static str, String)>,
    pub scenario: String,
    pub level: String,
    pub sign: String,
    /// Place in the order, and number of the reading, of each uploaded model.
    pub order: Vec<String>,
    pub readings: Vec<String>,
    /// Places of questions whose default is right.
    pub settled: BTreeSet<String>,
}

/// Names of the fields that are texts.
const TEXTS: [&str; 13] = [
    "name",
    "title_zh",
    "title_en",
    "summary_zh",
    "summary_en",
    "license",
    "training_data_zh",
    "training_data_en",
    "limits_zh",
    "limits_en",
    "labels",
    "size",
    "score",
];

impl DraftForm {
    /// What a browser has sent.
    pub fn typed(pairs: &FormPairs) -> Self {
        let of_models = |prefix: &str| {
            let mut all: Vec<(usize, String)> = pairs
                .0
                .iter()
                .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.parse().ok()?, value.clone())))
                .filter(|(at, _)| *at < inference::families::propose::MAX_MODELS)
                .collect();
            all.sort_by_key(|(at, _)| *at);
            all.into_iter().map(|(_, value)| value).collect()
        };
        Self {
            revision: pairs.get("revision").parse().unwrap_or(-1),
            texts: TEXTS.iter().map(|name| (*name, pairs.get(name).to_owned())).collect(),
            scenario: pairs.get("scenario").to_owned(),
            level: pairs.get("alarm_level").to_owned(),
            sign: pairs.get("alarm_sign").to_owned(),
            order: of_models("order_"),
            readings: of_models("reading_"),
            settled: pairs.all("settled").take(100).map(str::to_owned).collect(),
        }
    }

    /// What is stored.
    fn stored(draft: &Draft) -> Self {
        let (form, said) = (&*draft.form, &draft.form.said);
        let value = |name: &str| match name {
            "name" => form.name.clone(),
            "title_zh" => said.title.zh.clone(),
            "title_en" => said.title.en.clone(),
            "summary_zh" => said.summary.zh.clone(),
            "summary_en" => said.summary.en.clone(),
            "license" => said.license.clone(),
            "training_data_zh" => said.training_data.zh.clone(),
            "training_data_en" => said.training_data.en.clone(),
            "limits_zh" => said.limits.zh.clone(),
            "limits_en" => said.limits.en.clone(),
            "labels" => form.labels.join("\n"),
            "size" => form.size.map(|(width, height)| format!("{width}x{height}")).unwrap_or_default(),
            _ => said.score.map(|score| score.to_string()).unwrap_or_default(),
        };
        let (level, sign) = said.alarm.clone().map_or((None, String::new()), |(level, sign)| (Some(level), sign));
        let models = &draft.reading.models;
        let mut order = vec![String::new(); models.len()];
        let mut readings = vec![String::new(); models.len()];
        for (place, model) in models.iter().enumerate() {
            if let Some(slot) = order.get_mut(model.at) {
                *slot = (place + 1).to_string();
            }
            if let Some(slot) = readings.get_mut(model.at) {
                *slot = model.taken.to_string();
            }
        }
        Self {
            revision: draft.revision,
            texts: TEXTS.iter().map(|name| (*name, value(name))).collect(),
            scenario: said.scenario.clone(),
            level: LEVELS.iter().find(|(_, known)| Some(*known) == level).map(|(word, _)| (*word).to_owned()).unwrap_or_default(),
            sign,
            order,
            readings,
            settled: said.settled.clone(),
        }
    }

    fn text(&self, name: &str) -> &str {
        self.texts.iter().find(|(known, _)| *known == name).map(|(_, value)| value.trim()).unwrap_or_default()
    }

    /// A text in both languages.
    fn both(&self, name: &str) -> Text {
        Text { zh: self.text(&format!("{name}_zh")).to_owned(), en: self.text(&format!("{name}_en")).to_owned() }
    }

    /// What the fields mean.
    ///
    /// # Errors
    /// Fields: `size` `draft-size`, `score` `draft-score`, `scenario` `choose-one`, `alarm_level` `choose-one`, `labels` `draft-labels-many`.
    pub fn answers(&self, scenarios: &[Scenario], lang: &str) -> Result<FormAnswers> {
        let wrong = |field: &str, code| Error::field(field, code);
        let size = match self.text("size") {
            "" => None,
            text => Some(size(text).ok_or_else(|| wrong("size", "draft-size"))?),
        };
        let score = match self.text("score") {
            "" => None,
            text => {
                let score: Option<f32> = text.parse().ok().filter(|score| (0.0..=1.0).contains(score));
                Some(score.ok_or_else(|| wrong("score", "draft-score"))?)
            }
        };
        let chosen = scenarios.iter().find(|scenario| scenario.slug == self.scenario);
        if chosen.is_none() && !self.scenario.is_empty() {
            return Err(wrong("scenario", "choose-one"));
        }
        let level = LEVELS.iter().find(|(word, _)| *word == self.level).map(|(_, level)| *level);
        if level.is_none() && !self.level.is_empty() {
            return Err(wrong("alarm_level", "choose-one"));
        }
        let mut labels: Vec<String> = self.text("labels").lines().map(|line| line.trim().to_owned()).take(MAX_LABELS + 1).collect();
        if labels.len() > MAX_LABELS {
            return Err(wrong("labels", "draft-labels-many"));
        }
        while labels.last().is_some_and(String::is_empty) {
            labels.pop();
        }
        // Places that are typed anyhow still make an order; of equal ones the earlier model goes first.
        let mut order: Vec<usize> = (0..self.order.len()).collect();
        order.sort_by_key(|at| self.order.get(*at).and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(u32::MAX));
        Ok(FormAnswers {
            name: self.text("name").to_owned(),
            labels,
            size,
            order,
            readings: self.readings.iter().map(|text| text.parse().unwrap_or_default()).collect(),
            said: Said {
                title: self.both("title"),
                summary: self.both("summary"),
                specialty: chosen.map(|scenario| scenario.specialty.clone()).unwrap_or_default(),
                scenario: self.scenario.clone(),
                license: self.text("license").to_owned(),
                training_data: self.both("training_data"),
                limits: self.both("limits"),
                score,
                alarm: level.map(|level| (level, self.sign.clone())),
                settled: self.settled.clone(),
            },
            lang: if lang.starts_with("zh") { "zh".to_owned() } else { "en".to_owned() },
        })
    }
}

/// A field that is a text.
pub struct Field {
    pub input: &'static str,
    pub label: String,
    pub value: String,
    pub hint: String,
    /// Several lines.
    pub is_area: bool,
}

/// A model on the page.
pub struct ModelView {
    /// Its number among the uploaded ones, from 0.
    pub at: usize,
    pub file: String,
    pub family: String,
    pub because: Vec<String>,
    pub questions: Vec<QuestionView>,
    /// Number and family of the readings that fit, where there are several, and which is taken.
    pub readings: Vec<(String, String)>,
    pub taken: String,
    pub order: String,
}

/// A question about a model.
pub struct QuestionView {
    pub place: String,
    pub text: String,
    pub default: String,
    pub settled: bool,
}

/// A sample of the draft.
pub struct SampleView {
    pub file: String,
    /// Path of its expected result.
    pub expect: String,
    pub made: bool,
}

/// `/vendor/drafts/{id}`.
#[derive(Template)]
#[template(path = "vendor/draft.html")]
pub struct DraftPage {
    pub page: Page,
    pub id: String,
    pub state: DraftState,
    pub form: DraftForm,
    pub errors: FormErrors,
    /// Why there is no proposal: the file, and words.
    pub refusal: Option<(String, String, String)>,
    /// Whether answers may change that.
    pub may_answer: bool,
    pub several: bool,
    pub models: Vec<ModelView>,
    pub about_model: Vec<Field>,
    pub about_app: Vec<Field>,
    /// Specialties with their scenarios: slug and name.
    pub groups: Vec<(String, Vec<(String, String)>)>,
    pub scenario_label: String,
    pub signs: Vec<String>,
    pub yaml: String,
    /// What is still open, in words.
    pub open: Vec<String>,
    pub faults: Vec<(Option<u32>, String, String)>,
    pub samples: Vec<SampleView>,
    pub answered: bool,
    /// Results are there, but of the app as it was before.
    pub outdated: bool,
    pub blind: bool,
    pub fault: Option<String>,
    pub until: String,
}

impl DraftPage {
    pub fn of(
        page: Page,
        draft: &Draft,
        (specialties, scenarios): (&[SlugName], &[Scenario]),
        typed: Option<DraftForm>,
        error: Option<&Error>,
    ) -> Self {
        let reading = &*draft.reading;
        // What was typed upon an earlier state is shown upon this one: pressed again, it is stored.
        let form = typed.map_or_else(|| DraftForm::stored(draft), |typed| DraftForm { revision: draft.revision, ..typed });
        let results = &*draft.results;
        let group = |specialty: &SlugName| {
            let of = scenarios.iter().filter(|scenario| scenario.specialty == specialty.slug);
            (page.name(&specialty.name).to_owned(), of.map(|s| (s.slug.clone(), page.name(&s.name).to_owned())).collect())
        };
        let faults = if reading.yaml.is_empty() { Vec::new() } else { validate::parse(&reading.yaml).err().unwrap_or_default() };
        let is_answered = draft.is_answered();
        Self {
            id: draft.id.clone(),
            state: draft.state,
            errors: error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e)),
            refusal: reading
                .refusal
                .as_ref()
                .map(|refusal| (refusal.file.clone(), reason(&page, &refusal.code), refusal.why.get(page.lang).to_owned())),
            may_answer: draft.facts.is_some(),
            several: reading.models.len() > 1,
            models: reading.models.iter().map(|model| ModelView::of(&page, model, &form)).collect(),
            about_model: about_model(&page, reading, &form),
            about_app: about_app(&page, reading, &form),
            groups: specialties.iter().map(group).collect(),
            scenario_label: label(&page, "draft-scenario", is_open(reading, "scenario")),
            signs: reading.signs.clone(),
            yaml: reading.yaml.clone(),
            open: reading.open.iter().map(|place| open_words(&page, place)).collect::<BTreeSet<_>>().into_iter().collect(),
            faults: faults.iter().map(|fault| (fault.line, fault.key.clone(), fault.message(page.lang))).collect(),
            samples: reading
                .samples
                .iter()
                .enumerate()
                .map(|(at, (_, expect, uploaded))| SampleView {
                    file: uploaded.clone(),
                    expect: expect.clone(),
                    made: results.runs == reading.runs && at < results.expected,
                })
                .collect(),
            answered: is_answered,
            outdated: !results.runs.is_empty() && results.runs != reading.runs,
            blind: is_answered && results.blind,
            fault: results.fault.as_ref().filter(|_| results.runs == reading.runs).map(|(code, detail)| {
                let words = reason(&page, code);
                if detail.is_empty() { words } else { format!("{words} {detail}") }
            }),
            until: page.datetime(&draft.expires_at),
            form,
            page,
        }
    }
}

impl ModelView {
    fn of(page: &Page, model: &ModelReading, form: &DraftForm) -> Self {
        let several = model.families.len() > 1;
        let readings = model.families.iter().enumerate().filter(|_| several);
        let questions = model.questions.iter().map(|question| QuestionView {
            place: question.place.clone(),
            text: question.text.get(page.lang).to_owned(),
            default: page.t1("cli-init-default", "value", &question.default),
            settled: form.settled.contains(&question.place),
        });
        Self {
            at: model.at,
            file: model.file.clone(),
            family: model.family.clone(),
            because: model.because.iter().chain(&model.notes).map(|text| text.get(page.lang).to_owned()).collect(),
            questions: questions.collect(),
            readings: readings.map(|(at, family)| (at.to_string(), format!("{} · {family}", at + 1))).collect(),
            taken: form.readings.get(model.at).cloned().unwrap_or_default(),
            order: form.order.get(model.at).cloned().unwrap_or_default(),
        }
    }
}

/// Whether a place of app.yaml, or one below it, is still open.
fn is_open(reading: &Reading, place: &str) -> bool {
    reading.open.iter().any(|open| open == place)
}

/// The label of a field, with a word where it is still open.
fn label(page: &Page, key: &str, open: bool) -> String {
    if open { page.t1("draft-open-field", "label", page.t(key)) } else { page.t(key) }
}

/// A place of app.yaml in words; the place itself where it is deep in a model's step.
fn open_words(page: &Page, place: &str) -> String {
    let key = format!("draft-place-{}", place.replace(['.', '_'], "-"));
    if page.locale().has(&key) { page.t(&key) } else { place.to_owned() }
}

fn field(page: &Page, form: &DraftForm, input: &'static str, open: bool, hint: String) -> Field {
    let key = format!("draft-{}", input.replace('_', "-"));
    let is_area = input == "labels" || ["summary", "training_data", "limits"].iter().any(|area| input.starts_with(area));
    Field { input, label: label(page, &key, open), value: form.text(input).to_owned(), hint, is_area }
}

/// Fields about the first model: what its tensors leave open.
fn about_model(page: &Page, reading: &Reading, form: &DraftForm) -> Vec<Field> {
    let refused = reading.refusal.is_some();
    let asked = |ending: &str| reading.open.iter().any(|place| place.starts_with("steps[0]") && place.ends_with(ending));
    let mut fields = Vec::new();
    if refused || !reading.labels.is_empty() {
        let known: Vec<&str> = reading.labels.iter().take(6).map(String::as_str).collect();
        let more = if reading.labels.len() > known.len() { " …" } else { "" };
        let hint = page.t2("draft-labels-help", "n", reading.labels.len(), "known", format!("{}{more}", known.join(", ")));
        fields.push(field(page, form, "labels", asked(".labels") || asked(".items"), hint));
    }
    if refused || reading.size.is_some() {
        let (width, height) = reading.size.unwrap_or((640, 640));
        fields.push(field(page, form, "size", asked(".width"), page.t1("draft-size-help", "size", format!("{width}x{height}"))));
    }
    if let Some(score) = reading.score {
        fields.push(field(page, form, "score", false, page.t1("draft-score-help", "score", score)));
    }
    fields
}

/// Fields about the app: what no file says.
fn about_app(page: &Page, reading: &Reading, form: &DraftForm) -> Vec<Field> {
    let one = |input: &'static str, place: &str, help: &str| field(page, form, input, is_open(reading, place), page.t(help));
    vec![
        one("name", "name", "draft-name-help"),
        one("title_zh", "title", "draft-title-help"),
        one("title_en", "title", "draft-either-help"),
        one("summary_zh", "summary", "draft-summary-help"),
        one("summary_en", "summary", "draft-either-help"),
        one("license", "license", "draft-license-help"),
        one("training_data_zh", "card.training_data", "draft-training-data-help"),
        one("training_data_en", "card.training_data", "draft-either-help"),
        one("limits_zh", "card.limits", "draft-limits-help"),
        one("limits_en", "card.limits", "draft-either-help"),
    ]
}
