//! One case of the platform's moderators: what they decide on, and the decision, which takes a session as on the page
//! ([`crate::base::auth::policy::scope_of`]).

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, web};
use app_package::manifest::AppManifest;
use inference::check::CheckReport;
use inference::column::Column;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cases::Case;
use super::once::{Asked, answer, once};
use super::{Both, Made, words};
use crate::audit::Change;
use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::auth::policy::Action;
use crate::base::db::{Conn, Timestamp};
use crate::base::error::Result;
use crate::evaluation::model::Metric;
use crate::evaluation::service::ScoreSummary;
use crate::http::api::{ApiResult, tagged};
use crate::moderation::model::{CaseState, ModerationDecision};
use crate::moderation::service::{self, decide_in};
use crate::release::difference::{Difference, Flag, Measure, share_right};
use crate::release::model::Channel;
use crate::site::parts::report::is_uncertain;
use crate::{evaluation, moderation, release};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/api/v1/cases/{id}", web::get().to(show)).route("/api/v1/cases/{id}/decision", web::post().to(decide));
}

/// One step of the automatic check.
#[derive(Serialize, ToSchema)]
pub struct Step {
    /// `files`, `content`, `onnx-load`, …
    pub code: String,
    pub ok: bool,
    /// Code of why it failed.
    pub reason: Option<String>,
    /// Code of what is odd although it passed.
    pub notice: Option<String>,
}

/// What the automatic check found.
#[derive(Serialize, ToSchema)]
pub struct Check {
    pub passed: bool,
    /// In the order in which they ran; the last one may have failed.
    pub steps: Vec<Step>,
    /// Golden samples, and those that gave the expected result; null where none ran.
    pub samples: Option<u32>,
    pub reproduced: Option<u32>,
    /// Share of the developer's labelled samples whose finding is right, 0 to 1; null where nothing can say so.
    pub accuracy: Option<f64>,
    /// What was measured, where it passed.
    pub figures: Option<Figures>,
}

/// What was measured of a release on the machine that checked it.
#[derive(Serialize, ToSchema)]
pub struct Figures {
    pub engine: String,
    /// Processor of the machine.
    pub hardware: String,
    /// Times of a prediction in milliseconds; of an app that reads clips, of a frame.
    pub median_ms: f64,
    pub p95_ms: f64,
    /// The times cannot be taken for those of the app.
    pub uncertain: bool,
    pub load_ms: f64,
    pub peak_memory_bytes: u64,
    pub model_bytes: u64,
    /// Execution providers that the app names besides the CPU, which the other figures are of.
    pub providers: Vec<OnProvider>,
}

/// What was found of a release on an execution provider.
#[derive(Serialize, ToSchema)]
pub struct OnProvider {
    /// `openvino`, `cuda`, `cann`.
    pub name: String,
    /// Version of the provider, and in what it computes: `FP32`, or `model` where each tensor's own type is kept; null where it was not loaded.
    pub version: Option<String>,
    pub precision: Option<String>,
    /// A part of the model ran on the CPU.
    pub in_part: bool,
    /// Code of why nodes will not use it: `golden-mismatch`, `provider-not-here` where the platform did not try it, …; null where the app passes.
    pub reason: Option<String>,
    /// Golden samples that were reproduced, of so many.
    pub reproduced: u32,
    pub samples: u32,
    /// Times of a prediction in milliseconds; null where the app does not pass.
    pub median_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    /// The times cannot be taken for those of the app.
    pub uncertain: bool,
}

impl From<&Column> for OnProvider {
    fn from(column: &Column) -> Self {
        let (about, figures) = (column.about.as_ref(), column.figures.as_ref());
        Self {
            name: column.provider.as_str().to_owned(),
            version: about.map(|about| about.version.clone()),
            precision: about.map(|about| about.precision.clone()),
            in_part: about.is_some_and(|about| about.in_part),
            reason: column.reason.clone(),
            reproduced: column.reproduced,
            samples: column.total,
            median_ms: figures.map(|figures| figures.latency_ms.median),
            p95_ms: figures.map(|figures| figures.latency_ms.p95),
            uncertain: figures.is_some_and(|figures| is_uncertain(&figures.latency_ms)),
        }
    }
}

impl Check {
    fn of(manifest: &AppManifest, report: CheckReport) -> Self {
        let card = report.run_card.as_ref();
        let figures = card.map(|card| Figures {
            engine: format!("{} {}", card.engine, card.engine_version),
            hardware: card.hardware.cpu.clone(),
            median_ms: card.latency_ms.median,
            p95_ms: card.latency_ms.p95,
            uncertain: is_uncertain(&card.latency_ms),
            load_ms: card.load_ms,
            peak_memory_bytes: card.peak_memory_bytes,
            model_bytes: card.model_bytes,
            providers: card.providers.iter().map(OnProvider::from).collect(),
        });
        Self {
            passed: report.passed,
            samples: report.golden.as_ref().map(|golden| golden.total),
            reproduced: report.golden.as_ref().map(|golden| golden.reproduced),
            accuracy: card.and_then(|card| share_right(manifest, card)),
            figures,
            steps: report
                .steps
                .into_iter()
                .map(|step| Step { code: step.code, ok: step.ok, reason: step.reason, notice: step.notice })
                .collect(),
        }
    }
}

/// An outcome of a release on a hidden test set.
#[derive(Serialize, ToSchema)]
pub struct Score {
    /// Name of the set.
    pub name: Both,
    #[schema(schema_with = words::metric)]
    pub metric: Metric,
    /// Unit of the figure, or empty.
    pub unit: String,
    /// The figure; null where there is a reason.
    pub value: Option<f64>,
    /// Samples of the set, and those that gave no answer.
    pub samples: i64,
    pub failures: i64,
    /// Code of why there is no figure.
    pub reason: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub scored_at: Timestamp,
}

impl From<ScoreSummary> for Score {
    fn from(score: ScoreSummary) -> Self {
        Self {
            name: score.name.into(),
            metric: score.metric,
            unit: score.unit,
            value: score.value,
            samples: score.samples,
            failures: score.failures,
            reason: score.reason,
            scored_at: score.at,
        }
    }
}

/// A figure of two versions.
#[derive(Serialize, ToSchema)]
pub struct Compared {
    #[schema(schema_with = words::measure)]
    pub measure: Measure,
    pub before: f64,
    pub after: f64,
    /// The difference is none of the versions.
    pub noise: bool,
}

/// What differs from the version before, the highest lower one that buyers have.
#[derive(Serialize, ToSchema)]
pub struct Previous {
    pub version: String,
    /// Files that differ; null where one of the packages is gone.
    pub files: Option<usize>,
    /// Keys of app.yaml that differ, without tensors.
    pub keys: usize,
    /// Tensors that differ.
    pub tensors: usize,
    /// Both were measured with one engine on one kind of machine.
    pub comparable: bool,
    pub figures: Vec<Compared>,
}

impl Previous {
    fn of((version, difference): (String, Difference)) -> Self {
        let compared = |f: &release::difference::Figure| Compared { measure: f.kind, before: f.before, after: f.after, noise: f.noise };
        Self {
            version,
            files: difference.files_total,
            keys: difference.keys_total,
            tensors: difference.tensors.len(),
            comparable: difference.comparable,
            figures: difference.figures.iter().map(compared).collect(),
        }
    }
}

/// Another decision on the app.
#[derive(Serialize, ToSchema)]
pub struct Earlier {
    /// Id of its case.
    pub id: String,
    pub version: String,
    #[schema(schema_with = words::case_state)]
    pub state: CaseState,
    pub reason: String,
    /// Name of the moderator.
    pub decided_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

impl From<(moderation::model::Case, String, Option<String>)> for Earlier {
    fn from((case, version, decided_by): (moderation::model::Case, String, Option<String>)) -> Self {
        Self { id: case.id, version, state: case.state, reason: case.reason, decided_by, decided_at: case.decided_at }
    }
}

/// A case with what is decided on. Files, signatures and documents are in the registry, by `app` and `digest`.
#[derive(Serialize, ToSchema)]
pub struct CaseDetail {
    #[serde(flatten)]
    pub case: Case,
    /// Digest of the release's OCI manifest.
    pub digest: String,
    /// Bytes of manifest, config and layers.
    pub size_bytes: i64,
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    /// Whether it raises alarms that protect people.
    pub safety: bool,
    pub summary: Both,
    /// What the developer says has changed.
    pub changes: Both,
    /// Names of who submitted it, and of the moderator who decided.
    pub opened_by: String,
    pub decided_by: Option<String>,
    /// The asker may not decide it, for it is their own or their organisation's.
    pub own: bool,
    /// Why to look twice.
    #[schema(schema_with = words::flags)]
    pub flags: Vec<Flag>,
    /// The last check; null where there was none.
    pub check: Option<Check>,
    /// Outcomes on hidden test sets.
    pub scores: Vec<Score>,
    pub previous: Option<Previous>,
    /// The newest other decisions on the app, newest first.
    pub decisions: Vec<Earlier>,
}

fn detail_in(conn: &mut Conn, actor: &Actor, id: &str) -> Result<CaseDetail> {
    let found = service::detail_in(conn, actor, id)?;
    let release = release::service::get(conn, &found.line.case.release_id)?;
    let manifest = &release.manifest;
    let scores = evaluation::service::shown_in(conn, &release.app_id, &release.id, release.published_at)?;
    Ok(CaseDetail {
        check: release::service::check_report(conn, &release.id)?.map(|report| Check::of(manifest, report)),
        scores: scores.into_iter().map(Score::from).collect(),
        previous: release::comparison::compared(conn, &release, None)?.map(Previous::of),
        safety: manifest.safety,
        summary: Both::of(manifest.summary.zh.clone(), manifest.summary.en.clone()),
        changes: Both::of(manifest.changes.zh.clone(), manifest.changes.en.clone()),
        digest: release.digest,
        size_bytes: release.size_bytes,
        channel: release.channel,
        opened_by: found.opened_by,
        decided_by: found.decided_by,
        own: found.own,
        flags: found.line.case.flags.to_vec(),
        decisions: found.decisions.into_iter().map(Earlier::from).collect(),
        case: Case::from(found.line),
    })
}

/// One case with what is decided on
#[utoipa::path(get, path = "/api/v1/cases/{id}", tag = "cases", params(("id" = String, Path, description = "Id of the case")),
    responses((status = 200, description = "The case", body = CaseDetail)))]
pub(super) async fn show(req: HttpRequest, app: Data<App>, actor: Actor, id: Path<String>) -> ApiResult {
    tagged(&req, &app.db.read(move |conn| detail_in(conn, &actor, &id)).await?)
}

/// What a moderator decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    #[schema(schema_with = words::decision)]
    pub decision: ModerationDecision,
    /// Up to 2,000 characters, for the developer: what sends a release back or refuses it has 10 at least.
    #[serde(default)]
    pub reason: String,
}

/// Decides an open case, by session only
///
/// Approval signs, publishes and lists the release.
#[utoipa::path(post, path = "/api/v1/cases/{id}/decision", tag = "cases", request_body = Verdict, security(("session" = [])),
    params(
        ("id" = String, Path, description = "Id of the case"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for an order"),
    ),
    responses((status = 200, description = "It is decided", body = Made)))]
pub(super) async fn decide(app: Data<App>, actor: Actor, id: Path<String>, asked: Asked<Verdict>) -> ApiResult {
    let (handle, id, Verdict { decision, reason }) = ((**app).clone(), id.into_inner(), asked.input);
    let decide = move |c: &mut Change<'_>| {
        decide_in(c, &handle, &id, decision, &reason)?;
        answer(StatusCode::OK, &Made { id: id.clone() })
    };
    once(&app, &actor, Action::DecideCases, asked.key, decide).await
}
