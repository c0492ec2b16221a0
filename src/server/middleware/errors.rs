//! Writes the body of page and problem errors, which need the reader's language; logs the cause of an internal error, once.

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};

use super::request_id::RequestId;
use crate::base::error::Kind;
use crate::http::api::{ApiError, problem};
use crate::http::dialect::Dialect;
use crate::http::error_page::error_page;
use crate::http::extract::GivenUp;
use crate::http::margo::{self, MargoError};
use crate::http::oci::{self, OciError};
use crate::http::page::{PageError, lang_of};

/// The middleware. It keeps no copy of the request while the inner ones run: the router needs it for itself, and panics otherwise.
/// Inner middleware therefore refuses with a response ([`ServiceRequest::error_response`]), not with an `Err`.
pub async fn errors(req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<EitherBody<BoxBody>>, Error> {
    let res = next.call(req).await?;
    let error = res.response().error().and_then(domain);
    let retry_after = error.and_then(|e| e.retry_after);
    let allow = error.filter(|e| e.kind == Kind::NoMethod).and_then(allowed);
    let written = res.response().error().and_then(|e| write(res.request(), e));
    let mut res = match written {
        Some((mut response, unread)) => {
            if unread {
                // Close the connection instead of reading the rest of a body that was given up.
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            res.into_response(response).map_into_left_body()
        }
        None => res.map_body(|_, body| EitherBody::right(BoxBody::new(body))),
    };
    if let Some(after) = retry_after {
        res.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after));
    }
    if let Some(allow) = allow {
        res.headers_mut().insert(ALLOW, allow);
    }
    Ok(res)
}

/// The methods that an error of [`Kind::NoMethod`] names.
fn allowed(error: &crate::base::error::Error) -> Option<HeaderValue> {
    let (_, methods) = error.args.iter().find(|(name, _)| *name == "allow")?;
    HeaderValue::from_str(methods).ok()
}

/// The answer, and whether the request's body was given up before its end, or was not begun.
fn write(req: &HttpRequest, error: &Error) -> Option<(HttpResponse, bool)> {
    let given_up = req.extensions().contains::<GivenUp>();
    let unread = |e: &crate::base::error::Error| {
        given_up || matches!(e.code, "body-too-slow" | "body-too-large" | "body-broken" | "too-many-connections")
    };
    let id = req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    if let Some(PageError(e)) = error.as_error() {
        log(e);
        // What answers for all addresses (the CSRF value, a form) knows pages only; a program is not told in HTML.
        let answer = match Dialect::of(req) {
            Dialect::Page => error_page(req, e, &id),
            Dialect::Api => problem(lang_of(req), e, &id),
            Dialect::Margo => margo::write(lang_of(req), e, &id),
            Dialect::Oci => oci::refusal(lang_of(req), e),
        };
        Some((answer, unread(e)))
    } else if let Some(ApiError(e)) = error.as_error() {
        log(e);
        Some((problem(lang_of(req), e, &id), unread(e)))
    } else if let Some(MargoError(e)) = error.as_error() {
        log(e);
        Some((margo::write(lang_of(req), e, &id), unread(e)))
    } else {
        if let Some(OciError { error: e, .. }) = error.as_error() {
            log(e);
        }
        None
    }
}

/// The domain error behind an answer, whatever its dialect.
pub(super) fn domain(error: &Error) -> Option<&crate::base::error::Error> {
    let page = error.as_error::<PageError>().map(|e| &e.0);
    let api = || error.as_error::<ApiError>().map(|e| &e.0);
    let margo = || error.as_error::<MargoError>().map(|e| &e.0);
    let oci = || error.as_error::<OciError>().map(|e| &e.error);
    page.or_else(api).or_else(margo).or_else(oci)
}

fn log(error: &crate::base::error::Error) {
    // Strangers can make the server busy; that is no error of ours, and must not fill the log.
    if matches!(error.kind, Kind::Internal | Kind::Unavailable | Kind::Full) && error.code != "server-busy" {
        tracing::error!(%error, "request failed");
    } else {
        tracing::debug!(%error, "request refused");
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};
    use chrono::TimeDelta;

    use super::*;
    use crate::base::error::Error as Domain;

    fn busy() -> Domain {
        Domain::rate_limited("too-many-uploads").retry_after(TimeDelta::seconds(77))
    }

    fn gone() -> Domain {
        Domain::gone("release-content-gone")
    }

    #[actix_web::test]
    async fn each_dialect_says_when_another_try_is_worth_it() {
        let app = App::new()
            .wrap(from_fn(errors))
            .route("/page", web::get().to(async || Err::<HttpResponse, _>(PageError(busy()))))
            .route("/api", web::get().to(async || Err::<HttpResponse, _>(ApiError(busy()))))
            .route("/oci", web::get().to(async || Err::<HttpResponse, _>(OciError::from(busy()))))
            .route("/margo", web::get().to(async || Err::<HttpResponse, _>(MargoError(busy()))))
            .route("/page/gone", web::get().to(async || Err::<HttpResponse, _>(PageError(gone()))))
            .route("/api/gone", web::get().to(async || Err::<HttpResponse, _>(ApiError(gone()))))
            .route("/oci/gone", web::get().to(async || Err::<HttpResponse, _>(OciError::from(gone()))))
            .route("/margo/gone", web::get().to(async || Err::<HttpResponse, _>(MargoError(gone()))));
        let service = init_service(app).await;
        for dialect in ["/page", "/api", "/oci", "/margo"] {
            let told = call_service(&service, TestRequest::get().uri(dialect).to_request()).await;
            assert_eq!((told.status().as_u16(), told.headers().get(RETRY_AFTER).unwrap().as_bytes()), (429, b"77".as_slice()), "{dialect}");
            let told = call_service(&service, TestRequest::get().uri(&format!("{dialect}/gone")).to_request()).await;
            assert_eq!((told.status().as_u16(), told.headers().get(RETRY_AFTER)), (410, None), "{dialect}");
        }
    }
}
