//! Reading the settings: where each value comes from, what may stand there, and how they are shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use toml::{Table, Value};

use super::Settings;

/// Shortest retention of logs in days.
pub const MIN_LOG_DAYS: i64 = 180;

/// Settings with the origin of each value.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// Key → `default`, the file's name, or the variable's name.
    pub origins: BTreeMap<String, String>,
    values: Table,
}

impl Loaded {
    /// Reads defaults, then the file (if given, it must exist), then the environment variables given.
    pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let mut values = Table::try_from(Settings::default())?;
        let mut origins = BTreeMap::new();
        note(&values, "", "default", &mut origins);
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let table: Table = text.parse().with_context(|| format!("{} is not TOML", path.display()))?;
            note(&table, "", &path.display().to_string(), &mut origins);
            merge(&mut values, table);
        }
        for (name, text) in env {
            // No settings of the server: `PITHEAD_EDGE_…` is read by the node agent, `PITHEAD_TOKEN` by the commands for developers.
            let Some(key) = name.strip_prefix("PITHEAD_").filter(|key| !key.starts_with("EDGE_") && *key != "TOKEN") else { continue };
            let parts: Vec<String> = key.split("__").map(str::to_lowercase).collect();
            // Read the text as the type of the default: an account number stays a text, even if it is all digits.
            let default =
                parts.iter().try_fold(None, |at: Option<&Value>, part| Some(Some(at.map_or_else(|| values.get(part), |at| at.get(part))?)));
            let wrong = |what: &str| anyhow::anyhow!("{name}: \"{text}\" is not {what}");
            let value = match default.flatten() {
                Some(Value::Integer(_)) => Value::Integer(text.parse().map_err(|_| wrong("a whole number"))?),
                Some(Value::Boolean(_)) => Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?),
                _ => Value::String(text.clone()),
            };
            let table = parts.iter().rev().fold(value, |inner, part| Value::Table(Table::from_iter([(part.clone(), inner)])));
            if let Value::Table(table) = table {
                note(&table, "", &name, &mut origins);
                merge(&mut values, table);
            }
        }
        let mut settings: Settings = values.clone().try_into().context("settings")?;
        if settings.database.url.is_empty() {
            settings.database.url = format!("sqlite:{}", settings.data_dir.0.join("pithead.db").display());
        }
        for url in [&mut settings.server.public_url, &mut settings.server.edge_url] {
            url.truncate(url.trim_end_matches('/').len());
            let known = reqwest::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
            anyhow::ensure!(
                known.is_some(),
                "server.public_url and server.edge_url must be addresses like https://pithead.example, not \"{url}\""
            );
        }
        anyhow::ensure!(matches!(settings.log.format.as_str(), "text" | "json"), "log.format must be text or json");
        let scanner = settings.checks.clamd_socket.as_str();
        anyhow::ensure!(
            scanner.is_empty() || is_address(scanner),
            "checks.clamd_socket must be /path/of/socket or host:port, not \"{scanner}\""
        );
        settings.checks.libraries().map_err(|e| anyhow::anyhow!("checks.providers: {}", e.message))?;
        settings.mail.check()?;
        anyhow::ensure!(settings.registry.grace_hours >= 1, "registry.grace_hours must be at least 1");
        anyhow::ensure!((0..=720).contains(&settings.registry.collect_hours), "registry.collect_hours must be 0 to 720");
        for (name, value) in [
            ("server.open_per_address", i64::try_from(settings.server.open_per_address).unwrap_or(i64::MAX)),
            ("server.changes_per_hour", settings.server.changes_per_hour.into()),
            ("checks.waiting_per_organization", settings.checks.waiting_per_organization),
            ("checks.per_day", settings.checks.per_day.into()),
            ("checks.scores_per_day", settings.checks.scores_per_day.into()),
            ("fleet.max_nodes", settings.fleet.max_nodes),
            ("fleet.states_per_hour", settings.fleet.states_per_hour.into()),
            ("fleet.keep_events", settings.fleet.keep_events),
            ("fleet.keep_removed_days", settings.fleet.keep_removed_days),
            ("telemetry.alarms_per_hour", settings.telemetry.alarms_per_hour.into()),
            ("telemetry.organization_alarms_per_hour", settings.telemetry.organization_alarms_per_hour.into()),
            ("telemetry.keep_alarms", settings.telemetry.keep_alarms),
            ("telemetry.keep_alarm_days", settings.telemetry.keep_alarm_days),
        ] {
            anyhow::ensure!(value >= 1, "{name} must be at least 1");
        }
        // A node counts as up for 24 s after a call (`fleet::model::ONLINE_WITHIN`).
        anyhow::ensure!((1..=20).contains(&settings.fleet.heartbeat_seconds), "fleet.heartbeat_seconds must be 1 to 20");
        // A job that is leased for two days or more counts as begun by a clock that was ahead (`base::jobs`).
        let wall = (1..=86_400).contains(&settings.checks.longest_seconds()) && settings.checks.wall_seconds >= 1;
        anyhow::ensure!(wall, "checks.wall_seconds must be 1 to 86400, for the CPU and each of checks.providers together");
        anyhow::ensure!((1..=720).contains(&settings.sessions.hours), "sessions.hours must be 1 to 720");
        // The last use is noted each five minutes only.
        anyhow::ensure!(settings.sessions.idle_minutes >= 10, "sessions.idle_minutes must be at least 10");
        // 网络安全法 (Cybersecurity Law) article 21: logs are kept for at least six months.
        anyhow::ensure!(
            settings.audit.keep_days == 0 || settings.audit.keep_days >= MIN_LOG_DAYS,
            "audit.keep_days must be 0 or at least {MIN_LOG_DAYS}"
        );
        anyhow::ensure!(settings.audit.keep_access_days >= MIN_LOG_DAYS, "audit.keep_access_days must be at least {MIN_LOG_DAYS}");
        Ok(Self { settings, origins, values })
    }

    /// One line a key: value and origin; secrets hidden.
    pub fn show(&self) -> String {
        let mut out = String::new();
        for (key, origin) in &self.origins {
            let value = key.split('.').try_fold(&Value::Table(self.values.clone()), |at, part| at.get(part)).map(ToString::to_string);
            let value = value.unwrap_or_default();
            let shown = match key.as_str() {
                "database.url" => hide_password(&value),
                "storage.s3.secret_key" | "mail.password" if value != "\"\"" => "…".to_owned(),
                _ => value,
            };
            let warning = match key.as_str() {
                "server.public_url" | "server.edge_url" if shown.starts_with("\"http:") => {
                    "; trustBundleUri begins so: https in production (Margo)"
                }
                _ => "",
            };
            let _ = writeln!(out, "{key} = {shown}  # {origin}{warning}");
        }
        out
    }
}

fn note(table: &Table, prefix: &str, origin: &str, out: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => note(inner, &path, origin, out),
            _ => {
                out.insert(path, origin.to_owned());
            }
        }
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `postgres://user:secret@host/db?password=secret` → `postgres://user:…@host/db?password=…`; also `host=… password=secret`.
fn hide_password(url: &str) -> String {
    let mut shown = url.to_owned();
    if let Some((scheme, rest)) = url.split_once("://")
        && let Some((credentials, host)) = rest.rsplit_once('@')
    {
        let user = credentials.split(':').next().unwrap_or_default();
        shown = format!("{scheme}://{user}:…@{host}");
    }
    for key in ["password=", "sslpassword="] {
        if let Some((before, after)) = shown.split_once(key) {
            let rest = after.find(['&', ' ', '"']).and_then(|end| after.get(end..)).unwrap_or_default();
            shown = format!("{before}{key}…{rest}");
        }
    }
    shown
}

/// True for `/path/of/socket` and `host:port`.
fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    text.starts_with('/') || matches!(port, Some(Ok(1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_and_its_name_is_the_origin() {
        let env = [("PITHEAD_SERVER__LISTEN".to_owned(), "127.0.0.1:9".to_owned()), ("HOME".to_owned(), "/x".to_owned())];
        let loaded = Loaded::load(None, env.into_iter()).unwrap();
        assert_eq!(loaded.settings.server.listen, "127.0.0.1:9");
        assert_eq!(loaded.origins["server.listen"], "PITHEAD_SERVER__LISTEN");
        assert_eq!(loaded.origins["database.connections"], "default");
    }

    #[test]
    fn an_address_that_margo_does_not_take_in_production_is_said_to_be_one() {
        let line = |url: &str| {
            let env = [("PITHEAD_SERVER__PUBLIC_URL".to_owned(), url.to_owned())];
            let shown = Loaded::load(None, env.into_iter()).unwrap().show();
            shown.lines().find(|line| line.starts_with("server.public_url")).unwrap().to_owned()
        };
        assert!(line("http://market.example").contains("https in production"));
        assert!(!line("https://market.example").contains("https in production"));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let env = [("PITHEAD_SERVER__LISTENN".to_owned(), "x".to_owned())];
        assert!(Loaded::load(None, env.into_iter()).is_err());
    }

    #[test]
    fn a_text_of_digits_stays_a_text_and_a_number_must_be_one() {
        let of = |name: &str, text: &str| Loaded::load(None, [(name.to_owned(), text.to_owned())].into_iter());
        assert_eq!(of("PITHEAD_BANK__ACCOUNT_NUMBER", "62170000").unwrap().settings.bank.account_number, "62170000");
        assert_eq!(of("PITHEAD_SERVER__PUBLIC_URL", "https://a.example/").unwrap().settings.server.public_url, "https://a.example");
        assert_eq!(of("PITHEAD_SERVER__WORKERS", "3").unwrap().settings.server.workers, 3);
        let refused = of("PITHEAD_SERVER__WORKERS", "three").err().unwrap().to_string();
        assert!(refused.contains("PITHEAD_SERVER__WORKERS"), "{refused}");
        assert!(of("PITHEAD_EDGE_ORT_LIB", "/lib/x.so").is_ok(), "the node agent's variable");
        assert!(of("PITHEAD_TOKEN", "pht_x").is_ok(), "a developer's token");
    }

    #[test]
    fn a_limit_is_at_least_one() {
        let of = |name: &str, text: &str| Loaded::load(None, [(name.to_owned(), text.to_owned())].into_iter());
        assert_eq!(of("PITHEAD_TELEMETRY__ALARMS_PER_HOUR", "5").unwrap().settings.telemetry.alarms_per_hour, 5);
        for name in ["PITHEAD_TELEMETRY__ALARMS_PER_HOUR", "PITHEAD_FLEET__KEEP_EVENTS", "PITHEAD_TELEMETRY__KEEP_ALARM_DAYS"] {
            assert!(of(name, "0").err().unwrap().to_string().contains("at least 1"), "{name}");
        }
    }

    #[test]
    fn a_scanner_has_an_address() {
        let of = |text: &str| Loaded::load(None, [("PITHEAD_CHECKS__CLAMD_SOCKET".to_owned(), text.to_owned())].into_iter());
        assert_eq!(of("/run/clamav/clamd.ctl").unwrap().settings.checks.clamd_socket, "/run/clamav/clamd.ctl");
        assert!(of("").is_ok() && of("clamd:3310").is_ok());
        assert!(of("clamd").err().unwrap().to_string().contains("checks.clamd_socket"));
    }

    #[test]
    fn providers_are_named_with_their_libraries() {
        let of = |text: &str| Loaded::load(None, [("PITHEAD_CHECKS__PROVIDERS".to_owned(), text.to_owned())].into_iter());
        let checks = of("openvino=/opt/x/libonnxruntime.so.1.24.1, cuda=/opt/y/plugin.so").unwrap().settings.checks;
        assert_eq!(checks.libraries().unwrap().len(), 2);
        // A check of an app that names both takes three times as long.
        assert_eq!(checks.longest_seconds(), 3 * checks.wall_seconds);
        for wrong in ["openvino", "tensorrt=/x.so", "cpu=/x.so", "cuda=/x.so,cuda=/y.so"] {
            assert!(of(wrong).err().unwrap().to_string().contains("checks.providers"), "{wrong}");
        }
    }

    #[test]
    fn proxies_are_networks_and_limits_have_limits() {
        let of = |name: &str, text: &str| Loaded::load(None, [(name.to_owned(), text.to_owned())].into_iter());
        let proxies = of("PITHEAD_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7").unwrap().settings.server.trusted_proxies;
        assert!(proxies.contains("10.1.2.3".parse().unwrap()) && !proxies.contains("192.0.2.8".parse().unwrap()));
        assert!(of("PITHEAD_SERVER__TRUSTED_PROXIES", "proxy.local").is_err());
        let file = std::env::temp_dir().join(crate::base::ids::new("pithead-settings"));
        std::fs::write(&file, "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n").unwrap();
        let loaded = Loaded::load(Some(&file), std::iter::empty()).unwrap();
        assert!(loaded.settings.server.trusted_proxies.contains("::1".parse().unwrap()));
        std::fs::remove_file(file).unwrap();
        for (name, good, bad) in [
            ("PITHEAD_SESSIONS__HOURS", "24", "0"),
            ("PITHEAD_FLEET__HEARTBEAT_SECONDS", "20", "21"),
            ("PITHEAD_CHECKS__WALL_SECONDS", "86400", "86401"),
            ("PITHEAD_SESSIONS__IDLE_MINUTES", "10", "9"),
            ("PITHEAD_AUDIT__KEEP_DAYS", "0", "179"),
            ("PITHEAD_AUDIT__KEEP_ACCESS_DAYS", "180", "179"),
        ] {
            assert!(of(name, good).is_ok() && of(name, bad).is_err(), "{name}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(hide_password("postgres://a:b@h/d"), "postgres://a:…@h/d");
        assert_eq!(hide_password("postgres://a@h/d?password=b&x=1"), "postgres://a:…@h/d?password=…&x=1");
        assert_eq!(hide_password("host=h password=b dbname=d"), "host=h password=… dbname=d");
        let env = [("PITHEAD_DATABASE__URL".to_owned(), "postgres://a:s3cret@h/d".to_owned())];
        assert!(!Loaded::load(None, env.into_iter()).unwrap().show().contains("s3cret"));
    }

    #[test]
    fn mail_has_a_sender_and_sends_no_password_in_the_open() {
        let of = |settings: &[(&str, &str)]| {
            let named = settings.iter().map(|(name, value)| (format!("PITHEAD_MAIL__{name}"), (*value).to_owned()));
            Loaded::load(None, named.collect::<Vec<_>>().into_iter()).map_err(|e| e.to_string())
        };
        let good = [("SERVER", "mail.example"), ("FROM", "Pithead <no-reply@pithead.example>"), ("USER", "x"), ("PASSWORD", "s3cret")];
        let loaded = of(&good).unwrap();
        assert!(loaded.settings.mail.is_on() && !loaded.show().contains("s3cret"));
        assert!(of(&good[..1]).unwrap_err().contains("mail.from"));
        assert!(of(&[&good[..], &[("TLS", "none")]].concat()).unwrap_err().contains("mail.password"));
        assert!(of(&[&good[1..], &[("TLS", "none"), ("SERVER", "127.0.0.1")]].concat()).is_ok());
        assert!(of(&[("TLS", "ssl")]).unwrap_err().contains("mail.tls"));
        assert!(of(&[("FROM", "a@b.cn\r\nBcc: x@y.cn"), ("SERVER", "mail.example")]).is_err());
        assert!(!Settings::default().mail.is_on());
    }

    #[test]
    fn addresses() {
        for text in ["/run/clamav/clamd.ctl", "localhost:3310", "[::1]:3310"] {
            assert!(is_address(text), "{text}");
        }
        for text in ["clamd", "run/clamd", ":3310", "host:", "host:0", "host:99999"] {
            assert!(!is_address(text), "{text}");
        }
    }
}
