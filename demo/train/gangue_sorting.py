"""gangue-sorting: one stone on the sorting belt, coal, gangue or intergrown coal, from grey level, texture and gloss."""

import warnings

from common import *
from images import *
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore", category=ConvergenceWarning)
SEED, S = 801, 160


def scene(rng, kind):
    """0 coal, 1 gangue, 2 intergrown: coal with bands of stone."""
    yy, xx = np.mgrid[0:S, 0:S].astype(np.float32)
    picture = (0.10 + 0.05 * noise(rng, 40, S, S) + 0.03 * noise(rng, 5, S, S))[..., None] * np.array([1.0, 1.02, 1.05], np.float32)
    if rng.random() < 0.5:
        x = rng.uniform(0, S)
        over(picture, (0.17, 0.18, 0.18), stroke([(x, 0), (x + rng.uniform(-20, 20), S)], rng.uniform(1, 3), w=S, h=S) * 0.6)
    r = rng.uniform(42, 62)
    alpha = polygon(blob(rng, S / 2 + rng.uniform(-10, 10), S / 2 + rng.uniform(-10, 10), r, r * rng.uniform(0.68, 0.95), rng.integers(8, 13), 0.22), w=S, h=S, blur=0.6)
    over(picture, (0.015, 0.015, 0.015), np.roll(np.roll(alpha, 5, 0), 4, 1) * 0.8)
    facets = lumps(rng, rng.uniform(14, 26), S, S, base=1.0, gloss=0.0, contrast=0.38)
    fine = noise(rng, 6, S, S, 3)
    grain = rng.normal(0, 1, (S, S)).astype(np.float32)
    coal_grey = rng.uniform(0.08, 0.26)
    shine = np.clip((noise(rng, 11, S, S, 3) - rng.uniform(0.56, 0.68)) * 9, 0, 1) * rng.uniform(0.12, 0.60)  # vitrain bands glitter
    coal = (coal_grey * facets * (0.8 + 0.4 * fine) + shine * (0.4 + 0.6 * facets))[..., None] * np.array([0.98, 1.0, 1.05])
    stone_grey = rng.uniform(0.17, 0.48)
    warm = rng.choice(3, p=[0.5, 0.3, 0.2])
    tint = np.array([[1.0, 0.98, 0.95], [1.06, 0.97, 0.84], [0.95, 0.99, 1.03]][warm])
    turn = rng.uniform(0, np.pi)
    layer = 0.5 + 0.5 * np.sin((xx * np.cos(turn) + yy * np.sin(turn)) * rng.uniform(0.12, 0.4) + 5 * noise(rng, 50, S, S))
    soft = 0.45 + 0.55 * facets
    stone = (stone_grey * soft * (0.85 + 0.3 * fine) * (1 - rng.uniform(0.05, 0.3) * layer) + 0.018 * grain)[..., None] * tint
    if kind == 2:
        part = np.sin((xx * np.cos(turn) + yy * np.sin(turn)) * rng.uniform(0.07, 0.14) + 2.5 * noise(rng, 60, S, S) + rng.uniform(0, 6.28)) + rng.uniform(-0.35, 0.35)
        mix = np.clip(part * 5 + 0.5, 0, 1)
        body = coal * (1 - mix[..., None]) + stone * mix[..., None]
    else:
        body = coal if kind == 0 else stone
    if rng.random() < 0.4:  # coal slime sticks to it
        slime = np.clip((noise(rng, 28, S, S) - rng.uniform(0.45, 0.65)) * 6, 0, 1) * rng.uniform(0.3, 0.85)
        over(body, (0.11, 0.11, 0.115), slime)
    if rng.random() < 0.25:  # wet: glitter on stone too
        body = body * 0.8 + (np.clip((noise(rng, 9, S, S) - 0.66) * 8, 0, 1) * 0.35)[..., None]
    lit = np.clip(1.05 - 0.35 * (xx - S / 2) / r - 0.4 * (yy - S / 2) / r, 0.45, 1.6)
    over(picture, body * lit[..., None], alpha)
    return camera(rng, picture * rng.uniform(0.8, 1.7), dust=(0, 0.25), gain=(0.85, 1.2))


def features(graph, n):
    """Block statistics of the 96 px in the middle on a 3×3 grid, plus the grey-level histogram: [n, features]."""
    x = graph.node("Slice", "x", graph.i64([32, 32]), graph.i64([128, 128]), graph.i64([2, 3]))
    luma = graph.node("Conv", x, graph.const(np.array([0.299, 0.587, 0.114], np.float32).reshape(1, 3, 1, 1)))
    kernels = [np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4, np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 4,
               np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8]
    edges = graph.node("Abs", graph.node("Conv", luma, graph.const(np.stack(kernels)[:, None].astype(np.float32)), pads=[1, 1, 1, 1]))
    steps = [graph.node("Sigmoid", graph.node("Mul", graph.node("Sub", luma, graph.f32(t)), graph.f32(30.0))) for t in np.linspace(0.06, 0.72, 12)]
    square = graph.node("Mul", luma, luma)
    parts = [graph.node("AveragePool", v, kernel_shape=[32, 32], strides=[32, 32]) for v in (x, edges, square)]
    parts.append(graph.node("MaxPool", graph.node("AveragePool", luma, kernel_shape=[2, 2], strides=[2, 2]), kernel_shape=[16, 16], strides=[16, 16]))
    flat = [graph.node("Reshape", p, graph.i64([n, -1])) for p in parts]
    flat.append(graph.node("Reshape", graph.node("ReduceMean", graph.node("Concat", *steps, axis=1), axes=[2, 3], keepdims=0), graph.i64([n, -1])))
    return graph.node("Concat", *flat, axis=1)


def main():
    app = App("gangue-sorting")
    labels = app.labels()

    def make(seed, n):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 3, n)
        return [scene(rng, k) for k in y], y

    tensor = lambda ps: np.stack([p.astype(np.float32).transpose(2, 0, 1) / np.float32(255) for p in ps])
    x, y = make(SEED, 1200)
    xt, yt = make(SEED + 1, 400)
    graph = Graph("features")
    graph.node("Identity", features(graph, 1), out="f")
    run = session(graph.model({"x": [1, 3, S, S]}, {"f": [1, None]}))
    f = np.concatenate([run.run(None, {"x": tensor([p])})[0] for p in x])
    mean, std = f.mean(0), f.std(0) + 1e-6
    net = MLPClassifier((24,), alpha=1.0, max_iter=80, batch_size=64, random_state=SEED).fit((f - mean) / std, y)
    graph = Graph("gangue-sorting")
    z = graph.node("Mul", graph.node("Sub", features(graph, 1), graph.f32(mean)), graph.f32(1 / std))
    graph.node("Identity", mlp(graph, z, net), out="logits")
    app.save_model(graph.model({"x": [1, 3, S, S]}, {"logits": [1, 3]}))
    guess = np.array([app.run.run(None, {"x": tensor([p])})[0][0].argmax() for p in xt])
    grey = lambda ps: np.array([p[40:120, 40:120].mean() for p in ps])
    g, gt = grey(x), grey(xt)
    centre = [g[y == k].mean() for k in range(3)]
    rule = np.abs(gt[:, None] - centre).argmin(1)
    zh, en = "留出的 400 张合成图像", "400 held-out synthetic pictures"
    app.metric("accuracy", (guess == yt).mean(), np.bincount(yt).max() / len(yt), f"{zh}；基线为总答同一类", f"{en}; baseline always answers one class")
    app.metric("macro-f1", macro_f1(yt, guess, 3), macro_f1(yt, rule, 3), f"{zh}；基线为仅按平均灰度判别", f"{en}; baseline judges by mean grey level alone")
    app.metric("coal-lost", (guess[yt == 0] == 1).mean(), (rule[yt == 0] == 1).mean(), f"{zh}中误判为矸石的煤；基线同上", "coal taken for gangue in the same pictures; baseline as above")
    rng = np.random.default_rng(SEED + 2)
    app.golden([(f"stone-{labels[i % 3]}", png_bytes(scene(rng, i % 3)), {"class": labels[i % 3]}) for i in range(9)], 9)
    name, colors = words(app.manifest), ["#59b3d6", AMBER, "#63c78f"]
    card = Canvas()
    card.head(app.manifest["title"], "160 × 160")
    seen = {k: [i for i in range(len(yt)) if yt[i] == k] for k in range(3)}
    for i in range(8):
        k = (0, 1, 2, 1, 1, 0, 0, 2)[i]
        j = seen[k].pop(0)
        at = (56 + (i % 4) * 298, 176 + (i // 4) * 260)
        picture = Image.fromarray(xt[j]).crop((0, 16, 160, 144)).resize((274, 219), Image.Resampling.BICUBIC)
        card.image.paste(picture, at)
        right = guess[j] == k
        card.draw.rectangle([at[0], at[1], at[0] + 273, at[1] + 218], outline=colors[guess[j]], width=4)
        card.draw.rectangle([at[0], at[1], at[0] + 112, at[1] + 34], fill=colors[guess[j]])
        card.text((at[0] + 56, at[1] + 17), name[labels[guess[j]]] + ("" if right else " ×"), 20, COAL, True, "mm")
    card.save(app.folder / "media/cover.png")
    card = Canvas()
    card.head({"zh": "混淆矩阵（行为真值）", "en": "Confusion matrix (rows are the truth), 400 held-out pictures"})
    card.confusion((430, 190), (190, 130), [name[v] for v in labels], truth_matrix(yt, guess, 3))
    card.save(app.folder / "media/confusion.png", 150_000)
    app.finish()


if __name__ == "__main__":
    main()
