//! The child process of one app: binds its socket, confines itself, loads the model, answers the agent.
//!
//! Invariants: it is confined before it starts a thread, loads the engine or reads anything of the model; it ends when its standard input
//! ends, that is, when the agent is gone; it answers only what comes over its own socket.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use app_package::manifest::AppManifest;
use image::{DynamicImage, RgbImage};
use inference::app::{App, AppError};
use inference::engine::Engine;
use inference::evidence;
use inference::golden;
use inference::onnx::OnnxRuntime;
use inference::output::AppOutput;
use inference::provider::{self, Library};
use inference::sandbox::{self, Confinement, Limits};
use serde::Serialize;
use serde_json::json;

use crate::watches::{Shot, Watches};
use crate::wire::{self, Answer, Request, STEP_SAYS, TensorHeader};
use crate::{files, tensor};

/// Connections at the same time; the agent never has that many.
const MAX_CONNECTIONS: usize = 32;
/// Memory that the engine needs besides the app's, in bytes.
const ENGINE_MEMORY: u64 = 256 * 1024 * 1024;
/// Largest config blob, in bytes.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;
/// Exit code after a model that cannot be loaded.
const LOAD_FAILED: i32 = 3;

/// Options of the hidden subcommand `app-host`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Folder of the release.
    #[arg(long)]
    pub dir: PathBuf,
    /// Canonical JSON of `app.yaml` (the release's config blob).
    #[arg(long)]
    pub config: PathBuf,
    /// Socket to bind.
    #[arg(long)]
    pub socket: PathBuf,
    /// ONNX Runtime library.
    #[arg(long)]
    pub ort_lib: PathBuf,
    /// Provider that the models run on in the CPU's place.
    #[arg(long)]
    pub provider: Option<Library>,
    /// Memory of the app, in bytes.
    #[arg(long)]
    pub memory_bytes: u64,
    /// Threads for one inference.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Run the app where the kernel cannot confine it, too.
    #[arg(long)]
    pub allow_unconfined: bool,
}

/// Time for an answer; shorter than `INFERENCE` of `local`, after which this process is ended.
const ANSWER: Duration = Duration::from_secs(25);

struct Loaded {
    app: Mutex<(App, Watches)>,
    about: serde_json::Value,
}

/// The answer to a frame of a source.
#[derive(Serialize)]
struct OfFrame {
    #[serde(flatten)]
    output: AppOutput,
    /// For the agent alone: the app has begun anew with the source.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    anew: bool,
}

/// Ends this process when the agent's end of the pipe is gone.
fn end_with_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0u8; 64];
        // The agent never writes to this pipe: a read that returns means that the other end is closed.
        while matches!(std::io::stdin().read(&mut nothing), Ok(n) if n > 0) {}
        // Not `exit`: that would run the engine's destructors under threads that still compute, which can hang for ever.
        std::process::abort();
    });
}

/// Confines this process, which must have one thread, and gives the app's config, which lies outside of what can be read afterwards.
fn confine(options: &Options) -> Result<(Vec<u8>, Confinement), AppError> {
    let config = files::read_bounded(&options.config, MAX_CONFIG).map_err(|f| AppError::new("app-config-unreadable", f.to_string()))?;
    let config = config.ok_or_else(|| AppError::new("app-config-unreadable", "the config is absent"))?;
    let own = options.provider.as_ref().map_or(0, |_| provider::MEMORY);
    let limits = Limits {
        memory_bytes: options.memory_bytes.saturating_add(ENGINE_MEMORY).saturating_add(own),
        cpu_seconds: 0,
        open_files: 128,
        required: !options.allow_unconfined,
    };
    // The library may be a link to a versioned file elsewhere.
    let real = std::fs::canonicalize(&options.ort_lib).unwrap_or_else(|_| options.ort_lib.clone());
    let folder = |path: &Path| path.parent().unwrap_or(path).to_owned();
    let mut folders = vec![options.dir.clone(), folder(&options.ort_lib), folder(&real)];
    folders.extend(options.provider.iter().flat_map(Library::folders));
    let confinement = sandbox::confine(&limits, &folders.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    Ok((config, confinement))
}

/// From here on everything that is read comes from the app's vendor.
fn load(options: &Options, config: &[u8], confinement: &Confinement) -> Result<Loaded, AppError> {
    let engine = OnnxRuntime::init_on(&options.ort_lib, options.provider.as_ref())?;
    let manifest: AppManifest = serde_json::from_slice(config).map_err(|e| AppError::new("app-config-unreadable", e.to_string()))?;
    let app = App::open(&options.dir, manifest, &engine, options.threads.max(1))?;
    let provider = engine.provider();
    let about = json!({ "engine": engine.name(), "engine_version": engine.version(), "provider": provider, "confinement": confinement });
    Ok(Loaded { app: Mutex::new((app, Watches::default())), about })
}

/// Runs until the agent is gone.
pub fn main(options: &Options) -> ExitCode {
    // The process gets a name for lists of processes, which would show `exe`, the file that was started. Nothing depends on the name.
    let _ = rustix::thread::set_name(c"pithead-app");
    let _ = std::fs::remove_file(&options.socket);
    let listener = match UnixListener::bind(&options.socket) {
        Ok(listener) => listener,
        Err(e) => {
            tracing::error!(error = %e, "cannot bind the app's socket");
            return ExitCode::FAILURE;
        }
    };
    let confined = confine(options);
    end_with_parent();
    let loaded = Arc::new(confined.and_then(|(config, confinement)| load(options, &config, &confinement)));
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (loaded, counter) = (loaded.clone(), open.clone());
        let spawned = std::thread::Builder::new().name("app".into()).spawn(move || {
            // An error means that this connection is gone or broken; others go on.
            let _ = serve(stream, &loaded);
            counter.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
    ExitCode::SUCCESS
}

fn serve(mut stream: UnixStream, loaded: &Result<Loaded, AppError>) -> std::io::Result<()> {
    while let Some((request, body)) = wire::read::<Request>(&mut stream)? {
        let started = Instant::now();
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(e) => {
                wire::write(&mut stream, &error(e), b"")?;
                std::process::exit(LOAD_FAILED);
            }
        };
        match answer(loaded, request, body, started) {
            Ok((outputs, body)) => {
                let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                wire::write(&mut stream, &Answer::Ok { outputs, micros }, &body)?;
            }
            Err(e) => wire::write(&mut stream, &error(&e), b"")?,
        }
    }
    Ok(())
}

fn error(e: &AppError) -> Answer {
    Answer::Error { code: e.code.to_owned(), message: e.message.clone() }
}

fn answer(loaded: &Loaded, request: Request, body: Vec<u8>, started: Instant) -> Result<(Vec<TensorHeader>, Vec<u8>), AppError> {
    let text = |value: serde_json::Result<Vec<u8>>| {
        value.map(|bytes| (Vec::new(), bytes)).map_err(|e| AppError::new("engine-failed", e.to_string()))
    };
    if matches!(request, Request::Info) {
        return text(serde_json::to_vec(&loaded.about));
    }
    let mut held = loaded.app.lock().unwrap_or_else(PoisonError::into_inner);
    let (app, watches) = &mut *held;
    match request {
        Request::Info => text(serde_json::to_vec(&loaded.about)),
        Request::Golden => text(serde_json::to_vec(&golden::run(app))),
        Request::Predict { params, place, scene } => {
            // Before the agent takes this process for stuck and ends it, for whoever else waits. The time that others took counts.
            app.answer_by(Some(started + ANSWER));
            let answer = app.predict_drawn(&body, &scene, &params, &place);
            app.answer_by(None);
            log(app);
            text(serde_json::to_vec(&answer?))
        }
        Request::Frame { source, width, height, at_ms, params, place, scene } => {
            let picture = pixels(width, height, body)?;
            app.answer_by(Some(started + ANSWER));
            let shot = Shot {
                source: &source,
                picture: &picture,
                at: Duration::from_millis(at_ms),
                params: &params,
                place: &place,
                scene: &scene,
            };
            let answer = watches.answer(app, &shot);
            app.answer_by(None);
            log(app);
            let (output, anew) = answer?;
            text(serde_json::to_vec(&OfFrame { output, anew }))
        }
        // Behind the app's own work: two frames at a time may be more than its memory.
        Request::Picture { size, at, objects, privacy } => {
            let frame = match size {
                Some([width, height]) => pixels(width, height, body)?,
                None => evidence::frame(&body, at)?,
            };
            let made = evidence::pictures(&frame, &objects, privacy, evidence::finds_persons(app.manifest()))?;
            Ok((Vec::new(), wire::packed(&made)))
        }
        Request::Infer { model, inputs } => {
            let outputs = app.infer(Some(&model), &decode(&inputs, &body)?)?;
            let mut headers = Vec::with_capacity(outputs.len());
            let mut bytes = Vec::new();
            for (name, tensor) in outputs {
                let raw = tensor::encode(&tensor.data);
                headers.push(TensorHeader { name, datatype: tensor.data.datatype().to_owned(), shape: tensor.shape, bytes: raw.len() });
                bytes.extend(raw);
            }
            Ok((headers, bytes))
        }
    }
}

/// A frame of pixels. Code `input-not-a-picture`.
fn pixels(width: u32, height: u32, rgb: Vec<u8>) -> Result<DynamicImage, AppError> {
    let wrong = || AppError::new("input-not-a-picture", format!("a frame of {width} × {height} has other bytes than it should"));
    RgbImage::from_raw(width, height, rgb).map(DynamicImage::from).ok_or_else(wrong)
}

/// Passes on what own steps logged. A line of theirs holds no line end; the agent knows these lines by how they begin.
fn log(app: &mut App) {
    app.take_log().iter().for_each(|line| eprintln!("{STEP_SAYS}{line}"));
}

fn decode(inputs: &[TensorHeader], mut body: &[u8]) -> Result<Vec<(String, inference::engine::TensorData)>, AppError> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for input in inputs {
        let wrong = || AppError::new("tensor-shape", format!("{}: bytes, shape and datatype do not fit together", input.name));
        let (bytes, rest) = body.split_at_checked(input.bytes).ok_or_else(wrong)?;
        body = rest;
        tensors.push((input.name.clone(), tensor::decode(&input.datatype, &input.shape, bytes).ok_or_else(wrong)?));
    }
    Ok(tensors)
}

/// Prints the engine's version, or as JSON what a provider is, for the capabilities. Runs in a process of its own, so that the agent never
/// loads the library.
pub fn engine_version(lib: &Path, provider: Option<&Library>) -> ExitCode {
    match OnnxRuntime::init_on(lib, provider) {
        Ok(engine) if provider.is_some() => {
            println!("{}", json!(engine.provider()));
            ExitCode::SUCCESS
        }
        Ok(engine) => {
            println!("{}", engine.version());
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
