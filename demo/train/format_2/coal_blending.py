"""Shares of five coals for the cheapest blend that keeps ash, sulphur, volatile matter and caking: a net that has learnt to optimise."""
from places import *
from training import *
from scipy.optimize import linprog

COALS = ["gas", "third", "fat", "coking", "lean"]
NAMES = {"gas": ("气煤", "Gas coal"), "third": ("1/3 焦煤", "1/3 coking coal"), "fat": ("肥煤", "Fat coal"), "coking": ("焦煤", "Coking coal"), "lean": ("瘦煤", "Lean coal")}
WHAT = ["price", "ash", "sulphur", "volatile", "g_index"]
COLUMNS = [f"{c}_{w}" for c in COALS for w in WHAT] + ["max_ash", "max_sulphur"]
TYPICAL = np.array([[1050, 8.8, 0.60, 37.0, 65.0], [1280, 9.3, 0.55, 33.0, 78.0], [1560, 10.2, 1.10, 29.0, 92.0], [1680, 10.2, 0.65, 23.0, 82.0], [1240, 10.3, 0.45, 16.0, 30.0]])
SPREAD = np.array([130.0, 0.8, 0.18, 1.5, 5.0])
LEAST, VOLATILE, CAKING = 0.05, (24.0, 29.0), (68.0, 82.0)


def make(rng, n):
    """Rows of what the coals cost and are, with the limits of ash and sulphur for the blend."""
    coals = TYPICAL[None] + SPREAD * rng.normal(0, 1, (n, 5, 5))
    coals[:, :, 1:3] = np.clip(coals[:, :, 1:3], [5, 0.2], None)
    return np.concatenate([coals.reshape(n, 25), rng.uniform(9.4, 10.6, (n, 1)), rng.uniform(0.58, 0.85, (n, 1))], 1).astype(F)


def optimum(row):
    """Shares by linear programming, or None where no blend keeps the limits."""
    c = row[:25].reshape(5, 5).astype(float)
    upper = np.stack([c[:, 1], c[:, 2], c[:, 3], -c[:, 3], c[:, 4], -c[:, 4]])
    limit = [row[25], row[26], VOLATILE[1], -VOLATILE[0], CAKING[1], -CAKING[0]]
    r = linprog(c[:, 0], A_ub=upper, b_ub=limit, A_eq=np.ones((1, 5)), b_eq=[1.0], bounds=[(LEAST, 1)] * 5)
    return r.x if r.status == 0 else None


class Net(nn.Module):
    """`[n, 27]` → shares of the coals, cost, ash, sulphur, volatile matter and caking index of the blend, ash and sulphur over their limits `[n, 12]`."""

    def __init__(self):
        super().__init__()
        mean = np.concatenate([TYPICAL.ravel(), [10.0, 0.72]])
        std = np.concatenate([np.tile(SPREAD, 5), [0.35, 0.08]])
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.body = nn.Sequential(nn.Linear(27, 112), nn.ReLU(), nn.Linear(112, 112), nn.ReLU(), nn.Linear(112, 5))

    def forward(self, x):
        share = LEAST + (1 - 5 * LEAST) * torch.softmax(self.body((x - self.mean) / self.std), 1)
        coals = x[:, :25].reshape(-1, 5, 5)
        blend = (share[:, :, None] * coals).sum(1)
        return torch.cat([share * 100, blend, blend[:, 1:3] - x[:, 25:]], 1)


def excess(x, out):
    """By how much a blend is outside of each limit, [n, 6]."""
    ash, sulphur, volatile, g = (out[:, k] for k in range(6, 10))
    over = [ash - x[:, 25], sulphur - x[:, 26], volatile - VOLATILE[1], VOLATILE[0] - volatile, g - CAKING[1], CAKING[0] - g]
    return over


def yard():
    """Heaps of coal under a hall's roof, with a stacker's boom."""
    def furnish(s, rng):
        for x, z, r, h in ((-4.6, 5.5, 2.6, 2.3), (0.2, 7.0, 2.9, 2.7), (5.0, 5.5, 2.5, 2.2), (2.6, 11.0, 2.7, 2.6), (-3.4, 11.0, 2.6, 2.4)):
            tone = np.array([0.036, 0.037, 0.04]) * rng.uniform(0.7, 1.9)
            for k in range(12):                                         # a cone of discs
                y, wide = h * k / 12, r * (1 - k / 12)
                s.capsule((x - 0.02, y, z), (x + 0.02, y, z), wide * 0.55 + 0.12, tone, 0.5, tex="lumps", bump=0.9, shadow=k == 4)
            s.box((x, 0.02, z), (r, 0.05, r), 0, tone, 0.3, tex="lumps", bump=1.2, shadow=False)
        s.box((0.2, 4.6, 8.4), (0.22, 0.18, 4.0), 0.0, (0.44, 0.31, 0.05), 0.3)
        s.capsule((0.2, 4.6, 12.2), (0.2, 7.0, 12.2), 0.2, (0.44, 0.31, 0.05), 0.3)
        rail(s, (-7, 2.2), (7, 2.2))
    return hall(83, furnish, eye=(-1.5, 3.4, -3), look=(0.3, 1.2, 6))


def main():
    torch.manual_seed(1)
    x = torch.from_numpy(make(np.random.default_rng(121), 30000))
    net, price = Net(), torch.tensor([260.0, 1600.0, 60.0, 60.0, 22.0, 22.0])

    def loss(j):
        out = net(x[j])
        over = torch.stack(excess(x[j], out), 1)
        margin = torch.tensor([0.02, 0.004, 0.05, 0.05, 0.15, 0.15])
        return (out[:, 5] / 4 + (nn.functional.relu(over + margin) * price).sum(1)).mean()
    train(net, loss, len(x), 50, 256, 4e-3, decay=1e-5, clip=20)
    pack = Pack("coal-blending")
    run = pack.save_model(exported(net, x[:1], ["coals"], ["blend"]))
    rows = make(np.random.default_rng(122), 700)
    pairs = [(r, s) for r in rows if (s := optimum(r)) is not None]
    t, best = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    told = np.concatenate([run.run(None, {"coals": r[None]})[0] for r in t])
    cost = lambda share: (share * t[:, :25].reshape(-1, 5, 5)[:, :, 0]).sum(1)
    recipe = best.mean(0)                        # the one recipe that does best on average
    fixed = np.concatenate([np.tile(recipe * 100, (len(t), 1)), (recipe[None, :, None] * t[:, :25].reshape(-1, 5, 5)).sum(1)], 1)
    allowed = np.array([0.05, 0.01, 0.2, 0.2, 0.5, 0.5])
    kept = lambda out: (np.stack(excess(t, out), 1) <= allowed).all(1)
    words = f"留出的 {len(t)} 组合成煤价与煤质（有可行配比的）", f"{len(t)} held-out synthetic sets of coals for which a blend exists"
    pack.metric("limits-kept", kept(told).mean(), kept(fixed).mean(), words[0] + "，灰分、硫分、挥发分、黏结指数都在限内的比例（容许灰分 0.05%、硫 0.01%）；基线为固定的平均配比", words[1] + ", share with all limits kept (ash to 0.05 %, sulphur to 0.01 %); baseline is the mean recipe")
    pack.metric("cost-over-optimum", (cost(told[:, :5] / 100) - cost(best)).mean(), (cost(np.tile(recipe, (len(t), 1))) - cost(best)).mean(), words[0] + "，比线性规划的最低成本高多少（元/吨）；基线同上，且多半超限", words[1] + ", cost over the optimum of linear programming (yuan/t); baseline as above, which mostly breaks limits")
    pack.metric("mae-share", np.abs(told[:, :5] / 100 - best).mean() * 100, np.abs(recipe - best).mean() * 100, words[0] + "，各煤配比与最优配比之差（百分点）；基线同上", words[1] + ", shares against those of the optimum in points; baseline as above")
    rng, picked = np.random.default_rng(123), {}
    while len(picked) < 3:
        r = make(rng, 1)[0]
        s = optimum(r)
        name = "impossible" if s is None and r[26] < 0.60 else "strict" if s is not None and r[25] < 9.8 else "usual" if s is not None and 10.0 < r[25] < 10.3 else ""
        if name and name not in picked:
            picked[name] = (r, s)
    order = [(n, *picked[n]) for n in ("usual", "strict", "impossible")]
    pack.golden([(n, csv_bytes(COLUMNS, r[None], 3), "csv", {"values": {"cost": [round(float((s * r[:25].reshape(5, 5)[:, 0]).sum()), 1), 25]}} if s is not None else None) for n, r, s in order])

    def draw(pack, results):
        c = Cover(yard())
        c.title(pack.m["title"], "元/吨 yuan/t")
        v = {k["id"]: k["value"] for k in results[0]["values"]}
        c.panel((40, 300, 600, 706))
        c.bars((70, 318, 570, 690), [NAMES[k][0] for k in COALS], [v[k] / 100 for k in COALS], [AMBER, STEEL, GREEN, "#8a6fc0", MUTED])
        c.panel((640, 500, 1240, 706))
        c.text((670, 516), f"成本 {v['cost']:.0f} 元/吨", 34, AMBER, True)
        c.text((670, 572), f"灰分 {v['ash']:.2f}%   硫分 {v['sulphur']:.2f}%", 26)
        c.text((670, 618), f"挥发分 {v['volatile']:.1f}%   黏结指数 {v['g_index']:.0f}", 26)
        c.text((670, 664), f"限值：灰分 {order[0][1][25]:.2f}%，硫分 {order[0][1][26]:.2f}%", 20, MUTED)
        d = Canvas()
        d.head({"zh": "比最优配比贵多少", "en": "Cost over the optimum"}, f"{(cost(told[:, :5] / 100) - cost(best)).mean():.1f}")
        box = (120, 200, 1200, 620)
        d.frame(box)
        edges = np.linspace(-40, 140, 61)
        for q, color, gap in ((cost(np.tile(recipe, (len(t), 1))) - cost(best), MUTED, 9), (cost(told[:, :5] / 100) - cost(best), AMBER, 0)):
            h = np.histogram(q, edges)[0] / len(t)
            for k, f in enumerate(h):
                x0 = box[0] + k * 18
                d.draw.rectangle([x0 + gap, box[3] - min(1, f / 0.3) * 420, x0 + gap + 8, box[3]], fill=color)
        d.ticks(box, (-40, 140), (0, 0.3), 6, 3)
        d.text((120, 666), "橙：本应用  灰：固定的平均配比（低于 0 的超出了限值）  横轴：元/吨", 20, MUTED)
        return [("cover.jpg", c.image, "合成的储煤场，前面是五种煤的配比、成本和配合煤质量", "A rendered coal store, in front of it the shares of five coals, the cost and the blend's quality"),
                ("cost.jpg", d.image, "比线性规划最优成本高出的分布", "Cost over the optimum of linear programming")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
