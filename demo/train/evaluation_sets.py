"""Two small hidden test sets for the demo, from the generators of their apps with seeds that no training has seen: demo/evaluation.

belt-foreign-object: pictures (JPEG, to keep them small) with all that lies on the belt, for mAP@0.5. coke-quality: blends with the CSR
that the laboratory would find, for the mean absolute error. Of a real platform such files are nobody's to read.
"""

import io
import json
import shutil

import belt_foreign_object as belt
import coke_quality as coke
import numpy as np
import yaml
from common import DEMO, HERE, csv_bytes
from PIL import Image

SEED = 7001
PICTURES, BLENDS = 16, 60


def jpeg_bytes(array):
    data = io.BytesIO()
    Image.fromarray(array).save(data, "JPEG", quality=80)
    return data.getvalue()


def write(name, kind, suffix, samples):
    """`samples`: (input bytes, expected result). One folder, as a platform's administrator would pack it."""
    folder = DEMO / "evaluation" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    index = []
    for number, (data, expect) in enumerate(samples, 1):
        files = {"input": f"{number:02}.{suffix}", "expect": f"{number:02}.json"}
        (folder / files["input"]).write_bytes(data)
        (folder / files["expect"]).write_text(json.dumps(expect) + "\n", "utf-8")
        index.append(files)
    (folder / "set.json").write_text(json.dumps({"format": 1, "input": kind, "samples": index}, indent=1) + "\n", "utf-8")
    print(f"{name}: {len(samples)} samples, {sum(f.stat().st_size for f in folder.iterdir())} bytes")


def main():
    rng = np.random.default_rng(SEED)
    coal = belt.Coal(np.random.default_rng(SEED + 1))
    scenes = [belt.scene(rng, coal) for _ in range(PICTURES)]
    box = lambda o: {"label": o["label"], "box": [round(float(v), 1) for v in o["box"]]}
    write("belt-foreign-object", "image", "jpg", [(jpeg_bytes(p), {"detections": [box(o) for o in objects]}) for p, _, objects in scenes])

    columns = yaml.safe_load((HERE / "manifests/coke-quality.yaml").read_text("utf-8"))["pipeline"]["pre"]["columns"]["names"]
    x, y = coke.make(np.random.default_rng(SEED + 2), BLENDS)
    write("coke-quality", "tabular", "csv", [(csv_bytes(columns, [a], 3), {"values": [{"id": "csr", "value": round(float(b[1]), 2), "unit": "%"}]})
                                             for a, b in zip(x, y)])


if __name__ == "__main__":
    main()
