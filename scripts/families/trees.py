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


SENSORS = ["temperature", "vibration", "current", "load"]


def lightgbm_gaps():
    """Trees that learnt what an empty cell says."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    rng = np.random.default_rng(11)
    x = np.stack([rng.normal(60, 12, 900), rng.gamma(2, 1.5, 900), rng.normal(35, 6, 900), rng.uniform(0, 1, 900)], 1).astype(np.float32)
    risk = 0.05 * (x[:, 0] - 60) + 0.5 * (x[:, 1] - 3) + 0.08 * (x[:, 2] - 35) * x[:, 3] + rng.normal(0, 0.5, 900)
    y = np.digitize(risk, [0.2, 1.4])
    x[rng.random(x.shape) < 0.12] = np.nan
    x[y == 2, 1] = np.where(rng.random((y == 2).sum()) < 0.3, np.nan, x[y == 2, 1])
    model = lightgbm.LGBMClassifier(n_estimators=40, num_leaves=15, random_state=0, verbose=-1, n_jobs=1).fit(x, y)
    file = save(convert_lightgbm(model, initial_types=[("X", FloatTensorType([None, 4]))], zipmap=False), "lightgbm-gaps")

    def reference(sample, labels):
        import pandas

        row = pandas.read_csv(sample, skipinitialspace=True)[SENSORS].to_numpy(np.float32)
        p = model.predict_proba(row)[0]
        return {"classes": [{"label": labels[k], "score": float(p[k])} for k in np.argsort(-p, kind="stable")]}

    return file, reference


def gaps():
    rows = np.array([[58.25, 2.5, 33.0, 0.5], [np.nan, 6.75, 41.5, 0.875], [71.5, np.nan, 40.25, 0.75], [np.nan] * 4, [66.0, 4.5, np.nan, np.nan]], np.float32)
    out = tables(rows, SENSORS, "gaps")
    out.append(work / "made" / "gaps-reordered.csv")  # another order, a column that is not read, blanks around a number
    out[-1].write_text("load,note,current,temperature,vibration\n,check belt,, 66.0 ,4.5\n")
    return out


MAKERS = ["Acme", "重工", "Nord & Söhne", "O'Neil, Inc."]


def sklearn_frame():
    """A pipeline of a DataFrame with texts and empty cells: an input for each column."""
    import pandas
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng, n = np.random.default_rng(5), 400
    frame = pandas.DataFrame({"temp": rng.normal(60, 12, n).astype(np.float32), "vib": rng.gamma(2, 1.5, n).astype(np.float32), "maker": rng.choice(MAKERS, n), "starts": rng.integers(0, 4000, n)})
    frame["maker"] = frame["maker"].astype(object)
    worse = frame["maker"].map(dict(zip(MAKERS, (0.0, -0.4, 0.5, 1.1)))).to_numpy()
    y = ((frame["temp"] - 60) / 12 + (frame["vib"] - 3) / 2 + worse + frame["starts"] / 2500 + rng.normal(0, 0.4, n) > 1.0).astype(int)
    frame.loc[rng.random(n) < 0.1, "vib"] = np.nan
    steps = ColumnTransformer([("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["temp", "vib"]),
                               ("maker", OneHotEncoder(handle_unknown="ignore"), ["maker"]), ("starts", StandardScaler(), ["starts"])])
    model = make_pipeline(steps, RandomForestClassifier(30, max_depth=6, random_state=0)).fit(frame, y)
    types = [("temp", FloatTensorType([None, 1])), ("vib", FloatTensorType([None, 1])), ("maker", StringTensorType([None, 1])), ("starts", Int64TensorType([None, 1]))]
    file = save(to_onnx(model, initial_types=types, options={"zipmap": False}, target_opset=17), "sklearn-frame")

    def reference(sample, labels):
        row = pandas.read_csv(sample, skipinitialspace=True, dtype={"maker": object}, keep_default_na=False, na_values={"vib": [""]})
        row["maker"] = row["maker"].str.strip()
        p = model.predict_proba(row.astype({"temp": np.float32, "vib": np.float32, "starts": np.int64})[list(frame.columns)])[0]
        return {"classes": [{"label": labels[k], "score": float(p[k])} for k in np.argsort(-p, kind="stable")]}

    return file, reference


def frames():
    """Whole, an empty number, an unknown maker, none, quotation marks, blanks."""
    head = "temp,vib,maker,starts\n"
    lines = [head + "71.5,4.25,Acme,2100\n", head + "58.25,,重工,300\n", head + "66,3.5,Nobody,3999\n", head + "66,3.5,,3999\n",
             'starts,maker,vib,temp,"remark, free"\n2750,"O\'Neil, Inc.",5.5,64.0,"said ""loud"""\n', head + " 62.5 , 2.75 , Nord & Söhne ,1200\n"]
    out = [work / "made" / f"frame-{k + 1}.csv" for k in range(len(lines))]
    for file, text in zip(out, lines):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return out
