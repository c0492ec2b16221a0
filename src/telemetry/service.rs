//! Use cases of telemetry: alarms, figures, plots. Reports are taken in [`super::taking`].

use std::collections::BTreeMap;

use diesel::QueryResult;

use super::model::{AlarmLine, AppSample};
use super::plots::{self, Plot, PlotData, Span};
use super::store;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::{self, Action};
use crate::base::db::Conn;
use crate::base::error::{Error, Result};
use crate::base::i18n::Lang;

/// Topic of the alarm list.
pub const TOPIC: &str = "alarms";
/// Most samples that one plot reads: ten apps, a day, every fifteen seconds.
const MAX_PLOTTED: i64 = 60_000;

/// One alarm of the operator.
///
/// # Errors
/// `alarm`: not there, or not the operator's.
pub fn alarm_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<AlarmLine> {
    let owner = &policy::require(actor, Action::ViewFleet)?.organization_id;
    store::alarms(conn, owner, Some(id), 1)?.pop().ok_or_else(|| Error::not_found("alarm"))
}

/// The latest alarms of an organisation, for other pages.
pub fn latest_alarms(conn: &mut Conn, organization_id: &str, limit: i64) -> Result<Vec<AlarmLine>> {
    Ok(store::alarms(conn, organization_id, None, limit)?)
}

/// Notes beside an alarm what people have answered: `acknowledged`, or their verdict. Of an alarm of the platform nothing is noted.
pub fn note_answer(conn: &mut Conn, id: &str, answer: &str) -> QueryResult<usize> {
    store::set_answer(conn, id, answer)
}

/// The figures of each deployment's last heartbeat, for other pages; a deployment without one is not in the map.
pub fn app_figures(conn: &mut Conn, deployment_ids: &[String]) -> Result<BTreeMap<String, AppSample>> {
    Ok(store::last_samples(conn, deployment_ids)?.into_iter().map(|s| (s.deployment_id.clone(), s)).collect())
}

/// What each deployment has done since it was made, by meter, for other pages: the sum over epochs.
pub fn usage_of(conn: &mut Conn, deployment_ids: &[String]) -> QueryResult<BTreeMap<(String, String), i64>> {
    store::usage_of(conn, deployment_ids)
}

/// The data of a plot on a node's page: of one deployment, or of all on the node.
///
/// # Errors
/// `node` where it is not the operator's, `deployment` where it is not on the node.
pub async fn plot(
    app: &App,
    actor: &Actor,
    lang: Lang,
    node_id: String,
    deployment_id: Option<String>,
    plot: Plot,
    span: Span,
) -> Result<PlotData> {
    let owner = policy::require(actor, Action::ViewFleet)?.organization_id.clone();
    let now = app.clock.now();
    app.db
        .read(move |conn| {
            if !store::owns_node(conn, &owner, &node_id)? {
                return Err(Error::not_found("node"));
            }
            let since = now.minus(span.length());
            let mut apps = store::plotted(conn, &node_id)?;
            if let Some(id) = &deployment_id {
                apps.retain(|(d, _, _)| d == id);
                if apps.is_empty() {
                    return Err(Error::not_found("deployment"));
                }
            }
            if plot == Plot::Cpu {
                return Ok(plots::node(lang, &store::node_samples_since(conn, &node_id, since, MAX_PLOTTED)?, span));
            }
            let ids: Vec<String> = apps.iter().map(|(id, _, _)| id.clone()).collect();
            let samples = store::app_samples_since(conn, &ids, since, MAX_PLOTTED)?;
            let named = apps.iter().map(|(id, zh, en)| (id.as_str(), lang.pick(zh, en))).collect::<Vec<_>>();
            Ok(plots::apps(lang, plot, &named, &samples, span))
        })
        .await
}
