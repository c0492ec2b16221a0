//! What was found in a file, in words of the app: titles and texts of app.yaml in the language of `--lang`.

use std::fmt::Write as _;

use app_package::manifest::AppManifest;
use app_package::text::Text;
use inference::output::{AppOutput, Detection, Direction, Event};

use crate::base::i18n::Lang;

/// Tells what an app finds.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    pub manifest: &'a AppManifest,
    /// `zh` or `en`.
    pub code: &'a str,
    pub lang: Lang,
}

impl Told<'_> {
    /// Findings: of clips what happened and was counted, then things, classes, values, texts.
    pub fn lines(&self, result: &AppOutput) -> Vec<String> {
        let things = result.detections.iter().map(|thing| {
            let [x, y, w, h] = thing.bbox;
            format!("{}  [{x:.0}, {y:.0}, {w:.0} × {h:.0}]", named(thing))
        });
        let classes = result.classes.iter().map(|class| format!("{}  {:.3}", class.label, class.score));
        let values = result.values.iter().map(|value| format!("{} = {:.4} {}", value.id, value.value, value.unit).trim_end().to_owned());
        let texts = result.texts.iter().map(|text| format!("“{}”  {:.3}", text.text, text.score));
        let lines = result.counts.lines.iter().map(|(id, n)| {
            let title = self.title(id, self.manifest.scene.lines.iter().map(|line| (&line.id, &line.title)));
            let (inward, outward) = (self.lang.t("cli-try-in"), self.lang.t("cli-try-out"));
            format!("{title}: {} {inward}, {} {outward}", n.inward, n.outward)
        });
        let tracks = result.counts.tracks.iter().map(|(label, n)| format!("{n} × {}", self.label(label)));
        let events = result.events.iter().map(|event| self.event(event, result));
        events.chain(lines).chain(tracks).chain(things).chain(classes).chain(values).chain(texts).collect()
    }

    /// An event with its seconds, and what it was.
    pub fn event(&self, event: &Event, result: &AppOutput) -> String {
        let time = match event.end {
            _ if event.line.is_some() => format!("{:.1} s", event.begin),
            Some(end) => format!("{:.1}–{end:.1} s", event.begin),
            None => self.lang.format("cli-try-open", &[("begin", &format!("{:.1}", event.begin))]),
        };
        let scene = &self.manifest.scene;
        let rule = event.rule.as_ref().map(|id| self.alarm(id, event.begin, result));
        let zone = event.zone.as_ref().map(|id| self.title(id, scene.zones.iter().map(|zone| (&zone.id, &zone.title))));
        let line = event.line.as_ref().map(|id| self.title(id, scene.lines.iter().map(|line| (&line.id, &line.title))));
        let way = event.direction.map(|way| self.lang.t(if way == Direction::In { "cli-try-in" } else { "cli-try-out" }));
        let procedures = &self.manifest.procedures;
        let procedure = event.procedure.as_ref().map(|id| self.title(id, procedures.iter().map(|one| (&one.id, &one.title))));
        let state = event.state.map(|state| self.lang.t(&format!("cli-try-state-{}", state.as_str())));
        let steps = || procedures.iter().filter(|one| event.procedure.as_ref() == Some(&one.id)).flat_map(|one| &one.steps);
        let missing: Vec<String> = event.missing.iter().map(|id| self.title(id, steps().map(|step| (&step.id, &step.title)))).collect();
        let missing = (!missing.is_empty()).then(|| format!("− {}", missing.join(", ")));
        let who = event.label.as_ref().map(|label| self.label(label));
        let who = match (who, event.track) {
            (Some(who), Some(track)) => Some(format!("{who} {track}")),
            (None, Some(track)) => Some(format!("#{track}")),
            (who, None) => who,
        };
        let parts = [Some(time), rule, zone, line, way, procedure, state, missing, who];
        parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
    }

    /// What the alarm says that began with an episode; of one whose alarm is not told its rule.
    fn alarm(&self, rule: &str, begin: f64, result: &AppOutput) -> String {
        let own = |at: Option<f64>| at.is_some_and(|at| (at - begin).abs() < 1e-6);
        let alarm = result.alarms.iter().find(|alarm| alarm.rule == rule && own(alarm.at));
        alarm.map_or_else(|| rule.to_owned(), |alarm| alarm.text.get(self.code).to_owned())
    }

    fn label(&self, id: &str) -> String {
        self.manifest.labels().find(|label| label.id == id).map_or_else(|| id.to_owned(), |label| label.text.get(self.code).to_owned())
    }

    fn title<'t>(&self, id: &str, mut all: impl Iterator<Item = (&'t String, &'t Text)>) -> String {
        all.find(|(known, _)| *known == id).map_or_else(|| id.to_owned(), |(_, title)| title.get(self.code).to_owned())
    }
}

/// A thing with what is said of it.
pub fn named(thing: &Detection) -> String {
    let mut all = format!("{}  {:.3}", thing.label, thing.score);
    if let Some(track) = thing.track {
        let _ = write!(all, "  #{track}");
    }
    if let Some(text) = &thing.said.text {
        let _ = write!(all, "  “{}”", text.text);
    }
    if let Some(class) = thing.said.classes.first() {
        let _ = write!(all, "  {} {:.2}", class.label, class.score);
    }
    for value in &thing.said.values {
        let _ = write!(all, "  {} {:.2} {}", value.id, value.value, value.unit);
    }
    all.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_in_the_titles_of_the_app() {
        let manifest = app_package::validate::parse(include_str!("../../../crates/app-package/fixtures/app-2-video.yaml")).unwrap();
        let result: AppOutput = serde_json::from_value(serde_json::json!({
            "events": [
                {"zone": "danger", "begin": 2.0, "end": 6.24, "track": 1, "label": "person"},
                {"rule": "inside", "zone": "danger", "begin": 4.0},
                {"line": "gate", "begin": 3.0, "end": 3.0, "track": 2, "label": "person", "direction": "out"},
                {"procedure": "round", "begin": 1.0, "end": 9.0, "state": "abandoned", "missing": ["look"]},
                {"rule": "gone", "begin": 5.0, "end": 6.0, "track": 3},
            ],
            "alarms": [{"rule": "inside", "level": "critical", "text": {"zh": "北门：有人进入围栏", "en": "North: a person is inside"}, "at": 4.0}],
            "counts": {"lines": {"gate": {"in": 0, "out": 1}}, "tracks": {"person": 2}},
        }))
        .unwrap();
        let zone = &manifest.scene.zones[0].title;
        let told = |lang, code| Told { manifest: &manifest, code, lang }.lines(&result);
        let person = |code: &str| manifest.labels().find(|label| label.id == "person").unwrap().text.get(code).to_owned();
        assert_eq!(
            told(Lang::En, "en"),
            [
                format!("2.0–6.2 s  {}  {} 1", zone.en, person("en")),
                format!("from 4.0 s on  North: a person is inside  {}", zone.en),
                format!("3.0 s  Gate  out  {} 2", person("en")),
                "1.0–9.0 s  Round  abandoned  − Look".to_owned(),
                // Nothing is known of it.
                "5.0–6.0 s  gone  #3".to_owned(),
                "Gate: 0 in, 1 out".to_owned(),
                format!("2 × {}", person("en")),
            ]
        );
        let zh = told(Lang::Zh, "zh");
        assert!(zh[1].contains("北门：有人进入围栏") && zh[2].contains("门  出") && zh[3].contains("中止"), "{zh:?}");
    }
}
