"""Writes picodet.json: what the publisher's own post-processing makes of tensors that `tests/own.rs` makes by the same formula.

pip install rapid-layout==1.2.1 numpy onnxruntime opencv-python-headless pillow pyyaml tqdm; python picodet.py
"""

import json
from pathlib import Path

import numpy as np
from rapid_layout.model_handler.pp.post_process import PPPostProcess

WIDTH, HEIGHT, LABELS = 608, 800, 10


def noise(n, seed):
    """Numbers of 0 to 1 with 24 bits, from a multiplicative hash."""
    i = (np.arange(n, dtype=np.uint64) + np.uint64(seed)) * np.uint64(2654435761) % np.uint64(1 << 32)
    return (i >> np.uint64(8)).astype(np.float32) / np.float32(1 << 24)


def tensors():
    scores, distances = [], []
    for level in range(4):
        stride = 8 << level
        cells = -(-WIDTH // stride) * -(-HEIGHT // stride)
        h = noise(cells * LABELS, level * 1000003)
        peak = np.arange(cells * LABELS) % 997 == 0
        scores.append(np.where(peak, np.float32(0.9) * h, np.float32(0.3) * h).reshape(1, cells, LABELS))
        d = (noise(cells * 32, level * 7000003 + 17) - np.float32(0.5)) * np.float32(6)
        distances.append(d.reshape(1, cells, 32))
    return scores + distances


if __name__ == "__main__":
    labels = [str(i) for i in range(LABELS)]
    # As the package's own configuration has it, conf_thres 0.4 and iou_thres 0.5; a picture of the model's own size.
    post = PPPostProcess(labels, 0.4, 0.5)
    boxes, scores, names = post((HEIGHT, WIDTH), np.zeros((1, 3, HEIGHT, WIDTH), np.float32), tensors())
    rows = [[int(n), round(s, 6), *(round(v, 4) for v in b)] for b, s, n in zip(boxes, scores, names)]
    rows.sort(key=lambda row: -row[1])
    Path(__file__).with_name("picodet.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(len(rows))
