#!/usr/bin/env python3
"""Makes tests/tiles.json: boxes of one picture's tiles, and what SAHI's `GREEDYNMM` makes of them. src/tiles.rs compares.

    python3 -m venv DIR && DIR/bin/pip install sahi==0.12.8 numpy==2.4.6
    DIR/bin/python tests/tiles.py
"""

import json
import os

import numpy as np
from sahi.postprocess.combine import GreedyNMMPostprocess
from sahi.prediction import ObjectPrediction

HERE = os.path.dirname(os.path.abspath(__file__))
random = np.random.default_rng(5)
cases = []


def case(found, agnostic=False):
    """Label, score, and left, top, width and height of each box."""
    names = sorted({label for label, _, _ in found})
    objects = [
        ObjectPrediction(bbox=[x, y, x + w, y + h], category_id=names.index(label), category_name=label, score=score)
        for label, score, (x, y, w, h) in found
    ]
    merged = GreedyNMMPostprocess(match_threshold=0.5, match_metric="IOS", class_agnostic=agnostic)(objects)
    merged = sorted(merged, key=lambda one: -one.score.value)
    wanted = [(one.category.name, one.score.value, [float(v) for v in one.bbox.to_xywh()]) for one in merged]
    cases.append((agnostic, found, wanted))


# One that is cut at a border and whole in the next tile; one that no tile holds whole; two that stand side by side.
case([("person", 0.75, [500, 100, 140, 200]), ("person", 0.5, [512, 98, 250, 205]), ("person", 0.25, [900, 100, 100, 200])])
case([("car", 0.5, [300, 100, 340, 90]), ("car", 0.625, [512, 102, 400, 92]), ("car", 0.375, [550, 100, 70, 80])])
case([("a", 0.5, [0, 0, 100, 100]), ("b", 0.25, [10, 10, 80, 80])])
case([("a", 0.5, [0, 0, 100, 100]), ("b", 0.25, [10, 10, 80, 80])], agnostic=True)
for number in range(4):
    found = []
    for score in random.permutation(60) / 64 + 1 / 128:
        x, y = random.integers(0, 400, 2)
        w, h = random.integers(10, 160, 2)
        found.append((random.choice(["person", "helmet"]).item(), float(score), [int(v) for v in (x, y, w, h)]))
    case(found, agnostic=number == 3)

with open(os.path.join(HERE, "tiles.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n")
