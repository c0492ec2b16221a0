//! Turned boxes: their corners, how much two of them overlap, and the smallest one around some points.

#![expect(clippy::many_single_char_names, reason = "points are x and y, boxes w and h")]

use super::suppress::Candidate;

/// Corners of a box of this width and height around a point, turned clockwise in a picture.
pub(super) fn corners([x, y]: [f32; 2], [w, h]: [f32; 2], angle: f32) -> [[f32; 2]; 4] {
    let (sin, cos) = angle.sin_cos();
    let ([ax, ay], [bx, by]) = ([w / 2.0 * cos, w / 2.0 * sin], [-h / 2.0 * sin, h / 2.0 * cos]);
    [[x - ax - bx, y - ay - by], [x + ax - bx, y + ay - by], [x + ax + bx, y + ay + by], [x - ax + bx, y - ay + by]]
}

/// The upright box around points: left, top, right, bottom.
pub(super) fn around(points: &[[f32; 2]]) -> [f32; 4] {
    points.iter().fold([f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY], |[l, t, r, b], [x, y]| {
        [l.min(*x), t.min(*y), r.max(*x), b.max(*y)]
    })
}

/// Overlap of two turned boxes, 0–1, as the Hellinger distance of normal distributions has it: Llerena et al., Gaussian Bounding Boxes and
/// Probabilistic Intersection-over-Union for Object Detection, 2021. Ultralytics' NMS of turned boxes uses it with these constants.
pub(super) fn probable(a: &Candidate, b: &Candidate) -> f32 {
    const EPS: f32 = 1e-7;
    let spread = |c: &Candidate| {
        let [l, t, r, bottom] = c.corners;
        let (w, h) = ((r - l).powi(2) / 12.0, (bottom - t).powi(2) / 12.0);
        let (sin, cos) = c.angle.sin_cos();
        (
            [f32::midpoint(l, r), f32::midpoint(t, bottom)],
            [w * cos * cos + h * sin * sin, w * sin * sin + h * cos * cos, (w - h) * cos * sin],
        )
    };
    let (([x1, y1], [a1, b1, c1]), ([x2, y2], [a2, b2, c2])) = (spread(a), spread(b));
    let (a, b, c) = (a1 + a2, b1 + b2, c1 + c2);
    let below = a * b - c * c + EPS;
    let near = (a * (y1 - y2).powi(2) + b * (x1 - x2).powi(2)) / below * 0.25;
    let skew = c * (x2 - x1) * (y1 - y2) / below * 0.5;
    let own = |a: f32, b: f32, c: f32| (a * b - c * c).max(0.0);
    let alike = ((a * b - c * c) / (4.0 * (own(a1, b1, c1) * own(a2, b2, c2)).sqrt() + EPS) + EPS).ln() * 0.5;
    let distance = (near + skew + alike).clamp(EPS, 100.0);
    1.0 - (1.0 - (-distance).exp() + EPS).sqrt()
}

/// Area of a polygon whose corners go around it.
fn area(polygon: &[[f32; 2]]) -> f32 {
    let next = polygon.iter().cycle().skip(1);
    (polygon.iter().zip(next).map(|([ax, ay], [bx, by])| ax * by - bx * ay).sum::<f32>() / 2.0).abs()
}

/// Intersection over union of two convex polygons, by cutting one along the sides of the other (Sutherland and Hodgman, 1974).
pub(super) fn overlap(a: &[[f32; 2]; 4], b: &[[f32; 2]; 4]) -> f32 {
    let middle = |p: &[[f32; 2]; 4]| p.iter().fold([0.0, 0.0], |[x, y], [px, py]| [x + px / 4.0, y + py / 4.0]);
    let mut left: Vec<[f32; 2]> = a.to_vec();
    let inner = middle(b);
    for (from, to) in b.iter().zip(b.iter().cycle().skip(1)) {
        let side = |[x, y]: [f32; 2]| (to[0] - from[0]) * (y - from[1]) - (to[1] - from[1]) * (x - from[0]);
        let sign = side(inner).signum();
        let inside = |p: [f32; 2]| side(p) * sign;
        let mut kept = Vec::with_capacity(left.len() + 1);
        for (&p, &q) in left.iter().zip(left.iter().cycle().skip(1)) {
            let (at, then) = (inside(p), inside(q));
            if at >= 0.0 {
                kept.push(p);
            }
            if (at > 0.0 && then < 0.0) || (at < 0.0 && then > 0.0) {
                let share = at / (at - then);
                kept.push([p[0] + (q[0] - p[0]) * share, p[1] + (q[1] - p[1]) * share]);
            }
        }
        left = kept;
    }
    let both = area(&left);
    let any = area(a) + area(b) - both;
    if any > 0.0 { (both / any).clamp(0.0, 1.0) } else { 0.0 }
}

/// Centre, sides and angle of a box.
type Turned = ([f32; 2], [f32; 2], f32);

/// The smallest box around points, however it is turned. It has a side along one of the hull. `None` of no point.
pub(super) fn smallest(points: &mut Vec<[f32; 2]>) -> Option<Turned> {
    let hull = hull(points);
    let first = *hull.first()?;
    if hull.len() == 1 {
        return Some((first, [0.0, 0.0], 0.0));
    }
    let mut best: Option<(f32, Turned)> = None;
    for (from, to) in hull.iter().zip(hull.iter().cycle().skip(1)) {
        let angle = (to[1] - from[1]).atan2(to[0] - from[0]);
        let (sin, cos) = angle.sin_cos();
        let turned: Vec<[f32; 2]> = hull.iter().map(|[x, y]| [x * cos + y * sin, y * cos - x * sin]).collect();
        let [l, t, r, b] = around(&turned);
        let (w, h) = (r - l, b - t);
        if best.is_none_or(|(size, _)| w * h < size) {
            let (x, y) = (f32::midpoint(l, r), f32::midpoint(t, b));
            best = Some((w * h, ([x * cos - y * sin, x * sin + y * cos], [w, h], angle)));
        }
    }
    best.map(|(_, found)| found)
}

/// The convex hull, by Andrew's monotone chain.
fn hull(points: &mut Vec<[f32; 2]>) -> Vec<[f32; 2]> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    let cross = |o: [f32; 2], a: [f32; 2], b: [f32; 2]| (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]);
    let chain = |points: &mut dyn Iterator<Item = [f32; 2]>| {
        let mut kept: Vec<[f32; 2]> = Vec::new();
        for point in points {
            while let [.., o, a] = kept.as_slice()
                && cross(*o, *a, point) <= 0.0
            {
                kept.pop();
            }
            kept.push(point);
        }
        kept
    };
    let mut lower = chain(&mut points.iter().copied());
    let mut upper = chain(&mut points.iter().rev().copied());
    if points.len() > 1 {
        lower.pop();
        upper.pop();
    } else {
        upper.clear();
    }
    lower.append(&mut upper);
    lower
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "whole numbers")]
mod tests {
    use super::*;

    fn candidate(x: f32, y: f32, w: f32, h: f32, angle: f32) -> Candidate {
        Candidate { label: 0, score: 1.0, corners: [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0], angle, row: 0 }
    }

    #[test]
    fn turned_boxes_overlap_as_polygons_do() {
        let flat = corners([10.0, 10.0], [8.0, 4.0], 0.0);
        assert_eq!(flat, [[6.0, 8.0], [14.0, 8.0], [14.0, 12.0], [6.0, 12.0]]);
        assert!((overlap(&flat, &flat) - 1.0).abs() < 1e-5);
        let half_turn = corners([10.0, 10.0], [8.0, 4.0], std::f32::consts::PI);
        assert!((overlap(&flat, &half_turn) - 1.0).abs() < 1e-4);
        // A cross of 8 × 4 and 4 × 8: 16 of 48.
        let upright = corners([10.0, 10.0], [8.0, 4.0], std::f32::consts::FRAC_PI_2);
        assert!((overlap(&flat, &upright) - 1.0 / 3.0).abs() < 1e-4);
        assert!(overlap(&flat, &corners([100.0, 10.0], [8.0, 4.0], 1.0)).abs() < 1e-6);
        // The other way round.
        let mut turned = flat;
        turned.reverse();
        assert!((overlap(&flat, &turned) - 1.0).abs() < 1e-5);
        assert!(overlap(&[[0.0; 2]; 4], &flat).abs() < 1e-6);
    }

    #[test]
    fn probable_overlap_is_that_of_the_reference() {
        // `ultralytics.utils.metrics.probiou` 8.4.190.
        let a = candidate(50.0, 50.0, 40.0, 20.0, 0.3);
        assert!(probable(&a, &a) > 0.999);
        assert!(probable(&a, &candidate(500.0, 50.0, 40.0, 20.0, 0.3)) < 1e-4);
        let near = probable(&a, &candidate(54.0, 48.0, 40.0, 20.0, 0.5));
        assert!((0.5..0.95).contains(&near), "{near}");
    }

    #[test]
    fn the_smallest_box_lies_along_the_hull() {
        let wanted = corners([30.0, 20.0], [20.0, 6.0], 0.4);
        let mut points: Vec<[f32; 2]> = wanted.to_vec();
        points.extend([[30.0, 20.0], [31.0, 20.5], wanted[0]]);
        let (centre, sides, angle) = smallest(&mut points).unwrap();
        assert!(overlap(&corners(centre, sides, angle), &wanted) > 0.999);
        assert_eq!(smallest(&mut vec![[3.0, 4.0]; 5]).unwrap().1, [0.0, 0.0]);
        let (_, [w, h], _) = smallest(&mut vec![[0.0, 0.0], [3.0, 4.0], [1.5, 2.0]]).unwrap();
        assert!((w.max(h) - 5.0).abs() < 1e-4 && w.min(h).abs() < 1e-4);
        assert!(smallest(&mut Vec::new()).is_none());
    }
}
