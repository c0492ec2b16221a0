//! Finds the actor of a request: client certificate of a node, session cookie, or API token (`Bearer pht_…`, or Basic with the token as
//! password).
//!
//! A session that is over counts as none. An invalid token is an error, since its sender relies on it. What a signed-in person was refused is
//! recorded, and so are secrets that are none ([`SECRETS`]), whoever sent them.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use super::errors::domain;
use super::shed::lower;
use crate::account;
use crate::account::access::{self, Refusal};
use crate::base::app::App;
use crate::base::auth::{Actor, token};
use crate::base::error::Kind;
use crate::fleet::service::NodeCertificate;
use crate::http::api::ApiError;
use crate::http::extract::{bearer_token, client_address};
use crate::http::margo::MargoError;
use crate::http::oci::OciError;
use crate::http::page::lang_of;
use crate::http::{cookies, dialect};
use crate::wire::oci::routes::challenge_for;

/// Client certificate of a TLS connection, verified by the handshake.
#[derive(Debug)]
pub struct PeerCertificate(pub Option<NodeCertificate>);

/// Header by which a page says that it refreshes itself.
const REFRESH: &str = "x-refresh";

/// Refusals of what only who was given a secret can send: a token, a link, an invitation, an enrolment code.
const SECRETS: &[&str] = &[
    "token-invalid",
    "link-over",
    "invitation",
    "invitation-over",
    "enrollment-code-unknown",
    "enrollment-code-used",
    "enrollment-code-expired",
];

/// The middleware. Static files and probes skip it.
pub async fn authenticate(req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let first = req.path().split('/').nth(1).unwrap_or_default();
    if matches!(first, "static" | "healthz" | "readyz" | "metrics" | "favicon.ico") {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    let Some(app) = req.app_data::<Data<App>>().cloned() else { return next.call(req).await.map(ServiceResponse::map_into_left_body) };
    let actor = if let Some(certificate) = req.conn_data::<PeerCertificate>().and_then(|c| c.0.as_ref()) {
        certificate.authenticate(&app).await.map(|caller| {
            let actor = caller.actor();
            req.extensions_mut().insert(caller);
            actor
        })
    } else if let Some(token) = bearer_token(req.request()) {
        account::service::authenticate_token(&app, &token).await
    } else if let Some(session) = cookies::read(req.request(), cookies::SESSION) {
        // What a page asks by itself is no use of the session.
        let used = first != "events" && !req.headers().contains_key(REFRESH);
        if session.starts_with(token::PREFIX) {
            account::service::authenticate_screen(&app, &session).await
        } else {
            account::service::authenticate_session_used(&app, &session, used).await
        }
    } else {
        Ok(Actor::Anonymous)
    };
    // Who shows a session that is none is a stranger, and takes no turn of those who are signed in.
    let actor = match actor {
        Ok(Actor::Anonymous) => lower(&req, &app).await.map(|()| Actor::Anonymous),
        known => known,
    };
    match actor {
        Ok(actor) => {
            req.extensions_mut().insert(actor.clone());
            let res = next.call(req).await?;
            if let Some(error) = res.response().error().and_then(domain) {
                note_refusal(&app, &actor, res.request(), error).await;
            }
            Ok(res.map_into_left_body())
        }
        Err(error) if error.code == "server-busy" => Ok(dialect::refused(req, error).map_into_right_body()),
        Err(error) => {
            note_refusal(&app, &Actor::Anonymous, req.request(), &error).await;
            Ok(refused(&app, req, error).map_into_right_body())
        }
    }
}

/// The answer to who did not prove themselves, in the dialect of the address.
fn refused(app: &App, req: ServiceRequest, error: crate::base::error::Error) -> ServiceResponse {
    let first = req.path().split('/').nth(1).unwrap_or_default();
    match first {
        "v2" | "token" => {
            let challenge = (error.kind == Kind::Unauthenticated).then(|| challenge_for(req.request(), app, None, &error));
            let lang = lang_of(req.request());
            req.error_response(OciError { error, challenge, lang })
        }
        // Of the two listeners that have `/api/v1` the nodes' alone speaks TLS.
        "api" if req.app_config().secure() => req.error_response(MargoError(error)),
        _ => req.error_response(ApiError(error)),
    }
}

/// Records that a person had no right (403), or that what somebody sent as a secret is none.
async fn note_refusal(app: &App, actor: &Actor, req: &HttpRequest, error: &crate::base::error::Error) {
    let noted = error.kind == Kind::Forbidden && actor.as_person().is_some() || SECRETS.contains(&error.code);
    if !noted {
        return;
    }
    let refusal = Refusal {
        code: error.code,
        method: req.method().to_string(),
        route: req.match_pattern().unwrap_or_default(),
        address: client_address(req, &app.settings.server),
    };
    if let Err(e) = access::refused(app, actor, refusal).await {
        tracing::warn!(error = %e, "recording a refused request");
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::{Method, header};
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use diesel::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::account::service::sign_in;
    use crate::account::tokens;
    use crate::base::auth::Role;
    use crate::base::db::schema::{audit_records, sessions};
    use crate::testing::{self, PASSWORD, each_backend};

    #[tokio::test]
    async fn what_a_person_was_refused_is_recorded_now_and_then() {
        each_backend(|app| async move {
            let owner = testing::vendor(&app, "acme").await;
            let member = testing::member(&app, owner.organization_id().unwrap(), Role::Member, "m@acme.example").await;
            let text = tokens::create(&app, &member, "ci", &["read"], 10).await.unwrap();
            let pulls = Data::new(crate::wire::oci::cache::Cache::default());
            let site = actix_web::App::new()
                .app_data(Data::new(app.clone()))
                .app_data(pulls)
                .wrap(from_fn(authenticate))
                .configure(crate::server::routes::routes);
            let service = init_service(site).await;
            let ask = async |method: Method, path: &str| {
                let request = TestRequest::default()
                    .method(method)
                    .uri(path)
                    .peer_addr("10.0.0.8:1".parse().unwrap())
                    .insert_header((header::AUTHORIZATION, format!("Bearer {text}")))
                    .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
                    .set_payload("email=a%40b.cn&role=member&id=usr_x");
                call_service(&service, request.to_request()).await.status().as_u16()
            };
            for _ in 0..12 {
                assert_eq!(ask(Method::POST, "/account/team").await, 403);
            }
            assert_eq!(ask(Method::POST, "/account/team/remove").await, 403);
            assert_eq!(ask(Method::GET, "/admin/audit").await, 403);
            let found = app.db.read(|conn| {
                let of = audit_records::table.filter(audit_records::action.eq("access.refused")).order(audit_records::sequence);
                Ok(of.select((audit_records::actor, audit_records::detail)).load::<(String, String)>(conn)?)
            });
            let found = found.await.unwrap();
            let of = |method: &str, route: &str, times: i64| {
                json!({"address": "10.0.0.8", "code": "not-permitted", "method": method, "route": route, "times": times})
            };
            let told: Vec<Value> = found.iter().map(|(_, detail)| serde_json::from_str(detail).unwrap()).collect();
            let posts = ["/account/team", "/account/team", "/account/team/remove"].into_iter().zip([1, 10, 1]);
            let posts = posts.map(|(route, times)| of("POST", route, times));
            assert_eq!(told, posts.chain([of("GET", "/admin/audit", 1)]).collect::<Vec<_>>());
            assert!(found.iter().all(|(actor, _)| *actor == member.label()));
        })
        .await;
    }

    #[tokio::test]
    async fn secrets_that_are_none_are_recorded_with_the_address_that_sent_them() {
        each_backend(|app| async move {
            let pulls = Data::new(crate::wire::oci::cache::Cache::default());
            let site = actix_web::App::new()
                .app_data(Data::new(app.clone()))
                .app_data(pulls)
                .wrap(from_fn(authenticate))
                .configure(crate::wire::edge::configure)
                .configure(crate::server::routes::routes);
            let service = init_service(site).await;
            let ask = async |request: TestRequest, host: u8| {
                let request = request.peer_addr(([10, 0, 0, host], 1).into());
                call_service(&service, request.to_request()).await.status().as_u16()
            };
            let token = || TestRequest::get().uri("/account").insert_header((header::AUTHORIZATION, "Bearer pht_none"));
            for _ in 0..3 {
                assert_eq!(ask(token(), 1).await, 401);
            }
            assert_eq!(ask(token(), 2).await, 401);
            assert_eq!(ask(TestRequest::get().uri("/invitations/none"), 3).await, 404);
            assert_eq!(ask(TestRequest::get().uri("/new-password"), 3).await, 410);
            let code = json!({"code": "ABCD-EFGH-JKLM", "csr_pem": "", "agent_version": "1"});
            assert_eq!(ask(TestRequest::post().uri("/edge/enroll").set_json(code), 4).await, 404);
            let found = app.db.read(|conn| {
                let of = audit_records::table.filter(audit_records::action.eq("access.refused")).order(audit_records::sequence);
                Ok(of
                    .select((audit_records::actor, audit_records::subject, audit_records::detail))
                    .load::<(String, String, String)>(conn)?)
            });
            let found = found.await.unwrap();
            assert!(found.iter().all(|(actor, subject, _)| actor == "anonymous" && subject == "unknown"), "{found:?}");
            let told: Vec<Value> = found.iter().map(|(_, _, detail)| serde_json::from_str(detail).unwrap()).collect();
            let codes = ["token-invalid", "token-invalid", "invitation", "link-over", "enrollment-code-unknown"];
            assert_eq!(told.iter().map(|detail| detail["code"].as_str().unwrap()).collect::<Vec<_>>(), codes);
            assert_eq!(
                told[2],
                json!({"address": "10.0.0.3", "code": "invitation", "method": "GET", "route": "/invitations/{secret}", "times": 1})
            );
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_page_asks_by_itself_is_no_use_of_the_session() {
        each_backend(|app| async move {
            testing::vendor(&app, "acme").await;
            let cookie = sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
            let site = actix_web::App::new()
                .app_data(Data::new(app.clone()))
                .wrap(from_fn(authenticate))
                .route("/events", actix_web::web::get().to(|| async { "" }))
                .route("/page", actix_web::web::get().to(|| async { "" }));
            let service = init_service(site).await;
            let ask = async |path: &str, refresh: bool| {
                let mut request = TestRequest::get().uri(path).insert_header((header::COOKIE, format!("__Host-session={cookie}")));
                if refresh {
                    request = request.insert_header(("x-refresh", "1"));
                }
                call_service(&service, request.to_request()).await;
                app.db.read(|conn| Ok(sessions::table.select(sessions::seen_at).first::<crate::base::db::Timestamp>(conn)?)).await.unwrap()
            };
            let begin = app.clock.now();
            app.clock.advance(chrono::TimeDelta::minutes(30));
            assert_eq!(ask("/events", false).await, begin);
            assert_eq!(ask("/page", true).await, begin);
            assert_eq!(ask("/page", false).await, app.clock.now());
        })
        .await;
    }
}
