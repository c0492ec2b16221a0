//! Colleagues: members, invitations by link.
//!
//! An address has one open invitation to an organisation at most, and a removal ends it: nobody comes back by a link that was forgotten.
//! Each change of a team holds the organisation's row, so that on PostgreSQL too the changes follow one another.

use chrono::TimeDelta;
use serde_json::json;

use super::model::{Invitation, Membership, TeamMember, valid_email};
use super::sign_in::{Browser, Opening, SignedIn};
use super::{addresses, passwords, service, sign_in, standing, store, throttle};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, OrgKind, Person, Role};
use crate::base::db::Conn;
use crate::base::db::dialect::{self, Row};
use crate::base::error::{Error, Faults, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Lang;
use crate::base::ids;
use crate::base::networks::network_of;
use crate::base::rate::{self, Rate};

/// Days an invitation is good for.
const INVITATION_DAYS: i64 = 7;
/// People of an organisation, those who are invited counted: a bound against scripts.
const MAX_TEAM: i64 = 500;
/// Invitations of an organisation. Who makes an account by one reads whether its address has one already: whoever wants to know that of many
/// addresses must not be told fast.
const INVITATIONS: u32 = 100;
/// Invitations from one network, whichever organisations they are of: whoever wants to know signs up more than one.
const INVITATIONS_FROM: u32 = 50;
/// Code of a refusal because this network address was told too often that an e-mail address has an account.
const ASKED_TOO_OFTEN: &str = "sign-in-throttled";

/// Members and open invitations of the actor's organisation.
pub async fn list(app: &App, actor: &Actor) -> Result<(Vec<TeamMember>, Vec<Invitation>)> {
    let organization_id = policy::require(actor, Action::ViewTeam)?.organization_id.clone();
    let now = app.clock.now();
    app.db.read(move |conn| Ok((store::list_members(conn, &organization_id)?, store::list_invitations(conn, &organization_id, now)?))).await
}

/// Checks again that the actor may manage the team, once the organisation's row is held: two who remove each other at once must not
/// both succeed.
fn require_still(conn: &mut Conn, person: &Person) -> Result<()> {
    let now = store::find_person(conn, &person.user_id, &person.organization_id)?;
    let may = now.is_some_and(|p| policy::permits(p.kind, p.role, Action::ManageTeam));
    if may { Ok(()) } else { Err(Error::forbidden("not-permitted")) }
}

/// Invites a colleague, in place of an older open invitation to the same address; gives the secret part of the link, which is shown once.
/// `address` is the client's.
///
/// # Errors
/// Wrong fields: `email-invalid`, `role-invalid` (not a role of this kind of organisation); `team-full`, `too-many-invitations`.
pub async fn invite(app: &App, actor: &Actor, email: &str, role: &str, address: &str) -> Result<String> {
    let person = policy::require(actor, Action::ManageTeam)?.clone();
    let mut faults = Faults::default();
    let email = email.trim().to_lowercase();
    if !valid_email(&email) {
        faults.add("email", "email-invalid");
    }
    let role = role.parse::<Role>().ok().filter(|r| Role::of(person.kind).contains(r));
    if role.is_none() {
        faults.add("role", "role-invalid");
    }
    faults.check()?;
    let Some(role) = role else { return Err(Error::field("role", "role-invalid")) };
    let (secret, now, network) = (ids::secret(), app.clock.now(), network_of(address));
    let invitation = Invitation {
        id: ids::new("inv"),
        organization_id: person.organization_id.clone(),
        email,
        role,
        token_hash: ids::hash_secret(&secret),
        invited_by: person.user_id.clone(),
        created_at: now,
        expires_at: now.plus(TimeDelta::days(INVITATION_DAYS)),
        accepted_at: None,
        revoked_at: None,
    };
    audit::change(app, actor, move |c| {
        dialect::hold(c, Row::Organization(&invitation.organization_id))?;
        require_still(c, &person)?;
        let known = store::find_user_by_email(c, &invitation.email)?;
        if let Some(user) = known
            && store::is_member(c, &invitation.organization_id, &user.id)?
        {
            return Err(Error::field("email", "already-a-member"));
        }
        if store::count_team(c, &invitation.organization_id, now)? >= MAX_TEAM {
            return Err(Error::conflict("team-full").arg("max", MAX_TEAM));
        }
        let buckets = [
            (format!("invitations:{}", invitation.organization_id), INVITATIONS),
            (format!("invitations-from:{network}"), INVITATIONS_FROM),
        ];
        for (subject, max) in buckets {
            if let Some(wait) = rate::spend(c, vec![(subject, Rate::daily(max))], now)? {
                return Err(Error::rate_limited("too-many-invitations").arg("max", max).retry_after(wait));
            }
        }
        let replaced = store::revoke_invitations_to(c, &invitation.organization_id, &invitation.email, &invitation.id, now)?;
        store::insert_invitation(c, &invitation)?;
        c.audit("member.invited", &invitation.id, &json!({"email": invitation.email, "role": role, "invitations_ended": replaced}));
        Ok(())
    })
    .await?;
    Ok(secret)
}

/// Takes an open invitation back.
pub async fn revoke_invitation(app: &App, actor: &Actor, id: String) -> Result<()> {
    let organization_id = policy::require(actor, Action::ManageTeam)?.organization_id.clone();
    audit::change(app, actor, move |c| {
        c.uncounted();
        let now = c.now;
        exactly_one(store::revoke_invitation(c, &id, &organization_id, now)?, "invitation-over")?;
        c.audit("invitation.revoked", &id, &json!({}));
        Ok(())
    })
    .await
}

/// Removes a colleague from the organisation and ends what could bring them back: sessions, tokens, open invitations. Nobody removes
/// themselves, and who was just removed removes nobody, so someone who manages the team always remains.
pub async fn remove(app: &App, actor: &Actor, user_id: String) -> Result<()> {
    let person = policy::require(actor, Action::ManageTeam)?.clone();
    if person.user_id == user_id {
        return Err(Error::conflict("not-yourself"));
    }
    let organization_id = person.organization_id.clone();
    audit::change(app, actor, move |c| {
        c.uncounted();
        let now = c.now;
        dialect::hold(c, Row::Organization(&organization_id))?;
        require_still(c, &person)?;
        if store::delete_membership(c, &organization_id, &user_id)? == 0 {
            return Err(Error::not_found("person"));
        }
        store::revoke_sessions_for(c, &user_id, &organization_id, now)?;
        store::revoke_tokens_for(c, &user_id, &organization_id, now)?;
        let ended = match store::email_of(c, &user_id)? {
            Some(email) => store::revoke_invitations_to(c, &organization_id, &email, "", now)?,
            None => 0,
        };
        c.audit("member.removed", &user_id, &json!({"organization": organization_id, "invitations_ended": ended}));
        Ok(())
    })
    .await
}

/// What an invitation link shows.
#[derive(Debug, Clone)]
pub struct InvitationInfo {
    /// Invited address.
    pub email: String,
    /// Role to get.
    pub role: Role,
    /// Id of the organisation.
    pub organization_id: String,
    /// Names of the organisation, zh and en.
    pub organization: (String, String),
    /// Kind of the organisation.
    pub kind: OrgKind,
}

/// The invitation of a link. Whether its address has an account is not looked at: who invites holds the link, and would learn it.
///
/// # Errors
/// `invitation` (unknown), `invitation-over` (used, taken back or expired).
pub async fn find_invitation(app: &App, secret: &str) -> Result<InvitationInfo> {
    let (hash, now) = (ids::hash_secret(secret), app.clock.now());
    app.db
        .read(move |conn| {
            let invitation = store::get_invitation(conn, &hash).or_not_found("invitation")?;
            if !invitation.open_at(now) {
                return Err(Error::gone("invitation-over"));
            }
            let organization = store::get_organization(conn, &invitation.organization_id)?;
            Ok(InvitationInfo {
                email: invitation.email,
                role: invitation.role,
                organization_id: invitation.organization_id,
                organization: (organization.name_zh, organization.name_en),
                kind: organization.kind,
            })
        })
        .await
}

/// Accepts an invitation by the account that its address has, and opens a session for the organisation.
///
/// # Errors
/// `wrong-password` (also where the address has no account: which it was is not told, nor by the time), `sign-in-throttled`: who invites
/// people must not get to guess their passwords. `invitation-over`, `already-a-member`; `person-disabled`, `organization-suspended`,
/// `too-many-sign-ins`.
pub async fn accept_as_known(app: &App, secret: &str, password: String, browser: Browser<'_>) -> Result<SignedIn> {
    let info = find_invitation(app, secret).await?;
    let (user, attempt) = sign_in::by_password(app, info.email, password, browser).await?;
    let (opening, cookies) = Opening::new(app, &user.id, browser);
    let hash = ids::hash_secret(secret);
    audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let invitation = held_in(c, &hash)?;
        if !passwords::still_in(c, &user)? {
            return Err(Error::unauthenticated("wrong-password"));
        }
        standing::require_enabled(c, &user.id)?;
        use_up_in(c, &invitation)?;
        sign_in::spend_in(c, &user.id)?;
        attempt.succeeded_in(c)?;
        let membership = Membership {
            organization_id: invitation.organization_id.clone(),
            user_id: user.id.clone(),
            role: invitation.role,
            created_at: now,
        };
        store::insert_membership(c, &membership).or_conflict("already-a-member")?;
        record_in(c, &invitation, &user.id);
        opening.open_in(c, Some(&invitation.organization_id), attempt.from_known_browser())
    })
    .await?;
    Ok(cookies)
}

/// Accepts an invitation by a new account, of which the person chooses name and password, and opens a session for the organisation.
///
/// # Errors
/// Wrong fields; `email-taken`, which is told a few times to one network address; then, whatever the address, `sign-in-throttled`.
/// `invitation-over`, `organization-suspended`.
pub async fn accept_as_new(app: &App, secret: &str, name: &str, password: String, browser: Browser<'_>, lang: Lang) -> Result<SignedIn> {
    let info = find_invitation(app, secret).await?;
    // Of one network few are looked at side by side: more would be told of accounts before they are counted.
    let _turn = app.gates.wait_address(&network_of(browser.address)).await?;
    let mut faults = Faults::default();
    let own = [info.organization.0.as_str(), &info.organization.1];
    let user = service::new_user(app, &mut faults, &info.email, name, &password, &own).await?;
    faults.check()?;
    throttle::not_asking(app, browser.address, ASKED_TOO_OFTEN).await?;
    let user = user.with_password(password).await?;
    let (opening, cookies) = Opening::new(app, &user.id, browser);
    let hash = ids::hash_secret(secret);
    let accepted = audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        let invitation = held_in(c, &hash)?;
        use_up_in(c, &invitation)?;
        service::insert_member(c, &user, &invitation.organization_id, invitation.role, now)?;
        record_in(c, &invitation, &user.id);
        opening.open_in(c, Some(&invitation.organization_id), false)
    })
    .await;
    // As for a sign-up: the answer tells that the address has an account, so that it is given a few times only, and its holder is told.
    if matches!(&accepted, Err(e) if e.code == "email-taken") {
        throttle::taken(app, browser.address, ASKED_TOO_OFTEN).await?;
        addresses::tell_holder(app, info.email, lang).await?;
    }
    accepted.map(|()| cookies)
}

/// The invitation of a link, with its organisation held and not suspended.
fn held_in(c: &mut Change<'_>, hash: &str) -> Result<Invitation> {
    let invitation = store::get_invitation(c, hash).or_not_found("invitation")?;
    dialect::hold(c, Row::Organization(&invitation.organization_id))?;
    standing::require_going(c, &invitation.organization_id)?;
    Ok(invitation)
}

/// Marks an invitation as used, and ends further open ones to the address: old data may hold several.
fn use_up_in(c: &mut Change<'_>, invitation: &Invitation) -> Result<()> {
    let now = c.now;
    exactly_one(store::accept_invitation(c, &invitation.id, now)?, "invitation-over")?;
    store::revoke_invitations_to(c, &invitation.organization_id, &invitation.email, &invitation.id, now)?;
    Ok(())
}

fn record_in(c: &mut Change<'_>, invitation: &Invitation, user_id: &str) {
    let detail = json!({"invitation": invitation.id, "role": invitation.role});
    c.audit_for(&invitation.organization_id, "invitation.accepted", user_id, &detail);
}
