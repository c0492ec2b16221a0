//! `tests/spectra.py` says how the expected values were made.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Cases {
    signals: Vec<Signal>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Signal {
    name: String,
    rate: f64,
    count: usize,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    signal: String,
    columns: usize,
    /// Samples from the beginning of the signal; all where absent.
    samples: Option<usize>,
    spectrum: Spectrum,
    shape: Vec<i64>,
    tolerance: f32,
}

#[test]
fn spectra_are_those_of_scipy_and_librosa() {
    let cases: Cases = serde_json::from_str(include_str!("../../tests/spectra.json")).unwrap();
    let mut floats = include_bytes!("../../tests/spectra.bin").as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
    let signals: Vec<Vec<f32>> = cases.signals.iter().map(|signal| floats.by_ref().take(signal.count).collect()).collect();
    for case in cases.cases {
        let wanted: Vec<f32> = floats.by_ref().take(case.shape.iter().map(|d| usize::try_from(*d).unwrap()).product()).collect();
        let (signal, samples) = cases.signals.iter().zip(&signals).find(|(signal, _)| signal.name == case.signal).unwrap();
        let samples = &samples[..case.samples.unwrap_or(samples.len())];
        assert_eq!(case.spectrum.shape((samples.len() / case.columns) as u64, case.columns), case.shape, "{}", case.name);
        let out = Analyser::new(&case.spectrum, signal.rate).run(samples, case.columns).unwrap();
        assert_eq!(out.len(), wanted.len(), "{}", case.name);
        let worst = out.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a });
        println!("{}: at most {worst:e}", case.name);
        assert!(worst <= case.tolerance, "{}: {worst}", case.name);
    }
    assert_eq!(floats.next(), None);
}

#[test]
fn odd_samples_make_finite_spectra() {
    let spectrum = |json: serde_json::Value| -> Spectrum { serde_json::from_value(json).unwrap() };
    let run = |json: &serde_json::Value, samples: &[f32]| Analyser::new(&spectrum(json.clone()), 8.0).run(samples, 1).unwrap();
    // One sample, mirrored; silence, whose logarithm is that of the floor; bands that hold no frequency.
    for (json, samples, wanted) in [
        (serde_json::json!({"fft": 4, "pad": "reflect", "window": "none"}), &[1.0f32][..], &[4.0, 0.0, 0.0][..]),
        (serde_json::json!({"fft": 4, "hop": 9, "log": "db"}), &[0.0; 4], &[-200.0; 3]),
        (serde_json::json!({"fft": 4, "hop": 9, "bands": [{"low": 1.5, "high": 1.75}]}), &[1.0; 4], &[0.0]),
        (serde_json::json!({"fft": 4, "envelope": {"low": 1.0, "high": 2.0}}), &[0.0; 4], &[0.0; 3]),
    ] {
        assert_eq!(run(&json, samples), wanted, "{json}");
    }
    // Fewer samples than a frame make none.
    assert!(run(&serde_json::json!({"fft": 8}), &[1.0; 4]).is_empty());
    // Numbers at the ends of FP32 stay numbers.
    assert!(run(&serde_json::json!({"fft": 4, "log": "ln"}), &[f32::MAX; 4]).iter().all(|value| value.is_finite()));
}
