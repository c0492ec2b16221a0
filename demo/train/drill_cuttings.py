"""drill-cuttings: level of rock-burst danger from one relief/monitoring hole (gradient-boosted trees through skl2onnx)."""

import os
import sys

if __name__ == "__main__" and os.environ.get("PYTHONHASHSEED") != "0":
    # skl2onnx walks sets: without a fixed hash seed the same trees come out as other bytes.
    os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ, PYTHONHASHSEED="0"))

from common import *
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier

SEED = 401
METRES = 10


def make(rng, n):
    """A 42 mm hole, weighed metre by metre. Cuttings grow where the abutment stress closes the hole; the level is the
    hidden state (stress at its peak, how near the peak is to the rib, how burst-prone the coal is), not the cuttings."""
    depth = rng.uniform(350, 1150, n)
    seam = rng.uniform(1.8, 7.5, n)
    strength = rng.normal(16, 4, n).clip(6, 30)  # uniaxial compressive strength of the coal, MPa
    moisture = rng.normal(3.2, 1.1, n).clip(0.6, 8)
    factor = 1.2 + rng.gamma(2.2, 0.55, n)  # stress concentration
    peak = rng.uniform(2.5, 11, n) * (0.7 + 0.06 * seam)  # distance of the peak from the rib, m
    stress = 0.025 * depth * factor
    metre = np.arange(1, METRES + 1)
    local = 0.025 * depth[:, None] * (0.6 + (factor[:, None] - 0.6) * np.exp(-((metre - peak[:, None]) / 2.6) ** 2))
    ratio = local / strength[:, None]
    normal = 1.9 + 0.04 * metre
    cuttings = normal * (1 + 0.42 * np.maximum(0, ratio - 0.9) ** 1.4) * (1 - 0.02 * (moisture[:, None] - 3)) * rng.lognormal(0, 0.11, (n, METRES))
    lost = rng.random((n, METRES)) < 0.02  # a bag that was spilt
    cuttings = np.where(lost, cuttings * 0.5, cuttings).clip(0.8, 14)
    hazard = stress / strength * (1 + 0.018 * (strength - 16)) * (1.25 - 0.055 * np.minimum(peak / seam * 2.2, 10)) * (1 - 0.04 * (moisture - 3.2))
    hazard = hazard * rng.lognormal(0, 0.08, n)
    level = np.digitize(hazard, [1.75, 2.6, 3.6])
    sounds = rng.poisson(np.maximum(0.05, 1.3 * (hazard - 1.6).clip(0)))
    sticking = (rng.random(n) < 1 / (1 + np.exp(-(ratio.max(1) - 3.6) * 1.8))).astype(float)
    x = np.concatenate([depth[:, None], seam[:, None], strength[:, None], moisture[:, None], cuttings, sounds[:, None], sticking[:, None]], 1)
    return np.round(x, 2).astype(np.float32), level


def code_rule(x):
    """The rule on site: index = kg/m over normal kg/m, critical value by hole depth over seam height (1.5, 2 to 3, 4)."""
    metre = np.arange(1, METRES + 1)
    index = x[:, 4:14] / (1.9 + 0.04 * metre)
    bound = np.select([metre / x[:, 1:2] < 1.5, metre / x[:, 1:2] <= 3], [1.5, 2.5], 4.0)
    return np.digitize((index / bound).max(1), [0.8, 1.0, 1.35])


def main():
    app = App("drill-cuttings")
    columns = app.manifest["pipeline"]["pre"]["columns"]["names"]
    labels = app.labels()
    x, y = make(np.random.default_rng(SEED), 5000)
    xt, yt = make(np.random.default_rng(SEED + 1), 1000)
    net = GradientBoostingClassifier(n_estimators=70, max_depth=3, learning_rate=0.12, subsample=0.7, random_state=SEED).fit(x, y)
    model = convert_sklearn(net, "cuttings", [("x", FloatTensorType([1, len(columns)]))], options={"zipmap": False},
                            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET})
    label = [o.name for o in model.graph.output if o.name != "probabilities"]
    for output in [o for o in model.graph.output if o.name in label]:
        model.graph.output.remove(output)
    used = {"probabilities"}  # keep only what the probabilities need
    for node in reversed(list(model.graph.node)):
        if used & set(node.output):
            used |= set(node.input)
        else:
            model.graph.node.remove(node)
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    for i, d in enumerate((1, 4)):
        model.graph.output[0].type.tensor_type.shape.dim[i].dim_value = d
    app.save_model(pin(model))
    p = np.array([app.run.run(None, {"x": r[None]})[0][0] for r in xt])
    guess = p.argmax(1)
    data = ("留出的 1000 个合成钻孔", "1,000 held-out synthetic holes")
    most = np.bincount(y).argmax()
    app.metric("accuracy", (guess == yt).mean(), (yt == most).mean(), data[0] + "；基线为总答最多的一级", data[1] + "; baseline always answers the most frequent level")
    app.metric("macro-f1", macro_f1(yt, guess, 4), macro_f1(yt, code_rule(xt), 4), data[0] + "；基线为仅按钻粉率指数临界值判定", data[1] + "; baseline is the critical-index rule on the cuttings alone")
    danger = yt >= 2
    app.metric("recall-medium-strong", (guess[danger] >= 2).mean(), (code_rule(xt)[danger] >= 2).mean(), data[0] + "中的中等和强危险孔；基线同上", "the medium and strong holes among them; baseline as above")
    gx, gy = make(np.random.default_rng(SEED + 2), 200)
    seen, pick = {k: iter(np.flatnonzero(gy == k)) for k in range(4)}, []
    for k in (0, 1, 2, 3, 0, 1, 2, 3):
        pick.append(next(seen[k]))
    app.golden([(f"hole-{labels[gy[i]]}", csv_bytes(columns, [gx[i]], 2), {"class": labels[gy[i]]}) for i in pick], 8)
    name = words(app.manifest)
    colors = [GREEN, STEEL, AMBER, RED]
    card = Canvas()
    card.head(app.manifest["title"], "GBT × 70")
    box, metre = (110, 240, 760, 610), np.arange(1, METRES + 1)
    card.frame(box, "各级危险的平均钻屑量 / kg/m　Mean cuttings by level")
    card.ticks(box, (1, 10), (0, 8), 9, 4)
    for k in range(4):
        card.line(box, metre, xt[yt == k][:, 4:14].mean(0), (1, 10), (0, 8), colors[k], 5)
        card.text((120 + k * 165, 662), f"● {name[labels[k]]}", 22, colors[k])
    i = pick[3]
    card.text((840, 206), "强危险孔一例  A strong-danger hole", 21, MUTED)
    card.bars((840, 250, 1220, 610), [name[v] for v in labels], net.predict_proba(gx[i:i + 1])[0], colors)
    card.save(app.folder / "media/cover.png")
    card = Canvas()
    card.head({"zh": "混淆矩阵（行为真值）", "en": "Confusion matrix (rows are the truth), 1,000 held-out holes"})
    card.confusion((430, 180), (150, 110), [name[v] for v in labels], truth_matrix(yt, guess, 4))
    card.save(app.folder / "media/confusion.png", 150_000)
    app.finish()


if __name__ == "__main__":
    main()
