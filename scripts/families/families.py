"""The families of exported models that are wanted, by the rows of the project's reference of vision models (sections 2 and 5), and which cases show them.

A family counts where each of its cases was listed by `init`, has at most ten edited lines, passes the check and agrees with the publisher.
"""
# Section, family, cases that must pass, cases with a known difference or by hand, a remark.
FAMILIES = [
    ("2", "Ultralytics detect, raw", ["nudenet", "yolo11"], ["nudenet-jpeg"], ""),
    ("2", "Ultralytics detect, `end2end`", ["isbnx", "yolo26"], [], ""),
    ("2", "Ultralytics detect, `nms=True`", ["yolo11-nms"], [], ""),
    ("2", "Ultralytics segment, raw", ["yolo11-seg"], ["yolo11-seg-retina"], ""),
    ("2", "Ultralytics segment, final rows", ["yolo11-seg-nms", "yolo26-seg"], [], ""),
    ("2", "Ultralytics pose", ["yolo11-pose", "yolo11-pose-nms"], [], ""),
    ("2", "Ultralytics obb", ["yolo11-obb", "yolo11-obb-tight", "yolo11-obb-nms"], [], ""),
    ("2", "Ultralytics classify", ["yolo-cls", "yolo11-cls"], [], ""),
    ("2", "RT-DETR of Ultralytics", ["rtdetr-ul", "rtdetr-l"], [], ""),
    ("2", "YOLOv5 of the original repository", ["yolov5"], [], ""),
    ("2, 5", "YOLOX", ["ddddocr"], ["ddddocr-cut"], ""),
    ("2", "RT-DETR v1/v2 and D-FINE", ["dfine"], [], "two rows of the reference, one form of export: counted once"),
    ("2, 5", "RF-DETR", ["rfdetr"], ["rfdetr-two"], ""),
    ("2", "DETR and RT-DETR of Hugging Face", ["rtdetr-hf", "detr-hf", "detr-hf-nothing"], ["rtdetr-hf-two"], ""),
    ("2, 5", "PaddleDetection, three inputs", ["paddle"], [], ""),
    ("2, 5", "PP-OCR detection", ["ppocr-det"], ["ppocr-det-plate"], ""),
    ("2, 5", "PP-OCR recognition", ["ppocr-rec"], [], ""),
    ("2", "torchvision classifiers", ["torchvision-cls"], [], ""),
    ("2", "torchvision detectors", ["torchvision"], [], ""),
    ("2", "MMDeploy", ["mmdet"], [], ""),
    ("2, 5", "anomalib", ["anomalib", "anomalib-score"], [], ""),
    ("2, 5", "ArcFace-like embeddings", [], ["gallery"], "by hand: a gallery is no part of the file"),
    ("2, 5", "silero VAD", ["silero", "silero-mean", "silero-own"], [], ""),
    ("2, 5", "openWakeWord", [], [], "not run: three models in a row"),
    ("2", "time series", ["forecast"], ["forecast-places", "reconstruction-window"], ""),
    ("2", "YAMNet", [], ["yamnet"], "by hand, and a graph of its form alone"),
    ("2", "whisper", [], [], "not run: a container app"),
    ("2, 5", "DataFrame pipeline by skl2onnx", ["frame"], [], ""),
    ("2, 5", "boosted trees with NaN", ["lightgbm-gaps"], [], ""),
    ("5", "text recogniser, LSTM, dynamic width", [], ["ddddocr-text", "ddddocr-text-80"], "by hand: the file does not say that it reads text"),
    ("5", "PP-OCR, two stages", ["ppocr"], ["ppocr-plate"], ""),
    ("5", "PicoDet without NMS", [], ["picodet"], "by hand: its decoder is an own step in WebAssembly"),
    ("5", "ImageNet-like, crop", [], ["orientation"], "differs by up to 0.0024, see its row"),
    ("5", "BGR, 0–255, NHWC", ["opennsfw", "opennsfw-jpeg", "opennsfw-wide"], [], ""),
    ("5", "INT32 bytes (magika)", [], [], "not run: an input of bytes is neither picture, table nor sound"),
    ("5", "fixed batch 3, ZipMap", [], [], "refused, as it should be"),
]
# Code of a publisher or of the library that made the model was run; in the others it is rewritten.
OWN = {"yolo11", "yolo26", "yolo11-nms", "yolo11-seg", "yolo11-seg-nms", "yolo26-seg", "yolo11-pose", "yolo11-obb", "yolo11-cls", "rtdetr-l", "ddddocr", "ppocr", "ppocr-det", "ppocr-rec", "silero-own", "frame", "lightgbm-gaps", "opennsfw-jpeg"}


def counted(verdicts):
    """`verdicts`: case → (passes, by hand). Gives for each family whether it counts, and why not."""
    out = []
    for section, name, cases, others, remark in FAMILIES:
        absent = [case for case in cases if case not in verdicts]
        bad = [case for case in cases if case in verdicts and verdicts[case] != (True, False)]
        counts = bool(cases) and not bad and not absent
        why = remark if counts or not cases else "; ".join([f"{case}: {'not run' if case in absent else 'does not pass'}" for case in absent + bad])
        out.append((section, name, counts, cases, others, why))
    return out
