//! Addresses of this site: where a page is, and where its reader goes on.

use actix_web::HttpRequest;
use actix_web::http::header;

use super::page::Page;

/// An address with the one to go on to, if any.
pub fn with_next(path: &str, next: &str) -> String {
    if next.is_empty() {
        return path.to_owned();
    }
    format!("{path}?next={}", percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC))
}

/// Longest address that is gone back to: the wizard's has 200 nodes of 42 characters each.
const MAX_PATH: usize = 16_000;

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

/// The page of this site on which a form was, by the browser's words; else empty.
pub(super) fn came_from(req: &HttpRequest) -> String {
    let said = |name| req.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let path = said(header::REFERER).split_once("://").and_then(|(_, rest)| rest.strip_prefix(said(header::HOST)));
    local_path(path, "")
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

    /// The address to come back to: that of the page, or after a form that of the page with the form, for where a form goes there may be none.
    pub fn here(&self) -> &str {
        if self.got { &self.uri } else { &self.from }
    }

    /// Where to go on after sign-in: the page itself, or what a page of signing in was told; empty for the console.
    fn onward(&self) -> String {
        if !matches!(self.path.as_str(), "/sign-in" | "/sign-up") {
            return if self.here() == "/" { String::new() } else { self.here().to_owned() };
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

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn sent(path: &str, referer: &str) -> Page {
        let request = TestRequest::post().uri(path).insert_header(("host", "pit.example")).insert_header(("referer", referer));
        Page::of(&request.to_http_request(), "problem-title")
    }

    #[test]
    fn after_a_form_a_page_leads_back_to_the_one_with_the_form() {
        let page = sent("/mine/nodes/n1/code", "https://pit.example/mine/nodes/n1?a=b");
        assert_eq!((page.here(), page.sign_in().as_str()), ("/mine/nodes/n1?a=b", "/sign-in?next=%2Fmine%2Fnodes%2Fn1%3Fa%3Db"));
        for foreign in ["https://evil.example/x", "https://pit.example.evil/x", "https://pit.example//evil.example", "x", ""] {
            let page = sent("/mine/nodes/n1/code", foreign);
            assert_eq!((page.here(), page.sign_in().as_str()), ("/", "/sign-in"), "{foreign}");
        }
        // A mistake on the way in loses nothing either.
        assert_eq!(sent("/sign-in?next=/apps", "").sign_up(), "/sign-up?next=%2Fapps");
    }

    #[test]
    fn an_address_with_all_the_nodes_of_the_wizard_is_gone_back_to() {
        let nodes = format!("&node={}", crate::base::ids::new("nod")).repeat(200);
        let path = format!("/mine/deploy?step=parameters{nodes}");
        assert_eq!(local_path(Some(&path), "/"), path);
        assert_eq!(local_path(Some(&format!("/{}", "a".repeat(MAX_PATH))), "/"), "/");
    }
}
