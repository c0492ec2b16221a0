use image::Rgb;
use serde_json::json;

use super::*;

/// Black frames of 320 × 180, five a second.
fn black(n: usize) -> Vec<u8> {
    let picture = RgbImage::new(320, 180);
    clip::write(&vec![jpeg(&picture, usize::MAX).unwrap(); n], (1, 5), [320, 180])
}

fn result() -> AppOutput {
    serde_json::from_value(json!({"events": [
        {"rule": "inside", "zone": "danger", "begin": 1.0, "end": 1.4}, {"zone": "danger", "begin": 0.4, "end": 1.4}, {"line": "gate", "begin": 99.0, "end": 99.0},
    ]}))
    .unwrap()
}

/// Somebody who goes to the right by 4 pixels a frame, with his feet at 120.
fn trace(frames: u16) -> Trace {
    let mut trace = Trace::default();
    for n in 0..frames {
        let person = Detection { track: Some(7), ..Detection::new("person", 0.9, [100.0 + 4.0 * f32::from(n), 80.0, 20.0, 40.0]) };
        trace.add(&[Detection::new("bar", 0.95, [-50.0, f32::NAN, 1e30, 5.0]), person]);
    }
    trace
}

fn with<T>(result: &AppOutput, trace: &Trace, work: impl FnOnce(&Scenery<'_>) -> T) -> T {
    let drawn: Drawn = serde_json::from_value(json!({
        "zones": {"danger": [[0.5, 0.1], [0.9, 0.1], [0.9, 0.9], [0.5, 0.9]]}, "lines": {"gate": [[0.25, 0.9], [0.25, 0.1]]},
    }))
    .unwrap();
    let rules: Vec<AlarmRule> =
        serde_json::from_value(json!([{"id": "inside", "when": "true", "level": "critical", "text": {"en": "x"}}])).unwrap();
    work(&Scenery { drawn: &drawn, rules: &rules, labels: &["person", "bar"], result, trace })
}

/// Whether a pixel is nearly of a colour.
fn is(picture: &RgbImage, x: u32, y: u32, colour: [u8; 3]) -> bool {
    let Rgb(found) = *picture.get_pixel(x, y);
    found.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 2)
}

#[test]
fn places_objects_ways_and_alarms_are_drawn() {
    let (result, trace) = (result(), trace(10));
    let times: Vec<f64> = (0..10u32).map(|n| f64::from(n) / 5.0).collect();
    let frame = |at: usize| with(&result, &trace, |scenery| scenery.paint(at, &times, &DynamicImage::ImageRgb8(RgbImage::new(320, 180))));
    let sixth = frame(6);
    // The zone's upper side, and inside of it a quarter of its colour; the line, and its arrow to the right of the way up.
    assert!(is(&sixth, 280, 18, ZONE) && is(&sixth, 270, 100, [63, 15, 15]) && is(&sixth, 20, 150, [0; 3]));
    assert!(is(&sixth, 80, 120, LINE) && is(&sixth, 95, 90, LINE) && !is(&sixth, 65, 90, LINE));
    // The box, its feet at 134 now, and where they were in the last second, but not before.
    assert!(is(&sixth, 124, 100, COLOURS[0]) && is(&sixth, 144, 100, COLOURS[0]) && is(&sixth, 134, 120, COLOURS[0]));
    assert!(is(&sixth, 118, 120, COLOURS[0]) && !is(&sixth, 111, 120, COLOURS[0]));
    // The alarm goes on from 1.0 to 1.4 s.
    let red = level(AlarmLevel::Critical);
    assert!(is(&sixth, 0, 0, red) && !is(&frame(4), 0, 0, red) && is(&frame(5), 0, 0, red) && !is(&frame(7), 0, 0, red));
    // Words are there: light on dark.
    let light =
        |picture: &RgbImage| (0..90).flat_map(|x| (0..10).map(move |y| (x, y))).filter(|(x, y)| is(picture, *x, *y, [255; 3])).count();
    assert!(light(&sixth) > 60 && light(&frame(7)) == 0);
}

#[test]
fn a_clip_is_written_with_a_picture_of_each_event() {
    let (bytes, result, trace) = (black(10), result(), trace(10));
    let shown = with(&result, &trace, |scenery| clip(&bytes, scenery)).unwrap();
    let written = clip::read(&shown.avi).unwrap();
    assert_eq!((shown.frames, written.count(), written.time(5)), (10, 10, std::time::Duration::from_secs(1)));
    let frames: Vec<RgbImage> = written.frames().map(|frame| frame.unwrap().1.to_rgb8()).collect();
    assert!(frames.iter().all(|frame| frame.dimensions() == (320, 180)));
    // In the order of frames; one that begins after the clip is shown in its last frame.
    assert_eq!(shown.stills.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 0, 2]);
    let still = |n: usize| image::load_from_memory(&shown.stills[n].1).unwrap().to_rgb8();
    assert!(still(0) == frames[2] && still(1) == frames[5] && still(2) == frames[9]);
    assert_eq!(with(&result, &trace, |scenery| clip(&bytes[..bytes.len() / 2], scenery)).unwrap_err().code, "input-not-a-clip");
}

#[test]
fn what_is_drawn_is_bounded() {
    // Larger frames are made smaller, and what is not there is not drawn.
    let large = DynamicImage::ImageRgb8(RgbImage::new(1_920, 1_080));
    let (nothing, empty) = (AppOutput::default(), Trace::default());
    let painted = with(&nothing, &empty, |scenery| scenery.paint(3, &[], &large));
    assert_eq!(painted.dimensions(), (960, 540));
    let tiny = DynamicImage::ImageRgb8(RgbImage::new(1, 1));
    with(&result(), &trace(2), |scenery| scenery.paint(1, &[0.0, 0.2], &tiny));
    // Objects with a track go first, and what a frame keeps has a bound.
    let mut trace = Trace::default();
    let mut many = vec![Detection::new("bar", 0.9, [0.0; 4]); 300];
    many.push(Detection { track: Some(1), ..Detection::new("p".repeat(300), 0.1, [1.26, 2.0, 3.0, 4.0]) });
    trace.add(&many);
    assert_eq!((trace.frames[0].len(), trace.frames[0][0].track, trace.frames[0][0].label.len()), (MAX_OBJECTS, Some(1), 60));
    assert!(serde_json::to_string(&trace).unwrap().len() < 2_000);
    // A clip that is too large even so ends sooner; the pictures of events are there all the same.
    let shown = with(&result(), &Trace::default(), |scenery| clip_within(&black(10), scenery, 12_000)).unwrap();
    assert!(shown.cut() && (1..10).contains(&shown.frames) && shown.stills.len() == 3, "{} frames", shown.frames);
    assert_eq!(clip::read(&shown.avi).unwrap().count(), shown.frames);
    // A picture that is too large for its share is written anew with a lower quality.
    let noise = RgbImage::from_fn(200, 200, |x, y| {
        Rgb([(x * 37 + y * 91).to_le_bytes()[0], (x * y).to_le_bytes()[0], (x ^ (y * 5)).to_le_bytes()[0]])
    });
    assert!(jpeg(&noise, 1_000).unwrap().len() < jpeg(&noise, usize::MAX).unwrap().len());
}
