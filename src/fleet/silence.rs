//! Nodes that fall silent, and that come back. A node that is silent makes no event by itself: open pages and webhooks are told when its time
//! is up. Of those whose time was up while no server ran webhooks are told a while after the start, when all others have called again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::watch;

use super::model::{ONLINE_WITHIN, up_between};
use super::{service, store};
use crate::base::app::App;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::webhook;
use crate::webhook::model::{Event, EventKind};

/// Time between two looks: with [`ONLINE_WITHIN`], and the seconds in which a page fetches itself anew, half a minute at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Silent nodes whose own pages are told in one look. The channel of pokes holds a thousand: where a mine's line breaks, pages of single
/// nodes and deployments wait for their own poll, and all others hear of what concerns them.
const SINGLE: usize = 200;
/// Silent nodes that are read in one look; the next one goes on behind the last.
const MOST: usize = 10_000;

/// Time after a start in which nodes that are well have called again, however long the server was away.
const RETURN: Duration = Duration::from_mins(2);
/// How far back the look at a start goes: less than messages are kept, by whose ids each is made once.
const LOOK_BACK: TimeDelta = TimeDelta::days(6);

/// Looks until told to stop.
pub async fn watch(app: App, mut stop: watch::Receiver<bool>) {
    let (begun, started) = (app.clock.now(), Instant::now());
    let (mut since, mut is_told) = (begun, false);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.changed() => return,
        }
        match tell(&app, since, MOST).await {
            Ok(until) => since = until,
            Err(e) => tracing::error!(error = %e, "looking for silent nodes"),
        }
        if !is_told && started.elapsed() >= RETURN {
            is_told = tell_missed(&app, begun, MOST).await.inspect_err(|e| tracing::error!(error = %e, "looking for missed nodes")).is_ok();
        }
    }
}

/// Tells webhooks of nodes that had fallen silent before a moment and have not called since.
async fn tell_missed(app: &App, begun: Timestamp, most: usize) -> Result<()> {
    let (mut from, until) = (begun.minus(LOOK_BACK), up_between(begun).0);
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    loop {
        let silent = app.db.read(move |conn| Ok(store::called_between(conn, from, until, limit)?)).await?;
        tell_webhooks(app, &silent, app.clock.now()).await?;
        match silent.last() {
            Some((.., Some(last))) if silent.len() == most => from = last.plus(TimeDelta::microseconds(1)),
            _ => return Ok(()),
        }
    }
}

/// Pokes the pages of nodes that have come to count as down since a moment; gives the moment until which it has looked.
async fn tell(app: &App, since: Timestamp, most: usize) -> Result<Timestamp> {
    let now = app.clock.now();
    // Where the clock was set back, those that called last while it was ahead.
    let set_back = now < since;
    let (from, until) = if set_back { (up_between(now).1, up_between(since).1) } else { (up_between(since).0, up_between(now).0) };
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let silent = app.db.read(move |conn| Ok(store::called_between(conn, from, until, limit)?)).await?;
    let owners: BTreeSet<&str> = silent.iter().map(|(owner, ..)| owner.as_str()).collect();
    for owner in owners {
        app.live.poke(owner, service::TOPIC);
    }
    if silent.len() <= SINGLE {
        for (owner, node_id, _) in &silent {
            app.live.poke(owner, format!("node:{node_id}"));
        }
    }
    tell_webhooks(app, &silent, now).await?;
    match silent.last() {
        Some((.., Some(last))) if silent.len() == most && !set_back => Ok(last.plus(ONLINE_WITHIN).plus(TimeDelta::microseconds(1))),
        _ => Ok(now),
    }
}

/// The look after a start, for tests of what it causes elsewhere.
#[cfg(test)]
pub async fn look_back(app: &App, begun: Timestamp) -> Result<()> {
    tell_missed(app, begun, MOST).await
}

/// One look, for tests of what it causes elsewhere.
#[cfg(test)]
pub async fn look(app: &App, since: Timestamp) -> Result<()> {
    tell(app, since, MOST).await.map(|_| ())
}

/// Silent nodes told of in one transaction.
const BATCH: usize = 500;

/// Tells webhooks of nodes that have come to count as down. Several processes look; the id of a message is of node and last call, so that it
/// is made once.
async fn tell_webhooks(app: &App, silent: &[(String, String, Option<Timestamp>)], now: Timestamp) -> Result<()> {
    let mut by_owner: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for (owner, node_id, seen_at) in silent {
        let id = format!("evt_off_{node_id}_{}", seen_at.map_or(0, |at| at.utc().timestamp_micros()));
        let event = Event::new(EventKind::NodeOffline, json!({"node": node_id, "seen_at": seen_at}));
        let at = seen_at.map(|at| at.plus(ONLINE_WITHIN));
        by_owner.entry(owner).or_default().push(Event { id: Some(id), at, ..event });
    }
    for (owner, events) in by_owner {
        let id = owner.to_owned();
        if !app.db.read(move |conn| webhook::service::is_wanted(conn, &id, EventKind::NodeOffline)).await? {
            continue;
        }
        for some in events.chunks(BATCH) {
            let told = async || {
                let (id, some) = (owner.to_owned(), some.to_vec());
                app.db.write_aside(move |conn| webhook::service::tell_all(conn, &id, &some, now)).await
            };
            // Where another process told of some of them at the same moment, it is seen the second time.
            if told().await.is_err() {
                told().await?;
            }
        }
    }
    Ok(())
}

/// Notes that an enrolled node has called. Gives the number of rows; the row is locked from here on (PostgreSQL). Of a node that did not count
/// as up webhooks are told.
pub fn note_call(conn: &mut Conn, node_id: &str, now: Timestamp) -> Result<usize> {
    if store::note_call_of_up(conn, node_id, up_between(now), now)? == 1 {
        return Ok(1);
    }
    // Of two calls at once the second finds it up, and tells nobody.
    if store::note_call_of_down(conn, node_id, up_between(now), now)? == 0 {
        return Ok(store::note_call(conn, node_id, now)?);
    }
    if let Some((node, _)) = store::find_node(conn, node_id)? {
        let event = Event::new(EventKind::NodeOnline, json!({"node": node_id, "seen_at": now}));
        webhook::service::tell(conn, &node.organization_id, &event, now)?;
    }
    Ok(1)
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use tokio::sync::broadcast::Receiver;

    use super::*;
    use crate::base::auth::Actor;
    use crate::base::db::schema::nodes;
    use crate::base::live::Poke;
    use crate::fleet::margo::served;
    use crate::fleet::model::Node;
    use crate::fleet::service::Caller;
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
            let since = tell(&app, now, MOST).await.unwrap();
            assert!(pokes.try_recv().is_err(), "at the edge it still counts as up");
            app.clock.advance(TimeDelta::seconds(1));
            let since = tell(&app, since, MOST).await.unwrap();
            for topic in ["fleet".to_owned(), format!("node:{id}")] {
                assert_eq!(pokes.try_recv().unwrap(), Poke { organization_id: owner.clone(), topic });
            }
            app.clock.advance(TimeDelta::seconds(60));
            tell(&app, since, MOST).await.unwrap();
            assert!(pokes.try_recv().is_err(), "once");
        })
        .await;
    }

    /// Ids of so many nodes of an operator that called last a second after one another, the first at a time.
    async fn called_at(app: &App, operator: &Actor, first: Timestamp, n: usize) -> Vec<String> {
        let site = service::create_site(app, operator, "Shaft").await.unwrap();
        let issued = service::create_node(app, operator, &site, "Winder").await.unwrap();
        let id = service::enroll(app, issued.code, testing::csr(), "1.0.0".into()).await.unwrap().node_id;
        app.db
            .write(move |conn| {
                let mut node: Node = nodes::table.find(&id).select(Node::as_select()).first(conn)?;
                diesel::delete(nodes::table.find(&id)).execute(conn)?;
                let mut ids = Vec::new();
                for i in 0..n {
                    let called = first.plus(TimeDelta::seconds(i64::try_from(i).unwrap()));
                    node = Node {
                        id: format!("nod_{i:03}"),
                        name: format!("Winder {i}"),
                        code_hash: None,
                        certificate_serial: None,
                        seen_at: Some(called),
                        ..node
                    };
                    store::insert_node(conn, &node)?;
                    ids.push(node.id.clone());
                }
                Ok(ids)
            })
            .await
            .unwrap()
    }

    /// A node of an operator that calls.
    fn caller(operator: &Actor, id: &str) -> Caller {
        Caller::new(id.to_owned(), operator.organization_id().unwrap().to_owned())
    }

    fn topics(pokes: &mut Receiver<Poke>) -> Vec<String> {
        std::iter::from_fn(|| pokes.try_recv().ok().map(|poke| poke.topic)).collect()
    }

    #[tokio::test]
    async fn a_mine_that_falls_silent_floods_no_page() {
        each_backend(|app| async move {
            let (operator, begin) = (testing::operator(&app, "north").await, app.clock.now());
            let ids = called_at(&app, &operator, begin, SINGLE + 1).await;
            app.clock.advance(TimeDelta::hours(1));
            let mut pokes = app.live.subscribe();
            let until = tell(&app, begin, MOST).await.unwrap();
            assert_eq!((until, topics(&mut pokes)), (app.clock.now(), vec!["fleet".to_owned()]));
            // Where there are more than one look reads, the next one goes on.
            let until = tell(&app, begin, 2).await.unwrap();
            let told = |of: &[String]| -> Vec<String> {
                std::iter::once("fleet".to_owned()).chain(of.iter().map(|id| format!("node:{id}"))).collect()
            };
            assert_eq!(topics(&mut pokes), told(&ids[..2]));
            tell(&app, until, 2).await.unwrap();
            assert_eq!(topics(&mut pokes), told(&ids[2..4]));
        })
        .await;
    }

    #[tokio::test]
    async fn a_call_that_was_noted_while_the_clock_was_ahead_says_nothing_of_now() {
        each_backend(|app| async move {
            let (operator, ahead) = (testing::operator(&app, "north").await, app.clock.now());
            let ids = called_at(&app, &operator, ahead, 1).await;
            app.clock.advance(-TimeDelta::hours(1));
            let mut pokes = app.live.subscribe();
            let since = tell(&app, ahead.plus(TimeDelta::seconds(1)), MOST).await.unwrap();
            assert_eq!(topics(&mut pokes), ["fleet".to_owned(), format!("node:{}", ids[0])]);
            tell(&app, since, MOST).await.unwrap();
            assert!(topics(&mut pokes).is_empty(), "once");
            let node = testing::node_detail(&app, &operator, &ids[0]).await.unwrap().node;
            assert!(!node.online(app.clock.now()));
            assert_eq!(service::node::list_sites(&app, &operator).await.unwrap()[0].online, 0);
            // The next call is noted, though the one before lies ahead.
            served::called(&app, &caller(&operator, &ids[0])).await.unwrap();
            let node = testing::node_detail(&app, &operator, &ids[0]).await.unwrap().node;
            assert!(node.seen_at == Some(app.clock.now()) && node.online(app.clock.now()));
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
            let caller = caller(&operator, &id);
            served::called(&app, &caller).await.unwrap();
            let begin = app.clock.now();
            app.clock.advance(TimeDelta::seconds(15));
            served::manifest_digest(&app, &id).await.unwrap();
            assert_eq!(seen().await, Some(begin), "a look of the server, which the node may not live to see answered");
            served::called(&app, &caller).await.unwrap();
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
