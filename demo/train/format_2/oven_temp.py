"""Temperature of the heating walls half a shift ahead from one row with texts: an exported ColumnTransformer pipeline, an input a column."""
import warnings

import pandas
from packs import *
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

warnings.filterwarnings("ignore")
NUMBERS = ["wall_temp", "gas_flow", "gas_heat", "flue_suction", "coal_moisture", "coking_hours", "outside_temp"]
TEXTS = ["battery", "coal_blend", "weather"]


def make(rng, n):
    d = pandas.DataFrame({
        "wall_temp": rng.normal(1285, 22, n), "gas_flow": rng.normal(11.2, 1.0, n), "gas_heat": rng.normal(17.6, 0.5, n), "flue_suction": rng.normal(205, 18, n),
        "coal_moisture": np.clip(rng.normal(9.8, 1.1, n), 6, 15), "coking_hours": rng.normal(19.5, 1.4, n), "outside_temp": rng.normal(12, 11, n),
        "battery": rng.choice(["1#", "2#", "3#"], n, p=[0.4, 0.35, 0.25]), "coal_blend": rng.choice(["A", "B", "C", "D"], n, p=[0.4, 0.3, 0.2, 0.1]),
        "weather": rng.choice(["晴", "阴", "雨", ""], n, p=[0.45, 0.3, 0.17, 0.08])})
    heat = 3.4 * (d.gas_flow * d.gas_heat / 17.6 - 11.2) * 2.2
    heat -= 0.012 * (d.flue_suction - 205) ** 2
    load = (3.1 + np.where(d.battery == "3#", 2.0, 0) + np.where(d.coal_blend == "C", 2.5, 0)) * (d.coal_moisture - 9.8) * (19.5 / d.coking_hours) ** 2
    blend = d.coal_blend.map({"A": 0, "B": 2.5, "C": -4.0, "D": 6.0})
    lean = d.battery.map({"1#": 0, "2#": -3.0, "3#": 4.0}) + np.where(d.battery == "3#", -0.12, 0) * (d.wall_temp - 1285)
    rain = np.where(d.weather == "雨", -5.0 - 0.35 * np.clip(10 - d.outside_temp, 0, None), 0)
    y = d.wall_temp + heat - load + blend + lean + rain - 0.10 * (12 - d.outside_temp) - 0.10 * (d.wall_temp - 1285) + rng.normal(0, 2.6, n)
    d.loc[rng.random(n) < 0.12, "gas_heat"] = np.nan
    d.loc[rng.random(n) < 0.06, "coal_moisture"] = np.nan
    d[NUMBERS] = d[NUMBERS].astype(np.float32)
    return d, y.to_numpy()


def pipeline(last):
    return Pipeline([("columns", ColumnTransformer([("n", SimpleImputer(strategy="median"), NUMBERS), ("t", OneHotEncoder(handle_unknown="ignore"), TEXTS)])), ("model", last)])


def main():
    d, y = make(np.random.default_rng(41), 5000)
    t, ty = make(np.random.default_rng(42), 1200)
    shift = lambda f: np.asarray(f["wall_temp"], float)
    net = pipeline(GradientBoostingRegressor(n_estimators=170, max_depth=4, learning_rate=0.09, subsample=0.8, random_state=1)).fit(d, y)
    line = pipeline(LinearRegression()).fit(d, y)
    kinds = [(c, FloatTensorType([None, 1])) for c in NUMBERS] + [(c, StringTensorType([None, 1])) for c in TEXTS]
    model = to_onnx(net, initial_types=kinds, target_opset={"": 17, "ai.onnx.ml": 3})
    pack = Pack("oven-temp")
    run = pack.save_model(pin(model))
    feed = {c: t[c].to_numpy().reshape(-1, 1).astype(np.float32) for c in NUMBERS} | {c: t[c].to_numpy().astype(object).reshape(-1, 1) for c in TEXTS}
    p = run.run(None, feed)[0][:, 0]
    words = "留出的 1200 行合成数据", "1,200 held-out synthetic rows"
    pack.metric("mae-wall", np.abs(p - ty).mean(), np.abs(shift(t) - ty).mean(), words[0] + "，四小时后直行温度绝对误差（°C）；基线为当前温度不变", words[1] + ", mean absolute error in °C in four hours; baseline is that the temperature stays")
    pack.metric("mae-against-linear", np.abs(p - ty).mean(), np.abs(line.predict(t) - ty).mean(), words[0] + "；基线为同样预处理的线性回归", words[1] + "; baseline is linear regression after the same preparation")
    g, gy = make(np.random.default_rng(43), 800)
    full = ~g.isna().any(axis=1) & (g.weather != "")
    pick = [("cold", np.flatnonzero(full & (gy < 1250) & (g.weather == "雨"))[0]), ("steady", np.flatnonzero(full & (np.abs(gy - 1288) < 4) & (np.abs(g.wall_temp - 1288) < 8))[0]),
            ("hot", np.flatnonzero(full & (gy > 1325))[0]), ("gaps", np.flatnonzero(g.gas_heat.isna() & (g.weather == ""))[0])]
    cell = lambda v: "" if isinstance(v, float) and np.isnan(v) else v if isinstance(v, str) else f"{v:.2f}"
    row = lambda i: (",".join(TEXTS + NUMBERS) + "\n" + ",".join(cell(v if isinstance(v, str) else float(v)) for v in g.iloc[i][TEXTS + NUMBERS]) + "\n").encode()
    pack.golden([(n, row(i), "csv", {"values": {"wall_next": [round(float(gy[i]), 1), 8.0]}}) for n, i in pick])

    def draw(pack, results):
        c = Canvas()
        c.head(pack.m["title"], f"MAE {np.abs(p - ty).mean():.1f} °C")
        for k, (q, name, col) in enumerate(((shift(t), "保持不变 stays as it is", MUTED), (p, "本应用 this app", AMBER))):
            box = (120 + k * 600, 210, 600 + k * 600, 620)
            c.frame(box, name)
            c.line(box, [1200, 1370], [1200, 1370], (1200, 1370), (1200, 1370), SLATE, 2)
            for a, b in zip(ty[:900], q[:900]):
                X, Y = box[0] + (a - 1200) / 170 * (box[2] - box[0]), box[3] - (b - 1200) / 170 * (box[3] - box[1])
                if box[0] < X < box[2] and box[1] < Y < box[3]:
                    c.draw.ellipse([X - 3, Y - 3, X + 3, Y + 3], fill=col)
            c.ticks(box, (1200, 1370), (1200, 1370), 5, 4)
        c.text((120, 668), "横轴：四小时后实际 °C   纵轴：估计 °C", 20, MUTED)
        e = Canvas()
        e.head({"zh": "各炉组与天气下的误差", "en": "Error by battery and weather"}, "MAE °C")
        rows = [(f"{b} {w or '（空）'}", np.abs(p - ty)[(t.battery == b) & (t.weather == w)].mean(), np.abs(shift(t) - ty)[(t.battery == b) & (t.weather == w)].mean()) for b in ("1#", "2#", "3#") for w in ("晴", "雨", "")]
        for i, (name, a, b) in enumerate(rows):
            y0 = 190 + i * 54
            e.text((90, y0 + 8), name, 22)
            for k, (v, col) in enumerate(((a, AMBER), (b, MUTED))):
                e.draw.rectangle([240, y0 + 6 + 18 * k, 240 + 880 * min(1, v / 22), y0 + 20 + 18 * k], fill=col)
            e.text((1224, y0 + 22), f"{a:.1f} / {b:.1f}", 19, MUTED, anchor="rm")
        return [("cover.jpg", c.image, "四小时后炉温估计与实际的散点，旁为保持不变的推断", "Estimated against real temperature, beside the guess that it stays"), ("groups.jpg", e.image, "按炉组与天气分组的误差，橙为本应用，灰为保持不变", "Error by battery and weather; orange is this app")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
