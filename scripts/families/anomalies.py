"""What is unusual: a graph with the outputs of anomalib, and autoencoders of a picture and of a window. Rewritten in numpy.

anomalib 2.x gives `pred_score`, `pred_label`, `anomaly_map`, `pred_mask`, normalised so that 0.5 is the threshold, with its resizing in the graph.
Here the map is the distance of a blurred picture from grey, so that it depends on the picture; names, types and shapes are anomalib's.
"""
import cv2, numpy as np
from onnx import TensorProto as T
from PIL import Image

from graph import Graph
from masks import centres, ordered, rle
from publishers import nchw, rgb, run, work

SIDE, GAIN = 128, 1.36  # groups stay where they are when the threshold moves by 2 %


def anomalib_like(with_map):
    g = Graph("input", ["batch", 3, SIDE, SIDE], probe=False)
    blur = np.zeros((3, 3, 5, 5), np.float32)
    for c in range(3):
        blur[c, c] = cv2.getGaussianKernel(5, 1.2) @ cv2.getGaussianKernel(5, 1.2).T
    x = g.add("Conv", ["input", g.const(blur)], pads=[2] * 4)
    x = g.add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])  # a quarter of the cells, as maps of features are smaller
    x = g.add("ReduceL2", [g.add("Sub", [x, g.const(np.float32([0.52, 0.5, 0.48]).reshape(1, 3, 1, 1))])], axes=[1], keepdims=1)
    x = g.add("Resize", [x, "", g.const(np.float32([1, 1, 2, 2]))], mode="linear", coordinate_transformation_mode="half_pixel")
    g.add("Clip", [g.add("Mul", [x, g.const(np.float32(GAIN))]), g.const(np.float32(0)), g.const(np.float32(1))], "anomaly_map")
    half = g.const(np.float32(0.5))
    g.add("Unsqueeze", [g.add("ReduceMax", ["anomaly_map"], axes=[1, 2, 3], keepdims=0), g.const(np.array([1]))], "pred_score")
    g.add("GreaterOrEqual", ["pred_score", half], "pred_label")
    g.add("GreaterOrEqual", ["anomaly_map", half], "pred_mask")
    g.output("pred_score", T.FLOAT, ["batch", 1]), g.output("pred_label", T.BOOL, ["batch", 1])
    if with_map:
        g.output("anomaly_map", T.FLOAT, ["batch", 1, SIDE, SIDE]), g.output("pred_mask", T.BOOL, ["batch", 1, SIDE, SIDE])
    return g.save(f"anomalib-{'map' if with_map else 'score'}")


def groups(map_, threshold, width, height, label):
    """Connected groups of four neighbours."""
    n, marks = cv2.connectedComponents((map_ >= threshold).astype(np.uint8), connectivity=4)
    rows, columns = map_.shape
    sx, sy, out = width / columns, height / rows, []
    for k in range(1, n):
        ys, xs = np.nonzero(marks == k)
        x1, y1, x2, y2 = xs.min() * sx, ys.min() * sy, (xs.max() + 1) * sx, (ys.max() + 1) * sy
        box = [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]
        mx, my = centres(box)
        mask = (marks == k)[np.ix_(np.clip(np.floor(my / sy).astype(int), 0, rows - 1), np.clip(np.floor(mx / sx).astype(int), 0, columns - 1))]
        out.append({"label": label, "score": float(map_[marks == k].max()), "box": box, "mask": rle(mask)})
    return ordered(out)


def value(label, v):
    return {"values": [{"id": label, "value": float(v), "unit": ""}]}


def anomalib(with_map):
    model = anomalib_like(with_map)

    def reference(file, labels):
        picture = Image.open(file).convert("RGB")
        score, _, *maps = run(model, input=nchw(np.asarray(picture.resize((SIDE, SIDE), Image.BILINEAR))))
        return value(labels[0], score[0, 0]) | (groups(maps[0][0, 0], 0.5, *picture.size, labels[0]) if with_map else {})

    return model, reference


def belts():
    """A grey belt with things on it; and one without."""
    rng, out = np.random.default_rng(4), []
    colors = [(230, 40, 30), (20, 20, 25), (250, 250, 240), (30, 60, 220), (240, 200, 20), (10, 120, 40)]
    for name, (w, h), n in [("belt", (640, 400), 6), ("tall", (300, 500), 4), ("clean", (400, 400), 0)]:
        p = np.full((h, w, 3), (133, 128, 122), np.uint8)
        p = np.clip(p + rng.normal(0, 3, p.shape), 0, 255).astype(np.uint8)
        for k in range(n):
            at = tuple(int(v) for v in (rng.uniform(0.1, 0.9) * w, rng.uniform(0.1, 0.9) * h))
            if k % 2:
                cv2.ellipse(p, at, (int(w * 0.06), int(h * 0.03)), 30 * k, 0, 360, colors[k], -1, cv2.LINE_AA)
            else:
                cv2.rectangle(p, at, (at[0] + int(w * 0.07), at[1] + int(h * 0.1)), colors[k], -1)
        out.append(work / f"anomaly-{name}.png")
        cv2.imwrite(str(out[-1]), p[..., ::-1])
    return out


PICTURE = """
  - model:
      name: autoencoder
      file: model.onnx
      inputs: [{name: input, datatype: FP32, shape: [1, 3, 96, 128]}]
      outputs: [{name: reconstruction, datatype: FP32, shape: [1, 3, 96, 128]}]
      pre: {image: {width: 128, height: 96, filter: linear}}
      post: [{anomaly: {reconstruction: reconstruction, error: mse, threshold: 0.0215, label: {id: anomaly, text: {zh: 异常, en: Anomaly}}}}]
"""


def reconstruction():
    """A picture through a narrow place: means of 8×8 pixels, a little of random convolutions, and back."""
    g = Graph("input", [1, 3, 96, 128], probe=False, seed=2)
    x = g.add("Tanh", [g.add("Conv", ["input", g.random(8, 3, 4, 4)], strides=[4, 4])])
    x = g.add("Tanh", [g.add("ConvTranspose", [x, g.random(8, 3, 4, 4, by=0.6)], strides=[4, 4])])
    y = g.add("AveragePool", ["input"], kernel_shape=[8, 8], strides=[8, 8])
    y = g.add("Resize", [y, "", g.const(np.float32([1, 1, 8, 8]))], mode="linear", coordinate_transformation_mode="half_pixel")
    g.add("Add", [y, g.add("Mul", [x, g.const(np.float32(0.15))])], "reconstruction")
    g.output("reconstruction", T.FLOAT, [1, 3, 96, 128])
    model = g.save("autoencoder")

    def reference(file, labels):
        picture = rgb(file)
        x = nchw(cv2.resize(picture, (128, 96), interpolation=cv2.INTER_LINEAR))
        map_ = ((run(model, input=x)[0] - x).astype(np.float64) ** 2).mean(1)[0]
        return value("anomaly", map_.max()) | groups(map_, 0.0215, picture.shape[1], picture.shape[0], "anomaly")

    return PICTURE, {"model.onnx": model}, reference


COLUMNS, MEAN, STD = ["pressure", "flow", "speed"], [30.0, 12.0, 2.5], [4.0, 3.0, 0.5]
WINDOW = """
  - model:
      name: autoencoder
      file: model.onnx
      inputs: [{name: x, datatype: FP32, shape: [1, 24, 3]}]
      outputs: [{name: y, datatype: FP32, shape: [1, 24, 3]}]
      pre: {window: {columns: [pressure, flow, speed], length: 24, mean: [30, 12, 2.5], std: [4, 3, 0.5]}}
      post: [{anomaly: {reconstruction: y, threshold: 1, label: {id: anomaly, text: {zh: 异常, en: Anomaly}}}}]
"""


def window():
    """Rows of three columns: flat, narrow, and back."""
    g = Graph("x", [1, 24, 3], probe=False, seed=3)
    basis = np.linalg.qr(g.rng.normal(size=(72, 12)))[0].astype(np.float32)
    x = g.add("Reshape", ["x", g.const(np.array([-1, 72]))])
    x = g.add("MatMul", [g.add("MatMul", [x, g.const(basis)]), g.const(basis.T.copy())])
    g.add("Reshape", [x, g.const(np.array([-1, 24, 3]))], "y")
    g.output("y", T.FLOAT, [1, 24, 3])
    model = g.save("autoencoder-window")

    def reference(file, labels):
        x = ((np.loadtxt(file, np.float32, delimiter=",", skiprows=1)[-24:] - np.float32(MEAN)) / np.float32(STD))[None]
        return value("anomaly", ((run(model, x=x)[0] - x).astype(np.float64) ** 2).mean())

    return WINDOW, {"model.onnx": model}, reference


def courses():
    """A calm course, and one with a jump."""
    rng, t, out = np.random.default_rng(9), np.arange(40)[:, None], []
    calm = np.array(MEAN) + np.array(STD) * np.sin(t / 5 + np.arange(3)) + rng.normal(0, 0.1, (40, 3))
    for name, rows in (("calm", calm), ("jump", calm + (t == 33) * np.array([14.0, -9.0, 1.5]))):
        out.append(work / f"course-{name}.csv")
        out[-1].write_text(",".join(COLUMNS) + "\n" + "".join(",".join(repr(float(np.float32(v))) for v in row) + "\n" for row in rows))
    return out
