//! Pages of hidden test sets, and a score as listings and cases show it.

use askama::Template;
use inference::evaluate::archive::Fault;
use serde::Serialize;

use super::model::ScoreLine;
use super::model::{Metric, TestSet};
use super::service::{Choices, SetDetail, SetLine, Shown};
use crate::base::i18n::Lang;
use crate::http::page::Page;

/// A figure as it is read: a share in percent, mAP with three digits after the point, an error with its unit.
pub fn figure(metric: Metric, value: f64, unit: &str) -> String {
    match metric {
        Metric::Accuracy => format!("{:.1} %", value * 100.0),
        Metric::Map50 => format!("{value:.3}"),
        Metric::Rmse | Metric::Mae => {
            let digits = if value >= 100.0 { 1 } else { 3 };
            let small = value != 0.0 && value.abs() < 0.001;
            let number = if small { format!("{value:.2e}") } else { format!("{value:.digits$}") };
            if unit.is_empty() { number } else { format!("{number} {unit}") }
        }
    }
}

/// Why there is no figure, in words.
pub fn reason(page: &Page, code: &str) -> String {
    let key = format!("evaluation-reason-{}", if code.starts_with("crashed") { "crashed" } else { code });
    if page.locale().has(&key) { page.t(&key) } else { page.t1("evaluation-reason-other", "code", code) }
}

/// A score, for the macro `ui::test_scores`.
pub struct ScoreView {
    /// Name of the set and how many samples it has.
    pub title: String,
    /// Name of the figure.
    pub metric: String,
    /// The figure; empty where there is a reason.
    pub value: String,
    /// What the figure says, or why there is none.
    pub text: String,
    /// How many samples gave no answer; empty for none.
    pub failures: String,
    /// Day of the scoring.
    pub date: String,
    /// Against the version before: colour and words.
    pub change: Option<(&'static str, String)>,
}

impl ScoreView {
    /// In the page's language.
    pub fn of(page: &Page, shown: &Shown) -> Self {
        let text = match &shown.reason {
            Some(code) => reason(page, code),
            None => page.tk("evaluation-metric-text-", shown.metric),
        };
        let value = shown.value.map(|value| figure(shown.metric, value, &shown.unit));
        let failures =
            if shown.failures > 0 && shown.value.is_some() { page.t1("evaluation-failures", "n", shown.failures) } else { String::new() };
        Self {
            title: page.t2("evaluation-line", "name", page.pick(&shown.name.0, &shown.name.1), "n", shown.samples),
            metric: page.tk("evaluation-metric-", shown.metric),
            change: shown.value.and_then(|value| Some(change(page, shown, value, shown.previous.as_ref()?))),
            value: value.unwrap_or_default(),
            text,
            failures,
            date: page.date(&shown.at),
        }
    }
}

/// Better, worse or the same as the version before, as far as the figures shown tell.
fn change(page: &Page, shown: &Shown, value: f64, (version, before): &(String, f64)) -> (&'static str, String) {
    let old = figure(shown.metric, *before, &shown.unit);
    let (tone, key) = if figure(shown.metric, value, &shown.unit) == old {
        ("grey", "evaluation-same")
    } else if (value > *before) == shown.metric.engine().higher_is_better() {
        ("green", "evaluation-better")
    } else {
        ("amber", "evaluation-worse")
    };
    (tone, page.t2(key, "version", version, "value", old))
}

/// A set in a list.
pub struct SetRow {
    pub href: String,
    pub name: String,
    pub scenario: String,
    pub metric: String,
    pub samples: String,
    pub scored: String,
    pub state: &'static str,
    pub created: String,
}

fn state(set: &TestSet) -> &'static str {
    if set.retired_at.is_some() { "retired" } else { "active" }
}

impl SetRow {
    /// Of a line.
    pub fn of(page: &Page, line: &SetLine) -> Self {
        let set = &line.set;
        Self {
            href: format!("/admin/evaluation/{}", set.id),
            name: page.pick(&set.name_zh, &set.name_en).to_owned(),
            scenario: page.pick(&line.scenario.0, &line.scenario.1).to_owned(),
            metric: page.tk("evaluation-metric-", set.metric),
            samples: page.count(&set.samples),
            scored: page.count(&line.scored),
            state: state(set),
            created: page.date(&set.created_at),
        }
    }
}

/// `/admin/evaluation`.
#[derive(Template)]
#[template(path = "evaluation/sets.html")]
pub struct SetsPage {
    pub page: Page,
    pub rows: Vec<SetRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// `/admin/evaluation/new`.
#[derive(Template)]
#[template(path = "evaluation/new.html")]
pub struct NewSetPage {
    pub page: Page,
    /// Specialties with their scenarios (slug, name).
    pub groups: Vec<(String, Vec<(String, String)>)>,
    /// Words of figures.
    pub metrics: Vec<&'static str>,
}

impl NewSetPage {
    /// With the choices in the page's language.
    pub fn of(page: Page, choices: &Choices) -> Self {
        let groups = choices
            .iter()
            .map(|((zh, en), scenarios)| {
                let scenarios = scenarios.iter().map(|(slug, zh, en)| (slug.clone(), page.pick(zh, en).to_owned())).collect();
                (page.pick(zh, en).to_owned(), scenarios)
            })
            .collect();
        Self { groups, metrics: Metric::ALL.iter().map(|metric| metric.as_str()).collect(), page }
    }
}

/// An outcome on the page of its set.
pub struct ScoreRow {
    pub app: String,
    pub href: String,
    pub version: String,
    pub vendor: String,
    pub value: String,
    pub reason: String,
    pub failures: String,
    pub ran_on: String,
    pub at: String,
}

impl ScoreRow {
    fn of(page: &Page, set: &TestSet, (score, version, app, vendor, (vendor_slug, slug)): &ScoreLine) -> Self {
        Self {
            app: page.pick(&app.0, &app.1).to_owned(),
            href: format!("/apps/{vendor_slug}/{slug}?preview={}", score.release_id),
            version: version.clone(),
            vendor: page.pick(&vendor.0, &vendor.1).to_owned(),
            value: score.value.map(|value| figure(set.metric, value, &set.unit)).unwrap_or_default(),
            reason: score.reason.as_deref().map(|code| reason(page, code)).unwrap_or_default(),
            failures: page.count(&score.failures),
            ran_on: [score.engine.as_str(), score.hardware.as_str()].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" · "),
            at: page.datetime(&score.scored_at),
        }
    }
}

/// `/admin/evaluation/{id}`.
#[derive(Template)]
#[template(path = "evaluation/set.html")]
pub struct SetPage {
    pub page: Page,
    pub id: String,
    pub set: SetRow,
    pub input: String,
    pub size: String,
    pub digest: String,
    pub created_by: String,
    pub retired: Option<String>,
    pub metric_text: String,
    pub confirm: String,
    pub rows: Vec<ScoreRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

impl SetPage {
    /// With the outcomes of one page.
    pub fn of(page: Page, detail: &SetDetail, previous: Option<String>, next: Option<String>) -> Self {
        let set = &detail.line.set;
        let row = SetRow::of(&page, &detail.line);
        Self {
            id: set.id.clone(),
            input: page.tk("input-", &set.input),
            size: page.bytes(&set.size_bytes),
            digest: set.digest.clone(),
            created_by: detail.created_by.clone(),
            retired: set.retired_at.map(|at| page.datetime(&at)),
            metric_text: page.tk("evaluation-metric-text-", set.metric),
            confirm: page.t2("evaluation-retire-confirm", "name", &row.name, "n", detail.line.scored),
            rows: detail.scores.iter().map(|line| ScoreRow::of(&page, set, line)).collect(),
            set: row,
            previous,
            next,
            page,
        }
    }
}

/// A fault of an archive for `js/evaluation.js`.
#[derive(Debug, Serialize)]
pub struct FaultView {
    /// Path in the archive, or place in its index.
    pub place: String,
    /// Stable word.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl FaultView {
    /// In a language.
    pub fn of(lang: Lang, fault: &Fault) -> Self {
        let message = lang.format(&format!("evaluation-fault-{}", fault.code), &[("detail", &fault.detail)]);
        Self { place: fault.place.clone(), code: fault.code, message }
    }
}
