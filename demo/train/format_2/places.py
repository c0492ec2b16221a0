"""Rendered places for the covers of apps that read numbers or sound: the place as a background, charts on panels in front of it."""
from packs import *
from render import *


class Cover(Canvas):
    """A 1280×720 canvas upon a rendered picture."""

    def __init__(self, picture):
        super().__init__()
        self.image.paste(Image.fromarray(picture).resize(self.image.size, Image.Resampling.BICUBIC))

    def panel(self, box, strength=0.8):
        """A dark pane that charts are legible on."""
        part = self.image.crop(box).filter(ImageFilter.GaussianBlur(6))
        self.image.paste(Image.blend(part, Image.new("RGB", part.size, COAL), strength), box[:2])

    def title(self, title, number=""):
        self.panel((0, 0, 1280, 148), 0.62)
        self.head(title, number)


def tunnel(seed, furnish, look=(0, 1.3, 6), **how):
    """A roadway; `furnish(scene, rng)` puts in it what the app is about."""
    rng = np.random.default_rng(seed)
    s = Scene(rng, 1280, 720, (-0.3, 1.7, -1.2), look, fov=70)
    roadway(s, rng, half=2.4, arches=0.9, **how)
    furnish(s, rng)
    s.lamp((s.o[0], s.o[1] + 0.2, s.o[2]), (1, 1, 0.96), 6, (0, -0.1, 1), 0.45, False, 0)
    return camera(rng, s.shade(haze=0.035, exposure=1.7), dust=(0.03, 0.07), motion=0, mono=0)


def hall(seed, furnish, eye=(-3.2, 3.2, -3), look=(0.5, 1.4, 5)):
    """A plant's hall: concrete floor, a wall of sheets, girders and lamps under the roof."""
    rng = np.random.default_rng(seed)
    s = Scene(rng, 1280, 720, eye, look, fov=64)
    s.plane(1, 0, ground((0.24, 0.24, 0.23), "rough", 0.3, 0.3, 0.3, contrast=0.9, wet=0.8))

    def sheets(p, lod):
        a, n, sp = ground((0.30, 0.33, 0.34), "smooth", 0.4, 0.15, axes=(0, 1), normal=(0, 0, -1), contrast=0.5)(p, lod)
        n[:, 0] += 0.5 * np.sin(p[:, 0] * 2 * np.pi / 0.35)
        return a * np.where(p[:, 1] < 1.1, 0.55, 1.0)[:, None].astype(F), unit(n), sp
    s.plane(2, 13, sheets)
    for side in (-8, 8):
        s.plane(0, side, ground((0.26, 0.28, 0.28), "rough", 0.4, 0.25, axes=(2, 1), normal=(-np.sign(side), 0, 0), contrast=0.5))
    s.plane(1, 7.2, ground((0.12, 0.12, 0.12), "rough", 0.5, 0.2, normal=(0, -1, 0)))
    for z in (1, 4, 7, 10):
        s.box((0, 6.5, z), (8, 0.14, 0.1), 0, (0.22, 0.17, 0.10), 0.2, shadow=False)
        for x in (-4, 0.5, 5):
            s.box((x, 6.2, z + 1), (0.5, 0.05, 0.12), 0, (1, 1, 1), 0, shadow=False, emit=(2.2, 2.1, 1.9))
    for x, z in ((-4, 2), (0.5, 5), (5, 2), (0.5, 9), (-4, 8)):
        s.lamp((x, 6.0, z), (1, 0.95, 0.86), 17, shadow=z < 6, glow=0.02)
    furnish(s, rng)
    return camera(rng, s.shade(haze=0.02, exposure=1.6, ambient=0.06), dust=(0.02, 0.05), motion=0, mono=0)


def rail(s, a, b, y=0.0, color=(0.55, 0.40, 0.05)):
    """A railing from `a` to `b` (x, z)."""
    a, b = np.array(a, float), np.array(b, float)
    for h in (0.55, 1.05):
        s.capsule((a[0], y + h, a[1]), (b[0], y + h, b[1]), 0.025, color, 0.4)
    for k in np.linspace(0, 1, max(2, int(np.hypot(*(b - a)) / 1.2) + 1)):
        p = a + k * (b - a)
        s.capsule((p[0], y, p[1]), (p[0], y + 1.05, p[1]), 0.025, color, 0.4)
