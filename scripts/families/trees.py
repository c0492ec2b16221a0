"""Models of rows of numbers, trained on the spot on data of scikit-learn."""
import pathlib

import numpy as np, onnx

from publishers import work


def tables(rows, columns, name):
    out = []
    for k, row in enumerate(rows):
        out.append(work / "made" / f"{name}-{k + 1}.csv")
        out[-1].parent.mkdir(exist_ok=True)
        out[-1].write_text(",".join(columns) + "\n" + ",".join("" if np.isnan(v) else repr(float(np.float32(v))) for v in row) + "\n")
    return out


def read_row(file):
    return np.array([[float(v) if v else np.nan for v in pathlib.Path(file).read_text().splitlines()[1].split(",")]], np.float32)


def table_data():
    from sklearn.datasets import load_iris

    data = load_iris()
    return data.data.astype(np.float32), data.target, ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def probabilities(model):
    return lambda file, labels: {"classes": [
        {"label": labels[k], "score": float(p)} for p, k in sorted(((p, k) for k, p in enumerate(model.predict_proba(read_row(file))[0])), reverse=True)]}


def save(proto, name):
    file = work / "made" / f"{name}.onnx"
    file.parent.mkdir(exist_ok=True)
    onnx.save(proto, str(file))
    return file


def sklearn_forest():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skl2onnx import to_onnx

    x, y, _ = table_data()
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(x, y)
    return save(to_onnx(model, x[:1], options={"zipmap": False}), "sklearn-forest"), probabilities(model)


def sklearn_regressor():
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skl2onnx import to_onnx

    x, _, _ = table_data()
    model = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), random_state=0, max_iter=2000)).fit(x[:, :3], x[:, 3])
    file = save(to_onnx(model, x[:1, :3]), "sklearn-regressor")
    return file, lambda sample, labels: {"values": [{"id": labels[0], "value": float(model.predict(read_row(sample))[0]), "unit": ""}]}


def lightgbm_classes():
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y, _ = table_data()
    model = lightgbm.LGBMClassifier(n_estimators=30, random_state=0, verbose=-1, n_jobs=1).fit(x, y)
    return save(convert_lightgbm(model, initial_types=[("X", FloatTensorType([None, 4]))], zipmap=False), "lightgbm"), probabilities(model)


def xgboost_classes():
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y, _ = table_data()
    model = xgboost.XGBClassifier(n_estimators=30, random_state=0, n_jobs=1).fit(x, y)
    return save(convert_xgboost(model, initial_types=[("X", FloatTensorType([None, 4]))]), "xgboost"), probabilities(model)
