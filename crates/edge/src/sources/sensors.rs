//! Sensors as sources: their values become rows on a fixed clock ([`Rows`]), and apps of series and tables are given the last rows.
//!
//! Invariants: a source feeds any number of apps, each at its own pace; where no channel has a value no app is asked, and one of safety class says
//! so; what an app found goes on as an alarm until its next answer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use app_package::digest::Digest;
use app_package::manifest::{AppManifest, InputKind};
use app_package::pipeline::{Drawn, Pre};
use reqwest::Url;
use serde_json::{Map, Value, json};
use tokio::time::MissedTickBehavior;

use super::bind::not_running;
use super::config::{Binding, Kind};
use super::live::{Fares, Live};
pub use super::rows::Reading;
use super::rows::Rows;
use crate::agent::Agent;
use crate::fault::Fault;
use crate::local::{INFERENCE, raise, words};
use crate::wire::Request;

mod modbus;
mod mqtt;

/// Where what is set is no time.
const USUAL: Duration = Duration::from_secs(5);
/// Code where no value of any channel has come for longer than `stale`.
const SILENT: &str = "source-silent";

fn fault(code: &'static str, message: impl Into<String>) -> Fault {
    Fault::new(code, "source", message)
}

fn unreachable(why: impl std::fmt::Display) -> Fault {
    fault("source-unreachable", why.to_string().chars().take(300).collect::<String>())
}

/// The host of an address, an IPv6 address without its brackets.
fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(USUAL)
}

fn locked(rows: &Mutex<Rows>) -> MutexGuard<'_, Rows> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the channels of a source stand now; none of what is no sensor source.
pub fn readings(live: &Live) -> Vec<Reading> {
    live.rows.as_ref().map(|rows| locked(rows).readings(Instant::now())).unwrap_or_default()
}

/// Takes values until that fails. Codes `source-unreachable`, `source-untrusted`, `credentials-refused`.
pub async fn run(agent: &Agent, live: &Live) -> Fault {
    let source = &live.source;
    let (Some(sensors), Some(rows), Ok(url)) = (&source.sensors, &live.rows, Url::parse(&source.address)) else {
        return fault("source-invalid", "has no sensors");
    };
    let value = |channel: usize, value: Result<f64, String>| match value {
        Ok(value) => locked(rows).take(channel, value, Instant::now()),
        Err(why) => locked(rows).refuse(channel, &why),
    };
    let works = || {
        live.set(|standing| {
            // That nothing comes is told by the clock of the rows.
            standing.fault.take_if(|fault| fault.code != SILENT);
        });
    };
    let came = || {
        live.decoded.fetch_add(1, Ordering::Relaxed);
    };
    if source.kind == Kind::ModbusTcp {
        let round = || {
            works();
            came();
        };
        return modbus::run(&url, &sensors.channels, seconds(1.0 / source.rate), value, round).await;
    }
    let name = Digest::of(format!("{}/{}", agent.identity().spiffe_id, source.id).as_bytes());
    let short: String = name.hex().chars().take(20).collect();
    let ca = agent.config.data.join(&sensors.ca);
    let broker = mqtt::Broker {
        url: &url,
        client: format!("ph{short}"),
        login: live.login.as_ref().map(|login| (login.user.as_str(), login.password.as_str())),
        ca: (!sensors.ca.is_empty()).then_some(ca.as_path()),
    };
    mqtt::run(&broker, &sensors.channels, value, works, came).await
}

/// Adds a row at each tick of the source's clock, for as long as the source lives.
pub async fn tick(live: Arc<Live>) {
    let Some(rows) = &live.rows else { return };
    let mut ticks = tokio::time::interval(seconds(1.0 / live.source.rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let silent = {
            let mut rows = locked(rows);
            let now = Instant::now();
            rows.row(now);
            rows.silent(now)
        };
        live.set(|standing| match &standing.fault {
            None if silent => standing.fault = Some(fault(SILENT, "no value of any channel has come")),
            Some(known) if known.code == SILENT && !silent => standing.fault = None,
            _ => {}
        });
    }
}

/// Gives the last rows to an app for as long as the source lives.
pub async fn feed(agent: Arc<Agent>, live: Arc<Live>, binding: Binding, fares: Arc<Fares>) {
    let (Some(sensors), Some(rows)) = (&live.source.sensors, &live.rows) else { return };
    let mut turns = tokio::time::interval(seconds(sensors.every));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let answer = ask(&agent, &live, rows, &binding, turns.period()).await;
        let answered = answer.is_ok();
        fares.note(answer);
        // Who sees the count sees what is counted.
        fares.answered.fetch_add(u64::from(answered), Ordering::Release);
    }
}

/// Rows that an app reads. None of one that reads neither series nor tables.
fn needed(manifest: &AppManifest) -> Option<usize> {
    if !matches!(manifest.input, InputKind::Timeseries | InputKind::Tabular) {
        return None;
    }
    let rows = |pre: &Pre| match pre {
        Pre::Window(window) => usize::try_from(window.length).unwrap_or(usize::MAX),
        _ => 1,
    };
    manifest.model_steps().iter().map(|step| rows(&step.pre)).max()
}

/// One question to an app, the next after `pause`. Codes `app-not-running`, `input-not-taken`, `source-silent`, `rows-awaited`, `rows-too-many`, and
/// the app's.
async fn ask(agent: &Arc<Agent>, live: &Live, rows: &Mutex<Rows>, binding: &Binding, pause: Duration) -> Result<Value, Fault> {
    let running = agent.apps.find(&binding.app).ok_or_else(|| not_running(&binding.app))?;
    let Some(needed) = needed(&running.manifest) else {
        return Err(fault("input-not-taken", format!("{} reads neither series nor tables", running.wanted.app())));
    };
    let (readings, silent, csv) = {
        let mut rows = locked(rows);
        rows.keep(needed).map_err(|most| fault("rows-too-many", format!("the app reads {needed} rows, {most} are kept")))?;
        let (now, csv) = (Instant::now(), rows.csv(needed));
        (rows.readings(now), rows.silent(now), csv.ok_or_else(|| rows.count()))
    };
    let missing: Vec<&Reading> = readings.iter().filter(|reading| reading.value.is_none()).collect();
    let wrong: Vec<&Reading> = readings.iter().filter(|reading| reading.trouble.is_some()).collect();
    // An app of safety class may go on with what its own rule puts in the place of a missing value; that it does is told.
    if running.manifest.safety && wrong.iter().any(|reading| reading.value.is_none()) {
        raise(agent, &running, &live.source.id, &sensors_lost(live, &wrong), pause).await;
    }
    if silent {
        return Err(fault(SILENT, "no value of any channel has come"));
    }
    let csv = csv.map_err(|count| fault("rows-awaited", format!("{count} of {needed} rows")))?;
    if missing.len() == readings.len() {
        let waits = "no channel has a value now".to_owned();
        return Err(wrong
            .first()
            .and_then(|reading| reading.trouble.clone())
            .map_or(fault("rows-awaited", waits), |(code, why)| fault(code, why)));
    }
    let place = if binding.place.is_empty() { running.wanted.place.clone() } else { binding.place.clone() };
    let request = Request::Predict { params: running.values.clone(), place, scene: Drawn::default() };
    let started = Instant::now();
    let answer = running.process.call(&request, csv.as_bytes(), INFERENCE).await;
    running.stats.record(answer.is_ok(), started.elapsed());
    let (_, bytes) = answer?;
    let mut output: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|e| Fault::new("engine-failed", "app", e.to_string()))?;
    if let Some((code, _)) = wrong.iter().find_map(|reading| reading.trouble.as_ref()) {
        output.insert("doubtful".to_owned(), json!(code));
    }
    let raised = raise(agent, &running, &live.source.id, &output, pause).await;
    output.insert("source".to_owned(), json!(live.source.id));
    output.insert("time".to_owned(), json!(agent.clock.now()));
    output.extend(raised.told);
    Ok(Value::Object(output))
}

/// The alarm of an app of safety class that some of its values do not reach.
fn sensors_lost(live: &Live, wrong: &[&Reading]) -> Map<String, Value> {
    let name = live.source.title();
    let told = |zh: bool| {
        let mut lost = wrong.iter().filter(|reading| reading.value.is_none());
        let all: Vec<String> = lost
            .by_ref()
            .take(8)
            .map(|reading| {
                let code = reading.trouble.as_ref().map(|(code, _)| *code).unwrap_or_default();
                format!("{} ({})", reading.name, words(code, zh).unwrap_or(code))
            })
            .collect();
        all.join(if zh { "；" } else { "; " })
    };
    let text = json!({
        "zh": format!("{name}：传感器数据缺失，安全应用可能无法判断：{}", told(true)),
        "en": format!("{name}: values of sensors are missing; the safety app may not judge rightly: {}", told(false)),
    });
    Map::from_iter([("alarms".to_owned(), json!([{ "rule": "sensors-lost", "level": "warning", "text": text }]))])
}
