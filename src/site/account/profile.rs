//! /account: the person, their organisations and sessions.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::service;
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Role, Via};
use crate::http::extract::Form;
use crate::http::page::{Page, PageResult, see_other, see_other_with};
use crate::site::parts::browser::SessionRow;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account", web::get().to(account))
        .route("/account/organization", web::post().to(switch_organization))
        .route("/account/sessions/revoke", web::post().to(end_session))
        .route("/account/sessions/end-others", web::post().to(end_other_sessions));
}

async fn account(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let person = policy::require(&actor, Action::ViewAccount)?;
    let page = Page::of(&req, "account-title");
    let own = if let Actor::Person(_, Via::Session { token_hash, .. }) = &actor { token_hash.clone() } else { String::new() };
    let sessions = service::list_sessions(&app, &actor).await?;
    let sessions = sessions.into_iter().map(|session| SessionRow::of(&page, session)).collect();
    let organization = page.name(&person.organization_name).to_owned();
    let limits = &app.settings.sessions;
    let view = AccountPage {
        help: page.t2("account-sessions-help", "hours", limits.hours, "minutes", limits.idle_minutes),
        own,
        name: person.name.clone(),
        email: person.email.clone(),
        email_verified: person.email_verified,
        organization,
        role: person.role,
        sessions,
        page: page.clone(),
    };
    page.render(&view)
}

#[derive(Deserialize)]
struct OrganizationForm {
    organization: String,
}

async fn switch_organization(app: Data<App>, actor: Actor, form: Form<OrganizationForm>) -> PageResult {
    service::switch_organization(&app, &actor, form.0.organization).await?;
    Ok(see_other("/account"))
}

#[derive(Deserialize)]
struct SessionForm {
    id: String,
}

async fn end_session(app: Data<App>, actor: Actor, form: Form<SessionForm>) -> PageResult {
    service::end_session(&app, &actor, form.0.id).await?;
    Ok(see_other_with("/account", "success", "account-session-ended", &[]))
}

async fn end_other_sessions(app: Data<App>, actor: Actor) -> PageResult {
    let n = service::sign_out_elsewhere(&app, &actor).await?;
    Ok(see_other_with("/account", "success", "account-sessions-ended", &[("n", &n.to_string())]))
}

/// `/account`.
#[derive(Template)]
#[template(path = "account/account.html")]
pub struct AccountPage {
    pub page: Page,
    pub name: String,
    pub email: String,
    pub email_verified: bool,
    pub organization: String,
    pub role: Role,
    pub sessions: Vec<SessionRow>,
    /// Id of the reader's session, which alone may end sessions; empty where they have none.
    pub own: String,
    /// When a session ends by itself.
    pub help: String,
}
