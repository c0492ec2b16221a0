//! `GET /events?topic=…`: Server-Sent Events that tell an open page to fetch itself anew. See [`crate::base::live`].

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval_at};

use crate::account::service::{Proof, still_holds};
use crate::base::app::App;
use crate::base::auth::policy::{self, Action};
use crate::base::auth::{Actor, Via};
use crate::base::error::Error;
use crate::base::ids::hash_secret;
use crate::base::live::{self, Poke};
use crate::http::api::ApiError;
use crate::http::extract::bearer_token;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/events", web::get().to(events));
}

#[derive(Debug, Deserialize)]
struct Topic {
    topic: String,
}

/// The event that tells the page to fetch itself anew.
const CHANGE: &str = "event: change\ndata: 1\n\n";

/// A comment every so often keeps proxies from closing the stream; then the listener's session or token is looked at again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// # Errors
/// `topic-unknown`.
async fn events(req: HttpRequest, app: Data<App>, actor: Actor, query: Query<Topic>) -> Result<HttpResponse, ApiError> {
    let organization_id = policy::require(&actor, Action::ViewAccount)?.organization_id.clone();
    let topic = query.into_inner().topic;
    // A misspelt topic would wait for ever.
    if !live::known(&topic) {
        return Err(Error::invalid("topic-unknown").into());
    }
    let proof = match &actor {
        Actor::Person(_, Via::Session { token_hash, .. }) => Some(Proof::Session(token_hash.clone())),
        _ => bearer_token(&req).map(|token| Proof::Token(hash_secret(&token))),
    };
    let listener = Listener {
        pokes: app.live.subscribe(),
        stopping: app.stopping(),
        // The first tick comes after a period: the actor has just been looked at.
        tick: interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE),
        app,
        organization_id,
        topic,
        proof,
    };
    // Each stream begins with a poke: a change between the making of the page and the subscription has reached nobody.
    let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(CHANGE.as_bytes())) });
    let pokes = stream::unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from_static(text.as_bytes())), listener))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(first.chain(pokes)))
}

/// An open stream.
struct Listener {
    app: Data<App>,
    pokes: Receiver<Poke>,
    stopping: watch::Receiver<bool>,
    tick: Interval,
    organization_id: String,
    topic: String,
    /// What the listener has proved themselves with; none in tests.
    proof: Option<Proof>,
}

impl Listener {
    /// The next words of the stream; none where it ends.
    async fn next(&mut self) -> Option<&'static str> {
        loop {
            tokio::select! {
                _ = self.tick.tick() => return self.still_welcome().await.then_some(": keep-alive\n\n"),
                _ = self.stopping.changed() => return None,
                poke = self.pokes.recv() => match poke {
                    Ok(poke) if poke.organization_id == self.organization_id && poke.topic == self.topic => return Some(CHANGE),
                    Ok(_) => {}
                    // This stream missed pokes: the page may have changed.
                    Err(RecvError::Lagged(_)) => return Some(CHANGE),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Whether session or token still hold. A database that does not answer ends no stream.
    async fn still_welcome(&self) -> bool {
        let Some(proof) = &self.proof else { return true };
        still_holds(&self.app, proof, &self.organization_id).await.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::service::{authenticate_session, sign_in, sign_out};
    use crate::testing::{self, PASSWORD, each_backend};

    #[tokio::test]
    async fn a_stream_ends_with_its_session() {
        each_backend(|app| async move {
            testing::vendor(&app, "acme").await;
            let cookie = sign_in(&app, "owner@acme.example", PASSWORD.into(), "10.0.0.1", "t").await.unwrap();
            let actor = authenticate_session(&app, &cookie).await.unwrap();
            let organization_id = actor.organization_id().unwrap().to_owned();
            let soon = Duration::from_millis(20);
            let mut listener = Listener {
                pokes: app.live.subscribe(),
                stopping: app.stopping(),
                tick: interval_at(Instant::now() + soon, soon),
                app: Data::new(app.clone()),
                organization_id: organization_id.clone(),
                topic: "releases".into(),
                proof: Some(Proof::Session(hash_secret(&cookie))),
            };
            assert_eq!(listener.next().await, Some(": keep-alive\n\n"));
            app.live.poke(&organization_id, "releases");
            while listener.next().await != Some(CHANGE) {}
            sign_out(&app, &actor, "10.0.0.1").await.unwrap();
            // Pokes do not keep it open.
            let ended = async {
                loop {
                    app.live.poke(&organization_id, "releases");
                    if listener.next().await.is_none() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
        })
        .await;
    }
}
