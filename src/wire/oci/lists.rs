//! Lists: tags, referrers, the catalogue of repositories; each in pages with a link to the next (distribution-spec v1.1; the catalogue as
//! Docker's registry API V2 has it).

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use app_package::digest::Digest;
use app_package::oci::{INDEX_TYPE, Index};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::answer::pairs;
use super::token::RequestIdentity;
use super::{conditions, pull};
use crate::base::app::App;
use crate::base::error::{Error, Result};
use crate::http::oci::OciResult;
use crate::registry::model::{RepositoryName, parse_digest};

/// The query of a list.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(req: &HttpRequest) -> Self {
        Self(pairs(req))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Where the page begins: behind this.
    fn last(&self) -> &str {
        self.value("last").unwrap_or_default()
    }

    /// The length that is asked for; a list is never longer than its kind allows, however large this is.
    ///
    /// # Errors
    /// `page-size-invalid`.
    fn n(&self) -> Result<Option<u32>> {
        let Some(text) = self.value("n") else { return Ok(None) };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::invalid("page-size-invalid"));
        }
        Ok(Some(text.parse().unwrap_or(u32::MAX)))
    }
}

pub async fn tags(req: &HttpRequest, app: &App, asking: RequestIdentity, name: &RepositoryName) -> OciResult {
    let query = Query::of(req);
    let page = pull::tags(app, asking, name, query.n()?, query.last()).await?;
    let link = page.next.map(|last| format!("/v2/{name}/tags/list?n={}&last={}", page.items.len(), escape(&last)));
    json_list(req, link, &json!({"name": name.as_str(), "tags": page.items}))
}

pub async fn catalog(req: &HttpRequest, app: &App, asking: RequestIdentity) -> OciResult {
    let query = Query::of(req);
    let page = pull::catalog(app, asking, query.n()?, query.last()).await?;
    let link = page.next.map(|last| format!("/v2/_catalog?n={}&last={}", page.items.len(), escape(&last)));
    json_list(req, link, &json!({"repositories": page.items}))
}

pub async fn referrers(req: &HttpRequest, app: &App, asking: RequestIdentity, name: &RepositoryName, digest: &str) -> OciResult {
    let digest = parse_digest(digest)?;
    let query = Query::of(req);
    let artifact_type = query.value("artifactType").filter(|t| !t.is_empty()).map(ToOwned::to_owned);
    if !query.last().is_empty() {
        parse_digest(query.last())?;
    }
    let page = pull::referrers(app, asking, name, &digest, artifact_type.clone(), query.last()).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, INDEX_TYPE));
    if artifact_type.is_some() {
        response.insert_header(("OCI-Filters-Applied", "artifactType"));
    }
    if let Some(last) = &page.next {
        let filter = artifact_type.map(|t| format!("artifactType={}&", escape(&t))).unwrap_or_default();
        response.insert_header((header::LINK, format!("</v2/{name}/referrers/{digest}?{filter}last={}>; rel=\"next\"", escape(last))));
    }
    let bytes = Index::of(page.items).to_bytes();
    Ok(conditions::send(req, response, Digest::of(&bytes).as_str(), bytes.into())?)
}

fn json_list(req: &HttpRequest, link: Option<String>, list: &Value) -> OciResult {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, "application/json"));
    if let Some(link) = link {
        response.insert_header((header::LINK, format!("<{link}>; rel=\"next\"")));
    }
    let bytes = list.to_string().into_bytes();
    Ok(conditions::send(req, response, Digest::of(&bytes).as_str(), bytes.into())?)
}

fn escape(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}
