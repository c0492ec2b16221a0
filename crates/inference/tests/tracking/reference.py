#!/usr/bin/env python3
"""Writes reference.json: the figures of other ByteTracks on the detections that detections.py has made in FOLDER.

    python3 -m venv DIR && DIR/bin/pip install motmetrics==1.4.0 trackers==2.6.1 supervision==0.26.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
    DIR/bin/python crates/inference/tests/tracking/reference.py FOLDER
"""

import json
import os
import sys
import warnings

import numpy as np

if not hasattr(np, "asfarray"):  # motmetrics 1.4.0 was written for NumPy 1
    np.asfarray = lambda values: np.asarray(values, dtype=float)
warnings.simplefilter("ignore")

import motmetrics as mm
import supervision as sv
from trackers import ByteTrackTracker

from detections import SEEDS, SEQUENCES, read as rows_of

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = sys.argv[1]
RATE = 25
# Each nth frame, and the settings of `track` there: 25 frames a second with a number from the second frame on, as ByteTrack's authors have it,
# and 5 with the defaults of app.yaml.
RUNS = {"25 fps": (1, {"confirm": "40ms"}), "5 fps": (5, {})}
LOST = 2.0
HIGH, LOW = 0.5, 0.1


def read(name):
    return rows_of(os.path.join(FOLDER, name))


def frames_of(truth, every):
    first, last = int(truth[0, 0]), int(truth[-1, 0])
    return range(first, last + 1, every)


def of_trackers(every):
    """The ByteTrack of roboflow's trackers. Its buffer is in frames of thirty a second."""
    confirm = 2 if every == 1 else 3
    tracker = ByteTrackTracker(
        lost_track_buffer=round(LOST * 30), frame_rate=RATE / every, high_conf_det_threshold=HIGH, track_activation_threshold=HIGH,
        minimum_iou_threshold=0.1, minimum_consecutive_frames=confirm,
    )
    return tracker.update


def of_supervision(every):
    """The ByteTrack of supervision, which follows the authors' code: a number comes with the second frame at the earliest, but for the very first."""
    tracker = sv.ByteTrack(
        track_activation_threshold=HIGH, lost_track_buffer=round(LOST * 30), minimum_matching_threshold=0.8, frame_rate=RATE / every,
        minimum_consecutive_frames=1 if every == 1 else 2,
    )
    return tracker.update_with_detections


def tracked(update, found, frames):
    rows = []
    for frame in frames:
        here = found[(found[:, 0] == frame) & (found[:, 5] >= LOW)]
        boxes = np.column_stack([here[:, 1], here[:, 2], here[:, 1] + here[:, 3], here[:, 2] + here[:, 4]])
        given = update(sv.Detections(xyxy=boxes, confidence=here[:, 5], class_id=np.zeros(len(here), int)))
        for (left, top, right, bottom), track in zip(given.xyxy, given.tracker_id):
            if track >= 0:
                rows.append([frame, track, left, top, right - left, bottom - top])
    return np.array(rows).reshape(-1, 6)


def figures(truth, tracks, frames):
    accumulator = mm.MOTAccumulator()
    for frame in frames:
        there, found = truth[truth[:, 0] == frame], tracks[tracks[:, 0] == frame]
        distances = mm.distances.iou_matrix(there[:, 2:], found[:, 2:], max_iou=0.5)
        accumulator.update(there[:, 1].astype(int), found[:, 1].astype(int), distances, frameid=frame)
    row = mm.metrics.create().compute(accumulator, metrics=["idf1", "mota", "num_switches"]).iloc[0]
    return {"idf1": round(float(row["idf1"]), 6), "mota": round(float(row["mota"]), 6), "switches": int(row["num_switches"])}


metric, runs = {}, []
for sequence in SEQUENCES:
    truth = read(f"{sequence}.truth.txt")
    metric[sequence] = figures(truth, read(f"{sequence}.tracks.txt"), frames_of(truth, 1))
    for name, (every, settings) in RUNS.items():
        run = {"sequence": sequence, "name": name, "every": every, "track": settings, "trackers": [], "supervision": []}
        for seed in SEEDS:
            found, frames = read(f"{sequence}.{seed}.txt"), frames_of(truth, every)
            for library, make in (("trackers", of_trackers), ("supervision", of_supervision)):
                run[library].append(figures(truth, tracked(make(every), found, frames), frames))
        runs.append(run)
with open(os.path.join(HERE, "reference.json"), "w") as file:
    json.dump({"rate": RATE, "metric": metric, "runs": runs}, file, indent=1)
    file.write("\n")
