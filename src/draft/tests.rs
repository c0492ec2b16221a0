//! Drafts on both backends. What the children say is put in their place here; with the real ones a draft is in `tests/browser/drafts.rs`.

use actix_web::http::Method;
use app_package::digest::Digest;
use chrono::TimeDelta;
use inference::families::propose::Known;
use inference::families::write::Said;
use inference::worker::{Facts, FormAnswers, Reading};

use super::model::{Draft, DraftFile, DraftState, Results, sorted};
use super::{jobs, service, store};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Json;
use crate::base::error::Kind;
use crate::base::jobs::{Lane, count_open};
use crate::registry;
use crate::testing::{self, each_backend, page};

fn file(path: &str, size: u64) -> DraftFile {
    DraftFile { path: path.into(), size, digest: Digest::of(path.as_bytes()).to_string() }
}

/// Uploads files whose bytes are their names.
async fn uploaded(app: &App, vendor: &Actor, slug: &str, paths: &[&str]) -> Vec<DraftFile> {
    let repository = testing::repository(app, vendor, &format!("{slug}/new.app")).await;
    let mut files = Vec::new();
    for path in paths {
        registry::service::store_blob_small(app, &repository.id, path.as_bytes()).await.unwrap();
        files.push(file(path, path.len() as u64));
    }
    files
}

/// Puts what a child would say of `a.onnx` and `1.csv` in its place.
async fn as_read(app: &App, vendor: &Actor, id: &str) -> Draft {
    let draft = service::get(app, vendor, id).await.unwrap();
    let yaml = String::from_utf8(testing::demo_app("coke-quality")["app.yaml"].clone()).unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let reading = Reading {
        yaml,
        files: vec![pair("model.onnx", "a.onnx")],
        texts: vec![pair("alphabet.txt", "a\nb\n")],
        samples: vec![("golden/1.csv".into(), "golden/1.json".into(), "1.csv".into())],
        score: Some(0.25),
        runs: "sha256:now".into(),
        ..Reading::default()
    };
    let facts = Facts { models: vec![Known { file: "a.onnx".into(), ..Known::default() }], ..Facts::default() };
    let read = Draft { state: DraftState::Read, facts: Json::new(Some(facts)), reading: Json::new(reading), ..draft };
    put(app, &read).await;
    service::get(app, vendor, id).await.unwrap()
}

async fn put(app: &App, draft: &Draft) {
    let draft = draft.clone();
    assert_eq!(app.db.write(move |conn| Ok(store::update(conn, &draft)?)).await.unwrap(), 1);
}

#[test]
fn files_are_told_apart_and_bounded() {
    let code = |files: &[DraftFile]| sorted(files).unwrap_err().code;
    let found =
        sorted(&[file("net/A.ONNX", 9), file("net/a.data", 5 << 30), file("1.JPG", 1), file("r.csv", 1), file("names.txt", 4)]).unwrap();
    assert_eq!(
        (found.models, found.samples, found.labels),
        (vec!["net/A.ONNX".into()], vec!["1.JPG".into(), "r.csv".into()], Some("names.txt".into()))
    );
    let many = |n: usize, end: &str| (0..n).map(|at| file(&format!("{at}.{end}"), 1)).collect::<Vec<_>>();
    assert_eq!(code(&many(7, "onnx")), "draft-models");
    assert_eq!(code(&many(3, "jpg")), "draft-no-model");
    assert_eq!(code(&[many(1, "onnx"), many(51, "png")].concat()), "draft-samples");
    assert_eq!(code(&many(101, "bin")), "draft-files");
    assert_eq!(code(&[file("a.onnx", 3 << 30)]), "draft-file-too-large");
    assert_eq!(code(&[file("a.onnx", 1), file("big.png", 30_000_000)]), "draft-file-too-large");
    assert_eq!(code(&[file("a.onnx", 1), file("w.bin", 8 << 30)]), "draft-too-large");
    assert_eq!(code(&[file("a.onnx", 1), file("a.txt", 1), file("b.txt", 1)]), "draft-labels");
    assert_eq!(sorted(&[file("a.onnx", u64::MAX), file("b.onnx", u64::MAX)]).unwrap_err().kind, Kind::TooLarge);
    for path in ["../a.onnx", "/a.onnx", "a//b.onnx", "", "a\0.onnx", &format!("{}.onnx", "x/".repeat(70))] {
        assert_eq!(code(&[file(path, 1)]), "draft-path", "{path}");
    }
    assert_eq!(code(&[file("a.onnx", 1), file("a.onnx", 1)]), "draft-path");
}

#[tokio::test]
async fn a_draft_is_its_organisations_and_of_uploaded_files_only() {
    each_backend(|app| async move {
        let (acme, other) = (testing::vendor(&app, "acme").await, testing::vendor(&app, "other").await);
        let files = uploaded(&app, &acme, "acme", &["a.onnx", "1.csv"]).await;
        // What somebody else has uploaded is not there, and a size that is not the file's is told.
        assert_eq!(service::begin(&app, &other, files.clone(), "en").await.unwrap_err().code, "upload-blob-missing");
        let lied = files.iter().cloned().map(|file| DraftFile { size: 1, ..file }).collect();
        assert_eq!(service::begin(&app, &acme, lied, "en").await.unwrap_err().code, "upload-size");
        assert_eq!(service::begin(&app, &acme, vec![file("x.bin", 1)], "en").await.unwrap_err().code, "draft-no-model");
        let mine = testing::operator(&app, "mine").await;
        assert_eq!(service::begin(&app, &mine, files.clone(), "en").await.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(app.db.read(|conn| count_open(conn, Lane::Drafts)).await.unwrap(), 0);

        let id = service::begin(&app, &acme, files.clone(), "zh").await.unwrap();
        assert_eq!(app.db.read(|conn| count_open(conn, Lane::Drafts)).await.unwrap(), 1);
        let draft = service::get(&app, &acme, &id).await.unwrap();
        assert_eq!((draft.form.name.as_str(), draft.form.lang.as_str(), draft.state), ("a", "zh", DraftState::Reading));
        assert_eq!(service::list(&app, &acme).await.unwrap().len(), 1);
        assert!(service::list(&app, &other).await.unwrap().is_empty());
        for (path, method) in [
            ("", Method::GET),
            ("/archive", Method::GET),
            ("", Method::POST),
            ("/answer", Method::POST),
            ("/upload", Method::POST),
            ("/remove", Method::POST),
        ] {
            let (status, body) = page(&app, &other, method, &format!("/vendor/drafts/{id}{path}"), "name=x&revision=0").await;
            assert_eq!(status, 404, "{path}: {body}");
        }
        // It is being read: nothing can be said yet.
        let refused = service::save(&app, &acme, &id, 0, FormAnswers { name: "b".into(), ..FormAnswers::default() }).await;
        assert_eq!(refused.unwrap_err().code, "draft-busy");
        assert_eq!(service::answer(&app, &acme, &id).await.unwrap_err().code, "draft-busy");
        let (status, body) = page(&app, &acme, Method::GET, &format!("/vendor/drafts/{id}"), "").await;
        assert!(status == 200 && body.contains("being read") && !body.contains("draft-form"), "{body}");

        service::remove(&app, &acme, &id).await.unwrap();
        assert_eq!(service::remove(&app, &acme, &id).await.unwrap_err().code, "draft");
        for n in 0..20 {
            service::begin(&app, &acme, files.clone(), "en").await.unwrap_or_else(|e| panic!("{n}: {e:?}"));
        }
        assert_eq!(service::begin(&app, &acme, files, "en").await.unwrap_err().code, "too-many-open-drafts");
    })
    .await;
}

#[tokio::test]
async fn answers_of_another_window_are_not_written_over_unseen() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let files = uploaded(&app, &acme, "acme", &["a.onnx", "1.csv"]).await;
        let id = service::begin(&app, &acme, files, "en").await.unwrap();
        let draft = as_read(&app, &acme, &id).await;
        let titled = |name: &str| {
            let mut form = draft.form.clone().into_inner();
            form.said = Said { license: name.into(), ..Said::default() };
            form
        };
        // The same again changes nothing, whatever was seen.
        service::save(&app, &acme, &id, 0, draft.form.clone().into_inner()).await.unwrap();
        assert_eq!(service::save(&app, &acme, &id, draft.revision - 1, titled("MIT")).await.unwrap_err().code, "draft-changed");
        assert_eq!(
            service::save(&app, &acme, &id, draft.revision, FormAnswers { name: "A b".into(), ..titled("MIT") }).await.unwrap_err().fields
                [0]
            .code,
            "draft-name"
        );
        let long = FormAnswers { labels: vec!["x".repeat(70_000)], ..titled("MIT") };
        assert_eq!(service::save(&app, &acme, &id, draft.revision, long).await.unwrap_err().code, "draft-form-too-long");

        // What was typed is shown, with what is wrong, and can be stored by another press.
        let typed = format!("revision={}&name=a&license=MIT&score=2&title_en=%3Cb%3EGas", draft.revision);
        let (status, body) = page(&app, &acme, Method::POST, &format!("/vendor/drafts/{id}"), &typed).await;
        assert!(
            status == 422 && body.contains("A number from 0 to 1") && body.contains("&#60;b&#62;Gas") && body.contains("value=\"MIT\""),
            "{body}"
        );
        let stale = "revision=0&name=a&license=MIT";
        let (status, body) = page(&app, &acme, Method::POST, &format!("/vendor/drafts/{id}"), stale).await;
        assert!(
            status == 409 && body.contains("another window") && body.contains(&format!("name=\"revision\" value=\"{}\"", draft.revision)),
            "{status} {body}"
        );
        for wrong in ["scenario=none", "alarm_level=loud", "size=0x0"] {
            let typed = format!("revision={}&name=a&{wrong}", draft.revision);
            assert_eq!(page(&app, &acme, Method::POST, &format!("/vendor/drafts/{id}"), &typed).await.0, 422, "{wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_folder_is_fetched_and_becomes_a_release_when_its_results_are_its_own() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let files = uploaded(&app, &acme, "acme", &["a.onnx", "1.csv", "golden/1.json"]).await;
        let id = service::begin(&app, &acme, files[..2].to_vec(), "en").await.unwrap();
        let draft = as_read(&app, &acme, &id).await;
        let entries = |bytes: &[u8]| {
            let mut tar = tar::Archive::new(bytes);
            tar.entries()
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    (entry.path().unwrap().display().to_string(), entry.size())
                })
                .collect::<Vec<_>>()
        };
        let fetch = async || {
            let answer = testing::answer(&app, &acme, Method::GET, &format!("/vendor/drafts/{id}/archive"), "", None).await;
            assert_eq!(answer.status(), 200);
            actix_web::body::to_bytes(answer.into_body()).await.unwrap_or_default()
        };
        let bytes = fetch().await;
        let paths: Vec<String> = entries(&bytes).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a/app.yaml", "a/model.onnx", "a/golden/1.csv", "a/alphabet.txt"]);
        assert_eq!(bytes.len() % 512, 0);
        // Without results of its own, no release.
        assert_eq!(service::upload(&app, &acme, &id).await.unwrap_err().code, "draft-unanswered");
        service::answer(&app, &acme, &id).await.unwrap();
        assert_eq!(service::answer(&app, &acme, &id).await.unwrap_err().code, "draft-busy");
        let waiting = service::get(&app, &acme, &id).await.unwrap();
        assert_eq!(waiting.state, DraftState::Answering);
        let results = Results { runs: "sha256:before".into(), expected: 1, files: vec![files[2].clone()], ..Results::default() };
        put(&app, &Draft { state: DraftState::Read, results: Json::new(results.clone()), ..waiting }).await;
        assert_eq!(service::upload(&app, &acme, &id).await.unwrap_err().code, "draft-unanswered");
        let (_, body) = page(&app, &acme, Method::GET, &format!("/vendor/drafts/{id}"), "").await;
        assert!(body.contains("before the last change"), "{body}");
        let read = service::get(&app, &acme, &id).await.unwrap();
        put(&app, &Draft { results: Json::new(Results { runs: draft.reading.runs.clone(), ..results }), ..read }).await;
        assert!(entries(&fetch().await).iter().any(|(path, size)| path == "a/golden/1.json" && *size == 13));
        // The folder is looked at as any upload: this app.yaml names files that are not in it.
        let faults = service::upload(&app, &acme, &id).await.unwrap().unwrap_err();
        assert!(!faults.is_empty());
        // A path that leaves the folder, or is there twice, is refused, whoever said it.
        for path in ["../x", "app.yaml", "/etc/x"] {
            let read = service::get(&app, &acme, &id).await.unwrap();
            let mut reading = read.reading.clone().into_inner();
            reading.texts = vec![(path.to_owned(), String::new())];
            put(&app, &Draft { reading: Json::new(reading), ..read }).await;
            assert_eq!(page(&app, &acme, Method::GET, &format!("/vendor/drafts/{id}/archive"), "").await.0, 409, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_draft_ends_before_its_files_do_and_a_lost_job_is_told() {
    each_backend(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let files = uploaded(&app, &acme, "acme", &["a.onnx", "1.csv"]).await;
        let id = service::begin(&app, &acme, files, "en").await.unwrap();
        let (draft_id, now) = (id.clone(), app.clock.now());
        app.db.write(move |conn| jobs::give_up_reading(conn, &draft_id, now)).await.unwrap();
        let (status, body) = page(&app, &acme, Method::GET, &format!("/vendor/drafts/{id}"), "").await;
        assert!(status == 200 && body.contains("could not run the check"), "{body}");
        // Its job finds nothing to do any more.
        jobs::read(&app, &id).await.unwrap();
        assert!(service::get(&app, &acme, &id).await.unwrap().facts.is_none());
        as_read(&app, &acme, &id).await;
        service::answer(&app, &acme, &id).await.unwrap();
        let draft_id = id.clone();
        app.db.write(move |conn| jobs::give_up_answering(conn, &draft_id, now)).await.unwrap();
        let draft = service::get(&app, &acme, &id).await.unwrap();
        assert_eq!((draft.state, draft.results.fault.as_ref().map(|(code, _)| code.as_str())), (DraftState::Read, Some("check-not-run")));

        let grace = TimeDelta::hours(app.settings.registry.grace_hours);
        assert!(draft.expires_at < now.plus(grace));
        app.clock.advance(grace);
        assert_eq!(service::get(&app, &acme, &id).await.unwrap_err().code, "draft");
        assert!(service::list(&app, &acme).await.unwrap().is_empty());
        assert_eq!((service::prune(&app).await.unwrap(), service::prune(&app).await.unwrap()), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn of_many_answers_at_once_one_is_stored() {
    testing::each_backend_racing(|app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let files = uploaded(&app, &acme, "acme", &["a.onnx", "1.csv"]).await;
        let id = service::begin(&app, &acme, files, "en").await.unwrap();
        let draft = as_read(&app, &acme, &id).await;
        let stored = testing::race(|n| {
            let (app, mut draft) = (app.clone(), draft.clone());
            draft.form = Json::new(FormAnswers { name: format!("a-{n}"), ..FormAnswers::default() });
            async move { app.db.write(move |conn| Ok(store::update(conn, &draft)?)).await.unwrap() }
        });
        assert_eq!(stored.await.into_iter().sum::<usize>(), 1);
        assert_eq!(service::get(&app, &acme, &id).await.unwrap().revision, draft.revision + 1);
    })
    .await;
}
