//! Addresses of this site: where a page is, and where its reader goes on.

use super::page::Page;

/// An address with the one to go on to, if any.
pub fn with_next(path: &str, next: &str) -> String {
    if next.is_empty() {
        return path.to_owned();
    }
    format!("{path}?next={}", percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC))
}

/// Longest address that is gone back to.
const MAX_PATH: usize = 2_000;

/// A path of this site from a form field or query, or the fallback: never another site.
pub fn local_path(next: Option<&str>, fallback: &str) -> String {
    match next {
        Some(path)
            if path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n', '\t']) && path.len() <= MAX_PATH =>
        {
            path.to_owned()
        }
        _ => fallback.to_owned(),
    }
}

impl Page {
    /// Whether the page is `href` or below it, for the sidebar. A console's root covers only itself; cases count as below the queue, the
    /// wizard as below the deployments.
    pub fn at(&self, href: &str) -> bool {
        let root = matches!(href, "/vendor" | "/mine" | "/admin" | "/");
        let below = match href {
            "/admin/queue" => self.path.starts_with("/admin/cases/"),
            "/mine/deployments" => self.path.starts_with("/mine/deploy"),
            _ => false,
        };
        if below {
            return true;
        }
        self.path == href || (!root && self.path.strip_prefix(href).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The address to come back to: that of the page, or after a form just its path.
    pub fn here(&self) -> &str {
        if self.got { &self.uri } else { &self.path }
    }

    /// Where to go on after sign-in: the page itself, or what a page of signing in was told; empty for the console.
    fn onward(&self) -> String {
        if !matches!(self.path.as_str(), "/sign-in" | "/sign-up") {
            return if self.path == "/" { String::new() } else { self.here().to_owned() };
        }
        let query = self.uri.split_once('?').map_or("", |(_, query)| query);
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        local_path(pairs.iter().find(|(name, _)| name == "next").map(|(_, next)| next.as_str()), "")
    }

    /// The reader's console.
    pub fn console(&self) -> &'static str {
        match self.viewer.as_ref().map_or("", |v| v.organization_kind) {
            "vendor" => "/vendor",
            "operator" => "/mine",
            "platform" => "/admin",
            _ => "/",
        }
    }

    /// Address of the sign-in page that leads back here.
    pub fn sign_in(&self) -> String {
        with_next("/sign-in", &self.onward())
    }

    /// Address of the sign-up page that leads back here.
    pub fn sign_up(&self) -> String {
        with_next("/sign-up", &self.onward())
    }
}
