"""Writes two packages into the folder given. `heads`: a model that finds the same 8,400 candidates of 80 labels in every picture, a few hundred of
them above the threshold and many of those of one object, decoded by the platform. `own`: the same model, read by a step of the vendor's own, whose
module the benchmark writes."""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CANDIDATES, LABELS, SIDE = 8400, 80, 640


def candidates(rng):
    """As a YOLOv8 head: rows cx, cy, w, h and a score for each label; 20 objects with 15 candidates each, the rest noise below 0.1."""
    head = np.concatenate([rng.uniform(20, SIDE - 20, (2, CANDIDATES)), rng.uniform(10, 80, (2, CANDIDATES)), rng.uniform(0, 0.1, (LABELS, CANDIDATES))])
    for thing in range(20):
        box = np.concatenate([rng.uniform(60, SIDE - 60, 2), rng.uniform(30, 90, 2)])
        for at in rng.choice(CANDIDATES, 15, replace=False):
            head[:4, at] = box + rng.normal(0, 2, 4)
            head[4 + thing * 3, at] = rng.uniform(0.3, 0.95)
    return head.astype(np.float32)[None]


def model(head):
    tensor = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0), helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
             helper.make_node("Add", ["head", "nothing"], ["output0"])]
    weights = [numpy_helper.from_array(head, "head"), numpy_helper.from_array(np.float32(0), "zero")]
    graph = helper.make_graph(nodes, "heads", [tensor("images", [1, 3, 64, 64])], [tensor("output0", list(head.shape))], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    return made.SerializeToString()


def main():
    out, made = pathlib.Path(sys.argv[1]), model(candidates(np.random.default_rng(84)))
    text = lambda words: {"zh": words, "en": words}
    labels = [{"id": f"label-{n}", "text": text(f"label {n}")} for n in range(LABELS)]
    step = {"name": "heads", "file": "model.onnx", "inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 3, 64, 64]}],
            "outputs": [{"name": "output0", "datatype": "FP32", "shape": [1, 4 + LABELS, CANDIDATES]}],
            "pre": {"image": {"width": 64, "height": 64, "scale": 255}}}
    boxes = {"output": "output0", "labels": labels, "score": 0.25, "iou": 0.7, "row": ["box", "scores"], "layout": "columns"}
    own = {"name": "best", "file": "best.wasm", "in": ["tensors"], "out": "values", "items": [{"id": "n", "text": text("n")}]}
    kinds = {"heads": [{"model": {**step, "post": [{"boxes": boxes}]}}], "own": [{"model": step}, {"wasm": own}]}
    for name, steps in kinds.items():
        folder = out / name
        (folder / "golden").mkdir(parents=True)
        (folder / "model.onnx").write_bytes(made)
        Image.new("RGB", (64, 64)).save(folder / "golden/0.png")
        (folder / "golden/0.json").write_text("{}")
        app = {"format": 2, "name": f"bench-{name}", "version": "1.0.0", "title": text(name), "summary": text("For the benchmark."),
               "specialty": "main-haulage", "scenario": "belt-foreign-object", "license": "Apache-2.0", "input": "image", "steps": steps,
               "golden": [{"name": "black", "input": "golden/0.png", "expect": "golden/0.json"}],
               "card": {"training_data": text("None."), "limits": text("All."), "metrics": []}}
        (folder / "app.yaml").write_text(json.dumps(app))
    # The file is what the engine reads.
    onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
