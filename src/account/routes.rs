//! Routes of accounts.

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::views::{
    AccountPage, InvitationPage, NoOrganizationPage, OrganizationRow, PeoplePage, SessionRow, SignInPage, SignUpPage, TeamPage, TokenRow,
    TokensPage, browser,
};
use super::{once, service, store, team, tokens};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action, Scope};
use crate::base::auth::{Actor, OrgKind, Role, Via};
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::extract::{Form, FormPairs, client_address};
use crate::http::page::{FormErrors, Page, PageResult, form_result, lang_of, local_path, see_other, see_other_with, status_of};
use crate::http::paging::paging;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/sign-up", web::get().to(sign_up_form))
        .route("/sign-up", web::post().to(sign_up))
        .route("/sign-in", web::get().to(sign_in_form))
        .route("/sign-in", web::post().to(sign_in))
        .route("/sign-out", web::post().to(sign_out))
        .route("/invitations/{secret}", web::get().to(invitation_form))
        .route("/invitations/{secret}", web::post().to(accept_invitation))
        .route("/account", web::get().to(account))
        .route("/account/organization", web::post().to(switch_organization))
        .route("/account/sessions/end-others", web::post().to(end_other_sessions))
        .route("/account/team", web::get().to(team_page))
        .route("/account/team", web::post().to(invite))
        .route("/account/team/remove", web::post().to(remove_member))
        .route("/account/team/revoke", web::post().to(revoke_invitation))
        .route("/account/tokens", web::get().to(tokens_page))
        .route("/account/tokens", web::post().to(create_token))
        .route("/account/tokens/revoke", web::post().to(revoke_token))
        .route("/admin/people", web::get().to(people))
        .route("/language", web::post().to(language))
        .route("/theme", web::post().to(theme));
}

/// The console of a kind of organisation.
fn console(kind: OrgKind) -> &'static str {
    match kind {
        OrgKind::Vendor => "/vendor",
        OrgKind::Operator => "/mine",
        OrgKind::Platform => "/admin",
    }
}

async fn sign_up_form(req: HttpRequest) -> PageResult {
    let page = Page::of(&req, "sign-up-title").with_form();
    page.clone().render(&SignUpPage { page, form: service::SignUp::default(), errors: FormErrors::default() })
}

async fn sign_up(req: HttpRequest, app: Data<App>, form: Form<service::SignUp>) -> PageResult {
    let (email, password) = (form.0.email.clone(), form.0.password.clone());
    let address = client_address(&req, app.settings.server.behind_proxy);
    match form_result(service::sign_up_from(&app, form.0.clone(), &address).await)? {
        Ok(_) => signed_in(&req, &app, &email, password, None).await,
        Err(e) => {
            let page = Page::of(&req, "sign-up-title").with_form();
            let errors = match e.code {
                "email-taken" => FormErrors::of(&page, &Error::field("email", e.code)),
                "slug-taken" => FormErrors::of(&page, &Error::field("slug", e.code)),
                _ => FormErrors::of(&page, &e),
            };
            let form = service::SignUp { password: String::new(), ..form.0 };
            page.clone().render_with(status_of(e.kind), &SignUpPage { page, form, errors })
        }
    }
}

#[derive(Deserialize)]
struct Next {
    next: Option<String>,
}

async fn sign_in_form(req: HttpRequest, query: Query<Next>) -> PageResult {
    let page = Page::of(&req, "sign-in-title").with_form();
    let next = local_path(query.next.as_deref(), "");
    page.clone().render(&SignInPage { page, email: String::new(), next, errors: FormErrors::default() })
}

#[derive(Deserialize)]
struct SignInForm {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

async fn sign_in(req: HttpRequest, app: Data<App>, form: Form<SignInForm>) -> PageResult {
    let SignInForm { email, password, next } = form.0;
    signed_in(&req, &app, &email, password, Some(next)).await
}

/// Signs in and leads to `next` or the console; a wrong password shows the form again.
async fn signed_in(req: &HttpRequest, app: &App, email: &str, password: String, next: Option<String>) -> PageResult {
    let address = client_address(req, app.settings.server.behind_proxy);
    let result = service::sign_in(app, email, password, &address, user_agent(req)).await;
    let result = if matches!(&result, Err(e) if e.code == "no-organization") { Ok(result) } else { form_result(result) };
    match result? {
        Ok(cookie) => {
            let actor = service::authenticate_session(app, &cookie).await?;
            let target = local_path(next.as_deref(), actor.as_person().map_or("/", |p| console(p.kind)));
            with_session(see_other(&target), cookie)
        }
        Err(e) if e.code == "no-organization" => {
            let page = Page::of(req, "no-organization-title");
            page.clone().render_with(StatusCode::FORBIDDEN, &NoOrganizationPage { page })
        }
        Err(e) => {
            let page = Page::of(req, "sign-in-title").with_form();
            let errors = FormErrors::of(&page, &e);
            let status = status_of(e.kind);
            page.clone().render_with(status, &SignInPage { page, email: email.to_owned(), next: next.unwrap_or_default(), errors })
        }
    }
}

fn user_agent(req: &HttpRequest) -> &str {
    req.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// The answer that begins a session.
fn with_session(mut response: HttpResponse, cookie: String) -> PageResult {
    for cookie in [cookies::private(cookies::SESSION, cookie, service::SESSION_HOURS * 3600), cookies::expired(cookies::CSRF)] {
        response.add_cookie(&cookie).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    }
    Ok(response)
}

async fn sign_out(app: Data<App>, actor: Actor) -> PageResult {
    // Without its session a request is somebody else's: another site's form, which no CSRF value protects.
    if !matches!(actor, Actor::Person(_, Via::Session { .. })) {
        return Ok(see_other("/"));
    }
    service::sign_out(&app, &actor).await?;
    let mut response = see_other("/");
    response.add_cookie(&cookies::expired(cookies::SESSION)).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    Ok(response)
}

async fn invitation_form(req: HttpRequest, app: Data<App>, secret: Path<String>) -> PageResult {
    let info = team::find_invitation(&app, &secret).await?;
    show_invitation(&req, info, String::new(), StatusCode::OK, None)
}

fn show_invitation(req: &HttpRequest, info: team::InvitationInfo, name: String, status: StatusCode, error: Option<&Error>) -> PageResult {
    let page = Page::of(req, "invitation-title").with_form();
    let organization = page.pick(&info.organization.0, &info.organization.1).to_owned();
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    page.clone().render_with(status, &InvitationPage { page, info, organization, name, errors })
}

#[derive(Deserialize)]
struct AcceptForm {
    #[serde(default)]
    name: String,
    password: String,
}

async fn accept_invitation(req: HttpRequest, app: Data<App>, secret: Path<String>, form: Form<AcceptForm>) -> PageResult {
    let info = team::find_invitation(&app, &secret).await?;
    let address = client_address(&req, app.settings.server.behind_proxy);
    match form_result(team::accept(&app, &secret, &form.0.name, form.0.password.clone(), &address).await)? {
        Ok(()) => {
            let cookie = service::sign_in(&app, &info.email, form.0.password, &address, user_agent(&req)).await?;
            let actor = service::authenticate_session(&app, &cookie).await?;
            service::switch_organization(&app, &actor, info.organization_id).await?;
            let organization = lang_of(&req).pick(&info.organization.0, &info.organization.1);
            with_session(see_other_with(console(info.kind), "success", "invitation-accepted", &[("organization", organization)]), cookie)
        }
        Err(e) => show_invitation(&req, info, form.0.name, status_of(e.kind), Some(&e)),
    }
}

async fn account(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let person = actor.person()?;
    let page = Page::of(&req, "account-title");
    let own = if let Actor::Person(_, Via::Session { token_hash, .. }) = &actor { token_hash.clone() } else { String::new() };
    let sessions = service::list_sessions(&app, &actor).await?;
    let sessions = sessions
        .into_iter()
        .map(|s| SessionRow {
            current: s.token_hash == own,
            browser: browser(&page, &s.user_agent),
            address: s.address,
            since: page.datetime(&s.created_at),
        })
        .collect();
    let organization = page.pick(&person.organization_name.0, &person.organization_name.1).to_owned();
    let view = AccountPage {
        name: person.name.clone(),
        email: person.email.clone(),
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

async fn end_other_sessions(app: Data<App>, actor: Actor) -> PageResult {
    let n = service::sign_out_elsewhere(&app, &actor).await?;
    Ok(see_other_with("/account", "success", "account-sessions-ended", &[("n", &n.to_string())]))
}

async fn team_page(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    // The least that an organisation of the kind has, so that nobody is made an owner by a slip.
    let role = actor.as_person().map_or(Role::Member, |person| match person.kind {
        OrgKind::Platform => Role::Auditor,
        OrgKind::Vendor | OrgKind::Operator => Role::Member,
    });
    show_team(&req, &app, &actor, StatusCode::OK, (String::new(), role.to_string()), None).await
}

async fn show_team(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    status: StatusCode,
    (email, role): (String, String),
    error: Option<Error>,
) -> PageResult {
    let secret = once::read(req, "invitation", actor);
    let link = secret.map(|secret| format!("{}/invitations/{secret}", app.settings.server.public_url));
    let (members, invitations) = team::list(app, actor).await?;
    let person = actor.person()?;
    let page = Page::of(req, "team-title");
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
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
    Ok(once::shown(page.render_with(status, &view)?)?)
}

#[derive(Deserialize)]
struct InviteForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
}

async fn invite(req: HttpRequest, app: Data<App>, actor: Actor, form: Form<InviteForm>) -> PageResult {
    match form_result(team::invite(&app, &actor, &form.0.email, &form.0.role).await)? {
        Ok(secret) => Ok(once::see("/account/team", "invitation", &actor, &secret)?),
        Err(e) => show_team(&req, &app, &actor, StatusCode::UNPROCESSABLE_ENTITY, (form.0.email, form.0.role), Some(e)).await,
    }
}

#[derive(Deserialize)]
struct IdForm {
    id: String,
}

async fn remove_member(app: Data<App>, actor: Actor, form: Form<IdForm>) -> PageResult {
    team::remove(&app, &actor, form.0.id).await?;
    Ok(see_other_with("/account/team", "success", "team-removed", &[]))
}

async fn revoke_invitation(app: Data<App>, actor: Actor, form: Form<IdForm>) -> PageResult {
    team::revoke_invitation(&app, &actor, form.0.id).await?;
    Ok(see_other_with("/account/team", "success", "team-invitation-revoked", &[]))
}

async fn tokens_page(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    show_tokens(&req, &app, &actor, StatusCode::OK, (String::new(), "90".into(), Vec::new()), None).await
}

async fn show_tokens(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    status: StatusCode,
    (name, days, chosen): (String, String, Vec<String>),
    error: Option<Error>,
) -> PageResult {
    let fresh = once::read(req, "token", actor);
    // Vendors deploy nowhere: what the role never allows is not offered.
    let kind = actor.person()?.kind;
    let offered = Scope::ALL.iter().copied().filter(|scope| tokens::offered(kind, *scope)).collect();
    let page = Page::of(req, "tokens-title");
    let now = app.clock.now();
    let rows = tokens::list(app, actor).await?;
    let rows = rows
        .into_iter()
        .map(|t| TokenRow {
            over: t.revoked_at.is_some() || t.expires_at <= now,
            created: page.date(&t.created_at),
            expires: page.date(&t.expires_at),
            id: t.id,
            name: t.name,
            scopes: t.scopes.split(' ').map(|scope| page.tk("scope-", scope)).collect::<Vec<_>>().join(&page.t("list-comma")),
        })
        .collect();
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    let view = TokensPage { page: page.clone(), tokens: rows, name, days, offered, chosen, fresh, errors };
    Ok(once::shown(page.render_with(status, &view)?)?)
}

async fn create_token(req: HttpRequest, app: Data<App>, actor: Actor, form: FormPairs) -> PageResult {
    let scopes: Vec<&str> = form.all("scopes").collect();
    let (name, days) = (form.get("name").to_owned(), form.get("days").to_owned());
    let chosen = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    match form_result(tokens::create(&app, &actor, &name, &scopes, days.trim().parse().unwrap_or(0)).await)? {
        Ok(text) => Ok(once::see("/account/tokens", "token", &actor, &text)?),
        Err(e) => show_tokens(&req, &app, &actor, StatusCode::UNPROCESSABLE_ENTITY, (name, days, chosen), Some(e)).await,
    }
}

async fn revoke_token(app: Data<App>, actor: Actor, form: Form<IdForm>) -> PageResult {
    tokens::revoke(&app, &actor, form.0.id).await?;
    Ok(see_other_with("/account/tokens", "success", "tokens-revoked", &[]))
}

#[derive(Deserialize)]
struct Before {
    before: Option<String>,
}

const PEOPLE_PAGE: i64 = 50;

async fn people(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    policy::require(&actor, Action::ViewPeople)?;
    let before = query.into_inner().before.unwrap_or_else(|| "~".into());
    let mut rows = app.db.read(move |conn| Ok(store::list_organizations(conn, &before, PEOPLE_PAGE + 1)?)).await?;
    let (_, next) = paging(&mut rows, PEOPLE_PAGE, "/admin/people", "before", None, |(o, _)| o.id.clone());
    let page = Page::of(&req, "people-title");
    let organizations = rows
        .into_iter()
        .map(|(o, members)| OrganizationRow {
            name: page.pick(&o.name_zh, &o.name_en).to_owned(),
            href: (o.kind == OrgKind::Vendor).then(|| format!("/vendors/{}", o.slug)),
            slug: o.slug,
            kind: page.tk("organization-", o.kind),
            members,
            since: page.date(&o.created_at),
        })
        .collect();
    page.clone().render(&PeoplePage { page, organizations, next })
}

#[derive(Deserialize)]
struct LanguageForm {
    lang: String,
    next: Option<String>,
}

async fn language(form: Form<LanguageForm>) -> PageResult {
    let lang = crate::base::i18n::Lang::from_tag(&form.0.lang).unwrap_or(crate::base::i18n::Lang::Zh);
    preference(cookies::LANG, lang.tag(), form.0.next.as_deref())
}

#[derive(Deserialize)]
struct ThemeForm {
    theme: String,
    next: Option<String>,
}

async fn theme(form: Form<ThemeForm>) -> PageResult {
    let theme = if form.0.theme == "dark" { "dark" } else { "light" };
    preference(cookies::THEME, theme, form.0.next.as_deref())
}

fn preference(name: &'static str, value: &str, next: Option<&str>) -> PageResult {
    let mut response: HttpResponse = see_other(&local_path(next, "/"));
    response.add_cookie(&cookies::preference(name, value.to_owned())).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    Ok(response)
}
