//! The data of plots (docs/UI.md), made from samples. Pure.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::Serialize;

use super::model::{AppSample, NodeSample};
use crate::base::i18n::Lang;

crate::base::db::types::text_enum! {
    /// The figure that is plotted.
    pub enum Plot {
        /// Latency, median and 95th percentile.
        Latency = "latency",
        /// Inferences per minute.
        Inferences = "inferences",
        /// Resident memory of the apps.
        Memory = "memory",
        /// Load of the node's processor.
        Cpu = "cpu",
    }
}

/// The time that a plot covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// An hour, a point a minute.
    Hour,
    /// A day, a point every ten minutes.
    Day,
}

impl Span {
    /// The span for the number of hours in an address.
    pub fn of_hours(hours: Option<&str>) -> Self {
        if hours == Some("24") { Self::Day } else { Self::Hour }
    }

    pub fn length(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
        }
    }

    /// Milliseconds that one point stands for.
    fn bucket(self) -> i64 {
        match self {
            Self::Hour => 60_000,
            Self::Day => 600_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlotData {
    /// Unit of the values.
    pub unit: &'static str,
    pub series: Vec<Series>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Milliseconds since 1970, and the value; none where nothing was reported.
    pub data: Vec<(i64, Option<f64>)>,
}

fn line(unit: &'static str, series: Vec<Series>) -> PlotData {
    PlotData { unit, series: series.into_iter().filter(|s| !s.data.is_empty()).collect() }
}

/// The plot of the processor's load.
pub fn node(lang: Lang, samples: &[NodeSample], span: Span) -> PlotData {
    let mut means = Buckets::new(span);
    for sample in samples {
        means.add(sample.at.utc().timestamp_millis(), sample.cpu_percent, 1.0);
    }
    line("%", vec![Series { name: lang.t("telemetry-plot-cpu"), data: means.points() }])
}

/// A plot of some apps. `samples` are sorted by app and time. The latency has two lines for a single app, one for each of several.
pub fn apps(lang: Lang, plot: Plot, named: &[(&str, &str)], samples: &[AppSample], span: Span) -> PlotData {
    let of = |id: &str| samples.iter().filter(|s| s.deployment_id == id).cloned().collect::<Vec<_>>();
    let mut series = Vec::new();
    for (id, name) in named {
        let samples = of(id);
        match plot {
            Plot::Latency if named.len() == 1 => {
                series.push(Series { name: lang.t("telemetry-plot-p50"), data: latency(&samples, span, |s| s.p50_ms) });
                series.push(Series { name: lang.t("telemetry-plot-p95"), data: latency(&samples, span, |s| s.p95_ms) });
            }
            Plot::Latency => {
                let name = lang.format("telemetry-plot-p95-of", &[("app", name)]);
                series.push(Series { name, data: latency(&samples, span, |s| s.p95_ms) });
            }
            Plot::Inferences => series.push(Series { name: (*name).to_owned(), data: per_minute(&samples, span) }),
            Plot::Memory | Plot::Cpu => series.push(Series { name: (*name).to_owned(), data: memory(&samples, span) }),
        }
    }
    let unit = match plot {
        Plot::Latency => "ms",
        Plot::Inferences => "",
        Plot::Memory | Plot::Cpu => "MiB",
    };
    line(unit, series)
}

/// Mean latency over samples with an inference since the one before: a node goes on to report what its last inferences took, for as long as
/// nothing comes in.
fn latency(samples: &[AppSample], span: Span, value: impl Fn(&AppSample) -> f64) -> Vec<(i64, Option<f64>)> {
    let mut means = Buckets::new(span);
    for pair in samples.windows(2) {
        let [before, after] = pair else { continue };
        if after.inferences != before.inferences && after.p95_ms > 0.0 {
            means.add(after.at.utc().timestamp_millis(), value(after), 1.0);
        }
    }
    means.points()
}

fn memory(samples: &[AppSample], span: Span) -> Vec<(i64, Option<f64>)> {
    let mut means = Buckets::new(span);
    for sample in samples.iter().filter(|s| s.memory_bytes > 0) {
        means.add(sample.at.utc().timestamp_millis(), number(sample.memory_bytes) / 1_048_576.0, 1.0);
    }
    means.points()
}

/// Inferences per minute out of counts since the agent's start. A falling count means a restart of the agent, so the whole count is new.
/// A rate is over the time between its two samples, however long the line was down in between.
fn per_minute(samples: &[AppSample], span: Span) -> Vec<(i64, Option<f64>)> {
    let mut sums = Buckets::new(span);
    for pair in samples.windows(2) {
        let [before, after] = pair else { continue };
        let minutes = number((after.at.utc() - before.at.utc()).num_milliseconds()) / 60_000.0;
        if minutes <= 0.0 {
            continue;
        }
        let done =
            if after.inferences >= before.inferences { after.inferences.saturating_sub(before.inferences) } else { after.inferences };
        sums.add(after.at.utc().timestamp_millis(), number(done), minutes);
    }
    sums.points()
}

/// A count or size as a float: exact up to 2^53.
fn number(n: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
    let value = n as f64;
    value
}

/// Weighted means over equal times.
struct Buckets {
    width: i64,
    sums: BTreeMap<i64, (f64, f64)>,
}

impl Buckets {
    fn new(span: Span) -> Self {
        Self { width: span.bucket(), sums: BTreeMap::new() }
    }

    /// Adds a value; the bucket's value is the sum of the values over the sum of the weights.
    fn add(&mut self, at: i64, value: f64, weight: f64) {
        let sum = self.sums.entry(at.div_euclid(self.width)).or_default();
        sum.0 += value;
        sum.1 += weight;
    }

    /// One point per bucket, none for a bucket without samples: a line must not bridge times without data.
    fn points(self) -> Vec<(i64, Option<f64>)> {
        let (Some(first), Some(last)) = (self.sums.keys().next().copied(), self.sums.keys().next_back().copied()) else {
            return Vec::new();
        };
        (first..=last)
            .map(|bucket| {
                let value = self.sums.get(&bucket).map(|(sum, weight)| (sum / weight * 100.0).round() / 100.0);
                (bucket.saturating_mul(self.width), value)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::Timestamp;

    fn sample(seconds: i64, inferences: i64) -> AppSample {
        AppSample {
            deployment_id: "d".into(),
            at: Timestamp::from_unix(seconds),
            inferences,
            errors: 0,
            p50_ms: 1.0,
            p95_ms: 3.0,
            memory_bytes: 2 * 1_048_576,
            restarts: 0,
        }
    }

    #[test]
    fn a_count_that_begins_anew_is_no_negative_rate() {
        let samples = [sample(0, 100), sample(30, 130), sample(60, 10), sample(90, 40)];
        // 30 in the first half minute; after the restart 10 and 30 in the next minute.
        assert_eq!(per_minute(&samples, Span::Hour), [(0, Some(60.0)), (60_000, Some(40.0))]);
    }

    #[test]
    fn a_long_gap_is_no_spike() {
        let samples = [sample(0, 0), sample(600, 600)];
        assert_eq!(per_minute(&samples, Span::Hour), [(600_000, Some(60.0))]);
    }

    #[test]
    fn gaps_show() {
        let samples = [sample(-30, 0), sample(0, 1), sample(120, 2), sample(180, 2), sample(240, 2)];
        let data = apps(Lang::En, Plot::Latency, &[("d", "App")], &samples, Span::Hour);
        assert_eq!(data.series.len(), 2);
        // And after the last inference nothing goes on.
        assert_eq!(data.series[1].data, [(0, Some(3.0)), (60_000, None), (120_000, Some(3.0))]);
        let json = serde_json::to_value(&data).unwrap();
        assert_eq!(json["series"][0]["data"][1], serde_json::json!([60000, null]));
    }

    #[test]
    fn nothing_gives_no_series() {
        assert!(apps(Lang::En, Plot::Memory, &[("d", "App")], &[], Span::Day).series.is_empty());
    }
}
