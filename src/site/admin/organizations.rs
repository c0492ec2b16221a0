//! /admin/organizations: all organisations, and one with its people, apps and figures.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use diesel::prelude::*;
use serde::Deserialize;

use crate::account::directory::{self, OrganizationDetail, PAGE};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Conn;
use crate::base::db::schema::{apps, deployments, licenses, nodes, orders};
use crate::base::i18n::Names;
use crate::catalog::model::ListingState;
use crate::fleet::model::NodeState;
use crate::http::page::{Page, PageResult};
use crate::http::paging::paging;
use crate::site::admin::stops::NoteRow;

/// Apps of a developer that their page lists.
const MAX_APPS: i64 = 200;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/organizations", web::get().to(list)).route("/admin/organizations/{id}", web::get().to(detail));
}

/// What a list of all is narrowed by.
#[derive(Debug, Deserialize)]
pub struct Search {
    #[serde(default)]
    pub q: String,
    pub before: Option<String>,
}

/// Address of a list with its search.
pub fn list_path(path: &str, q: &str) -> String {
    if q.is_empty() { path.to_owned() } else { format!("{path}?{}", serde_urlencoded::to_string([("q", q)]).unwrap_or_default()) }
}

async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Search>) -> PageResult {
    let Search { q, before } = query.into_inner();
    let mut found = directory::organizations(&app, &actor, &q, before.clone()).await?;
    let path = list_path("/admin/organizations", &q);
    let (previous, next) = paging(&mut found, PAGE, &path, "before", before.as_deref(), |l| l.organization.id.clone());
    let page = Page::of(&req, "organizations-title");
    let rows = found
        .into_iter()
        .map(|line| OrganizationRow {
            href: format!("/admin/organizations/{}", line.organization.id),
            name: page.pick(&line.organization.name_zh, &line.organization.name_en).to_owned(),
            kind: page.tk("organization-", line.organization.kind),
            members: page.count(&line.members),
            since: page.date(&line.organization.created_at),
            slug: line.organization.slug,
            resembles: line.organization.resembles,
            suspended: line.suspended_at.is_some(),
        })
        .collect();
    page.clone().render(&OrganizationsPage { page, q, rows, previous, next })
}

/// One organisation as listed to administrators.
pub struct OrganizationRow {
    pub href: String,
    pub name: String,
    pub slug: String,
    /// What the name looks like.
    pub resembles: Option<String>,
    pub kind: String,
    pub members: String,
    pub since: String,
    pub suspended: bool,
}

/// `/admin/organizations`.
#[derive(Template)]
#[template(path = "admin/organizations.html")]
pub struct OrganizationsPage {
    pub page: Page,
    pub q: String,
    pub rows: Vec<OrganizationRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

async fn detail(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let id = id.into_inner();
    let (found, apps, figures) = app
        .db
        .read(move |conn| {
            let found = directory::organization_in(conn, &actor, &id)?;
            Ok((found, apps_of(conn, &id)?, figures(conn, &id)?))
        })
        .await?;
    let mut page = Page::of(&req, "");
    let name = page.pick(&found.organization.name_zh, &found.organization.name_en).to_owned();
    page.title = name;
    page.clone().render(&OrganizationPage::of(page, found, apps, figures))
}

/// Id, names and state.
type AppLine = (String, Names, ListingState);

fn apps_of(conn: &mut Conn, organization_id: &str) -> QueryResult<Vec<AppLine>> {
    apps::table
        .filter(apps::organization_id.eq(organization_id))
        .order(apps::id.desc())
        .limit(MAX_APPS)
        .select((apps::id, (apps::title_zh, apps::title_en), apps::state))
        .load(conn)
}

/// Orders placed, orders sold, licences held, nodes, deployments that are wanted.
type Figures = [i64; 5];

fn figures(conn: &mut Conn, id: &str) -> QueryResult<Figures> {
    let wanted = deployments::organization_id.eq(id).and(deployments::wanted.eq(true));
    let present = nodes::organization_id.eq(id).and(nodes::state.ne(NodeState::Removed));
    Ok([
        orders::table.filter(orders::organization_id.eq(id)).count().get_result(conn)?,
        orders::table.filter(orders::vendor_id.eq(id)).count().get_result(conn)?,
        licenses::table.filter(licenses::organization_id.eq(id)).count().get_result(conn)?,
        nodes::table.filter(present).count().get_result(conn)?,
        deployments::table.filter(wanted).count().get_result(conn)?,
    ])
}

/// A person of an organisation.
pub struct MemberRow {
    pub href: String,
    pub name: String,
    pub email: String,
    pub role: String,
}

/// An app of a developer.
pub struct ListingRow {
    pub href: String,
    pub title: String,
    pub state: ListingState,
}

/// `/admin/organizations/{id}`.
#[derive(Template)]
#[template(path = "admin/organization.html")]
pub struct OrganizationPage {
    pub page: Page,
    pub id: String,
    pub name: String,
    pub slug: String,
    /// What the name looks like.
    pub resembles: Option<String>,
    /// Public page of a developer.
    pub public: Option<String>,
    pub kind: String,
    /// Whether it is the platform's own, which is never suspended.
    pub platform: bool,
    pub since: String,
    /// Why it is suspended.
    pub suspended: Option<String>,
    /// Labels and figures.
    pub figures: Vec<(String, String)>,
    pub members: Vec<MemberRow>,
    pub apps: Vec<ListingRow>,
    pub notes: Vec<NoteRow>,
}

impl OrganizationPage {
    fn of(page: Page, found: OrganizationDetail, apps: Vec<AppLine>, figures: Figures) -> Self {
        use crate::base::auth::OrgKind;
        let OrganizationDetail { organization, suspended, members, notes } = found;
        let [placed, sold, held, nodes, running] = figures;
        let shown: &[(&str, i64)] = match organization.kind {
            OrgKind::Vendor => &[("organizations-sold", sold)],
            OrgKind::Operator => &[
                ("organizations-orders", placed),
                ("organizations-licenses", held),
                ("organizations-nodes", nodes),
                ("organizations-deployments", running),
            ],
            OrgKind::Platform => &[],
        };
        let member = |m: crate::account::model::TeamMember| MemberRow {
            href: format!("/admin/people/{}", m.user_id),
            name: m.name,
            email: m.email,
            role: page.tk("role-", m.role),
        };
        Self {
            figures: shown.iter().map(|(key, n)| (page.t(key), page.count(n))).collect(),
            name: page.title.clone(),
            kind: page.tk("organization-", organization.kind),
            platform: organization.kind == OrgKind::Platform,
            since: page.date(&organization.created_at),
            public: (organization.kind == OrgKind::Vendor).then(|| format!("/vendors/{}", organization.slug)),
            id: organization.id,
            slug: organization.slug,
            resembles: organization.resembles,
            suspended,
            members: members.into_iter().map(member).collect(),
            apps: apps
                .into_iter()
                .map(|(id, names, state)| ListingRow { href: format!("/admin/listings/{id}"), title: page.name(&names).to_owned(), state })
                .collect(),
            notes: notes.iter().rev().map(|note| NoteRow::of(&page, note)).collect(),
            page,
        }
    }
}
