"""Trains every demo app and writes demo/apps and the table in demo/apps/README.md. Two scripts at a time."""

import hashlib
import os
import pathlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import check
import yaml

HERE = pathlib.Path(__file__).resolve().parent
SCRIPTS = ["belt_foreign_object", "walk_drive_conflict", "smoke_fire", "gangue_sorting", "hoist_vibration",
           "roof_weighting", "roadheader_fault", "drill_cuttings", "coke_quality"]  # the longest first
ORDER = ["hoist-vibration", "belt-foreign-object", "smoke-fire", "drill-cuttings", "roof-weighting", "roadheader-fault",
         "walk-drive-conflict", "gangue-sorting", "coke-quality"]


def run(script):
    environment = dict(os.environ, PYTHONHASHSEED="0", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    done = subprocess.run([sys.executable, str(HERE / f"{script}.py")], capture_output=True, text=True, env=environment)
    print(done.stdout + (done.stderr if done.returncode else ""), end="", flush=True)
    return done.returncode


def table():
    lines = ["# 示范应用 Demo apps", "",
             "九个专业各一个小型真实模型，由 `demo/train` 中的脚本用合成数据训练；仅供演示。表中为留出数据上的首要指标与其基线。",
             "One small real model per specialty, trained on synthetic data by the scripts in `demo/train`; for demonstration only. The figure is the first",
             "metric on held-out data and its baseline. `make demo-models` makes this folder again.", "",
             "| App | 应用 | Specialty | Input | Metric | Value | Baseline | ONNX kB |", "|---|---|---|---|---|---|---|---|"]
    folders = [HERE.parent / "apps" / name for name in ORDER]
    for folder in folders:
        m = yaml.safe_load((folder / "app.yaml").read_text("utf-8"))
        first = m["card"]["metrics"][0]
        size = (folder / "model.onnx").stat().st_size / 1000
        lines.append(f"| {m['name']} {m['version']} | {m['title']['zh']} | {m['specialty']} | {m['input']} | {first['name']} | {first['value']:.3g} | "
                     f"{first['baseline']:.3g} | {size:.0f} |")
    (HERE.parent / "apps" / "README.md").write_text("\n".join(lines) + "\n", "utf-8")
    return folders


def main():
    start = time.time()
    with ThreadPoolExecutor(2) as pool:
        if any(list(pool.map(run, SCRIPTS))):
            raise SystemExit("a training script failed")
    folders = table()
    faults = [f"{folder.name}: {fault}" for folder in folders for fault in check.faults(folder)]
    for folder in folders:
        digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        print(f"{digest}  {folder.relative_to(HERE.parent)}/model.onnx")
    print(f"{time.time() - start:.0f} s")
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
