//! [`Notice`]: something that a person is to be told. Who has it to tell puts it into the transaction of its cause, as a job
//! (`c.enqueue(&notice.job())`); the slice `notice` makes a message of it, so that slices below need not know that one.

use std::collections::BTreeMap;
use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::i18n::Lang;
use super::ids;
use super::jobs::Job;

crate::base::db::types::text_enum! {
    /// What a notice is about. Its texts are `notice-<word>-subject` and `notice-<word>-text`, with the argument `link` and its own. No argument is a
    /// text that somebody else chose, but short names and versions: the mail may go to an address that is not theirs.
    pub enum NoticeKind {
        /// A link to choose a new password: `minutes`.
        ResetPassword = "reset-password",
        /// The password was changed.
        PasswordChanged = "password-changed",
        /// A link to prove an address: `address`, `hours`.
        ProveAddress = "prove-address",
        /// To the old address: `address` is the new one.
        AddressChanged = "address-changed",
        /// To who has an account: somebody gave its `address` as theirs.
        AddressInUse = "address-in-use",
        /// A version that a mine of the person runs was recalled: `app` (`vendor/app`), `version`, `n` deployments, short name of the `mine`.
        ReleaseRecalled = "release-recalled",
        /// A scenario that the person follows has its first app: its name, `scenario`, and `app` (`vendor/app`).
        ScenarioServed = "scenario-served",
        /// A webhook of the person's organisation was switched off, for nothing came through: `host`.
        WebhookOff = "webhook-off",
    }
}

impl NoticeKind {
    /// How long a link to choose a new password is good. A mail with it that would come later is not sent.
    pub const RESET_LIFE: TimeDelta = TimeDelta::minutes(30);

    /// Whether the text is in all languages, for nobody knows that of the person: it was not their own act.
    pub fn is_in_all(self) -> bool {
        matches!(self, Self::WebhookOff | Self::ReleaseRecalled | Self::AddressInUse)
    }

    /// Whether who has the link can act as the person. Such a link is in the mail, and nowhere once that is sent.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::ResetPassword | Self::ProveAddress)
    }
}

/// A notice to one person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// `msg_…` of the message to come: a job that runs twice makes one.
    pub id: String,
    /// What it is about.
    pub kind: NoticeKind,
    /// Language of the person.
    pub lang: Lang,
    /// Whose inbox it comes into.
    pub user_id: String,
    /// Address that the mail goes to.
    pub address: String,
    /// Organisation that caused it; how many one may cause is bounded.
    pub organization_id: Option<String>,
    /// Path of this site to go on at.
    pub link: Option<String>,
    /// Values for the text.
    pub args: BTreeMap<String, String>,
}

impl Notice {
    /// A notice to a person at an address.
    pub fn new(kind: NoticeKind, lang: Lang, user_id: &str, address: &str) -> Self {
        Self {
            id: ids::new("msg"),
            kind,
            lang,
            user_id: user_id.to_owned(),
            address: address.to_owned(),
            organization_id: None,
            link: None,
            args: BTreeMap::new(),
        }
    }

    /// Adds a value for the text.
    #[must_use]
    pub fn arg(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.args.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds the path to go on at.
    #[must_use]
    pub fn link(mut self, path: String) -> Self {
        self.link = Some(path);
        self
    }

    /// Says which organisation caused it.
    #[must_use]
    pub fn caused_by(mut self, organization_id: Option<&str>) -> Self {
        self.organization_id = organization_id.map(ToOwned::to_owned);
        self
    }

    /// The job that makes a message of it.
    pub fn job(self) -> Job {
        Job::Notify { notice: self }
    }
}

// By hand: a link may be a secret, and what is debugged ends in a log.
impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("id", &self.id).field("kind", &self.kind).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_texts() {
        for kind in NoticeKind::ALL {
            for part in ["subject", "text"] {
                let key = format!("notice-{kind}-{part}");
                assert!(Lang::ALL.iter().all(|lang| lang.has(&key)), "{key}");
            }
        }
    }

    #[test]
    fn a_link_is_not_debugged() {
        let notice = Notice::new(NoticeKind::ResetPassword, Lang::En, "usr_1", "a@b.cn").link("/new-password?secret=s3cret".into());
        assert!(!format!("{:?}", notice.job()).contains("s3cret"));
    }
}
