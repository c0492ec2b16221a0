//! /admin/people: everybody, and one person with their sessions and tokens.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::account::directory::{self, PAGE, PersonDetail};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::http::page::{Page, PageResult};
use crate::http::paging::paging;
use crate::site::admin::organizations::{Search, list_path};
use crate::site::admin::stops::NoteRow;
use crate::site::parts::browser::SessionRow;
use crate::site::parts::token::TokenRow;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/people", web::get().to(people)).route("/admin/people/{id}", web::get().to(person));
}

async fn people(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Search>) -> PageResult {
    let Search { q, before } = query.into_inner();
    let mut found = directory::people(&app, &actor, &q, before.clone()).await?;
    let (previous, next) = paging(&mut found, PAGE, &list_path("/admin/people", &q), "before", before.as_deref(), |p| p.id.clone());
    let page = Page::of(&req, "people-title");
    let rows = found
        .into_iter()
        .map(|p| PersonRow {
            href: format!("/admin/people/{}", p.id),
            since: page.date(&p.created_at),
            disabled: p.disabled_at.is_some(),
            name: p.name,
            email: p.email,
        })
        .collect();
    page.clone().render(&PeoplePage { page, q, rows, previous, next })
}

async fn person(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let found = directory::person(&app, &actor, id.into_inner()).await?;
    let mut page = Page::of(&req, "");
    page.title.clone_from(&found.person.name);
    page.clone().render(&PersonPage::of(page, found, app.clock.now()))
}

/// A person in the list.
pub struct PersonRow {
    pub href: String,
    pub name: String,
    pub email: String,
    pub disabled: bool,
    pub since: String,
}

/// `/admin/people`.
#[derive(Template)]
#[template(path = "admin/people.html")]
pub struct PeoplePage {
    pub page: Page,
    pub q: String,
    pub rows: Vec<PersonRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// `/admin/people/{id}`.
#[derive(Template)]
#[template(path = "admin/person.html")]
pub struct PersonPage {
    pub page: Page,
    pub id: String,
    pub name: String,
    pub email: String,
    /// Whether the address is proved to be theirs.
    pub proved: bool,
    pub since: String,
    /// Why the person is disabled, and since when.
    pub disabled: Option<(String, String)>,
    /// Organisations: address, name, role.
    pub organizations: Vec<(String, String, String)>,
    pub sessions: Vec<SessionRow>,
    pub tokens: Vec<TokenRow>,
    pub notes: Vec<NoteRow>,
}

impl PersonPage {
    fn of(page: Page, found: PersonDetail, now: Timestamp) -> Self {
        let PersonDetail { person, memberships, sessions, tokens, notes } = found;
        Self {
            id: person.id,
            name: person.name,
            email: person.email,
            proved: person.email_verified_at.is_some(),
            since: page.date(&person.created_at),
            disabled: person.disabled_at.map(|at| (person.disabled_reason.unwrap_or_default(), page.date(&at))),
            organizations: memberships
                .into_iter()
                .map(|(id, names, role)| (format!("/admin/organizations/{id}"), page.name(&names).to_owned(), page.tk("role-", role)))
                .collect(),
            sessions: sessions.into_iter().map(|session| SessionRow::of(&page, session)).collect(),
            tokens: tokens.into_iter().map(|token| TokenRow::of(&page, token, now)).collect(),
            notes: notes.iter().rev().map(|note| NoteRow::of(&page, note)).collect(),
            page,
        }
    }
}
