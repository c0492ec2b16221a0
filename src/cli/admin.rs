//! `pithead admin …`: for those who run the platform, on the machine that holds its data.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use crate::account::{passwords, service as account};
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Role;
use crate::base::config::Settings;
use crate::base::db::Location;
use crate::base::error::Error;
use crate::base::i18n::Lang;
use crate::cli::{keys, stop};
use crate::registry::{collect, quota, scrub};

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a person to the platform's own organisation; the first one makes it. Nobody can sign up as the platform.
    AddPerson(AddPerson),
    /// Make a link with which a person chooses a new password. It works once, within 30 minutes, and ends an older one.
    ResetPassword {
        /// Address that the person signs in with.
        email: String,
    },
    /// What the registry stores.
    Storage {
        /// What of it.
        #[command(subcommand)]
        command: Storage,
    },
    /// The audit log.
    Audit {
        /// What of it.
        #[command(subcommand)]
        command: Audit,
    },
    /// The platform's signing keys and the root documents that name them.
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Recall a release.
    Release {
        #[command(subcommand)]
        command: stop::Release,
    },
    /// Suspend a listing, or let it go on.
    Listing {
        #[command(subcommand)]
        command: stop::Listing,
    },
    /// Suspend an organisation, or let it go on.
    Organization {
        #[command(subcommand)]
        command: stop::Organization,
    },
    /// Disable or enable a person, show their sessions, or end one or all of them.
    Person {
        #[command(subcommand)]
        command: stop::Person,
    },
    /// Revoke an API token.
    Token {
        #[command(subcommand)]
        command: stop::Token,
    },
}

/// What can be asked of the audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check the chain of hashes; name the first broken record.
    Verify,
}

/// What can be asked of the registry's store. The server may run meanwhile.
#[derive(Debug, Subcommand)]
pub enum Storage {
    /// Remove blobs that nothing refers to, and what was left of broken uploads.
    Collect {
        /// Only count them.
        #[arg(long)]
        dry_run: bool,
    },
    /// Read every blob again and report damage; ends with status 1 if there is any.
    Scrub {
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what an organisation stores and may store, or set what it may.
    Quota {
        /// Short name of the organisation.
        organization: String,
        /// GiB that it may store.
        #[arg(long, conflicts_with = "default")]
        gib: Option<u64>,
        /// Back to the setting `registry.quota_gib`.
        #[arg(long)]
        default: bool,
    },
}

/// Options of `add-person`.
#[derive(Debug, clap::Args)]
pub struct AddPerson {
    /// E-mail address to sign in with.
    #[arg(long)]
    email: String,
    /// The person's name.
    #[arg(long)]
    name: String,
    /// What they may do.
    #[arg(long, default_value = "administrator", value_parser = ["administrator", "moderator", "finance", "auditor"])]
    role: String,
    /// File with the password; without it the password is read from standard input.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Name of the platform, asked for only with the first person.
    #[arg(long, default_value = "Pithead")]
    platform: String,
    /// Short name of the platform, asked for only with the first person; the first free of platform, platform-2, … without it.
    #[arg(long)]
    slug: Option<String>,
}

/// What needs a database must not make an empty one where there is none.
///
/// # Errors
/// There is none to look at.
pub fn check(settings: &Settings, command: &Command) -> anyhow::Result<()> {
    let looks = !matches!(command, Command::AddPerson(_));
    if let (true, Location::Sqlite(path)) = (looks, Location::parse(&settings.database.url)?) {
        anyhow::ensure!(std::path::Path::new(&path).exists(), "there is no database at {path}: is this the right data folder?");
    }
    Ok(())
}

/// Runs a command.
pub async fn run(app: &App, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::AddPerson(options) => add_person(app, options).await,
        Command::ResetPassword { email } => {
            let secret = passwords::issue_reset_by_address(app, &email).await.map_err(told)?;
            print_line!("{}", passwords::link(app, &secret));
            Ok(ExitCode::SUCCESS)
        }
        Command::Storage { command } => storage(app, command).await,
        Command::Audit { command: Audit::Verify } => verify_audit(app).await,
        // The others need no database, and were done without one.
        Command::Keys { .. } => keys::resign(app).await,
        Command::Release { command } => stop::run(app, command.of()).await,
        Command::Listing { command } => stop::run(app, command.of()).await,
        Command::Organization { command } => stop::run(app, command.of()).await,
        Command::Person { command } => stop::person(app, command).await,
        Command::Token { command } => stop::run(app, command.of()).await,
    }
}

async fn add_person(app: &App, options: AddPerson) -> anyhow::Result<ExitCode> {
    let mut password = String::new();
    if let Some(path) = &options.password_file {
        password = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    } else {
        eprintln!("Password, then the end of input (Ctrl-D):");
        std::io::stdin().read_to_string(&mut password)?;
    }
    password.truncate(password.trim_end_matches(['\r', '\n']).len());
    anyhow::ensure!(!password.contains('\n'), "the password must be one line");
    let role: Role = options.role.parse()?;
    let AddPerson { email, name, platform, slug, .. } = &options;
    account::add_platform_person(app, role, email, name, &password, platform, slug.clone()).await.map_err(told)?;
    print_line!("{} may sign in as {role} of the platform", options.email);
    Ok(ExitCode::SUCCESS)
}

/// An error of a service in words.
pub(super) fn told(error: Error) -> anyhow::Error {
    let words = |code, args: &[(&'static str, String)]| crate::base::i18n::error_text(Lang::En, code, args);
    let fields: Vec<String> = error.fields.iter().map(|f| format!("{}: {}", f.field, words(f.code, &f.args))).collect();
    if fields.is_empty() { anyhow::anyhow!("{}", words(error.code, &error.args)) } else { anyhow::anyhow!("{}", fields.join("; ")) }
}

async fn storage(app: &App, command: Storage) -> anyhow::Result<ExitCode> {
    match command {
        Storage::Collect { dry_run } => {
            let found = collect::collect(app, dry_run).await.map_err(told)?;
            let done = if dry_run { "would be removed" } else { "removed" };
            print_line!("{done}: {} blobs ({} bytes), {} of them known to no row", found.blobs + found.strays, found.bytes, found.strays);
            print_line!("{done}: {} links of repositories, {} staged files of no upload", found.links, found.staged);
        }
        Storage::Scrub { json } => {
            let found = scrub::scrub(app, |damaged| {
                if !json {
                    print_line!("damaged ({:?}): {} in {}", damaged.damage, damaged.digest, damaged.repositories.join(", "));
                }
            });
            let found = found.await.map_err(told)?;
            if json {
                print_line!("{}", serde_json::to_string(&found)?);
            } else {
                print_line!(
                    "{} blobs read, {} bytes, and {} manifests; {} damaged",
                    found.blobs,
                    found.bytes,
                    found.manifests,
                    found.damaged.len()
                );
            }
            if !found.damaged.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Storage::Quota { organization, gib, default } => {
            let usage =
                if gib.is_some() || default { quota::set(app, &organization, gib).await } else { quota::show(app, &organization).await };
            let usage = usage.map_err(told)?;
            print_line!("{organization}: {} bytes stored of {}", usage.used, usage.limit);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify_audit(app: &App) -> anyhow::Result<ExitCode> {
    use audit::model::ChainVerdict;
    match audit::service::verify(app).await.map_err(|e| anyhow::anyhow!("{e}"))? {
        ChainVerdict::Intact { records: 0, .. } => anyhow::bail!("there are no audit records: is this the right data folder?"),
        ChainVerdict::Intact { records, chains, seals, signed, noted } => {
            print_line!("audit chains intact: {records} records in {chains} chains, {seals} seals, {signed} of them signed");
            if seals > 0 && !noted {
                print_line!("no seal is noted in the data folder: whether the newest ones are missing is not known");
            }
            Ok(ExitCode::SUCCESS)
        }
        ChainVerdict::Broken { chain, sequence, fault } if chain.is_empty() => {
            print_line!("audit seal {sequence} broken: {fault}");
            print_line!("{}", Lang::En.format(&format!("audit-seal-{fault}"), &[("n", &sequence.to_string())]));
            Ok(ExitCode::FAILURE)
        }
        ChainVerdict::Broken { chain, sequence, fault } => {
            print_line!("audit chain {chain} broken at record {sequence}: {fault}");
            Ok(ExitCode::FAILURE)
        }
    }
}
