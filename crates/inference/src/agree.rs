//! Which other way of preparing pictures would reproduce the golden samples: said where they are not, so that a developer need not guess.
//!
//! The commonest causes are another resizing filter, red and blue the other way round, and another way to meet the size. Each is tried alone,
//! in what time is left.

use std::time::{Duration, Instant};

use app_package::pipeline::{Align, Color, Filter, Fit, Pre, PreImage};

use crate::{
    app::App,
    golden::{self, GoldenReport},
};

/// Time for all tries.
const BUDGET: Duration = Duration::from_secs(8);
/// Filters by their words in `app.yaml`.
const FILTERS: [(&str, Filter); 9] = [
    ("linear", Filter::Linear),
    ("linear-antialias", Filter::LinearAntialias),
    ("linear-float", Filter::LinearFloat),
    ("cubic", Filter::Cubic),
    ("cubic-antialias", Filter::CubicAntialias),
    ("lanczos", Filter::Lanczos),
    ("lanczos-antialias", Filter::LanczosAntialias),
    ("area", Filter::Area),
    ("nearest", Filter::Nearest),
];

/// What to write in the place of the first model's `pre.image`, if one change reproduces more samples than the manifest does in `own`: all of
/// them, else the most. A try is not begun where it would outlast the time: it must not cost a slow app the verdict that it has.
pub fn hint(app: &mut App, own: &GoldenReport) -> Option<String> {
    if app.manifest().format < 2 {
        return None;
    }
    let Some(Pre::Image(image)) = app.stages().next().map(|stage| stage.step().pre.clone()) else { return None };
    let cost = Duration::try_from_secs_f64(own.samples.iter().map(|sample| sample.latency_ms).sum::<f64>() / 1e3).ok()?;
    let begin = Instant::now();
    let mut best: Option<(u32, String)> = None;
    for (words, other) in others(&image) {
        if begin.elapsed() + cost > BUDGET {
            break;
        }
        app.stages().next()?.prepare_as(other);
        let report = golden::run(app);
        if report.reproduced > best.as_ref().map_or(own.reproduced, |(most, _)| *most) {
            let all = report.reproduced == report.total;
            best = Some((report.reproduced, format!("with `{words}` {} of {} are reproduced", report.reproduced, report.total)));
            if all {
                break;
            }
        }
    }
    app.stages().next()?.prepare_as(image);
    best.map(|(_, hint)| hint)
}

/// The picture's preparation with one thing changed, in the order in which they are likely.
fn others(own: &PreImage) -> Vec<(String, PreImage)> {
    let mut all: Vec<(String, PreImage)> = Vec::new();
    let filters = FILTERS.iter().filter(|(_, filter)| *filter != own.filter);
    all.extend(filters.map(|(word, filter)| (format!("filter: {word}"), PreImage { filter: *filter, ..own.clone() })));
    for (word, color) in [("rgb", Color::Rgb), ("bgr", Color::Bgr)] {
        if own.color != Color::Gray && own.color != color {
            all.push((format!("color: {word}"), PreImage { color, ..own.clone() }));
        }
    }
    for (word, fit) in [("stretch", Fit::Stretch), ("letterbox", Fit::Letterbox), ("crop", Fit::Crop)] {
        if matches!(own.fit, Fit::Stretch | Fit::Letterbox | Fit::Crop) && own.fit != fit {
            all.push((format!("fit: {word}"), PreImage { fit, ..own.clone() }));
        }
    }
    if own.fit == Fit::Letterbox {
        let (word, align) = if own.align == Align::Center { ("top-left", Align::TopLeft) } else { ("center", Align::Center) };
        all.push((format!("align: {word}"), PreImage { align, ..own.clone() }));
    }
    let (word, scale) = if own.scale > 1.0 { ("1", 1.0) } else { ("255", 255.0) };
    all.push((format!("scale: {word}"), PreImage { scale, ..own.clone() }));
    all
}
