"""CH4 of the next hour with quantiles from windows that have gaps (`missing: last`); output [1, 3, 12]."""
from packs import *
import torch
from torch import nn

torch.set_num_threads(1)
F = np.float32
STEPS, AHEAD, Q = 48, 12, (0.1, 0.5, 0.9)
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


def with_gaps(rng, rows):
    rows = rows.copy()
    for c in range(3):
        for _ in range(rng.integers(0, 3)):
            a = int(rng.integers(1, STEPS - 1))
            rows[a:a + int(rng.integers(1, 5)), c] = np.nan
    return rows


def filled(rows):
    rows = rows.copy()
    for i in range(1, len(rows)):
        rows[i] = np.where(np.isnan(rows[i]), rows[i - 1], rows[i])
    return rows


def make(rng, count):
    xs, ys = [], []
    for _ in range(count):
        r = record(rng)
        xs.append((filled(with_gaps(rng, r[:STEPS])) - MEAN) / STD)
        ys.append(r[STEPS:, 0])
    return np.array(xs, F), np.array(ys, F)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv1d(16, 24, 5, 2, 2), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(24 * 12 + 12 * 3, 96), nn.ReLU(), nn.Linear(96, 36))
        self.register_buffer("scale", torch.tensor([float(MEAN[0]), float(STD[0])]))

    def forward(self, x):
        c = self.conv(x.transpose(1, 2)).flatten(1)
        h = self.head(torch.cat([c, x[:, -12:].flatten(1)], 1)).reshape(-1, 3, 12)
        mid = x[:, -1:, :1].transpose(1, 2) + h[:, 1:2]
        low, high = mid - nn.functional.softplus(h[:, 0:1]), mid + nn.functional.softplus(h[:, 2:3])
        return torch.cat([low, mid, high], 1) * self.scale[1] + self.scale[0]


def pinball(p, y):
    q = torch.tensor(Q)[None, :, None]
    d = y[:, None] - p
    return torch.maximum(q * d, (q - 1) * d).mean()


def main():
    torch.manual_seed(1)
    rng = np.random.default_rng(21)
    x, y = make(rng, 6000)
    tx, ty = make(np.random.default_rng(22), 1500)
    xx, yy = torch.from_numpy(x), torch.from_numpy(y)
    net = Net()
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    epochs = 26
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 3e-3, total_steps=epochs * (len(x) // 64))
    for e in range(epochs):
        order = torch.randperm(len(x))
        for i in range(0, len(x) - 63, 64):
            j = order[i:i + 64]
            loss = pinball(net(xx[j]), yy[j])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
    net.eval()
    with torch.no_grad():
        p = net(torch.from_numpy(tx)).numpy()
    path = BUILD / "gas.onnx"
    torch.onnx.export(net, (xx[:1],), str(path), input_names=["history"], output_names=["quantiles"], opset_version=17, dynamo=False)
    pack = Pack("gas-forecast")
    pack.save_model(pin(onnx.load(str(path))))
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

    def table(rows):
        return ("time," + ",".join(COLUMNS) + "\n" + "".join(f"{(8 + i // 12) % 24:02d}:{i % 12 * 5:02d}," + ",".join("" if np.isnan(v) else f"{v:.3f}".rstrip("0").rstrip(".") for v in r) + "\n" for i, r in enumerate(rows))).encode()
    pack.golden([(n, table(g), "csv", {"values": {"ch4_60min": [round(float(r[-1, 0]), 3), 0.25]}}) for n, r, g in kept])

    def draw(pack, results):
        c = Canvas()
        c.head(pack.m["title"], "% CH4")
        for k, (n, r, g) in enumerate((kept[0], kept[2])):
            box = (110 + k * 600, 210, 620 + k * 600, 600)
            c.frame(box, {"rises": "上升 rising", "calm": "平稳 calm", "gaps": "有缺测 with gaps"}[n])
            lim, t = (0, 1.6), np.arange(STEPS + AHEAD) * 5 - STEPS * 5
            x = ((filled(g) - MEAN) / STD).astype(F)
            with torch.no_grad():
                q = net(torch.from_numpy(x[None])).numpy()[0]
            px = lambda m: box[0] + (m + 240) / 300 * (box[2] - box[0])
            py = lambda v: box[3] - np.clip(v, *lim) / lim[1] * (box[3] - box[1])
            up, down = [(px(m), py(v)) for m, v in zip(t[STEPS:], q[2])], [(px(m), py(v)) for m, v in zip(t[STEPS:], q[0])]
            c.draw.polygon(up + down[::-1], fill="#4a3a22")
            for a, b, col in ((t, r[:, 0], MUTED), (t[:STEPS], g[:, 0], "#59b3d6"), (t[STEPS:], q[1], AMBER)):
                for i in range(len(a) - 1):
                    if not np.isnan(b[i:i + 2]).any():
                        c.draw.line([px(a[i]), py(b[i]), px(a[i + 1]), py(b[i + 1])], fill=col, width=3)
            c.draw.line([box[0], py(1.0), box[2], py(1.0)], fill=RED, width=2)
            c.ticks(box, (-240, 60), lim, 5, 4)
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


main()
