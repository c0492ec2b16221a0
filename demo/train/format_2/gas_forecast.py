"""CH4 of the next hour with quantiles from windows that have gaps (`missing: last`); output [1, 3, 12]."""
from training import *

STEPS, AHEAD = 48, 12
COLUMNS = ["ch4_return", "air_speed", "shearer_load"]
MEAN, STD = np.array([0.45, 1.9, 45.0]), np.array([0.22, 0.45, 35.0])


def record(rng, n=STEPS + AHEAD):
    """A return airway, a reading in five minutes: gas that the shearer frees, thinned by the air, with drops of both."""
    lead = 60
    n += lead
    t = np.arange(n)
    cut = np.zeros(n)
    at = int(rng.integers(0, 30))
    while at < n:
        run = int(rng.integers(8, 30))
        cut[at:at + run] = rng.uniform(55, 100)
        at += run + int(rng.integers(4, 22))
    load = np.clip(cut + rng.normal(0, 5, n) * (cut > 0), 0, None)
    air = rng.uniform(1.5, 2.5) * (1 + 0.04 * np.sin(t / rng.uniform(20, 60) + rng.uniform(0, 6)))
    if rng.random() < 0.35:       # a door stands open, a fan is changed over
        a = int(rng.integers(lead, n))
        air[a:a + int(rng.integers(6, 40))] *= rng.uniform(0.5, 0.8)
    air = air + rng.normal(0, 0.03, n)
    base, freed = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.9)
    baro = rng.normal(0, 0.001) * t
    store, out = 0.0, np.zeros(n)
    wander = np.cumsum(rng.normal(0, 0.012, n))
    burst = np.zeros(n)
    if rng.random() < 0.25:
        a = int(rng.integers(lead, n))
        burst[a:] = rng.uniform(0.2, 0.8) * np.exp(-(np.arange(n - a)) / rng.uniform(8, 25)) * (1 - np.exp(-np.arange(n - a) / 3))
    for i in range(n):
        store += 0.16 * (freed * load[i] / 100 - store)
        out[i] = max(0.02, (base + store + baro[i] + wander[i] + burst[i]) * 0.95 / max(0.5, air[i]))
    out = out + rng.normal(0, 0.008, n)
    return np.stack([np.clip(out, 0, None), air, load], 1)[lead:]


def make(rng, count):
    xs, ys = [], []
    for _ in range(count):
        r = record(rng)
        xs.append((filled(with_gaps(rng, r[:STEPS])) - MEAN) / STD)
        ys.append(r[STEPS:, 0])
    return np.array(xs, F), np.array(ys, F)


def main():
    torch.manual_seed(1)
    rng = np.random.default_rng(21)
    x, y = make(rng, 6000)
    tx, ty = make(np.random.default_rng(22), 1500)
    xx, yy = torch.from_numpy(x), torch.from_numpy(y)
    net = Quantiles(3, STEPS, AHEAD, MEAN[0], STD[0])
    train(net, lambda j: pinball(net(xx[j]), yy[j]), len(x), 26, 64, 3e-3)
    with torch.no_grad():
        p = net(torch.from_numpy(tx)).numpy()
    pack = Pack("gas-forecast")
    pack.save_model(exported(net, xx[:1], ["history"], ["quantiles"]))
    last = tx[:, -1:, 0] * STD[0] + MEAN[0]
    step = y - (x[:, -1:, 0] * STD[0] + MEAN[0])
    naive = last[:, None] + np.quantile(step, Q, axis=0)[None]
    loss = lambda p: float(pinball(torch.from_numpy(np.asarray(p, F)), torch.from_numpy(ty)))
    words = "留出的 1500 段合成记录（含缺测）", "1,500 held-out synthetic records with gaps"
    pack.metric("pinball", loss(p), loss(naive), words[0] + "，三个分位数的平均弹球损失；基线为最后读数加训练集变化的分位数", words[1] + ", mean pinball loss of the three quantiles; baseline is the last reading plus the quantiles of past changes")
    pack.metric("mae-60min", np.abs(p[:, 1, -1] - ty[:, -1]).mean(), np.abs(last[:, 0] - ty[:, -1]).mean(), words[0] + "，60 分钟后浓度的平均绝对误差（% CH4）；基线为最后读数", words[1] + ", mean absolute error (% CH4) in 60 minutes; baseline is the last reading")
    over = ty.max(1) >= 1.0
    from sklearn.metrics import roc_auc_score
    pack.metric("auroc-exceeds", roc_auc_score(over, p[:, 2].max(1)), max(roc_auc_score(over, last[:, 0]), roc_auc_score(over, naive[:, 2].max(1))), words[0] + "，一小时内是否达到 1.0%，按一小时内最高的 90% 分位数排序；基线按最后读数排序",
                words[1] + ", whether 1.0 % is reached within the hour, ordered by the highest 90 % quantile; baseline orders by the last reading")
    rng = np.random.default_rng(23)
    kept, need = [], ["rises", "calm", "gaps", "calm", "rises"]
    while need:
        r = record(rng)
        top, now = r[STEPS:, 0].max(), r[STEPS - 1, 0]
        slope = now - r[STEPS - 5, 0]
        name = "rises" if top > 1.15 and 0.8 < now < 0.98 and slope > 0.12 else "calm" if 0.3 < r[:, 0].min() and r[:, 0].max() < 0.65 else "gaps" if 0.8 < top < 1.4 else None
        if name in need:
            need.remove(name)
            kept.append((name, r, with_gaps(rng, r[:STEPS])))
    order = ["rises", "calm", "gaps"]
    kept.sort(key=lambda k: order.index(k[0]))

    times = [f"{(8 + i // 12) % 24:02d}:{i % 12 * 5:02d}" for i in range(STEPS)]
    pack.golden([(n, table(COLUMNS, g, times), "csv", {"values": {"ch4_60min": [round(float(r[-1, 0]), 3), 0.25]}}) for n, r, g in kept])

    def draw(pack, results):
        c = Canvas()
        c.head(pack.m["title"], "% CH4")
        for k, (n, r, g) in enumerate((kept[0], kept[2])):
            box = (110 + k * 600, 210, 620 + k * 600, 600)
            c.frame(box, {"rises": "上升 rising", "calm": "平稳 calm", "gaps": "有缺测 with gaps"}[n])
            x = ((filled(g) - MEAN) / STD).astype(F)
            with torch.no_grad():
                q = net(torch.from_numpy(x[None])).numpy()[0]
            fan(c, box, np.arange(STEPS + AHEAD) * 5 - STEPS * 5, g[:, 0], r[STEPS:, 0], q, (0, 1.6), [(1.0, RED)])
        c.text((110, 650), "蓝：读数（有缺测）  橙：预测中位数与 10–90% 区间  灰：实际  红：1.0% 限值", 20, MUTED)
        d = Canvas()
        d.head({"zh": "60 分钟预测与实际", "en": "Forecast and truth in 60 minutes"}, f"MAE {np.abs(p[:, 1, -1] - ty[:, -1]).mean():.3f}")
        for k, (g, name, col) in enumerate(((last[:, 0], "最后读数 last reading", MUTED), (p[:, 1, -1], "预测 forecast", AMBER))):
            box = (120 + k * 600, 210, 600 + k * 600, 620)
            d.frame(box, name)
            d.line(box, [0, 2], [0, 2], (0, 2), (0, 2), SLATE, 2)
            for a, b in zip(ty[:700, -1], g[:700]):
                if a < 2 and b < 2:
                    X, Y = box[0] + a / 2 * (box[2] - box[0]), box[3] - b / 2 * (box[3] - box[1])
                    d.draw.ellipse([X - 3, Y - 3, X + 3, Y + 3], fill=col)
            d.ticks(box, (0, 2), (0, 2), 4, 4)
        return [("cover.jpg", c.image, "两段合成瓦斯记录、缺测和一小时预测区间", "Two synthetic gas records with gaps and the forecast of an hour"),
                ("scatter.jpg", d.image, "预测与实际的散点，旁为以最后读数预测", "Forecast against truth, beside the last reading as a forecast")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
