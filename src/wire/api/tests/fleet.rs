//! Sites, nodes and alarms of a mine that automates its fleet: codes are told once and stored nowhere.

use actix_web::http::Method;
use diesel::prelude::*;
use serde_json::{Value, json};

use super::{Program, busy, is};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{audit_records, kept_answers};
use crate::fleet::service as fleet;
use crate::testing::{self, each_backend};

/// All that is kept of answers, and all that the audit log says.
async fn stored(app: &App) -> String {
    app.db
        .read(|conn| {
            let kept: Vec<String> = kept_answers::table.select(kept_answers::body).load(conn)?;
            let told: Vec<String> = audit_records::table.select(audit_records::detail).load(conn)?;
            Ok([kept, told].concat().join("\n"))
        })
        .await
        .unwrap()
}

/// The code of an answer, which says how to enrol and is told once.
async fn code_of(mine: &Program, path: &str, status: u16, key: &str, body: &Value) -> (String, String) {
    let first = mine.post(path, Some(key), body.clone()).await;
    assert_eq!((first.status.as_u16(), first.headers.contains_key("idempotent-replayed")), (status, false), "{}", first.body);
    let code = first.body["code"].as_str().unwrap().to_owned();
    let (server, pin) = (&mine.app.settings.server.edge_url, mine.app.ca.pin());
    assert_eq!((&first.body["server"], &first.body["ca_pin"]), (&json!(server), &json!(pin)));
    assert_eq!(first.body["enroll_command"], format!("pithead-edge enroll --server {server} --code {code} --ca-pin {pin}"));
    assert!(first.body["run_command"].as_str().unwrap().starts_with("pithead-edge run "));
    let again = mine.post(path, Some(key), body.clone()).await;
    let mut without = first.body.clone();
    (without["code"], without["enroll_command"]) = (Value::Null, Value::Null);
    assert_eq!(
        (again.status.as_u16(), &again.body, again.headers.get("idempotent-replayed").unwrap()),
        (status, &without, &"true".parse().unwrap())
    );
    let kept = stored(&mine.app).await;
    assert!(!kept.contains(&code) && !kept.contains(&code.replace('-', "")), "{kept}");
    (first.body["id"].as_str().unwrap().to_owned(), code)
}

#[tokio::test]
async fn a_node_is_added_enrols_by_a_code_told_once_and_is_removed() {
    each_backend(|app| async move {
        let mine = Program::of(&app, &testing::operator(&app, "mine").await, &["read", "deploy"]).await;
        let site = mine.post("/api/v1/sites", Some("s-1"), json!({"name": " Shaft 1 "})).await;
        assert_eq!(site.status, 201, "{}", site.body);
        assert_eq!(mine.post("/api/v1/sites", Some("s-1"), json!({"name": " Shaft 1 "})).await.body, site.body);
        is(&mine.post("/api/v1/sites", Some("s-2"), json!({"name": "Shaft 1"})).await, 409, "site-name-taken");
        let empty = mine.post("/api/v1/sites", None, json!({"name": ""})).await;
        is(&empty, 422, "invalid-input");
        assert_eq!((&empty.body["errors"][0]["field"], &empty.body["errors"][0]["code"]), (&json!("name"), &json!("required")));
        let sites = mine.get("/api/v1/sites").await;
        assert_eq!((sites["items"].as_array().unwrap().len(), &sites["items"][0]["name"]), (1, &json!("Shaft 1")));

        let new = json!({"site_id": site.body["id"], "name": "Belt 1"});
        let (id, code) = code_of(&mine, "/api/v1/nodes", 201, "n-1", &new).await;
        let node = format!("/api/v1/nodes/{id}");
        assert_eq!(mine.get(&node).await["state"], "waiting");
        is(&mine.post("/api/v1/nodes", Some("n-2"), new).await, 409, "node-name-taken");
        is(&mine.post("/api/v1/nodes", None, json!({"site_id": "sit_none", "name": "x"})).await, 404, "site");
        is(&mine.post("/api/v1/nodes", None, json!({"site_id": "", "name": ""})).await, 422, "invalid-input");
        is(&mine.post("/api/v1/nodes", None, json!({"site_id": "x", "name": "x", "code": "x"})).await, 422, "json-malformed");

        // The code before is void once there is a new one, which is told once as well.
        let renew = format!("{node}/code");
        let (same, fresh) = code_of(&mine, &renew, 200, "c-1", &json!({})).await;
        assert!(same == id && fresh != code);
        assert_eq!(fleet::enroll(&app, code, testing::csr(), "1.0.0".into()).await.unwrap_err().code, "enrollment-code-unknown");
        assert_eq!(fleet::enroll(&app, fresh, testing::csr(), "1.0.0".into()).await.unwrap().node_id, id);
        // Without a key nothing is kept, and each answer has a code of its own.
        let (one, two) = (mine.post(&renew, None, json!({})).await, mine.post(&renew, None, json!({})).await);
        assert!(one.body["code"].is_string() && two.body["code"].is_string() && one.body["code"] != two.body["code"]);
        is(&mine.post("/api/v1/nodes/nod_none/code", None, json!({})).await, 404, "node");

        for again in [false, true] {
            let removed = mine.ask(Method::DELETE, &node, &[("idempotency-key", "d-1")], None).await;
            assert_eq!((removed.status.as_u16(), &removed.body), (200, &json!({"id": id})));
            assert_eq!(removed.headers.contains_key("idempotent-replayed"), again);
        }
        is(&mine.ask(Method::DELETE, &node, &[], None).await, 409, "node-removed");
        is(&mine.post(&renew, Some("c-2"), json!({})).await, 409, "node-removed");
        assert_eq!(mine.get(&node).await["state"], "removed");
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn nodes_are_the_mines_own_and_take_the_right_to_manage_them() {
    each_backend(|app| async move {
        let operator = testing::operator(&app, "mine").await;
        let site = fleet::create_site(&app, &operator, "Shaft").await.unwrap();
        let id = fleet::create_node(&app, &operator, &site, "Belt").await.unwrap().node_id;
        let (node, code, new) = (format!("/api/v1/nodes/{id}"), format!("/api/v1/nodes/{id}/code"), json!({"site_id": site, "name": "x"}));
        let other = Program::of(&app, &testing::operator(&app, "other").await, &["read", "deploy"]).await;
        is(&other.post("/api/v1/nodes", Some("k"), new.clone()).await, 404, "site");
        is(&other.post(&code, Some("k"), json!({})).await, 404, "node");
        is(&other.ask(Method::DELETE, &node, &[], None).await, 404, "node");
        let approver = testing::member(&app, operator.organization_id().unwrap(), Role::Approver, "approver@mine.example").await;
        let vendor = testing::vendor(&app, "acme").await;
        for (who, scopes, refused) in [
            (&operator, ["read"].as_slice(), "token-scope"),
            (&approver, &["read", "deploy"], "not-permitted"),
            (&vendor, &["read", "deploy"], "not-permitted"),
        ] {
            let program = Program::of(&app, who, scopes).await;
            is(&program.post("/api/v1/sites", Some("k"), json!({"name": "x"})).await, 403, refused);
            is(&program.post("/api/v1/nodes", Some("k"), new.clone()).await, 403, refused);
            is(&program.post(&code, Some("k"), json!({})).await, 403, refused);
            is(&program.ask(Method::DELETE, &node, &[], None).await, 403, refused);
        }
        let nobody = Program { app: app.clone(), token: String::new() };
        is(&nobody.ask(Method::DELETE, &node, &[], None).await, 401, "sign-in-required");
        assert_eq!(Program::of(&app, &operator, &["read"]).await.get(&node).await["state"], "waiting", "nothing was done to it");
    })
    .await;
}

#[tokio::test]
async fn an_alarm_is_read_as_in_the_list() {
    each_backend(|app| async move {
        let (shop, mine, vendor, deployment) = busy(&app).await;
        let owner = shop.operator.organization_id().unwrap().to_owned();
        let node_id = mine.get(&format!("/api/v1/deployments/{deployment}")).await["node_id"].as_str().unwrap().to_owned();
        let report = json!({"reports": [{
            "sequence": 1, "at": app.clock.now().utc(), "kind": "alarm", "deployment_id": deployment, "digest": shop.listing.digest,
            "rule": "bolt", "level": "critical", "text": {"zh": "锚杆", "en": "bolt"}, "result": {"detections": [{"label": "bolt"}]},
        }]});
        let node = Actor::Node { node_id, organization_id: owner };
        crate::telemetry::taking::take(&app, &node, serde_json::from_str(&report.to_string()).unwrap()).await.unwrap();
        let listed = mine.get("/api/v1/alarms").await["items"][0].clone();
        assert_eq!((&listed["rule"], &listed["result"]["detections"][0]["label"]), (&json!("bolt"), &json!("bolt")));
        let alarm = format!("/api/v1/alarms/{}", listed["id"].as_str().unwrap());
        let mut read = mine.get(&alarm).await;
        assert_eq!(read.as_object_mut().unwrap().remove("acts"), Some(json!([])), "nobody has answered it");
        assert_eq!(read, listed);
        is(&mine.get_status("/api/v1/alarms/alm_none").await, 404, "alarm");
        let other = Program::of(&app, &testing::operator(&app, "other").await, &["read"]).await;
        is(&other.get_status(&alarm).await, 404, "alarm");
        is(&vendor.get_status(&alarm).await, 403, "not-permitted");
        is(&Program { app: app.clone(), token: String::new() }.get_status(&alarm).await, 401, "sign-in-required");
    })
    .await;
}
