//! Use cases: what a stop would do, and doing it.

use serde_json::json;

use crate::account::standing::{self, Ended};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::{Actor, OrgKind, policy};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result};
use crate::base::i18n::Names;
use crate::base::jobs::Job;
use crate::release::model::Event;
use crate::stops::model::{MAX_REASON, MIN_REASON, Preview, Reach, Stop, Subject};
use crate::stops::store;
use crate::{account, catalog, release};

/// What a stop would do now.
///
/// # Errors
/// `not-permitted`; that of the thing where there is none (`release`, `listing`, `organization`, `person`, `session-over`, `token-over`); why
/// it is not possible (`release-state`, `standing-unchanged`, `platform-not-suspended`).
pub async fn preview(app: &App, actor: &Actor, stop: Stop, id: &str) -> Result<Preview> {
    policy::require_or_system(actor, stop.permission())?;
    let (id, now) = (id.to_owned(), app.clock.now());
    app.db
        .read(move |conn| {
            let subject = subject_in(conn, stop, &id, now)?;
            require_possible(conn, stop, &id)?;
            Ok(Preview { stop, subject, reach: reach_in(conn, stop, &id, now)? })
        })
        .await
}

/// Does it; gives what was stopped, and how much it touched.
///
/// # Errors
/// As [`preview`]; a wrong `reason`; `last-administrator`.
pub async fn act(app: &App, actor: &Actor, stop: Stop, id: &str, reason: &str) -> Result<(Subject, Reach)> {
    policy::require_or_system(actor, stop.permission())?;
    let mut faults = Faults::default();
    let reason = faults.text("reason", reason, MIN_REASON, MAX_REASON);
    faults.check()?;
    let id = id.to_owned();
    audit::change(app, actor, move |c| {
        let now = c.now;
        let subject = subject_in(c, stop, &id, now)?;
        let reach = act_in(c, stop, &id, &reason)?;
        let mut detail = json!({"reason": reason});
        if let (Some(detail), Ok(serde_json::Value::Object(touched))) = (detail.as_object_mut(), serde_json::to_value(reach)) {
            detail.extend(touched.into_iter().filter(|(_, n)| *n != json!(0)));
        }
        c.audit(stop.recorded(), &subject.id, &detail);
        Ok((subject, reach))
    })
    .await
}

/// Stops the thing and counts what that touches: after its row was changed, so that nothing comes in between.
fn act_in(c: &mut Change<'_>, stop: Stop, id: &str, reason: &str) -> Result<Reach> {
    let (actor, now) = (c.actor, c.now);
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    // Sessions and tokens that have ended are counted by what ended them.
    let with = |ended: Ended, counted: Reach| Reach { sessions: count(ended.sessions), tokens: count(ended.tokens), ..counted };
    match stop {
        Stop::RecallRelease => {
            release::recall::recall_in(c, id, reason)?;
            c.enqueue(&Job::TellPeople { release_id: id.to_owned(), after: String::new() })?;
            reach_in(c, stop, id, now)
        }
        Stop::SuspendListing => {
            let app = catalog::standing::suspend_in(c, id, reason)?;
            c.poke(&app.organization_id, "releases");
            reach_in(c, stop, id, now)
        }
        Stop::ResumeListing => {
            let app = catalog::standing::resume_in(c, id)?;
            c.poke(&app.organization_id, "releases");
            reach_in(c, stop, id, now)
        }
        Stop::SuspendOrganization => {
            let ended = standing::suspend_in(c, id, reason, now)?;
            let counted = reach_in(c, stop, id, now)?;
            catalog::standing::suspend_all_in(c, id)?;
            Ok(with(ended, counted))
        }
        Stop::ResumeOrganization => {
            let ended = standing::resume_in(c, id, now)?;
            catalog::standing::resume_all_in(c, id)?;
            Ok(with(ended, reach_in(c, stop, id, now)?))
        }
        Stop::DisablePerson => {
            let ended = standing::disable_in(c, actor, id, reason, now)?;
            Ok(with(ended, reach_in(c, stop, id, now)?))
        }
        Stop::EnablePerson => {
            let ended = standing::enable_in(c, id, now)?;
            Ok(with(ended, reach_in(c, stop, id, now)?))
        }
        Stop::EndSessions => Ok(Reach { sessions: count(standing::end_sessions_in(c, id, now)?), ..Reach::default() }),
        Stop::EndSession => {
            standing::end_session_in(c, id, now)?;
            reach_in(c, stop, id, now)
        }
        Stop::RevokeToken => {
            standing::end_token_in(c, id, now)?;
            reach_in(c, stop, id, now)
        }
    }
}

/// How much a stop touches; the caller has asked for the right to see the thing.
pub fn reach_in(conn: &mut Conn, stop: Stop, id: &str, now: Timestamp) -> Result<Reach> {
    Ok(match stop {
        Stop::RecallRelease => store::of_release(conn, id)?,
        Stop::SuspendListing | Stop::ResumeListing => store::of_listing(conn, id)?,
        Stop::SuspendOrganization | Stop::ResumeOrganization => {
            let kind = account::service::get_organization(conn, id).or_not_found("organization")?.kind;
            store::of_organization(conn, id, kind, now)?
        }
        Stop::DisablePerson | Stop::EnablePerson => store::of_person(conn, id, now)?,
        Stop::EndSessions => Reach { people: 0, tokens: 0, ..store::of_person(conn, id, now)? },
        Stop::EndSession => Reach { sessions: 1, ..Reach::default() },
        Stop::RevokeToken => Reach { tokens: 1, ..Reach::default() },
    })
}

/// Checks whether a stop changes anything now; the change itself decides by its own conditional update.
fn require_possible(conn: &mut Conn, stop: Stop, id: &str) -> Result<()> {
    let unchanged = |possible: bool| if possible { Ok(()) } else { Err(Error::conflict("standing-unchanged")) };
    match stop {
        Stop::RecallRelease => release::model::next(release::service::get(conn, id)?.state, Event::Recalled).map(|_| ()),
        Stop::SuspendListing => unchanged(!catalog::standing::is_suspended_itself(conn, id)?),
        Stop::ResumeListing => unchanged(catalog::standing::is_suspended_itself(conn, id)?),
        Stop::SuspendOrganization => {
            if account::service::get_organization(conn, id).or_not_found("organization")?.kind == OrgKind::Platform {
                return Err(Error::conflict("platform-not-suspended"));
            }
            unchanged(standing::suspension(conn, id)?.is_none())
        }
        Stop::ResumeOrganization => unchanged(standing::suspension(conn, id)?.is_some()),
        Stop::DisablePerson => unchanged(standing::disabling(conn, id)?.is_none()),
        Stop::EnablePerson => unchanged(standing::disabling(conn, id)?.is_some()),
        Stop::EndSessions | Stop::EndSession | Stop::RevokeToken => Ok(()),
    }
}

/// What a stop is about, with its page.
fn subject_in(conn: &mut Conn, stop: Stop, id: &str, now: Timestamp) -> Result<Subject> {
    let same = |name: String| Names { zh: name.clone(), en: name };
    Ok(match stop {
        Stop::RecallRelease => {
            let (version, title) = store::release_names(conn, id).or_not_found("release")?;
            let name = Names { zh: format!("{} {version}", title.zh), en: format!("{} {version}", title.en) };
            Subject { id: id.to_owned(), name, href: format!("/admin/releases/{id}") }
        }
        Stop::SuspendListing | Stop::ResumeListing => {
            let app = catalog::service::get_app(conn, id)?;
            let name = Names { zh: app.title_zh, en: app.title_en };
            Subject { id: app.id, name, href: format!("/admin/listings/{id}") }
        }
        Stop::SuspendOrganization | Stop::ResumeOrganization => {
            let found = account::service::get_organization(conn, id).or_not_found("organization")?;
            let name = Names { zh: found.name_zh, en: found.name_en };
            Subject { id: found.id, name, href: format!("/admin/organizations/{id}") }
        }
        Stop::DisablePerson | Stop::EnablePerson | Stop::EndSessions => {
            let (name, email) = store::person(conn, id).or_not_found("person")?;
            Subject { id: id.to_owned(), name: same(format!("{name} <{email}>")), href: format!("/admin/people/{id}") }
        }
        Stop::EndSession => {
            let (user_id, name, address) = store::session(conn, id, now).or_not_found("session-over")?;
            let href = format!("/admin/people/{user_id}");
            // A session has no id that may be shown: the record is about its person.
            Subject { id: user_id, name: same(format!("{name} · {address}")), href }
        }
        Stop::RevokeToken => {
            let (user_id, person, name) = store::token(conn, id, now).or_not_found("token-over")?;
            Subject { id: id.to_owned(), name: same(format!("{person} · {name}")), href: format!("/admin/people/{user_id}") }
        }
    })
}

/// The id that a text of the command line stands for: an id, `vendor/app:version`, `vendor/app`, a short name, an e-mail address.
///
/// # Errors
/// As [`preview`], where there is none.
pub async fn resolve(app: &App, stop: Stop, text: &str) -> Result<String> {
    let text = text.trim().to_owned();
    app.db
        .read(move |conn| {
            Ok(match stop {
                Stop::RecallRelease => match text.split_once(':').and_then(|(name, version)| Some((name.split_once('/')?, version))) {
                    Some(((vendor, app), version)) => store::release_id(conn, vendor, app, version).or_not_found("release")?,
                    None => text,
                },
                Stop::SuspendListing | Stop::ResumeListing => match text.split_once('/') {
                    Some((vendor, app)) => {
                        catalog::service::find_by_slugs(conn, vendor, app)?.ok_or_else(|| Error::not_found("listing"))?.id
                    }
                    None => text,
                },
                Stop::SuspendOrganization | Stop::ResumeOrganization => {
                    account::service::find_organization_by_slug(conn, &text)?.map_or(text, |found| found.id)
                }
                Stop::DisablePerson | Stop::EnablePerson | Stop::EndSessions if text.contains('@') => {
                    store::person_id(conn, &text.to_lowercase()).or_not_found("person")?
                }
                _ => text,
            })
        })
        .await
}
