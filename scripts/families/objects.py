"""A model for each object that another found; and embeddings beside a gallery. Graphs of fixed boxes and random weights, rewritten in numpy.

Sides of boxes are whole pixels before and after they grow, so that nothing is left to rounding. The second step grows boxes by a tenth on each side
and tells classes, the third grows them to squares and tells a value of two of the labels.
"""
import json

import cv2, numpy as np
from onnx import TensorProto as T

from graph import Graph
from masks import ordered
from publishers import nchw, pictures, rgb, run, work

# x, y, w, h in a picture of 640×480, score, class; the last is at the corner, so that what grows is cut.
BOXES = np.float32([[100, 80, 200, 100, 0.83, 0], [360, 200, 100, 200, 0.71, 1], [250, 300, 60, 60, 0.64, 0], [560, 400, 80, 80, 0.52, 2], [10, 10, 40, 40, 0.03, 1]])
LABELS, KINDS = ["truck", "person", "lump"], ["empty", "loaded", "broken"]
STEPS = """
  - model:
      name: det
      file: det.onnx
      inputs: [{name: images, datatype: FP32, shape: [1, 3, 96, 128]}]
      outputs: [{name: output0, datatype: FP32, shape: [1, 5, 6]}]
      pre: {image: {width: 128, height: 96, filter: linear}}
      post: [{boxes: {output: output0, labels: [{id: truck, text: {en: Truck}}, {id: person, text: {en: Person}}, {id: lump, text: {en: Lump}}], score: 0.25, row: [box, score, class], box: xywh, unit: relative}}]
  - model:
      name: kind
      file: kind.onnx
      of: {expand: 0.1}
      inputs: [{name: x, datatype: FP32, shape: [-1, 3, 48, 48]}]
      outputs: [{name: y, datatype: FP32, shape: [-1, 3]}]
      pre: {image: {width: 48, height: 48, filter: linear}}
      post: [{classes: {output: y, labels: [{id: empty, text: {en: Empty}}, {id: loaded, text: {en: Loaded}}, {id: broken, text: {en: Broken}}], activation: softmax}}]
  - model:
      name: load
      file: load.onnx
      of: {labels: [truck, person], square: true}
      inputs: [{name: x, datatype: FP32, shape: [-1, 3, 40, 40]}]
      outputs: [{name: y, datatype: FP32, shape: [-1, 1]}]
      pre: {image: {width: 40, height: 40, filter: linear}}
      post: [{values: {output: y, items: [{id: load, text: {en: Load}, unit: '%', scale: 10, offset: 50}]}}]
"""


def detector():
    rows, moved = BOXES / np.float32([640, 480, 640, 480, 1, 1]), np.zeros((5, 6), np.float32)
    moved[:, 4] = 0.1
    g = Graph("images", [1, 3, 96, 128], probe=False)
    off = g.add("Sub", [g.add("ReduceMean", ["images"], axes=[1, 2, 3], keepdims=0), g.const(np.float32(0.5))])
    sum_ = g.add("Add", [g.const(rows), g.add("Mul", [g.const(moved), off])])
    g.add("Unsqueeze", [sum_, g.const(np.array([0]))], "output0")
    g.output("output0", T.FLOAT, [1, 5, 6])
    return g.save("objects-det")


def looker(name, side, outs, seed, taken="x", given="y", spread=3.0):
    """Two random convolutions, a mean, a linear layer."""
    g = Graph(taken, ["n", 3, side, side], probe=False, seed=seed)
    x = g.add("Relu", [g.add("Conv", [taken, g.random(8, 3, 3, 3, by=2)], strides=[2, 2])])
    x = g.add("Tanh", [g.add("Conv", [x, g.random(16, 8, 3, 3, by=2)], strides=[2, 2])])
    x = g.add("ReduceMean", [x], axes=[2, 3], keepdims=0)
    g.add("Gemm", [x, g.random(outs, 16, by=2 * spread), g.const(g.rng.normal(0, 0.2, outs).astype(np.float32))], given, transB=1)
    g.output(given, T.FLOAT, ["n", outs])
    return g.save(name)


def tensor(picture, width, height):
    return nchw(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))


def crop(picture, box, expand=0.0, square=False):
    """The part of the picture: grown by a share of each side on each side, to a square around the same middle, cut at the border."""
    x, y, w, h = (float(v) for v in box)
    x1, y1, x2, y2 = x - expand * w, y - expand * h, x + w + expand * w, y + h + expand * h
    if square:
        half, cx, cy = max(x2 - x1, y2 - y1) / 2, (x1 + x2) / 2, (y1 + y2) / 2
        x1, y1, x2, y2 = cx - half, cy - half, cx + half, cy + half
    x1, y1, x2, y2 = (round(v) for v in (max(x1, 0), max(y1, 0), min(x2, picture.shape[1]), min(y2, picture.shape[0])))
    return picture[y1:y2, x1:x2]


def objects():
    det, kind, load = detector(), looker("objects-kind", 48, 3, 1), looker("objects-load", 40, 1, 2)

    def reference(file, labels):
        p, found = rgb(file), []
        for row, exact in zip(run(det, images=tensor(p, 128, 96))[0][0], BOXES[:, :4]):
            if row[4] < 0.25:
                continue
            d = {"label": LABELS[int(row[5])], "score": float(row[4]), "box": exact.tolist(), "model": "det"}
            z = run(kind, x=tensor(crop(p, exact, expand=0.1), 48, 48))[0][0].astype(np.float64)
            q = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            d["classes"] = [{"label": KINDS[k], "score": float(q[k]), "model": "kind"} for k in np.argsort(-q)]
            if d["label"] != "lump":
                d["values"] = [{"id": "load", "value": float(run(load, x=tensor(crop(p, exact, square=True), 40, 40))[0][0, 0]) * 10 + 50, "unit": "%"}]
            found.append(d)
        return ordered(found)

    return STEPS, {"det.onnx": det, "kind.onnx": kind, "load.onnx": load}, reference


def streets():
    out = [work / "street.png", work / "people.png"]
    bus, people, _ = (cv2.imread(str(file)) for file in pictures())
    for file, picture in zip(out, (bus[300:900], people)):
        cv2.imwrite(str(file), cv2.resize(picture, (640, 480), interpolation=cv2.INTER_AREA))
    return out


GALLERY = """
  - model:
      name: embedding
      file: model.onnx
      inputs: [{name: input.1, datatype: FP32, shape: [-1, 3, 112, 112]}]
      outputs: [{name: embedding, datatype: FP32, shape: [-1, 128]}]
      pre: {image: {width: 112, height: 112, filter: linear, scale: 1, mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5]}}
      post: [{gallery: {output: embedding, labels: [{id: bus, text: {en: Bus}}, {id: people, text: {en: People}}], vectors: gallery.json, threshold: THRESHOLD}}]
"""


def faces():
    """Of the gallery, and what is seen: darker, cut, a stranger."""
    bus, people, odd = (cv2.imread(str(file)) for file in pictures())
    small = lambda a, w, h: cv2.resize(a, (w, h), interpolation=cv2.INTER_AREA)
    bright = lambda a, f, b: np.clip(a.astype(np.float32) * f + b, 0, 255).astype(np.uint8)
    noise = cv2.resize(np.random.default_rng(2).integers(0, 256, (12, 16, 3), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
    known = {"bus": [small(bus, 405, 540), np.ascontiguousarray(small(bus, 405, 540)[:, ::-1])], "people": [small(people, 640, 360)]}
    return known, {"darker": bright(small(bus[12:1068, 8:804], 398, 528), 0.94, 2), "cut": bright(small(people[8:712, 12:1266], 627, 352), 1.04, 1), "stranger": noise, "part": odd}


def seen():
    out = []
    for name, picture in faces()[1].items():
        out.append(work / f"seen-{name}.png")
        cv2.imwrite(str(out[-1]), picture)
    return out


def gallery(threshold):
    """The cosine of ArcFace, of vectors that are not normalised, two for one label; `unknown` where none reaches the threshold."""
    model = looker("embedding", 112, 128, 6, "input.1", "embedding")
    unit = lambda v: np.asarray(v, np.float64) / np.linalg.norm(v)

    def embedded(bgr):
        x = cv2.resize(bgr[..., ::-1], (112, 112), interpolation=cv2.INTER_LINEAR)
        return run(model, **{"input.1": nchw(x, 1, [127.5] * 3, [127.5] * 3)})[0][0]

    vectors = {name: [[float(v) for v in embedded(p)] for p in all_] for name, all_ in faces()[0].items()}

    def reference(file, labels):
        v = unit(embedded(cv2.imread(str(file))))
        best = sorted(((max(float(v @ unit(g)) for g in all_), name) for name, all_ in vectors.items()), reverse=True)
        return {"classes": [{"label": name, "score": c} for c, name in [(c, n) for c, n in best if c >= threshold] or [(best[0][0], "unknown")]]}

    return GALLERY.replace("THRESHOLD", str(threshold)), {"model.onnx": model, "gallery.json": json.dumps(vectors) + "\n"}, reference
