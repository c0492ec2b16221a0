//! /admin/people: organisations and the number of their members.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::account;
use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, OrgKind, policy};
use crate::http::page::{Page, PageResult};
use crate::http::paging::{Before, paging};

/// Organisations on one page.
const PAGE: i64 = 50;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/people", web::get().to(people));
}

async fn people(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    policy::require(&actor, Action::ViewPeople)?;
    let before = query.into_inner().before.unwrap_or_else(|| "~".into());
    let mut rows = app.db.read(move |conn| Ok(account::service::list_organizations(conn, &before, PAGE + 1)?)).await?;
    let (_, next) = paging(&mut rows, PAGE, "/admin/people", "before", None, |(o, _)| o.id.clone());
    let page = Page::of(&req, "people-title");
    let organizations = rows
        .into_iter()
        .map(|(o, members)| OrganizationRow {
            name: page.pick(&o.name_zh, &o.name_en).to_owned(),
            href: (o.kind == OrgKind::Vendor).then(|| format!("/vendors/{}", o.slug)),
            slug: o.slug,
            resembles: o.resembles,
            kind: page.tk("organization-", o.kind),
            members,
            since: page.date(&o.created_at),
        })
        .collect();
    page.clone().render(&PeoplePage { page, organizations, next })
}

/// One organisation as listed to administrators.
pub struct OrganizationRow {
    pub name: String,
    /// A vendor's public page.
    pub href: Option<String>,
    pub slug: String,
    /// What the name looks like.
    pub resembles: Option<String>,
    pub kind: String,
    pub members: i64,
    pub since: String,
}

/// `/admin/people`.
#[derive(Template)]
#[template(path = "admin/people.html")]
pub struct PeoplePage {
    pub page: Page,
    pub organizations: Vec<OrganizationRow>,
    pub next: Option<String>,
}
