//! Webhooks, the same pages in the consoles of developers (`/vendor/webhooks`) and mines (`/mine/webhooks`).

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::once;
use crate::base::app::App;
use crate::base::auth::{Actor, OrgKind};
use crate::base::error::{Error, Kind, Result};
use crate::http::extract::{Form, FormPairs};
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::http::paging::{Before, paging};
use crate::webhook::model::{DeliveryState, EventKind, Webhook, WebhookState};
use crate::webhook::service::{self, DeliveryLine};

/// The console of a page.
fn base<const VENDOR: bool>() -> &'static str {
    if VENDOR { "/vendor/webhooks" } else { "/mine/webhooks" }
}

/// Whether the reader is of the console's side.
fn side<const VENDOR: bool>(actor: &Actor) -> Result<()> {
    let kind = if VENDOR { OrgKind::Vendor } else { OrgKind::Operator };
    if actor.person()?.kind == kind { Ok(()) } else { Err(Error::forbidden("not-permitted")) }
}

/// A webhook in the list.
pub struct WebhookRow {
    pub href: String,
    pub url: String,
    pub kinds: Vec<String>,
    pub on: bool,
    /// Since when nothing has come through.
    pub failing: Option<String>,
    /// Messages that were not kept.
    pub lost: i64,
    pub created: String,
}

impl WebhookRow {
    fn of(page: &Page, base: &str, webhook: &Webhook) -> Self {
        let kinds = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Test && webhook.wants(**kind));
        Self {
            href: format!("{base}/{}", webhook.id),
            url: webhook.url.clone(),
            kinds: kinds.map(|kind| page.tk("webhook-kind-", kind.key())).collect(),
            on: webhook.state == WebhookState::On,
            failing: webhook.failing_since.map(|at| page.datetime(&at)),
            lost: webhook.lost,
            created: page.date(&webhook.created_at),
        }
    }
}

/// `/vendor/webhooks`, `/mine/webhooks`.
#[derive(Template)]
#[template(path = "parts/webhooks.html")]
pub struct WebhooksPage {
    pub page: Page,
    pub vendor: bool,
    pub base: &'static str,
    pub rows: Vec<WebhookRow>,
    pub url: String,
    /// What can be told: word, text, and whether it is ticked.
    pub kinds: Vec<(&'static str, String, bool)>,
    pub errors: FormErrors,
}

/// A try of a message.
pub struct AttemptRow {
    /// When, with the status or what went wrong before there was one, and how long it took.
    pub line: String,
    pub taken: bool,
    pub answer: String,
}

/// A message in the log.
pub struct DeliveryRow {
    pub id: String,
    pub message: String,
    pub kind: String,
    pub at: String,
    pub state: DeliveryState,
    pub tone: &'static str,
    /// When it is tried next; none where it waits no more.
    pub due: Option<String>,
    pub attempts: Vec<AttemptRow>,
}

impl DeliveryRow {
    fn of(page: &Page, line: DeliveryLine) -> Self {
        let delivery = line.delivery;
        let outcome = |status: Option<i64>, fault: Option<&str>| match (status, fault) {
            (Some(status), _) => status.to_string(),
            (None, Some(fault)) => page.tk("webhook-fault-", fault),
            (None, None) => String::new(),
        };
        let attempts = line.attempts.into_iter().map(|attempt| AttemptRow {
            line: format!("{} · {} · {} ms", page.datetime(&attempt.at), outcome(attempt.status, attempt.fault.as_deref()), attempt.millis),
            taken: attempt.status.is_some_and(|status| (200..300).contains(&status)),
            answer: attempt.answer,
        });
        Self {
            attempts: attempts.collect(),
            kind: page.tk("webhook-kind-", delivery.kind.key()),
            at: page.datetime(&delivery.created_at),
            due: (delivery.state == DeliveryState::Waiting).then(|| page.datetime(&delivery.due_at)),
            state: delivery.state,
            tone: match delivery.state {
                DeliveryState::Waiting => "amber",
                DeliveryState::Delivered => "green",
                DeliveryState::GivenUp => "red",
            },
            message: delivery.message_id,
            id: delivery.id,
        }
    }
}

/// `/vendor/webhooks/{id}`, `/mine/webhooks/{id}`.
#[derive(Template)]
#[template(path = "parts/webhook.html")]
pub struct WebhookPage {
    pub page: Page,
    pub vendor: bool,
    pub base: &'static str,
    pub row: WebhookRow,
    /// The secret that was just made.
    pub fresh: Option<String>,
    /// Until when the secret before signs, too.
    pub both_until: Option<String>,
    pub waiting: i64,
    pub log: Vec<DeliveryRow>,
    pub previous: Option<String>,
    pub next: Option<String>,
}

pub async fn list<const VENDOR: bool>(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    show_list::<VENDOR>(&req, &app, &actor, String::new(), None, None).await
}

async fn show_list<const VENDOR: bool>(
    req: &HttpRequest,
    app: &App,
    actor: &Actor,
    url: String,
    chosen: Option<Vec<String>>,
    error: Option<Error>,
) -> PageResult {
    side::<VENDOR>(actor)?;
    let found = service::list(app, actor).await?;
    let page = Page::of(req, "webhooks-title");
    let base = base::<VENDOR>();
    let rows = found.webhooks.iter().map(|webhook| WebhookRow::of(&page, base, webhook)).collect();
    let ticked = |kind: &EventKind| chosen.as_ref().is_none_or(|chosen| chosen.iter().any(|word| word == kind.as_str()));
    let kinds = found.kinds.iter().map(|kind| (kind.as_str(), page.tk("webhook-kind-", kind.key()), ticked(kind))).collect();
    let errors = error.as_ref().map_or_else(FormErrors::default, |e| FormErrors::of(&page, e));
    page.clone().render_form(error.as_ref(), &WebhooksPage { page, vendor: VENDOR, base, rows, url, kinds, errors })
}

pub async fn create<const VENDOR: bool>(req: HttpRequest, app: Data<App>, actor: Actor, form: FormPairs) -> PageResult {
    side::<VENDOR>(&actor)?;
    let kinds: Vec<&str> = form.all("kinds").collect();
    match form_result(service::create(&app, &actor, form.get("url"), &kinds).await)? {
        Ok((id, secret)) => Ok(see_secret::<VENDOR>(&id, &actor, &secret)?),
        Err(e) => {
            let chosen = kinds.iter().map(|word| (*word).to_owned()).collect();
            show_list::<VENDOR>(&req, &app, &actor, form.get("url").to_owned(), Some(chosen), Some(e)).await
        }
    }
}

/// To the webhook, whose page shows the secret; it goes by the id, so that the page of no other one does.
fn see_secret<const VENDOR: bool>(id: &str, actor: &Actor, secret: &str) -> Result<HttpResponse> {
    once::see(&format!("{}/{id}", base::<VENDOR>()), id, actor, secret)
}

pub async fn show<const VENDOR: bool>(
    req: HttpRequest,
    app: Data<App>,
    actor: Actor,
    id: Path<String>,
    query: Query<Before>,
) -> PageResult {
    side::<VENDOR>(&actor)?;
    let (base, before) = (base::<VENDOR>(), query.into_inner().before);
    let mut found = service::detail(&app, &actor, id.into_inner(), before.clone()).await?;
    let page = Page::of(&req, "webhook-title");
    let row = WebhookRow::of(&page, base, &found.webhook);
    let (previous, next) = paging(&mut found.log, service::PAGE, &row.href, "before", before.as_deref(), |line| line.delivery.id.clone());
    let both = found.webhook.previous_until.filter(|until| *until > app.clock.now());
    let view = WebhookPage {
        vendor: VENDOR,
        base,
        fresh: once::read(&req, &found.webhook.id, &actor),
        both_until: both.map(|until| page.datetime(&until)),
        waiting: found.waiting,
        log: found.log.into_iter().map(|line| DeliveryRow::of(&page, line)).collect(),
        previous,
        next,
        row,
        page: page.clone(),
    };
    Ok(once::shown(page.render_with(StatusCode::OK, &view)?, view.fresh.is_some())?)
}

pub async fn renew<const VENDOR: bool>(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    side::<VENDOR>(&actor)?;
    let secret = service::renew_secret(&app, &actor, &id).await?;
    Ok(see_secret::<VENDOR>(&id, &actor, &secret)?)
}

/// Back to the webhook, with what was done or why it was not.
fn back<const VENDOR: bool>(id: &str, done: Result<()>, key: &str) -> PageResult {
    let path = format!("{}/{id}", base::<VENDOR>());
    match done {
        Ok(()) => Ok(see_other_with(&path, "success", key, &[])),
        Err(e) if e.kind == Kind::Conflict => Ok(see_other_with(&path, "danger", &format!("error-{}", e.code), &[])),
        Err(e) => Err(e.into()),
    }
}

pub async fn test<const VENDOR: bool>(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    side::<VENDOR>(&actor)?;
    back::<VENDOR>(&id, service::test(&app, &actor, &id).await, "webhook-tested")
}

/// The message to send again.
#[derive(Deserialize)]
pub struct Again {
    #[serde(default)]
    message: String,
}

pub async fn again<const VENDOR: bool>(app: Data<App>, actor: Actor, id: Path<String>, form: Form<Again>) -> PageResult {
    side::<VENDOR>(&actor)?;
    back::<VENDOR>(&id, service::send_again(&app, &actor, &id, form.0.message).await, "webhook-again-done")
}

pub async fn switch_on<const VENDOR: bool>(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    side::<VENDOR>(&actor)?;
    back::<VENDOR>(&id, service::switch_on(&app, &actor, &id).await, "webhook-on-done")
}

pub async fn remove<const VENDOR: bool>(app: Data<App>, actor: Actor, id: Path<String>) -> PageResult {
    side::<VENDOR>(&actor)?;
    service::remove(&app, &actor, &id).await?;
    Ok(see_other_with(base::<VENDOR>(), "success", "webhook-removed", &[]))
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::cookie::Cookie;
    use actix_web::http::Method;

    use super::*;
    use crate::testing::{self, answer, each_backend};

    /// Makes a webhook; the address of its page, and the cookie with its secret.
    async fn made(app: &App, owner: &Actor, host: &str) -> (String, Cookie<'static>) {
        let form = format!("url=https%3A%2F%2F{host}%2F&kinds=alarm.raised");
        let response = answer(app, owner, Method::POST, "/mine/webhooks", &form, None).await;
        let address = response.headers().get("location").unwrap().to_str().unwrap().to_owned();
        (address, response.cookies().next().unwrap().into_owned())
    }

    #[tokio::test]
    async fn a_secret_is_shown_on_the_page_of_its_webhook_alone_and_waits_for_that() {
        each_backend(|app| async move {
            let owner = testing::operator(&app, "mine").await;
            let (first, _) = made(&app, &owner, "a.example").await;
            let (second, cookie) = made(&app, &owner, "b.example").await;
            // Both were made before a page was shown: the browser has the later cookie.
            for (address, shows) in [(&first, false), (&second, true)] {
                let response = answer(&app, &owner, Method::GET, address, "", Some(cookie.clone())).await;
                assert_eq!(response.cookies().next().is_some(), shows, "{address}: only the page that shows it deletes it");
                let body = to_bytes(response.into_body()).await.unwrap_or_default();
                assert_eq!(String::from_utf8_lossy(&body).contains("whsec_"), shows, "{address}");
            }
        })
        .await;
    }
}
