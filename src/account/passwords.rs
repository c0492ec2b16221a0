//! Passwords: changing one's own, and choosing a new one with a link where it is forgotten. The link comes by mail, from an administrator or
//! from the command line.
//!
//! A new password replaces the one that was read before (a conditional update), ends all sessions that the old one opened and forgets their
//! browsers and addresses, and ends the links that were still open; what the old one would open at the same moment it opens no more
//! ([`still_in`]). Whether an address has an account is not told, neither by the answer nor by its time: what is asked for is looked
//! up in a job.

use chrono::TimeDelta;
use serde_json::json;

use super::model::{LinkPurpose, User, valid_email};
use super::sign_in::{Browser, Opening, SignedIn};
use super::{links, sessions, store, throttle};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::password::{self, Line};
use crate::base::auth::policy::{self, Action};
use crate::base::db::Conn;
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Error, Faults, Kind, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Lang;
use crate::base::jobs::Job;
use crate::base::networks::network_of;
use crate::base::notify::{Notice, NoticeKind};

/// Window in which requests for a new password are counted.
const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Requests from one network address in the window.
const PER_ADDRESS: i64 = 20;
/// Links to one person in the window.
const PER_PERSON: i64 = 3;

/// Changes the password of the person who is signed in; ends their other sessions and gives how many.
///
/// # Errors
/// Wrong fields: `current_password` (`current-password-wrong`), `new_password` (too weak, `password-unchanged`); `sign-in-throttled`, `password-just-changed`.
pub async fn change(app: &App, actor: &Actor, current: String, new: String, browser: Browser<'_>, lang: Lang) -> Result<usize> {
    let (person, token_hash) = sessions::own_session(actor)?;
    // First: of who guesses no new password is judged.
    let (user, attempt) = prove(app, &person.user_id, current.clone(), browser).await?;
    let mut faults = Faults::default();
    let own = [&*person.email, &person.name, &person.organization_slug, &person.organization_name.zh, &person.organization_name.en];
    password::check(&mut faults, "new_password", &new, &own).await?;
    if new == current {
        faults.add("new_password", "password-unchanged");
    }
    faults.check()?;
    let hash = password::hash(Line::Known, new).await?;
    let keep = token_hash.to_owned();
    audit::change(app, actor, move |c| {
        c.uncounted();
        let ended = replace_in(c, &user, &hash, &keep, lang)?;
        attempt.succeeded_in(c)?;
        c.audit("password.changed", &user.id, &json!({"sessions_ended": ended}));
        Ok(ended)
    })
    .await
}

/// Makes the person prove who they are by their password, as slowly as at sign-in.
///
/// # Errors
/// Wrong field `current_password` (`current-password-wrong`); `sign-in-throttled`.
pub(super) async fn prove(app: &App, user_id: &str, current: String, browser: Browser<'_>) -> Result<(User, throttle::Attempt)> {
    let id = user_id.to_owned();
    let user = app.db.read(move |conn| store::get_user(conn, &id).or_not_found("person")).await?;
    let attempt = throttle::password(app, &user.email, browser).await?;
    if current.len() > password::MAX_BYTES || !password::verify(Line::Known, current, Some(user.password_hash.clone())).await? {
        attempt.failed(app).await?;
        return Err(Error::field("current_password", "current-password-wrong"));
    }
    Ok((user, attempt))
}

/// Holds the person, and gives whether the password that they proved before is still theirs: a new one that came in between has ended all
/// that the old one may open.
pub(super) fn still_in(conn: &mut Conn, user: &User) -> Result<bool> {
    dialect::hold(conn, Row::User(&user.id))?;
    Ok(store::get_user(conn, &user.id)?.password_hash == user.password_hash)
}

/// Replaces the password; ends sessions but one and open links, and tells the person. Gives how many sessions ended.
fn replace_in(c: &mut Change<'_>, user: &User, hash: &str, keep: &str, lang: Lang) -> Result<usize> {
    let now = c.now;
    exactly_one(store::set_password(c, &user.id, &user.password_hash, hash)?, "password-just-changed")?;
    let ended = store::revoke_other_sessions(c, &user.id, keep, now)?;
    // Who had the old password must not go on as a known browser or address.
    store::delete_other_sessions(c, &user.id, keep)?;
    // All of them: one to another address would undo what the new password is for.
    store::revoke_links(c, &user.id, LinkPurpose::ALL, now)?;
    let notice = Notice::new(NoticeKind::PasswordChanged, lang, &user.id, &user.email).arg("address", &user.email);
    c.enqueue(&notice.job())?;
    Ok(ended)
}

/// Takes a request for a new password from anybody. What comes of it is the same whether the address has an account or not.
///
/// # Errors
/// Wrong field `email` (`email-invalid`); `reset-throttled`: too many requests from this network address.
pub async fn forgotten(app: &App, email: &str, address: &str, lang: Lang) -> Result<()> {
    let email = email.trim().to_lowercase();
    if !valid_email(&email) {
        return Err(Error::field("email", "email-invalid"));
    }
    let subject = format!("reset-from:{}", network_of(address));
    audit::change(app, &Actor::Anonymous, move |c| {
        let now = c.now;
        if throttle::count_in(c, &subject, WINDOW, now)? > PER_ADDRESS {
            return Err(Error::rate_limited("reset-throttled").arg("minutes", WINDOW.num_minutes()).retry_after(WINDOW));
        }
        c.enqueue(&Job::OfferReset { email: email.clone(), lang })
    })
    .await
}

/// The job of such a request: sends a link, where there is somebody to send it to and they did not get too many.
pub async fn offer_reset(app: &App, email: &str, lang: Lang) -> Result<()> {
    let (email, by_mail) = (email.to_owned(), app.settings.mail.is_on());
    audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let known = store::find_user_by_email(c, &email)?.filter(|user| user.disabled_at.is_none());
        let Some(user) = known else { return Ok(()) };
        if throttle::count_in(c, &format!("reset:{}", user.id), WINDOW, now)? > PER_PERSON {
            return Ok(());
        }
        let notice = Notice::new(NoticeKind::ResetPassword, lang, &user.id, &user.email)
            .arg("address", &user.email)
            .arg("minutes", NoticeKind::RESET_LIFE.num_minutes());
        // Without mail nobody would get the link.
        let notice =
            if by_mail { notice.link(path(&links::issue_in(c, LinkPurpose::ResetPassword, &user.id, &user.email, now)?)) } else { notice };
        c.enqueue(&notice.job())?;
        record_in(c, "password.reset-asked", &user.id, &json!({}))
    })
    .await
}

/// Records what happens to a person who is not signed in, in the chain of their first organisation.
pub(super) fn record_in(c: &mut Change<'_>, action: &str, user_id: &str, detail: &serde_json::Value) -> Result<()> {
    match store::first_organization_of(c, user_id)? {
        Some(id) => c.audit_for(&id, action, user_id, detail),
        None => c.audit_as(&Actor::System, action, user_id, detail),
    }
    Ok(())
}

/// Path of the page where the holder of a link's secret chooses a new password. The secret is in the query, which is never logged.
fn path(secret: &str) -> String {
    format!("/new-password?secret={secret}")
}

/// The link of a secret.
pub fn link(app: &App, secret: &str) -> String {
    format!("{}{}", app.settings.server.public_url, path(secret))
}

/// Makes a link for somebody who cannot get mail, in place of an older one that was made so; gives its secret, to be shown once. Whoever hands
/// it over has made sure who the person is. What strangers ask to be mailed does not end it.
///
/// # Errors
/// `person`, `link-just-made`.
pub async fn issue_reset(app: &App, actor: &Actor, user_id: &str) -> Result<String> {
    policy::require(actor, Action::ResetPasswords)?;
    let user_id = user_id.to_owned();
    audit::change(app, actor, move |c| {
        let user = store::get_user(c, &user_id).or_not_found("person")?;
        issue_in(c, &user)
    })
    .await
}

/// The same by address, for the command line.
///
/// # Errors
/// `person`.
pub async fn issue_reset_by_address(app: &App, email: &str) -> Result<String> {
    let email = email.trim().to_lowercase();
    audit::change(app, &Actor::System, move |c| {
        let user = store::find_user_by_email(c, &email)?.ok_or_else(|| Error::not_found("person"))?;
        issue_in(c, &user)
    })
    .await
}

fn issue_in(c: &mut Change<'_>, user: &User) -> Result<String> {
    let now = c.now;
    let secret = links::issue_in(c, LinkPurpose::ResetByHand, &user.id, &user.email, now)?;
    c.audit("password.reset-issued", &user.id, &json!({}));
    Ok(secret)
}

/// Who a page about a person's password is about: name and address.
///
/// # Errors
/// `person`.
pub async fn whose(app: &App, actor: &Actor, user_id: &str) -> Result<(String, String)> {
    policy::require(actor, Action::ResetPasswords)?;
    let id = user_id.to_owned();
    let user = app.db.read(move |conn| store::get_user(conn, &id).or_not_found("person")).await?;
    Ok((user.name, user.email))
}

/// Chooses a new password by a link; ends all sessions of the person and opens one in this browser, which is known from then on: who was
/// attacked would otherwise wait with the attackers. The inner error says why none was opened, as at sign-in; the password is new all the same.
///
/// # Errors
/// `link-over`; wrong field `password`; `password-just-changed`.
pub async fn reset(app: &App, secret: &str, new: String, browser: Browser<'_>, lang: Lang) -> Result<Result<SignedIn>> {
    let (text, now) = (secret.to_owned(), app.clock.now());
    // Look first: a link that is over must not cost the hashing of a password.
    let looked_up = app.db.read(move |conn| {
        let link = links::find_in(conn, LinkPurpose::RESETS, &text, now)?;
        let own = own_words(conn, &link.user_id)?;
        Ok((link.user_id, own))
    });
    let (user_id, own) = looked_up.await?;
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut faults = Faults::default();
    password::check(&mut faults, "password", &new, &own).await?;
    faults.check()?;
    let hash = password::hash(Line::Known, new).await?;
    let secret = secret.to_owned();
    // A new cookie: who had the old password may have had the old one, too.
    let (opening, cookies) = Opening::new(app, &user_id, Browser { device: None, ..browser });
    let opened = audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let link = links::use_in(c, LinkPurpose::RESETS, &secret, now)?;
        let user = store::get_user(c, &link.user_id)?;
        // Asked before the sessions that tell it are gone.
        let organization = store::organization_to_open(c, &user.id)?;
        let ended = replace_in(c, &user, &hash, "", lang)?;
        record_in(c, "password.reset", &user.id, &json!({"sessions_ended": ended}))?;
        match opening.open_in(c, organization.as_deref(), false) {
            Err(e) if e.kind != Kind::Forbidden => Err(e),
            opened => Ok(opened),
        }
    })
    .await?;
    Ok(opened.map(|()| cookies))
}

/// What belongs to a person and must not be their password.
fn own_words(conn: &mut Conn, user_id: &str) -> diesel::QueryResult<Vec<String>> {
    let user = store::get_user(conn, user_id)?;
    let organizations = store::organizations_of(conn, user_id)?;
    Ok(organizations.into_iter().flat_map(|(_, zh, en)| [zh, en]).chain([user.email, user.name]).collect())
}

#[cfg(test)]
mod tests;
