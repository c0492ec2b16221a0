//! Alarm rules: CEL over the results, compiled once, evaluated with bounded input.
//!
//! A rule comes from an untrusted package and the evaluator has no step limit, so the cost is bounded beforehand:
//! short source, loops (`exists`, `filter` …) nested at most two deep, no `+` in what a loop runs over, and no more than
//! [`MAX_ITEMS`] detections and classes are shown to a rule, best first. There are no regular expressions.

use std::collections::HashMap;

use app_package::manifest::{Parameter, ParameterKind};
use app_package::pipeline::{AlarmRule, Post};
use app_package::text::Text;
use cel::{
    Context, IdedExpr, Program, Value,
    common::ast::{EntryExpr, Expr},
    objects::Map,
};

use crate::{
    error::{AppError, Result},
    output::{AppOutput, RaisedAlarm, RuleFault},
};

/// Longest rule in bytes.
const MAX_SOURCE: usize = 2_000;
/// Detections and classes that a rule sees.
const MAX_ITEMS: usize = 100;

/// The compiled rules of an app.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<(AlarmRule, Program)>,
    labels: HashMap<String, Text>,
}

/// The rules that cannot be compiled, each with why, as [`Rules::compile`] tells of the first.
pub fn faults(rules: &[AlarmRule]) -> Vec<(&AlarmRule, AppError)> {
    rules.iter().filter_map(|rule| compile(rule).err().map(|e| (rule, e))).collect()
}

impl Rules {
    /// Compiles all rules. Codes `alarm-rule-invalid` and `alarm-rule-too-complex`, naming the rule.
    pub fn compile(rules: &[AlarmRule], post: &[Post]) -> Result<Self> {
        let labels = post
            .iter()
            .flat_map(|step| match step {
                Post::Classes(p) => p.labels.as_slice(),
                Post::Boxes(p) => p.labels.as_slice(),
                Post::Grid(p) => p.labels.as_slice(),
                Post::Values(_) => &[],
            })
            .map(|label| (label.id.clone(), label.text.clone()))
            .collect();
        let rules = rules.iter().map(|rule| Ok((rule.clone(), compile(rule)?))).collect::<Result<_>>()?;
        Ok(Self { rules, labels })
    }

    /// Evaluates every rule and adds the alarms raised and the rules that failed.
    pub fn evaluate(&self, output: &mut AppOutput, params: &Params, place: &str) {
        if self.rules.is_empty() {
            return;
        }
        let mut context = Context::default();
        for (name, value) in results(output) {
            context.add_variable_from_value(name, value);
        }
        context.add_variable_from_value("params", params.0.clone());
        for (rule, program) in &self.rules {
            let fault = match program.execute(&context) {
                Ok(Value::Bool(false)) => continue,
                Ok(Value::Bool(true)) => {
                    let text = self.text(&rule.text, output, place);
                    output.alarms.push(RaisedAlarm { rule: rule.id.clone(), level: rule.level, text });
                    continue;
                }
                Ok(other) => format!("the rule gives {}, not a bool", other.type_of()),
                Err(e) => e.to_string(),
            };
            let message = AppError::new("alarm-rule-failed", fault).message;
            output.rule_faults.push(RuleFault { rule: rule.id.clone(), message });
        }
    }

    /// Fills `{place}`, `{label}` (text of the best detection's or class's label) and `{value:ID}` (at most two decimals).
    fn text(&self, template: &Text, output: &AppOutput, place: &str) -> Text {
        let best = output.detections.first().map(|d| &d.label).or_else(|| output.classes.first().map(|c| &c.label));
        let label = best.and_then(|id| self.labels.get(id));
        let fill = |template: &str, lang: &str| {
            fill(template, |name| match name.strip_prefix("value:") {
                Some(id) => output.values.iter().find(|v| v.id == id).map(|v| number(v.value)),
                None if name == "place" => Some(place.to_owned()),
                None if name == "label" => Some(label.map(|text| text.get(lang).to_owned()).unwrap_or_default()),
                None => None,
            })
        };
        Text { zh: fill(&template.zh, "zh"), en: fill(&template.en, "en") }
    }
}

/// Replaces `{name}` by what `value` knows; unknown names stay as they are. Filled text is not searched again.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        if let Some((filled, tail)) = after.split_once('}').and_then(|(name, tail)| Some((value(name)?, tail))) {
            text.push_str(&filled);
            rest = tail;
        } else {
            text.push('{');
            rest = after;
        }
    }
    text + rest
}

fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn compile(rule: &AlarmRule) -> Result<Program> {
    let invalid = |message: String| AppError::new("alarm-rule-invalid", format!("rule `{}`: {message}", rule.id));
    let complex = |message: &str| AppError::new("alarm-rule-too-complex", format!("rule `{}`: {message}", rule.id));
    if rule.when.len() > MAX_SOURCE {
        return Err(complex("longer than 2,000 bytes"));
    }
    let program = Program::compile(&rule.when).map_err(|e| invalid(e.to_string()))?;
    let mut walk = Walk { names: vec!["detections", "classes", "values", "params"], unknown: None };
    walk.bounded(program.expression(), 0, false).map_err(complex)?;
    if let Some(name) = walk.unknown {
        return Err(invalid(format!("unknown name `{name}`; rules see detections, classes, values and params")));
    }
    Ok(program)
}

/// A walk over a rule's tree, whose depth the parser has limited.
struct Walk<'a> {
    /// Names known here: the results, and the variables of the loops around.
    names: Vec<&'a str>,
    /// First name in the rule that is not known.
    unknown: Option<&'a str>,
}

impl<'a> Walk<'a> {
    /// Checks names, loop depth and, where `ranged`, that what a loop runs over holds no sum.
    fn bounded(&mut self, node: &'a IdedExpr, loops: u32, ranged: bool) -> std::result::Result<(), &'static str> {
        match &node.expr {
            Expr::Ident(name) => {
                if self.unknown.is_none() && !self.names.contains(&name.as_str()) {
                    self.unknown = Some(name);
                }
                Ok(())
            }
            Expr::Call(call) => {
                if ranged && call.func_name == "_+_" {
                    return Err("a loop must not run over a sum");
                }
                call.target.iter().map(|t| &**t).chain(&call.args).try_for_each(|n| self.bounded(n, loops, ranged))
            }
            Expr::Comprehension(c) => {
                if loops >= 2 {
                    return Err("loops are nested more than two deep");
                }
                self.bounded(&c.iter_range, loops, true)?;
                let outer = self.names.len();
                self.names.extend([c.iter_var.as_str(), c.accu_var.as_str()]);
                self.names.extend(c.iter_var2.as_deref());
                // The macros' own accumulators use `+`, so sums are looked for in ranges only.
                for part in [&c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                    self.bounded(part, loops + 1, false)?;
                }
                self.names.truncate(outer);
                Ok(())
            }
            Expr::List(list) => list.elements.iter().try_for_each(|n| self.bounded(n, loops, ranged)),
            Expr::Select(select) => self.bounded(&select.operand, loops, ranged),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(e) => {
                    self.bounded(&e.key, loops, ranged)?;
                    self.bounded(&e.value, loops, ranged)
                }
                EntryExpr::StructField(_) => Err("structures are not known here"),
            }),
            Expr::Struct(_) => Err("structures are not known here"),
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
        }
    }
}

fn results(output: &AppOutput) -> [(&'static str, Value); 3] {
    let item = |label: &str, score: f32| {
        HashMap::<String, Value>::from([("label".into(), label.into()), ("score".into(), Value::Float(f64::from(score)))])
    };
    let detections: Vec<Value> = output
        .detections
        .iter()
        .take(MAX_ITEMS)
        .map(|d| {
            let mut map = item(&d.label, d.score);
            let sides: Vec<Value> = d.bbox.iter().map(|&v| Value::Float(f64::from(v))).collect();
            map.insert("box".into(), sides.into());
            map.into()
        })
        .collect();
    let classes: Vec<Value> = output.classes.iter().take(MAX_ITEMS).map(|c| item(&c.label, c.score).into()).collect();
    let values: HashMap<String, Value> = output.values.iter().map(|v| (v.id.clone(), Value::Float(v.value))).collect();
    [("detections", detections.into()), ("classes", classes.into()), ("values", values.into())]
}

/// Parameters with the manifest's defaults under the operator's settings, each of its declared type and in its bounds.
#[derive(Debug, Clone)]
pub struct Params(Value);

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
