//! The OpenAPI 3.1 document, made from the handlers, and its page.

use std::sync::LazyLock;

use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, Ref, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{alarms, case, cases, deployments, licenses, listings, nodes, orders, releases};
use crate::http::api::{ApiResult, Problem, tagged};
use crate::http::page::{Page, PageResult};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/", web::get().to(page)).route("/api/v1/openapi.json", web::get().to(document));
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pithead",
        version = "1",
        description = "A marketplace of AI apps for mines. Programs send an API token (`Authorization: Bearer pht_…`); lists have pages that go on \
                       at `next`; reads have an `ETag`; errors are problem documents (RFC 9457) with a stable `code`. What belongs to another \
                       organisation is 404.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        listings::list,
        listings::show,
        listings::own,
        listings::hide,
        releases::list,
        releases::show,
        releases::submit,
        orders::list,
        orders::show,
        orders::place,
        orders::cancel,
        licenses::list,
        licenses::show,
        nodes::sites,
        nodes::add_site,
        nodes::list,
        nodes::add,
        nodes::show,
        nodes::remove,
        nodes::new_code,
        deployments::list,
        deployments::show,
        deployments::deploy,
        deployments::remove,
        alarms::list,
        alarms::show,
        alarms::acknowledge,
        alarms::acknowledge_chosen,
        alarms::judge,
        alarms::shelve,
        alarms::unshelve,
        alarms::take_out,
        alarms::put_back,
        alarms::picture,
        alarms::fetch_picture,
        cases::list,
        case::show,
        case::decide,
    ),
    components(schemas(Problem)),
    security(("token" = []), ("session" = [])),
    modifiers(&Common),
)]
struct Document;

/// What all calls have in common, so that no handler repeats it.
struct Common;

impl Modify for Common {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token, made on /account/tokens")).build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let session = ApiKeyValue::with_description(
            "__Host-session",
            "The session of a browser; what changes something needs the header X-CSRF-Token, too",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
        for item in openapi.paths.paths.values_mut() {
            if let Some(get) = &mut item.get {
                let held = ResponseBuilder::new().description("The asker holds it: `If-None-Match` names its tag").build();
                get.responses.responses.insert("304".into(), held.into());
                if let Some(utoipa::openapi::RefOr::T(found)) = get.responses.responses.get_mut("200") {
                    found.headers.insert("ETag".into(), Header::default().into());
                }
            }
            for operation in operations(item) {
                // Of the whole document, so that programs written by it have one function for each.
                let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
                operation.operation_id = operation.operation_id.take().map(|handler| format!("{tag}_{handler}"));
                operation.responses.responses.insert("4XX".into(), problem("It is not done; `code` says why").into());
                operation.responses.responses.insert("5XX".into(), problem("It cannot be done now").into());
            }
        }
    }
}

fn problem(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

/// The operations of an address.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().filter_map(Option::as_mut)
}

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);

/// The document as it is committed, for the test that compares the two.
///
/// # Errors
/// None that a document of ours has.
pub fn text() -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&*DOCUMENT)? + "\n")
}

async fn document(req: HttpRequest) -> ApiResult {
    tagged(&req, &*DOCUMENT)
}

/// `/api/v1/`.
#[derive(Template)]
#[template(path = "api/document.html")]
pub struct DocumentPage {
    pub page: Page,
}

/// The vendored page writes styles into its elements, and no script.
const POLICY: (HeaderName, &str) = (
    CONTENT_SECURITY_POLICY,
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);

async fn page(req: HttpRequest) -> PageResult {
    let page = Page::of(&req, "api-title");
    let mut response: HttpResponse = page.clone().render(&DocumentPage { page })?;
    response.headers_mut().insert(POLICY.0, HeaderValue::from_static(POLICY.1));
    Ok(response)
}
