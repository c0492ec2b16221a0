//! Rows of pixels → the tensor, with its border.

use app_package::pipeline::{Color, Fit, Layout, PreImage};

use super::resize::Row;

/// Gray of the border where the app names none.
const FILL: u8 = 114;

/// A channel of the tensor: `value = (pixel / scale - mean) / std`, each step rounded to FP32 as numpy and torch do it. Factors instead of
/// divisors differ in the last bit, which moved a score of a recurrent network by 0.017.
#[derive(Debug, Clone)]
struct Channel {
    scale: f32,
    mean: f32,
    std: f32,
    /// The values of all bytes: a look-up costs less than two divisions.
    bytes: [f32; 256],
    fill: f32,
}

impl Channel {
    fn new(pre: &PreImage, number: usize) -> Self {
        let mean = pre.mean.get(number).copied().unwrap_or(0.0);
        let std = pre.std.get(number).copied().unwrap_or(1.0);
        let mut channel = Self { scale: pre.scale, mean, std, bytes: [0.0; 256], fill: 0.0 };
        channel.bytes = std::array::from_fn(|byte| channel.value(u8::try_from(byte).map_or(0.0, f32::from)));
        let fill = if let [all] = pre.fill.as_slice() { *all } else { pre.fill.get(number).copied().unwrap_or(FILL) };
        // Reference code of `pad` makes the tensor of zeros.
        channel.fill = if pre.fit == Fit::Pad && pre.fill.is_empty() { 0.0 } else { channel.byte(fill) };
        channel
    }

    fn value(&self, pixel: f32) -> f32 {
        (pixel / self.scale - self.mean) / self.std
    }

    fn byte(&self, pixel: u8) -> f32 {
        self.bytes.get(usize::from(pixel)).copied().unwrap_or_default()
    }
}

/// The tensor while it is filled.
pub(super) struct Canvas<'a> {
    out: &'a mut [f32],
    channels: Vec<Channel>,
    width: usize,
    planes: bool,
    /// Whether blue comes first.
    bgr: bool,
}

impl<'a> Canvas<'a> {
    /// Sizes `out`. What it held stays until rows and border have been written.
    pub fn new(pre: &PreImage, (width, height): (u32, u32), out: &'a mut Vec<f32>) -> Self {
        let count = super::channels(pre.color);
        let (width, height) = (width as usize, height as usize);
        out.resize(width * height * count, 0.0);
        let channels = (0..count).map(|number| Channel::new(pre, number)).collect();
        Self { out, channels, width, planes: count == 1 || pre.layout == Layout::Nchw, bgr: pre.color == Color::Bgr }
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

    /// Writes a row of a picture of `P` lanes, of which the first three are red, green and blue; a gray one of one lane goes to each channel.
    pub fn row<const P: usize>(&mut self, left: usize, y: usize, row: Row<'_, P>) {
        match row {
            Row::Bytes(line) => self.write(left, y, line, Channel::byte),
            Row::Floats(line) => self.write(left, y, line, Channel::value),
        }
    }

    fn write<T: Copy, const P: usize>(&mut self, left: usize, y: usize, line: &[[T; P]], value: impl Fn(&Channel, T) -> f32) {
        let begin = y * self.width + left;
        let places = begin..begin + line.len();
        match (self.channels.as_slice(), self.planes) {
            ([channel], _) => {
                let row = self.out.get_mut(places).unwrap_or_default();
                for (out, pixel) in row.iter_mut().zip(line) {
                    if let [gray, ..] = pixel.as_slice() {
                        *out = value(channel, *gray);
                    }
                }
            }
            ([first, second, third], true) => {
                let size = self.out.len() / 3;
                let (one, rest) = self.out.split_at_mut_checked(size).unwrap_or_default();
                let (two, three) = rest.split_at_mut_checked(size).unwrap_or_default();
                let [one, two, three] = [one, two, three].map(|plane| plane.get_mut(places.clone()).unwrap_or_default());
                let (reds, blues, red, blue) = if self.bgr { (three, one, third, first) } else { (one, three, first, third) };
                for (((r, g), b), pixel) in reds.iter_mut().zip(two).zip(blues).zip(line) {
                    let Some(pixel) = colours(pixel) else { continue };
                    (*r, *g, *b) = (value(red, pixel[0]), value(second, pixel[1]), value(blue, pixel[2]));
                }
            }
            ([first, second, third], false) => {
                let bgr = self.bgr;
                let (red, blue) = if bgr { (third, first) } else { (first, third) };
                let (row, _) = self.out.get_mut(begin * 3..(begin + line.len()) * 3).unwrap_or_default().as_chunks_mut::<3>();
                for (out, pixel) in row.iter_mut().zip(line) {
                    let Some(pixel) = colours(pixel) else { continue };
                    let [r, g, b] = [value(red, pixel[0]), value(second, pixel[1]), value(blue, pixel[2])];
                    *out = if bgr { [b, g, r] } else { [r, g, b] };
                }
            }
            _ => {}
        }
    }
}

/// Red, green and blue of a pixel; a gray one has one lane for all. Which it is is known when this is compiled.
fn colours<T: Copy, const P: usize>(pixel: &[T; P]) -> Option<[T; 3]> {
    match pixel.as_slice() {
        [r, g, b, ..] => Some([*r, *g, *b]),
        [gray] => Some([*gray; 3]),
        _ => None,
    }
}
