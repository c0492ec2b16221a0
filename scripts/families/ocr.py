"""Text: PP-OCR's detector, its recogniser and both in a row, beside the classes of the package; and ddddocr's recogniser."""
import functools, shutil, sys, types

import cv2, numpy as np
from PIL import Image

from masks import around, ordered
from publishers import module, session, wheel, work

DARK = (20, 20, 20)


def text(picture, at, words, size, ink=DARK, font="sans"):
    """Written with the fonts that OpenCV carries, whose weight would else be that of the last text; `at` is the left end of the base line, colours are BGR."""
    cv2.putText(picture, words, at, ink, cv2.FontFace(font), size, 300)


def turned(picture, at, words, size, degrees, ink):
    """The same turned around its left end."""
    height, width = picture.shape[:2]
    patch = np.zeros((height, 2 * width), np.uint8)
    cv2.putText(patch, words, at, 255, cv2.FontFace("sans"), size, 300)
    share = cv2.warpAffine(patch, cv2.getRotationMatrix2D(at, degrees, 1), (width, height), flags=cv2.INTER_CUBIC)[..., None] / 255.0
    picture[:] = np.round(picture * (1 - share) + np.array(ink) * share)


def save(picture, name):
    file = work / f"text-{name}.png"
    cv2.imwrite(str(file), picture)
    return file


def signs():
    """Lines of several sizes, one of them turned; and Chinese."""
    lines = np.full((420, 760, 3), 255, np.uint8)
    text(lines, (40, 70), "KJ-2026 METER 4871", 44)
    text(lines, (60, 150), "Belt speed 3.15 m/s", 34, (20, 20, 150))
    turned(lines, (60, 290), "COAL FACE 12-B", 40, 12, (120, 60, 10))
    text(lines, (430, 390), "OK", 40, (0, 90, 0))
    chinese = np.full((300, 640, 3), (245, 250, 250), np.uint8)
    text(chinese, (40, 90), "主运皮带 3号", 48, font="uni")
    text(chinese, (40, 200), "瓦斯浓度 0.42%", 44, (0, 0, 160), font="uni")
    return [save(lines, "lines"), save(chinese, "chinese")]


def plate(k):
    """Numbered plates: letters of other sizes at other places, two lines turned."""
    picture = np.full((800, 900, 3), (90, 60, 40), np.uint8)
    cv2.rectangle(picture, (60, 80), (840, 330), (210, 230, 235), -1)
    text(picture, (100 + k, 160 + k // 3), f"MINE HOIST No.{k}", 60, (30, 30, 30))
    text(picture, (100 + 2 * k, 270), f"Max load 12,{k}00 kg", 40 + k, (30, 30, 30))
    text(picture, (120 + k, 450 - k), f"2026-11-30 06:{k:02d}", 52 - k // 2, (250, 250, 250))
    turned(picture, (150, 560 - k), "DANGER: NO ENTRY", 56 - k // 2, -15 - (k - 15) / 2, (0, 200, 255))
    turned(picture, (800 - k, 380), f"LEVEL {k}", 48 + k // 3, -90, (255, 255, 255))
    return [save(picture, f"plate-{k}")]


def models():
    return [wheel("rapidocr-onnxruntime") / f"rapidocr_onnxruntime/models/ch_PP-OCRv4_{part}_infer.onnx" for part in ("det", "rec")]


@functools.cache
def rapid():
    """The package's own engine, line by line: lines of a batch are padded to the widest of them, which moves scores."""
    ocr = module("rapidocr-onnxruntime", "rapidocr_onnxruntime").RapidOCR(rec_batch_num=1)
    ocr.text_rec.rec_batch_num = 1
    return ocr


@functools.cache
def lines_of(file):
    """The body of RapidOCR.__call__ without the direction step and its filter of scores: corners and score of each line, its picture."""
    ocr, bgr = rapid(), cv2.imread(str(file))
    h, w = bgr.shape[:2]
    if ocr.preprocess(bgr)[0] is not bgr or ocr.maybe_add_letterbox(bgr, {})[0] is not bgr:
        raise ValueError("the package does something to the picture that the app does not do")
    det = ocr.text_det
    det.preprocess_op = det.get_preprocess(max(h, w))
    boxes, scores = det.postprocess_op(det.infer(det.preprocess_op(bgr))[0], (h, w))
    kept = [(det.filter_tag_det_res(box[None], (h, w)), score) for box, score in zip(boxes, scores)]
    kept = [(box[0], float(score)) for box, score in kept if len(box)]
    whole, _ = ocr.auto_text_det(bgr)  # the same boxes by the package's own path
    assert sorted(np.array(whole).reshape(-1, 8).tolist()) == sorted(np.array([b for b, _ in kept]).reshape(-1, 8).tolist())
    return kept, ocr.get_crop_img_list(bgr, [b for b, _ in kept]), (w, h)


def found(file, label="text"):
    kept, _, size = lines_of(file)
    return [{"label": label, "score": score, "box": around(corners, *size), "corners": corners.tolist()} for corners, score in kept]


def det():
    return models()[0], lambda file, labels: ordered(found(file, labels[0]))


def rec():
    def reference(file, labels):
        words, score = rapid().text_rec([cv2.imread(str(file))])[0][0]
        return {"texts": [{"text": words, "score": float(score)}]}

    return models()[1], reference


def crops():
    """The lines as the package cuts them out."""
    out = []
    for file in signs() + plate(6):
        for k, crop in enumerate(lines_of(file)[1]):
            out.append(work / f"line-{file.stem}-{k + 1}.png")
            cv2.imwrite(str(out[-1]), crop)
    return out


def both():
    """Two models, named as the steps shall be."""
    files = [work / "det.onnx", work / "rec.onnx"]
    for model, file in zip(models(), files):
        shutil.copyfile(model, file)

    def reference(file, labels):
        words, _ = rapid().text_rec(lines_of(file)[1])
        return ordered([{**d, "model": "det", "text": {"text": w, "score": float(s)}} for d, (w, s) in zip(found(file), words)])

    return files, reference


OLD = """
  - model:
      name: ddddocr
      file: model.onnx
      inputs: [{name: input1, datatype: FP32, shape: [1, 1, 64, -1]}]
      outputs: [{name: '387', datatype: FP32, shape: [1, -1]}]
      pre: {image: {width: 1, height: 64, fit: pad, widest: 4096, filter: cubic-antialias, color: gray}}
      post: [{text: {output: '387', alphabet: alphabet.txt, blank: first, activation: softmax}}]
"""


def ddddocr_text():
    """Its steps are the first dimension, `[t, 1, 8210]`, although the file declares `[1, t]`."""
    sys.modules.setdefault("ddddocr", types.ModuleType("ddddocr")).__path__ = [str(wheel("ddddocr") / "ddddocr")]
    own = module("ddddocr", "ddddocr.core.ocr_engine").OCREngine(old=True)
    charset, name = own.get_charset(), own.session.get_inputs()[0].name
    assert charset[0] == "" and all(len(c) == 1 for c in charset[1:])

    def reference(file, labels):  # its own confidence is the mean over all steps, blanks too; here of those that give a character
        image = Image.open(file)
        p = own._softmax(own.session.run(None, {name: own._preprocess_image(image, False)})[0], axis=2)[:, 0]
        at = p.argmax(1)
        given = (at != 0) & np.concatenate([[True], at[1:] != at[:-1]])
        told = own.predict(image, probability=True)["text"]
        assert told == "".join(charset[k] for k in at[given])
        return {"texts": [{"text": told, "score": float(p[np.flatnonzero(given), at[given]].mean()) if given.any() else 0.0}]}

    return OLD, {"model.onnx": wheel("ddddocr") / "ddddocr/common_old.onnx", "alphabet.txt": "\n".join(charset[1:]) + "\n"}, reference


def words(*all_):
    """Pictures of a word: (text, width, height)."""
    out = []
    for it, width, height in all_:
        picture = np.full((height, width, 3), (235, 240, 240), np.uint8)
        text(picture, (12, round(height * 0.72)), it, round(height * 0.62), (120, 25, 25))
        out.append(save(picture, f"word-{it}-{height}"))
    return out
