//! An app's parameters: from a form, and checked against app.yaml. The check is the same for forms and programs.

use app_package::manifest::{Parameter, ParameterKind};
use serde_json::{Map, Value};

use crate::base::error::{Faults, Result};

/// Prefix of the form's fields.
pub const PREFIX: &str = "p.";
/// Longest text value, in characters.
const MAX_TEXT: usize = 200;
/// Whole numbers up to here are the same in JSON, CEL and JavaScript.
const MAX_INTEGER: u64 = 9_007_199_254_740_992;

/// Checks values and fills in for missing ones what is in force (`kept`), else the default: a switch that a program does not name stays
/// as it is. Gives every parameter of the app, in the app's order.
///
/// # Errors
/// Fields named `p.<name>`: `parameter-unknown`, `parameter-integer`, `parameter-number`, `parameter-boolean`, `parameter-choice`,
/// `parameter-min`, `parameter-max`, `too-long`, `control-characters`.
pub fn check(declared: &[Parameter], given: &Map<String, Value>, kept: Option<&Map<String, Value>>) -> Result<Map<String, Value>> {
    let mut faults = Faults::default();
    for name in given.keys().filter(|name| !declared.iter().any(|p| p.name == **name)).take(20) {
        faults.add(format!("{PREFIX}{}", name.chars().take(60).collect::<String>()), "parameter-unknown");
    }
    let mut values = Map::new();
    for parameter in declared {
        let in_force = || kept.and_then(|kept| kept.get(&parameter.name));
        let value = given.get(&parameter.name).or_else(in_force).unwrap_or(&parameter.default);
        check_one(&mut faults, parameter, value);
        values.insert(parameter.name.clone(), value.clone());
    }
    faults.check()?;
    Ok(values)
}

fn check_one(faults: &mut Faults, parameter: &Parameter, value: &Value) {
    let field = format!("{PREFIX}{}", parameter.name);
    match parameter.kind {
        ParameterKind::String => match value.as_str() {
            Some(text) if text.chars().count() > MAX_TEXT => faults.add_with(field, "too-long", "max", MAX_TEXT),
            Some(text) if text.chars().any(char::is_control) => faults.add(field, "control-characters"),
            Some(_) => {}
            None => faults.add(field, "parameter-text"),
        },
        ParameterKind::Integer => match value.as_i64().filter(|n| n.unsigned_abs() <= MAX_INTEGER) {
            #[expect(clippy::cast_precision_loss, reason = "at most 2^53, so nothing is lost")]
            Some(n) => check_range(faults, field, parameter, n as f64),
            None => faults.add(field, "parameter-integer"),
        },
        ParameterKind::Number => match value.as_f64().filter(|n| n.is_finite()) {
            Some(n) => check_range(faults, field, parameter, n),
            None => faults.add(field, "parameter-number"),
        },
        ParameterKind::Boolean => {
            if !value.is_boolean() {
                faults.add(field, "parameter-boolean");
            }
        }
        ParameterKind::Choice => {
            if !value.as_str().is_some_and(|word| parameter.choices.iter().any(|c| c == word)) {
                faults.add(field, "parameter-choice");
            }
        }
    }
}

fn check_range(faults: &mut Faults, field: String, parameter: &Parameter, n: f64) {
    if let Some(min) = parameter.min.filter(|min| n < *min) {
        faults.add_with(field, "parameter-min", "min", min);
    } else if let Some(max) = parameter.max.filter(|max| n > *max) {
        faults.add_with(field, "parameter-max", "max", max);
    }
}

/// A value as a form field and a page show it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
