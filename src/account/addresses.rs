//! Addresses: who signs up has yet to prove that theirs is their own, by a one-time link that is sent there. A new address takes the old
//! one's place when it is proved; where this server sends no mail, at once, and an administrator may confirm it.

use chrono::TimeDelta;
use serde_json::json;

use super::model::{LinkPurpose, valid_email};
use super::sign_in::Browser;
use super::{links, passwords, store, throttle};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Person};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Lang;
use crate::base::notify::{Notice, NoticeKind};

/// Window in which links to prove an address are counted.
const WINDOW: TimeDelta = TimeDelta::hours(1);
/// Links that one person has sent to addresses in the window.
const PER_PERSON: i64 = 5;
/// Code of a refusal because this network address was told too often that an e-mail address has an account.
const ASKED_TOO_OFTEN: &str = "sign-in-throttled";

/// Sends the person a link to prove their address.
///
/// # Errors
/// `address-proved`, `proof-throttled`.
pub async fn send_proof(app: &App, actor: &Actor, lang: Lang) -> Result<()> {
    let person = actor.person_themselves()?.clone();
    if person.email_verified {
        return Err(Error::conflict("address-proved"));
    }
    audit::change(app, actor, move |c| send_in(c, &person, &person.email, lang)).await
}

/// Counts a link that a person has sent.
fn count_proof(c: &mut Change<'_>, person: &Person) -> Result<()> {
    let now = c.now;
    if throttle::count_in(c, &format!("proof:{}", person.user_id), WINDOW, now)? > PER_PERSON {
        return Err(Error::rate_limited("proof-throttled").arg("minutes", WINDOW.num_minutes()).retry_after(WINDOW));
    }
    Ok(())
}

fn send_in(c: &mut Change<'_>, person: &Person, email: &str, lang: Lang) -> Result<()> {
    let now = c.now;
    count_proof(c, person)?;
    let secret = links::issue_in(c, LinkPurpose::ProveAddress, &person.user_id, email, now)?;
    let notice = Notice::new(NoticeKind::ProveAddress, lang, &person.user_id, email)
        .arg("address", email)
        .arg("hours", links::life(LinkPurpose::ProveAddress).num_hours())
        .link(format!("/confirm-address?secret={secret}"))
        .caused_by(Some(&person.organization_id));
    c.enqueue(&notice.job())
}

/// Tells who has the account of an address that somebody else gave it as theirs; once a day at most.
fn tell_holder_in(c: &mut Change<'_>, email: &str, lang: Lang) -> Result<()> {
    let now = c.now;
    let Some(holder) = store::find_user_by_email(c, email)? else { return Ok(()) };
    if throttle::count_in(c, &format!("in-use:{}", holder.id), TimeDelta::days(1), now)? > 1 {
        return Ok(());
    }
    let notice = Notice::new(NoticeKind::AddressInUse, lang, &holder.id, email).arg("address", email).link("/sign-in".into());
    c.enqueue(&notice.job())
}

/// As [`tell_holder_in`], after a sign-up that was refused.
pub(super) async fn tell_holder(app: &App, email: String, lang: Lang) -> Result<()> {
    audit::change(app, &Actor::System, move |c| tell_holder_in(c, &email, lang)).await
}

/// Takes another address for the person, who proves themselves by their password. Says whether it is theirs already: where mail is sent it
/// becomes so by the link. There the answer does not tell whether it is another's: that person gets a mail, and the asker's open link ends
/// as if it was replaced.
///
/// # Errors
/// Wrong fields: `email` (`email-invalid`, `email-unchanged`), `current_password`; `sign-in-throttled`, `proof-throttled`,
/// `password-just-changed`; where no mail is sent `email-taken`, a few times to one network address.
pub async fn change(app: &App, actor: &Actor, email: &str, current: String, browser: Browser<'_>, lang: Lang) -> Result<bool> {
    let person = actor.person_themselves()?.clone();
    let email = email.trim().to_lowercase();
    if !valid_email(&email) {
        return Err(Error::field("email", "email-invalid"));
    }
    if email == person.email {
        return Err(Error::field("email", "email-unchanged"));
    }
    let at_once = !app.settings.mail.is_on();
    if at_once {
        throttle::not_asking(app, browser.address, ASKED_TOO_OFTEN).await?;
    }
    let (user, attempt) = passwords::prove(app, &person.user_id, current, browser).await?;
    let changed = audit::change(app, actor, move |c| {
        let now = c.now;
        if !passwords::still_in(c, &user)? {
            return Err(Error::conflict("password-just-changed"));
        }
        let taken = store::find_user_by_email(c, &email)?.is_some();
        if taken && at_once {
            return Err(Error::conflict("email-taken"));
        }
        if taken {
            count_proof(c, &person)?;
            store::revoke_links(c, &person.user_id, LinkPurpose::PROOFS, now)?;
            tell_holder_in(c, &email, lang)?;
        } else if at_once {
            replace_in(c, &person.user_id, &person.email, &email, false, lang)?;
            c.audit("address.changed", &person.user_id, &json!({"email": email}));
        } else {
            send_in(c, &person, &email, lang)?;
        }
        attempt.succeeded_in(c)?;
        Ok(at_once)
    })
    .await;
    if matches!(&changed, Err(e) if e.code == "email-taken") {
        throttle::taken(app, browser.address, ASKED_TOO_OFTEN).await?;
    }
    changed
}

/// Gives the person an address and tells the old one.
fn replace_in(c: &mut Change<'_>, user_id: &str, old: &str, new: &str, proved: bool, lang: Lang) -> Result<()> {
    let now = c.now;
    let replaced = store::set_email(c, user_id, old, new, proved.then_some(now)).or_conflict("email-taken")?;
    exactly_one(replaced, "address-just-changed")?;
    if old != new {
        // Links to the old address end with it.
        store::revoke_links(c, user_id, LinkPurpose::RESETS, now)?;
        let notice = Notice::new(NoticeKind::AddressChanged, lang, user_id, old).arg("address", new);
        c.enqueue(&notice.job())?;
    }
    Ok(())
}

/// Proves the address of a link; it becomes its person's, if it is not yet. Gives the address.
///
/// # Errors
/// `link-over`, `email-taken`.
pub async fn prove(app: &App, secret: &str, lang: Lang) -> Result<String> {
    let secret = secret.to_owned();
    audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let link = links::use_in(c, LinkPurpose::PROOFS, &secret, now)?;
        let user = store::get_user(c, &link.user_id)?;
        replace_in(c, &user.id, &user.email, &link.email, true, lang)?;
        passwords::record_in(c, "address.proved", &user.id, &json!({"email": link.email}))?;
        Ok(link.email)
    })
    .await
}

/// Confirms a person's address, which the administrator has made sure of by other means.
///
/// # Errors
/// `address-just-changed`: it is another one, or there is no such person.
pub async fn confirm(app: &App, actor: &Actor, user_id: &str, email: &str) -> Result<()> {
    policy::require(actor, Action::ResetPasswords)?;
    let (user_id, email) = (user_id.to_owned(), email.to_owned());
    audit::change(app, actor, move |c| {
        let now = c.now;
        exactly_one(store::set_email(c, &user_id, &email, &email, Some(now))?, "address-just-changed")?;
        store::revoke_links(c, &user_id, LinkPurpose::PROOFS, now)?;
        c.audit("address.confirmed", &user_id, &json!({"email": email}));
        Ok(())
    })
    .await
}
