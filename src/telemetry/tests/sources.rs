//! Sources of nodes on both backends: taken, changed, gone, shown; and what a hostile node says of them.

use actix_web::body::to_bytes;
use actix_web::cookie::Cookie;
use actix_web::http::Method;

use super::*;
use crate::telemetry::sources::{self, NodeSource, SourceState};

fn source(id: &str, state: &str, troubles: &[&str]) -> Value {
    json!({"id": id, "name": "3号皮带", "kind": "rtsp", "state": state, "code": (state == "failed").then_some("source-unreachable"),
        "troubles": troubles, "size": [1920, 1080], "rate": 5.0, "apps": ["acme/belt", "other"], "frames": 7})
}

/// A heartbeat with a list of sources; gives its receipt.
async fn beat(app: &App, mine: &Mine, sequence: u64, sources: &Value) -> ReportReceipt {
    let mut beat = heartbeat(app, mine, sequence, 0);
    beat["sources"] = sources.clone();
    take(app, &mine.node, vec![beat]).await.unwrap()
}

async fn kept(app: &App, mine: &Mine) -> Vec<NodeSource> {
    let id = mine.node_id.clone();
    app.db.read(move |conn| Ok(sources::of_node(conn, &id)?)).await.unwrap()
}

/// A page in a language.
async fn page(app: &App, mine: &Mine, lang: &'static str, path: &str) -> String {
    let answer = testing::answer(app, &mine.shop.operator, Method::GET, path, "", Some(Cookie::new("lang", lang))).await;
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    String::from_utf8(to_bytes(answer.into_body()).await.unwrap_or_default().to_vec()).unwrap()
}

#[actix_web::test]
async fn sources_are_kept_as_they_are_and_go_with_the_heartbeat_that_does_not_name_them() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let began = app.clock.now();
        let list = json!([source("belt-3", "running", &[]), source("gate", "connecting", &[])]);
        assert_eq!(beat(&app, &mine, 1, &list).await.refused, 0);
        let first = kept(&app, &mine).await;
        assert_eq!(first.iter().map(|source| source.source_id.as_str()).collect::<Vec<_>>(), ["belt-3", "gate"]);
        let belt = &first[0];
        assert_eq!((belt.name.as_str(), belt.kind.as_str(), belt.state, &belt.code), ("3号皮带", "rtsp", SourceState::Running, &None));
        assert_eq!((belt.width, belt.height, belt.rate), (Some(1920), Some(1080), 5.0));
        assert_eq!((belt.apps().collect::<Vec<_>>(), belt.since, belt.lost_since), (vec!["acme/belt", "other"], began, None));

        // The same again writes nothing, whatever the count of frames.
        app.clock.advance(TimeDelta::seconds(15));
        let (mut again, node, now) = (list.clone(), mine.node_id.clone(), app.clock.now());
        again[0]["frames"] = json!(99);
        let text = again.to_string();
        let changed = app.db.write(move |conn| Ok(sources::keep(conn, &node, &text, now)?)).await.unwrap();
        assert_eq!((changed.changed, changed.refused), (false, 0));
        assert_eq!(kept(&app, &mine).await, first);

        // One fails, and the other is black: since then nothing is seen, also while what is wrong changes, and until a picture comes.
        let lost = app.clock.now();
        beat(&app, &mine, 2, &json!([source("belt-3", "failed", &[]), source("gate", "running", &["black", "blurred"])])).await;
        app.clock.advance(TimeDelta::seconds(15));
        beat(&app, &mine, 3, &json!([source("belt-3", "connecting", &[]), source("gate", "running", &["frozen"])])).await;
        let now = kept(&app, &mine).await;
        assert_eq!(now.iter().map(|source| source.lost_since).collect::<Vec<_>>(), [Some(lost); 2]);
        assert!(now.iter().all(|source| source.since == app.clock.now()), "{now:?}");
        beat(&app, &mine, 4, &json!([source("belt-3", "running", &["dark"]), source("gate", "running", &[])])).await;
        assert!(kept(&app, &mine).await.iter().all(|source| source.lost_since.is_none()));

        beat(&app, &mine, 5, &json!([source("gate", "running", &[])])).await;
        assert_eq!(kept(&app, &mine).await.len(), 1);
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 6, 0)]).await.unwrap();
        assert!(kept(&app, &mine).await.is_empty(), "a heartbeat without sources is one of a node that has none");

        beat(&app, &mine, 7, &list).await;
        fleet::remove_node(&app, &mine.shop.operator, &mine.node_id).await.unwrap();
        upkeep::prune(&app).await.unwrap();
        assert!(kept(&app, &mine).await.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn a_hostile_list_is_bounded_and_the_heartbeat_counts() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let mut sequence = 0;
        let mut told = async |list: Value| {
            sequence += 1;
            let receipt = beat(&app, &mine, sequence, &list).await;
            assert_eq!(receipt.accepted, 1, "the heartbeat counts");
            (receipt.refused, kept(&app, &mine).await)
        };
        let with = |key: &str, value: Value| {
            let mut source = source("a", "running", &[]);
            source[key] = value;
            source
        };
        let right = source("right", "running", &[]);
        for wrong in [
            json!(5),
            json!("x"),
            json!(null),
            json!([]),
            json!({}),
            with("id", json!("")),
            with("id", json!("A b")),
            with("id", json!("a:b")),
            with("id", json!("a".repeat(61))),
            with("id", json!(7)),
            with("kind", json!("<script>")),
            with("state", json!("gone")),
            with("troubles", json!("black")),
            with("size", json!([1])),
            with("size", json!([-1, 5])),
            with("rate", json!("often")),
            with("apps", json!([1])),
            with("name", json!({"x": 1})),
        ] {
            let (refused, rows) = told(json!([wrong, right])).await;
            assert_eq!((refused, rows.len()), (1, 1), "{wrong}");
        }
        // What is no list changes nothing.
        for wrong in [json!(5), json!("x"), json!({"id": "a"}), json!(true), json!("x".repeat(300_000))] {
            let (refused, rows) = told(wrong.clone()).await;
            assert_eq!((refused, rows.len()), (1, 1), "{}", wrong.to_string().get(..1).unwrap_or_default());
        }
        // Texts are cut, words that are none are left out.
        let mut long = source("long", "failed", &["black", "NOT A WORD", "x"]);
        (long["name"], long["code"]) = (json!(format!("\u{7}{}", "皮".repeat(5_000))), json!("<b>"));
        long["apps"] = json!(vec!["a\nb".repeat(500); 100]);
        (long["rate"], long["size"]) = (json!(1e300), json!([u32::MAX, 1]));
        let (refused, rows) = told(json!([long])).await;
        let row = &rows[0];
        assert_eq!((refused, row.name.chars().count(), &row.code, row.troubles.as_str()), (0, 100, &None, "black x"));
        assert_eq!((row.rate, row.width), (1_000.0, Some(i64::from(u32::MAX))));
        assert!(row.apps().count() == 32 && row.apps().all(|app| app.len() == 100), "{row:?}");
        let (_, rows) = told(json!([with("name", json!("\u{7} "))])).await;
        assert_eq!(rows[0].name, "a", "one without a name is called by its id");
        // Of too many the first are kept, and of two with one id the last.
        let many: Vec<Value> = (0..1_000).map(|n| json!({"id": format!("s{n}"), "kind": "file", "state": "running"})).collect();
        let (refused, rows) = told(json!(many)).await;
        assert_eq!((refused, rows.len()), (936, 64));
        let (_, rows) = told(json!([source("a", "running", &[]), source("a", "failed", &[])])).await;
        assert_eq!((rows.len(), rows[0].state), (1, SourceState::Failed));
        assert!(told(json!(null)).await.1.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn a_nodes_page_and_programs_show_its_sources() {
    each_backend(|app| async move {
        let mine = mine(&app).await;
        let path = format!("/mine/nodes/{}", mine.node_id);
        take(&app, &mine.node, vec![heartbeat(&app, &mine, 1, 0)]).await.unwrap();
        assert!(page(&app, &mine, "en", &path).await.contains("No cameras yet"));
        assert!(page(&app, &mine, "zh-CN", &path).await.contains("尚无摄像机"));

        let mut evil = source("gate", "running", &["covered", "later-than-this"]);
        (evil["name"], evil["kind"], evil["apps"]) = (json!("<script>alert(1)</script>"), json!("webcam"), json!(["<i>x</i>"]));
        let mut unknown = source("later", "failed", &[]);
        unknown["code"] = json!("later-than-this");
        let fine = source("yard", "running", &[]);
        beat(&app, &mine, 2, &json!([source("belt-3", "failed", &[]), evil, unknown, fine])).await;
        for (lang, words) in [
            (
                "en",
                ["Camera (RTSP)", "The source does not answer.", "Something covers the lens", "Doubtful picture", "3 cameras with trouble"],
            ),
            ("zh-CN", ["摄像机（RTSP）", "数据源无应答", "镜头或大部分画面被遮挡", "画面异常", "3 路摄像机异常"]),
        ] {
            let [one, live, list] = [path.clone(), format!("{path}/fragment"), "/mine/nodes".to_owned()];
            let (one, live, list) =
                (page(&app, &mine, lang, &one).await, page(&app, &mine, lang, &live).await, page(&app, &mine, lang, &list).await);
            for body in [&one, &live] {
                assert!(words.iter().take(4).all(|word| body.contains(word)), "{lang}: {body}");
                assert!(body.contains("3号皮带") && body.contains("acme/belt, other") && body.contains("webcam"), "{body}");
                assert!(!body.contains("<script>alert") && !body.contains("<i>x"), "{body}");
            }
            assert!(list.contains(words[4]), "{lang}: {list}");
        }
        // Of a node that is not heard from they are its last word.
        assert!(!page(&app, &mine, "en", &path).await.contains("its last word"));
        app.clock.advance(TimeDelta::minutes(5));
        assert!(page(&app, &mine, "en", &path).await.contains("This is its last word."));

        let (status, told) = testing::page(&app, &mine.shop.operator, Method::GET, &format!("/api/v1/nodes/{}", mine.node_id), "").await;
        let told: Value = serde_json::from_str(&told).unwrap();
        let belt = &told["sources"][0];
        assert_eq!((status, told["sources"].as_array().map(Vec::len)), (200, Some(4)));
        assert_eq!(
            (&belt["id"], &belt["state"], &belt["code"]),
            (&json!("belt-3"), &json!("failed"), &json!("source-unreachable")),
            "{belt}"
        );
        assert_eq!(
            (&belt["size"], &belt["apps"], &told["sources"][1]["troubles"]),
            (&json!([1920, 1080]), &json!(["acme/belt", "other"]), &json!(["covered", "later-than-this"]))
        );
        let other = testing::operator(&app, "other").await;
        assert_eq!(testing::page(&app, &other, Method::GET, &format!("/api/v1/nodes/{}", mine.node_id), "").await.0, 404);
    })
    .await;
}
