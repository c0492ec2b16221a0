//! /admin/stops/…: one page before each stop. It says what the stop does and how much it touches, and asks for the reason; sending its form
//! is the confirmation, with or without script.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use askama::Template;
use serde::Deserialize;

use crate::account::model::DecisionNote;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::http::extract::Form;
use crate::http::page::{FormErrors, Page, PageResult, form_result, see_other_with};
use crate::stops::model::Stop;
use crate::stops::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/admin/stops/{stop}/{id}", web::get().to(preview)).route("/admin/stops/{stop}/{id}", web::post().to(act));
}

async fn preview(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>) -> PageResult {
    show(&req, &app, &actor, read(path)?, String::new(), None).await
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

async fn act(req: HttpRequest, app: Data<App>, actor: Actor, path: Path<(String, String)>, form: Form<Reason>) -> PageResult {
    let (stop, id) = read(path)?;
    match form_result(service::act(&app, &actor, stop, &id, &form.0.reason).await)? {
        Ok((subject, _)) => {
            let name = Page::of(&req, "").name(&subject.name).to_owned();
            Ok(see_other_with(&subject.href, "success", &format!("stop-done-{stop}"), &[("name", &name)]))
        }
        Err(error) => show(&req, &app, &actor, (stop, id), form.0.reason, Some(error)).await,
    }
}

fn read(path: Path<(String, String)>) -> Result<(Stop, String), Error> {
    let (word, id) = path.into_inner();
    Ok((word.parse().map_err(|_| Error::not_found("page"))?, id))
}

async fn show(req: &HttpRequest, app: &App, actor: &Actor, (stop, id): (Stop, String), reason: String, error: Option<Error>) -> PageResult {
    let found = service::preview(app, actor, stop, &id).await?;
    let mut page = Page::of(req, "");
    page.title = page.tk("stop-title-", stop);
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let errors = error.map(|e| FormErrors::of(&page, &e)).unwrap_or_default();
    let view = StopPage {
        action: format!("/admin/stops/{stop}/{id}"),
        what: page.tk("stop-what-", stop),
        name: page.name(&found.subject.name).to_owned(),
        href: found.subject.href,
        reach: found.reach.words(page.locale()),
        lifts: stop.lifts(),
        reason,
        errors,
        page: page.clone(),
    };
    page.render_with(status, &view)
}

/// `/admin/stops/{stop}/{id}`.
#[derive(Template)]
#[template(path = "admin/stop.html")]
pub struct StopPage {
    pub page: Page,
    pub action: String,
    /// What is stopped, and its page.
    pub name: String,
    pub href: String,
    /// What the stop does, in a sentence or two.
    pub what: String,
    /// How much it touches; empty where nothing.
    pub reach: Vec<String>,
    /// Whether something goes on by it.
    pub lifts: bool,
    /// Reason as typed.
    pub reason: String,
    pub errors: FormErrors,
}

/// A decision on what a page is about.
pub struct NoteRow {
    pub at: String,
    pub what: String,
    pub reason: String,
    pub by: String,
    /// Colour of its point.
    pub tone: &'static str,
}

impl NoteRow {
    pub fn of(page: &Page, note: &DecisionNote) -> Self {
        let lifted = [".resumed", ".enabled"].iter().any(|end| note.action.ends_with(end));
        Self {
            at: page.datetime(&note.at),
            what: page.tk("audit-action-", note.action.replace('.', "-")),
            reason: note.reason.clone(),
            by: if note.by.is_empty() { page.t("audit-actor-system") } else { note.by.clone() },
            tone: if lifted { "green" } else { "red" },
        }
    }
}
