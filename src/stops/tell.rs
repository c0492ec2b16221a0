//! Telling the people of mines that run a recalled version, by a message to each. Pages and nodes say it too, but nobody may be looking.

use serde_json::json;

use super::store;
use crate::account::service as account;
use crate::audit;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Result;
use crate::base::i18n::Lang;
use crate::base::jobs::Job;
use crate::base::notify::{Notice, NoticeKind};
use crate::webhook;
use crate::webhook::model::{Event, EventKind};

/// Mines of one run of the job.
const PORTION: i64 = 10;
/// People of a mine who are told: first those who deploy, then those who have been there longest.
pub(super) const MAX_TOLD: i64 = 50;

/// Enqueues the notices to the people of the next mines for which a release is wanted, and itself for those behind them.
pub async fn tell(app: &App, release_id: &str, after: &str) -> Result<()> {
    let (release_id, after) = (release_id.to_owned(), after.to_owned());
    audit::change(app, &Actor::System, move |c| {
        let (name, version) = store::address_of(c, &release_id)?;
        let mines = store::mines_after(c, &release_id, &after, PORTION)?;
        for (mine, deployments) in &mines {
            let data = json!({"release": release_id, "app": name, "version": version, "deployments": deployments});
            // The job may run again: the id is of the release, so that the message is made once.
            let event = Event { id: Some(format!("evt_recall_{release_id}")), ..Event::new(EventKind::ReleaseRecalled, data) };
            let now = c.now;
            webhook::service::tell(c, mine, &event, now)?;
            let slug = account::get_organization(c, mine)?.slug;
            for (user_id, email) in store::people_of(c, mine, MAX_TOLD)? {
                let notice = Notice::new(NoticeKind::ReleaseRecalled, Lang::Zh, &user_id, &email).link("/mine/deployments".into());
                c.enqueue_for(mine, &notice.arg("app", &name).arg("version", &version).arg("n", deployments).arg("mine", &slug).job())?;
            }
        }
        match mines.last() {
            Some((last, _)) if i64::try_from(mines.len()).unwrap_or(i64::MAX) == PORTION => {
                c.enqueue(&Job::TellPeople { release_id: release_id.clone(), after: last.clone() })
            }
            _ => Ok(()),
        }
    })
    .await
}
