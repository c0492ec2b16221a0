//! What really happened in a clip, held against what an app says happened.
//!
//! An event is found by one of the same kind and name (and label, direction, state and zone where the truth tells them) that begins at most the
//! tolerance before it, and before it is over or at most the tolerance after it has begun. One finds one at most, and as many are found as can be:
//! the maximum matching, so that no order matters. Source: `sed_eval` (Mesaros, Heittola, Virtanen, *Metrics for Polyphonic Sound Event Detection*,
//! Applied Sciences 6(6):162, 2016, section 3.3.2), `EventBasedMetrics` with `event_matching_type='optimal'`, `evaluate_offset=False` and
//! `t_collar` as the tolerance; of events that are not longer than the tolerance the figures are the same.
//!
//! Longer ones may also be found late, for alarms have a `for`. That they overlap in time is not enough (as in TRECVID `ActEV`): an alarm that never
//! ends would find everything. When they end is not compared, for alarms have a `hold`.

use std::collections::BTreeSet;
use std::time::Duration;

use app_package::pipeline::{EventKind, TruthEvent};

use crate::{assign::assign, output::Event};

/// Tolerance of times where nothing says another.
pub const TOLERANCE: Duration = Duration::from_secs(1);
/// What times may be off by rounding, in seconds.
const ROUNDING: f64 = 1e-6;

/// What an event of a result is about.
pub fn what(event: &Event) -> Option<(EventKind, &str)> {
    EventKind::of([event.rule.as_deref(), event.zone.as_deref(), event.line.as_deref(), event.procedure.as_deref()])
}

/// How many of the events that there were are found.
pub fn found(truth: &[TruthEvent], told: &[Event], tolerance: Duration) -> usize {
    let finds = |row: usize, column: usize| {
        let pair = truth.get(row).zip(told.get(column));
        if pair.is_some_and(|(truth, told)| is_found_by(truth, told, tolerance.as_secs_f64() + ROUNDING)) { 1.0 } else { 0.0 }
    };
    assign(truth.len(), told.len(), &finds).into_iter().flatten().count()
}

/// Whether what happened was found, and of its kinds nothing else; of no event at all whether nothing was.
pub fn agrees(truth: &[TruthEvent], told: &[Event], tolerance: Duration) -> bool {
    let kinds: BTreeSet<EventKind> = truth.iter().filter_map(|event| event.what().map(|(kind, _)| kind)).collect();
    let judged = |event: &&Event| kinds.is_empty() || what(event).is_some_and(|(kind, _)| kinds.contains(&kind));
    let told: Vec<Event> = told.iter().filter(judged).cloned().collect();
    told.len() == truth.len() && found(truth, &told, tolerance) == truth.len()
}

/// The first event that is not within a clip of this length.
pub fn beyond(truth: &[TruthEvent], length: Duration) -> Option<&TruthEvent> {
    let most = length.as_secs_f64() + ROUNDING;
    truth.iter().find(|event| event.begin > most || event.end.is_some_and(|end| end > most))
}

fn is_found_by(truth: &TruthEvent, told: &Event, tolerance: f64) -> bool {
    fn same<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
        wanted.is_none() || wanted == found
    }
    // A crossing has no length, and what does not end goes on at the clip's end.
    let end = truth.end.unwrap_or(if truth.line.is_some() { truth.begin } else { f64::INFINITY });
    truth.what() == what(told)
        && same(truth.zone.as_ref(), told.zone.as_ref())
        && same(truth.label.as_ref(), told.label.as_ref())
        && same(truth.direction.as_ref(), told.direction.as_ref())
        && same(truth.state.as_ref(), told.state.as_ref())
        && told.begin >= truth.begin - tolerance
        && told.begin <= end.max(truth.begin + tolerance)
}

#[cfg(test)]
mod tests;
