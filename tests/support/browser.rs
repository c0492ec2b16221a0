//! A real Chromium for tests, driven through chromedriver (the W3C's `WebDriver`).
//!
//! Each [`Browser`] has a chromedriver, a browser and an empty profile of its own, so tests may run side by side. All three end with
//! it, also when the test panics. The browser resolves no host but this machine, so a test cannot reach the network.
//! Helpers name things as a person sees them (label, button text) and wait until they are there, because pages change while
//! htmx swaps parts of them; after [`LIMIT`] they fail and show what the page says instead.
//!
//! Environment (set by `make test`): `TEST_CHROMEDRIVER`, `TEST_CHROMIUM`; without them Debian's places are used.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a helper waits for what it was asked for.
pub const LIMIT: Duration = Duration::from_secs(15);
/// Pause between two looks at the page. A browser has no clock a test could set.
const LOOK: Duration = Duration::from_millis(50);
/// What a person can press.
const PRESSABLE: &str = "self::a or self::button or self::summary or self::label or @role='button' or @role='tab' or @role='menuitem'";
/// What a person can fill in.
const FIELD: &str = "(self::input[not(@type='hidden')] or self::textarea or self::select)";

/// One browser with one profile.
pub struct Browser {
    /// The `WebDriver` session, for what the helpers here do not cover.
    pub client: Client,
    base: String,
    driver: Child,
    profile: PathBuf,
}

impl Browser {
    /// Starts a browser for the site at `base` (`http://127.0.0.1:PORT`), with `language` (`zh-CN` or `en`) as the reader's preference.
    pub async fn open(base: &str, language: &str) -> Result<Self> {
        let profile = fresh_folder()?;
        let mut driver = Command::new(program("TEST_CHROMEDRIVER", "/usr/bin/chromedriver"))
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver does not start; install chromium-driver")?;
        let port = driver_port(&mut driver).await?;
        let capabilities = json!({
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "binary": program("TEST_CHROMIUM", "/usr/bin/chromium").to_string_lossy(),
                "prefs": { "intl.accept_languages": language },
                "args": [
                    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                    "--disable-component-update", "--disable-sync", "--window-size=1440,900",
                    // Tests run as root in containers, where Chromium's own sandbox cannot be set up. Only our own pages are opened.
                    "--no-sandbox", "--disable-dev-shm-usage",
                    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
                    format!("--lang={language}"),
                    format!("--user-data-dir={}", profile.display()),
                ],
            },
        });
        let Value::Object(capabilities) = capabilities else { bail!("capabilities are an object") };
        let client = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&format!("http://127.0.0.1:{port}")).await;
        match client {
            Ok(client) => Ok(Self { client, base: base.trim_end_matches('/').to_owned(), driver, profile }),
            Err(error) => {
                end_browser(&profile);
                Err(error).context("chromedriver opens no session; install chromium")
            }
        }
    }

    /// Opens a page of the site; `path` starts with `/`.
    pub async fn goto(&self, path: &str) -> Result<()> {
        self.client.goto(&format!("{}{path}", self.base)).await.with_context(|| format!("opening {path}"))
    }

    /// Path and query of the page that is open.
    pub async fn path(&self) -> Result<String> {
        let url = self.client.current_url().await?;
        Ok(url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())))
    }

    /// The page's visible text.
    pub async fn text(&self) -> Result<String> {
        let text = self.client.execute("return document.body ? document.body.innerText : ''", vec![]).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Presses the link, button, tab or label with exactly this text (or this `aria-label`).
    pub async fn click_text(&self, text: &str) -> Result<()> {
        let wanted = literal(text);
        let xpath = format!(
            "//*[({PRESSABLE}) and (normalize-space(.)={wanted} or @aria-label={wanted})] | //input[@type='submit' and @value={wanted}]"
        );
        self.act(&format!("something to press that says “{text}”"), Locator::XPath(&xpath), async |element| element.click().await).await
    }

    /// Fills the field with this label. A text field is emptied first; of a choice, the option with the text `value` is taken.
    pub async fn fill(&self, label: &str, value: &str) -> Result<()> {
        let what = format!("a field labelled “{label}”");
        self.act(&what, Locator::XPath(&field(label)), async |element| {
            if element.tag_name().await? == "select" {
                return element.select_by_label(value).await;
            }
            let kind = element.prop("type").await?;
            if matches!(kind.as_deref(), Some("date" | "datetime-local" | "month" | "time" | "color" | "range")) {
                // The keys a date field wants depend on the machine's locale.
                let script = "arguments[0].value = arguments[1]; for (const n of ['input', 'change']) arguments[0].dispatchEvent(new Event(n, {bubbles: true}));";
                let node = serde_json::to_value(&element)?;
                return self.client.execute(script, vec![node, json!(value)]).await.map(drop);
            }
            element.clear().await?;
            element.send_keys(value).await
        })
        .await
    }

    /// Sets the checkbox or radio button with this label.
    pub async fn tick(&self, label: &str, on: bool) -> Result<()> {
        self.act(&format!("a checkbox labelled “{label}”"), Locator::XPath(&field(label)), async |element| {
            if element.is_selected().await? == on { Ok(()) } else { element.click().await }
        })
        .await
    }

    /// Gives files to the file field that `selector` (CSS) finds; a whole folder where the field is `<input webkitdirectory>`.
    /// The field may be hidden behind a drop area, as long as it is in the page.
    pub async fn upload(&self, selector: &str, paths: &[&Path]) -> Result<()> {
        let mut names = Vec::new();
        for path in paths {
            names.push(path.canonicalize().with_context(|| format!("no file {}", path.display()))?.display().to_string());
        }
        let element = self.client.wait().at_most(LIMIT).every(LOOK).for_element(Locator::Css(selector)).await;
        element.with_context(|| format!("no file field {selector}"))?.send_keys(&names.join("\n")).await.context("giving files to the page")
    }

    /// Waits until the page shows `text` (runs of white space count as one blank).
    pub async fn wait_text(&self, text: &str) -> Result<()> {
        self.wait(&format!("the text “{text}”"), LIMIT, async |page| Ok(shows(&page.text().await?, text))).await
    }

    /// Waits until the page no longer shows `text`.
    pub async fn wait_no_text(&self, text: &str) -> Result<()> {
        self.wait(&format!("no more “{text}”"), LIMIT, async |page| Ok(!shows(&page.text().await?, text))).await
    }

    /// Waits until a page is open whose path (with query) starts with `prefix`.
    pub async fn wait_path(&self, prefix: &str) -> Result<()> {
        self.wait(&format!("a page at {prefix}"), LIMIT, async |page| Ok(page.path().await?.starts_with(prefix))).await
    }

    /// Waits until `ready` says so, at most `limit`. Errors of a look count as "not yet": the page may just be changing.
    pub async fn wait(&self, what: &str, limit: Duration, ready: impl AsyncFn(&Self) -> Result<bool>) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            let seen = ready(self).await;
            if matches!(seen, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(self.missing(what, seen.err()).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the pages wrote to the console since the last call with level `SEVERE`: script errors, refused scripts and styles (CSP), failed requests.
    pub async fn console_errors(&self) -> Result<Vec<String>> {
        let entries = self.client.issue_cmd(ConsoleLog).await?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        Ok(severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Writes a picture (PNG) of what the window shows.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, self.client.screenshot().await?)?)
    }

    /// Forgets who is signed in.
    pub async fn forget_cookies(&self) -> Result<()> {
        Ok(self.client.delete_all_cookies().await?)
    }

    /// Presses what a selector (CSS) finds.
    pub async fn press(&self, selector: &str) -> Result<()> {
        self.act(selector, Locator::Css(selector), async |element| element.click().await).await
    }

    /// Types into the field that a selector (CSS) finds, in the place of what is in it.
    pub async fn put(&self, selector: &str, value: &str) -> Result<()> {
        self.act(selector, Locator::Css(selector), async |element| {
            element.clear().await?;
            element.send_keys(value).await
        })
        .await
    }

    /// Does something with the first visible element that is found; again while the page changes under it.
    async fn act(
        &self,
        what: &str,
        at: Locator<'_>,
        action: impl AsyncFn(Element) -> Result<(), fantoccini::error::CmdError>,
    ) -> Result<()> {
        let (end, mut again) = (Instant::now() + LIMIT, false);
        loop {
            let tried = match self.visible(at).await {
                Ok(Some(element)) => {
                    if again {
                        // It may lie under the bar of the page: the driver takes that for in sight, a person scrolls. Where it is gone
                        // meanwhile, the action says so.
                        let _ = self.scroll_to(&element).await;
                    }
                    action(element).await.map(|()| true)
                }
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            if matches!(tried, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(self.missing(what, tried.err().map(Into::into)).await);
            }
            again = true;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn scroll_to(&self, element: &Element) -> Result<()> {
        self.client.execute("arguments[0].scrollIntoView({ block: 'center' })", vec![serde_json::to_value(element)?]).await?;
        Ok(())
    }

    /// The first visible element, or else the first one (a styled checkbox hides its input).
    async fn visible(&self, at: Locator<'_>) -> Result<Option<Element>, fantoccini::error::CmdError> {
        let mut found = self.client.find_all(at).await?;
        for (index, element) in found.iter().enumerate() {
            if element.is_displayed().await? {
                return Ok(Some(found.swap_remove(index)));
            }
        }
        Ok(if found.is_empty() { None } else { Some(found.swap_remove(0)) })
    }

    async fn missing(&self, what: &str, cause: Option<anyhow::Error>) -> anyhow::Error {
        let path = self.path().await.unwrap_or_else(|error| error.to_string());
        let text: String = self.text().await.unwrap_or_default().chars().take(1500).collect();
        let cause = cause.map(|cause| format!(" ({cause:#})")).unwrap_or_default();
        anyhow::anyhow!("{path} shows not {what}{cause}. It says:\n{text}")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.start_kill();
        end_browser(&self.profile);
    }
}

/// chromedriver's way to hand out the console (not part of the standard).
#[derive(Debug)]
struct ConsoleLog;

impl fantoccini::wd::WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

fn program(variable: &str, usual: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| usual.into())
}

fn fresh_folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::temp_dir().join(format!("pithead-browser-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// Reads the port that chromedriver chose from its first lines, and keeps reading so that it never blocks on a full pipe.
async fn driver_port(driver: &mut Child) -> Result<u16> {
    let mut lines = BufReader::new(driver.stdout.take().context("chromedriver's output is piped")?).lines();
    let port = tokio::time::timeout(LIMIT, async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                return rest.trim_end_matches('.').trim().parse::<u16>().context("chromedriver's port");
            }
        }
        bail!("chromedriver ended at once")
    });
    let port = port.await.context("chromedriver names no port")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(port)
}

/// Kills the processes that were started with this profile (the browser and its helpers), by pid, and removes the profile.
fn end_browser(profile: &Path) {
    let mark = format!("--user-data-dir={}", profile.display());
    for _ in 0..40 {
        let mut alive = 0;
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(rustix::process::Pid::from_raw)
            else {
                continue;
            };
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            // Chromium's helpers have one argument string with blanks instead of NULs.
            if command.split(|byte| *byte == 0 || *byte == b' ').any(|argument| argument == mark.as_bytes()) {
                alive += 1;
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if alive == 0 {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let _ = std::fs::remove_dir_all(profile);
}

fn shows(page: &str, text: &str) -> bool {
    let blanks = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    blanks(page).contains(&blanks(text))
}

/// Fields with this label: by `for`, around the field, or as `aria-label`. A trailing `*` of a required field does not count.
fn field(label: &str) -> String {
    let (plain, starred) = (literal(label), literal(&format!("{label} *")));
    let named =
        format!("(normalize-space(.)={plain} or normalize-space(.)={starred} or normalize-space(.)={})", literal(&format!("{label}*")));
    // A label around a field contains the field's own text (options, help) too: its own text nodes decide there.
    let around = format!("ancestor::label[{named} or text()[normalize-space(.)={plain}] or span[normalize-space(.)={plain}]]");
    format!("//*[{FIELD} and (@id=//label[{named}]/@for or {around} or @aria-label={plain})]")
}

/// An `XPath` 1.0 string literal; it has no escapes, so a text with both kinds of quotes is put together.
fn literal(text: &str) -> String {
    if !text.contains('\'') {
        return format!("'{text}'");
    }
    let parts: Vec<String> = text.split('\'').map(|part| format!("'{part}'")).collect();
    format!("concat({})", parts.join(r#", "'", "#))
}
