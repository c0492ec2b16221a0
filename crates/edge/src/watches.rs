//! What an app keeps of each source that it sees, in the app's process.
//!
//! Invariants: sources know nothing of one another; after a gap of [`GAP`], or when something else is drawn or set, an app begins anew with a
//! source; no more than [`MOST`] are kept, the one that was silent the longest gives way.

use std::collections::BTreeMap;
use std::time::Duration;

use app_package::manifest::InputKind;
use app_package::pipeline::Drawn;
use image::DynamicImage;
use inference::app::{App, AppError};
use inference::output::AppOutput;
use inference::watch::Watch;
use serde_json::{Map, Value};

/// Longest time between two frames over which tracks, counts and alarms that go on are kept: a camera that comes back within it raises nothing
/// twice.
const GAP: Duration = Duration::from_secs(30);
/// Most sources of one app.
const MOST: usize = 64;

/// One frame of a source.
pub struct Shot<'a> {
    pub source: &'a str,
    pub picture: &'a DynamicImage,
    /// Since the source began.
    pub at: Duration,
    pub params: &'a Map<String, Value>,
    pub place: &'a str,
    pub scene: &'a Drawn,
}

struct Kept {
    watch: Watch,
    began: Duration,
    last: Duration,
    params: Map<String, Value>,
    place: String,
    scene: Drawn,
    /// It has answered before: what began from then on is known by it.
    answered: bool,
}

impl Kept {
    fn goes_on(&self, shot: &Shot) -> bool {
        let same = self.params == *shot.params && self.place == shot.place && self.scene == *shot.scene;
        same && shot.at.checked_sub(self.last).is_some_and(|gap| gap <= GAP)
    }
}

/// What is kept of all sources, by name.
#[derive(Default)]
pub struct Watches(BTreeMap<String, Kept>);

impl Watches {
    /// The answer to a frame: by an app of single pictures of this frame alone, by one of moving pictures with what it kept of the source; and
    /// whether that one has begun anew, so that it will never tell the end of what it found before. Codes as those of a prediction;
    /// `input-not-taken` where the app takes no pictures.
    pub fn answer(&mut self, app: &mut App, shot: &Shot) -> Result<(AppOutput, bool), AppError> {
        match app.manifest().input {
            InputKind::Image => return Ok((app.predict_picture(shot.picture, shot.params, shot.place)?, false)),
            InputKind::Video => {}
            _ => return Err(AppError::new("input-not-taken", "the app takes no pictures")),
        }
        let kept = match self.0.remove(shot.source).filter(|kept| kept.goes_on(shot)) {
            Some(kept) => kept,
            None => Kept {
                watch: Watch::new(app, shot.scene, shot.params, shot.place)?,
                began: shot.at,
                last: shot.at,
                params: shot.params.clone(),
                place: shot.place.to_owned(),
                scene: shot.scene.clone(),
                answered: false,
            },
        };
        if self.0.len() >= MOST
            && let Some(silent) = self.0.iter().min_by_key(|(_, kept)| kept.last).map(|(name, _)| name.clone())
        {
            self.0.remove(&silent);
        }
        let kept = self.0.entry(shot.source.to_owned()).or_insert(kept);
        kept.last = shot.at;
        let output = kept.watch.frame(app, shot.picture, shot.at.saturating_sub(kept.began))?;
        // A first frame that fails tells nobody that it is the first.
        let anew = !std::mem::replace(&mut kept.answered, true);
        Ok((output.into(), anew))
    }
}
