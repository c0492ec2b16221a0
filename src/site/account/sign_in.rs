//! Sign-up, sign-in, sign-out, invitations, language and theme.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::account::service::{Browser, SignedIn};
use crate::account::team::InvitationInfo;
use crate::account::throttle::KNOWN_DAYS;
use crate::account::{addresses, service, team};
use crate::base::app::App;
use crate::base::auth::{Actor, OrgKind, Via};
use crate::base::error::Error;
use crate::http::cookies;
use crate::http::extract::{Form, client_address};
use crate::http::held::{Held, HeldPage};
use crate::http::page::{self, FormErrors, Page, PageResult, form_result, lang_of, local_path, see_other, see_other_with};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/sign-up", web::get().to(sign_up_form))
        .route("/sign-up", web::post().to(sign_up))
        .route("/sign-in", web::get().to(sign_in_form))
        .route("/sign-in", web::post().to(sign_in))
        .route("/sign-out", web::post().to(sign_out))
        .route("/invitations/{secret}", web::get().to(invitation_form))
        .route("/invitations/{secret}", web::post().to(accept_invitation))
        .route("/language", web::post().to(language))
        .route("/theme", web::post().to(theme))
        .route("/account/standing", web::get().to(standing));
}

/// The console of a kind of organisation.
pub fn console(kind: OrgKind) -> &'static str {
    match kind {
        OrgKind::Vendor => "/vendor",
        OrgKind::Operator => "/mine",
        OrgKind::Platform => "/admin",
    }
}

async fn sign_up_form(req: HttpRequest, query: Query<Next>) -> PageResult {
    let page = Page::of(&req, "sign-up-title").with_form();
    let next = local_path(query.next.as_deref(), "");
    page.clone().render(&SignUpPage { page, form: service::SignUp::default(), next, errors: FormErrors::default() })
}

#[derive(Deserialize)]
struct SignUpForm {
    #[serde(flatten)]
    form: service::SignUp,
    #[serde(default)]
    next: String,
}

async fn sign_up(req: HttpRequest, app: Data<App>, form: Form<SignUpForm>) -> PageResult {
    let SignUpForm { form, next } = form.0;
    let (address, device) = (client_address(&req, &app.settings.server), cookies::read(&req, cookies::DEVICE));
    match form_result(service::sign_up_from(&app, form.clone(), browser(&req, &address, device.as_deref()), lang_of(&req)).await)? {
        Ok(signed_in) => {
            let actor = service::authenticate_session(&app, &signed_in.session).await?;
            ask_for_proof(&req, &app, &actor).await;
            with_session(to_console(&actor, &next), &app, signed_in)
        }
        Err(e) => {
            let page = Page::of(&req, "sign-up-title").with_form();
            let errors = match e.code {
                "email-taken" => FormErrors::of(&page, &Error::field("email", e.code)),
                "slug-taken" => FormErrors::of(&page, &Error::field("slug", e.code)),
                "name-taken" if e.fields.is_empty() => FormErrors::of(&page, &Error::field("name_zh", e.code)),
                _ => FormErrors::of(&page, &e),
            };
            let form = service::SignUp { password: String::new(), ..form };
            page.clone().render_form(Some(&e), &SignUpPage { page, form, next, errors })
        }
    }
}

/// Sends who is new a link to prove their address. Where that fails they are in all the same, and may ask for another on their page.
async fn ask_for_proof(req: &HttpRequest, app: &App, actor: &Actor) {
    if actor.as_person().is_none_or(|person| person.email_verified) {
        return;
    }
    if let Err(e) = addresses::send_proof(app, actor, lang_of(req)).await {
        tracing::warn!(error = %e, "no link to prove an address");
    }
}

#[derive(Deserialize)]
struct Next {
    next: Option<String>,
}

async fn sign_in_form(req: HttpRequest, query: Query<Next>) -> PageResult {
    let page = Page::of(&req, "sign-in-title").with_form();
    let next = local_path(query.next.as_deref(), "");
    page.clone().render(&SignInPage { page, email: String::new(), next, note: String::new(), errors: FormErrors::default() })
}

#[derive(Deserialize)]
struct SignInForm {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
    /// A form that met the end of a session, and where it goes.
    #[serde(default)]
    held: String,
    #[serde(default)]
    held_action: String,
}

async fn sign_in(req: HttpRequest, app: Data<App>, form: Form<SignInForm>) -> PageResult {
    let SignInForm { email, password, next, held, held_action } = form.0;
    signed_in(&req, &app, &email, password, next, Held::unpacked(&held_action, &held)).await
}

/// Signs in and leads to `next` or the console, or to what was typed before; a wrong password shows the form again.
async fn signed_in(req: &HttpRequest, app: &App, email: &str, password: String, next: String, held: Option<Held>) -> PageResult {
    let address = client_address(req, &app.settings.server);
    let device = cookies::read(req, cookies::DEVICE);
    let result = service::sign_in_on(app, email, password, browser(req, &address, device.as_deref())).await;
    let result = if matches!(&result, Err(e) if TOLD.contains(&e.code)) { Ok(result) } else { form_result(result) };
    match result? {
        Ok(signed_in) => {
            let actor = service::authenticate_session(app, &signed_in.session).await?;
            let Some(held) = held else { return with_session(to_console(&actor, &next), app, signed_in) };
            req.extensions_mut().insert(actor);
            with_session(HeldPage::signed_in(req, &held).answer(StatusCode::OK)?, app, signed_in)
        }
        Err(e) => match held.filter(|_| e.code != "no-organization") {
            Some(held) => {
                let page = Page::of(req, "sign-in-title").with_form();
                let errors = FormErrors::of(&page, &e);
                HeldPage::to_sign_in(page, &held, email.to_owned(), errors).refused(&e)
            }
            None => not_in(req, email.to_owned(), next, None, &e),
        },
    }
}

/// Leads to `next`, or the person's console where there is none.
fn to_console(actor: &Actor, next: &str) -> HttpResponse {
    let console = actor.as_person().map_or("/", |person| console(person.kind));
    see_other(&local_path(Some(next).filter(|next| !next.is_empty()), console))
}

/// Reasons for which a person with the right password is not let in.
const TOLD: [&str; 3] = ["no-organization", "person-disabled", "organization-suspended"];

/// The answer to who was not let in; `note` is the key of what was done all the same.
pub(super) fn not_in(req: &HttpRequest, email: String, next: String, note: Option<&str>, error: &Error) -> PageResult {
    let note_on = |page: &Page| note.map_or_else(String::new, |key| page.t(key));
    if error.code == "no-organization" {
        let page = Page::of(req, "no-organization-title");
        let note = note_on(&page);
        return page.clone().render_form(Some(error), &NoOrganizationPage { page, note });
    }
    let page = Page::of(req, "sign-in-title").with_form();
    let (note, errors) = (note_on(&page), FormErrors::of(&page, error));
    page.clone().render_form(Some(error), &SignInPage { page, email, next, note, errors })
}

pub(super) fn browser<'a>(req: &'a HttpRequest, address: &'a str, device: Option<&'a str>) -> Browser<'a> {
    let user_agent = req.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    Browser { address, user_agent, device }
}

/// Adds the session cookie and that of a known browser to a response and ends the CSRF cookie of the time before sign-in.
pub(super) fn with_session(mut response: HttpResponse, app: &App, signed_in: SignedIn) -> PageResult {
    for cookie in [
        cookies::private(cookies::SESSION, signed_in.session, app.settings.sessions.hours * 3600),
        cookies::private(cookies::DEVICE, signed_in.device, KNOWN_DAYS * 24 * 3600),
        cookies::expired(cookies::CSRF),
    ] {
        response.add_cookie(&cookie).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    }
    Ok(response)
}

async fn sign_out(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    // Sign out by session only: a request without one may be another site's form, which no CSRF value protects against.
    if !matches!(actor, Actor::Person(_, Via::Session { .. })) {
        return Ok(see_other("/"));
    }
    service::sign_out(&app, &actor, &client_address(&req, &app.settings.server)).await?;
    let mut response = see_other("/");
    response.add_cookie(&cookies::expired(cookies::SESSION)).map_err(|e| Error::internal(anyhow::anyhow!("cookie: {e}")))?;
    Ok(response)
}

/// Tells an open page by its headers who is signed in now, and with which CSRF token.
async fn standing(req: HttpRequest, actor: Actor) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::CACHE_CONTROL, "private, no-store"));
    if matches!(actor, Actor::Person(..)) {
        let page = Page::of(&req, "");
        response.insert_header((page::READER, page.reader)).insert_header((page::CSRF, page.csrf));
    }
    response.finish()
}

async fn invitation_form(req: HttpRequest, app: Data<App>, secret: Path<String>) -> PageResult {
    let info = team::find_invitation(&app, &secret).await?;
    show_invitation(&req, info, None, None)
}

/// The page of an invitation; again with what was wrong at the form that was sent, which has a name where it is that of a new account.
fn show_invitation(req: &HttpRequest, info: InvitationInfo, name: Option<String>, error: Option<&Error>) -> PageResult {
    let page = Page::of(req, "invitation-title").with_form();
    let organization = page.pick(&info.organization.0, &info.organization.1).to_owned();
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    let (known_errors, new_errors) = if name.is_some() { (FormErrors::default(), errors) } else { (errors, FormErrors::default()) };
    let name = name.unwrap_or_default();
    page.clone().render_form(error, &InvitationPage { page, info, organization, name, known_errors, new_errors })
}

/// The two forms of an invitation's page.
#[derive(Deserialize)]
#[serde(untagged)]
enum AcceptForm {
    /// Of who has an account.
    Known { current_password: String },
    /// Of who makes one.
    New {
        #[serde(default)]
        name: String,
        password: String,
    },
}

async fn accept_invitation(req: HttpRequest, app: Data<App>, secret: Path<String>, form: Form<AcceptForm>) -> PageResult {
    let info = team::find_invitation(&app, &secret).await?;
    let address = client_address(&req, &app.settings.server);
    let device = cookies::read(&req, cookies::DEVICE);
    let from = browser(&req, &address, device.as_deref());
    let (accepted, name) = match form.0 {
        AcceptForm::Known { current_password } => (team::accept_as_known(&app, &secret, current_password, from).await, None),
        AcceptForm::New { name, password } => (team::accept_as_new(&app, &secret, &name, password, from, lang_of(&req)).await, Some(name)),
    };
    match form_result(accepted)? {
        Ok(signed_in) => {
            let actor = service::authenticate_session(&app, &signed_in.session).await?;
            ask_for_proof(&req, &app, &actor).await;
            let organization = lang_of(&req).pick(&info.organization.0, &info.organization.1);
            let welcome = see_other_with(console(info.kind), "success", "invitation-accepted", &[("organization", organization)]);
            with_session(welcome, &app, signed_in)
        }
        Err(e) => show_invitation(&req, info, name, Some(&e)),
    }
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

/// `/sign-up`.
#[derive(Template)]
#[template(path = "account/sign_up.html")]
pub struct SignUpPage {
    pub page: Page,
    pub form: service::SignUp,
    /// Where to go on, or empty.
    pub next: String,
    pub errors: FormErrors,
}

/// `/sign-in`.
#[derive(Template)]
#[template(path = "account/sign_in.html")]
pub struct SignInPage {
    pub page: Page,
    pub email: String,
    pub next: String,
    /// What was done all the same, or empty.
    pub note: String,
    pub errors: FormErrors,
}

/// `/invitations/{secret}`.
#[derive(Template)]
#[template(path = "account/invitation.html")]
pub struct InvitationPage {
    pub page: Page,
    pub info: InvitationInfo,
    pub organization: String,
    pub name: String,
    /// Of the form for who has an account, and of the one for who makes one.
    pub known_errors: FormErrors,
    pub new_errors: FormErrors,
}

/// The answer to a sign-in of a person who is no member of any organisation any more.
#[derive(Template)]
#[template(path = "account/no_organization.html")]
pub struct NoOrganizationPage {
    pub page: Page,
    /// What was done all the same, or empty.
    pub note: String,
}
