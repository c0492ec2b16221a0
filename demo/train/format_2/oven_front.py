"""The pusher side of a coke oven battery as a camera on the pusher machine sees it: layers at true depths in metres, x along the battery, y up
from the middle of the number plates, z into it. A part of the picture can be rendered alone, so a plate costs a tenth of a whole frame."""
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from common import font
from render import TEX, F, smooth_noise, textures

W, H = 640, 360
PITCH, PLATE = 1.35, (0.56, 0.19)               # metres: from oven to oven; a plate's width and height
TW, TH = 252, 86                               # pixels of a plate's texture
WALL, DOOR, BAR, BUCK, PIPE = 0.16, 0.05, -0.05, -0.13, -0.3  # depths of layers
GROUNDS = [((0.78, 0.77, 0.72), (0.02, 0.02, 0.025)), ((0.75, 0.74, 0.70), (0.42, 0.03, 0.02)), ((0.02, 0.10, 0.36), (0.82, 0.82, 0.80)),
           ((0.78, 0.50, 0.03), (0.02, 0.02, 0.02)), ((0.02, 0.22, 0.12), (0.80, 0.80, 0.76)), ((0.74, 0.74, 0.72), (0.02, 0.08, 0.35))]


def relief(name, u, v):
    """Height and slopes of a texture; `u`, `v` in its repeats."""
    h, dx, dy = TEX[name][0]
    n = h.shape[0]
    i, j = (v * n).astype(np.int32) % n, (u * n).astype(np.int32) % n
    return h[i, j], dx[i, j], dy[i, j]


def height(name, u, v):
    h = TEX[name][0][0]
    n = h.shape[0]
    return h[(v * n).astype(np.int32) % n, (u * n).astype(np.int32) % n]


def number(rng):
    """The number of an oven's battery, a digit or a letter, and that of the oven."""
    return "123456ABCDEF"[int(rng.integers(12))], int(rng.integers(1, 111))


@functools.lru_cache(8)
def plate_texture(seed, k, style, words, dirt):
    """Plate `k` of a view in linear light [TH, TW, 3], the places of its characters (x0, y0, x1, y1 as shares), how much dirt covers each pixel."""
    rng = np.random.default_rng([seed, k + 5])
    ground, ink = (np.array(c, F) for c in GROUNDS[style])
    f = font(int(rng.integers(80, 96)), rng.random() < 0.8)
    gap, stroke = int(rng.integers(0, 10)), int(rng.integers(0, 3))
    word = Image.new("L", (700, 140), 0)
    d, x, spans = ImageDraw.Draw(word), 20.0, []
    for c in words:
        d.text((x, 70), c, font=f, fill=255, anchor="lm", stroke_width=stroke)
        spans.append((x, x + d.textlength(c, font=f)))
        x += d.textlength(c, font=f) + gap
    left, top, right, bottom = word.getbbox()
    wide, tall = (right - left) * rng.uniform(0.78, 1.08), TH * rng.uniform(0.56, 0.72)
    fit = min(1.0, TW * 0.84 / wide)
    wide *= fit
    word = word.crop((left, top, right, bottom)).resize((max(8, round(wide)), round(tall)), Image.Resampling.BOX)
    px, py = round((TW - wide) / 2 + rng.uniform(-4, 4)), round((TH - tall) / 2 + rng.uniform(-2, 2))
    k = wide / (right - left)
    chars = [((px + (a - left) * k) / TW, py / TH, (px + (b - left) * k) / TW, (py + tall) / TH) for a, b in spans]
    m = Image.new("L", (TW, TH), 0)
    m.paste(word, (px, py))
    d = ImageDraw.Draw(m)
    if rng.random() < 0.2:                      # a stencil's bridges
        for a, _, b, _ in chars:
            d.rectangle([(a + b) / 2 * TW - 1, 0, (a + b) / 2 * TW + 1, TH], fill=0)
    rim = int(rng.integers(0, 3))
    if rim:
        d.rectangle([3, 3, TW - 4, TH - 4], outline=255, width=rim)
    a = np.asarray(m, F)[..., None] / 255
    wear = smooth_noise(rng, TW, TH, 40)
    a = a * np.clip((wear[..., None] - rng.uniform(-0.2, 0.22)) * 5, 0, 1)      # paint that has come off
    out = ground * (1 - a) + ink * a
    yy, xx = np.mgrid[0:TH, 0:TW].astype(F)
    for bx in (9, TW - 10):
        for by in (10, TH - 11):
            bolt = np.hypot(xx - bx, yy - by)
            out[bolt < 4] = 0.12
            rust = np.exp(-((xx - bx) / 2.3) ** 2) * (yy > by) * np.exp(-np.clip(yy - by, 0, None) / 14) * rng.uniform(0, 0.8)
            out = out * (1 - rust[..., None]) + np.array([0.12, 0.045, 0.015], F) * rust[..., None]
    soot = 0.55 * smooth_noise(rng, TW, TH, 7) + 0.3 * smooth_noise(rng, TW, TH, 24) + 0.15 * smooth_noise(rng, TW, TH, 70)
    cover = np.clip((soot - (0.82 - 0.42 * dirt)) * 6, 0, 1) * min(0.97, 0.35 + 0.7 * dirt)
    if dirt > 0.8:                              # a splash of tar
        cx, cy, r = rng.uniform(0.2, 0.8) * TW, rng.uniform(0.3, 0.7) * TH, rng.uniform(21, 45)
        near = np.hypot(xx - cx, (yy - cy) * 0.7) + (soot - 0.5) * 30
        cover = np.maximum(cover, np.clip((r - near) / 4, 0, 1) * 0.97)
    veil = rng.uniform(0, 0.35) * (0.4 + 0.6 * dirt)
    out = out * (0.85 + 0.25 * soot[..., None]) * (1 - veil) + np.array([0.10, 0.09, 0.075], F) * veil
    out = out * (1 - cover[..., None]) + np.array([0.035, 0.03, 0.026], F) * cover[..., None]
    return out.astype(F), chars, cover


class Front:
    """One view. What is not given is drawn by chance: `words` of the middle oven, `off` metres that the machine stands to the right of it,
    `night`, `dirt` 0 to 1, `smoke` 0 to 1, `motion` pixels, `bars` across the view, `missing` plates."""

    def __init__(self, seed, **given):
        textures()
        self.seed = seed
        rng = self.rng = np.random.default_rng(seed)
        pick = lambda name, value: given.get(name, value)
        self.night = pick("night", rng.random() < 0.45)
        fov, self.far = np.radians(rng.uniform(60, 69)), rng.uniform(2.1, 2.8)
        self.f = W / 2 / np.tan(fov / 2)
        off = rng.normal(0, 0.05) if rng.random() < 0.4 else rng.uniform(-0.6, 0.6)
        self.eye = np.array([pick("off", off), rng.uniform(-0.35, 0.35), -self.far])
        yaw, pitch, roll = rng.normal(0, 0.02), rng.normal(0, 0.05) - self.eye[1] * 0.25, rng.normal(0, 0.018)
        cy, sy, cp, sp, cr, sr = *(g(yaw) for g in (np.cos, np.sin)), *(g(pitch) for g in (np.cos, np.sin)), *(g(roll) for g in (np.cos, np.sin))
        self.turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]]) @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        self.top = rng.uniform(-0.3, -0.14) if rng.random() < 0.45 else rng.uniform(0.28, 0.75)      # of the doors: plates are above or on them
        self.plate_z = WALL - 0.04 if self.top < 0 else DOOR - 0.06
        self.bars_y = [float(y) for y in np.array([-0.75, -0.38, 0.36]) + rng.normal(0, 0.04) if y < self.top - 0.05]
        self.pipe = (self.top + rng.uniform(0.35, 0.7) if self.top > 0 else rng.uniform(0.45, 0.9), rng.uniform(0.06, 0.16)) if rng.random() < 0.7 else None
        self.brick = np.array([0.20, 0.115, 0.08], F) * rng.uniform(0.6, 1.3) if rng.random() < 0.6 else np.array([0.2, 0.19, 0.175], F) * rng.uniform(0.6, 1.2)
        self.steel = np.array([0.14, 0.12, 0.105], F) * rng.uniform(0.6, 1.5)
        self.paint = [np.array(c, F) for c in ((0.15, 0.13, 0.12), (0.20, 0.10, 0.06), (0.10, 0.14, 0.17), (0.27, 0.25, 0.22))][int(rng.integers(4))] * rng.uniform(0.6, 1.1)
        self.phase = rng.uniform(0, 9, 8)
        side = rng.choice([-1, 1])
        self.lamp = np.array([self.eye[0] + side * rng.uniform(0.3, 1.4), self.eye[1] + rng.uniform(0.2, 1.3), -self.far + rng.uniform(-0.3, 0.5)]) if self.night else np.array([side * rng.uniform(3, 30), rng.uniform(9, 26), -rng.uniform(12, 25)])
        self.power = rng.uniform(4, 12) if self.night else rng.uniform(0.35, 1.3)
        self.gloss = rng.uniform(0, 2.2) * float(rng.random() < 0.7) if self.night else rng.uniform(0, 0.25)
        self.gap = rng.uniform(0.2, 0.9) if rng.random() < 0.15 else 0          # embers behind a seal
        self.motion = pick("motion", 0.0 if (k := rng.random()) < 0.6 else rng.uniform(1, 3.5) if k < 0.88 else rng.uniform(3.5, 7))
        self.smoke = pick("smoke", 0.0 if rng.random() < 0.6 else rng.uniform(0.2, 1.0))
        self.smoke_tone = np.array([0.55, 0.46, 0.30], F) if rng.random() < 0.4 else np.array([0.6, 0.6, 0.6], F)
        self.smoke_at = (rng.uniform(0, 9), rng.uniform(0, 9), rng.uniform(0.3, 0.55), rng.uniform(120, 520))
        self.gain, self.tint = rng.uniform(0.75, 1.3), 1 + rng.normal(0, 0.035, 3).astype(F)
        self.soft, self.grey, self.noise, self.vignette = rng.uniform(0.3, 1.0), rng.random() < 0.25, rng.uniform(0.004, 0.02 if self.night else 0.011), rng.uniform(0.2, 0.8)
        battery, n = number(rng)
        n = min(109, max(2, n))
        middle = pick("words", f"{battery}-{n}")
        battery, n = middle.split("-")[0], int(middle.split("-")[1])
        drop, style = pick("missing", None), int(rng.integers(len(GROUNDS)))
        self.plates = []
        for k in (-2, -1, 0, 1, 2):
            dirt = pick("dirt", rng.beta(1.1, 1.9)) if k == 0 else rng.beta(1.1, 1.9)
            lost, place, turn, other = rng.random() < 0.1, rng.normal(0, 0.008, 2), rng.normal(0, 0.012), rng.random() < 0.08
            if n + k > 0 and not (lost if drop is None else k in drop):
                self.plates.append((place + [k * PITCH, 0], turn, (seed, k, (style + other) % len(GROUNDS), f"{battery}-{n + k}", dirt)))
        self.signs = [(k * PITCH + PITCH / 2 + rng.uniform(-0.03, 0.03), rng.uniform(-0.5, 0.4), rng.uniform(0.05, 0.1), rng.uniform(0.05, 0.1), GROUNDS[int(rng.integers(6))]) for k in (-2, -1, 0, 1) if rng.random() < 0.35]
        self.bars = []
        for _ in range(pick("bars", int(rng.choice([0, 1, 2], p=[0.72, 0.2, 0.08])))):
            on = self.project([*(self.plates[int(rng.integers(len(self.plates)))][0] if self.plates and rng.random() < 0.6 else (rng.uniform(-1, 1), 0)), self.plate_z])
            steep = rng.uniform(-0.25, 0.25) if rng.random() < 0.7 else rng.uniform(-2, 2)
            color = [(0.02, 0.02, 0.022), (0.50, 0.33, 0.03), (0.12, 0.11, 0.10), (0.3, 0.06, 0.03)][int(rng.integers(4))]
            self.bars.append((float(on[0]) + rng.uniform(-60, 60), float(on[1]), steep, rng.uniform(3, 13), rng.uniform(0, 14) * (rng.random() < 0.5), rng.uniform(40, 120), rng.uniform(0, 6), np.array(color, F)))

    # ------------------------------------------------------------ geometry
    def rays(self, u, v):
        """How far the rays of pixels go along x and y for a metre along z."""
        m, a, b = self.turn.astype(F), (u - F(W / 2)) / F(self.f), (F(H / 2) - v) / F(self.f)
        x, y, z = (m[i, 0] * a + m[i, 1] * b + m[i, 2] for i in range(3))
        return x / z, y / z

    def at(self, rays, z):
        """Where rays meet the plane `z`."""
        t = z - self.eye[2]
        return F(self.eye[0]) + F(t) * rays[0], F(self.eye[1]) + F(t) * rays[1]

    def project(self, p):
        """Pixels (u, v) of points."""
        q = (np.asarray(p, float) - self.eye) @ self.turn
        return np.stack([W / 2 + self.f * q[..., 0] / q[..., 2], H / 2 - self.f * q[..., 1] / q[..., 2]], -1)

    def bar(self, b, u, v):
        """How far pixels are from a bar's middle, 1 at its edge."""
        x, y, steep, r, wave, long, phase, _ = b
        along = v - y if abs(steep) < 0.5 else u - x
        mid = (x if abs(steep) < 0.5 else y) + along * (steep if abs(steep) < 0.5 else 1 / (steep * 3)) + wave * np.sin(along / long + phase)
        return ((u if abs(steep) < 0.5 else v) - mid) / r

    def fog(self, u, v):
        """How much smoke hides of each pixel."""
        if not self.smoke:
            return np.zeros_like(u)
        a, b, lean, x = self.smoke_at
        big = height("smooth", u / 900 + a + v / 2600, v / 800 + b)
        fine = height("rough", u / 420 + b, v / 380 + a)
        column = 0.35 + 0.65 * np.exp(-((u - x - (H - v) * (lean - 0.42) * 2) / (70 + (H - v) * 0.4)) ** 2)
        return np.clip((big * 0.8 + fine * 0.35 - 0.28) * 1.6, 0, 1) * column * self.smoke * 0.85

    def objects(self):
        """Plates that are at least half seen: box within the picture, words, `text` that can be read, the `worst` share of a character that
        is covered or cut, the `fog` before it, and where its middle and those of its characters are."""
        found = []
        for (x, y), turn, plate in self.plates:
            if not -150 < self.project((x, y, self.plate_z))[0] < W + 150:
                continue
            _, chars, cover = plate_texture(*plate)
            words = plate[3]

            def on(sx, sy):
                """Pixels of places on the plate, shares of its sides."""
                right, up = (np.asarray(sx) - 0.5) * PLATE[0], (0.5 - np.asarray(sy)) * PLATE[1]
                return self.project(np.stack([x + right - up * turn, y + up + right * turn, np.full(np.shape(right), self.plate_z)], -1))
            corner = on(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
            (x0, y0), (x1, y1) = corner.min(0), corner.max(0)
            worst, there = 0.0, []
            for a, b, c, d in [*chars, (0, 0, 1, 1)]:
                i, j = (g.ravel() for g in np.meshgrid(np.linspace(a, c, 9), np.linspace(b, d, 7)))
                p = on(i, j)
                out = (p[:, 0] < 0) | (p[:, 0] >= W) | (p[:, 1] < 0) | (p[:, 1] >= H)
                hid = np.any([np.abs(self.bar(bar, p[:, 0], p[:, 1])) < 1 for bar in self.bars], 0) if self.bars else np.zeros(len(p), bool)
                soiled = cover[np.clip((j * TH).astype(int), 0, TH - 1), np.clip((i * TW).astype(int), 0, TW - 1)]
                there.append(np.mean(~(out | hid)))
                if (a, b, c, d) != (0, 0, 1, 1):
                    worst = max(worst, float(np.mean(np.maximum(out | hid, soiled))))
            if there[-1] < 0.5:
                continue
            box = [max(0.0, x0), max(0.0, y0), min(W, x1) - max(0.0, x0), min(H, y1) - max(0.0, y0)]
            whole = box[2] * box[3] > 0.93 * (x1 - x0) * (y1 - y0)
            mid = self.project((x, y, self.plate_z)).astype(F)
            fog = float(self.fog(mid[:1], mid[1:])[0])
            readable = bool(whole and worst < 0.45)
            found.append({"label": "plate", "box": [float(b) for b in box], "points": {}, "words": words, "text": words if readable else "", "worst": worst, "fog": fog,
                          "clean": readable and worst < 0.12 and fog < 0.25 and self.motion < 2.5, "whole": whole, "mid": float(mid[0]), "width": float(x1 - x0),
                          "middles": [float(on((a + c) / 2, 0.5)[0]) for a, _, c, _ in chars]})
        return found

    # ------------------------------------------------------------ light
    def shot(self, window=(0, 0, W, H), step=1):
        """The picture as uint8, or the part of it within `window` (left, top, right, bottom), each `step`th pixel."""
        u, v = np.meshgrid(np.arange(window[0], window[2], step, dtype=F) + F(step / 2), np.arange(window[1], window[3], step, dtype=F) + F(step / 2))
        rng = np.random.default_rng([self.seed, int(window[0]) + 1000, step])
        a, nx, ny, z, spec, glow, p = self.surface(u, v)
        x = self.light(a, nx, ny, z, spec, glow, p)
        fog = self.fog(u, v)[..., None]
        x = x * (1 - fog) + self.smoke_tone * fog * (0.12 + 1.1 * float(x.mean()) + (0.1 if self.night else 0.25))
        for b in self.bars:
            q = self.bar(b, u, v)
            edge = np.clip((1 - np.abs(q)) * b[3] / 1.6 / step + 0.5, 0, 1)[..., None]
            shade = np.sqrt(np.clip(1 - q * q, 0.05, 1))[..., None] * (0.35 + (0.9 if self.night else 0.7) * self.power ** 0.3)
            x = x * (1 - edge) + b[7] * shade * edge
        return self.sensor(rng, x, u, v, step)

    def oven(self, x):
        """How far from the axis of the nearest oven."""
        return x - F(PITCH) * np.rint(x * F(1 / PITCH))

    def masks(self):
        """What throws shadows: depth, and whether it is at (x, y)."""
        out = [(BUCK, lambda x, y: PITCH / 2 - np.abs(self.oven(x)) < 0.12), (BAR, lambda x, y: (np.abs(self.oven(x)) < 0.37) & np.any([np.abs(y - b) < 0.05 for b in self.bars_y], 0) if self.bars_y else np.zeros(x.shape, bool))]
        if self.pipe:
            out.append((PIPE, lambda x, y: np.abs(y - self.pipe[0]) < self.pipe[1]))
        there = np.isin(np.arange(-2, 3), [plate[1] for *_, plate in self.plates])
        out.append((self.plate_z, lambda x, y: (np.abs(y) < PLATE[1] / 2) & (np.abs(self.oven(x)) < PLATE[0] / 2) & there[np.clip(np.rint(x * F(1 / PITCH)), -2, 2).astype(np.int8) + 2]))
        return out

    def surface(self, u, v):
        ph, rays = self.phase.astype(F), self.rays(u, v)
        x, y = self.at(rays, WALL)
        z, spec, glow = np.full_like(x, WALL), np.full_like(x, 0.05), np.zeros((*x.shape, 3), F)
        rough, nx, ny = relief("rough", x * 0.5 + ph[0], y * 0.5)
        nx, ny = 0.6 * nx, 0.6 * ny
        soot = height("smooth", x * 0.3 + ph[1], y * 0.3 + ph[2])
        streak = height("rough", x * 0.9 + ph[3], y * 0.11 + ph[4])
        row = np.floor(y / 0.11)
        column = np.floor((x + (row % 2) * 0.12) / 0.24)
        tone = height("grain", column * 0.371 + ph[5], row * 0.617)
        my, mx = np.abs(y % 0.11 - 0.055), np.abs((x + (row % 2) * 0.12) % 0.24 - 0.12)
        k = self.oven(x)
        a = self.brick * ((0.35 + 0.75 * rough) * (0.7 + 0.6 * tone))[..., None]
        a[(my > 0.049) | (mx > 0.113)] *= 0.5
        tar = np.exp(-np.abs(np.abs(k) - 0.36) / 0.16) * np.clip((streak - 0.3) * 2.2, 0, 1)
        a *= (1 - 0.75 * tar)[..., None]
        p = [x, y]

        def layer(depth, where, color, shine):
            """Takes the place of what is behind; returns x, y and the mask."""
            lx, ly = self.at(rays, depth)
            m = where(lx, ly)
            h, dx, dy = relief("rough", lx[m] * 0.8 + ph[6], ly[m] * 0.8 + depth)
            a[m] = np.asarray(color, F) * (0.45 + 0.8 * h)[:, None]
            nx[m], ny[m], z[m], spec[m] = 0.22 * dx, 0.22 * dy, depth, shine
            p[0][m], p[1][m] = lx[m], ly[m]
            return lx, ly, m
        armour = layer(WALL - 0.02, lambda lx, ly: (np.abs(self.oven(lx)) < 0.47) & (ly < self.top + 0.28) & (ly > self.top - 3), self.steel * 0.8, 0.1)
        a[armour[2] & (np.abs(np.abs(self.oven(armour[0])) - 0.465) < 0.006)] *= 0.3
        lx, ly, m = layer(DOOR, lambda lx, ly: (np.abs(self.oven(lx)) < 0.34) & (ly < self.top), self.paint, 0.15)
        k = np.abs(self.oven(lx))
        s = np.sign(self.oven(lx))
        edge = m & (np.abs(k - 0.28) < 0.008)
        a[edge] *= 0.25
        a[m & (np.abs(k - 0.31) < 0.016)] *= 1.5
        nx[m & (np.abs(k - 0.13) < 0.012)] += 0.9
        nx[m & (np.abs(k - 0.17) < 0.012)] -= 0.9
        a[m & (np.abs(k - 0.15) < 0.02)] *= 1.25
        heat = height("smooth", lx * 0.5 + ph[7], ly * 0.4)
        a[m] = (a * (0.6 + np.array([1.0, 0.72, 0.55], F) * heat[..., None]))[m]                # rust of heat
        if self.gap:
            ember = np.exp(-((k - 0.345) / 0.010) ** 2) * np.clip((heat - 0.5) * 5, 0, 1) * m * self.gap
            glow += ember[..., None] * np.array([1.6, 0.5, 0.08], F)
        nx += np.where(m & (np.abs(k - 0.335) < 0.008), s * 0.8, 0)
        for by in self.bars_y:
            lx, ly, m = layer(BAR, lambda lx, ly: (np.abs(self.oven(lx)) < 0.37) & (np.abs(ly - by) < 0.05), self.steel * 1.3, 0.4)
            ny[m] += ((ly - by) / 0.05)[m] * 0.8
            lx, ly, m = layer(BAR - 0.05, lambda lx, ly: self.oven(lx) ** 2 + (ly - by) ** 2 < 0.068 ** 2, self.steel * 1.7, 0.5)
            r = np.hypot(self.oven(lx), ly - by) / 0.068
            nx[m] += (self.oven(lx) / 0.068)[m] * 0.9
            ny[m] += ((ly - by) / 0.068)[m] * 0.9
            a[m & (np.abs(r - 0.62) < 0.09)] *= 0.45
        lx, ly, m = layer(BUCK, lambda lx, ly: PITCH / 2 - np.abs(self.oven(lx)) < 0.12, self.steel * 1.5, 0.22)
        b = PITCH / 2 - np.abs(self.oven(lx))
        rust = height("smooth", lx * 0.9 + ph[2], ly * 0.6 + ph[5])
        a[m] = (a * (0.55 + np.array([1.0, 0.8, 0.68], F) * rust[..., None] * 1.0))[m]
        nx -= np.where(m & (b > 0.108), np.sign(self.oven(lx)) * 0.9, 0)
        bolt = m & ((b - 0.075) ** 2 + ((ly + ph[1]) % 0.26 - 0.13) ** 2 < 0.0145 ** 2)
        a[bolt] *= 1.9
        ny[bolt] += 0.5
        for sx, sy, sw, sh, (ground, ink) in self.signs:
            lx, ly, m = layer(BUCK - 0.01, lambda lx, ly: (np.abs(lx - sx) < sw) & (np.abs(ly - sy) < sh), ground, 0.2)
            tri = m & (np.abs(lx - sx) < (sh - (ly - sy)) * 0.35) & (ly - sy > -sh * 0.6)
            a[tri] = np.array(ink, F)
        if self.pipe:
            py, r = self.pipe
            lx, ly, m = layer(PIPE, lambda lx, ly: np.abs(ly - py) < r, self.paint * 1.2, 0.4)
            ny[m] += ((ly - py) / r / np.sqrt(np.clip(1.02 - ((ly - py) / r) ** 2, 0.05, 1)))[m]
            a[m & (np.abs((lx + ph[3]) % 1.1 - 0.55) < 0.035)] *= 0.55
        a *= (0.5 + 0.85 * soot)[..., None]
        lx, ly = self.at(rays, self.plate_z)
        for at, turn, plate in self.plates:
            dx, dy = lx - F(at[0]), ly - F(at[1])
            i, j = (0.5 - (dy - dx * turn) / PLATE[1]), ((dx + dy * turn) / PLATE[0] + 0.5)
            m = (np.abs(i - 0.5) < 0.5) & (np.abs(j - 0.5) < 0.5)
            rim = (np.abs(i - 0.5) < 0.55) & (np.abs(j - 0.5) < 0.518) & ~m
            a[rim], z[rim], nx[rim], ny[rim] = self.steel * 0.6, self.plate_z, 0, 0
            if m.any():
                tex = plate_texture(*plate)[0]
                per = abs(float(np.diff(lx[0, :2])[0])) / PLATE[0] * TW          # texture pixels in one of the picture
                small = tex if per < 1.3 else np.stack([np.asarray(Image.fromarray(tex[..., c]).resize((max(8, round(TW / per * 1.25)), max(4, round(TH / per * 1.25))), Image.Resampling.BOX)) for c in range(3)], -1)
                h, w = small.shape[:2]
                fi, fj = np.clip(i[m] * h - 0.5, 0, h - 1.001), np.clip(j[m] * w - 0.5, 0, w - 1.001)
                i0, j0 = fi.astype(int), fj.astype(int)
                q, r = (fi - i0)[:, None], (fj - j0)[:, None]
                a[m] = (small[i0, j0] * (1 - q) + small[i0 + 1, j0] * q) * (1 - r) + (small[i0, j0 + 1] * (1 - q) + small[i0 + 1, j0 + 1] * q) * r
                bend, bx, byy = relief("smooth", lx[m] * 0.8 + ph[4], ly[m] * 0.8)
                nx[m], ny[m], z[m], spec[m] = 0.06 * bx, 0.06 * byy, self.plate_z, self.gloss
                p[0][m], p[1][m] = lx[m], ly[m]
        return a, nx, ny, z, spec, glow, p

    def light(self, a, nx, ny, z, spec, glow, p):
        lamp, eye = self.lamp.astype(F), self.eye.astype(F)
        lx, ly, lz = lamp[0] - p[0], lamp[1] - p[1], lamp[2] - z
        r = np.sqrt(lx * lx + ly * ly + lz * lz)
        n = 1 / np.sqrt(nx * nx + ny * ny + 1)
        # The front looks to -z; slopes lean its normal against them.
        diffuse = np.clip((-nx * lx - ny * ly - lz) * n / r, 0, None)
        lit = np.ones_like(z)
        for depth, there in self.masks():
            t = (z - F(depth)) / (z - lamp[2])
            lit[(t > 0.002) & there(p[0] + lx * t, p[1] + ly * t)] = 0.12
        ex, ey, ez = eye[0] - p[0], eye[1] - p[1], eye[2] - z
        e = np.sqrt(ex * ex + ey * ey + ez * ez)
        hx, hy, hz = lx / r + ex / e, ly / r + ey / e, lz / r + ez / e
        half = np.clip((-nx * hx - ny * hy - hz) * n / np.sqrt(hx * hx + hy * hy + hz * hz), 0, 1)
        fall = self.power / (1 + r * r) if self.night else self.power
        color = np.array([1, 0.90, 0.74], F) if self.night else np.array([1, 0.97, 0.92], F)
        sky = (0.045 if self.night else 0.30) * (0.75 + 0.25 * ny)
        shine = (half ** 40 * spec * 0.6 + half ** 400 * np.where(spec > 0.5, spec, 0) * 2)
        return a * (diffuse * lit * fall)[..., None] * color + a * sky[..., None] * np.array([0.9, 0.97, 1.08], F) + (shine * lit * fall)[..., None] * color * 0.5 + glow

    def sensor(self, rng, x, u, v, step):
        r2 = ((u / W - 0.5) ** 2 + (v / H - 0.5) ** 2)[..., None]
        x = np.clip(x * (1 - self.vignette * r2) * self.gain * 1.7 * self.tint, 0, None)
        x = np.clip(x * (1 + x * 0.12) / (1 + x) * 1.25, 0, 1) ** (1 / 2.2)
        if self.grey:
            x = np.repeat((x @ np.array([0.3, 0.5, 0.2], F))[..., None], 3, 2)
        x = np.asarray(Image.fromarray((np.clip(x, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(self.soft / step)), F) / 255
        n = round(self.motion / step) + 1
        if self.motion and n > 1:
            wide = np.pad(x, ((0, 0), (n, n), (0, 0)), mode="edge")
            x = sum(wide[:, n + i - n // 2:n + i - n // 2 + x.shape[1]] for i in range(n)) / n
        s = self.noise / np.sqrt(step)
        x = x + rng.normal(0, s, (*x.shape[:2], 1)).astype(F) + (0 if self.grey else rng.normal(0, s * 0.4, x.shape).astype(F))
        return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)
