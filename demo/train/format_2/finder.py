"""A small detector of boxes in torch: one map at 1/8 of the tensor, rows [box, scores, keypoints, angle] as columns of `rows`."""
from render import *
from training import *
from detector import iou


def block(a, b, stride=1, dil=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, dil, dil), nn.BatchNorm2d(b), nn.ReLU())


class Finder(nn.Module):
    def __init__(self, labels, size, points=0, angle=False, wide=34):
        super().__init__()
        self.n, self.p, self.turned, self.w, self.h = labels, points, angle, size[0], size[1]
        self.body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 24, 6, 4, 1), nn.BatchNorm2d(24), nn.ReLU()), block(24, 24), block(24, wide, 2), block(wide, wide), block(wide, wide, 1, 2), block(wide, wide, 1, 3), block(wide, wide, 1, 5))
        self.skip = block(24, wide, 2)
        self.heat = nn.Sequential(block(wide, wide), nn.Conv2d(wide, labels, 1))
        self.rest = nn.Sequential(block(wide, wide), nn.Conv2d(wide, 4 + 3 * points + angle, 1))
        nn.init.constant_(self.heat[1].bias, -3.5)
        y, x = torch.meshgrid(torch.arange(self.h // 8), torch.arange(self.w // 8), indexing="ij")
        self.register_buffer("cells", torch.stack([x, y])[None].float() * 8 + 4)

    def maps(self, x):
        f = x
        for k, layer in enumerate(self.body):
            f = layer(f)
            if k == 1:
                early = f
        f = f + self.skip(early)
        return self.heat(f), self.rest(f)

    def forward(self, x):
        heat, rest = self.maps(x)
        xy = self.cells + rest[:, :2] * 16
        wh = torch.exp(rest[:, 2:4].clamp(-3, 3)) * 32
        parts = [xy, wh, torch.sigmoid(heat)]
        for k in range(self.p):
            q = rest[:, 4 + 3 * k:7 + 3 * k]
            parts += [self.cells + q[:, :2] * 32, torch.sigmoid(q[:, 2:3])]
        if self.turned:
            parts.append(rest[:, -1:] * 1.6)
        rows = torch.cat(parts, 1)
        return rows.reshape(rows.shape[0], rows.shape[1], -1) if self.training else rows.reshape(1, 4 + self.n + 3 * self.p + self.turned, self.h // 8 * (self.w // 8))

    def loss(self, x, heat, where, box, pts, ang):
        logit, rest = self.maps(x)
        p = torch.sigmoid(logit).clamp(1e-4, 1 - 1e-4)
        pos = heat > 0.999
        focal = -(torch.log(p) * (1 - p) ** 2 * pos + torch.log(1 - p) * p ** 2 * (1 - heat) ** 4 * ~pos)
        total = focal.sum() / pos.sum().clamp(min=1)
        m = where.unsqueeze(1)
        n = where.sum().clamp(min=1)
        total = total + 2.0 * ((rest[:, :4] - box).abs() * m).sum() / n / 4 * 2
        if self.p:
            q = rest[:, 4:4 + 3 * self.p].reshape(len(x), self.p, 3, *where.shape[1:])
            seen = pts[:, :, 2:3] * m.unsqueeze(1)
            total = total + 2.0 * ((q[:, :, :2] - pts[:, :, :2]).abs() * seen).sum() / n / self.p
            total = total + 0.5 * (nn.functional.binary_cross_entropy_with_logits(q[:, :, 2:3], pts[:, :, 2:3], reduction="none") * m.unsqueeze(1)).sum() / n / self.p
        if self.turned:
            total = total + 2.0 * ((rest[:, -1:] - ang) .abs() * m).sum() / n
        return total


def targets(objects, labels, size, points):
    """`objects`: {label, box [x, y, w, h] in tensor pixels (unturned about its centre), points {name: (x, y, seen)}, angle}."""
    W8, H8 = size[0] // 8, size[1] // 8
    heat = np.zeros((len(labels), H8, W8), F)
    where, box = np.zeros((H8, W8), F), np.zeros((4, H8, W8), F)
    pts, ang = np.zeros((len(points), 3, H8, W8), F), np.zeros((1, H8, W8), F)
    yy, xx = np.mgrid[0:H8, 0:W8]
    for o in sorted(objects, key=lambda o: -o["box"][2] * o["box"][3]):
        x, y, w, h = o["box"]
        cx, cy = x + w / 2, y + h / 2
        gx, gy = min(W8 - 1, max(0, int(cx // 8))), min(H8 - 1, max(0, int(cy // 8)))
        sx, sy = max(0.55, w / 8 / 7), max(0.55, h / 8 / 7)
        g = np.exp(-((xx - gx) ** 2 / (2 * sx * sx) + (yy - gy) ** 2 / (2 * sy * sy)))
        k = labels.index(o["label"])
        heat[k] = np.maximum(heat[k], g)
        near = (g > 0.35) | ((np.abs(xx - gx) <= 1) & (np.abs(yy - gy) <= 1) & (g > 0.15))
        where[near] = 1
        box[0][near], box[1][near] = ((cx - xx * 8 - 4) / 16)[near], ((cy - yy * 8 - 4) / 16)[near]
        box[2][near], box[3][near] = np.log(max(w, 2) / 32), np.log(max(h, 2) / 32)
        for j, name in enumerate(points):
            px, py, seen = o["points"][name]
            pts[j, 0][near], pts[j, 1][near], pts[j, 2][near] = ((px - xx * 8 - 4) / 32)[near], ((py - yy * 8 - 4) / 32)[near], seen
        ang[0][near] = o.get("angle", 0.0) / 1.6
    return heat, where, box, pts, ang


def fit(data, labels, size, points=(), angle=False, epochs=40, batch=12, flip=None, wide=34, seed=1):
    """`data`: (uint8 picture of `size`, objects). `flip(objects, width)` mirrors objects."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Finder(len(labels), size, len(points), angle, wide)
    x = torch.from_numpy(np.stack([d[0] for d in data])).permute(0, 3, 1, 2)
    t = [[torch.from_numpy(np.stack(v)) for v in zip(*[targets(d[1], labels, size, points) for d in data])]]
    if flip:
        t.append([torch.from_numpy(np.stack(v)) for v in zip(*[targets(flip(d[1], size[0]), labels, size, points) for d in data])])

    def loss(j):
        xb = x[j].float() / 255
        turn = int(rng.integers(2)) if flip else 0
        xb = xb.flip(3) if turn else xb
        n = len(j)
        xb = (xb * (0.65 + 0.7 * torch.rand(n, 1, 1, 1)) + 0.08 * (torch.rand(n, 1, 1, 1) - 0.5) + 0.02 * torch.randn(xb.shape)).clamp(0, 1)
        return net.loss(xb, *[v[j] for v in t[turn]])
    return train(net, loss, len(x), epochs, batch, 5e-3, decay=2e-3, clip=5, say=True)


def export(net, size):
    return exported(net, torch.zeros(1, 3, size[1], size[0]), ["images"], ["rows"])


def letterbox(picture, size):
    """The platform's letterbox: scaled, in the middle, grey 114."""
    h, w = picture.shape[:2]
    k = min(size[0] / w, size[1] / h)
    nw, nh = round(w * k), round(h * k)
    out = np.full((size[1], size[0], 3), 114, np.uint8)
    dx, dy = (size[0] - nw) // 2, (size[1] - nh) // 2
    out[dy:dy + nh, dx:dx + nw] = half(picture, (nw, nh)) if (nw, nh) != (w, h) else picture
    return out, k, dx, dy


def run_rows(run, picture, labels, score, nms=0.5):
    """Detections in tensor pixels, with rows: a second reading of what `boxes` says."""
    rows = run.run(None, {"images": (picture.astype(F) / 255).transpose(2, 0, 1)[None]})[0][0].T
    n = len(labels)
    s = rows[:, 4:4 + n]
    found = []
    for i in np.argsort(-s.max(1)):
        if s[i].max() < score:
            break
        b = [rows[i, 0] - rows[i, 2] / 2, rows[i, 1] - rows[i, 3] / 2, rows[i, 2], rows[i, 3]]
        label = labels[int(s[i].argmax())]
        if all(d["label"] != label or iou(d["box"], b) <= nms for d in found):
            found.append({"label": label, "score": float(s[i].max()), "box": b, "row": rows[i]})
    return found


def f1_of(found, truth, overlap=0.5):
    """F1 over pictures, and the matched pairs."""
    tp = det = obj = 0
    pairs = []
    for f, t in zip(found, truth):
        left = list(t)
        det, obj = det + len(f), obj + len(t)
        for d in f:
            best = max((o for o in left if o["label"] == d["label"]), key=lambda o: iou(o["box"], d["box"]), default=None)
            if best is not None and iou(best["box"], d["box"]) >= overlap:
                left.remove(best)
                tp += 1
                pairs.append((d, best))
    return 2 * tp / max(1, det + obj), pairs


def always(train, test, labels, overlap=0.5):
    """The best F1 of a detector that always draws one median box."""
    out = 0.0
    for label in labels:
        b = np.array([o["box"] for t in train for o in t if o["label"] == label])
        guess = [{"label": label, "score": 1.0, "box": np.median(b, 0).tolist()}]
        out = max(out, f1_of([guess] * len(test), test, overlap)[0])
    return out


def best_score(run, pictures, truth, labels, overlap=0.5):
    tries = [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55]
    return max(tries, key=lambda s: f1_of([run_rows(run, p, labels, s) for p in pictures], truth, overlap)[0])
