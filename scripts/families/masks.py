"""Masks and turned boxes as results have them."""
import numpy as np


def cut(x1, y1, x2, y2, width, height):
    """Corners as [x, y, w, h], cut to the picture."""
    x1, x2, y1, y2 = *np.clip([x1, x2], 0, width), *np.clip([y1, y2], 0, height)
    return [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]


def around(corners, width, height):
    """The upright rectangle around a turned box."""
    corners = np.asarray(corners, np.float64)
    return cut(*corners.min(0), *corners.max(0), width, height)


def centres(box):
    """Centres of the grid of a mask over a box, in source pixels: columns, rows."""
    x, y, w, h = box
    rows, columns = (min(256, int(np.ceil(np.round(side, 4)))) for side in (h, w))  # 50.0000001 is 50
    return x + (np.arange(columns) + 0.5) * w / columns, y + (np.arange(rows) + 0.5) * h / rows


def rle(mask):
    """COCO's uncompressed run lengths: column by column, zeros first."""
    flat = np.asarray(mask, bool).T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat.size and flat[0] else []) + runs}


def over(mask, box, scale=(1, 1), offset=(0, 0)):
    """A mask over the tensor, or over the source picture where nothing is scaled, as the mask of a box: each cell as where its centre lies."""
    xs, ys = centres(box)
    h, w = mask.shape
    at = lambda v, k, side: np.clip(np.floor(v * scale[k] + offset[k]).astype(int), 0, side - 1)
    return rle(np.asarray(mask)[np.ix_(at(ys, 1, h), at(xs, 0, w))] > 0)


def ordered(detections):
    return {"detections": sorted(detections, key=lambda d: -d["score"])}
