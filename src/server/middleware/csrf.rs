//! Every changing request that rides on a cookie must carry the CSRF value, masked as pages have it: header `X-CSRF-Token`, or field `_csrf` of a form.
//!
//! A form that does not, for its session has ended, is held ([`crate::http::held`]), and so is one with a question that was not answered. One
//! that does is kept with its request, for it may meet a fault of the server.
//!
//! Requests by token or certificate do not ride on cookies. The registry asks for itself, since nodes reach it past this middleware, and its
//! token endpoint takes no cookie. `/language` and `/theme` change nothing but the reader's own cookie.

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};

use crate::base::auth::{Actor, Via};
use crate::base::error;
use crate::http::extract::{FORM_LIMIT, bearer_token, is_form, parse_form, read_body};
use crate::http::held::{Held, HeldPage};
use crate::http::page::PageError;
use crate::http::{api::ApiError, cookies, csrf};

pub async fn csrf(mut req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let safe = matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let registry = matches!(req.path().split('/').nth(1), Some("v2" | "token"));
    if safe || registry || matches!(req.path(), "/language" | "/theme") {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    let actor = req.extensions().get::<Actor>().cloned().unwrap_or_default();
    let expected = match actor {
        Actor::Person(_, Via::Session { csrf, .. }) => Some(csrf),
        Actor::Anonymous => None,
        // A screen's token came as a cookie, which any site's form sends along.
        Actor::Person(_, Via::Token { .. })
            if bearer_token(req.request()).is_none() && cookies::read(req.request(), cookies::SESSION).is_some() =>
        {
            None
        }
        _ => return next.call(req).await.map(ServiceResponse::map_into_left_body),
    };
    let anonymous = expected.is_none();
    let is_form = is_form(req.request());
    // Programs without a session (registry clients asking for a challenge, nodes enrolling) have no cookie to ride on.
    if anonymous && !is_form {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    let expected = expected.or_else(|| cookies::read(req.request(), cookies::CSRF)).filter(|e| !e.is_empty());
    let mut fields: Vec<(String, String)> = Vec::new();
    let sent = if let Some(value) = req.headers().get("x-csrf-token") {
        value.to_str().unwrap_or_default().to_owned()
    } else if is_form {
        let payload = req.take_payload();
        let read = read_body(req.request(), payload, FORM_LIMIT).await.and_then(|bytes| Ok((parse_form(&bytes)?, bytes)));
        let bytes = match read {
            Ok((pairs, bytes)) => {
                fields = pairs;
                bytes
            }
            Err(e) => return Ok(req.error_response(PageError(e)).map_into_right_body()),
        };
        req.set_payload(Payload::from(bytes));
        fields.iter().find(|(name, _)| name == "_csrf").map(|(_, value)| value.clone()).unwrap_or_default()
    } else {
        String::new()
    };
    let fits = expected.is_some_and(|expected| csrf::fits(&expected, &sent));
    if fits {
        let asked = Held::question(&fields).and_then(|question| Some((question, Held::of(req.request(), &fields)?)));
        let Some((question, held)) = asked else {
            // The handler reads the form for itself.
            Held::keep(req.request(), &fields);
            drop(fields);
            return next.call(req).await.map(ServiceResponse::map_into_left_body);
        };
        return Ok(match HeldPage::question(req.request(), held, question).answer(StatusCode::OK) {
            Ok(page) => req.into_response(page),
            Err(e) => req.error_response(e),
        }
        .map_into_right_body());
    }
    Held::keep(req.request(), &fields);
    let refused = error::Error::forbidden("csrf");
    Ok(if is_form { req.error_response(PageError(refused)) } else { req.error_response(ApiError(refused)) }.map_into_right_body())
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    #[actix_web::test]
    async fn a_form_of_too_many_pairs_is_not_looked_into() {
        let site = App::new().wrap(from_fn(csrf)).route("/x", web::post().to(async || HttpResponse::Ok()));
        let service = init_service(site).await;
        for (pairs, status) in [(2_000, 403), (2_001, 422)] {
            let form = TestRequest::post().uri("/x").insert_header(("content-type", "application/x-www-form-urlencoded"));
            let request = form.set_payload(vec!["a=b"; pairs].join("&")).to_request();
            assert_eq!(call_service(&service, request).await.status().as_u16(), status, "{pairs}");
        }
    }
}
