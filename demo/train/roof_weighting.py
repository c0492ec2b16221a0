"""roof-weighting: greatest support resistance of the next six cycles and distance to the next periodic weighting."""

from series import *
from sklearn.neural_network import MLPRegressor

SEED, N, AHEAD, WEB = 501, 64, 6, 0.8


def face(rng, cycles=420):
    """A face seen by one support. The cantilever of the main roof grows with every cycle until it breaks: the resistance
    at the end of the cycle climbs, peaks at the break and falls back. Returns rows and the distance to the next break, m."""
    mean_step = rng.uniform(11, 20)  # mean weighting step, m
    base, rise = rng.uniform(5200, 6600), rng.uniform(1900, 3300)
    yield_kn = rng.uniform(9600, 10600)  # the relief valve opens
    rows, to_break = np.zeros((cycles, 3)), np.zeros(cycles)
    left, step = 0.0, 1.0
    setting = rng.uniform(0.62, 0.8)
    drop = 1.0
    for i in range(cycles):
        if left <= 0:
            left = step = max(6.0, rng.normal(mean_step, 1.5))
            drop = rng.lognormal(0, 0.10)
        grown = 1 - left / step
        advance = WEB * (0.5 if rng.random() < 0.08 else 1)
        load = base + rise * drop * grown ** 2.2 + rng.normal(0, 170)
        if rng.random() < 0.03:
            load += rng.normal(0, 600)  # a poor contact or a maintenance shift
        rows[i] = min(load, yield_kn + rng.normal(0, 40)), base * setting + 220 * rng.normal(0, 1) + 250 * grown, advance
        to_break[i] = left
        left -= advance
    return rows, to_break


def make(rng, faces, per):
    xs, ys = [], []
    for _ in range(faces):
        rows, to_break = face(rng)
        for end in rng.choice(np.arange(N, len(rows) - AHEAD), per, replace=False):
            xs.append(np.round(rows[end - N:end], 2))
            ys.append((rows[end:end + AHEAD, 0].max(), to_break[end - 1]))
    return np.array(xs), np.array(ys)


def main():
    app = App("roof-weighting")
    window, items = app.manifest["pipeline"]["pre"]["window"], app.manifest["pipeline"]["post"][0]["values"]["items"]
    mean, std = np.array(window["mean"]), np.array(window["std"])
    scale, offset = np.array([i["scale"] for i in items]), np.array([i["offset"] for i in items])
    flat = lambda x: ((x - mean) / std).reshape(len(x), -1).astype(np.float32)
    x, y = make(np.random.default_rng(SEED), 500, 24)
    xt, yt = make(np.random.default_rng(SEED + 1), 60, 15)
    net = MLPRegressor(hidden_layer_sizes=(64, 32), alpha=0.05, batch_size=256, max_iter=45, early_stopping=True, random_state=SEED).fit(flat(x), (y - offset) / scale)
    graph = Graph("roof-weighting")
    graph.node("Identity", mlp(graph, "x", net), out="forecast")
    app.save_model(graph.model({"x": [1, N * 3]}, {"forecast": [1, 2]}))
    answer = lambda v: np.array([app.run.run(None, {"x": r[None]})[0][0] for r in flat(v)]) * scale + offset
    guess = answer(xt)
    data = ("留出的 60 个合成工作面的 900 个时刻", "900 moments of 60 held-out synthetic faces")
    last = xt[:, -AHEAD:, 0].max(1)
    app.metric("mae-peak-kn", np.abs(guess[:, 0] - yt[:, 0]).mean(), np.abs(last - yt[:, 0]).mean(), data[0] + "；基线为沿用最近 6 循环的最大值", data[1] + "; baseline repeats the greatest of the last six cycles")
    app.metric("mae-distance-m", np.abs(guess[:, 1] - yt[:, 1]).mean(), np.abs(y[:, 1].mean() - yt[:, 1]).mean(), data[0] + "；基线为训练均值", data[1] + "; baseline is the training mean")
    app.metric("r2-peak", 1 - ((guess[:, 0] - yt[:, 0]) ** 2).sum() / ((yt[:, 0] - yt[:, 0].mean()) ** 2).sum(), 0.0, data[0] + "；基线为测试均值", data[1] + "; baseline is the test mean")
    gx, gy = make(np.random.default_rng(SEED + 2), 8, 1)
    app.golden([("face", csv_bytes(window["columns"], a, 2), {"values": {"peak-kn": [round(float(b[0]), 1), 600.0], "distance-m": [round(float(b[1]), 2), 3.0]}})
                for a, b in zip(gx, gy)], 8, 1e-3, 1e-4)
    rows, to_break = face(np.random.default_rng(SEED + 3))
    ends = np.arange(N, 260)
    forecast = answer(np.stack([np.round(rows[e - N:e], 2) for e in ends]))
    metres = np.cumsum(rows[:, 2])
    card = Canvas()
    card.head(app.manifest["title"], "64 × 3 → 2")
    box = (140, 220, 1224, 590)
    lim = (metres[ends[0]], metres[ends[0]] + 100)
    card.frame(box, "循环末阻力与预测峰值 / kN　Resistance and forecast peak")
    card.ticks(box, (0, 100), (5000, 11000), 10, 3)
    keep = metres[ends] < lim[1]
    card.line(box, metres[ends][keep], rows[ends, 0][keep], lim, (5000, 11000), STEEL, 3)
    card.line(box, metres[ends][keep], forecast[keep, 0], lim, (5000, 11000), AMBER, 4)
    for i in ends[:-1][keep[:-1]]:
        if to_break[i + 1] > to_break[i]:
            x0 = box[0] + (metres[i] - lim[0]) / (lim[1] - lim[0]) * (box[2] - box[0])
            card.draw.line([x0, box[1], x0, box[3]], fill=RED, width=2)
    for k, (w, c) in enumerate((("循环末阻力 Resistance", STEEL), ("未来 6 循环峰值预测 Forecast peak", AMBER), ("周期来压 Weighting", RED))):
        card.text((140 + (0, 320, 780)[k], 656), f"● {w}", 22, c)
    card.text((1224, 620), "推进 / m", 18, MUTED, anchor="ra")
    card.save(app.folder / "media/cover.png")
    card = Canvas()
    card.head({"zh": "距下次来压的预测误差", "en": "Forecast of the distance to the next weighting"})
    box = (160, 210, 620, 620)
    card.frame(box, "距离 / m　Distance: 横轴真值，纵轴预测")
    card.ticks(box, (0, 20), (0, 20), 4, 4)
    card.line(box, (0, 20), (0, 20), (0, 20), (0, 20), MUTED, 2)
    card.dots(box, yt[:500, 1], guess[:500, 1], (0, 20), (0, 20), AMBER, 3)
    box = (740, 210, 1200, 620)
    card.frame(box, "峰值 / kN　Peak: 横轴真值，纵轴预测")
    card.ticks(box, (5000, 11000), (5000, 11000), 3, 3)
    card.line(box, (5000, 11000), (5000, 11000), (5000, 11000), (5000, 11000), MUTED, 2)
    card.dots(box, yt[:500, 0], guess[:500, 0], (5000, 11000), (5000, 11000), "#59b3d6", 3)
    card.save(app.folder / "media/scatter.png", 150_000)
    app.finish()


if __name__ == "__main__":
    main()
