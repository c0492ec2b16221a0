"""belt-foreign-object: anchor bolts, oversize lumps and timber on a loaded belt, as a heat map."""

from detector import *
from images import *

SEED = 201
LABELS = ["bolt", "lump", "timber"]
PICTURES = 420  # of training


def scene(rng, coal):
    """A loaded belt seen from above: rollers and frame at both sides, coal in the middle, what does not belong there on it."""
    lean = rng.uniform(-8, 8)
    left, right = rng.uniform(28, 60), W - rng.uniform(28, 60)
    frame = np.full((H, W), 0.10, np.float32) + 0.08 * noise(rng, 10)
    picture = frame[..., None] * np.array([1.0, 0.98, 0.95], np.float32)
    for x in (left - rng.uniform(16, 22), right + rng.uniform(16, 22)):
        over(picture, (0.26, 0.28, 0.30), stroke([(x, -5), (x + lean, H + 5)], 7))
    first, gap = rng.uniform(0, 60), rng.uniform(60, 90)
    while first < H:
        for x0, x1 in ((left - 30, left + 6), (right - 6, right + 30)):
            over(picture, (0.33, 0.20, 0.16) if rng.random() < 0.5 else (0.30, 0.31, 0.33), stroke([(x0, first), (x1, first)], 9, blur=0.6))
        first += gap
    belt = polygon([(left, -2), (right, -2), (right + lean, H + 2), (left + lean, H + 2)], blur=0.7)
    rubber = 0.075 + 0.03 * noise(rng, 40) + 0.02 * noise(rng, 4)
    over(picture, rubber[..., None] * np.array([1, 1, 1.04]), belt)
    load = rng.uniform(0.62, 0.92)
    middle, half = (left + right) / 2 + rng.uniform(-10, 10), (right - left) / 2 * load
    yy, xx = np.mgrid[0:H, 0:W].astype(np.float32)
    edge = np.abs(xx - middle - lean * yy / H) / half + 0.35 * (noise(rng, 26) - 0.5)
    heap = np.clip((1.0 - edge) * 12, 0, 1) * belt
    texture = coal.piece(rng) * (1.25 - 0.55 * np.clip(edge, 0, 1)) * (0.8 + 0.4 * noise(rng, 70))
    over(picture, texture[..., None] * np.array([1.0, 1.0, 1.03]), heap)
    if rng.random() < 0.25:  # joint of the belt or a wet streak
        y = rng.uniform(20, 220)
        over(picture, (0.24, 0.25, 0.27), stroke([(left, y), (right, y + rng.uniform(-12, 12))], rng.uniform(1, 3)) * 0.6 * (1 - heap))
    for _ in range(rng.integers(0, 6)):  # ordinary pieces, not to be reported
        x, y, r = rng.uniform(middle - half * 0.8, middle + half * 0.8), rng.uniform(10, 230), rng.uniform(6, 11)
        stone(rng, picture, x, y, r, r * rng.uniform(0.6, 0.9), rng.uniform(0.10, 0.36))
    masks = np.zeros((3, H, W), np.float32)
    parts, places = [], []
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.16, 0.4, 0.3, 0.14])):
        for _ in range(20):
            x, y = rng.uniform(middle - half * 0.65, middle + half * 0.65), rng.uniform(34, 206)
            if all(np.hypot(x - a, y - b) > 74 for a, b in places):
                break
        else:
            continue
        places.append((x, y))
        kind = rng.choice(3, p=[0.42, 0.34, 0.24])
        alpha = (bolt, big_lump, timber)[kind](rng, picture, x, y)
        cover = np.clip((noise(rng, 22) - rng.uniform(0.60, 0.85)) * 14, 0, 1)  # coal that lies on it
        over(picture, texture[..., None], cover * alpha)
        seen = alpha * (1 - cover) * belt
        if seen.sum() > 0.55 * alpha.sum():  # mostly buried: not counted
            parts.append((kind, alpha * belt))
    objects = []
    for kind, seen in parts:
        truth = visible(seen, LABELS[kind])
        if truth:
            objects.append(truth)
            masks[kind] = np.maximum(masks[kind], seen)
    lamp = 0.55 + 0.9 * np.exp(-(((xx - rng.uniform(80, 240)) / 170) ** 2 + ((yy - rng.uniform(40, 200)) / 150) ** 2))
    picture *= (lamp * rng.uniform(1.1, 1.7))[..., None]
    return camera(rng, picture, dust=(0.0, 0.38)), masks, objects


def shadow(picture, alpha, dx, dy):
    over(picture, (0.015, 0.015, 0.018), np.roll(np.roll(alpha, dy, 0), dx, 1) * 0.7)


def stone(rng, picture, x, y, rx, ry, grey, relief=0.5):
    alpha = polygon(blob(rng, x, y, rx, ry, rng.integers(7, 12)), blur=0.5)
    shadow(picture, alpha, 3, 4)
    size = max(6.0, rx * 0.8)
    texture = lumps(rng, size, W, H, base=1.0, gloss=0.0, contrast=relief * 0.55) if rx > 12 else np.ones((H, W), np.float32)
    yy, xx = np.mgrid[0:H, 0:W]
    lit = np.clip(1 - relief * (0.5 * (xx - x) / rx + 0.7 * (yy - y) / ry), 0.35, 1.7)
    over(picture, (grey * (0.55 + 0.45 * texture) * lit * (0.85 + 0.3 * noise(rng, 5)))[..., None] * np.array([1.0, 0.98, 0.94]), alpha)
    return alpha


def big_lump(rng, picture, x, y):
    r = rng.uniform(20, 36)
    return stone(rng, picture, x, y, r, r * rng.uniform(0.65, 0.95), rng.uniform(0.19, 0.46) if rng.random() < 0.8 else rng.uniform(0.11, 0.18), 0.6)


def along(x, y, angle, length):
    c, s = np.cos(angle) * length / 2, np.sin(angle) * length / 2
    return (x - c, y - s), (x + c, y + s)


def bolt(rng, picture, x, y):
    angle, length, width = rng.uniform(0, np.pi), rng.uniform(60, 120), rng.uniform(3.5, 5.5)
    a, b = along(x, y, angle, length)
    if rng.random() < 0.35:  # bent
        m = (x - np.sin(angle) * rng.uniform(4, 14), y + np.cos(angle) * rng.uniform(4, 14))
        points = [a, m, b]
    else:
        points = [a, b]
    alpha = stroke(points, width, blur=0.4)
    rust = rng.random() < 0.5
    body = np.array([0.36, 0.24, 0.16] if rust else [0.42, 0.43, 0.45]) * rng.uniform(0.75, 1.25)
    shadow(picture, alpha, 2, 3)
    yy, xx = np.mgrid[0:H, 0:W]
    rib = 0.86 + 0.14 * np.sign(np.sin((xx * np.cos(angle) + yy * np.sin(angle)) * 1.4))
    over(picture, rib[..., None] * body, alpha)
    over(picture, np.minimum(1, body * 1.9), stroke([(px - 0.6, py - 0.8) for px, py in points], width * 0.35, blur=0.4) * 0.8)
    if rng.random() < 0.55:  # the plate
        px, py = a
        s, turn = rng.uniform(8, 11), rng.uniform(0, 1.5)
        plate = polygon([(px + s * 1.35 * np.cos(turn + k * np.pi / 2), py + s * 1.35 * np.sin(turn + k * np.pi / 2)) for k in range(4)], blur=0.4)
        shadow(picture, plate, 2, 3)
        over(picture, body * rng.uniform(0.75, 1.0), plate)
        over(picture, body * 1.6, ellipse(px, py, s * 0.45, s * 0.45, blur=0.5))
        alpha = np.maximum(alpha, plate)
    return alpha


def timber(rng, picture, x, y):
    angle, length, width = rng.uniform(0, np.pi), rng.uniform(60, 110), rng.uniform(10, 17)
    (ax, ay), (bx, by) = along(x, y, angle, length)
    nx, ny = -np.sin(angle) * width / 2, np.cos(angle) * width / 2
    alpha = polygon([(ax + nx, ay + ny), (bx + nx, by + ny), (bx - nx, by - ny), (ax - nx, ay - ny)], blur=0.5)
    shadow(picture, alpha, 3, 4)
    yy, xx = np.mgrid[0:H, 0:W]
    across = ((xx - x) * nx + (yy - y) * ny) / (width / 2) ** 2
    grain = 0.75 + 0.2 * np.sin(across * rng.uniform(5, 9) + 3 * noise(rng, 30)) + 0.2 * noise(rng, 6)
    over(picture, (grain * (1 - 0.25 * across))[..., None] * np.array([0.44, 0.32, 0.20]) * rng.uniform(0.75, 1.25), alpha)
    return alpha


def train(app, scenes, check, hidden):
    model = Detector(LABELS, [0.12, 0.4, 0.3], SEED, hidden).fit(scenes).model(app.manifest["name"])
    threshold = best_threshold(session(model), check, LABELS, (W, H))
    app.manifest["pipeline"]["post"][0]["grid"]["score"] = threshold
    app.save_model(model)
    return threshold


def evaluate(app, scenes, test, threshold, zh, en):
    found = [boxes_of(heat_of(app.run, s[0]), LABELS, np.float32(threshold), (W, H)) for s in test]
    tally = score_detections(found, test, LABELS)
    base = trivial(scenes, test, LABELS)
    app.metric("f1-iou30", f1(tally), base, f"{zh}；基线为每张图总画同一个最合适的框", f"{en}; baseline always draws the one best fitting box")
    for label in LABELS:
        app.metric(f"recall-{label}", tally[label][0] / tally[label][2], 0.0, f"{zh}，其中 {tally[label][2]} 个目标；基线为不检测", f"{en}, {tally[label][2]} such objects; baseline detects nothing")
    wrong = sum(t[1] - t[0] for t in tally.values()) / len(test)
    app.metric("false-boxes-per-picture", wrong, 1.0, f"{zh}；基线为每张图总画一个框", f"{en}; baseline draws one box in every picture")
    return found, tally


def pictures_for_listing(app, test, found, colors, path, number, limit=250_000):
    """The cover: a large picture and two small ones with boxes as the app drew them."""
    name = words(app.manifest)
    card = Canvas()
    card.head(app.manifest["title"], number)
    busy = sorted(range(len(test)), key=lambda i: (-len({d["label"] for d in found[i]}), i))[:3]
    card.picture(test[busy[0]][0], (56, 176), 2.1, found[busy[0]], colors, name)
    for i, y in zip(busy[1:], (176, 436)):
        card.picture(test[i][0], (56 + 672 + 24, y), 1.02, found[i], colors, name)
    x = 1098
    for k, (label, color) in enumerate(colors.items()):
        y = 180 + 62 * k
        card.draw.rectangle([x, y, x + 18, y + 18], fill=color)
        card.text((x + 28, y + 9), name[label], 20, anchor="lm")
        card.text((x + 28, y + 34), words(app.manifest, "en")[label], 15, MUTED, anchor="lm")
    card.save(path, limit)


def heat_picture(app, picture, path):
    """What the net sees: the picture and, per label, its heat map."""
    heat = heat_of(app.run, picture)
    name = words(app.manifest)
    n = len(heat) + 1
    card = Canvas(1280, 340)
    width = (1280 - 56 * 2 - 20 * (n - 1)) // n
    scale = width / W
    card.picture(picture, (56, 40), scale)
    card.text((56, 46 + H * scale), "原图  Picture", 20, MUTED)
    low, high = np.array([0x16, 0x1d, 0x25]), np.array([0xe8, 0x95, 0x2e])
    for k, h in enumerate(heat):
        x = 56 + (k + 1) * (width + 20)
        shown = (low + (high - low) * h[..., None]).astype(np.uint8)
        card.image.paste(Image.fromarray(shown).resize((width, int(H * scale)), Image.Resampling.NEAREST), (x, 40))
        card.text((x, 46 + H * scale), f"{name[app.labels()[k]]}  {app.labels()[k]}", 20, MUTED)
    card.save(path, 150_000)


COLORS = {"bolt": AMBER, "lump": "#59b3d6", "timber": "#63c78f"}


def main():
    coal = Coal(np.random.default_rng(SEED))
    rng = np.random.default_rng(SEED + 3)
    scenes, check = [scene(rng, coal) for _ in range(PICTURES)], [scene(rng, coal) for _ in range(60)]
    rng = np.random.default_rng(SEED + 1)
    test = [scene(rng, coal) for _ in range(150)]
    rng = np.random.default_rng(SEED + 2)
    golden = [scene(rng, coal) for _ in range(40)]
    app = App("belt-foreign-object")
    threshold = train(app, scenes, check, 28)
    found, tally = evaluate(app, scenes, test, threshold, f"留出的 {len(test)} 张合成图像，IoU ≥ 0.3", f"{len(test)} held-out synthetic pictures, IoU ≥ 0.3")
    app.golden([("belt", png_bytes(p), {"counts": counts(o, LABELS)}) for p, _, o in golden], 7)
    pictures_for_listing(app, test, found, COLORS, app.folder / "media/cover.png", "v1.0.0")
    busiest = max(range(len(test)), key=lambda i: (len({o["label"] for o in test[i][2]}), -i))
    heat_picture(app, test[busiest][0], app.folder / "media/heat.png")
    app.finish()


if __name__ == "__main__":
    main()
