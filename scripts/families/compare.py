"""How far two results are from each other: the app's answer, and its publisher's."""
import numpy as np

# What is looked at, the words for it, its unit.
PARTS = [("score", "score", ""), ("box", "box", " px"), ("corner", "corner", " px"), ("point", "keypoint", " px"), ("value", "value", ""), ("mask", "mask, 1 − IoU", "")]
FAR = 25  # boxes further apart than this are of two things


def cells(mask):
    """COCO's uncompressed run lengths as a grid."""
    flat = np.repeat(np.arange(len(mask["counts"])) % 2 == 1, mask["counts"])
    return flat.reshape(mask["size"][::-1]).T


def iou(a, b):
    """Of two masks over the same box; grids of other sizes are read at the centres of the finer one's cells."""
    a, b = cells(a), cells(b)
    rows, columns = max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1])
    at = lambda m: m[np.ix_(*(((np.arange(n) + 0.5) * have / n).astype(int) for n, have in zip((rows, columns), m.shape)))]
    a, b = at(a), at(b)
    return float((a & b).sum() / max((a | b).sum(), 1))


def corners(a, b):
    """Of two turned boxes, whichever corner each begins with."""
    a, b = np.asarray(a), np.asarray(b)
    turns = [np.roll(q, k, 0) for q in (b, b[::-1]) for k in range(4)]
    return float(min(np.hypot(*(a - q).T).max() for q in turns))


def difference(got, want):
    """Largest differences, and what has no counterpart: of boxes the nearest of the same label."""
    out = {key: 0.0 for key, _, _ in PARTS} | {"n": 0, "unmatched": []}

    def grow(key, value):
        out[key] = max(out[key], float(value))

    left = list(got.get("detections", []))
    for d in want.get("detections", []):
        out["n"] += 1
        near = [(max(abs(a - b) for a, b in zip(g["box"], d["box"])) + abs(g["score"] - d["score"]), k) for k, g in enumerate(left) if g["label"] == d["label"]]
        if not near or min(near)[0] > FAR:
            out["unmatched"].append(f"publisher's alone: {d['label']} {d['score']:.4f}")
            continue
        g = left.pop(min(near)[1])
        grow("score", abs(g["score"] - d["score"]))
        grow("box", max(abs(a - b) for a, b in zip(g["box"], d["box"])))
        attributes(g, d, out, grow)
    out["unmatched"] += [f"app's alone: {g['label']} {g['score']:.4f}" for g in left]
    named(got, want, out, grow)
    for g, w in zip(got.get("texts", []), want.get("texts", [])):
        out["n"] += 1
        text(g, w, out, grow)
    if len(got.get("texts", [])) != len(want.get("texts", [])):
        out["unmatched"].append(f"app's alone: {len(got.get('texts', []))} texts for {len(want.get('texts', []))}")
    return out


def attributes(g, d, out, grow):
    """Of an object: what the publisher tells of it."""
    lacking = [key for key in ("corners", "mask", "text") if key in d and key not in g]
    out["unmatched"] += [f"publisher's alone: {key} of {d['label']} {d['score']:.4f}" for key in lacking]
    if "corners" in d and "corners" in g:
        grow("corner", corners(g["corners"], d["corners"]))
    if "mask" in d and "mask" in g:
        grow("mask", 1 - iou(g["mask"], d["mask"]))
    if "text" in d and "text" in g:
        text(g["text"], d["text"], out, grow)
    known = {p["name"]: p for p in g.get("keypoints", [])}
    for p in d.get("keypoints", []):
        if p["name"] not in known:
            out["unmatched"].append(f"publisher's alone: {p['name']} {p['score']:.4f}")
            continue
        grow("point", np.hypot(known[p["name"]]["x"] - p["x"], known[p["name"]]["y"] - p["y"]))
        grow("score", abs(known[p["name"]]["score"] - p["score"]))
    named(g, d, out, grow, count=False)


def text(g, w, out, grow):
    if g["text"] != w["text"]:
        out["unmatched"].append(f"app's alone: text “{g['text']}” for “{w['text']}” {g['score']:.4f}")
    grow("score", abs(g["score"] - w["score"]))


def named(got, want, out, grow, count=True):
    """Classes and values, of the whole or of an object."""
    for key, name, number in [("classes", "label", "score"), ("values", "id", "value")]:
        known, asked = ({item[name]: item[number] for item in side.get(key, [])} for side in (got, want))
        out["n"] += len(asked) if count else 0
        for item in asked.keys() & known.keys():
            grow(number, abs(known[item] - asked[item]))
        out["unmatched"] += [f"publisher's alone: {item} {asked[item]:.4f}" for item in asked if item not in known]
        if asked or count:  # of an object what the publisher does not tell is not asked for
            out["unmatched"] += [f"app's alone: {item} {known[item]:.4f}" for item in known if item not in asked]


def worst(all_):
    """Of several samples."""
    return {key: max(d[key] for d in all_) for key, _, _ in PARTS} | {"n": sum(d["n"] for d in all_), "unmatched": [u for d in all_ for u in d["unmatched"]]}


def words(d):
    if d is None:
        return ""
    parts = [f"{text} {d[key]:.2g}" + unit for key, text, unit in PARTS if d[key] > 0]
    alone = {}  # the same label on several samples is told once
    for text_, score in (text_.rsplit(" ", 1) for text_ in d["unmatched"]):
        alone.setdefault(text_, []).append(score)
    parts += [f"{text_} {min(scores)} to {max(scores)} ({len(scores)}×)" if len(scores) > 1 else f"{text_} {scores[0]}" for text_, scores in alone.items()]
    return f"{', '.join(parts) or 'none'}; of {d['n']}"
