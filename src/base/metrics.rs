//! Prometheus metrics, served at `/metrics`.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by kind of route and status class.
    pub requests: Family<[(&'static str, &'static str); 2], Counter>,
    /// Seconds until the response head.
    pub seconds: Histogram,
    /// Requests by class of load and what became of them: `admitted`, of these `queued` before, and `shed`.
    pub load: Family<[(&'static str, &'static str); 2], Counter>,
    /// Jobs by outcome.
    pub jobs: Family<[(&'static str, &'static str); 1], Counter>,
    /// Resident memory in bytes, read at each scrape.
    memory: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pithead");
        let requests = Family::default();
        let seconds = Histogram::new(exponential_buckets(0.000_5, 2.0, 14));
        let load = Family::default();
        let jobs = Family::default();
        let memory = Gauge::default();
        registry.register("http_requests", "HTTP requests", requests.clone());
        registry.register("http_request_seconds", "Time to the response head", seconds.clone());
        registry.register("load", "Requests by class: admitted, of these queued before, and shed", load.clone());
        registry.register("jobs", "Jobs run", jobs.clone());
        registry.register("resident_memory_bytes", "Resident memory", memory.clone());
        Self { registry, requests, seconds, load, jobs, memory }
    }
}

impl Metrics {
    /// The text exposition format.
    pub fn render(&self) -> String {
        self.memory.set(resident_bytes());
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut out, &self.registry);
        out
    }
}

/// Resident memory of this process from `/proc/self/statm` (pages of 4 KiB), 0 where there is none.
fn resident_bytes() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<i64>().ok()).unwrap_or(0) * 4096
}
