//! The last frames of moving pictures, prepared, for models that take several at once.

use std::{collections::VecDeque, time::Duration};

use app_package::pipeline::{ClipLayout, PreClip};
use image::DynamicImage;

use crate::{
    error::{AppError, Result},
    geometry::Geometry,
    picture,
};

/// The last frames at one camera, or of one clip, as tensors `[c, h, w]`, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    kept: VecDeque<(Duration, Vec<f32>)>,
    /// Where the last picture lies in its part of the tensor.
    pub geometry: Option<Geometry>,
}

impl Frames {
    /// Keeps a frame. Of frames that come much faster than the model wants them some are left out, so that at most four are kept for each that
    /// it takes. Codes as [`picture::to_tensor`].
    pub fn keep(&mut self, pre: &PreClip, picture: &DynamicImage, now: Duration) -> Result<()> {
        let every = pre.every.get();
        let mut newest = self.kept.iter().rev().map(|(time, _)| *time);
        if let (Some(last), Some(before)) = (newest.next(), newest.next())
            && last.saturating_sub(before) < every / 4
        {
            self.kept.pop_back();
        }
        // One more than the window, for what is nearest to its beginning.
        let window = every.saturating_mul(pre.frames);
        let mut buffer = Vec::new();
        while self.kept.front().is_some_and(|(time, _)| now.saturating_sub(*time) > window) {
            buffer = self.kept.pop_front().map(|(_, buffer)| buffer).unwrap_or_default();
        }
        let numbers = u64::from(pre.image.width) * u64::from(pre.image.height) * 3;
        let more = usize::try_from(numbers).unwrap_or(usize::MAX).saturating_sub(buffer.len());
        buffer.try_reserve_exact(more).map_err(|_| AppError::new("out-of-memory", "no memory is left for the frames"))?;
        self.geometry = Some(picture::to_tensor(&pre.image, picture, &mut buffer)?.1);
        self.kept.push_back((now, buffer));
        Ok(())
    }

    /// Fills the tensor up to the last frame: for each place the frame that is nearest in time, the first one where there was none yet.
    pub fn fill(&self, pre: &PreClip, out: &mut Vec<f32>) {
        out.clear();
        let Some((now, last)) = self.kept.back() else { return };
        let steps = (0..pre.frames).rev();
        let at = steps.map(|back| now.checked_sub(pre.every.get().saturating_mul(back)));
        let near = |at: Option<Duration>| {
            let at = at.unwrap_or_default();
            self.kept.iter().min_by_key(|(time, _)| time.abs_diff(at)).map_or(last.as_slice(), |(_, frame)| frame.as_slice())
        };
        let frames: Vec<&[f32]> = at.map(near).collect();
        match pre.layout {
            ClipLayout::Ntchw => frames.iter().for_each(|frame| out.extend_from_slice(frame)),
            ClipLayout::Ncthw => {
                let plane = usize::try_from(u64::from(pre.image.width) * u64::from(pre.image.height)).unwrap_or(usize::MAX);
                for channel in 0..last.len() / plane.max(1) {
                    let planes = frames.iter().filter_map(|frame| frame.chunks_exact(plane).nth(channel));
                    planes.for_each(|plane| out.extend_from_slice(plane));
                }
            }
        }
    }
}

/// The shape of the tensor.
pub(crate) fn shape(pre: &PreClip) -> Vec<i64> {
    let n = i64::from(pre.frames);
    let mut shape = picture::shape(&pre.image);
    shape.insert(if pre.layout == ClipLayout::Ncthw { 2.min(shape.len()) } else { 1 }, n);
    shape
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    fn pre(layout: &str) -> PreClip {
        let image = serde_json::json!({"width": 2, "height": 1, "scale": 1.0});
        serde_json::from_value(serde_json::json!({"image": image, "frames": 3, "every": "200ms", "layout": layout})).unwrap()
    }

    /// Frames whose red is their time in tens of milliseconds, and whose green is 1.
    fn filled(layout: &str, times: &[u64]) -> Vec<f32> {
        let mut frames = Frames::default();
        for time in times {
            let red = u8::try_from(time / 10).unwrap();
            frames.keep(&pre(layout), &RgbImage::from_pixel(4, 4, image::Rgb([red, 1, 0])).into(), Duration::from_millis(*time)).unwrap();
        }
        let mut out = Vec::new();
        frames.fill(&pre(layout), &mut out);
        assert!(frames.kept.len() <= 13, "{}", frames.kept.len());
        out
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn frames_are_at_their_distance_and_in_either_layout() {
        assert_eq!(shape(&pre("ncthw")), [1, 3, 3, 1, 2]);
        assert_eq!(shape(&pre("ntchw")), [1, 3, 3, 1, 2]);
        let even = [0, 200, 400, 600, 800];
        assert_eq!(
            filled("ncthw", &even),
            [40.0, 40.0, 60.0, 60.0, 80.0, 80.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(filled("ntchw", &even)[..12], [40.0, 40.0, 1.0, 1.0, 0.0, 0.0, 60.0, 60.0, 1.0, 1.0, 0.0, 0.0]);
        let red = |times: &[u64]| [0, 2, 4].map(|at| filled("ncthw", times)[at]);
        assert_eq!(red(&[0]), [0.0, 0.0, 0.0], "the first one is repeated");
        assert_eq!(red(&[100, 300]), [10.0, 10.0, 30.0]);
        // Twenty-five frames a second, and uneven ones.
        assert_eq!(red(&(0..50).map(|n| n * 40).collect::<Vec<_>>()), [152.0, 176.0, 196.0]);
        assert_eq!(red(&[0, 170, 390, 1_010, 1_190, 1_420]), [101.0, 119.0, 142.0]);
    }
}
