//! /mine/deploy: the four steps from a licence to a deployment. Only the address holds the choices, so that going back shows each step as it
//! was; nothing but the last step changes anything.

use actix_web::http::StatusCode;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, web};
use app_package::manifest::{Parameter, ParameterKind};
use serde_json::{Map, Number, Value};

use crate::base::app::App;
use crate::base::auth::Actor;
use crate::base::db::Timestamp;
use crate::base::error::Error;
use crate::fleet::parameters::PREFIX;
use crate::fleet::service::deploy_seen;
use crate::fleet::service::deployment_plan::{self, DeployChoices, DeployInput, NodeProblem};
use crate::http::extract::FormPairs;
use crate::http::page::{Page, PageResult, form_result, see_other, see_other_with};
use crate::site::mine::deploy_parameters::ParametersStep;
use crate::site::mine::deploy_steps::{AppStep, NodesStep, PreviewStep, node_problem, offers};

pub fn configure(cfg: &mut ServiceConfig) {
    cfg.route("/mine/deploy", web::get().to(wizard))
        .route("/mine/deploy/preview", web::get().to(preview))
        .route("/mine/deploy", web::post().to(start));
}

/// Reads the values of a form, of several with one name the last: a switch comes as `false`, and where it is on as `true` after it. An
/// unreadable value stays a text, on which `fleet::parameters::check` reports the fault.
pub fn from_form(declared: &[Parameter], form: &FormPairs) -> Map<String, Value> {
    let mut values = Map::new();
    for (field, raw) in &form.0 {
        let Some(name) = field.strip_prefix(PREFIX) else { continue };
        let raw = raw.trim();
        let value = match declared.iter().find(|p| p.name == name).map(|p| p.kind) {
            Some(ParameterKind::Integer) => raw.parse::<i64>().ok().map(Value::from),
            Some(ParameterKind::Number) => raw.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
            Some(ParameterKind::Boolean) => raw.parse::<bool>().ok().map(Value::Bool),
            _ => None,
        };
        values.insert(name.to_owned(), value.unwrap_or_else(|| Value::String(raw.to_owned())));
    }
    values
}

/// The choices so far, from a query or a form.
struct Chosen {
    license_id: String,
    release_id: String,
    nodes: Vec<String>,
    /// Fields of parameters as typed, which the step of the nodes carries.
    typed: Vec<(String, String)>,
}

impl Chosen {
    fn of(pairs: &FormPairs) -> Self {
        let nodes = pairs.all("node").take(1000).map(ToOwned::to_owned).collect();
        let typed = pairs.0.iter().filter(|(name, _)| name.starts_with(PREFIX)).cloned().collect();
        Self { license_id: pairs.get("license").to_owned(), release_id: pairs.get("release").to_owned(), nodes, typed }
    }
}

/// Steps 1 to 3, by the choices and the `step` in the address.
async fn wizard(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let pairs = query_of(&req)?;
    let chosen = Chosen::of(&pairs);
    let now = app.clock.now();
    let page = Page::of(&req, "fleet-deploy-title");
    if chosen.release_id.is_empty() || chosen.license_id.is_empty() {
        let found = deployment_plan::offers(&app, &actor).await?;
        let offers = offers(&page, &found, &chosen.license_id, now);
        return page.clone().render(&AppStep {
            page,
            step: 1,
            preselected: offers.iter().any(|o| o.selected),
            offers,
            nodes: chosen.nodes,
        });
    }
    let choices = deployment_plan::choices(&app, &actor, chosen.license_id.clone(), chosen.release_id.clone()).await?;
    // Nodes in the address do not skip this step: a node chosen on its own page must be seen among the others first.
    if pairs.get("step") != "parameters" {
        return page.clone().render(&NodesStep::of(page, &choices, &chosen.nodes, chosen.typed, None, now));
    }
    if let Some(problem) = choices.problem(&chosen.nodes) {
        return other_nodes(page, &choices, &chosen, &problem, now);
    }
    // Back from the preview, or by way of the nodes, with the typed values.
    let typed = from_form(&choices.release.manifest.parameters, &pairs);
    page.clone().render(&ParametersStep::of(page, &choices, &chosen.nodes, Some(&typed).filter(|t| !t.is_empty()), None))
}

/// Shows the step of the nodes again with the fault: nodes can be changed only there.
fn other_nodes(page: Page, choices: &DeployChoices, chosen: &Chosen, problem: &NodeProblem, now: Timestamp) -> PageResult {
    let text = node_problem(&page, problem);
    page.clone()
        .render_with(StatusCode::UNPROCESSABLE_ENTITY, &NodesStep::of(page, choices, &chosen.nodes, chosen.typed.clone(), Some(text), now))
}

fn query_of(req: &HttpRequest) -> Result<FormPairs, Error> {
    Ok(FormPairs(serde_urlencoded::from_str(req.query_string()).map_err(|e| Error::invalid("form-malformed").source(e))?))
}

async fn input(app: &App, actor: &Actor, chosen: &Chosen, form: &FormPairs) -> Result<(DeployChoices, DeployInput), Error> {
    let choices = deployment_plan::choices(app, actor, chosen.license_id.clone(), chosen.release_id.clone()).await?;
    let input = DeployInput {
        release_id: chosen.release_id.clone(),
        license_id: chosen.license_id.clone(),
        node_ids: chosen.nodes.clone(),
        parameters: from_form(&choices.release.manifest.parameters, form),
    };
    Ok((choices, input))
}

/// Shows the step of the parameters again, with the typed values and the faults.
fn wrong(page: Page, choices: &DeployChoices, chosen: &Chosen, typed: &Map<String, Value>, error: &Error) -> PageResult {
    let step = ParametersStep::of(page.clone(), choices, &chosen.nodes, Some(typed), Some(error));
    page.render_with(StatusCode::UNPROCESSABLE_ENTITY, &step)
}

async fn preview(req: HttpRequest, app: Data<App>, actor: Actor) -> PageResult {
    let pairs = query_of(&req)?;
    let chosen = Chosen::of(&pairs);
    // An address without choices begins the wizard anew.
    if chosen.license_id.is_empty() || chosen.release_id.is_empty() {
        return Ok(see_other("/mine/deploy"));
    }
    show_preview(Page::of(&req, "fleet-deploy-title"), &app, &actor, &chosen, &pairs, false).await
}

/// Shows what deploying would change; with `changed`, that this is not what the reader has agreed to.
async fn show_preview(page: Page, app: &App, actor: &Actor, chosen: &Chosen, pairs: &FormPairs, changed: bool) -> PageResult {
    let (choices, input) = input(app, actor, chosen, pairs).await?;
    let typed = input.parameters.clone();
    if let Some(problem) = choices.problem(&chosen.nodes) {
        return other_nodes(page, &choices, chosen, &problem, app.clock.now());
    }
    match form_result(deployment_plan::plan(app, actor, input).await)? {
        Ok(plan) => {
            let status = if changed { StatusCode::CONFLICT } else { StatusCode::OK };
            page.clone().render_with(status, &PreviewStep::of(page, &plan, changed, app.clock.now()))
        }
        Err(error) => wrong(page, &choices, chosen, &typed, &error),
    }
}

async fn start(req: HttpRequest, app: Data<App>, actor: Actor, form: FormPairs) -> PageResult {
    let chosen = Chosen::of(&form);
    let (choices, input) = input(&app, &actor, &chosen, &form).await?;
    let typed = input.parameters.clone();
    let page = Page::of(&req, "fleet-deploy-title");
    if let Some(problem) = choices.problem(&chosen.nodes) {
        return other_nodes(page, &choices, &chosen, &problem, app.clock.now());
    }
    let seen = Some(form.get("seen")).filter(|seen| !seen.is_empty()).map(ToOwned::to_owned);
    match form_result(deploy_seen(&app, &actor, input, seen).await)? {
        Ok(ids) => {
            let path = match ids.as_slice() {
                [id] => format!("/mine/deployments/{id}"),
                _ => "/mine/deployments".to_owned(),
            };
            Ok(see_other_with(&path, "success", "fleet-deploy-started", &[("n", &ids.len().to_string())]))
        }
        Err(error) if error.code == "deployment-changed" => show_preview(page, &app, &actor, &chosen, &form, true).await,
        Err(error) => wrong(page, &choices, &chosen, &typed, &error),
    }
}
