"""Makes rows.json: outputs of detectors by family, with the detections that the families' own post-processing gives. Needs `numpy`.
Run: python3 make_rows.py"""

import json
import os

import numpy as np

SEED = 1
F = np.float32
TENSOR = (64, 64)
SOURCE = (128, 72)
STRETCH = {"tensor": TENSOR, "source": SOURCE, "fitted": (64, 64), "offset": (0, 0)}
LETTERBOX = {"tensor": TENSOR, "source": SOURCE, "fitted": (64, 36), "offset": (0, 14)}
random = np.random.default_rng(SEED)
cases = []


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def xyxy(cxcywh):
    c, s = cxcywh[:, :2], cxcywh[:, 2:]
    return np.concatenate([c - s / 2, c + s / 2], 1)


def centres(n, size=1.0):
    """Boxes of centre, width, height; every third lies near the one before it."""
    boxes = np.concatenate([random.uniform(0.2, 0.8, (n, 2)), random.uniform(0.1, 0.3, (n, 2))], 1) * size
    boxes[2::3] = boxes[1::3][: len(boxes[2::3])] + random.uniform(-0.01, 0.01, (len(boxes[2::3]), 4)) * size
    return boxes.astype(F)


def iou(a, b):
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inner = max(w, 0) * max(h, 0)
    return inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner)


def nms(boxes, scores, classes, limit, agnostic=False):
    kept = []
    for i in np.argsort(-scores):
        overlaps = [iou(boxes[i], boxes[k]) for k in kept if agnostic or classes[k] == classes[i]]
        assert all(abs(o - limit) > 0.01 for o in overlaps), "too near the limit to be a test"
        if all(o <= limit for o in overlaps):
            kept.append(i)
    return kept


def case(name, post, labels, outputs, boxes, scores, classes, geometry=STRETCH, limit=None, unit="pixels", top=300):
    """`boxes` are corners in the unit, `classes` -1 where there is nothing."""
    threshold = post["score"]
    assert np.all(np.abs(scores - threshold) > 1e-3), f"{name}: too near the threshold to be a test"
    rows = np.flatnonzero((scores >= threshold) & (classes >= 0))
    boxes, scores, classes = boxes[rows].astype(np.float64), scores[rows], classes[rows]
    if unit == "relative":
        boxes = boxes * np.tile(TENSOR, 2)
    if limit is not None:
        kept = nms(boxes, scores, classes, limit, post.get("agnostic", False))
        assert len(kept) < len(boxes), f"{name}: nothing is suppressed"
        boxes, scores, classes = boxes[kept], scores[kept], classes[kept]
    if unit != "source":
        scale = np.array(geometry["fitted"]) / SOURCE
        boxes = (boxes - np.tile(geometry["offset"], 2)) / np.tile(scale, 2)
    boxes = np.clip(boxes, 0, np.tile(SOURCE, 2))
    order = np.argsort(-scores)[:top]
    assert 2 <= len(order), f"{name}: too few boxes"
    expect = [
        {"label": labels[classes[i]], "score": round(float(scores[i]), 6), "box": np.round([*boxes[i, :2], *(boxes[i, 2:] - boxes[i, :2])], 4).tolist()}
        for i in order
    ]
    post = {**post, "labels": [{"id": label, "text": {"zh": label, "en": label}} for label in labels]}
    tensors = {
        key: {"shape": value.shape, "integers" if value.dtype.kind == "i" else "numbers": [round(v, 5) for v in value.ravel().tolist()]} for key, value in outputs.items()
    }
    cases.append({"name": name, "post": [{"boxes": post}], "geometry": geometry, "outputs": tensors, "expect": expect})


def short(x):
    """Numbers as they stand in the file, so that both sides compute with the same."""
    return np.round(x, 5).astype(F)


LABELS = ["rock", "rod", "belt"]

# YOLOv5: objectness × class score, from the rows of the tensor.
rows = short(np.concatenate([centres(18, 64), random.uniform(0.3, 1, (18, 1)), random.uniform(0, 1, (18, 3))], 1))
scores = rows[:, 4:5] * rows[:, 5:]
case("yolov5", {"output": "output0", "score": 0.25, "iou": 0.45}, LABELS, {"output0": rows[None]}, xyxy(rows[:, :4]), scores.max(1), scores.argmax(1), LETTERBOX, 0.45)

# YOLOv8: rows are the tensor's columns, no objectness. Then one label suppressing the others, and the best five.
rows = short(np.concatenate([centres(18, 64), random.uniform(0, 1, (18, 3))], 1))
post = {"output": "output0", "row": ["box", "scores"], "layout": "columns", "score": 0.5, "iou": 0.7}
values = xyxy(rows[:, :4]), rows[:, 4:].max(1), rows[:, 4:].argmax(1)
case("yolov8", post, LABELS, {"output0": rows.T[None]}, *values, LETTERBOX, 0.7)
case("yolov8, agnostic, five", {**post, "agnostic": True, "max": 5}, LABELS, {"output0": rows.T[None]}, *values, LETTERBOX, 0.7, top=5)

# YOLOX: cells of 8, 16, 32 pixels.
grid = [(s, x, y) for s in (8, 16, 32) for y in range(64 // s) for x in range(64 // s)]
rows = short(np.concatenate([random.uniform(-0.5, 1, (84, 2)), random.uniform(0.3, 1.2, (84, 2)), random.uniform(0, 1, (84, 3))], 1))
s, x, y = np.array(grid).T
boxes = np.stack([(rows[:, 0] + x) * s, (rows[:, 1] + y) * s, np.exp(rows[:, 2]) * s, np.exp(rows[:, 3]) * s], 1)
scores = rows[:, 4:5] * rows[:, 5:]
post = {"output": "output", "grid": "yolox", "score": 0.45, "iou": 0.35}
case("yolox", post, ["rock", "rod"], {"output": rows[None]}, xyxy(boxes), scores.max(1), scores.argmax(1), STRETCH, 0.35)

# YOLO26 and v10: the best rows, then zeros.
corners, classes = xyxy(centres(9, 64)), random.integers(0, 3, 9)
rows = short(np.concatenate([corners, np.sort(random.uniform(0, 1, (9, 1)), 0)[::-1], classes[:, None]], 1))
rows = np.concatenate([rows, np.zeros((3, 6), F)])
post = {"output": "output0", "row": ["box", "score", "class"], "box": "xyxy", "score": 0.25}
case("end2end", post, LABELS, {"output0": rows[None]}, rows[:, :4], rows[:, 4], rows[:, 5].astype(int), LETTERBOX)

# RT-DETR of Ultralytics: shares of a stretched picture.
rows = short(np.concatenate([centres(12), random.uniform(0, 1, (12, 1)), random.integers(0, 3, (12, 1))], 1))
post = {"output": "output0", "row": ["box", "score", "class"], "unit": "relative", "score": 0.3}
case("rtdetr-ul", post, LABELS, {"output0": rows[None]}, xyxy(rows[:, :4]), rows[:, 4], rows[:, 5].astype(int), unit="relative")

# D-FINE: three tensors, pixels of the source.
boxes = short(np.clip(xyxy(centres(12)) * np.tile(SOURCE, 2), -3, 140))
classes, scores = random.integers(0, 3, 12), short(random.uniform(0, 1, 12))
post = {"output": "boxes", "row": ["box"], "beside": {"class": "labels", "score": "scores"}, "box": "xyxy", "unit": "source", "score": 0.4}
outputs = {"labels": classes[None], "boxes": boxes[None], "scores": scores[None]}
case("dfine", post, LABELS, outputs, boxes, scores, classes, unit="source")

# RF-DETR: sigmoid, a last class that is nothing and is not looked at.
boxes, logits = short(centres(12)), short(random.uniform(-3, 3, (12, 4)))
post = {"output": "dets", "row": ["box"], "beside": {"scores": "labels"}, "unit": "relative", "activation": "sigmoid", "background": "last", "score": 0.5}
scores = sigmoid(logits[:, :3])
case("rfdetr", post, LABELS, {"dets": boxes[None], "labels": logits[None]}, xyxy(boxes), scores.max(1), scores.argmax(1), unit="relative")

# DETR: softmax over all, of which the last is nothing and is left out before the best is taken.
logits = short(random.uniform(-2, 5, (12, 4)))
odds = np.exp(logits)
odds /= odds.sum(1, keepdims=True)
shares = odds[:, :3]
assert ((odds.argmax(1) == 3) & (shares.max(1) >= 0.3)).any()
case("detr", {**post, "activation": "softmax", "score": 0.3}, LABELS, {"dets": boxes[None], "labels": logits[None]}, xyxy(boxes), shares.max(1), shares.argmax(1), unit="relative")

# PaddleDetection: class first, class -1 where there is nothing, a count; the row behind it is not read.
boxes = xyxy(centres(8)) * np.tile(SOURCE, 2)
rows = short(np.concatenate([random.integers(0, 3, (8, 1)), random.uniform(0, 1, (8, 1)), boxes], 1))
rows[2, 0], rows[2, 1], rows[7, 1] = -1, 0.9, 0.95
post = {"output": "nms", "row": ["class", "score", "box"], "beside": {"count": "bbox_num"}, "box": "xyxy", "unit": "source", "score": 0.2}
classes = rows[:, 0].astype(int)
classes[7] = -1
case("paddle", post, LABELS, {"nms": rows, "bbox_num": np.array([7], np.int32)}, rows[:, 2:], rows[:, 1], classes, unit="source")

# MMDeploy: boxes with scores, classes beside.
rows = short(np.concatenate([xyxy(centres(9, 64)), random.uniform(0, 1, (9, 1))], 1))
classes = random.integers(0, 3, 9)
post = {"output": "dets", "row": ["box", "score"], "beside": {"class": "labels"}, "box": "xyxy", "score": 0.35}
case("mmdeploy", post, LABELS, {"dets": rows[None], "labels": classes[None]}, rows[:, :4], rows[:, 4], classes, LETTERBOX)

# torchvision: class 0 is nothing.
boxes, scores, classes = short(xyxy(centres(9, 64))), short(random.uniform(0, 1, 9)), np.array([1, 2, 3, 0, 1, 2, 3, 0, 1])
post = {"output": "boxes", "row": ["box"], "beside": {"class": "labels", "score": "scores"}, "box": "xyxy", "background": "first", "score": 0.15}
case("torchvision", post, LABELS, {"boxes": boxes, "labels": classes, "scores": scores}, boxes, scores, classes - 1)

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rows.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
