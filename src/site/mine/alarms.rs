//! /mine/alarms: alarms of a mine’s nodes, and plots of figures.

use actix_web::http::header;
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::fleet::model::shown_name;
use crate::http::api::ApiResult;
use crate::http::page::{Ago, Page, PageResult, lang_of};
use crate::http::paging::paging;
use crate::telemetry::model::{AlarmLine, Filter, Level};
use crate::telemetry::plots::{Plot, Span};
use crate::telemetry::service;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/alarms", web::get().to(alarms)).route("/mine/nodes/{id}/plots.json", web::get().to(plot));
}

#[derive(Deserialize)]
struct PlotQuery {
    app: Option<String>,
    plot: Option<String>,
    hours: Option<String>,
}

async fn plot(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>, query: Query<PlotQuery>) -> ApiResult {
    let PlotQuery { app: deployment, plot, hours } = query.into_inner();
    let plot = plot.and_then(|p| p.parse().ok()).unwrap_or(Plot::Latency);
    let deployment = deployment.filter(|d| !d.is_empty());
    let data = service::plot(&app, &actor, lang_of(&req), id.into_inner(), deployment, plot, Span::of_hours(hours.as_deref())).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "private, no-store")).json(data))
}

#[derive(Deserialize)]
struct AlarmQuery {
    before: Option<String>,
    #[serde(default)]
    level: String,
    #[serde(default)]
    deployment: String,
}

async fn alarms(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<AlarmQuery>) -> PageResult {
    let AlarmQuery { before, level, deployment } = query.into_inner();
    let level: Option<Level> = level.parse().ok();
    let deployment =
        Some(deployment).filter(|d| !d.is_empty() && d.len() <= 60 && d.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let filter = Filter { before: before.clone(), level, deployment_id: deployment.clone(), ..Filter::default() };
    let mut lines = service::list_alarms(&app, &actor, filter).await?;
    let page = Page::of(&req, "telemetry-alarms-title");
    let address = AlarmsPage::address(level, deployment.as_deref());
    let (previous, next) = paging(&mut lines, service::PAGE, &address, "before", before.as_deref(), |line| line.alarm.id.clone());
    let rows = lines.iter().map(|line| AlarmRow::of(&page, line)).collect();
    let live = before.is_none();
    page.clone().render(&AlarmsPage {
        page,
        rows,
        level: level.map_or("", Level::as_str),
        deployment: deployment.unwrap_or_default(),
        address,
        live,
        previous,
        next,
    })
}

/// Longest result that the list shows, in characters.
const MAX_SHOWN: usize = 4_000;

/// Most findings that the list shows of one alarm.
const MAX_FOUND: usize = 40;

/// One alarm as shown.
pub struct AlarmRow {
    pub id: String,
    /// Word of the level.
    pub level: String,
    /// Tone of the badge.
    pub tone: &'static str,
    /// Text in the reader's language.
    pub text: String,
    /// `site · node`.
    pub place: String,
    /// Page of the node.
    pub node_href: String,
    /// Title of the app.
    pub app: String,
    /// Page of the app in the market.
    pub app_href: String,
    /// Page of the deployment.
    pub deployment_href: String,
    /// Begin of the digest of the release that raised it.
    pub digest: String,
    pub digest_full: String,
    /// Slug of the rule.
    pub rule: String,
    /// When, by the node's clock.
    pub at: String,
    /// How long ago.
    pub ago: Ago,
    /// What the app saw; empty where nothing was kept.
    pub result: String,
    /// The result as names and values; empty where it has another shape.
    pub found: Vec<(String, String)>,
}

impl AlarmRow {
    pub fn of(page: &Page, line: &AlarmLine) -> Self {
        let alarm = &line.alarm;
        let place = format!("{} · {}", line.site, shown_name(&line.node, &line.alarm.node_id));
        let result = serde_json::from_str::<Value>(&alarm.result).ok().filter(|v| v.as_object().is_some_and(|o| !o.is_empty()));
        // Of a clip it is said when in it the alarm began.
        let second =
            result.as_ref().and_then(|result| result.get("at")?.as_f64()).map(|at| (page.t("telemetry-at-second"), format!("{at:.1} s")));
        let found = second.into_iter().chain(result.as_ref().map(findings).unwrap_or_default()).collect();
        let result = result.and_then(|v| serde_json::to_string_pretty(&v).ok()).unwrap_or_default();
        Self {
            id: alarm.id.clone(),
            level: page.tk("telemetry-level-", alarm.level),
            tone: alarm.level.tone(),
            text: without_place(page.pick(&alarm.text_zh, &alarm.text_en), &place),
            place,
            node_href: format!("/mine/nodes/{}", alarm.node_id),
            app: page.pick(&line.app_zh, &line.app_en).to_owned(),
            app_href: format!("/apps/{}/{}", line.vendor, line.app),
            deployment_href: format!("/mine/deployments/{}", alarm.deployment_id),
            digest: alarm.release_digest.chars().take(19).collect(),
            digest_full: alarm.release_digest.clone(),
            rule: alarm.rule.clone(),
            at: page.moment(&alarm.raised_at),
            ago: page.ago(&alarm.raised_at),
            result: result.chars().take(MAX_SHOWN).collect(),
            found,
        }
    }
}

/// The text of an alarm without the place at its beginning, where it has one: pages show the place beside the text.
fn without_place(text: &str, place: &str) -> String {
    let rest = text.strip_prefix(place).and_then(|rest| rest.strip_prefix(['：', ':'])).map(str::trim_start);
    rest.filter(|rest| !rest.is_empty()).unwrap_or(text).to_owned()
}

fn items<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Labels and texts with their scores, and values with their units, out of a result in the shape of the node's local API.
fn findings(result: &Value) -> Vec<(String, String)> {
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |item: &Value, key: &str| item.get(key).and_then(Value::as_f64);
    let scored = items(result, "detections").iter().chain(items(result, "classes"));
    // What was read on a thing, or said of it, stands beside its label.
    let read = |item: &Value| {
        let own = item.get("text").map(|read| text(read, "text"));
        let best = items(item, "classes").first().map(|class| text(class, "label"));
        [own, best].into_iter().flatten().filter(|word| !word.is_empty()).fold(text(item, "label"), |all, word| format!("{all}: {word}"))
    };
    let scored = scored.filter_map(|item| Some((read(item), format!("{:.1} %", number(item, "score")? * 100.0))));
    let texts =
        items(result, "texts").iter().filter_map(|item| Some((text(item, "text"), format!("{:.1} %", number(item, "score")? * 100.0))));
    let values = items(result, "values").iter().filter_map(|item| {
        let value = number(item, "value")?;
        let digits = if value.abs() < 1.0 { 4 } else { 2 };
        Some((text(item, "id"), format!("{value:.digits$} {}", text(item, "unit")).trim_end().to_owned()))
    });
    scored.chain(texts).chain(values).take(MAX_FOUND).collect()
}

/// `/mine/alarms`.
#[derive(Template)]
#[template(path = "mine/alarms.html")]
pub struct AlarmsPage {
    pub page: Page,
    pub rows: Vec<AlarmRow>,
    /// Level of the filter, or empty.
    pub level: &'static str,
    /// Deployment id of the filter, or empty.
    pub deployment: String,
    /// Address of the first page.
    pub address: String,
    /// Whether new alarms appear by themselves.
    pub live: bool,
    /// Address of the page with newer rows.
    pub previous: Option<String>,
    /// Address of the page with older rows.
    pub next: Option<String>,
}

impl AlarmsPage {
    /// Address of the first page with a filter.
    pub fn address(level: Option<Level>, deployment: Option<&str>) -> String {
        let level = level.map(|l| format!("level={l}"));
        let deployment = deployment.map(|d| format!("deployment={d}"));
        let query: Vec<String> = [level, deployment].into_iter().flatten().collect();
        if query.is_empty() { "/mine/alarms".to_owned() } else { format!("/mine/alarms?{}", query.join("&")) }
    }
}
