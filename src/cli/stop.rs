//! `pithead admin release recall …`, `listing …`, `organization …`, `person …`, `token …`: stopping things from the machine that
//! holds the data. Without `--yes` a command only says what it would touch.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::i18n::Lang;
use crate::cli::admin::told;
use crate::stops::model::Stop;
use crate::stops::service;

/// What is stopped, why, and whether it is meant.
#[derive(Debug, Args)]
pub struct Target {
    /// What to stop.
    subject: String,
    /// Why: 3 to 500 characters, kept in the audit log and shown to those whom it concerns.
    #[arg(long, required_if_eq("yes", "true"))]
    reason: Option<String>,
    /// Do it. Without this, the command only says what it would touch.
    #[arg(long)]
    yes: bool,
}

/// A release, named `VENDOR/APP:VERSION` or by its id.
#[derive(Debug, Subcommand)]
pub enum Release {
    /// Take it from everybody who has not got it, for good. What runs goes on, and its operators are told.
    Recall(Target),
}

/// A listing, named `VENDOR/APP` or by the app's id.
#[derive(Debug, Subcommand)]
pub enum Listing {
    /// Take it off the market. What was bought goes on.
    Suspend(Target),
    /// Let it go on.
    Resume(Target),
}

/// An organisation, named by its short name or id.
#[derive(Debug, Subcommand)]
pub enum Organization {
    /// Stop its people, tokens and listings. Its nodes go on.
    Suspend(Target),
    /// Let it go on.
    Resume(Target),
}

/// A person, named by e-mail address or id.
#[derive(Debug, Subcommand)]
pub enum Person {
    /// End their sessions and tokens, and let them sign in no more.
    Disable(Target),
    /// Let them sign in again.
    Enable(Target),
    /// Sign them out everywhere.
    EndSessions(Target),
}

/// An API token, named by its id.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// End it, and the registry tokens that were made with it.
    Revoke(Target),
}

impl Release {
    pub fn of(self) -> (Stop, Target) {
        match self {
            Self::Recall(target) => (Stop::RecallRelease, target),
        }
    }
}

impl Listing {
    pub fn of(self) -> (Stop, Target) {
        match self {
            Self::Suspend(target) => (Stop::SuspendListing, target),
            Self::Resume(target) => (Stop::ResumeListing, target),
        }
    }
}

impl Organization {
    pub fn of(self) -> (Stop, Target) {
        match self {
            Self::Suspend(target) => (Stop::SuspendOrganization, target),
            Self::Resume(target) => (Stop::ResumeOrganization, target),
        }
    }
}

impl Person {
    pub fn of(self) -> (Stop, Target) {
        match self {
            Self::Disable(target) => (Stop::DisablePerson, target),
            Self::Enable(target) => (Stop::EnablePerson, target),
            Self::EndSessions(target) => (Stop::EndSessions, target),
        }
    }
}

impl Token {
    pub fn of(self) -> (Stop, Target) {
        match self {
            Self::Revoke(target) => (Stop::RevokeToken, target),
        }
    }
}

/// Says what the stop touches, and does it with `--yes`. The server may run meanwhile: it reads who may act at each request, and does the
/// jobs of a recall itself.
pub async fn run(app: &App, (stop, target): (Stop, Target)) -> anyhow::Result<ExitCode> {
    let id = service::resolve(app, stop, &target.subject).await.map_err(told)?;
    let found = service::preview(app, &Actor::System, stop, &id).await.map_err(told)?;
    print_line!("{}: {}", Lang::En.t(&format!("stop-title-{stop}")), Lang::En.pick(&found.subject.name.zh, &found.subject.name.en));
    print_line!("{}", Lang::En.t(&format!("stop-what-{stop}")));
    for line in found.reach.words(Lang::En) {
        print_line!("  {line}");
    }
    if !target.yes {
        print_line!("Nothing was done. To do it, give --reason TEXT --yes.");
        return Ok(ExitCode::SUCCESS);
    }
    let reason = target.reason.unwrap_or_default();
    service::act(app, &Actor::System, stop, &id, &reason).await.map_err(told)?;
    print_line!("Done.");
    Ok(ExitCode::SUCCESS)
}
