"""Risk of a strong seismic event within a day from the last 64 events; the b-value and the daily rate are worked out inside the graph."""
import warnings

from places import *
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore", category=ConvergenceWarning)
EVENTS, COLUMNS = 64, ["gap_h", "lg_energy", "distance_m"]
LABELS = ["none", "weak", "medium", "strong"]
LEAST = 2.0                                     # lg of the energy (J) from which on the catalogue is complete
LIMITS = [4.0, 5.0, 6.0]                        # lg of the largest event of the next day, between the levels


def catalogue(rng, hours=24 * 12):
    """Events of one working face: time in hours, lg of energy, distance to the face line; with the state of stress behind them."""
    base, mean = np.exp(rng.uniform(np.log(0.25), np.log(1.6))), rng.uniform(0.75, 1.05)
    z, state = rng.normal(0, 1), []
    ramp, at = (rng.uniform(0.8, 2.4), rng.uniform(0.3, 0.9) * hours) if rng.random() < 0.45 else (0.0, 0.0)
    for h in range(hours + 24):
        z += -z / 60 + rng.normal(0, 0.16)
        state.append(z + ramp * np.exp(-((h - at) / 40) ** 2))
    rows, pending = [], []
    for h, s in enumerate(state):
        rate, b = base * np.exp(0.45 * s), np.clip(mean - 0.16 * s, 0.35, 1.6)
        times = [(h + rng.random(), 0.0) for _ in range(rng.poisson(rate))] + [(t, 1.0) for t in pending if t < h + 1]
        pending = [t for t in pending if t >= h + 1]
        for t, after in sorted(times):
            e = LEAST + rng.exponential(0.4343 / (b * 0.9)) if not after else LEAST + rng.exponential(0.32)
            near = rng.normal(35 - 14 * s, 32)
            rows.append((t, min(e, 7.6), near))
            if e > 4:
                pending += list(t + rng.exponential(3, rng.poisson(0.9 * (e - 3.5))))
    return np.array(sorted(rows))


def window(events, now):
    """The last events before `now` as the app gets them, and lg of the largest of the next day."""
    past, next_day = events[events[:, 0] <= now], events[(events[:, 0] > now) & (events[:, 0] <= now + 24)]
    if len(past) < EVENTS + 1:
        return None
    gap = np.diff(past[-EVENTS - 1:, 0])
    return np.stack([gap, past[-EVENTS:, 1], past[-EVENTS:, 2]], 1), next_day[:, 1].max() if len(next_day) else 0.0


def make(rng, count):
    xs, ys = [], []
    while len(xs) < count:
        events = catalogue(rng)
        for now in rng.uniform(24 * 4, 24 * 12, 3):
            w = window(events, now)
            if w and len(xs) < count:
                xs.append(w[0])
                ys.append(w[1])
    return np.array(xs, np.float32), np.array(ys)


def features(g):
    """`events` [1, 64, 3] → (what the net sees [1, n], the values told [1, 4])."""
    x = g.node("Reshape", "events", g.i64([-1, EVENTS, 3]))
    gap, e, near = (g.node("Squeeze", g.node("Slice", x, g.i64([k]), g.i64([k + 1]), g.i64([2])), g.i64([2])) for k in range(3))
    part = lambda v, n: g.node("Slice", v, g.i64([EVENTS - n]), g.i64([EVENTS]), g.i64([1]))
    mean = lambda v: g.node("ReduceMean", v, axes=[1], keepdims=1)
    log = lambda v: g.node("Log", g.node("Add", v, g.f32(1e-3)))
    out = []
    for n in (64, 32, 16, 8):
        p, t, d = part(e, n), part(gap, n), part(near, n)
        # Aki's estimate of maximum likelihood: b = lg(e) / (mean - least)
        b = g.node("Div", g.f32(0.4343), g.node("Add", g.node("Sub", mean(p), g.f32(LEAST)), g.f32(0.02)))
        rate = g.node("Div", g.f32(24.0), g.node("Add", mean(t), g.f32(1e-3)))
        total = g.node("Div", g.node("Log", g.node("ReduceSum", g.node("Exp", g.node("Mul", p, g.f32(np.log(10)))), g.i64([1]), keepdims=1)), g.f32(np.log(10)))
        largest = g.node("ReduceMax", p, axes=[1], keepdims=1)
        spread = mean(g.node("Abs", g.node("Sub", d, mean(d))))
        out += [b, log(rate), total, largest, g.node("Div", mean(d), g.f32(50.0)), g.node("Div", spread, g.f32(50.0))]
        if n == 64:
            told = g.node("Concat", b, rate, largest, total, axis=1)
    return g.node("Concat", *out, axis=1), told


def sensor_roadway():
    def furnish(s, rng):
        for z, side in ((2.6, 1), (5.4, -1)):                           # a geophone on a bolt in the rib, its cable and a station
            s.capsule((side * 2.0, 1.5, z), (side * 2.42, 1.5, z), 0.045, (0.5, 0.5, 0.48), 0.8, bump=0.01)
            s.capsule((side * 1.9, 1.5, z), (side * 2.05, 1.5, z), 0.12, (0.10, 0.24, 0.40), 0.6, bump=0.01)
            s.capsule((side * 1.95, 1.45, z), (side * 2.1, 0.4, z + 0.5), 0.016, (0.03, 0.03, 0.03), 0.3)
        s.box((1.95, 0.55, 3.4), (0.22, 0.35, 0.45), 0.05, (0.36, 0.38, 0.38), 0.4)
        for k in range(4):
            s.box((1.72, 0.75 - 0.09 * k, 3.2 + 0.07 * k), (0.01, 0.02, 0.02), 0, (0.1, 0.8, 0.3), 0, shadow=False, emit=(0.2, 1.3, 0.4) if k != 2 else (1.3, 0.5, 0.1))
        for _ in range(9):                                              # stone that fell off the rib
            z, x = rng.uniform(1.5, 7), rng.uniform(-2.2, -1.2)
            s.box((x, 0.1, z), rng.uniform(0.08, 0.28, 3), rng.uniform(0, 3), (0.15, 0.145, 0.14), 0.05, tex="lumps", bump=0.6, rollz=rng.uniform(-0.6, 0.6))
    return tunnel(47, furnish, look=(0.5, 1.2, 5), rails=[-0.2])


def main():
    x, top = make(np.random.default_rng(71), 9000)
    tx, ttop = make(np.random.default_rng(72), 2400)
    y, ty = np.digitize(top, LIMITS), np.digitize(ttop, LIMITS)
    g = Graph("features")
    f, told = features(g)
    g.node("Identity", f, out="f")
    g.node("Identity", told, out="t")
    run = session(g.model({"events": [None, EVENTS, 3]}, {"f": [None, 24], "t": [None, 4]}))
    feats, values = run.run(None, {"events": x})
    mean, std = feats.mean(0), feats.std(0) + 1e-5
    net = MLPClassifier((24,), alpha=3.0, max_iter=60, early_stopping=True, random_state=1).fit((feats - mean) / std, y)
    pack = Pack("microseism-energy")
    g = Graph("microseism-energy")
    f, told = features(g)
    g.node("Identity", told, out="catalogue")
    h = g.node("Div", g.node("Sub", f, g.f32(mean[None])), g.f32(std[None]))
    g.node("Softmax", mlp(g, h, net), axis=1, out="risk")
    model = pack.save_model(g.model({"events": [1, EVENTS, 3]}, {"risk": [1, 4], "catalogue": [1, 4]}))
    p = np.concatenate([model.run(["risk"], {"events": w[None]})[0] for w in tx])
    tv = run.run(["t"], {"events": tx})[0]
    words = "留出的 2400 段合成目录", "2,400 held-out synthetic catalogues"
    danger = lambda p: p[:, 2] + p[:, 3]
    bad = ty >= 2
    rules = {"b": -tv[:, 0], "rate": tv[:, 1], "largest": tv[:, 2], "energy": tv[:, 3]}
    pack.metric("auroc-medium", roc_auc_score(bad, danger(p)), max(roc_auc_score(bad, r) for r in rules.values()),
                words[0] + "，24 小时内是否有 10⁵ J 以上事件；基线取 b 值、频次、最大能量、总能量单项中最好者", words[1] + ", whether an event of 10⁵ J or more comes within 24 hours; baseline is the best of b-value, rate, largest and total energy alone")
    pack.metric("auroc-strong", roc_auc_score(ty == 3, p[:, 3]), max(roc_auc_score(ty == 3, r) for r in rules.values()), words[0] + "，24 小时内是否有 10⁶ J 以上事件；基线同上", words[1] + ", the same of 10⁶ J; baseline as above")
    pack.metric("accuracy", (p.argmax(1) == ty).mean(), np.bincount(ty).max() / len(ty), words[0] + "，四个等级；基线总答最常见等级", words[1] + ", four levels; baseline always answers the commonest")
    rng, kept = np.random.default_rng(73), {}
    while len(kept) < 3:
        w = window(catalogue(rng), rng.uniform(24 * 4, 24 * 12))
        if not w:
            continue
        level, lean = int(np.digitize(w[1], LIMITS)), w[0][:, 1].mean() - LEAST   # a small mean excess is a high b-value
        name = "quiet" if level == 0 and lean < 0.45 else "medium" if level == 2 and 0.6 < lean < 0.75 else "strong" if level == 3 and lean > 0.8 else ""
        if name and name not in kept:
            kept[name] = (w[0], LABELS[level])
    order = [(n, *kept[n]) for n in ("quiet", "medium", "strong")]
    pack.golden([(n, csv_bytes(COLUMNS, np.stack([r[:, 0], r[:, 1], r[:, 2]], 1), 3), "csv", {"class": l}) for n, r, l in order])

    def draw(pack, results):
        c, names = Cover(sensor_roadway()), label_names(pack)
        c.title(pack.m["title"], "lg J")
        rows = order[2][1]
        c.panel((40, 396, 800, 706))
        t = np.cumsum(rows[:, 0]) - rows[:, 0].sum()
        box, lim = (110, 446, 770, 660), (2, 7)
        for h, e in zip(t, rows[:, 1]):
            X, Y = box[0] + (h - t[0]) / -t[0] * (box[2] - box[0]), box[3] - (e - lim[0]) / (lim[1] - lim[0]) * (box[3] - box[1])
            color = RED if e >= 5 else AMBER if e >= 4 else "#59b3d6"
            c.draw.line([X, box[3], X, Y], fill=color, width=3)
            c.draw.ellipse([X - 4, Y - 4, X + 4, Y + 4], fill=color)
        c.ticks(box, (round(t[0]), 0), lim, 5, 5)
        v = {k["id"]: k["value"] for k in results[2]["values"]}
        best = results[2]["classes"][0]
        c.text((110, 408), f"近 64 次事件的能量   b = {v['b_value']:.2f}   {v['rate_day']:.0f} 次/日   → {names[best['label']]['zh']} {best['score']:.2f}", 21, AMBER)
        d = Canvas()
        d.head({"zh": "各等级的判断", "en": "Levels as told, by what came"}, f"{(p.argmax(1) == ty).mean():.1%}")
        d.confusion((360, 190), (190, 100), [names[k]["zh"] for k in LABELS], truth_matrix(ty, p.argmax(1), 4))
        return [("cover.jpg", c.image, "合成的装有微震传感器的巷道，前面是近 64 次事件的能量", "A rendered roadway with seismic sensors, in front of it the energies of the last 64 events"),
                ("levels.jpg", d.image, "留出目录上四个等级的混淆矩阵", "Confusion matrix of the four levels on held-out catalogues")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
