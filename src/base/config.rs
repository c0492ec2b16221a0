//! Typed settings: defaults < `pithead.toml` < `PITHEAD_*` environment.
//!
//! A key `server.listen` is `[server] listen = …` in the file and `PITHEAD_SERVER__LISTEN` in the environment. An unknown key is an
//! error. [`Loaded::origins`] says where each value came from; `pithead config show` prints it with secrets hidden.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::networks::Networks;

/// All settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Folder of keys, blobs, uploads, small copies of pictures.
    pub data_dir: DataDir,
    /// Listeners and addresses.
    pub server: Server,
    /// Database.
    pub database: Database,
    /// Where blobs lie.
    pub storage: Storage,
    /// The registry.
    pub registry: Registry,
    /// Log.
    pub log: Log,
    /// Names in node identities.
    pub trust: Trust,
    /// Licences.
    pub license: License,
    /// Account that buyers transfer to.
    pub bank: Bank,
    /// Mail to people.
    pub mail: Mail,
    /// Automatic checks.
    pub checks: Checks,
    /// Nodes.
    pub fleet: Fleet,
    /// What nodes report.
    pub telemetry: Telemetry,
    /// Sessions.
    pub sessions: Sessions,
    /// The audit log.
    pub audit: Audit,
}

/// Shortest retention of logs in days.
const MIN_LOG_DAYS: i64 = 180;

/// A folder path with a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataDir(pub PathBuf);

impl Default for DataDir {
    fn default() -> Self {
        Self("data/pithead".into())
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty = $default:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),+ }
        impl Default for $name {
            fn default() -> Self { Self { $($field: $default.into()),+ } }
        }
    };
}

section! {
    /// Listeners and addresses.
    Server {
        /// Address of the site and registry, plain HTTP (a proxy adds TLS).
        listen: String = "127.0.0.1:8080",
        /// Address of the node endpoint, mutual TLS.
        edge_listen: String = "127.0.0.1:8443",
        /// How people reach the site; stands in links, invitations and token challenges.
        public_url: String = "http://127.0.0.1:8080",
        /// How nodes reach the node endpoint.
        edge_url: String = "https://127.0.0.1:8443",
        /// Worker threads; 0 for one per core.
        workers: usize = 0usize,
        /// Threads of each worker for what blocks: the database, files, hashing.
        blocking_threads: usize = 64usize,
        /// Connections of both listeners together; further ones wait.
        connections: usize = 20_000usize,
        /// Changes that the people of an organisation may make in an hour, and as many at once.
        changes_per_hour: u32 = 2_000u32,
        /// Seconds given to open requests at shutdown.
        shutdown_seconds: u64 = 10u64,
        /// Proxies whose `X-Forwarded-For` is believed, as networks.
        trusted_proxies: Networks = Networks::default(),
        /// Whether the last address of `X-Forwarded-For` is believed of anybody; only where `trusted_proxies` names none.
        behind_proxy: bool = false,
    }
}
section! {
    /// Database.
    Database {
        /// `sqlite:PATH` or `postgres://…`; empty for `sqlite:<data_dir>/pithead.db`.
        url: String = "",
        /// Reading connections (SQLite) or all connections (PostgreSQL).
        connections: u32 = 4u32,
        /// Whether a change that is in the audit log outlives a power cut once it was answered; without it such a change costs less.
        durable: bool = true,
    }
}
section! {
    /// Where blobs lie. Uploads are staged in the data folder in any case.
    Storage {
        /// `directory` (in the data folder) or `s3`.
        kind: String = "directory",
        /// MiB of the data folder's disk that uploads leave free for the database.
        reserve_mib: u64 = 1_024u64,
        /// The reserve is at most this part of the disk, in percent.
        reserve_percent: u64 = 5u64,
        /// The bucket, for `s3`.
        s3: S3 = S3::default(),
    }
}
section! {
    /// A bucket of an S3 store.
    S3 {
        /// Address of the store as this server reaches it.
        endpoint: String = "http://127.0.0.1:9000",
        /// Region that requests are signed for.
        region: String = "us-east-1",
        /// Name of the bucket, which exists.
        bucket: String = "pithead",
        /// Put before all keys; empty, or ending in `/`.
        prefix: String = "",
        /// Access key.
        access_key: String = "",
        /// Secret key.
        secret_key: String = "",
        /// `https://store/bucket/key` instead of `https://bucket.store/key`.
        path_style: bool = true,
        /// Whether clients are sent to the store for a blob's bytes (307) instead of getting them from this server.
        redirect: bool = false,
        /// Address of the store as clients reach it; empty for `endpoint`.
        public_endpoint: String = "",
        /// Seconds for which an address given to a client is good, at most a week.
        redirect_seconds: u32 = 900u32,
    }
}
section! {
    /// The registry.
    Registry {
        /// GiB that an organisation may store, where it has no limit of its own.
        quota_gib: u64 = 200u64,
        /// Hours that a blob stays without any reference; at least 1, so that no upload under way loses one.
        grace_hours: i64 = 24i64,
        /// Hours between automatic collections of garbage; 0 for none.
        collect_hours: i64 = 24i64,
    }
}
section! {
    /// Log.
    Log {
        /// Filter in the syntax of `tracing`, for example `info,pithead=debug`.
        level: String = "info",
        /// `text` or `json`.
        format: String = "text",
    }
}
section! {
    /// Names in node identities (SPIFFE).
    Trust {
        /// Trust domain.
        domain: String = "pithead.local",
        /// Id of this workload fleet manager (Margo).
        wfm: String = "main",
        /// Days a node's certificate is valid; it renews at two thirds.
        node_certificate_days: i64 = 30i64,
        /// Start with other keys than those that the database was used with: for once, where they are lost.
        new_keys: bool = false,
    }
}
section! {
    /// Licences.
    License {
        /// Days after a licence's end in which its apps go on.
        grace_days: i64 = 14i64,
        /// Hours east of UTC of the licences' local day.
        utc_offset_hours: i32 = 8i32,
    }
}
section! {
    /// Account that buyers transfer to.
    Bank {
        /// Name of the account's owner.
        account_name: String = "坑口工业互联网平台运营有限公司",
        /// Account number.
        account_number: String = "6217 0000 0000 0000 000",
        /// Bank and branch.
        bank_name: String = "中国工商银行鄂尔多斯康巴什支行",
    }
}
section! {
    /// Mail to people.
    Mail {
        /// Name of the SMTP server; empty for no mail: messages are on the pages only.
        server: String = "",
        /// Its port.
        port: u16 = 587u16,
        /// `starttls`, `tls` (from the first byte, port 465), or `none` for a server on the same machine or network.
        tls: String = "starttls",
        /// Name to sign in with; empty for none.
        user: String = "",
        /// Password to sign in with.
        password: String = "",
        /// Sender, as `Pithead <no-reply@pithead.example>`.
        from: String = "",
        /// Days that messages are kept, sent or not.
        keep_days: i64 = 90i64,
    }
}

impl Mail {
    /// Whether mail is sent.
    pub fn is_on(&self) -> bool {
        !self.server.is_empty()
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(matches!(self.tls.as_str(), "starttls" | "tls" | "none"), "mail.tls must be starttls, tls or none");
        anyhow::ensure!((1..=3650).contains(&self.keep_days), "mail.keep_days must be from 1 to 3650");
        if self.is_on() {
            let from = self.from.parse::<lettre::message::Mailbox>();
            anyhow::ensure!(from.is_ok(), "mail.from must be a sender like Pithead <no-reply@pithead.example>, not \"{}\"", self.from);
            let here = matches!(self.server.as_str(), "localhost" | "127.0.0.1" | "::1");
            let open = self.tls == "none" && !here && !self.user.is_empty();
            anyhow::ensure!(!open, "mail.tls = \"none\" would send mail.password in the open: leave mail.user empty, or use TLS");
        }
        Ok(())
    }
}
section! {
    /// Automatic checks.
    Checks {
        /// Path of libonnxruntime.
        ort_lib: String = "",
        /// Program that runs the check as `PROGRAM check-child …`; empty for this program.
        program: String = "",
        /// Address space of the checking child in MiB.
        memory_mib: u64 = 2048u64,
        /// Processor seconds of the checking child.
        cpu_seconds: u64 = 120u64,
        /// Seconds after which the child is ended.
        wall_seconds: u64 = 180u64,
        /// Releases of an organisation that may wait for their check at the same time.
        waiting_per_organization: i64 = 20i64,
        /// Checks that an organisation may ask for in a day, and as many at once.
        per_day: u32 = 200u32,
        /// Releases of an app that are scored on hidden test sets in a day before they are published.
        scores_per_day: u32 = 3u32,
        /// Checks nothing where the kernel cannot confine the child: landlock and a filter of system calls.
        require_confinement: bool = true,
        /// `ClamAV`'s daemon, `/path/of/socket` or `host:port`, that looks at every upload first; empty for none.
        clamd_socket: String = "",
    }
}
section! {
    /// Nodes.
    Fleet {
        /// Seconds between a node's polls when long polls are not answered.
        poll_seconds: u64 = 10u64,
        /// Seconds between heartbeats.
        heartbeat_seconds: u64 = 15u64,
        /// Hours an enrolment code is valid.
        code_hours: i64 = 24i64,
        /// Nodes of an operator that are not removed.
        max_nodes: i64 = 2_000i64,
        /// Changes of state that a node may report in an hour, and as many at once; an operator's nodes together twenty times as many.
        states_per_hour: u32 = 240u32,
        /// Events that are kept of a deployment, the newest.
        keep_events: i64 = 200i64,
        /// Days that the events of a deployment are kept which was removed.
        keep_removed_days: i64 = 730i64,
    }
}
section! {
    /// What nodes report.
    Telemetry {
        /// Alarms that a node may send in an hour, and as many at once. Critical ones are counted apart. Each 4 KiB of a result count as one more.
        alarms_per_hour: u32 = 600u32,
        /// The same for all nodes of an operator together.
        organization_alarms_per_hour: u32 = 6_000u32,
        /// Alarms that are kept of an operator, the newest.
        keep_alarms: i64 = 20_000i64,
        /// Days that an alarm is kept.
        keep_alarm_days: i64 = 365i64,
    }
}
section! {
    /// Sessions of browsers.
    Sessions {
        /// Hours after which a person signs in again in any case.
        hours: i64 = 12i64,
        /// Minutes without a request of the person's own after which they sign in again; pages that refresh themselves do not count.
        idle_minutes: i64 = 120i64,
    }
}
section! {
    /// The audit log.
    Audit {
        /// Days that decisions are kept; 0 for ever.
        keep_days: i64 = 0i64,
        /// Days that failed sign-ins and refused requests are kept.
        keep_access_days: i64 = 400i64,
    }
}

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
        settings.mail.check()?;
        anyhow::ensure!(settings.registry.grace_hours >= 1, "registry.grace_hours must be at least 1");
        anyhow::ensure!(settings.registry.collect_hours >= 0, "registry.collect_hours must not be negative");
        for (name, value) in [
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
            let _ = writeln!(out, "{key} = {shown}  # {origin}");
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
