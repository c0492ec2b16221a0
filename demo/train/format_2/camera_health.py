"""Is the camera clean, dirty, covered or blurred, and where: classes and an anomaly map from one net."""
from finder import *
from training import *

SIZE, LABELS = (256, 144), ["clean", "dirty", "covered", "blurred"]


def place(rng, w, h):
    """A clean picture of a roadway, with people, boxes, or a belt."""
    s = Scene(rng, w, h, (rng.uniform(-1.2, 1.2), rng.uniform(1.8, 2.9), -1.5), (rng.uniform(-0.6, 0.6), rng.uniform(0.6, 1.6), 6), fov=rng.uniform(60, 80), roll=rng.uniform(-0.04, 0.04))
    k = rng.random()
    roadway(s, rng, half=rng.uniform(2.0, 2.8), rails=[0.0] if k < 0.45 else None, arches=rng.choice([0.8, 1.0, 1.3]), tint=np.array([0.34, 0.33, 0.31]) * rng.uniform(0.6, 1.3), wet=rng.uniform(0, 0.7))
    if k > 0.6:    # a conveyor along the side
        x = rng.uniform(-1.2, 1.2)
        s.plane(1, 0.85, ground((0.05, 0.05, 0.055), "lumps", 0.4, 1.3, 0.5, contrast=1.5), 0, lambda p: np.abs(p[:, 0] - x) < 0.5)
        for side in (-0.58, 0.58):
            s.box((x + side, 0.8, 15), (0.05, 0.07, 16), 0, (0.3, 0.26, 0.12), 0.3, 0, shadow=False)
    for _ in range(rng.integers(0, 3)):
        person(s, rng, (rng.uniform(-1.6, 1.6), 0, rng.uniform(1.8, 8)), rng.uniform(0, 6.28), "stand" if rng.random() < 0.8 else "crouch", 1, lamp=rng.random() < 0.5)
    for _ in range(rng.integers(0, 3)):
        s.box((rng.uniform(-1.8, 1.8), 0.35, rng.uniform(2, 9)), rng.uniform(0.2, 0.6, 3) * [1, 0.6, 1], rng.uniform(0, 3), rng.uniform(0.05, 0.4, 3), 0.3)
    s.lamp((s.o[0], s.o[1] + 0.15, s.o[2]), (1, 0.98, 0.95), rng.uniform(1, 8), (0, -0.1, 1), 0.5, False, 0)
    return s.shade(haze=rng.uniform(0.01, 0.035), exposure=rng.uniform(1.1, 2.0))


def soil(rng, x, label):
    """What lies on the glass; the picture and the share of light that is lost at each pixel."""
    h, w = x.shape[:2]
    yy, xx = np.mgrid[0:h, 0:w].astype(F) / w
    lost = np.zeros((h, w), F)
    color = np.array([0.11, 0.09, 0.065], F) * rng.choice([rng.uniform(0.05, 0.3), rng.uniform(1.2, 2.6)])
    mud = (smooth_noise(rng, w, h, 26) * 0.5 + smooth_noise(rng, w, h, 9) * 0.5)
    if label == "dirty":
        for _ in range(rng.integers(4, 22)):
            cx, cy, r = rng.uniform(0, 1), rng.uniform(0, h / w), rng.uniform(0.015, 0.12)
            d = np.hypot((xx - cx) / rng.uniform(0.7, 1.3), yy - cy) + (mud - 0.5) * r * 1.3
            lost = np.maximum(lost, rng.uniform(0.7, 1.0) * np.clip((r - d) / (r * rng.uniform(0.25, 0.9)), 0, 1))
        for _ in range(rng.integers(0, 4)):   # runs and wiped streaks
            cx, a, r = rng.uniform(0, 1), rng.uniform(-0.4, 0.4), rng.uniform(0.008, 0.03)
            d = np.abs((xx - cx) - a * yy + (mud - 0.5) * 0.03)
            lost = np.maximum(lost, rng.uniform(0.3, 0.75) * np.clip((r - d) / (r * 0.7), 0, 1) * (yy > rng.uniform(-0.2, 0.3)))
        if rng.random() < 0.5:
            film = rng.uniform(0.15, 0.4) * np.clip((mud - 0.45) * 4, 0, 1)
            lost = np.maximum(lost, film)
        soft = Image.fromarray((np.clip(lost, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(w / 640 * rng.uniform(0.8, 3)))
        lost = np.asarray(soft, F) / 255
        out = x * (1 - lost[..., None]) + (color * (0.5 + mud[..., None]) + 0.05 * x.mean((0, 1))) * lost[..., None]
    elif label == "covered":
        kind = rng.random()
        a = rng.uniform(0, 6.28)
        edge = (xx - 0.5) * np.cos(a) + (yy - h / w / 2) * np.sin(a) + (mud - 0.5) * rng.uniform(0.02, 0.2)
        lost = np.clip((edge + rng.uniform(0.0, 0.35)) / 0.02, 0, 1)
        if kind < 0.35:
            lost = np.ones_like(lost)
        fold = 0.55 + 0.45 * np.sin((xx * np.cos(a + 1) + yy * np.sin(a + 1)) * rng.uniform(15, 50) + 5 * mud)
        cloth = np.array([[0.02, 0.02, 0.02], [0.16, 0.10, 0.05], [0.10, 0.11, 0.13], [0.2, 0.2, 0.19]][rng.integers(4)], F)
        fine = smooth_noise(rng, w, h, 160)
        cover = cloth * (0.25 + fold * rng.uniform(0.1, 0.7) + 0.2 * mud + 0.12 * fine)[..., None] * (0.4 + 1.2 * float(x.mean()) + rng.uniform(0, 0.5))
        out = x * (1 - lost[..., None]) + cover * lost[..., None]
    else:
        return x, lost
    return out.astype(F), lost


def defocus(rng, x):
    """Out of focus: two passes of a box filter each way; sometimes fog on the glass."""
    from scipy.ndimage import uniform_filter1d
    n = 2 * max(1, int(round(rng.uniform(5, 14) * x.shape[1] / 640 * 0.75))) + 1
    out = x
    for axis in (0, 0, 1, 1):
        out = uniform_filter1d(out, n, axis, mode="nearest")
    if rng.random() < 0.3:
        f = rng.uniform(0.1, 0.4)
        out = out * (1 - f) + out.mean((0, 1)) * f * 1.2
    return out.astype(F)


def scene(seed, w, h, label=None):
    rng = np.random.default_rng(seed)
    label = label or LABELS[seed % 4]
    x = place(rng, w, h)
    x, lost = soil(rng, x, label)
    if label == "blurred":
        x = defocus(rng, x)
    return camera(rng, x, dust=(0, 0.06), motion=0.2), label, lost


def both(seed, each=3):
    """One place under each condition several times: rendering the place is what takes time."""
    out = []
    w, h = (640, 360) if seed % 8 == 0 else (320, 180)
    rng = np.random.default_rng(seed)
    base = place(rng, w, h)
    for k in list(range(4)) * each:
        x, lost = soil(rng, base, LABELS[k])
        if k == 3:
            x = defocus(rng, x)
        x = camera(rng, x, dust=(0, 0.06), motion=0.2)
        out.append((half(x, SIZE), k, np.asarray(Image.fromarray(lost).resize((32, 18), Image.Resampling.BOX))))
    return out


def test_scene(seed):
    x, label, lost = scene(seed, *((640, 360) if seed % 16 < 4 else (320, 180)))
    return half(x, SIZE), LABELS.index(label), np.asarray(Image.fromarray(lost).resize((32, 18), Image.Resampling.BOX))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 20, 6, 4, 1), nn.BatchNorm2d(20), nn.ReLU()), block(20, 20), block(20, 32, 2), block(32, 32), block(32, 32, 1, 2), block(32, 32, 1, 4))
        self.map = nn.Sequential(block(32, 24), nn.Conv2d(24, 1, 1))
        self.head = nn.Sequential(nn.Linear(32 * 2 + 2, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x):
        f = self.body(x)
        m = torch.sigmoid(self.map(f))
        v = torch.cat([f.mean((2, 3)), f.amax((2, 3)), m.mean((2, 3)), m.amax((2, 3))], 1)
        return torch.softmax(self.head(v), 1) if not self.training else self.head(v), m


def main():
    torch.manual_seed(1)
    data = [d for g in render_many(both, range(3000, 3080)) for d in g]
    x = torch.from_numpy(np.stack([d[0] for d in data])).permute(0, 3, 1, 2)
    y = torch.tensor([d[1] for d in data])
    m = torch.from_numpy(np.stack([d[2] for d in data]))[:, None]
    net = Net()

    def loss(j):
        xb, mb = x[j].float() / 255, m[j]
        if torch.rand(1) < 0.5:
            xb, mb = xb.flip(3), mb.flip(3)
        xb = (xb * (0.75 + 0.5 * torch.rand(len(j), 1, 1, 1)) + 0.01 * torch.randn(xb.shape)).clamp(0, 1)
        logits, guess = net(xb)
        return nn.functional.cross_entropy(logits, y[j]) + 2 * nn.functional.binary_cross_entropy(guess.clamp(1e-5, 1 - 1e-5), mb)
    train(net, loss, len(x), 14, 16, 6e-3, decay=3e-3, say=True)
    pack = Pack("camera-health")
    run = pack.save_model(exported(net, x[:1].float(), ["x"], ["state", "soil"]))
    test = render_many(test_scene, range(70000, 70060))
    out = [run.run(None, {"x": (t[0].astype(F) / 255).transpose(2, 0, 1)[None]}) for t in test]
    truth, guess = np.array([t[1] for t in test]), np.array([o[0][0].argmax() for o in out])

    def sharp(p):
        g = np.asarray(Image.fromarray(p).convert("L"), float)
        return [np.log(np.abs(np.diff(g, axis=1)).mean() + 0.1), g.mean() / 50, g.std() / 30]
    from sklearn.tree import DecisionTreeClassifier
    rule = DecisionTreeClassifier(max_depth=5, random_state=0).fit([sharp(d[0]) for d in data], [d[1] for d in data])
    pack.metric("accuracy", (truth == guess).mean(), (rule.predict([sharp(t[0]) for t in test]) == truth).mean(), "留出的 60 张合成图像，四类各 15；基线为按清晰度、亮度和对比度的决策树",
                "60 held-out synthetic pictures, 15 of each class; baseline is a decision tree on sharpness, brightness and contrast")
    tm, gm = np.stack([t[2] for t in test]) > 0.5, np.stack([o[1][0, 0] for o in out]) > 0.5
    cover = np.stack([d[2] for d in data]).mean(0) > 0.5
    f = lambda g: 2 * (g & tm).sum() / max(1, g.sum() + tm.sum())
    pack.metric("f1-cells", f(gm), max(f(np.ones_like(tm)), f(np.broadcast_to(cover, tm.shape))), "同上，被遮格子的 F1；基线为全部判为遮挡", "the same pictures, F1 of cells that are covered; baseline says that all are")
    samples = [(l, jpeg(scene(s, 640, 360, l)[0]), "jpg", {"class": l}) for s, l in GOLD]
    pack.golden(samples)
    pack.finish(draw)


GOLD = [(71016, "dirty"), (71002, "clean"), (71033, "covered"), (71004, "blurred")]


def draw(pack, results):
    names, images = label_names(pack), []
    for g, r in zip(pack.m["golden"], results):
        c = r["classes"][0]
        images.append(overlay(Image.open(pack.folder / g["input"]), r, {"soil": RED}, names,
                              lines=[f"{names[c['label']]['zh']} {names[c['label']]['en']}  {c['score']:.2f}"], alpha=0.3))
    return [("cover.jpg", montage(images).resize((1446, 816)), "合成的脏污、清晰、遮挡、模糊四种画面及判断结果", "Synthetic pictures of a dirty, clean, covered and blurred camera with the results"),
            ("dirty.jpg", images[0], "脏污画面，标出被遮的区域", "A dirty lens with the covered parts marked")]


if __name__ == "__main__":
    main()
