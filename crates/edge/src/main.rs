//! Command line of the node agent.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use inference::provider::{self, Library};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use pithead_edge::agent::{Agent, Config};
use pithead_edge::identity::{Identity, Summary};
use pithead_edge::sources::decoder;
use pithead_edge::state::StateFile;
use pithead_edge::{enroll, host, local, run, token};

/// Where the local API listens unless told otherwise.
const LISTEN: &str = "127.0.0.1:9101";

/// Pithead node agent.
#[derive(Parser)]
#[command(name = "pithead-edge", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make this machine a node with the one-time code that the platform shows.
    Enroll {
        #[arg(long, help = "Address of the platform for nodes, for example https://pithead.example:8443")]
        server: String,
        /// One-time code.
        #[arg(long)]
        code: String,
        /// Digest of the platform's CA certificate, sha256:….
        #[arg(long)]
        ca_pin: String,
        /// Data folder.
        #[arg(long, default_value = "pithead-edge-data")]
        data: PathBuf,
        /// Address that `run` will use for the local API.
        #[arg(long)]
        listen: Option<String>,
    },
    /// Run the agent.
    Run {
        /// Data folder.
        #[arg(long, default_value = "pithead-edge-data")]
        data: PathBuf,
        /// Address of the local API.
        #[arg(long)]
        listen: Option<String>,
        /// ONNX Runtime library (`libonnxruntime.so`).
        #[arg(long, env = "PITHEAD_EDGE_ORT_LIB")]
        ort_lib: PathBuf,
        /// Library of a provider that apps which name it may run on in the CPU's place: openvino, cuda or cann. As often as there are such.
        #[arg(long = "provider", value_name = "NAME=LIBRARY", env = "PITHEAD_EDGE_PROVIDERS", value_delimiter = ',')]
        providers: Vec<Library>,
        /// ffmpeg, version 6 or newer, for cameras and video files; without this the one on the search path.
        #[arg(long, env = "PITHEAD_EDGE_FFMPEG")]
        ffmpeg: Option<PathBuf>,
        /// Run apps also where the kernel cannot confine them (no landlock or no filter of system calls): only on a machine that you
        /// would let their developers use.
        #[arg(long)]
        allow_unconfined: bool,
        /// Take over a data folder that comes from another machine, which is gone for good.
        #[arg(long)]
        adopt: bool,
        /// File with a token that callers of the local API must show (`Authorization: Bearer …`).
        #[arg(long)]
        token_file: Option<PathBuf>,
        /// Connections of the local API at a time.
        #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(2..=65_536))]
        connections: u32,
        /// Requests of one app in hand at a time; more are answered 503 with `Retry-After`.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_024))]
        waiting: u32,
    },
    /// Show what this node is and what it has installed, as JSON.
    Status {
        /// Data folder.
        #[arg(long, default_value = "pithead-edge-data")]
        data: PathBuf,
    },
    /// The agent's own child process for one app.
    #[command(hide = true)]
    AppHost(host::Options),
    /// The agent's own child process that becomes ffmpeg.
    #[command(hide = true)]
    Decoder(decoder::Options),
    /// Prints the version of ONNX Runtime.
    #[command(hide = true)]
    EngineVersion {
        /// ONNX Runtime library.
        #[arg(long)]
        ort_lib: PathBuf,
        /// Prints what this provider is instead.
        #[arg(long)]
        provider: Option<Library>,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // Where standard error takes nothing (a full disk), it would be told there too, and that ends the task that wrote the line.
    log.log_internal_errors(false).init();
    match Cli::parse().command {
        Command::AppHost(options) => host::main(&options),
        Command::Decoder(options) => decoder::main(&options),
        Command::EngineVersion { ort_lib, provider } => host::engine_version(&ort_lib, provider.as_ref()),
        other => match execute(other) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("pithead-edge: {e:#}");
                ExitCode::FAILURE
            }
        },
    }
}

#[tokio::main]
async fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Enroll { server, code, ca_pin, data, listen } => {
            let identity = enroll::enroll(&data, &server, &code, &ca_pin, listen).await?;
            println!("{}", serde_json::to_string_pretty(&Summary::from(&identity))?);
            // The advice goes to standard error: standard output is JSON.
            let data = std::path::absolute(&data)?;
            eprintln!(
                "This machine is now a node. Next:\n  pithead-edge run --data {} --ort-lib /path/to/libonnxruntime.so",
                data.display()
            );
            Ok(())
        }
        Command::Run { data, listen, ort_lib, providers, ffmpeg, allow_unconfined, adopt, token_file, connections, waiting } => {
            // Paths are made absolute once: child processes get them too, and none may depend on the working folder.
            let data = std::path::absolute(&data)?;
            let ort_lib = std::path::absolute(&ort_lib)?;
            anyhow::ensure!(ort_lib.exists(), "no ONNX Runtime library at {}", ort_lib.display());
            let ffmpeg = ffmpeg.map(std::path::absolute).transpose()?.or_else(decoder::on_path);
            // One that is not there is told and tried all the same: a node does not stay down for want of it.
            let providers = provider::distinct(providers)?;
            let (mut token, mut open) = (None, None);
            if let Some(file) = token_file {
                token = token::of(&data, &file)?;
                open = token.is_none().then(|| token::missing(&file));
            }
            if let Some(fault) = &open {
                tracing::error!(%fault, "the local API asks for no token");
            }
            raise_open_files();
            let exe = PathBuf::from("/proc/self/exe");
            let (connections, waiting) = (usize::try_from(connections)?, usize::try_from(waiting)?);
            let agent = Agent::open(Config {
                data,
                ort_lib,
                providers,
                ffmpeg,
                exe,
                wait_seconds: 25,
                allow_unconfined,
                adopt,
                token,
                open,
                connections,
                waiting,
            })?;
            let listen = listen.or_else(|| agent.identity().listen).unwrap_or_else(|| LISTEN.to_owned());
            let cancel = CancellationToken::new();
            tokio::spawn(on_signal(cancel.clone()));
            let loops = tokio::spawn(run::run(agent.clone(), cancel.clone()));
            let served = local::serve(agent.clone(), &listen, cancel.clone()).await.with_context(|| format!("local API on {listen}"));
            cancel.cancel();
            loops.await?;
            served
        }
        Command::Status { data } => {
            let identity = Identity::load(&data)?.context("this machine is not enrolled")?;
            let state = StateFile::open(&data)?.get();
            println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "node": Summary::from(&identity), "state": state }))?);
            Ok(())
        }
        Command::AppHost(_) | Command::Decoder(_) | Command::EngineVersion { .. } => Ok(()),
    }
}

/// Raises the limit of open files to what the system allows: each connection to the local API is one.
fn raise_open_files() {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limits.maximum, maximum: limits.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

/// Ends the agent on SIGINT and SIGTERM.
async fn on_signal(cancel: CancellationToken) {
    let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    cancel.cancel();
}
