"""Magnetic flux leakage of a hoist rope: an autoencoder repeats what is usual, the difference is the anomaly."""
from packs import *
import torch
from torch import nn

torch.set_num_threads(1)
F = np.float32
LENGTH, COLUMNS = 256, ["mfl_a", "mfl_b", "lma"]
STD = [0.35, 0.35, 0.20]


def record(rng, fault=None):
    """256 samples, one in 2 mm: strand noise of the lay, slow drift, lift-off; broken wires, corrosion or wear on top."""
    n = LENGTH
    s = np.arange(n) * 0.002
    lay = rng.uniform(0.052, 0.060)
    ph = rng.uniform(0, 6.28)
    a = rng.uniform(0.20, 0.34)
    strand = a * np.sin(2 * np.pi * s / lay + ph) + 0.35 * a * np.sin(4 * np.pi * s / lay + 2 * ph + 0.7)
    other = a * np.sin(2 * np.pi * s / lay + ph + 2.1) + 0.35 * a * np.sin(4 * np.pi * s / lay + 2 * ph + 2.0)
    swing = 1 + 0.15 * np.sin(2 * np.pi * s / rng.uniform(0.2, 0.7) + rng.uniform(0, 6))
    x = np.stack([strand * swing, other * swing, 0.05 * np.sin(2 * np.pi * s / lay + ph + 1) + 0.06 * np.sin(2 * np.pi * s / rng.uniform(0.4, 1.0) + rng.uniform(0, 6))], 1)
    x += rng.normal(0, rng.uniform(0.025, 0.06), x.shape)
    at = None
    if fault == "broken":
        at = rng.uniform(0.06, 0.45)
        for _ in range(rng.integers(1, 4)):
            c, w, k = at + rng.normal(0, 0.012), rng.uniform(0.0025, 0.006), rng.uniform(0.15, 0.9)
            d = (s - c) / w
            x[:, 0] += k * -d * np.exp(0.5 - d * d / 2)
            x[:, 1] += k * rng.uniform(0.3, 0.9) * -d * np.exp(0.5 - d * d / 2)
            x[:, 2] -= 0.12 * k * np.exp(-((s - c) / 0.012) ** 2)
    if fault == "corroded":
        at = rng.uniform(0.1, 0.4)
        m = np.exp(-((s - at) / rng.uniform(0.04, 0.12)) ** 2)
        k = rng.uniform(0.07, 0.26)
        x[:, :2] += rng.normal(0, k, (n, 2)) * m[:, None]
        x[:, 2] -= rng.uniform(0.3, 1.1) * k * m
    if fault == "worn":
        at = rng.uniform(0.05, 0.4)
        k = rng.uniform(0.1, 0.9)
        x[:, 2] -= 0.5 * k / (1 + np.exp(-(s - at) / 0.012))
        x[:, :2] *= (1 - 0.5 * k / (1 + np.exp(-(s - at) / 0.02)))[:, None]
    return x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        n = LENGTH * 3
        self.inward = nn.Sequential(nn.Flatten(), nn.Linear(n, 56), nn.ReLU(), nn.Linear(56, 16))
        self.back = nn.Sequential(nn.Linear(16, 56), nn.ReLU(), nn.Linear(56, n))

    def forward(self, x):
        return self.back(self.inward(x)).reshape(-1, LENGTH, 3)


def main():
    torch.manual_seed(1)
    rng = np.random.default_rng(51)
    x = torch.from_numpy(np.stack([record(rng) for _ in range(8000)]).astype(F) / np.array(STD, F))
    net = Net()
    epochs = 24
    opt = torch.optim.AdamW(net.parameters(), 2e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, total_steps=epochs * (len(x) // 64))
    for e in range(epochs):
        order = torch.randperm(len(x))
        for i in range(0, len(x) - 63, 64):
            b = x[order[i:i + 64]]
            loss = ((net(b) - b) ** 2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
    net.eval()
    path = BUILD / "rope.onnx"
    torch.onnx.export(net, (x[:1],), str(path), input_names=["window"], output_names=["usual"], opset_version=17, dynamo=False)
    pack = Pack("wire-rope-defect")
    pack.save_model(pin(onnx.load(str(path))))

    def error(rows):
        t = torch.from_numpy((rows / STD).astype(F))
        with torch.no_grad():
            return ((net(t) - t) ** 2).mean((1, 2)).numpy()
    rng = np.random.default_rng(52)
    quiet = error(np.stack([record(rng) for _ in range(1500)]))
    cut = round(float(np.quantile(quiet, 0.985)), 3)
    pack.step()["post"][0]["anomaly"]["threshold"] = cut
    next(p for p in pack.m["parameters"] if p["name"] == "limit")["default"] = cut
    rng = np.random.default_rng(53)
    kinds = ([None] * 600) + ["broken"] * 200 + ["corroded"] * 200 + ["worn"] * 200
    rows = np.stack([record(rng, k) for k in kinds])
    bad = np.array([k is not None for k in kinds])
    e = error(rows)
    from sklearn.metrics import roc_auc_score
    peak = np.abs(rows[:, :, :2]).max((1, 2))
    level = np.abs(rows[:, :, 2]).max(1)
    base = max(roc_auc_score(bad, peak), roc_auc_score(bad, level), roc_auc_score(bad, rows.var(1).sum(1)))
    words = "留出的 1200 段合成信号，其中 600 段有损伤", "1,200 held-out synthetic windows, 600 of them with damage"
    pack.metric("auroc", roc_auc_score(bad, e), base, words[0] + "；基线取峰值、金属截面积变化、方差中最好者", words[1] + "; baseline is the best of peak, change of metallic area, and variance")
    pack.metric("recall-damage", (e[bad] >= cut).mean(), (peak[bad] >= np.quantile(peak[~bad], 0.985)).mean(), words[0] + "，误报约 1.5% 时的检出率；基线为同样误报的峰值门限", words[1] + ", at about 1.5 % false alarms; baseline is a threshold on the peak with as many")
    rng = np.random.default_rng(54)
    kept = [(k or "healthy", record(rng, k)) for k in (None, "broken", "corroded", "worn")]
    pack.golden([(n, csv_bytes(["position_m"] + COLUMNS, np.concatenate([(417.3 + np.arange(LENGTH) * 0.002)[:, None], r], 1), 4), "csv", None) for n, r in kept])
    words = {"healthy": "正常 healthy", "broken": "断丝 broken wires", "corroded": "锈蚀 corrosion", "worn": "磨损 wear"}

    def draw(pack, results):
        c = Canvas()
        c.head(pack.m["title"], f"> {cut}")
        for i, (n, r) in enumerate(kept):
            box = (80 + (i % 2) * 590, 200 + (i // 2) * 245, 620 + (i % 2) * 590, 380 + (i // 2) * 245)
            v = next(q["value"] for q in results[i]["values"] if q["id"] == "damage")
            c.frame(box, f"{words[n]}   {v:.3f}")
            with torch.no_grad():
                u = net(torch.from_numpy((r / STD).astype(F))[None]).numpy()[0] * STD
            px = lambda k: box[0] + k / LENGTH * (box[2] - box[0])
            py = lambda q: (box[1] + box[3]) / 2 - np.clip(q, -1.4, 1.4) / 1.4 * (box[3] - box[1]) / 2
            for data, col, wide in ((r[:, 0], "#59b3d6", 2), (u[:, 0], AMBER, 2), (r[:, 2], MUTED, 2)):
                c.draw.line([(px(k), py(q)) for k, q in enumerate(data)], fill=col, width=wide)
        c.text((80, 668), "蓝：漏磁信号  橙：模型还原的正常信号  灰：金属截面积变化", 20, MUTED)
        d = Canvas()
        d.head({"zh": "还原误差的分布", "en": "Errors of reconstruction"}, f"AUROC {roc_auc_score(bad, e):.3f}")
        box = (110, 200, 1220, 600)
        d.frame(box)
        edges = np.linspace(0, np.quantile(e, 0.96), 70)
        for m, col in ((~bad, GREEN), (bad, AMBER)):
            h = np.histogram(e[m], edges)[0]
            for k, q in enumerate(h):
                x0 = box[0] + k * (box[2] - box[0]) / 69
                d.draw.rectangle([x0 + (8 if m is bad else 0), box[3] - q / 130 * (box[3] - box[1]) if q < 130 else box[1], x0 + 7 + (8 if m is bad else 0), box[3]], fill=col)
        X = box[0] + cut / edges[-1] * (box[2] - box[0])
        d.draw.line([X, box[1], X, box[3]], fill=RED, width=3)
        d.ticks(box, (0, edges[-1]), (0, 130), 5, 4)
        d.text((110, 650), "绿：正常  橙：有损伤  红线：门限", 20, MUTED)
        return [("cover.jpg", c.image, "四段漏磁信号及模型还原的正常信号", "Four windows of flux leakage with what the model takes for usual"), ("errors.jpg", d.image, "正常与损伤信号的还原误差分布", "Errors of healthy and damaged windows")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
