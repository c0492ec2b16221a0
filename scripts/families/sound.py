"""Sound: silero VAD with its state, and a graph of YAMNet's form."""
import wave

import numpy as np
from onnx import TensorProto as T

from graph import Graph
from publishers import module, session, wheel, work

LENGTH, RATE, CONTEXT = 512, 16000, 64


def samples(file):
    with wave.open(str(file)) as w:
        assert (w.getnchannels(), w.getsampwidth(), w.getframerate()) == (1, 2, RATE)
        return np.frombuffer(w.readframes(w.getnframes()), "<i2").astype(np.float32) / 32768


def written(name, sound):
    file = work / f"{name}.wav"
    with wave.open(str(file), "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(RATE)
        w.writeframes(np.round(sound * 32768).clip(-32768, 32767).astype("<i2").tobytes())
    return file


def recordings():
    """Ten seconds of speech, noise (58.6 windows), a part of the speech (70.3 windows), one window."""
    speech = wheel("moonshine-voice") / "moonshine_voice/assets/beckett.wav"
    s = samples(speech)
    quiet = np.random.default_rng(3).normal(0, 0.004, 30000).astype(np.float32)
    return [speech, written("hiss", quiet), written("part", s[24000:60011]), written("one-window", s[30000:30512])]


def windows(sound):
    return [sound[k * LENGTH : (k + 1) * LENGTH] for k in range(len(sound) // LENGTH)]  # whole ones alone


def silero(over, own=False):
    """A loop of numpy, or `OnnxWrapper` of the package, which needs torch."""
    model = wheel("silero-vad") / "silero_vad/data/silero_vad.onnx"
    run = session(model).run

    def plain(sound):
        state, context, out = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT, np.float32), []
        for window in windows(sound):
            x = np.concatenate([context, window])
            p, state = run(None, {"input": x[None], "state": state, "sr": np.array(RATE, np.int64)})
            context = x[-CONTEXT:]
            out.append(p[0, 0])
        return np.array(out)

    def wrapper(sound):
        import torch

        engine = module("silero-vad", "silero_vad.utils_vad").OnnxWrapper(str(model), force_onnx_cpu=True)
        return np.array([engine(torch.from_numpy(window.copy()), RATE).item() for window in windows(sound)])

    told = {"max": np.max, "mean": np.mean, "last": lambda p: p[-1]}[over]
    return model, lambda file, labels: {"values": [{"id": labels[0], "value": float(told((wrapper if own else plain)(samples(file)))), "unit": ""}]}


YAMNET = """
  - model:
      name: sounds
      file: model.onnx
      inputs: [{name: waveform, datatype: FP32, shape: [-1]}]
      outputs: [{name: scores, datatype: FP32, shape: [-1, 4]}]
      pre: {sound: {rate: 16000, length: 15600, hop: 7680, over: mean}}
      post: [{classes: {output: scores, labels: [{id: speech, text: {en: Speech}}, {id: engine, text: {en: Engine}}, {id: alarm, text: {en: Alarm}}, {id: silence, text: {en: Silence}}]}}]
"""


def yamnet():
    """A waveform of any length → scores `[n, 4]`, 0.96 s by 0.48 s: spectra of 25 ms by 10 ms, 96 of them a row. Weights are random."""
    g = Graph("waveform", ["samples"], probe=False, seed=5)
    x = g.add("Reshape", ["waveform", g.const(np.array([1, 1, -1]))])
    x = g.add("Conv", [x, g.random(16, 1, 400, by=4)], strides=[160])
    x = g.add("Log", [g.add("Add", [g.add("Abs", [x]), g.const(np.float32(0.01))])])
    x = g.add("Conv", [x, g.random(4, 16, 96, by=2)], strides=[48])
    g.add("Sigmoid", [g.add("Reshape", [g.add("Transpose", [x], perm=[0, 2, 1]), g.const(np.array([-1, 4]))])], "scores")
    g.output("scores", T.FLOAT, ["frames", 4])
    model = g.save("yamnet-like")

    def reference(file, labels):  # the publisher's example: the mean over the frames of the whole sound
        p = session(model).run(None, {"waveform": samples(file)})[0].mean(0)
        names = ["speech", "engine", "alarm", "silence"]
        return {"classes": [{"label": names[k], "score": float(p[k])} for k in np.argsort(-p)]}

    return YAMNET, {"model.onnx": model}, reference
