//! /vendor/orders: sales.

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::http::page::{Page, PageResult};
use crate::http::paging::{Before, paging};
use crate::site::parts::order::{OrderRow, OrderView};
use crate::trade::service;
use crate::trade::service::Side;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/vendor/orders", web::get().to(sold)).route("/vendor/orders/{id}", web::get().to(sale));
}

/// `/vendor/orders`.
#[derive(Template)]
#[template(path = "vendor/orders.html")]
pub struct SoldPage {
    pub page: Page,
    pub rows: Vec<OrderRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// `/vendor/orders/{id}`.
#[derive(Template)]
#[template(path = "vendor/order.html")]
pub struct SalePage {
    pub page: Page,
    pub order: OrderView,
}

async fn sold(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Before>) -> PageResult {
    let mut lines = service::list_sold(&app, &actor, query.before.clone()).await?;
    let (previous, next) = paging(&mut lines, service::PAGE, "/vendor/orders", "before", query.before.as_deref(), |l| l.order.id.clone());
    let page = Page::of(&req, "sales-title");
    let rows = lines.iter().map(|line| OrderRow::of(&page, line, "/vendor/orders")).collect();
    page.clone().render(&SoldPage { page, rows, previous, next })
}

async fn sale(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    let mut page = Page::of(&req, "order-title");
    let order = OrderView::read(&app, actor, &page, Side::Vendor, id.into_inner()).await?;
    page.title = format!("{} {}", page.title, order.number);
    page.clone().render(&SalePage { page, order })
}
