"""Makes the tiny ONNX files in tests/models. Needs `onnx` and `numpy`. Run: python3 make_models.py"""

import os

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as n

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")


def save(name, nodes, inputs, outputs, initializers=(), functions=(), opsets=(("", 17),)):
    graph = h.make_graph(nodes, name, inputs, outputs, list(initializers))
    model = h.make_model(graph, opset_imports=[h.make_opsetid(*o) for o in opsets], ir_version=8, functions=list(functions))
    path = os.path.join(HERE, name + ".onnx")
    with open(path, "wb") as f:
        f.write(model.SerializeToString())


def vi(name, shape, kind=T.FLOAT):
    return h.make_tensor_value_info(name, kind, shape)


def const(name, value):
    return n.from_array(np.array(value), name)


# y = x [1,4]: classes and values for tables.
save("identity4", [h.make_node("Identity", ["x"], ["y"])], [vi("x", [1, 4])], [vi("y", [1, 4])])

# Mean over 8 rows of 2 columns, for windows.
save("mean", [h.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)], [vi("x", [1, 8, 2])], [vi("y", [1, 2])])

# Grey picture 8x8 pooled to a 4x4 grid of means, for heat maps.
save("grid", [h.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], [vi("x", [1, 1, 8, 8])], [vi("y", [1, 1, 4, 4])])

# Fixed boxes beside a picture that is multiplied by nothing: cx, cy, w, h, objectness, two classes, in 64x64 pixels.
rows = np.array(
    [[[32, 32, 20, 10, 0.9, 1.0, 0.1], [33, 32, 20, 10, 0.8, 1.0, 0.0], [32, 32, 20, 10, 0.8, 0.0, 1.0], [10, 30, 8, 8, 0.3, 1.0, 0.0], [60, 40, 20, 8, 0.7, 1.0, 0.0]]],
    dtype=np.float32,
)
save(
    "boxes",
    [
        h.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        h.make_node("Mul", ["s", "zero"], ["z"]),
        h.make_node("Add", ["rows", "z"], ["y"]),
    ],
    [vi("x", [1, 3, 64, 64])],
    [vi("y", [1, 5, 7])],
    [const("zero", np.float32(0)), n.from_array(rows, "rows")],
)

# Means of the channels of a picture of any size, for steps that run for each object.
save("means", [h.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], [vi("x", ["n", 3, "h", "w"])], [vi("y", ["n", 3])])

# The sum of all windows so far, and the rate of the sound divided by a thousand.
save(
    "adder",
    [
        h.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        h.make_node("Add", ["s", "state"], ["next"]),
        h.make_node("Cast", ["sr"], ["rate"], to=T.FLOAT),
        h.make_node("Div", ["rate", "thousand"], ["r"]),
        h.make_node("Concat", ["next", "r"], ["y"], axis=0),
    ],
    [vi("x", ["n", 6]), vi("state", [1]), vi("sr", [1], T.INT64)],
    [vi("y", [2]), vi("next", [1])],
    [const("thousand", np.float32(1000))],
)

# An input for each column: 1 where the maker is not known, else the age, which may be missing, and the hours.
save(
    "frame",
    [
        h.make_node("LabelEncoder", ["maker"], ["m"], domain="ai.onnx.ml", keys_strings=["north", "south"], values_floats=[0.25, 0.5], default_float=1.0),
        h.make_node("IsNaN", ["age"], ["gone"]),
        h.make_node("Where", ["gone", "none", "age"], ["a"]),
        h.make_node("Cast", ["hours"], ["f"], to=T.FLOAT),
        h.make_node("Concat", ["m", "a", "f"], ["y"], axis=1),
    ],
    [vi("age", ["n", 1]), vi("maker", ["n", 1], T.STRING), vi("hours", ["n", 1], T.INT64)],
    [vi("y", ["n", 3])],
    [const("none", np.float32(-1))],
    opsets=(("", 17), ("ai.onnx.ml", 2)),
)

# Adds up for ever: a Loop with the largest trip count.
body = h.make_graph(
    [h.make_node("Identity", ["c"], ["c2"]), h.make_node("Add", ["v", "v"], ["v2"])],
    "body",
    [vi("i", [], T.INT64), vi("c", [], T.BOOL), vi("v", [1, 4])],
    [vi("c2", [], T.BOOL), vi("v2", [1, 4])],
)
save(
    "hang",
    [h.make_node("Loop", ["n", "t", "x"], ["y"], body=body)],
    [vi("x", [1, 4])],
    [vi("y", [1, 4])],
    [const("n", np.int64(2**62)), const("t", np.bool_(True))],
)

# Makes a tensor of 16 GiB; its size hangs on the input, so that it is not folded away at load.
save(
    "hungry",
    [
        h.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        h.make_node("Mul", ["s", "zero"], ["z"]),
        h.make_node("Cast", ["z"], ["zi"], to=T.INT64),
        h.make_node("Add", ["size", "zi"], ["n"]),
        h.make_node("ConstantOfShape", ["n"], ["big"], value=h.make_tensor("v", T.FLOAT, [1], [1.0])),
        h.make_node("ReduceSum", ["big"], ["b"], keepdims=0),
        h.make_node("Add", ["x", "b"], ["y"]),
    ],
    [vi("x", [1, 4])],
    [vi("y", [1, 4])],
    [const("zero", np.float32(0)), const("size", np.array([2**32], np.int64))],
)

# The same, but folded while loading.
save(
    "hungry_load",
    [
        h.make_node("ConstantOfShape", ["size"], ["big"], value=h.make_tensor("v", T.FLOAT, [1], [1.0])),
        h.make_node("ReduceSum", ["big"], ["b"], keepdims=0),
        h.make_node("Add", ["x", "b"], ["y"]),
    ],
    [vi("x", [1, 4])],
    [vi("y", [1, 4])],
    [const("size", np.array([2**32], np.int64))],
)

# A local function that calls itself, for engines that inline without end.
recursive = h.make_function("own", "again", ["a"], ["b"], [h.make_node("again", ["a"], ["b"], domain="own")], [h.make_opsetid("", 17), h.make_opsetid("own", 1)])
save(
    "recursive",
    [h.make_node("again", ["x"], ["y"], domain="own")],
    [vi("x", [1, 4])],
    [vi("y", [1, 4])],
    functions=[recursive],
    opsets=(("", 17), ("own", 1)),
)


def external(name, location):
    w = T()
    w.name, w.data_type, w.data_location = "w", T.FLOAT, T.EXTERNAL
    w.dims.extend([1, 4])
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = w.external_data.add()
        entry.key, entry.value = key, value
    save(name, [h.make_node("Add", ["x", "w"], ["y"])], [vi("x", [1, 4])], [vi("y", [1, 4])], [w])


external("external_ok", "weights.bin")
external("external_parent", "../weights.bin")
external("external_absolute", "/etc/hostname")
with open(os.path.join(HERE, "weights.bin"), "wb") as f:
    f.write(np.array([1, 2, 3, 4], np.float32).tobytes())

# A picture as it is, for spots that move.
save("spots", [h.make_node("Identity", ["x"], ["y"])], [vi("x", [1, 1, 36, 64])], [vi("y", [1, 1, 36, 64])])

# The mean of each of four frames.
save("clip", [h.make_node("ReduceMean", ["x"], ["y"], axes=[1, 3, 4], keepdims=0)], [vi("x", [1, 3, 4, 8, 8])], [vi("y", [1, 4])])

# How many frames of a clip were bright so far; a white one makes the state infinite.
save(
    "tally",
    [
        h.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        h.make_node("Greater", ["mean", "half"], ["over"]),
        h.make_node("Cast", ["over"], ["bright"], to=T.FLOAT),
        h.make_node("Equal", ["mean", "one"], ["white"]),
        h.make_node("Where", ["white", "infinite", "zero"], ["spoiled"]),
        h.make_node("Add", ["state", "bright"], ["sum"]),
        h.make_node("Add", ["sum", "spoiled"], ["next"]),
        h.make_node("Identity", ["sum"], ["y"]),
    ],
    [vi("x", [1, 1, 36, 64]), vi("state", [1])],
    [vi("y", [1]), vi("next", [1])],
    [const("half", np.float32(0.5)), const("one", np.float32(1)), const("infinite", np.float32(np.inf)), const("zero", np.float32(0))],
)

# A state that is longer after each run.
save(
    "growing",
    [h.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2, 3], keepdims=0), h.make_node("Concat", ["state", "y"], ["next"], axis=0)],
    [vi("x", [1, 1, 36, 64]), vi("state", ["n"])],
    [vi("y", [1]), vi("next", ["m"])],
)

# A detector of two labels as Ultralytics exports it, metadata and all, that finds nothing.
graph = h.make_graph(
    [h.make_node("ReduceMean", ["images"], ["mean"], keepdims=0), h.make_node("Mul", ["mean", "zeros"], ["output0"])],
    "finder",
    [vi("images", [1, 3, 64, 64])],
    [vi("output0", [1, 6, 84])],
    [n.from_array(np.zeros((1, 6, 84), np.float32), "zeros")],
)
finder = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8, producer_name="pytorch")
h.set_model_props(finder, {"task": "detect", "names": "{0: 'person', 1: 'helmet'}", "stride": "32", "imgsz": "[64, 64]", "batch": "1"})
onnx.save(finder, os.path.join(HERE, "finder.onnx"))
