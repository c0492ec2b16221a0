"""How much coal lies on a belt, and the speed that would do: values from a picture. Belts with a heap of coal are rendered by marching rays."""
from places import *
from training import *

TW, TH = 192, 108
RATED = 0.5                                     # height in metres of a full cross-section on the belt 1.2 m wide


def profile(rng):
    """The heap over the belt: height in metres at (x across, z along), and the share of the rated cross-section where the camera looks."""
    full = 0.0 if rng.random() < 0.12 else rng.uniform(0.03, 1.12)
    shift, off = rng.normal(0, 0.07), rng.uniform(0, 60)
    waves = [(rng.uniform(0.3, 1.4), rng.uniform(0, 6), rng.uniform(0, 0.25)) for _ in range(3)]
    lump = rng.uniform(0.02, 0.10)

    def along(z):
        v = np.full_like(z, full)
        for k, ph, a in waves:
            v = v * (1 + a * np.sin(k * z + ph))
        return v

    def height(x, z, lod):
        share = along(z)
        half_width = 0.56 * np.clip(share, 0.0, 1.0) ** 0.4 + 0.02
        u = (x - shift) / half_width
        stone, _, _ = sample("lumps", x + off, z, 0.9, lod)
        fine, _, _ = sample("lumps", x + 3, z + off, 2.4, lod)
        body = RATED * np.clip(share, 0, 1.3) ** 0.6 * np.clip(1 - u * u, 0, 1)
        return np.where(share > 0.01, body + (stone - 0.5) * lump * 2.6 * np.clip(1.15 - u * u, 0, 1) * np.clip(share * 8, 0, 1) + (fine - 0.5) * 0.03 * (np.abs(u) < 1.1), -1).astype(F)

    z = np.linspace(1.2, 5.0, 60).astype(F)
    x = np.linspace(-0.58, 0.58, 60).astype(F)
    gx, gz = np.meshgrid(x, z)
    body = np.clip(height(gx.ravel(), gz.ravel(), np.full(3600, 0.02, F)), 0, None).mean() * 1.16
    return height, float(body / (RATED * 1.12 * 2 / 3))


def scene(seed, w, h, share=None):
    """A conveyor from above and ahead in its roadway; returns the picture and the load as a share of the rated one."""
    rng = np.random.default_rng(seed)
    s = Scene(rng, w, h, (rng.uniform(-0.35, 0.35), rng.uniform(1.9, 2.5), -0.9), (rng.uniform(-0.15, 0.15), 0.7, 3.2), fov=rng.uniform(52, 66), roll=rng.uniform(-0.03, 0.03))
    roadway(s, rng, half=rng.uniform(2.0, 2.6), arches=rng.choice([0.9, 1.2]), wet=0.4)
    while True:
        height, load = profile(rng)
        if share is None or abs(load - share) < 0.03:
            break
    base, dip = 0.85, rng.uniform(0.10, 0.22)     # the belt and its trough
    belt = lambda x: base + dip * np.abs(x / 0.6) ** 1.6
    i = s.grid.ravel()
    d, o = s.d, s.o
    down = d[:, 1] < -0.02
    i, d = i[down], d[down]
    near = ((base + 0.75) - o[1]) / d[:, 1]
    far = np.minimum((base - 0.01 - o[1]) / d[:, 1], 30)
    keep = (far > 0) & (np.abs(o[0] + far * d[:, 0]) < 1.5)
    i, d, near, far = i[keep], d[keep], np.maximum(near[keep], 0.05), far[keep]
    lod = far / s.k
    shifted = rng.uniform(0, 40)
    top = lambda p, lod: belt(p[:, 0]) + np.maximum(height(p[:, 0], p[:, 2], lod) - 0.25 * dip, -0.005)   # coal or belt
    hit = np.full(len(i), np.inf, F)
    left = np.arange(len(i))
    for step in np.linspace(0, 1, 24):
        t = near[left] + step * (far[left] - near[left])
        p = o + t[:, None] * d[left]
        under = (p[:, 1] <= top(p, lod[left])) & (np.abs(p[:, 0]) < 0.6)
        hit[left[under]] = t[under] - 0.5 * (far[left][under] - near[left][under]) / 24
        left = left[~under]
    ok = np.isfinite(hit)
    i, t, d, lod = i[ok], hit[ok], d[ok], lod[ok]
    p = o + t[:, None] * d
    e = 0.012
    move = lambda dx, dz: p + np.array([dx, 0, dz], F)
    gx, gz = (top(move(e, 0), lod) - top(move(-e, 0), lod)) / (2 * e), (top(move(0, e), lod) - top(move(0, -e), lod)) / (2 * e)
    n = unit(np.stack([-np.clip(gx, -2, 2), np.ones(len(p)), -np.clip(gz, -2, 2)], 1).astype(F))
    coal = height(p[:, 0], p[:, 2], lod) > 0.25 * dip
    v, du, dv = sample("coal", p[:, 0] + shifted, p[:, 2], 1.5, t / s.k)
    worn, _, _ = sample("smooth", p[:, 0] * 3, p[:, 2] * 0.2, 0.5, t / s.k)
    n[:, 0] -= 0.5 * du
    n[:, 2] -= 0.5 * dv
    black = np.array([0.040, 0.041, 0.044], F) * rng.uniform(0.7, 1.8)
    a = np.where(coal[:, None], black * (0.35 + 1.1 * v)[:, None], np.array([0.06, 0.06, 0.062], F) * rng.uniform(0.7, 1.5) * (0.6 + 0.7 * worn)[:, None]).astype(F)
    s.put(i, t.astype(F), unit(n), a, np.where(coal, rng.uniform(0.2, 0.9) * (0.4 + v), 0.25 * worn).astype(F), 1)
    for side in (-1, 1):                                                # stringers, idler frames
        s.box((side * 0.78, 0.82, 15), (0.05, 0.07, 17), 0, (0.30, 0.25, 0.10), 0.3, shadow=False)
        for k in range(10):
            z = 0.3 + 1.2 * k + rng.uniform(0, 0.05)
            s.box((side * 0.78, 0.4, z), (0.04, 0.4, 0.04), 0, (0.24, 0.21, 0.12), 0.3, shadow=False)
            s.capsule((side * 0.62, 0.93, z), (side * 0.76, 1.02, z), 0.05, (0.26, 0.25, 0.24), 0.5, shadow=False)
    s.lamp((s.o[0] + rng.uniform(-0.4, 0.4), s.o[1] + 0.3, s.o[2] + 0.4), (1, 0.97, 0.92), rng.uniform(4, 10), (0, -0.35, 1), 0.4, False, 0)
    x = s.shade(haze=rng.uniform(0.01, 0.05), exposure=rng.uniform(1.6, 2.3))
    run = int(rng.integers(1, 1 + max(2, h // 60)))                     # the belt moves while the shutter is open
    mask = (s.ids() == 1)[..., None]
    moved = sum(np.roll(x, k, 0) for k in range(run)) / run
    return camera(rng, np.where(mask, moved, x).astype(F), dust=(0, 0.10), motion=0.1), load


def small(seed):
    x, load = scene(seed, TW, TH)
    return x, load


def full(seed):
    x, load = scene(seed, 320, 180)
    return half(x, (TW, TH)), load


class Net(nn.Module):
    """→ load in % of the rated one, and the speed in % at which the cross-section would be 85 % full, never below 30."""

    def __init__(self):
        super().__init__()
        layer = lambda a, b, stride: nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU())
        self.body = nn.Sequential(layer(3, 16, 2), layer(16, 24, 2), layer(24, 32, 2), layer(32, 32, 1), layer(32, 40, 2))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(40 * 7 * 12, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        load = self.head(self.body(x)) * 30 + 45
        if self.training:
            return load
        load = load.clamp(0, 150)
        return torch.cat([load, (load / 0.85).clamp(30, 100)], 1)


def tensor(pictures):
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


GOLD = [("heavy", 161001, 0.95), ("empty", 161002, 0.0), ("usual", 161003, 0.55), ("thin", 161005, 0.2)]


def main():
    torch.manual_seed(1)
    data = render_many(small, range(160000, 160450))
    x, y = tensor([d[0] for d in data]), torch.tensor([[d[1] * 100] for d in data]).float()
    net = Net()

    def loss(j):
        xb = x[j] * (0.7 + 0.6 * torch.rand(len(j), 1, 1, 1)) + 0.06 * (torch.rand(len(j), 1, 1, 1) - 0.5)
        xb = xb.flip(3) if torch.rand(1) < 0.5 else xb
        return nn.functional.smooth_l1_loss(net(xb), y[j], beta=5.0)
    train(net, loss, len(x), 30, 16, 4e-3, decay=0.02, say=True)
    pack = Pack("coal-flow-speed")
    run = pack.save_model(exported(net, x[:1], ["picture"], ["load"]))
    test = render_many(full, range(162000, 162048))
    truth = np.array([t[1] * 100 for t in test])
    told = np.concatenate([run.run(None, {"picture": tensor([t[0]]).numpy()})[0] for t in test])
    from sklearn.linear_model import Ridge
    plain = lambda p: np.asarray(Image.fromarray(p).convert("L").resize((12, 7), Image.Resampling.BOX), float).ravel() / 255
    ridge = Ridge(1.0).fit([plain(d[0]) for d in data], y[:, 0].numpy())
    base = ridge.predict([plain(t[0]) for t in test])
    words = "留出的 48 张合成图像", "48 held-out synthetic pictures"
    pack.metric("mae-load", np.abs(told[:, 0] - truth).mean(), np.abs(base - truth).mean(), words[0] + "，煤量绝对误差（额定的百分点）；基线为对缩略灰度图的岭回归", words[1] + ", mean absolute error of the load in points of the rated one; baseline is ridge regression on a grey thumbnail")
    over = truth > 85
    pack.metric("accuracy-over-85", ((told[:, 0] > 85) == over).mean(), max(over.mean(), 1 - over.mean()), words[0] + "，煤量是否超过 85% 的正确率；基线总答同一结果", words[1] + ", whether the load is over 85 %; baseline always answers the same")
    samples = []
    for name, seed, share in GOLD:
        p, load = scene(seed, 640, 360, share)
        samples.append((name, small_png(p)[0], "png", {"values": {"load": [round(load * 100, 1), 15]}}))
    pack.golden(samples)
    pack.finish(draw)


def draw(pack, results):
    images = []
    for g, r in zip(pack.m["golden"], results):
        v = {k["id"]: k["value"] for k in r["values"]}
        images.append(overlay(Image.open(pack.folder / g["input"]), {}, {}, {}, lines=[f"煤量 {v['load']:.0f}%   建议带速 {v['speed']:.0f}%"]))
    return [("cover.jpg", images[0], "合成的胶带机画面，标出煤量和建议带速", "A rendered conveyor with its load and the speed advised"),
            ("samples.jpg", montage(images).resize((1446, 816)), "四种煤量的合成画面，其中一张空载", "Four loads, one of them an empty belt")]


if __name__ == "__main__":
    main()
