//! The status page: one self-contained page, in Chinese or English by the browser's language. It keeps itself up to date, by reloading where
//! there are no scripts.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use actix_web::http::header::{ACCEPT_LANGUAGE, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse};
use app_package::margo::State;
use chrono::{DateTime, Local, Utc};
use inference::provider::ProviderInfo;

use super::Shared;
use super::words::words;
use crate::fault::Fault;
use crate::health;
use crate::providers::passed_over;
use crate::sources::live::Live;
use crate::sources::sensors;

/// Content security policy: only the page's own style and script are used, nothing but itself is loaded, nothing may frame the page.
const CSP: &str = "default-src 'none'; style-src 'sha256-STYLE'; script-src 'sha256-SCRIPT'; connect-src 'self'; frame-ancestors 'none'; \
                   base-uri 'none'; form-action 'none'";

pub(super) const STYLE: &str = ":root{color-scheme:light dark;--line:#d5dbe1;--soft:#5b6875;--ok:#1b7f4b;--bad:#c0342b;--warn:#9a6200;--card:#fff;--page:#f4f6f8}\
@media(prefers-color-scheme:dark){:root{--line:#35404b;--soft:#9aa7b4;--ok:#4cc38a;--bad:#ff8577;--warn:#f0b45a;--card:#182029;--page:#0f151b}}\
*{box-sizing:border-box}body{margin:0;background:var(--page);font:16px/1.5 system-ui,'Noto Sans SC','PingFang SC','Microsoft YaHei',sans-serif}\
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem}h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.5rem 0 .5rem}p{margin:.2rem 0}\
.soft{color:var(--soft)}.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:.75rem 0}#apps{overflow-x:auto}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}th,td{text-align:start;padding:.45rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--soft);font-weight:600;white-space:nowrap}td.n,th.n{text-align:end;font-variant-numeric:tabular-nums}tr:last-child td{border-bottom:0}\
.ok{color:var(--ok)}.bad{color:var(--bad)}.warn{color:var(--warn)}img{max-width:100%;height:auto}pre{overflow-x:auto}input,textarea,select{max-width:100%;font:inherit}\
code{font-size:.85em;overflow-wrap:anywhere}#stale{margin:0;padding:.75rem 1rem;text-align:center;font-weight:600}\
@media(max-width:40rem){thead{display:none}table,tbody,tr,td{display:block}tr{padding:.4rem 0;border-bottom:1px solid var(--line)}tr:last-child{border-bottom:0}\
td,td.n{border-bottom:0;padding:.2rem 0;text-align:start}td::before{content:attr(data-label);display:block;color:var(--soft);font-size:.85em}}";

/// Fetches the page anew every ten seconds and puts what it says in place of what stood there; says so where it cannot, so that nobody takes
/// what is old for what is. A page that reloads itself takes the reader's place in it along.
const SCRIPT: &str = "setInterval(async()=>{const stale=document.getElementById('stale');try{\
const answer=await fetch(location.href,{cache:'no-store',signal:AbortSignal.timeout(8000)});if(!answer.ok)throw 0;\
const next=new DOMParser().parseFromString(await answer.text(),'text/html').querySelector('main');const held=document.activeElement?.id;\
document.querySelector('main').replaceWith(next);if(held)document.getElementById(held)?.focus({preventScroll:true});stale.hidden=true}\
catch{stale.hidden=false}},10000)";

/// Text made safe for HTML.
pub(super) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// True when Chinese comes before English in the browser's list (the platform's first language is Chinese).
fn chinese(header: Option<&str>) -> bool {
    let languages = header.unwrap_or("zh").split(',').filter_map(|part| {
        let mut fields = part.split(';').map(str::trim);
        let tag = fields.next()?.to_ascii_lowercase();
        let weight = fields.find_map(|f| f.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        (weight > 0.0).then_some((tag, weight))
    });
    let (mut zh, mut en) = (0.0f32, 0.0f32);
    for (tag, weight) in languages {
        if tag.starts_with("zh") {
            zh = zh.max(weight);
        } else if tag.starts_with("en") {
            en = en.max(weight);
        }
    }
    zh > 0.0 && zh >= en
}

/// Whether a request is answered in Chinese.
pub(super) fn language(request: &HttpRequest) -> bool {
    chinese(request.headers().get(ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()))
}

/// A time in the machine's own zone, with its offset.
fn local(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Alarms that were lost or held back, in brackets; empty where there are none.
fn lost(dropped: u64, suppressed: u64, zh: bool) -> String {
    let mut parts = Vec::new();
    if dropped > 0 {
        parts.push(format!("{} {}", if zh { "已丢弃" } else { "lost" }, dropped));
    }
    if suppressed > 0 {
        parts.push(format!("{} {}", if zh { "同一规则过频，未保留" } else { "over the rate of their rule, not kept" }, suppressed));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// What models run on: name, version, precision.
fn provided(info: &ProviderInfo, zh: bool) -> String {
    let precision = match (info.precision.as_str(), zh) {
        ("model", true) => "精度同模型",
        ("model", false) => "precision of the model",
        (other, _) => other,
    };
    let in_part = match (info.in_part, zh) {
        (false, _) => "",
        (true, true) => " · 部分算子由 CPU 执行",
        (true, false) => " · a part of the model on the CPU",
    };
    format!("{} {} · {}{in_part}", safe(info.name.as_str()), safe(&info.version), safe(precision))
}

fn state_words(state: State, zh: bool) -> (&'static str, &'static str) {
    match (state, zh) {
        (State::Installed, true) => ("运行中", "ok"),
        (State::Installed, false) => ("Running", "ok"),
        (State::Failed, true) => ("失败", "bad"),
        (State::Failed, false) => ("Failed", "bad"),
        (State::Installing, true) => ("安装中", "warn"),
        (State::Installing, false) => ("Installing", "warn"),
        (State::Removing | State::Removed, true) => ("移除中", "soft"),
        (State::Removing | State::Removed, false) => ("Removing", "soft"),
        (State::Pending, true) => ("等待", "soft"),
        (State::Pending, false) => ("Waiting", "soft"),
    }
}

/// `GET /`
pub(super) async fn status(request: HttpRequest, agent: Shared) -> HttpResponse {
    let zh = language(&request);
    let t = |chinese: &'static str, english: &'static str| if zh { chinese } else { english };
    let identity = agent.identity();
    let state = agent.state.get();
    let (contact, trouble) = (agent.link.last(), agent.link.trouble());
    let (counts, (_, suppressed)) = (agent.outbox.counts(), agent.episodes.counts());
    let mut html = String::with_capacity(8 * 1024);
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript><title>{name} · {title}</title><style>{STYLE}</style></head><body>\
         <p id=\"stale\" class=\"bad\" role=\"alert\" hidden>{stale}</p><main><h1>{name}</h1><p class=\"soft\">{site} · {title}</p>",
        t("zh-CN", "en"),
        name = safe(&identity.node_name),
        site = safe(&identity.site_name),
        title = t("坑口边缘节点", "Pithead edge node"),
        stale = t("节点没有应答，以下内容可能已过时", "The node does not answer; what stands below may be out of date"),
    );
    let ended = identity.validity().is_ok_and(|v| v.1 < agent.clock.now());
    let refused_for_good = trouble.as_ref().is_some_and(|fault| fault.code == "certificate-not-accepted");
    let down = health::down(&agent);
    let link = match &trouble {
        // A certificate that is no longer accepted is told before all else: waiting does not mend it.
        _ if ended || refused_for_good => format!(
            "<span class=\"bad\">{}</span><p class=\"soft\">{}</p>",
            if ended {
                t("节点证书已到期，平台不再接受该节点", "The node's certificate has ended; the platform accepts the node no more")
            } else {
                t(
                    "平台不再接受该节点：它已被移除，或已重新接入",
                    "The platform accepts this node no more: it was removed, or enrolled anew",
                )
            },
            t(
                "请在平台上添加节点或重新生成接入码，再用新的数据目录执行 pithead-edge enroll 与 run。在此之前应用照常运行，直到许可证到期。",
                "On the platform, add a node or make a new enrolment code; then run pithead-edge enroll and run with a new data folder. \
                 Until then apps keep running, as long as their licences allow."
            )
        ),
        None if agent.link.met() => format!("<span class=\"ok\">{}</span>", t("已连接", "Connected")),
        None => format!("<span class=\"soft\">{}</span>", t("正在连接", "Connecting")),
        Some(fault) => format!(
            "<span class=\"warn\">{}</span> <span class=\"soft\"><code>{}</code></span>",
            if fault.source == "server" && down.iter().all(|app| app.serves) {
                t("未连接，应用照常运行", "Not connected; apps keep running")
            } else if fault.source == "server" {
                t("未连接；有应用未运行，见下", "Not connected; some apps do not run, see below")
            } else {
                t("已连接，但未采用平台的期望状态", "Connected, but the platform's desired state is not taken")
            },
            safe(&fault.code)
        ),
    };
    let last = contact.map_or_else(|| t("无", "none").to_owned(), local);
    let until = identity.validity().map_or_else(|_| "–".to_owned(), |v| local(v.1));
    let warned = |fault: &Fault| {
        let words = words(&fault.code, zh).map(|words| format!("{} ", safe(words))).unwrap_or_default();
        let (code, message) = (safe(&fault.code), safe(&fault.message));
        format!("<span class=\"bad\">{words}<code>{code}</code></span> <span class=\"soft\">{message}</span>")
    };
    let also = |fault: Option<Fault>| fault.map(|fault| format!(" {}", warned(&fault))).unwrap_or_default();
    let time = format!("{}{}", local(agent.clock.now()), also(agent.clock.fault()));
    // A desired state that came but was refused; trouble of the connection itself stands above.
    let refused = agent.link.poll_trouble().filter(|fault| trouble.as_ref().is_none_or(|t| t.code != fault.code || t.source != "server"));
    let api = match (&agent.config.open, &agent.config.token) {
        (Some(fault), _) => warned(fault),
        (None, Some(_)) => t("需要令牌", "asks for a token").to_owned(),
        (None, None) => t("无需令牌", "asks for no token").to_owned(),
    };
    let engine = match agent.engine() {
        None => "–".to_owned(),
        Some(Ok(version)) => safe(&version),
        Some(Err(fault)) => warned(&fault),
    };
    let mut known: Vec<String> = Vec::new();
    for library in &agent.config.providers {
        known.push(match agent.providers.known(library.provider) {
            None => safe(library.provider.as_str()),
            Some(Ok(info)) => provided(&info, zh),
            Some(Err(fault)) => format!("<code>{}</code> {}", library.provider.as_str(), warned(&fault)),
        });
    }
    let providers = if known.is_empty() { t("仅 CPU", "CPU only").to_owned() } else { known.join("<br>") };
    let _ = write!(html, "<section class=\"card\"><dl>");
    for (label, value) in [
        (t("平台", "Platform"), format!("{} · {link}", safe(&identity.server))),
        (t("最近联系", "Last contact"), last),
        (t("节点时间", "Time"), time),
        (t("节点编号", "Node id"), format!("<code>{}</code>{}", safe(&identity.node_id), also(agent.copied.clone()))),
        (t("证书有效至", "Certificate until"), until),
        (
            t("期望状态版本", "Desired state version"),
            refused.map_or_else(|| state.manifest_version.to_string(), |fault| format!("{} {}", state.manifest_version, warned(&fault))),
        ),
        ("ONNX Runtime", engine),
        (t("执行提供程序", "Execution providers"), providers),
        (t("本地接口", "Local API"), api),
        (
            t("待上报告警", "Alarms to be sent"),
            format!("{}{}{}", counts.alarms, lost(counts.dropped, suppressed, zh), also(agent.outbox.fault())),
        ),
    ] {
        let _ = write!(html, "<dt>{label}</dt><dd>{value}</dd>");
    }
    let sources = agent.sources.all();
    let wrong = |live: &Live| {
        let standing = live.standing();
        standing.fault.is_some() || !standing.troubles.is_empty() || sensors::readings(live).iter().any(|reading| reading.trouble.is_some())
    };
    let troubled = sources.iter().filter(|live| wrong(live)).count();
    let _ = write!(html, "<dt>{}</dt><dd><a href=\"/sources\">{}</a>", t("摄像机与传感器", "Cameras and sensors"), sources.len());
    if troubled > 0 {
        let _ = write!(html, " <span class=\"bad\">{} {troubled}</span>", t("有问题", "in trouble:"));
    }
    html.push_str("</dd>");
    let _ = write!(
        html,
        "</dl></section><h2 id=\"apps-title\">{}</h2>\
         <section class=\"card\" id=\"apps\" tabindex=\"0\" aria-labelledby=\"apps-title\">",
        t("应用", "Apps")
    );
    let running = agent.apps.all();
    let phases = agent.phases();
    if running.is_empty() && phases.is_empty() {
        let _ = write!(
            html,
            "<p class=\"soft\">{}</p>",
            t(
                "尚无应用。在平台上向本节点部署后，会自动出现在这里。",
                "No apps yet. Deploy one to this node on the platform and it will appear here."
            )
        );
    } else {
        let heads = [
            t("应用", "App"),
            t("版本", "Version"),
            t("状态", "State"),
            t("推理次数", "Inferences"),
            t("错误", "Errors"),
            t("中位时延", "Median"),
            t("重启", "Restarts"),
        ];
        html.push_str("<table><thead><tr>");
        for (at, head) in heads.iter().enumerate() {
            let _ = write!(html, "<th scope=\"col\"{}>{head}</th>", if at < 3 { "" } else { " class=\"n\"" });
        }
        html.push_str("</tr></thead><tbody>");
        let row = |html: &mut String, cells: [String; 7]| {
            html.push_str("<tr>");
            for (at, (head, cell)) in heads.iter().zip(cells).enumerate() {
                let _ = write!(html, "<td data-label=\"{head}\"{}>{cell}</td>", if at < 3 { "" } else { " class=\"n\"" });
            }
            html.push_str("</tr>");
        };
        for app in &running {
            let phase = phases.get(&app.wanted.id);
            let (word, class) =
                if app.process.pid().is_some() { state_words(State::Installed, zh) } else { (t("正在重启", "Restarting"), "warn") };
            let mut notes = String::new();
            if let Some(warning) = app.warning() {
                let meaning = words(&format!("license-{warning}"), zh).unwrap_or_default();
                let _ = write!(notes, "<p class=\"warn\">{} {meaning} <code>{warning}</code></p>", t("许可证", "Licence"));
            }
            if app.process.is_unconfined() {
                let meaning = words("app-unconfined", zh).unwrap_or_default();
                let _ = write!(notes, "<p class=\"warn\">{meaning} <code>app-unconfined</code></p>");
            }
            for names in app.models.iter().map(|model| agent.apps.shared(&model.name)).filter(|names| !names.is_empty()) {
                let meaning = words("model-name-shared", zh).unwrap_or_default();
                let names = names.iter().map(|name| format!("<code>{}</code>", safe(name))).collect::<Vec<_>>().join(" ");
                let _ = write!(notes, "<p class=\"warn\">{meaning} {names}</p>");
            }
            if let Some(reason) = &app.wanted.recalled {
                let _ = write!(
                    notes,
                    "<p class=\"bad\">{}</p><p class=\"soft\">{}</p>",
                    t(
                        "平台已召回此版本；应用继续运行，由运营方决定更新或移除",
                        "The platform has recalled this version; the app keeps running until its operator updates or removes it"
                    ),
                    safe(reason)
                );
            }
            if let Some(fault) = phase.and_then(|p| p.fault.as_ref()) {
                let _ = write!(
                    notes,
                    "<p class=\"bad\">{}</p><p>{}</p>",
                    if fault.code == "app-crashed" {
                        t("进程刚刚异常退出", "The process has just ended by itself")
                    } else {
                        t("更新未成功，原版本继续运行", "Update failed; the former version keeps running")
                    },
                    warned(fault)
                );
            }
            if let Some(info) = app.process.provider() {
                let _ = write!(notes, "<p class=\"soft\">{}</p>", provided(&info, zh));
            }
            for (provider, fault) in passed_over(&agent, app) {
                let _ = write!(notes, "<p><code>{}</code> {}</p>", provider.as_str(), warned(&fault));
            }
            let median = app.stats.quantiles().map_or_else(|| "–".to_owned(), |q| format!("{:.2} ms", q.0));
            let (title, name) = (safe(app.manifest.title.get(t("zh", "en"))), safe(app.wanted.app()));
            let cells = [
                format!("{title}<p class=\"soft\"><code>{name}</code></p>"),
                app.wanted.release.version.to_string(),
                format!("<span class=\"{class}\">{word}</span>{notes}"),
                app.stats.inferences.load(Ordering::Relaxed).to_string(),
                app.stats.errors.load(Ordering::Relaxed).to_string(),
                median,
                app.stats.restarts.load(Ordering::Relaxed).to_string(),
            ];
            row(&mut html, cells);
        }
        for (id, phase) in phases.iter().filter(|(id, _)| !running.iter().any(|r| &r.wanted.id == *id)) {
            let (word, class) = state_words(phase.state, zh);
            let fault = phase.fault.as_ref().map_or_else(String::new, |f| format!("<p>{}</p>", warned(f)));
            let name = if phase.app.is_empty() { id } else { &phase.app };
            let none = || "–".to_owned();
            let name = format!("<code>{}</code>", safe(name));
            let state = format!("<span class=\"{class}\">{word}</span>{fault}");
            row(&mut html, [name, safe(&phase.version), state, none(), none(), none(), none()]);
        }
        html.push_str("</tbody></table>");
        let since = local(agent.started);
        let _ = write!(html, "<p class=\"soft\">{} {since}</p>", t("各项次数自代理启动时起计：", "Counts are since the agent started:"));
    }
    let _ = write!(
        html,
        "</section><p class=\"soft\">pithead-edge {} · <code>/v1/apps</code> · <code>/v2</code> · <code>/metrics</code></p></main><script>{SCRIPT}</script></body></html>",
        env!("CARGO_PKG_VERSION")
    );
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, CSP.replace("STYLE", &digest(STYLE)).replace("SCRIPT", &digest(SCRIPT))))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(html)
}

/// The digest of a style or script for the content security policy.
pub(super) fn digest(text: &str) -> String {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_of_the_browser() {
        assert!(chinese(None));
        assert!(chinese(Some("zh-CN,zh;q=0.9,en;q=0.8")));
        assert!(!chinese(Some("en-US,en;q=0.9,zh;q=0.5")));
        assert!(!chinese(Some("de")));
        assert!(!chinese(Some("zh;q=0")));
    }

    #[test]
    fn text_is_made_safe() {
        assert_eq!(safe("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
