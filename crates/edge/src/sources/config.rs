//! The node's file of sources, `sources.json` in the data folder, and the passwords of cameras and brokers beside it in `source-logins.json`.
//!
//! Invariants: the file of sources holds no password once all of it is taken: one that stands in an address (`rtsp://user:password@…`) is moved to
//! the other file, which only this user may read and which nothing shows again; a password goes to the camera that it was given for, and to no
//! other. A fault names its place in the file, quotes no address, and keeps no other source from running.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use app_package::pipeline::Drawn;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::channels::Sensors;
use crate::fault::Fault;
use crate::files;

/// Name of the file.
const FILE: &str = "sources.json";
const LOGINS: &str = "source-logins.json";
/// Largest file, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Most sources of a node.
const MOST: usize = 64;
/// Most apps of one source.
const MOST_APPS: usize = 32;
/// Longest name or address, in bytes.
const MAX_TEXT: usize = 1_000;
/// Frames or rows a second.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=30.0;

/// Where frames or values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A camera, `rtsp://…`, with H.264 or H.265 over TCP.
    Rtsp,
    /// A video file, over and over.
    File,
    /// A picture that is asked for again and again, `http://…`.
    Snapshot,
    /// A folder into which pictures are laid.
    Folder,
    /// Sensors at a broker, `mqtt://…` or `mqtts://…`.
    Mqtt,
    /// Sensors at a controller, `modbus://…`.
    ModbusTcp,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Rtsp, Self::File, Self::Snapshot, Self::Folder, Self::Mqtt, Self::ModbusTcp];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::File => "file",
            Self::Snapshot => "snapshot",
            Self::Folder => "folder",
            Self::Mqtt => "mqtt",
            Self::ModbusTcp => "modbus-tcp",
        }
    }

    /// Whether it gives values, not pictures.
    pub fn is_sensors(self) -> bool {
        matches!(self, Self::Mqtt | Self::ModbusTcp)
    }

    /// Whether it is a place on this machine.
    pub fn is_local(self) -> bool {
        matches!(self, Self::File | Self::Folder)
    }
}

/// An app that sees a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Deployment id, full name of the app, or the last part of that name.
    pub app: String,
    /// Place for alarm texts; without one the deployment's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What is drawn in this source's picture for this app.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub scene: Drawn,
}

fn is_empty(drawn: &Drawn) -> bool {
    *drawn == Drawn::default()
}

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Lower-case letters, digits and `-`; stays the same while the name changes.
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub kind: Kind,
    /// `rtsp://…`, `http://…`, `mqtt://…`, `mqtts://…`, `modbus://…`, or a path on this machine; one that is not absolute begins at `media` in the data folder.
    pub address: String,
    /// Frames a second that apps are given; of sensors rows a second.
    #[serde(default = "usual_rate")]
    pub rate: f64,
    /// What is read; of sources of sensors alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensors: Option<Sensors>,
    #[serde(default)]
    pub apps: Vec<Binding>,
}

fn usual_rate() -> f64 {
    5.0
}

impl Source {
    /// What it is called.
    pub fn title(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }

    /// The path of a source on this machine.
    pub fn path(&self, data: &Path) -> PathBuf {
        data.join("media").join(&self.address)
    }

    /// What is wrong with it: the key and why.
    fn refusal(&self) -> Option<(&'static str, String)> {
        let slug = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if self.id.is_empty() || self.id.len() > 60 || !slug(&self.id) {
            return Some(("id", "1 to 60 lower-case letters, digits and -".into()));
        }
        if self.name.len() > MAX_TEXT || self.name.chars().any(char::is_control) {
            return Some(("name", "too long, or with signs that cannot be shown".into()));
        }
        if !RATES.contains(&self.rate) {
            return Some(("rate", format!("{} to {} frames a second", RATES.start(), RATES.end())));
        }
        let wanted: &[&str] = match self.kind {
            Kind::Rtsp => &["rtsp"],
            Kind::Snapshot => &["http"],
            Kind::Mqtt => &["mqtt", "mqtts"],
            Kind::ModbusTcp => &["modbus"],
            Kind::File | Kind::Folder => &[],
        };
        let named = |url: Url| wanted.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty());
        let fits = wanted.is_empty() || Url::parse(&self.address).is_ok_and(named);
        if self.address.is_empty() || self.address.len() > MAX_TEXT || self.address.contains('\0') {
            return Some(("address", "missing or too long".into()));
        }
        if self.kind.is_local() && self.address.contains("://") {
            return Some(("address", "a path on this machine, without ://".into()));
        }
        if !fits {
            return Some(("address", format!("must begin {}:// and name a host", wanted.join(":// or "))));
        }
        let sensors = match &self.sensors {
            Some(sensors) if self.kind.is_sensors() => sensors.refusal(self.kind == Kind::Mqtt),
            Some(_) => Some("only sources of sensors have them".to_owned()),
            None => self.kind.is_sensors().then(|| "missing".to_owned()),
        };
        if let Some(why) = sensors {
            return Some(("sensors", why));
        }
        if self.apps.len() > MOST_APPS {
            return Some(("apps", format!("at most {MOST_APPS}")));
        }
        let mut seen = BTreeSet::new();
        let twice = self.apps.iter().find(|binding| binding.app.is_empty() || !seen.insert(&binding.app));
        twice.map(|binding| ("apps", format!("{:?} is empty or there twice", binding.app)))
    }
}

/// Name and password of a camera or broker.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub user: String,
    pub password: String,
    /// Scheme, host and port of the camera or broker; empty until it is [`put`].
    pub camera: String,
}

/// The camera or broker of an address, as a [`Login`] names it; none on this machine.
fn camera(source: &Source) -> Option<String> {
    let url = Url::parse(&source.address).ok().filter(|_| !source.kind.is_local())?;
    let usual = match url.scheme() {
        "mqtt" => 1883,
        "mqtts" => 8883,
        "modbus" => 502,
        _ => 554,
    };
    let port = url.port_or_known_default().unwrap_or(usual);
    Some(format!("{}://{}:{port}", url.scheme(), url.host_str()?))
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// All that is set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    pub sources: Vec<Source>,
    pub logins: BTreeMap<String, Login>,
    /// What could not be taken, each with its place.
    pub faults: Vec<Fault>,
}

fn invalid(place: &str, why: impl std::fmt::Display) -> Fault {
    let mut why: String = why.to_string().chars().take(300).collect();
    // The parser quotes what it does not take, and an address may hold a password.
    if why.contains("://") || why.contains('@') {
        "has not the form of a source".clone_into(&mut why);
    }
    Fault::new("source-invalid", "source", format!("{FILE}: {place}: {why}"))
}

/// Reads both files; without them there are no sources. Passwords in addresses are moved. Code `source-invalid` for each source that is not
/// taken; the error is of a file that cannot be read at all.
pub fn load(data: &Path) -> Result<Settings, Fault> {
    let logins: Option<BTreeMap<String, Login>> = files::read_json(&data.join(LOGINS)).map_err(|fault| {
        // The parser quotes what it does not take.
        let wrong = || Fault::new("state-unreadable", "source", format!("{LOGINS} is not as it should be"));
        if fault.code == "state-unreadable" { wrong() } else { fault }
    })?;
    let mut settings = Settings { logins: logins.unwrap_or_default(), ..Settings::default() };
    let Some(bytes) = files::read_bounded(&data.join(FILE), MAX_FILE)? else { return Ok(settings) };
    // The parser names line and column.
    let file: Value = serde_json::from_slice(&bytes).map_err(|e| invalid("the file", e))?;
    let Some(list) = file.get("sources").and_then(Value::as_array) else {
        return Err(invalid("sources", "a list is missing: {\"sources\": [ … ]}"));
    };
    let mut moved = false;
    for (at, value) in list.iter().enumerate() {
        let place = format!("sources[{at}]");
        match serde_json::from_value::<Source>(value.clone()) {
            Err(e) => settings.faults.push(invalid(&place, e)),
            Ok(mut source) => {
                let login = split(&mut source);
                moved |= login.is_some();
                let known = settings.sources.iter().any(|other| other.id == source.id);
                let refusal = source.refusal().or_else(|| known.then(|| ("id", format!("{:?} is there twice", source.id))));
                match refusal {
                    Some((key, why)) => settings.faults.push(invalid(&format!("{place}.{key}"), why)),
                    None if settings.sources.len() == MOST => settings.faults.push(invalid(&place, format!("at most {MOST} sources"))),
                    None => {
                        keep(&mut settings.logins, &source, login);
                        settings.sources.push(source);
                    }
                }
            }
        }
    }
    // Where a source was not taken the file stays as its writer left it, to be mended.
    if moved && settings.faults.is_empty() {
        save(data, &settings)?;
    }
    Ok(settings)
}

/// When both files were changed.
pub fn changed(data: &Path) -> [Option<SystemTime>; 2] {
    [FILE, LOGINS].map(|name| std::fs::metadata(data.join(name)).and_then(|about| about.modified()).ok())
}

/// Writes both files; the passwords first, for a source without its own would be refused by its camera. Passwords of sources that are gone go.
pub fn save(data: &Path, settings: &Settings) -> Result<(), Fault> {
    let known = |id: &&String| settings.sources.iter().any(|source| source.id == **id);
    let logins: BTreeMap<&String, &Login> = settings.logins.iter().filter(|(id, _)| known(id)).collect();
    files::write_json(&data.join(LOGINS), &logins)?;
    files::write_json(&data.join(FILE), &json!({ "sources": settings.sources }))
}

/// Notes the login of a source; without one, or with half of one, the known one holds while the camera is the same.
fn keep(logins: &mut BTreeMap<String, Login>, source: &Source, login: Option<Login>) {
    let known = logins.remove(&source.id);
    let Some(camera) = camera(source) else { return };
    // A password is for its camera: who moves the source to another host must not have it sent there.
    let known = known.filter(|known| known.camera == camera);
    let login = match login {
        Some(typed) => {
            let known = known.unwrap_or_default();
            let or = |typed: String, known: String| if typed.is_empty() { known } else { typed };
            Some(Login { user: or(typed.user, known.user), password: or(typed.password, known.password), camera })
        }
        None => known,
    };
    logins.extend(login.map(|login| (source.id.clone(), login)));
}

/// Puts a source in the place of the one with its id, or adds it. Without a login the known one stays while the camera is the same. Code
/// `source-invalid`.
pub fn put(settings: &mut Settings, mut source: Source, login: Option<Login>) -> Result<(), Fault> {
    let login = split(&mut source).or(login);
    if let Some((key, why)) = source.refusal() {
        return Err(Fault::new("source-invalid", "source", format!("{key}: {why}")));
    }
    let full = settings.sources.len() >= MOST;
    let former = settings.sources.iter_mut().find(|other| other.id == source.id);
    if former.is_none() && full {
        return Err(Fault::new("source-invalid", "source", format!("at most {MOST} sources")));
    }
    keep(&mut settings.logins, &source, login);
    match former {
        Some(former) => *former = source,
        None => settings.sources.push(source),
    }
    Ok(())
}

/// Takes name and password out of an address.
fn split(source: &mut Source) -> Option<Login> {
    let mut url = Url::parse(&source.address).ok()?;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let login = Login { user: decoded(url.username()), password: decoded(url.password().unwrap_or_default()), camera: String::new() };
    url.set_password(None).ok()?;
    url.set_username("").ok()?;
    source.address = url.to_string();
    Some(login)
}

/// Text of an address, percent signs taken away (RFC 3986 §2.1).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match tail {
            [high, low, ..] if *first == b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low)
            }
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = tail.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn loaded(dir: &Scratch, sources: &Value) -> Settings {
        std::fs::write(dir.path().join(FILE), json!({ "sources": sources }).to_string()).unwrap();
        load(dir.path()).unwrap()
    }

    #[test]
    fn a_password_in_an_address_is_moved_to_a_file_that_others_cannot_read() {
        let dir = Scratch::new();
        let settings =
            loaded(&dir, &json!([{ "id": "belt-3", "kind": "rtsp", "address": "rtsp://admin:p%40ss%2Fw%25@10.0.0.9:554/live?ch=1" }]));
        assert_eq!(settings.sources[0].address, "rtsp://10.0.0.9:554/live?ch=1");
        let camera = "rtsp://10.0.0.9:554".to_owned();
        assert_eq!(settings.logins["belt-3"], Login { user: "admin".into(), password: "p@ss/w%".into(), camera });
        let file = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!file.contains("p@ss") && !file.contains("p%40") && !file.contains("admin"), "{file}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.path().join(LOGINS)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(load(dir.path()).unwrap(), settings, "the second time it comes from the other file");
        assert!(!format!("{settings:?}").contains("p@ss"));
    }

    #[test]
    fn each_fault_has_its_place_and_keeps_no_other_source_out() {
        let dir = Scratch::new();
        let right = json!({ "id": "right", "kind": "file", "address": "belt.mp4" });
        let with = |key: &str, value: Value| {
            let mut source = json!({ "id": "a", "kind": "rtsp", "address": "rtsp://h/1" });
            source[key] = value;
            source
        };
        for (source, place) in [
            (with("id", json!("A b")), "sources[1].id"),
            (with("id", json!("right")), "sources[1].id"),
            (with("rate", json!(0)), "sources[1].rate"),
            (with("rate", json!(31)), "sources[1].rate"),
            (with("kind", json!("webcam")), "unknown variant `webcam`"),
            (with("address", json!("http://h/1")), "sources[1].address"),
            (with("address", json!("rtsp:///1")), "sources[1].address"),
            (with("address", json!("")), "sources[1].address"),
            (with("kind", json!("file")), "sources[1].address"),
            (with("password", json!("x")), "unknown field `password`"),
            (with("apps", json!([{ "app": "a" }, { "app": "a" }])), "sources[1].apps"),
            (with("kind", json!("mqtt")), "sources[1].address"),
            (json!({ "id": "a", "kind": "mqtt", "address": "mqtt://h" }), "sources[1].sensors"),
            (with("sensors", json!({ "channels": [{ "name": "a", "topic": "t" }] })), "sources[1].sensors"),
            (
                json!({ "id": "a", "kind": "modbus-tcp", "address": "modbus://h", "sensors": { "channels": [{ "name": "a", "topic": "t" }] } }),
                "channels[0]",
            ),
            (with("apps", json!([{ "app": "a", "scene": { "zone": {} } }])), "unknown field `zone`"),
        ] {
            let settings = loaded(&dir, &json!([right, source]));
            assert_eq!(settings.sources.len(), 1, "{source}");
            assert!(settings.faults.len() == 1 && settings.faults[0].message.contains(place), "{source}: {:?}", settings.faults);
        }
        std::fs::write(dir.path().join(FILE), "{\n  \"sources\": [,]").unwrap();
        assert!(load(dir.path()).unwrap_err().message.contains("line 2"));
    }

    #[test]
    fn a_password_does_not_follow_its_source_to_another_host() {
        let mut settings = Settings::default();
        let source = |address: &str| serde_json::from_value(json!({ "id": "a", "kind": "rtsp", "address": address })).unwrap();
        let login = |user: &str, password: &str| Some(Login { user: user.into(), password: password.into(), camera: String::new() });
        let known = |settings: &Settings| settings.logins.get("a").map(|login| (login.user.clone(), login.password.clone()));
        let first = Some(("u".to_owned(), "p".to_owned()));
        put(&mut settings, source("rtsp://one/1"), login("u", "p")).unwrap();
        put(&mut settings, source("rtsp://one:554/2"), None).unwrap();
        assert_eq!(known(&settings), first);
        // The form does not show the name: a new password alone is for the known one.
        put(&mut settings, source("rtsp://one/2"), login("", "new")).unwrap();
        assert_eq!(known(&settings), Some(("u".to_owned(), "new".to_owned())));
        for other in ["rtsp://two/2", "rtsp://one:8554/2"] {
            let mut settings = settings.clone();
            put(&mut settings, source(other), None).unwrap();
            assert_eq!((settings.logins.len(), settings.sources.len()), (0, 1), "{other}");
            put(&mut settings, source("rtsp://one/2"), None).unwrap();
            assert_eq!(known(&settings), None, "it does not come back");
        }
        // Nor does it go from a broker over TLS to the same one in the clear, or to another port.
        let broker = |address: &str| {
            let sensors = json!({ "channels": [{ "name": "a", "topic": "t" }] });
            serde_json::from_value(json!({ "id": "a", "kind": "mqtt", "address": address, "sensors": sensors })).unwrap()
        };
        put(&mut settings, broker("mqtts://u:p@one"), None).unwrap();
        assert_eq!((settings.sources[0].address.as_str(), known(&settings)), ("mqtts://one", first.clone()));
        for (same, other) in [("mqtts://one:8883", "mqtt://one:8883"), ("mqtts://one", "mqtts://one:1883"), ("mqtts://one", "mqtts://two")]
        {
            let mut settings = settings.clone();
            put(&mut settings, broker(same), None).unwrap();
            assert_eq!(known(&settings), first);
            put(&mut settings, broker(other), None).unwrap();
            assert_eq!(known(&settings), None, "{other}");
        }
        // By hand neither.
        let dir = Scratch::new();
        loaded(&dir, &json!([{ "id": "a", "kind": "rtsp", "address": "rtsp://u:p@one/1" }]));
        assert_eq!(known(&loaded(&dir, &json!([{ "id": "a", "kind": "rtsp", "address": "rtsp://one/2" }]))), first);
        assert_eq!(known(&loaded(&dir, &json!([{ "id": "a", "kind": "rtsp", "address": "rtsp://two/1" }]))), None);
        assert_eq!(known(&loaded(&dir, &json!([{ "id": "a", "kind": "snapshot", "address": "http://one/1" }]))), None);
    }

    #[test]
    fn a_fault_quotes_no_address() {
        let dir = Scratch::new();
        for wrong in [json!(["rtsp://admin:secret@h/1"]), json!([{ "id": "a", "kind": "rtsp admin:secret@h", "address": "x" }])] {
            let settings = loaded(&dir, &wrong);
            assert!(settings.faults.len() == 1 && !format!("{:?}", settings.faults).contains("secret"), "{:?}", settings.faults);
        }
        std::fs::write(dir.path().join(LOGINS), r#"{"a": "secret"}"#).unwrap();
        let fault = load(dir.path()).unwrap_err();
        assert!(fault.code == "state-unreadable" && !fault.message.contains("secret"), "{fault:?}");
    }
}
