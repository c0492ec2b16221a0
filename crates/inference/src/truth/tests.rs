use app_package::pipeline::{Direction, ProcedureState};

use super::*;
use crate::evaluate::metrics::{f1, precision, recall};

fn truth(events: &str) -> Vec<TruthEvent> {
    serde_json::from_str(&format!("[{events}]")).unwrap()
}

fn told(events: &str) -> Vec<Event> {
    serde_json::from_str(&format!("[{events}]")).unwrap()
}

/// As `tests/make_events.py` writes them: name, begin, end.
#[derive(serde::Deserialize)]
struct Case {
    clips: Vec<[Vec<(String, f64, f64)>; 2]>,
    counts: [u32; 3],
    figures: [f64; 3],
}

#[test]
fn counts_and_figures_are_those_of_sed_eval() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/events.json")).unwrap();
    for (at, Case { clips, counts, figures }) in cases.iter().enumerate() {
        let mut own = [0u32; 3];
        for [there, told] in clips {
            let there: Vec<TruthEvent> = there
                .iter()
                .map(|(zone, begin, end)| TruthEvent { zone: Some(zone.clone()), begin: *begin, end: Some(*end), ..TruthEvent::default() })
                .collect();
            let told: Vec<Event> = told
                .iter()
                .map(|(zone, begin, end)| Event { zone: Some(zone.clone()), begin: *begin, end: Some(*end), ..Event::default() })
                .collect();
            for (sum, n) in own.iter_mut().zip([found(&there, &told, TOLERANCE), there.len(), told.len()]) {
                *sum += u32::try_from(n).unwrap();
            }
        }
        assert_eq!(own, *counts, "case {at}");
        let [right, there, told] = own;
        for (own, wanted) in [precision(right, told), recall(right, there), f1(right, there, told)].into_iter().zip(figures) {
            assert!((own.unwrap() - wanted).abs() < 1e-9, "case {at}: {own:?}, expected {wanted}");
        }
    }
}

#[test]
fn an_event_is_found_where_it_begins_or_while_it_goes_on() {
    let stay = truth(r#"{"zone": "danger", "label": "person", "begin": 5, "end": 9}"#);
    let finds = |truth: &[TruthEvent], event: &str| found(truth, &told(event), TOLERANCE) == 1;
    let at = |begin: f64| format!(r#"{{"zone": "danger", "label": "person", "begin": {begin}, "end": 30}}"#);
    for (begin, wanted) in [(3.9, false), (4.0, true), (5.0, true), (9.0, true), (9.1, false)] {
        assert_eq!(finds(&stay, &at(begin)), wanted, "{begin}");
    }
    // What the truth tells must be so; what it does not tell may be any way.
    assert!(!finds(&stay, r#"{"zone": "danger", "label": "truck", "begin": 5}"#));
    assert!(!finds(&stay, r#"{"zone": "danger", "begin": 5}"#), "nobody knows who");
    assert!(!finds(&stay, r#"{"zone": "yard", "label": "person", "begin": 5}"#));
    assert!(!finds(&stay, r#"{"rule": "inside", "zone": "danger", "label": "person", "begin": 5}"#), "an alarm is no stay");
    let gate = truth(r#"{"line": "gate", "begin": 5}"#);
    assert!(finds(&gate, r#"{"line": "gate", "direction": "out", "label": "person", "begin": 5.9}"#));
    assert!(!finds(&gate, r#"{"line": "gate", "begin": 6.1}"#), "a crossing has no length");
    let way = vec![TruthEvent { direction: Some(Direction::In), ..gate[0].clone() }];
    assert!(!finds(&way, r#"{"line": "gate", "direction": "out", "begin": 5}"#) && !finds(&way, r#"{"line": "gate", "begin": 5}"#));
    // One that goes on at the clip's end is found at any time after it has begun.
    let late = vec![TruthEvent { procedure: Some("round".into()), state: Some(ProcedureState::Late), begin: 5.0, ..TruthEvent::default() }];
    assert!(finds(&late, r#"{"procedure": "round", "state": "late", "begin": 300}"#));
    assert!(!finds(&late, r#"{"procedure": "round", "state": "done", "begin": 5}"#));
    let alarm = truth(r#"{"rule": "inside", "zone": "danger", "begin": 5, "end": 6}"#);
    assert!(finds(&alarm, r#"{"rule": "inside", "zone": "danger", "begin": 5}"#));
    assert!(!finds(&alarm, r#"{"rule": "inside", "zone": "yard", "begin": 5}"#));
}

#[test]
fn one_finds_one_and_as_many_as_can_be() {
    let there = truth(r#"{"line": "gate", "begin": 1}, {"line": "gate", "begin": 2.5}"#);
    // The first of these finds either; who takes the nearest first finds one alone.
    assert_eq!(found(&there, &told(r#"{"line": "gate", "begin": 1.8}, {"line": "gate", "begin": 3.4}"#), TOLERANCE), 2);
    assert_eq!(found(&there, &told(r#"{"line": "gate", "begin": 1.8}"#), TOLERANCE), 1);
    assert_eq!(found(&there[..1], &told(r#"{"line": "gate", "begin": 1}, {"line": "gate", "begin": 1}"#), TOLERANCE), 1);
    assert_eq!((found(&[], &told(r#"{"line": "gate", "begin": 1}"#), TOLERANCE), found(&there, &[], TOLERANCE)), (0, 0));
    // An event without a name, or with times that are none, finds nothing.
    assert_eq!(found(&there, &[Event::default(), Event { line: Some("gate".into()), begin: f64::NAN, ..Event::default() }], TOLERANCE), 0);
}

#[test]
fn a_sample_is_right_when_of_its_kinds_nothing_else_is_told() {
    let stay = r#"{"zone": "danger", "label": "person", "begin": 5, "end": 9}"#;
    let alarm = r#"{"rule": "inside", "begin": 6}"#;
    let right = |there: &str, events: &str| agrees(&truth(there), &told(events), TOLERANCE);
    assert!(right(stay, stay) && right("", "") && right(alarm, alarm));
    assert!(right(stay, &format!("{stay}, {alarm}")), "of alarms nothing was noted");
    assert!(!right(stay, &format!("{stay}, {stay}")) && !right(stay, "") && !right(&format!("{stay}, {alarm}"), stay));
    assert!(!right("", alarm), "nothing happened");
}

#[test]
fn events_lie_within_the_clip() {
    let at = |begin: f64, end: Option<f64>| vec![TruthEvent { zone: Some("a".into()), begin, end, ..TruthEvent::default() }];
    let is_beyond = |events: &[TruthEvent]| beyond(events, Duration::from_secs(10)).is_some();
    assert!(!is_beyond(&at(10.0, None)) && !is_beyond(&at(0.0, Some(10.0))) && !is_beyond(&[]));
    assert!(is_beyond(&at(10.1, None)) && is_beyond(&at(0.0, Some(10.1))));
}
