"""coke-quality: CRI, CSR and M40 from the blend's properties and the oven's settings (scaler and MLP)."""

from common import *
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 901


def make(rng, n):
    """Blends as a plant sees them: rank (Ro), volatiles and caking hang together; ash minerals drive the reactivity."""
    ro = rng.normal(1.18, 0.10, n).clip(0.9, 1.5)
    ro_std = rng.gamma(4, 0.035, n).clip(0.04, 0.4)
    vdaf = 27.0 - 17.0 * (ro - 1.18) + rng.normal(0, 0.8, n)
    ash = rng.normal(9.6, 0.7, n).clip(7.5, 12)
    sulfur = rng.normal(0.72, 0.12, n).clip(0.35, 1.2)
    caking = (78 - 60 * (ro - 1.15) ** 2 * 10 - 20 * (ro_std - 0.14) + rng.normal(0, 4, n)).clip(50, 95)
    layer = (16 + 0.16 * (caking - 75) + rng.normal(0, 1.3, n)).clip(8, 26)
    mci = (2.4 + 0.5 * rng.normal(0, 1, n) + 0.15 * (ash - 9.6)).clip(1.0, 4.5)
    moisture = rng.normal(10.2, 0.7, n).clip(7, 13)
    fineness = rng.normal(76, 3, n).clip(66, 86)
    coking_h = rng.normal(22.0, 1.6, n).clip(18, 27)
    flue_c = rng.normal(1255, 18, n).clip(1200, 1310)
    x = np.stack([ash, vdaf, sulfur, caking, layer, mci, ro, ro_std, moisture, fineness, coking_h, flue_c], 1)
    cri = (26 + 3.4 * (mci - 2.4) + 60 * (ro - 1.22) ** 2 - 6 * (ro - 1.18) + 12 * (ro_std - 0.14) - 0.16 * (caking - 75)
           + 0.003 * np.maximum(0, 72 - caking) ** 2 - 0.35 * (coking_h - 22) - 0.03 * (flue_c - 1255) + rng.normal(0, 1.0, n))
    csr = 64.5 - 1.12 * (cri - 26) + 0.10 * (caking - 75) - 0.9 * (ash - 9.6) + rng.normal(0, 1.3, n)
    m40 = (84.5 + 0.14 * (caking - 75) - 0.012 * np.maximum(0, 74 - caking) ** 2 + 0.25 * (layer - 16) - 0.9 * (ash - 9.6) - 0.35 * (vdaf - 27)
           - 0.35 * (moisture - 10.2) + 0.08 * (fineness - 76) - 0.02 * (fineness - 76) ** 2 + 0.35 * (coking_h - 22) + rng.normal(0, 0.8, n))
    return x, np.stack([cri, csr, m40], 1)


def main():
    app = App("coke-quality")
    columns = app.manifest["pipeline"]["pre"]["columns"]["names"]
    x, y = make(np.random.default_rng(SEED), 2600)
    xt, yt = make(np.random.default_rng(SEED + 1), 600)
    items = app.manifest["pipeline"]["post"][0]["values"]["items"]
    scale, offset = np.array([i["scale"] for i in items]), np.array([i["offset"] for i in items])
    net = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(24,), alpha=2.0, solver="lbfgs", max_iter=600, random_state=SEED))
    net.fit(x, (y - offset) / scale)
    scaler, layers = net[0], net[1]
    graph = Graph("coke-quality")
    z = graph.node("Div", graph.node("Sub", "x", graph.f32(scaler.mean_)), graph.f32(scaler.scale_))
    graph.node("Identity", mlp(graph, z, layers), out="quality")
    app.save_model(graph.model({"x": [1, len(columns)]}, {"quality": [1, 3]}))
    guess = np.array([app.run.run(None, {"x": row[None].astype(np.float32)})[0][0] for row in xt]) * scale + offset
    for i, item in enumerate(items):
        mae, trivial = np.abs(guess[:, i] - yt[:, i]).mean(), np.abs(y[:, i].mean() - yt[:, i]).mean()
        app.metric(f"mae-{item['id']}", mae, trivial, "留出的 600 个合成配煤样；基线为总是给出训练均值", "600 held-out synthetic blends; baseline always answers the training mean")
    r2 = 1 - ((guess - yt) ** 2).sum(0) / ((yt - yt.mean(0)) ** 2).sum(0)
    app.metric("r2", r2.mean(), 0.0, "留出的 600 个合成配煤样，三项平均", "600 held-out synthetic blends, mean of the three")
    gx, gy = make(np.random.default_rng(SEED + 2), 8)
    app.golden([("blend", csv_bytes(columns, [a], 3), {"values": {it["id"]: [round(float(v), 2), e] for it, v, e in zip(items, b, (2.5, 3.5, 2.0))}})
                for a, b in zip(gx, gy)], 8)
    limits = [(18, 36), (50, 75), (74, 92)]
    card = Canvas()
    card.head(app.manifest["title"], "MLP 12-24-3")
    colors = [AMBER, GREEN, STEEL]
    for i, item in enumerate(items):
        box = (100 + i * 400, 250, 420 + i * 400, 570)
        card.frame(box, f"{item['text']['zh']}  R² {r2[i]:.2f}")
        card.line(box, limits[i], limits[i], limits[i], limits[i], MUTED, 2)
        card.dots(box, yt[:350, i], guess[:350, i], limits[i], limits[i], colors[i], 3)
        card.ticks(box, limits[i], limits[i], 4, 4)
    card.text((640, 650), "横轴：化验值（合成）　纵轴：预测值　Measured (synthetic) against predicted", 20, MUTED, anchor="mm")
    card.save(app.folder / "media/cover.png")
    card = Canvas()
    card.head({"zh": "灰成分催化指数 MCI 对 CRI 的影响", "en": "Effect of the ash catalytic index MCI on CRI"})
    box, base, grid = (130, 220, 1200, 620), x.mean(0), np.linspace(1.2, 4.0, 60)
    for ro, color in ((1.05, RED), (1.20, GREEN), (1.35, STEEL)):
        rows = np.repeat(base[None], 60, 0)
        rows[:, 5], rows[:, 6], rows[:, 1] = grid, ro, 27 - 17 * (ro - 1.18)
        curve = np.array([app.run.run(None, {"x": r[None].astype(np.float32)})[0][0][0] for r in rows]) * scale[0] + offset[0]
        if ro == 1.05:
            card.frame(box, "CRI / %")
            card.ticks(box, (1.2, 4.0), (20, 36), 7, 4)
        card.line(box, grid, curve, (1.2, 4.0), (20, 36), color, 4)
        card.text((1000 if ro > 1.3 else 760 if ro > 1.1 else 520, 660), f"● Ro = {ro:.2f} %", 22, color)
    card.text((130, 660), "MCI / %", 22, MUTED)
    card.save(app.folder / "media/influence.png", 150_000)
    app.finish()


if __name__ == "__main__":
    main()
