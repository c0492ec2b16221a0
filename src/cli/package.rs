//! `pithead pack`, `pithead check` and what the other commands for developers share with them: the same checks as in the browser, in a
//! terminal.
//!
//! Exit codes: 0 done; 1 the package is at fault, or not what it should be; 2 it could not be done (arguments, files, network).

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app_package::fault::Fault;
use app_package::manifest::AppManifest;
use app_package::oci::{
    ARTIFACT_TYPE, CONFIG_TYPE, Descriptor, MANIFEST_TYPE, PackedFile, SOURCE_FILE, build_manifest, config_json, layout,
};
use app_package::validate::line_of;
use clap::Args;
use inference::alarm;
use inference::check::CheckReport;
use inference::column::Column;
use inference::error::AppError;
use inference::examine::examine;
use inference::provider::Library;
use serde_json::json;

use super::folder::{self, Folder};
use super::progress::Progress;
use super::words::Cannot as _;
use super::words::shown;
use crate::account::model::valid_slug;
use crate::base::config::Checks;
use crate::base::i18n::Lang;
use crate::base::i18n::error_text;
use crate::release::jobs;

/// The package is at fault, a signature is, or the server refused.
pub const AT_FAULT: u8 = 1;
/// It could not be done.
pub const NOT_DONE: u8 = 2;

/// How results are told.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Print results as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Language of what is told: en or zh.
    #[arg(long, default_value = "en", value_parser = ["en", "zh"])]
    pub lang: String,
}

impl Output {
    /// The language of `--lang`.
    pub fn language(&self) -> Lang {
        if self.lang == "zh" { Lang::Zh } else { Lang::En }
    }
}

/// `pithead pack DIR -o FILE`.
#[derive(Debug, Args)]
pub struct Pack {
    /// Folder with app.yaml.
    pub dir: PathBuf,
    /// The tar to write.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Vendor name to write into the manifest; `push` and the browser use that of the account.
    #[arg(long, default_value = "local")]
    pub vendor: String,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// `pithead check DIR`.
#[derive(Debug, Args)]
pub struct Check {
    /// Folder with app.yaml.
    pub dir: PathBuf,
    /// Path of libonnxruntime, instead of the setting `checks.ort_lib`.
    #[arg(long)]
    pub ort_lib: Option<PathBuf>,
    /// Provider to check on, too, if the app names it; instead of the setting `checks.providers`. As often as there are such.
    #[arg(long = "provider", value_name = "NAME=LIBRARY")]
    pub providers: Vec<Library>,
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// Files left out that are named; of more their number is told.
const NAMED: usize = 10;

/// Reads a folder; its faults are told as `file:line`, and what was left out by name.
pub fn open(dir: &Path, told: &Output) -> anyhow::Result<Result<Folder, ExitCode>> {
    let lang = told.language();
    match folder::read(dir, lang)? {
        Ok(folder) => {
            if !told.json && !folder.left_out.is_empty() {
                // A name may hold what a terminal obeys.
                let plain = |name: &String| name.chars().filter(|c| !c.is_control()).collect();
                let mut names: Vec<String> = folder.left_out.iter().take(NAMED).map(plain).collect();
                let more = folder.left_out.len().saturating_sub(NAMED);
                if more > 0 {
                    names.push(format!("+{more}"));
                }
                eprintln!("{}", lang.format("cli-left-out", &[("names", &names.join(", "))]));
            }
            Ok(Ok(folder))
        }
        Err(faults) => {
            tell_faults(dir, &faults, told);
            Ok(Err(ExitCode::from(AT_FAULT)))
        }
    }
}

/// As [`open`], for a package that is about to be sent: what the platform's check finds without the model is told before.
pub fn examined(dir: &Path, told: &Output) -> anyhow::Result<Result<Folder, ExitCode>> {
    let folder = match open(dir, told)? {
        Ok(folder) => folder,
        Err(code) => return Ok(Err(code)),
    };
    let faults = examine(dir, &folder.manifest);
    if faults.is_empty() {
        return Ok(Ok(folder));
    }
    let lang = told.language();
    if told.json {
        let faults: Vec<_> = faults.iter().map(|(step, e)| json!({"step": step, "code": e.code, "detail": e.message})).collect();
        print(&json!({"ok": false, "faults": faults}));
    } else {
        for (step, e) in &faults {
            eprintln!("{}  {}", lang.t("cli-failed"), lang.t(&format!("check-step-{step}")));
            eprintln!("     {} [{}]\n     {}", reason(lang, e.code), e.code, e.message);
            for line in rules_at_fault(&folder, step) {
                eprintln!("     {line}");
            }
        }
    }
    Ok(Err(ExitCode::from(AT_FAULT)))
}

/// The rules that a failed step of rules is about, each with its line.
fn rules_at_fault(folder: &Folder, step: &str) -> Vec<String> {
    if step != "alarm-rules" {
        return Vec::new();
    }
    let told = |(key, e): (String, AppError)| {
        let line = line_of(&folder.yaml, &key).map_or_else(String::new, |line| format!(":{line}"));
        format!("{SOURCE_FILE}{line} {key}: {}", e.message)
    };
    alarm::faults(&folder.manifest).into_iter().map(told).collect()
}

/// Why a step failed, in words; its code where there are none.
pub fn reason(lang: Lang, code: &str) -> String {
    let key = format!("check-reason-{code}");
    if lang.has(&key) { lang.t(&key) } else { code.to_owned() }
}

/// Reads and checks app.yaml alone; none where it has faults, which are told.
pub fn manifest(dir: &Path, told: &Output) -> anyhow::Result<Option<AppManifest>> {
    let read = folder::manifest(dir, told.language())?;
    Ok(read.inspect_err(|faults| tell_faults(dir, faults, told)).ok())
}

/// Faults as `file:line`, or as JSON.
pub fn tell_faults(dir: &Path, faults: &[Fault], told: &Output) {
    if told.json {
        print(&json!({"ok": false, "faults": faults}));
        return;
    }
    let source = dir.join(SOURCE_FILE);
    for fault in faults {
        let line = fault.line.map_or_else(String::new, |line| format!(":{line}"));
        let key = if fault.key.is_empty() { String::new() } else { format!(" {}:", fault.key) };
        eprintln!("{}{line}:{key} {} [{}]", source.display(), fault.message(&told.lang), fault.code);
    }
}

/// One line of JSON on standard output.
pub fn print(value: &serde_json::Value) {
    print_line!("{value}");
}

/// Writes the OCI image layout of a folder as a tar; the same folder gives the same bytes.
pub fn pack(args: &Pack) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    // A name that a developer can have on a platform.
    anyhow::ensure!(valid_slug(&args.vendor), lang.t("cli-vendor-wrong"));
    let folder = match open(&args.dir, &args.told)? {
        Ok(folder) => folder,
        Err(code) => return Ok(code),
    };
    // The tar would hold itself the next time.
    let parent = args.output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let (Ok(dir), Ok(parent)) = (args.dir.canonicalize(), parent.canonicalize()) {
        anyhow::ensure!(!parent.starts_with(&dir), lang.format("cli-inside-folder", &[("path", &shown(&args.output))]));
    }
    let packed = folder.pack(args.told.json, lang)?;
    let (manifest, config) = (build_manifest(&folder.manifest, &args.vendor, &packed), config_json(&folder.manifest));
    let descriptor = Descriptor { artifact_type: Some(ARTIFACT_TYPE.to_owned()), ..Descriptor::of(MANIFEST_TYPE, &manifest) };
    let digest = descriptor.digest.clone();
    let version = folder.manifest.version.to_string();

    // Written beside its place and renamed, so that a broken run leaves no half tar.
    let mut partial = args.output.clone().into_os_string();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let file = std::fs::File::create(&partial).cannot(lang, "write", &partial)?;
    write_layout(file, args, &folder, &packed, (&manifest, &config), descriptor, lang).inspect_err(|_| {
        // It is of no use to anybody.
        let _ = std::fs::remove_file(&partial);
    })?;
    std::fs::rename(&partial, &args.output).cannot(lang, "write", &args.output)?;

    if args.told.json {
        print(
            &json!({"ok": true, "digest": digest, "version": version, "name": folder.manifest.name, "files": packed.len(), "bytes": folder.bytes(), "left_out": folder.left_out}),
        );
    } else {
        let files = lang.format("cli-files", &[("n", &packed.len().to_string())]);
        print_line!("{}\n{} {version}, {files}, {digest}", args.output.display(), folder.manifest.name);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the layout: marker, index, manifest, config, and each file once.
fn write_layout(
    file: std::fs::File,
    args: &Pack,
    folder: &Folder,
    packed: &[PackedFile],
    (manifest, config): (&[u8], &[u8]),
    descriptor: Descriptor,
    lang: Lang,
) -> anyhow::Result<()> {
    let (path, version) = (&args.output, folder.manifest.version.to_string());
    let mut tar = tar::Builder::new(std::io::BufWriter::new(file));
    let place = layout::blob_path(&descriptor.digest);
    let small = [
        (layout::LAYOUT_FILE.to_owned(), layout::layout_json()),
        (layout::INDEX_FILE.to_owned(), layout::index_json(&[(descriptor, Some(&version))])),
        (place, manifest.to_vec()),
        (layout::blob_path(&Descriptor::of(CONFIG_TYPE, config).digest), config.to_vec()),
    ];
    for (name, bytes) in &small {
        append(&mut tar, name, bytes).cannot(lang, "write", path)?;
    }
    let mut written = std::collections::BTreeSet::new();
    let (mut progress, note) = (Progress::new(folder.bytes(), args.told.json).briefly(), lang.t("cli-packing"));
    for (file, local) in packed.iter().zip(&folder.files) {
        progress.show(&local.path, 0, file.size, &note);
        if written.insert(file.digest.clone()) {
            let source = std::fs::File::open(&local.source).cannot(lang, "read", &local.source)?;
            let mut same = Same { inner: source, left: file.size, cut: false };
            let done = tar.append_data(&mut header(file.size), layout::blob_path(&file.digest), &mut same);
            anyhow::ensure!(!same.cut, lang.format("cli-file-changed", &[("path", &shown(&local.source))]));
            done.cannot(lang, "write", path)?;
        }
        progress.done(&local.path, file.size, &note);
    }
    progress.clear();
    let buffered = tar.into_inner().cannot(lang, "write", path)?;
    let file = buffered.into_inner().map_err(std::io::IntoInnerError::into_error).cannot(lang, "write", path)?;
    file.sync_all().cannot(lang, "write", path)
}

/// A header that does not depend on when and by whom the tar is made.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header
}

fn append<W: std::io::Write>(tar: &mut tar::Builder<W>, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    tar.append_data(&mut header(bytes.len() as u64), path, bytes)
}

/// Gives exactly as many bytes as were hashed; a file that shrank meanwhile is an error instead of a broken tar.
struct Same<R> {
    inner: R,
    left: u64,
    /// It ended too early.
    cut: bool,
}

impl<R: std::io::Read> std::io::Read for Same<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = std::io::Read::take(&mut self.inner, self.left).read(buffer)?;
        if n == 0 && self.left > 0 && !buffer.is_empty() {
            self.cut = true;
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

/// Runs the platform's check on a folder, in the same confined child.
pub fn check(args: &Check, settings: &Checks) -> anyhow::Result<ExitCode> {
    let lang = args.told.language();
    let folder = match open(&args.dir, &args.told)? {
        Ok(folder) => folder,
        Err(code) => return Ok(code),
    };
    let mut settings = settings.clone();
    if let Some(lib) = &args.ort_lib {
        settings.ort_lib = lib.display().to_string();
    }
    if !args.providers.is_empty() {
        settings.providers = args.providers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    }
    let lib = [("path", settings.ort_lib.as_str())];
    anyhow::ensure!(!settings.ort_lib.is_empty(), lang.t("cli-engine-needed"));
    anyhow::ensure!(Path::new(&settings.ort_lib).is_file(), lang.format("cli-engine-not-there", &lib));
    let report = waiting(&args.told, || jobs::judge(&args.dir, &settings))?;
    let report = report.map_err(|e| anyhow::anyhow!("{}", error_text(lang, e.code, &e.args)))?;
    if args.told.json {
        let mut report = serde_json::to_value(&report)?;
        if let Some(report) = report.as_object_mut() {
            report.insert("left_out".to_owned(), json!(folder.left_out));
        }
        print(&report);
    } else {
        tell_report(&report, &folder, &args.told.lang, lang);
    }
    let lacking = report.steps.iter().any(|s| s.reason.as_deref() == Some("engine-missing"));
    anyhow::ensure!(!lacking, lang.format("cli-engine-unusable", &lib));
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) })
}

/// Does what takes long; who sits at a terminal sees that it goes on.
pub fn waiting<T>(told: &Output, work: impl FnOnce() -> T) -> anyhow::Result<T> {
    let lang = told.language();
    if told.json || !std::io::stderr().is_terminal() {
        return Ok(work());
    }
    let (done, end) = std::sync::mpsc::channel::<()>();
    let begin = std::time::Instant::now();
    let clock = std::thread::spawn(move || {
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = end.recv_timeout(std::time::Duration::from_secs(1)) {
            eprint!("\r\u{1b}[K{}", lang.format("cli-checking", &[("seconds", &begin.elapsed().as_secs().to_string())]));
        }
        eprint!("\r\u{1b}[K");
    });
    let result = work();
    drop(done);
    clock.join().map_err(|_| anyhow::anyhow!("clock"))?;
    Ok(result)
}

/// A provider, in a line or two: what it is and how fast, or why not.
fn tell_column(column: &Column, lang: Lang) {
    let what = column.about.as_ref().map_or_else(String::new, |about| {
        let precision = if about.precision == "model" { lang.t("card-precision-model") } else { about.precision.clone() };
        format!(" {} · {precision}", about.version)
    });
    let figures = column.figures.as_ref().map_or_else(String::new, |figures| {
        let golden = [("n", column.reproduced.to_string()), ("total", column.total.to_string())];
        let golden: Vec<(&str, &str)> = golden.iter().map(|(name, n)| (*name, n.as_str())).collect();
        format!("{} · {:.2} ms", lang.format("check-found-golden", &golden), figures.latency_ms.median)
    });
    let mark = lang.t(if column.reason.is_none() { "cli-ok" } else { "card-provider-not" });
    print_line!("{}{what}  {mark}  {figures}", column.provider.as_str());
    if let Some(code) = &column.reason {
        print_line!("     {}", reason(lang, code));
        if let Some(detail) = &column.detail {
            print_line!("     {detail}");
        }
    }
}

fn tell_report(report: &CheckReport, folder: &Folder, code: &str, lang: Lang) {
    for step in &report.steps {
        let mark = lang.t(if step.ok { "cli-ok" } else { "cli-failed" });
        let name = lang.t(&format!("check-step-{}", step.code));
        print_line!("{mark}  {name}  {:.1} ms", step.duration_ms);
        if let Some(code) = &step.notice {
            print_line!("     {}", lang.t(&format!("check-notice-{code}")));
        }
        if let Some(code) = &step.reason {
            print_line!("     {}", reason(lang, code));
            print_line!("     {}", step.detail.as_deref().unwrap_or_default());
            for line in rules_at_fault(folder, &step.code) {
                print_line!("     {line}");
            }
        }
        let log = report.golden.iter().flat_map(|golden| &golden.log).filter(|_| step.code == "golden");
        log.for_each(|line| print_line!("  | {line}"));
    }
    for fault in report.faults.iter().filter_map(|f| serde_json::from_value::<Fault>(f.clone()).ok()) {
        print_line!("     app.yaml:{} {}", fault.line.unwrap_or(1), fault.message(code));
    }
    if let Some(card) = &report.run_card {
        let peak = f64::from(u32::try_from(card.peak_memory_bytes / 1024).unwrap_or(u32::MAX)) / 1024.0;
        let steady = card.latency_ms.measured.is_none_or(|how| how.steady);
        let uncertain = if steady { String::new() } else { format!(" ({})", lang.t("card-uncertain")) };
        let per_frame = card.latency_ms.is_per_frame();
        let (median, p95) = if per_frame { ("card-median-frame", "card-p95-frame") } else { ("card-median", "card-p95") };
        let time = |ms: f64| {
            let time = format!("{ms:.2} ms");
            let time = if per_frame { lang.format("measure-frame-time", &[("time", &time)]) } else { time };
            format!("{time}{uncertain}")
        };
        let rates = card.throughput.filter(|_| per_frame).map(|rates| {
            lang.format(
                "card-throughput-frames",
                &[("one", &format!("{:.1}", rates.one_thread)), ("two", &format!("{:.1}", rates.two_threads))],
            )
        });
        let facts = [
            (median, time(card.latency_ms.median)),
            (p95, time(card.latency_ms.p95)),
            ("card-throughput", rates.unwrap_or_default()),
            ("card-memory", format!("{peak:.1} MiB")),
            ("card-engine", format!("{} {}", card.engine, card.engine_version)),
            (
                "card-hardware",
                lang.format("card-hardware-value", &[("cpu", &card.hardware.cpu), ("cores", &card.hardware.cores.to_string())]),
            ),
        ];
        for (key, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
            print_line!("{}  {value}", lang.t(key));
        }
        card.providers.iter().for_each(|column| tell_column(column, lang));
    }
}
