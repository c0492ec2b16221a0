//! Changing and resetting passwords, on both backends.

use actix_web::http::Method;
use chrono::TimeDelta;
use diesel::prelude::*;

use super::{change, forgotten, issue_reset, issue_reset_by_address, link, offer_reset, reset};
use crate::account::service::Browser;
use crate::account::{addresses, service, tokens};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::schema::audit_records;
use crate::base::error::Kind;
use crate::base::i18n::Lang;
use crate::testing::smtp::each_backend_with_mail;
use crate::testing::{self, PASSWORD, each_backend, page};

const NEW: &str = "another lamp in the dark";
const EMAIL: &str = "owner@acme.example";

async fn session(app: &App, password: &str) -> Actor {
    let cookie = service::sign_in(app, EMAIL, password.into(), "10.0.0.1", "t").await.unwrap();
    service::authenticate_session(app, &cookie).await.unwrap()
}

async fn recorded(app: &App, action: &'static str) -> Vec<String> {
    let of = move |conn: &mut crate::base::db::Conn| {
        Ok(audit_records::table.filter(audit_records::action.eq(action)).select(audit_records::detail).load(conn)?)
    };
    app.db.read(of).await.unwrap()
}

#[tokio::test]
async fn a_changed_password_ends_all_other_sessions() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let cookies = [0, 1, 2].map(|_| service::sign_in(&app, EMAIL, PASSWORD.into(), "10.0.0.1", "t"));
        let cookies: Vec<String> = futures_util::future::join_all(cookies).await.into_iter().map(Result::unwrap).collect();
        let here = service::authenticate_session(&app, &cookies[0]).await.unwrap();
        let secret = issue_reset_by_address(&app, EMAIL).await.unwrap();
        assert_eq!(change(&app, &here, PASSWORD.into(), NEW.into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap(), 2);
        for (n, cookie) in cookies.iter().enumerate() {
            let actor = service::authenticate_session(&app, cookie).await.unwrap();
            assert_eq!(actor.as_person().is_some(), n == 0, "session {n}");
        }
        assert_eq!(service::sign_in(&app, EMAIL, PASSWORD.into(), "10.0.0.1", "t").await.unwrap_err().code, "wrong-password");
        session(&app, NEW).await;
        assert_eq!(recorded(&app, "password.changed").await, [r#"{"sessions_ended":2}"#]);
        assert_eq!(
            reset(&app, &secret, "a third lamp in the dark".into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap_err().code,
            "link-over"
        );
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let here = session(&app, PASSWORD).await;
        let try_it = async |current: &str, new: &str| {
            change(&app, &here, current.into(), new.into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap_err()
        };
        for (new, code) in
            [("short", "too-short"), ("qwertyuiop", "password-common"), ("acme ltd 2026", "password-own"), (PASSWORD, "password-unchanged")]
        {
            let refused = try_it(PASSWORD, new).await;
            assert_eq!((refused.fields[0].field.as_str(), refused.fields[0].code), ("new_password", code));
        }
        for _ in 0..5 {
            assert_eq!(try_it("wrong password", NEW).await.fields[0].code, "current-password-wrong");
        }
        assert_eq!(try_it(PASSWORD, NEW).await.code, "sign-in-throttled");
        app.clock.advance(TimeDelta::minutes(16));
        let token = tokens::create(&app, &owner, "ci", &["read"], 10).await.unwrap();
        let program = service::authenticate_token(&app, &token).await.unwrap();
        for who in [&program, &Actor::Anonymous] {
            let refused = change(&app, who, PASSWORD.into(), NEW.into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap_err();
            assert!(matches!(refused.code, "token-scope" | "sign-in-required"), "{refused}");
        }
        change(&app, &here, PASSWORD.into(), NEW.into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_link_is_good_once_and_for_half_an_hour() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let id = owner.person().unwrap().user_id.clone();
        let here = service::sign_in(&app, EMAIL, PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
        let first = issue_reset(&app, &admin, &id).await.unwrap();
        let second = issue_reset(&app, &admin, &id).await.unwrap();
        let code = async |secret: &str, new: &str| {
            reset(&app, secret, new.into(), Browser::at("10.0.0.1"), Lang::En)
                .await
                .map(drop)
                .map_err(|e| e.fields.first().map_or(e.code, |f| f.code))
        };
        assert_eq!(code(&first, NEW).await, Err("link-over"), "replaced");
        // A stranger who asks for a link where no mail is sent voids none.
        offer_reset(&app, EMAIL, Lang::En).await.unwrap();
        // A link to another address that was made before.
        let elsewhere = {
            let id = id.clone();
            let make = move |c: &mut crate::audit::Change<'_>| {
                let now = c.now;
                super::links::issue_in(c, super::LinkPurpose::ProveAddress, &id, "elsewhere@acme.example", now)
            };
            crate::audit::change(&app, &Actor::System, make).await.unwrap()
        };
        assert_eq!(code("guessed", NEW).await, Err("link-over"));
        assert_eq!(code(&second, "owner@acme.example").await, Err("password-own"), "and the link stays good");
        assert_eq!(code(&second, NEW).await, Ok(()));
        assert_eq!(code(&second, NEW).await, Err("link-over"), "used");
        let undone = super::links::address_of(&app, super::LinkPurpose::PROOFS, &elsewhere).await.unwrap_err();
        assert_eq!(undone.code, "link-over", "nobody moves the account away after a new password");
        assert!(service::authenticate_session(&app, &here).await.unwrap().as_person().is_none());
        session(&app, NEW).await;
        let late = issue_reset(&app, &admin, &id).await.unwrap();
        app.clock.advance(TimeDelta::minutes(30));
        assert_eq!(code(&late, "a third lamp in the dark").await, Err("link-over"), "too old");
        assert_eq!((recorded(&app, "password.reset-issued").await.len(), recorded(&app, "password.reset").await.len()), (3, 1));
        // Neither the log of decisions nor the database has a secret.
        for secret in [first, second, late] {
            let looked: i64 = app
                .db
                .read(move |conn| {
                    let found = audit_records::table.filter(audit_records::detail.like(format!("%{secret}%"))).count();
                    Ok(found.get_result(conn)?)
                })
                .await
                .unwrap();
            assert_eq!(looked, 0);
        }
        assert_eq!(issue_reset_by_address(&app, "nobody@acme.example").await.unwrap_err().kind, Kind::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_link_that_was_handed_over_is_not_voided_by_who_asks_for_a_mail() {
    each_backend_with_mail(|app, smtp| async move {
        let owner = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let by_hand = issue_reset(&app, &admin, &owner.person().unwrap().user_id).await.unwrap();
        offer_reset(&app, EMAIL, Lang::En).await.unwrap();
        testing::drain_jobs(&app).await;
        let mails = smtp.take();
        let mailed = mails[0].link("http://127.0.0.1:8080");
        let mailed = mailed.strip_prefix("/new-password?secret=").unwrap();
        let good = async |secret: &str| super::links::address_of(&app, super::LinkPurpose::RESETS, secret).await.is_ok();
        assert!(good(&by_hand).await && good(mailed).await);
        // The page takes either.
        let path = link(&app, &by_hand);
        let (status, _) = page(&app, &Actor::Anonymous, Method::GET, path.strip_prefix("http://127.0.0.1:8080").unwrap(), "").await;
        assert_eq!(status, 303);
        reset(&app, &by_hand, NEW.into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap().unwrap();
        assert!(!good(&by_hand).await && !good(mailed).await, "a new password ends both");
    })
    .await;
}

#[tokio::test]
async fn who_had_the_old_password_does_not_use_up_what_the_new_one_opens() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let enter = async || service::sign_in(&app, EMAIL, PASSWORD.into(), "10.0.0.1", "t").await;
        let mut refused = None;
        for _ in 0..40 {
            refused = enter().await.err();
        }
        assert_eq!(refused.unwrap().code, "too-many-sign-ins");
        let secret = issue_reset_by_address(&app, EMAIL).await.unwrap();
        let opened = reset(&app, &secret, NEW.into(), Browser::at("192.0.2.1"), Lang::En).await.unwrap().unwrap();
        assert!(service::authenticate_session(&app, &opened.session).await.unwrap().as_person().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_stranger_learns_nothing_and_asks_so_many_times() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let mut answers = Vec::new();
        for address in ["owner%40acme.example", "nobody%40acme.example"] {
            answers.push(page(&app, &Actor::Anonymous, Method::POST, "/forgotten-password", &format!("email={address}")).await);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0].0, 303);
        assert_eq!(page(&app, &Actor::Anonymous, Method::POST, "/forgotten-password", "email=nonsense").await.0, 422);
        for _ in 0..20 {
            forgotten(&app, EMAIL, "10.0.0.9", Lang::En).await.unwrap();
        }
        let refused = forgotten(&app, EMAIL, "10.0.0.9", Lang::En).await.unwrap_err();
        assert_eq!((refused.code, refused.kind), ("reset-throttled", Kind::RateLimited));
        forgotten(&app, EMAIL, "10.0.0.10", Lang::En).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn without_mail_an_administrator_confirms_an_address() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let admin = testing::platform(&app, Role::Administrator).await;
        let here = session(&app, PASSWORD).await;
        assert!(addresses::change(&app, &here, "next@acme.example", PASSWORD.into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap());
        let stale = addresses::change(&app, &here, "third@acme.example", PASSWORD.into(), Browser::at("10.0.0.1"), Lang::En).await;
        assert_eq!(stale.unwrap_err().code, "address-just-changed", "the actor is of before the change");
        let id = owner.person().unwrap().user_id.clone();
        let verified = async || {
            let cookie = service::sign_in(&app, "next@acme.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
            service::authenticate_session(&app, &cookie).await.unwrap()
        };
        let now = verified().await;
        assert!(!now.person().unwrap().email_verified);
        let (_, shown) = page(&app, &now, Method::GET, "/account", "").await;
        assert!(shown.contains("not confirmed"), "{shown}");
        assert_eq!(addresses::confirm(&app, &now, &id, "next@acme.example").await.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(addresses::confirm(&app, &admin, &id, EMAIL).await.unwrap_err().code, "address-just-changed");
        addresses::confirm(&app, &admin, &id, "next@acme.example").await.unwrap();
        let now = verified().await;
        assert!(now.person().unwrap().email_verified);
        assert_eq!(addresses::send_proof(&app, &now, Lang::En).await.unwrap_err().code, "address-proved");
        let taken = addresses::change(&app, &now, "owner@platform.example", PASSWORD.into(), Browser::at("10.0.0.1"), Lang::En).await;
        assert_eq!(taken.unwrap_err().code, "email-taken");
    })
    .await;
}
