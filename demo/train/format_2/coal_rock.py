"""Coal and rock at the longwall face: semantic segmentation. Scenes are rendered, a small convolutional net is fitted."""
from packs import *
from render import *
import torch
from torch import nn

torch.set_num_threads(1)
TW, TH = 320, 180


def scene(seed, w, h, rock=None):
    rng = np.random.default_rng(seed)
    x0 = rng.uniform(1.7, 2.6)                       # face, to the right of the camera
    s = Scene(rng, w, h, (rng.uniform(-0.3, 0.5), rng.uniform(1.3, 1.9), 0), (x0 * rng.uniform(0.75, 1.15), rng.uniform(0.9, 1.5), rng.uniform(2.2, 4.2)), fov=rng.uniform(62, 76), roll=rng.uniform(-0.05, 0.05))
    high = rng.uniform(2.5, 3.1)
    kind = rng.random() if rock is None else rock
    roof0 = high - (rng.uniform(0.3, 1.2) if kind > 0.35 else rng.uniform(-0.2, 0.05))
    floor0 = rng.uniform(0.2, 0.6) if rng.random() < 0.35 else -0.3
    parting = rng.uniform(0.7, 1.6) if kind > 0.6 else None
    thick = rng.uniform(0.12, 0.45)
    fault = rng.uniform(2, 7) if rng.random() < 0.35 else 99
    throw = rng.uniform(-0.7, 0.7)
    dip, wave, ph = rng.uniform(-0.09, 0.09), rng.uniform(0, 0.15), rng.uniform(0, 6)
    rock_color = np.array([0.34, 0.32, 0.29]) * rng.uniform(0.55, 1.0) * (1 + rng.normal(0, 0.04, 3))
    coal_color = np.array([0.042, 0.044, 0.048]) * rng.uniform(0.7, 1.7)
    sheen = rng.uniform(0.35, 1.1)
    off = rng.uniform(0, 50)
    dusty = rng.uniform(0, 0.5)

    def is_rock(z, y):
        n, _, _ = sample("smooth", z + off, y, 0.35, np.full(len(z), 1e-3, F))
        f, _, _ = sample("rough", z + off, y, 0.5, np.full(len(z), 1e-3, F))
        at = y - dip * z - wave * np.sin(z * 0.9 + ph) - (n - 0.5) * 0.35 - (f - 0.5) * 0.16 - throw * (z + 0.3 * y > fault)
        out = (at > roof0) | (at < floor0)
        if parting is not None:
            out |= np.abs(at - parting) < thick / 2
        return out, at

    def face(p, lod):
        z, y = p[:, 2], p[:, 1]
        r, at = is_rock(z, y)
        n = np.zeros_like(p)
        n[:, 0] = -1
        c, cu, cv = sample("coal", z + off, y, 0.62, lod)
        c2, cu2, cv2 = sample("lumps", z + off, y, 0.23, lod)
        t, tu, tv = sample("strata", (z + off) * 0.35, at, 0.55, lod)
        g, gu, gv = sample("rough", z, y, 0.8, lod)
        a = coal_color[None] * (0.35 + 0.9 * c + 0.4 * c2)[:, None]
        layer = np.clip((np.abs((at * 7) % 1 - 0.5) * 5), 0.75, 1)   # bright and dull bands
        a *= layer[:, None]
        a[r] = (rock_color[None] * (0.35 + 0.75 * t[r] + 0.35 * g[r])[:, None])
        dust = dusty * np.clip(c + g - 0.5, 0, 1) * 0.35
        a = a * (1 - dust[:, None]) + np.array([0.13, 0.12, 0.11], F) * dust[:, None]
        du = np.where(r, 0.5 * tu + 0.5 * gu, 1.2 * cu + 0.9 * cu2)
        dv = np.where(r, 0.9 * tv + 0.5 * gv, 1.2 * cv + 0.9 * cv2)
        n[:, 2] -= du
        n[:, 1] -= dv
        n = unit(n)
        return a, n, np.where(r, 0.03, sheen * (0.4 + c)).astype(F)

    s.plane(0, x0, face, 1, lambda p: (p[:, 1] > 0) & (p[:, 1] < high) & (p[:, 2] > -2))
    hit = s.id == 1
    p = s.o + s.t[hit, None] * s.d[hit]
    r, _ = is_rock(p[:, 2], p[:, 1])
    s.id[hit] = np.where(r, 2, 1)
    # roof supports: canopy in panels, legs; floor; conveyor with coal, spill plate
    step, ph2 = 1.5, rng.uniform(0, 1.5)
    steel = np.array([0.20, 0.19, 0.16]) * rng.uniform(0.6, 1.4)

    def canopy(p, lod):
        a, n, sp = ground(steel, "rough", 0.7, 0.35, 0.25, normal=(0, -1, 0))(p, lod)
        gap = np.abs((p[:, 2] + ph2) % step - step / 2) > step / 2 - 0.05
        a[gap] *= 0.15
        rib = np.abs((p[:, 2] + ph2) % (step / 3) - step / 6) < 0.03
        a[rib] *= 1.5
        n[rib, 2] += 0.5
        return a, unit(n), sp
    s.plane(1, high, canopy, 0, lambda p: p[:, 0] < x0 + 0.02)
    s.plane(1, 0.0, ground((0.10, 0.10, 0.095), "lumps", 0.5, 1.0, 0.1, contrast=1.2, wet=0.3), 0, lambda p: p[:, 0] < x0 + 0.02)
    s.plane(0, -3.2, ground((0.12, 0.12, 0.11), "rough", 0.5, 0.5, axes=(2, 1), normal=(1, 0, 0)), 0)
    for k in range(7):
        z = 0.6 + k * step - ph2 + 0.75
        lx = x0 - rng.uniform(2.6, 2.8) if z > 1.9 else x0 - 3.1
        s.capsule((lx, 0.1, z), (lx + 0.25, high * 0.55, z), 0.13, steel * 0.9, 0.3, bump=0.03)
        s.capsule((lx + 0.25, high * 0.55, z), (lx + 0.4, high, z), 0.085, (0.22, 0.22, 0.22), 0.8, bump=0.01)
        if rng.random() < 0.5:   # face guard hanging from the canopy
            s.box((x0 - 0.35, high - 0.3, z), (0.04, 0.32, 0.55), 0, steel * 0.8, 0.25, 0, rollz=rng.uniform(-0.2, 0.7))
        s.capsule((lx + 0.1, high - 0.4, z - 0.7), (lx + 0.12, high - 0.55, z + 0.7), 0.022, (0.05, 0.05, 0.05), 0.3, shadow=False)
    belt = x0 - 0.85
    s.box((belt - 0.42, 0.34, 8), (0.03, 0.3, 12), 0, steel * 1.3, 0.4, 0, shadow=False)
    s.plane(1, 0.30 + rng.uniform(0, 0.12), ground(coal_color * 1.1, "lumps", 0.45, 1.7, sheen, contrast=1.6), 0, lambda p: (p[:, 0] > belt - 0.42) & (p[:, 0] < belt + 0.5))
    if rng.random() < 0.4:   # shearer drum and arm
        z = rng.uniform(3.2, 6.5)
        y = rng.uniform(0.8, high - 0.7)
        s.capsule((x0 - 0.75, y, z), (x0 - 0.2, y, z), 0.62, (0.16, 0.14, 0.12), 0.5, 0, bump=0.5)
        for q in range(14):
            an = q * 0.9
            s.capsule((x0 - 0.7 + 0.04 * q, y + 0.62 * np.sin(an), z + 0.62 * np.cos(an)), (x0 - 0.7 + 0.04 * q, y + 0.72 * np.sin(an), z + 0.72 * np.cos(an)), 0.045, (0.3, 0.27, 0.2), 0.6, shadow=False)
        s.box((x0 - 1.0, (y + 0.5) / 2 + 0.3, z + 0.9), (0.2, 0.22, 0.8), 0, (0.42, 0.30, 0.06), 0.3, 0, pitch=rng.uniform(-0.3, 0.3))
    s.lamp((s.o[0] - 0.15, s.o[1] + 0.2, s.o[2] - 0.1), (1, 0.97, 0.9), rng.uniform(4, 10), (x0 * rng.uniform(0.6, 1.0), rng.uniform(-0.35, 0.1), rng.uniform(2.0, 4)), rng.uniform(0.4, 0.72), False, 0)
    for k in range(4):
        s.lamp((x0 - 1.9, high - 0.15, 1.2 + k * 4.2 + rng.uniform(-0.5, 0.5)), (1, 0.95, 0.85), rng.uniform(1.2, 4), shadow=k < 2, glow=0.05)
        s.capsule((x0 - 1.9, high - 0.12, 1.0 + k * 4.2), (x0 - 1.9, high - 0.12, 1.4 + k * 4.2), 0.04, (1, 1, 1), 0, 0, shadow=False, emit=(2, 1.9, 1.7))
    ids = s.ids().copy()
    ids.ravel()[s.t > 14] = 0    # beyond that nobody can tell
    x = camera(rng, s.shade(haze=rng.uniform(0.02, 0.10), exposure=2.0), dust=(0, 0.10))
    return x, ids


CLASSES = ["nothing", "coal", "rock"]


def train_scene(seed):
    x, ids = scene(seed, 320, 180) if seed % 6 else scene(seed, 640, 360)
    if x.shape[1] != TW:
        x, ids = half(x, (TW, TH)), ids[::2, ::2]
    return x, ids.astype(np.uint8)


def block(a, b, stride=1, dil=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, dil, dil), nn.BatchNorm2d(b), nn.ReLU())


class Net(nn.Module):
    """1/4 resolution out, context by dilated convolutions at 1/8; two maps of position are added, as the scene is built alike."""
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(nn.Conv2d(3, 20, 6, 4, 1), nn.BatchNorm2d(20), nn.ReLU()), block(20, 20)
        self.c = nn.Sequential(block(22, 32, 2), block(32, 32), block(32, 32, 1, 2), block(32, 32, 1, 4))
        self.e = nn.Conv2d(32, 12, 1)
        self.d = nn.Sequential(block(32, 16), nn.Conv2d(16, 3, 1))
        y, x = torch.meshgrid(torch.linspace(-1, 1, TH // 4), torch.linspace(-1, 1, TW // 4), indexing="ij")
        self.register_buffer("where", torch.stack([x, y])[None])

    def forward(self, x):
        b = self.b(self.a(x))
        c = self.c(torch.cat([b, self.where.expand(b.shape[0], -1, -1, -1) if self.training else self.where.repeat(b.shape[0], 1, 1, 1)], 1))
        c = nn.functional.interpolate(self.e(c), size=(TH // 4, TW // 4), mode="bilinear", align_corners=False)
        return self.d(torch.cat([b, c], 1))


def tensor(pictures):
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def miou(truth, guess):
    return np.mean([((truth == k) & (guess == k)).sum() / max(1, ((truth == k) | (guess == k)).sum()) for k in range(3)])


def main():
    torch.manual_seed(1)
    data = render_many(train_scene, range(1000, 1320))
    x, y = tensor([d[0] for d in data]), torch.from_numpy(np.stack([d[1][2::4, 2::4] for d in data])).long()
    net = Net()
    epochs = 14
    opt = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 6e-3, total_steps=epochs * (len(x) // 8))
    for e in range(epochs):
        total = 0
        order = torch.randperm(len(x))
        for i in range(0, len(x) - 7, 8):
            j = order[i:i + 8]
            xb, yb = x[j], y[j]
            xb = xb * (0.7 + 0.6 * torch.rand(8, 1, 1, 1)) + 0.03 * torch.randn(8, 1, 1, 1)
            if torch.rand(1) < 0.5:
                xb, yb = xb.flip(3), yb.flip(2)
            loss = nn.functional.cross_entropy(net(xb), yb, weight=torch.tensor([1.0, 1.0, 1.3]))
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += float(loss.detach())
        print(e, total / (len(x) // 8), flush=True)
    net.eval()
    pack = Pack("coal-rock")
    path = BUILD / "coal-rock.onnx"
    torch.onnx.export(net, (x[:1],), str(path), input_names=["x"], output_names=["logits"], opset_version=17, dynamo=False)
    model = pin(onnx.load(str(path)))
    run = pack.save_model(model)
    # held out, full size
    test = render_many(Full(), range(90000, 90036))
    truth = np.stack([t[1] for t in test])
    guess = np.stack([run.run(None, {"x": tensor([t[0]]).numpy()})[0][0].argmax(0) for t in test])
    prior = np.stack([(y.numpy() == k).mean(0) for k in range(3)]).argmax(0)
    base = np.broadcast_to(prior, truth.shape)
    grey = np.stack([np.asarray(Image.fromarray(t[0]).convert("L"))[2::4, 2::4] for t in test])
    cut = np.median(np.stack([np.asarray(Image.fromarray(d[0]).convert("L"))[2::4, 2::4] for d in data])[(y == 2).numpy()])
    bright = np.where(prior == 0, 0, np.where(grey >= cut, 2, 1))
    pack.metric("mean-iou", miou(truth, guess), max(miou(truth, base), miou(truth, bright)), "留出的 36 张合成图像，煤、岩、其他三类平均交并比；基线取逐位置最常见类别与灰度阈值中较好者",
                "36 held-out synthetic pictures, mean IoU of coal, rock and nothing; baseline is the better of the commonest class at each place and a threshold on brightness")
    share = lambda m: (m == 2).mean((1, 2))
    pack.metric("mae-rock-share", np.abs(share(truth) - share(guess)).mean(), np.abs(share(truth) - np.median((y.numpy() == 2).mean((1, 2)))).mean(),
                "同上，岩石占画面比例的平均绝对误差；基线总答训练集中位数", "the same pictures, mean absolute error of the share of rock; baseline always answers the median of the training pictures")
    samples = []
    for seed, name in ((91001, "face"), (91004, "face"), (91007, "face"), (91010, "face")):
        xx, ids = scene(seed, 640, 360, rock={91001: 0.9, 91004: 0.1, 91007: 0.5, 91010: 0.95}[seed])
        png, _ = small_png(xx)
        samples.append((name, png, "png", {"values": {"rock": [round(float((ids == 2).mean()), 4), 0.06], "coal": [round(float((ids == 1).mean()), 4), 0.06]}}))
    pack.golden(samples)
    pack.finish(draw)


class Full:
    def __call__(self, seed):
        x, ids = scene(seed, *((640, 360) if seed % 4 == 0 else (320, 180)))
        return half(x, (TW, TH)), ids[4::8, 4::8] if seed % 4 == 0 else ids[2::4, 2::4]


def draw(pack, results):
    names, colors = label_names(pack), {"coal": STEEL, "rock": AMBER}
    images = []
    for g, r in zip(pack.m["golden"], results):
        v = {k["id"]: k["value"] for k in r["values"]}
        p = Image.open(pack.folder / g["input"])
        images.append(overlay(p, r, colors, names, lines=[f"煤 {v['coal']:.0%}   岩 {v['rock']:.0%}   岩占煤岩 {v['rock'] / max(1e-6, v['rock'] + v['coal']):.0%}"]))
    plain = Image.open(pack.folder / pack.m["golden"][0]["input"]).convert("RGB").resize(images[0].size, Image.Resampling.BICUBIC)
    return [("cover.jpg", images[0], "合成的采煤工作面画面，煤与岩石分别着色", "A synthetic longwall face with coal and rock coloured"),
            ("samples.jpg", montage([plain] + images[1:4]).resize((1446, 816)), "原始画面与三张识别结果", "A raw picture and three results")]


if __name__ == "__main__":
    main()
