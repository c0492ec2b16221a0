//! Overlapping parts of a picture, and what is found in them put together: the slices and `GREEDYNMM` of SAHI (Akyol et al., "Slicing Aided
//! Hyper Inference", 2022), with its defaults. And what SAHI leaves twice: an object that reaches far over a border, seen in part by either tile.
//! Where two tiles see the same pixels they must find the same, so boxes that agree there are one object.

use std::cmp::Ordering;

use app_package::pipeline::Tiles;

use crate::{
    error::{AppError, Result},
    output::Detection,
    post::iou,
};

/// Most parts of a picture.
pub const MAX_TILES: usize = 64;
/// Share of the smaller one of two boxes from which on they are one object: of one that is cut at a border most lies in the whole one.
const SAME: f32 = 0.5;

/// The parts of a picture of this size, as left, top, width and height; the whole one last. Code `too-many-tiles`.
pub fn places(tiles: &Tiles, (width, height): (u32, u32)) -> Result<Vec<[u32; 4]>> {
    let (across, down) = (begins(width, tiles.width, tiles.overlap), begins(height, tiles.height, tiles.overlap));
    let whole = usize::from(tiles.whole);
    let count = across.len().saturating_mul(down.len()).saturating_add(whole);
    if count > MAX_TILES {
        let message = format!(
            "the picture of {width} × {height} pixels makes {count} tiles, and at most {MAX_TILES} are run: write larger `tiles`, \
             or send a smaller picture"
        );
        return Err(AppError::new("too-many-tiles", message));
    }
    let (w, h) = (tiles.width.min(width), tiles.height.min(height));
    let mut places: Vec<[u32; 4]> = down.iter().flat_map(|&y| across.iter().map(move |&x| [x, y, w, h])).collect();
    places.extend(tiles.whole.then_some([0, 0, width, height]));
    Ok(places)
}

/// Where the parts along one side begin; the last ends at the border. More than a picture may have are not counted to the end.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the side")]
fn begins(side: u32, part: u32, overlap: f64) -> Vec<u32> {
    let step = part.saturating_sub((f64::from(part) * overlap.clamp(0.0, 0.9)) as u32).max(1);
    let mut begins = Vec::new();
    let mut at = 0u32;
    while at.saturating_add(part) < side && begins.len() <= MAX_TILES {
        begins.push(at);
        at += step;
    }
    begins.push(side.saturating_sub(part));
    begins
}

/// Most objects that are held against each other, best first.
const MAX_FOUND: usize = 2_000;

/// An object, in pixels of the whole picture, and the part that it was found in as left, top, width and height.
pub struct Found {
    pub tile: [f32; 4],
    pub object: Detection,
}

/// What is found in all parts. From the best on, objects of its label (or of any, where `agnostic`) become part of it that lie in it by half of
/// the smaller one, or agree with a part of it where both tiles see. A box grows to hold both; of objects with a mask or points the largest
/// is kept.
pub fn merge(mut found: Vec<Found>, agnostic: bool) -> Vec<Detection> {
    // Of equal scores those at the left and top come first, whichever part they were found in.
    found.sort_by(|a, b| {
        let (a, b) = (&a.object, &b.object);
        let by_place = a.bbox.iter().zip(&b.bbox).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
        b.score.total_cmp(&a.score).then(by_place.unwrap_or(Ordering::Equal))
    });
    found.truncate(MAX_FOUND);
    let mut rest: Vec<Option<Found>> = found.into_iter().map(Some).collect();
    let mut kept = Vec::new();
    for at in 0..rest.len() {
        let Some(Found { tile, object: mut best }) = rest.get_mut(at).and_then(Option::take) else { continue };
        let own = best.bbox;
        let mut parts = vec![(tile, own)];
        let mut joined_before = 0;
        // What joins late may bring what was passed over.
        while joined_before < parts.len() {
            joined_before = parts.len();
            for other in rest.iter_mut().skip(at + 1) {
                let near = |one: &Found| smaller_share(own, one.object.bbox) >= SAME;
                let across = |one: &Found| parts.iter().any(|part| seam(*part, (one.tile, one.object.bbox)) >= SAME);
                let same = |one: &Found| (agnostic || one.object.label == best.label) && (near(one) || across(one));
                let Some(part) = other.take_if(|one| same(one)) else { continue };
                // As SAHI: what has come to lie outside of the grown box is dropped.
                if across(&part) || smaller_share(best.bbox, part.object.bbox) >= SAME {
                    parts.push((part.tile, part.object.bbox));
                    best = joined(best, part.object);
                }
            }
        }
        kept.push(best);
    }
    kept
}

fn joined(best: Detection, part: Detection) -> Detection {
    if best.mask.is_none() && best.keypoints.is_empty() {
        return Detection { bbox: union(best.bbox, part.bbox), ..best };
    }
    let size = |[_, _, w, h]: [f32; 4]| w * h;
    if size(part.bbox) > size(best.bbox) { Detection { label: best.label, score: best.score, ..part } } else { best }
}

/// How far two boxes agree where both tiles see: their intersection over union there. 0 of boxes of one tile.
fn seam((tile, one): ([f32; 4], [f32; 4]), (next, other): ([f32; 4], [f32; 4])) -> f32 {
    if tile.iter().zip(&next).all(|(a, b)| a.to_bits() == b.to_bits()) {
        return 0.0;
    }
    let both = corners(tile, next);
    let inside = |[x, y, w, h]: [f32; 4]| {
        let [left, top, right, bottom] = both;
        [x.max(left), y.max(top), (x + w).min(right), (y + h).min(bottom)]
    };
    let (one, other) = (inside(one), inside(other));
    let empty = |[left, top, right, bottom]: [f32; 4]| left >= right || top >= bottom;
    if empty(one) || empty(other) { 0.0 } else { iou(&one, &other) }
}

/// What two boxes have in common, by its corners.
fn corners([ax, ay, aw, ah]: [f32; 4], [bx, by, bw, bh]: [f32; 4]) -> [f32; 4] {
    [ax.max(bx), ay.max(by), (ax + aw).min(bx + bw), (ay + ah).min(by + bh)]
}

/// What two boxes have in common, as a share of the smaller one.
fn smaller_share(a: [f32; 4], b: [f32; 4]) -> f32 {
    let [left, top, right, bottom] = corners(a, b);
    let ([_, _, aw, ah], [_, _, bw, bh]) = (a, b);
    let smaller = (aw * ah).min(bw * bh);
    if smaller > 0.0 { (right - left).max(0.0) * (bottom - top).max(0.0) / smaller } else { 0.0 }
}

fn union([ax, ay, aw, ah]: [f32; 4], [bx, by, bw, bh]: [f32; 4]) -> [f32; 4] {
    let (left, top) = (ax.min(bx), ay.min(by));
    [left, top, (ax + aw).max(bx + bw) - left, (ay + ah).max(by + bh) - top]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles(width: u32, height: u32, overlap: f64, whole: bool) -> Tiles {
        Tiles { width, height, overlap, whole }
    }

    fn one(tile: [f32; 4], object: Detection) -> Found {
        Found { tile, object }
    }

    /// A belt over four tiles, of which each sees a part; beside it another one, which only looks the same where no two tiles see both.
    #[test]
    fn an_object_that_reaches_over_many_tiles_is_one() {
        let tiles = [0.0, 80.0, 160.0, 240.0].map(|x| [x, 0.0, 100.0, 100.0]);
        let part = |tile: [f32; 4], from: f32, to: f32, score, top| {
            let (left, right) = (from.max(tile[0]), to.min(tile[0] + tile[2]));
            one(tile, Detection::new("belt", score, [left, top, right - left, 20.0]))
        };
        let scores = [0.5, 0.7, 0.6, 0.9];
        let mut found: Vec<Found> = tiles.iter().zip(scores).map(|(tile, score)| part(*tile, 20.0, 330.0, score, 40.0)).collect();
        found.extend([part(tiles[0], 20.0, 78.0, 0.4, 70.0), part(tiles[1], 102.0, 170.0, 0.3, 70.0)]);
        let merged = merge(found, false);
        let boxes: Vec<_> = merged.iter().map(|d| (d.score, d.bbox)).collect();
        assert_eq!(boxes, [(0.9, [20.0, 40.0, 310.0, 20.0]), (0.4, [20.0, 70.0, 58.0, 20.0]), (0.3, [102.0, 70.0, 68.0, 20.0])]);
    }

    #[test]
    fn tiles_are_sahis_slices() {
        // `get_slice_bboxes` of sahi 0.12.8.
        let slices = places(&tiles(640, 640, 0.2, false), (1920, 1080)).unwrap();
        assert_eq!(
            slices,
            [0, 512, 1024, 1280]
                .iter()
                .map(|&x| [x, 0, 640, 640])
                .chain([0, 512, 1024, 1280].iter().map(|&x| [x, 440, 640, 640]))
                .collect::<Vec<_>>()
        );
        assert_eq!(places(&tiles(512, 512, 0.2, false), (512, 512)).unwrap(), [[0, 0, 512, 512]]);
        assert_eq!(
            places(&tiles(512, 256, 0.0, true), (300, 513)).unwrap(),
            [[0, 0, 300, 256], [0, 256, 300, 256], [0, 257, 300, 256], [0, 0, 300, 513]]
        );
    }

    #[test]
    fn so_many_tiles_are_run_and_no_more() {
        assert_eq!(places(&tiles(100, 100, 0.0, false), (800, 800)).unwrap().len(), 64);
        assert_eq!(places(&tiles(100, 100, 0.0, true), (800, 800)).unwrap_err().code, "too-many-tiles");
        assert_eq!(places(&tiles(16, 16, 0.9, false), (16_384, 2_441)).unwrap_err().code, "too-many-tiles");
        assert_eq!(places(&tiles(16, 16, f64::NAN, false), (16_384, 1)).unwrap_err().code, "too-many-tiles");
    }

    /// `tests/tiles.py` says how the expected values were made.
    #[test]
    fn what_is_found_is_merged_as_sahi_does() {
        type Boxes = Vec<(String, f32, [f32; 4])>;
        let cases: Vec<(bool, Boxes, Boxes)> = serde_json::from_str(include_str!("../tests/tiles.json")).unwrap();
        for (number, (agnostic, found, wanted)) in cases.into_iter().enumerate() {
            let merged =
                merge(found.into_iter().map(|(label, score, bbox)| one([0.0; 4], Detection::new(label, score, bbox))).collect(), agnostic);
            assert_eq!(merged.len(), wanted.len(), "{number}");
            for (ours, (label, score, bbox)) in merged.iter().zip(wanted) {
                assert_eq!((&ours.label, ours.score), (&label, score), "{number}");
                assert!(ours.bbox.iter().zip(bbox).all(|(a, b)| (a - b).abs() < 1e-3), "{number}: {:?} {bbox:?}", ours.bbox);
            }
        }
    }

    #[test]
    fn of_objects_with_points_the_largest_is_kept() {
        let point = |x| vec![crate::output::Keypoint { name: "head".into(), x, y: 0.0, score: 1.0 }];
        let cut = Detection { keypoints: point(1.0), ..Detection::new("person", 0.9, [0.0, 0.0, 10.0, 10.0]) };
        let whole = Detection { keypoints: point(2.0), ..Detection::new("person", 0.8, [0.0, 0.0, 20.0, 10.0]) };
        let merged = merge(vec![one([0.0; 4], whole), one([0.0; 4], cut)], false);
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].score, merged[0].bbox, merged[0].keypoints[0].x), (0.9, [0.0, 0.0, 20.0, 10.0], 2.0));
    }
}
