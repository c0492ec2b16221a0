//! Stands in for `release::service::{approve_in, mark_in}` until that slice is merged: the same states, without the signature.
//! To be deleted then, with the two calls in [`super::service`] led there.

use diesel::prelude::*;

use crate::app::App;
use crate::auth::Actor;
use crate::db::schema::releases;
use crate::db::{Conn, Timestamp};
use crate::error::{QueryResultExt as _, Result, exactly_one};

/// In review → published, and listed.
pub fn approve_in(conn: &mut Conn, _app: &App, actor: &Actor, release_id: &str, now: Timestamp) -> Result<()> {
    mark_in(conn, actor, release_id, &["in_review"], "published", now)?;
    diesel::update(releases::table.find(release_id)).set(releases::published_at.eq(now)).execute(conn)?;
    let app_id: String = releases::table.find(release_id).select(releases::app_id).first(conn).or_not_found("release")?;
    crate::catalog::service::listed_in(conn, release_id, &app_id, now)
}

/// Moves a release from one of some states.
pub fn mark_in(conn: &mut Conn, _actor: &Actor, release_id: &str, from: &[&str], to: &str, now: Timestamp) -> Result<()> {
    let rows = diesel::update(releases::table.filter(releases::id.eq(release_id).and(releases::state.eq_any(from.iter().copied()))))
        .set((releases::state.eq(to), releases::updated_at.eq(now)))
        .execute(conn)?;
    exactly_one(rows, "release-state").map_err(|e| e.arg("state", to))
}
