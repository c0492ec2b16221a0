//! Samples → their spectrum, as [`Spectrum`] says: equal to SciPy's `welch`, librosa's and torchaudio's `melspectrogram` and their decibels.
//!
//! Computed in FP64 without instructions that only some processors have, so that a node's golden samples do not hang on its processor. The
//! format bounds frames and frequencies ([`app_package::validate`]), so memory is a few times that of the samples and of the tensor.

use std::sync::Arc;

use app_package::pipeline::{
    Band, Mel, MelFormula, MelNorm, Pad, Spectrum, SpectrumLayout, SpectrumLog, SpectrumNorm, SpectrumScale, Taper,
};
use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};

use crate::error::{AppError, Result};

/// What a window of samples becomes, made ready once.
pub struct Analyser {
    spec: Spectrum,
    rate: f64,
    transform: Arc<dyn RealToComplex<f64>>,
    taper: Vec<f64>,
    /// What a square is divided by, and whether those of frequencies that stand for their negative count twice.
    divisor: f64,
    twice: bool,
    /// For each number of a frame the first frequency that counts, and the weights from there on; empty where they are the frequencies.
    weights: Vec<(usize, Vec<f64>)>,
}

impl Analyser {
    /// For samples of this rate, in Hz.
    pub fn new(spec: &Spectrum, rate: f64) -> Self {
        let (fft, frame) = (spec.fft as usize, spec.frame().min(spec.fft) as usize);
        let taper: Vec<f64> = (0..frame).map(|at| taper(spec.window, at, frame)).collect();
        let (sum, squares) = (taper.iter().sum::<f64>(), taper.iter().map(|w| w * w).sum::<f64>());
        let divisor = match spec.norm {
            SpectrumNorm::None => 1.0,
            SpectrumNorm::Spectrum => sum * sum,
            SpectrumNorm::Density => rate * squares,
        };
        let step = rate / real(fft);
        let weights = match &spec.mel {
            Some(mel) => triangles(mel, rate, step, fft / 2 + 1),
            None => spec.bands.iter().map(|band| within(*band, step, fft / 2 + 1)).collect(),
        };
        let transform = RealFftPlanner::new().plan_fft_forward(fft);
        Self { spec: spec.clone(), rate, transform, taper, divisor, twice: spec.norm != SpectrumNorm::None, weights }
    }

    /// The spectra of so many columns, whose samples lie one column after the other. Code `signal-unreadable`.
    pub fn run(&self, samples: &[f32], columns: usize) -> Result<Vec<f32>> {
        let length = samples.len() / columns.max(1);
        let width = self.spec.width();
        let mut all = Vec::new();
        for column in samples.chunks_exact(length.max(1)) {
            let mut column: Vec<f64> = column.iter().copied().map(f64::from).collect();
            if let Some(band) = self.spec.envelope {
                column = envelope(column, band, self.rate)?;
            }
            self.frames(&column, &mut all)?;
        }
        self.level(&mut all);
        let frames = all.len() / (width * columns).max(1);
        let mut out = vec![0.0; all.len()];
        let swapped = matches!(self.spec.layout, SpectrumLayout::Nft | SpectrumLayout::Ncft);
        for (number, row) in all.chunks_exact(width.max(1)).enumerate() {
            let (column, frame) = (number / frames.max(1), number % frames.max(1));
            for (f, value) in row.iter().enumerate() {
                let at = if swapped { (column * width + f) * frames + frame } else { number * width + f };
                if let Some(cell) = out.get_mut(at) {
                    #[expect(clippy::cast_possible_truncation, reason = "tensors are FP32")]
                    let value = *value as f32;
                    *cell = (value - per(&self.spec.mean, f, 0.0)) / per(&self.spec.std, f, 1.0);
                }
            }
        }
        Ok(out)
    }

    /// Adds the rows of frames of one column, before the logarithm.
    fn frames(&self, samples: &[f64], all: &mut Vec<f64>) -> Result<()> {
        let count = usize::try_from(self.spec.transforms(samples.len() as u64)).unwrap_or(0);
        let (fft, frame) = (self.spec.fft as usize, self.taper.len());
        let hop = self.spec.hop.unwrap_or(self.spec.frame() / 2).max(1) as usize;
        // A frame lies in the middle of a transform, and the first transform's middle at the first sample.
        let before = if self.spec.pad == Pad::None { 0 } else { fft / 2 - (fft - frame) / 2 };
        let mut input = self.transform.make_input_vec();
        let mut output = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut mean = vec![0.0; output.len()];
        for number in 0..count {
            input.fill(0.0);
            for (at, (cell, weight)) in input.iter_mut().zip(&self.taper).enumerate() {
                *cell = sample(samples, number * hop + at, before, self.spec.pad) * weight;
            }
            self.transform.process_with_scratch(&mut input, &mut output, &mut scratch).map_err(|e| unreadable(&e))?;
            if self.spec.average {
                mean.iter_mut().zip(&output).for_each(|(mean, bin)| *mean += bin.norm_sqr() / real(count));
            } else {
                self.row(output.iter().map(Complex::norm_sqr).collect(), all);
            }
        }
        if self.spec.average {
            self.row(mean, all);
        }
        Ok(())
    }

    /// Adds the row that the squares of one frame make.
    fn row(&self, mut squares: Vec<f64>, all: &mut Vec<f64>) {
        let even = self.spec.fft.is_multiple_of(2);
        let last = squares.len().saturating_sub(1);
        for (at, square) in squares.iter_mut().enumerate() {
            let twice = self.twice && at > 0 && !(even && at == last);
            *square *= if twice { 2.0 } else { 1.0 } / self.divisor;
        }
        let amplitude = self.spec.scale == SpectrumScale::Amplitude;
        // Triangles weigh what is asked for, bands sum up squares.
        if amplitude && (self.spec.mel.is_some() || self.weights.is_empty()) {
            for square in &mut squares {
                *square = square.sqrt();
            }
        }
        if self.weights.is_empty() {
            all.append(&mut squares);
            return;
        }
        let sum = |(first, weights): &(usize, Vec<f64>)| {
            let sum: f64 = squares.iter().skip(*first).zip(weights).map(|(value, weight)| value * weight).sum();
            if amplitude && self.spec.mel.is_none() { sum.sqrt() } else { sum }
        };
        all.extend(self.weights.iter().map(sum));
    }

    /// Takes the logarithm.
    fn level(&self, all: &mut [f64]) {
        let spec = &self.spec;
        let decibels = if spec.scale == SpectrumScale::Amplitude { 20.0 } else { 10.0 };
        let log = |value: f64| match spec.log {
            SpectrumLog::None => value,
            SpectrumLog::Db => decibels * value.log10(),
            SpectrumLog::Ln => value.ln(),
            SpectrumLog::Log10 => value.log10(),
        };
        if spec.log == SpectrumLog::None {
            return;
        }
        for value in all.iter_mut() {
            *value = log((*value + spec.offset).max(spec.floor));
        }
        if let Some(range) = spec.range {
            let least = all.iter().copied().fold(f64::NEG_INFINITY, f64::max) - range;
            for value in all.iter_mut() {
                *value = value.max(least);
            }
        }
    }
}

fn unreadable(why: &dyn std::fmt::Display) -> AppError {
    AppError::new("signal-unreadable", format!("the spectrum cannot be made: {why}"))
}

/// The number of this place, of a list of one or of one per place.
fn per(list: &[f32], at: usize, default: f32) -> f32 {
    if let [all] = list { *all } else { list.get(at).copied().unwrap_or(default) }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn real(count: usize) -> f64 {
    count as f64
}

fn taper(window: Taper, at: usize, length: usize) -> f64 {
    let turn = (std::f64::consts::TAU * real(at) / real(length)).cos();
    match window {
        Taper::Hann => 0.5 - 0.5 * turn,
        Taper::Hamming => 0.54 - 0.46 * turn,
        Taper::None => 1.0,
    }
}

/// The sample at a place that is counted from `before` places in front of the first.
fn sample(samples: &[f64], place: usize, before: usize, pad: Pad) -> f64 {
    let last = samples.len().saturating_sub(1);
    let at = match (place.checked_sub(before), pad) {
        (Some(at), _) if at <= last => at,
        (_, Pad::None | Pad::Zeros) => return 0.0,
        // To and fro between the first and the last.
        (at, Pad::Reflect) => {
            let away = at.unwrap_or(before.saturating_sub(place)) % (2 * last).max(1);
            away.min(2 * last - away)
        }
    };
    samples.get(at).copied().unwrap_or(0.0)
}

/// Which frequencies lie in a band.
fn within(band: Band, step: f64, count: usize) -> (usize, Vec<f64>) {
    let inside = |at: usize| real(at) * step >= band.low && real(at) * step < band.high;
    let first = (0..count).find(|at| inside(*at)).unwrap_or(count);
    (first, (first..count).take_while(|at| inside(*at)).map(|_| 1.0).collect())
}

/// `librosa.filters.mel`, in FP64.
fn triangles(mel: &Mel, rate: f64, step: f64, count: usize) -> Vec<(usize, Vec<f64>)> {
    let (low, high) = (to_mel(mel.formula, mel.low), to_mel(mel.formula, mel.high.unwrap_or(rate / 2.0)));
    let bands = mel.bands as usize;
    let corner = |at: usize| from_mel(mel.formula, low + (high - low) * real(at) / real(bands + 1));
    let triangle = |band: usize| {
        let (left, middle, right) = (corner(band), corner(band + 1), corner(band + 2));
        let height = if mel.norm == MelNorm::Slaney { 2.0 / (right - left) } else { 1.0 };
        let weight = |at: usize| {
            let f = real(at) * step;
            ((f - left) / (middle - left)).min((right - f) / (right - middle)).max(0.0) * height
        };
        let first = (0..count).find(|at| weight(*at) > 0.0).unwrap_or(count);
        (first, (first..count).map(weight).take_while(|weight| *weight > 0.0).collect())
    };
    (0..bands).map(triangle).collect()
}

/// Even steps of 200/3 Hz up to 1 kHz, from there on 27 steps for a factor of 6.4: Slaney's Auditory Toolbox, as librosa has it.
const LINEAR: f64 = 200.0 / 3.0;
const KNEE: f64 = 1_000.0;

fn to_mel(formula: MelFormula, hz: f64) -> f64 {
    match formula {
        MelFormula::Htk => 2_595.0 * (1.0 + hz / 700.0).log10(),
        MelFormula::Slaney if hz < KNEE => hz / LINEAR,
        MelFormula::Slaney => KNEE / LINEAR + (hz / KNEE).ln() / (6.4f64.ln() / 27.0),
    }
}

fn from_mel(formula: MelFormula, mel: f64) -> f64 {
    match formula {
        MelFormula::Htk => 700.0 * (10f64.powf(mel / 2_595.0) - 1.0),
        MelFormula::Slaney if mel < KNEE / LINEAR => mel * LINEAR,
        MelFormula::Slaney => KNEE * ((mel - KNEE / LINEAR) * (6.4f64.ln() / 27.0)).exp(),
    }
}

/// How strong a band is from sample to sample, without its mean: the magnitude of the analytic signal that the band's frequencies alone make
/// (Randall and Antoni, "Rolling element bearing diagnostics – a tutorial", 2011, section 5.1).
fn envelope(samples: Vec<f64>, band: Band, rate: f64) -> Result<Vec<f64>> {
    let length = samples.len();
    if length == 0 {
        return Ok(samples);
    }
    let mut planner = RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(length);
    let mut input = samples;
    let mut half = forward.make_output_vec();
    forward.process(&mut input, &mut half).map_err(|e| unreadable(&e))?;
    let step = rate / real(length);
    for (at, bin) in half.iter_mut().enumerate() {
        let f = real(at) * step;
        if f < band.low || f > band.high {
            *bin = Complex::new(0.0, 0.0);
        }
    }
    // The band alone, and the same a quarter turn later: its Hilbert transform. Each comes from a transform back of half of the frequencies.
    let back = planner.plan_fft_inverse(length);
    let ends = [0, if length.is_multiple_of(2) { half.len().saturating_sub(1) } else { 0 }];
    let mut turned: Vec<Complex<f64>> = half.iter().map(|bin| Complex::new(bin.im, -bin.re)).collect();
    for spectrum in [&mut half, &mut turned] {
        for at in ends {
            if let Some(bin) = spectrum.get_mut(at) {
                bin.im = 0.0;
            }
        }
    }
    for at in ends {
        if let Some(bin) = turned.get_mut(at) {
            bin.re = 0.0;
        }
    }
    let (mut plain, mut quarter) = (back.make_output_vec(), back.make_output_vec());
    back.process(&mut half, &mut plain).map_err(|e| unreadable(&e))?;
    back.process(&mut turned, &mut quarter).map_err(|e| unreadable(&e))?;
    let scale = 1.0 / real(length);
    let mut strength: Vec<f64> = plain.iter().zip(&quarter).map(|(a, b)| a.hypot(*b) * scale).collect();
    let mean = strength.iter().sum::<f64>() * scale;
    for value in &mut strength {
        *value -= mean;
    }
    Ok(strength)
}

#[cfg(test)]
mod tests;
