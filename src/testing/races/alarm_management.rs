//! Answers to one alarm at once.

use super::{codes, sorted};
use crate::alarm_management::model::Filter;
use crate::alarm_management::model::{Act, Verdict};
use crate::alarm_management::service::act;
use crate::alarm_management::{board, equipment};
use crate::testing::{assert_intact, each_backend_racing, node, operator, race};
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
