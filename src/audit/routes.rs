//! Routes of the audit log.

use actix_web::http::header;
use actix_web::web::{self, Data, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::model::{ChainVerdict, Filter, Place};
use super::service;
use super::views::{LogPage, RecordRow, csv};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::http::page::{Page, PageResult, see_other_with};
use crate::http::paging::paging;

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/audit", web::get().to(log))
        .route("/admin/audit/export", web::get().to(export))
        .route("/admin/audit/verify", web::post().to(verify));
}

#[derive(Deserialize)]
struct Before {
    before: Option<String>,
}

async fn log(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Filter>, at: Query<Before>) -> PageResult {
    let filter = query.into_inner().tidy();
    let mut found = service::list(&app, &actor, at.before.as_deref().and_then(Place::parse), filter.clone()).await?;
    let page = Page::of(&req, "audit-title");
    let words = serde_urlencoded::to_string(&filter).map_err(Error::internal)?;
    let (_, next) =
        paging(&mut found.records, service::PAGE, &format!("/admin/audit?{words}"), "before", None, |r| Place::of(r).to_string());
    let records = found.records.iter().map(|record| RecordRow::of(&page, &found.names, record)).collect();
    let (actions, export) = (LogPage::actions(&page), format!("/admin/audit/export?{words}"));
    page.clone().render(&LogPage { page, records, filter, actions, export, next })
}

/// The same as a file, at most [`service::EXPORT`] records.
async fn export(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Filter>) -> PageResult {
    let found = service::export(&app, &actor, query.into_inner().tidy()).await?;
    let page = Page::of(&req, "audit-title");
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .body(csv(&page, &found)))
}

async fn verify(app: Data<App>, actor: Actor) -> PageResult {
    Ok(match service::verify_as(&app, &actor).await? {
        ChainVerdict::Intact { records, chains, .. } => {
            let counts = [("n", records.to_string()), ("chains", chains.to_string())];
            see_other_with("/admin/audit", "success", "audit-intact", &counts.each_ref().map(|(name, n)| (*name, n.as_str())))
        }
        ChainVerdict::Broken { chain, sequence, fault } => {
            let key = if chain.is_empty() { "audit-seal-broken" } else { "audit-broken" };
            see_other_with("/admin/audit", "danger", key, &[("n", &sequence.to_string()), ("chain", &chain), ("fault", fault)])
        }
    })
}
