//! Use cases of moderation: opening and deciding cases, reading the queue, the platform's overview.

use serde_json::json;

use super::model::{Case, CaseDecision, CaseState, Decision};
use super::store::{self, Line};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Person};
use crate::base::db::{Conn, Json, Timestamp};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Lang;
use crate::base::ids;
use crate::release::difference::Flag;
use crate::release::model::{Release, ReleaseState};
use crate::trust::evidence::Evidence;
use crate::{audit, catalog, release, trade, trust};

/// Cases on one page.
pub const PAGE: i64 = 50;
/// Topic of pokes about the queue.
pub const TOPIC: &str = "cases";
/// Entries of the short lists on overview and case.
const SHORT: i64 = 5;
/// A node counts as up when it was seen within this time (three heartbeats).
const UP_WITHIN: chrono::TimeDelta = chrono::TimeDelta::seconds(45);

/// Opens the case of a release that was just submitted, in the caller's transaction; gives its id. The caller has checked that the actor
/// may submit. `flags` is why a moderator should look twice.
///
/// # Errors
/// `case-open`: the release waits for a moderator already.
pub fn open_case(c: &mut Change<'_>, release: &Release, organization_id: &str, flags: Vec<Flag>) -> Result<String> {
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
    // One open case for each release is what the table holds to.
    store::insert(c, &case).or_conflict("case-open")?;
    let detail = json!({"release": case.release_id, "app": case.app_id, "flags": *case.flags});
    c.audit("case.opened", &case.id, &detail);
    for id in platform_organizations(c)? {
        c.poke(&id, TOPIC);
    }
    Ok(case.id)
}

/// Ids of the platform's own organisations: whom to poke.
pub fn platform_organizations(conn: &mut Conn) -> Result<Vec<String>> {
    Ok(store::platform_ids(conn)?)
}

/// Whether a person may not decide a case, because they opened it or belong to the organisation whose release it is.
fn is_own(conn: &mut Conn, person: &Person, case: &Case) -> Result<bool> {
    let same = case.opened_by == person.user_id || case.organization_id == person.organization_id;
    Ok(same || store::is_member(conn, &case.organization_id, &person.user_id)?)
}

/// Decides an open case. Approval signs, publishes and lists the release in the same transaction.
///
/// # Errors
/// `case`; `own-case`; `case-decided` where somebody was faster; on the field `reason`: `required`, `too-short`, `too-long`; those of
/// publishing.
pub async fn decide(app: &App, actor: &Actor, case_id: &str, decision: Decision, reason: &str) -> Result<()> {
    let person = policy::require(actor, Action::DecideCases)?.clone();
    let reason = reason.to_owned();
    let (composed, case_id) = (app.clone(), case_id.to_owned());
    audit::change(app, actor, move |c| {
        let now = c.now;
        let case = store::get(c, &case_id).or_not_found("case")?;
        // First, so that nobody is asked for a better reason for what is decided.
        if case.state != CaseState::Open {
            return Err(Error::conflict("case-decided"));
        }
        if is_own(c, &person, &case)? {
            return Err(Error::forbidden("own-case"));
        }
        let reason = decision.reason(&reason)?;
        exactly_one(store::decide(c, &case.id, decision.outcome(), &reason, &person.user_id, now)?, "case-decided")?;
        let detail = json!({"release": case.release_id, "app": case.app_id, "reason": reason});
        c.audit(decision.action(), &case.id, &detail);
        match decision {
            Decision::Approve => release::service::approve_in(c, &composed, &case.release_id)?,
            Decision::RequestChanges | Decision::Reject => send_back(c, &case.release_id, decision, now)?,
        }
        c.wake_search();
        c.poke(&person.organization_id, TOPIC);
        c.poke(&case.organization_id, release::service::topic(&case.release_id));
        c.poke(&case.organization_id, "releases");
        Ok(())
    })
    .await
}

/// The release goes back to its vendor, or is refused.
fn send_back(conn: &mut Conn, release_id: &str, decision: Decision, now: Timestamp) -> Result<()> {
    let to = if decision == Decision::Reject { ReleaseState::Rejected } else { ReleaseState::ChangesRequested };
    release::service::mark_in(conn, release_id, &[ReleaseState::InReview], to, now)
}

/// The last decision on a release, for its vendor's page.
pub fn latest_decision(conn: &mut Conn, release_id: &str) -> Result<Option<CaseDecision>> {
    Ok(store::latest_decision(conn, release_id)?)
}

/// Open cases, oldest first, one more than a page; and how many there are.
pub async fn list_open(app: &App, actor: &Actor, after: Option<String>) -> Result<(i64, Vec<Line>)> {
    policy::require(actor, Action::ViewCases)?;
    app.db.read(move |conn| Ok((store::count_open(conn)?, store::list_open(conn, after.as_deref(), PAGE + 1)?))).await
}

/// Decided cases, newest first, one more than a page; and how many are open.
pub async fn list_decided(app: &App, actor: &Actor, before: Option<String>) -> Result<(i64, Vec<Line>)> {
    policy::require(actor, Action::ViewCases)?;
    app.db.read(move |conn| Ok((store::count_open(conn)?, store::list_decided(conn, before.as_deref(), PAGE + 1)?))).await
}

/// A case with all that its page shows.
#[derive(Debug)]
pub struct CaseDetail {
    /// The case.
    pub case: Case,
    /// Name of who submitted.
    pub opened_by: String,
    /// Name of who decided.
    pub decided_by: Option<String>,
    /// The release as a buyer would see it: texts, pictures, check report, chain.
    pub listing: catalog::service::Listing,
    /// Bytes of the release.
    pub size_bytes: i64,
    /// Vendor slug and app slug.
    pub place: (String, String),
    /// Other versions: version, state, uploaded; newest first.
    pub versions: Vec<(String, String, Timestamp)>,
    /// Earlier decisions on this app: case, version, who; newest first.
    pub decisions: Vec<(Case, String, Option<String>)>,
    /// The reader may not decide it.
    pub own: bool,
    /// Signatures and documents attached to the release.
    pub evidence: Evidence,
}

/// One case.
///
/// # Errors
/// `case`: there is none.
pub async fn detail(app: &App, actor: &Actor, lang: Lang, case_id: String) -> Result<CaseDetail> {
    let person = policy::require(actor, Action::ViewCases)?.clone();
    let (case, opened_by, decided_by, size_bytes, place, versions, decisions, own) = app
        .db
        .read(move |conn| {
            let case = store::get(conn, &case_id).or_not_found("case")?;
            let opened_by = store::user_name(conn, &case.opened_by)?;
            let decided_by = case.decided_by.as_deref().map(|id| store::user_name(conn, id)).transpose()?;
            let (size_bytes, vendor, slug) = store::place(conn, &case.release_id)?;
            let versions = store::other_versions(conn, &case.app_id, &case.release_id, SHORT)?;
            let mut decisions = store::decisions_of(conn, &case.app_id, SHORT)?;
            decisions.retain(|(earlier, ..)| earlier.id != case.id);
            let own = is_own(conn, &person, &case)?;
            Ok((case, opened_by, decided_by, size_bytes, (vendor, slug), versions, decisions, own))
        })
        .await?;
    let (vendor, slug) = place.clone();
    let listing = catalog::service::listing(app, actor, lang, vendor, slug, Some(case.release_id.clone())).await?;
    let evidence = trust::evidence::of_release(app, &listing.subject()).await?;
    Ok(CaseDetail { case, opened_by, decided_by, listing, size_bytes, place, versions, decisions, own, evidence })
}

/// What the platform's overview shows. Parts that the reader may not see are none.
#[derive(Debug)]
pub struct Overview {
    /// Open cases and the oldest of them.
    pub cases: Option<(i64, Vec<Line>)>,
    /// Orders that wait for payment and the oldest of them.
    pub payments: Option<(i64, Vec<trade::service::Awaiting>)>,
    /// Developers, listings, mines, nodes up.
    pub figures: (i64, i64, i64, i64),
}

/// The platform's overview, for everyone who works there.
pub async fn overview(app: &App, actor: &Actor) -> Result<Overview> {
    let cases = policy::require(actor, Action::ViewCases);
    let payments = policy::require(actor, Action::ViewPayments);
    if let (Err(e), Err(_)) = (&cases, &payments) {
        return Err(Error::new(e.kind, e.code));
    }
    let (cases, payments) = (cases.is_ok(), payments.is_ok());
    let up_since = app.clock.now().minus(UP_WITHIN);
    app.db
        .read(move |conn| {
            Ok(Overview {
                cases: if cases { Some((store::count_open(conn)?, store::list_open(conn, None, SHORT)?)) } else { None },
                payments: if payments { Some(trade::service::awaiting_in(conn, SHORT)?) } else { None },
                figures: catalog::store::figures(conn, up_since)?,
            })
        })
        .await
}
