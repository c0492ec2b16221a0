"""State of a flotation froth from above: a vector that is compared with a plant's own gallery, and the bubbles' diameter."""
from places import *
from training import *
from scipy.spatial import cKDTree

SIZE, WIDE = 128, 0.256                         # tensor pixels; metres that the picture shows
LABELS = ["good", "watery", "sticky", "barren"]
STRANGE = ["none", "pulp", "lit"]               # what no label of the gallery stands for: no froth, bare pulp, a lamp in the lens


def froth(seed, label, size=192):
    """A picture [size, size, 3] and the Sauter mean diameter of its bubbles in mm."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:size, 0:size].astype(F) / size * WIDE
    still = smooth_noise(rng, size, size, 5)
    if label in STRANGE:
        tone = np.array([0.05, 0.05, 0.05], F) if label != "none" else np.array([0.16, 0.16, 0.15], F) * rng.uniform(0.5, 1.4)
        grain = smooth_noise(rng, size, size, 60)
        x = tone * (0.5 + still + 0.4 * grain)[..., None]
        if label == "pulp":                                             # ripples with gloss, no bubbles
            a = rng.uniform(0, 3.1)
            wave = np.sin((xx * np.cos(a) + yy * np.sin(a)) * rng.uniform(150, 400) + 9 * still)
            cross = 0.6 + smooth_noise(rng, size, size, 14)
            x = x + (np.clip(wave * cross - 0.85, 0, 1) * rng.uniform(0.2, 0.9))[..., None]
        if label == "lit":
            d = np.hypot(xx - rng.uniform(0, WIDE), yy - rng.uniform(0, WIDE))
            x = x + (np.exp(-d / rng.uniform(0.02, 0.07)) * rng.uniform(2, 6))[..., None] * np.array([1, 0.95, 0.85], F)
        return finish(rng, x), 0.0
    mm = {"good": (7, 13), "watery": (15, 30), "sticky": (3.0, 6.0), "barren": (6, 14)}[label]
    mean = np.exp(rng.uniform(np.log(mm[0]), np.log(mm[1]))) / 1000
    spread = {"good": 0.30, "watery": 0.45, "sticky": 0.18, "barren": 0.35}[label]
    count = int((WIDE + 0.06) ** 2 / mean ** 2 * 1.2)
    p = rng.uniform(-0.03, WIDE + 0.03, (count, 2))
    for _ in range(2):                                                  # bubbles push each other apart
        near = cKDTree(p).query(p, k=4)[1][:, 1:]
        p = p + 0.12 * (p[:, None] - p[near]).mean(1)
    radius = mean / 2 * np.exp(rng.normal(0, spread, count))
    bend = lambda: (smooth_noise(rng, size, size, max(4, int(WIDE / mean * 0.8))) - 0.5) * mean * 0.45
    at = np.stack([xx + bend(), yy + bend()], 2).reshape(-1, 2)
    d, i = cKDTree(p).query(at, k=4)
    power = d ** 2 - radius[i] ** 2
    order = np.argsort(power, 1)
    rows = np.arange(len(at))
    one, two = order[:, 0], order[:, 1]
    who = i[rows, one]
    film = np.sqrt(np.maximum(power[rows, two] - power[rows, one], 0)) / mean
    rel = (at - p[who]) / np.maximum(radius[who], 1e-4)[:, None]
    r = np.minimum(np.hypot(rel[:, 0], rel[:, 1]), 1.6)
    dome = np.sqrt(np.clip(1 - (r / 1.65) ** 2, 0, 1))
    n = np.stack([rel[:, 0] * 0.6, rel[:, 1] * 0.6, 0.35 + dome], 1)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    shine = np.zeros(len(at), F)
    for k in range(int(rng.integers(1, 3))):                            # lamps over the cell are seen in every bubble
        l = np.array([rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), 1.0])
        l /= np.linalg.norm(l)
        shine += np.clip(n @ l, 0, 1) ** rng.uniform(90, 220)
    load = {"good": rng.uniform(0.75, 1.0), "watery": rng.uniform(0.35, 0.65), "sticky": rng.uniform(0.85, 1.0), "barren": rng.uniform(0.05, 0.3)}[label]
    coal, water = np.array([0.035, 0.035, 0.038], F), np.array([0.20, 0.20, 0.19], F) * rng.uniform(0.8, 1.2)
    each = np.clip(load + rng.normal(0, 0.12, count), 0, 1)[who]
    patch = np.clip(each + 0.5 * (smooth_noise(rng, size, size, 40).ravel() - 0.5), 0, 1)
    x = coal * patch[:, None] + water * (1 - patch)[:, None]
    grain = smooth_noise(rng, size, size, 100).ravel()
    x = x * (0.35 + 0.75 * np.clip(n[:, 2], 0, 1) + 0.5 * (grain - 0.5) * load)[:, None]
    x = x * (0.25 + 0.75 * np.clip(film / 0.35, 0, 1))[:, None]          # dark films between the bubbles
    gloss = {"good": 0.9, "watery": 1.5, "sticky": 0.25, "barren": 1.6}[label] * rng.uniform(0.7, 1.3)
    x = x + (shine * gloss * (1 - 0.5 * patch))[:, None]
    x = x.reshape(size, size, 3) * (0.6 + 0.8 * still)[..., None]
    seen = np.unique(who)
    s = radius[seen] * 2
    return finish(rng, x), float((s ** 3).sum() / (s ** 2).sum() * 1000)


def finish(rng, x):
    """Flow of the froth while the shutter is open, vignette, lens and sensor."""
    k = int(rng.integers(1, 1 + max(2, x.shape[0] // 80)))
    a = rng.uniform(0, np.pi)
    x = sum(np.roll(x, (round(j * np.sin(a)), round(j * np.cos(a))), (0, 1)) for j in range(k)) / k
    return camera(rng, (x * rng.uniform(1.3, 3.0)).astype(F), dust=(0, 0.05), motion=0, mono=0.15, blur=(0.6, 1.6))


def sample_of(seed):
    label = (LABELS * 3 + STRANGE)[seed % 15]
    x, mm = froth(seed, label)
    return half(x, (SIZE, SIZE)), label, mm


class Net(nn.Module):
    """→ a vector whose cosine says how alike two froths are, and the diameter in mm."""

    def __init__(self):
        super().__init__()
        layer = lambda a, b, stride: nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU())
        self.body = nn.Sequential(layer(3, 16, 2), layer(16, 16, 1), layer(16, 32, 2), layer(32, 32, 1), layer(32, 48, 2), layer(48, 48, 1))
        self.vector = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 16))
        self.size = nn.Sequential(nn.Linear(96, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, x):
        f = self.body(x)
        mean = f.mean((2, 3))
        f = torch.cat([mean, torch.sqrt(((f - mean[:, :, None, None]) ** 2).mean((2, 3)) + 1e-4)], 1)
        return self.vector(f), torch.exp(self.size(f).clamp(-2, 2)) * 9


def tensor(pictures):
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def cosine(a, b):
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T


def main():
    torch.manual_seed(1)
    data = [d for d in render_many(sample_of, range(120000, 120750)) if d[1] in LABELS]
    x, y = tensor([d[0] for d in data]), torch.tensor([LABELS.index(d[1]) for d in data])
    mm = torch.tensor([d[2] for d in data])[:, None].float()
    net, head = Net(), nn.Parameter(torch.randn(4, 16) * 0.3)
    both = nn.ModuleList([net])
    both.register_parameter("head", head)

    def loss(j):
        xb = x[j] * (0.8 + 0.4 * torch.rand(len(j), 1, 1, 1)) + 0.05 * (torch.rand(len(j), 1, 1, 1) - 0.5)
        for axis in (2, 3):
            xb = xb.flip(axis) if torch.rand(1) < 0.5 else xb
        v, size = net(xb)
        near = nn.functional.normalize(v, dim=1) @ nn.functional.normalize(head, dim=1).T
        near = near - 0.25 * nn.functional.one_hot(y[j], 4)             # a margin, so that strange froths fall between the classes
        return nn.functional.cross_entropy(12 * near, y[j]) + 2 * (torch.log(size) - torch.log(mm[j])).abs().mean()
    train(both, loss, len(x), 32, 16, 5e-3, say=True)
    pack = Pack("flotation-froth")
    run = pack.save_model(exported(net, x[:1], ["picture"], ["vector", "diameter"]))
    told = lambda pictures: [np.concatenate(v) for v in zip(*[run.run(None, {"picture": tensor([p]).numpy()}) for p in pictures])]
    # the gallery: three vectors of each label, as a plant would make it from its own pictures
    from sklearn.cluster import KMeans
    v, _ = told([d[0] for d in data[:600]])
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    which = np.array([d[1] for d in data[:600]])
    gallery = {l: KMeans(3, n_init=4, random_state=1).fit(v[which == l]).cluster_centers_ for l in LABELS}
    (pack.folder / "gallery.json").write_text(json.dumps({l: [[round(float(q), 4) for q in w] for w in g] for l, g in gallery.items()}, indent=1) + "\n")
    score = lambda v: np.stack([cosine(v, gallery[l]).max(1) for l in LABELS], 1)
    val = render_many(sample_of, range(130005, 130095))
    s, kind = score(told([d[0] for d in val])[0]), np.array([d[1] for d in val])
    answer = lambda s, t: np.where(s.max(1) >= t, np.array(LABELS)[s.argmax(1)], "unknown")
    wanted = lambda k: np.where(np.isin(k, LABELS), k, "unknown")
    cut = float(max(np.arange(0.5, 0.98, 0.02), key=lambda t: (answer(s, t) == wanted(kind)).mean()))
    pack.step()["post"][0]["gallery"]["threshold"] = round(cut, 2)
    test = render_many(sample_of, range(140010, 140160))
    v, size = told([d[0] for d in test])
    kind = np.array([d[1] for d in test])
    guess = answer(score(v), round(cut, 2))
    from sklearn.ensemble import RandomForestClassifier
    plain = lambda p: [*p.reshape(-1, 3).mean(0), p.std(), *np.percentile(p, (2, 50, 98)), np.abs(np.diff(p.astype(float), axis=0)).mean()]
    forest = RandomForestClassifier(100, random_state=1).fit([plain(d[0]) for d in data], [d[1] for d in data])
    base = forest.predict([plain(d[0]) for d in test])
    known = np.isin(kind, LABELS)
    words = f"留出的 {len(test)} 幅合成图像", f"{len(test)} held-out synthetic pictures"
    pack.metric("accuracy-with-unknown", (guess == wanted(kind)).mean(), (base == wanted(kind)).mean(), words[0] + "，五分之一不是任何一类泡沫，应答“未知”；基线为按颜色、亮度和起伏的随机森林", words[1] + ", one in five shows no such froth and should be unknown; baseline is a random forest on colour, brightness and roughness")
    pack.metric("accuracy-known", (guess == kind)[known].mean(), (base == kind)[known].mean(), words[0] + "，其中属于四类泡沫的；基线同上", words[1] + ", those of the four froths; baseline as above")
    real = np.array([d[2] for d in test])[known]
    pack.metric("mae-diameter-mm", np.abs(size[known, 0] - real).mean(), np.abs(np.median([d[2] for d in data]) - real).mean(), words[0] + "，气泡直径绝对误差（毫米）；基线总答训练集中位数", words[1] + ", mean absolute error of the bubbles' diameter in mm; baseline always answers the median of the training pictures")
    samples = []
    for label, seed in GOLD:
        p, mm = froth(seed, label, 320)
        samples.append((label if label in LABELS else "no-froth", small_png(p)[0], "png", {"class": label, "values": {"diameter": [round(mm, 1), 3.0]}} if label in LABELS else None))
    pack.golden(samples)

    def draw(pack, results):
        names = {**label_names(pack), "unknown": {"zh": "未知", "en": "unknown"}}
        colors = dict(zip(LABELS, (GREEN, STEEL, AMBER, RED)), unknown=MUTED)
        c = Cover(cells())
        c.title(pack.m["title"], "mm")
        for k, (g, r) in enumerate(zip(pack.m["golden"], results)):
            x0, best = 40 + 304 * k, r["classes"][0]
            mm = r["values"][0]["value"]
            c.panel((x0, 372, x0 + 288, 706))
            c.image.paste(Image.open(pack.folder / g["input"]).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC), (x0 + 16, 388))
            c.text((x0 + 16, 652), f"{names[best['label']]['zh']} {best['score']:.2f}", 24, colors[best["label"]], True)
            if best["label"] != "unknown":
                c.text((x0 + 272, 656), f"{mm:.1f} mm", 20, MUTED, anchor="ra")
        d = Canvas()
        d.head({"zh": "留出图像的判断", "en": "Held-out pictures as told"}, f"{(guess == wanted(kind)).mean():.1%}")
        order = LABELS + ["unknown"]
        number = lambda a: np.array([order.index(v) for v in a])
        d.confusion((360, 180), (170, 86), [names[l]["zh"] for l in order], truth_matrix(number(wanted(kind)), number(guess), 5))
        return [("cover.jpg", c.image, "合成的浮选机，前面是四幅泡沫画面和判断结果", "Rendered flotation cells, in front of them four pictures of froth with what is told of them"),
                ("confusion.jpg", d.image, "四种泡沫与未知的混淆矩阵", "Confusion matrix of the four froths and unknown")]
    pack.finish(draw)


GOLD = [("good", 150001), ("watery", 150002), ("sticky", 150004), ("none", 150005)]


def cells():
    """A row of flotation cells with froth that flows over their lips, drives and a walkway."""
    def furnish(s, rng):
        for z in (3.0, 5.4, 7.8, 10.2):
            s.box((1.6, 0.75, z), (2.2, 0.75, 1.1), 0, (0.13, 0.24, 0.33), 0.35, bump=0.05)

            def top(p, lod, z=z):
                v, du, dv = sample("lumps", p[:, 0], p[:, 2], 2.6, lod)
                n = np.zeros_like(p)
                n[:, 1] = 1
                n[:, 0] -= 0.9 * du
                n[:, 2] -= 0.9 * dv
                return np.array([0.06, 0.06, 0.063], F)[None] * (0.4 + 1.1 * v)[:, None], unit(n), np.full(len(p), 0.9, F)
            s.plane(1, 1.53, top, 0, lambda p, z=z: (np.abs(p[:, 0] - 1.6) < 2.05) & (np.abs(p[:, 2] - z) < 0.98))
            s.capsule((1.6, 1.5, z), (1.6, 3.0, z), 0.09, (0.4, 0.4, 0.38), 0.7)
            s.capsule((1.6, 3.0, z), (1.6, 3.7, z), 0.32, (0.10, 0.28, 0.20), 0.5, bump=0.03)
            s.box((1.6, 2.75, z), (2.3, 0.08, 0.16), 0, (0.42, 0.30, 0.06), 0.3)
            s.box((-0.75, 1.35, z), (0.16, 0.10, 1.1), 0, (0.2, 0.22, 0.22), 0.5)
        s.box((-2.6, 0.9, 6.5), (1.2, 0.06, 6), 0, (0.28, 0.28, 0.26), 0.3)
        rail(s, (-1.5, 1.2), (-1.5, 12), y=0.95)
        person(s, rng, (-2.4, 0.96, 5.0), 1.2, lamp=False)
    return hall(71, furnish, eye=(-2.6, 3.6, -1.6), look=(0.7, 1.5, 5))


if __name__ == "__main__":
    main()
