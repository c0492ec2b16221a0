//! `/metrics` in the Prometheus text format.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::HttpResponse;

use super::Shared;
use crate::agent::Agent;
use crate::sources::live::{Fares, Live};
use crate::sources::sensors;
use crate::telemetry;

/// A label value: backslash, quote and line break escaped, as the format asks.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes one metric family: help, type and samples.
fn family(out: &mut String, name: &str, kind: &str, help: &str, samples: &[(String, f64)]) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus numbers are doubles")]
pub(super) async fn metrics(agent: Shared) -> HttpResponse {
    let apps = agent.apps.all();
    let of = |value: &dyn Fn(&crate::apps::Running) -> Option<f64>| -> Vec<(String, f64)> {
        let labels = |a: &crate::apps::Running| {
            let (app, id) = (escaped(a.wanted.app()), escaped(&a.wanted.id));
            format!("{{app=\"{app}\",version=\"{}\",deployment=\"{id}\"}}", a.wanted.release.version)
        };
        apps.iter().filter_map(|a| Some((labels(a), value(a)?))).collect()
    };
    let mut out = String::new();
    let mut app = |name: &str, kind: &str, help: &str, value: &dyn Fn(&crate::apps::Running) -> Option<f64>| {
        family(&mut out, name, kind, help, &of(value));
    };
    app("pithead_edge_app_up", "gauge", "1 while the app's process runs.", &|a| Some(f64::from(u8::from(a.process.pid().is_some()))));
    app("pithead_edge_inferences_total", "counter", "Inferences done.", &|a| Some(a.stats.inferences.load(Ordering::Relaxed) as f64));
    app("pithead_edge_errors_total", "counter", "Inferences failed.", &|a| Some(a.stats.errors.load(Ordering::Relaxed) as f64));
    app("pithead_edge_restarts_total", "counter", "Restarts of the app's process.", &|a| {
        Some(a.stats.restarts.load(Ordering::Relaxed) as f64)
    });
    app("pithead_edge_latency_p50_ms", "gauge", "Median latency of the last inferences.", &|a| a.stats.quantiles().map(|q| q.0));
    app("pithead_edge_latency_p95_ms", "gauge", "95th percentile of latency of the last inferences.", &|a| {
        a.stats.quantiles().map(|q| q.1)
    });
    app("pithead_edge_app_memory_bytes", "gauge", "Resident memory of the app's process.", &|a| {
        a.process.pid().and_then(telemetry::resident).map(|b| b as f64)
    });
    app("pithead_edge_license_valid", "gauge", "1 while the licence is valid.", &|a| Some(f64::from(u8::from(a.warning().is_none()))));
    let (counts, (episodes, suppressed)) = (agent.outbox.counts(), agent.episodes.counts());
    let (contact, trouble) = (agent.link.last(), agent.link.trouble());
    let state = agent.state.get();
    for (name, kind, help, value) in [
        ("pithead_edge_outbox_alarms", "gauge", "Alarms waiting for the server.", counts.alarms as f64),
        ("pithead_edge_outbox_records", "gauge", "States and counters waiting for the server.", counts.others as f64),
        ("pithead_edge_episodes_open", "gauge", "Alarms that go on.", episodes as f64),
        (
            "pithead_edge_alarms_dropped_total",
            "counter",
            "Alarms lost: too many waited, or the agent ended while its disk was full.",
            counts.dropped as f64,
        ),
        ("pithead_edge_alarms_suppressed_total", "counter", "Alarms over the rate of their rule.", suppressed as f64),
        ("pithead_edge_clock_wrong", "gauge", "1 while the machine's clock is wrong.", f64::from(u8::from(agent.clock.fault().is_some()))),
        ("pithead_edge_manifest_version", "gauge", "Version of the desired state last taken.", state.manifest_version as f64),
        ("pithead_edge_deployments_desired", "gauge", "Deployments wanted.", state.desired.len() as f64),
        ("pithead_edge_server_reachable", "gauge", "1 when the last call to the server went well.", f64::from(u8::from(trouble.is_none()))),
        (
            "pithead_edge_last_contact_seconds",
            "gauge",
            "Time of the last contact with the server.",
            contact.map_or(0.0, |t| t.timestamp() as f64),
        ),
    ] {
        family(&mut out, name, kind, help, &[(String::new(), value)]);
    }
    of_sources(&mut out, &agent);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(out)
}

/// Figures of each source, and of each app that looks at it.
#[expect(clippy::cast_precision_loss, reason = "Prometheus numbers are doubles")]
fn of_sources(out: &mut String, agent: &Agent) {
    let all = agent.sources.all();
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed) as f64;
    let mut source = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Live) -> f64| {
        let samples: Vec<_> = all.iter().map(|live| (format!("{{source=\"{}\"}}", live.source.id), value(live))).collect();
        family(out, name, kind, help, &samples);
    };
    source("pithead_edge_source_up", "gauge", "1 while the source gives frames or values.", &|live| {
        let gives = live.newest().is_some() || sensors::readings(live).iter().any(|reading| reading.value.is_some());
        f64::from(u8::from(gives && live.standing().fault.is_none()))
    });
    source("pithead_edge_source_frames_total", "counter", "Frames of the source.", &|live| count(&live.decoded));
    source("pithead_edge_source_skipped_total", "counter", "Pieces of the stream that the decoder did not come to.", &|live| {
        count(&live.skipped)
    });
    source("pithead_edge_source_restarts_total", "counter", "Times that the source was begun anew.", &|live| count(&live.restarts));
    source("pithead_edge_source_troubles", "gauge", "Troubles of the picture that are told now.", &|live| {
        live.standing().troubles.len() as f64
    });
    let mut app = |name: &str, help: &str, value: &dyn Fn(&Fares) -> &AtomicU64| {
        let of = |live: &Arc<Live>| {
            let label = |app: &str| format!("{{source=\"{}\",app=\"{}\"}}", live.source.id, escaped(app));
            live.apps.iter().map(|(app, fares)| (label(app), count(value(fares)))).collect::<Vec<_>>()
        };
        family(out, name, "counter", help, &all.iter().flat_map(of).collect::<Vec<_>>());
    };
    app("pithead_edge_source_answered_total", "Frames that the app has answered.", &|fares| &fares.answered);
    app("pithead_edge_source_dropped_total", "Frames that came while the app was busy.", &|fares| &fares.dropped);
    app("pithead_edge_source_late_total", "Frames that were too old for the app.", &|fares| &fares.late);
    app("pithead_edge_source_unusable_total", "Frames in which nothing could be seen.", &|fares| &fares.unusable);
}
