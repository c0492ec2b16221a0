//! The set, the score, and what an administrator says of a new set.

use diesel::prelude::*;
use inference::evaluate::metrics;

use crate::base::db::{Timestamp, schema};
use crate::base::error::{Error, Faults, Result};
use crate::catalog::model::SlugName;

/// Longest name in characters.
const MAX_NAME: usize = 60;

crate::base::db::types::text_enum! {
    /// The figure of a set; formulas and sources in [`inference::evaluate::metrics`].
    pub enum Metric {
        /// Share of samples whose best class is the expected one.
        Accuracy = "accuracy",
        /// Mean average precision of boxes at an overlap of 0.5.
        Map50 = "map-50",
        /// The same of masks.
        MaskMap50 = "mask-map-50",
        /// The same of points, by object keypoint similarity.
        OksMap50 = "oks-map-50",
        /// Root mean square error of a value.
        Rmse = "rmse",
        /// Mean absolute error of a value.
        Mae = "mae",
        /// Character error rate of texts.
        Cer = "cer",
        /// F1 of what happened in clips.
        EventF1 = "event-f1",
        /// Precision of the same.
        EventPrecision = "event-precision",
        /// Recall of the same.
        EventRecall = "event-recall",
        /// Mean absolute error of how often lines were crossed.
        CrossingMae = "crossing-mae",
    }
}

impl Metric {
    /// A figure as precise as it is shown, so that no list or record tells more: a share in tenths of a percent, others with three digits
    /// after the point, from 100 on with one, below 0.001 with three digits in all.
    pub fn rounded(self, value: f64) -> f64 {
        let text = match self {
            Self::Rmse | Self::Mae if value >= 100.0 => format!("{value:.1}"),
            Self::Rmse | Self::Mae if value != 0.0 && value.abs() < 0.001 => format!("{value:.2e}"),
            _ => format!("{value:.3}"),
        };
        text.parse().unwrap_or(value)
    }

    /// The engine's value for this metric.
    pub fn engine(self) -> metrics::Metric {
        match self {
            Self::Accuracy => metrics::Metric::Accuracy,
            Self::Map50 => metrics::Metric::Map50,
            Self::MaskMap50 => metrics::Metric::MaskMap50,
            Self::OksMap50 => metrics::Metric::OksMap50,
            Self::Rmse => metrics::Metric::Rmse,
            Self::Mae => metrics::Metric::Mae,
            Self::Cer => metrics::Metric::Cer,
            Self::EventF1 => metrics::Metric::EventF1,
            Self::EventPrecision => metrics::Metric::EventPrecision,
            Self::EventRecall => metrics::Metric::EventRecall,
            Self::CrossingMae => metrics::Metric::CrossingMae,
        }
    }
}

/// A hidden test set.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::evaluation_sets)]
pub struct TestSet {
    /// `evs_…`.
    pub id: String,
    /// Scenario slug of the taxonomy.
    pub scenario: String,
    /// Name in Chinese.
    pub name_zh: String,
    /// Name in English.
    pub name_en: String,
    pub metric: Metric,
    /// What its inputs are, as in app.yaml.
    pub input: String,
    /// Unit of the value whose error is the figure; empty for the other metrics.
    pub unit: String,
    pub samples: i64,
    /// Digest of the archive.
    pub digest: String,
    /// Bytes of the archive.
    pub size_bytes: i64,
    /// Who made it.
    pub created_by: String,
    pub created_at: Timestamp,
    /// Since when its scores are shown no more.
    pub retired_at: Option<Timestamp>,
}

/// Outcome of a release on a set.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::evaluation_scores)]
pub struct Score {
    pub release_id: String,
    pub set_id: String,
    /// Digest of the release's manifest.
    pub digest: String,
    /// The figure; none where there is a reason.
    pub value: Option<f64>,
    /// Samples of the set.
    pub samples: i64,
    /// Samples that gave no answer.
    pub failures: i64,
    /// Stable code of why there is no figure.
    pub reason: Option<String>,
    /// Engine with version; empty where none ran.
    pub engine: String,
    /// Machine; empty where none ran.
    pub hardware: String,
    pub scored_at: Timestamp,
}

/// What an administrator says of a new set, beside its archive.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct SetForm {
    pub scenario: String,
    /// Name in Chinese.
    pub name_zh: String,
    /// Name in English.
    pub name_en: String,
    /// Word of a [`Metric`].
    pub metric: String,
}

impl SetForm {
    /// The names, trimmed, and the figure.
    ///
    /// # Errors
    /// Wrong fields: `required`, `too-short`, `too-long`, `control-characters`, `choose-one`.
    pub fn checked(&self) -> Result<(String, String, Metric)> {
        let mut faults = Faults::default();
        let zh = faults.text("name_zh", &self.name_zh, 2, MAX_NAME);
        let en = faults.text("name_en", &self.name_en, 2, MAX_NAME);
        let metric = self.metric.parse::<Metric>();
        if metric.is_err() {
            faults.add("metric", "choose-one");
        }
        if self.scenario.is_empty() {
            faults.add("scenario", "choose-one");
        }
        faults.check()?;
        Ok((zh, en, metric.map_err(|_| Error::field("metric", "choose-one"))?))
    }
}

/// An outcome in a list.
#[derive(Debug, Clone, Queryable)]
pub struct ScoreLine {
    pub score: Score,
    /// Version of its release.
    pub version: String,
    pub app: SlugName,
    pub vendor: SlugName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_engine() {
        for metric in Metric::ALL {
            assert_eq!(metric.as_str(), metric.engine().as_str());
        }
    }

    #[test]
    fn figures_are_kept_as_they_are_shown() {
        assert_eq!((Metric::Accuracy.rounded(0.912_345), Metric::Map50.rounded(0.499_501)), (0.912, 0.5));
        assert_eq!((Metric::Mae.rounded(1.493_195_5), Metric::Mae.rounded(1_234.567)), (1.493, 1_234.6));
        assert_eq!((Metric::Rmse.rounded(0.000_123_456), Metric::Rmse.rounded(0.0)), (0.000_123, 0.0));
    }

    #[test]
    fn a_set_needs_names_a_scenario_and_a_figure() {
        let empty = SetForm::default().checked().unwrap_err();
        let fields: Vec<&str> = empty.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(fields, ["name_zh", "name_en", "metric", "scenario"]);
        let form =
            SetForm { scenario: "coke-quality".into(), name_zh: " 焦炭盲测集 ".into(), name_en: "Coke".into(), metric: "mae".into() };
        assert_eq!(form.checked().unwrap(), ("焦炭盲测集".into(), "Coke".into(), Metric::Mae));
    }
}
