"""People near a winder: boxes with keypoints (head, left-foot, right-foot)."""
from finder import *

SIZE, POINTS, LABELS = (320, 192), ("head", "left-foot", "right-foot"), ["person"]
LINE = 2.7   # metres from the camera at which the danger zone begins


def room(rng, w, h):
    """A winder room without people and lamps: the scene, and how far its walls are from the middle, and the side of the drum (-1 or 1)."""
    wide = rng.uniform(3.2, 3.8)
    s = Scene(rng, w, h, (rng.uniform(-0.5, 0.5), rng.uniform(2.7, 3.1), -1.6), (rng.uniform(-0.3, 0.3), rng.uniform(0.65, 0.9), 3.4), fov=rng.uniform(70, 78), roll=rng.uniform(-0.02, 0.02))
    base = ground(np.array([0.25, 0.25, 0.24]) * rng.uniform(0.6, 1.1), "rough", 0.3, 0.25, 0.25, contrast=0.7, wet=0.7)
    slant = rng.uniform(-0.02, 0.02)

    def floor(p, lod):
        a, n, sp = base(p, lod)
        g, _, _ = sample("grain", p[:, 0], p[:, 2], 0.5, lod)
        worn, _, _ = sample("smooth", p[:, 0], p[:, 2], 0.5, lod)
        a *= (0.75 + 0.5 * g)[:, None]
        tile = (np.abs(p[:, 0] % 1.2) < 0.02) | (np.abs(p[:, 2] % 1.2) < 0.02)
        a[tile & (lod < 0.02)] *= 0.5
        stripe = (np.abs(p[:, 2] + slant * p[:, 0] - LINE) < 0.09) & (worn > 0.35)
        a[stripe] = np.where(((p[stripe, 0] * 2.2) % 1 < 0.5)[:, None], np.array([0.62, 0.44, 0.05]), np.array([0.05, 0.05, 0.05])) * (0.5 + 0.7 * g[stripe])[:, None]
        return a, n, sp
    s.plane(1, 0, floor)
    wall = ground(np.array([0.34, 0.35, 0.33]) * rng.uniform(0.6, 1.0), "rough", 0.4, 0.2, axes=(0, 1), normal=(0, 0, -1), contrast=0.5)

    def back(p, lod):
        a, n, sp = wall(p, lod)
        low = p[:, 1] < 1.2
        a[low] = a[low] * np.array([0.45, 0.7, 0.55], F)
        brick = (np.abs(p[:, 1] % 0.3) < 0.02) | (np.abs((p[:, 0] + 0.3 * ((p[:, 1] // 0.3) % 2)) % 0.6) < 0.02)
        a[brick & (lod < 0.03)] *= 0.6
        return a, n, sp
    s.plane(2, rng.uniform(8.5, 10), back)
    for side in (-1, 1):
        s.plane(0, side * wide, ground((0.3, 0.31, 0.29), "rough", 0.4, 0.25, axes=(2, 1), normal=(-side, 0, 0), contrast=0.5))
    s.plane(1, 4.3, ground((0.25, 0.25, 0.25), "rough", 0.5, 0.2, normal=(0, -1, 0)))
    side = 1 if rng.random() < 0.5 else -1
    z = rng.uniform(5.2, 6.6)
    drum(s, (side * rng.uniform(1.4, 1.9), 1.15, z), rng.uniform(0.7, 0.9), rng.uniform(0.95, 1.15), (0.10, 0.22, 0.16) if rng.random() < 0.6 else (0.28, 0.22, 0.06))
    s.box((side * 1.6, 0.15, z), (1.4, 0.15, 1.0), 0, (0.22, 0.22, 0.21), 0.1)
    s.box((-side * rng.uniform(1.9, 2.6), 0.55, z + rng.uniform(-0.4, 0.8)), (0.45, 0.55, 0.6), rng.uniform(-0.2, 0.2), (0.12, 0.2, 0.28), 0.3)
    s.box((-side * 2.9, 0.95, 7.6), (0.35, 0.95, 0.4), 0, (0.33, 0.34, 0.32), 0.3)
    for k in range(2):   # ropes to the shaft
        x = side * (1.3 + 0.35 * k)
        s.capsule((x, 2.1, z), (x * 0.7, 4.3, -1.5), 0.022, (0.13, 0.12, 0.11), 0.5, shadow=False)
    if rng.random() < 0.75:   # railing along the zone
        x0, x1 = (0.9, wide) if side > 0 else (-wide, -0.9)
        for y in (0.5, 1.0):
            s.capsule((x0, y, LINE + 0.5), (x1, y, LINE + 0.5), 0.025, (0.6, 0.42, 0.05), 0.4)
        for x in np.linspace(x0, x1, 4):
            s.capsule((x, 0, LINE + 0.5), (x, 1.0, LINE + 0.5), 0.025, (0.6, 0.42, 0.05), 0.4)
    for _ in range(rng.integers(0, 4)):   # things that are no people
        at = (rng.uniform(-wide + 0.4, wide - 0.4), 0, rng.uniform(1.5, 7))
        if rng.random() < 0.5:
            s.box((at[0], 0.22, at[2]), rng.uniform(0.12, 0.35, 3) + [0, 0.02, 0], rng.uniform(0, 3), rng.uniform(0.05, 0.4, 3), 0.2)
        else:
            s.capsule(at, (at[0], rng.uniform(0.3, 0.9), at[2]), rng.uniform(0.06, 0.16), rng.uniform(0.05, 0.45, 3), 0.3)
    return s, wide, side


def light(s, rng):
    for x in (-1.5, 1.5):
        for zz in (1.5, 5.5):
            if rng.random() < 0.85:
                s.lamp((x, 4.1, zz), (1, 0.96, 0.88), rng.uniform(4, 9), shadow=True, glow=0.01)
                s.box((x, 4.2, zz), (0.08, 0.04, 0.6), 0, (1, 1, 1), 0, shadow=False, emit=(2, 2, 1.9))
    s.lamp((s.o[0], s.o[1] + 0.1, s.o[2]), (1, 1, 1), rng.uniform(1, 4), (0, -0.25, 1), 0.4, False, 0)


def shade(s):
    return s.shade(haze=0.01, exposure=1.7, ambient=0.07)


def scene(seed, w, h, people=None):
    rng = np.random.default_rng(seed)
    s, wide, _ = room(rng, w, h)
    people = [None] * int(rng.choice([0, 1, 2, 3], p=[0.12, 0.4, 0.32, 0.16])) if people is None else people
    marks = []
    for k, fixed in enumerate(people):
        pose = ["stand", "crouch", "lie"][int(rng.choice(3, p=[0.62, 0.14, 0.24]))]
        at = (rng.uniform(-wide + 0.5, wide - 0.5) * 0.85, 0, rng.uniform(0.9, 4.4))
        if fixed:
            pose, at = fixed
        marks.append((person(s, rng, at, rng.uniform(0, 2 * np.pi), pose, k + 1, helmet=rng.random() < 0.92, lamp=rng.random() < 0.3), pose, at))
    light(s, rng)
    objects = []
    for k, ((points, _), pose, at) in enumerate(marks):
        seen = outline_box(s, k + 1)
        if seen is None or seen[1] < 90 * (w / 320) ** 2:
            continue
        pts = {}
        for name, p in points.items():
            x, y, d = s.project(p)[0]
            inside = 0 <= x < w and 0 <= y < h and d > 0.1
            pts[name] = (float(x), float(y), float(inside))
        objects.append({"label": "person", "box": seen[0], "points": pts, "lies": pose == "lie", "in": at[2] < LINE})
    return camera(rng, shade(s), dust=(0, 0.05)), objects


def to_tensor(x, objects):
    t, k, dx, dy = letterbox(x, SIZE)
    move = lambda o: {**o, "box": [o["box"][0] * k + dx, o["box"][1] * k + dy, o["box"][2] * k, o["box"][3] * k],
                      "points": {n: (p[0] * k + dx, p[1] * k + dy, p[2]) for n, p in o["points"].items()}}
    return t, [move(o) for o in objects]


def train_scene(seed):
    return to_tensor(*(scene(seed, 640, 360) if seed % 8 == 0 else scene(seed, 320, 180)))


def test_scene(seed):
    return to_tensor(*(scene(seed, 640, 360) if seed % 4 == 0 else scene(seed, 320, 180)))


def mirror(objects, width):
    swap = {"head": "head", "left-foot": "right-foot", "right-foot": "left-foot"}
    return [{**o, "box": [width - o["box"][0] - o["box"][2], *o["box"][1:]], "points": {n: (width - o["points"][swap[n]][0], *o["points"][swap[n]][1:]) for n in POINTS}} for o in objects]


def lies(head, feet, box):
    return abs(head[1] - (feet[0][1] + feet[1][1]) / 2) < 0.45 * max(box[2], box[3]) and box[2] > 0.9 * box[3]


def main():
    data = render_many(train_scene, range(2000, 2700))
    net = fit(data, LABELS, SIZE, POINTS, epochs=15, flip=mirror, wide=28)
    pack = Pack("hoist-zone-intrusion")
    run = pack.save_model(export(net, SIZE))
    val = render_many(test_scene, range(80000, 80014))
    score = best_score(run, [v[0] for v in val], [v[1] for v in val], LABELS)
    pack.step()["post"][0]["boxes"]["score"] = score
    test = render_many(test_scene, range(81000, 81040))
    found = [run_rows(run, t[0], LABELS, score) for t in test]
    value, pairs = f1_of(found, [t[1] for t in test])
    pack.metric("f1-iou50", value, always([d[1] for d in data], [t[1] for t in test], LABELS), "留出的 40 张合成图像，IoU ≥ 0.5；基线为每张图总画同一个框",
                "40 held-out synthetic pictures, IoU ≥ 0.5; baseline always draws the same box")
    err, flat, right, always_right = [], [], [], []
    for d, o in pairs:
        q = d["row"][5:].reshape(3, 3)
        for j, n in enumerate(POINTS):
            if o["points"][n][2]:
                size = max(o["box"][2], o["box"][3])
                err.append(np.hypot(q[j, 0] - o["points"][n][0], q[j, 1] - o["points"][n][1]) / size)
                b = o["box"]
                guess = (b[0] + b[2] / 2, b[1] + (0 if n == "head" else b[3]))
                flat.append(np.hypot(guess[0] - o["points"][n][0], guess[1] - o["points"][n][1]) / size)
        right.append((q[0, 1] > q[1:, 1].mean() - 0.35 * max(d["box"][2:])) == o["lies"])
        always_right.append(not o["lies"])
    pack.metric("keypoint-error", np.mean(err), np.mean(flat), "找到的人：关键点误差与目标框长边之比的平均；基线取真实框的上、下边中点",
                "people found: mean error of the points as a share of the box's longer side; baseline takes the middle of the true box's top and bottom")
    pack.metric("lying-accuracy", np.mean(right), np.mean(always_right), "找到的人：由头、脚高度判断是否倒地的正确率；基线总答站立", "people found: accuracy of telling who lies from the heights of head and feet; baseline always answers standing")
    samples = []
    for name, seed, people in GOLD:
        x, objects = scene(seed, 640, 360, people)
        samples.append((name, jpeg(x), "jpg", {"counts": {"person": len(objects)}}))
    pack.golden(samples)
    pack.finish(draw)


GOLD = [("in-zone", 82001, [("stand", (0.5, 0, 1.7)), ("stand", (-1.4, 0, 4.1))]), ("fallen", 82002, [("lie", (-0.6, 0, 3.6))]), ("clear", 82003, []), ("outside", 82004, [("stand", (1.3, 0, 4.2)), ("crouch", (-0.9, 0, 3.7))])]


def draw(pack, results):
    names, images = label_names(pack), []
    for g, r in zip(pack.m["golden"], results):
        p = overlay(Image.open(pack.folder / g["input"]), r, {"person": GREEN}, names)
        d = ImageDraw.Draw(p)
        y = 1.5 * next(q["default"] for q in pack.m["parameters"] if q["name"] == "line_y")
        for x in range(0, p.width, 28):
            d.line([x, y, x + 14, y], fill=RED, width=3)
        images.append(p)
    return [("cover.jpg", images[0], "合成的提升机房画面，框出人员并标出头和双脚，虚线以下为危险区", "A synthetic winder room: people with head and feet marked; the zone begins below the dashed line"),
            ("samples.jpg", montage(images).resize((1446, 816)), "四张合成画面：进入、倒地、无人、区外", "Four synthetic pictures: inside, fallen, nobody, outside")]


if __name__ == "__main__":
    main()
