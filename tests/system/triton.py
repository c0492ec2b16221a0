"""Runs a model of a node through tritonclient: metadata, and inference with JSON and with binary tensors, which must agree."""
import sys
import time

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

address, model = sys.argv[1:]
client = http.InferenceServerClient(address)
for _ in range(300):  # the app may still be on its way to the node
    try:
        if client.is_server_ready() and client.is_model_ready(model):
            break
    except InferenceServerException:
        pass
    time.sleep(0.1)
assert client.is_server_live() and client.is_model_ready(model), "the model is not ready"
metadata = client.get_model_metadata(model)
assert metadata["name"] == model and metadata["inputs"] and metadata["outputs"], metadata


def infer(fill, binary, **how):
    inputs = []
    for tensor in metadata["inputs"]:
        shape = [1 if size < 0 else size for size in tensor["shape"]]
        value = np.full(shape, fill, dtype=triton_to_np_dtype(tensor["datatype"]))
        one = http.InferInput(tensor["name"], shape, tensor["datatype"])
        one.set_data_from_numpy(value, binary_data=binary)
        inputs.append(one)
    outputs = [http.InferRequestedOutput(tensor["name"], binary_data=binary) for tensor in metadata["outputs"]]
    result = client.infer(model, inputs, outputs=outputs, **how)
    return [result.as_numpy(tensor["name"]) for tensor in metadata["outputs"]]


for fill in (0.0, 1.0):
    for json, binary in zip(infer(fill, False), infer(fill, True)):
        assert np.isfinite(json).all() and np.allclose(json, binary, rtol=1e-5, atol=1e-6), (json, binary)
assert any(not np.allclose(a, b) for a, b in zip(infer(0.0, True), infer(5.0, True))), "the model gives the same for everything"
try:
    wrong = http.InferInput(metadata["inputs"][0]["name"], [1, 1, 1, 1, 1], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 1, 1, 1, 1), dtype=np.float32))
    client.infer(model, [wrong])
    raise SystemExit("a tensor of the wrong shape was taken")
except InferenceServerException as e:
    assert e.status() and e.status().startswith("4"), e.status()
for packing in ("gzip", "deflate"):
    for binary in (False, True):
        packed = infer(1.0, binary, request_compression_algorithm=packing)
        assert all(np.allclose(a, b) for a, b in zip(infer(1.0, binary), packed)), packing
before = client.get_inference_statistics(model)["model_stats"][0]
infer(1.0, True)
after = client.get_inference_statistics(model)["model_stats"][0]
assert after["name"] == model and after["inference_count"] > before["inference_count"], after
assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"], after
try:
    asked = http.InferRequestedOutput(metadata["outputs"][0]["name"], class_count=2)
    tensor = metadata["inputs"][0]
    shape = [1 if size < 0 else size for size in tensor["shape"]]
    one = http.InferInput(tensor["name"], shape, tensor["datatype"])
    one.set_data_from_numpy(np.zeros(shape, dtype=triton_to_np_dtype(tensor["datatype"])))
    client.infer(model, [one], outputs=[asked])
    raise SystemExit("class_count was passed over")
except InferenceServerException as e:
    assert "class_count" in e.message(), e
print("ok")
