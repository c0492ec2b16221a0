//! The site's cookies: session, known browser, language, theme, one-time message, and the CSRF value of people who are not signed in.

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite, time::Duration};

/// Session cookie. The `__Host-` prefix binds it to this host, path `/` and Secure (browsers count loopback as secure).
pub const SESSION: &str = "__Host-session";
/// Says that this browser signed in before: it is then not held up by wrong passwords that others send. It proves nothing else.
pub const DEVICE: &str = "__Host-device";
/// CSRF value before sign-in (double submit).
pub const CSRF: &str = "__Host-csrf";
/// `zh-CN` or `en`.
pub const LANG: &str = "lang";
/// `light` or `dark`; absent for the system's choice.
pub const THEME: &str = "theme";
/// Message for the next page: `kind|locale-key|name=value|…`.
pub const FLASH: &str = "flash";

/// The value of a cookie of the request.
pub fn read(req: &HttpRequest, name: &str) -> Option<String> {
    req.cookie(name).map(|c| c.value().to_owned())
}

/// A cookie that scripts cannot read.
pub fn private(name: &'static str, value: String, max_age_seconds: i64) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(Duration::seconds(max_age_seconds))
        .finish()
}

/// A cookie of a reader's preference, kept for a year.
pub fn preference(name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build(name, value).path("/").same_site(SameSite::Lax).max_age(Duration::days(365)).finish()
}

/// A cookie that makes the browser delete its own of this name.
pub fn expired(name: &'static str) -> Cookie<'static> {
    let mut cookie = Cookie::build(name, "").path("/").same_site(SameSite::Lax).max_age(Duration::ZERO);
    if name.starts_with("__Host-") {
        cookie = cookie.secure(true).http_only(true);
    }
    cookie.finish()
}
