//! The step of the deploy wizard with the parameters, whose fields a deployment shows, too.

use app_package::manifest::{Parameter, ParameterKind};
use askama::Template;
use serde_json::{Map, Value};

use super::deploy_steps::title;
use crate::base::error::Error;
use crate::base::i18n::error_text;
use crate::fleet::parameters::{PREFIX, shown};
use crate::fleet::service::deployment_plan::DeployChoices;
use crate::http::page::{FormErrors, Page};
use crate::site::parts::card::required_zones;

/// One field of the parameter form.
pub struct ParameterField {
    /// Name of the field, `p.<name>`.
    pub name: String,
    pub label: String,
    /// Help, with the bounds.
    pub hint: String,
    /// `text`, `number`, `checkbox` or `choice`.
    pub kind: &'static str,
    /// Value as typed.
    pub value: String,
    /// `any` or `1`.
    pub increment: &'static str,
    /// Lowest number, or empty.
    pub min: String,
    /// Highest number, or empty.
    pub max: String,
    /// Words to choose from.
    pub choices: Vec<String>,
}

/// What a parameter is called.
pub(super) fn label(page: &Page, parameter: &Parameter) -> String {
    match parameter.title.get(page.lang) {
        "" => parameter.name.clone(),
        title => title.to_owned(),
    }
}

/// A value in words: switches are on or off.
pub(super) fn shown_in(page: &Page, value: &Value) -> String {
    match value {
        Value::Bool(true) => page.t("fleet-on"),
        Value::Bool(false) => page.t("fleet-off"),
        other => shown(other),
    }
}

impl ParameterField {
    /// The field of a declared parameter, with the value typed or in force.
    pub fn of(page: &Page, parameter: &Parameter, values: &Map<String, Value>) -> Self {
        let bound = |n: Option<f64>| n.map(|n| n.to_string()).unwrap_or_default();
        let (min, max) = (bound(parameter.min), bound(parameter.max));
        let range = match (min.is_empty(), max.is_empty()) {
            (false, false) => page.t2("fleet-range", "min", &min, "max", &max),
            (false, true) => page.t1("fleet-range-min", "min", &min),
            (true, false) => page.t1("fleet-range-max", "max", &max),
            (true, true) => String::new(),
        };
        Self {
            name: format!("{PREFIX}{}", parameter.name),
            label: label(page, parameter),
            hint: format!("{} {range}", parameter.help.get(page.lang)).trim().to_owned(),
            kind: match parameter.kind {
                ParameterKind::String => "text",
                ParameterKind::Integer | ParameterKind::Number => "number",
                ParameterKind::Boolean => "checkbox",
                ParameterKind::Choice => "choice",
            },
            value: shown(values.get(&parameter.name).unwrap_or(&parameter.default)),
            increment: if parameter.kind == ParameterKind::Integer { "1" } else { "any" },
            min,
            max,
            choices: parameter.choices.clone(),
        }
    }
}

/// `/mine/deploy`, step 3.
#[derive(Template)]
#[template(path = "mine/deploy_parameters.html")]
pub struct ParametersStep {
    pub page: Page,
    /// Step for the line of steps.
    pub step: u8,
    pub app: String,
    pub version: String,
    pub license_id: String,
    pub release_id: String,
    /// Nodes chosen: id and name.
    pub nodes: Vec<(String, String)>,
    pub fields: Vec<ParameterField>,
    /// Zones that must be drawn, in words.
    pub zones: String,
    pub errors: FormErrors,
    /// Messages on fields that the page does not show.
    pub others: Vec<String>,
}

/// Messages on wrong fields that are not among those shown.
fn unshown(page: &Page, error: &Error, shown: &[ParameterField]) -> Vec<String> {
    let hidden = error.fields.iter().filter(|f| shown.iter().all(|s| s.name != f.field));
    // The arguments of a message may be on the error as a whole instead of the field.
    hidden.map(|f| error_text(page.locale(), f.code, if f.args.is_empty() { &error.args } else { &f.args })).collect()
}

impl ParametersStep {
    /// The step for these choices. Without typed values it shows those in force on the first node that has the app.
    pub fn of(page: Page, choices: &DeployChoices, chosen: &[String], typed: Option<&Map<String, Value>>, error: Option<&Error>) -> Self {
        let nodes: Vec<(String, String)> =
            choices.nodes.iter().filter(|c| chosen.contains(&c.node.id)).map(|c| (c.node.id.clone(), c.node.name.clone())).collect();
        let in_force = choices.nodes.iter().filter(|c| chosen.contains(&c.node.id)).find_map(|c| c.parameters.clone());
        let values = typed.cloned().or(in_force).unwrap_or_default();
        let fields: Vec<ParameterField> =
            choices.release.manifest.parameters.iter().map(|p| ParameterField::of(&page, p, &values)).collect();
        Self {
            step: 3,
            app: title(&page, &choices.app),
            version: choices.release.version.clone(),
            license_id: choices.license.id.clone(),
            release_id: choices.release.id.clone(),
            others: error.map(|e| unshown(&page, e, &fields)).unwrap_or_default(),
            errors: error.map(|e| FormErrors::of(&page, e)).unwrap_or_default(),
            fields,
            zones: required_zones(&page, &choices.release.manifest),
            nodes,
            page,
        }
    }
}
