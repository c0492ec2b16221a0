//! Finds the actor of a request: client certificate of a node, session cookie, or API token (`Bearer pht_…`, or Basic with the token as
//! password).
//!
//! A session that is over counts as none. An invalid token is an error, since its sender relies on it. What a signed-in person was refused
//! to change is recorded.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _};

use super::errors::domain;
use crate::account::access::{self, Refusal};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Kind;
use crate::http::cookies;
use crate::http::extract::{bearer_token, client_address};
use crate::http::margo::MargoError;
use crate::http::oci::OciError;
use crate::http::page::lang_of;
use crate::wire::oci::routes::challenge_for;
use crate::{account, fleet};

/// Client certificate of a TLS connection, verified by the handshake, in DER.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Option<Vec<u8>>);

/// Header by which a page says that it refreshes itself.
const REFRESH: &str = "x-refresh";

/// The middleware. Static files and probes skip it.
pub async fn authenticate(req: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let first = req.path().split('/').nth(1).unwrap_or_default();
    if matches!(first, "static" | "healthz" | "readyz" | "metrics" | "favicon.ico") {
        return next.call(req).await.map(ServiceResponse::map_into_left_body);
    }
    let Some(app) = req.app_data::<Data<App>>().cloned() else { return next.call(req).await.map(ServiceResponse::map_into_left_body) };
    let certificate = req.conn_data::<PeerCertificate>().and_then(|c| c.0.clone());
    let actor = if let Some(der) = certificate {
        fleet::service::authenticate_node(&app, &der).await
    } else if let Some(token) = bearer_token(req.request()) {
        account::service::authenticate_token(&app, &token).await
    } else if let Some(session) = cookies::read(req.request(), cookies::SESSION) {
        // What a page asks by itself is no use of the session.
        let used = first != "events" && !req.headers().contains_key(REFRESH);
        account::service::authenticate_session_used(&app, &session, used).await
    } else {
        Ok(Actor::Anonymous)
    };
    match actor {
        Ok(actor) => {
            let changes = !matches!(*req.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
            let watched = (changes && actor.as_person().is_some()).then(|| actor.clone());
            req.extensions_mut().insert(actor);
            let res = next.call(req).await?;
            if let Some(actor) = watched {
                note_refusal(&app, &actor, &res).await;
            }
            Ok(res.map_into_left_body())
        }
        Err(error) if matches!(first, "v2" | "token") => {
            let challenge = (error.kind == Kind::Unauthenticated).then(|| challenge_for(req.request(), &app, None, &error));
            let lang = lang_of(req.request());
            Ok(req.error_response(OciError { error, challenge, lang }).map_into_right_body())
        }
        Err(e) if first == "api" => Ok(req.error_response(MargoError(e)).map_into_right_body()),
        Err(e) => Ok(req.error_response(crate::http::api::ApiError(e)).map_into_right_body()),
    }
}

/// Records that a person was refused to change something (403).
async fn note_refusal<B>(app: &App, actor: &Actor, res: &ServiceResponse<B>) {
    let Some(error) = res.response().error().and_then(domain).filter(|error| error.kind == Kind::Forbidden) else { return };
    let req = res.request();
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
    use actix_web::http::header;
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
            // What only looks is not recorded.
            assert_eq!(ask(Method::GET, "/admin/audit").await, 403);
            let found = app.db.read(|conn| {
                let of = audit_records::table.filter(audit_records::action.eq("access.refused")).order(audit_records::sequence);
                Ok(of.select((audit_records::actor, audit_records::detail)).load::<(String, String)>(conn)?)
            });
            let found = found.await.unwrap();
            let of = |route: &str, times: i64| {
                json!({"address": "10.0.0.8", "code": "not-permitted", "method": "POST", "route": route, "times": times})
            };
            let told: Vec<Value> = found.iter().map(|(_, detail)| serde_json::from_str(detail).unwrap()).collect();
            assert_eq!(told, [of("/account/team", 1), of("/account/team", 10), of("/account/team/remove", 1)]);
            assert!(found.iter().all(|(actor, _)| *actor == member.label()));
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
