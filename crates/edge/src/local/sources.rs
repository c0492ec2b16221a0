//! The node's page of cameras, video files, pictures and sensors: what they do, a form for each, and a test with the live picture or values.
//!
//! Invariants: a password that was typed is never shown again; a live picture is made small, only while somebody asks, and stored nowhere; what
//! the page names on this machine lies in the folder `media`, for whoever reaches this page may be less than the agent.

use std::fmt::Write;
use std::path::Component;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse, web};
use image::{DynamicImage, RgbImage};
use inference::draw;
use inference::output::AppOutput;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use self::form::{form, invalid, read};
use super::body::body;
use super::page::{STYLE, digest, language, safe};
use super::words::words;
use super::{ApiError, Shared};
use crate::agent::Agent;
use crate::fault::Fault;
use crate::sources::live::{Fares, Live};
use crate::sources::{media, sensors};

mod form;

/// As the status page's, with forms to this API and the live picture.
const CSP: &str =
    "default-src 'none'; style-src 'sha256-STYLE'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
/// Live pictures that are made at a time.
const PICTURES: usize = 2;

fn count(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

/// `GET /v1/sources`: what each source does, and what its apps found last.
pub(super) async fn list(agent: Shared) -> HttpResponse {
    let all = agent.sources.all();
    let faults = agent.sources.faults();
    let faults: Vec<Value> = faults.iter().map(|fault| json!({ "code": fault.code, "message": fault.message })).collect();
    HttpResponse::Ok().json(json!({ "sources": all.iter().map(|live| described(live)).collect::<Vec<_>>(), "faults": faults }))
}

fn told(fault: &Fault) -> Value {
    json!({ "code": fault.code, "error": fault.message })
}

fn described(live: &Live) -> Value {
    let standing = live.standing();
    let frame = live.newest();
    let app = |(name, fares): (&String, &Arc<Fares>)| {
        json!({
            "app": name, "answered": count(&fares.answered), "dropped": count(&fares.dropped), "late": count(&fares.late),
            "unusable": count(&fares.unusable),
            "last": fares.last().map(|last| last.unwrap_or_else(|fault| told(&fault))),
        })
    };
    json!({
        "id": live.source.id, "name": live.source.title(), "kind": live.source.kind, "address": live.source.address, "rate": live.source.rate,
        "has_login": live.login.is_some(), "codec": standing.codec, "fault": standing.fault.as_ref().map(told),
        "size": frame.as_ref().map(|frame| [frame.pixels.width, frame.pixels.height]), "time": frame.as_ref().map(|frame| frame.time),
        "troubles": standing.troubles.iter().map(|trouble| trouble.as_str()).collect::<Vec<_>>(), "learns": standing.learns, "decoder": standing.decoder,
        "frames": count(&live.decoded), "skipped": count(&live.skipped), "restarts": count(&live.restarts),
        "channels": channels(live), "apps": live.apps.iter().map(app).collect::<Vec<_>>(),
    })
}

/// How each channel of a sensor source stands.
fn channels(live: &Live) -> Vec<Value> {
    let channel = |reading: sensors::Reading| {
        let (code, why) = reading.trouble.unzip();
        json!({ "name": reading.name, "value": reading.value, "age_s": reading.age.map(|age| age.as_secs_f64()), "code": code, "error": why })
    };
    sensors::readings(live).into_iter().map(channel).collect()
}

/// The newest values of a sensor source.
fn values(live: &Live, zh: bool) -> String {
    let readings = sensors::readings(live);
    if readings.is_empty() {
        return String::new();
    }
    let mut html = String::from("<table><tbody>");
    for reading in readings {
        let value = reading.value.map_or_else(|| "–".to_owned(), |value| format!("{value:?}"));
        let age = reading.age.map(|age| format!("{:.1} s", age.as_secs_f64())).unwrap_or_default();
        let trouble = reading.trouble.map(|(code, why)| warned(&Fault::new(code, "source", why), zh)).unwrap_or_default();
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"n\">{value}</td><td class=\"n soft\">{age}</td><td>{trouble}</td></tr>",
            safe(&reading.name)
        );
    }
    html.push_str("</tbody></table>");
    html
}

/// A page around its content; `again` has it asked for anew after so many seconds.
fn document(zh: bool, title: &str, again: Option<u32>, content: &str) -> HttpResponse {
    let again = again.map(|seconds| format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")).unwrap_or_default();
    let html = format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         {again}<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{content}</main></body></html>",
        if zh { "zh-CN" } else { "en" },
        title = safe(title)
    );
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, CSP.replace("STYLE", &digest(STYLE))))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .body(html)
}

fn warned(fault: &Fault, zh: bool) -> String {
    let meaning = words(&fault.code, zh).unwrap_or_default();
    format!("<span class=\"bad\">{meaning} <code>{}</code></span> <span class=\"soft\">{}</span>", safe(&fault.code), safe(&fault.message))
}

/// One line that says how a source stands.
fn standing(live: &Live, zh: bool) -> String {
    let standing = live.standing();
    if let Some(fault) = &standing.fault {
        return warned(fault, zh);
    }
    let values = sensors::readings(live).iter().any(|reading| reading.value.is_some());
    let mut line = match live.newest() {
        None if values => format!("<span class=\"ok\">{}</span>", if zh { "有数据" } else { "Values come" }),
        None => format!("<span class=\"warn\">{}</span>", if zh { "正在连接" } else { "Connecting" }),
        Some(frame) => format!(
            "<span class=\"ok\">{}</span> {} × {} {}",
            if zh { "有画面" } else { "Pictures come" },
            frame.pixels.width,
            frame.pixels.height,
            standing.codec
        ),
    };
    if standing.learns {
        let learns = if zh {
            "正在学习画面常态，遮挡、模糊与移位暂不判断"
        } else {
            "Learning what is usual; covered, blurred and moved are not judged yet"
        };
        let _ = write!(line, "<p class=\"soft\">{learns}</p>");
    }
    for trouble in &standing.troubles {
        let code = format!("picture-{}", trouble.as_str());
        let _ = write!(line, "<p class=\"bad\">{} <code>{code}</code></p>", words(&code, zh).unwrap_or_default());
    }
    line
}

/// How the apps of a source fare.
fn apps(live: &Live, zh: bool) -> String {
    let mut lines = String::new();
    for (name, fares) in &live.apps {
        let [answered, dropped, late, unusable] = [&fares.answered, &fares.dropped, &fares.late, &fares.unusable].map(count);
        let line = if zh {
            format!("已分析 {answered}，忙时跳过 {dropped}，过期 {late}，画面不可用 {unusable}")
        } else {
            format!("{answered} analysed, {dropped} passed over while busy, {late} too late, {unusable} not usable")
        };
        let fault = fares.last().and_then(Result::err).map(|fault| format!("<p>{}</p>", warned(&fault, zh))).unwrap_or_default();
        let _ = write!(lines, "<p><code>{}</code> <span class=\"soft\">{line}</span></p>{fault}", safe(name));
    }
    lines
}

/// `GET /sources`
pub(super) async fn page(request: HttpRequest, agent: Shared) -> HttpResponse {
    let zh = language(&request);
    let t = |chinese: &'static str, english: &'static str| if zh { chinese } else { english };
    let mut html = format!("<p><a href=\"/\">{}</a></p>", t("节点状态", "Status of the node"));
    for fault in agent.sources.faults() {
        let _ = write!(html, "<p>{}</p>", warned(&fault, zh));
    }
    let all = agent.sources.all();
    if !all.is_empty() {
        let heads = [t("数据源", "Source"), t("状态", "State"), t("应用", "Apps"), t("帧", "Frames")];
        let _ = write!(html, "<section class=\"card\"><table><thead><tr><th>{}</th></tr></thead><tbody>", heads.join("</th><th>"));
        for live in &all {
            let source = &live.source;
            let _ = write!(
                html,
                "<tr><td><a href=\"/sources/{id}\">{}</a><p class=\"soft\"><code>{}</code></p></td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
                safe(source.title()),
                safe(&source.address),
                standing(live, zh),
                apps(live, zh),
                count(&live.decoded),
                id = safe(&source.id),
            );
        }
        html.push_str("</tbody></table></section>");
    }
    let _ = write!(html, "<h2>{}</h2>{}", t("添加数据源", "Add a source"), form(&agent, None, zh));
    document(zh, t("摄像机与传感器", "Cameras and sensors"), None, &html)
}

fn known(agent: &Agent, id: &str) -> Result<Arc<Live>, ApiError> {
    agent.sources.get(id).ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "source-unknown", format!("no source {id:?}")))
}

/// `GET /sources/{id}`: the form of a source. With `?test=APP` its live picture instead, with what the app finds.
pub(super) async fn one(request: HttpRequest, agent: Shared, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let zh = language(&request);
    let t = |chinese: &'static str, english: &'static str| if zh { chinese } else { english };
    let live = known(&agent, &path)?;
    let (id, title) = (safe(&live.source.id), live.source.title());
    if let Some(app) = asked(&request, "test") {
        let fares = live.apps.get(&app);
        let found = match fares.and_then(|fares| fares.last()) {
            None => String::new(),
            Some(Err(fault)) => warned(&fault, zh),
            Some(Ok(answer)) => format!("<pre>{}</pre>", safe(&serde_json::to_string_pretty(&answer).unwrap_or_default())),
        };
        if live.source.kind.is_sensors() {
            let end = t("停止测试", "End the test");
            let content = format!("<p><a href=\"/sources/{id}\">{end}</a></p><p>{}</p>{}{found}", standing(&live, zh), values(&live, zh));
            return Ok(document(zh, title, Some(2), &content));
        }
        let content = format!(
            "<p><a href=\"/sources/{id}\">{}</a></p><p>{}</p><img alt=\"{}\" src=\"/sources/{id}/picture?app={}\" width=\"960\">{found}",
            t("停止测试", "End the test"),
            standing(&live, zh),
            t("实时画面", "Live picture"),
            safe(&encoded(&app)),
        );
        return Ok(document(zh, title, Some(2), &content));
    }
    let mut html = format!(
        "<p><a href=\"/sources\">{}</a></p><p>{}</p>{}{}",
        t("全部数据源", "All sources"),
        standing(&live, zh),
        values(&live, zh),
        apps(&live, zh)
    );
    let tests = std::iter::once(String::new()).chain(live.apps.keys().cloned());
    for app in tests {
        let label = if app.is_empty() {
            let [pictures, values] = [t("查看实时画面", "Show the live picture"), t("查看实时数值", "Show the live values")];
            (if live.source.kind.is_sensors() { values } else { pictures }).to_owned()
        } else {
            format!("{} {}", t("测试", "Test"), safe(&app))
        };
        let _ = write!(html, "<p><a href=\"/sources/{id}?test={}\">{label}</a></p>", safe(&encoded(&app)));
    }
    html.push_str(&form(&agent, Some(&live), zh));
    let _ = write!(
        html,
        "<form method=\"post\" action=\"/sources/{id}/remove\"><button>{}</button></form>",
        t("移除此数据源", "Remove this source")
    );
    Ok(document(zh, title, None, &html))
}

/// A field of the query.
fn asked(request: &HttpRequest, name: &str) -> Option<String> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string()).ok()?;
    query.into_inner().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Text for a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-_.".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// `GET /sources/{id}/picture`: the newest frame, small, with what `?app=` found last.
pub(super) async fn picture(request: HttpRequest, agent: Shared, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    static TURNS: OnceLock<Semaphore> = OnceLock::new();
    let live = known(&agent, &path)?;
    let frame = live.newest().ok_or_else(|| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "source-silent", "no picture has come yet"))?;
    let busy = |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "api-busy", "other live pictures are being made");
    let _turn = TURNS.get_or_init(|| Semaphore::new(PICTURES)).try_acquire().map_err(busy)?;
    let app = asked(&request, "app").unwrap_or_default();
    let drawn = live.source.apps.iter().find(|binding| binding.app == app).map(|binding| binding.scene.clone()).unwrap_or_default();
    let found = live.apps.get(&app).and_then(|fares| fares.last()).and_then(Result::ok);
    let made = web::block(move || {
        let found: AppOutput = found.and_then(|found| serde_json::from_value(found).ok()).unwrap_or_default();
        let pixels = &frame.pixels;
        let picture = RgbImage::from_raw(pixels.width, pixels.height, pixels.rgb.clone()).map(DynamicImage::from)?;
        draw::still(&picture, &drawn, &found.detections).ok()
    });
    let failed = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine-failed", "the picture could not be made");
    let jpeg = made.await.ok().flatten().ok_or_else(failed)?;
    Ok(HttpResponse::Ok().content_type("image/jpeg").body(jpeg))
}

/// A path that stays in its folder, by its words.
fn stays(path: &str) -> bool {
    let path = std::path::Path::new(path);
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

async fn changed<T>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, ApiError>
where
    T: Send + 'static,
{
    let done = web::block(work).await.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "cancelled", e.to_string()))?;
    done.map_err(|fault| if fault.code == "source-invalid" { invalid(fault.message) } else { fault.into() })
}

/// `POST /sources`: adds a source, or changes it.
pub(super) async fn save(request: HttpRequest, agent: Shared, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let body = body(&request, payload).await?;
    let text = std::str::from_utf8(&body.bytes).map_err(|e| invalid(e.to_string()))?;
    let fields = web::Query::<Vec<(String, String)>>::from_query(text).map_err(|e| invalid(e.to_string()))?;
    let (source, login) = read(&fields)?;
    drop(body);
    for binding in &source.apps {
        let running = agent.apps.find(&binding.app);
        if let Some(why) = running.and_then(|running| running.manifest.scene.refusal(&binding.scene)) {
            return Err(invalid(format!("scene:{}: {why}", binding.app)));
        }
    }
    let keeper = agent.clone();
    changed(move || {
        let data = &keeper.config.data;
        keeper.sources.change(data, |settings| {
            let same =
                settings.sources.iter().any(|known| known.id == source.id && known.kind == source.kind && known.address == source.address);
            if source.kind.is_local() && !same && !(stays(&source.address) && media(data).is_ok()) {
                return Err(Fault::new(
                    "source-invalid",
                    "source",
                    "address: a path in the folder media; other places are named in sources.json",
                ));
            }
            crate::sources::config::put(settings, source, login)
        })
    })
    .await?;
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, "/sources")).finish())
}

/// `POST /sources/{id}/remove`
pub(super) async fn remove(agent: Shared, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let (keeper, id) = (agent.clone(), path.into_inner());
    changed(move || {
        keeper.sources.change(&keeper.config.data, |settings| {
            settings.sources.retain(|source| source.id != id);
            Ok(())
        })
    })
    .await?;
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, "/sources")).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_nothing_outside_of_the_folder() {
        for path in ["/etc/passwd", "../identity.json", "a/../../b", ".", ""] {
            assert!(!stays(path) || path.is_empty(), "{path}");
        }
        assert!(stays("belt/1.mp4"));
    }
}
