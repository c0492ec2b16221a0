"""A small ray caster for the synthetic scenes: planes, boxes, capsules and arched roadways with bump maps, lamps with falloff and
shadows, haze by depth, lens and sensor. Units are metres; x right, y up, z ahead. Pictures are uint8 RGB."""

import io

import numpy as np
from PIL import Image, ImageFilter
from scipy.spatial import cKDTree

F = np.float32
TEX = {}


def dot(a, b):
    return np.einsum("ij,ij->i", a, b)


def length(a):
    return np.sqrt(dot(a, a))


def unit(a):
    return a / np.maximum(length(a), 1e-9)[:, None]


def least(a):
    return np.minimum(np.minimum(a[:, 0], a[:, 1]), a[:, 2])


def most(a):
    return np.maximum(np.maximum(a[:, 0], a[:, 1]), a[:, 2])


def _levels(height, strength):
    """Height map → per level (value, dx, dy)."""
    out, size = [], height.shape[0]
    h = height.astype(F)
    for _ in range(4):
        dx = (np.roll(h, -1, 1) - np.roll(h, 1, 1)) * h.shape[1] / 2 * strength
        dy = (np.roll(h, -1, 0) - np.roll(h, 1, 0)) * h.shape[0] / 2 * strength
        out.append((h, np.clip(dx, -2, 2).astype(F), np.clip(dy, -2, 2).astype(F)))
        h = h.reshape(h.shape[0] // 4, 4, h.shape[1] // 4, 4).mean((1, 3)) if h.shape[0] > 16 else h
    return out


def _fractal(rng, size, slope, lo=1):
    f = np.fft.rfftfreq(size) * size
    g = np.fft.fftfreq(size) * size
    r = np.hypot(g[:, None], f[None])
    amp = np.where(r >= lo, (np.maximum(r, 1)) ** -slope, 0)
    x = np.fft.irfft2(amp * np.exp(2j * np.pi * rng.random(r.shape)), (size, size))
    x = (x - x.mean()) / x.std()
    return np.clip(0.5 + x / 5, 0, 1)


def _stones(rng, size, cells, rough=0.3):
    """Broken stone: tilted facets between dark gaps, tileable."""
    p = rng.random((cells * cells, 2)) * size
    yy, xx = np.mgrid[0:size, 0:size]
    w = (_fractal(rng, size, 1.6, 3) - 0.5) * size / cells * 1.6
    w2 = (_fractal(rng, size, 1.6, 3) - 0.5) * size / cells * 1.6
    at = np.stack([(xx + w) % size, (yy + w2) % size], 2).reshape(-1, 2)
    d, i = cKDTree(p, boxsize=size).query(at, k=2)
    gap = np.clip((d[:, 1] - d[:, 0]) / (size / cells * 0.3), 0, 1)
    rel = (at - p[i[:, 0]] + size / 2) % size - size / 2
    tilt = rng.normal(0, 1, (len(p), 2))[i[:, 0]]
    base = rng.random(len(p))[i[:, 0]]
    h = (0.35 + 0.5 * base) * gap ** 0.5 + 0.25 * (rel * tilt).sum(1) / (size / cells) * gap
    h = h.reshape(size, size) + rough * 0.25 * (_fractal(rng, size, 1.3, 8) - 0.5)
    return (h - h.min()) / (h.max() - h.min())


def textures(seed=5):
    if TEX:
        return
    rng = np.random.default_rng(seed)
    TEX["rough"] = _levels(_fractal(rng, 512, 1.5), 0.25)       # shotcrete, steel skin
    TEX["smooth"] = _levels(_fractal(rng, 512, 2.2), 0.3)       # large blotches
    TEX["coal"] = _levels(_stones(rng, 512, 13, 0.9), 0.22)     # cleats
    TEX["lumps"] = _levels(_stones(rng, 512, 18, 0.3), 0.22)    # loose coal
    layered = _fractal(rng, 512, 1.4)
    rows = np.cumsum(rng.normal(0, 1, 512))
    rows = rows - np.linspace(rows[0], rows[-1], 512)
    layered = 0.55 * layered + 0.45 * ((rows - rows.min()) / np.ptp(rows))[:, None]
    TEX["strata"] = _levels(layered, 0.3)
    TEX["grain"] = _levels(_fractal(rng, 512, 0.9, 4), 0.08)


def sample(name, u, v, scale, lod):
    """Value and slopes of a texture at metres (u, v); `scale` repeats a metre; `lod` is metres a pixel."""
    levels = TEX[name]
    want = np.clip(np.log2(np.maximum(lod * scale * levels[0][0].shape[0], 1e-3)) / 2, 0, 3).astype(np.int8)
    value, du, dv = (np.empty(u.shape, F) for _ in range(3))
    for k in range(4):
        m = want == k
        if not m.any():
            continue
        h, gx, gy = levels[k]
        n = h.shape[0]
        i = ((v[m] * scale) % 1 * n).astype(np.int32) % n
        j = ((u[m] * scale) % 1 * n).astype(np.int32) % n
        value[m], du[m], dv[m] = h[i, j], gx[i, j], gy[i, j]
    return value, du, dv


class Scene:
    def __init__(self, rng, w, h, eye, look, fov=62, roll=0.0):
        textures()
        self.rng, self.w, self.h = rng, w, h
        self.o = np.array(eye, F)
        f = np.array(look, float) - np.array(eye, float)
        f /= np.linalg.norm(f)
        r = np.cross([0, 1, 0], f)
        r /= np.linalg.norm(r)
        u = np.cross(f, r)
        c, s = np.cos(roll), np.sin(roll)
        r, u = r * c + u * s, u * c - r * s
        self.r, self.u, self.f = r, u, f
        self.k = w / 2 / np.tan(np.radians(fov) / 2)
        x = (np.arange(w) + 0.5 - w / 2) / self.k
        y = -(np.arange(h) + 0.5 - h / 2) / self.k
        d = f[None, None] + x[None, :, None] * r + y[:, None, None] * u
        self.d = (d / np.linalg.norm(d, axis=2, keepdims=True)).reshape(-1, 3).astype(F)
        n = w * h
        self.t = np.full(n, 1e6, F)
        self.n = np.zeros((n, 3), F)
        self.n[:, 2] = -1
        self.a = np.zeros((n, 3), F)
        self.s = np.zeros(n, F)
        self.e = np.zeros((n, 3), F)
        self.id = np.zeros(n, np.int16)
        self.lights, self.casters = [], []
        self.grid = np.arange(n).reshape(h, w)

    # ------------------------------------------------------------ geometry
    def project(self, p):
        """Pixel (x, y) and depth of points."""
        q = np.atleast_2d(np.asarray(p, float)) - self.o
        z = q @ self.f
        zz = np.where(z > 0.05, z, 0.05)
        return np.stack([self.w / 2 + self.k * (q @ self.r) / zz, self.h / 2 - self.k * (q @ self.u) / zz, z], 1)

    def _rays(self, points, radius):
        p = self.project(points)
        if (p[:, 2] < 0.15).any():
            return self.grid.ravel() if (p[:, 2] > 0).any() else None
        pad = radius * self.k / p[:, 2] * 1.3 + 2
        x0, x1 = int(max(0, (p[:, 0] - pad).min())), int(min(self.w, (p[:, 0] + pad).max() + 1))
        y0, y1 = int(max(0, (p[:, 1] - pad).min())), int(min(self.h, (p[:, 1] + pad).max() + 1))
        return self.grid[y0:y1, x0:x1].ravel() if x1 > x0 and y1 > y0 else None

    def put(self, i, t, n, albedo, spec=0.0, ident=0, emit=None):
        """Rays `i` hit at `t`, where that is nearer."""
        near = (t > 1e-3) & (t < self.t[i])
        if not near.any():
            return
        j = i[near]
        self.t[j] = t[near]
        self.n[j] = n[near] if n.ndim == 2 else n
        albedo = np.asarray(albedo, F)
        self.a[j] = albedo[near] if albedo.ndim == 2 and len(albedo) == len(i) else albedo
        spec = np.asarray(spec, F)
        self.s[j] = spec[near] if spec.ndim == 1 else spec
        self.id[j] = ident
        self.e[j] = 0 if emit is None else emit

    def plane(self, axis, value, paint, ident=0, within=None):
        """`paint(points, lod)` → albedo [n, 3], normal [n, 3], spec."""
        i = self.grid.ravel()
        d = self.d[:, axis]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (value - self.o[axis]) / d
        ok = np.isfinite(t) & (t > 0.02) & (t < np.minimum(self.t, 80))
        i, t = i[ok], t[ok]
        p = self.o + t[:, None] * self.d[i]
        if within is not None:
            ok = within(p)
            i, t, p = i[ok], t[ok], p[ok]
        if len(i):
            a, n, s = paint(p, t / self.k)
            self.put(i, t, n, a, s, ident)

    def box(self, centre, half, yaw, albedo, spec=0.1, ident=0, tex="rough", bump=0.15, face=None, shadow=True, emit=None, pitch=0.0, rollz=0.0):
        c, s = np.cos(yaw), np.sin(yaw)
        m = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        if pitch:
            cp, sp = np.cos(pitch), np.sin(pitch)
            m = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]]) @ m
        if rollz:
            cz, sz = np.cos(rollz), np.sin(rollz)
            m = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]]) @ m
        half, centre = np.array(half, F), np.array(centre, F)
        corners = np.array([[a, b, e] for a in (-1, 1) for b in (-1, 1) for e in (-1, 1)]) * half
        world = corners @ m + centre
        if shadow:
            self.casters.append(("box", centre, half, m))
        i = self._rays(world, 0.0)
        if i is None:
            return m
        o = m @ (self.o - centre)
        d = self.d[i] @ m.T.astype(F)
        with np.errstate(divide="ignore", invalid="ignore"):
            inv = 1 / np.where(np.abs(d) < 1e-9, 1e-9, d)
            t0, t1 = (-half - o) * inv, (half - o) * inv
        lo, hi = np.minimum(t0, t1), np.maximum(t0, t1)
        axis = lo.argmax(1)
        t = most(lo)
        hit = (t < least(hi)) & (t > 0.02)
        i, d, t, axis = i[hit], d[hit], t[hit], axis[hit]
        if not len(i):
            return m
        p = o + t[:, None] * d
        n = np.zeros_like(d)
        n[np.arange(len(i)), axis] = -np.sign(d[np.arange(len(i)), axis])
        uv = p[np.arange(len(i))[:, None], np.array([[2, 1], [0, 2], [0, 1]])[axis]]
        v, du, dv = sample(tex, uv[:, 0], uv[:, 1], 1.1, t / self.k)
        a = np.asarray(albedo, F)[None] * (0.65 + 0.7 * v[:, None])
        bumped = n.copy()
        rows = np.arange(len(i))
        bumped[rows, np.array([2, 0, 0])[axis]] -= bump * du
        bumped[rows, np.array([1, 2, 1])[axis]] -= bump * dv
        bumped = unit(bumped)
        sp = np.full(len(i), spec, F)
        if face is not None:
            a, sp = face(p, axis, n, a, sp)
        self.put(i, t, (bumped @ m).astype(F), a, sp, ident, emit)
        return m

    def capsule(self, a, b, r, albedo, spec=0.05, ident=0, paint=None, shadow=True, emit=None, tex="rough", bump=0.08):
        a, b = np.array(a, F), np.array(b, F)
        if shadow:
            self.casters.append(("cap", a, b, r))
        i = self._rays(np.stack([a, b]), r)
        if i is None:
            return
        t, hit = _capsule(self.o, self.d[i], a, b, r)
        i, t = i[hit], t[hit]
        if not len(i):
            return
        p = self.o + t[:, None] * self.d[i]
        ab = b - a
        along = np.clip(((p - a) @ ab) / max(1e-6, float(ab @ ab)), 0, 1)
        n = (p - a - along[:, None] * ab) / r
        v, du, dv = sample(tex, p[:, 0] + p[:, 2], p[:, 1], 1.7, t / self.k)
        n = n + bump * np.stack([du, dv, -du], 1)
        n = unit(n)
        color = np.asarray(albedo, F)[None] * (0.7 + 0.6 * v[:, None])
        sp = np.full(len(i), spec, F)
        if paint is not None:
            color, sp = paint(p, along, color, sp)
        self.put(i, t, n.astype(F), color, sp, ident, emit)

    def lamp(self, at, color, power, aim=None, cone=0.6, shadow=True, glow=0.06):
        self.lights.append((np.array(at, F), np.array(color, F), power, None if aim is None else np.array(aim, float), cone, shadow, glow))

    # ------------------------------------------------------------ light
    def shade(self, ambient=0.04, haze=0.022, haze_color=(0.085, 0.08, 0.072), exposure=1.5):
        p = self.o + self.t[:, None] * self.d
        out = self.a * ambient * (0.75 + 0.25 * self.n[:, 1:2]) + self.e
        hz = np.zeros((len(p), 3), F)
        for at, color, power, aim, cone, shadow, glow in self.lights:
            l = at - p
            r = np.maximum(length(l), F(0.05))
            l /= r[:, None]
            k = np.maximum(dot(l, self.n), 0)
            half = l - self.d
            half = unit(half)
            sp = np.maximum(dot(half, self.n), 0) ** 24 * self.s
            fall = power / (1.1 + r * r)
            if aim is not None:
                f = aim / np.linalg.norm(aim)
                fall = fall * np.clip((-(l @ f.astype(F)) - cone) / (1 - cone), 0, 1) ** 1.5
            if shadow and self.casters:
                lit = np.flatnonzero((k * fall > 0.03) & (self.t < 15))
                if len(lit):
                    fall[lit] *= 1 - 0.85 * self._blocked(p[lit] + self.n[lit] * 0.02, at)
            out += (self.a * k[:, None] + 0.6 * sp[:, None]) * fall[:, None] * color
            if glow:
                b = at - self.o
                near = np.maximum(self.d @ b, 0)
                off = np.sqrt(np.maximum(dot(b[None], b[None])[0] - near * near, 0))
                seen = np.clip(np.minimum(self.t, near) / np.maximum(near, 0.1), 0, 1) ** 4
                hz += (glow * power * seen / (0.04 + off * off * 3))[:, None] * color * 0.12
        keep = np.exp(-haze * np.minimum(self.t, 120))[:, None]
        out = out * keep + np.array(haze_color, F) * (1 - keep) + hz
        return (out * exposure).reshape(self.h, self.w, 3)

    def _blocked(self, p, at):
        v = at - p
        far = length(v)
        v = v / far[:, None]
        out = np.zeros(len(p), bool)
        for kind, *c in self.casters:
            left = np.flatnonzero(~out)
            if kind == "cap":
                a, b, r = c
                mid, size = (a + b) / 2, np.linalg.norm(b - a) / 2 + r
                m = mid - p[left]
                along = dot(m, v[left])
                close = (np.abs(dot(m, m) - along * along) < size * size) & (along > -size) & (along < far[left] + size)
                left = left[close]
                if len(left):
                    t, hit = _capsule(p[left], v[left], a, b, r)
                    out[left[hit & (t > 0.02) & (t < far[left])]] = True
            else:
                centre, half, m = c
                o, d = (p[left] - centre) @ m.T, v[left] @ m.T
                inv = 1 / np.where(np.abs(d) < 1e-9, 1e-9, d)
                t0, t1 = (-half - o) * inv, (half - o) * inv
                lo, hi = most(np.minimum(t0, t1)), least(np.maximum(t0, t1))
                out[left[(lo < hi) & (lo > 0.01) & (lo < far[left])]] = True
        return out

    def ids(self):
        return self.id.reshape(self.h, self.w)


def _capsule(o, d, a, b, r):
    """Distance along the rays and whether they hit; `o` one origin or one a ray."""
    ba = (b - a).astype(F)
    oa = (o - a).astype(F)
    oa = np.broadcast_to(oa, d.shape)
    baba = float(ba @ ba)
    bard, baoa = d @ ba, oa @ ba
    rdoa, oaoa = dot(d, oa), dot(oa, oa)
    t = np.full(len(d), 1e6, F)
    if baba > 1e-8:
        qa = np.maximum(baba - bard * bard, 1e-9)
        qb = baba * rdoa - baoa * bard
        qc = baba * oaoa - baoa * baoa - r * r * baba
        h = qb * qb - qa * qc
        tt = (-qb - np.sqrt(np.maximum(h, 0))) / qa
        y = baoa + tt * bard
        body = (h >= 0) & (y > 0) & (y < baba)
        t = np.where(body, tt, t)
        end = np.where((y <= 0)[:, None], oa, (o - b).astype(F))
    else:
        body, end = np.zeros(len(d), bool), oa
    eb = dot(d, end)
    h = eb * eb - dot(end, end) + r * r
    tt = -eb - np.sqrt(np.maximum(h, 0))
    t = np.where(~body & (h >= 0), tt, t)
    return t.astype(F), (t < 1e5) & (t > 0.02)


# ---------------------------------------------------------------- paints
def ground(color, tex="rough", scale=0.6, bump=0.6, spec=0.05, axes=(0, 2), normal=(0, 1, 0), contrast=0.8, wet=0.0):
    normal = np.array(normal, F)

    def paint(p, lod):
        u, v = p[:, axes[0]], p[:, axes[1]]
        value, du, dv = sample(tex, u, v, scale, lod)
        big, _, _ = sample("smooth", u, v, 0.13, lod)
        a = np.asarray(color, F)[None] * (1 - contrast / 2 + contrast * value)[:, None] * (0.5 + 1.0 * big)[:, None]
        n = np.broadcast_to(normal, p.shape).copy()
        n[:, axes[0]] -= bump * du
        n[:, axes[1]] -= bump * dv
        s = np.full(len(p), spec, F)
        if wet:
            pool = big > 0.62
            n[pool] = normal + 0.1 * (n[pool] - normal)
            a[pool] *= 0.5
            s[pool] = wet
        n = unit(n)
        return a, n, s
    return paint


def roadway(scene, rng, half=2.3, spring=1.7, tint=(0.34, 0.33, 0.31), arches=1.0, floor=(0.22, 0.2, 0.18), rails=None, end=None, lamps=True, wet=0.5, ident=0):
    """An arched roadway along z: lining with steel arches, floor, cables and pipes at the walls, lamps under the roof."""
    def lining(p, lod):
        angle = np.where(p[:, 1] > spring, spring + half * np.arctan2(p[:, 1] - spring, np.abs(p[:, 0]) + 1e-3), p[:, 1])
        u, v = p[:, 2] + 7.3 * (p[:, 0] > 0), angle
        value, du, dv = sample("rough", u, v, 0.45, lod)
        big, _, _ = sample("smooth", u, v, 0.11, lod)
        fine, fu, fv = sample("grain", u, v, 0.8, lod)
        a = np.array(tint, F)[None] * ((0.55 + 0.6 * value) * (0.45 + 0.9 * big) * (0.8 + 0.4 * fine))[:, None]
        low = np.clip(1.2 - p[:, 1], 0, 1)[:, None] * 0.5
        a = a * (1 - low) + np.array([0.12, 0.11, 0.10], F) * low
        out = np.zeros_like(p)
        up = p[:, 1] > spring
        out[:, 0] = -p[:, 0]
        out[up, 1] = -(p[up, 1] - spring)
        n = out / np.linalg.norm(out, axis=1, keepdims=True)
        n[:, 2] -= 0.5 * du + 0.5 * fu
        n[:, 1] -= 0.5 * dv + 0.5 * fv
        s = np.full(len(p), 0.05, F)
        if arches:
            z = (p[:, 2] + 0.37) % arches - arches / 2
            steel = np.abs(z) < 0.07
            a[steel] = np.array([0.30, 0.26, 0.22], F) * (0.6 + 0.7 * value[steel])[:, None]
            n[steel, 2] += 6 * z[steel]
            s[steel] = 0.25
            a[(np.abs(z) >= 0.07) & (np.abs(z) < 0.11)] *= 0.45
            if arches > 0.5:
                mesh = (np.abs(p[:, 2] % 0.11) < 0.012) | (np.abs(angle % 0.11) < 0.012)
                a[mesh & ~steel & (lod < 0.012)] *= 0.6
        n = unit(n)
        return a, n, s
    scene.plane(0, -half, lining, ident, lambda p: (p[:, 1] > 0) & (p[:, 1] <= spring))
    scene.plane(0, half, lining, ident, lambda p: (p[:, 1] > 0) & (p[:, 1] <= spring))
    i = scene.grid.ravel()
    d, o = scene.d, scene.o
    qa = np.maximum(d[:, 0] ** 2 + d[:, 1] ** 2, 1e-9)
    qb = d[:, 0] * o[0] + d[:, 1] * (o[1] - spring)
    qc = o[0] ** 2 + (o[1] - spring) ** 2 - half * half
    t = (-qb + np.sqrt(np.maximum(qb * qb - qa * qc, 0))) / qa
    p = o + t[:, None] * d
    ok = (p[:, 1] > spring) & (t > 0) & (t < np.minimum(scene.t, 80))
    if ok.any():
        a, n, s = lining(p[ok], t[ok] / scene.k)
        scene.put(i[ok], t[ok], n, a, s, ident)
    base = ground(floor, "rough", 0.5, 0.7, 0.05, wet=wet, contrast=1.0)

    def bottom(p, lod):
        a, n, s = base(p, lod)
        st, du, dv = sample("lumps", p[:, 0], p[:, 2], 0.7, lod)
        a *= (0.6 + 0.8 * st)[:, None]
        n[:, 0] -= 0.35 * du
        n[:, 2] -= 0.35 * dv
        n = unit(n)
        if rails:
            for c in rails:
                x = np.abs(np.abs(p[:, 0] - c) - 0.45)
                tie = (np.abs(p[:, 0] - c) < 0.75) & (p[:, 2] % 0.7 < 0.2)
                a[tie] = np.array([0.20, 0.17, 0.14], F) * (0.6 + 0.8 * st[tie])[:, None]
                rail = x < 0.035
                a[rail] = (0.34, 0.32, 0.31)
                n[rail] = (0, 1, 0)
                s[rail] = 1.2
                a[(x >= 0.035) & (x < 0.07)] *= 0.35
        return a, n, s
    scene.plane(1, 0.0, bottom, ident, lambda p: np.abs(p[:, 0]) < half)
    for side in (-1, 1):
        y = rng.uniform(1.2, 1.9)
        for k in range(rng.integers(1, 4)):
            x = side * (half - 0.06 - 0.02 * k)
            scene.capsule((x, y - 0.11 * k, -1), (x, y - 0.11 * k + rng.uniform(-0.1, 0.1), 60), rng.uniform(0.015, 0.03), np.array([0.09, 0.09, 0.1]) + rng.uniform(0, 0.06), 0.3, ident, shadow=False)
    if rng.random() < 0.7:
        side, color = rng.choice([-1, 1]), [(0.34, 0.3, 0.1), (0.12, 0.2, 0.32), (0.33, 0.33, 0.34), (0.3, 0.1, 0.08)][rng.integers(4)]
        scene.capsule((side * (half - 0.16), 0.45, -1), (side * (half - 0.16), 0.45, 60), 0.09, color, 0.5, ident, shadow=False)
    if end is not None:
        scene.plane(2, end, ground((0.10, 0.1, 0.1), axes=(0, 1), normal=(0, 0, -1)), ident)
    if lamps:
        x = rng.uniform(-0.9, 0.9)
        z, step = rng.uniform(1.5, 5.0), rng.uniform(4.5, 8)
        for k in range(5):
            at = (x, spring + np.sqrt(half ** 2 - x * x) - 0.22, z + k * step)
            scene.lamp(at, (1.0, 0.93, 0.8), rng.uniform(2.5, 5.5), shadow=k < 2)
            scene.box((at[0], at[1] + 0.08, at[2]), (0.06, 0.04, 0.35), 0, (0.9, 0.9, 0.85), 0, ident, shadow=False, emit=(2.2, 2.1, 1.9))


# ---------------------------------------------------------------- people
JACKETS = [(0.06, 0.10, 0.22), (0.30, 0.13, 0.04), (0.10, 0.11, 0.12), (0.05, 0.16, 0.12), (0.38, 0.22, 0.03)]
HELMETS = [(0.75, 0.55, 0.05), (0.62, 0.06, 0.04), (0.75, 0.75, 0.72), (0.06, 0.20, 0.55)]


def person(scene, rng, at, yaw, pose="stand", ident=1, helmet=True, lamp=True, height=None, dirty=None, gait=None):
    """A miner of capsules; returns the points head, left-foot, right-foot and all outline points in metres. `gait`: who walks, by (angle in
    the cycle of two steps, 0 to 1 how far they are), in the place of random limbs; with the same `rng` it stays the same person."""
    k = (height or rng.uniform(1.62, 1.86)) / 1.75
    dirty = rng.uniform(0.5, 1.0) if dirty is None else dirty
    jacket = np.array(JACKETS[rng.integers(len(JACKETS))]) * dirty + 0.02
    pants = jacket * rng.uniform(0.6, 1.0)
    s, bend = rng.uniform(-0.28, 0.28), rng.uniform(-0.05, 0.2)
    if gait is not None:
        s, bend = 0.27 * gait[1] * np.sin(gait[0]), 0.03 + 0.05 * gait[1]
    crouch = 0.0
    if pose == "crouch":
        crouch, bend = rng.uniform(0.35, 0.5), rng.uniform(0.35, 0.7)
    hip = np.array([0, 0.92 - crouch, 0])
    chest = hip + np.array([0, 0.48 * np.cos(bend), 0.48 * np.sin(bend)])
    neck = chest + np.array([0, 0.12 * np.cos(bend), 0.12 * np.sin(bend)])
    head = neck + np.array([rng.uniform(-0.03, 0.03), 0.15, 0.05 + 0.05 * bend])
    parts, marks = [], {}
    for side, sign, name in ((-1, 1, "left"), (1, -1, "right")):
        f = np.array([side * rng.uniform(0.09, 0.19), 0.07, sign * s + rng.uniform(-0.05, 0.05)])
        h = hip + np.array([side * 0.1, 0, 0])
        knee = (h + f) / 2 + np.array([side * 0.02, 0, 0.06 + crouch * 0.55])
        parts += [(h, knee, 0.095, pants), (knee, f + [0, 0.04, 0], 0.075, pants), (f, f + [0, -0.015, 0.15], 0.055, (0.05, 0.05, 0.05))]
        marks[name] = f + [0, -0.03, 0.06]
        sh = chest + np.array([side * 0.2, 0.04, 0])
        swing = rng.uniform(-0.5, 0.7)
        if gait is not None:
            swing = 0.1 - sign * 0.45 * gait[1] * np.sin(gait[0])
        el = sh + np.array([side * 0.06, -0.27 * np.cos(swing), 0.27 * np.sin(swing)])
        lift = swing + rng.uniform(0.1, 1.2)
        hand = el + np.array([-side * 0.03, -0.25 * np.cos(lift), 0.25 * np.sin(lift)])
        parts += [(sh, el, 0.062, jacket), (el, hand, 0.05, jacket), (hand, hand, 0.05, (0.35, 0.26, 0.2) if rng.random() < 0.6 else (0.1, 0.1, 0.1))]
    parts += [(hip + [-0.07, 0, 0], hip + [0.07, 0, 0], 0.13, pants), (hip, chest, 0.15, jacket), (chest + [-0.12, 0.02, 0], chest + [0.12, 0.02, 0], 0.11, jacket)]
    parts += [(neck, head, 0.06, (0.35, 0.25, 0.19)), (head, head, 0.105, np.array((0.42, 0.3, 0.23)) * (0.5 + 0.5 * dirty))]
    c, sn = np.cos(yaw), np.sin(yaw)
    m = np.array([[c, 0, -sn], [0, 1, 0], [sn, 0, c]])
    if pose == "lie":
        roll = rng.uniform(-0.4, 0.4)
        lay = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]]) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
        m = lay.T @ m
        at = np.array(at) + [0, 0.16, 0]

    def w(p):
        return (np.asarray(p, float) * k) @ m + np.asarray(at, float)

    stripe = rng.random() < 0.8
    spine = chest - hip

    def vest(p, along, color, sp):
        band = ((along > 0.3) & (along < 0.42)) | ((along > 0.68) & (along < 0.8))
        color[band] = (0.75, 0.76, 0.6)
        sp[band] = 1.0
        return color, sp
    del spine
    for a, b, r, color in parts:
        scene.capsule(w(a), w(b), r * k, color, 0.06, ident, paint=vest if stripe and (r == 0.15 or r == 0.05 and a is not b) else None)
    outline = [w(p) for a, b, r, _ in parts for p in (a, b)]
    if helmet:
        color = np.array(HELMETS[rng.integers(len(HELMETS))]) * (0.6 + 0.4 * dirty)
        scene.capsule(w(head + [0, 0.06, 0.0]), w(head + [0, 0.075, 0.0]), 0.125 * k, color, 0.8, ident, bump=0.02)
        scene.capsule(w(head + [0, 0.03, 0.02]), w(head + [0, 0.03, 0.1]), 0.085 * k, color, 0.6, ident, shadow=False, bump=0.02)
        if lamp:
            front = w(head + [0, 0.09, 0.13])
            scene.capsule(front, front, 0.035 * k, (0.9, 0.9, 0.85), 0, ident, shadow=False, emit=(2.5, 2.4, 2.1))
            aim = w(head + [0, -0.3, 1.5]) - front
            scene.lamp(front + aim / np.linalg.norm(aim) * 0.12, (1.0, 0.96, 0.85), 1.6, aim, 0.82, False, 0.12)
    else:
        scene.capsule(w(head + [0, 0.035, -0.02]), w(head + [0, 0.05, -0.01]), 0.1 * k, (0.03, 0.025, 0.02), 0.1, ident)
    return {"head": w(head), "left-foot": w(marks["left"]), "right-foot": w(marks["right"])}, np.array(outline)


def outline_box(scene, ident):
    """Box of what is seen of an object, in pixels, with the number of pixels; or None."""
    ys, xs = np.nonzero(scene.ids() == ident)
    if len(xs) < 30:
        return None
    return [float(xs.min()), float(ys.min()), float(xs.max() + 1 - xs.min()), float(ys.max() + 1 - ys.min())], len(xs)


# ---------------------------------------------------------------- lens and sensor
def smooth_noise(rng, w, h, cells):
    grid = rng.random((max(2, int(h / w * cells) + 2), cells + 2)).astype(F)
    return np.asarray(Image.fromarray(grid).resize((w, h), Image.Resampling.BICUBIC))


def camera(rng, x, dust=(0.0, 0.07), sigma=(0.005, 0.011), blur=(0.3, 0.8), motion=0.3, mono=0.25, vignette=(0.3, 0.8), gain=(0.85, 1.2), noise=None):
    """Linear light → uint8: airborne dust, tone curve, vignette, blur, motion, colour cast, noise. `noise`: a generator of its own for the
    sensor's noise, so that the frames of one camera differ by that alone."""
    h, w = x.shape[:2]
    s = w / 640
    yy, xx = np.mgrid[0:h, 0:w]
    r2 = ((xx / w - 0.5) ** 2 + (yy / h - 0.5) ** 2).astype(F)
    d = rng.uniform(*dust) * (0.4 + 0.9 * smooth_noise(rng, w, h, 5))
    x = x * (1 - d[..., None]) + np.array([0.42, 0.39, 0.34], F) * d[..., None] * min(1.0, 0.25 + float(x.mean()) * 2)
    x = x * (1 - rng.uniform(*vignette) * r2[..., None]) * rng.uniform(*gain) * (1 + rng.normal(0, 0.03, 3).astype(F))
    x = np.clip(x, 0, None)
    x = x * (1 + x * 0.12) / (1 + x)
    x = np.clip(x * 1.25, 0, 1) ** (1 / 2.2)
    grey = rng.random() < mono
    if grey:
        x = np.repeat((x @ np.array([0.3, 0.5, 0.2], F))[..., None], 3, 2)
    picture = Image.fromarray((np.clip(x, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(rng.uniform(*blur) * s))
    x = np.asarray(picture, F) / 255
    if rng.random() < motion:
        n, a = int(rng.integers(2, 6) * s) + 1, rng.uniform(0, np.pi)
        x = sum(np.roll(x, (int(round(i * np.sin(a))), int(round(i * np.cos(a)))), (0, 1)) for i in range(n)) / n
    for _ in range(int(rng.integers(0, 10))):  # lit dust near the lens
        px, py, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(1.2, 5) * s
        y0, y1, x0, x1 = int(max(0, py - 3 * r)), int(min(h, py + 3 * r + 1)), int(max(0, px - 3 * r)), int(min(w, px + 3 * r + 1))
        if y1 > y0 and x1 > x0:
            dd = np.hypot(yy[y0:y1, x0:x1] - py, xx[y0:y1, x0:x1] - px)
            x[y0:y1, x0:x1] += (rng.uniform(0.02, 0.10) * np.clip((r - dd) / 1.5 + 0.5, 0, 1))[..., None].astype(F)
    sg = rng.uniform(*sigma)
    noise = noise or rng
    x = x + noise.normal(0, sg, (h, w, 1)).astype(F) + (0 if grey else noise.normal(0, sg * 0.3, (h, w, 3)).astype(F))
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def small_png(array, limit=148_000):
    """A PNG of as many colours as the limit allows, and the picture as it then is."""
    for colors in (256, 192, 128, 96, 64, 48, 32):
        image = Image.fromarray(array).quantize(colors, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        data = io.BytesIO()
        image.save(data, "PNG", optimize=True)
        if data.tell() <= limit:
            break
    return data.getvalue(), np.asarray(image.convert("RGB"))


def jpeg(array, limit=148_000):
    """A JPEG with full colours as good as the limit allows; for scenes whose colours a small palette would lose."""
    for quality in (92, 88, 84, 78, 70):
        data = io.BytesIO()
        Image.fromarray(array).save(data, "JPEG", quality=quality, subsampling=0, optimize=True)
        if data.tell() <= limit:
            break
    return data.getvalue()


def half(array, size):
    """As the platform's default filter: Pillow's BILINEAR."""
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BILINEAR))


def drum(scene, centre, half_length, r, color, groove=0.05, ident=0, spec=0.5):
    """A winding drum along x, with grooves and flanges."""
    cx, cy, cz = centre
    scene.casters.append(("cap", np.array([cx - half_length + r * 0.4, cy, cz], F), np.array([cx + half_length - r * 0.4, cy, cz], F), r * 0.9))
    for x0, x1, rad, grooved in ((cx - half_length, cx + half_length, r, True), (cx - half_length - 0.09, cx - half_length, r * 1.13, False), (cx + half_length, cx + half_length + 0.09, r * 1.13, False)):
        i = scene.grid.ravel()
        d, o = scene.d, scene.o
        qa = np.maximum(d[:, 1] ** 2 + d[:, 2] ** 2, 1e-9)
        qb = d[:, 1] * (o[1] - cy) + d[:, 2] * (o[2] - cz)
        qc = (o[1] - cy) ** 2 + (o[2] - cz) ** 2 - rad * rad
        disc = qb * qb - qa * qc
        t = (-qb - np.sqrt(np.maximum(disc, 0))) / qa
        x = o[0] + t * d[:, 0]
        ok = (disc > 0) & (t > 0.05) & (x > x0) & (x < x1)
        if ok.any():
            p = o + t[ok, None] * d[ok]
            n = np.stack([np.zeros(ok.sum()), p[:, 1] - cy, p[:, 2] - cz], 1).astype(F) / rad
            v, du, dv = sample("rough", p[:, 0], np.arctan2(n[:, 1], n[:, 2]) * rad, 0.8, t[ok] / scene.k)
            a = np.array(color, F)[None] * (0.7 + 0.6 * v)[:, None]
            if grooved:
                ph = (p[:, 0] / groove) % 1 - 0.5
                n[:, 0] += 1.2 * ph
                a = np.array([0.16, 0.15, 0.14], F)[None] * (0.5 + 1.0 * np.abs(ph[:, None]) * 2)
            scene.put(i[ok], t[ok], unit(n), a, np.full(ok.sum(), spec, F), ident)
        for side, at in ((-1, x0), (1, x1)):
            with np.errstate(divide="ignore", invalid="ignore"):
                t = (at - o[0]) / d[:, 0]
            y, z = o[1] + t * d[:, 1] - cy, o[2] + t * d[:, 2] - cz
            ok = np.isfinite(t) & (t > 0.05) & (y * y + z * z < rad * rad)
            if ok.any():
                v, du, dv = sample("rough", y[ok], z[ok], 0.8, t[ok] / scene.k)
                a = np.array(color, F)[None] * (0.6 + 0.7 * v)[:, None]
                rad2 = np.sqrt(y[ok] ** 2 + z[ok] ** 2)
                spoke = (np.abs((np.arctan2(y[ok], z[ok]) * 8 / (2 * np.pi)) % 1 - 0.5) > 0.38) | (rad2 < rad * 0.22) | (rad2 > rad * 0.86)
                a[~spoke] *= 0.4
                n = np.zeros((ok.sum(), 3), F)
                n[:, 0] = side
                n[:, 1] += 0.1 * du
                scene.put(i[ok], t[ok], unit(n), a, np.full(ok.sum(), spec, F), ident)
