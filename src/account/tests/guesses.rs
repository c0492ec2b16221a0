//! Guessing passwords: who is held up by wrong ones, and what is recorded of them.

use chrono::TimeDelta;
use diesel::prelude::*;
use serde_json::{Value, json};

use crate::account::service::{self, Browser, SignedIn};
use crate::account::{addresses, passwords, standing, team, throttle, upkeep};
use crate::audit::model::Record;
use crate::base::app::App;
use crate::base::auth::password::Line;
use crate::base::db::schema::{audit_records, jobs, sessions, throttles};
use crate::base::error::{Kind, Result};
use crate::base::i18n::Lang;
use crate::testing::{self, PASSWORD, each_backend};

const EMAIL: &str = "owner@acme.example";

async fn guess(app: &App, address: &str) -> &'static str {
    service::sign_in(app, EMAIL, "wrong password".into(), address, "t").await.unwrap_err().code
}

async fn enter(app: &App, address: &str, device: Option<&str>) -> Result<SignedIn> {
    service::sign_in_on(app, EMAIL, PASSWORD.into(), Browser { address, user_agent: "t", device }).await
}

async fn records(app: &App, action: &'static str) -> Vec<(Record, Value)> {
    let found = app.db.read(move |conn| {
        let of = audit_records::table.filter(audit_records::action.eq(action)).order((audit_records::chain, audit_records::sequence));
        Ok(of.select(Record::as_select()).load(conn)?)
    });
    found.await.unwrap().into_iter().map(|record| (record.clone(), serde_json::from_str(&record.detail).unwrap())).collect()
}

#[tokio::test]
async fn wrong_passwords_hold_up_the_address_that_sends_them() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        for _ in 0..5 {
            assert_eq!(guess(&app, "10.0.0.1").await, "wrong-password");
        }
        let error = enter(&app, "10.0.0.1", None).await.unwrap_err();
        assert_eq!((error.code, error.kind, error.retry_after), ("sign-in-throttled", Kind::RateLimited, Some(900)));
        enter(&app, "10.0.0.2", None).await.unwrap();
        app.clock.advance(TimeDelta::minutes(16));
        enter(&app, "10.0.0.1", None).await.unwrap();
        // Of one IPv6 network all addresses are one's own.
        for host in 1..=5 {
            assert_eq!(guess(&app, &format!("2001:db8:1:2::{host}")).await, "wrong-password");
        }
        assert_eq!(enter(&app, "2001:db8:1:2::6", None).await.unwrap_err().code, "sign-in-throttled");
        enter(&app, "2001:db8:1:3::1", None).await.unwrap();
        // What was counted while the clock ran ahead holds up nobody after.
        app.clock.advance(TimeDelta::days(400));
        for expected in ["wrong-password"; 5].into_iter().chain(["sign-in-throttled"]) {
            assert_eq!(guess(&app, "10.0.0.3").await, expected);
        }
        app.clock.advance(TimeDelta::days(-400));
        for expected in ["wrong-password"; 5].into_iter().chain(["sign-in-throttled"]) {
            assert_eq!(guess(&app, "10.0.0.3").await, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_browser_that_signed_in_before_is_not_held_up_by_others() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        testing::vendor(&app, "other").await;
        let own = enter(&app, "10.0.0.1", None).await.unwrap();
        for _ in 0..5 {
            guess(&app, "10.0.0.1").await;
        }
        assert_eq!(enter(&app, "10.0.0.1", None).await.unwrap_err().code, "sign-in-throttled");
        let again = enter(&app, "10.0.0.1", Some(&own.device)).await.unwrap();
        assert_eq!(again.device, own.device, "the browser keeps its cookie");
        // The cookie of another account, and one that is made up, are worth nothing.
        let theirs = Browser { address: "10.0.0.9", user_agent: "t", device: None };
        let theirs = service::sign_in_on(&app, "owner@other.example", PASSWORD.into(), theirs).await.unwrap();
        for device in [theirs.device.as_str(), &"x".repeat(43), ""] {
            assert_eq!(enter(&app, "10.0.0.1", Some(device)).await.unwrap_err().code, "sign-in-throttled");
        }
        // Whoever has stolen it guesses no faster than from one place.
        let with_device = |password: &str| {
            let browser = Browser { address: "10.0.0.7", user_agent: "t", device: Some(&own.device) };
            service::sign_in_on(&app, EMAIL, password.to_owned(), browser)
        };
        for _ in 0..5 {
            assert_eq!(with_device("wrong password").await.unwrap_err().code, "wrong-password");
        }
        assert_eq!(with_device(PASSWORD).await.unwrap_err().code, "sign-in-throttled");
    })
    .await;
}

#[tokio::test]
async fn a_new_password_makes_strangers_of_those_who_had_the_old_one() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let (own, theirs) = (enter(&app, "192.0.2.1", None).await.unwrap(), enter(&app, "10.0.0.1", None).await.unwrap());
        let known = async |device: &str| {
            let attempt = throttle::password(&app, EMAIL, Browser { device: Some(device), ..Browser::at("10.0.0.9") }).await.unwrap();
            attempt.from_known_browser()
        };
        assert!(known(&own.device).await && known(&theirs.device).await);
        let here = service::authenticate_session(&app, &own.session).await.unwrap();
        let theirs_is_over = service::authenticate_session(&app, &theirs.session).await.unwrap();
        service::sign_out(&app, &theirs_is_over, "10.0.0.1").await.unwrap();
        assert!(known(&theirs.device).await, "after a sign-out, too");
        passwords::change(&app, &here, PASSWORD.into(), "another lamp in the dark".into(), Browser::at("192.0.2.1"), Lang::En)
            .await
            .unwrap();
        assert!(known(&own.device).await && !known(&theirs.device).await);
        // Others use up what all unknown places share.
        for host in 1..=10 {
            assert_eq!(guess(&app, &format!("10.8.0.{host}")).await, "wrong-password");
        }
        assert_eq!(guess(&app, "10.0.0.1").await, "sign-in-throttled");
        assert_eq!(guess(&app, "192.0.2.1").await, "wrong-password");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_addresses_get_seventeen_guesses_in_an_hour_and_lock_nobody_out() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let own = enter(&app, "192.0.2.1", None).await.unwrap();
        let mut looked_at = 0;
        for i in 0..1000 {
            if guess(&app, &format!("10.1.{}.{}", i / 250, i % 250)).await == "wrong-password" {
                looked_at += 1;
            }
            app.clock.advance(TimeDelta::seconds(3));
        }
        assert_eq!(looked_at, 17);
        assert_eq!(enter(&app, "10.9.9.9", None).await.unwrap_err().code, "sign-in-throttled", "a stranger, whatever the password");
        enter(&app, "192.0.2.1", None).await.unwrap();
        enter(&app, "10.9.9.8", Some(&own.device)).await.unwrap();
        // That the person signed in gives strangers no further guess.
        assert_eq!(guess(&app, "10.9.9.7").await, "sign-in-throttled");
        app.clock.advance(TimeDelta::days(1));
        assert_eq!(guess(&app, "10.9.9.7").await, "wrong-password");
    })
    .await;
}

#[tokio::test]
async fn sign_ins_are_recorded_with_their_address_and_failures_only_so_often() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let id = owner.person().unwrap().user_id.clone();
        for _ in 0..9 {
            guess(&app, "10.0.0.1").await;
        }
        let failed = records(&app, "sign-in.failed").await;
        assert_eq!(
            failed.iter().map(|(_, detail)| detail.clone()).collect::<Vec<_>>(),
            [json!({"address": "10.0.0.1", "times": 1}), json!({"address": "10.0.0.1", "times": 5}),]
        );
        assert!(failed.iter().all(|(record, _)| record.subject == id && record.chain == "access" && record.actor == "anonymous"));
        // Of what was typed as an account nothing is kept: it may be a password.
        service::sign_in(&app, "s3cret words", "x".into(), "10.0.0.2", "t").await.unwrap_err();
        let (last, _) = records(&app, "sign-in.failed").await.pop().unwrap();
        assert_eq!(last.subject, "unknown");
        assert!(!last.detail.contains("s3cret"));

        let cookie = service::sign_in(&app, EMAIL, PASSWORD.into(), "10.0.0.3", "t").await.unwrap();
        let actor = service::authenticate_session(&app, &cookie).await.unwrap();
        service::sign_out(&app, &actor, "10.0.0.4").await.unwrap();
        for (action, address) in [("person.signed-in", "10.0.0.3"), ("person.signed-out", "10.0.0.4")] {
            let (record, detail) = records(&app, action).await.pop().unwrap();
            assert_eq!((record.actor, record.subject, &detail["address"]), (format!("user:{id}"), id.clone(), &json!(address)));
            assert_eq!(record.chain, owner.organization_id().unwrap());
        }

        // All records of an hour together have a bound, and that it was reached is recorded once.
        let full = || {
            app.db.write(|conn| {
                Ok(diesel::update(throttles::table.find("records:access")).set(throttles::failures.eq(1000i64)).execute(conn)?)
            })
        };
        assert_eq!(full().await.unwrap(), 1);
        let before = records(&app, "sign-in.failed").await.len();
        for host in 1..=4 {
            guess(&app, &format!("10.7.0.{host}")).await;
        }
        assert_eq!(records(&app, "sign-in.failed").await.len(), before);
        assert_eq!(records(&app, "access.left-out").await.len(), 1);
        testing::assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn old_counts_and_sessions_go_and_with_them_what_was_known() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let own = enter(&app, "10.0.0.1", None).await.unwrap();
        guess(&app, "10.0.0.2").await;
        let rows = || {
            app.db.read(|conn| {
                let counts: i64 = throttles::table.count().get_result(conn)?;
                let sessions: i64 = sessions::table.count().get_result(conn)?;
                Ok((counts, sessions))
            })
        };
        app.clock.advance(TimeDelta::days(1) + TimeDelta::minutes(1));
        upkeep::prune(&app).await.unwrap();
        assert_eq!(rows().await.unwrap(), (0, 1));
        app.clock.advance(TimeDelta::days(throttle::KNOWN_DAYS + 1));
        upkeep::prune(&app).await.unwrap();
        assert_eq!(rows().await.unwrap(), (0, 0));
        assert!(!enter(&app, "10.0.0.1", Some(&own.device)).await.unwrap().session.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_address_is_told_three_times_that_somebody_has_an_account() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let sign_up = async |email: &str, slug: &str, address: &str| {
            let input = service::SignUp {
                email: email.into(),
                name: "A person".into(),
                password: PASSWORD.into(),
                kind: "vendor".into(),
                slug: slug.into(),
                name_zh: String::new(),
                name_en: format!("{slug} works"),
            };
            service::sign_up_from(&app, input, Browser::at(address), Lang::En).await.map_err(|e| e.code)
        };
        for n in 0..3 {
            assert_eq!(sign_up(EMAIL, &format!("guess-{n}"), "2001:db8::1").await.unwrap_err(), "email-taken");
        }
        // Then nothing is told at all, or a refusal alone would tell.
        assert_eq!(sign_up(EMAIL, "guess-4", "2001:db8::2").await.unwrap_err(), "sign-up-throttled");
        assert_eq!(sign_up("new@acme.example", "fresh-one", "2001:db8::2").await.unwrap_err(), "sign-up-throttled");
        sign_up("new@acme.example", "fresh-one", "10.0.0.9").await.unwrap();
        app.clock.advance(TimeDelta::minutes(16));
        sign_up("newer@acme.example", "fresher", "2001:db8::2").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_has_chosen_a_new_password_by_a_link_is_in_whatever_strangers_send() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        for host in 1..=40 {
            guess(&app, &format!("10.8.{host}.1")).await;
        }
        assert_eq!(enter(&app, "192.0.2.1", None).await.unwrap_err().code, "sign-in-throttled");
        let secret = passwords::issue_reset_by_address(&app, EMAIL).await.unwrap();
        let stolen = "s".repeat(crate::base::ids::SECRET_CHARS);
        let browser = Browser { device: Some(&stolen), ..Browser::at("192.0.2.1") };
        let new = "another lamp in the dark";
        let own = passwords::reset(&app, &secret, new.into(), browser, Lang::En).await.unwrap().unwrap();
        assert!(service::authenticate_session(&app, &own.session).await.unwrap().as_person().is_some());
        assert_ne!(own.device, stolen, "the browser gets another cookie");
        // Later, from elsewhere.
        let again = async |device: Option<&str>| {
            service::sign_in_on(&app, EMAIL, new.into(), Browser { device, ..Browser::at("198.51.100.7") }).await
        };
        assert_eq!(again(None).await.unwrap_err().code, "sign-in-throttled");
        again(Some(&own.device)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_is_not_let_in_has_the_new_password_all_the_same() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let (id, now) = (owner.organization_id().unwrap().to_owned(), app.clock.now());
        app.db.write(move |conn| standing::suspend_in(conn, &id, "fraud", now)).await.unwrap();
        let secret = passwords::issue_reset_by_address(&app, EMAIL).await.unwrap();
        let new = "another lamp in the dark";
        let refused = passwords::reset(&app, &secret, new.into(), Browser::at("10.0.0.1"), Lang::En).await.unwrap().unwrap_err();
        assert_eq!(refused.code, "organization-suspended");
        let (id, now) = (owner.organization_id().unwrap().to_owned(), app.clock.now());
        app.db.write(move |conn| standing::resume_in(conn, &id, now)).await.unwrap();
        service::sign_in(&app, EMAIL, new.into(), "10.0.0.1", "t").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_invitation_is_accepted_from_a_known_browser_and_lets_a_new_person_in_whatever_strangers_send() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let host = testing::operator(&app, "mine").await;
        let own = enter(&app, "192.0.2.1", None).await.unwrap();
        for email in [EMAIL, "new@mine.example"] {
            for host in 1..=40 {
                service::sign_in(&app, email, "wrong password".into(), &format!("10.8.{host}.1"), "t").await.unwrap_err();
            }
            let secret = team::invite(&app, &host, email, "member", "10.0.0.1").await.unwrap();
            let stranger = Browser::at("198.51.100.7");
            let there = if email == EMAIL {
                let refused = team::accept_as_known(&app, &secret, PASSWORD.into(), stranger).await.unwrap_err();
                assert_eq!(refused.code, "sign-in-throttled");
                let browser = Browser { device: Some(&own.device), ..stranger };
                team::accept_as_known(&app, &secret, PASSWORD.into(), browser).await.unwrap()
            } else {
                team::accept_as_new(&app, &secret, "New", PASSWORD.into(), stranger, Lang::En).await.unwrap()
            };
            let actor = service::authenticate_session(&app, &there.session).await.unwrap();
            assert_eq!(actor.organization_id().unwrap(), host.organization_id().unwrap(), "{email}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_invites_people_is_told_a_few_times_that_they_have_an_account_and_they_hear_of_it() {
    each_backend(|app| async move {
        let mallory = testing::operator(&app, "mallory").await;
        let accept = async |email: &str, address: &str| {
            let secret = team::invite(&app, &mallory, email, "member", "10.0.0.1").await.unwrap();
            let new = "another lamp in the dark".to_owned();
            let accepted = team::accept_as_new(&app, &secret, "New", new, Browser::at(address), Lang::En).await;
            (accepted.map(|_| ()).map_err(|e| e.code), team::find_invitation(&app, &secret).await.is_ok())
        };
        for vendor in ["birch", "cedar", "hazel", "maple"] {
            testing::vendor(&app, vendor).await;
        }
        for vendor in ["birch", "cedar", "hazel"] {
            let answer = accept(&format!("owner@{vendor}.example"), "10.0.0.1").await;
            assert_eq!(answer, (Err("email-taken"), true), "the invitation stays open for who signs in");
        }
        // Then nothing is told at all, or a refusal alone would tell.
        for email in ["owner@maple.example", "nobody@mine.example"] {
            assert_eq!(accept(email, "10.0.0.1").await, (Err("sign-in-throttled"), true), "{email}");
        }
        assert_eq!(accept("new@mine.example", "10.0.0.2").await, (Ok(()), false));
        app.clock.advance(TimeDelta::minutes(16));
        assert_eq!(accept("newer@mine.example", "10.0.0.1").await, (Ok(()), false));
        let jobs = app.db.read(|conn| Ok(jobs::table.select(jobs::payload).load::<String>(conn)?)).await.unwrap();
        assert_eq!(jobs.iter().filter(|job| job.contains("address-in-use")).count(), 3, "{jobs:?}");
    })
    .await;
}

#[tokio::test]
async fn a_known_browser_waits_behind_no_stranger() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        let own = enter(&app, "10.0.0.1", None).await.unwrap();
        // As many attempts from its own address as run at the same time, and one on the account.
        let mut held = Vec::new();
        let place = format!("place:10.0.0.1:{EMAIL}");
        for account in app.gates.apart((0..).map(|n| format!("other {n}")), 3, &[&place]) {
            held.push(app.gates.wait("10.0.0.1", &account).await.unwrap());
        }
        held.push(app.gates.wait("10.0.0.1", &place).await.unwrap());
        let unknown = tokio::time::timeout(std::time::Duration::from_millis(300), enter(&app, "10.0.0.1", None));
        assert!(unknown.await.is_err(), "who is not known waits");
        let known = tokio::time::timeout(std::time::Duration::from_secs(30), enter(&app, "10.0.0.1", Some(&own.device)));
        known.await.expect("it does not wait").unwrap();
        // Of one address, as many known browsers as run at the same time: one more waits, and those of other addresses go on.
        let device = format!("device:{}:{EMAIL}", crate::base::ids::hash_secret(&own.device));
        for other in app.gates.apart((0..).map(|n| format!("device {n}")), 4, &[&device]) {
            held.push(app.gates.wait_browser("10.0.0.1", &other).await.unwrap());
        }
        let address = app.gates.apart((2..250).map(|n| format!("10.0.0.{n}")), 1, &["10.0.0.1"]).remove(0);
        let fifth = tokio::time::timeout(std::time::Duration::from_millis(300), enter(&app, "10.0.0.1", Some(&own.device)));
        assert!(fifth.await.is_err(), "one address does not fill the line of known browsers");
        let elsewhere = tokio::time::timeout(std::time::Duration::from_secs(30), enter(&app, &address, Some(&own.device)));
        elsewhere.await.expect("it does not wait").unwrap();
        drop(held);
        let line = async |device: Option<&str>| {
            let browser = Browser { device, ..Browser::at("10.0.0.2") };
            throttle::password(&app, EMAIL, browser).await.unwrap().line()
        };
        assert_eq!((line(None).await, line(Some(&own.device)).await), (Line::Strangers, Line::Known));
    })
    .await;
}

#[tokio::test]
async fn without_mail_an_address_is_told_three_times_of_accounts_on_its_page_too() {
    each_backend(|app| async move {
        testing::vendor(&app, "acme").await;
        testing::vendor(&app, "other").await;
        let cookie = service::sign_in(&app, EMAIL, PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
        let here = service::authenticate_session(&app, &cookie).await.unwrap();
        let change = async |email: &str, address: &str| {
            addresses::change(&app, &here, email, PASSWORD.into(), Browser::at(address), Lang::En).await.map_err(|e| e.code)
        };
        for _ in 0..3 {
            assert_eq!(change("owner@other.example", "10.0.0.1").await, Err("email-taken"));
        }
        for email in ["owner@other.example", "free@acme.example"] {
            assert_eq!(change(email, "10.0.0.1").await, Err("sign-in-throttled"), "{email}");
        }
        assert_eq!(change("free@acme.example", "10.0.0.2").await, Ok(true));
    })
    .await;
}

#[tokio::test]
async fn an_organisation_invites_so_many_in_a_day() {
    each_backend(|app| async move {
        let owner = testing::operator(&app, "mine").await;
        let invite =
            async |n: usize| team::invite(&app, &owner, &format!("p{n}@mine.example"), "member", &format!("10.0.{}.1", n % 4)).await;
        for n in 0..100 {
            invite(n).await.unwrap();
        }
        assert_eq!(invite(100).await.unwrap_err().code, "too-many-invitations");
        app.clock.advance(TimeDelta::minutes(15));
        invite(100).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn one_address_invites_so_many_in_a_day_whatever_it_signs_up() {
    each_backend(|app| async move {
        let owners = [testing::operator(&app, "one").await, testing::vendor(&app, "two").await];
        let invite = async |n: usize, address: &str| {
            team::invite(&app, &owners[n % 2], &format!("p{n}@mine.example"), "member", address).await.map_err(|e| e.code)
        };
        // Addresses of one /64 are one.
        for n in 0..50 {
            invite(n, &format!("2001:db8::{:x}", n + 1)).await.unwrap();
        }
        for n in [50, 51] {
            assert_eq!(invite(n, "2001:db8::77").await, Err("too-many-invitations"));
            invite(n, &format!("2001:db8:{n}::1")).await.unwrap();
        }
        app.clock.advance(TimeDelta::minutes(29));
        invite(52, "2001:db8::1").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_knows_the_password_and_is_not_let_in_is_recorded() {
    each_backend(|app| async move {
        let owner = testing::vendor(&app, "acme").await;
        let (id, now) = (owner.organization_id().unwrap().to_owned(), app.clock.now());
        app.db.write(move |conn| standing::suspend_in(conn, &id, "fraud", now)).await.unwrap();
        for _ in 0..12 {
            let refused = service::sign_in(&app, EMAIL, PASSWORD.into(), "10.0.0.1", "t").await.unwrap_err();
            assert_eq!(refused.code, "organization-suspended");
        }
        let failed = records(&app, "sign-in.failed").await;
        assert_eq!(failed.len(), 2, "the first and the tenth: {failed:?}");
        for (_, detail) in failed {
            assert_eq!((&detail["code"], &detail["address"]), (&json!("organization-suspended"), &json!("10.0.0.1")));
        }
    })
    .await;
}
