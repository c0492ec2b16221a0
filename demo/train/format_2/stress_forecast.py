"""Stress in the coal ahead of the face for the next day with quantiles: two borehole gauges and the advance, hourly, output [1, 3, 24]."""
from places import *
from training import *

STEPS, AHEAD = 72, 24
COLUMNS = ["stress_deep", "stress_shallow", "advance"]
MEAN, STD = np.array([11.0, 9.0, 0.35]), np.array([3.5, 2.6, 0.35])


def record(rng, n=STEPS + AHEAD):
    """A pair of gauges (14 m and 8 m deep) in the side of a gate road that the face comes towards, a reading an hour."""
    shift = int(rng.integers(0, 24))
    hour = (np.arange(n) + shift) % 24
    pace = rng.uniform(0.25, 0.75) * np.clip(1 + 0.35 * np.cumsum(rng.normal(0, 0.15, n)) / 3, 0.2, 1.8)
    advance = np.where(hour < 8, 0, pace) * (rng.random(n) > 0.1)       # the maintenance shift does not cut
    if rng.random() < 0.25:
        a = int(rng.integers(0, n))
        advance[a:a + int(rng.integers(8, 30))] *= 0.1
    ahead = rng.uniform(4, 90) - np.cumsum(advance)
    peak, width, top = rng.uniform(7, 14), rng.uniform(10, 26), rng.uniform(4, 14)
    hump = lambda d, at: np.exp(-np.where(d > at, d - at, (at - d) * 2.2) / width)
    deep, shallow = top * hump(ahead, peak), 0.75 * top * hump(ahead, peak + 3)
    hang, store = rng.uniform(0.15, 0.5), np.zeros(n)                   # a hanging roof loads, then breaks
    limit, s = rng.uniform(1.5, 4.5), rng.uniform(0, 2.5)
    for i in range(n):
        s += hang * advance[i] * np.exp(-max(0.0, ahead[i]) / 60)
        if s > limit:
            s *= rng.uniform(0.05, 0.3)
            limit = rng.uniform(1.5, 4.5)
        store[i] = s
    lag = np.zeros(n)
    v = deep[0] + store[0]
    for i in range(n):
        v += 0.18 * (deep[i] + store[i] - v)
        lag[i] = v
    base = rng.uniform(5, 9)
    deep = base + lag + np.cumsum(rng.normal(0, 0.035, n)) + rng.normal(0, 0.06, n)
    shallow = 0.8 * base + 0.8 * (shallow + 0.6 * store) + np.cumsum(rng.normal(0, 0.03, n)) + rng.normal(0, 0.06, n)
    if rng.random() < 0.25:                                             # relief holes take some of it away
        a = int(rng.integers(0, n))
        deep[a:] -= rng.uniform(0.5, 2.5) * (1 - np.exp(-np.arange(n - a) / 6))
        shallow[a:] -= rng.uniform(0.5, 2.0) * (1 - np.exp(-np.arange(n - a) / 4))
    return np.stack([np.clip(deep, 0.5, None), np.clip(shallow, 0.5, None), advance], 1)


def make(rng, count):
    xs, ys = [], []
    for _ in range(count):
        r = record(rng)
        xs.append((filled(with_gaps(rng, r[:STEPS])) - MEAN) / STD)
        ys.append(r[STEPS:, 0])
    return np.array(xs, F), np.array(ys, F)


def gate_road():
    def furnish(s, rng):
        for k, z in enumerate((1.6, 3.0, 4.6)):                         # gauges in the rib with their cable and a readout
            s.capsule((2.2, 1.25, z), (2.44, 1.25, z), 0.07, (0.45, 0.36, 0.10), 0.5, bump=0.02)
            s.capsule((2.15, 1.25, z), (2.05, 0.75, z + 0.7), 0.018, (0.03, 0.03, 0.03), 0.3)
            s.box((2.12, 1.62, z), (0.05, 0.13, 0.17), 0, (0.40, 0.27, 0.04), 0.3)
            s.box((2.06, 1.64, z), (0.01, 0.05, 0.09), 0, (0.1, 0.4, 0.3), 0.2, shadow=False, emit=(0.10, 0.55, 0.35) if k != 1 else (0.8, 0.35, 0.05))
        for z in (2.2, 5.2, 8.2):                                       # single props along the other side
            s.capsule((-1.5, 0, z), (-1.45, 3.4, z), 0.09, (0.30, 0.28, 0.25), 0.5, bump=0.02)
        person(s, rng, (0.7, 0, 4.4), 2.6, lamp=True)
    return tunnel(31, furnish, look=(0.9, 1.2, 4.5))


def main():
    torch.manual_seed(1)
    x, y = make(np.random.default_rng(61), 16000)
    tx, ty = make(np.random.default_rng(62), 1500)
    xx, yy = torch.from_numpy(x), torch.from_numpy(y)
    net = Quantiles(3, STEPS, AHEAD, MEAN[0], STD[0])
    train(net, lambda j: pinball(net(xx[j]), yy[j]), len(x), 18, 64, 3e-3, decay=0.02)
    with torch.no_grad():
        p = net(torch.from_numpy(tx)).numpy()
    pack = Pack("stress-forecast")
    pack.save_model(exported(net, xx[:1], ["history"], ["quantiles"]))
    now = lambda w: w[:, -1:, 0] * STD[0] + MEAN[0]
    ahead = np.arange(1, AHEAD + 1)[None]
    slope = lambda w: (w[:, -1:, 0] - w[:, -25:-24, 0]) * STD[0] / 24
    lines = {"last": lambda w: np.repeat(now(w), AHEAD, 1), "trend": lambda w: now(w) + slope(w) * ahead}
    simple = {k: f(tx)[:, None] + np.quantile(y - f(x), Q, axis=0)[None] for k, f in lines.items()}
    loss = lambda p: float(pinball(torch.from_numpy(np.asarray(p, F)), torch.from_numpy(ty)))
    words = "留出的 1500 段合成记录（含缺测）", "1,500 held-out synthetic records with gaps"
    pack.metric("mae-24h", np.abs(p[:, 1, -1] - ty[:, -1]).mean(), min(np.abs(f(tx)[:, -1] - ty[:, -1]).mean() for f in lines.values()),
                words[0] + "，24 小时后应力的平均绝对误差（MPa）；基线取最后读数与一日趋势外推中较好者", words[1] + ", mean absolute error (MPa) in 24 hours; baseline is the better of the last reading and the trend of a day")
    pack.metric("pinball", loss(p), min(map(loss, simple.values())), words[0] + "，三个分位数的平均弹球损失；基线同上，加训练集误差的分位数", words[1] + ", mean pinball loss of the three quantiles; baseline as above with the quantiles of its past errors")
    inside = ((ty >= p[:, 0]) & (ty <= p[:, 2])).mean()
    pack.metric("coverage-80", inside, 0.8, words[0] + "，落在 10–90% 区间内的比例；基线为应有的 0.8", words[1] + ", share inside the 10 to 90 % range; baseline is the 0.8 that it should be")
    rng, kept = np.random.default_rng(63), {}
    while len(kept) < 3:
        r = record(rng)
        high, begin = r[STEPS:, 0].max(), r[STEPS - 1, 0]
        name = "rising" if high > 15.5 and 11 < begin < 13.5 else "steady" if r[:, 0].max() < 10.5 and np.ptp(r[STEPS:, 0]) < 0.8 else "relieved" if begin > 12 and r[-1, 0] < begin - 1.5 else ""
        if name and name not in kept:
            kept[name] = (r, with_gaps(rng, r[:STEPS]))
    order = [(n, *kept[n]) for n in ("rising", "steady", "relieved")]
    times = [f"11-{12 + i // 24:02d} {i % 24:02d}:00" for i in range(STEPS)]
    pack.golden([(n, table(COLUMNS, g, times), "csv", {"values": {"stress_24h": [round(float(r[-1, 0]), 2), 2.0]}}) for n, r, g in order])

    def forecast(g):
        with torch.no_grad():
            return net(torch.from_numpy(((filled(g) - MEAN) / STD).astype(F)[None])).numpy()[0]

    def draw(pack, results):
        c = Cover(gate_road())
        c.title(pack.m["title"], "MPa")
        c.panel((40, 400, 760, 706))
        hours = np.arange(STEPS + AHEAD) - STEPS + 1
        fan(c, (110, 450, 730, 660), hours, order[0][2][:, 0], order[0][1][STEPS:, 0], forecast(order[0][2]), (6, 20), [(14, AMBER), (17, RED)])
        c.text((110, 412), "钻孔应力与 24 小时预测区间", 21, MUTED)
        d = Canvas()
        d.head(pack.m["title"], "MPa, h")
        for k, (n, r, g) in enumerate(order[1:]):
            box = (110 + k * 600, 210, 620 + k * 600, 600)
            d.frame(box, {"steady": "平稳 steady", "relieved": "卸压 relieved"}[n])
            fan(d, box, hours, g[:, 0], r[STEPS:, 0], forecast(g), (4, 20), [(14, AMBER), (17, RED)])
        d.text((110, 650), "蓝：读数（有缺测）  橙：预测中位数与 10–90% 区间  灰：实际  横线：黄色、红色预警", 20, MUTED)
        return [("cover.jpg", c.image, "合成的回采巷道与应力计，以及一段上升的应力记录和预测区间", "A rendered gate road with stress gauges, and a rising record with its forecast"),
                ("more.jpg", d.image, "平稳与卸压的两段记录及预测区间", "A steady and a relieved record with their forecasts")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
