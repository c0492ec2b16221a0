//! Keeps the search index and the page cache up to date with the database: looks every second whether something has changed, here or
//! on another replica, and at once when woken by a change of our own.

use std::time::Duration;

use diesel::dsl::{count_star, max};
use diesel::prelude::*;
use tokio::sync::watch;

use crate::base::app::App;
use crate::base::db::schema::{apps, evaluation_scores, evaluation_sets, organizations, plans, scenarios, specialties, vendor_keys};
use crate::base::db::{Conn, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::text_index::IndexEntry;
use crate::catalog::model::ListingState;

/// Follows changes until told to stop.
pub async fn follow(app: App, mut stop: watch::Receiver<bool>) {
    let mut known = None;
    loop {
        match refresh(&app, known.as_ref()).await {
            Ok(mark) => known = Some(mark),
            Err(e) => tracing::error!(error = %e, "search index"),
        }
        tokio::select! {
            () = app.wake_search.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Rebuilds the search index and clears the page cache where the database's mark differs from `known`; gives the mark.
pub async fn refresh(app: &App, known: Option<&Mark>) -> Result<Mark> {
    let mark = app.db.read(|conn| Ok(mark(conn)?)).await?;
    if known == Some(&mark) {
        return Ok(mark);
    }
    let (apps, scenarios) = app.db.read(|conn| Ok((search_entries(conn)?, scenario_entries(conn)?))).await?;
    let inner = app.clone();
    tokio::task::spawn_blocking(move || inner.search.rebuild(apps, scenarios)).await.map_err(Error::internal)??;
    app.pages.clear();
    Ok(mark)
}

/// Mark that changes with what visitors see of the catalogue, but for figures that move without it (nodes up, deployments, organisations),
/// for which the greatest age of a page is enough ([`crate::base::page_cache`]): number and last change of apps, number of active plans and the
/// newest, how often signing keys were added or revoked, the last score on a hidden test set and the last set that was retired, how many
/// organisations are suspended and the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    apps: (i64, Option<Timestamp>),
    plans: (i64, Option<Timestamp>),
    keys: i64,
    scored: Option<Timestamp>,
    retired: Option<Timestamp>,
    suspended: (i64, Option<Timestamp>),
}

fn mark(conn: &mut Conn) -> QueryResult<Mark> {
    let apps: (i64, Option<Timestamp>) = apps::table.select((count_star(), max(apps::updated_at))).first(conn)?;
    let plans: (i64, Option<Timestamp>) =
        plans::table.filter(plans::active.eq(true)).select((count_star(), max(plans::created_at))).first(conn)?;
    let added: i64 = vendor_keys::table.count().get_result(conn)?;
    let revoked: i64 = vendor_keys::table.filter(vendor_keys::revoked_at.is_not_null()).count().get_result(conn)?;
    let scored = evaluation_scores::table.select(max(evaluation_scores::scored_at)).first(conn)?;
    let retired = evaluation_sets::table.select(max(evaluation_sets::retired_at)).first(conn)?;
    let suspended = organizations::table
        .filter(organizations::suspended_at.is_not_null())
        .select((count_star(), max(organizations::suspended_at)))
        .first(conn)?;
    Ok(Mark { apps, plans, keys: added + revoked, scored, retired, suspended })
}

/// Names of all scenarios, in the order of the taxonomy.
fn scenario_entries(conn: &mut Conn) -> QueryResult<Vec<IndexEntry>> {
    type Row = (String, (String, String), (String, String));
    let rows: Vec<Row> = scenarios::table
        .inner_join(specialties::table.on(specialties::slug.eq(scenarios::specialty)))
        .order((specialties::position, scenarios::position))
        .select((scenarios::slug, (scenarios::name_zh, scenarios::name_en), (specialties::name_zh, specialties::name_en)))
        .load(conn)?;
    let entry = |(id, name, specialty): Row| {
        let title = format!("{} {}", name.0, name.1);
        IndexEntry { id, text: format!("{title} {} {}", specialty.0, specialty.1), title }
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// Texts of all listed apps; of those that fit a search alike, the one that was deployed most when the catalogue last changed comes first, and
/// the newest of these.
fn search_entries(conn: &mut Conn) -> QueryResult<Vec<IndexEntry>> {
    type Row = (String, (String, String), (String, String), (String, String, String), (String, String), (String, String));
    let rows: Vec<Row> = apps::table
        .inner_join(organizations::table.on(organizations::id.eq(apps::organization_id)))
        .inner_join(specialties::table.on(specialties::slug.eq(apps::specialty)))
        .inner_join(scenarios::table.on(scenarios::slug.eq(apps::scenario)))
        .filter(apps::state.eq(ListingState::Listed))
        .order((apps::deployments.desc(), apps::listed_at.desc(), apps::id.desc()))
        .select((
            apps::id,
            (apps::title_zh, apps::title_en),
            (apps::summary_zh, apps::summary_en),
            (organizations::name_zh, organizations::name_en, apps::slug),
            (specialties::name_zh, specialties::name_en),
            (scenarios::name_zh, scenarios::name_en),
        ))
        .load(conn)?;
    let entry = |(id, t, s, o, sp, sc): Row| {
        let title = [&t.0, &t.1, &sc.0, &sc.1].map(String::as_str).join(" ");
        let rest = [&s.0, &s.1, &o.0, &o.1, &o.2, &sp.0, &sp.1].map(String::as_str).join(" ");
        IndexEntry { id, text: format!("{title} {rest}"), title }
    };
    Ok(rows.into_iter().map(entry).collect())
}
