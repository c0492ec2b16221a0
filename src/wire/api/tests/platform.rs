//! Cases of a platform that automates moderation, and the developer's word on whether an app is shown.

use actix_web::http::Method;
use diesel::prelude::*;
use serde_json::{Value, json};

use super::{Program, Told, is};
use crate::account::service as account;
use crate::base::app::App;
use crate::base::auth::Role;
use crate::base::db::schema::{check_reports, memberships};
use crate::testing::shop::{draft, open_case_of, shop};
use crate::testing::{self, PASSWORD, each_backend};

/// A person of the platform in a browser: the cookie of the session.
async fn session(app: &App, role: Role) -> String {
    testing::platform(app, role).await;
    let email = format!("{role}@platform.example");
    format!("__Host-session={}", account::sign_in(app, &email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap())
}

async fn decide(app: &App, cookie: &str, case: &str, key: Option<&str>, body: Value) -> Told {
    let program = Program { app: app.clone(), token: String::new() };
    let headers = [Some(("cookie", cookie)), key.map(|key| ("idempotency-key", key))];
    let headers: Vec<(&str, &str)> = headers.into_iter().flatten().collect();
    program.ask(Method::POST, &format!("/api/v1/cases/{case}/decision"), &headers, Some(body)).await
}

/// A report as the check writes it, of a release with a wrong golden sample.
async fn checked(app: &App, release: &str) {
    let report = json!({
        "passed": true,
        "steps": [{"code": "files", "ok": true, "duration_ms": 1.0}, {"code": "golden", "ok": false, "reason": "golden-mismatch", "duration_ms": 2.0}],
        "golden": {"samples": [], "reproduced": 4, "total": 5},
        "run_card": {
            "engine": "onnxruntime", "engine_version": "1.32.0", "hardware": {"cpu": "Xeon", "cores": 2, "architecture": "amd64"},
            "accuracy": 0.8, "golden_total": 5, "latency_ms": {"median": 3.5, "p95": 4.5}, "load_ms": 10.0, "peak_memory_bytes": 1024,
            "model_bytes": 2048, "input": "1x3x8x8",
        },
    });
    let (release, now) = (release.to_owned(), app.clock.now());
    let insert = move |conn: &mut crate::base::db::Conn| {
        let row = (
            check_reports::id.eq("chk_1"),
            check_reports::release_id.eq(release),
            check_reports::digest.eq("sha256:0"),
            check_reports::passed.eq(true),
            check_reports::report.eq(report.to_string()),
            check_reports::created_at.eq(now),
        );
        diesel::insert_into(check_reports::table).values(row).execute(conn)?;
        Ok(())
    };
    app.db.write(insert).await.unwrap();
}

#[tokio::test]
async fn a_case_shows_what_is_decided_on() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let release = draft(&app, &shop, "1.1.0").await;
        let case = open_case_of(&app, &release).await;
        let path = format!("/api/v1/cases/{case}");
        let moderator = Program::of(&app, &testing::platform(&app, Role::Moderator).await, &["read"]).await;
        let listed = moderator.get("/api/v1/cases").await["items"][0].clone();
        let found = moderator.get(&path).await;
        for (key, value) in listed.as_object().unwrap() {
            assert_eq!(&found[key], value, "{key} as in the list");
        }
        assert_eq!((&found["release"], &found["app"], &found["state"]), (&json!(release), &json!("acme/belt"), &json!("open")));
        assert!(found["digest"].as_str().unwrap().starts_with("sha256:") && found["size_bytes"].as_i64().unwrap() > 0);
        assert_eq!((&found["channel"], &found["safety"], &found["own"]), (&json!("stable"), &json!(false), &json!(false)));
        assert_eq!((&found["check"], &found["scores"], &found["flags"]), (&Value::Null, &json!([]), &json!([])));
        assert_eq!((&found["opened_by"], &found["decided_by"]), (&json!("Owner of acme"), &Value::Null));
        assert_eq!((&found["previous"]["version"], &found["previous"]["tensors"]), (&json!("1.0.0"), &json!(0)));
        assert_eq!(
            (&found["decisions"][0]["version"], &found["decisions"][0]["state"], &found["decisions"][1]),
            (&json!("1.0.0"), &json!("approved"), &Value::Null)
        );
        checked(&app, &release).await;
        let check = moderator.get(&path).await["check"].clone();
        assert_eq!((&check["samples"], &check["reproduced"], &check["accuracy"]), (&json!(5), &json!(4), &json!(0.8)));
        assert_eq!(check["steps"][1], json!({"code": "golden", "ok": false, "reason": "golden-mismatch", "notice": null}));
        assert_eq!((&check["figures"]["median_ms"], &check["figures"]["hardware"]), (&json!(3.5), &json!("Xeon")));

        let auditor = Program::of(&app, &testing::platform(&app, Role::Auditor).await, &["read"]).await;
        assert_eq!(auditor.get(&path).await["id"], json!(case));
        is(&moderator.get_status("/api/v1/cases/cas_none").await, 404, "case");
        let finance = testing::platform(&app, Role::Finance).await;
        for who in [&finance, &shop.vendor, &shop.operator] {
            is(&Program::of(&app, who, &["read"]).await.get_status(&path).await, 403, "not-permitted");
        }
        is(&Program { app: app.clone(), token: String::new() }.get_status(&path).await, 401, "sign-in-required");
    })
    .await;
}

#[tokio::test]
async fn a_case_is_decided_in_a_session_once() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let release = draft(&app, &shop, "1.1.0").await;
        let case = open_case_of(&app, &release).await;
        let cookie = session(&app, Role::Moderator).await;
        let reason = "请补充井下夜班的金标样本";
        let changes = json!({"decision": "request-changes", "reason": reason});
        // As on the page: no token decides, whatever its scopes, nor does an auditor or who is neither.
        let by_token = Program::of(&app, &testing::platform(&app, Role::Moderator).await, &["read", "publish", "deploy"]).await;
        is(&by_token.post(&format!("/api/v1/cases/{case}/decision"), Some("k"), changes.clone()).await, 403, "token-scope");
        is(&decide(&app, &session(&app, Role::Auditor).await, &case, Some("k"), changes.clone()).await, 403, "not-permitted");
        is(&decide(&app, "x=y", &case, Some("k"), changes.clone()).await, 401, "sign-in-required");

        let short = decide(&app, &cookie, &case, Some("d-0"), json!({"decision": "reject", "reason": "短"})).await;
        is(&short, 422, "invalid-input");
        assert_eq!((&short.body["errors"][0]["field"], &short.body["errors"][0]["code"]), (&json!("reason"), &json!("too-short")));
        is(&decide(&app, &cookie, &case, None, json!({"decision": "ponder"})).await, 422, "json-malformed");
        is(&decide(&app, &cookie, "cas_none", None, json!({"decision": "approve"})).await, 404, "case");
        for again in [false, true] {
            let told = decide(&app, &cookie, &case, Some("d-1"), changes.clone()).await;
            assert_eq!((told.status.as_u16(), &told.body), (200, &json!({"id": case})));
            assert_eq!(told.headers.contains_key("idempotent-replayed"), again);
        }
        is(&decide(&app, &cookie, &case, None, json!({"decision": "approve"})).await, 409, "case-decided");
        let found = by_token.get(&format!("/api/v1/cases/{case}")).await;
        assert_eq!((&found["state"], &found["reason"]), (&json!("changes_requested"), &json!(reason)));
        assert_eq!((&found["decided_by"], found["decided_at"].is_string()), (&json!("moderator@platform.example"), true));
        let vendor = Program::of(&app, &shop.vendor, &["read", "publish"]).await;
        assert_eq!(vendor.get(&format!("/api/v1/releases/{release}")).await["decision"]["reason"], reason);

        // The developer submits it again, and it is approved: signed and listed.
        let submitted = vendor.post(&format!("/api/v1/releases/{release}/submit"), None, json!({"channel": "stable"})).await;
        assert_eq!(submitted.status, 200, "{}", submitted.body);
        let second = open_case_of(&app, &release).await;
        assert_eq!(decide(&app, &cookie, &second, Some("d-2"), json!({"decision": "approve"})).await.status, 200);
        assert_eq!(vendor.get(&format!("/api/v1/releases/{release}")).await["state"], "published");
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn nobody_decides_their_own_case_by_a_program() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let release = draft(&app, &shop, "1.1.0").await;
        let case = open_case_of(&app, &release).await;
        let cookie = session(&app, Role::Administrator).await;
        let administrator = testing::platform(&app, Role::Administrator).await;
        let (user_id, vendor_id) = (administrator.person().unwrap().user_id.clone(), shop.vendor.organization_id().unwrap().to_owned());
        let now = app.clock.now();
        let join = move |conn: &mut crate::base::db::Conn| {
            let both = (
                memberships::organization_id.eq(vendor_id),
                memberships::user_id.eq(user_id),
                memberships::role.eq("member"),
                memberships::created_at.eq(now),
            );
            diesel::insert_into(memberships::table).values(both).execute(conn)?;
            Ok(())
        };
        app.db.write(join).await.unwrap();
        is(&decide(&app, &cookie, &case, Some("d"), json!({"decision": "approve"})).await, 403, "own-case");
        let reader = Program::of(&app, &administrator, &["read"]).await;
        let found = reader.get(&format!("/api/v1/cases/{case}")).await;
        assert_eq!((&found["own"], &found["state"]), (&json!(true), &json!("open")));
    })
    .await;
}

#[tokio::test]
async fn a_listing_is_hidden_and_shown_by_its_developer() {
    each_backend(|app| async move {
        let shop = shop(&app).await;
        let vendor = Program::of(&app, &shop.vendor, &["read", "publish"]).await;
        let nobody = Program { app: app.clone(), token: String::new() };
        let (path, listing) = ("/api/v1/own/listings/belt/hidden", "/api/v1/listings/acme/belt");
        let state = async || vendor.get("/api/v1/own/listings").await["items"][0]["state"].clone();
        assert_eq!(nobody.get_status(listing).await.status, 200);
        is(&vendor.post(path, None, json!({"hidden": false})).await, 409, "listing-state");
        for again in [false, true] {
            let told = vendor.post(path, Some("h-1"), json!({"hidden": true})).await;
            assert_eq!((told.status.as_u16(), &told.body), (200, &json!({"id": shop.listing.app_id})));
            assert_eq!(told.headers.contains_key("idempotent-replayed"), again);
        }
        is(&vendor.post(path, None, json!({"hidden": true})).await, 409, "listing-state");
        is(&nobody.get_status(listing).await, 404, "listing");
        assert_eq!(state().await, "hidden");
        is(&vendor.post(path, None, json!({})).await, 422, "json-malformed");
        // What is another developer's is not there; a mine and a token without the scope may not.
        let other = Program::of(&app, &testing::vendor(&app, "other").await, &["publish"]).await;
        is(&other.post(path, Some("h"), json!({"hidden": false})).await, 404, "listing");
        is(
            &Program::of(&app, &shop.operator, &["read", "order"]).await.post(path, None, json!({"hidden": false})).await,
            403,
            "not-permitted",
        );
        is(&Program::of(&app, &shop.vendor, &["read"]).await.post(path, None, json!({"hidden": false})).await, 403, "token-scope");
        is(&nobody.post(path, None, json!({"hidden": false})).await, 401, "sign-in-required");
        assert_eq!(state().await, "hidden");
        assert_eq!(vendor.post(path, Some("h-2"), json!({"hidden": false})).await.status, 200);
        assert_eq!(state().await, "listed");
        assert_eq!(nobody.get_status(listing).await.status, 200);
        testing::assert_intact(&app).await;
    })
    .await;
}
