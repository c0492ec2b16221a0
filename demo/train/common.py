"""What all demo apps share: ONNX building, the documented pre- and post-processing, golden samples, pictures, app.yaml.

The pre- and post-processing here is a second implementation of the words in crates/app-package/src/manifest.rs; the golden
samples made with it therefore test the platform's own implementation, not a copy of it.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # sums in one fixed order: the same weights on every run

import csv
import io
import json
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime
import yaml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageFont

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parent
COAL, SLATE, PAPER = "#11161c", "#27313c", "#f7f6f3"
AMBER, STEEL, GREEN, RED, MUTED = "#e8952e", "#2b7a9b", "#2f8f5b", "#c8443a", "#8d99a6"
IR_VERSION, OPSET, ML_OPSET = 8, 17, 3


# ---------------------------------------------------------------- ONNX
class Graph:
    """A small writer of ONNX graphs; names are made in order, so the bytes are the same on every run."""

    def __init__(self, name):
        self.name, self.nodes, self.constants, self.count = name, [], [], 0

    def const(self, array):
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def f32(self, array):
        return self.const(np.asarray(array, dtype=np.float32))

    def i64(self, array):
        return self.const(np.asarray(array, dtype=np.int64))

    def node(self, op, *inputs, out=None, **attributes):
        self.count += 1
        out = out or f"t{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def model(self, inputs, outputs):
        """`inputs`, `outputs`: {name: shape}, all FP32."""
        values = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in d.items()] for d in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, self.name, values[0], values[1], self.constants)
        return pin(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def pin(model):
    """Fix everything that depends on library versions, then check the model."""
    model.ir_version, model.producer_name, model.producer_version, model.domain = IR_VERSION, "pithead-demo", "1", "pithead.demo"
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def mlp(graph, x, net, activation="Relu"):
    """The layers of a fitted sklearn MLP on `[1, n]`, without the output function."""
    for layer, (weights, bias) in enumerate(zip(net.coefs_, net.intercepts_)):
        x = graph.node("Gemm", x, graph.f32(weights), graph.f32(bias))
        if layer + 1 < len(net.coefs_):
            x = graph.node(activation, x)
    return x


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = model if isinstance(model, (bytes, str)) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


# ---------------------------------------------------------------- the documented pre-processing
def scale_shift(x, step, axis):
    shape = [1] * x.ndim
    shape[axis] = -1
    mean, std = step.get("mean") or [0.0], step.get("std") or [1.0]
    return (x - np.array(mean, np.float32).reshape(shape)) / np.array(std, np.float32).reshape(shape)


def pre_image(step, picture):
    picture = picture.convert("RGB")
    if picture.size != (step["width"], step["height"]):
        if step.get("fit", "stretch") != "stretch":
            raise ValueError("the demo apps only stretch")
        picture = picture.resize((step["width"], step["height"]), Image.Resampling.BILINEAR)  # a triangle filter, as documented
    x = np.asarray(picture, np.float32)
    x = x @ np.array([[0.299], [0.587], [0.114]], np.float32) if step.get("color") == "gray" else x
    x = scale_shift(x / np.float32(255), step, 2)
    layout = step.get("layout", "nchw")
    x = x.transpose(2, 0, 1)[None] if layout == "nchw" else x[None] if layout == "nhwc" else x.reshape(1, -1)
    return np.ascontiguousarray(x, dtype=np.float32)


def read_csv(data):
    rows = list(csv.reader(io.StringIO(data)))
    return rows[0], np.array([[float(v) for v in row] for row in rows[1:]], dtype=np.float64)


def pre(manifest, data):
    """Input bytes → the model's tensor."""
    (kind, step), = manifest["pipeline"]["pre"].items()
    if kind == "image":
        return pre_image(step, Image.open(io.BytesIO(data)))
    header, rows = read_csv(data.decode())
    if kind == "columns":
        return np.array([[rows[0][header.index(n)] for n in step["names"]]], dtype=np.float32)
    x = np.stack([rows[-step["length"]:, header.index(n)] for n in step["columns"]], axis=1).astype(np.float32)
    if len(x) != step["length"]:
        raise ValueError("too few rows")
    x = scale_shift(x, step, 1)
    layout = step.get("layout", "time-major")
    return np.ascontiguousarray(x[None] if layout == "time-major" else x.T[None] if layout == "channel-major" else x.reshape(1, -1))


# ---------------------------------------------------------------- the documented post-processing
def groups(cells, diagonal=False):
    """Connected groups of true cells, as lists of (row, column), in reading order of their first cell."""
    near = [(-1, 0), (1, 0), (0, -1), (0, 1)] + ([(-1, -1), (-1, 1), (1, -1), (1, 1)] if diagonal else [])
    seen, found = np.zeros_like(cells), []
    for start in map(tuple, np.argwhere(cells)):
        if seen[start]:
            continue
        seen[start], stack, group = True, [start], []
        while stack:
            r, c = stack.pop()
            group.append((r, c))
            for dr, dc in near:
                at = (r + dr, c + dc)
                if 0 <= at[0] < cells.shape[0] and 0 <= at[1] < cells.shape[1] and cells[at] and not seen[at]:
                    seen[at] = True
                    stack.append(at)
        found.append(group)
    return found


def boxes_of(heat, labels, score, size, diagonal=False):
    """Heat map `[labels, rows, columns]` → detections in a picture of `size` (width, height); score = best cell of the group."""
    out = []
    width, height = size[0] / heat.shape[2], size[1] / heat.shape[1]
    for channel, label in enumerate(labels):
        for group in groups(heat[channel] >= score, diagonal):
            rows, columns = [g[0] for g in group], [g[1] for g in group]
            x, y = min(columns) * width, min(rows) * height
            out.append({"label": label, "score": float(max(heat[channel][g] for g in group)),
                        "box": [x, y, (max(columns) + 1) * width - x, (max(rows) + 1) * height - y]})
    return sorted(out, key=lambda d: -d["score"])


def post(manifest, outputs, size, diagonal=False):
    """Output tensors by name → the JSON of an `AppOutput` without alarms."""
    result = {}
    for step in manifest["pipeline"]["post"]:
        (kind, step), = step.items()
        raw = outputs[step["output"]]
        ids = [i["id"] for i in step.get("labels", step.get("items", []))]
        if kind == "classes":
            p = raw[0].astype(np.float64)
            if step.get("softmax"):
                p = np.exp(p - p.max())
                p /= p.sum()
            result["classes"] = [{"label": ids[i], "score": float(p[i])} for i in sorted(range(len(p)), key=lambda i: -p[i])]
        elif kind == "grid":
            result["detections"] = boxes_of(raw[0], ids, np.float32(step["score"]), size, diagonal)
        elif kind == "values":
            result["values"] = [{"id": i["id"], "value": float(v) * i.get("scale", 1.0) + i.get("offset", 0.0), "unit": i.get("unit", "")}
                                for i, v in zip(step["items"], raw[0])]
    return result


def predict(manifest, run, data, diagonal=False):
    size = Image.open(io.BytesIO(data)).size if "image" in manifest["pipeline"]["pre"] else None
    names = [o.name for o in run.get_outputs()]
    outputs = dict(zip(names, run.run(names, {run.get_inputs()[0].name: pre(manifest, data)})))
    return post(manifest, outputs, size, diagonal), outputs


def steady(manifest, outputs, data_size):
    """True where a small numerical difference or another notion of "connected" cannot change the detections."""
    for step in manifest["pipeline"]["post"]:
        if "grid" in step:
            g = step["grid"]
            heat = outputs[g["output"]][0]
            if np.any(np.abs(heat - g["score"]) < 0.004):
                return False
            if any(len(groups(h >= g["score"])) != len(groups(h >= g["score"], True)) for h in heat):
                return False
    return True


# ---------------------------------------------------------------- files
def csv_bytes(columns, rows, digits=4):
    lines = [",".join(columns)] + [",".join(f"{v:.{digits}f}".rstrip("0").rstrip(".") for v in row) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def png_bytes(array):
    data = io.BytesIO()
    Image.fromarray(array).save(data, "PNG", optimize=True)
    return data.getvalue()


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def _text(dumper, value):
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper, value):
    plain = all(isinstance(v, (int, float, str)) for v in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=plain)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def readme(m):
    """The README of an app's folder: texts and model card of its manifest, in both languages."""
    lines = []
    for lang, words in (("zh", ("模型卡", "训练数据", "局限", "指标", "数值", "基线", "数据")),
                        ("en", ("Model card", "Training data", "Limits", "Metric", "Value", "Baseline", "Data"))):
        lines += [f"# {m['title'][lang]}", "", m["summary"][lang], "", m["description"][lang].strip(), "", f"## {words[0]}", "",
                  f"**{words[1]}** {m['card']['training_data'][lang].strip()}", "", f"**{words[2]}** {m['card']['limits'][lang].strip()}", "",
                  f"| {words[3]} | {words[4]} | {words[5]} | {words[6]} |", "|---|---|---|---|"]
        lines += [f"| {x.get('title', {}).get(lang, x['name'])} | {x['value']} | {x['baseline']} | {x['dataset'][lang]} |" for x in m["card"]["metrics"]] + [""]
    return "\n".join(lines)


class App:
    """One app folder in the making."""

    def __init__(self, name):
        self.manifest = yaml.safe_load((HERE / "manifests" / f"{name}.yaml").read_text("utf-8"))
        self.final = DEMO / "apps" / name
        self.folder = self.final.with_name(f".{name}.new")  # takes the place of the old one only when all is done
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("media", "golden"):
            (self.folder / part).mkdir(parents=True)

    def labels(self, step=0):
        (_, post_step), = self.manifest["pipeline"]["post"][step].items()
        return [i["id"] for i in post_step.get("labels", post_step.get("items", []))]

    def save_model(self, model):
        data = model.SerializeToString(deterministic=True)
        if len(data) >= 1_000_000:
            raise SystemExit(f"{self.manifest['name']}: the model has {len(data)} bytes")
        (self.folder / "model.onnx").write_bytes(data)
        self.run = session(data)
        for declared, real in ((self.manifest["models"][0]["inputs"], self.run.get_inputs()),
                               (self.manifest["models"][0]["outputs"], self.run.get_outputs())):
            got = [(t.name, t.shape) for t in real]
            if got != [(t["name"], t["shape"]) for t in declared]:
                raise SystemExit(f"{self.manifest['name']}: app.yaml says otherwise than the model: {got}")

    def golden(self, samples, count, absolute=1e-3, relative=1e-3):
        """`samples`: (name, bytes, truth) in the order made, never chosen by whether the model is right; only samples on
        the edge of the score threshold are passed over, as another engine may legitimately round them the other way."""
        out, end = [], "png" if self.manifest["input"] == "image" else "csv"
        for name, data, truth in samples:
            result, outputs = predict(self.manifest, self.run, data)
            if len(out) == count:
                break
            if not steady(self.manifest, outputs, None):
                continue
            number = len(out) + 1
            (self.folder / "golden" / f"{number}.{end}").write_bytes(data)
            rounded = json.loads(json.dumps(result), parse_float=lambda v: round(float(v), 6))
            (self.folder / "golden" / f"{number}.json").write_text(json.dumps(rounded, indent=1) + "\n")
            out.append({"name": f"{name}-{number}", "input": f"golden/{number}.{end}", "expect": f"golden/{number}.json",
                        "tolerance": {"absolute": absolute, "relative": relative}, "truth": truth})
        if len(out) != count:
            raise SystemExit("too few golden samples")
        self.manifest["golden"] = out

    def metric(self, name, value, baseline, zh, en):
        self.manifest["card"].setdefault("metrics", []).append(
            {"name": name, "value": round(float(value), 4), "baseline": round(float(baseline), 4), "dataset": {"zh": zh, "en": en}})
        print(f"{self.manifest['name']}: {name} {value:.3f} (baseline {baseline:.3f})", flush=True)

    def finish(self):
        m = self.manifest
        golden = m.pop("golden")
        order = {"golden": golden, "card": m.pop("card"), "media": m.pop("media")}
        m.update(order)
        head = "# Made by the training script in demo/train; change it there.\n"
        (self.folder / "app.yaml").write_text(
            head + yaml.dump(m, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1000), "utf-8")
        (self.folder / "README.md").write_text(readme(m), "utf-8")
        for item in m["media"]:
            if not (self.folder / item["file"]).is_file():
                raise SystemExit(f"{m['name']}: {item['file']} is missing")
        shutil.rmtree(self.final, ignore_errors=True)
        self.folder.rename(self.final)


# ---------------------------------------------------------------- pictures for the listing
FONTS = ["/usr/share/fonts/opentype/noto/NotoSansCJK-{}.ttc", "/usr/share/fonts/noto-cjk/NotoSansCJK-{}.ttc",
         "/usr/share/fonts/google-noto-cjk/NotoSansCJK-{}.ttc"]


def font(size, bold=False):
    for path in FONTS:
        path = path.format("Bold" if bold else "Regular")
        if pathlib.Path(path).exists():
            return ImageFont.truetype(path, size, index=2)  # index 2: Simplified Chinese
    return ImageFont.load_default(size)


class Canvas:
    """A 1280×720 picture in the palette."""

    def __init__(self, width=1280, height=720, ground=COAL):
        self.image = Image.new("RGB", (width, height), ground)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, at, words, size, color=PAPER, bold=False, anchor="la"):
        self.draw.text(at, words, font=font(size, bold), fill=color, anchor=anchor)

    def head(self, title, number=""):
        """A title line with the lamp bar at its left."""
        self.draw.rectangle([56, 52, 64, 136], fill=AMBER)
        self.text((88, 44), title["zh"], 40, bold=True)
        self.text((88, 100), title["en"], 24, MUTED)
        self.text((1224, 92), number, 24, AMBER, anchor="rm")

    def picture(self, array, at, scale, detections=(), colors=(), names=None):
        x0, y0 = at
        h, w = array.shape[:2]
        size = (int(w * scale), int(h * scale))
        self.image.paste(Image.fromarray(array).resize(size, Image.Resampling.BICUBIC), at)
        for d in detections:
            x, y, bw, bh = [v * scale for v in d["box"]]
            color = colors[d["label"]]
            box = [x0 + x, y0 + y, x0 + x + bw, y0 + y + bh]
            self.draw.rectangle(box, outline=color, width=3)
            words = f"{names[d['label']]} {d['score']:.2f}" if names else f"{d['score']:.2f}"
            f = font(max(12, int(7.5 * scale)), True)
            left, top, right, bottom = self.draw.textbbox((0, 0), words, font=f)
            tw, th = right - left + 12, bottom - top + 10
            tx = min(box[0], x0 + size[0] - tw)
            ty = box[1] - th if box[1] - th >= y0 else box[1]
            self.draw.rectangle([tx, ty, tx + tw, ty + th], fill=color)
            self.draw.text((tx + 6 - left, ty + 5 - top), words, font=f, fill=COAL)

    def frame(self, box, title="", grid=4):
        x0, y0, x1, y1 = box
        self.draw.rectangle(box, fill="#161d25")
        for i in range(1, grid):
            y = y0 + (y1 - y0) * i / grid
            self.draw.line([x0, y, x1, y], fill=SLATE)
        self.draw.line([x0, y1, x1, y1], fill=MUTED, width=2)
        if title:
            self.text((x0 + 4, y0 - 34), title, 21, MUTED)

    def line(self, box, x, y, xlim, ylim, color, width=3):
        big = Image.new("L", ((box[2] - box[0]) * 2, (box[3] - box[1]) * 2))
        px = (np.asarray(x) - xlim[0]) / (xlim[1] - xlim[0]) * big.width
        py = (1 - (np.asarray(y) - ylim[0]) / (ylim[1] - ylim[0])) * big.height
        ImageDraw.Draw(big).line(list(zip(px.tolist(), py.tolist())), fill=255, width=width * 2, joint="curve")
        self.image.paste(Image.new("RGB", (box[2] - box[0], box[3] - box[1]), color), box[:2], big.reduce(2))

    def dots(self, box, x, y, xlim, ylim, color, radius=4):
        for a, b in zip(x, y):
            px = box[0] + (a - xlim[0]) / (xlim[1] - xlim[0]) * (box[2] - box[0])
            py = box[3] - (b - ylim[0]) / (ylim[1] - ylim[0]) * (box[3] - box[1])
            if box[0] <= px <= box[2] and box[1] <= py <= box[3]:
                self.draw.ellipse([px - radius, py - radius, px + radius, py + radius], fill=color)

    def ticks(self, box, xlim, ylim, nx=5, ny=4, unit=""):
        for i in range(nx + 1):
            x = box[0] + (box[2] - box[0]) * i / nx
            self.text((x, box[3] + 8), f"{xlim[0] + (xlim[1] - xlim[0]) * i / nx:.5g}", 17, MUTED, anchor="ma")
        for i in range(ny + 1):
            y = box[3] - (box[3] - box[1]) * i / ny
            self.text((box[0] - 10, y), f"{ylim[0] + (ylim[1] - ylim[0]) * i / ny:.5g}{unit}", 17, MUTED, anchor="rm")

    def bars(self, box, names, values, colors):
        """Horizontal bars of 0–1 with words."""
        x0, y0, x1, y1 = box
        step = (y1 - y0) / len(values)
        for i, (name, value) in enumerate(zip(names, values)):
            y = y0 + i * step
            self.text((x0, y), name, 22)
            self.text((x1, y), f"{value:.1%}", 22, colors[i], anchor="ra")
            self.draw.rectangle([x0, y + 36, x1, y + 48], fill=SLATE)
            self.draw.rectangle([x0, y + 36, x0 + max(2, (x1 - x0) * value), y + 48], fill=colors[i])

    def confusion(self, at, cell, names, matrix):
        """Rows are the truth; each row is shown as a share of itself."""
        x0, y0 = at
        share = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
        dark, light = np.array([0x16, 0x1d, 0x25]), np.array([0xe8, 0x95, 0x2e])
        for r in range(len(names)):
            self.text((x0 - 14, y0 + r * cell[1] + cell[1] / 2), names[r], 20, anchor="rm")
            self.text((x0 + r * cell[0] + cell[0] / 2, y0 + len(names) * cell[1] + 12), names[r], 20, MUTED, anchor="ma")
            for c in range(len(names)):
                color = tuple(int(v) for v in dark + (light - dark) * share[r, c] ** 0.7)
                x, y = x0 + c * cell[0], y0 + r * cell[1]
                self.draw.rectangle([x, y, x + cell[0] - 3, y + cell[1] - 3], fill=color)
                self.text((x + cell[0] / 2, y + cell[1] / 2), str(int(matrix[r, c])), 22, COAL if share[r, c] > 0.45 else PAPER, anchor="mm")

    def save(self, path, limit=250_000):
        """As few colours as the size limit needs."""
        fixed = [tuple(bytes.fromhex(c[1:])) for c in (COAL, SLATE, PAPER, AMBER, STEEL, GREEN, RED, MUTED, "#59b3d6", "#63c78f", "#161d25", "#8a6fc0")]
        fixed += [tuple((a + b) // 2 for a, b in zip(c, fixed[0])) for c in fixed[2:10]]  # for the edges of letters
        for colors in (256, 160, 128, 96, 80, 64, 48):
            found = self.image.quantize(colors - len(fixed), Image.Quantize.MEDIANCUT, kmeans=1).getpalette()[:3 * (colors - len(fixed))]
            palette = Image.new("P", (1, 1))
            palette.putpalette(found + [v for c in fixed for v in c])
            data = io.BytesIO()
            self.image.quantize(palette=palette, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
            if len(data.getvalue()) < limit:
                break
        path.write_bytes(data.getvalue())


def words(manifest, lang="zh", step=0):
    (_, post_step), = manifest["pipeline"]["post"][step].items()
    return {i["id"]: i["text"][lang] for i in post_step.get("labels", post_step.get("items", []))}


def truth_matrix(truth, guess, n):
    matrix = np.zeros((n, n), int)
    np.add.at(matrix, (truth, guess), 1)
    return matrix


def macro_f1(truth, guess, n):
    scores = []
    for k in range(n):
        tp = np.sum((truth == k) & (guess == k))
        scores.append(2 * tp / max(1, np.sum(truth == k) + np.sum(guess == k)))
    return float(np.mean(scores))
