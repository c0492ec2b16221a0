"""Faults of a shearer's cutting unit, several of which may be there at once: a window of two minutes, scores by sigmoid."""
from places import *
from training import *
import coal_rock
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

STEPS = 120
COLUMNS = ["current_left", "current_right", "vibration", "oil_temp", "oil_pressure", "haulage"]
LABELS = ["worn-picks", "gear", "rock", "cooling"]
MEAN, STD = np.array([95.0, 95.0, 6.0, 72.0, 2.2, 5.0]), np.array([30.0, 30.0, 3.0, 14.0, 0.5, 2.0])


def record(rng, faults):
    """Two minutes, a row a second; `faults` of LABELS. The load follows the haulage speed and the hardness of the coal."""
    n, t = STEPS, np.arange(STEPS)
    haul = rng.uniform(2.5, 8) * (1 + 0.1 * np.sin(t / rng.uniform(8, 40) + rng.uniform(0, 6))) + rng.normal(0, 0.1, n)
    if rng.random() < 0.3:                                              # a halt
        a = int(rng.integers(0, n))
        haul[a:a + int(rng.integers(5, 25))] *= 0.1
    haul = np.clip(haul, 0, None)
    hard = rng.uniform(0.75, 1.3) * (1 + 0.08 * np.cumsum(rng.normal(0, 0.15, n)))
    idle, k = rng.uniform(36, 46, 2), rng.uniform(8, 12)
    worn = rng.uniform(0.22, 0.7) if "worn-picks" in faults else rng.uniform(0, 0.08)
    load = np.stack([k * haul * hard * (1 + worn), k * haul * hard * rng.uniform(0.75, 1.1) * (1 + 0.5 * worn)], 1)
    vib = 2.2 + 0.45 * haul * hard + 2.2 * worn * (haul > 0.6) + rng.normal(0, 0.25, n)
    if "rock" in faults:                                                # roof rock or a parting comes and goes
        hit = np.clip(np.convolve(rng.random(n) < rng.uniform(0.08, 0.25), np.ones(int(rng.integers(2, 6))), "same"), 0, 1) * (haul > 0.6)
        load += (rng.uniform(30, 70) * hit * rng.uniform(0.6, 1.3, n))[:, None] * rng.uniform(0.4, 1, 2)
        vib += rng.uniform(3, 7) * hit * rng.uniform(0.5, 1.4, n)
    temp = rng.uniform(58, 82) + 0.02 * np.cumsum(load.mean(1) - 60) / 20 + rng.normal(0, 0.15, n)
    press = rng.uniform(2.0, 2.7) + rng.normal(0, 0.04, n)
    if "gear" in faults:                                                # one tooth: a beat of a few seconds that grows with the load
        s = rng.uniform(0.8, 2.2)
        vib += s * (0.5 + load[:, 0] / 80) * (0.8 + 0.8 * np.sin(2 * np.pi * t / rng.uniform(3.2, 7.5) + rng.uniform(0, 6)))
        temp += rng.uniform(0, 6) + 0.012 * t
    if "cooling" in faults:
        temp += rng.uniform(6, 18) + rng.uniform(0.02, 0.07) * t
        press -= rng.uniform(0.35, 1.1)
    current = idle + load + rng.normal(0, 3.0, (n, 2))
    return np.column_stack([current, np.clip(vib, 0.2, None), temp, np.clip(press, 0.1, None), haul])


def make(rng, count):
    xs, ys = [], []
    for _ in range(count):
        faults = [] if rng.random() < 0.3 else [l for l in LABELS if rng.random() < 0.33]
        xs.append((record(rng, faults) - MEAN) / STD)
        ys.append([l in faults for l in LABELS])
    return np.array(xs, F), np.array(ys, F)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layer = lambda a, b, stride: nn.Sequential(nn.Conv1d(a, b, 5, stride, 2), nn.BatchNorm1d(b), nn.ReLU())
        self.body = nn.Sequential(layer(6, 24, 1), layer(24, 24, 2), layer(24, 32, 1), layer(32, 32, 2))
        self.head = nn.Sequential(nn.Linear(32 * 3, 40), nn.ReLU(), nn.Linear(40, 4))

    def forward(self, x):
        f = self.body(x.transpose(1, 2))
        mean = f.mean(2)
        spread = torch.sqrt(((f - mean[:, :, None]) ** 2).mean(2) + 1e-4)
        return self.head(torch.cat([mean, f.amax(2), spread], 1))


def plain(x):
    """Means and spreads of the columns, what a trend display shows."""
    return np.concatenate([x.mean(1), x.std(1), x.max(1)], 1)


def main():
    torch.manual_seed(1)
    x, y = make(np.random.default_rng(91), 7000)
    tx, ty = make(np.random.default_rng(92), 1600)
    xx, yy = torch.from_numpy(x), torch.from_numpy(y)
    net = Net()
    train(net, lambda j: nn.functional.binary_cross_entropy_with_logits(net(xx[j]), yy[j]), len(x), 16, 64, 4e-3)
    pack = Pack("shearer-diagnosis")
    run = pack.save_model(exported(net, xx[:1], ["window"], ["logits"]))
    guess = np.concatenate([run.run(None, {"window": w[None]})[0] for w in tx]) > 0
    rule = np.stack([LogisticRegression(max_iter=300).fit(plain(x), y[:, k]).predict(plain(tx)) for k in range(4)], 1) > 0.5
    words = "留出的 1600 段合成记录，可同时有多种故障", "1,600 held-out synthetic records, several faults may be there at once"
    pack.metric("macro-f1", f1_score(ty, guess, average="macro"), f1_score(ty, rule, average="macro"), words[0] + "；四种故障 F1 的平均；基线为按各栏均值、起伏、最大值的逻辑回归", words[1] + "; mean F1 of the four; baseline is logistic regression on mean, spread and maximum of each column")
    pack.metric("all-right", (guess == (ty > 0.5)).all(1).mean(), (rule == (ty > 0.5)).all(1).mean(), words[0] + "；四种全部判对的比例；基线同上", words[1] + "; share with all four right; baseline as above")
    sound = ty.sum(1) == 0
    pack.metric("false-alarm-rate", guess[sound].any(1).mean(), rule[sound].any(1).mean(), words[0] + f"；其中 {sound.sum()} 段无故障；基线同上", words[1] + f"; the {sound.sum()} sound ones among them; baseline as above")
    rng = np.random.default_rng(93)
    kept = [(n, record(rng, f), f) for n, f in (("gear-and-rock", ["gear", "rock"]), ("sound", []), ("hot", ["cooling"]), ("worn", ["worn-picks"]))]
    pack.golden([(n, csv_bytes(["second"] + COLUMNS, np.column_stack([np.arange(STEPS), r]), 3), "csv", {"class": f[0]} if len(f) == 1 else None) for n, r, f in kept])

    def draw(pack, results):
        names = label_names(pack)
        c = Cover(coal_rock.scene(4119, 1280, 720, rock=0.1)[0])
        c.title(pack.m["title"], "1 Hz")
        c.panel((40, 456, 800, 706))
        r = kept[0][1]
        for k, (col, color, lim, words) in enumerate(((0, "#59b3d6", (20, 220), "左截割电流 A"), (2, AMBER, (0, 20), "振动 mm/s"))):
            c.line((70, 476 + 118 * k, 770, 576 + 118 * k), np.arange(STEPS), np.clip(r[:, col], *lim), (0, STEPS - 1), lim, color, 2)
            c.text((70, 462 + 118 * k), words, 19, color)
        c.panel((830, 420, 1240, 706))
        scores = {q["label"]: q["score"] for q in results[0]["classes"]}
        c.bars((856, 434, 1214, 694), [names[l]["zh"] for l in LABELS], [scores[l] for l in LABELS], [RED if scores[l] >= 0.5 else STEEL for l in LABELS])
        d = Canvas()
        d.head({"zh": "四段记录的判断", "en": "What is told of four records"}, f"F1 {f1_score(ty, guess, average='macro'):.2f}")
        for i, (n, _, f) in enumerate(kept):
            x0 = 60 + i * 300
            scores = {q["label"]: q["score"] for q in results[i]["classes"]}
            d.text((x0, 190), "、".join(names[l]["zh"] for l in f) or "无故障", 22, AMBER if f else GREEN, True)
            d.bars((x0, 250, x0 + 260, 620), [names[l]["zh"] for l in LABELS], [scores[l] for l in LABELS], [RED if scores[l] >= 0.5 else STEEL for l in LABELS])
        return [("cover.jpg", c.image, "合成的采煤工作面，前面是截割电流和振动，以及四种故障的分数", "A rendered longwall face, in front of it cutting current and vibration with the scores of four faults"),
                ("records.jpg", d.image, "四段记录的故障分数，一段无故障", "Scores of four records, one of them sound")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
