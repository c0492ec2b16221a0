//! /duty/board/export: the alarms of a choice as a CSV file, the newest first, read and sent in portions.

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;

use super::board::Wanted;
use super::row::Row;
use crate::alarm_management::board::{self, EXPORT, Entry};
use crate::alarm_management::model::{Cursor, Filter, Show};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::{Error, Result};
use crate::http::csv;
use crate::http::page::{Page, PageResult};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/duty/board/export", web::get().to(export));
}

const HEAD: &str = "id,raised_at,level,state,text,place,app,rule,acknowledged_by,acknowledged_at,verdict,ended_at,release\r\n";

async fn export(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Wanted>) -> PageResult {
    policy::require(&actor, Action::ViewFleet)?;
    let filter = Filter { show: Show::History, ..query.filter(app.clock.now())? };
    let export = Export { page: Page::of(&req, "duty-board-title"), app, actor, filter, next: Next::First };
    let body = stream::try_unfold(export, |mut export| async move {
        let portion = export.portion().await?;
        Ok::<_, Error>(portion.map(|text| (Bytes::from(text), export)))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"alarms.csv\""))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .streaming(body))
}

struct Export {
    page: Page,
    app: Data<App>,
    actor: Actor,
    filter: Filter,
    next: Next,
}

/// Where the next portion begins.
enum Next {
    First,
    Behind(Cursor),
    Nothing,
}

impl Export {
    /// The next lines, with the head before the first; none at the end.
    async fn portion(&mut self) -> Result<Option<String>> {
        let (mut lines, after) = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::First => (format!("{}{HEAD}", csv::MARK), None),
            Next::Behind(cursor) => (String::new(), Some(cursor)),
            Next::Nothing => return Ok(None),
        };
        let found = board::list(&self.app, &self.actor, self.filter.clone(), after, EXPORT).await.inspect_err(|e| {
            // The head of the answer is gone, so the connection breaks: the file is not taken for whole.
            tracing::error!(error = %e, "exporting alarms");
        })?;
        for (entry, _) in &found {
            lines.push_str(&line(&self.page, entry));
        }
        if let Some((_, last)) = found.last() {
            self.next = Next::Behind(last.clone());
        }
        Ok(Some(lines))
    }
}

fn line(page: &Page, entry: &Entry) -> String {
    let row = Row::of(page, entry);
    let at = |at: Option<crate::base::db::Timestamp>| at.map(crate::base::db::Timestamp::rfc3339).unwrap_or_default();
    csv::line([
        &row.id,
        &at(Some(entry.raised_at)),
        row.level.as_str(),
        row.state.as_str(),
        &row.text,
        &row.place,
        &row.app,
        &row.rule,
        &row.acknowledged_by,
        &at(entry.response.as_ref().map(|response| response.acknowledged_at)),
        row.verdict.map_or("", |verdict| verdict.as_str()),
        &at(entry.presence.ended_at),
        &row.digest_full,
    ])
}
