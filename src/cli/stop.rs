//! `pithead admin release recall …`, `listing …`, `organization …`, `person …`, `token …`: stopping things from the machine that
//! holds the data. Without `--yes` a command only says what it would touch.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::account::directory;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
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
    /// Show their sessions and API tokens that are not over.
    Sessions {
        /// The person.
        person: String,
    },
    /// Sign one browser out; `sessions` shows what names it.
    EndSession(Target),
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

impl Token {
    pub fn of(self) -> (Stop, Target) {
        match self {
            Self::Revoke(target) => (Stop::RevokeToken, target),
        }
    }
}

/// Runs a command about a person.
pub async fn person(app: &App, command: Person) -> anyhow::Result<ExitCode> {
    let stop = match command {
        Person::Sessions { person } => return sessions(app, &person).await,
        Person::Disable(target) => (Stop::DisablePerson, target),
        Person::Enable(target) => (Stop::EnablePerson, target),
        Person::EndSessions(target) => (Stop::EndSessions, target),
        Person::EndSession(target) => (Stop::EndSession, target),
    };
    run(app, stop).await
}

/// Prints what a person is signed in with. What names a session is the hash of its cookie, with which nobody gets in.
async fn sessions(app: &App, person: &str) -> anyhow::Result<ExitCode> {
    let id = service::resolve(app, Stop::EndSessions, person).await.map_err(told)?;
    let found = directory::person(app, &Actor::System, id).await.map_err(told)?;
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    for session in &found.sessions {
        let (since, used) = (session.created_at.rfc3339(), session.seen_at.rfc3339());
        print_line!(
            "session {}\n  since {since}, used {used}, from {} {}",
            session.token_hash,
            session.address,
            plain(&session.user_agent)
        );
    }
    for token in &found.tokens {
        let (until, used) = (token.expires_at.rfc3339(), token.used_at.map_or_else(|| "never".into(), Timestamp::rfc3339));
        print_line!("token {}\n  until {until}, used {used}, for {}, {}", token.id, token.scopes, plain(&token.name));
    }
    Ok(ExitCode::SUCCESS)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::service as account;
    use crate::base::ids::hash_secret;
    use crate::testing::{self, PASSWORD, each_backend};

    #[tokio::test]
    async fn one_session_ends_where_it_is_meant() {
        each_backend(|app| async move {
            testing::vendor(&app, "acme").await;
            let sign_in = async || account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
            let (lost, kept) = (sign_in().await, sign_in().await);
            let lives = async |cookie: &str| account::authenticate_session(&app, cookie).await.unwrap().as_person().is_some();
            let end = async |yes: bool| {
                let reason = yes.then(|| "lost phone".to_owned());
                person(&app, Person::EndSession(Target { subject: hash_secret(&lost), reason, yes })).await
            };
            person(&app, Person::Sessions { person: "Owner@acme.example".into() }).await.unwrap();
            end(false).await.unwrap();
            assert!(lives(&lost).await, "it was only asked");
            end(true).await.unwrap();
            assert!(!lives(&lost).await && lives(&kept).await);
            assert!(end(true).await.unwrap_err().to_string().contains("over"));
            assert!(person(&app, Person::Sessions { person: "nobody@acme.example".into() }).await.is_err());
        })
        .await;
    }
}
