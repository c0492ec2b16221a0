//! How an app's input becomes tensors.

mod columns;
mod spectrum;

use serde::{Deserialize, Serialize};

pub use self::columns::{Column, ColumnKind, Missing, PreColumns};
pub use self::spectrum::{Band, Mel, MelFormula, MelNorm, Pad, Spectrum, SpectrumLayout, SpectrumLog, SpectrumNorm, SpectrumScale, Taper};
use super::is_default;
use crate::span::Span;

/// Resize, scale and lay out a picture: `x = (pixel / scale - mean) / std` per channel, in the tensor's order of channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreImage {
    /// Width of the tensor in pixels; of `pad` the least, of `multiple` the most.
    pub width: u32,
    /// Height of the tensor in pixels; of `multiple` the most.
    pub height: u32,
    /// `stretch` (default), `letterbox` (keeps the ratio, pads with `fill`), `crop` (keeps the ratio, cuts the middle out), `pad` (as high as
    /// the tensor, which grows in width) or `multiple` (keeps about the ratio, with sides that a number divides).
    #[serde(default)]
    pub fit: Fit,
    /// Of `crop`: share of the scaled picture's shorter side that is cut out; 0.875 scales the shorter side to 256 for a tensor of 224.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub crop: f64,
    /// Of `letterbox`: where the picture lies.
    #[serde(default, skip_serializing_if = "is_default")]
    pub align: Align,
    /// Of `pad`: the most that the tensor's width grows to; `width` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widest: Option<u32>,
    /// Of `multiple`: what both sides of the tensor are multiples of; 32 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<u32>,
    /// Of `multiple`: a picture whose shorter side has fewer pixels is enlarged until it has so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shorter: Option<u32>,
    /// Of `letterbox` and `pad`: the border, one number for all channels or one per channel of the tensor, 0–255; empty for 114, of `pad` for
    /// 0 in the tensor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fill: Vec<u8>,
    /// How pixels become others where the size changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: Filter,
    /// `rgb` (default), `bgr` or `gray`.
    #[serde(default)]
    pub color: Color,
    /// What pixels are divided by: 255 makes 0–1, 1 keeps 0–255.
    #[serde(default = "byte", skip_serializing_if = "is_byte")]
    pub scale: f32,
    /// `nchw` (default) or `nhwc` or `flat` (`[1, h*w*c]`, row-major HWC).
    #[serde(default)]
    pub layout: Layout,
    /// Mean per channel, or empty for 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// Standard deviation per channel, or empty for 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
    /// Of gray pictures of 16 bits, as thermal and depth cameras make them: the numbers that become 0 and 255. Those between lie evenly, those
    /// outside are cut off, and nothing is rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<[f32; 2]>,
    /// The picture is prepared in parts, and what is found in them is put together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<Tiles>,
}

/// Parts of a picture that overlap, from the left top on; the last of a row and of a column end at the picture's border.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiles {
    /// Width of a part in pixels of the picture.
    pub width: u32,
    /// Height of a part in pixels of the picture.
    pub height: u32,
    /// Share of its sides that a part has in common with the next one.
    #[serde(default = "fifth", skip_serializing_if = "is_fifth")]
    pub overlap: f64,
    /// The whole picture is one more part.
    #[serde(default, skip_serializing_if = "is_default")]
    pub whole: bool,
}

/// How a picture meets the target size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Scale both sides.
    #[default]
    Stretch,
    /// Keep the ratio and pad.
    Letterbox,
    /// Keep the ratio and cut the middle out.
    Crop,
    /// Scale to the height, and pad at the right.
    Pad,
    /// Scale to sides that are multiples of a number.
    Multiple,
}

/// Where a letterboxed picture lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Align {
    /// In the middle, an odd pixel of border at the right or bottom.
    #[default]
    Center,
    /// At the left and top.
    TopLeft,
}

/// A filter, named after what it must equal to within a step of 255.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// `BILINEAR` of Pillow: the support grows when shrinking.
    #[default]
    LinearAntialias,
    /// `INTER_LINEAR` of `OpenCV` on bytes.
    Linear,
    /// The same on floats, not rounded: torchvision on a tensor with `antialias=False`.
    LinearFloat,
    /// `INTER_CUBIC` of `OpenCV` on bytes.
    Cubic,
    /// `BICUBIC` of Pillow.
    CubicAntialias,
    /// `INTER_LANCZOS4` of `OpenCV` on bytes.
    Lanczos,
    /// `LANCZOS` of Pillow.
    LanczosAntialias,
    /// `INTER_AREA` of `OpenCV`.
    Area,
    /// `INTER_NEAREST` of `OpenCV`.
    Nearest,
}

/// Channels of the tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Three channels.
    #[default]
    Rgb,
    /// Three channels, blue first.
    Bgr,
    /// One channel, ITU-R BT.601 luma (0.299 R + 0.587 G + 0.114 B).
    Gray,
}

/// Order of the tensor's dimensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[1, c, h, w]`.
    #[default]
    Nchw,
    /// `[1, h, w, c]`.
    Nhwc,
    /// `[1, h*w*c]`.
    Flat,
}

/// A window of a time series: the last `length` rows; `x = (value - mean) / std` per column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreWindow {
    /// Columns in tensor order.
    pub columns: Vec<Column>,
    /// Rows needed; fewer is an error to the caller.
    pub length: u32,
    /// `time-major` `[1, length, columns]`, `channel-major` `[1, columns, length]` or `flat` `[1, length*columns]` (time-major).
    #[serde(default)]
    pub layout: WindowLayout,
    /// Mean per column, or empty for 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// Standard deviation per column, or empty for 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
    /// Each column becomes its spectrum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<Spectrum>,
}

/// Order of a window's dimensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowLayout {
    /// `[1, length, columns]`.
    #[default]
    TimeMajor,
    /// `[1, columns, length]`.
    ChannelMajor,
    /// `[1, length*columns]`.
    Flat,
}

/// Sound as windows of samples, each with the last samples of the window before it in front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreSound {
    /// Samples a second that the model was made for; sound of another rate is resampled.
    pub rate: u32,
    /// New samples in a window.
    pub length: u32,
    /// Samples of the window before, in front; zeros before the first one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub context: u32,
    /// Samples from the beginning of a window to that of the next one; `length` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// What samples of −1 to 1 are multiplied by; 32768 gives those of 16 bits.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub scale: f32,
    /// What is said of a whole recording from what the model says of its windows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub over: Over,
    /// A window with what is before it becomes its spectrum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<Spectrum>,
}

/// The last frames at a distance; the first one is repeated until there are enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreClip {
    /// How each frame is prepared; its layout is `nchw`.
    pub image: PreImage,
    /// Frames in the tensor.
    pub frames: u32,
    /// From one frame to the next.
    pub every: Span,
    /// Order of the tensor's dimensions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layout: ClipLayout,
}

/// Order of the dimensions of a clip, as models of actions are exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClipLayout {
    /// `[1, c, frames, h, w]`, of 3D convolutions (X3D, `SlowFast`, I3D).
    #[default]
    Ncthw,
    /// `[1, frames, c, h, w]`, of transformers (`VideoMAE`, `TimeSformer`).
    Ntchw,
}

/// One number from those of all windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The largest.
    #[default]
    Max,
    /// Their mean.
    Mean,
    /// The last.
    Last,
}

fn whole() -> f64 {
    1.0
}

fn one() -> f32 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_one(scale: &f32) -> bool {
    scale.to_bits() == one().to_bits()
}

fn fifth() -> f64 {
    0.2
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_fifth(share: &f64) -> bool {
    share.to_bits() == fifth().to_bits()
}

fn byte() -> f32 {
    255.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_whole(share: &f64) -> bool {
    share.to_bits() == whole().to_bits()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_byte(scale: &f32) -> bool {
    scale.to_bits() == byte().to_bits()
}
