//! The alarm board: an alarm comes by itself, is answered by a key, and the wall shows it to a screen that can do nothing else.

use std::time::Duration;

use anyhow::Result;
use fantoccini::Locator;
use pithead::account::{service as account, tokens};
use pithead::base::auth::Actor;
use pithead::{fleet, telemetry};
use serde_json::json;

use crate::browser::Browser;
use crate::open_pages::sign_in;
use crate::server::{PASSWORD, TestServer};

/// Sends a key to the page, as somebody at the desk does.
async fn key(browser: &Browser, key: &str) -> Result<()> {
    browser.client.find(Locator::Css("body")).await?.send_keys(key).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_calls_at_the_desk_and_is_answered_by_a_key() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (email, _) = server.organization("operator", "north").await;
    let cookie = account::sign_in(&server.app, &email, PASSWORD.into(), "127.0.0.1", "test").await?;
    let owner = account::authenticate_session(&server.app, &cookie).await?;
    let site = fleet::service::create_site(&server.app, &owner, "Shaft 1").await?;
    let code = fleet::service::create_node(&server.app, &owner, &site, "Winder").await?.code;
    let request = rcgen::CertificateParams::default().serialize_request(&rcgen::KeyPair::generate()?)?.pem()?;
    let enrolled = fleet::service::enroll(&server.app, code, request, "1.0.0".into()).await?;
    let node = Actor::Node { node_id: enrolled.node_id, organization_id: enrolled.organization_id };

    let browser = Browser::open(&server.base, "en").await?;
    sign_in(&browser, &email).await?;
    browser.goto("/duty/board").await?;
    browser.wait_text("Nothing calls").await?;

    // It calls once, and is silent from then on: nobody touches the page.
    let figures = json!({"cpu_percent": 1.0, "memory_used_bytes": 1, "memory_total_bytes": 2, "trouble": null});
    let beat = json!({"reports": [{"sequence": 1, "at": server.app.clock.now().utc(), "kind": "heartbeat", "node": figures, "apps": []}]});
    telemetry::taking::take(&server.app, &node, serde_json::from_str(&beat.to_string())?).await?;
    browser.wait("the alarm", Duration::from_secs(45), async |b| Ok(b.text().await?.contains("Node lost"))).await?;
    let titled = "return document.title";
    browser
        .wait("the count in the title", Duration::from_secs(10), async |b| {
            Ok(b.client.execute(titled, vec![]).await?.as_str().is_some_and(|title| title.starts_with("(1) ")))
        })
        .await?;
    browser
        .wait("the alarm at the left", Duration::from_secs(20), async |b| {
            Ok(!b.client.find_all(Locator::Css("[data-key=a]")).await?.is_empty())
        })
        .await?;
    key(&browser, "s").await?;
    let focused = browser.client.execute("return document.activeElement.name", vec![]).await?;
    anyhow::ensure!(focused == json!("minutes"), "{focused}");
    browser.client.execute("document.activeElement.blur()", vec![]).await?;
    key(&browser, "a").await?;
    browser.wait_text("Acknowledged, present").await?;
    let errors = browser.console_errors().await?;
    anyhow::ensure!(errors.is_empty(), "console: {errors:?}");

    // A screen with the owner's token sees the wall, and nothing else.
    let token = tokens::create(&server.app, &owner, "wall", &["wall"], 30).await?;
    let screen = Browser::open(&server.base, "en").await?;
    screen.goto("/duty/kiosk").await?;
    screen.put("main input[name=token]", &format!("{token}\u{e007}")).await?;
    screen.wait("the wall", Duration::from_secs(15), async |b| Ok(b.path().await? == "/duty/wall")).await?;
    screen.wait_text("Node lost").await?;
    screen.goto("/duty/board").await?;
    let refused = screen.text().await?;
    anyhow::ensure!(!refused.contains("Node lost"), "{refused}");
    screen.goto("/duty/wall").await?;
    screen.wait_text("Node lost").await?;
    let id = tokens::list(&server.app, &owner).await?.remove(0).id;
    tokens::revoke(&server.app, &owner, id).await?;
    screen.wait("the end of the token", Duration::from_secs(32), async |b| Ok(b.path().await?.starts_with("/sign-in"))).await?;
    server.stop().await;
    Ok(())
}
