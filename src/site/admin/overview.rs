//! /admin: open work of the platform’s people, and figures.

use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, policy};
use crate::base::error::{Error, Result};
use crate::http::page::{Page, PageResult};
use crate::moderation::model::CaseLine;
use crate::moderation::service::SHORT;
use crate::site::admin::cases::CaseRow;
use crate::site::parts::figures::{PlatformFigures, figures};
use crate::site::parts::order::AwaitingRow;
use crate::{moderation, trade};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin", web::get().to(overview));
}

/// The content of the platform's overview. Parts that the reader may not see are none.
#[derive(Debug)]
pub struct Overview {
    /// Open cases and the oldest of them.
    pub cases: Option<(i64, Vec<CaseLine>)>,
    /// Orders that wait for payment and the oldest of them.
    pub payments: Option<(i64, Vec<trade::service::Awaiting>)>,
    pub figures: PlatformFigures,
}

/// Reads the overview, which everyone who works for the platform may see.
async fn read_overview(app: &App, actor: &Actor) -> Result<Overview> {
    let cases = policy::require(actor, Action::ViewCases);
    let payments = policy::require(actor, Action::ViewPayments);
    if let (Err(e), Err(_)) = (&cases, &payments) {
        return Err(Error::new(e.kind, e.code));
    }
    let (cases, payments) = (cases.is_ok(), payments.is_ok());
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            Ok(Overview {
                cases: if cases {
                    Some((moderation::service::count_open(conn)?, moderation::service::open_cases(conn, None, SHORT)?))
                } else {
                    None
                },
                payments: if payments { Some(trade::service::awaiting_in(conn, SHORT)?) } else { None },
                figures: figures(conn, now)?,
            })
        })
        .await
}

/// `/admin`.
#[derive(Template)]
#[template(path = "admin/overview.html")]
pub struct OverviewPage {
    pub page: Page,
    /// Number of open cases and the oldest.
    pub cases: Option<(String, Vec<CaseRow>)>,
    /// Number of orders that wait for payment and the oldest.
    pub payments: Option<(String, Vec<AwaitingRow>)>,
    pub vendors: String,
    pub listings: String,
    pub mines: String,
    pub nodes: String,
}

impl OverviewPage {
    /// The page with the parts that the reader may see.
    pub fn of(page: Page, overview: &Overview) -> Self {
        let PlatformFigures { vendors, apps: listings, operators: mines, nodes } = overview.figures;
        Self {
            cases: overview.cases.as_ref().map(|(n, lines)| (page.count(n), lines.iter().map(|l| CaseRow::of(&page, l, None)).collect())),
            payments: overview
                .payments
                .as_ref()
                .map(|(n, lines)| (page.count(n), lines.iter().map(|l| AwaitingRow::of(&page, l)).collect())),
            vendors: page.count(&vendors),
            listings: page.count(&listings),
            mines: page.count(&mines),
            nodes: page.count(&nodes),
            page,
        }
    }
}

async fn overview(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let overview = read_overview(&app, &actor).await?;
    let page = Page::of(&req, "admin-title");
    page.clone().render(&OverviewPage::of(page, &overview))
}
