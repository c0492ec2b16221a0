//! Signing in: by a password, by the link that made a new one, by an invitation.
//!
//! A right password is never counted as a guess. What bounds it is for the person alone: each sign-in leaves a session and a record, so there
//! are [`SIGN_INS`], and [`MAX_OPEN`] sessions are open at once. A link that made a new password opens a session whatever the password
//! before was used for: such links are few.

use chrono::TimeDelta;
use serde_json::json;

use super::model::{Session, User};
use super::throttle::Attempt;
use super::{access, passwords, sessions, standing, store, throttle};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::{Actor, Via, password};
use crate::base::db::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids;
use crate::base::rate::{self, Rate};

/// Sign-ins of one person: so many at once, and twice as many in an hour.
const SIGN_INS: Rate = Rate { units: 30, every: TimeDelta::minutes(30) };
/// Sessions of one person that are open at once. One more ends the one that was used longest ago: who works in a browser is not signed out by
/// a program that signs in again and again.
pub const MAX_OPEN: i64 = 50;

/// Where a request to sign in comes from.
#[derive(Debug, Clone, Copy)]
pub struct Browser<'a> {
    /// Client address.
    pub address: &'a str,
    pub user_agent: &'a str,
    /// Value of its cookie from an earlier sign-in.
    pub device: Option<&'a str>,
}

impl<'a> Browser<'a> {
    /// A program at an address that keeps no cookie.
    pub const fn at(address: &'a str) -> Self {
        Self { address, user_agent: "", device: None }
    }

    /// Its cookie; what is no secret of ours is none.
    pub(super) fn secret(&self) -> Option<&'a str> {
        self.device.filter(|secret| secret.len() == ids::SECRET_CHARS)
    }
}

/// The cookies of a browser that has signed in.
#[derive(Debug)]
pub struct SignedIn {
    pub session: String,
    /// Outlives the session, so that the browser is known next time.
    pub device: String,
}

/// As [`sign_in_on`], for a program that keeps no second cookie; gives the value of the session cookie.
pub async fn sign_in(app: &App, email: &str, password: String, address: &str, user_agent: &str) -> Result<String> {
    Ok(sign_in_on(app, email, password, Browser { user_agent, ..Browser::at(address) }).await?.session)
}

/// Signs a browser in.
///
/// # Errors
/// `wrong-password` (also for an unknown account: which it was is not told), `sign-in-throttled`; with the right password, the reason of
/// the platform: `person-disabled`, `organization-suspended` where the person has no other; `no-organization`; `too-many-sign-ins`.
pub async fn sign_in_on(app: &App, email: &str, password: String, browser: Browser<'_>) -> Result<SignedIn> {
    let (user, attempt) = by_password(app, email.trim().to_lowercase(), password, browser).await?;
    open(app, user, attempt, browser).await
}

/// Whose address it is, proved by their password.
///
/// # Errors
/// `wrong-password` (also for an unknown account: which it was is not told, nor by the time), `sign-in-throttled`.
pub(super) async fn by_password(app: &App, email: String, password: String, browser: Browser<'_>) -> Result<(User, Attempt)> {
    let attempt = throttle::password(app, &email, browser).await?;
    let user = app.db.read(move |conn| Ok(store::find_user_by_email(conn, &email)?)).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let fits = password.len() <= password::MAX_BYTES && password::verify(attempt.line(), password, hash).await?;
    if let Some(user) = user.filter(|_| fits) {
        return Ok((user, attempt));
    }
    attempt.failed(app).await?;
    Err(Error::unauthenticated("wrong-password"))
}

/// Opens a session for a person who has proved their password.
///
/// # Errors
/// As [`sign_in_on`]; `wrong-password` also where the password was replaced meanwhile.
pub(super) async fn open(app: &App, user: User, attempt: Attempt, browser: Browser<'_>) -> Result<SignedIn> {
    let (opening, cookies) = Opening::new(app, &user.id, browser);
    let id = user.id.clone();
    let opened = audit::change(app, &Actor::System, move |c| {
        if !passwords::still_in(c, &user)? {
            return Err(Error::unauthenticated("wrong-password"));
        }
        opening.open_in(c, None, attempt.from_known_browser())?;
        spend_in(c, &user.id)?;
        attempt.succeeded_in(c)
    })
    .await;
    if let Err(e) = opened {
        // The change is undone, so the record has one of its own.
        if e.kind == Kind::Forbidden {
            access::not_let_in(app, &id, browser.address, e.code).await?;
        }
        return Err(e);
    }
    tracing::info!(user = id, address = browser.address, "signed in");
    Ok(cookies)
}

/// Takes one of a person's sign-ins by a password.
///
/// # Errors
/// `too-many-sign-ins`.
pub(super) fn spend_in(c: &mut Change<'_>, user_id: &str) -> Result<()> {
    let now = c.now;
    match rate::spend(c, vec![(format!("sign-ins:{user_id}"), SIGN_INS)], now)? {
        Some(wait) => Err(throttle::throttled("too-many-sign-ins", wait)),
        None => Ok(()),
    }
}

/// A session to open.
pub(super) struct Opening {
    session: Session,
    /// Sessions that were last used before that are over.
    idle: Timestamp,
}

impl Opening {
    /// With the cookies that the browser gets once it is open.
    pub(super) fn new(app: &App, user_id: &str, browser: Browser<'_>) -> (Self, SignedIn) {
        let now = app.clock.now();
        let cookies = SignedIn { session: ids::secret(), device: browser.secret().map_or_else(ids::secret, ToOwned::to_owned) };
        let session = Session {
            token_hash: ids::hash_secret(&cookies.session),
            user_id: user_id.to_owned(),
            organization_id: String::new(),
            csrf_token: ids::secret(),
            address: browser.address.chars().take(60).collect(),
            user_agent: browser.user_agent.chars().take(200).collect(),
            created_at: now,
            seen_at: now,
            expires_at: now.plus(TimeDelta::hours(app.settings.sessions.hours)),
            revoked_at: None,
            device_hash: Some(ids::hash_secret(&cookies.device)),
        };
        (Self { session, idle: sessions::idle_since(app, now) }, cookies)
    }

    /// Opens it, for an organisation or the one that [`store::organization_to_open`] gives. Nothing is written where it is refused. The caller
    /// holds the person, or has just made them or replaced their password, which is the same.
    ///
    /// # Errors
    /// `person-disabled`, `organization-suspended`, `no-organization`.
    pub(super) fn open_in(&self, c: &mut Change<'_>, organization_id: Option<&str>, known_browser: bool) -> Result<()> {
        let (user_id, now) = (&self.session.user_id, c.now);
        standing::require_enabled(c, user_id)?;
        let chosen = match organization_id {
            Some(id) => Some(id.to_owned()),
            None => store::organization_to_open(c, user_id)?,
        };
        let Some(organization_id) = chosen else {
            return Err(match store::suspended_reason_for(c, user_id)? {
                Some(reason) => Error::forbidden("organization-suspended").arg("reason", reason),
                None => Error::forbidden("no-organization"),
            });
        };
        let person = store::find_person(c, user_id, &organization_id)?.ok_or_else(|| Error::forbidden("no-organization"))?;
        let person = Actor::Person(Box::new(person), Via::System);
        let ended = store::revoke_sessions_over(c, user_id, MAX_OPEN - 1, self.idle, now)?;
        if ended > 0 {
            c.audit_as(&person, "session.ended", user_id, &json!({"sessions": ended, "most": MAX_OPEN}));
        }
        let detail = json!({"address": self.session.address, "known_browser": known_browser});
        c.audit_as(&person, "person.signed-in", user_id, &detail);
        store::insert_session(c, &Session { organization_id, ..self.session.clone() })?;
        Ok(())
    }
}
