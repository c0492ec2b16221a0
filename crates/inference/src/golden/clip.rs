//! What happened in a clip, and what was counted, beside what is expected.

use app_package::{manifest::Tolerance, span::Span};

use super::Compared;
use crate::{
    output::{AppOutput, Event},
    truth,
};

/// Events are the same by what they are; when they begin and end may differ by the tolerance. Numbers of tracks are not compared, counts are
/// equal.
pub(super) fn compare(seen: &mut Compared, expected: &AppOutput, result: &AppOutput, tolerance: &Tolerance) {
    let most = tolerance.time.map_or(truth::TOLERANCE, Span::get).as_secs_f64() + 1e-6;
    let mut free: Vec<&Event> = result.events.iter().collect();
    for event in &expected.events {
        let own = free.iter().enumerate().filter(|(_, found)| is_same(event, found) && (found.begin - event.begin).abs() <= most);
        // One that ends as expected, too, goes first.
        let apart = |found: &Event| {
            let ends = if ends_alike(event, found, most) { 0.0 } else { most };
            (found.begin - event.begin).abs() + ends
        };
        let nearest = own.min_by(|a, b| apart(a.1).total_cmp(&apart(b.1))).map(|(at, _)| at);
        let Some(found) = nearest.map(|at| free.remove(at)) else {
            seen.mismatch(|| format!("no {} at {} s", described(event), event.begin));
            continue;
        };
        if !ends_alike(event, found, most) {
            let end = |event: &Event| event.end.map_or("goes on".to_owned(), |end| format!("ends at {end} s"));
            seen.mismatch(|| format!("{} at {} s {}, expected: {}", described(found), found.begin, end(found), end(event)));
        }
    }
    for found in free {
        seen.mismatch(|| format!("{} at {} s is not expected", described(found), found.begin));
    }
    if expected.counts != result.counts {
        let told = |output: &AppOutput| serde_json::to_string(&output.counts).unwrap_or_default();
        seen.mismatch(|| format!("counts are {}, expected {}", told(result), told(expected)));
    }
}

/// Whether two events are of the same thing, whenever they were.
fn is_same(a: &Event, b: &Event) -> bool {
    let what = |event: &Event| {
        let Event { rule, zone, line, procedure, label, direction, state, missing, .. } = event.clone();
        (rule, zone, line, procedure, label, direction, state, missing)
    };
    what(a) == what(b)
}

fn ends_alike(a: &Event, b: &Event, most: f64) -> bool {
    match (a.end, b.end) {
        (Some(a), Some(b)) => (a - b).abs() <= most,
        (None, None) => true,
        _ => false,
    }
}

/// An event in words, without its times.
fn described(event: &Event) -> String {
    let named = [("rule", &event.rule), ("zone", &event.zone), ("line", &event.line), ("procedure", &event.procedure)];
    let parts = named.into_iter().filter_map(|(kind, id)| Some(format!("{kind} `{}`", id.as_ref()?)));
    let mut words = parts.collect::<Vec<_>>().join(", ");
    if let Some(direction) = event.direction {
        words.push_str(if direction == crate::output::Direction::In { " (in)" } else { " (out)" });
    }
    if let Some(state) = event.state {
        words.extend([" (", state.as_str(), ")"]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(events: &str, counts: &str) -> AppOutput {
        serde_json::from_str(&format!("{{\"events\": [{events}], \"counts\": {counts}}}")).unwrap()
    }

    const STAY: &str = r#"{"zone": "danger", "begin": 2.0, "end": 6.0, "track": 1, "label": "person"}"#;
    const ALARM: &str = r#"{"rule": "inside", "zone": "danger", "begin": 4.0}"#;
    const GATE: &str = r#"{"line": "gate", "begin": 3.0, "end": 3.0, "track": 2, "direction": "in"}"#;

    #[test]
    fn events_are_compared_by_what_and_when() {
        let counts = r#"{"lines": {"gate": {"in": 1}}, "tracks": {"person": 2}}"#;
        let expected = output(&format!("{STAY}, {GATE}, {ALARM}"), counts);
        let fault = |events: &str, counts: &str| {
            super::super::compare(&expected, &output(events, counts), &Tolerance::default()).fault.map(|e| e.message).unwrap_or_default()
        };
        let all = |stay: &str, gate: &str, alarm: &str| fault(&format!("{alarm}, {stay}, {gate}"), counts);
        assert_eq!(all(STAY, GATE, ALARM), "");
        // Another number of the track, and a second.
        assert_eq!(all(&STAY.replace("2.0", "2.9").replace("\"track\": 1", "\"track\": 7"), GATE, &ALARM.replace("4.0", "3.0")), "");
        for (found, wanted) in [
            (all(&STAY.replace("2.0", "3.2"), GATE, ALARM), "no zone `danger` at 2 s"),
            (all(&STAY.replace("6.0", "7.2"), GATE, ALARM), "zone `danger` at 2 s ends at 7.2 s, expected: ends at 6 s"),
            (all(&STAY.replace(", \"end\": 6.0", ""), GATE, ALARM), "zone `danger` at 2 s goes on, expected: ends at 6 s"),
            (all(STAY, &GATE.replace("\"in\"", "\"out\""), ALARM), "no line `gate` (in) at 3 s"),
            (all(STAY, GATE, &ALARM.replace("inside", "other")), "no rule `inside`, zone `danger` at 4 s"),
            (fault(&format!("{STAY}, {GATE}"), counts), "no rule `inside`, zone `danger` at 4 s"),
            (
                fault(&format!("{STAY}, {GATE}, {ALARM}, {}", GATE.replace("3.0", "9.5")), counts),
                "line `gate` (in) at 9.5 s is not expected",
            ),
            (
                fault(&format!("{STAY}, {GATE}, {ALARM}"), r#"{"lines": {"gate": {"in": 2}}}"#),
                r#"counts are {"lines":{"gate":{"in":2,"out":0}}}, expected {"lines":{"gate":{"in":1,"out":0}},"tracks":{"person":2}}"#,
            ),
        ] {
            assert_eq!(found, wanted);
        }
    }
}
