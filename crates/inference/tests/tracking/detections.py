#!/usr/bin/env python3
"""Makes detections out of published ground truth, for tests/tracking.rs.

    python3 crates/inference/tests/tracking/detections.py motmetrics-1.4.0-py3-none-any.whl FOLDER

Ground truth and one tracker's result for each sequence lie in the package of motmetrics, which names them in its own documentation with
their figures. README.md beside this file says whose they are, and what the files hold. NumPy is all that it needs.
"""

import io
import os
import sys
import zipfile

import numpy as np

SEQUENCES = ("TUD-Campus", "TUD-Stadtmitte")
SEEDS = (1, 2, 3)
WIDTH, HEIGHT = 640, 480


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def write(name, rows):
    with open(name, "w") as file:
        file.writelines(",".join(number(value) for value in row) + "\n" for row in rows)


def read(name):
    return np.loadtxt(name, delimiter=",", ndmin=2)


def published(wheel, sequence, name):
    """Rows of frame, identity, left, top, width, height."""
    rows = np.loadtxt(io.BytesIO(wheel.read(f"motmetrics/data/{sequence}/{name}")), delimiter=",")
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))][:, :6]


def missed(rng, frames):
    """Frames in which one object is not found: 5 % one by one, and as many in runs of three to eight."""
    gone = {frame for frame in frames if rng.random() < 0.05}
    for frame in frames:
        if rng.random() < 0.05 / 5.5:
            gone.update(range(int(frame), int(frame) + int(rng.integers(3, 9))))
    return gone


def hidden(box, others):
    """The largest share of a box that one object nearer to the camera covers: nearer is who stands lower in the picture."""
    x, y, w, h = box
    share = 0.0
    for x2, y2, w2, h2 in others:
        if y2 + h2 > y + h:
            across, down = min(x + w, x2 + w2) - max(x, x2), min(y + h, y2 + h2) - max(y, y2)
            share = max(share, max(across, 0) * max(down, 0) / (w * h))
    return share


def detections(truth, seed):
    """Rows of frame, left, top, width, height, score, the best of a frame first."""
    rng = np.random.default_rng(seed)
    gone = {who: missed(rng, truth[truth[:, 1] == who, 0]) for who in np.unique(truth[:, 1])}
    typical = np.median(truth[:, 5])
    rows = []
    for frame in np.unique(truth[:, 0]):
        here, found = truth[truth[:, 0] == frame], []
        for at, (_, who, *box) in enumerate(here):
            w, h = box[2:]
            noise = rng.normal(0, 0.02, 4) * [w, h, w, h]
            score = rng.normal(0.85, 0.08) - 0.6 * hidden(box, np.delete(here, at, 0)[:, 2:]) - 0.3 * max(0.0, 1 - h / typical)
            if frame not in gone[who] and score > 0.05:
                found.append([*(box + noise), min(score, 0.99)])
            # One false box for twenty true ones.
            if rng.random() < 0.05:
                h = rng.uniform(0.5, 1.2) * typical
                found.append([rng.uniform(0, WIDTH - h * 0.4), rng.uniform(0, HEIGHT - h), h * 0.4, h, rng.uniform(0.1, 0.75)])
        rows += [[frame, *row] for row in sorted(found, key=lambda row: -row[4])]
    return rows


def make(wheel, folder):
    os.makedirs(folder, exist_ok=True)
    with zipfile.ZipFile(wheel) as wheel:
        for sequence in SEQUENCES:
            path = os.path.join(folder, sequence)
            write(f"{path}.truth.txt", published(wheel, sequence, "gt.txt"))
            write(f"{path}.tracks.txt", published(wheel, sequence, "test.txt"))
            truth = read(f"{path}.truth.txt")
            for seed in SEEDS:
                write(f"{path}.{seed}.txt", detections(truth, seed))


if __name__ == "__main__":
    make(*sys.argv[1:])
