//! `pithead pack`, `pithead check` and what `push` shares with them: the same checks as in the browser, in a terminal.
//!
//! Exit codes: 0 done; 1 the package is at fault; 2 it could not be done (arguments, files, network).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use app_package::fault::Fault;
use app_package::oci::{ARTIFACT_TYPE, CONFIG_TYPE, Descriptor, MANIFEST_TYPE, build_manifest, config_json, layout};
use clap::Args;
use inference::check::CheckReport;
use serde_json::json;

use super::folder::{self, Folder};
use crate::account::model::valid_slug;
use crate::config::Checks;
use crate::i18n::Lang;
use crate::release::jobs;

/// The package is at fault.
pub const AT_FAULT: u8 = 1;
/// It could not be done.
pub const NOT_DONE: u8 = 2;

/// How results are told.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Print results as JSON on standard output.
    #[arg(long)]
    pub json: bool,
    /// Language of faults: en or zh.
    #[arg(long, default_value = "en", value_parser = ["en", "zh"])]
    pub lang: String,
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
    #[arg(long, default_value = "local", value_parser = vendor)]
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
    /// How results are told.
    #[command(flatten)]
    pub told: Output,
}

/// A name that a developer can have on a platform.
fn vendor(text: &str) -> Result<String, String> {
    if valid_slug(text) {
        Ok(text.to_owned())
    } else {
        Err("2 to 40 lower-case letters, digits and single hyphens, such as acme-mining".to_owned())
    }
}

/// Reads a folder; its faults are told as `file:line`.
pub fn open(dir: &Path, told: &Output) -> anyhow::Result<Result<Folder, ExitCode>> {
    match folder::read(dir)? {
        Ok(folder) => Ok(Ok(folder)),
        Err(faults) => {
            tell_faults(dir, &faults, told)?;
            Ok(Err(ExitCode::from(AT_FAULT)))
        }
    }
}

/// Faults as `file:line`, or as JSON.
pub fn tell_faults(dir: &Path, faults: &[Fault], told: &Output) -> anyhow::Result<()> {
    if told.json {
        return print(&json!({"ok": false, "faults": faults}));
    }
    let source = dir.join(app_package::oci::SOURCE_FILE);
    for fault in faults {
        let line = fault.line.map_or_else(String::new, |line| format!(":{line}"));
        let key = if fault.key.is_empty() { String::new() } else { format!(" {}:", fault.key) };
        eprintln!("{}{line}:{key} {} [{}]", source.display(), fault.message(&told.lang), fault.code);
    }
    Ok(())
}

/// One line of JSON on standard output.
pub fn print(value: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{value}").context("cannot write to standard output")
}

/// Writes the OCI image layout of a folder as a tar; the same folder gives the same bytes.
pub fn pack(args: &Pack) -> anyhow::Result<ExitCode> {
    let folder = match open(&args.dir, &args.told)? {
        Ok(folder) => folder,
        Err(code) => return Ok(code),
    };
    // The tar would hold itself the next time.
    let parent = args.output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let (Ok(dir), Ok(parent)) = (args.dir.canonicalize(), parent.canonicalize()) {
        anyhow::ensure!(!parent.starts_with(&dir), "{} lies in the folder that is packed; name a place outside it", args.output.display());
    }
    let packed = folder.pack()?;
    let (manifest, config) = (build_manifest(&folder.manifest, &args.vendor, &packed), config_json(&folder.manifest));
    let descriptor = Descriptor { artifact_type: Some(ARTIFACT_TYPE.to_owned()), ..Descriptor::of(MANIFEST_TYPE, &manifest) };
    let digest = descriptor.digest.clone();
    let version = folder.manifest.version.to_string();

    // Written beside its place and renamed, so that a broken run leaves no half tar.
    let mut partial = args.output.clone().into_os_string();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let file = std::fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let mut tar = tar::Builder::new(std::io::BufWriter::new(file));
    append(&mut tar, layout::LAYOUT_FILE, &layout::layout_json())?;
    append(&mut tar, layout::INDEX_FILE, &layout::index_json(&[(descriptor, Some(&version))]))?;
    append(&mut tar, &layout::blob_path(&digest), &manifest)?;
    append(&mut tar, &layout::blob_path(&Descriptor::of(CONFIG_TYPE, &config).digest), &config)?;
    let mut written = std::collections::BTreeSet::new();
    for (file, local) in packed.iter().zip(&folder.files) {
        if written.insert(file.digest.clone()) {
            let source = std::fs::File::open(&local.source).with_context(|| format!("cannot read {}", local.source.display()))?;
            tar.append_data(&mut header(file.size), layout::blob_path(&file.digest), Same { inner: source, left: file.size })?;
        }
    }
    tar.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&partial, &args.output).with_context(|| format!("cannot write {}", args.output.display()))?;

    if args.told.json {
        print(
            &json!({"ok": true, "digest": digest, "version": version, "name": folder.manifest.name, "files": packed.len(), "bytes": folder.bytes()}),
        )?;
    } else {
        println!("{}\n{} {version}, {} files, {digest}", args.output.display(), folder.manifest.name, packed.len());
    }
    Ok(ExitCode::SUCCESS)
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
}

impl<R: std::io::Read> std::io::Read for Same<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = std::io::Read::take(&mut self.inner, self.left).read(buffer)?;
        if n == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(std::io::Error::other("a file changed while it was packed"));
        }
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

/// Runs the platform's check on a folder, in the same confined child.
pub fn check(args: &Check, settings: &Checks) -> anyhow::Result<ExitCode> {
    if let Err(code) = open(&args.dir, &args.told)? {
        return Ok(code);
    }
    let mut settings = settings.clone();
    if let Some(lib) = &args.ort_lib {
        settings.ort_lib = lib.display().to_string();
    }
    anyhow::ensure!(!settings.ort_lib.is_empty(), "give --ort-lib FILE, or set checks.ort_lib, to name libonnxruntime");
    anyhow::ensure!(Path::new(&settings.ort_lib).is_file(), "there is no libonnxruntime at {}", settings.ort_lib);
    let report = jobs::judge(&args.dir, &settings).map_err(|e| anyhow::anyhow!("{e}"))?;
    if args.told.json {
        print(&serde_json::to_value(&report)?)?;
    } else {
        tell_report(&report, &args.told.lang);
    }
    let lacking = report.steps.iter().any(|s| s.reason.as_deref() == Some("engine-missing"));
    anyhow::ensure!(!lacking, "{} is no ONNX Runtime that can be loaded", settings.ort_lib);
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(AT_FAULT) })
}

/// The language of `--lang`.
pub fn language(code: &str) -> Lang {
    if code == "zh" { Lang::Zh } else { Lang::En }
}

fn tell_report(report: &CheckReport, lang: &str) {
    let (code, lang) = (lang, language(lang));
    for step in &report.steps {
        let mark = if step.ok { "ok  " } else { "FAIL" };
        println!("{mark} {:<14} {:>9.1} ms", step.code, step.duration_ms);
        if let Some(reason) = &step.reason {
            let key = format!("check-reason-{reason}");
            let words = if lang.has(&key) { lang.t(&key) } else { reason.clone() };
            println!("     {words}");
            println!("     {}", step.detail.as_deref().unwrap_or_default());
        }
    }
    for fault in report.faults.iter().filter_map(|f| serde_json::from_value::<Fault>(f.clone()).ok()) {
        println!("     app.yaml:{} {}", fault.line.unwrap_or(1), fault.message(code));
    }
    if let Some(card) = &report.run_card {
        let accuracy =
            card.accuracy.map_or_else(|| lang.pick("没有标注", "not labelled").to_owned(), |share| format!("{:.1} %", share * 100.0));
        let peak = f64::from(u32::try_from(card.peak_memory_bytes / 1024).unwrap_or(u32::MAX)) / 1024.0;
        let (engine, cores) = (format!("{} {}", card.engine, card.engine_version), card.hardware.cores);
        match lang {
            Lang::Zh => {
                println!("准确率 {accuracy}（{} 个金标样本）", card.golden_total);
                println!("延迟   中位数 {:.2} ms，95 分位 {:.2} ms", card.latency_ms.median, card.latency_ms.p95);
                println!("内存   峰值 {peak:.1} MiB");
                println!("引擎   {engine}，{}，{cores} 核", card.hardware.cpu);
            }
            Lang::En => {
                println!("accuracy {accuracy} on {} golden samples", card.golden_total);
                println!("latency  median {:.2} ms, p95 {:.2} ms", card.latency_ms.median, card.latency_ms.p95);
                println!("memory   peak {peak:.1} MiB");
                println!("engine   {engine} on {}, {cores} cores", card.hardware.cpu);
            }
        }
    }
}
