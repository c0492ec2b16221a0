//! `/api/v1`: JSON for the programs of buyers, developers and the platform, by API token or session. Each handler calls the service that the
//! page calls; rights and tenants are asked there. The document ([`document`]) is made from the handlers, and a test holds routes and
//! document together.
//!
//! Lists have pages of the house's size and go on at `next`. Reads have a tag ([`crate::http::api::tagged`]). Errors are problem documents.

use actix_web::web::ServiceConfig;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::base::i18n::Names;
use crate::http::paging::paging;

mod alarms;
mod case;
mod cases;
mod deployments;
pub mod document;
mod licenses;
mod listings;
mod nodes;
mod once;
mod orders;
mod releases;
#[cfg(test)]
mod tests;
mod words;

/// Routes of the site listener.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.configure(listings::configure)
        .configure(releases::configure)
        .configure(orders::configure)
        .configure(licenses::configure)
        .configure(nodes::configure)
        .configure(deployments::configure)
        .configure(alarms::configure)
        .configure(cases::configure)
        .configure(case::configure)
        .configure(document::configure);
}

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct Listed<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Address of the next page; null on the last one.
    pub next: Option<String>,
}

impl<T> Listed<T> {
    /// A page of rows that were read as one more than `size`: `path` is the address without the key `before` of paging.
    pub fn of<R>(mut rows: Vec<R>, size: i64, path: &str, id: impl Fn(&R) -> String, item: impl Fn(R) -> T) -> Self {
        let (_, next) = paging(&mut rows, size, path, "before", None, id);
        Self { items: rows.into_iter().map(item).collect(), next }
    }
}

/// Where a page of a list begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Before {
    /// Id of the last row of the page before; the newest rows come first.
    pub before: Option<String>,
}

/// A text in both languages.
#[derive(Serialize, ToSchema)]
pub struct Both {
    pub zh: String,
    pub en: String,
}

impl From<Names> for Both {
    fn from(names: Names) -> Self {
        Self { zh: names.zh, en: names.en }
    }
}

impl Both {
    fn of(zh: String, en: String) -> Self {
        Self { zh, en }
    }
}

/// What a change has made.
#[derive(Serialize, ToSchema)]
pub struct Made {
    /// Its id.
    pub id: String,
}
