//! Alarm rules: CEL over the results, compiled once, evaluated with bounded input.
//!
//! A rule comes from an untrusted package and the evaluator has no step limit, so the cost is bounded beforehand:
//! short source, loops (`exists`, `filter` …) nested at most two deep, no `+` in what a loop runs over, and no more than
//! [`MAX_ITEMS`] detections and classes are shown to a rule, best first. There are no regular expressions.

mod names;
mod params;

use std::collections::{BTreeMap, HashMap};

use app_package::manifest::{AppManifest, InputKind};
use app_package::pipeline::{AlarmRule, Drawn, Post, PostBoxes};
use app_package::text::Text;
use cel::{
    Context, IdedExpr, Program, Value,
    common::ast::{EntryExpr, Expr},
};

use self::names::{Form, Words};
pub use self::params::Params;
use crate::{
    error::{AppError, Result},
    moment::{Moment, Shown, Standing, map_of},
    output::{AppOutput, ClassScore, Detection, RaisedAlarm, RuleFault, Said, TextOut, ValueOut},
    procedure::{Course, Seen},
    scene::Places,
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
    /// When each procedure begins and ends, and what is seen of its steps.
    procedures: Vec<ProcedureRules>,
    labels: HashMap<String, Text>,
    /// What detections of this app can have.
    known: Known,
}

/// The compiled rules of a procedure.
#[derive(Debug)]
struct ProcedureRules {
    id: String,
    start: Program,
    end: Option<Program>,
    steps: Vec<Program>,
}

/// What detections of an app can have; those that do not have it show neutral values, so that no rule fails for a missing key.
#[derive(Debug, Default)]
struct Known {
    /// Format 1 shows label, score and box alone.
    first: bool,
    /// Of moving pictures: tracks, zones and lines.
    video: bool,
    keypoints: Vec<String>,
    /// Values that steps for each object give.
    values: Vec<String>,
}

/// What is wrong with the rules, and with what procedures ask: each with its place in app.yaml, and why as [`Rules::compile`] tells of the first.
pub fn faults(manifest: &AppManifest) -> Vec<(String, AppError)> {
    let outcome = Known::of(manifest).forms(manifest).map(|forms| {
        let sources = sources(manifest).into_iter();
        sources.filter_map(|source| Some((source.key.clone(), compile(&source, forms.as_ref()).err()?))).collect()
    });
    // Defaults of parameters have been looked at with the rest of app.yaml.
    outcome.unwrap_or_default()
}

/// A rule, or what a procedure asks.
struct Source<'a> {
    /// Its place in app.yaml.
    key: String,
    /// The rule, procedure or step that faults name.
    id: &'a str,
    cel: &'a str,
}

/// All that is CEL, in the order of app.yaml: procedures, then rules.
fn sources(manifest: &AppManifest) -> Vec<Source<'_>> {
    let mut sources = Vec::new();
    for (i, procedure) in manifest.procedures.iter().enumerate() {
        let mut add = |key: String, id, cel| sources.push(Source { key: format!("procedures[{i}].{key}"), id, cel });
        add("start".to_owned(), &procedure.id, &procedure.start);
        for (n, step) in procedure.steps.iter().enumerate() {
            add(format!("steps[{n}].when"), &step.id, &step.when);
        }
        if let Some(end) = &procedure.end {
            add("end".to_owned(), &procedure.id, end);
        }
    }
    let alarms = if manifest.format == 1 { "pipeline.alarms" } else { "alarms" };
    let rules = manifest.alarms().iter().enumerate();
    sources.extend(rules.map(|(i, rule)| Source { key: format!("{alarms}[{i}].when"), id: &rule.id, cel: &rule.when }));
    sources
}

impl Known {
    fn of(manifest: &AppManifest) -> Self {
        let mut known = Self { first: manifest.format == 1, video: manifest.input == InputKind::Video, ..Self::default() };
        for post in manifest.posts() {
            if let Post::Boxes(PostBoxes { keypoints: Some(points), .. }) = post {
                known.keypoints.extend(points.names.iter().cloned());
            }
        }
        for step in manifest.model_steps().iter().filter(|step| step.of.is_some()) {
            known.values.extend(step.post.iter().flat_map(Post::values).map(|(id, ..)| id.to_owned()));
        }
        let own = manifest.wasm_steps().filter(|step| step.of.is_some());
        known.values.extend(own.flat_map(|step| &step.items).map(|item| item.id.clone()));
        known
    }

    /// The form of each name that a rule of moving pictures sees, by a sample that has one thing of each label; none of still pictures, whose rules
    /// have always been taken. Codes `parameter-…`.
    fn forms(&self, manifest: &AppManifest) -> Result<Option<BTreeMap<String, Form>>> {
        if !self.video {
            return Ok(None);
        }
        let places = Places::new(&manifest.scene, &Drawn::default());
        let procedures = manifest.procedures.iter().map(|procedure| (procedure.id.clone(), Standing::default()));
        let moment = Moment {
            zones: places.zones(std::time::Duration::ZERO).map(|(id, zone)| (id.to_owned(), zone)).collect(),
            lines: places.lines().map(|(id, line)| (id.to_owned(), line.clone())).collect(),
            procedures: procedures.collect(),
            ..Moment::default()
        };
        let class = ClassScore::default();
        let sample = AppOutput {
            detections: vec![Detection { said: Said { classes: vec![class.clone()], ..Said::default() }, ..Detection::default() }],
            classes: vec![class],
            values: manifest.values().map(|(id, ..)| ValueOut { id: id.to_owned(), ..ValueOut::default() }).collect(),
            texts: vec![TextOut::default()],
            ..AppOutput::default()
        };
        let params = Params::new(&manifest.parameters, &serde_json::Map::new())?;
        let words = Words::of(manifest);
        let shown = results(&sample, self, &moment).into_iter().chain(moment.shown()).chain([("params", params.0)]);
        Ok(Some(shown.map(|(name, value)| (name.to_owned(), words.form(&value, &[name]))).collect()))
    }
}

impl Rules {
    /// Compiles all rules and what procedures ask; of moving pictures they name nothing that cannot exist. Codes `alarm-rule-invalid` and
    /// `alarm-rule-too-complex`, naming the rule.
    pub fn compile(manifest: &AppManifest) -> Result<Self> {
        let known = Known::of(manifest);
        let forms = known.forms(manifest)?;
        let mut programs = sources(manifest).iter().map(|source| compile(source, forms.as_ref())).collect::<Result<Vec<_>>>()?.into_iter();
        let missing = || AppError::new("alarm-rule-invalid", "a rule is missing");
        let mut next = || programs.next().ok_or_else(missing);
        let mut procedures = Vec::new();
        for procedure in &manifest.procedures {
            procedures.push(ProcedureRules {
                id: procedure.id.clone(),
                start: next()?,
                steps: procedure.steps.iter().map(|_| next()).collect::<Result<_>>()?,
                end: procedure.end.is_some().then(&mut next).transpose()?,
            });
        }
        let compiled = manifest.alarms().iter().map(|rule| Ok((rule.clone(), next()?))).collect::<Result<_>>()?;
        let labels = manifest.labels().map(|label| (label.id.clone(), label.text.clone())).collect();
        Ok(Self { compiled, procedures, labels, known })
    }

    /// What rules see.
    pub(crate) fn context<'a>(&self, output: &AppOutput, params: &Params, moment: &Moment) -> Context<'a, 'a> {
        let mut context = Context::default();
        for (name, value) in results(output, &self.known, moment) {
            context.add_variable_from_value(name, value);
        }
        if self.known.video {
            for (name, value) in moment.shown() {
                context.add_variable_from_value(name, value);
            }
        }
        context.add_variable_from_value("params", params.0.clone());
        context
    }

    /// What rules see, with these things alone.
    pub(crate) fn narrowed<'b, 'v>(&self, context: &'b Context<'_, 'v>, things: &[&Detection], moment: &Moment) -> Context<'b, 'v> {
        let mut inner = context.new_inner_scope();
        let things: Vec<Value> = things.iter().take(MAX_ITEMS).map(|d| thing(d, &self.known, moment).into()).collect();
        inner.add_variable_from_value("detections", Value::from(things));
        inner
    }

    /// The rules with what they mean, in the manifest's order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&AlarmRule, &Program)> {
        self.compiled.iter().map(|(rule, program)| (rule, program))
    }

    /// What is seen of a procedure; what cannot be evaluated is not seen, and told.
    pub(crate) fn seen(&self, course: &Course, context: &Context<'_, '_>, faults: &mut Vec<RuleFault>) -> Seen {
        let Some(rules) = self.procedures.iter().find(|rules| rules.id == course.id()) else { return Seen::default() };
        let mut ask = |program: &Program| {
            holds(program, context).unwrap_or_else(|message| {
                if faults.iter().all(|known| known.rule != rules.id) {
                    faults.push(RuleFault { rule: rules.id.clone(), message });
                }
                false
            })
        };
        Seen { start: ask(&rules.start), end: rules.end.as_ref().is_some_and(&mut ask), steps: rules.steps.iter().map(&mut ask).collect() }
    }

    /// Evaluates every rule and adds the alarms raised and the rules that failed.
    pub fn evaluate(&self, output: &mut AppOutput, params: &Params, place: &str) {
        if self.compiled.is_empty() {
            return;
        }
        let context = self.context(output, params, &Moment::default());
        for (rule, program) in &self.compiled {
            match holds(program, &context) {
                Ok(false) => {}
                Ok(true) => output.alarms.push(self.alarm(rule, output, place, &Told::default())),
                Err(message) => output.rule_faults.push(RuleFault { rule: rule.id.clone(), message }),
            }
        }
    }

    /// What a rule says.
    pub(crate) fn alarm(&self, rule: &AlarmRule, output: &AppOutput, place: &str, told: &Told<'_>) -> RaisedAlarm {
        let text = self.text(&rule.text, output, place, told);
        let frame = told.at.map(|_| Box::new(output.seen()));
        RaisedAlarm { rule: rule.id.clone(), level: rule.level, text, at: told.at, frame }
    }

    /// Fills `{place}`, `{label}` (text of the best detection's or class's label), `{text}` (what was read, first of the picture, else of the
    /// best thing with a text) and `{value:ID}` (at most two decimals); of moving pictures `{zone}` and `{missing}`.
    fn text(&self, template: &Text, output: &AppOutput, place: &str, told: &Told<'_>) -> Text {
        let best = told.label.or_else(|| best_label(output));
        let filled = |text: Option<&Text>, lang: &str| text.map(|text| text.get(lang).to_owned()).unwrap_or_default();
        let fill = |template: &str, lang: &str| {
            fill(template, |name| match name.strip_prefix("value:") {
                Some(id) => output.values.iter().find(|v| v.id == id).map(|v| number(v.value)),
                None if name == "place" => Some(place.to_owned()),
                None if name == "text" => Some(best_text(output)),
                None if name == "label" => Some(filled(best.and_then(|id| self.labels.get(id)), lang)),
                None if name == "zone" && self.known.video => Some(filled(told.zone, lang)),
                None if name == "missing" && self.known.video => Some(filled(Some(&told.missing), lang)),
                None => None,
            })
        };
        Text { zh: fill(&template.zh, "zh"), en: fill(&template.en, "en") }
    }
}

/// What an alarm of moving pictures is about.
#[derive(Default)]
pub(crate) struct Told<'a> {
    /// When it began, in seconds.
    pub at: Option<f64>,
    /// Label of the object, where the rule is for each.
    pub label: Option<&'a str>,
    /// Title of the zone.
    pub zone: Option<&'a Text>,
    /// Titles of steps that were not done.
    pub missing: Text,
}

/// Whether a rule holds. The error is the evaluator's, in words.
pub(crate) fn holds(program: &Program, context: &Context<'_, '_>) -> std::result::Result<bool, String> {
    let fault = match program.execute(context) {
        Ok(Value::Bool(holds)) => return Ok(holds),
        Ok(other) => format!("the rule gives {}, not a bool", other.type_of()),
        Err(e) => e.to_string(),
    };
    Err(AppError::new("alarm-rule-failed", fault).message)
}

/// Label of the best detection or class.
fn best_label(output: &AppOutput) -> Option<&str> {
    output.detections.first().map(|d| d.label.as_str()).or_else(|| output.classes.first().map(|c| c.label.as_str()))
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

/// With what is known of the names that rules of moving pictures see.
fn compile(Source { id, cel, .. }: &Source<'_>, forms: Option<&BTreeMap<String, Form>>) -> Result<Program> {
    let invalid = |message: String| AppError::new("alarm-rule-invalid", format!("rule `{id}`: {message}"));
    let complex = |message: &str| AppError::new("alarm-rule-too-complex", format!("rule `{id}`: {message}"));
    if cel.len() > MAX_SOURCE {
        return Err(complex("longer than 2,000 bytes"));
    }
    let program = Program::compile(cel).map_err(|e| invalid(e.to_string()))?;
    let mut names = vec!["detections", "classes", "values", "texts", "params"];
    if forms.is_some() {
        names.extend(["zones", "lines", "procedures", "now"]);
    }
    let list = names.join(", ");
    let mut walk = Walk { names, unknown: None };
    walk.bounded(program.expression(), 0, false).map_err(complex)?;
    if let Some(name) = walk.unknown {
        return Err(invalid(format!("unknown name `{name}`; rules see {list}")));
    }
    if let Some(fault) = forms.and_then(|forms| names::fault(program.expression(), forms)) {
        return Err(invalid(fault));
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

fn float(value: f32) -> Value {
    Value::Float(f64::from(value))
}

fn results(output: &AppOutput, known: &Known, moment: &Moment) -> [(&'static str, Value); 4] {
    let detections: Vec<Value> = output.detections.iter().take(MAX_ITEMS).map(|d| thing(d, known, moment).into()).collect();
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

fn thing(d: &Detection, known: &Known, moment: &Moment) -> Shown {
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
    if known.video {
        map.extend(moment.of(d));
    }
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
