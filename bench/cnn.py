"""Writes a package with a convolutional network of about 10 MB into the folder given: weights as they are at the begin of a training
(He et al. 2015, a fixed seed), a picture of 224 by 224 pixels, ten classes. What it says means nothing; what it costs does."""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE, LABELS = 224, 10
# Channels and stride of each 3 by 3 convolution.
LAYERS = [(32, 2), (64, 2), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 2), (256, 1)]


def network(rng):
    nodes, weights, x, channels = [], [], "x", 3
    for at, (out, stride) in enumerate(LAYERS):
        w = (rng.standard_normal((out, channels, 3, 3)) * np.sqrt(2 / (channels * 9))).astype(np.float32)
        weights += [numpy_helper.from_array(w, f"w{at}"), numpy_helper.from_array(np.zeros(out, np.float32), f"b{at}")]
        nodes += [helper.make_node("Conv", [x, f"w{at}", f"b{at}"], [f"c{at}"], kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4),
                  helper.make_node("Relu", [f"c{at}"], [f"r{at}"])]
        x, channels = f"r{at}", out
    w = (rng.standard_normal((channels, LABELS)) * np.sqrt(1 / channels)).astype(np.float32)
    weights.append(numpy_helper.from_array(w, "w"))
    nodes += [helper.make_node("GlobalAveragePool", [x], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["flat"]),
              helper.make_node("MatMul", ["flat", "w"], ["logits"])]
    tensor = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "cnn", [tensor("x", [1, 3, SIDE, SIDE])], [tensor("logits", [1, LABELS])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def main():
    folder, rng = pathlib.Path(sys.argv[1]), np.random.default_rng(10)
    (folder / "golden").mkdir(parents=True)
    model = network(rng)
    (folder / "model.onnx").write_bytes(model)
    run = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    labels, golden = [f"class-{n}" for n in range(LABELS)], []
    for n in range(4):
        small = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        picture.save(folder / f"golden/{n}.png")
        logits = run.run(None, {"x": (np.asarray(picture, np.float32) / np.float32(255)).transpose(2, 0, 1)[None]})[0][0].astype(np.float64)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        classes = [{"label": labels[i], "score": float(p[i])} for i in np.argsort(-p)]
        (folder / f"golden/{n}.json").write_text(json.dumps({"classes": classes}))
        golden.append({"name": f"picture-{n}", "input": f"golden/{n}.png", "expect": f"golden/{n}.json"})
    text = lambda words: {"zh": words, "en": words}
    app = {
        "format": 1, "name": "bench-cnn", "version": "1.0.0", "title": text("CNN"), "summary": text("For the benchmark."),
        "specialty": "main-haulage", "scenario": "belt-foreign-object", "license": "Apache-2.0", "input": "image",
        "models": [{"name": "cnn", "file": "model.onnx", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE]}],
                    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, LABELS]}]}],
        "pipeline": {"pre": {"image": {"width": SIDE, "height": SIDE}},
                     "post": [{"classes": {"output": "logits", "softmax": True, "labels": [{"id": i, "text": text(i)} for i in labels]}}]},
        "golden": golden, "card": {"training_data": text("None."), "limits": text("Not trained."), "metrics": []},
    }
    (folder / "app.yaml").write_text(json.dumps(app, indent=1))  # JSON is YAML
    print(len(model))


if __name__ == "__main__":
    main()
