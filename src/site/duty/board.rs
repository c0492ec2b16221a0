//! /duty/board: what calls, the alarm that is looked at, and what a person does with it.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::{Deserialize, Serialize};

use super::queue::Line;
use super::row::Current;
use crate::alarm_management::board::{self, PAGE, Summary, up_to};
use crate::alarm_management::model::{Act, Cursor, Filter, RuleAt, Shift, Show, Verdict};
use crate::alarm_management::span::Span;
use crate::alarm_management::{flood, service};
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::base::error::{Error, Kind};
use crate::base::ids;
use crate::http::extract::{Form, FormPairs};
use crate::http::page::{FormErrors, Page, PageResult, form_result, local_path, see_other, see_other_with};
use crate::http::paging::paging;
use crate::telemetry::model::Level;
use crate::telemetry::pictures;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/duty/board", web::get().to(board))
        .route("/duty/board/acknowledge", web::post().to(acknowledge_chosen))
        .route("/duty/board/{id}/acknowledge", web::post().to(acknowledge))
        .route("/duty/board/{id}/judge", web::post().to(judge))
        .route("/duty/board/{id}/shelve", web::post().to(shelve))
        .route("/duty/board/{id}/unshelve", web::post().to(unshelve))
        .route("/duty/board/{id}/take-out", web::post().to(take_out))
        .route("/duty/board/{id}/put-back", web::post().to(put_back))
        .route("/duty/board/{id}/fetch-picture", web::post().to(fetch_picture))
        .route("/mine/alarms", web::get().to(moved));
}

/// Which alarms a desk shows, as its address says it; words that are none count for nothing, days that are none are told.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Wanted {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub show: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub level: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub site: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deployment: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verdict: String,
    /// `now`: the present shift, `last`: the one before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shift: String,
    /// The rule at one place that a row of a flood stands for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// First and last day by the mine's time, `2026-11-27`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// The alarm that is looked at.
    #[serde(skip_serializing)]
    pub alarm: String,
    /// Where the page of the list begins.
    #[serde(skip_serializing)]
    pub after: String,
}

impl Wanted {
    pub fn show(&self) -> Show {
        self.show.parse().unwrap_or_default()
    }

    /// What the board asks for.
    ///
    /// # Errors
    /// Those of [`Span::of_days`].
    pub fn filter(&self, now: Timestamp) -> Result<Filter, Error> {
        let id = |text: &str| Some(text.to_owned()).filter(|id| ids::is_sound(id));
        let shift = match self.shift.as_str() {
            "now" => Some(Shift::at(now)),
            "last" => Some(Shift::at(now).before()),
            _ => None,
        };
        let shift = shift.map_or_else(Span::default, |shift| Span { from: Some(shift.from), to: Some(shift.to) });
        let Span { from, to } = Span::of_days(&self.from, &self.to)?.within(shift);
        Ok(Filter {
            show: self.show(),
            level: self.level.parse().ok(),
            site_id: id(&self.site),
            app_id: id(&self.app),
            deployment_id: id(&self.deployment),
            place: self.place(),
            verdict: self.verdict.parse().ok(),
            from,
            to,
        })
    }

    /// The one rule at one place that is looked at. No text of a database has a NUL.
    pub fn place(&self) -> Option<RuleAt> {
        let sound =
            ids::is_sound(&self.subject) && [&self.rule, &self.source].iter().all(|text| text.len() <= 1000 && !text.contains('\0'));
        sound.then(|| RuleAt { subject: self.subject.clone(), rule: self.rule.clone(), source: self.source.clone() })
    }

    /// The same choice, of one rule at one place.
    pub fn at(&self, place: &RuleAt) -> String {
        let RuleAt { subject, rule, source } = place.clone();
        Self { subject, rule, source, ..self.clone() }.address("/duty/board")
    }

    /// The same choice, of all rules and places.
    pub fn anywhere(&self) -> String {
        Self { subject: String::new(), rule: String::new(), source: String::new(), ..self.clone() }.address("/duty/board")
    }

    /// Whether anything but the list is chosen.
    pub fn narrows(&self) -> bool {
        [&self.level, &self.site, &self.app, &self.shift, &self.verdict, &self.from, &self.to].iter().any(|word| !word.is_empty())
    }

    /// The address of a page with this choice.
    pub fn address(&self, path: &str) -> String {
        let query = serde_urlencoded::to_string(self).unwrap_or_default();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The same choice in another list.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "a template passes references")]
    fn of(&self, show: &Show) -> String {
        Self { show: if *show == Show::Open { String::new() } else { show.as_str().to_owned() }, ..self.clone() }.address("/duty/board")
    }
}

/// Old addresses of the alarm list.
async fn moved(query: Query<Wanted>) -> HttpResponse {
    let wanted = Wanted { show: Show::History.as_str().to_owned(), ..query.into_inner() };
    see_other(&wanted.address("/duty/board"))
}

async fn board(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Wanted>) -> PageResult {
    let wanted = query.into_inner();
    let (page, now) = (Page::of(&req, "duty-board-title"), app.clock.now());
    let after: Option<Cursor> = if wanted.after.is_empty() { None } else { wanted.after.parse().ok() };
    let filter = form_result(wanted.filter(now))?;
    let errors = filter.as_ref().err().map(|e| FormErrors::of(&page, e)).unwrap_or_default();
    let is_wrong = filter.is_err();
    // What cannot be read goes into no address that is fetched by itself.
    let sound = if is_wrong { Wanted { from: String::new(), to: String::new(), ..wanted.clone() } } else { wanted.clone() };
    let address = sound.address("/duty/board");
    let join = if address.contains('?') { '&' } else { '?' };
    let place = after.as_ref().map(|after| format!("after={after}&")).unwrap_or_default();
    let summary = board::summary(&app, &actor).await?;
    let is_grouped = summary.flood_since.is_some() && wanted.show() == Show::Open && wanted.place().is_none();
    let size = if is_grouped { flood::PAGE } else { PAGE };
    let mut listed = match filter {
        Ok(filter) => board::list(&app, &actor, filter, after, size + 1).await?,
        Err(_) => Vec::new(),
    };
    let at = Some(wanted.after.as_str()).filter(|after| !after.is_empty());
    let (previous, next) = paging(&mut listed, size, &address, "after", at, |(_, cursor)| cursor.to_string());
    let first = listed.first().map(|(entry, _)| entry.id.clone());
    // Whoever looked at an alarm that is gone by age sees the first of the list.
    let chosen = if wanted.alarm.is_empty() { None } else { detail(&app, &actor, wanted.alarm.clone()).await? };
    let shown = match (chosen, first) {
        (Some(chosen), _) => Some(chosen),
        (None, Some(first)) => detail(&app, &actor, first).await?,
        (None, None) => None,
    };
    let current = shown.map(|(entry, acts)| Current::of(&page, &entry, &acts));
    let newest = newest_ringing(&listed);
    let groups = if is_grouped { flood::grouped(listed) } else { flood::alone(listed) };
    let lines = groups.iter().map(|group| Line::of(&page, group, &sound)).collect();
    let shift = Shift::at(now);
    let view = BoardPage {
        is_live: wanted.after.is_empty() && !is_wrong,
        here: current.as_ref().map_or_else(|| address.clone(), |current| format!("{address}{join}alarm={}", current.row.id)),
        export: sound.address("/duty/board/export"),
        shift_word: page.tk("duty-shift-", shift.number),
        flood_since: summary.flood_since.map(|at| page.moment(&at)),
        newest,
        link: format!("{address}{join}{place}alarm="),
        critical: up_to(summary.critical),
        warning: up_to(summary.warning),
        address,
        lines,
        current,
        summary,
        wanted,
        previous,
        next,
        most_at_once: service::MOST_AT_ONCE,
        errors,
        page,
    };
    view.page.clone().render_with(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &view)
}

async fn detail(
    app: &App,
    actor: &Actor,
    id: String,
) -> Result<Option<(board::Entry, Vec<crate::alarm_management::model::ActRow>)>, Error> {
    match board::detail(app, actor, id).await {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The newest alarm that rings, with its level: a desk that has not seen it does so.
fn newest_ringing(listed: &board::Listed) -> Option<(String, Level)> {
    listed.iter().map(|(entry, _)| entry).filter(|entry| entry.rings()).max_by_key(|entry| &entry.id).map(|e| (e.id.clone(), e.level))
}

/// `/duty/board`.
#[derive(Template)]
#[template(path = "duty/board.html")]
pub struct BoardPage {
    pub page: Page,
    pub wanted: Wanted,
    pub lines: Vec<Line>,
    pub current: Option<Current>,
    pub summary: Summary,
    /// What calls, by level.
    pub critical: String,
    pub warning: String,
    /// Since when there are more than a person can answer.
    pub flood_since: Option<String>,
    pub shift_word: String,
    pub newest: Option<(String, Level)>,
    /// Address of the list, and the same with the alarm that is looked at.
    pub address: String,
    pub here: String,
    /// Address of an alarm on this page of the list, but for its id.
    pub link: String,
    pub export: String,
    /// Whether what is new appears by itself.
    pub is_live: bool,
    pub previous: Option<String>,
    pub next: Option<String>,
    /// Most alarms that are acknowledged at a time.
    pub most_at_once: usize,
    /// What is wrong with the days that were asked for.
    pub errors: FormErrors,
}

impl BoardPage {
    pub fn is_current(&self, line: &Line) -> bool {
        self.current.as_ref().is_some_and(|current| line.has(&current.row.id))
    }

    pub fn shows(&self, show: &Show) -> bool {
        self.wanted.show() == *show
    }
}

/// What a person says to an alarm.
#[derive(Debug, Deserialize)]
struct AnswerForm {
    #[serde(default)]
    note: String,
    #[serde(default)]
    verdict: String,
    /// The verdict that the page showed.
    #[serde(default)]
    seen: String,
    #[serde(default)]
    minutes: String,
    /// The list to go back to.
    #[serde(default)]
    back: String,
}

impl AnswerForm {
    /// The address of the list to go back to.
    fn list(&self) -> String {
        list(&self.back)
    }
}

/// The address of a list that a form says it comes from.
fn list(back: &str) -> String {
    local_path(Some(back).filter(|back| back.starts_with("/duty/board")), "/duty/board")
}

/// Acknowledges the rows that were chosen; the value of a row of a flood holds the ids of its alarms with commas between.
async fn acknowledge_chosen(app: Data<App>, actor: Actor, form: FormPairs) -> PageResult {
    let back = list(form.get("back"));
    let ids = form.all("ids").flat_map(|ids| ids.split(',')).filter(|id| !id.is_empty());
    let chosen = ids.take(service::MOST_AT_ONCE + 1).map(str::to_owned).collect();
    match service::acknowledge_all(&app, &actor, chosen, form.get("note")).await {
        Ok(answer) => {
            let key = if answer.before == 0 { "duty-chosen-done" } else { "duty-chosen-done-before" };
            let (n, before) = (answer.done.to_string(), answer.before.to_string());
            Ok(see_other_with(&back, "success", key, &[("n", n.as_str()), ("before", before.as_str())]))
        }
        Err(e) => refused(e, &back),
    }
}

async fn acknowledge(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AnswerForm>) -> PageResult {
    answer(&app, &actor, &id, Act::Acknowledge, &form.0).await
}

async fn judge(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AnswerForm>) -> PageResult {
    let verdict: Verdict = form.0.verdict.parse().map_err(|_| Error::field("verdict", "choose-one"))?;
    answer(&app, &actor, &id, Act::Judge { verdict, instead_of: form.0.seen.parse().ok() }, &form.0).await
}

async fn shelve(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AnswerForm>) -> PageResult {
    // What is no number is out of every range.
    answer(&app, &actor, &id, Act::Shelve { minutes: form.0.minutes.parse().unwrap_or(0) }, &form.0).await
}

async fn unshelve(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AnswerForm>) -> PageResult {
    answer(&app, &actor, &id, Act::Unshelve, &form.0).await
}

async fn take_out(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AnswerForm>) -> PageResult {
    answer(&app, &actor, &id, Act::TakeOut, &form.0).await
}

async fn put_back(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AnswerForm>) -> PageResult {
    answer(&app, &actor, &id, Act::PutBack, &form.0).await
}

/// Asks for the whole picture, and stays with the alarm.
async fn fetch_picture(app: Data<App>, actor: Actor, id: Path<String>, form: Form<AnswerForm>) -> PageResult {
    let back = form.0.list();
    match pictures::ask(&app, &actor, &id).await {
        Ok(()) => Ok(see_other(&at_alarm(&back, &id))),
        Err(e) => refused(e, &at_alarm(&back, &id)),
    }
}

/// Acts, and goes on with the next alarm of the list; where it is refused, back to this one with the reason.
async fn answer(app: &App, actor: &Actor, id: &str, act: Act, form: &AnswerForm) -> PageResult {
    let back = form.list();
    match service::act(app, actor, id, act, &form.note).await {
        Ok(()) => Ok(see_other(&back)),
        Err(e) => refused(e, &at_alarm(&back, id)),
    }
}

/// The alarm of a list.
fn at_alarm(list: &str, id: &str) -> String {
    let join = if list.contains('?') { '&' } else { '?' };
    format!("{list}{join}alarm={id}")
}

/// Back to where the form was with the reason, where what is there is in the way.
fn refused(e: Error, back: &str) -> PageResult {
    if !matches!(e.kind, Kind::Conflict | Kind::Invalid) {
        return Err(e.into());
    }
    let (code, args) = e.fields.first().map_or((e.code, &e.args), |field| (field.code, &field.args));
    let args: Vec<(&str, &str)> = args.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Ok(see_other_with(back, "warning", &format!("error-{code}"), &args))
}
