//! Pages of the audit log.

use askama::Template;

use crate::http::page::Page;

/// One record as shown.
pub struct RecordRow {
    pub sequence: i64,
    pub at: String,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: String,
    pub hash: String,
}

/// `/admin/audit`.
#[derive(Template)]
#[template(path = "audit/log.html")]
pub struct LogPage {
    pub page: Page,
    pub records: Vec<RecordRow>,
    pub subject: String,
    pub next: Option<String>,
}
