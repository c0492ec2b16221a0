//! Rows, and the texts of a notice.

use diesel::prelude::*;

use crate::base::db::{Timestamp, schema};
use crate::base::i18n::Lang;
use crate::base::notify::{Notice, NoticeKind};

crate::base::db::types::text_enum! {
    /// What became of a message.
    pub enum MessageState {
        /// On its way to the mail server.
        Waiting = "waiting",
        /// The mail server took it.
        Sent = "sent",
        /// The mail server refused it, or could not be reached for two hours; or no message could be made of the notice.
        Failed = "failed",
        /// On the pages only: this server sends no mail.
        Kept = "kept",
        /// On the pages only: the address got, or the organisation caused, too many.
        Withheld = "withheld",
    }
}

#[derive(Debug, Clone, Queryable, Insertable, Selectable)]
#[diesel(table_name = schema::messages)]
pub struct Message {
    /// `msg_…`.
    pub id: String,
    pub kind: NoticeKind,
    /// BCP 47 tag.
    pub language: String,
    /// Whose inbox it is in.
    pub user_id: String,
    /// Address of the mail.
    pub address: String,
    /// Organisation that caused it.
    pub organization_id: Option<String>,
    pub subject: String,
    /// The text without a secret.
    pub body: String,
    /// The whole text, until it was sent or given up.
    pub mail: Option<String>,
    pub state: MessageState,
    /// What the mail server said last.
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    /// When the mail server took it.
    pub sent_at: Option<Timestamp>,
}

/// Longest subject and text in characters.
const MAX_SUBJECT: usize = 200;
const MAX_TEXT: usize = 8000;

/// The message of a notice: `site` is the address of this site, `by_mail` whether it is to be sent.
pub fn compose(notice: &Notice, site: &str, by_mail: bool, state: MessageState, now: Timestamp) -> Message {
    let link = notice.link.as_ref().map(|path| format!("{site}{path}")).unwrap_or_default();
    let lang = notice.lang;
    let without = lang.t(if by_mail { "notice-link-in-mail" } else { "notice-link-by-administrator" });
    let shown = if notice.kind.is_secret() { &without } else { &link };
    // A header is one line: what has a line break is put into one, whatever the library would do.
    let subject = text(lang, notice, "subject", &link).split_whitespace().collect::<Vec<_>>().join(" ");
    Message {
        id: notice.id.clone(),
        kind: notice.kind,
        language: lang.tag().to_owned(),
        user_id: notice.user_id.clone(),
        address: notice.address.clone(),
        organization_id: notice.organization_id.clone(),
        subject: subject.chars().take(MAX_SUBJECT).collect(),
        body: text(lang, notice, "text", shown).chars().take(MAX_TEXT).collect(),
        mail: by_mail.then(|| text(lang, notice, "text", &link).chars().take(MAX_TEXT).collect()),
        state,
        last_error: None,
        created_at: now,
        sent_at: None,
    }
}

fn text(lang: Lang, notice: &Notice, part: &str, link: &str) -> String {
    let args: Vec<(&str, &str)> = notice.args.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("link", link)]).collect();
    let others = Lang::ALL.into_iter().filter(|other| *other != lang && notice.kind.is_in_all());
    let texts: Vec<String> =
        [lang].into_iter().chain(others).map(|lang| lang.format(&format!("notice-{}-{part}", notice.kind), &args)).collect();
    texts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_the_mail_only_and_a_subject_is_one_line() {
        let link = "/new-password?secret=s3cret";
        for lang in Lang::ALL {
            let notice = Notice::new(NoticeKind::ResetPassword, lang, "usr_1", "a@b.cn").link(link.into()).arg("minutes", 30);
            let notice = notice.arg("address", "a@b.cn\r\nBcc: all@b.cn");
            let message = compose(&notice, "https://pithead.example", true, MessageState::Waiting, Timestamp::from_unix(0));
            assert!(message.mail.unwrap().contains("https://pithead.example/new-password?secret=s3cret"));
            assert!(!message.body.contains("s3cret") && !message.subject.contains(['\r', '\n']));
            let kept = compose(&notice, "https://pithead.example", false, MessageState::Kept, Timestamp::from_unix(0));
            assert!(kept.mail.is_none() && !kept.body.contains("s3cret"));
        }
    }
}
