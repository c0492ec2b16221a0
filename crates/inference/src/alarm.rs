//! Alarm rules: CEL over the results, compiled once, evaluated with bounded input.
//!
//! A rule comes from an untrusted package and the evaluator has no step limit, so the cost is bounded beforehand:
//! short source, loops (`exists`, `filter` …) nested at most two deep, no `+` in what a loop runs over, and no more than
//! [`MAX_ITEMS`] detections and classes are shown to a rule, best first. There are no regular expressions.

use std::collections::HashMap;

use app_package::manifest::{AppManifest, Parameter, ParameterKind};
use app_package::pipeline::{AlarmRule, Post, PostBoxes};
use app_package::text::Text;
use cel::{
    Context, IdedExpr, Program, Value,
    common::ast::{EntryExpr, Expr},
    objects::Map,
};

use crate::{
    error::{AppError, Result},
    output::{AppOutput, ClassScore, Detection, RaisedAlarm, RuleFault, TextOut},
};

/// Longest rule in bytes.
const MAX_SOURCE: usize = 2_000;
/// Detections, classes and texts that a rule sees.
const MAX_ITEMS: usize = 100;
/// Characters of a text that an alarm says.
const MAX_TEXT: usize = 100;

/// The compiled rules of an app.
#[derive(Debug)]
pub struct Rules {
    compiled: Vec<(AlarmRule, Program)>,
    labels: HashMap<String, Text>,
    /// What detections of this app can have.
    known: Known,
}

/// What detections of an app can have; those that do not have it show neutral values, so that no rule fails for a missing key.
#[derive(Debug, Default)]
struct Known {
    /// Format 1 shows label, score and box alone.
    first: bool,
    keypoints: Vec<String>,
    /// Values that steps for each object give.
    values: Vec<String>,
}

/// The rules that cannot be compiled, each with why, as [`Rules::compile`] tells of the first.
pub fn faults(rules: &[AlarmRule]) -> Vec<(&AlarmRule, AppError)> {
    rules.iter().filter_map(|rule| compile(rule).err().map(|e| (rule, e))).collect()
}

impl Rules {
    /// Compiles all rules. Codes `alarm-rule-invalid` and `alarm-rule-too-complex`, naming the rule.
    pub fn compile(manifest: &AppManifest) -> Result<Self> {
        let labels = manifest.labels().map(|label| (label.id.clone(), label.text.clone())).collect();
        let mut known = Known { first: manifest.format == 1, ..Known::default() };
        for post in manifest.posts() {
            if let Post::Boxes(PostBoxes { keypoints: Some(points), .. }) = post {
                known.keypoints.extend(points.names.iter().cloned());
            }
        }
        for step in manifest.model_steps().iter().filter(|step| step.of.is_some()) {
            known.values.extend(step.post.iter().flat_map(Post::values).map(|(id, ..)| id.to_owned()));
        }
        known
            .values
            .extend(manifest.wasm_steps().filter(|step| step.of.is_some()).flat_map(|step| &step.items).map(|item| item.id.clone()));
        let rules = manifest.alarms();
        let compiled = rules.iter().map(|rule| Ok((rule.clone(), compile(rule)?))).collect::<Result<_>>()?;
        Ok(Self { compiled, labels, known })
    }

    /// Evaluates every rule and adds the alarms raised and the rules that failed.
    pub fn evaluate(&self, output: &mut AppOutput, params: &Params, place: &str) {
        if self.compiled.is_empty() {
            return;
        }
        let mut context = Context::default();
        for (name, value) in results(output, &self.known) {
            context.add_variable_from_value(name, value);
        }
        context.add_variable_from_value("params", params.0.clone());
        for (rule, program) in &self.compiled {
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

    /// Fills `{place}`, `{label}` (text of the best detection's or class's label), `{text}` (what was read, first of the picture, else of the
    /// best thing with a text) and `{value:ID}` (at most two decimals).
    fn text(&self, template: &Text, output: &AppOutput, place: &str) -> Text {
        let best = output.detections.first().map(|d| &d.label).or_else(|| output.classes.first().map(|c| &c.label));
        let label = best.and_then(|id| self.labels.get(id));
        let fill = |template: &str, lang: &str| {
            fill(template, |name| match name.strip_prefix("value:") {
                Some(id) => output.values.iter().find(|v| v.id == id).map(|v| number(v.value)),
                None if name == "place" => Some(place.to_owned()),
                None if name == "text" => Some(best_text(output)),
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
    let mut walk = Walk { names: vec!["detections", "classes", "values", "texts", "params"], unknown: None };
    walk.bounded(program.expression(), 0, false).map_err(complex)?;
    if let Some(name) = walk.unknown {
        return Err(invalid(format!("unknown name `{name}`; rules see detections, classes, values, texts and params")));
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

/// The text that was read: of the input, else of the best thing that has one.
fn best_text(output: &AppOutput) -> String {
    let of_things = output.detections.iter().filter_map(|d| d.said.text.as_ref());
    let best = output.texts.iter().chain(of_things).find(|text| !text.text.is_empty());
    best.map(|text| text.text.chars().take(MAX_TEXT).collect()).unwrap_or_default()
}

type Shown = HashMap<String, Value>;

fn float(value: f32) -> Value {
    Value::Float(f64::from(value))
}

fn map_of(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Shown>().into()
}

fn results(output: &AppOutput, known: &Known) -> [(&'static str, Value); 4] {
    let detections: Vec<Value> = output.detections.iter().take(MAX_ITEMS).map(|d| thing(d, known).into()).collect();
    let classes: Vec<Value> = output.classes.iter().take(MAX_ITEMS).map(|c| class(c, known)).collect();
    let values: Shown = output.values.iter().map(|v| (v.id.clone(), Value::Float(v.value))).collect();
    let texts: Vec<Value> = output.texts.iter().take(MAX_ITEMS).map(read).collect();
    [("detections", detections.into()), ("classes", classes.into()), ("values", values.into()), ("texts", texts.into())]
}

fn read(text: &TextOut) -> Value {
    map_of([("text", text.text.as_str().into()), ("score", float(text.score))])
}

fn class(class: &ClassScore, known: &Known) -> Value {
    let mut map = HashMap::from([("label".to_owned(), class.label.as_str().into()), ("score".to_owned(), float(class.score))]);
    if !known.first {
        map.insert("model".into(), class.model.as_deref().unwrap_or_default().into());
    }
    map.into()
}

fn thing(d: &Detection, known: &Known) -> Shown {
    let sides: Vec<Value> = d.bbox.iter().copied().map(float).collect();
    let mut map = HashMap::from([
        ("label".to_owned(), d.label.as_str().into()),
        ("score".to_owned(), float(d.score)),
        ("box".to_owned(), sides.into()),
    ]);
    if known.first {
        return map;
    }
    let points = known.keypoints.iter().map(|name| {
        let point = d.keypoints.iter().find(|point| &point.name == name).cloned().unwrap_or_default();
        (name.clone(), map_of([("x", float(point.x)), ("y", float(point.y)), ("score", float(point.score))]))
    });
    let value = |id: &String| d.said.values.iter().find(|v| &v.id == id).map_or(0.0, |v| v.value);
    let values: Shown = known.values.iter().map(|id| (id.clone(), Value::Float(value(id)))).collect();
    let classes: Vec<Value> = d.said.classes.iter().take(MAX_ITEMS).map(|c| class(c, known)).collect();
    map.extend([
        ("model".to_owned(), d.model.as_deref().unwrap_or_default().into()),
        ("area".to_owned(), float(d.area.unwrap_or(0.0))),
        ("angle".to_owned(), float(d.corners.as_ref().map_or(0.0, lean))),
        ("text".to_owned(), d.said.text.as_ref().map_or("", |text| text.text.as_str()).into()),
        ("keypoints".to_owned(), points.collect::<Shown>().into()),
        ("classes".to_owned(), classes.into()),
        ("values".to_owned(), values.into()),
    ]);
    map
}

/// What the longer side of a turned box leans by from the horizontal, in degrees, −90 to 90, clockwise in the picture.
fn lean([first, second, third, _]: &[[f32; 2]; 4]) -> f32 {
    let side = |from: &[f32; 2], to: &[f32; 2]| [to[0] - from[0], to[1] - from[1]];
    let (one, other) = (side(first, second), side(second, third));
    let [x, y] = if one[0].hypot(one[1]) >= other[0].hypot(other[1]) { one } else { other };
    let angle = y.atan2(x).to_degrees();
    if angle > 90.0 {
        angle - 180.0
    } else if angle <= -90.0 {
        angle + 180.0
    } else {
        angle
    }
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
