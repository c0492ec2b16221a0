"""Makes tracks.json: people who cross and hide one another, and the tracks that roboflow's `trackers` makes of them.

Needs `trackers==2.6.1` (Apache-2.0) and `numpy`. Run: python3 make_tracks.py
"""

import json
import os

import numpy as np
import supervision as sv
from trackers import ByteTrackTracker

W, H, RATE = 640, 360, 5


def scene(seed, times):
    """Boxes [x, y, w, h] with scores; who is behind another is seen with a low score, or not at all."""
    rng = np.random.default_rng(seed)
    people = [(rng.uniform(0, W), rng.uniform(120, 330), rng.uniform(-60, 60), rng.uniform(-6, 6), rng.uniform(0.35, 0.5)) for _ in range(10)]
    frames = []
    for t in times:
        boxes = []
        for x, y, vx, vy, ratio in people:
            foot, left = y + vy * t, x + vx * t
            h = 40 + foot * 0.3
            boxes.append([left - h * ratio / 2, foot - h, h * ratio, h])
        found, truth = [], []
        for i, (x, y, w, h) in enumerate(boxes):
            if x < 0 or y < 0 or x + w > W or y + h > H:
                continue
            hidden = 0.0
            for j, (x2, y2, w2, h2) in enumerate(boxes):
                if j != i and y2 + h2 > y + h:
                    inter = max(0, min(x + w, x2 + w2) - max(x, x2)) * max(0, min(y + h, y2 + h2) - max(y, y2))
                    hidden = max(hidden, inter / (w * h))
            score = np.clip(rng.normal(0.8, 0.1) - hidden * 0.6, 0, 0.99)
            if hidden > 0.8 or score < 0.12 or rng.random() < 0.1:
                continue
            noise = rng.normal(0, 0.02, 4) * [w, h, w, h]
            found.append([round(float(v), 1) for v in np.array([x, y, w, h]) + noise] + [round(float(score), 3)])
            truth.append(i)
        if rng.random() < 0.3:
            found.append([round(float(v), 1) for v in [rng.uniform(0, W - 40), rng.uniform(0, H - 80), 30, 70]] + [round(float(rng.uniform(0.3, 0.6)), 3)])
            truth.append(-1)
        frames.append((float(t), found, truth))
    return frames


def tracked(frames, uneven):
    tracker = ByteTrackTracker(
        lost_track_buffer=60, frame_rate=RATE, high_conf_det_threshold=0.5, track_activation_threshold=0.5,
        minimum_iou_threshold=0.1, minimum_consecutive_frames=3,
    )
    out = []
    for t, found, truth in frames:
        rows = np.array(found, dtype=np.float64).reshape(-1, 5)
        xyxy = np.column_stack([rows[:, 0], rows[:, 1], rows[:, 0] + rows[:, 2], rows[:, 1] + rows[:, 3]])
        data = {"at": np.arange(len(rows))}
        given = tracker.update(sv.Detections(xyxy=xyxy, confidence=rows[:, 4], class_id=np.zeros(len(rows), int), data=data), timestamp=t if uneven else None)
        ids = [-1] * len(rows)
        for at, track in zip(given.data.get("at", []), given.tracker_id):
            ids[int(at)] = int(track)
        out.append({"ms": round(t * 1000), "found": found, "ids": ids, "truth": truth})
    return out


even = np.arange(100) / RATE
rng = np.random.default_rng(11)
# A camera that gives four to seven frames a second, and nothing for a second now and then.
steps = np.where(rng.random(100) < 0.03, 1.0, rng.uniform(0.14, 0.26, 100))
uneven = np.round(np.cumsum(steps) - steps[0], 3)
scenes = {f"even-{seed}": tracked(scene(seed, even), False) for seed in (1, 2)}
scenes["uneven-4"] = tracked(scene(4, uneven), True)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tracks.json"), "w") as f:
    f.write("{\n" + ",\n".join(f'"{name}": [\n' + ",\n".join(json.dumps(frame, separators=(",", ":")) for frame in frames) + "]" for name, frames in scenes.items()) + "}\n")
