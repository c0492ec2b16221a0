//! /account/tokens: API tokens.

use actix_web::http::StatusCode;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::account::tokens;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::Scope;
use crate::base::error::Error;
use crate::http::extract::{Form, FormPairs};
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::site::account::team::IdForm;
use crate::site::parts::once;
use crate::site::parts::token::TokenRow;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/account/tokens", web::get().to(tokens_page))
        .route("/account/tokens", web::post().to(create_token))
        .route("/account/tokens/revoke", web::post().to(revoke_token));
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
    // Offer only scopes that the kind of organisation can use: vendors, for example, deploy nowhere.
    let kind = actor.person()?.kind;
    let offered = Scope::ALL.iter().copied().filter(|scope| tokens::offered(kind, *scope)).collect();
    let page = Page::of(req, "tokens-title");
    let now = app.clock.now();
    let rows = tokens::list(app, actor).await?;
    let rows = rows.into_iter().map(|t| TokenRow::of(&page, t, now)).collect();
    let errors = error.map_or_else(FormErrors::default, |e| FormErrors::of(&page, &e));
    let view = TokensPage { page: page.clone(), tokens: rows, name, days, offered, chosen, fresh, errors };
    Ok(once::shown(page.render_with(status, &view)?, view.fresh.is_some())?)
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

/// `/account/tokens`.
#[derive(Template)]
#[template(path = "account/tokens.html")]
pub struct TokensPage {
    pub page: Page,
    pub tokens: Vec<TokenRow>,
    pub name: String,
    pub days: String,
    pub offered: Vec<Scope>,
    pub chosen: Vec<String>,
    pub fresh: Option<String>,
    pub errors: FormErrors,
}

impl TokensPage {
    /// Whether a scope was ticked in the form that is shown again.
    pub fn is_chosen(&self, scope: &Scope) -> bool {
        self.chosen.iter().any(|chosen| chosen == scope.as_str())
    }
}
