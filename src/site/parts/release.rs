//! Metrics that a release claims.

use app_package::manifest::Metric;

use crate::http::page::Page;
use crate::site::parts::report::figure;

/// One metric that the developer claims.
pub struct MetricRow {
    pub name: String,
    pub value: String,
    pub baseline: String,
    pub dataset: String,
}

impl MetricRow {
    pub fn of(page: &Page, metric: &Metric) -> Self {
        Self {
            name: metric_name(page, &metric.name),
            value: figure(metric.value),
            baseline: figure(metric.baseline),
            dataset: metric.dataset.get(page.lang).to_owned(),
        }
    }
}

/// Name of a metric in words, where app.yaml names one that is in common use; else as it stands there.
fn metric_name(page: &Page, slug: &str) -> String {
    let key = format!("metric-{slug}");
    if page.locale().has(&key) { page.t(&key) } else { slug.to_owned() }
}
