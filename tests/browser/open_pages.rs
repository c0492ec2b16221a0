//! Pages that stand open: the server freezes and comes back, the session ends, another tab signs in anew. The page says so, loses nothing that
//! was typed, and never shows the sign-in page inside itself.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fantoccini::Locator;
use pithead::account::service::{self as account, SignUp};
use pithead::base::app::App;
use pithead::base::auth::Actor;
use pithead::base::clock::Clock;
use pithead::base::config::Settings;
use pithead::{fleet, telemetry};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::browser::Browser;
use crate::server::{PASSWORD, TestServer};

/// A server as a process of its own, so that it can be frozen.
struct Served {
    child: Child,
    base: String,
    folder: PathBuf,
}

impl Served {
    /// Starts one that knows one mine.
    async fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(pithead::base::ids::new("pithead-open"));
        let mut settings = Settings::default();
        settings.data_dir.0.clone_from(&folder);
        settings.database.url = format!("sqlite:{}", folder.join("pithead.db").display());
        let app = App::open(settings, Clock::System)?;
        let owner = SignUp {
            email: "owner@north.example".into(),
            name: "Bo".into(),
            password: PASSWORD.into(),
            kind: "operator".into(),
            slug: "north".into(),
            name_zh: "北矿".into(),
            name_en: "North Mine".into(),
        };
        account::sign_up(&app, owner).await?;
        drop(app);
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map(|a| a.port());
        let (port, edge_port) = (free()?, free()?);
        let base = format!("http://127.0.0.1:{port}");
        let child = Command::new(env!("CARGO_BIN_EXE_pithead"))
            .arg("serve")
            .env("PITHEAD_DATA_DIR", &folder)
            .env("PITHEAD_SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("PITHEAD_SERVER__EDGE_LISTEN", format!("127.0.0.1:{edge_port}"))
            .env("PITHEAD_SERVER__PUBLIC_URL", &base)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let served = Self { child, base, folder };
        let client = reqwest::Client::builder().no_proxy().build()?;
        let begin = Instant::now();
        while !client.get(format!("{}/readyz", served.base)).send().await.is_ok_and(|r| r.status().is_success()) {
            anyhow::ensure!(begin.elapsed() < Duration::from_mins(1), "the server was not ready in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(served)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.signal(Signal::CONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub async fn sign_in(browser: &Browser, email: &str) -> Result<()> {
    browser.goto("/sign-in").await?;
    enter(browser, email).await?;
    browser.wait("the console", Duration::from_secs(15), async |b| Ok(!b.path().await?.starts_with("/sign-in"))).await
}

/// Fills in the sign-in form that is shown, and presses its button.
async fn enter(browser: &Browser, email: &str) -> Result<()> {
    for (name, value) in [("email", email), ("password", PASSWORD)] {
        browser.put(&format!("main input[name={name}]"), value).await?;
    }
    browser.press("form[action='/sign-in'] button[type=submit]").await?;
    Ok(())
}

async fn sign_out(browser: &Browser) -> Result<()> {
    browser.client.execute("document.querySelector('form[action=\"/sign-out\"]').requestSubmit()", vec![]).await?;
    browser.wait("the home page", Duration::from_secs(15), async |b| Ok(b.path().await? == "/")).await
}

async fn add_site(browser: &Browser, name: &str) -> Result<()> {
    browser.goto("/mine/sites").await?;
    browser.put("main input[name=name]", &format!("{name}\u{e007}")).await?;
    browser.wait_text(&format!("{name} was added")).await
}

/// What the band across the page says; empty where there is none.
async fn band(browser: &Browser) -> Result<String> {
    let said =
        browser.client.execute("const b = document.querySelector('[data-line]'); return b && !b.hidden ? b.innerText : ''", vec![]).await?;
    Ok(said.as_str().unwrap_or_default().to_owned())
}

/// Waits for a page in a language.
async fn speaks(browser: &Browser, language: &str) -> Result<()> {
    let lang = async |b: &Browser| b.client.execute("return document.documentElement.lang", vec![]).await;
    browser.wait(language, Duration::from_secs(10), async |b| Ok(lang(b).await?.as_str() == Some(language))).await
}

/// A tab of its own.
async fn tab(browser: &Browser) -> Result<fantoccini::wd::WindowHandle> {
    let new = browser.client.new_window(true).await?.handle;
    browser.client.switch_to_window(new.clone()).await?;
    Ok(new)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_stands_open_says_when_it_is_not_true_any_more() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Served::start().await?;
    let browser = Browser::open(&server.base, "en").await?;
    sign_in(&browser, "owner@north.example").await?;
    let wall = browser.client.window().await?;
    browser.goto("/mine/sites").await?;
    // A clock that is set back hides no silence.
    browser.client.execute("window.same = true; const real = Date.now; Date.now = () => real() - 36e5", vec![]).await?;
    anyhow::ensure!(band(&browser).await?.is_empty());

    // Nothing comes any more: no error, no closed connection, only silence.
    server.signal(Signal::STOP)?;
    let begin = Instant::now();
    browser
        .wait("the band", Duration::from_secs(30), async |b| Ok(band(b).await?.contains("No connection. What you see is as of ")))
        .await?;
    anyhow::ensure!(begin.elapsed() > Duration::from_secs(10), "that was not the silence");
    server.signal(Signal::CONT)?;
    browser.wait("no band", Duration::from_secs(20), async |b| Ok(band(b).await?.is_empty())).await?;

    // It goes on by itself: what another tab does shows at once.
    let other = tab(&browser).await?;
    add_site(&browser, "Shaft 7").await?;
    browser.client.switch_to_window(wall.clone()).await?;
    browser.wait_text("Shaft 7").await?;

    // Signed out in the other tab: this page tells, and keeps what it shows.
    browser.client.switch_to_window(other.clone()).await?;
    sign_out(&browser).await?;
    browser.client.switch_to_window(wall.clone()).await?;
    browser.wait("the end of the session", Duration::from_secs(32), async |b| Ok(band(b).await?.contains("You are signed out"))).await?;
    let inside = browser.client.find_all(Locator::Css("input[type=password]")).await?;
    anyhow::ensure!(inside.is_empty() && browser.text().await?.contains("Shaft 7"), "the page became another one");

    // Signed in anew over there: this page goes on where it was, with a token that works.
    browser.client.switch_to_window(other).await?;
    sign_in(&browser, "owner@north.example").await?;
    browser.client.switch_to_window(wall).await?;
    browser.client.execute("dispatchEvent(new Event('focus'))", vec![]).await?;
    browser.wait("no band", Duration::from_secs(15), async |b| Ok(band(b).await?.is_empty())).await?;
    let same = browser.client.execute("return window.same === true", vec![]).await?;
    anyhow::ensure!(same.as_bool() == Some(true), "the page was loaded anew");
    browser.put("main input[name=name]", "Shaft 8\u{e007}").await?;
    browser.wait_text("Shaft 8").await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_live_pages_leave_the_browser_its_connections() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (email, _) = server.organization("operator", "north").await;
    let browser = Browser::open(&server.base, "en").await?;
    sign_in(&browser, &email).await?;
    let first = browser.client.window().await?;
    browser.goto("/mine/sites").await?;
    for path in ["/mine", "/duty/board", "/mine/nodes", "/mine/orders", "/mine/deployments", "/mine/sites", "/duty/wall", "/duty/board"] {
        tab(&browser).await?;
        let begin = Instant::now();
        browser.goto(path).await?;
        anyhow::ensure!(begin.elapsed() < Duration::from_secs(6), "{path} took {:?}", begin.elapsed());
    }
    tab(&browser).await?;
    add_site(&browser, "Shaft 9").await?;
    browser.client.switch_to_window(first).await?;
    browser.wait_text("Shaft 9").await?;
    let errors = browser.console_errors().await?;
    anyhow::ensure!(errors.is_empty(), "console: {errors:?}");
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_typed_is_lost_by_a_session_a_language_or_an_upload() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (miner, _) = server.organization("operator", "north").await;
    let (vendor, _) = server.organization("vendor", "acme").await;
    let browser = Browser::open(&server.base, "en").await?;

    // A form whose session ended in another tab.
    sign_in(&browser, &miner).await?;
    let form = browser.client.window().await?;
    browser.goto("/mine/sites").await?;
    let field = browser.client.find(Locator::Css("main input[name=name]")).await?;
    field.send_keys("Shaft 3").await?;
    let other = tab(&browser).await?;
    browser.goto("/mine").await?;
    sign_out(&browser).await?;
    browser.client.switch_to_window(form.clone()).await?;
    browser.press("form[action='/mine/sites'] button").await?;
    browser.wait_text("Nothing was sent yet").await?;
    enter(&browser, &miner).await?;
    browser.wait_text("You are signed in again").await?;
    browser.press("form[action='/mine/sites'] button").await?;
    browser.wait_path("/mine/sites").await?;
    browser.wait_text("Shaft 3").await?;

    // Another language leads back to the same search and the same words.
    browser.goto("/duty/board?level=critical").await?;
    browser.click_text("中文").await?;
    speaks(&browser, "zh-CN").await?;
    anyhow::ensure!(browser.path().await? == "/duty/board?level=critical", "{}", browser.path().await?);
    browser.goto("/mine/sites").await?;
    browser.put("main input[name=name]", "井口 4").await?;
    browser.click_text("English").await?;
    speaks(&browser, "en").await?;
    let typed = browser.client.find(Locator::Css("main input[name=name]")).await?.prop("value").await?;
    anyhow::ensure!(typed.as_deref() == Some("井口 4"), "{typed:?}");

    // Ages count up by themselves.
    browser.goto("/account").await?;
    browser.wait_text(" s ago").await?;

    // A folder chosen before a new sign-in in another tab goes on without choosing it again.
    sign_out(&browser).await?;
    sign_in(&browser, &vendor).await?;
    browser.goto("/vendor/apps/new").await?;
    let app = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps/coke-quality");
    // What the files themselves show is said in the words of the page.
    let broken = std::env::temp_dir().join(pithead::base::ids::new("pithead-broken"));
    anyhow::ensure!(Command::new("cp").arg("-r").args([&app, &broken]).status()?.success());
    std::fs::write(broken.join("golden/3.json"), "{\n  \"a\": }")?;
    std::fs::write(broken.join("model.onnx"), "no model")?;
    browser.upload("#upload-folder", &[&broken]).await?;
    browser.wait_text("Not JSON").await?;
    let said = browser.text().await?;
    std::fs::remove_dir_all(&broken)?;
    anyhow::ensure!(said.contains("golden/3.json") && said.contains("model.onnx") && !said.contains("Unexpected token"), "{said}");
    browser.upload("#upload-folder", &[&app]).await?;
    browser.wait_text("app.yaml is right").await?;
    browser.client.switch_to_window(other).await?;
    browser.goto("/vendor").await?;
    sign_out(&browser).await?;
    sign_in(&browser, &vendor).await?;
    browser.client.switch_to_window(form).await?;
    // Once begun, and not before, the browser asks before the page is left; not where the page goes on by itself.
    let begin = "const asks = () => { const leave = new Event('beforeunload', { cancelable: true }); dispatchEvent(leave); return leave.defaultPrevented; };\
                 const before = asks(); document.querySelector('[data-upload-start]').click(); return [before, asks()];";
    let asked = browser.client.execute(begin, vec![]).await?;
    anyhow::ensure!(asked == json!([false, true]), "{asked}");
    browser.wait_path("/vendor/apps/coke-quality/releases/").await?;
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_refused_says_why_and_ends() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (vendor, _) = server.organization("vendor", "acme").await;
    pithead::registry::quota::set(&server.app, "acme", Some(0)).await?;
    let browser = Browser::open(&server.base, "en").await?;
    sign_in(&browser, &vendor).await?;
    browser.goto("/vendor/apps/new").await?;
    let app = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/apps/coke-quality");
    browser.upload("#upload-folder", &[&app]).await?;
    browser.wait_text("app.yaml is right").await?;
    browser.press("[data-upload-start]").await?;
    browser.wait_text("The store is full").await?;
    let asked =
        "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('/v2/') || name.includes('/standing')).length";
    let count = browser.client.execute(asked, vec![]).await?;
    anyhow::ensure!(count.as_u64().is_some_and(|n| (1..=3).contains(&n)), "one request of each lane at most: {count}");
    let goes_on = browser.client.find(Locator::Css("[data-upload-pause]")).await?.is_displayed().await?;
    anyhow::ensure!(!goes_on, "it does not go on");
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_unfolded_stays_so_when_its_plot_goes_on() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (email, _) = server.organization("operator", "north").await;
    let cookie = account::sign_in(&server.app, &email, PASSWORD.into(), "127.0.0.1", "test").await?;
    let owner = account::authenticate_session(&server.app, &cookie).await?;
    let site = fleet::service::create_site(&server.app, &owner, "Shaft 1").await?;
    let code = fleet::service::create_node(&server.app, &owner, &site, "Winder").await?.code;
    let request = rcgen::CertificateParams::default().serialize_request(&rcgen::KeyPair::generate()?)?.pem()?;
    let enrolled = fleet::service::enroll(&server.app, code, request, "1.0.0".into()).await?;
    let page = format!("/mine/nodes/{}", enrolled.node_id);
    let node = Actor::Node { node_id: enrolled.node_id, organization_id: enrolled.organization_id };
    let beat = async |sequence: u64, cpu: f64| -> Result<()> {
        let figures = json!({"cpu_percent": cpu, "memory_used_bytes": 1, "memory_total_bytes": 2, "trouble": null});
        let at = server.app.clock.now().utc();
        let reports = json!({"reports": [{"sequence": sequence, "at": at, "kind": "heartbeat", "node": figures, "apps": []}]});
        telemetry::taking::take(&server.app, &node, serde_json::from_str(&reports.to_string())?).await?;
        Ok(())
    };
    let browser = Browser::open(&server.base, "en").await?;
    sign_in(&browser, &email).await?;
    beat(1, 10.0).await?;
    browser.goto(&page).await?;
    browser.press(".plot-table summary").await?;
    // The data of a plot is read again a minute later at the soonest.
    let later = "window.before = document.querySelector('.plot-table');\
                 const real = performance.now.bind(performance); performance.now = () => real() + 61000; return window.before.open";
    let open = browser.client.execute(later, vec![]).await?;
    anyhow::ensure!(open.as_bool() == Some(true), "it was not unfolded");
    beat(2, 90.0).await?;
    let another = "const now = document.querySelector('.plot-table'); return now && now !== window.before && !window.before.isConnected";
    browser
        .wait("the table of the new data", Duration::from_secs(20), async |b| {
            Ok(b.client.execute(another, vec![]).await?.as_bool() == Some(true))
        })
        .await?;
    let open = browser.client.execute("return document.querySelector('.plot-table').open", vec![]).await?;
    anyhow::ensure!(open.as_bool() == Some(true), "it was folded again");
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_test_set_on_its_way_is_not_left_by_a_slip() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = TestServer::start().await;
    let (email, _) = server.organization("platform", "platform").await;
    let browser = Browser::open(&server.base, "en").await?;
    sign_in(&browser, &email).await?;
    let archive = std::env::temp_dir().join(format!("{}.tar", pithead::base::ids::new("set")));
    std::fs::write(&archive, "no archive")?;
    let filled_in = async || -> Result<()> {
        browser.goto("/admin/evaluation/new").await?;
        browser.client.find(Locator::Css("#field-scenario")).await?.select_by_value("coke-quality").await?;
        for (name, value) in [("name_zh", "焦炭盲测"), ("name_en", "Coke blind test")] {
            browser.put(&format!("main input[name={name}]"), value).await?;
        }
        browser.press("input[name=metric][value=mae]").await?;
        browser.upload("#field-archive", &[&archive]).await
    };
    let begin = "const asks = () => { const leave = new Event('beforeunload', { cancelable: true }); dispatchEvent(leave); return leave.defaultPrevented; };\
                 const before = asks(); document.querySelector('[data-set-form] form').requestSubmit(); return [before, asks()];";

    // Leaves by a link. The driver says yes to the browser's question, so whether it was asked is noted for the next page.
    let leave = async || -> Result<bool> {
        let noted =
            "sessionStorage.clear(); addEventListener('beforeunload', (leave) => sessionStorage.setItem('asked', leave.defaultPrevented))";
        browser.client.execute(noted, vec![]).await?;
        browser.press("main a[href='/admin/evaluation']").await?;
        browser.wait("the list of sets", Duration::from_secs(15), async |b| Ok(b.path().await? == "/admin/evaluation")).await?;
        let asked = browser.client.execute("return sessionStorage.getItem('asked')", vec![]).await?;
        asked.as_str().and_then(|asked| asked.parse().ok()).with_context(|| format!("nothing was noted: {asked}"))
    };

    // An archive that takes long.
    filled_in().await?;
    browser.client.execute("XMLHttpRequest.prototype.send = () => {}", vec![]).await?;
    let asked = browser.client.execute(begin, vec![]).await?;
    anyhow::ensure!(asked == json!([false, true]), "{asked}");
    anyhow::ensure!(leave().await?, "it was left unasked");

    // Once there is an answer nothing is lost by leaving.
    filled_in().await?;
    browser.client.execute(begin, vec![]).await?;
    browser.wait_text("The archive has faults").await?;
    std::fs::remove_file(&archive)?;
    anyhow::ensure!(!leave().await?, "it was asked for nothing");
    server.stop().await;
    Ok(())
}
