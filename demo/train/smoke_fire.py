"""smoke-fire: smoke and open flame in a belt roadway, with lamps, dust and reflections that must not be taken for fire."""

from belt_foreign_object import heat_picture, pictures_for_listing
from detector import *
from images import *

SEED, LABELS = 301, ["smoke", "flame"]
COLORS = {"smoke": "#59b3d6", "flame": AMBER}


def smoke(rng, picture, x, y):
    """A plume that rises from (x, y) and leans with the air current."""
    height, width, lean = rng.uniform(55, 110), rng.uniform(22, 40), rng.uniform(-0.8, 0.8)
    alpha = np.zeros((H, W), np.float32)
    for k in np.linspace(0, 1, 14):
        px, py = x + lean * height * k * 0.7 + rng.normal(0, 3), y - height * k
        r = width * (0.35 + 0.65 * k)
        alpha = np.maximum(alpha, ellipse(px, py, r, r * 0.75, blur=6, factor=1) * (1 - 0.35 * k))
    plume = alpha  # its outline; the curls inside are not counted as holes
    curl = np.clip((noise(rng, 24, octaves=4) - 0.22) * 2.4, 0, 1)
    alpha = np.clip(alpha * (0.45 + 0.65 * curl), 0, 1)
    strength = rng.uniform(0.65, 0.95)
    grey = rng.uniform(0.36, 0.70)  # black smoke in a dark roadway cannot be seen by anybody and is left out
    shade = grey * (0.7 + 0.6 * noise(rng, 16, octaves=4))
    over(picture, shade[..., None] * np.array([1.0, 1.0, 1.02]), alpha * strength)
    return (plume > 0.35).astype(np.float32)


def flame(rng, picture, x, y, size=None):
    """Tongues of fire on a base, brighter and yellower inside."""
    size = size or rng.uniform(20, 40)
    mask = np.zeros((H, W), np.float32)
    tongues = [(x + rng.normal(0, 0.32) * size, size * rng.uniform(0.75, 1.35), size * rng.uniform(0.22, 0.36)) for _ in range(rng.integers(3, 6))]
    for scale, color in ((1.0, (0.85, 0.20, 0.03)), (0.74, (1.0, 0.48, 0.06)), (0.45, (1.0, 0.85, 0.40))):
        for px, h, w in tongues:
            bend = rng.normal(0, 0.18) * h
            h2, w2 = h * scale, w * scale
            a = polygon([(px - w2, y), (px - w2 * 1.1, y - h2 * 0.3), (px - w2 * 0.4 + bend * 0.4, y - h2 * 0.7), (px + bend, y - h2),
                         (px + w2 * 0.5 + bend * 0.3, y - h2 * 0.6), (px + w2 * 1.1, y - h2 * 0.28), (px + w2, y)], blur=1.6)
            over(picture, color, a * rng.uniform(0.75, 1.0))
            if scale == 1.0:
                mask = np.maximum(mask, a)
    glow(picture, x, y - size * 0.4, size * 1.9, (1.0, 0.42, 0.10), rng.uniform(0.12, 0.30))
    return (mask > 0.3).astype(np.float32)


def conveyor(rng, picture, vx, vy):
    """A belt conveyor along one side; returns its centre line as a function of nearness 0–1."""
    side = rng.choice([-1, 1])
    x0, x1 = vx + side * 8, vx + side * rng.uniform(90, 150)
    bed = polygon([(x0 - 3, vy + 14), (x0 + 3, vy + 14), (x1 + 62, H + 4), (x1 - 62, H + 4)], blur=0.8)
    over(picture, (0.08 + 0.10 * noise(rng, 6, octaves=4))[..., None] * np.ones(3, np.float32), bed)
    for edge in (-62, 62):
        over(picture, np.array([0.36, 0.33, 0.28]) * rng.uniform(0.6, 1.1), stroke([(x0, vy + 14), (x1 + edge, H + 4)], 3))
    k = 0.08
    while k < 1:
        x, y = x0 + (x1 - x0) * k, vy + 14 + (H - vy - 10) * k
        over(picture, (0.24, 0.22, 0.20), stroke([(x - 64 * k, y), (x - 64 * k, y + 26 * k)], 1 + 4 * k))
        over(picture, (0.24, 0.22, 0.20), stroke([(x + 64 * k, y), (x + 64 * k, y + 26 * k)], 1 + 4 * k))
        k *= 1.45
    return lambda k: (x0 + (x1 - x0) * k, vy + 14 + (H - vy - 10) * k)


def scene(rng):
    picture, (vx, vy) = roadway(rng, grain=7)
    line = conveyor(rng, picture, vx, vy)
    if rng.random() < 0.35:  # a cap lamp or a vehicle's head lamp towards the camera
        x, y = vx + rng.uniform(-60, 60), vy + rng.uniform(5, 60)
        glow(picture, x, y, rng.uniform(14, 34), (1.0, 0.93, 0.74), rng.uniform(0.4, 0.9))
        over(picture, (1, 0.98, 0.9), ellipse(x, y, rng.uniform(2, 6), rng.uniform(2, 6), blur=0.8))
    if rng.random() < 0.4:  # signal lamps and reflecting plates, red or amber
        x, y = rng.uniform(20, W - 20), rng.uniform(40, 190)
        color = (0.9, 0.12, 0.08) if rng.random() < 0.5 else (0.95, 0.62, 0.10)
        if rng.random() < 0.5:
            glow(picture, x, y, rng.uniform(8, 20), color, rng.uniform(0.3, 0.6))
            over(picture, color, ellipse(x, y, 3, 3, blur=0.6))
        else:
            w, h = rng.uniform(6, 16), rng.uniform(5, 12)
            over(picture, np.array(color) * rng.uniform(0.4, 0.9), polygon([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], blur=0.5))
    masks, objects = np.zeros((2, H, W), np.float32), []
    what = rng.choice(4, p=[0.24, 0.26, 0.2, 0.3])  # nothing, smoke, flame, both
    near = rng.uniform(0.15, 0.75)
    x, y = line(near)
    x += rng.normal(0, 14)
    x, y = float(np.clip(x, 45, W - 45)), float(np.clip(y, 120, H - 12))
    for kind, make in ((0, smoke), (1, flame)):
        if what == 3 or what == kind + 1:
            mask = make(rng, picture, x + (rng.normal(0, 6) if what == 3 else 0), y - (rng.uniform(12, 24) if what == 3 and kind == 0 else 0))
            masks[kind] = mask
            truth = visible(mask, LABELS[kind])
            if truth:
                objects.append(truth)
    return camera(rng, picture * rng.uniform(0.85, 1.6), dust=(0.0, 0.34), sigma=(0.006, 0.016)), masks, objects


def main():
    app = App("smoke-fire")
    rng = np.random.default_rng(SEED)
    scenes, check = [scene(rng) for _ in range(360)], [scene(rng) for _ in range(60)]
    rng = np.random.default_rng(SEED + 1)
    test = [scene(rng) for _ in range(150)]
    model = Detector(LABELS, [0.5, 0.35], SEED, 20).fit(scenes).model("smoke-fire")
    threshold = best_threshold(session(model), check, LABELS, (W, H))
    app.manifest["pipeline"]["post"][0]["grid"]["score"] = threshold
    app.save_model(model)
    found = [boxes_of(heat_of(app.run, s[0]), LABELS, np.float32(threshold), (W, H)) for s in test]
    tally = score_detections(found, test, LABELS)
    zh, en = f"留出的 {len(test)} 张合成图像，IoU ≥ 0.3", f"{len(test)} held-out synthetic pictures, IoU ≥ 0.3"
    app.metric("f1-iou30", f1(tally), trivial(scenes, test, LABELS), f"{zh}；基线为每张图总画同一个最合适的框", f"{en}; baseline always draws the one best fitting box")
    for label in LABELS:
        app.metric(f"recall-{label}", tally[label][0] / tally[label][2], 0.0, f"{zh}，其中 {tally[label][2]} 个目标；基线为不检测", f"{en}, {tally[label][2]} such objects; baseline detects nothing")
    alarm, real = np.array([bool(f) for f in found]), np.array([bool(s[2]) for s in test])
    app.metric("picture-accuracy", (alarm == real).mean(), max(real.mean(), 1 - real.mean()), "整图有无烟火的判断，同一批图像；基线为总答较多的一种", "fire or none in the whole picture, same pictures; baseline always gives the more frequent answer")
    rng = np.random.default_rng(SEED + 2)
    golden = [scene(rng) for _ in range(40)]
    app.golden([("roadway", png_bytes(p), {"counts": counts(o, LABELS)}) for p, _, o in golden], 7)
    pictures_for_listing(app, test, found, COLORS, app.folder / "media/cover.png", "")
    both = next(i for i, s in enumerate(test) if len(s[2]) == 2)
    heat_picture(app, test[both][0], app.folder / "media/heat.png")
    app.finish()


if __name__ == "__main__":
    main()
