//! Colleagues and invitations, links, passwords, names.

use diesel::prelude::*;

use crate::account::model::LinkPurpose;
use crate::account::service::{SignUp, sign_up};
use crate::account::{links, passwords, service, team};
use crate::base::auth::Role;
use crate::base::db::schema::{invitations, memberships, one_time_links};
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::testing::{PASSWORD, WRITERS, each_backend_racing, member, operator, race};

#[tokio::test]
async fn of_those_who_remove_each_other_some_stay() {
    each_backend_racing(|app| async move {
        let owner = operator(&app, "mine").await;
        let organization = owner.organization_id().unwrap().to_owned();
        let mut ring = Vec::new();
        for n in 0..WRITERS {
            ring.push(member(&app, &organization, Role::Owner, &format!("owner{n}@mine.example")).await);
        }
        let removed = race(|n| {
            let (app, who, whom) = (app.clone(), ring[n].clone(), ring[n ^ 1].person().unwrap().user_id.clone());
            async move { team::remove(&app, &who, whom).await }
        })
        .await;
        // Two by two they remove each other: of each pair one goes.
        let done = removed.iter().filter(|r| r.is_ok()).count();
        assert!(removed.chunks(2).all(|pair| pair.iter().filter(|r| r.is_ok()).count() == 1));
        let left: i64 = app
            .db
            .read(move |conn| Ok(memberships::table.filter(memberships::organization_id.eq(organization)).count().get_result(conn)?))
            .await
            .unwrap();
        assert_eq!(usize::try_from(left).unwrap(), WRITERS + 1 - done);
    })
    .await;
}

#[tokio::test]
async fn an_address_has_one_open_invitation_that_is_accepted_once() {
    each_backend_racing(|app| async move {
        let owner = operator(&app, "mine").await;
        let sent = race(|_| {
            let (app, owner) = (app.clone(), owner.clone());
            async move { team::invite(&app, &owner, "new@mine.example", "member", "10.0.0.1").await }
        })
        .await;
        let secrets: Vec<String> = sent.into_iter().map(Result::unwrap).collect();
        let open: i64 =
            app.db.read(|conn| Ok(invitations::table.filter(invitations::revoked_at.is_null()).count().get_result(conn)?)).await.unwrap();
        assert_eq!(open, 1);
        let mut good = Vec::new();
        for secret in secrets {
            if team::find_invitation(&app, &secret).await.is_ok() {
                good.push(secret);
            }
        }
        let [secret] = good.as_slice() else { panic!("not one is open") };
        let accepted = race(|n| {
            let (app, secret, address) = (app.clone(), secret.clone(), format!("10.0.{n}.9"));
            async move { team::accept_as_new(&app, &secret, "New", PASSWORD.into(), service::Browser::at(&address), Lang::En).await }
        })
        .await;
        assert_eq!(accepted.into_iter().flatten().count(), 1);
        assert_eq!(team::list(&app, &owner).await.unwrap().0.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_person_has_one_link_that_is_used_once() {
    each_backend_racing(|app| async move {
        operator(&app, "mine").await;
        let made = race(|_| {
            let app = app.clone();
            async move { passwords::issue_reset_by_address(&app, "owner@mine.example").await }
        })
        .await;
        let (some, refused) =
            super::sorted(made.iter().map(|r| r.as_ref().map_err(|e| crate::base::error::Error::new(e.kind, e.code))).collect());
        assert!(some > 0 && refused.is_subset(&super::codes(&["link-just-made"])), "{refused:?}");
        let open = one_time_links::used_at.is_null().and(one_time_links::revoked_at.is_null());
        let open: i64 = app.db.read(move |conn| Ok(one_time_links::table.filter(open).count().get_result(conn)?)).await.unwrap();
        assert_eq!(open, 1);
        let mut good = Vec::new();
        for secret in made.into_iter().flatten() {
            if links::address_of(&app, LinkPurpose::RESETS, &secret).await.is_ok() {
                good.push(secret);
            }
        }
        let [secret] = good.as_slice() else { panic!("not one is good") };
        let used = race(|n| {
            let (app, secret) = (app.clone(), secret.clone());
            async move {
                passwords::reset(&app, &secret, format!("lamp {n} of the dark mine"), service::Browser::at("10.0.0.9"), Lang::En).await
            }
        })
        .await;
        assert_eq!(super::sorted(used), (1, super::codes(&["link-over"])));
    })
    .await;
}

#[tokio::test]
async fn a_password_that_was_read_is_replaced_once() {
    each_backend_racing(|app| async move {
        operator(&app, "mine").await;
        let cookie = service::sign_in(&app, "owner@mine.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
        let here = service::authenticate_session(&app, &cookie).await.unwrap();
        let changed = race(|n| {
            let (app, here) = (app.clone(), here.clone());
            async move {
                passwords::change(
                    &app,
                    &here,
                    PASSWORD.into(),
                    format!("lamp {n} of the dark mine"),
                    service::Browser::at("10.0.0.1"),
                    Lang::En,
                )
                .await
            }
        })
        .await;
        // Who comes later has proved themselves by a password that is none any more, or does not know the new one.
        let (done, refused) = super::sorted(changed);
        assert_eq!(done, 1);
        let known = super::codes(&["current-password-wrong", "password-just-changed", "sign-in-throttled"]);
        assert!(refused.is_subset(&known), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_new_password_ends_every_session_of_the_old_one() {
    each_backend_racing(|app| async move {
        operator(&app, "mine").await;
        let secret = passwords::issue_reset_by_address(&app, "owner@mine.example").await.unwrap();
        let done = race(|n| {
            let (app, secret) = (app.clone(), secret.clone());
            async move {
                if n == WRITERS / 2 {
                    let browser = service::Browser::at("10.0.0.9");
                    return passwords::reset(&app, &secret, "another lamp in the dark".into(), browser, Lang::En).await.map(|_| None);
                }
                service::sign_in(&app, "owner@mine.example", PASSWORD.into(), &format!("10.0.{n}.1"), "t").await.map(Some)
            }
        })
        .await;
        assert!(done[WRITERS / 2].is_ok());
        let cookies: Vec<String> = done.iter().flatten().flatten().cloned().collect();
        let refused = super::sorted(done).1;
        assert!(refused.is_subset(&super::codes(&["wrong-password", "sign-in-throttled"])), "{refused:?}");
        for cookie in cookies {
            assert!(service::authenticate_session(&app, &cookie).await.unwrap().as_person().is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_who_sign_up_under_one_name_one_does() {
    each_backend_racing(|app| async move {
        let made = race(|n| {
            let app = app.clone();
            async move {
                let input = SignUp {
                    email: format!("owner{n}@x.example"),
                    name: "A person".into(),
                    password: PASSWORD.into(),
                    kind: "vendor".into(),
                    slug: format!("short-{n}"),
                    // The same to readers, each in its own way.
                    name_zh: if n % 2 == 0 { "乌兰矿业".into() } else { "乌兰 矿业".into() },
                    name_en: String::new(),
                };
                sign_up(&app, input).await
            }
        })
        .await;
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
        for refused in made.into_iter().filter_map(Result::err) {
            assert!(refused.code == "name-taken" || refused.fields.iter().any(|field| field.code == "name-taken"), "{refused}");
        }
    })
    .await;
}
