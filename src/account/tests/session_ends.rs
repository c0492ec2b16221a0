//! When sessions end, and what tokens may see of an account.

use actix_web::http::Method;
use chrono::TimeDelta;
use diesel::prelude::*;

use crate::account::model::Credential;
use crate::account::service::{self, Browser};
use crate::account::standing::{self, Ended};
use crate::account::{passwords, sign_in, store, team, throttle, tokens};
use crate::base::app::App;
use crate::base::auth::{Actor, Role, Via};
use crate::base::db::{Conn, Timestamp, schema};
use crate::base::i18n::Lang;
use crate::base::ids::hash_secret;
use crate::testing::{self, PASSWORD, each_backend, page};

async fn session(app: &App, email: &str) -> String {
    service::sign_in(app, email, PASSWORD.into(), "10.0.0.1", "t").await.unwrap()
}

async fn lives(app: &App, cookie: &str, used: bool) -> bool {
    matches!(service::authenticate_session_used(app, cookie, used).await.unwrap(), Actor::Person(..))
}

#[tokio::test]
async fn a_session_that_is_not_used_ends() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let (used, left) = (session(&app, "owner@acme.example").await, session(&app, "owner@acme.example").await);
        for _ in 0..2 {
            app.clock.advance(TimeDelta::minutes(59));
            assert!(lives(&app, &used, true).await);
            // The page refreshes itself.
            assert!(lives(&app, &left, false).await);
        }
        app.clock.advance(TimeDelta::minutes(2));
        assert!(lives(&app, &used, true).await);
        assert!(!lives(&app, &left, true).await, "120 minutes have passed");
        let actor = service::authenticate_session(&app, &used).await.unwrap();
        assert_eq!(service::list_sessions(&app, &actor).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_relies_on_a_session_ends_when_that_is_not_used() {
    each_backend(|app| async move {
        let person = testing::vendor(&app, "acme").await.person().unwrap().clone();
        let credential = Credential::Session(hash_secret(&session(&app, "owner@acme.example").await));
        let holds = async || {
            let (user_id, organization_id, credential) = (person.user_id.clone(), person.organization_id.clone(), credential.clone());
            let now = app.clock.now();
            let idle = service::idle_since(&app, now);
            let read = move |conn: &mut Conn| service::holder_in(conn, &user_id, &organization_id, Some(&credential), idle, now);
            app.db.read(read).await.unwrap().is_some()
        };
        app.clock.advance(TimeDelta::minutes(119));
        assert!(holds().await);
        app.clock.advance(TimeDelta::minutes(2));
        assert!(!holds().await, "120 minutes have passed");
    })
    .await;
}

#[tokio::test]
async fn a_password_that_was_replaced_meanwhile_opens_no_session() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let email = "owner@acme.example";
        let proved = app.db.read(move |conn| Ok(store::find_user_by_email(conn, email)?)).await.unwrap().unwrap();
        let attempt = throttle::password(&app, email, Browser::at("10.0.0.1")).await.unwrap();
        let secret = passwords::issue_reset_by_address(&app, email).await.unwrap();
        passwords::reset(&app, &secret, "another lamp in the dark".into(), Browser::at("10.0.0.2"), Lang::En).await.unwrap().unwrap();
        let browser = Browser { address: "10.0.0.1", user_agent: "t", device: None };
        assert_eq!(sign_in::open(&app, proved, attempt, browser).await.unwrap_err().code, "wrong-password");
    })
    .await;
}

/// Takes the end of all sessions and tokens back: so they look where a request had looked before a stop and wrote after it.
async fn revive(app: &App) {
    let open = |conn: &mut Conn| {
        let none = None::<Timestamp>;
        diesel::update(schema::sessions::table).set(schema::sessions::revoked_at.eq(none)).execute(conn)?;
        diesel::update(schema::api_tokens::table).set(schema::api_tokens::revoked_at.eq(none)).execute(conn)?;
        Ok(())
    };
    app.db.write(open).await.unwrap();
}

#[tokio::test]
async fn what_was_made_beside_a_stop_ends_when_it_is_lifted() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let cookie = session(&app, "owner@acme.example").await;
        let token = tokens::create(&app, &owner, "ci", &["read"], 10).await.unwrap();
        let over = async || {
            let refused = service::authenticate_token(&app, &token).await.is_err_and(|e| e.code == "token-invalid");
            refused && !lives(&app, &cookie, true).await
        };
        let now = app.clock.now();

        let id = owner.person().unwrap().user_id.clone();
        app.db.write(move |conn| standing::disable_in(conn, &Actor::System, &id, "left", now)).await.unwrap();
        revive(&app).await;
        let id = owner.person().unwrap().user_id.clone();
        let ended = app.db.write(move |conn| standing::enable_in(conn, &id, now)).await.unwrap();
        assert_eq!((ended, over().await), (Ended { sessions: 1, tokens: 1 }, true));

        revive(&app).await;
        assert!(!over().await, "they are good again");
        let id = owner.organization_id().unwrap().to_owned();
        app.db.write(move |conn| standing::suspend_in(conn, &id, "fraud", now)).await.unwrap();
        revive(&app).await;
        let id = owner.organization_id().unwrap().to_owned();
        let ended = app.db.write(move |conn| standing::resume_in(conn, &id, now)).await.unwrap();
        assert_eq!((ended, over().await), (Ended { sessions: 1, tokens: 1 }, true));
    })
    .await;
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_by_their_own_person() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        testing::vendor(&app, "other").await;
        let (here, there) = (session(&app, "owner@acme.example").await, session(&app, "owner@acme.example").await);
        let stranger = service::authenticate_session(&app, &session(&app, "owner@other.example").await).await.unwrap();
        let actor = service::authenticate_session(&app, &here).await.unwrap();
        let refused = service::end_session(&app, &stranger, hash_secret(&there)).await.unwrap_err();
        assert_eq!(refused.code, "session-over");
        let (status, shown) = page(&app, &actor, Method::GET, "/account", "").await;
        assert_eq!((status, shown.matches("/account/sessions/revoke").count()), (200, 1), "all but one's own");
        let form = format!("id={}", hash_secret(&there));
        assert_eq!(page(&app, &actor, Method::POST, "/account/sessions/revoke", &form).await.0, 303);
        assert!(!lives(&app, &there, true).await && lives(&app, &here, true).await);
        assert_eq!(page(&app, &actor, Method::POST, "/account/sessions/revoke", &form).await.0, 409);
    })
    .await;
}

#[tokio::test]
async fn a_stream_holds_no_longer_than_what_it_relies_on() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let organization_id = owner.organization_id().unwrap().to_owned();
        let member = testing::member(&app, &organization_id, Role::Member, "m@acme.example").await;
        let text = tokens::create(&app, &member, "ci", &["read"], 10).await.unwrap();
        let cookie = session(&app, "m@acme.example").await;
        let Actor::Person(_, via) = service::authenticate_token(&app, &text).await.unwrap() else { panic!("no person") };
        let credential = Credential::of(&via).unwrap();
        let (by_token, by_session) = (credential, Credential::Session(hash_secret(&cookie)));
        let holds = async |proof: &Credential| service::still_holds(&app, proof, &organization_id).await.unwrap();
        assert!(holds(&by_token).await && holds(&by_session).await);
        assert!(!service::still_holds(&app, &by_session, "org_other").await.unwrap(), "acting for another organisation by now");
        assert!(!holds(&Credential::Session("none".into())).await);
        let other = session(&app, "m@acme.example").await;
        let actor = service::authenticate_session(&app, &other).await.unwrap();
        service::end_session(&app, &actor, hash_secret(&cookie)).await.unwrap();
        assert!(!holds(&by_session).await && holds(&by_token).await);
        team::remove(&app, &owner, member.person().unwrap().user_id.clone()).await.unwrap();
        assert!(!holds(&by_token).await && !holds(&Credential::Session(hash_secret(&other))).await);
    })
    .await;
}

#[tokio::test]
async fn a_token_sees_the_account_only_where_it_may_read() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let with = async |scope: &str| {
            let text = tokens::create(&app, &owner, "ci", &[scope], 10).await.unwrap();
            service::authenticate_token(&app, &text).await.unwrap()
        };
        for scope in ["pull", "publish"] {
            let actor = with(scope).await;
            for path in ["/account", "/account/address", "/account/password", "/events?topic=releases"] {
                assert_eq!(page(&app, &actor, Method::GET, path, "").await.0, 403, "{scope} {path}");
            }
        }
        let reader = with("read").await;
        let (status, shown) = page(&app, &reader, Method::GET, "/account", "").await;
        assert_eq!((status, shown.contains("/account/sessions/")), (200, false), "nothing that would be refused is offered");
        assert!(matches!(reader, Actor::Person(_, Via::Token { .. })));
        assert_eq!(service::sign_out_elsewhere(&app, &reader).await.unwrap_err().code, "token-scope");
    })
    .await;
}
