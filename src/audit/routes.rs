//! Routes of the audit log.

use actix_web::HttpRequest;
use actix_web::web::{self, Data, Query, ServiceConfig};
use serde::Deserialize;

use super::model::ChainVerdict;
use super::service;
use super::views::{LogPage, RecordRow};
use crate::app::App;
use crate::auth::Actor;
use crate::http::page::{Page, PageResult, see_other_with};

/// Routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/audit", web::get().to(log)).route("/admin/audit/verify", web::post().to(verify));
}

#[derive(Deserialize)]
struct LogQuery {
    before: Option<i64>,
    #[serde(default)]
    subject: String,
}

async fn log(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<LogQuery>) -> PageResult {
    let LogQuery { before, subject } = query.into_inner();
    let subject = subject.trim().chars().take(80).collect::<String>();
    let mut records = service::list(&app, &actor, before, (!subject.is_empty()).then(|| subject.clone())).await?;
    let page = Page::of(&req, "audit-title");
    let limit = usize::try_from(service::PAGE).unwrap_or(50);
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|r| format!("/admin/audit?before={}&subject={subject}", r.sequence));
    let records = records
        .into_iter()
        .map(|r| RecordRow {
            sequence: r.sequence,
            at: page.datetime(&r.at),
            actor: r.actor,
            action: r.action,
            subject: r.subject,
            detail: r.detail,
            hash: r.hash.chars().take(12).collect(),
        })
        .collect();
    page.clone().render(&LogPage { page, records, subject, next })
}

async fn verify(app: Data<App>, actor: Actor) -> PageResult {
    Ok(match service::verify_as(&app, &actor).await? {
        ChainVerdict::Intact { records } => see_other_with("/admin/audit", "success", "audit-intact", &[("n", &records.to_string())]),
        ChainVerdict::Broken { sequence, fault } => {
            see_other_with("/admin/audit", "danger", "audit-broken", &[("n", &sequence.to_string()), ("fault", fault)])
        }
    })
}
