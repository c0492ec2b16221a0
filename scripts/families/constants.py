"""Graphs of constants: decoding of families whose weights no package has. Their scores move with the picture."""
import cv2, numpy as np
from onnx import TensorProto as T
from PIL import Image

from graph import Graph
from publishers import IMAGENET, corners, found, letterbox, nchw, raw_heads, rgb, run, session

RNG = np.random.default_rng(7)
# Shares of the picture: three boxes, one of them over the edge, and one below any threshold.
BOXES = np.array([[0.10, 0.20, 0.45, 0.60], [0.52, 0.31, 0.93, 0.88], [0.70, -0.05, 1.08, 0.30], [0.2, 0.2, 0.4, 0.4]], np.float32)
SCORES = np.array([0.83, 0.61, 0.44, 0.03], np.float32)
CLASSES = np.array([2, 0, 1, 1], np.int64)
CENTRES = np.concatenate([(BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]], 1)


def logit(p):
    return np.log(p / (1 - p)).astype(np.float32)


def dfine():
    g = Graph("images", ["N", 3, 640, 640], [("orig_target_sizes", T.INT64, ["N", 2])])
    g.add("Cast", ["orig_target_sizes"], "_s", to=T.FLOAT)
    g.add("Concat", ["_s", "_s"], "_ss", axis=1)
    g.add("Unsqueeze", ["_ss", g.constant("_one", np.array([1]))], "_sss")
    g.add("Mul", [g.constant("_b", BOXES[None]), "_sss"], "boxes")
    g.add("Identity", [g.constant("_l", CLASSES[None])], "labels")
    g.add("Add", [g.constant("_c", SCORES[None]), "_probe"], "scores")
    g.output("labels", T.INT64, ["N", 4]), g.output("boxes", T.FLOAT, ["N", 4, 4]), g.output("scores", T.FLOAT, ["N", 4])
    model = g.save("dfine")

    def reference(file, labels):  # tools/inference/onnx_inf.py of D-FINE with the picture stretched, as it is trained; (w, h)
        picture = Image.open(file).convert("RGB")
        x = nchw(np.asarray(picture.resize((640, 640), Image.BILINEAR)))
        l, b, s = run(model, images=x, orig_target_sizes=np.array([picture.size]))
        return found([(*b[0, k], s[0, k], l[0, k]) for k in range(4) if s[0, k] > 0.25], file, labels)

    return model, reference


def paddle():
    g = Graph("image", ["N", 3, 640, 640], [("im_shape", T.FLOAT, ["N", 2]), ("scale_factor", T.FLOAT, ["N", 2])])
    rows = np.concatenate([CLASSES[:, None], SCORES[:, None], BOXES * 640], 1).astype(np.float32)
    rows = np.concatenate([rows, [[1, 0.9, 5, 5, 50, 50]]]).astype(np.float32)  # one more than bbox_num says
    g.constant("_swap", np.array([1, 0, 1, 0]))
    g.add("Gather", ["scale_factor", "_swap"], "_xyxy", axis=1)
    g.add("Gather", ["im_shape", "_swap"], "_whwh", axis=1)
    g.add("Slice", [g.constant("_r", rows), g.constant("_2", np.array([2])), g.constant("_6", np.array([6])), g.constant("_a", np.array([1]))], "_b")
    g.add("Min", ["_b", "_whwh"], "_bb")
    g.add("Div", ["_bb", "_xyxy"], "_boxes")
    g.add("Add", [g.constant("_c", rows[:, 1:2]), "_probe"], "_score")
    g.add("Concat", [g.constant("_k", rows[:, :1]), "_score", "_boxes"], "multiclass_nms3_0.tmp_0", axis=1)
    g.add("Identity", [g.constant("_n", np.array([4], np.int32))], "multiclass_nms3_0.tmp_2")
    g.output("multiclass_nms3_0.tmp_0", T.FLOAT, ["M", 6]), g.output("multiclass_nms3_0.tmp_2", T.INT32, ["N"])
    model = g.save("paddle")

    def reference(file, labels):  # deploy/third_engine/onnx/infer.py and preprocess.py of PaddleDetection; stretched, cubic
        picture = rgb(file)
        x = nchw(cv2.resize(picture, None, fx=640 / picture.shape[1], fy=640 / picture.shape[0], interpolation=cv2.INTER_CUBIC), 255, *IMAGENET)
        scale = np.array([[640 / picture.shape[0], 640 / picture.shape[1]]], np.float32)
        out, n = run(model, image=x, im_shape=np.array([[640, 640]], np.float32), scale_factor=scale)
        return found([(*row[2:], row[1], row[0]) for row in out[: n[0]] if row[1] > 0.25], file, labels)

    return model, reference


def detr(name, picture, boxes, logits, prepare, background, softmax, side=640, mask=False, hard=False):
    """Logits of each query. `hard`: the second has two labels above the threshold; with softmax, the third more of nothing than of its label."""
    table = np.full((4, 3), 0.02, np.float32)
    table[np.arange(4), CLASSES] = SCORES
    table[1, 2] = 0.33 if hard else 0.02
    table = logit(table)
    if softmax:
        table = np.log(np.concatenate([np.clip(np.exp(table), 1e-3, None), np.full((4, 1), 1 if hard else 0.2)], 1)).astype(np.float32)
    elif background:
        table = np.concatenate([table, np.full((4, 1), 1.5, np.float32)], 1)
    shape = ["N", 3, side, side] if boxes != "dets" else [1, 3, side, side]
    g = Graph(picture, shape, [("pixel_mask", T.INT64, ["N", 64, 64])] if mask else [])
    g.add("Identity", [g.constant("_b", CENTRES[None])], boxes)
    if mask:  # a mask of zeros would move every box
        g.nodes.pop()
        g.add("Cast", ["pixel_mask"], "_m", to=T.FLOAT)
        g.add("ReduceMean", ["_m"], "_mm", keepdims=0)
        g.add("Mul", ["_b", "_mm"], boxes)
    g.add("Unsqueeze", ["_probe", g.constant("_one", np.array([1]))], "_p")
    g.add("Mul", ["_p", g.constant("_k", np.eye(1, table.shape[1], dtype=np.float32) * 3)], "_pp")  # moves the first label alone
    g.add("Add", [g.constant("_t", table[None]), "_pp"], logits)
    g.output(boxes, T.FLOAT, [shape[0], 4, 4]), g.output(logits, T.FLOAT, [shape[0], 4, table.shape[1]])
    model = g.save(name)

    def reference(file, labels):
        source = Image.open(file).convert("RGB")
        more = {"pixel_mask": np.ones((1, 64, 64), np.int64)} if mask else {}
        answer = dict(zip([o.name for o in session(model).get_outputs()], run(model, **{picture: prepare(source, side)}, **more)))
        b, z = corners(answer[boxes][0]) * [*source.size, *source.size], answer[logits][0]
        if softmax:  # DetrImageProcessor.post_process_object_detection: the best label of each query
            p = (np.exp(z) / np.exp(z).sum(1, keepdims=True))[:, :-1]
            rows = [(*b[q], p[q].max(), p[q].argmax()) for q in range(4) if p[q].max() > 0.25]
        else:  # RTDetrImageProcessor, rfdetr PostProcess: the best of queries × labels, so that a query may give two
            p = 1 / (1 + np.exp(-z[:, :3]))
            rows = [(*b[q], p[q, c], c) for q in range(4) for c in range(3) if p[q, c] > 0.25]
        return found(rows, file, labels)

    return model, reference


def stretched_pillow(source, side):
    return nchw(np.asarray(source.resize((side, side), Image.BILINEAR)))


def stretched_pillow_imagenet(source, side):
    return nchw(np.asarray(source.resize((side, side), Image.BILINEAR)), 255, *IMAGENET)


def stretched_floats(source, side):
    x = cv2.resize(np.asarray(source).astype(np.float32) / 255, (side, side), interpolation=cv2.INTER_LINEAR)
    return nchw(x, 1, *IMAGENET)


def mmdet():
    g = Graph("input", ["batch", 3, 640, 640])
    g.add("Add", [g.constant("_c", SCORES[None, :, None]), g.add("Unsqueeze", ["_probe", g.constant("_one", np.array([1]))], "_p")], "_s")
    g.add("Concat", [g.constant("_b", BOXES[None] * 400), "_s"], "dets", axis=2)
    g.add("Identity", [g.constant("_l", CLASSES[None])], "labels")
    g.output("dets", T.FLOAT, ["batch", "n", 5]), g.output("labels", T.INT64, ["batch", "n"])
    model = g.save("mmdet")

    def reference(file, labels):  # Resize(keep_ratio) of mmcv, then ImgDataPreprocessor of mmengine: normalise first, pad with 0 after
        picture = rgb(file)
        rows, columns = picture.shape[:2]
        r = min(640 / rows, 640 / columns)
        new = int(columns * r + 0.5), int(rows * r + 0.5)
        x = nchw(cv2.resize(picture, new, interpolation=cv2.INTER_LINEAR), 1, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
        x = np.pad(x, [(0, 0), (0, 0), (0, 640 - new[1]), (0, 640 - new[0])])
        d, l = run(model, input=x)
        way = np.array([new[0] / columns, new[1] / rows] * 2)
        return found([(*d[0, k, :4] / way, d[0, k, 4], l[0, k]) for k in range(4) if d[0, k, 4] > 0.25], file, labels)

    return model, reference


def torchvision():
    g = Graph("images", [1, 3, 800, 800])
    g.add("Identity", [g.constant("_b", BOXES * 500)], "boxes")
    g.add("Identity", [g.constant("_l", CLASSES + 1)], "labels")
    g.add("Squeeze", [g.add("Add", [g.constant("_c", SCORES[None]), "_probe"], "_s"), g.constant("_z", np.array([0]))], "scores")
    g.output("boxes", T.FLOAT, ["n", 4]), g.output("labels", T.INT64, ["n"]), g.output("scores", T.FLOAT, ["n"])
    model = g.save("torchvision")

    def reference(file, labels):
        picture, back = letterbox(rgb(file), (800, 800), center=False, fill=0)
        b, l, s = run(model, images=nchw(picture))
        return found([(*back(b[k])[0], s[k], l[k] - 1) for k in range(4) if s[k] > 0.25], file, labels)

    return model, reference


def yolov5():
    """6300 rows at 320 pixels, three anchors a cell, most of them weak; some on the same thing."""
    rows = np.concatenate([RNG.uniform(0, 320, (6300, 2)), RNG.uniform(4, 120, (6300, 2)), RNG.uniform(0, 0.2, (6300, 1)), RNG.uniform(0, 1, (6300, 3))], 1)
    for k in range(60):
        at = CENTRES[k % 3] * 320 + RNG.normal(0, 4, 4)
        rows[100 * k + 7] = [*at, RNG.uniform(0.3, 0.95), *np.where(np.arange(3) == CLASSES[k % 3], RNG.uniform(0.5, 0.95), RNG.uniform(0, 0.4))]
    g = Graph("images", [1, 3, 320, 320])
    g.constant("_k", np.array([0, 0, 0, 0, 1, 0, 0, 0], np.float32))
    g.add("Mul", ["_probe", "_k"], "_p")
    g.add("Add", [g.constant("_r", rows[None].astype(np.float32)), "_p"], "output0")
    g.output("output0", T.FLOAT, [1, 6300, 8])
    model = g.save("yolov5", {"stride": "32", "names": "{0: 'person', 1: 'helmet', 2: 'vest'}"})

    def reference(file, labels):
        picture, back = letterbox(rgb(file), (320, 320))
        return raw_heads(run(model, images=nchw(picture))[0][0], file, labels, back, 0.25, 0.45, objectness=True)

    return model, reference


def ultralytics_metadata(**more):
    base = {"author": "Ultralytics", "version": "8.4.190", "stride": "32", "task": "detect", "batch": "1", "imgsz": "[320, 320]"}
    return {**base, "names": "{0: 'person', 1: 'helmet', 2: 'vest'}", **more}


def rtdetr_ul():
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :4] = np.concatenate([CENTRES, SCORES[:, None], CLASSES[:, None]], 1)
    g = Graph("images", [1, 3, 320, 320])
    g.add("Mul", ["_probe", g.constant("_k", np.array([0, 0, 0, 0, 1, 0], np.float32))], "_p")
    g.add("Add", [g.constant("_r", rows), "_p"], "output0")
    g.output("output0", T.FLOAT, [1, 300, 6])
    model = g.save("rtdetr-ul", ultralytics_metadata(head="RTDETRDecoder"))

    def reference(file, labels):  # RTDETRPredictor: stretched, boxes as shares of the picture
        picture = rgb(file)
        out = run(model, images=nchw(cv2.resize(picture, (320, 320), interpolation=cv2.INTER_LINEAR)))[0][0]
        out = out[out[:, 4] > 0.25]
        return found(np.column_stack([corners(out) * np.array([picture.shape[1], picture.shape[0]] * 2), out[:, 4:]]), file, labels)

    return model, reference


def classifier(name, shape, metadata, mean_std, share, softmax):
    """Logits that follow the means of the channels; `crop` of ultralytics' classify and of torchvision's presets."""
    g = Graph("images", shape)
    table = np.array([[2.0, -1.0, 0.3], [-1.5, 1.0, 0.8], [0.2, 0.4, -2.0]], np.float32)
    given = g.add("MatMul", ["_mean", g.constant("_t", table)], "_z" if softmax else "output0")
    if softmax:
        g.add("Softmax", [given], "output0", axis=1)
    g.output("output0", T.FLOAT, [shape[0], 3])
    model = g.save(name, metadata)

    def reference(file, labels):
        picture, side = Image.open(file).convert("RGB"), shape[2]
        short = round(side / share)
        w, hh = picture.size
        new = (short, int(short * hh / w)) if w <= hh else (int(short * w / hh), short)
        picture = picture.resize(new, Image.BILINEAR)
        left, top = int(round((new[0] - side) / 2.0)), int(round((new[1] - side) / 2.0))
        z = run(model, images=nchw(np.asarray(picture.crop((left, top, left + side, top + side))), 255, *(mean_std or (None, None))))[0][0]
        z = z if softmax else np.exp(z) / np.exp(z).sum()
        return {"classes": [{"label": labels[k], "score": float(z[k])} for k in np.argsort(-z)]}

    return model, reference
