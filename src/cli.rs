//! The command line: `pithead serve | demo | migrate | admin … | config show`, and for developers and buyers `init | golden | try | pack |
//! check | push | keygen | sign | verify | pull`.

/// Prints a line of the result; see [`write_line`].
macro_rules! print_line {
    ($($words:tt)*) => { $crate::cli::write_line(format_args!($($words)*)) };
}

mod admin;
mod client;
mod folder;
mod golden;
mod init;
mod keys;
mod package;
mod progress;
mod pull;
mod push;
mod reference;
mod roots;
mod sign;
mod stop;
mod tryout;
mod upload;
mod verify;
mod words;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::base::app::App;
use crate::base::clock::Clock;
use crate::base::config::Loaded;
use crate::server::{Server, stop_signal};

/// Writes a line to standard output. Where nobody reads any more (`| head`) the command goes on without a word; where it cannot be written
/// for another reason (a full disk) it ends, for what was asked could not be told.
fn write_line(line: std::fmt::Arguments<'_>) {
    match writeln!(std::io::stdout(), "{line}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("pithead: {e}");
            std::process::exit(i32::from(package::NOT_DONE));
        }
        _ => {}
    }
}

#[derive(Parser)]
#[command(name = "pithead", version, about = "Industrial app marketplace for mining")]
struct Cli {
    /// Settings file (TOML).
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the site, the registry and the node endpoint.
    Serve,
    /// Run the whole chain on this machine with demo data and edge nodes.
    Demo(crate::demo::Options),
    /// Apply database migrations and end.
    Migrate,
    /// Show settings and where each comes from.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// For those who run the platform.
    Admin {
        #[command(subcommand)]
        command: admin::Command,
    },
    /// Begin an app's folder with a model's file.
    Init(init::Init),
    /// Make the expected results of an app's samples anew.
    Golden(golden::Golden),
    /// Run an app's folder on files, and show what it finds.
    Try(tryout::Try),
    /// Pack an app's folder as an OCI image layout in a tar.
    Pack(package::Pack),
    /// Check an app's folder as the platform does.
    Check(package::Check),
    /// Upload an app's folder as a release.
    Push(push::Push),
    /// Make a key pair to sign releases with.
    Keygen(sign::Keygen),
    /// Sign a release that was pushed.
    Sign(sign::Sign),
    /// Check who has signed a release, and that it is what they signed.
    Verify(verify::Verify),
    /// Download a release's files.
    Pull(pull::Pull),
}

impl Command {
    /// Whether it is one of those that tell a fault of the package (1) from what could not be done (2).
    fn is_tool(&self) -> bool {
        match self {
            Self::Init(_)
            | Self::Golden(_)
            | Self::Try(_)
            | Self::Pack(_)
            | Self::Check(_)
            | Self::Push(_)
            | Self::Keygen(_)
            | Self::Sign(_)
            | Self::Verify(_)
            | Self::Pull(_) => true,
            Self::Serve | Self::Demo(_) | Self::Migrate | Self::Config { .. } | Self::Admin { .. } => false,
        }
    }
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print every setting with its origin.
    Show,
}

/// Setting of the allocator: milliseconds after which memory that is free goes back to the system.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Has the allocator give memory back at once: threads that end after a load leave theirs behind otherwise (docs/BENCHMARKS.md). It has no
/// such setting at build time, its call for it is unsafe, and it reads the environment before `main`, so the program begins once more with
/// the setting, as the same process. Whoever sets the variable themselves has their value.
fn give_memory_back() {
    use std::os::unix::process::CommandExt as _;
    if std::env::vars_os().any(|(name, _)| name == PURGE_DELAY) {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // This returns only where it fails, and then all goes on as it is.
        let _ = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(PURGE_DELAY, "0").exec();
    }
}

/// Runs the command of the arguments.
pub fn main() -> ExitCode {
    // The confined child of a check, a scoring, a reading or new samples: before anything else, so that it holds nothing of the server.
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(crate::release::jobs::CHILD_COMMAND) => return inference::worker::child_main(args),
        Some(crate::release::rules::CHILD_COMMAND) => return inference::worker::rules_main(args),
        Some(crate::evaluation::jobs::CHILD_COMMAND) => return inference::worker::evaluation_main(args),
        Some(crate::draft::jobs::READING_COMMAND) => return inference::worker::reading_main(args),
        Some(crate::draft::jobs::SAMPLES_COMMAND) => return inference::worker::samples_main(args),
        _ => {}
    }
    let cli = Cli::parse();
    if matches!(cli.command, Command::Serve | Command::Demo(_)) {
        give_memory_back();
    }
    let failure = if cli.command.is_tool() { ExitCode::from(package::NOT_DONE) } else { ExitCode::FAILURE };
    match run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("pithead: {e:#}");
            failure
        }
    }
}

/// Time for what still runs on threads when a command has ended.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_secs(1);

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Pack(args) => return package::pack(args),
        Command::Push(args) => return push::push(args),
        Command::Keygen(args) => return sign::keygen(args),
        Command::Sign(args) => return sign::sign(args),
        Command::Verify(args) => return verify::verify(args),
        Command::Pull(args) => return pull::pull(args),
        _ => {}
    }
    let loaded = Loaded::load(cli.config.as_deref(), std::env::vars())?;
    if let Command::Config { command: ConfigCommand::Show } = cli.command {
        print_line!("{}", loaded.show().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    match &cli.command {
        Command::Check(args) => return package::check(args, &loaded.settings.checks),
        Command::Init(args) => return init::init(args, &loaded.settings.checks),
        Command::Golden(args) => return golden::golden(args, &loaded.settings.checks),
        Command::Try(args) => return tryout::run(args, &loaded.settings.checks),
        _ => {}
    }
    crate::base::private::by_default();
    if let Command::Admin { command: admin::Command::Keys { command } } = &cli.command
        && !matches!(command, keys::Command::Resign)
    {
        return keys::run(&loaded.settings, command);
    }
    init_log(&loaded.settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(loaded.settings.server.blocking_threads.max(4))
        .build()?;
    let outcome = runtime.block_on(async {
        if let Command::Demo(options) = cli.command {
            return crate::demo::run(options).await;
        }
        if let Command::Admin { command } = &cli.command {
            admin::check(&loaded.settings, command)?;
        }
        let app = App::open(loaded.settings, Clock::System)?;
        match cli.command {
            Command::Serve => serve(app).await,
            Command::Admin { command } => admin::run(&app, command).await,
            // Done above.
            _ => Ok(ExitCode::SUCCESS),
        }
    });
    // A thread that waits for the child of a job that was given back would wait for its end.
    runtime.shutdown_timeout(SHUTDOWN);
    outcome
}

async fn serve(app: App) -> anyhow::Result<ExitCode> {
    let server = Server::start(app).await?;
    tracing::info!(address = %server.address, edge_address = %server.edge_address, "ready");
    stop_signal().await?;
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Parsers of requests that log what a client does wrong (TLS on the plain port, a broken head) as errors of ours.
const NOISE: [&str; 3] = ["actix_http::h1::dispatcher=off", "actix_http::h1::decoder=off", "actix_http::h2::dispatcher=off"];

/// The filter of a level; noise that strangers can make is shown only where the level names `actix_http`.
fn log_filter(level: &str) -> anyhow::Result<tracing_subscriber::EnvFilter> {
    let mut filter = tracing_subscriber::EnvFilter::try_new(level).context("log.level")?;
    if !level.contains("actix_http") {
        for directive in NOISE {
            filter = filter.add_directive(directive.parse()?);
        }
    }
    Ok(filter)
}

fn init_log(log: &crate::base::config::Log) -> anyhow::Result<()> {
    let filter = log_filter(&log.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // Where standard error takes nothing (a full disk), it would be told there too, and that ends the task that wrote the line.
    let builder = builder.log_internal_errors(false);
    let result = if log.format == "json" { builder.json().try_init() } else { builder.with_target(false).try_init() };
    result.map_err(|e| anyhow::anyhow!("log: {e}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    /// Remembers the targets of what passes.
    #[derive(Clone, Default)]
    struct Passed(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Passed {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(event.metadata().target().to_owned());
        }
    }

    fn passed(level: &str) -> Vec<String> {
        let passed = Passed::default();
        let subscriber = tracing_subscriber::registry().with(log_filter(level).unwrap()).with(passed.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "actix_http::h1::dispatcher", "stream error: Invalid Method specified");
            tracing::error!(target: "pithead::server", "ours");
            tracing::debug!(target: "pithead::server", "detail");
        });
        passed.0.lock().unwrap().clone()
    }

    #[test]
    fn strangers_write_no_errors_into_the_log() {
        assert_eq!(passed("info"), ["pithead::server"]);
        assert_eq!(passed("info,actix_http=debug"), ["actix_http::h1::dispatcher", "pithead::server"]);
        assert_eq!(passed("debug").len(), 2, "also where all else is shown");
    }
}
