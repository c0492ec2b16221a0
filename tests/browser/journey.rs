//! One app on its way from a folder to an alarm. Everything a person does goes through the pages; the only things done beside them are
//! making the platform's own people (nobody signs up as the platform) and running the copied enrolment command in a shell.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use pithead::base::auth::Role;

use crate::browser::Browser;
use crate::server::{PASSWORD, TestServer};

/// Ends a process that the test started.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn demo_app(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps").join(name)
}

/// Types into the field of a name.
async fn put(browser: &Browser, name: &str, value: &str) -> Result<()> {
    browser.put(&format!("main form input[name={name}]"), value).await
}

/// Chooses the kind of organisation.
async fn choose(browser: &Browser, kind: &str) -> Result<()> {
    browser.press(&format!("input[name=kind][value={kind}]")).await
}

async fn sign_in(browser: &Browser, email: &str) -> Result<()> {
    browser.forget_cookies().await?;
    browser.goto("/sign-in").await?;
    put(browser, "email", email).await?;
    put(browser, "password", PASSWORD).await?;
    // The header has a link of the same name; the button is in the form.
    browser.press("form[action='/sign-in'] button[type=submit]").await?;
    browser.wait("the console", Duration::from_secs(15), async |b| Ok(!b.path().await?.starts_with("/sign-in"))).await
}

/// Says yes to the page's question.
async fn agree(browser: &Browser) -> Result<()> {
    browser
        .wait("the question", Duration::from_secs(10), async |b| {
            Ok(b.client.find(fantoccini::Locator::Css("dialog#confirm[open]")).await.is_ok())
        })
        .await?;
    browser.press("dialog#confirm [data-confirm-ok]").await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_folder_to_an_alarm() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (_, platform) = server.organization("platform", "platform").await;
    for role in [Role::Moderator, Role::Finance, Role::Auditor] {
        server.person(&platform, role, &format!("{role}@platform.example")).await;
    }
    let browser = Browser::open(&server.base, "en").await?;

    // A vendor signs up and uploads.
    browser.goto("/sign-up").await?;
    choose(&browser, "vendor").await?;
    put(&browser, "name_en", "Acme Vision").await?;
    put(&browser, "slug", "acme").await?;
    put(&browser, "name", "Ada").await?;
    put(&browser, "email", "ada@acme.example").await?;
    put(&browser, "password", PASSWORD).await?;
    browser.press("form[action='/sign-up'] button[type=submit]").await?;
    browser.wait_path("/vendor").await?;
    browser.goto("/vendor/apps/new").await?;
    browser.upload("#upload-folder", &[&demo_app("coke-quality")]).await?;
    browser
        .wait("the check of app.yaml", Duration::from_secs(20), async |b| {
            Ok(b.client.find(fantoccini::Locator::Css("[data-upload-start]")).await?.is_enabled().await?)
        })
        .await?;
    browser.press("[data-upload-start]").await?;
    browser.wait_path("/vendor/apps/coke-quality/releases/").await?;
    browser.wait("the automatic check", Duration::from_secs(90), async |b| Ok(b.text().await?.contains("Submit for review"))).await?;
    // Measured again by the same child, which says what came of it.
    browser.click_text("Measure again").await?;
    browser.wait("the measurement", Duration::from_secs(90), async |b| Ok(b.text().await?.contains("Measured again on"))).await?;
    // The figures of before are folded. Once unfolded they stay so when the page fetches itself anew.
    browser.press("#card-history summary").await?;
    let refreshed = "const [done] = arguments, before = document.querySelector('#card-history');\
                     document.addEventListener('live:refreshed', () => {\
                         const now = document.querySelector('#card-history'); done([now !== before, now.open]);\
                     }, { once: true });\
                     document.dispatchEvent(new Event('visibilitychange'));";
    let told = tokio::time::timeout(Duration::from_secs(10), browser.client.execute_async(refreshed, vec![])).await??;
    anyhow::ensure!(told == serde_json::json!([true, true]), "another one, and open: {told}");
    browser.click_text("Submit for review").await?;
    agree(&browser).await?;
    browser.wait_text("in review").await?;

    // The vendor offers a plan.
    browser.goto("/vendor/apps/coke-quality/plans").await?;
    put(&browser, "price", "1,280.00").await?;
    browser.click_text("Add a plan").await?;
    browser.wait_text("Plan added").await?;

    // A moderator approves.
    sign_in(&browser, "moderator@platform.example").await?;
    browser.goto("/admin/queue").await?;
    browser.press("a[href^='/admin/cases/']").await?;
    browser.wait_path("/admin/cases/").await?;
    browser.click_text("Approve").await?;
    agree(&browser).await?;
    browser.wait_path("/admin/queue").await?;

    // A mine signs up, finds the app, orders it.
    browser.forget_cookies().await?;
    browser.goto("/sign-up").await?;
    choose(&browser, "operator").await?;
    put(&browser, "name_en", "North Mine").await?;
    put(&browser, "slug", "north").await?;
    put(&browser, "name", "Bo").await?;
    put(&browser, "email", "bo@north.example").await?;
    put(&browser, "password", PASSWORD).await?;
    browser.press("form[action='/sign-up'] button[type=submit]").await?;
    browser.wait_path("/mine").await?;
    browser
        .wait("the listing in the catalogue", Duration::from_secs(10), async |b| {
            b.goto("/apps?q=coke").await?;
            Ok(b.client.find(fantoccini::Locator::Css("a[href='/apps/acme/coke-quality']")).await.is_ok())
        })
        .await?;
    browser.goto("/apps/acme/coke-quality").await?;
    browser.press("a[href*='/order?plan=']").await?;
    browser.wait_path("/apps/acme/coke-quality/order").await?;
    browser.put("input[name=nodes]", "2").await?;
    browser.press("main form button[type=submit]").await?;
    browser.wait_path("/mine/orders/").await?;
    let order = browser.path().await?;
    browser.wait_text("2,560.00").await?;
    // What is to be copied for the transfer can still be copied once the page has fetched itself anew.
    let refreshed = "const [done] = arguments; document.addEventListener('live:refreshed', () => done(true), { once: true });\
                     document.querySelector('#order').dataset.refresh += '?again'";
    let _ = tokio::time::timeout(Duration::from_secs(5), browser.client.execute_async(refreshed, vec![])).await;
    let copy = browser.client.find(fantoccini::Locator::Css("#order [data-copy]")).await?;
    anyhow::ensure!(copy.is_displayed().await?, "no button to copy");

    // Finance confirms the transfer.
    sign_in(&browser, "finance@platform.example").await?;
    browser.goto("/admin/payments?q=2,560.00").await?;
    for (name, value) in [("amount", "2,560.00"), ("bank_serial", "ICBC-1"), ("payer", "North Mine")] {
        browser.put(&format!("input[name={name}]"), value).await?;
    }
    browser.client.find(fantoccini::Locator::Css("input[name=bank_serial]")).await?.send_keys("\u{e007}").await?;
    // Asked once, with what was typed.
    agree(&browser).await?;
    browser.wait_path("/admin/payments/ord_").await?;

    // The mine has its licence, adds a node.
    sign_in(&browser, "bo@north.example").await?;
    browser.goto(&order).await?;
    browser
        .wait("the licence", Duration::from_secs(10), async |b| {
            Ok(b.client.find(fantoccini::Locator::Css("a[href^='/mine/licenses/']")).await.is_ok())
        })
        .await?;
    browser.goto("/mine/sites").await?;
    browser.put("main input[name=name]", "Shaft 1\u{e007}").await?;
    browser.wait_text("Shaft 1").await?;
    browser.goto("/mine/nodes/new").await?;
    browser.put("main input[name=name]", "n1\u{e007}").await?;
    browser.wait_text("pithead-edge enroll").await?;
    let page = browser.client.source().await?;
    let command = page
        .split("pithead-edge enroll")
        .nth(1)
        .and_then(|rest| rest.split('<').next())
        .context("no command on the page")?
        .replace("&#x27;", "'")
        .replace("&quot;", "\"");
    let words: Vec<String> = command.split('"').next().unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
    let agent = std::env::var("TEST_EDGE_BIN").context("TEST_EDGE_BIN is not set: run make test")?;
    let library = std::env::var("ORT_LIB").context("ORT_LIB is not set: run make test")?;
    let data = std::env::temp_dir().join(pithead::base::ids::new("edge"));
    let enrolled = Command::new(&agent).arg("enroll").args(&words).arg("--data").arg(&data).output()?;
    anyhow::ensure!(enrolled.status.success(), "enroll: {}", String::from_utf8_lossy(&enrolled.stderr));
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let local = format!("127.0.0.1:{port}");
    let _node = Ended(
        Command::new(&agent)
            .arg("run")
            .arg("--data")
            .arg(&data)
            .args(["--listen", &local, "--ort-lib", &library])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?,
    );
    // The page shows the node's hardware by itself.
    browser
        .wait("the node's hardware", Duration::from_secs(30), async |b| {
            Ok(b.text().await?.contains("amd64") || b.text().await?.contains("arm64"))
        })
        .await?;

    // Deploy: licence, node, parameters, preview, start.
    browser.goto("/mine/deploy").await?;
    for _ in 0..4 {
        if let Ok(choice) = browser.client.find(fantoccini::Locator::Css("main form input[type=checkbox]:not(:checked)")).await {
            choice.click().await?;
        }
        if browser.path().await?.starts_with("/mine/deployments/") {
            break;
        }
        // Back shows the step before, and is no form that a browser would have to send again.
        if browser.path().await?.starts_with("/mine/deploy/preview") {
            browser.client.back().await?;
            browser.wait("the parameters", Duration::from_secs(10), async |b| Ok(b.path().await?.contains("step=parameters"))).await?;
            browser.press("main .btn-primary").await?;
            browser.wait_path("/mine/deploy/preview").await?;
        }
        let before = browser.client.source().await?;
        browser.press("main .btn-primary").await?;
        browser.wait("the next step", Duration::from_secs(10), async |b| Ok(b.client.source().await? != before)).await?;
    }
    browser.goto("/mine").await?;
    browser.goto("/mine/deployments").await?;
    browser.press("main a[href^='/mine/deployments/dep']").await?;
    browser
        .wait("the app to be running", Duration::from_mins(1), async |b| {
            Ok(b.client.find(fantoccini::Locator::Css("main .badge.state-installed")).await.is_ok())
        })
        .await?;

    // Predict on the node itself.
    let input = std::fs::read(demo_app("coke-quality").join("golden/1.csv")).or_else(|_| std::fs::read(first_golden("coke-quality")))?;
    let answer: serde_json::Value = reqwest::Client::new()
        .post(format!("http://{local}/v1/apps/coke-quality/predict"))
        .body(input)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    anyhow::ensure!(answer["values"].as_array().is_some_and(|v| !v.is_empty()), "no values in {answer}");

    // The auditor finds the chain intact.
    sign_in(&browser, "auditor@platform.example").await?;
    browser.goto("/admin/audit").await?;
    browser.click_text("Verify the chain").await?;
    browser.wait_text("All chains are intact").await?;
    let mut errors = browser.console_errors().await?;
    // The upload asks whether the registry has each file already; a browser writes each "no" to its console.
    errors.retain(|e| !(e.contains("/blobs/sha256:") && e.contains("404")));
    anyhow::ensure!(errors.is_empty(), "console: {errors:?}");
    let _ = std::fs::remove_dir_all(&data);
    server.stop().await;
    Ok(())
}

/// The first golden input of a demo app.
fn first_golden(app: &str) -> PathBuf {
    let mut inputs: Vec<_> = std::fs::read_dir(demo_app(app).join("golden"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e != "json"))
        .collect();
    inputs.sort();
    inputs.remove(0)
}
