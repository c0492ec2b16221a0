//! `GET /events?topic=…&topic=…`: Server-Sent Events that tell an open page to fetch itself anew. See [`crate::base::live`].

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::account::model::Credential;
use crate::account::service::still_holds;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::error::Error;
use crate::base::live::{self, Poke};
use crate::base::open::{Entry, Whose};
use crate::http::api::ApiError;
use crate::http::extract::FormPairs;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/events", web::get().to(events));
}

/// Most topics of one stream: all tabs of a browser share one.
const MAX_TOPICS: usize = 32;

/// Topics of a screen, which shows the wall and nothing else.
const OF_WALL: [&str; 2] = ["alarms", "fleet"];

/// Streams of one person at a time: a browser has one, or one for each visible tab.
const MAX_STREAMS: usize = 8;

/// A stream says something this often: pages take longer silence for a dead line, and proxies close what is silent.
const BEAT: Duration = Duration::from_secs(10);

/// An open stream.
struct Open {
    app: App,
    /// What the reader has proved themselves with; none in tests.
    proof: Option<Credential>,
    organization_id: String,
    topics: Vec<String>,
    pokes: Receiver<Poke>,
    stopping: watch::Receiver<bool>,
    /// What is to be said before anything else is waited for.
    pending: VecDeque<Bytes>,
    beat_at: Instant,
    over: bool,
    /// Counts the stream; none in tests.
    _entry: Option<Entry>,
}

/// The event that tells the pages of a topic to fetch themselves anew.
fn change(topic: &str) -> Bytes {
    Bytes::from(format!("event: change\ndata: {topic}\n\n"))
}

impl Open {
    /// The next words, or none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(words) = self.pending.pop_front() {
                return Some(words);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                () = sleep_until(self.beat_at) => return Some(self.beat().await),
                _ = self.stopping.changed() => return None,
                poke = self.pokes.recv() => match poke {
                    Ok(poke) if poke.organization_id == self.organization_id && self.topics.contains(&poke.topic) => return Some(change(&poke.topic)),
                    Ok(_) => {}
                    // This stream missed pokes: each page may have changed.
                    Err(RecvError::Lagged(_)) => self.pending = self.topics.iter().map(|topic| change(topic)).collect(),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Says that the line holds; `over`, and the end, where the reader is signed out or acts for another organisation now.
    async fn beat(&mut self) -> Bytes {
        self.beat_at = Instant::now() + BEAT;
        let holds = match &self.proof {
            // Where the database does not answer, nothing is known to be over.
            Some(proof) => still_holds(&self.app, proof, &self.organization_id).await.unwrap_or(true),
            None => true,
        };
        self.over = !holds;
        Bytes::from_static(if holds { b"event: beat\ndata: 1\n\n" } else { b"event: over\ndata: 1\n\n" })
    }
}

/// # Errors
/// `topic-unknown`, `too-many-topics`; `too-many-connections`.
async fn events(req: HttpRequest, app: Data<App>, actor: Actor) -> Result<HttpResponse, ApiError> {
    let of_account = policy::require(&actor, Action::ViewAccount);
    let sees_all = of_account.is_ok();
    let person = of_account.or_else(|e| policy::require(&actor, Action::ViewWall).map_err(|_| e))?;
    let (organization_id, user_id) = (person.organization_id.clone(), person.user_id.clone());
    let pairs = serde_urlencoded::from_str(req.query_string()).map_err(|e| Error::invalid("query-malformed").source(e))?;
    let topics: Vec<String> = FormPairs(pairs).all("topic").take(MAX_TOPICS + 1).map(ToOwned::to_owned).collect();
    if topics.len() > MAX_TOPICS {
        return Err(Error::invalid("too-many-topics").arg("max", MAX_TOPICS).into());
    }
    // A misspelt topic would wait for ever; of what its wall does not show a screen is told nothing.
    let may = |topic: &String| live::known(topic) && (sees_all || OF_WALL.contains(&topic.as_str()));
    if topics.is_empty() || !topics.iter().all(may) {
        return Err(Error::invalid("topic-unknown").into());
    }
    let proof = if let Actor::Person(_, via) = &actor { Credential::of(via) } else { None };
    let open = Open {
        pokes: app.live.subscribe(),
        stopping: app.stopping(),
        // Each stream begins with a poke: a change between the making of the page and the subscription has reached nobody.
        pending: topics.iter().map(|topic| change(topic)).collect(),
        app: app.get_ref().clone(),
        proof,
        organization_id,
        topics,
        beat_at: Instant::now() + BEAT,
        over: false,
        _entry: Some(app.open.enter(Whose::Streams(user_id), MAX_STREAMS)?),
    };
    let words =
        stream::unfold(open, |mut open| async move { open.next().await.map(|words| (Ok::<_, std::convert::Infallible>(words), open)) });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(words))
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;

    use super::*;
    use crate::account::service as account;
    use crate::base::auth::Via;
    use crate::base::auth::policy::Scope;
    use crate::testing::{self, PASSWORD, each_backend};

    fn open(app: &App, actor: Actor, topics: &[&str]) -> Open {
        Open {
            pokes: app.live.subscribe(),
            stopping: app.stopping(),
            pending: VecDeque::new(),
            app: app.clone(),
            organization_id: actor.organization_id().unwrap().to_owned(),
            proof: match actor {
                Actor::Person(_, via) => Credential::of(&via),
                _ => None,
            },
            topics: topics.iter().map(|&t| t.to_owned()).collect(),
            beat_at: Instant::now(),
            over: false,
            _entry: None,
        }
    }

    #[tokio::test]
    async fn one_stream_tells_of_its_topics_and_of_no_others() {
        each_backend(|app| async move {
            let mine = testing::operator(&app, "north").await;
            let organization = mine.organization_id().unwrap().to_owned();
            let mut stream = open(&app, mine, &["alarms", "fleet"]);
            stream.beat_at += BEAT;
            for (whose, topic) in [("org_other", "alarms"), (organization.as_str(), "orders"), (organization.as_str(), "fleet")] {
                app.live.poke(whose, topic);
            }
            assert_eq!(stream.next().await.unwrap(), "event: change\ndata: fleet\n\n");
            for _ in 0..2_000 {
                app.live.poke("org_other", "alarms");
            }
            assert_eq!(stream.next().await.unwrap(), "event: change\ndata: alarms\n\n");
            assert_eq!(stream.next().await.unwrap(), "event: change\ndata: fleet\n\n");
        })
        .await;
    }

    #[tokio::test]
    async fn a_screen_is_told_of_what_its_wall_shows_and_of_nothing_else() {
        each_backend(|app| async move {
            let person = testing::operator(&app, "north").await.person().unwrap().clone();
            let with = |scope| Actor::Person(Box::new(person.clone()), Via::Token { id: "tok_x".into(), scopes: vec![scope] });
            for (scope, topics, status) in [
                (Scope::Wall, "topic=alarms&topic=fleet", 200),
                (Scope::Wall, "topic=alarms&topic=orders", 422),
                (Scope::Wall, "topic=node:nod_1", 422),
                (Scope::Wall, "", 422),
                (Scope::Read, "topic=alarms&topic=orders", 200),
                (Scope::Pull, "topic=alarms", 403),
            ] {
                let answer = testing::answer(&app, &with(scope), Method::GET, &format!("/events?{topics}"), "", None).await;
                assert_eq!(answer.status(), status, "{scope} {topics}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_session() {
        each_backend(|app| async move {
            testing::operator(&app, "north").await;
            let cookie = account::sign_in(&app, "owner@north.example", PASSWORD.into(), "127.0.0.1", "").await.unwrap();
            let actor = account::authenticate_session(&app, &cookie).await.unwrap();
            let mut stream = open(&app, actor.clone(), &["alarms"]);
            assert_eq!(stream.next().await.unwrap(), "event: beat\ndata: 1\n\n");
            account::sign_out(&app, &actor, "127.0.0.1").await.unwrap();
            stream.beat_at = Instant::now();
            assert_eq!(stream.next().await.unwrap(), "event: over\ndata: 1\n\n");
            assert!(stream.next().await.is_none());
        })
        .await;
    }
}
