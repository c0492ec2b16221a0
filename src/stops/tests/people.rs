//! People, their sessions and tokens.

use actix_web::http::Method;
use diesel::prelude::*;

use super::{SHOWN, WHY, code, sign_in};
use crate::account::{service as account, team, tokens};
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::{api_tokens, sessions, users};
use crate::stops::model::{Reach, Stop};
use crate::stops::service::{act, preview};
use crate::testing::{self, PASSWORD, assert_intact, each_backend, page};

#[tokio::test]
async fn a_disabled_person_is_out_at_once_and_reads_why() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let id = acme.person().unwrap().user_id.clone();
        let cookie = account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let signed_in = account::authenticate_session(&app, &cookie).await.unwrap();
        let token = tokens::create(&app, &signed_in, "build", &["publish"], 9).await.unwrap();
        for who in [&acme, &testing::platform(&app, Role::Moderator).await, &testing::platform(&app, Role::Auditor).await] {
            assert_eq!(code(act(&app, who, Stop::DisablePerson, &id, "left").await), "not-permitted");
        }
        let told = preview(&app, &admin, Stop::DisablePerson, &id).await.unwrap().reach;
        assert_eq!(told, Reach { people: 1, sessions: 1, tokens: 1, ..Reach::default() });
        let (_, reach) = act(&app, &admin, Stop::DisablePerson, &id, WHY).await.unwrap();
        assert_eq!(reach, told);
        assert!(matches!(account::authenticate_session(&app, &cookie).await.unwrap(), Actor::Anonymous));
        assert_eq!(code(account::authenticate_token(&app, &token).await), "token-invalid");
        // Only who knows the password reads the reason.
        let wrong = account::sign_in(&app, "owner@acme.example", "another lamp".into(), "10.0.0.1", "test").await;
        assert_eq!(code(wrong), "wrong-password");
        let refused = sign_in(&app, "owner@acme.example").await.unwrap_err();
        assert_eq!((refused.code, refused.args[0].1.as_str()), ("person-disabled", WHY));
        let form = format!("email=owner%40acme.example&password={}", PASSWORD.replace(' ', "+"));
        let (status, html) = page(&app, &Actor::Anonymous, Method::POST, "/sign-in", &form).await;
        assert!(status == 403 && html.contains(SHOWN), "{status} {html}");
        // No invitation brings them back.
        let other = testing::operator(&app, "mine").await;
        let secret = team::invite(&app, &other, "owner@acme.example", "member", "10.0.0.1").await.unwrap();
        assert_eq!(code(team::accept_as_known(&app, &secret, PASSWORD.into(), account::Browser::at("10.0.0.1")).await), "person-disabled");
        assert_eq!(code(act(&app, &admin, Stop::DisablePerson, &id, WHY).await), "standing-unchanged");

        act(&app, &admin, Stop::EnablePerson, &id, "back").await.unwrap();
        assert_eq!(code(act(&app, &admin, Stop::EnablePerson, &id, "back").await), "standing-unchanged");
        sign_in(&app, "owner@acme.example").await.unwrap();
        assert_eq!(code(account::authenticate_token(&app, &token).await), "token-invalid");
        let html = page(&app, &admin, Method::GET, &format!("/admin/people/{id}"), "").await.1;
        assert!(html.contains(SHOWN) && html.contains("/admin/stops/disable-person/"), "{html}");
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn one_session_one_token_or_all_sessions_end() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let id = acme.person().unwrap().user_id.clone();
        let mut cookies = Vec::new();
        for _ in 0..3 {
            cookies.push(account::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "test").await.unwrap());
        }
        let token = tokens::create(&app, &acme, "build", &["publish"], 9).await.unwrap();
        let other = tokens::create(&app, &acme, "other", &["publish"], 9).await.unwrap();
        let (hash, token_id): (String, String) = {
            let hash = crate::base::ids::hash_secret(&cookies[0]);
            let named = api_tokens::table.filter(api_tokens::name.eq("build")).select(api_tokens::id);
            (hash, app.db.read(move |conn| Ok(named.first(conn)?)).await.unwrap())
        };
        let html = page(&app, &admin, Method::GET, &format!("/admin/people/{id}"), "").await.1;
        assert!(
            html.contains(&format!("/admin/stops/end-session/{hash}")) && html.contains(&format!("/admin/stops/revoke-token/{token_id}"))
        );
        act(&app, &admin, Stop::EndSession, &hash, "lost phone").await.unwrap();
        assert_eq!(code(act(&app, &admin, Stop::EndSession, &hash, "lost phone").await), "session-over");
        let open = async |cookie: &str| !matches!(account::authenticate_session(&app, cookie).await.unwrap(), Actor::Anonymous);
        assert_eq!((open(&cookies[0]).await, open(&cookies[1]).await), (false, true));
        act(&app, &admin, Stop::RevokeToken, &token_id, "leaked").await.unwrap();
        assert_eq!(code(act(&app, &admin, Stop::RevokeToken, &token_id, "leaked").await), "token-over");
        assert_eq!(code(account::authenticate_token(&app, &token).await), "token-invalid");
        let (_, reach) = act(&app, &admin, Stop::EndSessions, &id, "lost phone").await.unwrap();
        assert_eq!(reach, Reach { sessions: 2, ..Reach::default() });
        assert_eq!((open(&cookies[1]).await, open(&cookies[2]).await), (false, false));
        account::authenticate_token(&app, &other).await.unwrap();
        assert_eq!(code(preview(&app, &admin, Stop::EndSession, "none").await), "session-over");
        let left: i64 =
            app.db.read(|conn| Ok(sessions::table.filter(sessions::revoked_at.is_null()).count().get_result(conn)?)).await.unwrap();
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_stays() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let everybody: Vec<String> = app.db.read(|conn| Ok(users::table.select(users::id).load(conn)?)).await.unwrap();
        let own = admin.person().unwrap().user_id.clone();
        // The platform was made with another administrator.
        for id in everybody.iter().filter(|id| **id != own) {
            act(&app, &admin, Stop::DisablePerson, id, "left").await.unwrap();
        }
        for who in [&admin, &Actor::System] {
            assert_eq!(code(act(&app, who, Stop::DisablePerson, &own, "left").await), "last-administrator");
        }
        let platform = admin.organization_id().unwrap();
        for who in [&admin, &Actor::System] {
            assert_eq!(code(act(&app, who, Stop::SuspendOrganization, platform, "by mistake").await), "platform-not-suspended");
        }
        assert_eq!(code(act(&app, &admin, Stop::DisablePerson, "usr_none", "left").await), "person");
    })
    .await;
}
