//! Use cases of moderation: opening and deciding cases, reading the queue, the platform's overview.

use serde_json::json;

use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, Person, policy};
use crate::base::db::{Conn, Json, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::ids;
use crate::moderation::model::{Case, CaseDecision, CaseLine, CaseState, ModerationDecision};
use crate::moderation::store;
use crate::release::difference::Flag;
use crate::release::model::{Release, ReleaseState};
use crate::webhook::model::EventKind;
use crate::{account, audit, release};

pub use super::store::{count_open, open_cases};

/// Cases on one page.
pub const PAGE: i64 = 50;
/// Topic of pokes about the moderators' queue.
pub const TOPIC: &str = "cases";
/// Entries of the short lists on the overview and on a case's page.
pub const SHORT: i64 = 5;

/// Opens the case of a release that was just submitted, in the caller's transaction; gives its id. The caller has checked that the actor
/// may submit. `flags` is why a moderator should look twice.
///
/// # Errors
/// `case-open`: the release waits for a moderator already.
pub fn open_case_in(c: &mut Change<'_>, release: &Release, organization_id: &str, flags: Vec<Flag>) -> Result<String> {
    let case = Case {
        id: ids::new("cas"),
        release_id: release.id.clone(),
        app_id: release.app_id.clone(),
        organization_id: organization_id.to_owned(),
        state: CaseState::Open,
        reason: String::new(),
        opened_by: c.actor.person()?.user_id.clone(),
        opened_at: c.now,
        decided_by: None,
        decided_at: None,
        flags: Json::new(flags),
    };
    // The table allows one open case for each release.
    store::insert(c, &case).or_conflict("case-open")?;
    let detail = json!({"release": case.release_id, "app": case.app_id, "flags": *case.flags});
    c.audit("case.opened", &case.id, &detail);
    for id in account::service::platform_organizations(c)? {
        c.poke(&id, TOPIC);
    }
    Ok(case.id)
}

/// Whether a person may not decide a case, because they opened it or belong to the organisation whose release it is.
fn is_own(conn: &mut Conn, person: &Person, case: &Case) -> Result<bool> {
    let same = case.opened_by == person.user_id || case.organization_id == person.organization_id;
    Ok(same || store::is_member(conn, &case.organization_id, &person.user_id)?)
}

/// Decides an open case. Approval signs, publishes and lists the release in the same transaction.
///
/// # Errors
/// `case`; `own-case`; `case-decided` where another moderator was faster; on the field `reason`: `required`, `too-short`, `too-long`;
/// those of publishing.
pub async fn decide(app: &App, actor: &Actor, case_id: &str, decision: ModerationDecision, reason: &str) -> Result<()> {
    policy::require(actor, Action::DecideCases)?;
    let (composed, case_id, reason) = (app.clone(), case_id.to_owned(), reason.to_owned());
    audit::change(app, actor, move |c| decide_in(c, &composed, &case_id, decision, &reason)).await
}

/// As [`decide`], in the caller's transaction.
pub fn decide_in(c: &mut Change<'_>, app: &App, case_id: &str, decision: ModerationDecision, reason: &str) -> Result<()> {
    let (person, now) = (policy::require(c.actor, Action::DecideCases)?, c.now);
    let case = store::get(c, case_id).or_not_found("case")?;
    // State first: nobody shall improve the reason for a case that is decided already.
    if case.state != CaseState::Open {
        return Err(Error::conflict("case-decided"));
    }
    if is_own(c, person, &case)? {
        return Err(Error::forbidden("own-case"));
    }
    let reason = decision.reason(reason)?;
    exactly_one(store::decide(c, &case.id, decision.outcome(), &reason, &person.user_id, now)?, "case-decided")?;
    let detail = json!({"release": case.release_id, "app": case.app_id, "reason": reason});
    c.audit(decision.action(), &case.id, &detail);
    match decision {
        ModerationDecision::Approve => release::service::approve_in(c, app, &case.release_id)?,
        ModerationDecision::RequestChanges | ModerationDecision::Reject => {
            send_back(c, &case.release_id, decision, now)?;
            let release = release::service::get(c, &case.release_id)?;
            release::service::told(c, &release, EventKind::ReleaseRefused, Some(&reason))?;
        }
    }
    c.wake_search();
    c.poke(&person.organization_id, TOPIC);
    c.poke(&case.organization_id, release::service::topic(&case.release_id));
    c.poke(&case.organization_id, "releases");
    Ok(())
}

/// The release goes back to its vendor, or is refused.
fn send_back(conn: &mut Conn, release_id: &str, decision: ModerationDecision, now: Timestamp) -> Result<()> {
    let to = if decision == ModerationDecision::Reject { ReleaseState::Rejected } else { ReleaseState::ChangesRequested };
    release::service::mark_in(conn, release_id, &[ReleaseState::InReview], to, now)
}

/// The content of a case, but for its release.
#[derive(Debug)]
pub struct CaseDetail {
    /// The case with its names.
    pub line: CaseLine,
    /// Name of the person who submitted the release.
    pub opened_by: String,
    /// Name of the moderator who decided.
    pub decided_by: Option<String>,
    /// Other versions: version, state, uploaded; newest first.
    pub versions: Vec<(String, String, Timestamp)>,
    /// Other decisions on this app: case, version, moderator's name; newest first.
    pub decisions: Vec<(Case, String, Option<String>)>,
    /// The reader may not decide this case, for it is their own or their organisation's.
    pub own: bool,
}

/// One case.
///
/// # Errors
/// `case`: there is none.
pub fn detail_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<CaseDetail> {
    let person = policy::require(actor, Action::ViewCases)?;
    let line = store::line(conn, id).or_not_found("case")?;
    let case = &line.case;
    let opened_by = store::user_name(conn, &case.opened_by)?;
    let decided_by = case.decided_by.as_deref().map(|id| store::user_name(conn, id)).transpose()?;
    let versions = store::other_versions(conn, &case.app_id, &case.release_id, SHORT)?;
    let mut decisions = store::decisions_of(conn, &case.app_id, SHORT)?;
    decisions.retain(|(earlier, ..)| earlier.id != case.id);
    let own = is_own(conn, person, case)?;
    Ok(CaseDetail { line, opened_by, decided_by, versions, decisions, own })
}

/// The last decision on a release, for its vendor's page.
pub fn latest_decision(conn: &mut Conn, release_id: &str) -> Result<Option<CaseDecision>> {
    Ok(store::latest_decision(conn, release_id)?)
}

/// Open cases, oldest first, one more than a page; and how many there are.
pub async fn list_open(app: &App, actor: &Actor, after: Option<String>) -> Result<(i64, Vec<CaseLine>)> {
    policy::require(actor, Action::ViewCases)?;
    app.db.read(move |conn| Ok((store::count_open(conn)?, store::open_cases(conn, after.as_deref(), PAGE + 1)?))).await
}

/// Decided cases, newest first, one more than a page; and how many are open.
pub async fn list_decided(app: &App, actor: &Actor, before: Option<String>) -> Result<(i64, Vec<CaseLine>)> {
    policy::require(actor, Action::ViewCases)?;
    app.db.read(move |conn| Ok((store::count_open(conn)?, store::list_decided(conn, before.as_deref(), PAGE + 1)?))).await
}
