//! The demo's hidden test sets: listings show their figures, and nobody gets at what is in them.

use std::path::Path;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use pithead::base::db::schema::evaluation_sets;

use crate::demo::{Demo, Reader};

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_the_demo_show_their_figures_and_nothing_else_of_the_sets() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::shared();
    let nobody = Reader::nobody(&demo.base).await;
    let listings = [
        ("/apps/heitan-vision/belt-foreign-object", "Platform test set: Belt blind test · 16 samples", "mAP@0.5 0.944"),
        ("/apps/taihang-ai/coke-quality", "Platform test set: Coke strength blind test · 60 samples", "MAE 1.493 %"),
    ];
    for (path, set, figure) in listings {
        // Scoring is a job: it may still be under way when the demo says that it is ready.
        let begin = Instant::now();
        loop {
            let html = nobody.get(path).await.text().await.unwrap();
            if html.contains(set) && html.contains(figure) {
                break;
            }
            assert!(begin.elapsed() < Duration::from_mins(1), "{path}: {html}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    let digests: Vec<String> = demo.read(|conn| Ok(evaluation_sets::table.select(evaluation_sets::digest).load(conn)?)).await;
    assert_eq!(digests.len(), 2);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for role in ["vendor-owner", "moderator", "administrator", "operator-owner"] {
        let (email, _, token) = demo.person(role);
        for digest in &digests {
            let blob = format!("{}/v2/heitan-vision/belt-foreign-object/blobs/{digest}", demo.base);
            let status = client.get(blob).basic_auth(&email, Some(&token)).send().await.unwrap().status().as_u16();
            assert!(matches!(status, 401 | 403 | 404), "{role}: {status}");
        }
    }
    // An input's bytes by their own digest, which a vendor might guess of a public data set: not there either.
    let input = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/evaluation/belt-foreign-object/01.jpg")).unwrap();
    let digest = app_package::digest::Digest::of(&input);
    let (email, _, token) = demo.person("vendor-owner");
    let blob = format!("{}/v2/heitan-vision/belt-foreign-object/blobs/{digest}", demo.base);
    assert_eq!(client.get(blob).basic_auth(&email, Some(&token)).send().await.unwrap().status(), 404);
}
