//! Scores on hidden test sets, and the one figure that says how right an app is.

use app_package::manifest::AppManifest;
use inference::check::RunCard;

use crate::evaluation::model::Metric;
use crate::evaluation::service::ScoreSummary;
use crate::http::page::Page;
use crate::release::difference::{labelled, share_right};
use crate::site::parts::report::percent;

/// How right an app is: measured by the platform on samples that nobody else has, where there is such a figure; else on the developer's
/// own samples.
pub struct Headline {
    pub label: String,
    pub value: String,
    /// On what, with the number of samples.
    pub note: String,
}

impl Headline {
    pub fn of(page: &Page, manifest: &AppManifest, card: &RunCard, scores: &[ScoreSummary]) -> Option<Self> {
        let platform = scores.iter().find_map(|score| Some((score, score.value?)));
        if let Some((score, value)) = platform {
            return Some(Self {
                label: page.t1("card-on-platform-set", "metric", page.tk("evaluation-metric-", score.metric)),
                value: figure(score.metric, value, &score.unit),
                note: page.t2("evaluation-line", "name", page.name(&score.name), "n", score.samples),
            });
        }
        let share = share_right(manifest, card)?;
        Some(Self { label: page.t("card-accuracy"), value: percent(share), note: of_labelled(page, manifest) })
    }
}

/// How many of the developer's samples are labelled.
pub fn of_labelled(page: &Page, manifest: &AppManifest) -> String {
    page.t2("card-labelled", "n", labelled(manifest), "total", manifest.golden.len())
}

/// The share of the developer's labelled samples that is judged right, with how many there are.
pub fn own_share(page: &Page, manifest: &AppManifest, share: f64) -> String {
    format!("{} · {}", percent(share), of_labelled(page, manifest))
}

/// A figure as it is read: a share or rate in percent, mAP and an error of counts with three digits after the point, another error with its unit.
pub fn figure(metric: Metric, value: f64, unit: &str) -> String {
    match metric {
        Metric::Accuracy | Metric::Cer | Metric::EventF1 | Metric::EventPrecision | Metric::EventRecall => {
            format!("{:.1} %", value * 100.0)
        }
        Metric::Map50 | Metric::MaskMap50 | Metric::OksMap50 | Metric::CrossingMae => format!("{value:.3}"),
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
    /// Explanation of the figure, or the reason why there is none.
    pub text: String,
    /// How many samples gave no answer; empty for none.
    pub failures: String,
    /// Day of the scoring.
    pub date: String,
    /// Change from the version before: colour and words.
    pub change: Option<(&'static str, String)>,
}

impl ScoreView {
    pub fn of(page: &Page, shown: &ScoreSummary) -> Self {
        let text = match &shown.reason {
            Some(code) => reason(page, code),
            None => page.tk("evaluation-metric-text-", shown.metric),
        };
        let value = shown.value.map(|value| figure(shown.metric, value, &shown.unit));
        let failures =
            if shown.failures > 0 && shown.value.is_some() { page.t1("evaluation-failures", "n", shown.failures) } else { String::new() };
        Self {
            title: page.t2("evaluation-line", "name", page.name(&shown.name), "n", shown.samples),
            metric: page.tk("evaluation-metric-", shown.metric),
            change: shown.value.and_then(|value| Some(change(page, shown, value, shown.previous.as_ref()?))),
            value: value.unwrap_or_default(),
            text,
            failures,
            date: page.date(&shown.at),
        }
    }
}

/// Better, worse or the same as the version before, by the figures as rounded for display.
fn change(page: &Page, shown: &ScoreSummary, value: f64, (version, before): &(String, f64)) -> (&'static str, String) {
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

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::base::db::Timestamp;
    use crate::base::i18n::Names;
    use crate::testing;

    #[test]
    fn what_the_platform_has_measured_on_its_hidden_set_comes_before_the_developers_samples() {
        let page = Page::of(&TestRequest::default().insert_header(("accept-language", "en")).to_http_request(), "");
        let yaml = String::from_utf8(testing::demo_app("belt-foreign-object")["app.yaml"].clone()).unwrap();
        let manifest = app_package::validate::parse(&yaml).unwrap();
        let card: RunCard = serde_json::from_value(serde_json::json!({
            "engine": "onnxruntime", "engine_version": "1", "hardware": {"cpu": "x", "cores": 2, "architecture": "amd64"}, "accuracy": 0.5,
            "golden_total": 2, "latency_ms": {"median": 1.0, "p95": 1.0}, "load_ms": 1.0, "peak_memory_bytes": 1, "model_bytes": 1, "input": "1",
        }))
        .unwrap();
        let score = |value: Option<f64>| ScoreSummary {
            name: Names { zh: "集".into(), en: "Set".into() },
            samples: 40,
            metric: Metric::Accuracy,
            unit: String::new(),
            value,
            failures: 0,
            reason: None,
            at: Timestamp::from_unix(0),
            previous: None,
        };
        let shown = |scores: &[ScoreSummary]| Headline::of(&page, &manifest, &card, scores).map(|headline| headline.value);
        assert_eq!(shown(&[score(None), score(Some(0.875))]).as_deref(), Some("87.5 %"));
        assert_eq!(shown(&[score(None)]).as_deref(), Some("50.0 %"), "a set that gave no figure says nothing");
        assert_eq!(shown(&[]).as_deref(), Some("50.0 %"));
    }
}
