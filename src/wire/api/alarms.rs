//! Alarms of the mine with their pictures, and what people answer to them.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::once::{Asked, Nothing, answer, once};
use super::{Both, Listed, Made, words};
use crate::alarm_management::board::{self, Entry, Origin};
use crate::alarm_management::model::{Act, ActRow, AlarmState, Cursor, Filter, Show, Verdict};
use crate::alarm_management::service::{Acknowledged, acknowledge_all_in, act_in};
use crate::alarm_management::span::Span;
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::Action;
use crate::base::db::Timestamp;
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::fleet::model::shown_name;
use crate::http::api::{ApiResult, tagged};
use crate::http::conditional::private_jpeg;
use crate::http::extract::ApiQuery;
use crate::once::model::Key;
use crate::telemetry::model::Level;
use crate::telemetry::pictures::{self, Picture, Privacy, Size, Whole};

/// Alarms on one page.
const PAGE: i64 = 50;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/alarms", web::get().to(list))
        .route("/api/v1/alarms/acknowledge", web::post().to(acknowledge_chosen))
        .route("/api/v1/alarms/{id}", web::get().to(show))
        .route("/api/v1/alarms/{id}/acknowledge", web::post().to(acknowledge))
        .route("/api/v1/alarms/{id}/judge", web::post().to(judge))
        .route("/api/v1/alarms/{id}/shelve", web::post().to(shelve))
        .route("/api/v1/alarms/{id}/unshelve", web::post().to(unshelve))
        .route("/api/v1/alarms/{id}/take-out", web::post().to(take_out))
        .route("/api/v1/alarms/{id}/put-back", web::post().to(put_back))
        .route("/api/v1/alarms/{id}/picture", web::get().to(picture))
        .route("/api/v1/alarms/{id}/fetch-picture", web::post().to(fetch_picture));
}

/// Which alarms.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Id of the last alarm of the page before; the newest come first.
    pub before: Option<String>,
    /// Only alarms of this level.
    #[param(schema_with = words::level)]
    pub level: Option<Level>,
    /// Only alarms of this deployment.
    pub deployment: Option<String>,
    /// Raised at this time or later.
    #[param(format = DateTime)]
    pub from: Option<String>,
    /// Raised before this time.
    #[param(format = DateTime)]
    pub to: Option<String>,
}

/// An alarm.
#[derive(Serialize, ToSchema)]
pub struct Alarm {
    pub id: String,
    #[schema(schema_with = words::level)]
    pub level: Level,
    /// Slug of the app's rule; of an alarm of the platform its kind.
    pub rule: String,
    pub text: Both,
    /// Id of the deployment; empty of an alarm of the platform that is about none.
    pub deployment: String,
    /// Id and name of the node.
    pub node_id: String,
    pub node: String,
    /// Name of the node's site.
    pub site: String,
    /// Name of the app's repository, `vendor/app`.
    pub app: String,
    /// Digest of the release that raised it.
    pub digest: String,
    /// What the app saw.
    #[schema(value_type = Object)]
    pub result: Value,
    /// Camera or sensor; empty where the node was told of none.
    pub source: String,
    /// How many frames had it.
    pub count: i64,
    /// When it began, by the platform's clock.
    #[schema(value_type = String, format = DateTime)]
    pub raised_at: Timestamp,
    /// The last frame that had it.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    /// When it was over; null while it goes on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Whether it was more than ten minutes old when it came.
    pub late: bool,
    /// When it began by the node's clock, where that is off by more than a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub node_at: Option<Timestamp>,
    /// What raised it beside the release: version, parameters, place.
    #[schema(value_type = Object)]
    pub origin: Value,
    /// Time of receipt.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// Where it stands after ISA-18.2.
    #[schema(schema_with = words::alarm_state)]
    pub state: AlarmState,
    /// Who acknowledged it, and when.
    pub acknowledged_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    /// What it was, by whoever answered it.
    #[schema(schema_with = words::verdict_or_null)]
    pub verdict: Option<Verdict>,
    /// The picture that came with it.
    pub picture: Option<AlarmPicture>,
}

/// What is known of a picture of an alarm.
#[derive(Serialize, ToSchema)]
pub struct AlarmPicture {
    /// Size of the source picture in pixels; the boxes of the result are in these.
    pub width: i64,
    pub height: i64,
    /// Whether the node has blurred it.
    #[schema(schema_with = words::picture_privacy)]
    pub privacy: Privacy,
    /// Where the whole one is: nobody has asked for it, it was asked for, it is here, or the node has it no more.
    #[schema(schema_with = words::whole_picture)]
    pub whole: Whole,
}

impl From<Picture> for AlarmPicture {
    fn from(picture: Picture) -> Self {
        Self { width: picture.width, height: picture.height, privacy: picture.privacy, whole: picture.whole() }
    }
}

impl From<Entry> for Alarm {
    fn from(entry: Entry) -> Self {
        let answered = entry.response.as_ref();
        let blank = Self {
            id: entry.id.clone(),
            level: entry.level,
            rule: entry.point().1.to_owned(),
            text: Both::of(String::new(), String::new()),
            deployment: String::new(),
            node_id: String::new(),
            node: String::new(),
            site: String::new(),
            app: String::new(),
            digest: String::new(),
            result: Value::Object(serde_json::Map::new()),
            raised_at: entry.raised_at,
            received_at: entry.raised_at,
            origin: Value::Object(serde_json::Map::new()),
            source: String::new(),
            node_at: None,
            count: entry.presence.count,
            last_at: entry.presence.last_at,
            late: entry.presence.late,
            state: entry.state,
            ended_at: entry.presence.ended_at,
            acknowledged_by: answered.map(|response| response.acknowledged_by.clone()),
            acknowledged_at: answered.map(|response| response.acknowledged_at),
            verdict: answered.and_then(|response| response.verdict),
            picture: entry.picture.clone().map(AlarmPicture::from),
        };
        match entry.origin {
            Origin::App(line) => {
                let alarm = line.alarm;
                Self {
                    text: Both::of(alarm.text_zh, alarm.text_en),
                    deployment: alarm.deployment_id,
                    node: shown_name(&line.node, &alarm.node_id).to_owned(),
                    node_id: alarm.node_id,
                    site: line.site,
                    app: format!("{}/{}", line.vendor, line.app),
                    digest: alarm.release_digest,
                    result: object(&alarm.result),
                    origin: object(&alarm.origin),
                    source: alarm.source,
                    node_at: alarm.node_at,
                    received_at: alarm.received_at,
                    ..blank
                }
            }
            Origin::Equipment(line) => {
                let key = format!("duty-equipment-{}", line.alarm.kind);
                let (source, name) = line.source.unwrap_or_default();
                let text = |lang: Lang| lang.format(&key, &[("name", &name)]);
                let (node_id, node, site) = line.node.unwrap_or_default();
                let of_app = line.alarm.subject.starts_with("dep_");
                Self {
                    text: Both::of(text(Lang::Zh), text(Lang::En)),
                    source,
                    deployment: if of_app { line.alarm.subject } else { String::new() },
                    node_id,
                    node,
                    site,
                    ..blank
                }
            }
        }
    }
}

/// Kept as an object; one that a damaged row holds is shown empty.
fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
}

/// What a person did with an alarm.
#[derive(Serialize, ToSchema)]
pub struct Done {
    #[schema(schema_with = words::act_kind)]
    pub kind: crate::alarm_management::model::ActKind,
    #[schema(schema_with = words::verdict_or_null)]
    pub verdict: Option<Verdict>,
    pub note: String,
    /// End of a shelf.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Name of the person, as it was then.
    pub by: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl From<ActRow> for Done {
    fn from(act: ActRow) -> Self {
        Self { kind: act.kind, verdict: act.verdict, note: act.note, ends_at: act.ends_at, by: act.made_by, at: act.at }
    }
}

/// An alarm with what was done with it.
#[derive(Serialize, ToSchema)]
pub struct AlarmDetail {
    #[serde(flatten)]
    pub alarm: Alarm,
    /// The newest first.
    pub acts: Vec<Done>,
}

/// Alarms of the mine, also of the platform's own
#[utoipa::path(get, path = "/api/v1/alarms", tag = "alarms", params(Wanted),
    responses((status = 200, description = "A page of alarms", body = Listed<Alarm>)))]
pub(super) async fn list(req: HttpRequest, app: Data<App>, actor: Actor, query: ApiQuery<Wanted>) -> ApiResult {
    let Wanted { before, level, deployment, from, to } = query.0;
    let span = Span::of_moments(from.as_deref(), to.as_deref())?;
    let mut narrowed = vec![];
    if let Some(level) = level {
        narrowed.push(("level", level.as_str()));
    }
    if let Some(deployment) = &deployment {
        narrowed.push(("deployment", deployment));
    }
    narrowed.extend(from.as_deref().map(|from| ("from", from)));
    narrowed.extend(to.as_deref().map(|to| ("to", to)));
    let query = serde_urlencoded::to_string(&narrowed).unwrap_or_default();
    let path = if query.is_empty() { "/api/v1/alarms".to_owned() } else { format!("/api/v1/alarms?{query}") };
    let after = before.map(|id| Cursor::behind(0, &id)).transpose()?;
    let filter = Filter { show: Show::History, level, deployment_id: deployment, from: span.from, to: span.to, ..Filter::default() };
    let rows = board::list(&app, &actor, filter, after, PAGE + 1).await?;
    tagged(&req, &Listed::of(rows, PAGE, &path, |(entry, _)| entry.id.clone(), |(entry, _)| Alarm::from(entry)))
}

/// One alarm of the mine with what was done with it, also of the platform's own
#[utoipa::path(get, path = "/api/v1/alarms/{id}", tag = "alarms", params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "The alarm", body = AlarmDetail)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    let (entry, acts) = board::detail(&app, &actor, id.into_inner()).await?;
    tagged(&req, &AlarmDetail { alarm: entry.into(), acts: acts.into_iter().map(Done::from).collect() })
}

/// A note to an answer.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// At most 500 characters.
    #[serde(default)]
    pub note: String,
}

/// What an alarm was.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    #[schema(schema_with = words::verdict)]
    pub verdict: Verdict,
    /// The verdict that it has now, where it has one.
    #[serde(default)]
    #[schema(schema_with = words::verdict_or_null)]
    pub instead_of: Option<Verdict>,
    #[serde(default)]
    pub note: String,
}

/// For how long, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shelf {
    /// 480 at most; of a critical alarm 60.
    #[schema(minimum = 1, maximum = 480)]
    pub minutes: i64,
    pub reason: String,
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    pub reason: String,
}

async fn act(app: &App, actor: &Actor, id: Path<String>, key: Option<Key>, act: Act, note: String) -> ApiResult {
    let id = id.into_inner();
    let change = move |c: &mut Change<'_>| -> Result<_> {
        act_in(c, &id, act, &note)?;
        answer(StatusCode::OK, &Made { id: id.clone() })
    };
    once(app, actor, act.action(), key, change).await
}

/// Warnings and notices, and a note to the answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// One to fifty ids.
    #[schema(min_items = 1, max_items = 50)]
    pub ids: Vec<String>,
    /// At most 500 characters.
    #[serde(default)]
    pub note: String,
}

/// What became of the alarms.
#[derive(Serialize, ToSchema)]
pub struct ChosenAnswered {
    /// How many are acknowledged now.
    pub acknowledged: usize,
    /// How many somebody had answered before.
    pub answered_before: usize,
}

/// Acknowledges some warnings and notices, all or none, in the name of the person whose token it is
#[utoipa::path(post, path = "/api/v1/alarms/acknowledge", tag = "alarms", request_body = Chosen,
    responses((status = 200, description = "They are acknowledged", body = ChosenAnswered)))]
pub(super) async fn acknowledge_chosen(app: Data<App>, actor: Actor, asked: Asked<Chosen>) -> ApiResult {
    let Chosen { ids, note } = asked.input;
    let change = move |c: &mut Change<'_>| -> Result<_> {
        let Acknowledged { done, before } = acknowledge_all_in(c, &ids, &note)?;
        answer(StatusCode::OK, &ChosenAnswered { acknowledged: done, answered_before: before })
    };
    once(&app, &actor, Act::Acknowledge.action(), asked.key, change).await
}

/// Acknowledges an alarm, in the name of the person whose token it is
#[utoipa::path(post, path = "/api/v1/alarms/{id}/acknowledge", tag = "alarms", request_body = Option<Note>,
    params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "It is acknowledged", body = Made)))]
pub(super) async fn acknowledge(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Note>) -> ApiResult {
    act(&app, &actor, id, asked.key, Act::Acknowledge, asked.input.note).await
}

/// Says what an alarm was; acknowledges it, too
#[utoipa::path(post, path = "/api/v1/alarms/{id}/judge", tag = "alarms", request_body = Judgement,
    params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "It is judged", body = Made)))]
pub(super) async fn judge(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Judgement>) -> ApiResult {
    let Judgement { verdict, instead_of, note } = asked.input;
    act(&app, &actor, id, asked.key, Act::Judge { verdict, instead_of }, note).await
}

/// Shelves the alarm's rule at its place for a time
#[utoipa::path(post, path = "/api/v1/alarms/{id}/shelve", tag = "alarms", request_body = Shelf,
    params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "It is shelved", body = Made)))]
pub(super) async fn shelve(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Shelf>) -> ApiResult {
    let Shelf { minutes, reason } = asked.input;
    act(&app, &actor, id, asked.key, Act::Shelve { minutes }, reason).await
}

/// Ends the shelf of the alarm's rule
#[utoipa::path(post, path = "/api/v1/alarms/{id}/unshelve", tag = "alarms", request_body = Option<Nothing>,
    params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "It calls again", body = Made)))]
pub(super) async fn unshelve(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Nothing>) -> ApiResult {
    act(&app, &actor, id, asked.key, Act::Unshelve, String::new()).await
}

/// Takes the alarm's rule at its place out of service
#[utoipa::path(post, path = "/api/v1/alarms/{id}/take-out", tag = "alarms", request_body = Reason,
    params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "It is out of service", body = Made)))]
pub(super) async fn take_out(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Reason>) -> ApiResult {
    act(&app, &actor, id, asked.key, Act::TakeOut, asked.input.reason).await
}

/// Puts the alarm's rule back into service
#[utoipa::path(post, path = "/api/v1/alarms/{id}/put-back", tag = "alarms", request_body = Option<Nothing>,
    params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "It calls again", body = Made)))]
pub(super) async fn put_back(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Nothing>) -> ApiResult {
    act(&app, &actor, id, asked.key, Act::PutBack, String::new()).await
}

/// Which of the two pictures.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfPicture {
    /// The whole one instead of the small one.
    #[serde(default)]
    pub whole: bool,
}

/// The picture that came with an alarm
#[utoipa::path(get, path = "/api/v1/alarms/{id}/picture", tag = "alarms",
    params(("id" = String, Path, description = "Id of the alarm"), OfPicture),
    responses((status = 200, description = "The picture", content_type = "image/jpeg")))]
pub(super) async fn picture(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, query: ApiQuery<OfPicture>) -> ApiResult {
    let size = if query.0.whole { Size::Whole } else { Size::Small };
    Ok(private_jpeg(&req, pictures::read(&app, &actor, id.into_inner(), size).await?))
}

/// Asks the node for the whole picture of an alarm; it comes after the node's next report
#[utoipa::path(post, path = "/api/v1/alarms/{id}/fetch-picture", tag = "alarms", request_body = Option<Nothing>,
    params(("id" = String, Path, description = "Id of the alarm")),
    responses((status = 200, description = "It is asked for, or here", body = Made)))]
pub(super) async fn fetch_picture(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Nothing>) -> ApiResult {
    let id = id.into_inner();
    let change = move |c: &mut Change<'_>| -> Result<_> {
        pictures::ask_in(c, &id)?;
        answer(StatusCode::OK, &Made { id: id.clone() })
    };
    once(&app, &actor, Action::AnswerAlarms, asked.key, change).await
}
