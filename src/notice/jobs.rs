//! From a notice to a message, and from a message to a mail. A mail that the server refuses for good is given up at once; one that it refuses
//! for now, or that does not reach it, is tried for two hours.

use chrono::TimeDelta;

use super::model::{Message, MessageState, compose};
use super::{smtp, store};
use crate::account::throttle;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::jobs::Job;
use crate::base::notify::{Notice, NoticeKind};

/// Mails to one address in an hour.
pub(super) const TO_ADDRESS: i64 = 10;
/// Messages to one address in an hour, with those that are on the pages only; what is more is dropped.
pub(super) const IN_INBOX: i64 = 50;
/// Mails that one organisation causes in a day.
pub(super) const BY_ORGANIZATION: i64 = 500;
/// Rows removed in one transaction.
const BATCH: i64 = 500;

/// Makes a message of a notice, once.
pub async fn notify(app: &App, notice: &Notice) -> Result<()> {
    let (notice, on, site) = (notice.clone(), app.settings.mail.is_on(), app.settings.server.public_url.clone());
    audit::change(app, &Actor::System, move |c| {
        let now = c.now;
        if store::exists(c, &notice.id)? {
            return Ok(());
        }
        let to = throttle::count_in(c, &format!("mail-to:{}", notice.address), TimeDelta::hours(1), now)?;
        let by = match &notice.organization_id {
            Some(id) => throttle::count_in(c, &format!("mail-of:{id}"), TimeDelta::days(1), now)?,
            None => 0,
        };
        if to > IN_INBOX {
            tracing::warn!(message = %notice.id, user = %notice.user_id, "too many messages to one address: dropped");
            return Ok(());
        }
        let state = if !on {
            MessageState::Kept
        } else if to > TO_ADDRESS || by > BY_ORGANIZATION {
            MessageState::Withheld
        } else {
            MessageState::Waiting
        };
        let message = compose(&notice, &site, state == MessageState::Waiting, state, now);
        store::insert(c, &message)?;
        if state == MessageState::Waiting { c.enqueue(&Job::SendMessage { message_id: message.id }) } else { Ok(()) }
    })
    .await
}

/// Sends a message.
///
/// # Errors
/// `mail-not-sent`: another try may help.
pub async fn send(app: &App, id: &str) -> Result<()> {
    let wanted = id.to_owned();
    let Some(message) = app.db.read(move |conn| Ok(store::find_waiting(conn, &wanted)?)).await? else { return Ok(()) };
    let (id, now) = (message.id.clone(), app.clock.now());
    let late = message.kind == NoticeKind::ResetPassword && message.created_at.plus(NoticeKind::RESET_LIFE) <= now;
    let sent = match (late, app.settings.mail.is_on()) {
        (true, _) => Err(smtp::Failure::lasting("its link ended before the mail server took it")),
        (_, false) => Err(smtp::Failure::lasting("mail was switched off meanwhile")),
        _ => smtp::send(&app.settings, message).await,
    };
    let Err(failure) = sent else {
        return app.db.write(move |conn| Ok(store::mark_sent(conn, &id, now).map(|_| ())?)).await;
    };
    tracing::warn!(message = %id, error = %failure.text, lasting = failure.lasting, "mail was not sent");
    let (text, lasting) = (failure.text.clone(), failure.lasting);
    let marked = move |conn: &mut Conn| {
        if lasting {
            store::mark_failed(conn, &id, Some(&text))?
        } else {
            store::note_error(conn, &id, &text)?
        };
        Ok(())
    };
    app.db.write(marked).await?;
    if lasting { Ok(()) } else { Err(Error::unavailable("mail-not-sent").source(anyhow::anyhow!(failure.text))) }
}

/// Makes a failed message of a notice whose job did not get through, without its link. An administrator sees it, and helps.
pub fn give_up_notice(conn: &mut Conn, notice: &Notice, now: Timestamp) -> Result<()> {
    if store::exists(conn, &notice.id)? {
        return Ok(());
    }
    let bare = Notice { link: None, ..notice.clone() };
    let message = compose(&bare, "", false, MessageState::Failed, now);
    store::insert(conn, &Message { last_error: Some("no message could be made of it".into()), ..message })?;
    Ok(())
}

/// Gives a message up after its last try.
pub fn give_up(conn: &mut Conn, id: &str) -> Result<()> {
    store::mark_failed(conn, id, None)?;
    Ok(())
}

/// Removes messages that are older than the setting says; gives how many.
pub async fn prune(app: &App) -> Result<usize> {
    let old = app.clock.now().minus(TimeDelta::days(app.settings.mail.keep_days));
    let mut removed = 0;
    loop {
        let gone = app.db.write(move |conn| Ok(store::delete(conn, old, BATCH)?)).await?;
        if gone == 0 {
            return Ok(removed);
        }
        removed += gone;
    }
}
