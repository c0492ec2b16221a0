//! Rows of pixels → the tensor, with its border.

use app_package::pipeline::{Color, Fit, Layout, PreImage};

/// Gray of the border where the app names none.
const FILL: u8 = 114;

/// A channel of the tensor: `value = pixel * factor + summand`.
#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    factor: f32,
    summand: f32,
    fill: f32,
}

impl Channel {
    fn new(pre: &PreImage, number: usize) -> Self {
        let mean = pre.mean.get(number).copied().unwrap_or(0.0);
        let std = pre.std.get(number).copied().unwrap_or(1.0);
        // (p / scale - mean) / std
        let (factor, summand) = (1.0 / (pre.scale * std), -mean / std);
        let fill = if let [all] = pre.fill.as_slice() { *all } else { pre.fill.get(number).copied().unwrap_or(FILL) };
        // Reference code of `pad` makes the tensor of zeros.
        let fill = if pre.fit == Fit::Pad && pre.fill.is_empty() { 0.0 } else { f32::from(fill) * factor + summand };
        Self { factor, summand, fill }
    }

    fn of(self, pixel: f32) -> f32 {
        pixel * self.factor + self.summand
    }
}

/// The tensor while it is filled.
pub(super) struct Canvas<'a> {
    out: &'a mut [f32],
    channels: Vec<Channel>,
    width: usize,
    planes: bool,
    color: Color,
}

impl<'a> Canvas<'a> {
    /// Sizes `out`. What it held stays until rows and border have been written.
    pub fn new(pre: &PreImage, (width, height): (u32, u32), out: &'a mut Vec<f32>) -> Self {
        let count = super::channels(pre.color);
        let (width, height) = (width as usize, height as usize);
        out.resize(width * height * count, 0.0);
        let channels = (0..count).map(|number| Channel::new(pre, number)).collect();
        Self { out, channels, width, planes: count == 1 || pre.layout == Layout::Nchw, color: pre.color }
    }

    /// Writes the border around a picture of this size.
    pub fn frame(&mut self, (left, top): (usize, usize), (width, height): (usize, usize)) {
        let (size, rows) = (self.width, top..top + height);
        let outside = |y: usize| if rows.contains(&y) { [0..left, left + width..size] } else { [0..size, 0..0] };
        if self.planes {
            let height = self.out.len() / self.channels.len().max(1) / size;
            for (plane, channel) in self.out.chunks_exact_mut(size * height.max(1)).zip(&self.channels) {
                for (y, row) in plane.chunks_exact_mut(size).enumerate() {
                    for part in outside(y) {
                        row.get_mut(part).unwrap_or_default().fill(channel.fill);
                    }
                }
            }
        } else {
            for (y, row) in self.out.chunks_exact_mut(size * self.channels.len()).enumerate() {
                for part in outside(y) {
                    let part = part.start * self.channels.len()..part.end * self.channels.len();
                    for pixel in row.get_mut(part).unwrap_or_default().chunks_exact_mut(self.channels.len()) {
                        for (value, channel) in pixel.iter_mut().zip(&self.channels) {
                            *value = channel.fill;
                        }
                    }
                }
            }
        }
    }

    /// Writes a row of a gray picture, to each channel.
    pub fn gray_row(&mut self, left: usize, y: usize, line: &[[f32; 1]]) {
        if self.planes {
            for number in 0..self.channels.len() {
                self.plane_row(number, left, y, line, |[gray]| gray);
            }
        } else {
            self.pixel_row(left, y, line, |[gray]| [gray; 3]);
        }
    }

    /// Writes a row of a picture in red, green, blue; the fourth lane does not count.
    pub fn color_row(&mut self, left: usize, y: usize, line: &[[f32; 4]]) {
        match (self.planes, self.color) {
            (true, Color::Bgr) => {
                self.plane_row(0, left, y, line, |[_, _, b, _]| b);
                self.plane_row(1, left, y, line, |[_, g, _, _]| g);
                self.plane_row(2, left, y, line, |[r, _, _, _]| r);
            }
            (true, _) => {
                self.plane_row(0, left, y, line, |[r, _, _, _]| r);
                self.plane_row(1, left, y, line, |[_, g, _, _]| g);
                self.plane_row(2, left, y, line, |[_, _, b, _]| b);
            }
            (false, Color::Bgr) => self.pixel_row(left, y, line, |[r, g, b, _]| [b, g, r]),
            (false, _) => self.pixel_row(left, y, line, |[r, g, b, _]| [r, g, b]),
        }
    }

    fn plane_row<const P: usize>(&mut self, number: usize, left: usize, y: usize, line: &[[f32; P]], pick: impl Fn([f32; P]) -> f32) {
        let size = self.out.len() / self.channels.len().max(1);
        let begin = number * size + y * self.width + left;
        let Some(channel) = self.channels.get(number).copied() else { return };
        let row = self.out.get_mut(begin..begin + line.len()).unwrap_or_default();
        for (value, &pixel) in row.iter_mut().zip(line) {
            *value = channel.of(pick(pixel));
        }
    }

    fn pixel_row<const P: usize>(&mut self, left: usize, y: usize, line: &[[f32; P]], pick: impl Fn([f32; P]) -> [f32; 3]) {
        let [first, second, third] = self.channels.as_slice() else { return };
        let begin = (y * self.width + left) * 3;
        let (row, _) = self.out.get_mut(begin..begin + line.len() * 3).unwrap_or_default().as_chunks_mut::<3>();
        for (value, &pixel) in row.iter_mut().zip(line) {
            let [a, b, c] = pick(pixel);
            *value = [first.of(a), second.of(b), third.of(c)];
        }
    }
}
