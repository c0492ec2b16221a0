//! Pages of accounts on both backends.

use actix_web::body::to_bytes;
use actix_web::cookie::Cookie;
use actix_web::http::{Method, header};

use crate::account::{passwords, service, standing, team};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::testing::{self, PASSWORD, answer, each_backend, page};

/// Status of a form's answer, and the seconds that it tells to wait.
async fn sent(app: &App, who: &Actor, path: &str, form: &str) -> (u16, Option<u32>) {
    let response = answer(app, who, Method::POST, path, form, None).await;
    let after = response.headers().get(header::RETRY_AFTER).map(|after| after.to_str().unwrap().parse().unwrap());
    (response.status().as_u16(), after)
}

#[tokio::test]
async fn a_form_that_is_held_up_says_for_how_long() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let cookie = service::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.9", "t").await.unwrap();
        let here = service::authenticate_session(&app, &cookie).await.unwrap();
        for _ in 0..20 {
            assert_eq!(sent(&app, &Actor::Anonymous, "/forgotten-password", "email=a%40b.example").await, (303, None));
        }
        assert_eq!(sent(&app, &Actor::Anonymous, "/forgotten-password", "email=a%40b.example").await, (429, Some(900)));
        for _ in 0..5 {
            assert_eq!(sent(&app, &here, "/account/password", "current_password=x&new_password=y").await, (422, None));
        }
        let held = "&held_action=%2Fmine%2Fsites&held=name%3Dx";
        for (who, path, form) in [
            (&here, "/account/password", "current_password=x&new_password=y".to_owned()),
            (&here, "/account/address", "email=a%40b.example&current_password=x".into()),
            (&Actor::Anonymous, "/sign-in", "email=owner%40acme.example&password=x".into()),
            (&Actor::Anonymous, "/sign-in", format!("email=owner%40acme.example&password=x{held}")),
        ] {
            assert_eq!(sent(&app, who, path, &form).await, (429, Some(900)), "{path} {form}");
        }
    })
    .await;
}

/// A page without what differs by chance or is the asker's own: CSRF values, the secret of the link, the address that was invited.
fn without_own(html: &str, secret: &str, email: &str) -> String {
    // In addresses it is encoded.
    let encoded = secret.replace('-', "%2D").replace('_', "%5F");
    let html = html.replace(secret, "SECRET").replace(&encoded, "SECRET").replace(email, "EMAIL");
    let mut parts = html.split("name=\"_csrf\" value=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    let html = parts.fold(first, |out, part| out + part.split_once('"').unwrap().1);
    let mut parts = html.split("name=\"csrf\" content=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('"').unwrap().1)
}

#[tokio::test]
async fn an_invitation_does_not_tell_whether_its_address_has_an_account() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let mine = testing::operator(&app, "mine").await;
        let mut seen: Vec<Vec<(u16, String)>> = Vec::new();
        for email in ["owner@acme.example", "nobody@acme.example"] {
            let secret = team::invite(&app, &mine, email, "member", "10.0.0.1").await.unwrap();
            let path = format!("/invitations/{secret}");
            let mut answers = Vec::new();
            for (method, form) in [
                (Method::GET, ""),
                (Method::POST, "current_password=wrong+password"),
                (Method::POST, "current_password="),
                (Method::POST, "name=New&password=1234567890"),
                (Method::POST, "password=another+lamp+in+the+dark"),
            ] {
                let (status, html) = page(&app, &Actor::Anonymous, method, &path, form).await;
                answers.push((status, without_own(&html, &secret, email)));
            }
            let [shown, wrong, empty, weak, nameless] = answers.as_slice() else { panic!("five were asked") };
            assert_eq!([shown.0, wrong.0, empty.0, weak.0, nameless.0], [200, 401, 401, 422, 422], "{email}");
            assert!(shown.1.contains("name=\"current_password\"") && shown.1.contains("name=\"name\""), "{}", shown.1);
            assert!(wrong.1.contains("Wrong e-mail address or password"), "{}", wrong.1);
            seen.push(answers);
        }
        assert_eq!(seen[0], seen[1]);
        // Who has an account joins by its password, and who has none by a new one.
        for (email, form) in [
            ("owner@acme.example", format!("current_password={}", PASSWORD.replace(' ', "+"))),
            ("nobody@acme.example", "name=New&password=another+lamp+in+the+dark".into()),
        ] {
            let secret = team::invite(&app, &mine, email, "member", "10.0.0.1").await.unwrap();
            assert_eq!(sent(&app, &Actor::Anonymous, &format!("/invitations/{secret}"), &form).await, (303, None), "{email}");
        }
        assert_eq!(team::list(&app, &mine).await.unwrap().0.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn who_is_not_let_in_reads_that_the_new_password_is_set() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let (id, now) = (owner.organization_id().unwrap().to_owned(), app.clock.now());
        app.db.write(move |conn| standing::suspend_in(conn, &id, "fraud", now)).await.unwrap();
        let secret = passwords::issue_reset_by_address(&app, "owner@acme.example").await.unwrap();
        let opened = answer(&app, &Actor::Anonymous, Method::GET, &format!("/new-password?secret={secret}"), "", None).await;
        let kept = opened.cookies().next().unwrap();
        let kept = Cookie::new(kept.name().to_owned(), kept.value().to_owned());
        let elsewhere = answer(&app, &Actor::Anonymous, Method::GET, "/confirm-address", "", Some(kept.clone())).await;
        assert_eq!(elsewhere.status(), 410, "it is the secret of one page");
        let form = "password=another+lamp+in+the+dark";
        let set = answer(&app, &Actor::Anonymous, Method::POST, "/new-password", form, Some(kept)).await;
        assert_eq!(set.status(), 403);
        let html = String::from_utf8(to_bytes(set.into_body()).await.unwrap().to_vec()).unwrap();
        let (note, reason) = (html.find("Your password is set").unwrap(), html.find("fraud").unwrap());
        assert!(note < reason, "{html}");
    })
    .await;
}
