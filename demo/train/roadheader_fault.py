"""roadheader-fault: condition of a roadheader from cutting current, hydraulic pressure, boom vibration and oil temperature."""

from series import *

SEED, RATE, N = 601, 10, 256


def sample(rng, kind):
    """25.6 s at 10 Hz. 0 normal, 1 worn picks, 2 cutting overload, 3 hydraulic leak, 4 cutting gearbox."""
    t = np.arange(N) / RATE
    hard = rng.uniform(0.75, 1.3)  # rock hardness
    stroke = rng.uniform(9, 18)  # one sweep of the boom, s
    cut = 0.5 + 0.5 * np.tanh(4 * np.sin(2 * np.pi * t / stroke + rng.uniform(0, 6.28)) + rng.uniform(0, 2))
    rough = np.convolve(rng.normal(0, 1, N + 8), np.ones(8) / 8, "valid")[:N]
    s = rng.gamma(3.0, 0.33) + 0.2
    if kind == 0 and rng.random() < 0.3:
        s, act = 0.12, rng.integers(1, 5)
    else:
        act = kind
    current = 62 + cut * 58 * hard * (1 + 0.22 * rough)
    pressure = 16.5 + cut * 4.2 * hard + 0.7 * rough + rng.normal(0, 0.18, N)
    vibration = (1.4 + cut * 3.2 * hard) * np.abs(1 + 0.35 * rng.normal(0, 1, N))
    oil = rng.uniform(46, 62) + 0.02 * t + rng.normal(0, 0.12, N)
    if act == 1:
        current = current + cut * 24 * s * hard
        vibration = vibration + cut * 2.4 * s * np.abs(rng.normal(0, 1, N)) ** 1.5
        pressure = pressure + cut * 1.0 * s
    if act == 2:
        for at in rng.uniform(3, 24, rng.integers(1, 4)):
            jam = np.exp(-((t - at) / rng.uniform(0.5, 1.2)) ** 2) * s
            current, pressure, vibration = current + 105 * jam, pressure + 6.5 * jam, vibration * (1 - 0.6 * np.minimum(1, jam))
    if act == 3:
        sag = s * (1.1 + 1.2 * t / t[-1])
        pressure = pressure - sag - 0.5 * s * cut + 0.35 * s * np.sin(2 * np.pi * 2.1 * t)
        oil = oil + s * (3 + 0.14 * t)
    if act == 4:
        turn = rng.normal(0.78, 0.02)  # cutting head, about 47 rpm
        wave = np.sin(2 * np.pi * turn * t + rng.uniform(0, 6.28)) + 0.5 * np.sin(4 * np.pi * turn * t + rng.uniform(0, 6.28))
        current, vibration, oil = current + 9 * s * wave * (0.4 + 0.6 * cut), vibration * (1 + 0.34 * s * np.clip(wave, -1.4, 1.4)), oil + s * 1.5
    return np.stack([current.clip(5, 420) + rng.normal(0, 2.0, N), pressure.clip(0, 40), np.abs(vibration), oil], 1)


def make(rng, n):
    y = rng.integers(0, 5, n)
    return np.stack([np.round(sample(rng, k), 3).T for k in y]), y


def build(graph, rows, n):
    return graph.node("Concat", spectrum(graph, rows, N, list(range(1, 60, 2)) + list(range(60, 129, 8)), n), moments(graph, rows, N, n), axis=1)


def plain(x):
    return np.concatenate([x.mean(2), x.max(2)], 1)


def main():
    app = App("roadheader-fault")
    window, labels = app.manifest["pipeline"]["pre"]["window"], app.labels()
    mean, std = np.array(window["mean"])[:, None], np.array(window["std"])[:, None]
    norm = lambda x: ((x - mean) / std).astype(np.float32)
    x, y = make(np.random.default_rng(SEED), 2600)
    xt, yt = make(np.random.default_rng(SEED + 1), 800)
    app.save_model(Diagnosis(build, 4, N, SEED).fit(norm(x), y).model("roadheader-fault"))
    guess = evaluate(app, norm(xt), yt, (nearest_centre(plain(x), y, plain(xt)), "按各通道均值和最大值判别", "a rule on the mean and greatest value of each channel"),
                     "留出的 800 段合成工况", "800 held-out synthetic records")
    golden(app, window["columns"], sample, labels, 10, SEED + 2, 3)
    name, colors = words(app.manifest), [GREEN, AMBER, RED, STEEL, "#8a6fc0"]
    card = Canvas()
    card.head(app.manifest["title"], "10 Hz × 25.6 s")
    rng = np.random.default_rng(SEED + 4)
    heads = ["截割电流 Current / A", "液压压力 Pressure / MPa", "悬臂振动 Boom vibration / m/s²", "油温 Oil / °C"]
    limits = [(20, 330), (8, 32), (0, 18), (42, 76)]
    t = np.arange(N) / RATE
    shown = [sample(rng, k) for k in range(5)]
    for c in range(4):
        box = (120 + (c % 2) * 590, 210 + (c // 2) * 230, 620 + (c % 2) * 590, 370 + (c // 2) * 230)
        card.frame(box, heads[c])
        card.ticks(box, (0, 25), limits[c], 5, 2)
        for k in ((0, 2, 1), (0, 3), (0, 1, 4), (0, 3))[c]:
            card.line(box, t, shown[k][:, c], (0, 25.6), limits[c], colors[k], 2)
    for k in range(5):
        card.text((110 + k * 225, 664), f"● {name[labels[k]]}", 21, colors[k])
    card.save(app.folder / "media/cover.png")
    card = Canvas()
    card.head({"zh": "混淆矩阵（行为真值）", "en": "Confusion matrix (rows are the truth), 800 held-out records"})
    card.confusion((350, 180), (155, 92), [name[v] for v in labels], truth_matrix(yt, guess, 5))
    card.save(app.folder / "media/confusion.png", 150_000)
    app.finish()


if __name__ == "__main__":
    main()
