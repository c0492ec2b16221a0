//! Errors as pages: what was wrong and the way on.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::http::{Method, header};
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use askama::Template;

use super::held::{Held, HeldPage};
use super::page::{Page, lang_of, see_other, status_of, with_next};
use super::{assets, cookies};
use crate::base::error::{Error, Kind};
use crate::base::i18n::{Lang, error_text};

#[derive(Template)]
#[template(path = "layout/error.html")]
struct ErrorPage {
    page: Page,
    status: u16,
    text: String,
    /// Whether a link to choose a new password was over: another one can be asked for.
    link_over: bool,
    /// Who may do what the reader may not: roles of the organisation, in words.
    roles: String,
    request_id: String,
}

/// What is shown where the server has too much to do: made once, without anything of its reader, for a refusal must cost less than the page
/// that was asked for.
#[derive(Template)]
#[template(path = "layout/busy.html")]
struct BusyPage {
    lang: Lang,
    theme: &'static str,
    css: String,
    text: String,
}

const THEMES: [&str; 3] = ["auto", "light", "dark"];

static BUSY: LazyLock<HashMap<(Lang, &str), Bytes>> = LazyLock::new(|| {
    let page = |lang, theme| BusyPage { lang, theme, css: assets::url("css/app.css"), text: error_text(lang, "server-busy", &[]) };
    let all = Lang::ALL.into_iter().flat_map(|lang| THEMES.map(|theme| (lang, theme)));
    all.map(|(lang, theme)| ((lang, theme), page(lang, theme).render().unwrap_or_default().into())).collect()
});

fn busy(req: &HttpRequest) -> HttpResponse {
    let chosen = cookies::read(req, cookies::THEME);
    let theme = THEMES.into_iter().find(|theme| chosen.as_deref() == Some(theme)).unwrap_or("auto");
    let body = BUSY.get(&(lang_of(req), theme)).cloned().unwrap_or_default();
    HttpResponse::ServiceUnavailable()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::VARY, "Cookie, Accept-Language"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}

/// The error page. People who are not signed in are led to the sign-in page, with what they have typed.
pub fn error_page(req: &HttpRequest, error: &Error, request_id: &str) -> HttpResponse {
    if error.kind == Kind::Unauthenticated && req.method() == Method::GET {
        return see_other(&with_next("/sign-in", req.uri().path_and_query().map_or("/", |p| p.as_str())));
    }
    if error.code == "server-busy" && error.kind == Kind::Unavailable && req.method() == Method::GET {
        return busy(req);
    }
    let status = status_of(error.kind);
    let text = error_text(lang_of(req), error.code, &error.args);
    if let Some(held) = req.extensions().get::<Held>() {
        let fault = matches!(error.kind, Kind::Unavailable | Kind::Full | Kind::Internal);
        let given_back = match error.code {
            "csrf" => Some(HeldPage::after_session(req, held)),
            _ if fault => HeldPage::after_fault(req, held, text.clone(), request_id),
            _ => None,
        };
        if let Some(page) = given_back {
            return page.answer(status).unwrap_or_else(|_| HttpResponse::new(status));
        }
    }
    let page = Page::of(req, "problem-title");
    let template = ErrorPage {
        page: page.clone(),
        status: status.as_u16(),
        text,
        link_over: error.code == "link-over" && page.path == "/new-password",
        roles: roles(&page, error),
        request_id: request_id.to_owned(),
    };
    page.render_with(status, &template).unwrap_or_else(|_| HttpResponse::new(status))
}

/// The roles that an error names, in words.
fn roles(page: &Page, error: &Error) -> String {
    page.roles(error.args.iter().find(|(name, _)| *name == "roles").map_or("", |(_, roles)| roles))
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    #[tokio::test]
    async fn who_comes_by_a_link_that_is_over_is_led_to_a_new_one() {
        for (path, leads) in [("/new-password", true), ("/confirm-address", false)] {
            let request = TestRequest::get().uri(path).to_http_request();
            let response = error_page(&request, &Error::gone("link-over"), "1");
            assert_eq!(response.status().as_u16(), 410);
            let body = to_bytes(response.into_body()).await.unwrap();
            let html = String::from_utf8(body.to_vec()).unwrap();
            assert_eq!(html.contains("href=\"/forgotten-password\""), leads, "{path}: {html}");
        }
    }
}
