"""A forecast of quantiles by horizon, `[1, 3, 12]`, from a window of a table with gaps. Filled by pandas, compared with the same graph.

The graph scales each window by its own mean and deviation, as RevIN does in PatchTST, and gives quantiles 0.1, 0.5, 0.9 in order.
"""
import numpy as np
from onnx import TensorProto as T

from graph import Graph
from publishers import run, work

LENGTH, HORIZON, COLUMNS = 48, 12, ["gas", "wind", "pressure"]


def graph():
    g = Graph("window", [1, LENGTH, 3], probe=False, seed=8)
    mean = g.add("ReduceMean", ["window"], axes=[1], keepdims=1)
    off = g.add("Sub", ["window", mean])
    variance = g.add("ReduceMean", [g.add("Mul", [off, off])], axes=[1], keepdims=1)
    deviation = g.add("Sqrt", [g.add("Add", [variance, g.const(np.float32(1e-3))])])
    row = g.add("Reshape", [g.add("Div", [off, deviation]), g.const(np.array([1, -1]))])
    raw = [g.add("MatMul", [row, g.const(g.rng.normal(0, by / np.sqrt(LENGTH), (LENGTH * 3, HORIZON)).astype(np.float32))]) for by in (1.0, 0.6, 0.9)]
    low, high = g.add("Sub", [raw[0], g.add("Softplus", [raw[1]])]), g.add("Add", [raw[0], g.add("Softplus", [raw[2]])])
    one, first = g.const(np.array([1])), g.const(np.array([0]))
    three = g.add("Concat", [g.add("Unsqueeze", [k, one]) for k in (low, raw[0], high)], axis=1)
    scaled = g.add("Mul", [three, g.add("Gather", [deviation, first], axis=2)])  # of the first column
    g.add("Add", [scaled, g.add("Gather", [mean, first], axis=2)], "forecast")
    g.output("forecast", T.FLOAT, [1, 3, HORIZON])
    return g.save("forecast")


def tables():
    """Whole; with empty cells; with a gap whose last number lies above the window; in another order with a column of times; no row to spare."""
    rng, t = np.random.default_rng(12), np.arange(60)
    gas = 0.45 + 0.12 * np.sin(t / 6) + rng.normal(0, 0.01, 60) + (t > 50) * 0.01 * (t - 50)
    wind = 3.2 + 0.4 * np.cos(t / 9) + rng.normal(0, 0.05, 60)
    pressure = 101.2 + 0.3 * np.sin(t / 15) + rng.normal(0, 0.02, 60)
    whole = [[f"{a:.4f}", f"{b:.3f}", f"{c:.2f}"] for a, b, c in zip(gas, wind, pressure)]
    gaps = [list(r) for r in whole]
    for i, j in [(15, 0), (16, 0), (30, 1), (31, 1), (32, 1), (44, 2), (59, 0), (59, 1)]:
        gaps[i][j] = ""
    above = [list(r) for r in gaps]
    above[12][1] = above[13][1] = ""
    stamped = [[f"2026-11-30T06:{k:02d}:00Z", r[2], r[0], r[1]] for k, r in enumerate(gaps)]
    out = []
    for name, rows, head in [("whole", whole, COLUMNS), ("gaps", gaps, COLUMNS), ("gap-above", above, COLUMNS), ("stamped", stamped, ["time", "pressure", "gas", "wind"]), ("short", whole[12:], COLUMNS)]:
        out.append(work / f"series-{name}.csv")
        out[-1].write_text("\n".join(",".join(r) for r in [head, *rows]) + "\n")
    return out


def answer(model, file):
    import pandas

    frame = pandas.read_csv(file)[COLUMNS].ffill().tail(LENGTH)
    return run(model, window=np.ascontiguousarray(frame.to_numpy(np.float32)[None]))[0][0].astype(np.float64)


def numbers(values):
    return {"values": [{"id": id, "value": float(v), "unit": ""} for id, v in values]}


def plain():
    """All 36 numbers, named as they come."""
    model = graph()
    return model, lambda file, labels: numbers(zip(labels, answer(model, file).ravel()))


PLACES = """
  - model:
      name: forecast
      file: model.onnx
      inputs: [{name: window, datatype: FP32, shape: [1, 48, 3]}]
      outputs: [{name: forecast, datatype: FP32, shape: [1, 3, 12]}]
      pre: {window: {columns: [{name: gas, missing: last}, {name: wind, missing: last}, {name: pressure, missing: last}], length: 48}}
      post:
        - values:
            output: forecast
            items:
              - {id: peak, text: {en: Highest}, at: [1], reduce: max}
              - {id: next, text: {en: Next}, at: [1, 0]}
              - {id: end, text: {en: At the end}, at: [1], reduce: last}
              - {id: low, text: {en: Lowest bound}, at: [0], reduce: min}
              - {id: mean_high, text: {en: Mean of upper bounds}, at: [2]}
              - {id: high_ppm, text: {en: Upper bound at the end}, at: [2, 11], scale: 10000, offset: -50}
"""


def places():
    model = graph()

    def reference(file, labels):
        y = answer(model, file)
        return numbers([("peak", y[1].max()), ("next", y[1, 0]), ("end", y[1, -1]), ("low", y[0].min()), ("mean_high", y[2].mean()), ("high_ppm", y[2, 11] * 10000 - 50)])

    return PLACES, {"model.onnx": model}, reference
