"""hoist-vibration: faults of the hoist's high-speed shaft and reducer from two accelerometers."""

from series import *

SEED, RATE, N = 101, 2048, 2048
TEETH, BPFO = 23, 5.43  # teeth of the pinion; outer race impacts per turn of the bearing


def sample(rng, kind):
    """One second at both bearing caps, m/s². 0 normal, 1 imbalance, 2 misalignment, 3 outer race, 4 gear."""
    t = np.arange(N) / RATE
    f = rng.normal(9.8, 0.25)  # high-speed shaft, about 590 rpm; the hoist speeds up and slows down a little
    phase = 2 * np.pi * (f * t + 0.5 * rng.normal(0, 0.25) * t * t) + rng.uniform(0, 6.28)
    load = rng.uniform(0.6, 1.25)
    severity = rng.gamma(3.0, 0.33) + 0.22 if kind else 0.0
    if kind == 0 and rng.random() < 0.3:
        kind, severity = rng.integers(1, 5), 0.10  # within what is tolerated: still called normal
    out = []
    tone = lambda order, amount: amount * np.sin(order * phase + rng.uniform(0, 6.28))
    for end, near in enumerate((1.0, 0.55)):
        x = tone(1, 0.28 * rng.lognormal(0, 0.3)) + tone(2, 0.12 * rng.lognormal(0, 0.35)) + tone(3, 0.06)
        for k, a in ((1, 0.35), (2, 0.16), (3, 0.07)):  # gear mesh
            x += tone(k * TEETH, a * load * near)
        if kind == 1:
            x += tone(1, 0.75 * severity * (1 if end == 0 else rng.uniform(0.6, 0.9)))
        if kind == 2:
            x += tone(2, 0.55 * severity) + tone(1, 0.25 * severity) + tone(3, 0.20 * severity)
        if kind == 3:
            turns = (phase - phase[0]) / (2 * np.pi) * BPFO * rng.normal(1, 0.006)
            hits = np.flatnonzero(np.diff(np.floor(turns + rng.uniform(0, 1))) > 0)
            ring = np.exp(-np.arange(110) / 22) * np.sin(2 * np.pi * rng.normal(690, 15) * np.arange(110) / RATE)
            impulses = np.zeros(N + 110)
            for h in hits:
                impulses[h:h + 110] += ring * rng.lognormal(0, 0.25)
            x += 0.85 * severity * near * impulses[:N]
        if kind == 4:  # a worn tooth: the mesh is modulated once per turn, sidebands
            x += 0.6 * severity * near * load * (0.4 + np.maximum(0, np.cos(phase + 1)) ** 6) * np.sin(TEETH * phase + rng.uniform(0, 6.28))
        x += rng.normal(0, 1, N) * rng.uniform(0.18, 0.42)
        x += 0.1 * np.sin(2 * np.pi * 50 * t + rng.uniform(0, 6.28)) * rng.uniform(0, 1)  # mains pick-up
        out.append(x)
    return np.stack(out, 1)


def make(rng, n):
    y = rng.integers(0, 5, n)
    return np.stack([np.round(sample(rng, k), 4).T for k in y]).astype(np.float32), y


def build(graph, rows, n):
    edges = list(range(4, 60, 2)) + list(range(60, 400, 10)) + list(range(400, 1025, 48))
    lines = spectrum(graph, rows, N, edges, n)
    taps = 31  # high-pass above 400 Hz, then the envelope at 512 Hz
    k = np.arange(taps) - taps // 2
    low = np.sinc(2 * 400 / RATE * k) * np.hamming(taps)
    high = (k == 0) - low / low.sum()
    band = graph.node("Conv", graph.node("Reshape", rows, graph.i64([-1, 1, N])), graph.f32(high[None, None]), pads=[taps // 2] * 2)
    envelope = graph.node("AveragePool", graph.node("Abs", band), kernel_shape=[4], strides=[4])
    envelope = spectrum(graph, graph.node("Reshape", envelope, graph.i64([-1, N // 4])), N // 4, list(range(4, 180, 3)), n)
    return graph.node("Concat", lines, envelope, moments(graph, rows, N, n), axis=1)


def plain(x):
    rms, peak = np.sqrt((x ** 2).mean(2)), np.abs(x).max(2)
    kurtosis = ((x / rms[..., None]) ** 4).mean(2)
    return np.concatenate([np.log(rms), np.log(peak), np.log(kurtosis)], 1)


def amplitude(x, n):
    return np.abs(np.fft.rfft(x * np.hanning(n))) / n * 4


def main():
    app = App("hoist-vibration")
    columns, labels = app.manifest["pipeline"]["pre"]["window"]["columns"], app.labels()
    x, y = make(np.random.default_rng(SEED), 1600)
    xt, yt = make(np.random.default_rng(SEED + 1), 600)
    app.save_model(Diagnosis(build, 2, N, SEED).fit(x, y).model("hoist-vibration"))
    guess = evaluate(app, xt, yt, (nearest_centre(plain(x), y, plain(xt)), "按有效值、峰值和峭度判别", "a rule on RMS, peak and kurtosis"),
                     "留出的 600 段合成振动", "600 held-out synthetic records")
    golden(app, columns, sample, labels, 10, SEED + 2, 3)
    name, colors = words(app.manifest), [GREEN, STEEL, "#8a6fc0", RED, AMBER]
    card = Canvas()
    card.head(app.manifest["title"], "2048 Hz × 1 s")
    rng = np.random.default_rng(SEED + 5)
    for i, k in enumerate((0, 1, 3, 4)):
        s = sample(rng, k)[:, 0]
        y0 = 200 + i * 125
        card.text((56, y0 + 40), name[labels[k]], 22, colors[k])
        card.frame((220, y0, 720, y0 + 92), grid=2)
        card.line((220, y0, 720, y0 + 92), np.arange(700), s[:700], (0, 700), (-3, 3), colors[k], 1)
        card.frame((760, y0, 1224, y0 + 92), grid=2)
        card.line((760, y0, 1224, y0 + 92), np.arange(400), amplitude(s, N)[:400], (0, 400), (0, 0.9), colors[k], 2)
    card.text((220, 164), "波形 Waveform, 0.34 s", 19, MUTED)
    card.text((760, 164), "频谱 Spectrum, 0–400 Hz", 19, MUTED)
    card.save(app.folder / "media/cover.png")
    card = Canvas()
    card.head({"zh": "混淆矩阵（行为真值）", "en": "Confusion matrix (rows are the truth), 600 held-out records"})
    card.confusion((330, 180), (150, 92), [name[v] for v in labels], truth_matrix(yt, guess, 5))
    card.save(app.folder / "media/confusion.png", 150_000)
    app.finish()


if __name__ == "__main__":
    main()
