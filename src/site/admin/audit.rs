//! /admin/audit: the log, its export and its verification.

use std::collections::HashMap;

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use app_package::text::Text;
use askama::Template;
use chrono::DateTime;
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;

use crate::audit;
use crate::audit::model::{ACTIONS, ChainVerdict, DisplayName, Filter, LogPosition, OLD_CHAIN, Record};
use crate::audit::service;
use crate::audit::service::{EXPORT, PAGE};
use crate::base::app::App;
use crate::base::auth::{Actor, policy};
use crate::base::db::Timestamp;
use crate::base::error::{Error, Result};
use crate::http::csv;
use crate::http::page::{Page, PageResult, see_other_with};
use crate::http::paging::paging;
use crate::site::admin::audit_names;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/audit", web::get().to(log))
        .route("/admin/audit/export", web::get().to(export))
        .route("/admin/audit/verify", web::post().to(verify));
}

/// Records with the names for the ids in them.
#[derive(Debug)]
pub struct LogEntries {
    /// Records, newest first.
    pub records: Vec<Record>,
    /// Names by id, for actors, subjects and details.
    pub names: HashMap<String, DisplayName>,
}

/// Records that fit a filter, newest first, before a position in the log; one more than a page.
pub async fn read_page(app: &App, actor: &Actor, before: Option<LogPosition>, filter: Filter) -> Result<LogEntries> {
    read(app, actor, before, filter, PAGE + 1).await
}

async fn read(app: &App, actor: &Actor, before: Option<LogPosition>, filter: Filter, limit: i64) -> Result<LogEntries> {
    policy::require(actor, policy::Action::ViewAudit)?;
    app.db
        .read(move |conn| {
            let sought = if filter.q.is_empty() { None } else { Some(audit_names::sought(conn, &filter.q)?) };
            let records = audit::service::list_before(conn, before.as_ref(), &filter, sought.as_ref(), limit)?;
            let names = audit_names::of(conn, &records)?;
            Ok(LogEntries { records, names })
        })
        .await
}

#[derive(Deserialize)]
struct Before {
    before: Option<String>,
}

async fn log(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Filter>, at: Query<Before>) -> PageResult {
    let filter = query.into_inner().tidy();
    let mut found = read_page(&app, &actor, at.before.as_deref().and_then(LogPosition::parse), filter.clone()).await?;
    let page = Page::of(&req, "audit-title");
    let words = serde_urlencoded::to_string(&filter).map_err(Error::internal)?;
    let (_, next) =
        paging(&mut found.records, service::PAGE, &format!("/admin/audit?{words}"), "before", None, |r| LogPosition::of(r).to_string());
    let records = found.records.iter().map(|record| RecordRow::of(&page, &found.names, record)).collect();
    let (actions, export) = (LogPage::actions(&page), format!("/admin/audit/export?{words}"));
    page.clone().render(&LogPage { page, records, filter, actions, export, next })
}

/// The whole filtered log as a CSV file, newest first, read and sent in portions of [`EXPORT`] records.
async fn export(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Filter>) -> PageResult {
    policy::require(&actor, policy::Action::ViewAudit)?;
    let export = Export { page: Page::of(&req, "audit-title"), app, actor, filter: query.into_inner().tidy(), next: Next::First };
    let body = stream::try_unfold(export, |mut export| async move {
        let portion = export.portion().await?;
        Ok::<_, Error>(portion.map(|text| (Bytes::from(text), export)))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .streaming(body))
}

/// An export under way.
struct Export {
    page: Page,
    app: Data<App>,
    actor: Actor,
    filter: Filter,
    next: Next,
}

/// Where the next portion of an export begins.
enum Next {
    First,
    Behind(LogPosition),
    Nothing,
}

impl Export {
    /// The next lines, with the head before the first; none at the end.
    async fn portion(&mut self) -> Result<Option<String>> {
        let (mut lines, before) = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::First => (format!("{}{CSV_HEAD}", csv::MARK), None),
            Next::Behind(position) => (String::new(), Some(position)),
            Next::Nothing => return Ok(None),
        };
        let found = read(&self.app, &self.actor, before, self.filter.clone(), EXPORT).await.inspect_err(|e| {
            // The head of the answer is gone, so the connection breaks: the file is not taken for whole.
            tracing::error!(error = %e, "exporting the audit log");
        })?;
        lines.push_str(&lines_of(&self.page, &found));
        if let Some(last) = found.records.last() {
            self.next = Next::Behind(LogPosition::of(last));
        }
        Ok(Some(lines))
    }
}

async fn verify(app: Data<App>, actor: Actor) -> PageResult {
    let (kind, key, args) = match service::verify_as(&app, &actor).await? {
        ChainVerdict::Intact { records, chains, seals, signed, noted } => {
            let key = if noted || seals == 0 { "audit-intact" } else { "audit-intact-not-noted" };
            let counts = [("n", records), ("chains", chains), ("seals", seals), ("signed", signed)];
            ("success", key.to_owned(), counts.map(|(name, n)| (name, n.to_string())).to_vec())
        }
        ChainVerdict::Broken { chain, sequence, fault } if chain.is_empty() => {
            ("danger", format!("audit-seal-{fault}"), vec![("n", sequence.to_string())])
        }
        ChainVerdict::Broken { chain, sequence, fault } => {
            ("danger", "audit-broken".to_owned(), vec![("n", sequence.to_string()), ("chain", chain), ("fault", fault.to_owned())])
        }
    };
    let args: Vec<_> = args.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Ok(see_other_with("/admin/audit", kind, &key, &args))
}

/// A thing or person that a record names.
pub struct LinkedName {
    /// Its name; the id where it has none.
    pub name: String,
    /// Its page, where there is one that the reader may open.
    pub href: Option<String>,
    /// Its id, to search by.
    pub id: String,
}

impl LinkedName {
    fn of(page: &Page, names: &HashMap<String, DisplayName>, id: &str) -> Self {
        let named = names.get(id);
        let href = named.and_then(|n| n.href.clone()).filter(|href| !href.starts_with("/admin/licenses/") || page.may("revoke-licenses"));
        let name = named.map_or_else(|| id.to_owned(), |n| page.pick(&n.zh, &n.en).to_owned());
        Self { name, href, id: id.to_owned() }
    }
}

/// One record as shown.
pub struct RecordRow {
    /// Chain and number in it; the number alone in the old chain.
    pub sequence: String,
    pub at: String,
    pub action: String,
    pub actor: LinkedName,
    pub subject: LinkedName,
    /// Words and values of the detail.
    pub detail: Vec<(String, String)>,
    pub hash: String,
}

impl RecordRow {
    /// The row of a record, with `names` for its ids.
    pub fn of(page: &Page, names: &HashMap<String, DisplayName>, record: &Record) -> Self {
        let actor = match record.actor.split_once(':') {
            Some((_, id)) => LinkedName::of(page, names, id),
            None => LinkedName { name: word(page, "audit-actor-", &record.actor), href: None, id: record.actor.clone() },
        };
        let detail = match serde_json::from_str(&record.detail) {
            Ok(Value::Object(detail)) => detail
                .iter()
                .map(|(key, said)| (word(page, "audit-key-", key), value(page, names, key, said)))
                .filter(|(_, said)| !said.is_empty())
                .collect(),
            _ => Vec::new(),
        };
        Self {
            sequence: place(record),
            at: page.datetime(&record.at),
            action: action(page, &record.action),
            actor,
            subject: LinkedName::of(page, names, &record.subject),
            detail,
            hash: record.hash.chars().take(12).collect(),
        }
    }
}

fn place(record: &Record) -> String {
    if record.chain == OLD_CHAIN { record.sequence.to_string() } else { format!("{} · {}", record.chain, record.sequence) }
}

/// The text of the key made of a prefix and a word; the word itself where there is no such text.
fn word(page: &Page, prefix: &str, word: &str) -> String {
    let key = format!("{prefix}{word}").replace('_', "-");
    if page.locale().has(&key) { page.t(&key) } else { word.to_owned() }
}

/// An action in words; its code where it has no text.
fn action(page: &Page, code: &str) -> String {
    let key = format!("audit-action-{}", code.replace('.', "-"));
    if page.locale().has(&key) { page.t(&key) } else { code.to_owned() }
}

/// A value of the detail in words.
fn value(page: &Page, names: &HashMap<String, DisplayName>, key: &str, said: &Value) -> String {
    match said {
        Value::String(text) => match (names.get(text), key) {
            (Some(named), _) => page.pick(&named.zh, &named.en).to_owned(),
            (None, "role") => word(page, "role-", text),
            (None, "channel") => word(page, "channel-for-", text),
            (None, "flags") => word(page, "flag-", text),
            (None, "plan") => word(page, "plan-", text),
            (None, "kind") if page.locale().has(&format!("plan-{text}")) => word(page, "plan-", text),
            (None, "kind") => word(page, "organization-", text),
            (None, "scopes") => text.split(' ').map(|scope| word(page, "scope-", scope)).collect::<Vec<_>>().join(&page.t("list-comma")),
            _ if key.ends_with("_at") => {
                DateTime::parse_from_rfc3339(text).map_or_else(|_| text.clone(), |at| page.datetime(&Timestamp::new(at.to_utc())))
            }
            _ => text.clone(),
        },
        Value::Number(n) => match n.as_i64() {
            Some(fen) if key.ends_with("_fen") => page.money(&fen),
            Some(n) if key.ends_with("bytes") => page.bytes(&n),
            Some(n) => page.count(&n),
            None => n.to_string(),
        },
        Value::Bool(true) => page.t("golden-yes"),
        Value::Bool(false) => page.t("golden-no"),
        Value::Array(all) => all.iter().map(|one| value(page, names, key, one)).collect::<Vec<_>>().join(&page.t("list-comma")),
        Value::Null => String::new(),
        Value::Object(texts) => match serde_json::from_value::<Text>(said.clone()) {
            Ok(text) if texts.contains_key("zh") || texts.contains_key("en") => text.get(page.lang).to_owned(),
            _ => said.to_string(),
        },
    }
}

/// `/admin/audit`.
#[derive(Template)]
#[template(path = "admin/audit.html")]
pub struct LogPage {
    pub page: Page,
    pub records: Vec<RecordRow>,
    pub filter: Filter,
    /// Actions to choose from, with their words.
    pub actions: Vec<(&'static str, String)>,
    /// Address of the filtered log as a CSV file.
    pub export: String,
    pub next: Option<String>,
}

impl LogPage {
    /// All actions in words.
    pub fn actions(page: &Page) -> Vec<(&'static str, String)> {
        ACTIONS.iter().map(|code| (*code, action(page, code))).collect()
    }
}

/// First line of the CSV file.
const CSV_HEAD: &str = "chain,sequence,at,actor,actor_name,organization,action,action_name,subject,subject_name,detail,hash\r\n";

/// The records as lines of CSV (RFC 4180).
fn lines_of(page: &Page, found: &LogEntries) -> String {
    let mut out = String::new();
    for record in &found.records {
        let row = RecordRow::of(page, &found.names, record);
        let (sequence, at) = (record.sequence.to_string(), record.at.rfc3339());
        let cells = [
            record.chain.as_str(),
            &sequence,
            &at,
            &record.actor,
            &row.actor.name,
            record.organization_id.as_deref().unwrap_or_default(),
            &record.action,
            &row.action,
            &record.subject,
            &row.subject.name,
            &record.detail,
            &record.hash,
        ];
        out.push_str(&csv::line(cells));
    }
    out
}
