//! Signed-in browsers, as their person and administrators see them.

use crate::account::model::Session;
use crate::http::page::{Ago, Page};

/// One session as listed.
pub struct SessionRow {
    /// Hash of its cookie, which names it and opens nothing.
    pub id: String,
    pub browser: String,
    pub address: String,
    pub since: String,
    /// Last request.
    pub seen: Ago,
}

impl SessionRow {
    pub fn of(page: &Page, session: Session) -> Self {
        Self {
            browser: browser(page, &session.user_agent),
            since: page.datetime(&session.created_at),
            seen: page.ago(&session.seen_at),
            address: session.address,
            id: session.token_hash,
        }
    }
}

/// Browser and system of a `User-Agent` in words; programs appear by the name that they send.
fn browser(page: &Page, agent: &str) -> String {
    let known = |words: &[(&str, &str)]| words.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| (*name).to_owned());
    // The order matters: Edge and Chrome call themselves Safari too, Android calls itself Linux.
    let browser = known(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("MicroMessenger", "WeChat"),
        ("Chrome/", "Chrome"),
        ("Chromium/", "Chromium"),
        ("Safari/", "Safari"),
    ]);
    let system = known(&[
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iPadOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => page.t2("account-browser-on", "browser", browser, "system", system),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => {
            let name: String = agent.split(['/', ' ', '(']).next().unwrap_or_default().chars().take(30).collect();
            if name.is_empty() { page.t("account-browser-unknown") } else { name }
        }
    }
}
