//! Accounts on both backends.

use chrono::TimeDelta;
use diesel::prelude::*;

use super::service::Browser;
use super::{passwords, service, team, tokens};
use crate::base::auth::{Actor, Role};
use crate::base::db::Timestamp;
use crate::base::db::schema::{api_tokens, sessions};
use crate::base::error::Kind;
use crate::base::i18n::Lang;
use crate::testing::{self, PASSWORD, each_backend};

mod guesses;
mod names;
mod session_ends;

#[tokio::test]
async fn signing_in_gives_a_session_that_ends() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let cookie = service::sign_in(&app, "Owner@ACME.example ", PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        let actor = service::authenticate_session(&app, &cookie).await.unwrap();
        assert_eq!(actor.label(), owner.label());
        let seen = || app.db.read(|conn| Ok(sessions::table.select(sessions::seen_at).first::<Timestamp>(conn)?));
        let first = seen().await.unwrap();
        for (minutes, noted) in [(4, 0), (2, 6), (4, 6)] {
            app.clock.advance(TimeDelta::minutes(minutes));
            service::authenticate_session(&app, &cookie).await.unwrap();
            assert_eq!(seen().await.unwrap(), first.plus(TimeDelta::minutes(noted)), "noted each five minutes");
        }
        service::sign_out(&app, &actor, "10.0.0.1").await.unwrap();
        assert!(matches!(service::authenticate_session(&app, &cookie).await.unwrap(), Actor::Anonymous));
        let cookie = service::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "test").await.unwrap();
        // Used every hour, it ends after twelve.
        for _ in 0..11 {
            app.clock.advance(TimeDelta::hours(1));
            assert!(matches!(service::authenticate_session(&app, &cookie).await.unwrap(), Actor::Person(..)));
        }
        app.clock.advance(TimeDelta::hours(1) + TimeDelta::seconds(1));
        assert!(matches!(service::authenticate_session(&app, &cookie).await.unwrap(), Actor::Anonymous));
    })
    .await;
}

#[tokio::test]
async fn many_guesses_at_once_get_no_further_than_one_after_another() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let guesses =
            (0..20).map(|i| {
                let app = app.clone();
                async move {
                    service::sign_in(&app, "owner@acme.example", format!("wrong password {i}"), "10.0.0.1", "t").await.unwrap_err().code
                }
            });
        let answers = futures_util::future::join_all(guesses).await;
        assert_eq!(answers.iter().filter(|code| **code == "wrong-password").count(), 5, "{answers:?}");
        assert_eq!(answers.iter().filter(|code| **code == "sign-in-throttled").count(), 15);
    })
    .await;
}

#[tokio::test]
async fn right_passwords_are_never_throttled() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let sign_ins = (0..12).map(|_| {
            let app = app.clone();
            async move { service::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "t").await.is_ok() }
        });
        assert!(futures_util::future::join_all(sign_ins).await.into_iter().all(|ok| ok));
        // Many more come from no person: each leaves a session and a record.
        let enter = async |email: &str| service::sign_in(&app, email, PASSWORD.into(), "10.0.0.1", "t").await;
        for _ in 12..30 {
            enter("owner@acme.example").await.unwrap();
        }
        let refused = enter("owner@acme.example").await.unwrap_err();
        assert_eq!((refused.code, refused.kind, refused.retry_after), ("too-many-sign-ins", Kind::RateLimited, Some(60)));
        testing::vendor(&app, "other").await;
        enter("owner@other.example").await.unwrap();
        app.clock.advance(TimeDelta::minutes(1));
        enter("owner@acme.example").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_many_sessions_the_one_that_was_used_longest_ago_ends() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let enter = async || service::sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
        let lives = async |cookie: &str| service::authenticate_session(&app, cookie).await.unwrap().as_person().is_some();
        let (used, left) = (enter().await, enter().await);
        for _ in 0..48 {
            app.clock.advance(TimeDelta::minutes(1));
            enter().await;
        }
        assert!(lives(&used).await);
        enter().await;
        assert!(lives(&used).await && !lives(&left).await, "the 51st ends one");
        let ended = app.db.read(|conn| {
            use crate::base::db::schema::audit_records::dsl;
            let of = dsl::audit_records.filter(dsl::action.eq("session.ended")).select((dsl::actor, dsl::detail));
            Ok(of.load::<(String, String)>(conn)?)
        });
        assert_eq!(ended.await.unwrap(), [(owner.label(), r#"{"most":50,"sessions":1}"#.to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn who_invites_people_does_not_get_to_guess_their_passwords() {
    each_backend(|app| async move {
        let mallory = testing::vendor(&app, "mallory").await;
        testing::operator(&app, "mine").await;
        let secret = team::invite(&app, &mallory, "owner@mine.example", "member", "10.0.0.1").await.unwrap();
        for _ in 0..5 {
            let guess = team::accept_as_known(&app, &secret, "wrong password".into(), Browser::at("10.0.0.9")).await;
            assert_eq!(guess.unwrap_err().code, "wrong-password");
        }
        let sixth = team::accept_as_known(&app, &secret, PASSWORD.into(), Browser::at("10.0.0.9")).await;
        assert_eq!(sixth.unwrap_err().code, "sign-in-throttled");
    })
    .await;
}

#[tokio::test]
async fn an_address_or_slug_belongs_to_one() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let input = |email: &str, slug: &str| service::SignUp {
            email: email.into(),
            name: "<script>alert(1)</script>".into(),
            password: PASSWORD.into(),
            kind: "operator".into(),
            slug: slug.into(),
            name_zh: "矿".into(),
            name_en: String::new(),
        };
        assert_eq!(service::sign_up(&app, input("x@y.cn", "acme")).await.unwrap_err().code, "slug-taken");
        assert_eq!(service::sign_up(&app, input("owner@acme.example", "other")).await.unwrap_err().code, "email-taken");
        // Nothing half-stored: the slug of the refused sign-up is still free.
        service::sign_up(&app, input("x@y.cn", "other")).await.unwrap();
        let bad = service::SignUp { kind: "platform".into(), ..input("p@y.cn", "plat") };
        assert_eq!(service::sign_up(&app, bad).await.unwrap_err().fields[0].field, "kind");
    })
    .await;
}

#[tokio::test]
async fn who_signs_in_anew_goes_on_for_the_organisation_they_acted_for() {
    each_backend(|app| async move {
        testing::operator(&app, "mine").await;
        let other = testing::operator(&app, "other").await;
        let secret = team::invite(&app, &other, "owner@mine.example", "member", "10.0.0.1").await.unwrap();
        team::accept_as_known(&app, &secret, PASSWORD.into(), Browser::at("10.0.0.1")).await.unwrap();
        let enter = async || {
            let cookie = service::sign_in(&app, "owner@mine.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
            service::authenticate_session(&app, &cookie).await.unwrap()
        };
        let there = enter().await;
        assert_eq!(there.organization_id(), other.organization_id());
        service::sign_out(&app, &there, "10.0.0.1").await.unwrap();
        app.clock.advance(TimeDelta::hours(20));
        assert_eq!(enter().await.organization_id(), other.organization_id());
        // A new password ends the sessions that told it.
        let link = passwords::issue_reset_by_address(&app, "owner@mine.example").await.unwrap();
        let in_anew =
            passwords::reset(&app, &link, "another lamp in the dark".into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap().unwrap();
        let there = service::authenticate_session(&app, &in_anew.session).await.unwrap();
        assert_eq!(there.organization_id(), other.organization_id());
        // Who is no member any more goes on as the first.
        team::remove(&app, &other, there.person().unwrap().user_id.clone()).await.unwrap();
        let cookie = service::sign_in(&app, "owner@mine.example", "another lamp in the dark".into(), "10.0.0.1", "t").await.unwrap();
        let first = service::authenticate_session(&app, &cookie).await.unwrap();
        assert!(first.organization_id().is_some() && first.organization_id() != other.organization_id());
    })
    .await;
}

#[tokio::test]
async fn an_invitation_is_used_once() {
    each_backend(|app| async move {
        let owner = testing::operator(&app, "mine").await;
        let secret = team::invite(&app, &owner, "new@mine.example", "deployer", "10.0.0.1").await.unwrap();
        team::accept_as_new(&app, &secret, "New", PASSWORD.into(), Browser::at("10.0.0.9"), Lang::En).await.unwrap();
        assert_eq!(
            team::accept_as_new(&app, &secret, "Again", PASSWORD.into(), Browser::at("10.0.0.9"), Lang::En).await.unwrap_err().code,
            "invitation-over"
        );
        let (members, open) = team::list(&app, &owner).await.unwrap();
        assert_eq!((members.len(), open.len()), (2, 0));
        let late = team::invite(&app, &owner, "late@mine.example", "member", "10.0.0.1").await.unwrap();
        app.clock.advance(TimeDelta::days(8));
        assert_eq!(team::find_invitation(&app, &late).await.unwrap_err().code, "invitation-over");
        assert_eq!(team::invite(&app, &owner, "x@mine.example", "moderator", "10.0.0.1").await.unwrap_err().fields[0].code, "role-invalid");
        let deployer = testing::member(&app, &owner.person().unwrap().organization_id, Role::Deployer, "d@mine.example").await;
        assert_eq!(team::invite(&app, &deployer, "x@mine.example", "member", "10.0.0.1").await.unwrap_err().kind, Kind::Forbidden);
    })
    .await;
}

#[tokio::test]
async fn who_is_removed_does_not_come_back_by_a_forgotten_link() {
    each_backend(|app| async move {
        let owner = testing::operator(&app, "mine").await;
        let invite = async |role: &str| team::invite(&app, &owner, "new@mine.example", role, "10.0.0.1").await.unwrap();
        // A new invitation takes the older one's place.
        let first = invite("member").await;
        let second = invite("deployer").await;
        assert_eq!(team::find_invitation(&app, &first).await.unwrap_err().code, "invitation-over");
        let (_, open) = team::list(&app, &owner).await.unwrap();
        assert_eq!(open.iter().map(|i| i.role).collect::<Vec<_>>(), [Role::Deployer]);
        // As it was before: two open at once. Accepting one ends the other.
        reopen(&app, &first).await;
        team::accept_as_new(&app, &second, "New", PASSWORD.into(), Browser::at("10.0.0.9"), Lang::En).await.unwrap();
        assert_eq!(team::find_invitation(&app, &first).await.unwrap_err().code, "invitation-over");
        // A removal ends what is still open, and the person's tokens for good.
        let (members, _) = team::list(&app, &owner).await.unwrap();
        let id = members.iter().find(|m| m.email == "new@mine.example").unwrap().user_id.clone();
        let new = service::actor_for(&app, &id, &owner.person().unwrap().organization_id).await.unwrap();
        let token = tokens::create(&app, &new, "ci", &["deploy"], 10).await.unwrap();
        reopen(&app, &first).await;
        team::remove(&app, &owner, id).await.unwrap();
        let back = team::accept_as_known(&app, &first, PASSWORD.into(), Browser::at("10.0.0.9")).await.unwrap_err();
        assert_eq!(back.code, "invitation-over");
        // Invited anew they may come back, but not by what they had.
        let again = invite("member").await;
        team::accept_as_known(&app, &again, PASSWORD.into(), Browser::at("10.0.0.9")).await.unwrap();
        assert_eq!(service::authenticate_token(&app, &token).await.unwrap_err().code, "token-invalid");
    })
    .await;
}

/// Makes an invitation open again, as invitations from before there was one an address are.
async fn reopen(app: &crate::base::app::App, secret: &str) {
    use crate::base::db::schema::invitations::dsl;
    use diesel::prelude::*;
    let hash = crate::base::ids::hash_secret(secret);
    let never = dsl::revoked_at.eq(None::<crate::base::db::Timestamp>);
    let opened =
        app.db.write(move |conn| Ok(diesel::update(dsl::invitations.filter(dsl::token_hash.eq(hash))).set(never).execute(conn)?));
    assert_eq!(opened.await.unwrap(), 1);
}

#[tokio::test]
async fn two_who_remove_each_other_leave_one() {
    each_backend(|app| async move {
        let one = testing::platform(&app, Role::Administrator).await;
        let organization_id = one.person().unwrap().organization_id.clone();
        let two = testing::member(&app, &organization_id, Role::Administrator, "two@platform.example").await;
        let id = |actor: &Actor| actor.person().unwrap().user_id.clone();
        let (a, b) = tokio::join!(team::remove(&app, &one, id(&two)), team::remove(&app, &two, id(&one)));
        assert_eq!([a.is_ok(), b.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
        let left = if a.is_ok() { &one } else { &two };
        assert_eq!(a.err().or(b.err()).unwrap().kind, Kind::Forbidden);
        let (members, _) = team::list(&app, left).await.unwrap();
        assert!(members.iter().any(|m| m.user_id == id(left)));
        assert_eq!(members.len(), 2, "the first administrator and who was faster");
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_shown_once_and_a_reload_makes_no_other() {
    use crate::testing::page;
    use actix_web::http::Method;
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let (status, shown) = page(&app, &owner, Method::GET, "/account/team", "").await;
        assert_eq!(status, 200);
        assert!(shown.contains("value=\"member\" selected"), "nobody is made an owner by a slip");
        let (status, shown) = page(&app, &owner, Method::POST, "/account/team", "email=a%40b.cn&role=member").await;
        assert_eq!((status, shown.contains("/invitations/")), (303, false));
        let (status, shown) = page(&app, &owner, Method::POST, "/account/tokens", "name=ci&scopes=read&days=9").await;
        assert_eq!((status, shown.contains("pht_")), (303, false));
        let (_, shown) = page(&app, &owner, Method::GET, "/account/tokens", "").await;
        assert!(!shown.contains("pht_"), "without the cookie there is nothing to show");
        assert!(!shown.contains("value=\"deploy\"") && shown.contains("value=\"publish\""), "developers deploy nowhere");
        let (status, shown) = page(&app, &owner, Method::POST, "/sign-up", "email=x%40y.cn&slug=typed").await;
        assert_eq!(status, 422);
        assert!(shown.contains("value=\"typed\"") && shown.contains("error-kind"), "what was typed is kept");
    })
    .await;
}

#[tokio::test]
async fn tokens_are_scoped_and_end() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let text = tokens::create(&app, &owner, "ci", &["publish"], 10).await.unwrap();
        let used = || app.db.read(|conn| Ok(api_tokens::table.select(api_tokens::used_at).first::<Option<Timestamp>>(conn)?));
        assert_eq!(used().await.unwrap(), None);
        let actor = service::authenticate_token(&app, &text).await.unwrap();
        assert_eq!(used().await.unwrap(), Some(app.clock.now()));
        assert_eq!(team::list(&app, &actor).await.unwrap_err().code, "token-scope");
        assert_eq!(tokens::create(&app, &actor, "more", &["read"], 10).await.unwrap_err().code, "token-scope");
        app.clock.advance(TimeDelta::days(11));
        assert_eq!(service::authenticate_token(&app, &text).await.unwrap_err().code, "token-invalid");
        assert_eq!(tokens::create(&app, &owner, "", &["nonsense"], 0).await.unwrap_err().fields.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn decisions_are_chained_and_damage_shows() {
    use crate::audit::{model::ChainVerdict, service::verify};
    use diesel::prelude::*;
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        tokens::create(&app, &owner, "ci", &["publish"], 10).await.unwrap();
        testing::operator(&app, "mine").await;
        assert_eq!(verify(&app).await.unwrap(), ChainVerdict::Intact { records: 3, chains: 2, seals: 0, signed: 0, noted: false });
        let chain = owner.organization_id().unwrap().to_owned();
        let damaged = chain.clone();
        testing::unguarded(&app).await;
        app.db
            .write(move |conn| {
                use crate::base::db::schema::audit_records::dsl;
                diesel::update(dsl::audit_records.find((damaged, 2i64))).set(dsl::detail.eq("{}")).execute(conn)?;
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(verify(&app).await.unwrap(), ChainVerdict::Broken { chain, sequence: 2, fault: "hash" });
    })
    .await;
}

#[tokio::test]
async fn a_sign_up_that_does_not_get_through_leaves_nothing() {
    each_backend(|app| async move {
        let sign_up = async || {
            let input = service::SignUp {
                email: "owner@acme.example".into(),
                name: "A person".into(),
                password: PASSWORD.into(),
                kind: "vendor".into(),
                slug: "acme".into(),
                name_en: "Acme".into(),
                ..service::SignUp::default()
            };
            service::sign_up_from(&app, input, Browser::at("10.0.0.1"), Lang::En).await.map_err(|e| e.kind)
        };
        let rename = async |from: &'static str, to: &'static str| {
            let statement = diesel::sql_query(format!("ALTER TABLE {from} RENAME TO {to}"));
            app.db.write(move |conn| Ok(statement.execute(conn)?)).await.unwrap();
        };
        rename("sessions", "sessions_elsewhere").await;
        assert_eq!(sign_up().await.unwrap_err(), Kind::Internal);
        rename("sessions_elsewhere", "sessions").await;
        sign_up().await.unwrap();
    })
    .await;
}
