//! WAV → windows of samples, and what is said of a whole recording.
//!
//! PCM of 8, 16, 24 and 32 bits and floats of 32 are read, channels are averaged, another rate than the model's is resampled. A recording is
//! bounded by the size of inputs before it is decoded, and by [`MAX_SAMPLES`] after.

use std::collections::HashMap;
use std::io::Cursor;

use app_package::pipeline::{Over, PreSound};
use hound::{SampleFormat, WavReader};
use rubato::{Async, FixedAsync, Resampler, SincInterpolationParameters, audioadapter_buffers::owned::InterleavedOwned};

use crate::{
    error::{AppError, Result},
    output::AppOutput,
};

/// Most samples of a recording, decoded and resampled: half an hour at 16 kHz.
pub const MAX_SAMPLES: usize = 32 << 20;
/// Most windows that a model is run on for one recording.
const MAX_WINDOWS: usize = 100_000;
/// Most channels.
const MAX_CHANNELS: u16 = 32;

/// Whether a file says of itself that it is one of the kind that WAV files are.
pub fn is_wav(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF")
}

/// The samples of a WAV file at this rate, −1 to 1, channels averaged. Codes `input-not-sound`, `input-too-large`, `out-of-memory`.
pub fn read(bytes: &[u8], rate: u32) -> Result<Vec<f32>> {
    let (samples, own) = decode(bytes)?;
    if own == rate {
        return Ok(samples);
    }
    let wanted = samples.len().saturating_mul(rate as usize).checked_div(own as usize).unwrap_or(usize::MAX);
    if wanted > MAX_SAMPLES {
        return Err(too_long(wanted));
    }
    resample(samples, own, rate).map_err(|e| unread(&e))
}

fn unread(why: &dyn std::fmt::Display) -> AppError {
    AppError::new("input-not-sound", format!("this is not a WAV file of sound: {why}"))
}

fn too_long(samples: usize) -> AppError {
    AppError::new("input-too-large", format!("the recording has {samples} samples; at most {MAX_SAMPLES} are read"))
}

/// The samples of a WAV file as [`read`] gives them, and their own rate. Codes as there.
pub fn decode(bytes: &[u8]) -> Result<(Vec<f32>, u32)> {
    let mut reader = WavReader::new(Cursor::new(bytes)).map_err(|e| unread(&e))?;
    let spec = reader.spec();
    if !(1..=MAX_CHANNELS).contains(&spec.channels) || !(1_000..=384_000).contains(&spec.sample_rate) {
        return Err(unread(&format!("{} channels at {} Hz", spec.channels, spec.sample_rate)));
    }
    let channels = usize::from(spec.channels);
    let frames = reader.duration() as usize;
    if frames > MAX_SAMPLES {
        return Err(too_long(frames));
    }
    let mut mono: Vec<f32> = Vec::new();
    let no_memory = |_| AppError::new("out-of-memory", "no memory is left for the recording");
    // A header may promise more than there is.
    mono.try_reserve(frames.min(bytes.len())).map_err(no_memory)?;
    let (mut sum, mut at) = (0.0, 0);
    let mut add = |sample: f32| {
        (sum, at) = (sum + sample, at + 1);
        if at == channels {
            mono.push(sum / f32::from(spec.channels));
            (sum, at) = (0.0, 0);
        }
    };
    match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().try_for_each(|sample| sample.map(&mut add)).map_err(|e| unread(&e))?,
        SampleFormat::Int => {
            let full = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
            #[expect(clippy::cast_possible_truncation, reason = "samples are kept as FP32")]
            let mut add = |sample: i32| add((f64::from(sample) / full) as f32);
            reader.samples::<i32>().try_for_each(|sample| sample.map(&mut add)).map_err(|e| unread(&e))?;
        }
    }
    if mono.iter().any(|sample| !sample.is_finite()) {
        return Err(unread(&"a sample is not a finite number"));
    }
    Ok((mono, spec.sample_rate))
}

/// Frames that are resampled at a time.
const CHUNK: usize = 1_024;

/// Band-limited interpolation by windowed sinc functions, the same on every machine; what comes out is shifted by less than two samples.
fn resample(samples: Vec<f32>, from: u32, to: u32) -> std::result::Result<Vec<f32>, Box<dyn std::error::Error>> {
    let ratio = f64::from(to) / f64::from(from);
    let mut resampler = Async::<f32>::new_sinc(ratio, 1.0, &SincInterpolationParameters::default(), CHUNK, 1, FixedAsync::Input)?;
    let length = samples.len();
    let samples = InterleavedOwned::new_from(samples, 1, length)?;
    Ok(resampler.process_all(&samples, length, None)?.take_data())
}

/// Where the whole windows of so many samples begin. Codes `sound-too-short`, `input-too-large`.
pub fn windows(pre: &PreSound, samples: usize) -> Result<impl Iterator<Item = usize> + use<>> {
    let (length, hop) = (pre.length as usize, pre.hop.unwrap_or(pre.length).max(1) as usize);
    let Some(rest) = samples.checked_sub(length).filter(|_| length > 0) else {
        return Err(AppError::new(
            "sound-too-short",
            format!("a window has {length} samples, the recording has {samples} at {} Hz", pre.rate),
        ));
    };
    let count = rest / hop + 1;
    if count > MAX_WINDOWS {
        return Err(AppError::new("input-too-large", format!("the recording has {count} windows; at most {MAX_WINDOWS} are run")));
    }
    Ok((0..count).map(move |window| window * hop))
}

/// Fills `out` with the window that begins at a sample, and what is before it; zeros before the first one.
pub fn fill(pre: &PreSound, samples: &[f32], begin: usize, out: &mut Vec<f32>) {
    let context = pre.context as usize;
    let before = begin.min(context);
    out.clear();
    out.resize(context - before, 0.0);
    let part = samples.get(begin - before..begin.saturating_add(pre.length as usize)).unwrap_or_default();
    out.extend(part.iter().map(|sample| sample * pre.scale));
}

/// What is said of a whole recording.
pub struct Summary {
    over: Over,
    windows: u32,
    whole: AppOutput,
    /// Sums of scores by class.
    classes: HashMap<String, f64>,
}

impl Summary {
    pub fn new(over: Over) -> Self {
        Self { over, windows: 0, whole: AppOutput::default(), classes: HashMap::new() }
    }

    /// Adds what is said of the next window.
    pub fn add(&mut self, answer: AppOutput) {
        self.windows = self.windows.saturating_add(1);
        self.whole.texts.extend(answer.texts.into_iter().filter(|text| !text.text.is_empty()));
        if self.windows == 1 || self.over == Over::Last {
            self.classes = answer.classes.iter().map(|class| (class.label.clone(), f64::from(class.score))).collect();
            (self.whole.classes, self.whole.values) = (answer.classes, answer.values);
            return;
        }
        let join = |old: f64, new: f64| if self.over == Over::Mean { old + new } else { old.max(new) };
        for (old, new) in self.whole.values.iter_mut().zip(&answer.values) {
            old.value = join(old.value, new.value);
        }
        for class in answer.classes {
            let old = self.classes.entry(class.label.clone()).or_insert(if self.over == Over::Mean { 0.0 } else { f64::NEG_INFINITY });
            *old = join(*old, f64::from(class.score));
            if self.whole.classes.iter().all(|known| known.label != class.label) {
                self.whole.classes.push(class);
            }
        }
    }

    pub fn finish(self) -> AppOutput {
        let by = if self.over == Over::Mean { f64::from(self.windows.max(1)) } else { 1.0 };
        let mut whole = self.whole;
        for value in &mut whole.values {
            value.value /= by;
        }
        for class in &mut whole.classes {
            #[expect(clippy::cast_possible_truncation, reason = "a mean of FP32")]
            let score = (self.classes.get(&class.label).copied().unwrap_or(0.0) / by) as f32;
            class.score = score;
        }
        whole.classes.sort_by(|a, b| b.score.total_cmp(&a.score));
        whole
    }
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::output::{ClassScore, ValueOut};

    fn wav(spec: hound::WavSpec, samples: &[i32]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for sample in samples {
            writer.write_sample(*sample).unwrap();
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16) -> hound::WavSpec {
        hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format: SampleFormat::Int }
    }

    #[test]
    fn samples_are_shares_of_full_scale_and_channels_are_averaged() {
        assert_eq!(read(&wav(spec(1, 16_000, 16), &[-32_768, 0, 16_384]), 16_000).unwrap(), [-1.0, 0.0, 0.5]);
        assert_eq!(read(&wav(spec(2, 16_000, 24), &[1 << 22, 0, 1 << 22, 1 << 22]), 16_000).unwrap(), [0.25, 0.5]);
        assert_eq!(read(b"RIFF", 16_000).unwrap_err().code, "input-not-sound");
        let whole = wav(spec(1, 16_000, 16), &[1; 100]);
        assert_eq!(read(&whole[..whole.len() - 31], 16_000).unwrap_err().code, "input-not-sound", "cut off");
        assert_eq!(read(&wav(spec(1, 100, 16), &[1; 100]), 16_000).unwrap_err().code, "input-not-sound");
        // A header that promises what is not there.
        let mut lies = whole;
        lies[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&lies, 16_000).is_err());
        assert_eq!(read(&wav(spec(1, 1_000, 8), &vec![0; 200_000]), 192_000).unwrap_err().code, "input-too-large");
    }

    #[test]
    fn another_rate_keeps_the_tone() {
        let tone = |rate: f64, n: usize| (0..n).map(move |i| (i as f64 / rate * 440.0 * std::f64::consts::TAU).sin());
        let samples: Vec<i32> = tone(48_000.0, 48_000).map(|x| (x * 20_000.0) as i32).collect();
        let found = read(&wav(spec(1, 48_000, 16), &samples), 16_000).unwrap();
        assert!(found.len().abs_diff(16_000) <= 1, "{}", found.len());
        let size = 20_000.0 / 32_768.0;
        let off_by = |shift: f64| {
            let wanted = (0..16_000).map(|i| ((f64::from(i) + shift) / 16_000.0 * 440.0 * std::f64::consts::TAU).sin() * size);
            let errors = found.iter().zip(wanted).skip(200).take(15_600).map(|(a, b)| (f64::from(*a) - b).abs());
            errors.fold(0.0, f64::max)
        };
        let (shift, worst) =
            (-40..=40).map(|n| (f64::from(n) / 20.0, off_by(f64::from(n) / 20.0))).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!(worst < 0.004 && shift.abs() < 2.0, "{shift} {worst}");
    }

    #[test]
    fn windows_are_whole_and_have_what_is_before_them() {
        let pre: PreSound = serde_json::from_str(r#"{"rate": 8000, "length": 4, "context": 2, "hop": 3}"#).unwrap();
        let samples: Vec<f32> = (1..=11).map(|n| n as f32).collect();
        assert_eq!(windows(&pre, 11).unwrap().collect::<Vec<_>>(), [0, 3, 6]);
        assert_eq!(windows(&pre, 3).map(|_| ()).unwrap_err().code, "sound-too-short");
        assert_eq!(windows(&pre, 4_000_000).map(|_| ()).unwrap_err().code, "input-too-large");
        let mut out = Vec::new();
        for (begin, wanted) in [(0, [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]), (3, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0])] {
            fill(&pre, &samples, begin, &mut out);
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn a_recording_is_summed_up() {
        let answer = |value: f64, classes: &[(&str, f32)]| AppOutput {
            values: vec![ValueOut { id: "v".into(), value, unit: String::new() }],
            classes: classes.iter().map(|(label, score)| ClassScore { label: (*label).into(), score: *score, model: None }).collect(),
            ..AppOutput::default()
        };
        let said = |over| {
            let mut summary = Summary::new(over);
            summary.add(answer(1.0, &[("a", 0.5)]));
            summary.add(answer(3.0, &[("b", 0.75), ("a", 0.25)]));
            let whole = summary.finish();
            (whole.values[0].value, whole.classes.iter().map(|c| (c.label.clone(), c.score)).collect::<Vec<_>>())
        };
        let classes = |all: &[(&str, f32)]| all.iter().map(|(label, score)| ((*label).to_owned(), *score)).collect::<Vec<_>>();
        assert_eq!(said(Over::Max), (3.0, classes(&[("b", 0.75), ("a", 0.5)])));
        assert_eq!(said(Over::Mean), (2.0, classes(&[("a", 0.375), ("b", 0.375)])));
        assert_eq!(said(Over::Last), (3.0, classes(&[("b", 0.75), ("a", 0.25)])));
    }
}
