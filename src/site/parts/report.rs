//! The check report and its run card in words: one view for developer, moderator and buyer.
//!
//! Invariant: only figures and verdicts of the report are shown; nothing is measured or judged here.

use app_package::fault::Fault;
use app_package::manifest::{AppManifest, InputKind, Provider};
use inference::check::{CheckReport, RunCard, STEPS, Step};
use inference::column::Column;
use inference::golden::SampleReport;
use inference::measure::{Latency, Throughput};

use crate::evaluation::service::ScoreSummary;
use crate::http::page::Page;
use crate::release::difference::{Measure, share_right};
use crate::release::measuring::{History, Other};
use crate::site::parts::plot::{self, MAX_GROUPS, Mark, Plot, Series};
use crate::site::parts::scores::{Headline, own_share};

/// A check report as pages show it. Without a report every step is `waiting`.
pub struct ReportView {
    /// Whether the check passed; none where there is no report.
    pub passed: Option<bool>,
    /// Steps in the order in which they run.
    pub checks: Vec<CheckRow>,
    /// Line, place and text of each fault of app.yaml.
    pub faults: Vec<(String, String, String)>,
    /// Figures, where the check passed.
    pub card: Option<CardView>,
    /// Golden samples.
    pub samples: Vec<SampleRow>,
    /// Figures of other measurements of the same bytes, the newest of them, newest first.
    pub history: Vec<OtherRow>,
    /// How many measurements there are beside the one that is shown.
    pub history_total: i64,
    /// That not all are in the list, in words; empty where all are.
    pub history_cut: String,
}

/// Figures of another measurement than the one that is shown.
pub struct OtherRow {
    pub at: String,
    pub median: String,
    pub p95: String,
    /// Processor time of a prediction; empty where it was not measured.
    pub cpu: String,
    /// How it was measured.
    pub how: String,
    pub uncertain: bool,
}

/// One step of the check.
pub struct CheckRow {
    /// `passed`, `remarked` (passed, and something is odd), `failed`, `running` or `waiting`.
    pub state: &'static str,
    /// Name of the step.
    pub name: String,
    /// Finding of the step, in words.
    pub found: String,
    /// The engine's own words, or what is odd.
    pub detail: String,
}

/// One golden sample.
pub struct SampleRow {
    pub name: String,
    /// The expected result was reproduced within the tolerance.
    pub ok: bool,
    /// Largest difference to the expected result; a dash where the sample failed without a number.
    pub difference: String,
    /// The prediction agrees with the sample's label; none where it has no label.
    pub right: Option<bool>,
    /// Time of the prediction.
    pub latency: String,
    /// Why the sample was not reproduced.
    pub message: String,
}

/// Figures of the run card. A figure that was not measured is empty.
pub struct CardView {
    /// How right it is; none where nothing can say so.
    pub accuracy: Option<Headline>,
    /// Share of the developer's own labelled samples judged right, with how many there are; empty where that is the headline, or there is
    /// none.
    pub own: String,
    /// The times cannot be taken for those of the app.
    pub uncertain: bool,
    /// How the times were measured.
    pub how: String,
    /// Processor time of a prediction.
    pub cpu: String,
    /// Median latency: what it is called (of a prediction, or of a frame of a clip), and the time.
    pub median: (String, String),
    /// 95th percentile.
    pub p95: (String, String),
    /// 99th percentile.
    pub p99: Option<(String, String)>,
    /// Predictions, or frames, in a second on one and on two threads.
    pub throughput: String,
    /// Operator sets.
    pub opsets: String,
    /// Operators with how often each stands in the model.
    pub operators: String,
    /// What the model did with odd input: word of the input, word of the outcome.
    pub odd_inputs: Vec<(String, String)>,
    /// The vendor's own steps: name, and what a run took.
    pub own_steps: Vec<(String, String)>,
    /// Peak memory.
    pub memory: String,
    /// Bytes of the model.
    pub model: String,
    /// Load time.
    pub load: String,
    /// Engine and version.
    pub engine: String,
    /// The CPU beside the providers that the app names; none where it names none.
    pub providers: Option<ProviderTable>,
    /// Processor, cores, architecture.
    pub hardware: String,
    /// Shape of the input.
    pub input: String,
    /// Sandbox in which the check ran.
    pub confinement: String,
    /// Times of the samples.
    pub plot: Option<Plot>,
}

/// What was found on each provider, a column each.
pub struct ProviderTable {
    pub heads: Vec<String>,
    /// Name of the row, and a cell for each column.
    pub rows: Vec<(String, Vec<String>)>,
}

impl ReportView {
    /// The view of a release's last report, with its scores on hidden test sets. While the check runs there is none, and the first step is
    /// shown as running.
    pub fn of(
        page: &Page,
        manifest: &AppManifest,
        report: Option<&CheckReport>,
        scores: &[ScoreSummary],
        history: &History,
        running: bool,
    ) -> Self {
        // A check that failed before it measured has times of one run each.
        let per_frame =
            |r: &CheckReport| r.run_card.as_ref().map_or(manifest.input == InputKind::Video, |card| card.latency_ms.is_per_frame());
        let card = |r: &CheckReport| Some(card(page, manifest, r.run_card.as_ref()?, r, scores));
        Self {
            history: history.newest.iter().map(|other| other_row(page, other)).collect(),
            history_total: history.total,
            history_cut: cut(page, "card-history-cut", history.newest.len(), history.total),
            passed: report.map(|r| r.passed),
            checks: checks(page, report, running),
            faults: report.map(|r| faults(page, r)).unwrap_or_default(),
            card: report.and_then(card),
            samples: report.map(|r| samples(r).iter().map(|s| sample(page, s, per_frame(r))).collect()).unwrap_or_default(),
        }
    }
}

/// That a list shows the newest `shown` of more, in words; empty where it shows all.
pub fn cut(page: &Page, key: &str, shown: usize, total: i64) -> String {
    let all = usize::try_from(total).is_ok_and(|total| total <= shown);
    if all { String::new() } else { page.t2(key, "n", shown, "total", page.count(&total)) }
}

/// A figure with its unit; times and rates may be those of frames.
pub fn measured(page: &Page, kind: Measure, value: f64, per_frame: bool) -> String {
    match kind {
        Measure::Accuracy => percent(value),
        Measure::Median | Measure::P95 | Measure::P99 => time(page, value, per_frame),
        Measure::Load => millis(value),
        Measure::Throughput => page.t1(if per_frame { "measure-frames-per-second" } else { "measure-per-second" }, "n", rate(value)),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of bytes, not negative")]
        Measure::Memory | Measure::Model => bytes(page, value as u64),
    }
}

/// Predictions in a second; of a slow app with digits after the point.
fn rate(value: f64) -> String {
    if value < 10.0 { figure((value * 100.0).round() / 100.0) } else { format!("{value:.0}") }
}

/// Dimensions in words: one that follows the input is a question mark.
fn shape(dimensions: &str) -> String {
    dimensions.split('x').map(|side| if side == "-1" { "?" } else { side }).collect::<Vec<_>>().join("x")
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A figure with four digits after the point at most.
pub fn figure(value: f64) -> String {
    let text = if value != 0.0 && value.abs() < 0.001 { format!("{value:.2e}") } else { format!("{value:.4}") };
    if text.contains('.') && !text.contains('e') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A time in milliseconds with its unit.
pub fn millis(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2} ms")
    } else if value < 1000.0 {
        format!("{value:.0} ms")
    } else {
        format!("{:.1} s", value / 1000.0)
    }
}

/// A time of a prediction, or of a frame of a clip, with its unit.
pub fn time(page: &Page, value: f64, per_frame: bool) -> String {
    if per_frame { page.t1("measure-frame-time", "time", millis(value)) } else { millis(value) }
}

/// A name or sentence about times, which has another key where they are those of frames.
fn timed<'a>(key: &'a str, of_frames: &'a str, per_frame: bool) -> &'a str {
    if per_frame { of_frames } else { key }
}

/// A number of bytes with its unit.
pub fn bytes(page: &Page, n: u64) -> String {
    page.bytes(&i64::try_from(n).unwrap_or(i64::MAX))
}

/// A reason in words; the code of a crash ends with a number.
pub fn reason(page: &Page, code: &str) -> String {
    let key = format!("check-reason-{code}");
    if page.locale().has(&key) {
        return page.t(&key);
    }
    match code.strip_prefix("crashed") {
        Some(rest) => page.t1("check-reason-crashed", "detail", rest.trim_start_matches('-')),
        None => page.t1("check-reason-other", "code", code),
    }
}

fn checks(page: &Page, report: Option<&CheckReport>, running: bool) -> Vec<CheckRow> {
    let done = report.map_or(&[][..], |r| r.steps.as_slice());
    let passed = report.is_some_and(|r| r.passed);
    let row = |(at, code): (usize, &&str)| {
        let name = page.tk("check-step-", code);
        match done.iter().find(|step| step.code == **code) {
            Some(step) if step.ok => {
                let notice = step.notice.as_deref().map(|code| page.tk("check-notice-", code)).unwrap_or_default();
                let state = if notice.is_empty() { "passed" } else { "remarked" };
                Some(CheckRow { state, name, found: found(page, step, report), detail: notice })
            }
            Some(step) => {
                let found = step.reason.as_deref().map(|code| reason(page, code)).unwrap_or_default();
                Some(CheckRow { state: "failed", name, found, detail: step.detail.clone().unwrap_or_default() })
            }
            None if running && at == 0 => Some(CheckRow { state: "running", name, found: page.t("check-running"), detail: String::new() }),
            // A passed report without this step is older than the step: leave it out.
            None if passed => None,
            // A report ends at its first failed step: this one was not run.
            None => {
                let found = if report.is_some() { page.t("check-not-run") } else { String::new() };
                Some(CheckRow { state: "waiting", name, found, detail: String::new() })
            }
        }
    };
    STEPS.iter().enumerate().filter_map(row).collect()
}

/// The finding of a passed step, in words.
fn found(page: &Page, step: &Step, report: Option<&CheckReport>) -> String {
    let card = report.and_then(|r| r.run_card.as_ref());
    match (step.code.as_str(), card, report.and_then(|r| r.golden.as_ref())) {
        ("files", Some(card), _) => page.t1("check-found-files", "size", bytes(page, card.model_bytes)),
        ("onnx-load", Some(card), _) => page.t1("check-found-load", "time", millis(card.load_ms)),
        ("tensors-match", Some(card), _) => page.t1("check-found-tensors", "shape", shape(&card.input)),
        ("golden", _, Some(golden)) => page.t2("check-found-golden", "n", golden.reproduced, "total", golden.total),
        ("latency", Some(card), _) => {
            let told = |value| time(page, value, card.latency_ms.is_per_frame());
            page.t2("check-found-latency", "median", told(card.latency_ms.median), "p", told(card.latency_ms.p95))
        }
        ("odd-input", Some(card), _) => page.t1("check-found-odd-input", "n", card.odd_inputs.len()),
        ("throughput", Some(card), _) => card.throughput.map(|t| rates(page, t, &card.latency_ms)).unwrap_or_default(),
        ("memory", Some(card), _) => page.t1("check-found-memory", "size", bytes(page, card.peak_memory_bytes)),
        _ => page.t1("check-found-time", "time", millis(step.duration_ms)),
    }
}

/// Line, place and text of each fault of app.yaml.
fn faults(page: &Page, report: &CheckReport) -> Vec<(String, String, String)> {
    let read = report.faults.iter().filter_map(|fault| serde_json::from_value::<Fault>(fault.clone()).ok());
    read.map(|f| (f.line.map(|l| page.t1("upload-line", "n", l)).unwrap_or_default(), f.key.clone(), f.message(page.lang))).collect()
}

fn samples(report: &CheckReport) -> &[SampleReport] {
    report.golden.as_ref().map_or(&[][..], |g| g.samples.as_slice())
}

fn sample(page: &Page, sample: &SampleReport, per_frame: bool) -> SampleRow {
    SampleRow {
        name: sample.name.clone(),
        ok: sample.ok,
        // Of a sample that gave nothing to compare no difference is known.
        difference: if !sample.ok && sample.worst_difference == 0.0 { "–".to_owned() } else { figure(sample.worst_difference) },
        right: sample.right,
        latency: time(page, sample.latency_ms, per_frame),
        message: sample.message.clone().unwrap_or_default(),
    }
}

/// Whether times are marked as uncertain: measured, and found not to be steady. Of those from before it was looked at nobody knows.
pub fn is_uncertain(latency: &Latency) -> bool {
    latency.measured.is_some_and(|how| !how.steady)
}

/// How times were measured, in words.
fn how(page: &Page, latency: &Latency) -> String {
    let Some(how) = &latency.measured else { return page.t("card-how-unknown") };
    let (runs, rounds) = (how.runs.to_string(), how.rounds.to_string());
    let (spread, tail) = (percent(how.spread), percent(how.spread_p95));
    page.locale().format("card-how-value", &[("runs", &runs), ("rounds", &rounds), ("spread", &spread), ("tail", &tail)])
}

fn cpu(page: &Page, latency: &Latency) -> String {
    latency.measured.map_or_else(String::new, |how| time(page, how.cpu_ms, how.per_frame))
}

fn other_row(page: &Page, other: &Other) -> OtherRow {
    let latency = &other.card.latency_ms;
    OtherRow {
        at: page.datetime(&other.at),
        median: time(page, latency.median, latency.is_per_frame()),
        p95: time(page, latency.p95, latency.is_per_frame()),
        cpu: cpu(page, latency),
        how: how(page, latency),
        uncertain: is_uncertain(latency),
    }
}

/// Times of the samples and, where they are of the same runs, median and 95th percentile across them.
fn sample_times(page: &Page, card: &RunCard, samples: &[SampleReport]) -> Option<Plot> {
    let latency = &card.latency_ms;
    let measured: Vec<&SampleReport> = samples.iter().filter(|s| latency.measured.is_none() || s.runs > 0).collect();
    let groups: Vec<String> = measured.iter().map(|s| s.name.clone()).collect();
    let per_frame = latency.is_per_frame();
    let values = measured.iter().map(|s| (s.latency_ms, time(page, s.latency_ms, per_frame))).collect();
    let series = Series { name: page.t("card-latency-sample"), tone: "steel", values };
    let mark = |key: &str, value: f64| Mark { name: page.t(key), value, text: time(page, value, per_frame) };
    let (title, marks) = match &latency.measured {
        Some(how) => {
            let marks = [("card-median", "card-median-frame", latency.median), ("card-p95", "card-p95-frame", latency.p95)];
            let title = page.t1(timed("card-latency-plot", "card-latency-plot-frame", per_frame), "n", how.runs);
            (title, marks.map(|(key, of_frames, value)| mark(timed(key, of_frames, per_frame), value)).into())
        }
        None => (page.t("card-latency-plot-cold"), Vec::new()),
    };
    let cut = groups.len() > MAX_GROUPS;
    let title = if cut { format!("{title} {}", page.t2("plot-cut", "n", MAX_GROUPS, "total", groups.len())) } else { title };
    plot::bars("plot-samples", title, &groups, &[series], &marks)
}

fn card(page: &Page, manifest: &AppManifest, card: &RunCard, report: &CheckReport, scores: &[ScoreSummary]) -> CardView {
    let on_platform = scores.iter().any(|score| score.value.is_some());
    let listed = |words: Vec<String>| words.join(", ");
    let structure = card.structure.clone().unwrap_or_default();
    let per_frame = card.latency_ms.is_per_frame();
    let told = |key, of_frames, value| (page.t(timed(key, of_frames, per_frame)), time(page, value, per_frame));
    CardView {
        accuracy: Headline::of(page, manifest, card, scores),
        own: share_right(manifest, card).filter(|_| on_platform).map(|share| own_share(page, manifest, share)).unwrap_or_default(),
        uncertain: is_uncertain(&card.latency_ms),
        how: how(page, &card.latency_ms),
        cpu: cpu(page, &card.latency_ms),
        median: told("card-median", "card-median-frame", card.latency_ms.median),
        p95: told("card-p95", "card-p95-frame", card.latency_ms.p95),
        // Old reports, from before it was measured, hold 0.
        p99: Some(card.latency_ms.p99).filter(|p99| *p99 > 0.0).map(|p99| told("card-p99", "card-p99-frame", p99)),
        throughput: card.throughput.map(|t| rates(page, t, &card.latency_ms)).unwrap_or_default(),
        opsets: listed(structure.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect()),
        operators: listed(structure.operators.iter().map(|(name, count)| format!("{name} × {count}")).collect()),
        odd_inputs: card.odd_inputs.iter().map(|odd| (page.tk("card-odd-", &odd.input), page.tk("card-outcome-", &odd.outcome))).collect(),
        own_steps: card
            .own_steps
            .iter()
            .map(|own| (own.name.clone(), page.t2("card-own-step-value", "fuel", own.most_fuel, "ms", millis(own.longest_ms))))
            .collect(),
        memory: bytes(page, card.peak_memory_bytes),
        model: bytes(page, card.model_bytes),
        load: millis(card.load_ms),
        engine: format!("{} {}", card.engine, card.engine_version),
        providers: providers(page, card),
        hardware: hardware(page, card),
        input: shape(&card.input),
        confinement: report
            .confinement
            .as_ref()
            .map(|c| {
                let (files, calls) = (page.tk("card-landlock-", &c.landlock), page.tk("card-seccomp-", c.seccomp));
                // Reports of older versions say nothing of landlock's version and of the user.
                let version = (c.landlock_abi > 0).then(|| page.t1("card-landlock-abi", "version", c.landlock_abi));
                let user = (!c.user.is_empty()).then(|| page.tk("card-user-", &c.user));
                let parts = [Some(files), version, Some(calls), user].into_iter().flatten().collect();
                listed(parts)
            })
            .unwrap_or_default(),
        plot: sample_times(page, card, samples(report)),
    }
}

/// What was found on one provider, in words; dashes stand for what is not known.
pub struct OnProvider {
    pub verdict: String,
    pub version: String,
    pub precision: String,
    pub golden: String,
    pub median: String,
    pub p95: String,
    pub throughput: String,
    pub load: String,
    pub memory: String,
}

impl OnProvider {
    /// What the card itself says, which is of the CPU.
    fn cpu(page: &Page, card: &RunCard) -> Self {
        Self {
            verdict: page.t("card-provider-serves"),
            version: card.engine_version.clone(),
            precision: precision(page, "model"),
            golden: page.t2("check-found-golden", "n", card.golden_total, "total", card.golden_total),
            median: sure(page, &card.latency_ms, card.latency_ms.median),
            p95: sure(page, &card.latency_ms, card.latency_ms.p95),
            throughput: card.throughput.map_or_else(dash, |t| rates(page, t, &card.latency_ms)),
            load: millis(card.load_ms),
            memory: bytes(page, card.peak_memory_bytes),
        }
    }

    pub fn of(page: &Page, column: &Column) -> Self {
        let (about, figures) = (column.about.as_ref(), column.figures.as_ref());
        let part = if about.is_some_and(|about| about.in_part) { format!(" · {}", page.t("card-provider-part")) } else { String::new() };
        let golden = (column.total > 0).then(|| page.t2("check-found-golden", "n", column.reproduced, "total", column.total));
        let time = |of: fn(&Latency) -> f64| figures.map_or_else(dash, |f| sure(page, &f.latency_ms, of(&f.latency_ms)));
        Self {
            verdict: column.reason.as_deref().map_or_else(|| page.t("card-provider-serves"), |code| reason(page, code)),
            version: about.map(|about| about.version.clone()).filter(|version| !version.is_empty()).unwrap_or_else(dash),
            precision: about.map_or_else(dash, |about| format!("{}{part}", precision(page, &about.precision))),
            golden: golden.unwrap_or_else(dash),
            median: time(|latency| latency.median),
            p95: time(|latency| latency.p95),
            throughput: figures.and_then(|f| Some(rates(page, f.throughput?, &f.latency_ms))).unwrap_or_else(dash),
            load: figures.map_or_else(dash, |f| millis(f.load_ms)),
            memory: figures.map_or_else(dash, |f| bytes(page, f.peak_memory_bytes)),
        }
    }
}

/// Number format that a provider computes in, in words.
fn precision(page: &Page, word: &str) -> String {
    if word == "model" { page.t("card-precision-model") } else { word.to_owned() }
}

/// A time, and whether it is uncertain.
fn sure(page: &Page, latency: &Latency, value: f64) -> String {
    let text = time(page, value, latency.is_per_frame());
    if is_uncertain(latency) { format!("{text} · {}", page.t("card-uncertain")) } else { text }
}

fn rates(page: &Page, throughput: Throughput, latency: &Latency) -> String {
    let key = timed("card-throughput-value", "card-throughput-frames", latency.is_per_frame());
    page.t2(key, "one", rate(throughput.one_thread), "two", rate(throughput.two_threads))
}

/// The CPU and each provider that the app names, beside each other.
fn providers(page: &Page, card: &RunCard) -> Option<ProviderTable> {
    if card.providers.is_empty() {
        return None;
    }
    let columns: Vec<OnProvider> =
        std::iter::once(OnProvider::cpu(page, card)).chain(card.providers.iter().map(|column| OnProvider::of(page, column))).collect();
    let row =
        |key: &str, of: fn(&OnProvider) -> &String| (page.tk("card-", key), columns.iter().map(|column| of(column).clone()).collect());
    let heads = std::iter::once(Provider::Cpu).chain(card.providers.iter().map(|column| column.provider));
    Some(ProviderTable {
        heads: heads.map(|provider| page.tk("provider-", provider.as_str())).collect(),
        rows: vec![
            row("provider-verdict", |on| &on.verdict),
            row("version", |on| &on.version),
            row("precision", |on| &on.precision),
            row("golden", |on| &on.golden),
            row("median", |on| &on.median),
            row("p95", |on| &on.p95),
            row("throughput", |on| &on.throughput),
            row("load", |on| &on.load),
            row("memory", |on| &on.memory),
        ],
    })
}

/// In the place of what is not known.
fn dash() -> String {
    "–".to_owned()
}

/// Processor, cores and architecture on which a card was measured.
pub fn hardware(page: &Page, card: &RunCard) -> String {
    let place = page.t2("card-hardware-value", "cpu", &card.hardware.cpu, "cores", card.hardware.cores);
    format!("{place} · {}", card.hardware.architecture)
}
