"""Where a pusher machine stands and at which oven: a finder of number plates, then a reader of each plate (CTC) that also says how sure it is."""
from finder import *
from oven_front import H, PITCH, PLATE, W, Front

SIZE, LABELS = (320, 192), ["plate"]
ALPHABET = "0123456789-ABCDEF"
RW, RH, STEPS = 128, 32, 32
EXPAND = 0.06


def boxes(objects, k, dy):
    return [{**o, "box": [o["box"][0] * k, o["box"][1] * k + dy, o["box"][2] * k, o["box"][3] * k]} for o in objects]


def train_scene(seed):
    front = Front(seed)
    x = front.shot() if seed % 6 == 0 else front.shot(step=2)
    return letterbox(x, SIZE)[0], boxes(front.objects(), 0.5, 6)


def test_scene(seed):
    front = Front(seed)
    return front.shot(), front.objects()


def parts(seed):
    """Each plate of a view with what is around it: pixels, box, text, and where the middles of its characters are."""
    front, out = Front(seed), []
    for o in front.objects():
        x, y, w, h = o["box"]
        window = [int(v) for v in (max(0, x - 0.3 * w), max(0, y - 0.5 * h), min(W, x + 1.3 * w), min(H, y + 1.5 * h))]
        out.append((front.shot(window), [x - window[0], y - window[1], w, h], o["text"], [m - window[0] for m in o["middles"]]))
    return out


def cut(picture, box):
    """As `of` with `expand` cuts, then `stretch`, grey: [RH, RW], and where it begins and how wide it is."""
    x, y, w, h = box
    high, wide = picture.shape[:2]
    x0, y0, x1, y1 = (round(v) for v in (max(0, x - EXPAND * w), max(0, y - EXPAND * h), min(wide, x + w + EXPAND * w), min(high, y + h + EXPAND * h)))
    part = picture[y0:max(y0 + 4, y1), x0:max(x0 + 4, x1)]
    return half(part, (RW, RH)).astype(F) @ np.array([0.299, 0.587, 0.114], F) / 255, x0, part.shape[1]


class Reader(nn.Module):
    """Grey lines → probabilities of the blank and the characters in steps; and how sure the reading is. A gate that sees the whole line tells
    plates that are cut, covered or soiled, of which a part must not pass for a number: it takes from all characters what it gives the blank."""

    def __init__(self):
        super().__init__()
        b = lambda i, o, k, s, p: nn.Sequential(nn.Conv2d(i, o, k, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.low = nn.Sequential(b(1, 16, 3, 2, 1), b(16, 32, 3, (2, 1), 1), b(32, 56, 3, 2, 1))
        self.body = nn.Sequential(b(56, 80, (4, 3), 1, (0, 1)), b(80, 80, (1, 5), 1, (0, 2)))
        self.out = nn.Conv2d(80, len(ALPHABET) + 1, 1)
        self.whole = nn.Sequential(b(56, 16, (4, 1), 1, 0), nn.Flatten(), nn.Linear(16 * STEPS, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        low = self.low((x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 0.05))
        v, gate = self.out(self.body(low))[:, :, 0].transpose(1, 2), self.whole(low)
        if self.training:
            return torch.log_softmax(v, 2), gate[:, 0]
        p = torch.softmax(v, 2)[:, :, 1:] * torch.sigmoid(gate)[:, None]
        best = p.amax(2)
        # Doubt is where a character is at its likeliest, not at its sides, where blank and character meet.
        peak = best >= nn.functional.max_pool1d(best[:, None], 3, 1, 1)[:, 0]
        sure = torch.where(peak, torch.maximum(best, 1 - best), torch.ones_like(best)).amin(1, keepdim=True)
        return torch.cat([1 - p.sum(2, keepdim=True), p], 2), sure


def fit_reader(data, epochs, batch=32):
    """The steps within a character are that character, where rendered plates have it; CTC beside it, as the steps are read."""
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    net = Reader()
    codes = [torch.tensor([ALPHABET.index(c) + 1 for c in d[2]], dtype=torch.long) for d in data]

    def sample(k):
        picture, (x, y, w, h), text, middles = data[k]
        j = rng.normal(0, 1, 4) * np.array([0.025 * w, 0.06 * h, 0.025 * w, 0.06 * h])
        line, x0, wide = cut(picture, (x + j[0], y + j[1], w + j[2] - j[0], h + j[3] - j[1]))
        at = torch.zeros(STEPS, dtype=torch.long)
        where = [(m - x0) / wide * STEPS - 0.5 for m in middles]
        apart = min(np.diff(where)) if len(where) > 1 else 3.0
        for s, c in zip(where, codes[k]):
            for t in range(max(0, int(np.ceil(s - 0.32 * apart))), min(STEPS - 1, int(np.floor(s + 0.32 * apart))) + 1):
                at[t] = c
        return line, at

    def loss(rows):
        rows = rows.tolist()
        lines, at = zip(*map(sample, rows))
        x = torch.from_numpy(np.stack(lines).astype(F))[:, None]
        x = x + 0.08 * torch.rand(len(rows), 1, 1, 1) * x.std((2, 3), keepdim=True) * torch.randn(x.shape)
        p, gate = net(x)
        legible = torch.tensor([bool(data[k][2]) for k in rows])
        p, t = p[legible], [codes[k] for k in rows if data[k][2]]
        ctc = nn.functional.ctc_loss(p.transpose(0, 1), torch.cat(t), torch.full((len(t),), STEPS), torch.tensor([len(k) for k in t]), zero_infinity=True)
        told = nn.functional.nll_loss(p.reshape(-1, p.shape[2]), torch.stack(at)[legible].reshape(-1))
        return ctc + 2 * told + 0.5 * nn.functional.binary_cross_entropy_with_logits(gate, legible.float())
    return train(net, loss, len(data), epochs, batch, 5e-3, decay=5e-3, clip=5, say=True)


def read(p):
    """The best path, as `text` decodes it."""
    out, last = "", 0
    for k in p.argmax(1):
        out, last = out + (ALPHABET[k - 1] if k and k != last else ""), k
    return out


# ---------------------------------------------------------------- figures
def edits(a, b):
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, c in enumerate(a):
        last, row[0] = row[0], i + 1
        for j, d in enumerate(b):
            last, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, last + (c != d))
    return row[-1]


def millimetres(middle, width):
    return (middle - W / 2) / width * PLATE[0] * 1000


def run_both(find, reader, picture, score):
    """What is found, in pixels of the picture: boxes with text and certainty; a second reading of what the platform does."""
    found = run_rows(find, letterbox(picture, SIZE)[0], LABELS, score, 0.3)[:6]
    for d in found:
        x, y, w, h = d["box"]
        x0, y0, x1, y1 = max(0.0, 2 * x), max(0.0, 2 * (y - 6)), min(W, 2 * (x + w)), min(H, 2 * (y - 6 + h))
        d["box"] = [x0, y0, x1 - x0, y1 - y0]
        d["line"] = cut(picture, d["box"])[0]
        steps, sure = reader.run(["steps", "certainty"], {"line": d["line"][None, None].astype(F)})
        d["text"], d["certainty"] = read(steps[0]), float(sure[0, 0])
    return found


class Nearest:
    """The baseline of reading: the number of the most similar plate of the training."""

    def __init__(self, data):
        known = [d for d in data if d[2]]
        self.lines, self.texts = np.stack([self.even(cut(d[0], d[1])[0]) for d in known]), [d[2] for d in known]

    def even(self, line):
        line = (line - line.mean()).ravel()
        return line / (np.linalg.norm(line) + 1e-6)

    def read(self, line):
        return self.texts[int((self.lines @ self.even(line)).argmax())]


def least_sure(reader, data):
    """The least certainty from which on at most 2.5 % of the readings of `data` are wrong."""
    told = []
    for picture, box, text, _ in data:
        steps, sure = reader.run(["steps", "certainty"], {"line": cut(picture, box)[0][None, None].astype(F)})
        told.append((float(sure[0, 0]), read(steps[0]), text))
    for least in np.arange(0.3, 0.96, 0.05):
        taken = [a != b for s, a, b in told if s >= least and len(a) >= 3]
        if np.mean(taken) <= 0.025:
            break
    print(f"certainty {least:.2f}: {len(taken)} of {len(told)} taken, {np.mean(taken):.4f} wrong")
    return round(float(least), 2)


def figures(pack, find, reader, score, sure, test, train, near):
    found = [run_both(find, reader, x, score) for x, _ in test]
    truth = [o for _, o in test]
    value, pairs = f1_of(found, truth)
    by = {id(o): d for d, o in pairs}
    plates = [o for t in truth for o in t]
    legible = [o for o in plates if o["text"]]
    clean = [o for o in legible if o["clean"]]
    text = lambda o: by[id(o)]["text"] if id(o) in by else ""
    nearest = {id(o): near.read(by[id(o)]["line"]) if id(o) in by else "" for o in legible}
    right, right_near = (lambda some: np.mean([text(o) == o["text"] for o in some])), (lambda some: np.mean([nearest[id(o)] == o["text"] for o in some]))
    zh, en = f"留出的 {len(test)} 幅合成画面（先检测后读数）", f"{len(test)} held-out rendered pictures, found and then read"
    pack.metric("plates-read", right(legible), right_near(legible), f"{zh}：{len(legible)} 块可辨认的号牌中整牌读对的比例；基线取训练集中最相似号牌的炉号", f"{en}: share of {len(legible)} legible plates read wholly right; baseline takes the number of the most similar plate of the training")
    pack.metric("plates-read-clean", right(clean), right_near(clean), f"同上，其中 {len(clean)} 块污损、遮挡和烟都少、拖影不足 2.5 像素的号牌", f"the same, {len(clean)} of them with little dirt, cover and smoke and less than 2.5 pixels of motion")
    chars = sum(len(o["text"]) for o in legible)
    pack.metric("character-error-rate", sum(edits(text(o), o["text"]) for o in legible) / chars, sum(edits(nearest[id(o)], o["text"]) for o in legible) / chars,
                f"同上，可辨认号牌的 {chars} 个字符的错误率（越低越好），漏检按全错计", f"the same, error rate of {chars} characters of legible plates (lower is better); plates not found count as wholly wrong")
    median = np.median([o["box"] for t in train for o in t], 0) @ np.diag([2, 2, 2, 2]) - [0, 12, 0, 0]
    fixed = [[{"label": "plate", "score": 1.0, "box": median.tolist()}]] * len(test)
    base, base_pairs = f1_of(fixed, truth)
    pack.metric("plates-found", len(pairs) / len(plates), len(base_pairs) / len(plates), f"同上，画面中露出过半的 {len(plates)} 块号牌被找到的比例，IoU ≥ 0.5；基线总画同一个框", f"the same, share of {len(plates)} plates of which at least half is seen that are found, IoU ≥ 0.5; baseline always draws the same box")
    pack.metric("f1-iou50", value, base, "同上，检测的 F1", "the same, F1 of the finder")
    own = [(d, o) for d, o in pairs if o["whole"] and abs(millimetres(o["mid"], o["width"])) <= PITCH * 500]
    off = [abs(millimetres(d["box"][0] + d["box"][2] / 2, d["box"][2]) - millimetres(o["mid"], o["width"])) for d, o in own]
    pack.metric("position-error-mm", np.mean(off), np.mean([abs(millimetres(o["mid"], o["width"])) for _, o in own]), f"同上，车前 {len(own)} 块号牌偏差的平均误差（毫米）；基线总答已对准", f"the same, mean error of how far {len(own)} plates before the machine are off the middle, in millimetres; baseline always answers that it stands right")
    said = [(d["certainty"] >= sure, d["text"] != o["words"]) for d, o in pairs if len(d["text"]) >= 3]
    pack.metric("wrong-though-sure", np.mean([w for s, w in said if s]), np.mean([w for _, w in said]), f"同上，把握不低于 {sure} 的 {sum(s for s, _ in said)} 次读数中读错的比例，含残缺号牌；基线不看把握", f"the same, share of {sum(s for s, _ in said)} readings of a certainty of at least {sure} that are wrong, plates that are cut or covered among them; baseline takes all {len(said)} readings")
    print("legible plates that are read surely:", np.mean([id(o) in by and by[id(o)]["certainty"] >= sure for o in legible]), "95th percentile of mm:", np.quantile(off, 0.95))


def main():
    data = [d for view in render_many(parts, range(200000, 200900)) for d in view]
    reader = fit_reader(data, 22)
    scenes = render_many(train_scene, range(210000, 210300))
    flip = lambda objects, width: [{**o, "box": [width - o["box"][0] - o["box"][2], *o["box"][1:]]} for o in objects]
    net = fit(scenes, LABELS, SIZE, epochs=14, flip=flip, wide=24)
    pack = Pack("pusher-position")
    find = pack.save_model(export(net, SIZE), "plates", 400_000)
    run = pack.save_model(exported(reader, torch.zeros(1, 1, RH, RW), ["line"], ["steps", "certainty"]), "reader")
    (pack.folder / "alphabet.txt").write_text("".join(c + "\n" for c in ALPHABET))
    val = render_many(test_scene, range(220000, 220030))
    score = best_score(find, [letterbox(x, SIZE)[0] for x, _ in val], [boxes(o, 0.5, 6) for _, o in val], LABELS)
    pack.step("plates")["post"][0]["boxes"]["score"] = score
    sure = least_sure(run, [d for view in render_many(parts, range(221000, 221100)) for d in view])
    next(p for p in pack.m["parameters"] if p["name"] == "sure")["default"] = sure
    figures(pack, find, run, score, sure, render_many(test_scene, range(230000, 230300)), [o for _, o in scenes], Nearest(data))
    samples = []
    for name, seed, given in GOLD:
        front = Front(seed, **given)
        objects = sorted(front.objects(), key=lambda o: o["box"][0])
        texts = [o["text"] for o in objects]
        # A truth cannot say of a plate that it is not to be read.
        samples.append((name, jpeg(front.shot()), "jpg", {"counts": {"plate": len(objects)}, **({"texts": texts} if all(texts) else {})}))
    pack.golden(samples)
    pack.finish(draw)


CLEAR = {"smoke": 0.0, "bars": 0, "motion": 0.0}
GOLD = [("read", 240001, {**CLEAR, "words": "1-37", "off": 0.02, "dirt": 0.15, "night": False}), ("off-middle", 240002, {**CLEAR, "words": "A-52", "off": -0.24, "dirt": 0.2, "night": False}),
        ("night", 240003, {**CLEAR, "words": "3-108", "off": 0.05, "dirt": 0.3, "night": True}), ("two-plates", 240004, {**CLEAR, "words": "C-8", "off": 0.64, "dirt": 0.1, "night": False, "missing": ()}),
        ("dirty", 240005, {**CLEAR, "words": "2-64", "off": -0.03, "dirt": 1.0, "night": False}), ("no-plate", 240006, {**CLEAR, "missing": (-2, -1, 0, 1, 2), "night": False, "off": 0.1}),
        ("at-the-edge", 240007, {**CLEAR, "words": "5-19", "off": -0.16, "dirt": 0.1, "night": True, "missing": ()}), ("smoke", 240008, {"bars": 0, "motion": 0.0, "words": "E-73", "off": 0.0, "smoke": 0.8, "dirt": 0.2, "night": False})]


def draw(pack, results):
    names, images = label_names(pack), []
    sure = next(p["default"] for p in pack.m["parameters"] if p["name"] == "sure")
    for g, r in zip(pack.m["golden"], results):
        near = [(d, millimetres(d["box"][0] + d["box"][2] / 2, d["box"][2])) for d in r.get("detections", [])]
        own, off = min((n for n in near if abs(n[1]) <= PITCH * 500), key=lambda n: abs(n[1]), default=(None, 0))
        line = "车前没有找到炉号牌"
        if own:
            certainty, text = own["values"][0]["value"], own["text"]["text"]
            line = f"车前炉号 {text if len(text) >= 3 and certainty >= sure else '读不准'}   把握 {certainty:.2f}   偏差 {off:+.0f} mm"
        p = overlay(Image.open(pack.folder / g["input"]), r, {"plate": AMBER}, names, lines=[line])
        d = ImageDraw.Draw(p)
        for y in range(0, p.height - 50, 26):
            d.line([p.width / 2, y, p.width / 2, y + 13], fill="#59b3d6", width=2)
        images.append(p)
    return [("cover.jpg", images[1], "合成的焦炉机侧画面，框出炉号牌、读出炉号，并给出与画面中线的偏差", "A rendered pusher side of a battery: number plates found and read, and how far the machine stands off the dashed middle"),
            ("samples.jpg", montage(images).resize((1446, 1632)), "八幅合成画面：正常、偏离、夜间、两块号牌、污损、无号牌、画面边缘、烟气", "Eight rendered pictures: read, off the middle, night, two plates, soiled, no plate, at the edge, smoke")]


if __name__ == "__main__":
    main()
