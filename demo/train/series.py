"""Signal features as an ONNX graph (spectrum bands, envelope spectrum, moments) followed by an MLP; shared by the fault apps."""

import warnings

from common import *
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore", category=ConvergenceWarning)


def bands(edges, bins):
    """[bins, bands]: averages of neighbouring frequency bins; `edges` in bins."""
    out = np.zeros((bins, len(edges) - 1), np.float32)
    for i, (a, b) in enumerate(zip(edges[:-1], edges[1:])):
        out[a:max(a + 1, b), i] = 1 / max(1, b - a)
    return out


def spectrum(graph, x, length, edges, n):
    """Log power in bands of rows `[n*c, length]` → [n, c*bands]; the mean is taken off first, a Hann window applied."""
    x = graph.node("Sub", x, graph.node("ReduceMean", x, axes=[1], keepdims=1))
    x = graph.node("Mul", x, graph.f32(np.hanning(length)[None]))
    x = graph.node("DFT", graph.node("Reshape", x, graph.i64([-1, length, 1])), axis=1, onesided=1)
    power = graph.node("ReduceSum", graph.node("Mul", x, x), graph.i64([2]), keepdims=0)
    power = graph.node("MatMul", power, graph.f32(bands(edges, length // 2 + 1)))
    return graph.node("Reshape", graph.node("Log", graph.node("Add", power, graph.f32(1e-4))), graph.i64([n, -1]))


def moments(graph, x, length, n):
    """Mean, log spread, trend, least, greatest and mean step of rows `[n*c, length]` → [n, 6*c]."""
    mean = graph.node("ReduceMean", x, axes=[1], keepdims=1)
    centred = graph.node("Sub", x, mean)
    spread = graph.node("Sqrt", graph.node("Add", graph.node("ReduceMean", graph.node("Mul", centred, centred), axes=[1], keepdims=1), graph.f32(1e-6)))
    t = np.linspace(-1, 1, length)
    trend = graph.node("MatMul", x, graph.f32((t / (t @ t))[:, None]))
    low, high = (graph.node(op, x, axes=[1], keepdims=1) for op in ("ReduceMin", "ReduceMax"))
    step = graph.node("Sub", graph.node("Slice", x, graph.i64([1]), graph.i64([length]), graph.i64([1])),
                      graph.node("Slice", x, graph.i64([0]), graph.i64([length - 1]), graph.i64([1])))
    step = graph.node("ReduceMean", graph.node("Abs", step), axes=[1], keepdims=1)
    parts = graph.node("Concat", mean, graph.node("Log", spread), trend, low, high, step, axis=1)
    return graph.node("Reshape", parts, graph.i64([n, -1]))


class Diagnosis:
    """`build(graph, rows, n)` adds the features of rows `[n*c, length]` and gives a tensor [n, features]."""

    def __init__(self, build, channels, length, seed, hidden=24, alpha=0.3):
        self.build, self.channels, self.length, self.seed, self.hidden, self.alpha = build, channels, length, seed, hidden, alpha

    def _features(self, graph, n):
        return self.build(graph, graph.node("Reshape", "x", graph.i64([-1, self.length])), n)

    def fit(self, x, y):
        n = len(x)
        graph = Graph("features")
        graph.node("Identity", self._features(graph, n), out="f")
        f = session(graph.model({"x": list(x.shape)}, {"f": [n, None]})).run(None, {"x": x})[0]
        self.mean, self.std = f.mean(0), f.std(0) + 1e-6
        self.net = MLPClassifier((self.hidden,), alpha=self.alpha, max_iter=60, batch_size=128, random_state=self.seed).fit((f - self.mean) / self.std, y)
        return self

    def model(self, name):
        graph = Graph(name)
        f = self._features(graph, 1)
        f = graph.node("Mul", graph.node("Sub", f, graph.f32(self.mean)), graph.f32(1 / self.std))
        graph.node("Softmax", mlp(graph, f, self.net), out="probabilities", axis=1)
        return graph.model({"x": [1, self.channels, self.length]}, {"probabilities": [1, len(self.net.classes_)]})


def evaluate(app, x, y, trivial, zh, en):
    """`trivial`: the guesses of the rule used today, for macro-F1. Returns the guesses."""
    labels = app.labels()
    guess = np.array([app.run.run(None, {"x": r[None]})[0][0].argmax() for r in x])
    app.metric("accuracy", (guess == y).mean(), np.bincount(y).max() / len(y), f"{zh}；基线为总答同一类", f"{en}; baseline always answers one class")
    app.metric("macro-f1", macro_f1(y, guess, len(labels)), macro_f1(y, trivial[0], len(labels)), f"{zh}；基线为{trivial[1]}", f"{en}; baseline is {trivial[2]}")
    app.metric("false-alarm-rate", (guess[y == 0] != 0).mean(), (trivial[0][y == 0] != 0).mean(), f"{zh}中的正常样本；基线同上", "the normal samples among them; baseline as above")
    return guess


def nearest_centre(f, y, ft):
    """The simple rule: nearest class centre of a few plain figures."""
    mean, std = f.mean(0), f.std(0)
    centres = np.stack([((f - mean) / std)[y == k].mean(0) for k in range(y.max() + 1)])
    return ((((ft - mean) / std)[:, None] - centres) ** 2).sum(2).argmin(1)


def golden(app, columns, rows_of, labels, count, seed, digits):
    """Equal numbers of each class, in the order in which they are generated."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        k = i % len(labels)
        samples.append((f"sample-{labels[k]}", csv_bytes(columns, rows_of(rng, k), digits), {"class": labels[k]}))
    app.golden(samples, count, 1e-3, 1e-3)
    return samples
