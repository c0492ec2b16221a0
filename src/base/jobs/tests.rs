//! The queue on both backends.

use super::*;
use crate::base::notify::NoticeKind;

fn claim(conn: &mut Conn, at: Timestamp) -> Result<Option<String>> {
    let lane = Lane::Checks;
    Ok(dialect::claim_job(conn, lane.kinds(), at, at.plus(LEASE), at.plus(lane.furthest()))?)
}

#[tokio::test]
async fn what_a_clock_ahead_has_planned_or_begun_is_done_when_it_is_set_back() {
    crate::testing::each_backend(|app| async move {
        let (now, ahead) = (app.clock.now(), app.clock.now().plus(TimeDelta::days(400)));
        app.db
            .write(move |conn| {
                Job::ScoreRelease { release_id: "begun".into() }.enqueue(conn, ahead)?;
                assert!(claim(conn, ahead)?.is_some());
                Job::ScoreRelease { release_id: "planned".into() }.enqueue(conn, ahead)?;
                assert!(claim(conn, now)?.is_some() && claim(conn, now)?.is_some() && claim(conn, now)?.is_none());
                Job::ScoreRelease { release_id: "tomorrow".into() }.enqueue(conn, now.plus(TimeDelta::days(1)))?;
                assert!(claim(conn, now)?.is_none());
                // Upkeep runs on time too, though it is planned once only.
                for at in [ahead, now] {
                    Job::PruneHistory.enqueue_once(conn, at)?;
                }
                let planned: Vec<Timestamp> =
                    schema::jobs::table.filter(schema::jobs::kind.eq(Job::PruneHistory.kind())).select(schema::jobs::run_at).load(conn)?;
                assert_eq!(planned, [now]);
                Ok(())
            })
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn organisations_take_turns() {
    crate::testing::each_backend(|app| async move {
        let now = app.clock.now();
        let job = |id: &str| Job::CheckRelease { release_id: id.to_owned() };
        app.db
            .write(move |conn| {
                for (n, (organization, id)) in [("org_a", "a1"), ("org_a", "a2"), ("org_a", "a3"), ("org_b", "b1")].into_iter().enumerate()
                {
                    let at = now.plus(TimeDelta::seconds(i64::try_from(n).unwrap()));
                    job(id).enqueue_for(conn, Some(organization), at)?;
                }
                // The platform's own work goes first, and nobody loses a turn by it.
                Job::ScoreRelease { release_id: "own".into() }.enqueue(conn, now.plus(TimeDelta::seconds(9)))
            })
            .await
            .unwrap();
        let mut order = Vec::new();
        for n in 10..15 {
            let at = now.plus(TimeDelta::seconds(n));
            let payload: String = app
                .db
                .write(move |conn| {
                    let id = claim(conn, at)?.unwrap();
                    Ok(schema::jobs::table.find(id).select(schema::jobs::payload).first(conn)?)
                })
                .await
                .unwrap();
            let (Job::CheckRelease { release_id } | Job::ScoreRelease { release_id }) = serde_json::from_str(&payload).unwrap() else {
                panic!("{payload}")
            };
            order.push(release_id);
        }
        assert_eq!(order, ["own", "a1", "b1", "a2", "a3"], "of three slow ones and one, the one is second");
        let late = now.plus(TimeDelta::seconds(20));
        let none = app.db.write(move |conn| claim(conn, late)).await;
        assert_eq!(none.unwrap(), None, "none twice");
    })
    .await;
}

fn rebuild(node_id: impl Into<String>) -> Job {
    Job::RebuildNode { node_id: node_id.into() }
}

/// The node whose rebuilding is begun next.
fn next_node(conn: &mut Conn, at: Timestamp) -> Result<Option<String>> {
    let lane = Lane::Prompt;
    let Some(id) = dialect::claim_job(conn, lane.kinds(), at, at.plus(LEASE), at.plus(lane.furthest()))? else { return Ok(None) };
    let payload: String = schema::jobs::table.find(id).select(schema::jobs::payload).first(conn)?;
    let Job::RebuildNode { node_id } = serde_json::from_str(&payload)? else { panic!("{payload}") };
    Ok(Some(node_id))
}

#[tokio::test]
async fn nobody_waits_behind_what_one_mine_has_asked_for() {
    crate::testing::each_backend(|app| async move {
        let now = app.clock.now();
        let order = app.db.write(move |conn| {
            for n in 0..2_000 {
                rebuild(format!("a{n}")).enqueue_for(conn, Some("org_a"), now)?;
            }
            let later = now.plus(TimeDelta::seconds(1));
            rebuild("b").enqueue_for(conn, Some("org_b"), later)?;
            // A recall, also of a node whose rebuilding waits already.
            for node in ["recalled", "a1999"] {
                rebuild(node).enqueue(conn, later)?;
            }
            let at = |n| now.plus(TimeDelta::seconds(n));
            Ok([next_node(conn, at(2))?, next_node(conn, at(3))?, next_node(conn, at(4))?, next_node(conn, at(5))?])
        });
        let order = order.await.unwrap().map(Option::unwrap);
        assert_eq!([&*order[0], &order[1], &order[3]], ["a1999", "recalled", "b"]);
        assert!(order[2].starts_with('a'), "{order:?}");
    })
    .await;
}

#[tokio::test]
async fn a_node_waits_once_beside_the_one_that_runs() {
    fn fail<'a>(_: &'a App, _: &'a Job) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(Error::unavailable("database-busy")) })
    }
    #[allow(clippy::unnecessary_wraps, reason = "as the queue wants it")]
    fn keep(_: &mut Conn, _: &Job, _: Timestamp) -> Result<()> {
        Ok(())
    }
    crate::testing::each_backend(|app| async move {
        let now = app.clock.now();
        let states = async || {
            let states = app.db.read(|conn| Ok(schema::jobs::table.select(schema::jobs::state).order(schema::jobs::state).load(conn)?));
            let states: Vec<String> = states.await.unwrap();
            states
        };
        let ask = async || app.db.write(move |conn| rebuild("nod_x").enqueue_for(conn, Some("org_a"), now)).await.unwrap();
        ask().await;
        ask().await;
        assert_eq!(states().await, ["waiting"]);
        // A try that fails while the same waits leaves it to that one; alone it waits for the next try.
        let worker = Worker { run: fail, give_up: keep };
        assert!(app.db.write(move |conn| next_node(conn, now)).await.unwrap().is_some());
        ask().await;
        assert_eq!(states().await, ["running", "waiting"]);
        app.clock.advance(TimeDelta::minutes(10));
        assert!(run_one(&app, Lane::Prompt, worker).await.unwrap());
        assert_eq!(states().await, ["waiting"]);
        assert!(run_one(&app, Lane::Prompt, worker).await.unwrap());
        assert_eq!(states().await, ["waiting"]);
        // What is asked for anew does not wait for the pause after a failure.
        ask().await;
        assert_eq!(app.db.write(move |conn| next_node(conn, now)).await.unwrap().as_deref(), Some("nod_x"));
    })
    .await;
}

#[tokio::test]
async fn what_a_server_stops_before_its_end_is_begun_anew_at_once() {
    fn endless<'a>(_: &'a App, _: &'a Job) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::pending())
    }
    #[allow(clippy::unnecessary_wraps, reason = "as the queue wants it")]
    fn keep(_: &mut Conn, _: &Job, _: Timestamp) -> Result<()> {
        Ok(())
    }
    let settings = |settings: &mut Settings| settings.server.shutdown_seconds = 0;
    crate::testing::each_backend_with(settings, |app| async move {
        let now = app.clock.now();
        let asked = app.db.write(move |conn| {
            Job::CheckRelease { release_id: "begun".into() }.enqueue_for(conn, Some("org_a"), now)?;
            Job::CheckRelease { release_id: "next".into() }.enqueue_for(conn, Some("org_b"), now)
        });
        asked.await.unwrap();
        let running = async || {
            use schema::jobs::dsl;
            let running = app.db.read(|conn| Ok(dsl::jobs.filter(dsl::state.eq("running")).select(dsl::payload).load::<String>(conn)?));
            running.await.unwrap()
        };
        let server = tokio::spawn(run(app.clone(), Lane::Checks, Worker { run: endless, give_up: keep }, app.stopping()));
        while running().await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        app.stop.send(true).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(20), server).await.unwrap().unwrap();
        let begun = running().await;
        let (payload, attempts) = app
            .db
            .write(move |conn| {
                let id = claim(conn, now)?.unwrap();
                let found = schema::jobs::table.find(id).select((schema::jobs::payload, schema::jobs::attempts));
                Ok(found.first::<(String, i64)>(conn)?)
            })
            .await
            .unwrap();
        assert_eq!((vec![payload], attempts), (begun, 1), "the one that was begun, and its try does not count");
    })
    .await;
}

#[tokio::test]
async fn a_claim_takes_no_longer_where_many_wait() {
    crate::testing::each_backend(|app| async move {
        let now = app.clock.now();
        let took = app.db.write(move |conn| {
            if matches!(conn, Conn::Postgres(_)) {
                return Ok(std::time::Duration::ZERO); // it has no single writer, and no figures of a table that was just filled
            }
            diesel::sql_query(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
                 INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, organization_id) \
                 SELECT 'job_' || i, 'rebuild-node', 'x' || i, 'waiting', 0, $1, $1, 'org_' || (i % 20) FROM n",
            )
            .bind::<diesel::sql_types::Timestamp, _>(now)
            .execute(conn)?;
            let begin = std::time::Instant::now();
            for _ in 0..100 {
                let lane = Lane::Prompt;
                assert!(dialect::claim_job(conn, lane.kinds(), now, now.plus(LEASE), now.plus(lane.furthest()))?.is_some());
            }
            Ok(begin.elapsed())
        });
        let took = took.await.unwrap();
        assert!(took < std::time::Duration::from_secs(1), "100 claims took {took:?}; with a sort of all that waits, four seconds");
    })
    .await;
}

#[test]
fn every_job_has_one_lane() {
    let id = || "x".to_owned();
    let next = |job: &Job| match job {
        Job::CheckRelease { .. } => Some(Job::MeasureRelease { release_id: id() }),
        Job::MeasureRelease { .. } => Some(Job::ReadDraft { draft_id: id() }),
        Job::ReadDraft { .. } => Some(Job::AnswerDraft { draft_id: id() }),
        Job::AnswerDraft { .. } => Some(Job::ScoreRelease { release_id: id() }),
        Job::ScoreRelease { .. } => Some(Job::EvaluateRelease { release_id: id(), set_id: id() }),
        Job::EvaluateRelease { .. } => Some(Job::EvaluateScenario { set_id: id(), after: id() }),
        Job::EvaluateScenario { .. } => Some(Job::RebuildNode { node_id: id() }),
        Job::RebuildNode { .. } => Some(Job::TellNodes { release_id: id(), after: id() }),
        Job::TellNodes { .. } => Some(Job::TellPeople { release_id: id(), after: id() }),
        Job::TellPeople { .. } => Some(Job::TellFollowers { scenario: id() }),
        Job::TellFollowers { .. } => Some(Job::ExpireUploads),
        Job::ExpireUploads => Some(Job::CollectGarbage),
        Job::CollectGarbage => Some(Job::PruneHistory),
        Job::PruneHistory => Some(Job::OfferReset { email: id(), lang: Lang::En }),
        Job::OfferReset { .. } => Some(Notice::new(NoticeKind::ResetPassword, Lang::En, "x", "x").job()),
        Job::Notify { .. } => Some(Job::SendMessage { message_id: id() }),
        Job::SendMessage { .. } => None,
    };
    let mut jobs = 0;
    let mut job = Some(Job::CheckRelease { release_id: id() });
    while let Some(this) = job {
        let lanes = [Lane::Checks, Lane::Drafts, Lane::Prompt, Lane::Mail, Lane::Upkeep]
            .into_iter()
            .filter(|lane| lane.kinds().contains(&this.kind()));
        assert_eq!(lanes.count(), 1, "{}", this.kind());
        job = next(&this);
        jobs += 1;
    }
    assert_eq!(
        jobs,
        [Lane::Checks, Lane::Drafts, Lane::Prompt, Lane::Mail, Lane::Upkeep].iter().map(|lane| lane.kinds().len()).sum::<usize>()
    );
}
