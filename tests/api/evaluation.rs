//! A hidden test set over HTTP, and a demo app that is checked and scored on it by the real engine in the real child.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use pithead::account::{service as account, tokens};
use pithead::base::db::schema::{evaluation_scores, releases};
use pithead::moderation::submission;
use pithead::release::model::{Channel, ReleaseState};
use serde_json::Value;

use crate::server::{PASSWORD, TestServer};

/// A folder of `demo/evaluation` as a tar.
fn archive(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/evaluation").join(name);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", folder).unwrap();
    tar.into_inner().unwrap()
}

struct Administrator {
    client: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
}

impl Administrator {
    async fn sign_in(server: &TestServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (email, _) = server.organization("platform", "platform").await;
        let session = account::sign_in(&server.app, &email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
        let mut admin = Self {
            client: reqwest::Client::new(),
            base: server.base.clone(),
            cookie: format!("__Host-session={session}"),
            csrf: String::new(),
        };
        let html = admin.get("/admin/evaluation/new").await;
        let (_, after) = html.split_once("name=\"_csrf\" value=\"").unwrap();
        after.split('"').next().unwrap().clone_into(&mut admin.csrf);
        admin
    }

    async fn get(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.base)).header("cookie", &self.cookie).header("accept-language", "en");
        request.send().await.unwrap().text().await.unwrap()
    }

    async fn send(&self, query: &str, body: Vec<u8>, csrf: &str) -> (u16, Value) {
        let request = self.client.post(format!("{}/admin/evaluation/new?{query}", self.base)).header("cookie", &self.cookie);
        let request = request.header("x-csrf-token", csrf).header("content-type", "application/x-tar").header("accept-language", "en");
        let response = request.body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_app_is_scored_on_a_set_that_came_over_http() {
    let server = TestServer::start().await;
    let admin = Administrator::sign_in(&server).await;
    let query = "scenario=coke-quality&name_zh=%E7%84%A6%E7%82%AD&name_en=Coke+blind+test&metric=mae";
    let (status, told) = admin.send(query, archive("coke-quality"), "wrong").await;
    assert_eq!((status, told["code"].as_str()), (403, Some("csrf")));
    let (status, told) = admin.send("scenario=coke-quality", archive("coke-quality"), &admin.csrf).await;
    assert_eq!((status, told["errors"][0]["field"].as_str()), (422, Some("name_zh")));
    let (status, told) = admin.send(query, archive("belt-foreign-object"), &admin.csrf).await;
    assert_eq!((status, told["faults"][0]["code"].as_str()), (422, Some("expect-metric")), "{told}");
    assert!(told["faults"][0]["message"].as_str().unwrap().contains("another kind"), "{told}");
    let (status, told) = admin.send(query, archive("coke-quality"), &admin.csrf).await;
    assert_eq!(status, 200, "{told}");
    let set = told["location"].as_str().unwrap().to_owned();

    let (email, organization) = server.organization("vendor", "acme").await;
    let session = account::sign_in(&server.app, &email, PASSWORD.into(), "127.0.0.1", "test").await.unwrap();
    let vendor = account::authenticate_session(&server.app, &session).await.unwrap();
    assert_eq!(vendor.organization_id(), Some(organization.as_str()));
    let token = tokens::create(&server.app, &vendor, "build", &["publish"], 1).await.unwrap();
    let (base, app) = (server.base.clone(), Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps/coke-quality"));
    let pushed = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_pithead")).arg("push").arg(app).args(["--server", &base, "--token", &token]).output().unwrap()
    });
    let pushed = pushed.await.unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));

    let begin = Instant::now();
    let release = loop {
        let ready = releases::state.eq(ReleaseState::Ready.as_str());
        let found =
            server.app.db.read(move |conn| Ok(releases::table.filter(ready).select(releases::id).first::<String>(conn).optional()?));
        if let Some(id) = found.await.unwrap() {
            break id;
        }
        assert!(begin.elapsed() < Duration::from_secs(90), "not checked in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // A release is scored once it is submitted.
    submission::submit(&server.app, &vendor, &release, Channel::Stable).await.unwrap();
    let (release, value) = loop {
        type Row = (String, Option<f64>, Option<String>, i64, i64, String);
        let rows: Vec<Row> = server
            .app
            .db
            .read(|conn| {
                use evaluation_scores::{engine, failures, reason, release_id, samples, value};
                Ok(evaluation_scores::table.select((release_id, value, reason, samples, failures, engine)).load(conn)?)
            })
            .await
            .unwrap();
        if let Some((release, value, reason, samples, failures, engine)) = rows.into_iter().next() {
            assert_eq!((samples, failures, reason), (60, 0, None));
            assert!(engine.starts_with("onnxruntime "), "{engine}");
            break (release, value.unwrap());
        }
        assert!(begin.elapsed() < Duration::from_secs(90), "not scored in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // As a program in Python works it out (1.4931955, crates/inference/tests/evaluate.rs), and as it is shown.
    assert!((value - 1.493).abs() < 1e-9, "{value}");
    let listing = admin.get(&format!("/apps/acme/coke-quality?preview={release}")).await;
    assert!(listing.contains("Platform test set: Coke blind test · 60 samples") && listing.contains("MAE 1.493 %"), "{listing}");
    assert!(admin.get(&set).await.contains("1.493 %"));
    let left: Vec<_> = std::fs::read_dir(server.app.settings.data_dir.0.join("checks")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    server.stop().await;
}
