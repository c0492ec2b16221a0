//! Calls by API token through the site's routes, on both databases.

use actix_web::body::to_bytes;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Data;
use serde_json::{Value, json};

use crate::account::tokens;
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::catalog::model::PlanKind;
use crate::server::middleware::authenticate::authenticate;
use crate::server::middleware::errors::errors;
use crate::testing::shop::{self, Shop, shop};
use crate::testing::{self, each_backend};

mod fleet;
mod platform;

/// A program with an API token.
struct Program {
    app: App,
    token: String,
}

struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// Asserts that a call was refused so.
fn is(told: &Told, status: u16, code: &str) {
    assert_eq!((told.status.as_u16(), &told.body["code"]), (status, &json!(code)), "{}", told.body);
}

impl Program {
    async fn of(app: &App, actor: &Actor, scopes: &[&str]) -> Self {
        let token = tokens::create(app, actor, "ci", scopes, 10).await.unwrap();
        Self { app: app.clone(), token }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Told {
        let pulls = Data::new(crate::wire::oci::cache::Cache::default());
        let site = actix_web::App::new()
            .app_data(Data::new(self.app.clone()))
            .app_data(pulls)
            .wrap(from_fn(authenticate))
            .wrap(from_fn(errors))
            .configure(crate::server::routes::routes);
        let mut request = TestRequest::default().method(method).uri(path).peer_addr("10.0.0.8:1".parse().unwrap());
        if !self.token.is_empty() {
            request = request.insert_header((AUTHORIZATION, format!("Bearer {}", self.token)));
        }
        for header in headers {
            request = request.append_header(*header);
        }
        if let Some(body) = body {
            request = request.set_json(body);
        }
        let answer = call_service(&init_service(site).await, request.to_request()).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = to_bytes(answer.into_body()).await.unwrap_or_default();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Told { status, headers, body }
    }

    async fn get(&self, path: &str) -> Value {
        let told = self.ask(Method::GET, path, &[], None).await;
        assert_eq!(told.status, 200, "{path}: {}", told.body);
        told.body
    }

    async fn post(&self, path: &str, key: Option<&str>, body: Value) -> Told {
        let key = key.map(|key| ("idempotency-key", key));
        self.ask(Method::POST, path, key.as_slice(), Some(body)).await
    }
}

/// A mine that has bought and deployed, and programs of it and of the developer.
async fn busy(app: &App) -> (Shop, Program, Program, String) {
    let shop = shop(app).await;
    let license = shop::license(app, &shop, PlanKind::Subscription, 2).await;
    let Actor::Node { node_id, .. } = testing::node(app, &shop.operator).await else { panic!("no node") };
    let mine = Program::of(app, &shop.operator, &["read", "order", "deploy"]).await;
    let vendor = Program::of(app, &shop.vendor, &["read", "publish"]).await;
    let deployed = mine
        .post("/api/v1/deployments", None, json!({"release": shop.listing.release_id, "license": license.id, "nodes": [node_id]}))
        .await;
    assert_eq!(deployed.status, 201, "{}", deployed.body);
    let deployment = deployed.body["deployments"][0].as_str().unwrap().to_owned();
    (shop, mine, vendor, deployment)
}

#[tokio::test]
async fn each_resource_is_read_by_whose_it_is() {
    each_backend(|app| async move {
        let (shop, mine, vendor, deployment) = busy(&app).await;
        let nobody = Program { app: app.clone(), token: String::new() };
        let other = Program::of(&app, &testing::operator(&app, "other").await, &["read"]).await;
        for found in [&nobody.get("/api/v1/listings").await, &mine.get("/api/v1/listings?plan=trial").await] {
            assert_eq!(found["items"][0]["name"], "acme/belt", "{found}");
            assert_eq!(found["items"][0]["plans"].as_array().unwrap().len(), 3);
        }
        is(&nobody.ask(Method::GET, "/api/v1/listings?q=belt", &[], None).await, 503, "search-starting");
        crate::site::market::follow::refresh(&app, None).await.unwrap();
        for (words, near) in [("belt", false), ("bellt", true)] {
            let found = nobody.get(&format!("/api/v1/listings?q={words}")).await;
            assert_eq!((&found["items"][0]["name"], &found["near"]), (&json!("acme/belt"), &json!(near)), "{found}");
        }
        assert_eq!(nobody.get("/api/v1/listings/acme/belt").await["versions"][0]["version"], "1.0.0");
        assert_eq!(vendor.get("/api/v1/own/listings").await["items"][0]["id"], shop.listing.app_id.as_str());
        let release = format!("/api/v1/releases/{}", shop.listing.release_id);
        assert_eq!(vendor.get("/api/v1/releases").await["items"][0]["app"], "acme/belt");
        let found = vendor.get(&release).await;
        assert_eq!((&found["state"], &found["decision"]["state"]), (&json!("published"), &json!("approved")));
        // Each of the two has the order, with the other side.
        let order = mine.get("/api/v1/orders").await["items"][0].clone();
        let sold = vendor.get("/api/v1/orders").await["items"][0].clone();
        assert_eq!((&order["id"], &order["state"]), (&sold["id"], &json!("delivered")));
        assert_ne!(order["other"], sold["other"]);
        let one = format!("/api/v1/orders/{}", order["id"].as_str().unwrap());
        let license = mine.get(&one).await["license"].as_str().unwrap().to_owned();
        assert_eq!(vendor.get(&one).await["received_fen"], 256_000);
        let license = format!("/api/v1/licenses/{license}");
        assert_eq!(
            (&mine.get("/api/v1/licenses").await["items"][0]["nodes_active"], &mine.get(&license).await["standing"]),
            (&json!(1), &json!("valid"))
        );
        assert_eq!(mine.get("/api/v1/sites").await["items"][0]["nodes"], 1);
        let node = format!("/api/v1/nodes/{}", mine.get("/api/v1/nodes").await["items"][0]["id"].as_str().unwrap());
        assert_eq!(mine.get(&node).await["deployments"], json!([deployment]));
        let one_deployment = format!("/api/v1/deployments/{deployment}");
        assert_eq!(mine.get("/api/v1/deployments").await["items"][0], mine.get(&one_deployment).await);
        assert_eq!(mine.get("/api/v1/alarms?level=critical").await, json!({"items": [], "next": null}));
        let moderator = Program::of(&app, &testing::platform(&app, Role::Moderator).await, &["read"]).await;
        assert_eq!(moderator.get("/api/v1/cases?decided=true").await["items"][0]["state"], "approved");
        assert_eq!(moderator.get("/api/v1/cases").await["items"], json!([]));
        for path in [&release, &one, &license, &node, &one_deployment] {
            let told = other.ask(Method::GET, path, &[], None).await;
            assert!([403, 404].contains(&told.status.as_u16()), "{path}: {}", told.status);
            assert_eq!(nobody.ask(Method::GET, path, &[], None).await.status, 401, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn reads_have_a_tag_and_lists_go_on() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let site = crate::fleet::service::create_site(&app, &operator, "Shaft").await.unwrap();
        for n in 0..51 {
            crate::fleet::service::create_node(&app, &operator, &site, &format!("n {n}")).await.unwrap();
        }
        let mine = Program::of(&app, &operator, &["read"]).await;
        let first = mine.ask(Method::GET, "/api/v1/nodes", &[], None).await;
        let tag = first.headers.get(ETAG).unwrap().to_str().unwrap().to_owned();
        let again = async |tag: &str| mine.ask(Method::GET, "/api/v1/nodes", &[(IF_NONE_MATCH.as_str(), tag)], None).await;
        for held in [tag.as_str(), "*", &format!("\"x\", {tag}")] {
            let told = again(held).await;
            assert_eq!(
                (told.status, told.body, told.headers.get(ETAG).unwrap().to_str().unwrap()),
                (StatusCode::NOT_MODIFIED, Value::Null, &*tag)
            );
        }
        assert_eq!(again("\"x\"").await.status, 200);
        // Compared strongly, so that no weak tag holds.
        for (expected, status) in [("\"x\"", 412), (tag.as_str(), 412), ("*", 200)] {
            let told = mine.ask(Method::GET, "/api/v1/nodes", &[("if-match", expected)], None).await;
            assert_eq!(told.status.as_u16(), status, "{expected}");
            if status == 412 {
                is(&told, 412, "precondition-failed");
            }
        }
        let (items, next) = (first.body["items"].as_array().unwrap(), first.body["next"].as_str().unwrap());
        let rest = mine.get(next).await;
        assert_eq!((items.len(), rest["items"].as_array().unwrap().len(), &rest["next"]), (50, 1, &Value::Null));
        crate::fleet::service::create_site(&app, &operator, "Other shaft").await.unwrap();
        assert_eq!(again(&tag).await.status, 304, "another list");
        crate::fleet::service::remove_node(&app, &operator, items[0]["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(again(&tag).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn errors_are_problem_documents() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let mine = Program::of(&app, &operator, &["read"]).await;
        let order = json!({"plan": "pln_none", "nodes": 1});
        let orders = "/api/v1/orders";
        let cases = [
            (mine.ask(Method::GET, "/api/v1/alarms?level=loud", &[], None).await, 422, "query-malformed"),
            (mine.ask(Method::GET, "/api/v1/nodes/none", &[], None).await, 404, "node"),
            (mine.ask(Method::GET, "/api/v1/cases", &[], None).await, 403, "not-permitted"),
            (mine.post(orders, None, order.clone()).await, 403, "token-scope"),
            (Program { app: app.clone(), token: "pht_none".into() }.get_status(orders).await, 401, "token-invalid"),
            (Program { app: app.clone(), token: String::new() }.post(orders, None, order.clone()).await, 401, "sign-in-required"),
        ];
        for (told, status, code) in cases {
            assert_eq!((told.status.as_u16(), &told.body["code"]), (status, &json!(code)), "{}", told.body);
            assert_eq!(told.headers.get(CONTENT_TYPE).unwrap(), "application/problem+json");
            assert_eq!(told.headers.contains_key("www-authenticate"), status == 401);
        }
        let buyer = Program::of(&app, &operator, &["order"]).await;
        for (body, code) in
            [(order, "plan"), (json!({"plan": 1}), "json-malformed"), (json!({"plan": "p", "nodes": 1, "x": 1}), "json-malformed")]
        {
            assert_eq!(buyer.post(orders, None, body).await.body["code"], code);
        }
        let unknown = buyer.post(orders, None, json!({"plan": "p", "nodes": 1, "x": 1})).await.body;
        assert!(unknown["detail"].as_str().unwrap().contains("unknown field `x`"), "{unknown}");
        assert_eq!(buyer.post(orders, Some("a b"), json!({"plan": "p", "nodes": 1})).await.body["code"], "idempotency-key-invalid");
        let large = json!({"plan": "x".repeat(70_000), "nodes": 1});
        assert_eq!(buyer.post(orders, None, large).await.body["code"], "body-too-large");
    })
    .await;
}

impl Program {
    async fn get_status(&self, path: &str) -> Told {
        self.ask(Method::GET, path, &[], None).await
    }
}

#[tokio::test]
async fn an_order_with_a_key_is_placed_once_and_cancelled() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let mine = Program::of(&app, &shop.operator, &["read", "order"]).await;
        let order = |nodes: i64| json!({"plan": shop.listing.plans[&PlanKind::Perpetual], "nodes": nodes});
        let first = mine.post("/api/v1/orders", Some("\"k-1\""), order(1)).await;
        assert_eq!((first.status, first.headers.contains_key("idempotent-replayed")), (StatusCode::CREATED, false), "{}", first.body);
        // Another key is another order at once; without one it is a double click.
        let soon = mine.post("/api/v1/orders", Some("k-0"), order(1)).await;
        assert!(soon.status == StatusCode::CREATED && soon.body["id"] != first.body["id"], "{}", soon.body);
        let clicked = mine.post("/api/v1/orders", None, order(1)).await;
        assert!([&first, &soon].iter().any(|placed| placed.body["id"] == clicked.body["id"]), "{}", clicked.body);
        // Beyond the time in which the same order is a double click.
        app.clock.advance(chrono::TimeDelta::minutes(5));
        let again = mine.post("/api/v1/orders", Some("k-1"), order(1)).await;
        assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
        assert_eq!(again.headers.get("idempotent-replayed").unwrap(), "true");
        let other = mine.post("/api/v1/orders", Some("k-1"), order(2)).await;
        assert_eq!((other.status.as_u16(), &other.body["code"]), (422, &json!("idempotency-key-reused")));
        let second = mine.post("/api/v1/orders", None, order(1)).await;
        assert_ne!(second.body["id"], first.body["id"]);
        assert_eq!(mine.get("/api/v1/orders").await["items"].as_array().unwrap().len(), 3);
        let id = first.body["id"].as_str().unwrap();
        for _ in 0..2 {
            let cancelled = mine.ask(Method::POST, &format!("/api/v1/orders/{id}/cancel"), &[("idempotency-key", "k-2")], None).await;
            assert_eq!((cancelled.status, &cancelled.body["id"]), (StatusCode::OK, &json!(id)), "{}", cancelled.body);
        }
        let anew = mine.ask(Method::POST, &format!("/api/v1/orders/{id}/cancel"), &[], None).await;
        assert_eq!(anew.body["code"], "order-state");
        assert_eq!(mine.get(&format!("/api/v1/orders/{id}")).await["state"], "cancelled");
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_release_is_submitted_and_a_deployment_removed() {
    each_backend(|app| async move {
        let (shop, mine, vendor, deployment) = busy(&app).await;
        let draft = shop::draft(&app, &shop, "1.1.0").await;
        let submit = format!("/api/v1/releases/{draft}/submit");
        let told = vendor.post(&submit, Some("s"), json!({"channel": "stable"})).await;
        assert_eq!((told.status.as_u16(), &told.body["code"]), (409, &json!("release-state")), "it waits for a moderator already");
        assert_eq!(vendor.post(&submit, None, json!({"channel": "nightly"})).await.body["code"], "json-malformed");
        let address = format!("/api/v1/deployments/{deployment}");
        let other = Program::of(&app, &testing::operator(&app, "other").await, &["read", "deploy", "order"]).await;
        assert_eq!(other.ask(Method::DELETE, &address, &[], None).await.status, 404);
        let order = mine.get("/api/v1/orders").await["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(other.post(&format!("/api/v1/orders/{order}/cancel"), None, json!({})).await.status, 404);
        for again in [false, true] {
            let removed = mine.ask(Method::DELETE, &address, &[("idempotency-key", "d-1")], None).await;
            assert_eq!((removed.status.as_u16(), &removed.body["id"]), (202, &json!(deployment)), "{}", removed.body);
            assert_eq!(removed.headers.contains_key("idempotent-replayed"), again);
        }
        assert_eq!(mine.ask(Method::DELETE, &address, &[], None).await.body["code"], "deployment-not-wanted");
        assert_eq!(mine.get(&address).await["wanted"], false);
    })
    .await;
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    each_backend(|app| async move {
        let nobody = Program { app, token: String::new() };
        let document = nobody.get("/api/v1/openapi.json").await;
        assert_eq!(document["openapi"], "3.1.0");
        let (status, page) = testing::page(&nobody.app, &Actor::Anonymous, Method::GET, "/api/v1/", "").await;
        assert!(status == 200 && page.contains("<rapi-doc") && page.contains("rapidoc-min.js"), "{status}");
    })
    .await;
}
