//! Use cases of hidden test sets. Functions that end in `_in` run inside the caller's transaction.

use std::collections::HashMap;
use std::fmt::Display;

use bytes::Bytes;
use futures_util::Stream;
use inference::evaluate::archive::Fault;
use serde_json::json;

use crate::base::app::App;
use crate::base::auth::policy::Action;
use crate::base::auth::{Actor, Person, policy};
use crate::base::db::dialect::Row;
use crate::base::db::{Conn, Timestamp, dialect};
use crate::base::error::{Error, QueryResultExt as _, Result, exactly_one};
use crate::base::i18n::Names;
use crate::base::ids;
use crate::base::jobs::Job;
use crate::base::rate::{self, Rate};
use crate::catalog::model::{Scenario, SlugName};
use crate::evaluation::model::{Metric, Score, ScoreLine, SetForm, TestSet};
use crate::evaluation::upload::{ArchiveFacts, StagedArchive};
use crate::evaluation::{store, upload};
use crate::release::model::ReleaseState;
use crate::{audit, catalog, registry, release};

/// Entries on one page.
pub const PAGE: i64 = 50;
/// Sets of one scenario that are not retired; each release of it is run over all of them.
const MAX_ACTIVE: i64 = 5;
/// Outcomes of one release that are shown: its app may have been moved between scenarios.
const MAX_SHOWN: i64 = 4 * MAX_ACTIVE;
/// Most earlier figures that are read.
const EARLIER: i64 = 200;

/// Makes a set of an archive; all releases of its scenario are scored on it then. Gives its id, or what is wrong with the archive.
///
/// # Errors
/// Those of [`SetForm::checked`] and of taking the body; `choose-one` (field), `too-many-sets`.
pub async fn create<S, E>(app: &App, actor: &Actor, form: &SetForm, body: S) -> Result<std::result::Result<String, Vec<Fault>>>
where
    S: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    E: Display,
{
    let person = policy::require(actor, Action::ManageEvaluation)?.clone();
    let (name_zh, name_en, metric) = form.checked()?;
    let scenario = form.scenario.clone();
    // Check before the body is read, and again in the change that makes the set.
    app.db.read(move |conn| room_in(conn, &scenario)).await?;
    let staged = upload::stage(app, body).await?;
    let path = staged.path().to_owned();
    let found = tokio::task::spawn_blocking(move || upload::inspect(&path, metric.engine())).await.map_err(Error::internal)??;
    let facts = match found {
        Ok(facts) => facts,
        Err(faults) => return Ok(Err(faults)),
    };
    let new = NewSet { scenario: form.scenario.clone(), name_zh, name_en, metric, facts };
    Ok(Ok(publish(app, actor, &person, new, &staged).await?))
}

/// A checked set that has no id yet.
#[derive(Clone)]
struct NewSet {
    scenario: String,
    name_zh: String,
    name_en: String,
    metric: Metric,
    facts: ArchiveFacts,
}

fn room_in(conn: &mut Conn, scenario: &str) -> Result<()> {
    if !catalog::service::scenarios(conn)?.iter().any(|s| s.slug == scenario) {
        return Err(Error::field("scenario", "choose-one"));
    }
    if store::count_active(conn, scenario)? >= MAX_ACTIVE {
        return Err(Error::conflict("too-many-sets").arg("max", MAX_ACTIVE));
    }
    Ok(())
}

/// Publishes the bytes and makes the set.
async fn publish(app: &App, actor: &Actor, person: &Person, new: NewSet, staged: &StagedArchive) -> Result<String> {
    registry::service::publish(app, &staged.id, &staged.digest, staged.size).await?;
    let (person, digest, size) = (person.clone(), staged.digest.clone(), staged.size);
    audit::change(app, actor, move |c| {
        let now = c.now;
        dialect::hold(c, Row::Scenario(&new.scenario))?;
        room_in(c, &new.scenario)?;
        let id = ids::new("evs");
        registry::service::pin_blob_in(c, &digest, size, &id, now)?;
        let set = TestSet {
            id,
            scenario: new.scenario.clone(),
            name_zh: new.name_zh.clone(),
            name_en: new.name_en.clone(),
            metric: new.metric,
            input: new.facts.input.to_owned(),
            unit: new.facts.unit.clone(),
            samples: new.facts.samples,
            digest: digest.to_string(),
            size_bytes: i64::try_from(size).map_err(Error::internal)?,
            created_by: person.user_id.clone(),
            created_at: now,
            retired_at: None,
        };
        store::insert_set(c, &set)?;
        c.enqueue(&Job::EvaluateScenario { set_id: set.id.clone(), after: String::new() })?;
        let detail = json!({"scenario": set.scenario, "metric": set.metric, "samples": set.samples, "digest": set.digest, "bytes": size});
        c.audit("evaluation.set-created", &set.id, &detail);
        Ok(set.id)
    })
    .await
}

/// Retires a set: it scores nothing any more, and its scores are shown on no listing.
///
/// # Errors
/// `evaluation-set`: there is none; `evaluation-set-retired`: it is already.
pub async fn retire(app: &App, actor: &Actor, id: String) -> Result<()> {
    policy::require(actor, Action::ManageEvaluation)?;
    audit::change(app, actor, move |c| {
        let now = c.now;
        let set = store::get_set(c, &id).or_not_found("evaluation-set")?;
        exactly_one(store::retire(c, &id, now)?, "evaluation-set-retired")?;
        c.audit("evaluation.set-retired", &id, &json!({"scenario": set.scenario, "metric": set.metric}));
        c.wake_search();
        Ok(())
    })
    .await
}

/// Scores releases without a figure on a set again, for example after the platform was short of memory.
///
/// # Errors
/// As [`retire`].
pub async fn score_again(app: &App, actor: &Actor, id: String) -> Result<()> {
    policy::require(actor, Action::ManageEvaluation)?;
    audit::change(app, actor, move |c| {
        let set = store::get_set(c, &id).or_not_found("evaluation-set")?;
        if set.retired_at.is_some() {
            return Err(Error::conflict("evaluation-set-retired"));
        }
        c.enqueue(&Job::EvaluateScenario { set_id: id.clone(), after: String::new() })
    })
    .await
}

/// Enqueues scoring a release on the sets of its scenario on which it has no outcome yet: when it is submitted and when it is published, for
/// a set may have been made in between. Before they are published releases of an app, and of a developer's apps for the scenario, are scored
/// a few a day, the others later: figures of many versions, or of many apps, would tell what is in a set. Holds the scenario, as making a
/// set does: a set that is made at the same time is seen here, or its own job sees the release.
pub async fn score_release(app: &App, release_id: &str) -> Result<()> {
    let (release_id, per_day) = (release_id.to_owned(), app.settings.checks.scores_per_day);
    audit::change(app, &Actor::System, move |c| {
        let (release, now) = (release::service::get(c, &release_id)?, c.now);
        let owner = catalog::service::owner(c, &release.app_id)?.organization_id;
        dialect::hold(c, Row::Scenario(&release.manifest.scenario))?;
        let sets = store::sets_without(c, &release.manifest.scenario, &release_id, MAX_ACTIVE)?;
        if sets.is_empty() || !store::is_scored(&release) {
            return Ok(());
        }
        if release.state != ReleaseState::Published {
            let of_app = (format!("scores:{}", release.app_id), Rate::daily(per_day));
            let of_owner = (format!("scores:{owner}:{}", release.manifest.scenario), Rate::daily(per_day));
            if let Some(wait) = rate::spend(c, vec![of_app, of_owner], now)? {
                return Job::ScoreRelease { release_id: release_id.clone() }.enqueue_for(c, Some(&owner), now.plus(wait));
            }
        }
        for set_id in sets {
            c.enqueue_for(&owner, &Job::EvaluateRelease { release_id: release_id.clone(), set_id })?;
        }
        Ok(())
    })
    .await
}

/// An outcome as a listing shows it: nothing of the set but its name, size and figure.
#[derive(Debug, Clone)]
pub struct ScoreSummary {
    /// Name of the set.
    pub name: Names,
    /// Samples of the set.
    pub samples: i64,
    pub metric: Metric,
    /// Its unit, or empty.
    pub unit: String,
    /// The figure; none where there is a reason.
    pub value: Option<f64>,
    /// Samples that gave no answer.
    pub failures: i64,
    /// Why there is no figure.
    pub reason: Option<String>,
    pub at: Timestamp,
    /// The version published before, and its figure.
    pub previous: Option<(String, f64)>,
}

/// Outcomes of a release on the sets that are not retired.
pub fn shown_in(conn: &mut Conn, app_id: &str, release_id: &str, published_at: Option<Timestamp>) -> Result<Vec<ScoreSummary>> {
    let scores = store::scores_of(conn, &[release_id], MAX_SHOWN)?;
    if scores.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = scores.iter().map(|(set, _)| set.id.as_str()).collect();
    let mut previous: HashMap<String, (String, f64)> = HashMap::new();
    for (set_id, version, value) in store::earlier_figures(conn, app_id, release_id, published_at, &ids, EARLIER)? {
        previous.entry(set_id).or_insert((version, value));
    }
    Ok(scores
        .into_iter()
        .map(|(set, score)| ScoreSummary {
            previous: previous.remove(&set.id),
            name: Names { zh: set.name_zh, en: set.name_en },
            samples: set.samples,
            metric: set.metric,
            unit: set.unit,
            value: score.value,
            failures: score.failures,
            reason: score.reason,
            at: score.scored_at,
        })
        .collect())
}

/// A set with the outcomes of some releases on it.
#[derive(Debug)]
pub struct Outcomes {
    pub set: TestSet,
    /// Outcomes, one a release at the most.
    pub scores: Vec<Score>,
}

/// Outcomes of some releases, by set; sets that are retired are left out.
pub fn outcomes_of(conn: &mut Conn, release_ids: &[&str]) -> Result<Vec<Outcomes>> {
    let limit = MAX_SHOWN.saturating_mul(i64::try_from(release_ids.len()).unwrap_or(i64::MAX));
    let mut sets: Vec<Outcomes> = Vec::new();
    for (set, score) in store::scores_of(conn, release_ids, limit)? {
        match sets.last_mut().filter(|known| known.set.id == set.id) {
            Some(known) => known.scores.push(score),
            None => sets.push(Outcomes { set, scores: vec![score] }),
        }
    }
    Ok(sets)
}

/// A set in a list.
#[derive(Debug)]
pub struct SetLine {
    pub set: TestSet,
    /// Name of its scenario.
    pub scenario: Names,
    /// Releases that have a figure.
    pub scored: i64,
}

fn lines(conn: &mut Conn, sets: Vec<TestSet>) -> Result<Vec<SetLine>> {
    let ids: Vec<&str> = sets.iter().map(|set| set.id.as_str()).collect();
    let scored = store::count_scored(conn, &ids)?;
    let names: HashMap<String, Names> = catalog::service::scenarios(conn)?.into_iter().map(|s| (s.slug, s.name)).collect();
    let line = |set: TestSet| SetLine {
        scenario: names.get(&set.scenario).cloned().unwrap_or_default(),
        scored: scored.get(&set.id).copied().unwrap_or(0),
        set,
    };
    Ok(sets.into_iter().map(line).collect())
}

/// Sets before an id, newest first, one more than a page.
pub async fn list(app: &App, actor: &Actor, before: Option<String>) -> Result<Vec<SetLine>> {
    policy::require(actor, Action::ViewCases)?;
    app.db
        .read(move |conn| {
            let sets = store::sets_before(conn, before.as_deref(), PAGE + 1)?;
            lines(conn, sets)
        })
        .await
}

/// A set with all that its page shows; nothing of its samples.
#[derive(Debug)]
pub struct SetDetail {
    pub line: SetLine,
    /// Who made it.
    pub created_by: String,
    /// Outcomes, the newest releases first, one more than a page.
    pub scores: Vec<ScoreLine>,
}

/// One set, with outcomes before a release's.
///
/// # Errors
/// `evaluation-set`: there is none.
pub async fn detail(app: &App, actor: &Actor, id: String, before: Option<String>) -> Result<SetDetail> {
    policy::require(actor, Action::ViewCases)?;
    app.db
        .read(move |conn| {
            let set = store::get_set(conn, &id).or_not_found("evaluation-set")?;
            let created_by = store::user_name(conn, &set.created_by)?;
            let scores = store::scores_before(conn, &id, before.as_deref(), PAGE + 1)?;
            let line = lines(conn, vec![set])?.pop().ok_or_else(|| Error::not_found("evaluation-set"))?;
            Ok(SetDetail { line, created_by, scores })
        })
        .await
}

/// Scenarios of a specialty to choose from, in order.
#[derive(Debug)]
pub struct ScenarioGroup {
    /// Name of the specialty.
    pub specialty: Names,
    pub scenarios: Vec<Scenario>,
}

/// Scenarios that the form of a new set offers.
pub async fn choices(app: &App, actor: &Actor) -> Result<Vec<ScenarioGroup>> {
    policy::require(actor, Action::ManageEvaluation)?;
    app.db
        .read(|conn| {
            let scenarios = catalog::service::scenarios(conn)?;
            let of = |specialty: &str| scenarios.iter().filter(|s| s.specialty == specialty).cloned().collect();
            let group = |s: SlugName| ScenarioGroup { scenarios: of(&s.slug), specialty: s.name };
            Ok(catalog::service::specialties(conn)?.into_iter().map(group).collect())
        })
        .await
}
