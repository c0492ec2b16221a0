"""Idlers by their sound: windows of a second, spectrum and envelope spectrum as convolutions inside the graph, a small net on top."""
import wave
import warnings

from packs import *
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

warnings.filterwarnings("ignore")
RATE, LENGTH = 16000, 16000
LABELS = ["healthy", "bearing", "friction"]
F = np.float32


def pink(rng, n, slope=1.0):
    f = np.fft.rfft(rng.normal(0, 1, n))
    k = np.maximum(np.fft.rfftfreq(n) * n, 1)
    x = np.fft.irfft(f / k ** (slope / 2), n)
    return x / x.std()


def sound(rng, kind, seconds=3.0):
    n = int(RATE * seconds)
    t = np.arange(n) / RATE
    fr = rng.uniform(6, 12)                               # turns a second
    turn = 2 * np.pi * np.cumsum(fr * (1 + 0.01 * np.cumsum(rng.normal(0, 1, n)) / np.sqrt(n))) / RATE
    x = 0.5 * pink(rng, n, rng.uniform(0.8, 1.4))
    for k in range(1, 6):                                 # the shell is never quite round
        x += rng.uniform(0, 0.25) / k * np.sin(k * turn + rng.uniform(0, 6))
    for k in (1, 2, 4, 6):
        x += rng.uniform(0, 0.12) * np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6))
    if rng.random() < 0.4:                                # another machine's whine
        f = rng.uniform(300, 2500)
        x += rng.uniform(0.02, 0.14) * np.sin(2 * np.pi * f * t + 0.3 * np.sin(2 * np.pi * 3 * t))
    for _ in range(rng.integers(0, 4)):                   # lumps, splices
        at, r = rng.integers(n), rng.uniform(60, 200)
        hit = np.exp(-np.arange(n - at) / RATE * rng.uniform(15, 60)) * np.sin(2 * np.pi * r * np.arange(n - at) / RATE)
        x[at:] += rng.uniform(0.4, 1.8) * hit
    if rng.random() < 0.35:                               # falling coal: random clicks, not periodic
        for at in rng.integers(0, n - 400, rng.integers(5, 40)):
            x[at:at + 400] += rng.uniform(0.1, 0.8) * np.exp(-np.arange(400) / rng.uniform(20, 80)) * rng.normal(0, 1, 400)
    strength = np.exp(rng.uniform(np.log(0.16), np.log(1.1)))
    if kind == 1:
        rate, res, damp = fr * rng.uniform(3.2, 5.2), rng.uniform(1800, 5200), rng.uniform(250, 700)
        at = 0.0
        while at < seconds - 0.03:
            i = int(at * RATE)
            m = np.arange(min(480, n - i)) / RATE
            a = strength * rng.uniform(0.7, 1.3) * (0.65 + 0.35 * np.cos(2 * np.pi * fr * at))
            x[i:i + len(m)] += 1.6 * a * np.exp(-damp * m) * np.sin(2 * np.pi * res * m)
            at += (1 + rng.normal(0, 0.015)) / rate
    if kind == 2:
        gate = np.clip(np.sin(turn + rng.uniform(0, 6)) + rng.uniform(-0.3, 0.8), 0, None)
        rub = np.diff(pink(rng, n + 1, 0.5))
        x += strength * 0.7 * gate * rub / rub.std()
        if rng.random() < 0.75:
            f = rng.uniform(500, 2200)
            ph = 2 * np.pi * np.cumsum(f * (1 + 0.01 * np.sin(turn))) / RATE
            x += strength * 0.35 * gate * sum(np.sin(k * ph) / k for k in (1, 2, 3))
    x = x / np.abs(x).max() * rng.uniform(0.25, 0.9)
    return np.round(x * 32767) / 32768


def wav(x):
    data = io.BytesIO()
    with wave.open(data, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes((x * 32768).astype("<i2").tobytes())
    return data.getvalue()


FREQ = np.geomspace(60, 7400, 72)
BANDS = (1400, 2200, 3200, 4600, 6200)
SLOW = np.arange(4, 76, 1.5)


def features(g):
    """`x` [1, 16000] → [1, n]. The waves are made in the graph from a ramp, so the file stays small."""
    x = g.node("Reshape", "x", g.i64([1, 1, LENGTH]))

    def waves(freq, size):
        ramp = np.arange(size)[None, :] / RATE * 2 * np.pi
        phase = g.node("Mul", g.f32(np.asarray(freq)[:, None]), g.f32(ramp))
        out = []
        for op in ("Cos", "Sin"):
            w = g.node("Mul", g.node(op, phase), g.f32(np.hanning(size)[None] / size * 4))
            out.append(g.node("Reshape", w, g.i64([len(freq), 1, size])))
        return out

    def power(freq, size, hop):
        re, im = (g.node("Conv", x, w, strides=[hop]) for w in waves(freq, size))
        return g.node("Add", g.node("Mul", re, re), g.node("Mul", im, im))
    log = lambda t: g.node("Log", g.node("Add", t, g.f32(1e-9)))
    p = power(FREQ, 1024, 512)
    level = log(g.node("ReduceMean", p, axes=[2], keepdims=0))                 # [1, 72]
    least = log(g.node("ReduceMin", p, axes=[2], keepdims=0))
    level = g.node("Sub", level, g.node("ReduceMean", level, axes=[1], keepdims=1))
    spread = g.node("Sub", log(g.node("ReduceMax", p, axes=[2], keepdims=0)), least)
    e = power(BANDS, 128, 64)                                                   # [1, 5, 249]
    frames = (LENGTH - 128) // 64 + 1
    e = g.node("Sqrt", g.node("Add", e, g.f32(1e-10)))
    e = g.node("Div", e, g.node("ReduceMean", e, axes=[2], keepdims=1))
    e = g.node("Sub", e, g.f32(1.0))
    t = np.arange(frames) * 64 / RATE * 2 * np.pi
    parts = [g.node("MatMul", e, g.f32(op(t[:, None] * SLOW[None]) * np.hanning(frames)[:, None] / frames)) for op in (np.cos, np.sin)]
    env = g.node("Add", g.node("Mul", parts[0], parts[0]), g.node("Mul", parts[1], parts[1]))   # [1, 5, slow]
    best = log(g.node("ReduceMax", env, axes=[2], keepdims=0))
    mean = log(g.node("ReduceMean", env, axes=[2], keepdims=0))
    shape = log(g.node("ReduceMax", env, axes=[1], keepdims=0))
    crest = g.node("ReduceMax", e, axes=[2], keepdims=0)
    return g.node("Concat", level, spread, best, mean, g.node("Sub", best, mean), shape, crest, axis=1)


def main():
    g = Graph("features")
    g.node("Identity", features(g), out="f")
    run = session(g.model({"x": [1, LENGTH]}, {"f": [1, None]}))
    f = lambda x: np.concatenate([run.run(None, {"x": x[None, i:i + LENGTH].astype(F)})[0] for i in range(0, len(x) - LENGTH + 1, 8000)])
    rng = np.random.default_rng(11)
    clips = [(sound(rng, i % 3, 2.0), i % 3) for i in range(1050)]
    feats = [f(c) for c, _ in clips]
    x, y = np.concatenate(feats), np.concatenate([[k] * len(v) for v, (_, k) in zip(feats, clips)])
    mean, std = x.mean(0), x.std(0) + 1e-5
    net = MLPClassifier((32,), alpha=2.0, max_iter=70, early_stopping=True, random_state=1).fit((x - mean) / std, y)
    pack = Pack("idler-fault")
    g = Graph("idler-fault")
    h = g.node("Div", g.node("Sub", features(g), g.f32(mean[None])), g.f32(std[None]))
    g.node("Softmax", mlp(g, h, net), axis=1, out="probabilities")
    model = pack.save_model(g.model({"x": [1, LENGTH]}, {"probabilities": [1, 3]}))
    rng = np.random.default_rng(12)
    test = [(sound(rng, i % 3), i % 3) for i in range(360)]
    told = lambda c: np.mean([model.run(None, {"x": c[None, i:i + LENGTH].astype(F)})[0][0] for i in range(0, len(c) - LENGTH + 1, 8000)], 0)
    p = np.array([told(c) for c, _ in test])
    truth = np.array([k for _, k in test])
    guess = p.argmax(1)
    plain = lambda c: [np.log(c.std()), np.abs(c).max() / c.std(), np.log(((c - c.mean()) ** 4).mean() / c.var() ** 2), np.log(np.diff(c).std())]
    rule = LogisticRegression(max_iter=500).fit([plain(c) for c, _ in clips], [k for _, k in clips])
    base = (rule.predict([plain(c) for c, _ in test]) == truth).mean()
    pack.metric("accuracy", (guess == truth).mean(), base, "留出的 360 段 3 秒合成录音；基线为按有效值、峰值因数、峭度和高频能量的逻辑回归",
                "360 held-out synthetic recordings of 3 s; baseline is logistic regression on level, crest factor, kurtosis and treble")
    pack.metric("false-alarm-rate", (guess[truth == 0] != 0).mean(), (rule.predict([plain(c) for c, k in test if k == 0]) != 0).mean(),
                "同上，其中 120 段正常录音；基线同上", "the 120 healthy recordings among them; baseline as above")
    pack.metric("recall-bearing", (guess[truth == 1] == 1).mean(), 0.3333, "同上，其中 120 段轴承故障录音；基线为随机三选一", "the 120 bearing recordings among them; baseline is one of three by chance")
    rng = np.random.default_rng(13)
    kept = [(LABELS[k], sound(rng, k, s), k) for k, s in ((1, 3.0), (0, 3.0), (2, 2.5), (0, 2.0), (1, 4.0))]
    pack.golden([(n, wav(c), "wav", {"class": n}) for n, c, _ in kept])
    matrix = np.zeros((3, 3))
    np.add.at(matrix, (truth, guess), 1)

    def draw(pack, results):
        c = Canvas()
        c.head(pack.m["title"], "16 kHz")
        names = label_names(pack)
        for i, (n, s, k) in enumerate((kept[1], kept[0], kept[2])):
            m = s[:32000]
            w = np.lib.stride_tricks.sliding_window_view(m, 512)[::128] * np.hanning(512)
            spec = np.log(np.abs(np.fft.rfft(w, axis=1)).T[:200] ** 2 + 1e-7)[::-1]
            spec = np.clip((spec - np.percentile(spec, 25)) / (np.percentile(spec, 99.6) - np.percentile(spec, 25)), 0, 1)
            lut = np.array([[17, 22, 28], [30, 62, 84], [43, 122, 155], [232, 149, 46], [255, 240, 205]], float)
            col = np.stack([np.interp(spec, np.linspace(0, 1, 5), lut[:, q]) for q in range(3)], 2).astype(np.uint8)
            x0 = 56 + i * 394
            c.image.paste(Image.fromarray(col).resize((378, 380), Image.Resampling.BICUBIC), (x0, 220))
            best = results[{0: 1, 1: 0, 2: 2}[k]]["classes"][0]
            c.text((x0, 180), f"{names[n]['zh']} {names[n]['en']}", 23, AMBER if k else GREEN, True)
            c.text((x0, 612), f"→ {names[best['label']]['zh']} {best['score']:.2f}", 22, MUTED)
            c.text((x0, 646), "0 – 2 s, 0 – 6.2 kHz", 17, MUTED)
        d = Canvas()
        d.head({"zh": "留出录音的混淆矩阵", "en": "Confusion matrix of held-out recordings"}, f"{(guess == truth).mean():.1%}")
        d.confusion((380, 220), (200, 120), [names[k]["zh"] for k in LABELS], matrix)
        return [("cover.jpg", c.image, "正常、轴承故障、摩擦三段合成录音的时频图", "Spectrograms of three synthetic recordings: healthy, bearing, friction"),
                ("confusion.jpg", d.image, "三类的混淆矩阵", "Confusion matrix of the three classes")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
