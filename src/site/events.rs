//! `GET /events?topic=…`: Server-Sent Events that tell an open page to fetch itself anew. See [`crate::base::live`].

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Query, ServiceConfig};
use actix_web::{HttpResponse, web};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::error::Error;
use crate::base::live;
use crate::http::api::ApiError;

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/events", web::get().to(events));
}

#[derive(Debug, Deserialize)]
struct Topic {
    topic: String,
}

/// The event that tells the page to fetch itself anew.
const CHANGE: &str = "event: change\ndata: 1\n\n";

/// A comment every so often keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// # Errors
/// `topic-unknown`.
async fn events(app: Data<App>, actor: Actor, query: Query<Topic>) -> Result<HttpResponse, ApiError> {
    let organization_id = actor.person()?.organization_id.clone();
    let topic = query.into_inner().topic;
    // A misspelt topic would wait for ever.
    if !live::known(&topic) {
        return Err(Error::invalid("topic-unknown").into());
    }
    let state = (app.live.subscribe(), organization_id, topic, app.stopping());
    // Each stream begins with a poke: a change between the making of the page and the subscription has reached nobody.
    let first = stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(CHANGE.as_bytes())) });
    let pokes = stream::unfold(state, |(mut pokes, organization_id, topic, mut stopping)| async move {
        loop {
            let text = tokio::select! {
                () = tokio::time::sleep(KEEP_ALIVE) => ": keep-alive\n\n",
                _ = stopping.changed() => return None,
                poke = pokes.recv() => match poke {
                    Ok(poke) if poke.organization_id == organization_id && poke.topic == topic => CHANGE,
                    Ok(_) => continue,
                    // This stream missed pokes: the page may have changed.
                    Err(RecvError::Lagged(_)) => CHANGE,
                    Err(RecvError::Closed) => return None,
                },
            };
            return Some((
                Ok::<_, std::convert::Infallible>(Bytes::from_static(text.as_bytes())),
                (pokes, organization_id, topic, stopping),
            ));
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(first.chain(pokes)))
}
