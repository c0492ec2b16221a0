"""Packages of format 2: reads manifests/NAME.yaml, writes model files, golden samples, README and app.yaml, lets the platform's own
`pithead golden` make the expected results and `pithead check` prove the folder, and only then puts it in its place."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from common import *  # noqa: E402,F403  (also sets one thread)
from common import _Dumper  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent  # after the star import, which has its own
ROOT = HERE.parents[2]
PITHEAD = os.environ.get("PITHEAD", "pithead")  # the program that makes and checks the expected results
ORT = os.environ["ORT_LIB"]  # the library of ONNX Runtime that it runs them with
APPS = pathlib.Path(os.environ.get("APPS", ROOT / "demo/format-2"))
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / ".cache/format-2"))
BUILD.mkdir(parents=True, exist_ok=True)

# What figures are called, where the platform has no words for their names.
TITLES = {
    "mae-ash": ("灰分平均绝对误差（%）", "Mean absolute error, ash (%)"),
    "mae-against-mean": ("灰分平均绝对误差，与均值比（%）", "Mean absolute error, against the mean (%)"),
    "mae-with-gaps": ("有缺测时的平均绝对误差（%）", "Mean absolute error where readings are missing (%)"),
    "f1-turned": ("F1（含角度）", "F1, with the angle"),
    "angle-error-deg": ("角度平均误差（°）", "Mean error of the angle (°)"),
    "recall-debonded": ("召回率（锚固失效）", "Recall, debonded bolts"),
    "f1-cells": ("F1（被遮挡的格子）", "F1, covered cells"),
    "limits-kept": ("指标全部在限内的比例", "Share with all limits kept"),
    "cost-over-optimum": ("高于最优成本（元/吨）", "Cost over the optimum (yuan/t)"),
    "mae-share": ("配比平均绝对误差（百分点）", "Mean absolute error of shares (points)"),
    "mae-load": ("煤量平均绝对误差（百分点）", "Mean absolute error, load (points)"),
    "accuracy-over-85": ("准确率（煤量是否超 85%）", "Accuracy, load over 85 %"),
    "mean-iou": ("平均交并比", "Mean IoU"),
    "mae-rock-share": ("岩石占比平均绝对误差", "Mean absolute error, share of rock"),
    "mae-density": ("密度平均绝对误差（kg/L）", "Mean absolute error, density (kg/L)"),
    "mae-density-linear": ("密度平均绝对误差，与线性模型比（kg/L）", "Mean absolute error, density, against a linear model (kg/L)"),
    "accuracy-with-unknown": ("准确率（含未知类）", "Accuracy, with unknown froths"),
    "accuracy-known": ("准确率（已知类）", "Accuracy, known froths"),
    "mae-diameter-mm": ("气泡直径平均绝对误差（毫米）", "Mean absolute error, diameter (mm)"),
    "pinball": ("分位数弹球损失", "Pinball loss of the quantiles"),
    "mae-60min": ("60 分钟后平均绝对误差（% CH4）", "Mean absolute error in 60 minutes (% CH4)"),
    "auroc-exceeds": ("AUROC（一小时内是否达 1.0%）", "AUROC, 1.0 % within the hour"),
    "f1-iou50": ("F1（IoU 0.5）", "F1 (IoU 0.5)"),
    "keypoint-error": ("关键点平均误差（占框长边）", "Mean error of keypoints (share of the box)"),
    "lying-accuracy": ("准确率（是否倒地）", "Accuracy, who lies"),
    "recall-bearing": ("召回率（轴承损坏）", "Recall, damaged bearings"),
    "auroc-medium": ("AUROC（10⁵ J 以上）", "AUROC, 10⁵ J or more"),
    "auroc-strong": ("AUROC（10⁶ J 以上）", "AUROC, 10⁶ J or more"),
    "f1-flame": ("F1（火焰）", "F1, flames"),
    "f1-smoke": ("F1（烟气）", "F1, smoke"),
    "mae-wall": ("直行温度平均绝对误差（°C）", "Mean absolute error, wall temperature (°C)"),
    "mae-against-linear": ("直行温度平均绝对误差，与线性模型比（°C）", "Mean absolute error, against a linear model (°C)"),
    "exact-count": ("根数完全正确的比例", "Share counted exactly"),
    "mae-rods": ("根数平均绝对误差", "Mean absolute error, rods"),
    "state-accuracy": ("准确率（当前状态）", "Accuracy, state at the end"),
    "plates-read": ("整牌读对的比例", "Plates read wholly right"),
    "plates-read-clean": ("清晰号牌读对的比例", "Clear plates read wholly right"),
    "character-error-rate": ("字符错误率", "Character error rate"),
    "plates-found": ("号牌检出率", "Plates found"),
    "position-error-mm": ("对位平均误差（毫米）", "Mean error of the position (mm)"),
    "wrong-though-sure": ("把握高而读错的比例", "Readings wrong though sure"),
    "episodes-right": ("停留报警全对的片段", "Clips with all stays right"),
    "crossings-right": ("进出计数全对的片段", "Clips with all crossings right"),
    "all-right": ("四种故障全部判对的比例", "Share with all four faults right"),
    "mae-24h": ("24 小时后平均绝对误差（MPa）", "Mean absolute error in 24 hours (MPa)"),
    "coverage-80": ("80% 区间覆盖率", "Coverage of the 80 % range"),
    "auroc": ("AUROC", "AUROC"),
    "recall-damage": ("检出率（损伤）", "Recall, damage"),
}


class Pack:
    def __init__(self, name):
        self.m = yaml.safe_load((HERE / "manifests" / f"{name}.yaml").read_text("utf-8"))
        self.name = self.m["name"]
        self.folder = BUILD / name
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("media", "golden"):
            (self.folder / part).mkdir(parents=True)
        self.m["media"] = []

    def step(self, name=None):
        return next(s["model"] for s in self.m["steps"] if "model" in s and name in (None, s["model"]["name"]))

    def save_model(self, model, name=None, limit=600_000):
        step = self.step(name)
        data = model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
        if len(data) > limit:
            raise SystemExit(f"{self.name}: {len(data)} bytes of model")
        (self.folder / step["file"]).write_bytes(data)
        run = session(data)
        kinds = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES", "tensor(double)": "FP64"}
        for key, real in (("inputs", run.get_inputs()), ("outputs", run.get_outputs())):
            step[key] = [{"name": t.name, "datatype": kinds[t.type], "shape": [d if isinstance(d, int) and d > 0 else -1 for d in t.shape]} for t in real]
        order = ["name", "file", "engine", "of", "inputs", "outputs", "pre", "into", "feed", "state", "post"]
        step.setdefault("engine", {"name": "onnxruntime", "min": "1.17"})
        for k in order:
            if k in step:
                step[k] = step.pop(k)
        return run

    def golden(self, samples):
        """`samples`: (name, bytes, extension, truth or None), kept in this order."""
        out = []
        for n, (name, data, ext, truth) in enumerate(samples, 1):
            (self.folder / f"golden/{n}.{ext}").write_bytes(data)
            (self.folder / f"golden/{n}.json").write_text("{}\n")
            out.append({"name": f"{name}-{n}", "input": f"golden/{n}.{ext}", "expect": f"golden/{n}.json", **({"truth": truth} if truth else {})})
        self.m["golden"] = out

    def metric(self, name, value, baseline, zh, en):
        title = {"title": dict(zip(("zh", "en"), TITLES[name]))} if name in TITLES else {}
        self.m["card"].setdefault("metrics", []).append(
            {"name": name, **title, "value": round(float(value), 4), "baseline": round(float(baseline), 4), "dataset": {"zh": zh, "en": en}})
        print(f"{self.name}: {name} {value:.4f} (baseline {baseline:.4f})", flush=True)

    def write(self):
        m = self.m
        for key in ("alarms", "parameters", "resources", "golden", "card", "media"):
            if key in m:
                m[key] = m.pop(key)
        head = "# Made by the training script in demo/train/format_2; change it there.\n"
        (self.folder / "app.yaml").write_text(head + yaml.dump(m, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1000), "utf-8")
        (self.folder / "README.md").write_text(readme(m), "utf-8")

    def pithead(self, what, *more):
        r = subprocess.run([PITHEAD, what, str(self.folder), "--ort-lib", ORT, *more], capture_output=True, text=True)
        print(f"--- pithead {what}: {r.returncode}\n{r.stdout.strip()}\n{r.stderr.strip()}", flush=True)
        return r.returncode

    def finish(self, draw):
        """`draw(pack, results)` → [(file, PIL picture, zh, en)], from what the platform found in the golden samples."""
        self.write()
        if self.pithead("golden"):
            raise SystemExit(f"{self.name}: pithead golden failed")
        results = [json.loads((self.folder / g["expect"]).read_text()) for g in self.m["golden"]]
        for file, picture, zh, en in draw(self, results):
            for quality in (90, 84, 76, 68, 60):
                picture.convert("RGB").save(self.folder / "media" / file, quality=quality, optimize=True)
                if (self.folder / "media" / file).stat().st_size < 145_000:
                    break
            self.m["media"].append({"file": f"media/{file}", "alt": {"zh": zh, "en": en}})
        self.write()
        if self.pithead("check"):
            raise SystemExit(f"{self.name}: pithead check failed")
        size = sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file())
        final = APPS / self.name
        old = BUILD / f"{self.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        shutil.copytree(self.folder, BUILD / f"{self.name}.new", dirs_exist_ok=True)
        (BUILD / f"{self.name}.new").rename(final)
        print(f"DONE {self.name} {size / 1000:.0f} kB", flush=True)


# ---------------------------------------------------------------- pictures of what was found
def rle(mask):
    """COCO's uncompressed runs → bool [rows, columns]."""
    rows, columns = mask["size"]
    flat = np.zeros(rows * columns, bool)
    at, on = 0, False
    for n in mask["counts"]:
        flat[at:at + n] = on
        at, on = at + n, not on
    return flat.reshape(columns, rows).T


def overlay(picture, result, colors, names, lang="zh", scale=1.5, alpha=0.38, lines=()):
    """The picture with masks, boxes, points and words of a result."""
    w, h = picture.size
    image = picture.convert("RGB")
    for d in result.get("detections", []):
        if "mask" in d:
            x, y, bw, bh = d["box"]
            m = Image.fromarray(rle(d["mask"])).convert("L").resize((max(1, round(bw)), max(1, round(bh))), Image.Resampling.NEAREST)
            image.paste(Image.new("RGB", m.size, colors.get(d["label"], AMBER)), (round(x), round(y)), m.point(lambda v: int(v * alpha)))
    image = image.resize((int(w * scale), int(h * scale)), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    small = font(int(11 * scale), True)
    for d in result.get("detections", []):
        color = colors.get(d["label"], AMBER)
        x, y, bw, bh = (v * scale for v in d["box"])
        if "corners" in d:
            pts = [(a * scale, b * scale) for a, b in d["corners"]]
            draw.line(pts + pts[:1], fill=color, width=3)
        elif "mask" not in d:
            draw.rectangle([x, y, x + bw, y + bh], outline=color, width=3)
        for k in d.get("keypoints", []):
            if k.get("score", 1) >= 0.3:
                draw.ellipse([k["x"] * scale - 5, k["y"] * scale - 5, k["x"] * scale + 5, k["y"] * scale + 5], fill=AMBER if k["name"] == "head" else "#59b3d6", outline=COAL)
        words = names.get(d["label"], {}).get(lang, d["label"])
        if d.get("text"):
            words += f" {d['text']['text']}"
        for c in d.get("classes", [])[:1]:
            words = f"{names.get(c['label'], {}).get(lang, c['label'])}"
            color = colors.get(c["label"], color)
            draw.rectangle([x, y, x + bw, y + bh], outline=color, width=3)
        words = f"{words} {d['score']:.2f}"
        l, t, r, b = draw.textbbox((0, 0), words, font=small)
        tx, ty = max(0, min(x, image.width - (r - l) - 12)), y - (b - t) - 12
        ty = ty if ty >= 0 else y
        draw.rectangle([tx, ty, tx + r - l + 12, ty + b - t + 10], fill=color)
        draw.text((tx + 6 - l, ty + 5 - t), words, font=small, fill=COAL)
    if lines:
        f = font(int(13 * scale), True)
        hh = int(22 * scale)
        band = Image.new("RGB", (image.width, hh * len(lines) + 8), COAL)
        part = (0, image.height - band.height, image.width, image.height)
        image.paste(Image.blend(image.crop(part), band, 0.72), part[:2])
        for i, line in enumerate(lines):
            draw.text((14, part[1] + 4 + i * hh), line, font=f, fill=PAPER)
    return image


def montage(images, columns=2, gap=6):
    w, h = images[0].size
    rows = (len(images) + columns - 1) // columns
    out = Image.new("RGB", (w * columns + gap * (columns - 1), h * rows + gap * (rows - 1)), COAL)
    for i, im in enumerate(images):
        out.paste(im, ((i % columns) * (w + gap), (i // columns) * (h + gap)))
    return out


def label_names(pack):
    out = {}
    for s in pack.m["steps"]:
        for p in s.get("model", {}).get("post", []):
            (_, body), = p.items()
            for i in body.get("labels", []) + body.get("items", []) + ([body["label"]] if "label" in body else []):
                out[i["id"]] = i["text"]
    return out


def render_many(make, seeds, workers=int(os.environ.get("WORKERS", "1"))):
    """`make(seed)` for each seed, in order; the result depends on the seeds alone."""
    import multiprocessing
    import pickle
    store = os.environ.get("RENDER_CACHE")
    file = store and pathlib.Path(store) / f"{pathlib.Path(sys.argv[0]).stem}-{getattr(make, '__name__', 'full')}-{list(seeds)[0]}-{len(list(seeds))}.pickle"
    if file and file.exists():
        return pickle.loads(file.read_bytes())
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        out = pool.map(make, seeds, chunksize=4)
    if file:
        file.write_bytes(pickle.dumps(out))
    return out
