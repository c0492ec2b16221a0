"""Smoke and flames at the doors of a coke oven battery: semantic segmentation. Batteries are rendered, leaks are laid over them in linear light."""
import coal_rock
from places import *
from training import *

TW, TH, LABELS = coal_rock.TW, coal_rock.TH, ["smoke", "flame"]
PITCH = 1.35                                    # metres from oven to oven


def battery(rng, w, h):
    """A battery seen along its bench, in linear light; with the places of its doors in pixels, (x, top, foot, metres in pixels)."""
    side = rng.choice([-1, 1])
    wall = side * rng.uniform(2.6, 3.6)
    s = Scene(rng, w, h, (rng.uniform(-0.6, 0.6), rng.uniform(2.0, 3.6), -1.5), (wall * rng.uniform(0.5, 0.9), rng.uniform(2.0, 3.0), rng.uniform(6, 9)), fov=rng.uniform(58, 72), roll=rng.uniform(-0.03, 0.03))
    high, phase = rng.uniform(5.2, 6.2), rng.uniform(0, PITCH)
    brick, steel = np.array([0.20, 0.12, 0.085]) * rng.uniform(0.6, 1.2), np.array([0.15, 0.13, 0.12]) * rng.uniform(0.6, 1.3)

    def front(p, lod):
        z, y = p[:, 2], p[:, 1]
        v, du, dv = sample("rough", z, y, 0.5, lod)
        soot, _, _ = sample("smooth", z, y, 0.35, lod)
        n = np.zeros_like(p)
        n[:, 0] = -side
        a = (brick[None] * (0.4 + 0.9 * v)[:, None]).astype(F)
        course = np.abs(y % 0.16) < 0.012
        a[course & (lod < 0.03)] *= 0.6
        at = (z + phase) % PITCH - PITCH / 2
        door = (np.abs(at) < 0.34) & (y > 0.3) & (y < high - 0.7)
        a[door] = (steel[None] * (0.25 + 0.5 * v[door])[:, None]) * np.where(np.abs(np.abs(at[door]) - 0.24) < 0.03, 1.7, 1.0)[:, None]
        latch = door & (np.abs((y % (high / 3)) - high / 6) < 0.12)
        a[latch] *= 2.4
        frame = (np.abs(np.abs(at) - 0.37) < 0.04) & (y < high - 0.6)
        a[frame] *= 0.3
        buck = np.abs(at) > PITCH / 2 - 0.11                            # the steel columns between the ovens
        a[buck] = steel * 1.9 * (0.5 + 0.7 * v[buck])[:, None]
        n[buck, 2] += 3 * np.sign(at[buck]) * (PITCH / 2 - np.abs(at[buck]))
        n[:, 2] -= 0.2 * du
        n[:, 1] -= 0.2 * dv
        a *= (0.45 + 0.9 * soot)[:, None]
        return a, unit(n), np.where(door | buck, 0.15, 0.03).astype(F)
    s.plane(0, wall, front, 0, lambda p: (p[:, 1] > 0) & (p[:, 1] < high) & (p[:, 2] < 45))
    s.plane(1, 0, ground(np.array([0.17, 0.155, 0.14]) * rng.uniform(0.6, 1.2), "lumps", 0.4, 0.5, 0.1, contrast=1.0, wet=0.4))
    for x in (-0.55, 0.55):                                             # rails of the machine
        s.box((-wall * 0.35 + x, 0.05, 20), (0.05, 0.06, 24), 0, (0.30, 0.27, 0.25), 0.7, shadow=False)
    s.capsule((wall - side * 0.3, high + 0.5, -2), (wall - side * 0.3, high + 0.5, 45), 0.42, steel * 1.2, 0.3, bump=0.05)    # collecting main
    for k in range(10):
        z = k * PITCH * 2 - phase
        s.capsule((wall + side * 0.3, high, z), (wall - side * 0.2, high + 0.5, z), 0.16, steel * 1.1, 0.3, bump=0.05)
    if rng.random() < 0.6:                                              # a machine further along
        z = rng.uniform(9, 16)

        def windows(p, axis, n, a, sp):
            a[(np.abs(p[:, 1] - 1.0) < 0.45) & (np.abs(p[:, 0]) < 0.75) & (axis == 2)] = (0.02, 0.025, 0.03)
            a[np.abs(p[:, 1] + 0.4) < 0.06] *= 0.4
            return a, sp
        s.box((-wall * 0.35, 2.0, z), (1.0, 2.0, 1.4), 0, [(0.40, 0.27, 0.04), (0.12, 0.20, 0.30), (0.34, 0.10, 0.06)][int(rng.integers(3))], 0.3, bump=0.03, face=windows)
        s.box((-wall * 0.1, 3.2, z), (1.2, 0.25, 0.3), 0, steel, 0.3)
    if rng.random() < 0.5:
        person(s, rng, (-wall * rng.uniform(0.1, 0.4), 0, rng.uniform(4, 8)), rng.uniform(0, 6), lamp=False)
    sun = rng.random() < 0.5
    s.lamp((-wall * 4, 14, rng.uniform(-4, 12)), (1, 0.96, 0.9) if sun else (0.6, 0.7, 1.0), rng.uniform(180, 420) if sun else rng.uniform(25, 90), shadow=sun, glow=0)
    for k in range(4):
        s.lamp((wall - side * 1.2, high + 0.9, 1 + k * 6), (1, 0.85, 0.6), rng.uniform(3, 9) * (0.4 if sun else 1.2), shadow=False, glow=0.03)
    s.lamp((s.o[0], s.o[1] + 0.2, s.o[2]), (1, 1, 1), rng.uniform(0.5, 3), None, 0, False, 0)
    sky = np.array([0.16, 0.18, 0.21]) * (rng.uniform(0.8, 1.8) if sun else rng.uniform(0.05, 0.4))
    x = s.shade(haze=rng.uniform(0.006, 0.02), haze_color=tuple(sky), exposure=1.6, ambient=0.10 if sun else 0.05)
    doors = []
    for k in range(30):
        z = PITCH * (k + 0.5) - phase
        (ax, ay, d), (_, by, _) = s.project([[wall, high - 0.7, z], [wall, 0.3, z]])
        if z > 0.5 and d < 16 and 0.04 * w < ax < 0.96 * w and by > 0.2 * h and ay < 0.8 * h:
            doors.append((ax, max(ay, 0.05 * h), min(by, 0.97 * h), s.k / d))
    return x, doors, float(np.mean(sky)) + float(x.mean()) * 0.6


def plume(rng, shape, at, tall, wide, lean, rough=1.0):
    """Density 0 to 1 of something that rises from `at` (x, y) in pixels, widens and drifts."""
    h, w = shape
    yy, xx = np.mgrid[0:h, 0:w].astype(F)
    up = (at[1] - yy) / tall
    inside = (up > -0.05) & (up < 1)
    u = np.clip(up, 0, 1)
    big, fine = smooth_noise(rng, w, h, max(4, int(w / max(8.0, wide * 2.2)))), smooth_noise(rng, w, h, max(8, int(w / max(3.0, wide * 0.6))))
    centre = at[0] + lean * tall * u ** 1.5 + (big - 0.5) * wide * 2.2 * u * rough
    width = wide * (0.28 + 1.1 * u ** 0.8)
    r = np.abs(xx - centre) / width
    body = np.exp(-r * r * 1.6) * (1 - u) ** 1.1 * np.clip((up + 0.05) * 12, 0, 1)
    return np.where(inside, np.clip(body * (0.35 + 0.9 * big + 0.7 * (fine - 0.35)) * 1.25, 0, 1), 0).astype(F)


def leak(rng, x, doors, light, wanted=None):
    """The picture with leaks and distracting steam; and a class for each pixel, 1 smoke, 2 flame."""
    h, w = x.shape[:2]
    x = x.copy()
    density = np.zeros((3, h, w), F)
    if rng.random() < 0.4:                                              # steam of the quenching tower stands over the end of the battery
        far = min(doors, key=lambda d: d[3])
        a = plume(rng, (h, w), (far[0] + rng.uniform(-0.2, 0.2) * w, far[1] + 0.02 * h), rng.uniform(0.25, 0.6) * h, rng.uniform(0.05, 0.14) * w, rng.uniform(-0.6, 0.6)) * rng.uniform(0.3, 0.8)
        a *= (np.mgrid[0:h, 0:w][0] < far[1] + 0.01 * h)
        x = x * (1 - a[..., None]) + a[..., None] * np.array([0.75, 0.78, 0.8], F) * (0.3 + 1.2 * light)
    kinds = (["smoke"] * int(rng.choice([0, 1, 2], p=[0.4, 0.4, 0.2])) + ["flame"] * int(rng.choice([0, 1, 2], p=[0.55, 0.33, 0.12]))) if wanted is None else wanted
    for kind in kinds:
        ax, top, foot, metre = doors[int(rng.integers(len(doors)))] if wanted is None else sorted(doors, key=lambda d: -d[3])[int(rng.integers(min(5, len(doors))))]
        where = rng.random()
        if kind == "smoke":
            y = foot - rng.uniform(0, 0.25) * (foot - top) if where < 0.4 else top + rng.uniform(0, 0.3) * (foot - top)
            a = plume(rng, (h, w), (ax + rng.uniform(-0.3, 0.3) * metre, y), rng.uniform(1.2, 4.5) * metre, rng.uniform(0.4, 1.1) * metre, rng.uniform(-0.7, 0.7))
            a = np.clip(a * rng.uniform(0.8, 1.8), 0, 0.95)
            tone = np.array([0.52, 0.45, 0.32], F) * rng.uniform(0.5, 1.2) + rng.uniform(-0.03, 0.05)   # raw gas is yellow to brown
            x = x * (1 - a[..., None]) + a[..., None] * tone * (0.2 + 1.3 * light)
            density[1] = np.maximum(density[1], a)
        else:
            y = foot - rng.uniform(0, 0.85) * (foot - top)
            a = plume(rng, (h, w), (ax + rng.choice([-0.35, 0.35]) * metre, y), rng.uniform(0.4, 1.5) * metre, rng.uniform(0.09, 0.26) * metre, rng.uniform(-0.25, 0.25), 0.7)
            a = np.clip(a * 1.6, 0, 1)
            x = x + (a[..., None] * np.array([2.4, 0.95, 0.16], F) + (a ** 3)[..., None] * np.array([1.0, 1.1, 0.5], F)) * rng.uniform(0.5, 1.3)
            glow = np.asarray(Image.fromarray(a).resize((max(2, w // 16), max(2, h // 16)), Image.Resampling.BOX).resize((w, h), Image.Resampling.BICUBIC))
            x = x * (1 + 2.0 * np.clip(glow, 0, 1)[..., None] * np.array([1.0, 0.55, 0.2], F))
            density[2] = np.maximum(density[2], a)
    ids = np.where(density[2] > 0.30, 2, np.where(density[1] > 0.22, 1, 0)).astype(np.uint8)
    return camera(rng, x.astype(F), dust=(0, 0.05), mono=0.08), ids


def group(seed, each=12, size=(320, 180)):
    """One battery under several conditions: rendering it is what takes time."""
    rng = np.random.default_rng(seed)
    x, doors, light = battery(rng, *size)
    return [leak(rng, x, doors, light) for _ in range(each)] if len(doors) > 2 else []


def large(seed, wanted=None):
    rng = np.random.default_rng(seed)
    while True:
        x, doors, light = battery(rng, 640, 360)
        if len(doors) > 2:
            return leak(rng, x, doors, light, wanted)


def held_out(seed):
    x, ids = large(seed)
    return half(x, (TW, TH)), ids[4::8, 4::8]


GOLD = [("flame-and-smoke", 97001, ["flame", "smoke"]), ("tight", 97002, []), ("smoke", 97003, ["smoke"]), ("flame", 97006, ["flame"])]


def main():
    torch.manual_seed(1)
    data = [d for g in render_many(group, range(7000, 7048)) for d in g]
    x, y = coal_rock.tensor([d[0] for d in data]), torch.from_numpy(np.stack([d[1][2::4, 2::4] for d in data])).long()
    net = coal_rock.Net()
    weight = torch.tensor([1.0, 2.0, 3.0])

    def loss(j):
        xb, yb = x[j] * (0.75 + 0.5 * torch.rand(len(j), 1, 1, 1)), y[j]
        if torch.rand(1) < 0.5:
            xb, yb = xb.flip(3), yb.flip(2)
        return nn.functional.cross_entropy(net(xb), yb, weight=weight)
    train(net, loss, len(x), 12, 8, 6e-3, say=True)
    pack = Pack("oven-leak")
    run = pack.save_model(exported(net, x[:1], ["x"], ["logits"]))
    test = render_many(held_out, range(98000, 98036))
    truth = np.stack([t[1] for t in test])
    p = np.stack([run.run(None, {"x": coal_rock.tensor([t[0]]).numpy()})[0][0] for t in test])
    p = np.exp(p - p.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    guess = p.argmax(1)
    f1 = lambda g, k: 2 * ((g == k) & (truth == k)).sum() / max(1, (g == k).sum() + (truth == k).sum())
    small = np.stack([np.asarray(Image.fromarray(t[0]).resize((TW // 4, TH // 4), Image.Resampling.BOX), F) / 255 for t in test])
    best = lambda field, k: max(f1(np.where(field >= q, k, 0), k) for q in np.quantile(field, np.linspace(0.5, 0.999, 60)))
    orange, bright = small[..., 0] - small[..., 2], small.mean(3)
    words = "留出的 36 张合成图像", "36 held-out synthetic pictures"
    pack.metric("f1-flame", f1(guess, 2), max(best(orange, 2), best(bright, 2)), words[0] + "，火焰格子的 F1；基线为红蓝差或亮度的最佳阈值", words[1] + ", F1 of cells of flame; baseline is the best threshold on red less blue or on brightness")
    pack.metric("f1-smoke", f1(guess, 1), max(best(bright, 1), best(-np.abs(orange - 0.1), 1)), words[0] + "，烟气格子的 F1；基线为亮度或色调的最佳阈值", words[1] + ", F1 of cells of smoke; baseline is the best threshold on brightness or tone")
    there = lambda g, k, least: (g == k).mean((1, 2)) >= least
    right = np.mean([there(guess, k, 0.001) == there(truth, k, 0.0005) for k in (1, 2)])
    pack.metric("picture-accuracy", right, max(np.mean([there(truth, k, 0.0005) == v for k in (1, 2)]) for v in (False, True)), words[0] + "，整幅是否有烟、有火的正确率；基线总答同一结果", words[1] + ", whether there is smoke and whether there is flame at all; baseline always answers the same")
    samples = []
    for name, seed, wanted in GOLD:
        xx, ids = large(seed, wanted)
        samples.append((name, jpeg(xx), "jpg", {"counts": {l: int((ids == k).mean() > 0.0005) for k, l in enumerate(LABELS, 1)}}))
    pack.golden(samples)
    pack.finish(draw)


def draw(pack, results):
    names, colors = label_names(pack), {"smoke": "#59b3d6", "flame": RED}
    images = []
    for g, r in zip(pack.m["golden"], results):
        v = {k["id"]: k["value"] for k in r["values"]}
        images.append(overlay(Image.open(pack.folder / g["input"]), r, colors, names, lines=[f"冒烟 {v['smoke']:.1%}   冒火 {v['flame']:.1%}"], alpha=0.45))
    return [("cover.jpg", images[0], "合成的焦炉炉门画面，冒烟与冒火处着色", "A rendered coke oven battery with smoke and flame coloured"),
            ("samples.jpg", montage(images).resize((1446, 816)), "四张合成画面，其中一张炉门严密", "Four rendered pictures, one of them with tight doors")]


if __name__ == "__main__":
    main()
