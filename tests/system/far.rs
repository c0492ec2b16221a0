//! What a decision on the platform does on machines far away, with real agents: a recall, and a node that is taken away.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use pithead::base::db::schema::{apps, deployments, nodes, releases};
use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::certificates;
use crate::demo::Demo;

/// Runs on the first two nodes.
const RECALLED: &str = "belt-foreign-object";
/// Runs on the second node.
const BESIDE: &str = "smoke-fire";
/// Time in which nodes must have heard of a recall. A poll is held back until something changes, so it is a second or two.
const HEARD: Duration = Duration::from_mins(1);

/// What a node says of an app, where it runs it.
async fn told(client: &Client, node: &str, app: &str) -> Option<Value> {
    let listed: Value = client.get(format!("{node}/v1/apps")).send().await.ok()?.json().await.ok()?;
    listed["apps"].as_array()?.iter().find(|one| one["name"] == app).cloned()
}

/// Whether an app answers a picture.
async fn answers(client: &Client, node: &str, app: &str) -> bool {
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(app).join("golden/1.png");
    let call = client.post(format!("{node}/v1/apps/{app}/predict")).body(std::fs::read(sample).unwrap());
    call.send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

/// Waits until something holds; how long it took.
async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < limit, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hear_of_a_recall_within_a_minute_and_a_removed_node_runs_on() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::start();
    let client = Client::builder().no_proxy().build().unwrap();
    let holders = &demo.nodes[..2];
    for node in holders {
        until("the app", Duration::from_mins(1), async || answers(&client, node, RECALLED).await).await;
        assert_eq!(told(&client, node, RECALLED).await.unwrap()["recalled"], Value::Null);
    }

    let release: String = demo
        .read(|conn| {
            let of_app = releases::table.inner_join(apps::table.on(apps::id.eq(releases::app_id)));
            Ok(of_app.filter(apps::slug.eq(RECALLED)).select(releases::id).first(conn)?)
        })
        .await;
    let moderator = demo.sign_in("moderator").await;
    let reason = "misses bolts under wet coal";
    let begin = Instant::now();
    let recalled = moderator.form(&format!("/admin/stops/recall-release/{release}"), &[("reason", reason)]).await;
    assert_eq!(recalled.status(), 303, "{}", recalled.text().await.unwrap());
    for node in holders {
        until("the recall at the node", HEARD, async || told(&client, node, RECALLED).await.is_some_and(|app| app["recalled"] == reason))
            .await;
        assert!(begin.elapsed() < HEARD, "{:?}", begin.elapsed());
        println!("{node} says so {:?} after the decision", begin.elapsed());
        let app = told(&client, node, RECALLED).await.unwrap();
        assert!(app["ready"] == true && answers(&client, node, RECALLED).await, "it runs on: {app}");
    }

    // A node that is taken away hears of nothing more: its page and its machine both say so, and what runs there runs on.
    let node = &demo.nodes[1];
    let known = certificates::known(&demo.folder.join("edge-2"));
    let owner = demo.sign_in("operator-owner").await;
    let page = format!("/mine/nodes/{}", known.node_id);
    assert_eq!(owner.form(&format!("{page}/remove"), &[]).await.status(), 303);
    let html = owner.get(&page).await.text().await.unwrap();
    assert!(html.contains("its apps run on until their licences end") && html.contains("delete its data folder"), "{html}");
    let status = async || client.get(format!("{node}/")).send().await.unwrap().text().await.unwrap();
    until("the machine's own page", HEARD, async || status().await.contains("平台不再接受该节点")).await;
    // Long enough for some polls more, each of them refused.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for app in [RECALLED, BESIDE] {
        assert!(answers(&client, node, app).await && told(&client, node, app).await.is_some(), "{app} runs on");
    }
    let id = known.node_id.clone();
    let (state, wanted, documents) = demo
        .read(move |conn| {
            use pithead::base::db::schema::node_documents::dsl;
            let wanted: i64 =
                deployments::table.filter(deployments::node_id.eq(&id).and(deployments::wanted.eq(true))).count().get_result(conn)?;
            let documents: i64 = dsl::node_documents.filter(dsl::node_id.eq(&id)).count().get_result(conn)?;
            Ok((nodes::table.find(&id).select(nodes::state).first::<String>(conn)?, wanted, documents))
        })
        .await;
    assert_eq!((state.as_str(), wanted, documents), ("removed", 0, 0), "nothing is kept for it, not even an empty desired state");
    assert!(answers(&client, &demo.nodes[0], RECALLED).await, "the other node goes on");
}
