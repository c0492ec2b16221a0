//! The form of a source: written, and read back.

use std::fmt::Write;
use std::sync::Arc;

use app_package::manifest::InputKind;
use app_package::pipeline::Drawn;

use crate::agent::Agent;
use crate::apps::Running;
use crate::local::ApiError;
use crate::local::page::safe;
use crate::sources::config::{Binding, Kind, Login, Source};
use crate::sources::live::Live;

/// The form of a source; empty for a new one.
pub(super) fn form(agent: &Agent, live: Option<&Live>, zh: bool) -> String {
    let t = |chinese: &'static str, english: &'static str| if zh { chinese } else { english };
    let source = live.map(|live| &live.source);
    let text = |of: &dyn Fn(&Source) -> String| source.map(|source| safe(&of(source))).unwrap_or_default();
    let mut html = String::from("<form method=\"post\" action=\"/sources\" class=\"card\" autocomplete=\"off\"><dl>");
    let mut row = |name: &str, label: &str, control: String| {
        let _ = write!(html, "<dt><label for=\"{name}\">{label}</label></dt><dd>{control}</dd>");
    };
    let field = |name: &str, kind: &str, value: &str, more: &str| {
        format!("<input id=\"{name}\" name=\"{name}\" type=\"{kind}\" value=\"{value}\" {more}>")
    };
    let fixed = if source.is_some() { "readonly" } else { "required pattern=\"[a-z0-9\\-]{1,60}\"" };
    row("id", t("编号（小写字母、数字、-）", "Id (lower-case letters, digits, -)"), field("id", "text", &text(&|s| s.id.clone()), fixed));
    row("name", t("名称", "Name"), field("name", "text", &text(&|s| s.name.clone()), ""));
    let mut options = String::new();
    for kind in Kind::ALL {
        let label = match kind {
            Kind::Rtsp => t("摄像机（RTSP）", "Camera (RTSP)"),
            Kind::File => t("视频文件，循环播放", "Video file, over and over"),
            Kind::Snapshot => t("抓拍（HTTP）", "Snapshots (HTTP)"),
            Kind::Folder => t("图片文件夹", "Folder of pictures"),
            Kind::Mqtt => t("传感器（MQTT）", "Sensors (MQTT)"),
            Kind::ModbusTcp => t("传感器（Modbus TCP）", "Sensors (Modbus TCP)"),
        };
        let chosen = if source.is_some_and(|source| source.kind == kind) { " selected" } else { "" };
        let _ = write!(options, "<option value=\"{}\"{chosen}>{label}</option>", kind.as_str());
    }
    row("kind", t("类型", "Kind"), format!("<select id=\"kind\" name=\"kind\">{options}</select>"));
    row(
        "address",
        t("地址，或 media 目录中的路径", "Address, or path in the folder media"),
        field("address", "text", &text(&|s| s.address.clone()), "required size=\"50\""),
    );
    row("user", t("用户名", "User name"), field("user", "text", "", ""));
    let stored = live.is_some_and(|live| live.login.is_some());
    let hint = if stored { t("已保存；留空则不变", "stored; empty leaves it") } else { "" };
    row(
        "password",
        t("密码", "Password"),
        format!("{} <span class=\"soft\">{hint}</span>", field("password", "password", "", "autocomplete=\"new-password\"")),
    );
    let rate = source.map_or(5.0, |source| source.rate);
    row(
        "rate",
        t("每秒帧数或行数", "Frames or rows a second"),
        field("rate", "number", &rate.to_string(), "min=\"0.01\" max=\"30\" step=\"0.01\""),
    );
    let set = source.and_then(|source| source.sensors.as_ref());
    let set = set.map(|set| serde_json::to_string_pretty(set).unwrap_or_default()).unwrap_or_default();
    row(
        "sensors",
        t("传感器通道（JSON）", "Channels of sensors (JSON)"),
        format!(
            "<textarea id=\"sensors\" name=\"sensors\" rows=\"6\" cols=\"60\" placeholder='{{\"channels\":[{{\"name\":\"ch4\",\"topic\":\"gas/ch4\",\"pointer\":\"/value\"}}]}}'>{}</textarea>",
            safe(&set)
        ),
    );
    html.push_str("</dl>");
    let bindings = source.map(|source| &*source.apps).unwrap_or_default();
    let running = agent.apps.all();
    let runs = |binding: &Binding| agent.apps.find(&binding.app).map(|app| app.wanted.id.clone());
    let taken = [InputKind::Image, InputKind::Video, InputKind::Timeseries, InputKind::Tabular];
    for app in running.iter().filter(|app| taken.contains(&app.manifest.input)) {
        let full = app.wanted.app();
        let bound = bindings.iter().find(|binding| runs(binding).is_some_and(|id| id == app.wanted.id));
        let alone = running.iter().filter(|other| other.wanted.app() == full).count() == 1;
        let name = bound.map_or(if alone { full } else { &*app.wanted.id }, |binding| &*binding.app);
        choice(&mut html, name, Some(app), bound, zh);
    }
    // One that does not run now is still bound.
    for binding in bindings.iter().filter(|binding| runs(binding).is_none()) {
        choice(&mut html, &binding.app, None, Some(binding), zh);
    }
    let _ = write!(html, "<p><button>{}</button></p></form>", t("保存", "Save"));
    html
}

/// The fields of an app that may see a source.
fn choice(html: &mut String, name: &str, app: Option<&Arc<Running>>, bound: Option<&Binding>, zh: bool) {
    let t = |chinese: &'static str, english: &'static str| if zh { chinese } else { english };
    let title = app.map_or(t("未运行", "Does not run"), |app| app.manifest.title.get(t("zh", "en")));
    let name = safe(name);
    let _ = write!(
        html,
        "<p><label><input type=\"checkbox\" name=\"app\" value=\"{name}\"{}> {} <code>{name}</code></label></p>\
         <p><label class=\"soft\">{} <input name=\"place:{name}\" type=\"text\" value=\"{}\"></label></p>",
        if bound.is_some() { " checked" } else { "" },
        safe(title),
        t("地点", "Place"),
        safe(bound.map(|binding| binding.place.as_str()).unwrap_or_default()),
    );
    let scene = bound.map(|binding| &binding.scene).filter(|scene| **scene != Drawn::default());
    let scene = scene.map(|scene| serde_json::to_string(scene).unwrap_or_default()).unwrap_or_default();
    let ids: Vec<&str> = app.map_or_else(Vec::new, |app| {
        let scene = &app.manifest.scene;
        scene.zones.iter().map(|zone| &*zone.id).chain(scene.lines.iter().map(|line| &*line.id)).collect()
    });
    if !ids.is_empty() || !scene.is_empty() {
        let _ = write!(
            html,
            "<p><label class=\"soft\">{} ({})<br><textarea name=\"scene:{name}\" rows=\"3\" cols=\"60\" placeholder='{{\"zones\":{{\"id\":[[0,0],[1,0],[1,1]]}}}}'>{}</textarea></label></p>",
            t("区域与线，JSON，坐标 0–1", "Zones and lines, JSON, shares 0–1"),
            safe(&ids.join(", ")),
            safe(&scene),
        );
    }
}

pub(super) fn invalid(why: impl Into<String>) -> ApiError {
    ApiError::bad("source-invalid", why)
}

/// A source out of the form, with the login where one was typed. Code `source-invalid`.
pub(super) fn read(fields: &[(String, String)]) -> Result<(Source, Option<Login>), ApiError> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim()).unwrap_or_default();
    let mut apps = Vec::new();
    for (_, app) in fields.iter().filter(|(key, _)| key == "app") {
        let drawn = field(&format!("scene:{app}"));
        let scene: Drawn = if drawn.is_empty() {
            Drawn::default()
        } else {
            serde_json::from_str(drawn).map_err(|e| invalid(format!("scene:{app}: {e}")))?
        };
        apps.push(Binding { app: app.clone(), place: field(&format!("place:{app}")).to_owned(), scene });
    }
    let set = field("sensors");
    let sensors = if set.is_empty() { None } else { Some(serde_json::from_str(set).map_err(|e| invalid(format!("sensors: {e}")))?) };
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == field("kind")).ok_or_else(|| invalid("kind"))?;
    let source = Source {
        id: field("id").to_owned(),
        name: field("name").to_owned(),
        kind,
        address: field("address").to_owned(),
        rate: field("rate").parse().map_err(|_| invalid("rate: a number"))?,
        sensors,
        apps,
    };
    let (user, password) = (field("user"), fields.iter().find(|(key, _)| key == "password").map(|(_, p)| p.as_str()).unwrap_or_default());
    let typed = !user.is_empty() || !password.is_empty();
    Ok((source, typed.then(|| Login { user: user.to_owned(), password: password.to_owned(), camera: String::new() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_apps_and_their_drawings() {
        let fields = [
            ("id", "belt-3"),
            ("name", "3号皮带"),
            ("kind", "rtsp"),
            ("address", " rtsp://h/1 "),
            ("user", "u"),
            ("password", " p "),
            ("rate", "2.5"),
            ("app", "acme/belt"),
            ("scene:acme/belt", "{\"zones\":{\"a\":[[0,0],[1,0],[1,1]]}}"),
            ("place:acme/belt", "机头"),
            ("scene:acme/other", "x"),
        ];
        let fields: Vec<(String, String)> = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (source, login) = read(&fields).unwrap();
        assert_eq!((source.address.as_str(), source.rate, source.apps.len()), ("rtsp://h/1", 2.5, 1));
        assert_eq!((source.apps[0].place.as_str(), source.apps[0].scene.zones["a"].len()), ("机头", 3));
        assert_eq!(
            login,
            Some(Login { user: "u".into(), password: " p ".into(), camera: String::new() }),
            "spaces may belong to a password"
        );
        let wrong = |key: &str, value: &str| {
            let fields: Vec<_> = fields.iter().map(|(k, v)| (k.clone(), if k == key { value.to_owned() } else { v.clone() })).collect();
            read(&fields).unwrap_err().to_string()
        };
        for (key, value) in [("kind", "webcam"), ("rate", "often"), ("scene:acme/belt", "{\"zone\":1}")] {
            assert!(wrong(key, value).starts_with("source-invalid"), "{key}");
        }
    }
}
