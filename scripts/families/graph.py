"""Graphs made with onnx.helper, where no package has a model of a family."""
import numpy as np, onnx
from onnx import TensorProto as T, helper as h

from publishers import work

WEIGHTS = np.array([[0.05], [-0.03], [0.02]], np.float32)  # unequal, so that swapped channels are seen


class Graph:
    """A model. With `probe`, `_probe` is a weighted mean of the picture: added to constants it shows what became of the picture."""

    def __init__(self, taken, shape, others=(), probe=True, seed=0):
        self.rng = np.random.default_rng(seed)
        self.inputs = [h.make_tensor_value_info(taken, T.FLOAT, shape)]
        self.inputs += [h.make_tensor_value_info(name, kind, shape) for name, kind, shape in others]
        self.nodes, self.constants, self.outputs = [], [], []
        if probe:
            self.constant("_w", WEIGHTS)
            self.add("ReduceMean", [taken], "_mean", axes=[2, 3], keepdims=0)
            self.add("MatMul", ["_mean", "_w"], "_probe")

    def constant(self, name, value):
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def const(self, value):
        """A constant without a name of its own."""
        return self.constant(f"_c{len(self.constants)}", value)

    def random(self, *shape, by=1.0):
        """Weights that keep the deviation of what goes through them."""
        return self.const((self.rng.normal(0, by / np.sqrt(np.prod(shape[1:])), shape)).astype(np.float32))

    def add(self, kind, taken, given=None, **attributes):
        given = given or f"_n{len(self.nodes)}"
        self.nodes.append(h.make_node(kind, taken, [given], **attributes))
        return given

    def output(self, name, kind, shape):
        self.outputs.append(h.make_tensor_value_info(name, kind, shape))

    def save(self, name, metadata=()):
        graph = h.make_graph(self.nodes, "constants", self.inputs, self.outputs, self.constants)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
        h.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        file = work / "made" / f"{name}.onnx"
        file.parent.mkdir(exist_ok=True)
        onnx.save(model, str(file))
        return file
