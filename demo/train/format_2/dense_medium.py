"""Clean coal's ash of a dense-medium cyclone in half an hour, and the density for each wanted ash, from two hours of readings."""
import warnings

from places import *
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor

warnings.filterwarnings("ignore", category=ConvergenceWarning)
STEPS, AHEAD, LAG = 24, 6, 4                    # rows of 5 minutes; the ash gauge sees coal that was separated 20 minutes ago
COLUMNS = ["density", "feed_ash", "pressure", "magnetics", "product_ash"]
MEAN, STD = np.array([1.45, 28.0, 160.0, 260.0, 10.0]), np.array([0.05, 4.0, 15.0, 50.0, 1.0])
WANTED = [9.5, 10.0, 10.5]
F = np.float32


def record(rng):
    """Rows of two hours, the ash in half an hour at the present density, and the densities that would give WANTED."""
    n = STEPS + AHEAD + LAG
    t = np.arange(n)
    density = rng.uniform(1.38, 1.52) + np.cumsum(rng.normal(0, 0.0015, n))
    for _ in range(rng.integers(0, 3)):                                 # the operator sets it anew
        density[int(rng.integers(0, STEPS)):] += rng.normal(0, 0.02)
    density[STEPS:] = density[STEPS - 1]
    level = rng.uniform(20, 36)
    feed = level + 1.2 * np.sin(t / rng.uniform(6, 20) + rng.uniform(0, 6)) + np.cumsum(rng.normal(0, 0.2, n))
    if rng.random() < 0.3:                                              # coal of another face comes
        feed[int(rng.integers(0, n)):] += rng.normal(0, 4)
    near = rng.uniform(0.6, 1.5)                                        # how much coal is near the density: the washability
    inherent = rng.uniform(6.4, 8.2)
    press = 160 + 9 * rng.normal() + np.cumsum(rng.normal(0, 1.5, n))
    slimes = 260 + 40 * rng.normal() + np.cumsum(rng.normal(0, 3, n))
    slope = 11 * near

    def ash(rho, k):
        cut = rho + 0.0004 * (press[k] - 160) - 0.00012 * (slimes[k] - 260)
        return inherent + 0.07 * (feed[k] - 20) + slope * (cut - 1.32) + 25 * np.clip(cut - 1.44, 0, None) ** 2 * near

    product = np.array([ash(density[max(0, k - LAG)], max(0, k - LAG)) for k in range(n)]) + rng.normal(0, 0.12, n)
    rows = np.stack([density, feed + rng.normal(0, 0.5, n), press, slimes, product], 1)
    last = STEPS + AHEAD - 1
    grid = np.linspace(1.30, 1.62, 321)
    curve = np.array([ash(r, last) for r in grid])
    rho = [float(np.interp(w, curve, grid)) for w in WANTED]
    return rows[:STEPS], np.array([ash(density[last], last), *rho])


def make(rng, count):
    pairs = [record(rng) for _ in range(count)]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def scaled(x):
    return ((x - MEAN) / STD).astype(F).reshape(len(x), -1)


def cyclones():
    """Two dense-medium cyclones with pipes, a tank and a walkway in a washing plant."""
    def furnish(s, rng):
        steel = (0.26, 0.28, 0.30)
        for x, z in ((-1.2, 4.2), (2.2, 6.0)):
            for k in range(7):                                          # a cone of rings, lying askew
                a, b = np.array([x + 0.28 * k, 2.9 - 0.26 * k, z]), np.array([x + 0.28 * k + 0.16, 2.9 - 0.26 * k - 0.15, z])
                s.capsule(a, b, 0.62 - 0.07 * k, (0.12, 0.24, 0.34), 0.5, bump=0.03)
            s.capsule((x - 0.3, 3.1, z), (x - 0.6, 3.4, z), 0.30, steel, 0.6)
            s.capsule((x - 0.5, 3.3, z), (x - 0.5, 6.6, z), 0.13, steel, 0.6)
            s.capsule((x + 1.9, 1.2, z), (x + 1.9, 0.2, z), 0.2, steel, 0.5)
            for dx, dz in ((-0.6, -0.6), (1.7, -0.6), (-0.6, 0.6), (1.7, 0.6)):
                s.capsule((x + dx, 0, z + dz), (x + dx, 2.4, z + dz), 0.06, (0.42, 0.30, 0.06), 0.3)
            s.box((x + 0.5, 2.35, z), (1.3, 0.05, 0.75), 0, (0.30, 0.30, 0.28), 0.3)
        s.capsule((5.4, 0.2, 8.5), (5.4, 3.6, 8.5), 1.5, (0.20, 0.30, 0.28), 0.4, bump=0.04)
        s.capsule((-5.2, 0.1, 9.0), (-5.2, 4.4, 9.0), 1.2, (0.32, 0.32, 0.30), 0.4, bump=0.05)
        for y, color in ((5.3, (0.10, 0.22, 0.36)), (4.9, (0.36, 0.30, 0.08)), (4.5, (0.30, 0.31, 0.32))):
            s.capsule((-8, y, 10.5 - y * 0.2), (8, y, 10.5 - y * 0.2), 0.12, color, 0.5)
        rail(s, (-6, 2.0), (6, 2.0))
        person(s, rng, (-2.8, 0, 3.0), 0.9, lamp=False)
    return hall(23, furnish)


def main():
    x, y = make(np.random.default_rng(101), 12000)
    tx, ty = make(np.random.default_rng(102), 1500)
    line = Ridge(1.0).fit(scaled(x), y)
    rest = y - line.predict(scaled(x))           # the net learns what is not linear
    std = rest.std(0)
    net = MLPRegressor(hidden_layer_sizes=(48, 24), alpha=0.3, max_iter=60, early_stopping=True, random_state=1).fit(scaled(x), rest / std)
    pack = Pack("dense-medium")
    g = Graph("dense-medium")
    flat = g.node("Reshape", "window", g.i64([1, STEPS * 5]))
    straight = g.node("Gemm", flat, g.f32(line.coef_.T), g.f32(line.intercept_))
    g.node("Add", straight, g.node("Mul", mlp(g, flat, net), g.f32(std[None])), out="advice")
    run = pack.save_model(g.model({"window": [1, STEPS, 5]}, {"advice": [1, 4]}))
    p = np.concatenate([run.run(None, {"window": w.reshape(1, STEPS, 5)})[0] for w in scaled(tx)])
    q = line.predict(scaled(tx))
    gauge = tx[:, -1, 4]
    words = "留出的 1500 段合成记录", "1,500 held-out synthetic records"
    mae = lambda a, b: np.abs(a - b).mean()
    pack.metric("mae-ash", mae(p[:, 0], ty[:, 0]), mae(gauge, ty[:, 0]), words[0] + "，半小时后精煤灰分绝对误差（%）；基线为灰分仪当前读数", words[1] + ", mean absolute error of ash (%) in half an hour; baseline is the gauge's reading")
    # what operators do: correct the present density by the gauge's error at the mean slope of ash over density
    slope = np.polyfit(x[:, -1, 0] - x[:, :, 0].mean(1), x[:, -1, 4] - x[:, :, 4].mean(1), 1)[0]
    rule = tx[:, -1, 0] + (10.0 - gauge) / max(4.0, slope)
    pack.metric("mae-density", mae(p[:, 2], ty[:, 2]), mae(rule, ty[:, 2]), words[0] + "，灰分 10% 所需密度的绝对误差（kg/L）；基线为按灰分仪偏差修正当前密度", words[1] + ", mean absolute error of the density for 10 % ash (kg/L); baseline corrects the present density by the gauge")
    pack.metric("mae-density-linear", mae(p[:, 2], ty[:, 2]), mae(q[:, 2], ty[:, 2]), words[0] + "，同上；基线为岭回归，网络在它之上只多出非线性的部分", words[1] + ", the same; baseline is ridge regression, to which the net adds what is not linear")
    rng, kept = np.random.default_rng(103), {}
    while len(kept) < 3:
        r, v = record(rng)
        name = "high-ash" if v[0] > 11.2 and v[0] - r[-1, 4] > 0.5 else "steady" if abs(v[0] - 10) < 0.15 and abs(r[-1, 4] - 10) < 0.2 else "low-ash" if v[0] < 9.2 else ""
        if name and name not in kept:
            kept[name] = (r, v)
    order = [(n, *kept[n]) for n in ("high-ash", "steady", "low-ash")]
    pack.golden([(n, csv_bytes(["minute"] + COLUMNS, np.column_stack([np.arange(STEPS) * 5 - STEPS * 5 + 5, r]), 4), "csv", {"values": {"ash_30min": [round(float(v[0]), 2), 0.5], "density_100": [round(float(v[2]), 3), 0.02]}}) for n, r, v in order])

    def draw(pack, results):
        c = Cover(cyclones())
        c.title(pack.m["title"], "kg/L")
        c.panel((40, 400, 640, 706))
        r, told = order[0][1], {k["id"]: k["value"] for k in results[0]["values"]}
        box, lim = (110, 446, 600, 660), (8, 13)
        t = np.arange(STEPS) * 5 - 115
        c.line(box, t, r[:, 4], (-115, 30), lim, "#59b3d6")
        c.dots(box, [30], [told["ash_30min"]], (-115, 30), lim, AMBER, 9)
        c.dots(box, [30], [order[0][2][0]], (-115, 30), lim, PAPER, 5)
        c.ticks(box, (-115, 30), lim, 5, 5)
        c.text((110, 408), "精煤灰分 %（蓝）与半小时后（橙：预测，白：实际）", 19, MUTED)
        c.panel((670, 520, 1240, 706))
        c.text((700, 536), f"当前密度 {r[-1, 0]:.3f}", 24, MUTED)
        for k, w in enumerate(("095", "100", "105")):
            c.text((700, 574 + 42 * k), f"灰分 {WANTED[k]:.1f}% → 密度 {told['density_' + w]:.3f} kg/L", 26, AMBER if k == 1 else PAPER)
        d = Canvas()
        d.head({"zh": "灰分预测与实际", "en": "Ash as told and as it came"}, f"MAE {mae(p[:, 0], ty[:, 0]):.2f} %")
        for k, (v, name, col) in enumerate(((gauge, "灰分仪当前读数 gauge now", MUTED), (p[:, 0], "半小时预测 forecast", AMBER))):
            box = (120 + k * 600, 210, 600 + k * 600, 620)
            d.frame(box, name)
            d.line(box, [7, 14], [7, 14], (7, 14), (7, 14), SLATE, 2)
            d.dots(box, ty[:700, 0], v[:700], (7, 14), (7, 14), col, 3)
            d.ticks(box, (7, 14), (7, 14), 7, 7)
        return [("cover.jpg", c.image, "合成的重介旋流器车间，前面是灰分趋势和建议密度", "A rendered dense-medium plant, in front of it the trend of ash and the densities advised"),
                ("scatter.jpg", d.image, "半小时后灰分与灰分仪读数、预测值的散点", "Ash in half an hour against the gauge and the forecast")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
