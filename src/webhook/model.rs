//! Rows, what is told, how it is signed, and when it is tried again.

use chrono::TimeDelta;
use diesel::prelude::*;
use ring::hmac;
use serde_json::{Value, json};

use crate::base::auth::OrgKind;
use crate::base::db::{Timestamp, schema};
use crate::base::ids;

crate::base::db::types::text_enum! {
    /// What a message is about; the `type` of Standard Webhooks.
    pub enum EventKind {
        /// A version is for sale.
        ReleasePublished = "release.published",
        /// A moderator refuses a version, or wants something changed.
        ReleaseRefused = "release.refused",
        /// The platform has called a version back.
        ReleaseRecalled = "release.recalled",
        OrderPlaced = "order.placed",
        OrderPaid = "order.paid",
        /// The licence of an order is issued.
        OrderFulfilled = "order.fulfilled",
        OrderCancelled = "order.cancelled",
        LicenseIssued = "license.issued",
        /// A licence ends within 30 days.
        LicenseEnding = "license.ending",
        /// A licence was suspended, reinstated or revoked; `state` says which.
        LicenseChanged = "license.changed",
        /// The state of an app on a node has changed.
        DeploymentChanged = "deployment.changed",
        NodeOffline = "node.offline",
        NodeOnline = "node.online",
        AlarmRaised = "alarm.raised",
        /// A person wants to see whether a message arrives.
        Test = "webhook.test",
    }
}

impl EventKind {
    /// What organisations of a kind can be told.
    pub fn of(kind: OrgKind) -> &'static [Self] {
        match kind {
            OrgKind::Vendor => &[
                Self::ReleasePublished,
                Self::ReleaseRefused,
                Self::ReleaseRecalled,
                Self::OrderPlaced,
                Self::OrderPaid,
                Self::OrderFulfilled,
                Self::OrderCancelled,
            ],
            OrgKind::Operator => &[
                Self::OrderPlaced,
                Self::OrderPaid,
                Self::OrderFulfilled,
                Self::OrderCancelled,
                Self::ReleaseRecalled,
                Self::LicenseIssued,
                Self::LicenseEnding,
                Self::LicenseChanged,
                Self::DeploymentChanged,
                Self::NodeOffline,
                Self::NodeOnline,
                Self::AlarmRaised,
            ],
            OrgKind::Platform => &[],
        }
    }

    /// The word with `-`, for keys of texts.
    pub fn key(self) -> String {
        self.as_str().replace('.', "-")
    }
}

crate::base::db::types::text_enum! {
    pub enum WebhookState {
        On = "on",
        /// Nothing came through for as long as messages are tried, or its server said that it is gone.
        Off = "off",
        /// Taken away; the row stays until its messages are gone.
        Removed = "removed",
    }
}

crate::base::db::types::text_enum! {
    pub enum DeliveryState {
        /// Sent when it is due.
        Waiting = "waiting",
        /// Its server has taken it.
        Delivered = "delivered",
        GivenUp = "given_up",
    }
}

/// What goes before what of a webhook's messages: people may be in danger. The numbers are those of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    Usual = 0,
    Alarm = 1,
    Critical = 2,
}

impl Urgency {
    /// The highest first, as messages are sent.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Alarm, Self::Usual];

    /// So many messages of a webhook wait before one of this urgency is lost: alarms have places of their own, critical ones further ones.
    pub fn places(self) -> i64 {
        match self {
            Self::Usual => 8_000,
            Self::Alarm => 10_000,
            Self::Critical => 12_000,
        }
    }
}

impl From<Urgency> for i64 {
    fn from(urgency: Urgency) -> Self {
        urgency as Self
    }
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: EventKind,
    /// What tells the same event again apart; none where it is told in the transaction of its cause, once.
    pub id: Option<String>,
    /// When it happened, where that was before it is told: webhooks that were made later are not told.
    pub at: Option<Timestamp>,
    /// Ids and words of it; no secret.
    pub data: Value,
    pub urgency: Urgency,
}

impl Event {
    pub fn new(kind: EventKind, data: Value) -> Self {
        let urgency = if kind == EventKind::AlarmRaised { Urgency::Alarm } else { Urgency::Usual };
        Self { kind, id: None, at: None, data, urgency }
    }

    /// An alarm of the highest level.
    #[must_use]
    pub fn critical(self) -> Self {
        Self { urgency: Urgency::Critical, ..self }
    }

    /// The body of its message.
    pub fn body(&self, now: Timestamp) -> String {
        json!({"type": self.kind, "timestamp": self.at.unwrap_or(now), "data": self.data}).to_string()
    }
}

/// An address that is told.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::webhooks)]
pub struct Webhook {
    /// `whk_…`.
    pub id: String,
    pub organization_id: String,
    pub url: String,
    /// Words of [`EventKind`], with blanks between.
    pub kinds: String,
    /// `whsec_…`. It is kept as it is: each message is signed with it.
    pub secret: String,
    /// The secret before, which signs beside the new one until a time.
    pub previous_secret: Option<String>,
    pub previous_until: Option<Timestamp>,
    pub state: WebhookState,
    /// Since when nothing has come through.
    pub failing_since: Option<Timestamp>,
    /// Messages that were not kept, for too many waited.
    pub lost: i64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub removed_at: Option<Timestamp>,
}

impl Webhook {
    pub fn wants(&self, kind: EventKind) -> bool {
        kind == EventKind::Test || self.kinds.split(' ').any(|word| word == kind.as_str())
    }

    /// The secrets that sign at a time, the newest first.
    pub fn secrets(&self, now: Timestamp) -> Vec<&str> {
        let previous = self.previous_secret.as_deref().filter(|_| self.previous_until.is_some_and(|until| now < until));
        [self.secret.as_str()].into_iter().chain(previous).collect()
    }
}

/// A message to a webhook.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::webhook_deliveries)]
pub struct Delivery {
    /// `dlv_…`.
    pub id: String,
    pub webhook_id: String,
    pub organization_id: String,
    /// `webhook-id`, the same in each try.
    pub message_id: String,
    pub kind: EventKind,
    pub body: String,
    pub state: DeliveryState,
    /// Tries that have begun since it was last put into the queue.
    pub tries: i64,
    /// When it is tried next; while a try is under way, when another process takes over.
    pub due_at: Timestamp,
    pub created_at: Timestamp,
    /// Number of its [`Urgency`].
    pub urgency: i64,
}

/// A try to send a message.
#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::webhook_attempts)]
pub struct Attempt {
    /// `att_…`.
    pub id: String,
    pub delivery_id: String,
    pub at: Timestamp,
    /// Time until the answer, or the fault.
    pub millis: i64,
    /// HTTP status, where there was an answer.
    pub status: Option<i64>,
    /// Word of what went wrong before there was one.
    pub fault: Option<String>,
    /// The begin of the answer.
    pub answer: String,
}

/// How long a former secret signs beside the new one.
pub const BOTH_SECRETS: TimeDelta = TimeDelta::hours(24);
/// Prefix of secrets in Standard Webhooks.
const SECRET: &str = "whsec_";

/// A new secret: `whsec_` and 32 letters and digits, which are Base64 of 24 bytes. Those with `+` and `/` are left out: it travels in a cookie.
pub fn new_secret() -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut secret = SECRET.to_owned();
    while secret.len() < SECRET.len() + 32 {
        for byte in ids::random::<32>() {
            // Of 64 numbers the last two stand for no letter.
            if let Some(letter) = LETTERS.get(usize::from(byte & 63)).filter(|_| secret.len() < SECRET.len() + 32) {
                secret.push(char::from(*letter));
            }
        }
    }
    secret
}

/// The signatures of a message by each secret, as `webhook-signature` has them: `v1,` and Base64 of HMAC-SHA256 over `id.timestamp.body`
/// (Standard Webhooks 1.0, "Signature scheme"). A secret that is no Base64 signs nothing.
pub fn signatures(secrets: &[&str], id: &str, timestamp: i64, body: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let signed = |secret: &&str| {
        let key = STANDARD.decode(secret.strip_prefix(SECRET).unwrap_or(secret)).ok()?;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{timestamp}.{body}").as_bytes());
        Some(format!("v1,{}", STANDARD.encode(tag.as_ref())))
    };
    secrets.iter().filter_map(signed).collect::<Vec<_>>().join(" ")
}

/// Pauses after each failed try but the last, in seconds, as Standard Webhooks recommends: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
const PAUSES: [i64; 7] = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
/// Tries of a message, over some 28 hours.
pub const TRIES: i64 = 8;

/// The pause after so many tries, a fifth shorter or longer by `chance` (0 to 1), so that what failed together does not come together again;
/// none after the last.
pub fn pause(tries: i64, chance: f64) -> Option<TimeDelta> {
    let seconds = *PAUSES.get(usize::try_from(tries).ok()?.checked_sub(1)?)?;
    let thousandths = (800.0 + 400.0 * chance.clamp(0.0, 1.0)).round();
    #[expect(clippy::cast_possible_truncation, reason = "between 800 and 1200")]
    Some(TimeDelta::milliseconds(seconds * thousandths as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_message_is_signed_as_the_specification_has_it() {
        let body = r#"{"test": 2432232314}"#;
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signed = signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = signatures(&[&new_secret(), secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert!(both.ends_with(&format!(" {signed}")) && both.split(' ').count() == 2, "{both}");
    }

    #[test]
    fn secrets_are_base64_of_24_bytes_and_never_the_same() {
        use base64::Engine as _;
        let secrets: std::collections::BTreeSet<String> = (0..100).map(|_| new_secret()).collect();
        assert_eq!(secrets.len(), 100);
        for secret in secrets {
            let bytes = base64::engine::general_purpose::STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
            assert_eq!(bytes.len(), 24);
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let bounds = |tries| pause(tries, 0.0).zip(pause(tries, 1.0)).map(|(a, b)| (a.num_milliseconds(), b.num_milliseconds()));
        assert_eq!(bounds(1), Some((4_000, 6_000)));
        assert_eq!(bounds(2), Some((240_000, 360_000)));
        assert_eq!(bounds(7), Some((28_800_000, 43_200_000)));
        assert_eq!((bounds(0), bounds(TRIES), pause(TRIES - 1, 0.5).is_some()), (None, None, true));
    }

    #[test]
    fn every_kind_is_told_to_somebody_and_has_words() {
        let told = |kind: &EventKind| OrgKind::ALL.iter().any(|of| EventKind::of(*of).contains(kind));
        assert!(EventKind::ALL.iter().filter(|kind| **kind != EventKind::Test).all(told));
        for kind in EventKind::ALL {
            let key = format!("webhook-kind-{}", kind.key());
            assert!(crate::base::i18n::Lang::ALL.iter().all(|lang| lang.has(&key)), "{key}");
        }
    }
}
