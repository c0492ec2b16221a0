//! Names in a rule of moving pictures that cannot exist: zones, lines, procedures and keys that are not there, and words that nothing ever is, such
//! as `d.crossed.gate == 'inward'` or the label of no model.
//!
//! A rule is not run for this, for a part that is not reached says nothing: its tree is walked with what is known of the form of each part. The
//! form is that of a sample that a rule sees, so what rules see is told in one place. Where the form is not known nothing is refused.

use std::collections::{BTreeMap, BTreeSet};

use app_package::manifest::{AppManifest, ParameterKind};
use app_package::pipeline::ProcedureState;
use cel::{
    IdedExpr, Value,
    common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
    objects::Key,
};

/// What is known of the form of a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Form {
    /// Nothing.
    #[default]
    Any,
    /// It has these keys, and no others.
    Map(BTreeMap<String, Form>),
    List(Box<Form>),
    /// It is one of these words.
    Word(BTreeSet<String>),
}

/// The words that an app's results are made of.
pub(super) struct Words {
    labels: BTreeSet<String>,
    models: BTreeSet<String>,
    /// By procedure.
    steps: BTreeMap<String, BTreeSet<String>>,
    /// By parameter.
    choices: BTreeMap<String, BTreeSet<String>>,
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

impl Words {
    pub(super) fn of(manifest: &AppManifest) -> Self {
        let steps = manifest.procedures.iter();
        let own = manifest.wasm_steps().map(|step| step.name.as_str());
        let choices = manifest.parameters.iter().filter(|parameter| parameter.kind == ParameterKind::Choice);
        Self {
            labels: manifest.labels().map(|label| label.id.clone()).collect(),
            models: words(manifest.model_steps().iter().map(|step| step.name.as_str()).chain(own).chain([""])),
            steps: steps.map(|procedure| (procedure.id.clone(), procedure.steps.iter().map(|step| step.id.clone()).collect())).collect(),
            choices: choices.map(|parameter| (parameter.name.clone(), parameter.choices.iter().cloned().collect())).collect(),
        }
    }

    /// The form of a value that stands under these keys, the last one its own.
    pub(super) fn form(&self, value: &Value, path: &[&str]) -> Form {
        let text = |key: &Key| if let Key::String(key) = key { Some(key.to_string()) } else { None };
        match value {
            Value::Map(map) => {
                let inner = |key: String, value: &Value| {
                    let form = self.form(value, &[path, &[key.as_str()]].concat());
                    (key, form)
                };
                let entries = map.map.iter().map(|(key, value)| Some(inner(text(key)?, value)));
                entries.collect::<Option<_>>().map_or(Form::Any, Form::Map)
            }
            Value::List(list) => {
                let known = self.word(path).map(Form::Word);
                Form::List(Box::new(known.or_else(|| list.first().map(|first| self.form(first, path))).unwrap_or_default()))
            }
            Value::String(_) => self.word(path).map_or(Form::Any, Form::Word),
            _ => Form::Any,
        }
    }

    /// The words that can stand there.
    fn word(&self, path: &[&str]) -> Option<BTreeSet<String>> {
        let step = |procedure: &str| self.steps.get(procedure).cloned().unwrap_or_default();
        match path {
            ["procedures", _, "state"] => Some(words(ProcedureState::ALL.map(ProcedureState::as_str))),
            ["procedures", id, "missing"] => Some(step(id)),
            ["procedures", id, "step"] => Some(step(id).into_iter().chain([String::new()]).collect()),
            ["params", name] => self.choices.get(*name).cloned(),
            ["detections", "crossed", _] => Some(words(["in", "out", ""])),
            ["detections" | "classes", "label"] | ["detections", "classes", "label"] => Some(self.labels.clone()),
            ["detections" | "classes", "model"] | ["detections", "classes", "model"] => Some(self.models.clone()),
            _ => None,
        }
    }
}

/// The first name that cannot exist, in words; none where there is none.
pub(super) fn fault(rule: &IdedExpr, known: &BTreeMap<String, Form>) -> Option<String> {
    let mut walk = Walk { known: known.clone(), fault: None };
    walk.form(rule);
    walk.fault
}

/// A walk over a rule's tree, whose depth the parser has limited.
struct Walk {
    /// Forms of the names known here.
    known: BTreeMap<String, Form>,
    fault: Option<String>,
}

impl Walk {
    fn refuse(&mut self, fault: impl FnOnce() -> String) -> Form {
        if self.fault.is_none() {
            self.fault = Some(fault());
        }
        Form::Any
    }

    fn form(&mut self, node: &IdedExpr) -> Form {
        match &node.expr {
            Expr::Ident(name) => self.known.get(name).cloned().unwrap_or_default(),
            Expr::Select(select) => {
                let form = self.form(&select.operand);
                // `has(…)` asks whether it is there.
                if select.test { Form::Any } else { self.at(form, &select.field) }
            }
            Expr::Call(call) => {
                if let Some(target) = &call.target {
                    self.form(target);
                }
                let forms = call.args.iter().map(|arg| self.form(arg)).collect();
                self.call(&call.func_name, &call.args, forms)
            }
            Expr::Comprehension(each) => self.each(each),
            Expr::List(list) => {
                let forms: Vec<Form> = list.elements.iter().map(|element| self.form(element)).collect();
                Form::List(Box::new(forms.into_iter().next().unwrap_or_default()))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.form(&entry.key);
                        self.form(&entry.value);
                    }
                }
                Form::Any
            }
            Expr::Struct(_) | Expr::Unspecified | Expr::Literal(_) => Form::Any,
        }
    }

    /// What stands under a key.
    fn at(&mut self, form: Form, key: &str) -> Form {
        match form {
            Form::Map(mut entries) => entries.remove(key).unwrap_or_else(|| {
                let there: Vec<String> = entries.into_keys().collect();
                self.refuse(|| format!("there is no `{key}`; there is: {}", there.join(", ")))
            }),
            _ => Form::Any,
        }
    }

    fn call(&mut self, name: &str, nodes: &[IdedExpr], forms: Vec<Form>) -> Form {
        let mut forms = forms.into_iter();
        let [first, second, third] = std::array::from_fn(|_| forms.next().unwrap_or_default());
        match (name, nodes) {
            (operators::INDEX, [_, key]) => match (first, text(key)) {
                (Form::List(element), _) => *element,
                (form, Some(key)) => self.at(form, key),
                _ => Form::Any,
            },
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                self.is_one_of(&first, right);
                self.is_one_of(&second, left);
                Form::Any
            }
            (operators::IN, [one, all]) => {
                if let Form::List(element) = &second {
                    self.is_one_of(element, one);
                }
                if let Expr::List(list) = &all.expr {
                    list.elements.iter().for_each(|word| self.is_one_of(&first, word));
                }
                Form::Any
            }
            (operators::CONDITIONAL, _) if matches!(&second, Form::List(element) if **element != Form::Any) => second,
            (operators::CONDITIONAL, _) => third,
            // Accumulators begin as an empty list.
            (operators::ADD, _) => match (first, second) {
                (Form::List(element), other) if *element == Form::Any => other,
                (list @ Form::List(_), _) => list,
                _ => Form::Any,
            },
            _ => Form::Any,
        }
    }

    /// A word that is written out beside what it is compared with.
    fn is_one_of(&mut self, form: &Form, node: &IdedExpr) {
        if let (Form::Word(words), Some(word)) = (form, text(node))
            && !words.contains(word)
        {
            let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            self.refuse(|| format!("`{word}` is never there; there is: {list}"));
        }
    }

    /// A loop: what runs has the form of what it runs over, and what is gathered that of what a turn adds.
    fn each(&mut self, each: &ComprehensionExpr) -> Form {
        let element = match self.form(&each.iter_range) {
            Form::List(element) => *element,
            Form::Map(entries) => Form::Word(entries.into_keys().collect()),
            _ => Form::Any,
        };
        let before = self.known.clone();
        let first = self.form(&each.accu_init);
        // Of two variables the first one is a place.
        let element = if each.iter_var2.is_some() { Form::Any } else { element };
        self.known.insert(each.iter_var.clone(), element);
        self.known.extend(each.iter_var2.iter().map(|second| (second.clone(), Form::Any)));
        self.known.insert(each.accu_var.clone(), first);
        self.form(&each.loop_cond);
        let gathered = self.form(&each.loop_step);
        self.known.insert(each.accu_var.clone(), gathered);
        let result = self.form(&each.result);
        self.known = before;
        result
    }
}

/// A text that is written out.
fn text(node: &IdedExpr) -> Option<&str> {
    if let Expr::Literal(LiteralValue::String(text)) = &node.expr { Some(text.inner()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::faults;

    /// What is wrong with a rule of the example app.
    fn told(when: &str) -> String {
        let text = include_str!("../../../app-package/fixtures/app-2-video.yaml");
        let mut manifest = app_package::validate::parse(text).unwrap();
        manifest.alarms[0].when = when.to_owned();
        let found = faults(&manifest);
        assert!(found.iter().all(|(key, e)| key == "alarms[0].when" && e.code == "alarm-rule-invalid"), "{found:?}");
        found.first().map(|(_, e)| e.message.clone()).unwrap_or_default()
    }

    #[test]
    fn what_can_be_is_taken() {
        for when in [
            "detections.exists(d, d.crossed.gate == 'in' || d.crossed['gate'] != '')",
            "detections.filter(d, d.label == 'bar').size() > 1 && zones.danger.count > 0",
            "detections.exists(d, d.label in ['person', 'bar'] && d.model == 'people')",
            "lines.gate['in'] - lines.gate.out > 1 && detections[0].zones.danger > params.linger",
            "procedures.round.state == 'out-of-order' && 'look' in procedures.round.missing && procedures.round.step in ['', 'look']",
            "procedures.round.missing.exists(s, s == 'bar') && has(detections[0].zones.danger)",
            "zones.exists(z, z == 'danger' && zones[z].count > 0)",
            "detections.map(d, d.label).exists(l, l == 'person') && values.size() == 0",
            "detections.exists(d, d.text == 'anything') && classes.all(c, c.label != 'person')",
            "{'a': 1}.size() == 1 && [1, 2].exists(n, n > 1) && detections.exists_one(d, d.track.id == 3)",
        ] {
            assert_eq!(told(when), "", "{when}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (when, name) in [
            ("detections.exists(d, d.crossed.gate == 'inward')", "`inward` is never there; there is: ``, `in`, `out`"),
            ("detections.exists(d, 'inward' != d.crossed.gate)", "`inward`"),
            ("detections.exists(d, d.crossed.door == 'in')", "there is no `door`; there is: gate"),
            ("detections.exists(d, d.crossed['door'] == 'in')", "`door`"),
            ("detections.exists(d, d.label == 'persn')", "`persn` is never there; there is: "),
            ("detections.exists(d, d.label in ['person', 'persn'])", "`persn`"),
            // Nothing runs these parts.
            ("detections.size() > 200 && zones.fense.count > 0", "`fense`"),
            ("detections.exists(d, d.label == 'bar' && d.score > 2.0 && d.zones.fense > 0.0)", "`fense`"),
            ("detections.filter(d, d.score > 2.0).exists(d, d.zones.fense > 0.0)", "`fense`"),
            ("detections.filter(d, d.score > 2.0)[0].labl == 'bar'", "`labl`"),
            ("detections.map(d, d.label).exists(l, l == 'persn')", "`persn`"),
            ("detections.size() > 0 ? true : lines.gate.inward > 0", "`inward`"),
            ("size(detections.filter(d, d.zone.danger > 0.0)) > 0", "`zone`"),
            ("detections.exists(d, d.label.startsWith(d.crossed.door))", "`door`"),
            ("zones.exists(z, z == 'fense')", "`fense`"),
            ("procedures.round.state == 'finished'", "`finished`"),
            ("procedures.walk.state == 'done'", "`walk`"),
            ("'wash' in procedures.round.missing", "`wash`"),
            ("procedures.round.missing.exists(s, s == 'wash')", "`wash`"),
            ("procedures.round.step == 'wash'", "`wash`"),
            ("params.lingers > 1.0", "`lingers`"),
            ("[zones.fense.count].size() > 0 || {'a': zones.fense.count}.size() > 0", "`fense`"),
        ] {
            assert!(told(when).contains(name), "{when}: {}", told(when));
        }
    }
}
