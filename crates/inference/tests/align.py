#!/usr/bin/env python3
"""Makes tests/align.json: points of faces, and pixels of the faces that `norm_crop` of insightface 0.7.3 makes, rewritten: Umeyama's transform by
numpy's SVD as scikit-image has it, and OpenCV's `warpAffine`. src/picture/cut.rs compares, on a picture that it makes itself.

    python3 -m venv DIR && DIR/bin/pip install opencv-python-headless==5.0.0.93 numpy==2.4.6
    DIR/bin/python tests/align.py
"""

import json
import os

import cv2
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


def umeyama(source, target):
    """Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991, equations 40 to 42."""
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - from_mean, target - to_mean
    u, d, vt = np.linalg.svd(target.T @ source / len(source))
    s = np.ones(2)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        s[1] = -1
    rotation = u @ np.diag(s) @ vt
    scale = (d @ s) / source.var(axis=0).sum()
    return np.hstack([scale * rotation, (to_mean - scale * rotation @ from_mean)[:, None]])


y, x = np.mgrid[0:120, 0:160]
picture = np.stack([x * 255 // 159, y * 255 // 119, 128 + 127 * ((x // 20 + y // 20) % 2 == 0)], axis=2).astype(np.uint8)
cases = []
for points in [
    # Larger than the face that is made; turned; small, at the picture's border; mirrored, which no turn makes good.
    [[40, 40], [100, 38], [70, 70], [45, 100], [95, 99]],
    [[60, 30], [90, 60], [60, 65], [35, 60], [60, 85]],
    [[4, 8], [20, 9], [12, 17], [5, 26], [19, 27]],
    [[100, 40], [40, 44], [70, 70], [95, 100], [45, 99]],
]:
    matrix = umeyama(np.array(points, float), ARCFACE)
    face = cv2.warpAffine(picture, matrix, (112, 112), borderValue=0.0)
    # Not beside the edges of the squares, where a hundredth of a pixel is a step.
    places = [(i, j) for j in range(3, 112, 9) for i in range(2, 112, 9)]
    flat = [(i, j) for i, j in places if np.ptp(face[max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2, 2].astype(int)) <= 1]
    cases.append({"points": points, "pixels": [(i, j, face[j, i].tolist()) for i, j in flat]})
with open(os.path.join(HERE, "align.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n")
