//! Forms that wait for a click: what was typed when the session ended or the server failed, and acts that cannot be undone, where no script
//! asks.
//!
//! Nothing is kept on the server: the fields lie in the page. A form is held only where the browser says that it comes from a page of this
//! site, so that no other site can fill one in and have it confirmed.

use actix_web::http::StatusCode;
use actix_web::{HttpMessage as _, HttpRequest};
use askama::Template;

use super::address::came_from;
use super::page::{FormErrors, Page, PageResult, local_path};
use crate::base::error::Error;

/// Most bytes of a form that are held, URL-encoded.
const MAX_BYTES: usize = 64 * 1024;
/// Field with the question that a form asks before it is carried out: `word of the button|question`. With `:name=value` behind it, it asks
/// only where the form has that field, so that each button may have a question of its own.
const CONFIRM: &str = "_confirm";
/// Field that says that the question was answered.
const CONFIRMED: &str = "_confirmed";
/// Fields that are chosen by pages and say nothing to a person.
const IDS: [&str; 9] = ["id", "release", "license", "node", "channel", "site_id", "next", "held", "held_action"];

/// A form that is not carried out yet.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Path and query to which it is sent.
    pub action: String,
    /// Fields by name, without passwords and those of the mechanism.
    pub fields: Vec<(String, String)>,
    /// Names of passwords, which are typed again.
    pub secrets: Vec<String>,
    /// CSRF value that came with it.
    csrf: String,
}

fn is_secret(name: &str) -> bool {
    name.contains("password") || name.contains("secret") || name == "token"
}

impl Held {
    /// The form of a request; none where it is too large or its address is not one of this site.
    pub fn of(req: &HttpRequest, pairs: &[(String, String)]) -> Option<Self> {
        Self::new(req.uri().path_and_query().map_or("", |p| p.as_str()), pairs)
    }

    fn new(action: &str, pairs: &[(String, String)]) -> Option<Self> {
        let mut held = Self { action: local_path(Some(action), ""), ..Self::default() };
        for (name, value) in pairs {
            if is_secret(name) {
                held.secrets.push(name.clone());
            } else if name == "_csrf" {
                held.csrf.clone_from(value);
            } else if name != CONFIRMED {
                held.fields.push((name.clone(), value.clone()));
            }
        }
        let fits = serde_urlencoded::to_string(&held.fields).is_ok_and(|text| text.len() <= MAX_BYTES);
        (fits && !held.action.is_empty()).then_some(held)
    }

    /// From the fields of the sign-in form, which carries it.
    pub fn unpacked(action: &str, packed: &str) -> Option<Self> {
        if action.is_empty() || packed.len() > MAX_BYTES {
            return None;
        }
        Self::new(action, &serde_urlencoded::from_str::<Vec<(String, String)>>(packed).ok()?)
    }

    /// For a field of the sign-in form; passwords by their names alone.
    fn packed(&self) -> String {
        let secrets = self.secrets.iter().map(|name| (name.clone(), String::new()));
        serde_urlencoded::to_string(self.fields.iter().cloned().chain(secrets).collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Keeps the form of a request with it, for an answer that gives it back; not that of another site.
    pub fn keep(req: &HttpRequest, pairs: &[(String, String)]) {
        if from_this_site(req)
            && let Some(held) = Self::of(req, pairs)
        {
            req.extensions_mut().insert(held);
        }
    }

    /// Locale key of the label of a password, and what a password manager may fill in.
    fn secret(&self, name: &str) -> (&'static str, &'static str) {
        match (name, self.action.split('?').next().unwrap_or_default()) {
            ("current_password", _) => ("password-current", "current-password"),
            ("new_password", _) => ("password-new", "new-password"),
            (_, "/sign-up" | "/new-password") => ("field-password", "new-password"),
            (_, path) if path.starts_with("/invitations/") => ("field-password", "new-password"),
            _ => ("field-password", "current-password"),
        }
    }

    /// What is shown of it: fields that a person may have filled in.
    fn shown(&self) -> Vec<(String, String)> {
        let filled_in = |name: &str, value: &str| !name.starts_with('_') && !IDS.contains(&name) && !value.trim().is_empty();
        self.fields.iter().filter(|(name, value)| filled_in(name, value)).cloned().collect()
    }

    /// The form's question, if it has one that was not answered: word of the button, question. `{name}` in it is the field of that name.
    pub fn question(pairs: &[(String, String)]) -> Option<(String, String)> {
        let has = |name: &str, value: Option<&str>| pairs.iter().any(|(n, v)| n == name && value.is_none_or(|value| v == value));
        if has(CONFIRMED, None) {
            return None;
        }
        let asks = |name: &str| match name.strip_prefix(CONFIRM)? {
            "" => Some(true),
            rest => rest.strip_prefix(':').and_then(|rest| rest.split_once('=')).map(|(name, value)| has(name, Some(value))),
        };
        // That of a button comes after that of its form.
        let (_, text) = pairs.iter().rev().find(|(name, _)| asks(name) == Some(true))?;
        let (word, question) = text.split_once('|')?;
        let shown = pairs.iter().filter(|(name, _)| !is_secret(name));
        let filled = shown.fold(question.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value.trim()));
        Some((word.to_owned(), filled))
    }
}

/// Whether the browser says that a request comes from a page of this site. Browsers say so by themselves; no page can change what they say.
pub fn from_this_site(req: &HttpRequest) -> bool {
    let said = |name: &str| req.headers().get(name).and_then(|v| v.to_str().ok());
    match (said("sec-fetch-site"), said("origin"), said("host")) {
        (Some(site), ..) => site == "same-origin",
        (None, Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host)),
        _ => false,
    }
}

/// Forms that people fill in before they sign in.
fn is_public(path: &str) -> bool {
    matches!(path, "/sign-in" | "/sign-up" | "/forgotten-password" | "/new-password" | "/confirm-address")
        || path.starts_with("/invitations/")
}

/// The page of a held form.
#[derive(Template)]
#[template(path = "layout/held.html")]
pub struct HeldPage {
    page: Page,
    /// What happened, or the question.
    text: String,
    /// The word of the button.
    word: String,
    held: Held,
    /// Fields as shown.
    shown: Vec<(String, String)>,
    /// The form as a field of the sign-in form, where the reader must sign in first.
    packed: Option<String>,
    /// Address as typed.
    email: String,
    /// Where to go instead.
    back: String,
    /// Whether the act cannot be undone.
    danger: bool,
    /// Number of the request where the server failed, or empty.
    request_id: String,
    errors: FormErrors,
}

impl HeldPage {
    fn new(mut page: Page, held: &Held, text: String, word: String) -> Self {
        page.held = true;
        Self {
            page,
            text,
            word,
            shown: held.shown(),
            held: held.clone(),
            packed: None,
            email: String::new(),
            back: String::new(),
            danger: false,
            request_id: String::new(),
            errors: FormErrors::default(),
        }
    }

    /// For a form that passed and met a fault: `said` says what happened. Nobody may be known yet, so it goes with the value that it came
    /// with; none where it came by script, which keeps its form.
    pub fn after_fault(req: &HttpRequest, held: &Held, said: String, request_id: &str) -> Option<Self> {
        let mut page = Page::of(req, "problem-title");
        page.csrf.clone_from(&held.csrf);
        page.title = said;
        let (text, word) = (page.t("held-fault"), page.t("held-again"));
        let made = Self { back: came_from(req), request_id: request_id.to_owned(), ..Self::new(page, held, text, word) };
        (!held.csrf.is_empty()).then_some(made)
    }

    /// For a form that met the end of its session: to sign in, or to send it with the session of now.
    pub fn after_session(req: &HttpRequest, held: &Held) -> Self {
        let page = Page::of(req, "held-title").with_form();
        let path = held.action.split('?').next().unwrap_or_default();
        if page.viewer.is_some() || is_public(path) {
            let text = page.t(if page.viewer.is_some() { "held-other-session" } else { "held-expired" });
            return Self { back: came_from(req), ..Self::new(page.clone(), held, text, page.t("held-send")) };
        }
        Self::to_sign_in(page, held, String::new(), FormErrors::default())
    }

    /// To sign in, and then go on.
    pub fn to_sign_in(page: Page, held: &Held, email: String, errors: FormErrors) -> Self {
        let (text, word) = (page.t("held-sign-in"), page.t("sign-in-submit"));
        Self { packed: Some(held.packed()), email, errors, ..Self::new(page, held, text, word) }
    }

    /// After signing in on [`Self::to_sign_in`]: nothing is sent without a click of the person who is signed in now.
    pub fn signed_in(req: &HttpRequest, held: &Held) -> Self {
        let page = Page::of(req, "held-title");
        let text = page.t("held-signed-in");
        Self::new(page.clone(), held, text, page.t("held-send"))
    }

    /// The question before an act that cannot be undone.
    pub fn question(req: &HttpRequest, mut held: Held, (word, text): (String, String)) -> Self {
        held.fields.push((CONFIRMED.to_owned(), "1".to_owned()));
        Self { back: came_from(req), danger: true, ..Self::new(Page::of(req, "confirm-title"), &held, text, word) }
    }

    pub fn answer(&self, status: StatusCode) -> PageResult {
        self.page.render_with(status, self)
    }

    /// The answer to who was not let in.
    pub fn refused(&self, error: &Error) -> PageResult {
        self.page.render_form(Some(error), self)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn pairs(form: &str) -> Vec<(String, String)> {
        serde_urlencoded::from_str(form).unwrap()
    }

    #[test]
    fn a_form_is_held_without_its_passwords_and_within_bounds() {
        let held = Held::new("/admin/cases/cas_1", &pairs("_csrf=x&reason=%E4%B8%8D&password=hush&new_password=hush")).unwrap();
        assert_eq!(held.fields, pairs("reason=%E4%B8%8D"));
        assert_eq!(held.secrets, ["password", "new_password"]);
        assert!(!held.packed().contains("hush"));
        let again = Held::unpacked(&held.action, &held.packed()).unwrap();
        assert_eq!((again.fields, again.secrets), (held.fields, held.secrets));
        assert!(Held::new("/x", &[("a".into(), "a".repeat(MAX_BYTES))]).is_none());
        for foreign in ["//evil.example/x", "https://evil.example/x", ""] {
            assert!(Held::new(foreign, &[]).is_none(), "{foreign}");
            assert!(Held::unpacked(foreign, "a=b").is_none(), "{foreign}");
        }
    }

    #[test]
    fn every_field_of_a_password_is_a_secret() {
        let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")];
        let mut fields = 0;
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split("ui::field(\"").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
                if call.contains("kind=\"password\"") {
                    let name = call.split('"').next().unwrap();
                    assert!(is_secret(name), "{}: {name}", path.display());
                    fields += 1;
                }
            }
        }
        assert!(fields >= 6, "{fields}");
    }

    #[test]
    fn every_field_that_is_shown_has_a_word() {
        use crate::base::i18n::Lang;

        let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")];
        let mut names = std::collections::BTreeSet::from(["kind".to_owned()]);
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split("ui::field(\"").skip(1).chain(text.split("ui::area(\"").skip(1)) {
                names.insert(call.split('"').next().unwrap().to_owned());
            }
        }
        names.retain(|name| !is_secret(name) || name == "password");
        assert!(names.len() >= 15, "{names:?}");
        for name in names {
            let key = format!("field-{}", name.replace('_', "-"));
            assert!(Lang::ALL.iter().all(|lang| lang.has(&key)), "{key}");
        }
    }

    #[test]
    fn what_a_page_chose_is_sent_and_not_shown() {
        let held = Held::new("/mine/nodes/new", &pairs("site_id=sit_1&name=North&release=&_at=1")).unwrap();
        assert_eq!(held.shown(), pairs("name=North"));
        assert!(held.packed().contains("sit_1"));
    }

    #[test]
    fn a_question_is_asked_once_and_of_its_own_button() {
        let asked = |form: &str| Held::question(&pairs(form));
        assert_eq!(asked("_confirm=Book|{amount}+yuan%3F&amount=+5.00"), Some(("Book".into(), "5.00 yuan?".into())));
        assert_eq!(asked("_confirm=Book|{amount}+yuan%3F&amount=5.00&_confirmed=1"), None);
        assert_eq!(asked("_confirm=Save|All%3F&_confirm=Revoke|This%3F"), Some(("Revoke".into(), "This?".into())));
        let case = "_confirm:decision%3Dreject=Reject|For+ever%3F&decision=";
        assert_eq!(asked(&format!("{case}reject")), Some(("Reject".into(), "For ever?".into())));
        assert_eq!(asked(&format!("{case}approve")), None);
        assert_eq!(asked("a=b"), None);
    }

    #[test]
    fn only_what_browsers_say_of_this_site_counts() {
        let says = |headers: &[(&str, &str)]| {
            let request = headers.iter().fold(TestRequest::post(), |r, &header| r.insert_header(header));
            from_this_site(&request.to_http_request())
        };
        assert!(says(&[("sec-fetch-site", "same-origin")]));
        assert!(says(&[("host", "pit.example:8080"), ("origin", "http://pit.example:8080")]));
        assert!(!says(&[("sec-fetch-site", "same-site"), ("host", "pit.example"), ("origin", "https://pit.example")]));
        assert!(!says(&[("host", "pit.example"), ("origin", "https://evil.example")]));
        assert!(!says(&[("host", "pit.example"), ("origin", "null")]));
        assert!(!says(&[("host", "pit.example")]));
    }
}
