//! The page of `pithead try`: one file, no script, nothing loaded from elsewhere.

use std::fmt::Write as _;
use std::io::Cursor;

use app_package::manifest::InputKind;
use app_package::pipeline::Pre;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{ImageFormat, Rgba, RgbaImage};
use inference::mask::MAX_SIDE;
use inference::output::{AppOutput, Detection, Mask};
use inference::{clip, picture};

use super::Answered;
use super::clips::Stills;
use super::told::{Told, named};
use crate::cli::words::shown;

/// Memory for the pixels of a picture, in bytes; the page needs its size alone.
const MAX_PIXELS: u64 = 400_000_000;
/// Points of a plot.
const MAX_POINTS: usize = 600;
/// Columns of a table that are plotted.
const MAX_COLUMNS: usize = 6;
/// Colours by label, apart for most eyes (Okabe and Ito, 2008).
const COLOURS: [&str; 7] = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:24px auto;max-width:1100px;padding:0 16px;color:#1d2733;background:#f6f7f8}\
h1{font-size:22px}h2{font-size:16px;margin:0 0 8px;overflow-wrap:anywhere}section{background:#fff;border:1px solid #d6dce2;border-radius:8px;padding:16px;margin:16px 0}\
.shot{position:relative;display:inline-block;max-width:100%}.shot img{display:block;max-width:100%;height:auto}.shot svg{position:absolute;inset:0;width:100%;height:100%}\
figure{margin:16px 0 0}figure img{max-width:100%;height:auto}ul{margin:8px 0 0;padding-left:20px}.alarm{color:#a4161a;font-weight:600}.plot{width:100%;height:120px;background:#f6f7f8}\
@media(prefers-color-scheme:dark){body{background:#12171c;color:#e6eaee}section{background:#1a2128;border-color:#33404c}.plot{background:#12171c}.alarm{color:#ff8a8a}}";

/// The page over all files; with the pictures of events that lie beside it.
pub fn of(told: Told<'_>, found: &[Answered<'_>], stills: &[Stills]) -> String {
    let Told { manifest, code, lang } = told;
    let title = format!("{} {}", manifest.title.get(code), manifest.version);
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=\"{code}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style></head><body><h1>{0}</h1>",
        escaped(&title)
    );
    let labels: Vec<&str> = manifest.labels().map(|label| label.id.as_str()).collect();
    let rate = manifest.model_steps().iter().find_map(|step| if let Pre::Sound(sound) = &step.pre { Some(sound.rate) } else { None });
    for (at, Answered { file, copy, result }) in found.iter().enumerate() {
        let _ = write!(page, "<section><h2>{}</h2>", escaped(&shown(file)));
        let bytes = std::fs::read(copy).unwrap_or_default();
        match manifest.input {
            InputKind::Image => shot(&mut page, &bytes, result, &labels),
            // Of a clip the last frame, whose things are told.
            InputKind::Video => {
                let last = if picture::is_known(&bytes) { Ok(bytes) } else { clip::read(&bytes).map(|clip| clip.last_jpeg()) };
                shot(&mut page, &last.unwrap_or_default(), result, &labels);
            }
            InputKind::Timeseries | InputKind::Tabular => table(&mut page, &bytes),
            InputKind::Audio => match rate {
                Some(rate) => sound(&mut page, &bytes, rate),
                // Of format 1, whose sound is a table of amplitudes.
                None => table(&mut page, &bytes),
            },
        }
        page.push_str("<ul>");
        for alarm in &result.alarms {
            let _ = write!(page, "<li class=\"alarm\">{}</li>", escaped(alarm.text.get(code)));
        }
        let lines = told.lines(result);
        for line in &lines {
            let _ = write!(page, "<li>{}</li>", escaped(line));
        }
        if lines.is_empty() {
            let _ = write!(page, "<li>{}</li>", escaped(&lang.t("cli-try-nothing")));
        }
        page.push_str("</ul>");
        for (name, words) in stills.get(at).into_iter().flatten() {
            let (name, words) = (escaped(name), escaped(words));
            let _ = write!(page, "<figure><img src=\"{name}\" alt=\"\" loading=\"lazy\"><figcaption>{words}</figcaption></figure>");
        }
        page.push_str("</section>");
    }
    page.push_str("</body></html>\n");
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A picture with what was found in it.
fn shot(page: &mut String, bytes: &[u8], result: &AppOutput, labels: &[&str]) {
    let Ok(decoded) = picture::decode_shown(bytes, MAX_PIXELS) else { return };
    let (width, height) = (decoded.width(), decoded.height());
    let kind = if bytes.starts_with(&[0xff, 0xd8]) { "jpeg" } else { "png" };
    let _ = write!(
        page,
        "<div class=\"shot\"><img src=\"data:image/{kind};base64,{}\" alt=\"\" width=\"{width}\" height=\"{height}\"><svg viewBox=\"0 0 {width} {height}\">",
        STANDARD.encode(bytes)
    );
    // Sizes of strokes and words in pixels of the picture, for any size of it.
    let unit = f64::from(width.max(height)) / 400.0;
    for thing in &result.detections {
        let colour =
            COLOURS.get(labels.iter().position(|label| *label == thing.label).unwrap_or(0) % COLOURS.len()).copied().unwrap_or("#e69f00");
        drawn(page, thing, colour, (unit, f64::from(width)));
    }
    page.push_str("</svg></div>");
}

/// A thing; `unit` is a stroke and `right` the picture's width, in pixels of it.
fn drawn(page: &mut String, thing: &Detection, colour: &str, (unit, right): (f64, f64)) {
    let [x, y, w, h] = thing.bbox;
    if let Some(mask) = &thing.mask
        && let Some(bytes) = mask_picture(mask, colour)
    {
        let _ = write!(
            page,
            "<image x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" preserveAspectRatio=\"none\" href=\"data:image/png;base64,{}\"/>",
            STANDARD.encode(bytes)
        );
    }
    let points: Vec<String> = thing.outline().iter().map(|[x, y]| format!("{x},{y}")).collect();
    let _ = write!(page, "<polygon points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{unit}\"/>", points.join(" "));
    for point in thing.keypoints.iter().filter(|point| point.score >= 0.3) {
        let _ = write!(
            page,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{colour}\"><title>{}</title></circle>",
            point.x,
            point.y,
            unit * 1.5,
            escaped(&point.name)
        );
    }
    let top = f64::from(y) - unit * 2.0;
    let baseline = if top < unit * 9.0 { f64::from(y + h) + unit * 10.0 } else { top };
    // Words of what lies at the right end where it ends.
    let (at, anchor) = if f64::from(x) > right * 0.7 { (x + w, "end") } else { (x, "start") };
    let _ = write!(
        page,
        "<text x=\"{at}\" y=\"{baseline}\" text-anchor=\"{anchor}\" font-size=\"{}\" fill=\"#fff\" stroke=\"#000\" stroke-width=\"{}\" paint-order=\"stroke\">{}</text>",
        unit * 8.0,
        unit,
        escaped(&named(thing))
    );
}

/// A mask as a picture that lets what is below shine through; none of a size that no mask has.
fn mask_picture(mask: &Mask, colour: &str) -> Option<Vec<u8>> {
    let [rows, columns] = mask.size;
    if rows > MAX_SIDE || columns > MAX_SIDE {
        return None;
    }
    let channel = |at: usize| u8::from_str_radix(colour.get(at..at + 2)?, 16).ok();
    let inside = Rgba([channel(1)?, channel(3)?, channel(5)?, 110]);
    let mut picture = RgbaImage::new(columns, rows);
    let mut at = 0u32;
    for (run, length) in mask.counts.iter().enumerate() {
        for cell in at..at.saturating_add(*length).min(rows.saturating_mul(columns)) {
            if run % 2 == 1 {
                picture.put_pixel(cell.checked_div(rows)?, cell.checked_rem(rows)?, inside);
            }
        }
        at = at.saturating_add(*length);
    }
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}

/// Columns of numbers as lines, each over its own range; the last rows of many.
fn table(page: &mut String, bytes: &[u8]) {
    let Ok(columns) = inference::table::numbers(bytes, MAX_POINTS) else { return };
    let numeric = columns.iter().filter(|(_, numbers)| numbers.iter().flatten().count() > 1);
    for (name, numbers) in numeric.take(MAX_COLUMNS) {
        plot(page, name, numbers);
    }
}

/// The largest magnitude of each part of a recording, at the rate that the app reads.
fn sound(page: &mut String, bytes: &[u8], rate: u32) {
    let Ok(samples) = inference::sound::read(bytes, rate) else { return };
    let part = samples.len().div_ceil(MAX_POINTS).max(1);
    let loud = samples.chunks(part).map(|part| Some(f64::from(part.iter().fold(0.0f32, |most, sample| most.max(sample.abs())))));
    plot(page, "", &loud.collect::<Vec<_>>());
}

fn plot(page: &mut String, name: &str, numbers: &[Option<f64>]) {
    let known = || numbers.iter().flatten().copied().filter(|number| number.is_finite());
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    if least > most {
        return;
    }
    let span = if most > least { most - least } else { 1.0 };
    let points = numbers.iter().enumerate().filter_map(|(at, number)| Some((at, (*number)?))).map(|(at, number)| {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred points")]
        let x = at as f64 * 1000.0 / (numbers.len().max(2) - 1) as f64;
        format!("{x:.1},{:.1}", 110.0 - (number - least) / span * 100.0)
    });
    let points: Vec<String> = points.collect();
    let _ = write!(
        page,
        "<p>{} {least:.4} … {most:.4}</p><svg class=\"plot\" viewBox=\"0 0 1000 120\" preserveAspectRatio=\"none\"><polyline points=\"{}\" fill=\"none\" stroke=\"#0072b2\" stroke-width=\"2\" vector-effect=\"non-scaling-stroke\"/></svg>",
        escaped(name),
        points.join(" ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_drawn_down_its_columns_and_bounded() {
        let mask = |size, counts: &[u32]| mask_picture(&Mask { size, counts: counts.to_vec() }, "#102030");
        let picture = image::load_from_memory(&mask([2, 3], &[1, 2, 3]).unwrap()).unwrap().to_rgba8();
        assert_eq!(picture.dimensions(), (3, 2));
        let inside: Vec<(u32, u32)> =
            picture.enumerate_pixels().filter(|(.., pixel)| pixel.0 == [16, 32, 48, 110]).map(|(x, y, _)| (x, y)).collect();
        assert_eq!(inside, [(1, 0), (0, 1)]);
        // The answer comes from a child that read a stranger's package.
        assert!(mask([2, 2], &[0, u32::MAX, u32::MAX]).is_some());
        assert_eq!(mask([u32::MAX, 2], &[0, 1]), None);
        assert_eq!(mask([1, MAX_SIDE + 1], &[0, 1]), None);
    }
}
