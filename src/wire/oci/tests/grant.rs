//! `POST /token`: docker's form of it, whom it grants what, and when what it granted ends.

use super::*;
use crate::account::service as account;
use crate::account::{team, tokens};
use crate::stops::model::Stop;
use crate::stops::service::act;

/// What docker, containerd and buildkit send.
const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];

async fn form(app: &App, fields: &[(&str, &str)]) -> Answer {
    let body = serde_urlencoded::to_string(fields).unwrap();
    send(app, &Actor::Anonymous, Method::POST, "/token", &FORM, body.as_bytes()).await
}

fn read(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

async fn refresh(app: &App, token: &str) -> Answer {
    let scope = ("scope", "repository:acme/belt:pull");
    form(app, &[("grant_type", "refresh_token"), ("service", "pithead"), ("client_id", "docker"), scope, ("refresh_token", token)]).await
}

/// The refresh token that an API token gets.
async fn offline(app: &App, token: &str) -> String {
    let answer = form(app, &[("grant_type", "password"), ("username", "x"), ("password", token), ("access_type", "offline")]).await;
    read(&answer.expect(200))["refresh_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_form_gets_a_token_and_with_it_another() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let digest = push_blob(&app, &acme, "acme/belt", b"weights").await;
        let text = tokens::create(&app, &acme, "ci", &["publish", "pull"], 30).await.unwrap();
        let blob = format!("/v2/acme/belt/blobs/{digest}");
        // The exact form of containerd's resolver: scopes in one value, with blanks between.
        let asked = [
            ("client_id", "containerd-client"),
            ("grant_type", "password"),
            ("password", text.as_str()),
            ("scope", "repository:acme/belt:pull repository:bolt/pump:pull"),
            ("service", "pithead"),
            ("username", "ci@acme.example"),
        ];
        let answer = form(&app, &asked).await.expect(200);
        assert_eq!((answer.header("cache-control"), answer.header("content-type")), ("no-store", "application/json"));
        let granted = read(&answer);
        assert_eq!((granted["expires_in"].as_i64(), granted.get("refresh_token")), (Some(900), None));
        assert_eq!(granted["scope"], "repository:acme/belt:pull,push,delete");
        assert!(granted["issued_at"].as_str().unwrap().ends_with('Z'));
        let pulls = async |access: &Value| {
            let bearer = format!("Bearer {}", access.as_str().unwrap());
            send(&app, &Actor::Anonymous, Method::HEAD, &blob, &[("authorization", &bearer)], b"").await.status.as_u16()
        };
        assert_eq!(pulls(&granted["access_token"]).await, 200);

        // As docker has it: one value for each scope, and a second token for later.
        let (one, two) = (("scope", "repository:acme/belt:pull"), ("scope", "repository:acme/other:pull,push"));
        let fields = [("grant_type", "password"), ("access_type", "offline"), ("username", "u"), ("password", &text), one, two];
        let granted = read(&form(&app, &fields).await.expect(200));
        assert_eq!(granted["scope"], "repository:acme/belt:pull,push,delete repository:acme/other:pull,push,delete");
        let long = granted["refresh_token"].as_str().unwrap().to_owned();
        app.clock.advance(TimeDelta::days(2));
        let again = read(&refresh(&app, &long).await.expect(200));
        assert_eq!((pulls(&granted["access_token"]).await, pulls(&again["access_token"]).await), (401, 200));
        // Neither is taken for the other.
        assert_eq!(pulls(&granted["refresh_token"]).await, 401);
        refresh(&app, again["access_token"].as_str().unwrap()).await.expect(401);
        // It has an end of its own.
        app.clock.advance(TimeDelta::days(28));
        refresh(&app, &long).await.expect(401);

        // The scopes of the API token narrow it, and by `GET` it is given out, too.
        let narrow = tokens::create(&app, &acme, "pull", &["pull"], 30).await.unwrap();
        let reader = account::authenticate_token(&app, &narrow).await.unwrap();
        let by_get = read(&get(&app, &reader, "/token?service=pithead&offline_token=true&scope=repository:acme/belt:*").await.expect(200));
        let again = read(&refresh(&app, by_get["refresh_token"].as_str().unwrap()).await.expect(200));
        assert_eq!(
            (&by_get["scope"], &again["scope"]),
            (&Value::from("repository:acme/belt:pull"), &Value::from("repository:acme/belt:pull"))
        );
        assert_eq!(read(&get(&app, &Actor::Anonymous, "/token?offline_token=true").await.expect(200)).get("refresh_token"), None);
    })
    .await;
}

#[tokio::test]
async fn a_form_that_says_too_little_or_nothing_true_is_refused_in_json() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let text = tokens::create(&app, &acme, "ci", &["pull"], 30).await.unwrap();
        let password = |secret: &'static str| vec![("grant_type", "password"), ("username", "owner@acme.example"), ("password", secret)];
        // containerd falls back to GET on 400, 401, 404 and 405 only.
        let cases = [
            (vec![], 400, "grant-invalid"),
            (vec![("grant_type", "client_credentials")], 400, "grant-invalid"),
            (vec![("grant_type", "password"), ("username", "x")], 400, "grant-invalid"),
            (vec![("grant_type", "refresh_token")], 400, "grant-invalid"),
            (vec![("grant_type", "refresh_token"), ("refresh_token", "x")], 401, "token-invalid"),
            (password("pht_none"), 401, "token-invalid"),
            (password(testing::PASSWORD), 401, "token-invalid"),
            (vec![("grant_type", "password"), ("password", text.as_str()), ("service", "other")], 400, "service-unknown"),
        ];
        for (fields, status, code) in cases {
            let answer = form(&app, &fields).await.expect(status);
            assert_eq!(read(&answer)["errors"][0]["detail"]["code"], code, "{fields:?}");
            assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{fields:?}");
        }
        // A browser's cookie counts for nothing here, and neither does what is no form.
        let body = b"grant_type=password".as_slice();
        send(&app, &acme, Method::POST, "/token", &FORM, body).await.expect(400);
        send(&app, &acme, Method::POST, "/token", &[("content-type", "text/plain")], body).await.expect(400);
        let long = format!("grant_type=password&password={}", "x".repeat(70_000));
        send(&app, &acme, Method::POST, "/token", &FORM, long.as_bytes()).await.expect(413);
        let refused = send(&app, &acme, Method::PUT, "/token", &FORM, body).await.expect(405);
        assert_eq!(refused.header("allow"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(send(&app, &acme, Method::OPTIONS, "/token", &[], b"").await.expect(204).header("allow"), "GET, HEAD, POST, OPTIONS");
    })
    .await;
}

#[tokio::test]
async fn a_refresh_token_ends_with_what_it_was_got_with() {
    each_backend(|app| async move {
        let (acme, admin) = (testing::vendor(&app, "acme").await, testing::platform(&app, Role::Administrator).await);
        let organization = acme.person().unwrap().organization_id.clone();
        push_blob(&app, &acme, "acme/belt", b"weights").await;
        let member = testing::member(&app, &organization, Role::Member, "two@acme.example").await;
        let user = member.person().unwrap().user_id.clone();

        // The API token is revoked, or its time is over.
        let text = tokens::create(&app, &acme, "revoked", &["pull"], 30).await.unwrap();
        let short = tokens::create(&app, &acme, "short", &["pull"], 2).await.unwrap();
        let (revoked, over) = (offline(&app, &text).await, offline(&app, &short).await);
        refresh(&app, &revoked).await.expect(200);
        let listed = tokens::list(&app, &acme).await.unwrap();
        tokens::revoke(&app, &acme, listed.iter().find(|t| t.name == "revoked").unwrap().id.clone()).await.unwrap();
        refresh(&app, &revoked).await.expect(401);
        refresh(&app, &over).await.expect(200);
        app.clock.advance(TimeDelta::days(2));
        refresh(&app, &over).await.expect(401);

        // The session that it was got with ends.
        let cookie = account::sign_in(&app, "owner@acme.example", testing::PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let session = account::authenticate_session(&app, &cookie).await.unwrap();
        let of_session = read(&get(&app, &session, "/token?offline_token=true").await.expect(200))["refresh_token"].clone();
        refresh(&app, of_session.as_str().unwrap()).await.expect(200);
        account::sign_out(&app, &session, "10.0.0.1").await.unwrap();
        refresh(&app, of_session.as_str().unwrap()).await.expect(401);

        // Its person leaves the organisation, or is disabled.
        let text = tokens::create(&app, &member, "left", &["pull"], 30).await.unwrap();
        let left = offline(&app, &text).await;
        refresh(&app, &left).await.expect(200);
        team::remove(&app, &acme, user).await.unwrap();
        refresh(&app, &left).await.expect(401);
        let text = tokens::create(&app, &acme, "disabled", &["pull"], 30).await.unwrap();
        let disabled = offline(&app, &text).await;
        refresh(&app, &disabled).await.expect(200);
        act(&app, &admin, Stop::DisablePerson, &acme.person().unwrap().user_id, "left").await.unwrap();
        refresh(&app, &disabled).await.expect(401);
    })
    .await;
}
