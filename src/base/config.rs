//! Typed settings: defaults < `pithead.toml` < `PITHEAD_*` environment.
//!
//! A key `server.listen` is `[server] listen = …` in the file and `PITHEAD_SERVER__LISTEN` in the environment. An unknown key is an
//! error. [`Loaded::origins`] says where each value came from; `pithead config show` prints it with secrets hidden.

use std::path::PathBuf;

use inference::provider::{self, Library};
use serde::{Deserialize, Serialize};

use super::networks::Networks;

mod load;

pub use load::{Loaded, MIN_LOG_DAYS};

/// All settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Folder of keys, blobs, uploads, small copies of pictures.
    pub data_dir: DataDir,
    /// Listeners and addresses.
    pub server: Server,
    /// What is asked of the server at once, by class.
    pub load: Load,
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
    /// Addresses that organisations have told of what happens.
    pub webhooks: Webhooks,
    /// Sessions.
    pub sessions: Sessions,
    /// The audit log.
    pub audit: Audit,
}

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
        /// Requests that an address (of IPv6: a /64) may have open at once, and half its connections.
        open_per_address: usize = 256usize,
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
    /// What is asked of the server at once, by class ([`crate::base::load`]).
    Load {
        /// Nodes' states, alarms and documents.
        reports: LoadClass = LoadClass::default(),
        /// Nodes' polls until they wait.
        polls: LoadClass = LoadClass::default(),
        /// Orders and payments.
        money: LoadClass = LoadClass::default(),
        /// Pages and calls of those who are signed in.
        people: LoadClass = LoadClass::default(),
        /// Pages for those who are not.
        strangers: LoadClass = LoadClass::default(),
        /// Forms of strangers: signing in and up.
        entry: LoadClass = LoadClass::default(),
        /// Pictures of listings.
        pictures: LoadClass = LoadClass::default(),
        /// Searches of strangers.
        searches: LoadClass = LoadClass::default(),
        /// Exports of those who are signed in.
        exports: LoadClass = LoadClass::default(),
        /// Pulls from the registry.
        pulls: LoadClass = LoadClass::default(),
        /// Nodes' pulls.
        node_pulls: LoadClass = LoadClass::default(),
        /// Pushes into the registry.
        pushes: LoadClass = LoadClass::default(),
    }
}
section! {
    /// The bounds of a class; each 0 for the default, which is by the number of cores.
    LoadClass {
        /// Requests that are worked on at once.
        at_once: usize = 0usize,
        /// Requests that wait for one of those to end.
        waiting: usize = 0usize,
        /// Seconds that a request waits at most.
        seconds: u64 = 0u64,
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
        /// Hours between automatic collections of garbage, 720 at most; 0 for none.
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
        /// Providers that apps are checked on besides the CPU, each `NAME=LIBRARY`, with commas between; empty for none.
        providers: String = "",
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
impl Checks {
    /// The libraries of [`Self::providers`], with absolute paths. Code `provider-setting`.
    pub fn libraries(&self) -> inference::error::Result<Vec<Library>> {
        let words = self.providers.split(',').map(str::trim).filter(|word| !word.is_empty());
        provider::distinct(words.map(str::parse::<Library>).collect::<Result<Vec<_>, _>>()?)
    }

    /// Seconds that a check takes at most, on all providers.
    pub fn longest_seconds(&self) -> u64 {
        let runs = 1 + self.libraries().map_or(0, |libraries| libraries.len());
        self.wall_seconds.saturating_mul(u64::try_from(runs).unwrap_or(u64::MAX))
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
    /// Addresses that organisations have told of what happens.
    Webhooks {
        /// Networks beside the public one that may be called, also without TLS: a mine's own, or `127.0.0.1` for trying out.
        private_networks: Networks = Networks::default(),
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
