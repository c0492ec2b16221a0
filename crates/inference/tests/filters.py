#!/usr/bin/env python3
"""Makes tests/filters/: pictures, and what OpenCV and Pillow make of them. tests/filters.rs compares.

    python3 -m venv DIR && DIR/bin/pip install opencv-python-headless==5.0.0.93 pillow==12.0.0 numpy==2.4.6
    DIR/bin/python tests/filters.py

`cases.json` tells the cases in order, `cases.bin` holds their values one after the other: bytes, or little-endian floats, rows of pixels.
Pillow 13 resizes down first where that is less work, and its `BICUBIC` then gives other values at hard edges; up to 12 it went across first.
"""

import json
import os

import cv2
import numpy as np
from PIL import Image, ImageOps

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "filters")
os.makedirs(HERE, exist_ok=True)
cv2.setNumThreads(1)
random = np.random.default_rng(7)
cases, values = [], []


def path(name):
    return os.path.join(HERE, name)


def source(width, height):
    """A gradient, hard edges, and noise at the right."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), ((x // 5 + y // 4) % 2) * 255], axis=2)
    noise = x >= width * 2 // 3
    picture[noise] = random.integers(0, 256, (int(noise.sum()), 3))
    return picture.astype(np.uint8)


def case(file, pre, wanted, tolerance=1):
    wanted = np.ascontiguousarray(wanted)
    height, width = wanted.shape[:2]
    kind = "float" if wanted.dtype == np.float32 else "byte"
    pre = {"width": width, "height": height, "layout": "nhwc", "scale": 1.0, **pre}
    cases.append({"file": file, "pre": pre, "values": kind, "count": int(wanted.size), "tolerance": tolerance})
    values.append(wanted.astype("<f4" if kind == "float" else np.uint8).tobytes())


def cv(flag):
    return lambda picture, size: cv2.resize(picture, size, interpolation=flag)


def pillow(flag):
    return lambda picture, size: np.asarray(Image.fromarray(picture).resize(size, flag))


FILTERS = {
    "linear": cv(cv2.INTER_LINEAR),
    "linear-float": lambda picture, size: cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_LINEAR),
    "cubic": cv(cv2.INTER_CUBIC),
    "area": cv(cv2.INTER_AREA),
    "nearest": cv(cv2.INTER_NEAREST),
    "linear-antialias": pillow(Image.Resampling.BILINEAR),
    "cubic-antialias": pillow(Image.Resampling.BICUBIC),
    "lanczos": cv(cv2.INTER_LANCZOS4),
    "lanczos-antialias": pillow(Image.Resampling.LANCZOS),
}


def gray(picture):
    return np.asarray(Image.fromarray(picture).convert("L"))


def fitted():
    pictures = {"small.png": source(37, 23), "wide.png": source(160, 90)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(path(name), optimize=True)
    small, wide = pictures["small.png"], pictures["wide.png"]
    for word, resize in FILTERS.items():
        pre = {"filter": word}
        # Larger, smaller, one side each, by a whole number, the same.
        for size in [(50, 31), (16, 9), (45, 11)]:
            case("small.png", pre, resize(small, size))
        case("wide.png", pre, resize(wide, (48, 27)))
        if word != "linear-float":
            case("wide.png", {**pre, "color": "gray"}, resize(gray(wide), (80, 45)))
        case("wide.png", {**pre, "color": "gray"}, resize(gray(wide), (40, 45)))
        case("wide.png", {**pre, "color": "gray"}, resize(gray(wide), (1, 1)).reshape(1, 1))
        case("small.png", {**pre, "color": "gray"}, resize(gray(small), (37, 23)))
        case("small.png", {**pre, "color": "gray"}, resize(gray(small), (60, 12)))
    # Letterboxes as Ultralytics and YOLOX lay them.
    for name, picture in pictures.items():
        height, width = picture.shape[:2]
        for size in [(40, 40), (33, 41)]:
            gain = min(size[0] / width, size[1] / height)
            inner = (max(round(width * gain), 1), max(round(height * gain), 1))
            scaled = cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR)
            dw, dh = (size[0] - inner[0]) / 2, (size[1] - inner[1]) / 2
            edges = round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1)
            boxed = cv2.copyMakeBorder(scaled, *edges, cv2.BORDER_CONSTANT, value=(114, 114, 114))
            case(name, {"fit": "letterbox", "filter": "linear"}, boxed)
            edges = 0, size[1] - inner[1], 0, size[0] - inner[0]
            boxed = cv2.copyMakeBorder(scaled[..., ::-1], *edges, cv2.BORDER_CONSTANT, value=(10, 20, 30))
            case(name, {"fit": "letterbox", "filter": "linear", "align": "top-left", "fill": [10, 20, 30], "color": "bgr"}, boxed)
    # 0.25 of 90 rows is 22.5, which Python rounds to 22.
    boxed = np.full((40, 40, 3), 114, np.uint8)
    boxed[9:31] = cv2.resize(wide, (40, 22), interpolation=cv2.INTER_AREA)
    case("wide.png", {"fit": "letterbox", "filter": "area"}, boxed)
    # torchvision's Resize and CenterCrop.
    for name, picture in pictures.items():
        height, width = picture.shape[:2]
        for word in ["linear-antialias", "cubic-antialias"]:
            for side, short in [(28, 32), (21, 24), (17, 20)]:
                long = int(short * max(width, height) / min(width, height))
                size = (long, short) if width > height else (short, long)
                scaled = FILTERS[word](picture, size)
                top, left = int(round((size[1] - side) / 2.0)), int(round((size[0] - side) / 2.0))
                case(name, {"fit": "crop", "crop": side / short, "filter": word}, scaled[top : top + side, left : left + side])
    # Every byte divided as torchvision's `ToTensor` and `Normalize` and the readers of the field do it, to the last bit.
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(ramp).save(path("ramp.png"), optimize=True)
    ramp = np.repeat(ramp[..., None], 3, axis=2).astype(np.float32)
    case("ramp.png", {"scale": 255.0}, ramp / np.float32(255), 0)
    case("ramp.png", {"scale": 255.0, "mean": mean.tolist(), "std": std.tolist()}, (ramp / np.float32(255) - mean) / std, 0)
    case("ramp.png", {"mean": [127.5] * 3, "std": [128.0] * 3}, (ramp - np.float32(127.5)) / np.float32(128), 0)
    # Mean and deviation in the order of the tensor's channels.
    mean, std = np.float32([10, 20, 30]), np.float32([2, 4, 5])
    wanted = (FILTERS["linear"](wide, (16, 9))[..., ::-1].astype(np.float32) / 2 - mean) / std
    pre = {"filter": "linear", "color": "bgr", "scale": 2.0, "mean": mean.tolist(), "std": std.tolist()}
    case("wide.png", pre, wanted.astype(np.float32))


def kinds():
    """Kinds of files. JPEG decoders may differ by a little."""
    picture = Image.fromarray(source(24, 16)).resize((24, 16))
    smooth = Image.fromarray(np.stack(np.meshgrid(np.arange(24) * 10, np.arange(16) * 15), axis=2)[..., [0, 1, 0]].astype(np.uint8))
    jpeg = {"quality": 95, "subsampling": 0}

    def kept(name, tolerance):
        shown = ImageOps.exif_transpose(Image.open(path(name)))
        case(name, {}, np.asarray(shown.convert("RGB")), tolerance)

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        smooth.save(path(f"turned-{orientation}.jpg"), exif=exif, **jpeg)
        kept(f"turned-{orientation}.jpg", 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path("turned-6.png"), exif=exif)
    kept("turned-6.png", 0)
    smooth.convert("CMYK").save(path("cmyk.jpg"), **jpeg)
    kept("cmyk.jpg", 3)
    smooth.save(path("progressive.jpg"), progressive=True, **jpeg)
    kept("progressive.jpg", 2)
    smooth.convert("L").save(path("gray.jpg"), quality=95)
    kept("gray.jpg", 2)
    picture.quantize(16).save(path("palette.png"))
    kept("palette.png", 0)
    picture.convert("1").save(path("bits.png"))
    kept("bits.png", 0)
    rgba = picture.copy()
    rgba.putalpha(picture.convert("L"))
    rgba.save(path("alpha.png"))
    kept("alpha.png", 0)
    rgba.convert("LA").save(path("gray-alpha.png"))
    kept("gray-alpha.png", 0)
    deep = random.integers(0, 65536, (16, 24, 3)).astype(np.uint16)
    # To bytes as viewers do it: Pillow takes the upper byte of colours and cuts off grays.
    cv2.imwrite(path("deep.png"), deep[..., ::-1])
    case("deep.png", {}, np.rint(deep / 257).astype(np.uint8), 0)
    cv2.imwrite(path("deep-gray.png"), deep[..., 0])
    case("deep-gray.png", {}, np.repeat(np.rint(deep[..., :1] / 257).astype(np.uint8), 3, axis=2), 0)


fitted()
kinds()
with open(path("cases.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n")
with open(path("cases.bin"), "wb") as file:
    file.write(b"".join(values))
