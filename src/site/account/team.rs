//! /account/team: members and invitations.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::model::{Invitation, TeamMember};
use crate::account::team;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, OrgKind, Role, policy};
use crate::base::error::Error;
use crate::http::extract::{Form, client_address};
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::site::parts::once;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account/team", web::get().to(team_page))
        .route("/account/team", web::post().to(invite))
        .route("/account/team/remove", web::post().to(remove_member))
        .route("/account/team/revoke", web::post().to(revoke_invitation));
}

async fn team_page(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    // Preselect the role with the fewest rights, so that nobody becomes an owner by mistake.
    let role = actor.as_person().map_or(Role::Member, |person| match person.kind {
        OrgKind::Platform => Role::Auditor,
        OrgKind::Vendor | OrgKind::Operator => Role::Member,
    });
    show_team(&req, &app, &actor, (String::new(), role.to_string()), None).await
}

async fn show_team(req: &HttpRequest, app: &App, actor: &Actor, (email, role): (String, String), error: Option<&Error>) -> PageResult {
    let secret = once::read(req, "invitation", actor);
    let link = secret.map(|secret| format!("{}/invitations/{secret}", app.settings.server.public_url));
    let (members, invitations) = team::list(app, actor).await?;
    let person = actor.person()?;
    let page = Page::of(req, "team-title");
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    let view = TeamPage {
        members,
        invitations,
        roles: Role::of(person.kind).to_vec(),
        may_manage: policy::permits(person.kind, person.role, Action::ManageTeam),
        own_id: person.user_id.clone(),
        email,
        chosen_role: role,
        link,
        errors,
        page: page.clone(),
    };
    Ok(once::shown(page.render_form(error, &view)?, view.link.is_some())?)
}

#[derive(Deserialize)]
struct InviteForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
}

async fn invite(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<InviteForm>) -> PageResult {
    let address = client_address(&req, &app.settings.server);
    match form_result(team::invite(&app, &actor, &form.0.email, &form.0.role, &address).await)? {
        Ok(secret) => Ok(once::see("/account/team", "invitation", &actor, &secret)?),
        Err(e) => show_team(&req, &app, &actor, (form.0.email, form.0.role), Some(&e)).await,
    }
}

#[derive(Deserialize)]
pub struct IdForm {
    pub id: String,
}

async fn remove_member(app: Data<App>, actor: Actor, form: Form<IdForm>) -> PageResult {
    team::remove(&app, &actor, form.0.id).await?;
    Ok(see_other_with("/account/team", "success", "team-removed", &[]))
}

async fn revoke_invitation(app: Data<App>, actor: Actor, form: Form<IdForm>) -> PageResult {
    team::revoke_invitation(&app, &actor, form.0.id).await?;
    Ok(see_other_with("/account/team", "success", "team-invitation-revoked", &[]))
}

/// `/account/team`.
#[derive(Template)]
#[template(path = "account/team.html")]
pub struct TeamPage {
    pub page: Page,
    pub members: Vec<TeamMember>,
    pub invitations: Vec<Invitation>,
    pub roles: Vec<Role>,
    pub may_manage: bool,
    pub own_id: String,
    pub email: String,
    pub chosen_role: String,
    pub link: Option<String>,
    pub errors: FormErrors,
}
