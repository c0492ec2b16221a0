"""Ultralytics' networks untrained, exported by its own `export` and answered by its own `predict` on the ONNX file. Needs torch.

The package is AGPL-3.0: a tool of this comparison, neither it nor what it exports is kept in the repository. Statistics of batch normalisation are
those of three pictures, and the last convolutions are made anew with a fixed seed, so that an untrained network finds some things of different sizes.
"""
import contextlib, functools, io, os, shutil, sys

import cv2, numpy as np
import torch

from masks import around, cut, ordered, over
from publishers import pictures, wheel, work

os.environ |= {"YOLO_CONFIG_DIR": str(work / "made"), "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}
(work / "made").mkdir(exist_ok=True)
sys.path.insert(0, str(wheel("ultralytics")))
from ultralytics import RTDETR, YOLO  # noqa: E402
from ultralytics.data.augment import LetterBox  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402

SIZE = 320
NETS = {"detect": "DetectionModel", "segment": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel", "classify": "ClassificationModel"}
NAMES = ["bolt", "lump", "anchor rod"]
JOINTS = "nose left-eye right-eye left-ear right-ear left-shoulder right-shoulder left-elbow right-elbow left-wrist right-wrist left-hip right-hip left-knee right-knee left-ankle right-ankle".split()


def photos():
    """Smaller photographs: 3:4, 16:9, and one of odd sides."""
    out = []
    for file, size in zip(pictures(), [(540, 720), (800, 450), None]):
        picture = cv2.imread(str(file))
        out.append(work / f"photo-{file.stem}.png")
        cv2.imwrite(str(out[-1]), cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if size else picture)
    return out


def batch():
    rgb = [np.ascontiguousarray(cv2.imread(str(file))[..., ::-1]) for file in photos()]
    return torch.cat([torch.from_numpy(LetterBox((SIZE, SIZE))(image=p)).permute(2, 0, 1)[None].float() / 255 for p in rgb])


def network(config, task, names, seed):
    torch.manual_seed(seed)
    own = YOLO(config, task=task)
    net = getattr(tasks, NETS[task])(config, nc=len(names), verbose=False)
    net.names, net.task, net.args = dict(enumerate(names)), task, own.model.args
    own.model, x = net, batch()
    smooth(net.model[-1])
    net.train()
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = None  # the mean of what it has seen
            m.reset_running_stats()
    with torch.no_grad():
        for _ in range(2):
            net(x)
    net.eval()
    head = net.model[-1]
    if task == "classify":
        return own
    for twin in [""] + (["one2one_"] if getattr(head, "one2one_cv2", None) is not None else []):
        part = lambda name: getattr(head, twin + name, None) or []
        slope = [-0.25 * k for _ in range(4) for k in range(head.reg_max)] if head.reg_max > 1 else [4.0] * 4
        spread(net, x, [s[-1] for s in part("cv2")], 1.5 if head.reg_max > 1 else 0.4, slope)  # sides of boxes, which must not be below 0
        spread(net, x, [s[-1] for s in part("cv3")], 0.7, -3.8)  # logits of scores
        spread(net, x, [s[-1] for s in part("cv4")], 0.5 if task == "pose" else 1.2, 0.35 if task == "segment" else 0.0)  # factors of masks, joints, angles
    return own


def smooth(head):
    """Prototypes of masks without grain: those of a trained network are blobs, and a mask of noise differs with every half pixel."""
    bell = torch.tensor([0.25, 0.5, 0.25])
    with torch.no_grad():
        for m in getattr(head, "proto", torch.nn.Module()).modules():
            if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3):
                m.weight.copy_(m.weight.sum((2, 3), keepdim=True) * torch.outer(bell, bell))
            if isinstance(m, torch.nn.ConvTranspose2d):
                m.weight.copy_(m.weight.mean((2, 3), keepdim=True).expand_as(m.weight))


def spread(net, x, lasts, deviation, mean):
    """Random weights of convolutions such that each channel has this deviation and mean over the batch."""
    got = {}
    hooks = [last.register_forward_pre_hook(lambda m, x: got.setdefault(m, x[0])) for last in lasts]
    with torch.no_grad():
        net(x)
        for last in lasts:
            last.weight.normal_()
            y = torch.nn.functional.conv2d(got[last], last.weight)
            at, by = y.mean((0, 2, 3)), y.std((0, 2, 3)).clamp(min=1e-3) / deviation
            last.weight.div_(by[:, None, None, None])
            last.bias.copy_(torch.as_tensor(mean, dtype=torch.float32) - at / by)
    for hook in hooks:
        hook.remove()


@functools.cache
def exported(config, task, seed, conf=None, nms=None, end2end=None):
    own = network(config, task, ["person"] if task == "pose" else NAMES, seed)
    more = {key: value for key, value in [("nms", nms), ("end2end", end2end)] if value is not None} | ({"conf": conf, "iou": 0.7} if nms else {})
    with contextlib.redirect_stdout(io.StringIO()):
        file = own.export(format="onnx", imgsz=224 if task == "classify" else SIZE, opset=17, **more)
    to = work / "made" / f"{config.removesuffix('.yaml')}{'-nms' * bool(nms)}.onnx"
    shutil.move(file, to)
    return to


def head(config, task, seed, conf, iou=0.7, retina=False, **how):
    """A model and its answers. The threshold lies in the widest gap between scores such that each picture has 3 to 30 objects."""
    file = exported(config, task, seed, conf, **how)
    own = YOLO(str(file), task=task)

    def reference(sample, labels):
        picture = cv2.imread(str(sample))
        more = {"retina_masks": True} if retina else {}
        result = own.predict(picture, imgsz=SIZE, conf=conf, iou=iou, rect=False, verbose=False, **more)[0]
        found = detections(result, labels, task, *picture.shape[1::-1])
        if not 3 <= len(found["detections"]) <= 30:
            raise ValueError(f"{len(found['detections'])} objects on {sample.name}")
        return found

    return file, reference


def detections(result, labels, task, width, height):
    out, rows = [], result.obb if task == "obb" else result.boxes
    for k in range(len(rows)):
        d = {"label": labels[int(rows.cls[k])], "score": float(rows.conf[k])}
        if task == "obb":
            corners = rows.xyxyxyxy[k].tolist()
            d |= {"box": around(corners, width, height), "corners": corners}
        else:
            d["box"] = cut(*rows.xyxy[k].tolist(), width, height)
        if task == "segment":
            mask = result.masks.data[k].numpy()
            gain = min(SIZE / width, SIZE / height)
            new = round(width * gain), round(height * gain)
            offset = round((SIZE - new[0]) / 2 - 0.1), round((SIZE - new[1]) / 2 - 0.1)
            # By default the library's mask lies over the letterboxed tensor, with `retina_masks` over the source picture.
            place = [] if mask.shape == (height, width) else [(new[0] / width, new[1] / height), offset]
            d["mask"] = over(mask, d["box"], *place)
        if task == "pose":
            d["keypoints"] = [{"name": n, "x": p[0], "y": p[1], "score": p[2]} for n, p in zip(JOINTS, result.keypoints.data[k].tolist())]
        out.append(d)
    return ordered(out)


def classify():
    file = exported("yolo11n-cls.yaml", "classify", 3)
    own = YOLO(str(file), task="classify")

    def reference(sample, labels):
        p = own.predict(cv2.imread(str(sample)), imgsz=224, verbose=False)[0].probs.data.numpy()
        return {"classes": [{"label": labels[k], "score": float(p[k])} for k in np.argsort(-p)]}

    return file, reference


@functools.cache
def rtdetr_file():
    torch.manual_seed(0)
    own = RTDETR("rtdetr-l.yaml")
    with contextlib.redirect_stdout(io.StringIO()):
        file = own.export(format="onnx", imgsz=SIZE, opset=17)
    return shutil.move(file, work / "made" / "rtdetr-l.onnx")


def rtdetr(conf):
    file = rtdetr_file()
    own = RTDETR(str(file))

    def reference(sample, labels):
        picture = cv2.imread(str(sample))
        return detections(own.predict(picture, imgsz=SIZE, conf=conf, verbose=False)[0], labels, "detect", *picture.shape[1::-1])

    return file, reference


def gaps(config, task, seed, iou=0.7, **how):
    """For the choice of a threshold: the widest gap between scores. Run by hand."""
    file = exported(config, task, seed, 0.01, **how)
    own = YOLO(str(file), task=task)
    results = [own.predict(cv2.imread(str(f)), imgsz=SIZE, conf=0.01, iou=iou, rect=False, verbose=False)[0] for f in photos()]
    scores = [np.asarray((r.obb if task == "obb" else r.boxes).conf) for r in results]
    every = np.sort(np.concatenate(scores))
    return max(((b - a, (a + b) / 2) for a, b in zip(every, every[1:]) if all(3 <= (s > (a + b) / 2).sum() <= 20 for s in scores)), default=None)
