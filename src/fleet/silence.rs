//! Tells open pages of nodes whose time is up: a node that is silent makes no event by itself.

use std::time::Duration;

use tokio::sync::watch;

use super::model::ONLINE_WITHIN;
use super::{service, store};
use crate::base::app::App;
use crate::base::db::Timestamp;
use crate::base::error::Result;

/// Time between two looks: with [`ONLINE_WITHIN`], and the seconds in which a page fetches itself anew, half a minute at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks until told to stop.
pub async fn watch(app: App, mut stop: watch::Receiver<bool>) {
    let mut since = app.clock.now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.changed() => return,
        }
        match tell(&app, since).await {
            Ok(until) => since = until,
            Err(e) => tracing::error!(error = %e, "looking for silent nodes"),
        }
    }
}

/// Pokes the pages of nodes that have come to count as down since a moment; gives the moment until which it has looked.
async fn tell(app: &App, since: Timestamp) -> Result<Timestamp> {
    let now = app.clock.now();
    let silent = app.db.read(move |conn| Ok(store::called_between(conn, since.minus(ONLINE_WITHIN), now.minus(ONLINE_WITHIN))?)).await?;
    let mut told = None;
    for (owner, node_id) in &silent {
        if told.replace(owner) != Some(owner) {
            app.live.poke(owner, service::TOPIC);
        }
        app.live.poke(owner, format!("node:{node_id}"));
    }
    Ok(now)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::base::live::Poke;
    use crate::fleet::margo::served;
    use crate::testing::{self, each_backend};

    #[tokio::test]
    async fn a_node_is_told_of_once_when_its_time_is_up() {
        each_backend(|app| async move {
            let operator = testing::operator(&app, "north").await;
            let owner = operator.organization_id().unwrap().to_owned();
            let site = service::create_site(&app, &operator, "Shaft").await.unwrap();
            let issued = service::create_node(&app, &operator, &site, "Winder").await.unwrap();
            let id = service::enroll(&app, issued.code, testing::csr(), "1.0.0".into()).await.unwrap().node_id;
            let (node, now) = (id.clone(), app.clock.now());
            app.db.write(move |conn| Ok(store::note_call(conn, &node, now)?)).await.unwrap();
            let mut pokes = app.live.subscribe();
            app.clock.advance(ONLINE_WITHIN);
            let since = tell(&app, now).await.unwrap();
            assert!(pokes.try_recv().is_err(), "at the edge it still counts as up");
            app.clock.advance(TimeDelta::seconds(1));
            let since = tell(&app, since).await.unwrap();
            for topic in ["fleet".to_owned(), format!("node:{id}")] {
                assert_eq!(pokes.try_recv().unwrap(), Poke { organization_id: owner.clone(), topic });
            }
            app.clock.advance(TimeDelta::seconds(60));
            tell(&app, since).await.unwrap();
            assert!(pokes.try_recv().is_err(), "once");
        })
        .await;
    }

    #[tokio::test]
    async fn a_poll_is_a_call_when_it_begins_and_none_while_it_waits() {
        each_backend(|app| async move {
            let operator = testing::operator(&app, "north").await;
            let site = service::create_site(&app, &operator, "Shaft").await.unwrap();
            let issued = service::create_node(&app, &operator, &site, "Winder").await.unwrap();
            let id = service::enroll(&app, issued.code, testing::csr(), "1.0.0".into()).await.unwrap().node_id;
            let seen = async || testing::node_detail(&app, &operator, &id).await.unwrap().node.seen_at;
            served::called(&app, &id).await.unwrap();
            let begin = app.clock.now();
            app.clock.advance(TimeDelta::seconds(15));
            served::manifest_digest(&app, &id).await.unwrap();
            assert_eq!(seen().await, Some(begin), "a look of the server, which the node may not live to see answered");
            served::called(&app, &id).await.unwrap();
            assert_eq!(seen().await, Some(app.clock.now()));
        })
        .await;
    }

    #[test]
    fn an_open_page_shows_it_within_half_a_minute() {
        // A page waits 250 ms for further events, then for the answer.
        let most = ONLINE_WITHIN.to_std().unwrap() + LOOK_EVERY + Duration::from_secs(2);
        assert!(most <= Duration::from_secs(30), "{most:?}");
    }
}
