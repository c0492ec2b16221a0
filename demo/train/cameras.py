"""The clips of the demo's cameras, demo/cameras/*.mp4: what the generators of the demo apps draw, in motion, each a loop with one alarm.

Each clip is decoded again and shown to its app's model frame by frame: the program fails unless the app raises what it is meant to raise, when it
is meant to, and nothing else. Needs ffmpeg with libx264 (`FFMPEG=$(scripts/ffmpeg.sh)`), whose version decides the bytes.
"""

import os
import subprocess
import sys

import yaml

import belt_foreign_object as belt
import smoke_fire as fire
from common import DEMO, boxes_of, session
from detector import heat_of
from images import *

FFMPEG = os.environ.get("FFMPEG", "ffmpeg")
RATE = 5  # frames a second
LENGTH = 60  # seconds of a loop
FRAMES = RATE * LENGTH


def layer(draw):
    """What `draw(picture)` paints, as colour times alpha, and alpha: its result on black and on white."""
    black, white = np.zeros((H, W, 3), np.float32), np.ones((H, W, 3), np.float32)
    draw(black), draw(white)
    return black, 1 - (white - black)


def sensor(seed, picture, rng, sigma):
    """The same lens, dust and exposure in each frame, and fresh noise: without it a picture that stands still is judged frozen."""
    still = camera(np.random.default_rng(seed), picture, dust=(0.05, 0.15), gain=(0.95, 1.05), sigma=(0.0, 0.001))
    fresh = still / 255 + rng.normal(0, sigma, still.shape[:2])[..., None]
    return (np.clip(fresh, 0, 1) * 255 + 0.5).astype(np.uint8)


def looped(sheet, over_rows):
    """A strip whose end goes over into its beginning."""
    k = np.linspace(0, 1, over_rows, dtype=np.float32).reshape(-1, *[1] * (sheet.ndim - 1))
    body = sheet[over_rows:].copy()
    body[-over_rows:] = body[-over_rows:] * (1 - k) + sheet[:over_rows] * k
    return body


def belt_clip(seed, things, pace=16):
    """A loaded belt that runs downwards by `pace` pixels a frame. `things`: (what, second in the middle of the picture, x, seed)."""
    rng = np.random.default_rng(seed)
    long = FRAMES * pace
    left, right = 42.0, W - 46.0
    frame = (0.10 + 0.08 * noise(rng, 10))[..., None] * np.array([1.0, 0.98, 0.95], np.float32)
    for x in (left - 19, right + 19):
        over(frame, (0.26, 0.28, 0.30), stroke([(x, -5), (x, H + 5)], 7))
    for y in range(24, H, 74):
        for x0, x1 in ((left - 30, left + 6), (right - 6, right + 30)):
            over(frame, (0.30, 0.31, 0.33), stroke([(x0, y), (x1, y)], 9, blur=0.6))
    on_belt = polygon([(left, -2), (right, -2), (right, H + 2), (left, H + 2)], blur=0.7)
    strip = lambda make: looped(make(long + H), H)
    rubber = strip(lambda h: 0.075 + 0.03 * noise(rng, 40, W, h) + 0.02 * noise(rng, 4, W, h))
    coal = strip(lambda h: lumps(rng, 8, W, h, base=0.13) * (0.8 + 0.4 * noise(rng, 70, W, h)))
    xx = np.arange(W, dtype=np.float32)
    edge = np.abs(xx - (left + right) / 2)[None] / ((right - left) / 2 * 0.8) + strip(lambda h: 0.35 * (noise(rng, 26, W, h) - 0.5))
    heap = np.clip((1.0 - edge) * 12, 0, 1)
    coal *= 1.25 - 0.55 * np.clip(edge, 0, 1)
    painted = [(layer(lambda p, draw=draw, x=x, own=own: draw(np.random.default_rng(own), p, x, H / 2)), at) for draw, at, x, own in things]
    yy, xx = np.mgrid[0:H, 0:W].astype(np.float32)
    lamp = 0.55 + 0.9 * np.exp(-(((xx - 170) / 170) ** 2 + ((yy - 110) / 150) ** 2))
    for number in range(FRAMES):
        rows = (np.arange(H) - number * pace) % long
        picture = frame.copy()
        over(picture, rubber[rows][..., None] * np.array([1, 1, 1.04], np.float32), on_belt)
        over(picture, coal[rows][..., None] * np.array([1, 1, 1.03], np.float32), heap[rows] * on_belt)
        for (color, alpha), at in painted:
            down = number * pace - round(at * RATE) * pace
            if abs(down) >= H:
                continue
            here, there = slice(max(0, down), H + min(0, down)), slice(max(0, -down), H - max(0, down))
            picture[here] = picture[here] * (1 - alpha[there]) + color[there]
        shake = 1 + 0.02 * np.sin(2 * np.pi * number / FRAMES * 47)
        yield sensor(seed, picture * (lamp * 1.4 * shake)[..., None], rng, 0.006)


def plume(rng, picture, x, y, age, strength, curls):
    """Smoke that rises and leans with the air; `age` in frames moves its curls up."""
    height, width, lean = 92, 31, 0.5
    alpha = np.zeros((H, W), np.float32)
    for i, k in enumerate(np.linspace(0, 1, 14)):
        px = x + lean * height * k * 0.7 + 4 * k * np.sin(age * 0.35 - i * 0.7)
        r = width * (0.35 + 0.65 * k)
        alpha = np.maximum(alpha, ellipse(px, y - height * k, r, r * 0.75, blur=6, factor=1) * (1 - 0.35 * k))
    moved = curls[(np.arange(H) + age * 5) % len(curls)]
    curl = np.clip((moved - 0.22) * 2.4, 0, 1)
    shade = 0.56 * (0.7 + 0.6 * moved)
    over(picture, shade[..., None] * np.array([1.0, 1.0, 1.02]), np.clip(alpha * (0.45 + 0.65 * curl), 0, 1) * strength)


def fire_clip(seed, begin, end):
    """A belt roadway in which coal runs by; from `begin` to `end` (seconds) something burns beside the belt."""
    rng = np.random.default_rng(seed)
    picture, (vx, vy) = roadway(rng, grain=7)
    line = fire.conveyor(rng, picture, vx, vy)
    x, y = line(0.42)
    curls = looped(noise(rng, 24, W, 640 + H, octaves=4), H)
    stones = [(rng.random(), rng.uniform(-0.8, 0.8), rng.uniform(0.05, 0.3), rng.uniform(0.6, 1.3)) for _ in range(90)]
    for number in range(FRAMES):
        now = picture.copy()
        for phase, side, grey, size in stones:
            k = ((phase + number * 3 / FRAMES) % 1) ** 2
            sx, sy = line(k)
            over(now, np.array([1.0, 0.98, 0.95]) * grey, ellipse(sx + side * 58 * k, sy, 7 * k * size + 0.6, 4 * k * size + 0.5, factor=2))
        t = number / RATE
        grows = np.clip(min((t - begin) / 3, (end - t) / 1.5), 0, 1)
        if grows > 0:
            plume(rng, now, x + 4, y - 18, number, 0.5 + 0.4 * grows, curls)
            fire.flame(np.random.default_rng(seed + number), now, x, y, 16 + 16 * grows)
        flicker = 1 + 0.015 * np.sin(2 * np.pi * number / FRAMES * 53)
        yield sensor(seed, now * 1.25 * flicker, rng, 0.010)


CLIPS = {  # file: app, labels, frames, what its rules say of the detections, the seconds within which they may and at least once must say so
    "belt-lump": ("belt-foreign-object", belt.LABELS, lambda: belt_clip(11, [(belt.big_lump, 14.0, 140, 8), (belt.big_lump, 18.5, 165, 7)]), (12, 21), {"lump-on-belt"}),
    "belt-bolt": ("belt-foreign-object", belt.LABELS, lambda: belt_clip(13, [(belt.bolt, 15.0, 160, 7), (belt.bolt, 20.0, 140, 12)]), (13, 22), {"bolt-on-belt"}),
    "roadway-fire": ("smoke-fire", fire.LABELS, lambda: fire_clip(21, 14, 26), (14, 26), {"fire"}),
}
RULES = {
    "belt-foreign-object": lambda best: {f"{label}-on-belt" for label, least in (("bolt", 0.75), ("lump", 0.8), ("timber", 0.8)) if best.get(label, 0) >= least},
    "smoke-fire": lambda best: {"fire"} if best.get("flame", 0) >= 0.9 or {"flame", "smoke"} <= set(best) else {"smoke"} if best.get("smoke", 0) >= 0.9 else set(),
}


def encode(frames, path):
    options = ["-c:v", "libx264", "-preset", "veryslow", "-crf", "25", "-pix_fmt", "yuv420p", "-g", "50", "-threads", "1", "-bitexact", "-movflags", "+faststart"]
    command = [FFMPEG, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{W}x{H}", "-r", str(RATE), "-i", "-", *options, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        for frame in frames:
            process.stdin.write(frame.tobytes())
    if process.returncode:
        raise SystemExit(f"ffmpeg: {process.returncode}")


def decode(path):
    raw = subprocess.run([FFMPEG, "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, H, W, 3)


def raised(app, labels, frames):
    """The rules that hold, by frame."""
    manifest = yaml.safe_load((DEMO / "apps" / app / "app.yaml").read_text("utf-8"))
    score, run = manifest["pipeline"]["post"][0]["grid"]["score"], session(str(DEMO / "apps" / app / "model.onnx"))
    found = {}
    for number, frame in enumerate(frames):
        best = {}
        for box in boxes_of(heat_of(run, frame), labels, np.float32(score), (W, H)):
            best[box["label"]] = max(best.get(box["label"], 0), box["score"])
        if rules := RULES[app](best):
            found[number] = rules
    return found


def main(names):
    folder = DEMO / "cameras"
    folder.mkdir(exist_ok=True)
    faults = []
    for name in names or CLIPS:
        app, labels, make, (first, last), wanted = CLIPS[name]
        path = folder / f"{name}.mp4"
        encode(make(), path)
        found = raised(app, labels, decode(path))
        seconds = sorted({number / RATE for number in found})
        rules = set().union(*found.values())
        print(f"{name}: {path.stat().st_size / 1000:.0f} kB, {rules} in {len(found)} of {FRAMES} frames, {seconds}", flush=True)
        if rules != wanted or seconds[0] < first or seconds[-1] > last:
            faults.append(f"{name}: not what it is meant to show: {found}")
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main(sys.argv[1:])
