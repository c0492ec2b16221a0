"""walk-drive-conflict: people and locomotives in one roadway ("when vehicles run, nobody walks")."""

from belt_foreign_object import heat_picture, pictures_for_listing
from detector import *
from images import *

SEED, LABELS = 701, ["person", "vehicle"]
COLORS = {"person": AMBER, "vehicle": "#59b3d6"}


def track(rng, picture, vx, vy, shift):
    """Sleepers and two rails towards the vanishing point; `shift` moves the near end."""
    end = vx + shift
    k = 0.06
    while k < 1.1:
        x, y, half = vx + (end - vx) * k, vy + 13 + (H - vy - 8) * k, 74 * k
        over(picture, np.array([0.22, 0.19, 0.16]) * rng.uniform(0.8, 1.1), stroke([(x - half, y), (x + half, y)], 1 + 5 * k) * 0.8)
        k *= 1.28
    for side in (-1, 1):
        over(picture, (0.46, 0.46, 0.47), stroke([(vx, vy + 13), (end + side * 58, H + 5)], 3.2) * 0.9)
    return lambda k: (vx + (end - vx) * k, vy + 13 + (H - vy - 8) * k)


def person(rng, picture, x, y, tall):
    """A miner seen from the front or behind, feet at (x, y)."""
    w = tall * 0.15
    step = rng.uniform(-1, 1) * w * 0.9
    suit = np.array([[0.10, 0.14, 0.26], [0.16, 0.17, 0.19], [0.30, 0.16, 0.08]][rng.integers(3)]) * rng.uniform(0.8, 1.5)
    shoulder, hip = y - tall * 0.80, y - tall * 0.47
    mask = np.zeros((H, W), np.float32)

    def part(alpha, color):
        nonlocal mask
        over(picture, color, alpha)
        mask = np.maximum(mask, alpha)

    for s, lift in ((-1, 0), (1, rng.uniform(0, 0.05) * tall)):
        part(stroke([(x + s * w * 0.45, hip), (x + s * (w * 0.5 + step * 0.3), y - tall * 0.24), (x + s * w * 0.5 + step * 0.6 * s, y - lift)], w * 0.78), suit * 0.8)
        part(ellipse(x + s * w * 0.5 + step * 0.6 * s, y - lift, w * 0.5, w * 0.28), (0.04, 0.04, 0.04))
    for s in (-1, 1):
        part(stroke([(x + s * w * 0.95, shoulder + w * 0.3), (x + s * w * (1.35 + 0.3 * rng.random()), y - tall * 0.6), (x + s * w * (1.1 + 0.5 * rng.random()), hip + w * 0.3)], w * 0.55), suit * 0.9)
    part(polygon([(x - w * 1.05, shoulder), (x + w * 1.05, shoulder), (x + w * 0.85, hip + w * 0.3), (x - w * 0.85, hip + w * 0.3)], blur=0.4), suit)
    stripe = np.array([0.85, 0.9, 0.45]) * rng.uniform(0.55, 1.1)
    for k in (0.30, 0.72):
        yy = shoulder + (hip - shoulder) * k
        over(picture, stripe, stroke([(x - w * 0.95, yy), (x + w * 0.95, yy)], max(1.2, w * 0.26)))
    for s in (-1, 1):
        over(picture, stripe * 0.9, stroke([(x + s * w * 0.2, y - tall * 0.2), (x + s * w * 0.8, y - tall * 0.2)], max(1.0, w * 0.2)))
    part(ellipse(x, y - tall * 0.88, w * 0.48, w * 0.58, blur=0.3), np.array([0.42, 0.30, 0.23]) * rng.uniform(0.6, 1.1))
    hat = np.array([[0.85, 0.70, 0.12], [0.75, 0.14, 0.10], [0.80, 0.80, 0.78], [0.15, 0.30, 0.65]][rng.integers(4)]) * rng.uniform(0.7, 1.05)
    part(ellipse(x, y - tall * 0.945, w * 0.66, w * 0.42, blur=0.3), hat)
    if rng.random() < 0.6:
        glow(picture, x, y - tall * 0.95, max(3, w * 0.8), (1.0, 0.97, 0.86), rng.uniform(0.3, 0.7))
    return mask


def vehicle(rng, picture, x, y, wide):
    """The front of an electric locomotive, buffer at (x, y)."""
    tall = wide * rng.uniform(0.85, 1.1)
    paint = np.array([[0.72, 0.52, 0.08], [0.14, 0.36, 0.22], [0.62, 0.14, 0.10], [0.18, 0.30, 0.48]][rng.integers(4)]) * rng.uniform(0.5, 0.95)
    half = wide / 2
    box = lambda x0, y0, x1, y1: polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], blur=0.5)
    mask = polygon([(x - half, y), (x - half, y - tall * 0.88), (x - half * 0.8, y - tall), (x + half * 0.8, y - tall), (x + half, y - tall * 0.88), (x + half, y)], blur=0.5)
    over(picture, (0.02, 0.02, 0.02), ellipse(x, y + 2, half * 1.1, wide * 0.07, blur=2) * 0.8)
    over(picture, (0.75 + 0.35 * noise(rng, 14, octaves=3))[..., None] * paint, mask)
    over(picture, (0.05, 0.07, 0.09), box(x - half * 0.68, y - tall * 0.86, x + half * 0.68, y - tall * 0.55))
    over(picture, (0.30, 0.36, 0.40), stroke([(x - half * 0.5, y - tall * 0.6), (x - half * 0.2, y - tall * 0.82)], wide * 0.03) * 0.7)
    over(picture, paint * 0.6, stroke([(x, y - tall * 0.86), (x, y - tall * 0.55)], wide * 0.04))
    bumper = box(x - half, y - tall * 0.16, x + half, y)
    yy, xx = np.mgrid[0:H, 0:W]
    bars = ((xx + yy) // max(3, int(wide * 0.09)) % 2)[..., None]
    over(picture, bars * np.array([0.75, 0.6, 0.08]) + (1 - bars) * np.array([0.06, 0.06, 0.06]), bumper)
    for s in (-0.6, 0.6) if rng.random() < 0.75 else (0.0,):
        px, py = x + s * half, y - tall * 0.36
        over(picture, (0.2, 0.2, 0.2), ellipse(px, py, wide * 0.10, wide * 0.10))
        if rng.random() < 0.8:
            glow(picture, px, py, wide * 0.28, (1.0, 0.94, 0.78), rng.uniform(0.3, 0.75))
            over(picture, (1, 0.98, 0.9), ellipse(px, py, wide * 0.075, wide * 0.075, blur=0.6))
    return mask


def clutter(rng, picture, vx, vy):
    """What is not to be reported: drums, signs, a lone lamp, standing pipes."""
    for _ in range(rng.integers(0, 4)):
        side, k = rng.choice([-1, 1]), rng.uniform(0.3, 0.85)
        x, y = vx + side * rng.uniform(95, 150) * k * 1.1, vy + 13 + (H - vy - 10) * k
        kind = rng.integers(4)
        if kind == 0:
            w, h = 22 * k, 34 * k
            over(picture, np.array([[0.1, 0.2, 0.4], [0.4, 0.12, 0.08]][rng.integers(2)]), polygon([(x - w, y - h), (x + w, y - h), (x + w, y), (x - w, y)], blur=0.6))
            over(picture, (0.25, 0.25, 0.27), stroke([(x - w, y - h * 0.5), (x + w, y - h * 0.5)], 1.5))
        elif kind == 1:
            s = 14 * k + 4
            over(picture, np.array([[0.8, 0.65, 0.1], [0.15, 0.35, 0.6], [0.1, 0.45, 0.25]][rng.integers(3)]) * 0.8, polygon([(x - s, y - 90 * k), (x + s, y - 90 * k), (x + s, y - 90 * k + s), (x - s, y - 90 * k + s)], blur=0.5))
        elif kind == 2:
            glow(picture, x, y - 60 * k, 9, (1, 0.95, 0.8), rng.uniform(0.4, 0.9))
        else:
            over(picture, np.array([0.28, 0.26, 0.24]), stroke([(x, y), (x, y - 110 * k)], 5 * k + 2))


def scene(rng):
    picture, (vx, vy) = roadway(rng)
    shift = rng.uniform(-50, 50)
    at = track(rng, picture, vx, vy, shift)
    clutter(rng, picture, vx, vy)
    with_vehicle, people = rng.random() < 0.55, rng.choice([0, 1, 2], p=[0.34, 0.42, 0.24])
    items = []
    if with_vehicle:
        k = rng.uniform(0.30, 0.72)
        x, y = at(k)
        items.append((k, 1, x, y, 148 * k))
    for _ in range(people):
        k = rng.uniform(0.30, 0.85)
        for _ in range(20):
            x, y = at(k)
            x += rng.choice([-1, 1]) * rng.uniform(30, 150) * k if with_vehicle or rng.random() < 0.7 else 0
            size = 125 * k
            if 14 < x < W - 14 and all(abs(x - i[2]) > 12 + (i[4] * 0.5 if i[1] else 14) + size * 0.15 for i in items):
                items.append((k, 0, x, y, size))
                break
    masks, found = np.zeros((2, H, W), np.float32), []
    for k, kind, x, y, size in sorted(items):
        mask = (person, vehicle)[kind](rng, picture, x, min(y, H - 4), size)
        for other in found:
            other[1][:] *= 1 - mask
        found.append((kind, mask))
    objects = []
    for kind, mask in found:
        truth = visible(mask, LABELS[kind])
        if truth:
            objects.append(truth)
            masks[kind] = np.maximum(masks[kind], mask)
    return camera(rng, picture * rng.uniform(0.95, 1.8), dust=(0.0, 0.32), sigma=(0.006, 0.016)), masks, objects


def main():
    app = App("walk-drive-conflict")
    rng = np.random.default_rng(SEED)
    scenes, check = [scene(rng) for _ in range(300)], [scene(rng) for _ in range(60)]
    rng = np.random.default_rng(SEED + 1)
    test = [scene(rng) for _ in range(150)]
    model = Detector(LABELS, [0.3, 0.45], SEED, 24).fit(scenes).model("walk-drive-conflict")
    threshold = best_threshold(session(model), check, LABELS, (W, H))
    app.manifest["pipeline"]["post"][0]["grid"]["score"] = threshold
    app.save_model(model)
    found = [boxes_of(heat_of(app.run, s[0]), LABELS, np.float32(threshold), (W, H)) for s in test]
    tally = score_detections(found, test, LABELS)
    zh, en = f"留出的 {len(test)} 张合成图像，IoU ≥ 0.3", f"{len(test)} held-out synthetic pictures, IoU ≥ 0.3"
    app.metric("f1-iou30", f1(tally), trivial(scenes, test, LABELS), f"{zh}；基线为每张图总画同一个最合适的框", f"{en}; baseline always draws the one best fitting box")
    for label in LABELS:
        app.metric(f"recall-{label}", tally[label][0] / tally[label][2], 0.0, f"{zh}，其中 {tally[label][2]} 个目标；基线为不检测", f"{en}, {tally[label][2]} such objects; baseline detects nothing")
    both = lambda items: len({i["label"] for i in items}) == 2
    alarm, real = np.array([both(f) for f in found]), np.array([both(s[2]) for s in test])
    app.metric("conflict-accuracy", (alarm == real).mean(), max(real.mean(), 1 - real.mean()), "整图是否人车同在，同一批图像；基线为总答较多的一种", "person and vehicle together in the picture, same pictures; baseline always gives the more frequent answer")
    rng = np.random.default_rng(SEED + 2)
    golden = [scene(rng) for _ in range(40)]
    app.golden([("roadway", png_bytes(p), {"counts": counts(o, LABELS)}) for p, _, o in golden], 7)
    pictures_for_listing(app, test, found, COLORS, app.folder / "media/cover.png", "")
    heat_picture(app, test[int(np.flatnonzero(real)[0])][0], app.folder / "media/heat.png")
    app.finish()


if __name__ == "__main__":
    main()
