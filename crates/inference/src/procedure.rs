//! Steps that people must do, in order and in time: how far they are.
//!
//! A procedure begins where its `start` becomes true, and is over when all its steps are done that are not optional, or where its `end` is
//! true. A step is done when what is seen of it lasted for its time; one that is done before a step that has to be done first makes the
//! procedure `out-of-order`. After it is over its state stays until it begins again; one that is late and never ends gives way to the next.

use std::time::Duration;

use app_package::pipeline::Procedure;

use crate::{
    output::{Event, ProcedureState},
    scene::Happened,
};

/// What is seen of a procedure in a frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub start: bool,
    pub end: bool,
    /// What is seen of each step.
    pub steps: Vec<bool>,
}

/// A procedure at one camera, or in one clip.
#[derive(Debug, Clone)]
pub struct Course {
    procedure: Procedure,
    state: ProcedureState,
    /// When it began; none while it does not run.
    began: Option<Duration>,
    /// `start` was true in the frame before.
    started: bool,
    steps: Vec<Progress>,
    swapped: bool,
}

/// A step.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Since when it is seen.
    since: Option<Duration>,
    done: bool,
}

impl Course {
    pub fn new(procedure: Procedure) -> Self {
        let steps = vec![Progress::default(); procedure.steps.len()];
        Self { procedure, state: ProcedureState::Idle, began: None, started: false, steps, swapped: false }
    }

    pub fn id(&self) -> &str {
        &self.procedure.id
    }

    pub fn state(&self) -> ProcedureState {
        self.state
    }

    /// The step that is to be done next; empty where none is.
    pub fn step(&self) -> &str {
        let running = self.began.is_some();
        self.open().next().filter(|_| running).map_or("", |at| self.procedure.steps.get(at).map_or("", |step| step.id.as_str()))
    }

    /// Steps that have to be done and were not, of a procedure that has begun.
    pub fn missing(&self) -> Vec<&str> {
        let idle = self.state == ProcedureState::Idle;
        self.open().filter(|_| !idle).filter_map(|at| self.procedure.steps.get(at)).map(|step| step.id.as_str()).collect()
    }

    /// The title of a step.
    pub fn title(&self, step: &str, lang: &str) -> Option<&str> {
        self.procedure.steps.iter().find(|known| known.id == step).map(|step| step.title.get(lang))
    }

    /// Places of the steps that have to be done and were not.
    fn open(&self) -> impl Iterator<Item = usize> {
        let steps = self.procedure.steps.iter().zip(&self.steps).enumerate();
        steps.filter(|(_, (step, progress))| !step.optional && !progress.done).map(|(at, _)| at)
    }

    /// Goes on with what is seen in the next frame.
    pub fn update(&mut self, seen: &Seen, now: Duration, happened: &mut Happened) {
        let begins = seen.start && !self.started;
        self.started = seen.start;
        let over = self.began.is_none_or(|began| now.saturating_sub(began) > self.procedure.within.get());
        if begins && over {
            if let Some(began) = self.began {
                if self.state == ProcedureState::Running {
                    self.state = ProcedureState::Late;
                }
                happened.ended.push(self.event(began, Some(now)));
            }
            self.began = Some(now);
            self.state = ProcedureState::Running;
            (self.steps, self.swapped) = (vec![Progress::default(); self.procedure.steps.len()], false);
            happened.begun.push(self.event(now, None));
        }
        let Some(began) = self.began else { return };
        self.look(&seen.steps, now);
        let whole = self.open().next().is_none();
        let late = self.state == ProcedureState::Late || now.saturating_sub(began) > self.procedure.within.get();
        self.state = match (self.swapped, late) {
            (true, _) => ProcedureState::OutOfOrder,
            (_, true) => ProcedureState::Late,
            _ if whole => ProcedureState::Done,
            _ if seen.end => ProcedureState::Abandoned,
            _ => ProcedureState::Running,
        };
        if whole || seen.end {
            happened.ended.push(self.event(began, Some(now)));
            self.began = None;
        }
    }

    /// Looks what is done.
    fn look(&mut self, seen: &[bool], now: Duration) {
        let mut before = true;
        for ((step, progress), seen) in self.procedure.steps.iter().zip(&mut self.steps).zip(seen) {
            if !progress.done {
                let since = seen.then(|| progress.since.unwrap_or(now));
                progress.since = since;
                progress.done = since.is_some_and(|since| now.saturating_sub(since) >= step.lasting.get());
                self.swapped |= progress.done && !before;
            }
            before &= progress.done || step.optional;
        }
    }

    fn event(&self, began: Duration, end: Option<Duration>) -> Event {
        Event {
            procedure: Some(self.procedure.id.clone()),
            begin: began.as_secs_f64(),
            end: end.map(|end| end.as_secs_f64()),
            state: Some(self.state),
            missing: self.missing().into_iter().map(str::to_owned).collect(),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(end: bool) -> Course {
        let step = |id: &str, lasting: &str, optional: bool| serde_json::json!({"id": id, "title": {"en": id}, "when": "true", "for": lasting, "optional": optional});
        let mut procedure = serde_json::json!({"id": "p", "title": {"en": "P"}, "start": "true", "within": "10s",
            "steps": [step("a", "0s", false), step("b", "2s", false), step("c", "0s", true), step("d", "0s", false)]});
        if end {
            procedure["end"] = "true".into();
        }
        Course::new(serde_json::from_value(procedure).unwrap())
    }

    /// Frames of a second: `s` starts, `e` ends, letters are steps that are seen. The states and the events.
    fn run(course: &mut Course, frames: &str) -> (Vec<&'static str>, Happened) {
        let (mut states, mut happened) = (Vec::new(), Happened::default());
        for (at, frame) in frames.split(' ').enumerate() {
            let steps = ['a', 'b', 'c', 'd'].map(|step| frame.contains(step)).into();
            let seen = Seen { start: frame.contains('s'), end: frame.contains('e'), steps };
            course.update(&seen, Duration::from_secs(u64::try_from(at).unwrap()), &mut happened);
            states.push(course.state().as_str());
        }
        (states, happened)
    }

    #[test]
    fn steps_are_done_in_order() {
        let mut all = course(false);
        let (states, happened) = run(&mut all, "- s sa b b b d s");
        assert_eq!(states, ["idle", "running", "running", "running", "running", "running", "done", "running"]);
        let ended = &happened.ended[0];
        assert_eq!((ended.begin, ended.end, ended.state, ended.missing.len()), (1.0, Some(6.0), Some(ProcedureState::Done), 0));
        assert_eq!((all.step(), all.missing()), ("a", vec!["a", "b", "d"]));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |end: bool, frames: &str| {
            let mut course = course(end);
            let (states, happened) = run(&mut course, frames);
            let ended: Vec<_> = happened.ended.iter().map(|event| (event.begin, event.end.unwrap(), event.missing.clone())).collect();
            (states.last().copied().unwrap(), ended)
        };
        let missing = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>();
        // A step that lasts is begun anew where it is not seen.
        assert_eq!(told(false, "s a b b - b b"), ("running", vec![]));
        assert_eq!(told(false, "s a d"), ("out-of-order", vec![]));
        assert_eq!(told(false, "s a d b b b"), ("out-of-order", vec![(0.0, 5.0, vec![])]));
        assert_eq!(told(true, "s a - e"), ("abandoned", vec![(0.0, 3.0, missing(&["b", "d"]))]));
        assert_eq!(told(false, "sa s s s s s s s s s s s"), ("late", vec![]));
        assert_eq!(told(false, "sa - - - - - - - - - - - b b b d"), ("late", vec![(0.0, 15.0, vec![])]));
        // A late one that never ends gives way.
        assert_eq!(told(false, "sa - - - - - - - - - - - s"), ("running", vec![(0.0, 12.0, missing(&["b", "d"]))]));
        // So does one that is out of order, once its time is over; not before.
        assert_eq!(told(false, "s a d - - - - - - - - - s"), ("running", vec![(0.0, 12.0, missing(&["b"]))]));
        assert_eq!(told(false, "s a d - s"), ("out-of-order", vec![]));
        // It goes on while people are there, and does not begin again.
        assert_eq!(told(false, "sa sb sb sb sd s s s"), ("done", vec![(0.0, 4.0, vec![])]));
    }
}
