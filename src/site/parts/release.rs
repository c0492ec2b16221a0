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
            name: metric_name(page, metric),
            value: figure(metric.value),
            baseline: figure(metric.baseline),
            dataset: metric.dataset.get(page.lang).to_owned(),
        }
    }
}

/// Name of a metric in words: the developer's, or the platform's for one that is in common use; else as it stands in app.yaml.
fn metric_name(page: &Page, metric: &Metric) -> String {
    let key = format!("metric-{}", metric.name);
    match &metric.title {
        Some(title) => title.get(page.lang).to_owned(),
        None if page.locale().has(&key) => page.t(&key),
        None => metric.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn figures_of_the_demo_have_words_in_both_languages() {
        let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        let folders = ["apps", "format-2"].map(|folder| std::fs::read_dir(demo.join(folder)).unwrap()).into_iter().flatten();
        let mut figures = 0;
        for yaml in folders.filter_map(|folder| std::fs::read_to_string(folder.unwrap().path().join("app.yaml")).ok()) {
            let manifest = app_package::validate::parse(&yaml).unwrap();
            for lang in ["zh-CN", "en"] {
                let page = Page::of(&TestRequest::default().insert_header(("accept-language", lang)).to_http_request(), "");
                for metric in &manifest.card.metrics {
                    let row = MetricRow::of(&page, metric);
                    assert!(row.name != metric.name && !row.name.is_empty(), "{} {lang}: {}", manifest.name, row.name);
                    figures += 1;
                }
            }
        }
        assert!(figures > 100, "{figures}");
    }
}
