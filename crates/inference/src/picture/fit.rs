//! Where a picture lies in the tensor, and which part of it.

use app_package::pipeline::{Align, Filter, Fit, PreImage};

use super::taps::Axis;
use crate::geometry::Geometry;

/// Longest side to which a picture is scaled before its middle is cut out, unless the tensor itself is larger.
const MOST: u32 = 65_536;

/// How a picture is scaled, which part of it is kept, and where that lies in the tensor.
pub(super) struct Placement {
    pub across: Axis,
    pub down: Axis,
    pub left: u32,
    pub top: u32,
    /// Width and height of the tensor.
    pub size: (u32, u32),
}

impl Placement {
    pub fn new(pre: &PreImage, source: (u32, u32)) -> Self {
        let (w, h) = (pre.width.max(1), pre.height.max(1));
        let size = (w, h);
        let whole = |source, scaled| Axis { source, scaled, start: 0, count: scaled };
        match pre.fit {
            Fit::Stretch => Self { across: whole(source.0, w), down: whole(source.1, h), left: 0, top: 0, size },
            Fit::Letterbox => {
                let (across, down) = letterboxed(pre.filter, source, (w, h));
                // The same as `round(border / 2 - 0.1)`.
                let before = |border: u32| if pre.align == Align::TopLeft { 0 } else { border / 2 };
                Self { across: whole(source.0, across), down: whole(source.1, down), left: before(w - across), top: before(h - down), size }
            }
            Fit::Crop => {
                let scaled = covering(pre.crop, source, (w, h));
                let middle = |source, scaled: u32, count: u32| {
                    let cut = scaled.saturating_sub(count);
                    // Halves to even, as Python rounds in torchvision's `CenterCrop`.
                    Axis { source, scaled, start: cut / 2 + (cut % 2) * (cut / 2 % 2), count: count.min(scaled) }
                };
                Self { across: middle(source.0, scaled.0, w), down: middle(source.1, scaled.1, h), left: 0, top: 0, size }
            }
            Fit::Pad => {
                let (content, width) = padded(source, (w, pre.widest.unwrap_or(w).max(w)), h);
                Self { across: whole(source.0, content), down: whole(source.1, h), left: 0, top: 0, size: (width, h) }
            }
            Fit::Multiple => {
                let size = multiple(pre, source);
                Self { across: whole(source.0, size.0), down: whole(source.1, size.1), left: 0, top: 0, size }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "picture sizes are far below 2^24")]
    pub fn geometry(&self) -> Geometry {
        let (across, down) = (self.across, self.down);
        Geometry {
            tensor: [self.size.0, self.size.1].map(|side| side as f32),
            source: [across.source, down.source].map(|side| side as f32),
            fitted: [across.scaled, down.scaled].map(|side| side as f32),
            offset: [self.left as f32 - across.start as f32, self.top as f32 - down.start as f32],
        }
    }
}

/// The size that fits into the tensor. Reference code is Python, which rounds halves to even; format 1, known by its filter, rounds them up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the tensor's side")]
fn letterboxed(filter: Filter, source: (u32, u32), target: (u32, u32)) -> (u32, u32) {
    let scale = f64::min(f64::from(target.0) / f64::from(source.0), f64::from(target.1) / f64::from(source.1));
    let fit = |side: u32, most: u32| {
        let side = f64::from(side) * scale;
        let side = if filter == Filter::LinearAntialias { side.round() } else { side.round_ties_even() };
        (side as u32).clamp(1, most)
    };
    (fit(source.0, target.0), fit(source.1, target.1))
}

/// The widths of the picture in a tensor of this height, and of the tensor, which is between two bounds: PP-OCR's, which cuts off the tensor's
/// width to whole pixels and rounds the picture's up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bounds")]
fn padded(source: (u32, u32), (least, most): (u32, u32), height: u32) -> (u32, u32) {
    let natural = f64::from(height) * f64::from(source.0) / f64::from(source.1.max(1));
    let width = (natural as u32).clamp(least, most);
    ((natural.ceil() as u32).clamp(1, width), width)
}

/// The size whose sides are multiples of a number, nearest to that of the picture once its shorter side has the least length: PP-OCR's with
/// `limit_type: min`, which cuts both sides off to whole pixels and rounds them to multiples. Both stay within the tensor's bounds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bounds")]
fn multiple(pre: &PreImage, source: (u32, u32)) -> (u32, u32) {
    let by = f64::from(pre.multiple.unwrap_or(32).max(1));
    let (w, h) = (f64::from(source.0.max(1)), f64::from(source.1.max(1)));
    let grown = pre.shorter.map_or(1.0, |shorter| (f64::from(shorter) / w.min(h)).max(1.0));
    let bounds = (f64::from(pre.width.max(1)), f64::from(pre.height.max(1)));
    let scale = grown.min(bounds.0 / w).min(bounds.1 / h);
    let side = |side: f64, most: f64| {
        // Halves to even, as Python rounds.
        let whole = ((side * scale).trunc() / by).round_ties_even().max(1.0);
        (whole * by).min((most / by).trunc().max(1.0) * by) as u32
    };
    (side(w, bounds.0), side(h, bounds.1))
}

/// The size of which the tensor is the middle: torchvision's `Resize` of the shorter side, or for a tensor that is not square of the side
/// that has to grow more. The other side is cut off to whole pixels.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn covering(share: f64, source: (u32, u32), target: (u32, u32)) -> (u32, u32) {
    let share = if share > 0.0 && share <= 1.0 { share } else { 1.0 };
    let grown = |side: u32| u64::from(((f64::from(side) / share).round() as u32).min(MOST).max(side));
    let (w, h) = (grown(target.0), grown(target.1));
    let (source_w, source_h) = (u64::from(source.0.max(1)), u64::from(source.1.max(1)));
    let other = |this: u64, side: u64, by: u64| u32::try_from(this * side / by).unwrap_or(u32::MAX);
    let same = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
    if w * source_h >= h * source_w { (same(w), other(w, source_h, source_w)) } else { (other(h, source_w, source_h), same(h)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(fit: Fit, filter: Filter, crop: f64, source: (u32, u32), target: (u32, u32)) -> [(u32, u32, u32); 2] {
        let text = serde_json::json!({"width": target.0, "height": target.1, "crop": crop});
        let pre = PreImage { fit, filter, ..serde_json::from_value(text).unwrap() };
        let Placement { across, down, left, top, .. } = Placement::new(&pre, source);
        [(across.scaled, across.start, left), (down.scaled, down.start, top)]
    }

    #[test]
    fn a_letterbox_lies_where_reference_code_puts_it() {
        let placed = |filter, source, target| placed(Fit::Letterbox, filter, 1.0, source, target);
        assert_eq!(placed(Filter::Linear, (1920, 1080), (640, 640)), [(640, 0, 0), (360, 0, 140)]);
        assert_eq!(placed(Filter::Linear, (810, 1080), (640, 640)), [(480, 0, 80), (640, 0, 0)]);
        // 426.5 rows: Python makes 426 of it, format 1 made 427. The odd row of border is at the bottom.
        assert_eq!(placed(Filter::Linear, (1280, 853), (640, 640)), [(640, 0, 0), (426, 0, 107)]);
        assert_eq!(placed(Filter::LinearAntialias, (1280, 853), (640, 640)), [(640, 0, 0), (427, 0, 106)]);
        assert_eq!(placed(Filter::Linear, (16_384, 1), (64, 64)), [(64, 0, 0), (1, 0, 31)]);
    }

    #[test]
    fn a_tensor_may_follow_the_picture() {
        assert_eq!(padded((472, 43), (320, 3200), 48), (526, 526));
        assert_eq!(padded((100, 48), (320, 3200), 48), (100, 320));
        assert_eq!(padded((10_000, 10), (320, 3200), 48), (3200, 3200));
        assert_eq!(padded((1, 10_000), (320, 3200), 48), (1, 320));
        let sized = |shorter: Option<u32>, source| {
            let pre = serde_json::json!({"width": 2048, "height": 1024, "shorter": shorter});
            multiple(&serde_json::from_value(pre).unwrap(), source)
        };
        // `DetPreProcess.resize` of rapidocr-onnxruntime 1.4.4 with 736, `min`.
        assert_eq!(sized(Some(736), (640, 480)), (992, 736));
        assert_eq!(sized(Some(736), (1000, 800)), (992, 800));
        assert_eq!(sized(None, (10, 1000)), (32, 992));
        assert_eq!(sized(Some(736), (10_000, 100)), (2048, 32));
    }

    #[test]
    fn a_crop_is_the_middle_as_torchvision_cuts_it() {
        let placed = |crop, source, target| placed(Fit::Crop, Filter::LinearAntialias, crop, source, target);
        // Resize(256), CenterCrop(224): 256 · 810 / 1080, 341.33 cut off; (341 - 224) / 2 = 58.5, to even.
        assert_eq!(placed(0.875, (810, 1080), (224, 224)), [(256, 16, 0), (341, 58, 0)]);
        // (455 - 224) / 2 = 115.5, to even.
        assert_eq!(placed(0.875, (1920, 1080), (224, 224)), [(455, 116, 0), (256, 16, 0)]);
        assert_eq!(placed(1.0, (100, 100), (224, 224)), [(224, 0, 0), (224, 0, 0)]);
        // Not square: both sides are covered.
        assert_eq!(placed(1.0, (1000, 1000), (320, 160)), [(320, 0, 0), (320, 80, 0)]);
        assert_eq!(placed(1.0, (1000, 200), (320, 160)), [(800, 240, 0), (160, 0, 0)]);
        // Shares that say nothing count as 1; a tiny one is bounded.
        for share in [0.0, -1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(covering(share, (10, 10), (4, 4)), (4, 4));
        }
        assert_eq!(covering(1e-300, (16_384, 1), (4, 4)), (MOST * 16_384, MOST));
    }
}
