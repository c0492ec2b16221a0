//! Samples → their spectrum: frames, windows, bands, decibels, as SciPy, librosa and torchaudio make them.

use serde::{Deserialize, Serialize};

use super::super::is_default;

/// The spectrum of a window of samples. In this order: envelope, frames, transform, mean of the frames, bands, logarithm, mean and deviation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spectrum {
    /// Samples a second of the rows; sound says it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Samples of a transform (`n_fft`); it gives `fft / 2 + 1` frequencies.
    pub fft: u32,
    /// Samples of a frame (`win_length`), in the middle of the transform with zeros around it; `fft` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u32>,
    /// Samples from one frame to the next; half a frame where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// What a frame is multiplied by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub window: Taper,
    /// What lies before and behind the samples, where frames have their middle at a multiple of `hop`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pad: Pad,
    /// The spectrum is that of the envelope of a band: of how strong it is from sample to sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Band>,
    /// Magnitudes or their squares.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scale: SpectrumScale,
    /// What the squares are divided by.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm: SpectrumNorm,
    /// One frame, the mean of the squares of all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub average: bool,
    /// In the place of frequencies the sum of the squares in each of these bands, its lower end among them and its upper end not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Band>,
    /// In the place of frequencies triangles on the mel scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mel: Option<Mel>,
    /// The logarithm that is taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log: SpectrumLog,
    /// Of a logarithm: what is smaller counts as this.
    #[serde(default = "tiny", skip_serializing_if = "is_tiny")]
    pub floor: f64,
    /// Of a logarithm: added before it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offset: f64,
    /// Of a logarithm: what lies more than this below the largest is raised to that (`top_db`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<f64>,
    /// Order of the tensor's dimensions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layout: SpectrumLayout,
    /// Taken off at the end: one number, one per frequency or band, or empty for 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f32>,
    /// What is then divided by, or empty for 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f32>,
}

impl Spectrum {
    /// Samples of a frame.
    pub fn frame(&self) -> u32 {
        self.frame.unwrap_or(self.fft)
    }

    /// Frames of so many samples.
    pub fn frames(&self, samples: u64) -> u64 {
        if self.average {
            return 1;
        }
        self.transforms(samples)
    }

    /// Transforms of so many samples.
    pub fn transforms(&self, samples: u64) -> u64 {
        let hop = u64::from(self.hop.unwrap_or(self.frame() / 2).max(1));
        let rest = if self.pad == Pad::None { samples.checked_sub(u64::from(self.frame())) } else { Some(samples) };
        rest.map_or(0, |rest| rest / hop + 1)
    }

    /// Numbers of a frame.
    pub fn width(&self) -> usize {
        match (&self.mel, self.bands.len()) {
            (Some(mel), _) => mel.bands as usize,
            (None, 0) => self.fft as usize / 2 + 1,
            (None, bands) => bands,
        }
    }

    /// The shape of the tensor of so many samples of so many columns.
    pub fn shape(&self, samples: u64, columns: usize) -> Vec<i64> {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (t, f, c) = (whole(self.frames(samples)), whole(self.width() as u64), whole(columns as u64));
        match self.layout {
            SpectrumLayout::Ntf => vec![1, t, f],
            SpectrumLayout::Nft => vec![1, f, t],
            SpectrumLayout::Nctf => vec![1, c, t, f],
            SpectrumLayout::Ncft => vec![1, c, f, t],
            SpectrumLayout::Flat => vec![1, c.saturating_mul(t).saturating_mul(f)],
        }
    }
}

/// A range of frequencies, in Hz.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Triangles of which each begins in the middle of the one before, evenly on the mel scale (`librosa.filters.mel`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mel {
    /// How many.
    pub bands: u32,
    /// Where the first begins, in Hz.
    #[serde(default, skip_serializing_if = "is_default")]
    pub low: f64,
    /// Where the last ends, in Hz; half the rate where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// How high the triangles are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norm: MelNorm,
    /// What makes a mel of a frequency.
    #[serde(default, skip_serializing_if = "is_default")]
    pub formula: MelFormula,
}

/// Windows, periodic as `scipy.signal.get_window` makes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Taper {
    /// 0.5 − 0.5 cos.
    #[default]
    Hann,
    /// 0.54 − 0.46 cos.
    Hamming,
    /// As the samples are.
    None,
}

/// What lies before and behind the samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pad {
    /// Nothing: frames lie within the samples (`center=False`).
    #[default]
    None,
    /// Zeros (librosa's `center=True`).
    Zeros,
    /// The samples, mirrored at the first and the last (torchaudio's `center=True`).
    Reflect,
}

/// What a transform gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrumScale {
    /// Magnitudes.
    #[default]
    Amplitude,
    /// Squares of magnitudes.
    Power,
}

/// What the squares of magnitudes are divided by; of both named ones those at frequencies that stand for their negative, too, count twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrumNorm {
    /// Nothing.
    #[default]
    None,
    /// The square of the window's sum: a sine's effective value is its amplitude (`scaling="spectrum"` of SciPy's `welch`).
    Spectrum,
    /// The sum of the window's squares and the rate: what is there per Hz (`scaling="density"`).
    Density,
}

/// A logarithm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrumLog {
    /// None.
    #[default]
    None,
    /// Decibels: 10 log10 of squares, 20 log10 of magnitudes.
    Db,
    /// To the base e.
    Ln,
    /// To the base 10.
    Log10,
}

/// Height of a mel triangle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelNorm {
    /// 2 / its width in Hz (librosa's default).
    #[default]
    Slaney,
    /// 1 (torchaudio's default).
    None,
}

/// The mel scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelFormula {
    /// Even up to 1 kHz, then logarithmic (librosa's default).
    #[default]
    Slaney,
    /// 2595 log10(1 + f / 700) (torchaudio's default).
    Htk,
}

/// Order of a spectrum's dimensions: batch, column, time, frequency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrumLayout {
    /// `[1, frames, frequencies]`, of one column.
    #[default]
    Ntf,
    /// `[1, frequencies, frames]`, of one column.
    Nft,
    /// `[1, columns, frames, frequencies]`.
    Nctf,
    /// `[1, columns, frequencies, frames]`.
    Ncft,
    /// `[1, columns*frames*frequencies]`.
    Flat,
}

/// librosa's and torchaudio's.
fn tiny() -> f64 {
    1e-10
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_tiny(floor: &f64) -> bool {
    floor.to_bits() == tiny().to_bits()
}
