"""Numbers of trackless vehicles: a detector of plates, then a reader (CTC) on each plate."""
from finder import *

SIZE, LABELS = (320, 192), ["plate"]
ALPHABET = "0123456789ACEKLMTWX-"
RH, RW = 32, 128


def number(rng):
    s = "".join(rng.choice(list("ACEKLMTWX"), 2)) + ("-" if rng.random() < 0.6 else "")
    return s + "".join(rng.choice(list("0123456789"), int(rng.integers(3, 5))))


def plate_texture(rng, words):
    """[96, 384, 3] in linear light."""
    ground_color, ink = [((0.72, 0.50, 0.04), (0.02, 0.02, 0.02)), ((0.75, 0.75, 0.72), (0.03, 0.03, 0.04)), ((0.04, 0.16, 0.45), (0.8, 0.8, 0.78))][int(rng.integers(3))]
    m = Image.new("L", (384, 96), 0)
    d = ImageDraw.Draw(m)
    f = font(int(rng.integers(62, 76)), True)
    gap = int(rng.integers(0, 7))
    widths = [d.textlength(c, font=f) + gap for c in words]
    x = (384 - sum(widths)) / 2 + rng.uniform(-6, 6)
    for c, wd in zip(words, widths):
        d.text((x, 48 + rng.uniform(-1.5, 1.5)), c, font=f, fill=255, anchor="lm")
        x += wd
    if rng.random() < 0.7:
        d.rectangle([5, 5, 378, 90], outline=255, width=3)
    for bx in (18, 366):
        d.ellipse([bx - 4, 8, bx + 4, 16], fill=140)
    a = np.asarray(m, F)[..., None] / 255
    out = np.array(ground_color, F) * (1 - a) + np.array(ink, F) * a
    mud = smooth_noise(rng, 384, 96, 7) * 0.6 + smooth_noise(rng, 384, 96, 30) * 0.4
    dirt = np.clip((mud - rng.uniform(0.55, 0.85)) * 4, 0, 1)[..., None] * rng.uniform(0.2, 0.75)
    return (out * rng.uniform(0.55, 1.0) * (0.8 + 0.35 * mud[..., None]) * (1 - dirt) + np.array([0.10, 0.09, 0.07], F) * dirt).astype(F)


def vehicle(s, rng, at, yaw, ident, words=None):
    """A low trackless vehicle that comes towards the camera; returns corners of the plate in metres."""
    color = [(0.42, 0.28, 0.03), (0.40, 0.08, 0.05), (0.30, 0.32, 0.30), (0.06, 0.16, 0.12)][int(rng.integers(4))]
    c, n = np.cos(yaw), np.sin(yaw)
    m = np.array([[c, 0, -n], [0, 1, 0], [n, 0, c]])
    w = lambda p: np.asarray(p, float) @ m + np.asarray(at, float)
    wide, tall = rng.uniform(0.85, 1.05), rng.uniform(1.5, 1.85)
    s.box(w((0, 0.72, 1.9)), (wide, 0.32, 1.9), yaw, color, 0.4, ident, bump=0.05)           # body
    s.box(w((0, 0.72, -0.02)), (wide * 1.02, 0.14, 0.06), yaw, (0.10, 0.10, 0.10), 0.3, ident, bump=0.08)
    cab = rng.uniform(0.5, 0.95) * wide

    def glass(p, axis, nn, a, sp):
        g = (np.abs(p[:, 1] - 0.06) < (tall - 1.04) / 2 * 0.62) & ((axis == 2) & (np.abs(p[:, 0]) < cab * 0.86) | (axis == 0) & (np.abs(p[:, 2]) < 0.5))
        a[g] = (0.025, 0.03, 0.035)
        sp[g] = 0.35
        return a, sp
    s.box(w((0, (1.04 + tall) / 2, 1.3)), (cab, (tall - 1.04) / 2, 0.75), yaw, color, 0.4, ident, bump=0.04, face=glass)
    for side in (-1, 1):
        for z in (0.6, 3.1):
            s.capsule(w((side * wide * 0.92, 0.38, z)), w((side * wide * 0.7, 0.38, z)), 0.36, (0.03, 0.03, 0.03), 0.15, ident, bump=0.3)
        lamp = w((side * wide * 0.72, 0.86, -0.03))
        on = rng.random() < 0.6
        s.capsule(lamp, lamp, 0.085, (0.7, 0.7, 0.7), 1.0, ident, shadow=False, emit=(2.4, 2.3, 2.0) if on else None)
        if on:
            s.lamp(w((side * wide * 0.72, 0.86, -0.25)), (1, 0.95, 0.85), rng.uniform(0.5, 1.6), -m[2] * [1, 1, 1] + [0, -0.1, 0], 0.5, False, rng.uniform(0.03, 0.12))
    grill = w((0, 0.95, -0.01))
    s.box(grill, (wide * 0.35, 0.07, 0.02), yaw, (0.05, 0.05, 0.05), 0.4, ident, tex="strata", bump=0.5)
    if words is None:
        return None
    tex = plate_texture(rng, words)
    hw, hh = 0.46, 0.125
    low = rng.uniform(0.60, 0.74)
    turn = rng.normal(0, 0.03)

    def front(p, axis, nn, a, sp):
        i = np.clip(((hh - p[:, 1]) / (2 * hh) * 96).astype(int), 0, 95)
        j = np.clip(((p[:, 0] + hw) / (2 * hw) * 384).astype(int), 0, 383)
        g = axis == 2
        a[g] = tex[i[g], j[g]]
        sp[g] = 0.25
        return a, sp
    s.box(w((0, low, -0.10)), (hw, hh, 0.012), yaw, (0.3, 0.3, 0.3), 0.3, ident + 1, bump=0.0, face=front, rollz=turn)
    return [w((x, low + y, -0.115)) for x in (-hw, hw) for y in (-hh, hh)]


def scene(seed, w, h, words=0, at=None):
    """`words`: a number, None for no vehicle, "" for one without a plate, 0 for chance."""
    rng = np.random.default_rng(seed)
    s = Scene(rng, w, h, (rng.uniform(-1.0, 1.0), rng.uniform(1.6, 2.5), -1.0), (rng.uniform(-0.4, 0.4), rng.uniform(0.6, 1.1), 4), fov=rng.uniform(56, 66), roll=rng.uniform(-0.03, 0.03))
    roadway(s, rng, half=rng.uniform(2.3, 2.9), arches=rng.choice([0.0, 0.9, 1.2]), wet=rng.uniform(0.2, 0.9))
    if words == 0:
        k = rng.random()
        words = number(rng) if k < 0.84 else None if k < 0.92 else ""
    plates = []
    if words is not None:
        place = (rng.uniform(-0.7, 0.7), 0, rng.uniform(1.5, 4.4)) if at is None else at
        vehicle(s, rng, place, rng.uniform(-0.32, 0.32), 10, words or None)
        if words:
            plates.append((11, words))
    if rng.random() < 0.3:
        person(s, rng, (rng.choice([-1.7, 1.7]), 0, rng.uniform(2, 6)), rng.uniform(0, 6), "stand", 1, lamp=rng.random() < 0.4)
    if rng.random() < 0.5:     # signs on the wall that are no plates
        side = rng.choice([-1, 1])
        s.box((side * 2.1, rng.uniform(1.2, 1.8), rng.uniform(2.5, 6)), (0.02, 0.16, 0.3), 0, [(0.5, 0.38, 0.04), (0.05, 0.25, 0.1), (0.5, 0.5, 0.5)][int(rng.integers(3))], 0.2, 0, shadow=False)
    s.lamp((s.o[0] + rng.uniform(-0.3, 0.3), s.o[1] + 0.2, s.o[2]), (1, 1, 0.97), rng.uniform(4, 11), (0, -0.2, 1), 0.5, False, 0)
    objects = []
    for ident, text in plates:
        seen = outline_box(s, ident)
        if seen:
            objects.append({"label": "plate", "box": seen[0], "points": {}, "text": text})
    return camera(rng, s.shade(haze=rng.uniform(0.01, 0.04), exposure=1.5), dust=(0, 0.06), motion=0.25), objects


def to_tensor(x, objects):
    t, k, dx, dy = letterbox(x, SIZE)
    return t, [{**o, "box": [o["box"][0] * k + dx, o["box"][1] * k + dy, o["box"][2] * k, o["box"][3] * k]} for o in objects]


def train_scene(seed):
    x, o = scene(seed, *((640, 360) if seed % 5 == 0 else (320, 180)))
    crops = [(crop(x, k["box"], 0.06), k["text"]) for k in o] if x.shape[1] == 640 else []
    return (*to_tensor(x, o), crops)


def test_scene(seed):
    x, o = scene(seed, 640, 360)
    return x, o, to_tensor(x, o)


def crop(x, box, grow):
    """As `of` with `expand`, then `stretch`, grey."""
    bx, by, bw, bh = box
    h, w = x.shape[:2]
    x0, y0, x1, y1 = (int(round(v)) for v in (max(0, bx - grow * bw), max(0, by - grow * bh), min(w, bx + bw + grow * bw), min(h, by + bh + grow * bh)))
    im = Image.fromarray(x[y0:max(y0 + 2, y1), x0:max(x0 + 2, x1)]).resize((RW, RH), Image.Resampling.BILINEAR)
    return np.asarray(im, F) @ np.array([0.299, 0.587, 0.114], F) / 255


def loose(seed):
    """A plate without a scene: cheap crops for the reader."""
    rng = np.random.default_rng(seed)
    words = number(rng)
    t = plate_texture(rng, words)
    pad = np.full((150, 460, 3), 0.03, F) + smooth_noise(rng, 460, 150, 12)[..., None] * rng.uniform(0.02, 0.25)
    pad[27:123, 38:422] = t
    x = np.clip(pad * rng.uniform(0.3, 2.2) * (0.7 + 0.6 * smooth_noise(rng, 460, 150, 2)[..., None]), 0, None)
    x = np.clip(x * 1.25 / (1 + x), 0, 1) ** (1 / 2.2)
    im = Image.fromarray((x * 255).astype(np.uint8))
    j = lambda a: rng.uniform(-a, a)
    lean = j(16)
    quad = (38 + j(9) - 8, 27 + j(6) - 5 - lean, 38 + j(9) - 8, 123 + j(6) + 5 - lean, 422 + j(9) + 8, 123 + j(6) + 5 + lean, 422 + j(9) + 8, 27 + j(6) - 5 + lean)
    wide = int(np.exp(rng.uniform(np.log(52), np.log(190))))
    im = im.transform((wide * 2, max(16, int(wide * 0.3) * 2)), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR).resize((wide, max(8, int(wide * 0.3))), Image.Resampling.BOX)
    im = im.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.95)))
    x = np.asarray(im, F) / 255
    x = x + rng.normal(0, rng.uniform(0.005, 0.03), x.shape[:2])[..., None].astype(F)
    if rng.random() < 0.2:
        x = (x + np.roll(x, 1, 1) + (np.roll(x, -1, 1) if rng.random() < 0.5 else x)) / 3
    im = Image.fromarray((np.clip(x, 0, 1) * 255).astype(np.uint8)).resize((RW, RH), Image.Resampling.BILINEAR)
    return np.asarray(im, F) @ np.array([0.299, 0.587, 0.114], F) / 255, words


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        b = lambda i, o, k, s, p: nn.Sequential(nn.Conv2d(i, o, k, s, p), nn.BatchNorm2d(o), nn.ReLU())
        self.body = nn.Sequential(b(1, 16, 3, (2, 2), 1), b(16, 32, 3, (2, 2), 1), b(32, 40, 3, (2, 1), 1), b(40, 56, (4, 3), 1, (0, 1)), b(56, 56, (1, 5), 1, (0, 2)))
        self.out = nn.Conv2d(56, len(ALPHABET) + 1, (1, 1))

    def forward(self, x):
        v = self.out(self.body(x - 0.4))[:, :, 0].transpose(1, 2)
        return torch.log_softmax(v, 2) if self.training else v


def read(logits):
    best, out, last = logits.argmax(1), "", 0
    for k in best:
        if k and k != last:
            out += ALPHABET[k - 1]
        last = k
    return out


def fit_reader(crops):
    torch.manual_seed(2)
    x = torch.from_numpy(np.stack([c for c, _ in crops]))[:, None].float()
    y = [torch.tensor([ALPHABET.index(c) + 1 for c in t]) for _, t in crops]
    net = Reader()

    def loss(j):
        lp = net(x[j] * (0.8 + 0.4 * torch.rand(len(j), 1, 1, 1)) + 0.01 * torch.randn(len(j), 1, RH, RW)).transpose(0, 1)
        t = [y[k] for k in j.tolist()]
        return nn.functional.ctc_loss(lp, torch.cat(t), torch.full((len(j),), lp.shape[0]), torch.tensor([len(k) for k in t]), zero_infinity=True)
    return train(net, loss, len(x), 44, 48, 8e-3, clip=5, say=True)


def main():
    data = render_many(train_scene, range(4000, 4160))
    crops = render_many(loose, range(500000, 503000))
    real = [c for d in data for c in d[2]]
    print(len(real), "crops of scenes")
    reader = fit_reader(crops + real * 8)
    net = fit([d[:2] for d in data], LABELS, SIZE, epochs=18, batch=12, wide=24)
    pack = Pack("vehicle-plate")
    find = pack.save_model(export(net, SIZE), "plates")
    run = pack.save_model(exported(reader, torch.zeros(1, 1, RH, RW), ["line"], ["steps"]), "reader")
    (pack.folder / "alphabet.txt").write_text("".join(c + "\n" for c in ALPHABET))
    val = render_many(test_scene, range(60000, 60010))
    score = best_score(find, [v[2][0] for v in val], [v[2][1] for v in val], LABELS)
    pack.step("plates")["post"][0]["boxes"]["score"] = score
    test = render_many(test_scene, range(61000, 61024))
    found = [run_rows(find, t[2][0], LABELS, score) for t in test]
    value, _ = f1_of(found, [t[2][1] for t in test])
    pack.metric("f1-iou50", value, always([d[1] for d in data], [t[2][1] for t in test], LABELS), "留出的 24 张合成图像，IoU ≥ 0.5；基线为每张图总画同一个框",
                "24 held-out synthetic pictures, IoU ≥ 0.5; baseline always draws the same box")
    right = chars = total = n = 0
    import difflib
    for (x, objects, (t, _)), f in zip(test, found):
        for o in objects:
            n += 1
            total += len(o["text"])
            if not f:
                continue
            k = 2.0
            b = f[0]["box"]
            b = [b[0] * k, (b[1] - 6) * k, b[2] * k, b[3] * k]
            text = read(run.run(None, {"line": crop(x, b, 0.06)[None, None].astype(F)})[0][0])
            right += text == o["text"]
            chars += sum(m.size for m in difflib.SequenceMatcher(None, text, o["text"]).get_matching_blocks())
    pack.metric("plates-read", right / n, 0.0, f"同上，{n} 块号牌中整块读对的比例（先检测后识别）；基线为总答同一号牌", f"the same pictures, share of {n} plates found and read without a mistake; baseline always answers the same number")
    pack.metric("characters-read", chars / total, 0.2, "同上，读对的字符比例；基线约为随机猜测", "the same pictures, share of characters read; baseline is about what guessing gives")
    samples = []
    for name, seed, words, at in GOLD:
        x, o = scene(seed, 640, 360, words, at)
        samples.append((name, jpeg(x), "jpg", {"counts": {"plate": len(o)}}))
    pack.golden(samples)
    pack.finish(draw)


GOLD = [("vehicle", 62001, "WC-3075", (0.2, 0, 1.9)), ("vehicle", 62002, "AK-418", (-0.4, 0, 2.6)), ("empty", 62003, None, None), ("vehicle", 62004, "TX2960", (0.3, 0, 2.3))]


def draw(pack, results):
    images = [overlay(Image.open(pack.folder / g["input"]), r, {"plate": AMBER}, {"plate": {"zh": "号牌"}}) for g, r in zip(pack.m["golden"], results)]
    return [("cover.jpg", images[0], "合成的无轨胶轮车画面，框出号牌并读出号码", "A synthetic picture of a trackless vehicle; its plate is found and read"),
            ("samples.jpg", montage(images).resize((1446, 816)), "四张合成画面，其中一张没有车辆", "Four synthetic pictures, one of them without a vehicle")]


if __name__ == "__main__":
    main()
