"""Heat-map detectors: fixed image features → window MLP as a strided convolution → a second look at the heat map around each cell.

Graph: x [1, 3, H, W] → mean colour, edges, bright lines in eight directions of every 4×4 block → Conv (8×8 blocks = 32×32 px, stride 8 px)
→ Relu → 1×1 Conv → Sigmoid → Conv 9×9 cells → Relu → 1×1 Conv → Sigmoid → heat [1, labels, H/8, W/8].
Both MLPs are fitted by scikit-learn on cells of labelled pictures, the second on pictures that the first never saw.
"""

import warnings

from common import *
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore", category=ConvergenceWarning)
BLOCKS, PAD, AROUND = 8, 3, 9
CHANNELS, LINES = 16, 8


def line_bank():
    """Second-derivative line filters, about 4 px wide and 12 px long, one per direction, zero mean."""
    yy, xx = np.mgrid[-6:7, -6:7]
    bank = []
    for k in range(LINES):
        c, s = np.cos(np.pi * k / LINES), np.sin(np.pi * k / LINES)
        along, across = xx * c + yy * s, yy * c - xx * s
        f = np.exp(-((along / 4.5) ** 2)) * (1 - (across / 2.0) ** 2) * np.exp(-((across / 2.0) ** 2) / 2)
        f -= f.mean()
        bank.append(f / np.abs(f).sum() * 2)
    return np.stack(bank)


def features(graph):
    """[1, CHANNELS, H/4, W/4] of the picture `x`."""
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    kernels = [np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4, np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 4,
               np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8, np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])]
    bank = np.stack(kernels)[:, None].astype(np.float32)
    grey = graph.node("Conv", "x", graph.const(luma.reshape(1, 3, 1, 1)))
    edges = graph.node("Abs", graph.node("Conv", grey, graph.const(bank), pads=[1, 1, 1, 1]))
    lines = graph.node("Relu", graph.node("Conv", grey, graph.const(line_bank()[:, None].astype(np.float32)), pads=[6, 6, 6, 6]))
    block = {"kernel_shape": [4, 4], "strides": [4, 4]}
    return graph.node("Concat", graph.node("AveragePool", "x", **block), graph.node("AveragePool", edges, **block), graph.node("MaxPool", lines, **block),
                      graph.node("MaxPool", graph.node("ReduceMean", "x", axes=[1], keepdims=1), **block), axis=1)


def feature_maps(pictures):
    h, w = pictures[0].shape[:2]
    graph = Graph("features")
    graph.node("Identity", features(graph), out="f")
    run = session(graph.model({"x": [1, 3, h, w]}, {"f": [1, CHANNELS, h // 4, w // 4]}))
    tensor = lambda p: (p.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None]
    return np.concatenate([run.run(None, {"x": tensor(p)})[0] for p in pictures])


def windows(maps, size, pad, stride):
    """[cells, channels*size*size] of one picture's maps [channels, h, w], in the order of Conv weights."""
    padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    return view.transpose(1, 2, 0, 3, 4).reshape(view.shape[1] * view.shape[2], -1)


def cells_of(masks, share, rows, columns):
    """[labels, rows, columns] bool: the object covers at least `share` of the cell."""
    return np.stack([m.reshape(rows, m.shape[0] // rows, columns, m.shape[1] // columns).mean((1, 3)) >= s for m, s in zip(masks, share)])


class Detector:
    """`share` is, per label, how much of a cell must be covered to count as the object."""

    def __init__(self, labels, share, seed, hidden=28, second=20):
        self.labels, self.share, self.seed, self.hidden, self.second = labels, share, seed, hidden, second

    def fit(self, scenes):
        """`scenes`: (picture, label masks [labels, H, W] 0–1, objects)."""
        rng = np.random.default_rng(self.seed)
        h, w = scenes[0][0].shape[:2]
        self.size, self.rows, self.columns = (w, h), h // 8, w // 8
        maps = feature_maps([s[0] for s in scenes])
        self.mean, self.std = maps.mean((0, 2, 3), keepdims=True)[0], maps.std((0, 2, 3), keepdims=True)[0]
        maps = (maps - self.mean) / self.std
        truth = [cells_of(s[1], self.share, self.rows, self.columns).reshape(len(self.labels), -1).T for s in scenes]
        half = int(len(scenes) * 0.6)

        def gather(make, index, weights, negatives, hard=None):
            xs, ys = [], []
            for i in index:
                positive = np.flatnonzero(truth[i].any(1))
                empty = np.flatnonzero(~truth[i].any(1))
                take = rng.choice(empty, min(negatives, len(empty)), replace=False)
                if hard is not None:
                    worst = empty[np.argsort(-hard[i][empty], kind="stable")[:40]]
                    take = np.union1d(take, worst)
                chosen = np.concatenate([positive, take])
                xs.append(make(i)[chosen])
                ys.append(truth[i][chosen])
            y = np.concatenate(ys).astype(int)
            return np.concatenate(xs).astype(np.float32), y[:, 0] if len(self.labels) == 1 else y

        first = lambda i: windows(maps[i], BLOCKS, PAD, 2)
        self.one = MLPClassifier((self.hidden,), alpha=3e-3, batch_size=256, max_iter=7, random_state=self.seed)
        self.one.fit(*gather(first, range(half), None, 90))
        hard = {i: self._scores(self.one, first(i)).max(1) for i in range(half)}
        self.one = MLPClassifier((self.hidden,), alpha=3e-3, batch_size=256, max_iter=14, random_state=self.seed)
        self.one.fit(*gather(first, range(half), None, 80, hard))
        heat = [self._scores(self.one, first(i)).T.reshape(len(self.labels), self.rows, self.columns) for i in range(len(scenes))]
        second = lambda i: windows(heat[i], AROUND, AROUND // 2, 1)
        self.two = MLPClassifier((self.second,), alpha=3e-3, batch_size=256, max_iter=14, random_state=self.seed)
        self.two.fit(*gather(second, range(half, len(scenes)), None, 240, [h.max(0).ravel() for h in heat]))
        return self

    def _scores(self, net, x):
        p = net.predict_proba(x.astype(np.float32))
        return p[:, 1:] if len(self.labels) == 1 else p

    def model(self, name):
        w, h = self.size
        graph, n = Graph(name), len(self.labels)
        x = features(graph)
        x = graph.node("Mul", graph.node("Sub", x, graph.f32(self.mean[None])), graph.f32(1 / self.std[None]))
        for net, size, pad, stride, channels, out in ((self.one, BLOCKS, PAD, 2, CHANNELS, None), (self.two, AROUND, AROUND // 2, 1, n, "heat")):
            (w1, w2), (b1, b2) = net.coefs_, net.intercepts_
            hidden = w1.shape[1]
            x = graph.node("Conv", x, graph.f32(w1.T.reshape(hidden, channels, size, size)), graph.f32(b1), pads=[pad] * 4, strides=[stride] * 2)
            x = graph.node("Conv", graph.node("Relu", x), graph.f32(w2.T.reshape(n, hidden, 1, 1)), graph.f32(b2))
            x = graph.node("Sigmoid", x, out=out)
        return graph.model({"x": [1, 3, h, w]}, {"heat": [1, n, self.rows, self.columns]})


def iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inter = max(0.0, w) * max(0.0, h)
    return inter / (a[2] * a[3] + b[2] * b[3] - inter)


def score_detections(found, scenes, labels, overlap=0.3):
    """Per label (true positives, detections, objects), matched greedily by score, same label, IoU ≥ overlap."""
    tally = {label: [0, 0, 0] for label in labels}
    for detections, (_, _, objects) in zip(found, scenes):
        left = list(objects)
        for o in objects:
            tally[o["label"]][2] += 1
        for d in detections:
            tally[d["label"]][1] += 1
            best = max((o for o in left if o["label"] == d["label"]), key=lambda o: iou(o["box"], d["box"]), default=None)
            if best is not None and iou(best["box"], d["box"]) >= overlap:
                left.remove(best)
                tally[d["label"]][0] += 1
    return tally


def f1(tally):
    tp, det, obj = np.sum(list(tally.values()), 0)
    return 2 * tp / max(1, det + obj)


def best_threshold(run, scenes, labels, size):
    """The score with the best F1 on pictures that neither net was fitted on and that are not the test pictures."""
    heats = [heat_of(run, s[0]) for s in scenes]
    tries = [round(0.30 + 0.05 * i, 2) for i in range(14)]
    return max(tries, key=lambda t: f1(score_detections([boxes_of(h, labels, np.float32(t), size) for h in heats], scenes, labels)))


def heat_of(run, picture):
    return run.run(None, {"x": (picture.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None]})[0][0]


def trivial(train, test, labels):
    """F1 of the detector that always draws the one box that fits the training pictures best on average."""
    best, result = -1.0, 0.0
    for label in labels:
        boxes = np.array([o["box"] for s in train for o in s[2] if o["label"] == label])
        guess = [[{"label": label, "score": 1.0, "box": np.median(boxes, 0).tolist()}]]
        on_train = f1(score_detections(guess * len(train), train, labels))
        if on_train > best:
            best, result = on_train, f1(score_detections(guess * len(test), test, labels))
    return result


def visible(mask, label):
    """The object's truth from what of it can be seen."""
    ys, xs = np.nonzero(mask > 0.4)
    if len(xs) < 40:
        return None
    return {"label": label, "box": [float(xs.min()), float(ys.min()), float(xs.max() + 1 - xs.min()), float(ys.max() + 1 - ys.min())]}


def counts(objects, labels):
    return {label: sum(o["label"] == label for o in objects) for label in labels}
