"""Rendering of the synthetic scenes: textures, shapes with soft edges, lamps, dust, sensor noise. Pictures are float RGB 0–1."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.spatial import cKDTree

W, H = 320, 240


def noise(rng, scale, w=W, h=H, octaves=3):
    """Smooth noise in 0–1; `scale` is the size of the largest blobs in pixels."""
    out, weight, total = np.zeros((h, w), np.float32), 1.0, 0.0
    for _ in range(octaves):
        grid = rng.random((max(2, int(h / scale) + 3), max(2, int(w / scale) + 3))).astype(np.float32)
        out += weight * np.asarray(Image.fromarray(grid).resize((w, h), Image.Resampling.BICUBIC))
        total, weight, scale = total + weight, weight * 0.55, max(2, scale / 2)
    return np.clip(out / total, 0, 1)


def shape(paint, w=W, h=H, blur=0.0, factor=3):
    """An alpha mask 0–1: `paint(draw, s)` draws white at `s` times the size."""
    big = Image.new("L", (w * factor, h * factor))
    paint(ImageDraw.Draw(big), factor)
    big = big.reduce(factor)
    if blur:
        big = big.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(big, np.float32) / 255


def polygon(points, **kw):
    return shape(lambda d, s: d.polygon([(float(x) * s, float(y) * s) for x, y in points], fill=255), **kw)


def ellipse(x, y, rx, ry, **kw):
    return shape(lambda d, s: d.ellipse([(x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s], fill=255), **kw)


def stroke(points, width, **kw):
    return shape(lambda d, s: d.line([(float(x) * s, float(y) * s) for x, y in points], fill=255, width=max(1, int(width * s)), joint="curve"), **kw)


def over(picture, color, alpha):
    """Paint a colour (3 numbers or a picture) over the picture."""
    a = alpha[..., None]
    picture *= 1 - a
    picture += np.asarray(color, np.float32) * a


def glow(picture, x, y, radius, color, strength):
    yy, xx = np.mgrid[0:picture.shape[0], 0:picture.shape[1]]
    light = strength * np.exp(-(((xx - x) ** 2 + (yy - y) ** 2) / (radius * radius)))
    picture += light[..., None].astype(np.float32) * np.asarray(color, np.float32)


def lumps(rng, size, w, h, base=0.16, gloss=0.5, contrast=0.55):
    """Broken stone seen from above: Voronoi facets lit from one side, dark gaps, a few glints. Grey 0–1."""
    n = int(w * h / (size * size))
    points = np.stack([rng.uniform(-size, w + size, n), rng.uniform(-size, h + size, n)], 1)
    yy, xx = np.mgrid[0:h, 0:w]
    wobble = noise(rng, size, w, h) - 0.5, noise(rng, size, w, h) - 0.5
    at = np.stack([xx + wobble[0] * size * 0.7, yy + wobble[1] * size * 0.7], 2).reshape(-1, 2)
    d, i = cKDTree(points).query(at, k=2)
    d, i = d.reshape(h, w, 2), i.reshape(h, w, 2)
    facet = rng.normal(0, 1, n).astype(np.float32)
    tilt = rng.normal(0, 1, (n, 2)).astype(np.float32)
    rel = (at.reshape(h, w, 2) - points[i[..., 0]]) / size
    shade = 1 + contrast * (0.45 * facet[i[..., 0]] + 0.5 * (rel * tilt[i[..., 0]]).sum(2) - 0.45 * rel[..., 1] - 0.25 * rel[..., 0])
    gap = np.clip((d[..., 1] - d[..., 0]) / (size * 0.22), 0.25, 1)
    out = base * np.clip(shade, 0.15, 3) * gap
    glint = (facet[i[..., 0]] > 1.5) & (noise(rng, size * 0.7, w, h, 2) > 0.62)
    return (out + gloss * 0.14 * glint * gap).astype(np.float32)


class Coal:
    """A few large sheets of coal texture from which scenes take random pieces."""

    def __init__(self, rng, count=10):
        self.sheets = [lumps(rng, s, 640, 480, base=rng.uniform(0.10, 0.17)) for s in np.linspace(5, 13, count)]

    def piece(self, rng, w=W, h=H):
        sheet = self.sheets[rng.integers(len(self.sheets))]
        y, x = rng.integers(sheet.shape[0] - h + 1), rng.integers(sheet.shape[1] - w + 1)
        out = sheet[y:y + h, x:x + w]
        return out[:, ::-1] if rng.random() < 0.5 else out


def blob(rng, x, y, rx, ry, corners=9, rough=0.28):
    """Corner points of a broken stone."""
    a = np.sort(rng.uniform(0, 2 * np.pi, corners))
    a = np.linspace(0, 2 * np.pi, corners, endpoint=False) + (a - a.mean()) * 0.08
    r = rng.uniform(1 - rough, 1, corners)
    turn = rng.uniform(0, np.pi)
    px, py = rx * r * np.cos(a), ry * r * np.sin(a)
    return np.stack([x + px * np.cos(turn) - py * np.sin(turn), y + px * np.sin(turn) + py * np.cos(turn)], 1)


def camera(rng, picture, dust=(0, 0.3), gain=(0.8, 1.25), sigma=(0.006, 0.018), tint=(0.46, 0.44, 0.40)):
    """Vignette, dust haze, exposure, colour cast, blur, noise → uint8."""
    h, w = picture.shape[:2]
    yy, xx = np.mgrid[0:h, 0:w]
    r2 = ((xx / w - 0.5) ** 2 + (yy / h - 0.5) ** 2).astype(np.float32)
    picture = picture * (1 - rng.uniform(0.2, 0.7) * r2[..., None])
    haze = rng.uniform(*dust) * (0.55 + 0.45 * noise(rng, 120, w, h, 2))
    over(picture, np.array(tint) * rng.uniform(0.6, 1.1), haze.astype(np.float32))
    picture = picture * rng.uniform(*gain) * (1 + rng.normal(0, 0.03, 3))
    soft = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8)))
    x = np.asarray(soft, np.float32) / 255
    s = rng.uniform(*sigma)
    x = x + rng.normal(0, s, x.shape[:2])[..., None] + rng.normal(0, s * 0.35, x.shape)
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def roadway(rng, lamps=True, grain=18):
    """Inside of an arched roadway looking along it: lining (`grain` is the size of its patches), steel arches, floor, cables. Returns picture and the vanishing point."""
    vx, vy = W / 2 + rng.uniform(-40, 40), H * rng.uniform(0.36, 0.48)
    yy, xx = np.mgrid[0:H, 0:W].astype(np.float32)
    wall = 0.10 + 0.12 * noise(rng, grain, octaves=4) + 0.05 * noise(rng, 90)
    d = np.hypot((xx - vx) / W, (yy - vy) / H)
    light = np.clip(0.30 + 1.5 * d, 0, 1.15)
    floor_color = np.array([0.95, 0.92, 0.86]) * rng.uniform(0.85, 1.1)
    picture = (wall * light)[..., None] * np.array([1.0, 0.98, 0.94], np.float32)
    floor = polygon([(vx - 8, vy + 12), (vx + 8, vy + 12), (W + 120, H + 20), (-120, H + 20)], blur=1)
    over(picture, ((0.13 + 0.13 * noise(rng, 12, octaves=4)) * light)[..., None] * floor_color, floor)
    step = rng.uniform(1.35, 1.6)
    r = 26.0
    while r < 420:
        ring = stroke([(vx - r * 1.02, vy + r * 0.95), (vx - r, vy - r * 0.25), (vx - r * 0.7, vy - r * 0.72), (vx, vy - r * 0.92),
                       (vx + r * 0.7, vy - r * 0.72), (vx + r, vy - r * 0.25), (vx + r * 1.02, vy + r * 0.95)], max(1.0, r * 0.045))
        over(picture, np.array([0.30, 0.27, 0.24]) * min(1.0, 0.35 + r / 260), ring * 0.75)
        r *= step
    for _ in range(rng.integers(1, 4)):
        side, k = rng.choice([-1, 1]), rng.uniform(0.1, 0.6)
        over(picture, np.array([0.07, 0.07, 0.08]) + rng.uniform(0, 0.12), stroke([(vx + side * 14, vy - k * 10), (vx + side * 330, vy - k * 240)], rng.uniform(2, 4)))
    if lamps:
        side = rng.uniform(-0.55, 0.55)
        for k in np.geomspace(24, 230, rng.integers(2, 5)) * rng.uniform(0.8, 1.2):
            x, y = vx + side * k, vy - 0.62 * k
            glow(picture, x, y, 6 + k * 0.35, (1.0, 0.93, 0.78), rng.uniform(0.12, 0.3))
            over(picture, (1.0, 0.97, 0.88), ellipse(x, y, 1.5 + k * 0.03, 1 + k * 0.014, blur=0.5))
    return picture, (vx, vy)
