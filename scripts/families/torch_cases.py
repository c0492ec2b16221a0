"""The cases that need torch, torchvision or Ultralytics' own code: run with `families.sh --torch` alone. Nothing heavy is imported before one is made."""
import importlib

from cases import ANTIALIAS, Case, ROCK, scenes
from sound import recordings, silero

UL, OWN = "ultralytics 8.4.190", "`predict` of the library on the ONNX file"
RETINA = "`retina_masks=True` enlarges and cuts prototypes in another order than the library's default, which `masks-N` follows"


def heads():
    return importlib.import_module("heads")


def lraspp():
    return importlib.import_module("segments").lraspp()


def photos():
    return heads().photos()


def head(name, family, config, task, seed, conf, iou=0.7, why="", compared=OWN, retina=False, **how):
    edits = [("score: 0.25", f"score: {conf}")] + ([("iou: 0.7", f"iou: {iou}")] if iou != 0.7 else [])
    return Case(name, family, UL, lambda: heads().head(config, task, seed, conf, iou, retina, **how), [], photos, edits, compared, why)


TORCH = [
    head("yolo11", "Ultralytics detect, raw", "yolo11n.yaml", "detect", 2, 0.5126),
    head("yolo11-nms", "detect, `nms=True`", "yolo11n.yaml", "detect", 2, 0.5126, nms=True),
    head("yolo26", "detect, `end2end`", "yolo26n.yaml", "detect", 2, 0.4717, end2end=True),
    head("yolo11-seg", "segment, raw", "yolo11n-seg.yaml", "segment", 4, 0.4065),
    head("yolo11-seg-nms", "segment, `nms=True`", "yolo11n-seg.yaml", "segment", 4, 0.4065, nms=True),
    head("yolo26-seg", "segment, `end2end`", "yolo26n-seg.yaml", "segment", 1, 0.4907, end2end=True),
    head("yolo11-seg-retina", "segment, raw, masks of the source picture", "yolo11n-seg.yaml", "segment", 4, 0.4065, why=RETINA, retina=True, compared="the same with `retina_masks=True`"),
    head("yolo11-pose", "pose, raw", "yolo11n-pose.yaml", "pose", 9, 0.437),
    head("yolo11-pose-nms", "pose, `nms=True`", "yolo11n-pose.yaml", "pose", 9, 0.437, nms=True),
    head("yolo11-obb", "turned boxes (obb), raw", "yolo11n-obb.yaml", "obb", 7, 0.37),
    head("yolo11-obb-tight", "the same where many overlap", "yolo11n-obb.yaml", "obb", 7, 0.3, iou=0.25),
    head("yolo11-obb-nms", "turned boxes (obb), `nms=True`", "yolo11n-obb.yaml", "obb", 7, 0.37, nms=True),
    Case("yolo11-cls", "classify", UL, lambda: heads().classify(), [], photos, [], OWN),
    Case("rtdetr-l", "RT-DETR of Ultralytics", UL, lambda: heads().rtdetr(0.04), [], photos, [("score: 0.25", "score: 0.04")], OWN),
    Case("lraspp", "segmentation of torchvision (LRASPP)", "torchvision 0.29.2", lraspp, ROCK, scenes, ANTIALIAS, "its transforms and the network in torch",
         "on one of three pictures the share of a label is off by 0.0045; why was not looked into (an untrained network, whose classes lie close)"),
    Case("silero-own", "silero VAD", "silero-vad 6.2.3", lambda: silero("max", own=True), [], recordings, [], "`OnnxWrapper` of the package"),
]
