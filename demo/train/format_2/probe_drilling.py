"""Rods of a probe hole counted from the drill's hydraulics, and what the drill does now: a window of ten minutes."""
from places import *
from training import *

STEPS, ROD_M = 600, 1.0
COLUMNS = ["rotation_rpm", "torque_mpa", "feed_mpa"]
STATES = ["drilling", "rod-change", "stuck", "idle"]
MEAN, STD = np.array([70.0, 7.0, 3.0]), np.array([60.0, 4.0, 2.5])


def record(rng, end=None):
    """Rows a second, the rods added and the state of each second; `end` is the state that it ends in."""
    rows, states, rods = [], [], []
    rpm, hard = rng.uniform(90, 170), rng.uniform(0.7, 1.3)
    state, phase = STATES[int(rng.choice(4, p=[0.55, 0.25, 0.05, 0.15]))], rng.random()

    def add(n, r, t, f, what):
        n = max(1, int(n))
        shape = lambda v: np.asarray(v, float) * np.ones(n)
        rows.append(np.stack([shape(r), shape(t), shape(f)], 1))
        states.append(np.full(n, STATES.index(what)))

    def drill(n):
        n = max(1, int(n))
        wave = np.cumsum(rng.normal(0, 0.15, n))
        add(n, rpm * (1 - 0.02 * wave), (7 + 3 * hard) * (1 + 0.05 * wave), 3.5 + 2.2 * hard + 0.2 * wave, "drilling")

    while sum(map(len, states)) < STEPS + 200:
        if state == "drilling":
            drill(rng.uniform(35, 110) * hard * (phase if not rows else 1))
            state = str(rng.choice(["rod-change", "rod-change", "rod-change", "rod-change", "pause", "stuck", "idle"]))
        elif state == "rod-change":                                     # stop, break the joint, draw back, fit a rod, make the joint
            begin = sum(map(len, states))
            add(rng.uniform(2, 6), 0, 0.8, 0.3, "rod-change")
            add(rng.uniform(2, 5), -rng.uniform(15, 40), rng.uniform(5, 12), 0.3, "rod-change")
            add(rng.uniform(5, 10), 0, 0.7, -rng.uniform(1.5, 3), "rod-change")
            add(rng.uniform(6, 22), 0, 0.6, 0.1, "rod-change")
            add(rng.uniform(3, 7), rng.uniform(15, 45), rng.uniform(3, 9), rng.uniform(0.5, 1.5), "rod-change")
            rods.append((begin, sum(map(len, states))))
            state = "drilling"
        elif state == "pause":                                          # flushing, or somebody looks: no rod is added
            kind = rng.random()
            add(rng.uniform(6, 60), 0 if kind < 0.6 else rpm * 0.5, 0.8 if kind < 0.6 else 3, 0.2, "idle" if kind < 0.6 else "drilling")
            if rng.random() < 0.4:
                add(rng.uniform(5, 9), 0, 0.7, -rng.uniform(1.5, 3), "idle")
            state = "drilling"
        elif state == "stuck":
            n = int(rng.uniform(6, 30))
            add(n, np.clip(rpm * np.linspace(0.8, -0.1, n), 0, None), np.linspace(11, 20, n), 6 + hard, "stuck")
            for _ in range(rng.integers(0, 4)):                         # working it loose
                add(rng.uniform(3, 8), rng.uniform(0, 25), rng.uniform(14, 21), rng.choice([-3.0, 3.0]), "stuck")
            state = "drilling"
        else:
            add(rng.uniform(20, 160), 0, 0.3, 0.0, "idle")
            state = "drilling"
    x, s = np.concatenate(rows), np.concatenate(states)
    smooth = np.array([0.25, 0.5, 0.25])
    x = np.stack([np.convolve(x[:, k], smooth, "same") for k in range(3)], 1)
    x += rng.normal(0, 1, x.shape) * np.array([2.5, 0.35, 0.2]) * rng.uniform(0.6, 1.6)
    ends = [STEPS + k for k in range(200) if s[STEPS + k - 20:STEPS + k].tolist() == [STATES.index(end)] * 20] if end else [STEPS]
    if not ends:
        return record(rng, end)
    a = ends[0] - STEPS
    mask = np.zeros(len(s))
    for b, e in rods:
        mask[b:e] = 1
    mask = mask[a:a + STEPS]
    return x[a:a + STEPS], int((np.diff(np.concatenate([[0], mask])) > 0).sum()), s[a:a + STEPS], mask


def make(rng, count):
    data = [record(rng) for _ in range(count)]
    return [np.array([d[k] for d in data]) for k in range(4)]


class Net(nn.Module):
    """→ (rods added in the window and the metres that is, logits of the state now). Rods are runs of seconds that look like a change."""

    def __init__(self):
        super().__init__()
        layer = lambda a, b, dil: nn.Sequential(nn.Conv1d(a, b, 5, 1, 2 * dil, dil), nn.BatchNorm1d(b), nn.ReLU())
        self.body = nn.Sequential(layer(3, 20, 1), layer(20, 20, 2), layer(20, 20, 4), layer(20, 20, 8))
        self.change, self.state = nn.Conv1d(20, 1, 1), nn.Conv1d(20, 4, 1)

    def maps(self, x):
        f = self.body(x.transpose(1, 2))
        return self.change(f)[:, 0], self.state(f)

    def forward(self, x):
        change, state = self.maps(x)
        on = (nn.functional.avg_pool1d(torch.sigmoid(change)[:, None], 9, 1, 4)[:, 0] > 0.5).float()
        rods = nn.functional.relu(on[:, 1:] - on[:, :-1]).sum(1, keepdim=True) + on[:, :1]
        return torch.cat([rods, rods * ROD_M], 1), state[:, :, -8:].mean(2)


def rig():
    """A drill rig at the heading with a rod in the hole and rods on the floor."""
    def furnish(s, rng):
        yellow = (0.46, 0.30, 0.04)
        s.box((0.2, 0.35, 4.6), (0.75, 0.22, 1.0), 0.0, (0.12, 0.13, 0.14), 0.3)
        for side in (-0.75, 0.75):
            s.capsule((0.2 + side, 0.22, 3.7), (0.2 + side, 0.22, 5.6), 0.2, (0.05, 0.05, 0.05), 0.2, bump=0.3)
        s.box((0.2, 1.0, 4.7), (0.16, 0.10, 1.5), 0, yellow, 0.4, pitch=0.12)
        s.box((0.2, 1.28, 4.0), (0.24, 0.20, 0.28), 0, (0.30, 0.10, 0.05), 0.5)
        s.capsule((0.2, 1.22, 4.2), (0.2, 1.55, 7.4), 0.045, (0.42, 0.40, 0.36), 0.9, bump=0.02)
        s.box((0.95, 0.95, 3.6), (0.18, 0.35, 0.25), 0.3, yellow, 0.3)
        for k in range(5):
            s.capsule((-1.6 + 0.12 * k, 0.06, 2.6), (-1.5 + 0.12 * k, 0.06, 4.6), 0.045, (0.40, 0.38, 0.34), 0.8, bump=0.02)
        person(s, rng, (1.35, 0, 3.5), 4.5, lamp=True)
        person(s, rng, (-0.9, 0, 5.4), 1.0, "crouch", lamp=False)
    return tunnel(67, furnish, look=(0.1, 1.1, 5), end=7.5)


def main():
    torch.manual_seed(1)
    x, rods, s, mask = make(np.random.default_rng(111), 2600)
    tx, trods, ts, _ = make(np.random.default_rng(112), 600)
    scaled = lambda v: torch.from_numpy(((v - MEAN) / STD).astype(F))
    xx, yy, mm = scaled(x), torch.from_numpy(s).long(), torch.from_numpy(mask.astype(F))
    net = Net()

    def loss(j):
        change, state = net.maps(xx[j])
        return nn.functional.binary_cross_entropy_with_logits(change, mm[j]) + 0.5 * nn.functional.cross_entropy(state, yy[j])
    train(net, loss, len(x), 10, 16, 6e-3, say=True)
    pack = Pack("probe-drilling")
    run = pack.save_model(exported(net, xx[:1], ["window"], ["rods", "state"]))
    out = [run.run(None, {"window": scaled(r).numpy()[None]}) for r in tx]
    told, state = np.array([o[0][0, 0] for o in out]), np.array([o[1][0].argmax() for o in out])
    # what a counter of standstills does: longer than 15 s without rotation is a rod
    still = np.abs(tx[:, :, 0]) < 12
    count = np.zeros(len(tx))
    for k, row in enumerate(still):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        count[k] = sum(e - b >= 15 for b, e in edges.reshape(-1, 2))
    words = "留出的 600 段十分钟合成记录", "600 held-out synthetic records of ten minutes"
    pack.metric("exact-count", (told == trods).mean(), max((count == trods).mean(), (trods == np.bincount(trods).argmax()).mean()), words[0] + "，加杆根数完全数对的比例；基线为数停转超过 15 秒的次数", words[1] + ", share with the rods counted exactly; baseline counts standstills of more than 15 s")
    pack.metric("mae-rods", np.abs(told - trods).mean(), np.abs(count - trods).mean(), words[0] + "，根数的平均绝对误差；基线同上", words[1] + ", mean absolute error in rods; baseline as above")
    now = ts[:, -1]
    last = tx[:, -5:].mean(1)
    rule = np.where(last[:, 0] > 60, 0, np.where(last[:, 1] > 12.5, 2, np.where((np.abs(last[:, 2]) > 0.8) | (np.abs(last[:, 0]) > 10), 1, 3)))
    pack.metric("state-accuracy", (state == now).mean(), (rule == now).mean(), words[0] + "，最后时刻状态的正确率；基线为按转速、压力的门限", words[1] + ", state at the end; baseline is thresholds on rotation and pressures")
    rng = np.random.default_rng(113)
    kept = [(n, *record(rng, e)) for n, e in (("drilling", "drilling"), ("idle", "idle"), ("stuck", "stuck"))]
    pack.golden([(n, csv_bytes(["second"] + COLUMNS, np.column_stack([np.arange(STEPS), r]), 2), "csv", {"class": STATES[st[-1]], "values": {"rods": [k, 0.5]}}) for n, r, k, st, _ in kept])

    def draw(pack, results):
        names = label_names(pack)
        c = Cover(rig())
        c.title(pack.m["title"], f"{ROD_M:.1f} m")
        _, r, k, st, m = kept[0]
        c.panel((40, 430, 1240, 706))
        v = {q["id"]: q["value"] for q in results[0]["values"]}
        best = results[0]["classes"][0]
        c.text((70, 440), f"十分钟加杆 {v['rods']:.0f} 根   进尺 {v['depth_m']:.1f} m   现在：{names[best['label']]['zh']}", 24, AMBER, True)
        box = (70, 486, 1210, 690)
        for b, e in np.flatnonzero(np.diff(np.concatenate([[0], m, [0]]))).reshape(-1, 2):
            c.draw.rectangle([box[0] + b / STEPS * 1140, box[1], box[0] + e / STEPS * 1140, box[3]], fill="#3a2f1c")
        for col, color, lim in ((0, "#59b3d6", (-60, 260)), (1, AMBER, (-4, 26))):
            pts = [(box[0] + t / STEPS * 1140, box[3] - (q - lim[0]) / (lim[1] - lim[0]) * 204) for t, q in enumerate(r[:, col])]
            c.draw.line(pts, fill=color, width=2)
        d = Canvas()
        d.head({"zh": "数出的加杆根数与实际", "en": "Rods counted and rods added"}, f"{(told == trods).mean():.1%}")
        for k, (v, name, col) in enumerate(((count, "数停转 standstills", MUTED), (told, "本应用 this app", AMBER))):
            box = (120 + k * 600, 210, 600 + k * 600, 620)
            d.frame(box, name)
            d.line(box, [0, 9], [0, 9], (0, 9), (0, 9), SLATE, 2)
            jitter = np.random.default_rng(1).normal(0, 0.08, (2, len(v)))
            d.dots(box, trods + jitter[0], v + jitter[1], (0, 9), (0, 9), col, 3)
            d.ticks(box, (0, 9), (0, 9), 9, 9)
        return [("cover.jpg", c.image, "合成的掘进头与钻机，前面是十分钟的转速和扭矩压力，底色为加杆", "A rendered heading with a drill rig, in front of it ten minutes of rotation and torque; rod changes are shaded"),
                ("count.jpg", d.image, "数出的根数与实际根数的散点", "Rods counted against rods added")]
    pack.finish(draw)


if __name__ == "__main__":
    main()
