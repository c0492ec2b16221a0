//! The names of a set of clips and those of an app.
//!
//! What a zone, line, rule or procedure is called is each vendor's own word, so a set has names of its own: those of the zones and lines that it
//! draws, and those of the rules and procedures that its events name. An app's name is the set's where both are the same; where each has one of a
//! kind, they are the same thing, whatever it is called. What an app has beyond that counts nowhere, as labels that nobody expects count nowhere.

use std::collections::{BTreeMap, BTreeSet};

use app_package::{
    manifest::AppManifest,
    pipeline::{Drawn, EventKind, polygon_fault},
};

use crate::{
    output::{AppOutput, Event},
    truth,
};

/// Most zones and most lines of a clip, as many as an app may have.
const MAX_PLACES: usize = 16;
/// Most corners of a zone.
const MAX_CORNERS: usize = 32;
/// Least length of a line, in shares of the picture's sides.
const LEAST_LINE: f64 = 0.01;

/// Things of a set by their kinds and names.
pub(super) type Names = BTreeSet<(EventKind, String)>;

/// Which of an app's things are which of a set's.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pairs {
    /// The set's name by the app's.
    of_app: BTreeMap<(EventKind, String), String>,
    /// What events are judged of, by the set's names.
    judged: Names,
}

impl Pairs {
    /// Pairs an app's things with those that a set draws or names; what is `judged` is among these.
    pub(super) fn of(manifest: &AppManifest, all: &Names, judged: &Names) -> Self {
        let own = [
            (EventKind::Rule, manifest.alarms().iter().map(|rule| &rule.id).collect::<Vec<_>>()),
            (EventKind::Zone, manifest.scene.zones.iter().map(|zone| &zone.id).collect()),
            (EventKind::Line, manifest.scene.lines.iter().map(|line| &line.id).collect()),
            (EventKind::Procedure, manifest.procedures.iter().map(|procedure| &procedure.id).collect()),
        ];
        let mut of_app = BTreeMap::new();
        for (kind, own) in own {
            let theirs: Vec<&String> = all.iter().filter(|(other, _)| *other == kind).map(|(_, name)| name).collect();
            if let ([own], [theirs]) = (own.as_slice(), theirs.as_slice()) {
                of_app.insert((kind, (*own).clone()), (*theirs).clone());
                continue;
            }
            for name in own.into_iter().filter(|name| theirs.contains(name)) {
                of_app.insert((kind, name.clone()), name.clone());
            }
        }
        Self { of_app, judged: judged.clone() }
    }

    /// Whether the app has one of the things that are judged.
    pub(super) fn is_any_judged(&self) -> bool {
        self.of_app.iter().any(|((kind, _), theirs)| self.judged.contains(&(*kind, theirs.clone())))
    }

    /// What a set draws, in the app's names.
    pub(super) fn drawn(&self, drawn: &Drawn) -> Drawn {
        let mut own = Drawn::default();
        for ((kind, name), theirs) in &self.of_app {
            match kind {
                EventKind::Zone => own.zones.extend(drawn.zones.get(theirs).map(|corners| (name.clone(), corners.clone()))),
                EventKind::Line => own.lines.extend(drawn.lines.get(theirs).map(|ends| (name.clone(), *ends))),
                EventKind::Rule | EventKind::Procedure => {}
            }
        }
        own
    }

    /// What an app says of a clip, in the set's names; what the set does not know is left out.
    pub(super) fn told(&self, mut answer: AppOutput) -> AppOutput {
        answer.events = answer.events.into_iter().filter_map(|event| self.event(event)).collect();
        let lines = std::mem::take(&mut answer.counts.lines).into_iter();
        answer.counts.lines = lines.filter_map(|(line, n)| Some((self.theirs(EventKind::Line, &line)?.clone(), n))).collect();
        answer
    }

    fn theirs(&self, kind: EventKind, own: &str) -> Option<&String> {
        self.of_app.get(&(kind, own.to_owned()))
    }

    fn event(&self, event: Event) -> Option<Event> {
        let (kind, own) = truth::what(&event)?;
        let theirs = self.theirs(kind, own)?.clone();
        if !self.judged.contains(&(kind, theirs.clone())) {
            return None;
        }
        let mut named = Event { zone: event.zone.as_ref().and_then(|zone| self.theirs(EventKind::Zone, zone)).cloned(), ..event };
        let place = match kind {
            EventKind::Rule => &mut named.rule,
            EventKind::Zone => &mut named.zone,
            EventKind::Line => &mut named.line,
            EventKind::Procedure => &mut named.procedure,
        };
        *place = Some(theirs);
        Some(named)
    }
}

/// The name of what cannot be drawn so: too many places or corners, outside of the picture, sides that cross, too small.
pub(super) fn shape_fault(drawn: &Drawn) -> Option<String> {
    let outside = |points: &[[f64; 2]]| !points.iter().flatten().all(|n| (0.0..=1.0).contains(n));
    let zone = drawn.zones.iter().find(|(_, corners)| {
        !(3..=MAX_CORNERS).contains(&corners.len()) || outside(corners.as_slice()) || polygon_fault(corners).is_some()
    });
    let short = |[[ax, ay], [bx, by]]: &[[f64; 2]; 2]| (ax - bx).hypot(ay - by) < LEAST_LINE;
    let line = drawn.lines.iter().find(|(_, ends)| outside(ends.as_slice()) || short(ends));
    let many = [drawn.zones.len(), drawn.lines.len()].into_iter().find(|n| *n > MAX_PLACES).map(|n| n.to_string());
    zone.map(|(name, _)| name).or(line.map(|(name, _)| name)).cloned().or(many)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(all: &[(EventKind, &str)]) -> Names {
        all.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect()
    }

    fn manifest(zones: &[&str], rules: &[&str]) -> AppManifest {
        let text = include_str!("../../../app-package/fixtures/app-2-video.yaml");
        let mut manifest = app_package::validate::parse(text).unwrap();
        let (zone, rule) = (manifest.scene.zones[0].clone(), manifest.alarms[0].clone());
        manifest.scene.zones = zones.iter().map(|id| app_package::pipeline::Zone { id: (*id).to_owned(), ..zone.clone() }).collect();
        manifest.alarms = rules.iter().map(|id| app_package::pipeline::AlarmRule { id: (*id).to_owned(), ..rule.clone() }).collect();
        manifest
    }

    const AREA: EventKind = EventKind::Zone;

    #[test]
    fn one_of_each_is_the_same_thing_and_of_several_the_name_decides() {
        let set = names(&[(AREA, "danger"), (EventKind::Rule, "intrusion")]);
        let told = |zones: &[&str], rules: &[&str]| {
            let pairs = Pairs::of(&manifest(zones, rules), &set, &set);
            let events = json!([
                {"rule": "inside", "zone": "fence", "begin": 1}, {"zone": "fence", "begin": 2}, {"zone": "danger", "begin": 3}, {"line": "gate", "begin": 4},
            ]);
            let answer: AppOutput = serde_json::from_value(json!({"events": events})).unwrap();
            let told = pairs.told(answer).events.into_iter().map(|event| (event.rule, event.zone, event.begin));
            (
                pairs.is_any_judged(),
                told.map(|(rule, zone, begin)| format!("{rule:?} {zone:?} {begin}").replace("Some", "")).collect::<Vec<_>>(),
            )
        };
        let both = ["(\"intrusion\") (\"danger\") 1".to_owned(), "None (\"danger\") 2".to_owned()];
        assert_eq!(told(&["fence"], &["inside"]), (true, both.to_vec()));
        // Of two zones the name decides; the alarm's own zone is none of the set's.
        assert_eq!(
            told(&["fence", "danger"], &["inside"]),
            (true, vec!["(\"intrusion\") None 1".to_owned(), "None (\"danger\") 3".to_owned()])
        );
        assert_eq!(told(&["fence", "yard"], &["inside", "other"]), (false, vec![]));
    }

    #[test]
    fn what_is_drawn_and_counted_is_named_anew() {
        let drawn: Drawn = serde_json::from_value(json!({
            "zones": {"danger": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]}, "lines": {"gate": [[0, 0], [1, 1]], "door": [[0, 1], [1, 1]]},
        }))
        .unwrap();
        let set = names(&[(AREA, "danger"), (EventKind::Line, "gate"), (EventKind::Line, "door")]);
        let pairs = Pairs::of(&manifest(&["fence"], &[]), &set, &names(&[(EventKind::Line, "gate")]));
        let own = pairs.drawn(&drawn);
        assert!(own.zones.keys().eq(["fence"]) && own.lines.keys().eq(["gate"]), "{own:?}");
        let counts =
            json!({"counts": {"lines": {"gate": {"in": 1, "out": 2}, "other": {"in": 9}}}, "events": [{"zone": "fence", "begin": 1}]});
        let told = pairs.told(serde_json::from_value(counts).unwrap());
        assert!(told.counts.lines.keys().eq(["gate"]), "{told:?}");
        assert!(told.events.is_empty(), "of zones nothing is judged");
    }

    #[test]
    fn what_cannot_be_drawn_is_named() {
        let fault = |drawn: serde_json::Value| shape_fault(&serde_json::from_value(drawn).unwrap());
        let square = json!([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]);
        assert_eq!(fault(json!({"zones": {"a": square}, "lines": {"b": [[0, 0], [1, 1]]}})), None);
        for wrong in [
            json!([[0.1, 0.1], [0.9, 0.9]]),
            json!([[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]),
            json!([[0.1, 0.1], [1.9, 0.1], [0.9, 0.9]]),
            json!(vec![[0.1, 0.1]; 33]),
        ] {
            assert_eq!(fault(json!({"zones": {"a": wrong}})).as_deref(), Some("a"), "{wrong}");
        }
        for wrong in [json!([[0, 0], [0.001, 0]]), json!([[0, 0], [0, -1]])] {
            assert_eq!(fault(json!({"lines": {"b": wrong}})).as_deref(), Some("b"), "{wrong}");
        }
        let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("z{n}"), square.clone())).collect();
        assert_eq!(fault(json!({"zones": many})).as_deref(), Some("17"));
    }
}
