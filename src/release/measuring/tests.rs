//! Measuring again: who may ask, how often, and what stays of the figures before.

use diesel::prelude::*;
use inference::check::Hardware;
use inference::measure::{Latency, Measured};

use super::*;
use crate::base::auth::Role;
use crate::base::db::schema::{audit_records, jobs as jobs_table, releases};
use crate::site::market::follow;
use crate::testing::{self, each_backend, shop};

pub fn report(median: f64) -> CheckReport {
    let card = RunCard {
        engine: "onnxruntime".into(),
        engine_version: "1.32.0".into(),
        hardware: Hardware { cpu: "x".into(), cores: 2, architecture: "amd64".into() },
        accuracy: Some(1.0),
        golden_total: 8,
        latency_ms: Latency { median, p95: median, p99: median, measured: None },
        load_ms: 1.0,
        peak_memory_bytes: 1,
        model_bytes: 1,
        throughput: None,
        structure: None,
        odd_inputs: Vec::new(),
        own_steps: Vec::new(),
        providers: Vec::new(),
        input: "1x8".into(),
    };
    CheckReport { passed: true, run_card: Some(card), ..CheckReport::default() }
}

/// A report whose times say how they were measured.
fn measured(median: f64, steady: bool) -> CheckReport {
    let mut report = report(median);
    if let Some(card) = &mut report.run_card {
        card.latency_ms.measured = Some(Measured { runs: 100, rounds: 3, steady, ..Measured::default() });
    }
    report
}

async fn jobs_done(app: &App) {
    app.db.write(|conn| Ok(diesel::delete(jobs_table::table).execute(conn)?)).await.unwrap();
}

async fn record(app: &App, release_id: &str, report: CheckReport) {
    let id = release_id.to_owned();
    audit::change(app, &Actor::System, move |c| {
        let release = service::get(c, &id)?;
        record_in(c, &release, report.clone())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn its_developer_and_the_platform_have_a_release_measured_again_a_few_times_a_day() {
    each_backend(|app| async move {
        let shop = shop::shop(&app).await;
        let id = shop.listing.release_id.as_str();
        let (other, moderator) = (testing::vendor(&app, "other").await, testing::platform(&app, Role::Moderator).await);
        let finance = testing::platform(&app, Role::Finance).await;
        jobs_done(&app).await;
        for (actor, code) in
            [(&other, "release"), (&shop.operator, "not-permitted"), (&finance, "not-permitted"), (&Actor::Anonymous, "sign-in-required")]
        {
            assert_eq!(ask(&app, actor, id).await.unwrap_err().code, code);
        }
        ask(&app, &shop.vendor, id).await.unwrap();
        assert_eq!(ask(&app, &moderator, id).await.unwrap_err().code, "measure-waiting");
        let waiting = id.to_owned();
        assert!(app.db.read(move |conn| waits(conn, &waiting)).await.unwrap());
        for _ in 1..limits::MEASUREMENTS_PER_DAY {
            jobs_done(&app).await;
            ask(&app, &moderator, id).await.unwrap();
        }
        jobs_done(&app).await;
        let refused = ask(&app, &shop.vendor, id).await.unwrap_err();
        assert!(refused.code == "too-many-measurements" && refused.retry_after.is_some());
        app.clock.advance(chrono::TimeDelta::days(1));
        ask(&app, &moderator, id).await.unwrap();
        let (asked, own) = (id.to_owned(), id.to_owned());
        let said: i64 = app
            .db
            .read(move |conn| {
                let of = audit_records::action.eq("release.measuring").and(audit_records::subject.eq(&asked));
                Ok(audit_records::table.filter(of).count().get_result(conn)?)
            })
            .await
            .unwrap();
        assert_eq!(said, 4);
        // What was called back needs no figures.
        app.db
            .write(move |conn| Ok(diesel::update(releases::table.find(own)).set(releases::state.eq("recalled")).execute(conn)?))
            .await
            .unwrap();
        assert_eq!(ask(&app, &moderator, id).await.unwrap_err().code, "release-state");
    })
    .await;
}

#[tokio::test]
async fn new_figures_show_on_other_replicas_too() {
    each_backend(|app| async move {
        let shop = shop::shop(&app).await;
        let before = follow::refresh(&app, None).await.unwrap();
        app.clock.advance(chrono::TimeDelta::hours(1));
        record(&app, &shop.listing.release_id, CheckReport { passed: false, run_card: None, ..report(9.0) }).await;
        assert_eq!(follow::refresh(&app, Some(&before)).await.unwrap(), before, "nothing was replaced");
        record(&app, &shop.listing.release_id, report(9.0)).await;
        assert_ne!(follow::refresh(&app, Some(&before)).await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn new_figures_replace_the_old_ones_which_stay_in_the_history() {
    each_backend(|app| async move {
        let shop = shop::shop(&app).await;
        let id = shop.listing.release_id.as_str();
        let shown = async || {
            let id = id.to_owned();
            app.db.read(move |conn| Ok((service::check_report(conn, &id)?, history(conn, &id)?))).await.unwrap()
        };
        let median = |report: Option<CheckReport>| report.and_then(|r| r.run_card).map(|card| card.latency_ms.median);
        for (ms, kept) in [(30.0, 0), (10.0, 1), (11.0, 2)] {
            app.clock.advance(chrono::TimeDelta::hours(1));
            record(&app, id, report(ms)).await;
            let (now, earlier) = shown().await;
            // The shop's own report may hold no card: nothing to keep.
            assert_eq!((median(now), earlier.newest.len()), (Some(ms), kept), "{earlier:?}");
        }
        // Figures of what does not pass are none: the machine may be short of memory.
        record(&app, id, CheckReport { passed: false, run_card: None, ..report(99.0) }).await;
        let (now, earlier) = shown().await;
        let earlier = earlier.newest;
        let medians: Vec<f64> = earlier.iter().map(|e| e.card.latency_ms.median).collect();
        assert_eq!((median(now), medians.as_slice()), (Some(11.0), [10.0, 30.0].as_slice()));
        assert!(earlier[0].at > earlier[1].at);
        let asked = id.to_owned();
        let said: Vec<String> = app
            .db
            .read(move |conn| {
                let of = audit_records::action.eq("release.measured").and(audit_records::subject.eq(&asked));
                Ok(audit_records::table.filter(of).order(audit_records::sequence).select(audit_records::detail).load(conn)?)
            })
            .await
            .unwrap();
        assert_eq!(said.len(), 4);
        assert!(said[1].contains("\"median_before\":30.0") && said[3].contains("\"passed\":false"), "{said:?}");
        let state = {
            let id = id.to_owned();
            app.db.read(move |conn| service::get(conn, &id)).await.unwrap().state
        };
        assert_eq!(state, ReleaseState::Published);
    })
    .await;
}

#[tokio::test]
async fn steady_figures_stay_where_new_ones_are_uncertain_and_the_developer_is_told_what_came_of_it() {
    each_backend(|app| async move {
        let shop = shop::shop(&app).await;
        let id = shop.listing.release_id.as_str();
        let state = async || {
            let id = id.to_owned();
            let read = app.db.read(move |conn| Ok((service::check_report(conn, &id)?, history(conn, &id)?, outcome(conn, &id)?)));
            let (shown, others, outcome) = read.await.unwrap();
            let medians: Vec<f64> = others.newest.iter().map(|other| other.card.latency_ms.median).collect();
            (shown.unwrap().run_card.unwrap().latency_ms.median, medians, outcome.map(|outcome| (outcome.figures, outcome.reason)))
        };
        let page = async || {
            let path = "/vendor/apps/belt/releases/1.0.0";
            testing::page(&app, &shop.vendor, actix_web::http::Method::GET, path, "").await.1
        };
        assert!(!page().await.contains("Measured again on"));
        let failed = CheckReport { passed: false, run_card: None, steps: vec![jobs::not_run().steps.remove(0)], ..CheckReport::default() };
        let why = Some("check-not-run".to_owned());
        for (new, shown, others, figures, words) in [
            (measured(10.0, true), 10.0, vec![], (Figures::Shown, None), "these are the figures"),
            (measured(30.0, false), 10.0, vec![30.0], (Figures::Uncertain, None), "the new figures are uncertain"),
            (failed, 10.0, vec![30.0], (Figures::None, why.clone()), "gave no figures; those before stay. The platform could not run"),
            // The uncertain figures are younger than those that are replaced now.
            (measured(11.0, true), 11.0, vec![30.0, 10.0], (Figures::Shown, None), "these are the figures"),
        ] {
            app.clock.advance(chrono::TimeDelta::hours(1));
            record(&app, id, new).await;
            assert_eq!(state().await, (shown, others, Some(figures)));
            let html = page().await;
            assert!(html.contains(words), "{words}: {html}");
        }
        // Uncertain figures give way to any.
        let release = shop::publish(&app, &shop, "1.0.1").await;
        for median in [40.0, 20.0] {
            app.clock.advance(chrono::TimeDelta::hours(1));
            record(&app, &release, measured(median, false)).await;
        }
        let shown = app.db.read(move |conn| service::check_report(conn, &release)).await.unwrap();
        assert!(shown.unwrap().run_card.unwrap().latency_ms.median < 30.0);
        let (given_up, now) = (id.to_owned(), app.clock.now());
        app.db.write(move |conn| give_up(conn, &given_up, now)).await.unwrap();
        assert_eq!(state().await, (11.0, vec![30.0, 10.0], Some((Figures::None, why))));
    })
    .await;
}

#[tokio::test]
async fn no_figures_are_lost_and_the_list_says_how_many_there_are() {
    each_backend(|app| async move {
        let shop = shop::shop(&app).await;
        let id = shop.listing.release_id.clone();
        let now = app.clock.now();
        let kept = id.clone();
        app.db
            .write(move |conn| {
                for n in 0..230 {
                    let card = report(f64::from(n)).run_card.unwrap();
                    store::keep_card(conn, &kept, card, now.plus(chrono::TimeDelta::hours(n.into())))?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let found = app.db.read(move |conn| history(conn, &id)).await.unwrap();
        assert_eq!((found.newest.len(), found.total), (20, 230));
        assert!((found.newest[0].card.latency_ms.median - 229.0).abs() < 0.1);
        let listing = testing::page(&app, &Actor::Anonymous, actix_web::http::Method::GET, "/apps/acme/belt", "").await.1;
        assert!(listing.contains("Other measurements (230)") && listing.contains("The newest 20 of 230 are shown."), "{listing}");
    })
    .await;
}
