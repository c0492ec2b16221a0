//! Hidden test sets on both backends. Scoring with the real engine is in `tests/api/evaluation.rs` and in `crates/inference`.

use actix_web::http::Method;
use app_package::digest::Digest;
use bytes::Bytes;
use chrono::TimeDelta;
use diesel::prelude::*;
use inference::evaluate::archive::CODES;
use inference::evaluate::{Evaluation, archive::Fault};

use super::model::{Metric, SetForm};
use super::{jobs, service, store};
use crate::base::app::App;
use crate::base::auth::{Actor, Role};
use crate::base::config::Settings;
use crate::base::db::schema::{audit_records, blob_pins, evaluation_scores, evaluation_sets, jobs as job_rows, releases};
use crate::base::error::{Kind, Result};
use crate::base::i18n::Lang;
use crate::moderation::model::ModerationDecision;
use crate::release::model::{Channel, Release, ReleaseState};
use crate::testing::page;
use crate::testing::shop::{APP, submitted, submitted_as};
use crate::testing::{self, each_backend, each_backend_racing, each_backend_with, race};
use crate::{moderation, registry, release};

/// Names of inputs and an expected value that must show up nowhere.
const SECRETS: [&str; 2] = ["secret-input", "61.37"];

/// A set of ten tables with a coke strength each.
pub fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    let mut samples = Vec::new();
    for n in 0..10 {
        add(&format!("secret-input-{n}.csv"), b"ash_ad,mci\n9.6,2.4\n");
        add(&format!("{n}.json"), br#"{"values": [{"id": "csr", "value": 61.37, "unit": "%"}]}"#);
        samples.push(serde_json::json!({"input": format!("secret-input-{n}.csv"), "expect": format!("{n}.json")}));
    }
    add("set.json", serde_json::json!({"format": 1, "input": "tabular", "samples": samples}).to_string().as_bytes());
    tar.into_inner().unwrap()
}

/// A set of ten clips of two seconds; in the second half of each somebody stays in the zone.
fn clips(events: &str) -> Vec<u8> {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(16, 16).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let clip = inference::clip::write(&vec![jpeg.into_inner(); 10], (1, 5), [16, 16]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    let mut samples = Vec::new();
    for n in 0..10 {
        add(&format!("{n}.avi"), &clip);
        add(&format!("{n}.json"), format!("{{\"events\": [{events}]}}").as_bytes());
        samples.push(serde_json::json!({"input": format!("{n}.avi"), "expect": format!("{n}.json")}));
    }
    let scene = serde_json::json!({"zones": {"danger": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}});
    let index = serde_json::json!({"format": 1, "input": "video", "scene": scene, "tolerance": "500ms", "samples": samples});
    add("set.json", index.to_string().as_bytes());
    tar.into_inner().unwrap()
}

pub fn form() -> SetForm {
    SetForm { scenario: APP.into(), name_zh: "焦炭盲测集".into(), name_en: "Coke blind test".into(), metric: "mae".into() }
}

async fn create(app: &App, who: &Actor, form: &SetForm, bytes: Vec<u8>) -> Result<std::result::Result<String, Vec<Fault>>> {
    // In pieces, as a body comes.
    let pieces: Vec<std::result::Result<Bytes, std::io::Error>> =
        bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    service::create(app, who, form, futures_util::stream::iter(pieces)).await
}

async fn made(app: &App, who: &Actor) -> String {
    create(app, who, &form(), archive()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_clips_is_made_and_what_is_wrong_with_it_is_told() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let form = |metric: &str| SetForm { metric: metric.into(), ..form() };
        let stay = r#"{"zone": "danger", "begin": 1.0, "end": 2.0}"#;
        for metric in ["event-f1", "event-precision", "event-recall"] {
            let id = create(&app, &admin, &form(metric), clips(stay)).await.unwrap().unwrap();
            let (status, page) = get(&app, &admin, &format!("/admin/evaluation/{id}")).await;
            let named = Lang::ALL.iter().any(|lang| page.contains(&lang.t(&format!("evaluation-metric-{metric}"))));
            assert!(status == 200 && named, "{page}");
        }
        for (events, code) in [
            (r#"{"zone": "danger", "begin": 2.5}"#, "event-beyond"),
            (r#"{"zone": "danger", "begin": 2.0, "end": 1.0}"#, "truth-event-times"),
            (r#"{"zone": "yard", "begin": 1.0}"#, "event-undrawn"),
            (r#"{"zone": "danger", "begin": NaN}"#, "expect-malformed"),
        ] {
            let faults = create(&app, &admin, &form("event-f1"), clips(events)).await.unwrap().unwrap_err();
            assert!(faults.len() == 10 && faults.iter().all(|fault| fault.code == code), "{faults:?}");
        }
        let nothing = create(&app, &admin, &form("event-f1"), clips("")).await.unwrap().unwrap_err();
        assert_eq!(nothing[0].code, "expect-no-event");
        let crossings = create(&app, &admin, &form("crossing-mae"), clips(stay)).await.unwrap().unwrap_err();
        assert_eq!(crossings[0].code, "expect-crossings");
        let other = create(&app, &admin, &form("mae"), clips(stay)).await.unwrap().unwrap_err();
        assert_eq!(other[0].code, "input-metric");
    })
    .await;
}

/// Stores an outcome as the job does.
async fn outcome(app: &App, release_id: &str, set_id: &str, evaluation: Evaluation) {
    let (release_id, set_id) = (release_id.to_owned(), set_id.to_owned());
    crate::audit::change(app, &Actor::System, move |c| {
        let release = release::service::get(c, &release_id)?;
        let set = store::get_set(c, &set_id)?;
        jobs::record_in(c, &release, &set, &evaluation)
    })
    .await
    .unwrap();
}

fn figure(value: f64) -> Evaluation {
    Evaluation { value: Some(value), samples: 10, engine: "onnxruntime 1.32.0".into(), ..Evaluation::default() }
}

/// Values and reasons of a release's outcomes.
async fn outcomes(app: &App, release_id: &str) -> Vec<(Option<f64>, Option<String>)> {
    let id = release_id.to_owned();
    app.db
        .read(move |conn| {
            let own = evaluation_scores::table.filter(evaluation_scores::release_id.eq(id));
            Ok(own.select((evaluation_scores::value, evaluation_scores::reason)).load(conn)?)
        })
        .await
        .unwrap()
}

async fn waiting(app: &App, kind: &'static str) -> i64 {
    app.db.read(move |conn| Ok(job_rows::table.filter(job_rows::kind.eq(kind)).count().get_result(conn)?)).await.unwrap()
}

async fn audited(app: &App, action: &'static str) -> i64 {
    app.db.read(move |conn| Ok(audit_records::table.filter(audit_records::action.eq(action)).count().get_result(conn)?)).await.unwrap()
}

async fn get(app: &App, who: &Actor, path: &str) -> (u16, String) {
    page(app, who, Method::GET, path, "").await
}

#[test]
fn every_fault_and_figure_has_words() {
    for lang in Lang::ALL {
        for code in CODES {
            assert!(lang.has(&format!("evaluation-fault-{code}")), "{code}");
        }
        for metric in Metric::ALL {
            assert!(lang.has(&format!("evaluation-metric-{metric}")) && lang.has(&format!("evaluation-metric-text-{metric}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_administrator_makes_a_set_and_only_of_a_whole_archive() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let acme = testing::vendor(&app, "acme").await;
        for who in [&moderator, &acme, &Actor::Anonymous] {
            let refused = create(&app, who, &form(), archive()).await.unwrap_err();
            assert!(matches!(refused.kind, Kind::Forbidden | Kind::Unauthenticated), "{refused}");
        }
        let fields = |e: crate::base::error::Error| e.fields.iter().map(|f| f.field.clone()).collect::<Vec<_>>();
        let form_with = |change: fn(&mut SetForm)| {
            let mut form = form();
            change(&mut form);
            form
        };
        let wrong = form_with(|form| form.metric = "f1".into());
        assert_eq!(fields(create(&app, &admin, &wrong, archive()).await.unwrap_err()), ["metric"]);
        let wrong = form_with(|form| form.scenario = "none-such".into());
        assert_eq!(fields(create(&app, &admin, &wrong, archive()).await.unwrap_err()), ["scenario"]);
        let faults = create(&app, &admin, &form(), b"no archive at all, but longer than a header".repeat(40)).await.unwrap().unwrap_err();
        assert_eq!((faults[0].place.as_str(), faults[0].code), ("#1", "archive-not-tar"));
        let other = form_with(|form| form.metric = "accuracy".into());
        let faults = create(&app, &admin, &other, archive()).await.unwrap().unwrap_err();
        assert_eq!((faults.len(), faults[0].code), (10, "expect-metric"));
        let broken = futures_util::stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("gone"))]);
        assert_eq!(service::create(&app, &admin, &form(), broken).await.unwrap_err().code, "body-broken");
        assert!(app.blobs.list_staged().unwrap().is_empty(), "nothing stays of what was refused");
        assert_eq!((waiting(&app, "evaluate-scenario").await, audited(&app, "evaluation.set-created").await), (0, 0));

        let id = made(&app, &admin).await;
        assert_eq!((waiting(&app, "evaluate-scenario").await, audited(&app, "evaluation.set-created").await), (1, 1));
        let line = service::list(&app, &moderator, None).await.unwrap().remove(0);
        assert_eq!((line.set.id.as_str(), line.set.samples, line.set.unit.as_str(), line.scored), (id.as_str(), 10, "%", 0));
        assert_eq!((line.set.input.as_str(), line.set.metric, line.scenario.en.as_str()), ("tabular", Metric::Mae, "Coke quality"));
        assert!(app.blobs.list_staged().unwrap().is_empty());
        for _ in 1..5 {
            made(&app, &admin).await;
        }
        assert_eq!(create(&app, &admin, &form(), archive()).await.unwrap_err().code, "too-many-sets");
        service::retire(&app, &admin, id).await.unwrap();
        made(&app, &admin).await;
    })
    .await;
}

#[tokio::test]
async fn of_outcomes_at_once_one_counts() {
    each_backend_racing(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let acme = testing::vendor(&app, "acme").await;
        let (release_id, _) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        let set = made(&app, &admin).await;
        let (of, on) = (release_id.clone(), set.clone());
        race(|n| {
            let (app, release_id, set) = (app.clone(), of.clone(), on.clone());
            async move { outcome(&app, &release_id, &set, figure(f64::from(u32::try_from(n).unwrap()))).await }
        })
        .await;
        let kept = outcomes(&app, &release_id).await;
        assert!(kept.len() == 1 && kept[0].0.is_some(), "{kept:?}");
        assert_eq!(audited(&app, "evaluation.scored").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_is_stored_once_shown_and_gone_with_its_set() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let acme = testing::vendor(&app, "acme").await;
        let (first, case) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        testing::drain_jobs(&app).await;
        let set = made(&app, &admin).await;
        // The job runs, finds no engine, and says so.
        testing::drain_jobs(&app).await;
        assert_eq!(outcomes(&app, &first).await, [(None, Some("engine-missing".into()))]);
        let preview = format!("/apps/acme/{APP}?preview={first}");
        let (status, html) = get(&app, &acme, &preview).await;
        assert!(status == 200 && html.contains("Platform test set: Coke blind test · 10 samples"), "{html}");
        assert!(html.contains("No figure") && html.contains("the app is not at fault"));

        // Tried again and scored; after that nothing changes the figure.
        assert_eq!(service::score_again(&app, &moderator, set.clone()).await.unwrap_err().kind, Kind::Forbidden);
        service::score_again(&app, &admin, set.clone()).await.unwrap();
        assert_eq!(waiting(&app, "evaluate-scenario").await, 1);
        outcome(&app, &first, &set, figure(1.5)).await;
        outcome(&app, &first, &set, figure(9.0)).await;
        testing::drain_jobs(&app).await;
        assert_eq!(outcomes(&app, &first).await, [(Some(1.5), None)]);
        assert_eq!(audited(&app, "evaluation.scored").await, 2, "the outcome without a figure, and the figure");
        let (_, html) = get(&app, &moderator, &format!("/admin/cases/{case}")).await;
        assert!(html.contains("Coke blind test · 10 samples") && html.contains("MAE 1.500 %"), "{html}");
        moderation::service::decide(&app, &moderator, &case, ModerationDecision::Approve, "").await.unwrap();
        let listing = format!("/apps/acme/{APP}");
        let (_, html) = get(&app, &Actor::Anonymous, &listing).await;
        assert!(html.contains("MAE 1.500 %") && html.contains("lower is better"));
        assert!(!html.contains("Better than"));

        // The next version is held against it.
        let (second, case) = submitted(&app, &acme, "1.1.0", Channel::Stable).await;
        let known = crate::site::market::follow::refresh(&app, None).await.unwrap();
        app.clock.advance(TimeDelta::seconds(1));
        outcome(&app, &second, &set, figure(1.2)).await;
        let scored = crate::site::market::follow::refresh(&app, Some(&known)).await.unwrap();
        assert_ne!(scored, known, "a score throws cached listings away");
        let (_, html) = get(&app, &moderator, &format!("/admin/cases/{case}")).await;
        assert!(html.contains("Better than 1.0.0 (1.500 %)"), "{html}");
        let (third, _) = submitted(&app, &acme, "1.2.0", Channel::Stable).await;
        outcome(&app, &third, &set, figure(1.7)).await;
        let (_, html) = get(&app, &acme, &format!("/apps/acme/{APP}?preview={third}")).await;
        assert!(html.contains("Worse than 1.0.0 (1.500 %)"));

        // Nobody sees what is in it, not even the platform's people; others see nothing of the console at all.
        let digest = service::detail(&app, &moderator, set.clone(), None).await.unwrap().line.set.digest;
        let own = format!("/admin/evaluation/{set}");
        let (status, html) = get(&app, &moderator, &own).await;
        assert!(status == 200 && html.contains("1.2.0") && html.contains("1.700 %") && !html.contains("/retire"));
        assert!(get(&app, &admin, &own).await.1.contains("/retire"));
        assert_eq!((get(&app, &acme, &own).await.0, get(&app, &acme, "/admin/evaluation").await.0), (403, 403));
        let readers = [(&acme, listing.as_str()), (&acme, preview.as_str()), (&moderator, own.as_str()), (&admin, "/admin/audit")];
        for (who, path) in readers {
            let (status, html) = get(&app, who, path).await;
            assert_eq!(status, 200, "{path}");
            assert!(SECRETS.iter().all(|secret| !html.contains(secret)), "{path}");
        }
        for who in [&acme, &moderator, &admin] {
            assert_eq!(get(&app, who, &format!("/v2/acme/{APP}/blobs/{digest}")).await.0, 404);
        }

        // Retired: gone from the listing, scored no more, and not twice.
        assert_eq!(service::retire(&app, &moderator, set.clone()).await.unwrap_err().kind, Kind::Forbidden);
        service::retire(&app, &admin, set.clone()).await.unwrap();
        assert_ne!(crate::site::market::follow::refresh(&app, Some(&scored)).await.unwrap(), scored, "and so does the end of a set");
        assert!(!get(&app, &Actor::Anonymous, &listing).await.1.contains("Coke blind test"));
        assert_eq!(service::retire(&app, &admin, set.clone()).await.unwrap_err().code, "evaluation-set-retired");
        assert_eq!(service::score_again(&app, &admin, set.clone()).await.unwrap_err().code, "evaluation-set-retired");
        jobs::fan_out(&app, &set, "").await.unwrap();
        assert_eq!(waiting(&app, "evaluate-release").await, 0);
        assert!(get(&app, &moderator, &own).await.1.contains("1.500 %"), "its own page keeps them");
        assert_eq!(audited(&app, "evaluation.set-retired").await, 1);
        assert_eq!(service::detail(&app, &moderator, "evs_none".into(), None).await.unwrap_err().code, "evaluation-set");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_of_two_developers_stand_side_by_side() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let moderator = testing::platform(&app, Role::Moderator).await;
        let set = made(&app, &admin).await;
        let mut releases = Vec::new();
        for (slug, value) in [("acme", 1.5), ("rival", 0.9)] {
            let vendor = testing::vendor(&app, slug).await;
            let (release, case) = submitted(&app, &vendor, "1.0.0", Channel::Stable).await;
            outcome(&app, &release, &set, figure(value)).await;
            releases.push((case, vendor));
        }
        let both = format!("/compare?app=acme/{APP}&app=rival/{APP}");
        // What is not listed is not shown, not even to its own developer.
        let (status, html) = get(&app, &releases[0].1, &both).await;
        assert!(status == 200 && html.contains("2 apps of this address are not listed") && !html.contains("Coke blind test"), "{html}");
        for (case, _) in &releases {
            moderation::service::decide(&app, &moderator, case, ModerationDecision::Approve, "").await.unwrap();
        }
        let (status, html) = get(&app, &Actor::Anonymous, &both).await;
        assert!(status == 200 && html.contains("Coke blind test · 10 samples, MAE"), "{html}");
        let (first, second) = (html.find("<td>1.500 %</td>").unwrap(), html.find("<td>0.900 % <span class=\"badge").unwrap());
        assert!(first < second, "in the order of the address");
        assert!(!html.contains("not listed") && !html.contains("Add to the comparison"));
        // One alone is offered the other.
        let (_, html) = get(&app, &Actor::Anonymous, &format!("/compare?app=rival/{APP}&app=rival/none")).await;
        assert!(html.contains("One app of this address is not listed") && html.contains(&format!("value=\"acme/{APP}\"")), "{html}");
        assert!(!html.contains("tone-green\">best"), "alone nothing is the best");
        for hostile in ["/compare", "/compare?app=%3Cscript%3E", "/compare?app=a/b/c&app=%00/%FF", "/compare?app"] {
            let (status, html) = get(&app, &Actor::Anonymous, hostile).await;
            assert!(status == 200 && html.contains("No app chosen") && !html.contains("<script>"), "{hostile}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kind_of_input_is_told_and_another_scenario_is_left_alone() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let acme = testing::vendor(&app, "acme").await;
        let (release, _) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        let set = made(&app, &admin).await;
        let id = set.clone();
        let change = |input: &'static str, scenario: &'static str| {
            let id = id.clone();
            app.db.write(move |conn| {
                let row = evaluation_sets::table.find(&id);
                Ok(diesel::update(row).set((evaluation_sets::input.eq(input), evaluation_sets::scenario.eq(scenario))).execute(conn)?)
            })
        };
        change("image", "belt-tear").await.unwrap();
        jobs::evaluate(&app, &release, &set).await.unwrap();
        assert!(outcomes(&app, &release).await.is_empty());
        change("image", APP).await.unwrap();
        jobs::evaluate(&app, &release, &set).await.unwrap();
        assert_eq!(outcomes(&app, &release).await, [(None, Some("input-kind-differs".into()))]);
        // A job that cannot be carried out ends as an outcome, which a later figure replaces.
        let (release_id, set_id, now) = (release.clone(), set.clone(), app.clock.now());
        app.db.write(move |conn| jobs::give_up(conn, &release_id, &set_id, now)).await.unwrap();
        assert_eq!(outcomes(&app, &release).await, [(None, Some("not-run".into()))]);
        outcome(&app, &release, &set, figure(2.0)).await;
        let (release_id, set_id) = (release.clone(), set.clone());
        app.db.write(move |conn| jobs::give_up(conn, &release_id, &set_id, now)).await.unwrap();
        assert_eq!(outcomes(&app, &release).await, [(Some(2.0), None)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_scored_once_submitted_and_few_in_a_day() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let acme = testing::vendor(&app, "acme").await;
        let (only_checked, _) = submitted(&app, &acme, "0.9.0", Channel::Stable).await;
        let id = only_checked.clone();
        app.db
            .write(move |conn| {
                diesel::delete(job_rows::table).execute(conn)?;
                Ok(diesel::update(releases::table.find(id)).set(releases::state.eq(ReleaseState::Ready.as_str())).execute(conn)?)
            })
            .await
            .unwrap();
        made(&app, &admin).await;
        service::score_release(&app, &only_checked).await.unwrap();
        testing::drain_jobs(&app).await;
        assert!(outcomes(&app, &only_checked).await.is_empty(), "nobody but its developer has looked at it");
        let mut later = Vec::new();
        for n in 0..4 {
            let (release, case) = submitted(&app, &acme, &format!("1.{n}.0"), Channel::Stable).await;
            testing::drain_jobs(&app).await;
            if outcomes(&app, &release).await.is_empty() {
                later.push((n, release, case));
            }
        }
        assert_eq!(later.iter().map(|(n, ..)| *n).collect::<Vec<_>>(), [3], "three a day");
        assert_eq!(waiting(&app, "score-release").await, 1, "the fourth is not forgotten");
        let (_, fourth, _) = later.remove(0);
        app.clock.advance(TimeDelta::hours(8));
        testing::drain_jobs(&app).await;
        assert_eq!(outcomes(&app, &fourth).await.len(), 1);
        // What a moderator has let through is scored at once.
        let (fifth, case) = submitted(&app, &acme, "1.5.0", Channel::Stable).await;
        testing::drain_jobs(&app).await;
        assert!(outcomes(&app, &fifth).await.is_empty());
        crate::testing::shop::approve(&app, &case).await;
        testing::drain_jobs(&app).await;
        assert_eq!(outcomes(&app, &fifth).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_leaves_a_reserve_on_the_disk() {
    let all = |settings: &mut Settings| {
        settings.storage.reserve_mib = u64::MAX;
        settings.storage.reserve_percent = 100;
    };
    each_backend_with(all, |app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        assert_eq!(create(&app, &admin, &form(), archive()).await.err().map(|e| e.code), Some("disk-full"));
        assert!(app.blobs.list_staged().unwrap().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_of_one_developer_share_what_is_scored_in_a_day() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        made(&app, &admin).await;
        let (acme, other) = (testing::vendor(&app, "acme").await, testing::vendor(&app, "other").await);
        let mut scored = Vec::new();
        for (who, slug, version) in [
            (&acme, APP, "1.0.0"),
            (&acme, "coke-two", "1.0.0"),
            (&acme, "coke-three", "1.0.0"),
            (&acme, "coke-four", "1.0.0"),
            (&other, APP, "1.0.0"),
            (&acme, "coke-two", "1.1.0"),
        ] {
            let (release, _) = submitted_as(&app, who, slug, version, Channel::Stable).await;
            testing::drain_jobs(&app).await;
            scored.push(!outcomes(&app, &release).await.is_empty());
        }
        assert_eq!(scored, [true, true, true, false, true, false], "three a day of each developer");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_releases_are_enqueued_a_page_at_a_time() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let acme = testing::vendor(&app, "acme").await;
        let (release, _) = submitted(&app, &acme, "1.0.0", Channel::Stable).await;
        let set = made(&app, &admin).await;
        app.db
            .write(move |conn| {
                let one = release::service::get(conn, &release)?;
                // Thirty on their way; one that failed its check and one that was refused do not count.
                for n in 0..32 {
                    let state = [ReleaseState::Failed, ReleaseState::Rejected].get(n).copied().unwrap_or(ReleaseState::InReview);
                    let (id, version) = (crate::base::ids::new("rel"), format!("2.0.{n}"));
                    let digest = Digest::of(version.as_bytes()).to_string();
                    let row = Release { id, version, digest, state, ..one.clone() };
                    diesel::insert_into(releases::table).values(&row).execute(conn)?;
                }
                diesel::delete(job_rows::table).execute(conn)?;
                Ok(())
            })
            .await
            .unwrap();
        jobs::fan_out(&app, &set, "").await.unwrap();
        assert_eq!((waiting(&app, "evaluate-release").await, waiting(&app, "evaluate-scenario").await), (20, 1));
        let payload: String = app
            .db
            .read(|conn| Ok(job_rows::table.filter(job_rows::kind.eq("evaluate-scenario")).select(job_rows::payload).first(conn)?))
            .await
            .unwrap();
        let crate::base::jobs::Job::EvaluateScenario { set_id, after } = serde_json::from_str(&payload).unwrap() else {
            panic!("{payload}")
        };
        assert_eq!(set_id, set);
        jobs::fan_out(&app, &set, &after).await.unwrap();
        assert_eq!((waiting(&app, "evaluate-release").await, waiting(&app, "evaluate-scenario").await), (31, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_kept_by_the_collection_and_goes_with_its_pin() {
    each_backend(|app| async move {
        let admin = testing::platform(&app, Role::Administrator).await;
        let (set, bytes) = (made(&app, &admin).await, archive());
        let digest = Digest::of(&bytes);
        assert_eq!(app.blobs.size(&digest).await.unwrap(), Some(bytes.len() as u64));
        app.clock.advance(TimeDelta::days(400));
        let collected = registry::collect::collect(&app, false).await.unwrap();
        assert_eq!((collected.blobs, collected.strays), (0, 0));
        // Retired it stays: what a figure was made of can be looked into.
        service::retire(&app, &admin, set.clone()).await.unwrap();
        app.clock.advance(TimeDelta::days(400));
        assert_eq!(registry::collect::collect(&app, true).await.unwrap().blobs, 0);
        app.db
            .write(move |conn| {
                diesel::delete(evaluation_sets::table.find(set)).execute(conn)?;
                Ok(diesel::delete(blob_pins::table).execute(conn)?)
            })
            .await
            .unwrap();
        let collected = registry::collect::collect(&app, false).await.unwrap();
        assert_eq!((collected.blobs, collected.bytes), (1, bytes.len() as u64));
        assert_eq!(app.blobs.size(&digest).await.unwrap(), None);
    })
    .await;
}
