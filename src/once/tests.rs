//! A request with a key is made once, on both databases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use diesel::prelude::*;
use serde_json::json;

use super::model::{Answer, KEEP, Kept, Key, MAX_KEPT};
use super::service::{change, once_in, prune};
use crate::audit::{self, Change};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::db::Conn;
use crate::base::db::schema::{audit_records, kept_answers};
use crate::base::error::{Error, Result};
use crate::testing::{self, WRITERS, each_backend, each_backend_racing, race};

#[allow(clippy::unnecessary_wraps, reason = "callers hand it on")]
fn key(body: &str) -> Option<Key> {
    Some(Key::of("one", "POST", "/api/v1/orders", body.as_bytes()).unwrap())
}

/// A change that counts how often it was made for good.
async fn make(app: &App, actor: &Actor, key: Option<Key>, made: &Arc<AtomicUsize>) -> Result<(Answer, bool)> {
    let made = made.clone();
    change(app, actor, key, move |c| {
        let n = made.fetch_add(1, Ordering::SeqCst);
        c.audit("node.removed", "nod_x", &json!({}));
        Ok(Answer::new(201, json!({"id": n}).to_string()))
    })
    .await
}

#[tokio::test]
async fn the_second_of_two_gets_the_answer_of_the_first() {
    each_backend(|app| async move {
        let (mine, made) = (testing::operator(&app, "mine").await, Arc::new(AtomicUsize::new(0)));
        let first = make(&app, &mine, key("{}"), &made).await.unwrap();
        assert_eq!(first, (Answer::new(201, "{\"id\":0}".into()), false));
        assert_eq!(make(&app, &mine, key("{}"), &made).await.unwrap(), (first.0, true));
        assert_eq!(make(&app, &mine, key("{ }"), &made).await.unwrap_err().code, "idempotency-key-reused");
        // Another person's key of the same name is another key, and without one everything is made.
        let other = testing::operator(&app, "other").await;
        assert!(!make(&app, &other, key("{ }"), &made).await.unwrap().1);
        assert!(!make(&app, &mine, None, &made).await.unwrap().1);
        // So is the key of the same person who acts for another organisation, which must not read the answer of this one.
        let mut elsewhere = mine.clone();
        if let Actor::Person(person, _) = &mut elsewhere {
            person.organization_id = other.organization_id().unwrap().to_owned();
        }
        assert!(!make(&app, &elsewhere, key("{}"), &made).await.unwrap().1);
        assert_eq!(made.load(Ordering::SeqCst), 4);
        app.clock.advance(KEEP - TimeDelta::seconds(1));
        assert!(make(&app, &mine, key("{}"), &made).await.unwrap().1);
        app.clock.advance(TimeDelta::seconds(1));
        assert!(!make(&app, &mine, key("{ }"), &made).await.unwrap().1, "an old answer is kept no longer");
        assert_eq!(made.load(Ordering::SeqCst), 5);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_told_once_and_not_kept() {
    each_backend(|app| async move {
        let mine = testing::operator(&app, "mine").await;
        let secret = |c: &mut Change<'_>| {
            c.audit("node.code-issued", "nod_x", &json!({}));
            Ok(Answer { status: 201, body: "{\"code\":\"ABCD\"}".into(), kept: Some("{\"code\":null}".into()) })
        };
        let (first, again) = change(&app, &mine, key("{}"), secret).await.unwrap();
        assert_eq!((first.body.as_str(), again), ("{\"code\":\"ABCD\"}", false));
        let body = app.db.read(|conn| Ok(kept_answers::table.select(kept_answers::body).first::<String>(conn)?)).await.unwrap();
        assert_eq!(body, "{\"code\":null}");
        assert_eq!(change(&app, &mine, key("{}"), secret).await.unwrap(), (Answer::new(201, body), true));
        // Without a key nothing is kept, and each answer has its own secret.
        assert_eq!(change(&app, &mine, None, secret).await.unwrap().0.body, "{\"code\":\"ABCD\"}");
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_not_kept() {
    each_backend(|app| async move {
        let (mine, made) = (testing::operator(&app, "mine").await, Arc::new(AtomicUsize::new(0)));
        let refused = change(&app, &mine, key("{}"), |_| Err::<Answer, _>(Error::conflict("node-removed")));
        assert_eq!(refused.await.unwrap_err().code, "node-removed");
        assert_eq!(app.db.read(|conn| Ok(kept_answers::table.count().get_result::<i64>(conn)?)).await.unwrap(), 0);
        assert!(!make(&app, &mine, key("{}"), &made).await.unwrap().1);
        assert_eq!(change(&app, &Actor::System, key("{}"), |_| Err(Error::conflict("x"))).await.unwrap_err().code, "sign-in-required");
    })
    .await;
}

#[tokio::test]
async fn old_answers_go() {
    each_backend(|app| async move {
        let (mine, made) = (testing::operator(&app, "mine").await, Arc::new(AtomicUsize::new(0)));
        make(&app, &mine, key("{}"), &made).await.unwrap();
        assert_eq!(prune(&app).await.unwrap(), 0);
        app.clock.advance(KEEP);
        assert_eq!(prune(&app).await.unwrap(), 1);
    })
    .await;
}

fn is_right(outcome: &Result<(Answer, bool)>) -> bool {
    match outcome {
        Ok((answer, _)) => answer.body == "{\"id\":0}",
        Err(e) => e.code == "idempotency-key-running",
    }
}

fn fresh(outcomes: &[Result<(Answer, bool)>]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Ok((_, false)))).count()
}

#[tokio::test]
async fn of_many_with_one_key_one_is_made() {
    each_backend_racing(|app| async move {
        let (mine, made) = (testing::operator(&app, "mine").await, Arc::new(AtomicUsize::new(0)));
        let outcomes = race({
            let (app, mine, made) = (app.clone(), mine.clone(), made.clone());
            move |_| {
                let (app, mine, made) = (app.clone(), mine.clone(), made.clone());
                async move { make(&app, &mine, key("{}"), &made).await }
            }
        })
        .await;
        assert!(outcomes.len() == WRITERS && outcomes.iter().all(is_right), "{outcomes:?}");
        assert_eq!((fresh(&outcomes), made.load(Ordering::SeqCst)), (1, 1));
    })
    .await;
}

/// As several processes, which do not know of each other what is under way.
#[tokio::test]
async fn of_many_processes_with_one_key_one_makes_it() {
    each_backend_racing(|app| async move {
        let mine = testing::operator(&app, "mine").await;
        let outcomes = race({
            let (app, mine) = (app.clone(), mine.clone());
            move |_| {
                let (app, mine) = (app.clone(), mine.clone());
                async move {
                    let answer = |c: &mut Change<'_>| {
                        c.audit("node.removed", "nod_x", &json!({}));
                        Ok(Answer::new(201, "{\"id\":0}".into()))
                    };
                    let key = key("{}").unwrap();
                    audit::change(&app, &mine, move |c| once_in(c, &key, &answer)).await
                }
            }
        })
        .await;
        assert!(outcomes.len() == WRITERS && outcomes.iter().all(is_right), "{outcomes:?}");
        assert_eq!(fresh(&outcomes), 1);
        let records = app.db.read(|conn| {
            let of = audit_records::table.filter(audit_records::action.eq("node.removed"));
            Ok(of.count().get_result::<i64>(conn)?)
        });
        assert_eq!(records.await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_person_has_so_many_keys_at_a_time() {
    each_backend(|app| async move {
        let (mine, made) = (testing::operator(&app, "mine").await, Arc::new(AtomicUsize::new(0)));
        let person = mine.person().unwrap().clone();
        let (now, most) = (app.clock.now(), usize::try_from(MAX_KEPT).unwrap());
        let fill = move |conn: &mut Conn| {
            for n in 0..most {
                let kept = Kept {
                    user_id: person.user_id.clone(),
                    idempotency_key: n.to_string(),
                    organization_id: person.organization_id.clone(),
                    request_hash: String::new(),
                    status: 201,
                    body: String::new(),
                    created_at: now,
                };
                diesel::insert_into(kept_answers::table).values(kept).execute(conn)?;
            }
            Ok(())
        };
        app.db.write(fill).await.unwrap();
        let refused = make(&app, &mine, key("{}"), &made).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after, made.load(Ordering::SeqCst)), ("too-many-idempotency-keys", Some(24 * 3600), 0));
        let colleague = testing::member(&app, mine.organization_id().unwrap(), Role::Member, "m@mine.example").await;
        make(&app, &colleague, key("{}"), &made).await.unwrap();
        assert_eq!(prune(&app).await.unwrap(), 0);
        app.clock.advance(KEEP);
        assert_eq!(prune(&app).await.unwrap(), most + 1);
        make(&app, &mine, key("{}"), &made).await.unwrap();
    })
    .await;
}
