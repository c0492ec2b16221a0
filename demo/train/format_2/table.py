"""Writes demo/format-2/README.md from the apps that are there."""
import pathlib

import yaml

APPS = pathlib.Path(__file__).resolve().parents[2] / "format-2"
SPECIALTIES = ["hoisting", "main-haulage", "safety-supervision", "rock-burst", "coal-mining", "tunnelling", "aux-haulage", "coal-washing", "coking"]
HEAD = """# 格式 2 示例应用 Examples of format 2

每个应用用于 `demo/apps` 没有的一个场景，合起来用到格式 2 的每一种输入和除 `grid`（见 `demo/apps`）外的每一种结果。均由 `demo/train/format_2` 中的脚本用合成数据训练，仅供演示；`make test` 检查它们给出的结果与金标样本一致。
Each is for a scenario that `demo/apps` does not have, and together they use every kind of input of format 2 and every kind of result but `grid`, which `demo/apps` has. Trained on synthetic data by the
programs in `demo/train/format_2`, for demonstration only; `make test` holds their answers against their golden samples. The figure is the first metric on
held-out data and its baseline.

| App | 应用 | Specialty | Scenario | Input | Result | Metric | Value | Baseline | ONNX kB |
|---|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
`make demo-models` makes all of them again. One alone: `pip install -r demo/train/format_2/requirements.txt`, then
`PITHEAD=target/debug/pithead ORT_LIB=$(scripts/onnxruntime.sh) python demo/train/format_2/coal_rock.py`.
"""


def source(step):
    """What a step reads, in words of app.yaml."""
    (kind, how), = step["pre"].items()
    columns = how.get("names") or how.get("columns") or []
    parts = [w for w, there in (("texts", any(isinstance(c, dict) and c.get("type") == "text" for c in columns)), ("gaps", any(isinstance(c, dict) and "missing" in c for c in columns)),
                                ("each", how.get("each"))) if there]
    return f"`{kind}`" + (f" ({', '.join(parts)})" if parts else "")


def result(step):
    """What a step tells."""
    out = []
    for post in step["post"]:
        (kind, how), = post.items()
        row = how.get("row", [])
        parts = [w for w in ("keypoints", "angle") if w in row] + [w for w in ("map", "reconstruction") if w in how]
        parts += ["several at once"] if kind == "classes" and how.get("activation") == "sigmoid" else []
        parts += ["quantiles"] if any("at" in i for i in how.get("items", [])) else []
        out.append(f"`{kind}`" + (f" ({', '.join(parts)})" if parts else ""))
    return " and ".join(out)


def main():
    found = [(folder, yaml.safe_load((folder / "app.yaml").read_text("utf-8"))) for folder in sorted(APPS.iterdir()) if folder.is_dir()]
    found.sort(key=lambda f: (SPECIALTIES.index(f[1]["specialty"]), f[1]["name"]))
    lines = []
    for folder, m in found:
        steps = [s["model"] for s in m["steps"] if "model" in s]
        reads = "`video`" if m["input"] == "video" else ", then ".join(map(source, steps))
        tells = ", then ".join(map(result, steps)) + "".join(f", {what}" for what, there in (("`track`", any("track" in s for s in m["steps"])), ("`scene`", "scene" in m)) if there)
        first, size = m["card"]["metrics"][0], sum(f.stat().st_size for f in folder.glob("*.onnx")) / 1000
        lines.append(f"| {m['name']} | {m['title']['zh']} | {m['specialty']} | {m['scenario']} | {reads} | {tells} | "
                     f"{first['name']} | {first['value']:.3g} | {first['baseline']:.3g} | {size:.0f} |\n")
    (APPS / "README.md").write_text(HEAD + "".join(lines) + TAIL, "utf-8")
    print(f"{len(found)} apps, {len({m['scenario'] for _, m in found})} scenarios, {sorted({m['specialty'] for _, m in found})}")


if __name__ == "__main__":
    main()
