#!/usr/bin/env python3
"""Makes tests/spectra.json and tests/spectra.bin: signals, and what SciPy and librosa make of them. src/spectrum/tests.rs compares.

    python3 -m venv DIR && DIR/bin/pip install librosa==0.11.0 scipy==1.17.1 numpy==2.4.6
    DIR/bin/python tests/spectra.py

`spectra.json` tells the cases in order, `spectra.bin` holds, one after the other, the samples of each signal and the values of each case as
little-endian floats.
"""

import json
import os

import librosa
import numpy as np
from scipy import signal as sp

HERE = os.path.dirname(os.path.abspath(__file__))
random = np.random.default_rng(11)
signals, cases, data = [], [], []


def signal(name, rate, samples):
    samples = np.asarray(samples, np.float32)
    signals.append({"name": name, "rate": rate, "count": int(samples.size)})
    data.append(samples.astype("<f4").tobytes())
    return samples.astype(np.float64)


def case(name, of, spectrum, wanted, columns=1, tolerance=1e-4):
    wanted = np.asarray(wanted)
    cases.append({"name": name, "signal": of, "columns": columns, "spectrum": spectrum, "shape": list(wanted.shape), "tolerance": tolerance})
    data.append(wanted.astype("<f4").tobytes())


t = np.arange(3200) / 16_000
voice = 0.3 * np.sin(2 * np.pi * (300 * t + 4_000 * t**2)) + 0.02 * random.standard_normal(t.size)
# Steps of 16 bits, and a silence that a logarithm has to bear.
voice = np.round(voice * 32_768) / 32_768
voice[1_000:1_900] = 0
# A bearing with a fault: 107 strokes a second that let 3 kHz ring, a shaft at 25 Hz, and noise.
n = 2_048
t = np.arange(n) / 12_800
strokes = np.zeros(n)
strokes[(np.arange(0, n / 12_800, 1 / 107) * 12_800).astype(int)] = 1
ring = np.exp(-t[:200] * 900) * np.sin(2 * np.pi * 3_000 * t[:200])
bearing = np.convolve(strokes, ring)[:n] + 0.5 * np.sin(2 * np.pi * 25 * t) + 0.05 * random.standard_normal(n)

voice = signal("voice", 16_000, voice)
bearing = signal("bearing", 12_800, bearing)

# Sound nets.
mel = {"S": None, "sr": 16_000, "n_fft": 512, "win_length": 400, "hop_length": 160}
options = {key: value for key, value in mel.items() if key != "S"}
frames = {"fft": 512, "frame": 400, "hop": 160}
slaney = librosa.feature.melspectrogram(y=voice, n_mels=40, pad_mode="constant", power=2.0, **options)
case(
    "librosa, decibels",
    "voice",
    {**frames, "pad": "zeros", "scale": "power", "mel": {"bands": 40}, "log": "db", "range": 80},
    librosa.power_to_db(slaney, top_db=80.0).T[None],
)
htk = librosa.feature.melspectrogram(
    y=voice, n_mels=32, fmin=50, fmax=7_000, htk=True, norm=None, pad_mode="reflect", power=2.0, **options
)
case(
    "the defaults of torchaudio, logarithm",
    "voice",
    {
        **frames,
        "pad": "reflect",
        "scale": "power",
        "mel": {"bands": 32, "low": 50, "high": 7_000, "norm": "none", "formula": "htk"},
        "log": "ln",
        "offset": 1e-6,
        "layout": "nft",
        "mean": [-8.0],
        "std": [4.0],
    },
    (np.log(htk + 1e-6)[None] + 8) / 4,
)
short = librosa.feature.melspectrogram(y=voice, n_mels=24, center=False, power=1.0, **{**options, "n_fft": 400})
case(
    "magnitudes, no padding, a channel",
    "voice",
    {"fft": 400, "hop": 160, "mel": {"bands": 24}, "log": "db", "floor": 1e-5, "layout": "nctf"},
    20 * np.log10(np.maximum(short, 1e-5)).T[None, None],
)
stft = np.abs(librosa.stft(voice, n_fft=128, hop_length=400, win_length=127, window="hamming", center=True, pad_mode="reflect"))
case("frames of odd length", "voice", {"fft": 128, "frame": 127, "hop": 400, "window": "hamming", "pad": "reflect"}, stft.T[None])

# Vibration.
welch = {"fs": 12_800, "nperseg": 512, "noverlap": 256, "detrend": False}
f, power = sp.welch(bearing, window="hann", scaling="spectrum", **welch)
case("effective values", "bearing", {"fft": 512, "norm": "spectrum", "average": True}, np.sqrt(power)[None, None])
_, density = sp.welch(bearing, window="hamming", scaling="density", **welch)
case(
    "density in decibels",
    "bearing",
    {"fft": 512, "window": "hamming", "norm": "density", "scale": "power", "log": "db", "average": True, "layout": "flat"},
    10 * np.log10(density)[None],
)
bands = [(10, 100), (100, 1_000), (1_000, 6_400)]
sums = [np.sqrt(power[(f >= low) & (f < high)].sum()) for low, high in bands]
case(
    "bands",
    "bearing",
    {"fft": 512, "norm": "spectrum", "average": True, "layout": "flat", "bands": [{"low": low, "high": high} for low, high in bands]},
    np.asarray(sums)[None],
)
_, _, grams = sp.spectrogram(bearing[:1_024].reshape(2, 512), 12_800, "hann", 128, 96, 128, False, scaling="spectrum", mode="psd")
case(
    "two columns",
    "bearing",
    {"fft": 128, "hop": 32, "scale": "power", "norm": "spectrum", "layout": "ncft"},
    grams[None],
    columns=2,
)


def envelope(samples, low, high):
    spectrum = np.fft.rfft(samples)
    f = np.fft.rfftfreq(samples.size, 1 / 12_800)
    spectrum[(f < low) | (f > high)] = 0
    strength = np.abs(sp.hilbert(np.fft.irfft(spectrum, samples.size)))
    return strength - strength.mean()


for name, samples, (low, high) in [
    ("envelope", bearing, (2_000, 4_500)),
    ("envelope, to both ends", bearing, (0, 6_400)),
]:
    _, power = sp.periodogram(envelope(samples, low, high), 12_800, "boxcar", detrend=False, scaling="spectrum")
    if name == "envelope":
        peak = np.argmax(power) * 12_800 / 2_048
        assert abs(peak - 107) < 6.3, peak
    case(
        name,
        "bearing",
        {"fft": 2_048, "window": "none", "norm": "spectrum", "envelope": {"low": low, "high": high}},
        np.sqrt(power)[None, None],
    )
odd = bearing[:1_023]
_, power = sp.periodogram(envelope(odd, 1_000, 5_000), 12_800, "hann", detrend=False, scaling="spectrum")
case(
    "envelope of odd length",
    "bearing",
    {"fft": 1_023, "norm": "spectrum", "envelope": {"low": 1_000, "high": 5_000}, "layout": "flat"},
    np.sqrt(power)[None],
)
cases[-1]["samples"] = 1_023
next(one for one in cases if one["columns"] == 2)["samples"] = 1_024

with open(os.path.join(HERE, "spectra.json"), "w") as file:
    file.write(json.dumps({"signals": signals, "cases": cases}, indent=1) + "\n")
with open(os.path.join(HERE, "spectra.bin"), "wb") as file:
    file.write(b"".join(data))
