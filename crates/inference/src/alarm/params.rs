//! What the operator has set, as rules see it.

use std::collections::HashMap;

use app_package::manifest::{Parameter, ParameterKind};
use cel::{Value, objects::Map};

use crate::error::{AppError, Result};

/// Parameters with the manifest's defaults under the operator's settings, each of its declared type and in its bounds.
#[derive(Debug, Clone)]
pub struct Params(pub(super) Value);

impl Params {
    /// Codes `parameter-unknown` and `parameter-invalid`.
    pub fn new(declared: &[Parameter], given: &serde_json::Map<String, serde_json::Value>) -> Result<Self> {
        if let Some(name) = given.keys().find(|name| declared.iter().all(|p| &&p.name != name)) {
            return Err(AppError::new("parameter-unknown", format!("the app has no parameter `{name}`")));
        }
        let mut map = HashMap::with_capacity(declared.len());
        for parameter in declared {
            let json = given.get(&parameter.name).unwrap_or(&parameter.default);
            let value = typed(parameter, json).ok_or_else(|| {
                AppError::new("parameter-invalid", format!("parameter `{}` has a wrong type or is out of bounds", parameter.name))
            })?;
            map.insert(parameter.name.as_str().into(), value);
        }
        Ok(Self(Value::Map(Map { map: map.into() })))
    }
}

fn typed(parameter: &Parameter, json: &serde_json::Value) -> Option<Value> {
    let in_bounds = |v: f64| v.is_finite() && parameter.min.is_none_or(|min| v >= min) && parameter.max.is_none_or(|max| v <= max);
    match parameter.kind {
        ParameterKind::Boolean => json.as_bool().map(Value::Bool),
        ParameterKind::Number => json.as_f64().filter(|&v| in_bounds(v)).map(Value::Float),
        ParameterKind::Integer => {
            json.as_f64().filter(|&v| in_bounds(v))?;
            json.as_i64().map(Value::Int)
        }
        ParameterKind::String => json.as_str().filter(|s| s.chars().count() <= 200).map(Value::from),
        ParameterKind::Choice => json.as_str().filter(|s| parameter.choices.iter().any(|c| c == s)).map(Value::from),
    }
}
