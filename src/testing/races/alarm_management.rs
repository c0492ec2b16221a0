//! Answers to one alarm at once.

use super::{codes, sorted};
use crate::alarm_management::model::Filter;
use crate::alarm_management::model::{Act, Verdict};
use crate::alarm_management::service::{acknowledge_all, act};
use crate::alarm_management::{board, equipment};
use crate::fleet::service as fleet;
use crate::testing::{assert_intact, csr, each_backend_racing, node, operator, race};
use chrono::TimeDelta;

#[tokio::test]
async fn of_many_who_acknowledge_one_does_and_of_many_shelves_one_is_made() {
    each_backend_racing(|app| async move {
        let owner = operator(&app, "north").await;
        let fleet_node = node(&app, &owner).await;
        let crate::base::auth::Actor::Node { node_id, .. } = &fleet_node else { panic!("a node") };
        let (id, now) = (node_id.clone(), app.clock.now());
        app.db.write(move |conn| crate::fleet::service::note_call(conn, &id, now)).await.unwrap();
        app.clock.advance(TimeDelta::minutes(2));
        // Several processes look at once: one alarm begins.
        let looks = race(|_| {
            let app = app.clone();
            async move { equipment::look(&app).await }
        })
        .await;
        assert!(looks.iter().all(Result::is_ok), "{looks:?}");
        let open = board::list(&app, &owner, Filter::default(), None, 100).await.unwrap();
        assert_eq!(open.len(), 1);
        let alarm = open[0].0.id.clone();

        let answered = race(|n| {
            let (app, owner, alarm) = (app.clone(), owner.clone(), alarm.clone());
            let how = if n % 2 == 0 { Act::Acknowledge } else { Act::Judge { verdict: Verdict::Real, instead_of: None } };
            async move { act(&app, &owner, &alarm, how, "").await }
        })
        .await;
        // Whoever acknowledged first, one verdict may follow, and the others see that they came late.
        let (through, refused) = sorted(answered);
        assert!((1..=2).contains(&through) && refused.is_subset(&codes(&["alarm-acknowledged", "alarm-judged"])), "{through} {refused:?}");

        let shelved = race(|_| {
            let (app, owner, alarm) = (app.clone(), owner.clone(), alarm.clone());
            async move { act(&app, &owner, &alarm, Act::Shelve { minutes: 30 }, "line is cut").await }
        })
        .await;
        assert_eq!(sorted(shelved), (1, codes(&["alarm-suppressed"])));
        let (_, acts) = board::detail(&app, &owner, alarm).await.unwrap();
        assert_eq!(acts.len(), through + 1);
        assert_intact(&app).await;
    })
    .await;
}

#[tokio::test]
async fn of_many_desks_that_acknowledge_the_same_each_alarm_has_one_answer() {
    each_backend_racing(|app| async move {
        let owner = operator(&app, "north").await;
        let site = fleet::create_site(&app, &owner, "East").await.unwrap();
        for n in 0..3 {
            let issued = fleet::create_node(&app, &owner, &site, &format!("belt {n}")).await.unwrap();
            let enrolled = fleet::enroll(&app, issued.code, csr(), "1.0.0".into()).await.unwrap();
            let now = app.clock.now();
            app.db.write(move |conn| fleet::note_call(conn, &enrolled.node_id, now)).await.unwrap();
        }
        app.clock.advance(TimeDelta::minutes(2));
        equipment::look(&app).await.unwrap();
        let open = board::list(&app, &owner, Filter::default(), None, 100).await.unwrap();
        let ids: Vec<String> = open.into_iter().map(|(entry, _)| entry.id).collect();
        assert_eq!(ids.len(), 3);
        let answers = race(|n| {
            let (app, owner, mut ids) = (app.clone(), owner.clone(), ids.clone());
            ids.rotate_left(n % 3);
            async move { acknowledge_all(&app, &owner, ids, "").await }
        })
        .await;
        let done: usize = answers.iter().map(|answer| answer.as_ref().unwrap().done).sum();
        assert_eq!(done, 3, "{answers:?}");
        for id in ids {
            assert_eq!(board::detail(&app, &owner, id).await.unwrap().1.len(), 1);
        }
        assert_intact(&app).await;
    })
    .await;
}
