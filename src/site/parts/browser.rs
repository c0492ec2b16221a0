//! The browser of a session in words.

use crate::http::page::Page;

/// Browser and system of a `User-Agent` in words; programs appear by the name that they send.
pub fn browser(page: &Page, agent: &str) -> String {
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
