//! Pages: the values that every template needs ([`Page`]), and errors as HTML ([`PageError`]).

use std::fmt::Write as _;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError};
use askama::Template;

use super::address::came_from;
pub use super::address::{local_path, with_next};
pub use super::ago::Ago;
use super::dialect::Dialect;
use super::{assets, cookies, csrf};
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Via};
use crate::base::clock::Clock;
use crate::base::db::Timestamp;
use crate::base::error::{Error, Kind};
use crate::base::i18n::Names;
use crate::base::i18n::{Lang, error_text};

/// Result of a page handler.
pub type PageResult = Result<HttpResponse, PageError>;

/// A domain error on its way to an HTML page. The middleware `errors` writes the body, since it knows reader and language.
#[derive(Debug)]
pub struct PageError(pub Error);

impl<E: Into<Error>> From<E> for PageError {
    fn from(e: E) -> Self {
        Self(e.into())
    }
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        status_of(self.0.kind)
    }
}

/// The status of each kind of error, the same in all dialects but OCI's.
pub fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::NoMethod => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Precondition => StatusCode::PRECONDITION_FAILED,
        Kind::Gone => StatusCode::GONE,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Full => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Header of a page's answer: for whom it is ([`Page::reader`]).
pub const READER: &str = "x-reader";
/// Header of a page's answer: the CSRF token of the reader's session. An open page takes it after its reader has signed in anew.
pub const CSRF: &str = "x-csrf-token";

/// Who a page is for, as [`Page::reader`] says it.
pub fn reader_of(actor: &Actor) -> String {
    actor.as_person().map(|p| format!("{} {}", p.user_id, p.organization_id)).unwrap_or_default()
}

/// The signed-in reader of a page.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Person's name; of a token, which a wall may show, the organisation's.
    pub name: String,
    /// Organisation's name in the page's language.
    pub organization: String,
    /// `vendor`, `operator` or `platform`.
    pub organization_kind: &'static str,
    /// Organisations that the person belongs to: id and name, to switch between.
    pub organizations: Vec<(String, String)>,
}

/// A message for one page view.
#[derive(Debug, Clone)]
pub struct Flash {
    /// `success`, `info`, `warning` or `danger`.
    pub kind: String,
    /// Text in the page's language.
    pub text: String,
}

/// The value `page` of every template.
#[derive(Debug, Clone)]
pub struct Page {
    /// BCP 47 tag.
    pub lang: &'static str,
    /// Title of the page, already in its language.
    pub title: String,
    /// Path of the request.
    pub path: String,
    /// Path and query of the request.
    pub uri: String,
    /// Value of the field `_csrf` in every form, masked.
    pub csrf: String,
    /// Person and organisation that the page is for, empty where nobody is signed in: an open page sees by it that somebody else is.
    pub reader: String,
    /// Time of the page in RFC 3339 where it is for one reader, from which an open page counts on.
    pub now: String,
    /// `light`, `dark` or `auto`.
    pub theme: String,
    /// Message of the last action.
    pub flash: Option<Flash>,
    /// Person signed in.
    pub viewer: Option<Viewer>,
    actor: Actor,
    locale: Lang,
    clock: Clock,
    /// CSRF value of a reader who is not signed in.
    anonymous_csrf: Option<String>,
    /// Whether `anonymous_csrf` is new to the browser.
    new_csrf: bool,
    /// The page was asked for by GET: its address shows it again.
    pub(super) got: bool,
    /// Where it was not, the page with the form, or the home page.
    pub(super) from: String,
    /// What was typed lies in the page ([`super::held`]): its head has no links that would leave it behind.
    pub held: bool,
}

impl Page {
    /// The page of a request, with the title's locale key (or a text that is no key, such as an app's title).
    pub fn of(req: &HttpRequest, title: &str) -> Self {
        let locale = lang_of(req);
        let extensions = req.extensions();
        let actor = extensions.get::<Actor>();
        let reader = actor.cloned().unwrap_or_default();
        let is_token = matches!(actor, Some(Actor::Person(_, Via::Token { .. })));
        let viewer = actor.and_then(Actor::as_person).map(|p| {
            let organization = locale.pick(&p.organization_name.zh, &p.organization_name.en).to_owned();
            let others = p.organizations.iter().filter(|_| !is_token);
            Viewer {
                name: if is_token { organization.clone() } else { p.name.clone() },
                organization,
                organization_kind: p.kind.as_str(),
                organizations: others.map(|(id, zh, en)| (id.clone(), locale.pick(zh, en).to_owned())).collect(),
            }
        });
        // Others than signed-in people get the value with a form only: their other pages may be kept for everybody.
        let (csrf, anonymous_csrf) = match actor {
            Some(Actor::Person(_, Via::Session { csrf, .. })) => (csrf::masked(csrf), None),
            _ => (String::new(), cookies::read(req, cookies::CSRF).filter(|value| value.len() == crate::base::ids::SECRET_CHARS)),
        };
        let clock = req.app_data::<actix_web::web::Data<crate::base::app::App>>().map(|app| app.clock.clone()).unwrap_or_default();
        let now = clock.now();
        Self {
            reader: actor.map(reader_of).unwrap_or_default(),
            // What is the same for all may be kept, and its time would be that of its making.
            now: viewer.as_ref().map(|_| now.rfc3339()).unwrap_or_default(),
            lang: locale.tag(),
            title: if locale.has(title) { locale.t(title) } else { title.to_owned() },
            path: req.path().to_owned(),
            uri: req.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            csrf,
            theme: cookies::read(req, cookies::THEME).filter(|t| t == "dark" || t == "light").unwrap_or_else(|| "auto".into()),
            flash: cookies::read(req, cookies::FLASH).and_then(|text| flash_of(locale, &text)),
            viewer,
            actor: reader,
            locale,
            clock,
            anonymous_csrf,
            new_csrf: false,
            got: req.method() == actix_web::http::Method::GET,
            from: Some(came_from(req)).filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into()),
            held: false,
        }
    }

    /// For pages with a form that people use before they sign in: makes the CSRF value where there is none.
    #[must_use]
    pub fn with_form(mut self) -> Self {
        if self.csrf.is_empty() {
            self.new_csrf = self.anonymous_csrf.is_none();
            let value = self.anonymous_csrf.get_or_insert_with(crate::base::ids::secret);
            self.csrf = csrf::masked(value);
        }
        self
    }

    pub fn locale(&self) -> Lang {
        self.locale
    }

    /// Text of a key.
    pub fn t(&self, key: &str) -> String {
        self.locale.t(key)
    }

    /// Text of a key made of two parts, such as `state-` and a state; `_` reads as `-`.
    pub fn tk(&self, prefix: &str, word: impl std::fmt::Display) -> String {
        self.locale.t(&format!("{prefix}{word}").replace('_', "-"))
    }

    /// Text of a key with one variable.
    pub fn t1(&self, key: &str, name: &str, value: impl std::fmt::Display) -> String {
        self.locale.format(key, &[(name, &value.to_string())])
    }

    /// Text of a key with two variables.
    pub fn t2(&self, key: &str, name: &str, value: impl std::fmt::Display, name2: &str, value2: impl std::fmt::Display) -> String {
        self.locale.format(key, &[(name, &value.to_string()), (name2, &value2.to_string())])
    }

    /// A name in the page's language.
    pub fn name<'a>(&self, names: &'a Names) -> &'a str {
        self.pick(&names.zh, &names.en)
    }

    /// The one of two texts that is in the page's language.
    pub fn pick<'a>(&self, zh: &'a str, en: &'a str) -> &'a str {
        self.locale.pick(zh, en)
    }

    /// Whether the reader may take an [`Action`], given by its word: pages do not offer actions that would be refused.
    pub fn may(&self, action: &str) -> bool {
        action.parse::<Action>().is_ok_and(|action| policy::require(&self.actor, action).is_ok())
    }

    /// Whether the reader is signed in and has yet to prove their address.
    pub fn unproven(&self) -> bool {
        self.actor.as_person().is_some_and(|person| !person.email_verified)
    }

    /// Who in the reader's organisation may take an [`Action`] that is called `what`, for those who may not.
    pub fn who_may(&self, action: &str, what: impl std::fmt::Display) -> String {
        let Some(person) = self.actor.as_person() else { return String::new() };
        let roles = action.parse::<Action>().map(|action| policy::permitted_roles(person.kind, action)).unwrap_or_default();
        self.t2("who-may", "what", what, "roles", self.roles(&roles))
    }

    /// Roles, given with blanks between, in words.
    pub fn roles(&self, roles: &str) -> String {
        let words: Vec<String> = roles.split_whitespace().map(|role| self.tk("role-", role)).collect();
        words.join(&self.t("list-comma"))
    }

    /// Whether the reader acts for a mine.
    pub fn at_a_mine(&self) -> bool {
        self.viewer.as_ref().is_some_and(|v| v.organization_kind == "operator")
    }

    /// Hashed URL of a file under `static/`.
    pub fn asset(&self, path: &str) -> String {
        assets::url(path)
    }

    /// `¥1,280.00`.
    pub fn money(&self, fen: &i64) -> String {
        self.locale.money(*fen)
    }

    /// Grouped count.
    pub fn count(&self, n: &i64) -> String {
        self.locale.count(*n)
    }

    /// Bytes in IEC units.
    pub fn bytes(&self, n: &i64) -> String {
        self.locale.bytes(*n)
    }

    pub fn date(&self, at: &Timestamp) -> String {
        self.locale.date(*at)
    }

    /// Date and time.
    pub fn datetime(&self, at: &Timestamp) -> String {
        self.locale.datetime(*at)
    }

    /// Date and time to the second, for what follows one another within a minute.
    pub fn moment(&self, at: &Timestamp) -> String {
        self.locale.moment(*at)
    }

    /// How long ago.
    pub fn ago(&self, at: &Timestamp) -> Ago {
        Ago::of(at.rfc3339(), self.locale.ago(*at, self.clock.now()))
    }

    /// Renders a template as the answer.
    pub fn render(&self, template: &impl Template) -> PageResult {
        self.render_with(StatusCode::OK, template)
    }

    /// Renders a template with a status, for example 422 for a form shown again.
    pub fn render_with(&self, status: StatusCode, template: &impl Template) -> PageResult {
        let html = template.render().map_err(Error::internal)?;
        let mut response = HttpResponse::build(status);
        response.content_type("text/html; charset=utf-8");
        // Browsers may keep an error as well: a link that is over would hide the one that came after it.
        if self.viewer.is_some() || !self.csrf.is_empty() || status.is_client_error() || status.is_server_error() {
            response.insert_header((header::CACHE_CONTROL, "private, no-store"));
            response.insert_header((READER, self.reader.as_str())).insert_header((CSRF, self.csrf.as_str()));
        }
        if self.flash.is_some() {
            response.cookie(cookies::expired(cookies::FLASH));
        }
        if let Some(value) = self.anonymous_csrf.clone().filter(|_| self.new_csrf) {
            response.cookie(cookies::private(cookies::CSRF, value, 12 * 3600));
        }
        Ok(response.body(html))
    }

    /// Renders a template with a form: as it is at first, or again with the status of an error and the time to wait that it names.
    pub fn render_form(&self, error: Option<&Error>, template: &impl Template) -> PageResult {
        let mut response = self.render_with(error.map_or(StatusCode::OK, |e| status_of(e.kind)), template)?;
        if let Some(after) = error.and_then(|e| e.retry_after) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(after));
        }
        Ok(response)
    }
}

fn flash_of(lang: Lang, text: &str) -> Option<Flash> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    let mut parts = text.split('|');
    let kind = parts.next().filter(|k| ["success", "info", "warning", "danger"].contains(k))?;
    let key = parts.next().filter(|k| lang.has(k))?;
    let args: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).take(4).collect();
    Some(Flash { kind: kind.to_owned(), text: lang.format(key, &args) })
}

/// The reader's language: cookie, then `Accept-Language`, then that of most who ask so: zh-CN for pages, English for programs.
pub fn lang_of(req: &HttpRequest) -> Lang {
    if let Some(lang) = cookies::read(req, cookies::LANG).and_then(|tag| Lang::from_tag(&tag)) {
        return lang;
    }
    let asked = req.headers().get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).and_then(Lang::negotiate);
    asked.unwrap_or(if Dialect::of(req) == Dialect::Page { Lang::Zh } else { Lang::En })
}

/// 303 to a path of this site.
pub fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}

/// 303 with a message for the next page: kind, locale key, values.
pub fn see_other_with(path: &str, kind: &str, key: &str, args: &[(&str, &str)]) -> HttpResponse {
    let mut text = format!("{kind}|{key}");
    for (name, value) in args {
        let _ = write!(text, "|{name}={}", value.replace(['|', '='], " "));
    }
    let value = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let cookie = actix_web::cookie::Cookie::build(cookies::FLASH, value)
        .path("/")
        .http_only(true)
        .same_site(actix_web::cookie::SameSite::Lax)
        .finish();
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).cookie(cookie).finish()
}

/// The messages of a form that is shown again because of mistakes.
#[derive(Debug, Clone, Default)]
pub struct FormErrors {
    /// Message for the whole form.
    pub general: String,
    fields: Vec<(String, String)>,
}

impl FormErrors {
    /// From an error, in the page's language.
    pub fn of(page: &Page, error: &Error) -> Self {
        let fields = error.fields.iter().map(|f| (f.field.clone(), error_text(page.locale, f.code, &f.args))).collect();
        Self { general: error_text(page.locale, error.code, &error.args), fields }
    }

    /// Message of a field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == field).map(|(_, text)| text.as_str())
    }

    /// Whether there is anything to show.
    pub fn any(&self) -> bool {
        !self.general.is_empty()
    }
}

/// Splits a service's result: `Ok(Ok(value))`, or `Ok(Err(error))` where the form should be shown again, or the error page.
pub fn form_result<T>(result: Result<T, Error>) -> Result<Result<T, Error>, PageError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(e) if matches!(e.kind, Kind::Invalid | Kind::Conflict | Kind::Gone | Kind::RateLimited) || e.code == "wrong-password" => {
            Ok(Err(e))
        }
        Err(e) => Err(e.into()),
    }
}
