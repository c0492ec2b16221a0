"""Ash of clean coal from plant readings of which some are missing: gradient boosted trees that know what NaN means."""
import warnings

from packs import *
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

warnings.filterwarnings("ignore")
import skl2onnx.common._container as _container  # noqa: E402

_make = _container.make_node  # skl2onnx 1.20 hands booleans to onnx, which wants whole numbers
_container.make_node = lambda op, i, o, **k: _make(op, i, o, **{n: [int(b) for b in v] if isinstance(v, list) and any(isinstance(b, (bool, np.bool_)) for b in v) else v for n, v in k.items()})
NAMES = ["raw_ash", "medium_density", "density_setpoint", "cyclone_pressure", "magnetics", "feed_rate", "fines_share", "medium_level", "raw_gauge_age"]
GAPS = {"raw_ash": 0.18, "magnetics": 0.10, "fines_share": 0.25, "cyclone_pressure": 0.05}


def make(rng, n):
    raw = np.clip(rng.normal(29, 5.5, n), 14, 48)
    setpoint = np.clip(1.36 + 0.0030 * (34 - raw) + rng.normal(0, 0.032, n), 1.30, 1.60)
    density = setpoint + rng.normal(0, 0.008, n) + rng.choice([0, 0.03], n, p=[0.93, 0.07])
    pressure = np.clip(rng.normal(0.115, 0.012, n), 0.07, 0.16)
    magnetics = np.clip(rng.normal(78, 6, n), 50, 95)
    feed = np.clip(rng.normal(420, 70, n), 150, 620)
    fines = np.clip(rng.normal(0.22, 0.06, n) + 0.003 * (raw - 29), 0.06, 0.5)
    level = np.clip(rng.normal(62, 12, n), 10, 98)
    age = rng.integers(0, 60, n).astype(float)
    cut = density + 0.35 * (pressure - 0.115) + 0.0006 * (78 - magnetics)
    wide = 0.022 + 0.00011 * np.clip(feed - 460, 0, None) + 0.0005 * np.clip(70 - magnetics, 0, None) + 0.0012 * np.clip(25 - level, 0, None)
    ash = 8.6 + 26 * (cut - 1.40) + 0.15 * (raw - 29) + 160 * (wide - 0.022) + 5.5 * np.clip(fines - 0.2, 0, None) + 32 * np.clip(cut - 1.42, 0, None) * (raw > 30)
    y = np.clip(ash + rng.normal(0, 0.22, n), 5.5, 19)
    x = np.stack([raw + rng.normal(0, 0.3, n) * (1 + age / 30), density + rng.normal(0, 0.001, n), setpoint, pressure, magnetics, feed, fines, level, age], 1)
    for c, p in GAPS.items():
        x[rng.random(n) < p, NAMES.index(c)] = np.nan
    x[rng.random(n) < 0.04, 6:8] = np.nan
    return x.astype(np.float32), y


def main():
    x, y = make(np.random.default_rng(31), 5000)
    tx, ty = make(np.random.default_rng(32), 1500)
    net = HistGradientBoostingRegressor(max_iter=150, max_leaf_nodes=14, learning_rate=0.08, min_samples_leaf=25, l2_regularization=1.0, random_state=1).fit(x, y)
    line = make_pipeline(SimpleImputer(), LinearRegression()).fit(x, y)
    model = to_onnx(net, x[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    pack = Pack("ash-soft-sensor")
    run = pack.save_model(pin(model))
    p = run.run(None, {run.get_inputs()[0].name: tx})[0][:, 0]
    if np.abs(p - net.predict(tx)).max() > 1e-3:
        raise SystemExit("the exported trees say something else")
    words = "留出的 1500 行合成数据（约四成有缺测）", "1,500 held-out synthetic rows, some four in ten with gaps"
    pack.metric("mae-ash", np.abs(p - ty).mean(), np.abs(line.predict(tx) - ty).mean(), words[0] + "，灰分绝对误差（%）；基线为均值填补后的线性回归", words[1] + ", mean absolute error in % ash; baseline is linear regression with means for gaps")
    pack.metric("mae-against-mean", np.abs(p - ty).mean(), np.abs(y.mean() - ty).mean(), words[0] + "；基线总答平均灰分", words[1] + "; baseline always answers the mean")
    gap = np.isnan(tx).any(1)
    pack.metric("mae-with-gaps", np.abs(p - ty)[gap].mean(), np.abs(line.predict(tx) - ty)[gap].mean(), f"其中 {gap.sum()} 行有缺测；基线同第一项", f"the {gap.sum()} rows with gaps; baseline as in the first line")
    cx, cy = make(np.random.default_rng(33), 600)
    gaps = np.isnan(cx).sum(1)
    pick = [("high", np.flatnonzero((gaps == 0) & (cy > 10.8))[0]), ("normal", np.flatnonzero((gaps == 0) & (np.abs(cy - 8.8) < 0.3))[0]),
            ("no-gauge", np.flatnonzero(np.isnan(cx[:, 0]) & (np.abs(cy - 9) < 0.5))[0]), ("many-gaps", np.flatnonzero(gaps >= 3)[0])]
    row = lambda r: (",".join(NAMES) + "\n" + ",".join("" if np.isnan(v) else f"{v:.4f}".rstrip("0").rstrip(".") for v in r) + "\n").encode()
    pack.golden([(n, row(cx[i]), "csv", {"values": {"ash": [round(float(cy[i]), 2), 0.8]}}) for n, i in pick])

    def draw(pack, results):
        c = Canvas()
        c.head(pack.m["title"], f"MAE {np.abs(p - ty).mean():.2f} %")
        for k, (g, name, col) in enumerate(((line.predict(tx), "线性回归 linear regression", MUTED), (p, "本应用 this app", AMBER))):
            box = (120 + k * 600, 210, 600 + k * 600, 620)
            c.frame(box, name)
            c.line(box, [5, 17], [5, 17], (5, 17), (5, 17), SLATE, 2)
            for a, b, m in zip(ty[:900], g[:900], gap[:900]):
                X, Y = box[0] + (a - 5) / 12 * (box[2] - box[0]), box[3] - (b - 5) / 12 * (box[3] - box[1])
                if box[0] < X < box[2] and box[1] < Y < box[3]:
                    c.draw.ellipse([X - 3, Y - 3, X + 3, Y + 3], fill="#59b3d6" if m else col)
            c.ticks(box, (5, 17), (5, 17), 4, 4)
        c.text((120, 668), "横轴：化验灰分 %   纵轴：估计灰分 %   蓝点：有缺测的行", 20, MUTED)
        d = Canvas()
        d.head({"zh": "缺测时的误差", "en": "Error where readings are missing"}, "MAE % ash")
        for i, name in enumerate(["raw_ash", "magnetics", "fines_share", "cyclone_pressure"]):
            m = np.isnan(tx[:, NAMES.index(name)])
            y0 = 210 + i * 110
            d.text((90, y0), f"{name} —  {m.sum()} 行", 24)
            for k, (g, col) in enumerate(((p, AMBER), (line.predict(tx), MUTED))):
                v = np.abs(g - ty)[m].mean()
                d.draw.rectangle([90, y0 + 38 + 24 * k, 90 + 900 * min(1, v / 1.2), y0 + 56 + 24 * k], fill=col)
                d.text((100 + 900 * min(1, v / 1.2), y0 + 47 + 24 * k), f"{v:.2f}", 19, col, anchor="lm")
        return [("cover.jpg", c.image, "估计灰分与化验灰分的散点，旁为线性回归", "Estimated against assayed ash, beside linear regression"), ("gaps.jpg", d.image, "四个测点分别缺测时的误差", "Errors where each of four readings is missing")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
