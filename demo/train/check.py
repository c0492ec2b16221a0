"""The shape of app.yaml as documented in crates/app-package/src/manifest.rs: unknown keys, missing texts, missing files, bounds."""

import pathlib
import re
import sys

import yaml

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
TEXT = {"zh", "en"}
KEYS = {  # path pattern: (required, optional)
    "": ("format name version title summary specialty scenario license input models pipeline golden card", "description changes safety parameters resources media"),
    "models[]": ("name file inputs outputs", "engine"), "models[].engine": ("name min", ""),
    "models[].inputs[]": ("name datatype shape", ""), "models[].outputs[]": ("name datatype shape", ""),
    "pipeline": ("pre post", "alarms"), "pipeline.pre": ("", "image window columns"),
    "pipeline.pre.image": ("width height", "fit color layout mean std"), "pipeline.pre.window": ("columns length", "layout mean std"),
    "pipeline.pre.columns": ("names", ""), "pipeline.post[]": ("", "classes boxes grid values"),
    "pipeline.post[].classes": ("output labels", "softmax"), "pipeline.post[].grid": ("output labels score", ""),
    "pipeline.post[].values": ("output items", ""), "pipeline.post[].classes.labels[]": ("id text", ""), "pipeline.post[].grid.labels[]": ("id text", ""),
    "pipeline.post[].values.items[]": ("id text", "unit scale offset"), "pipeline.alarms[]": ("id when level text", ""),
    "parameters[]": ("name type default title", "min max choices help"), "resources": ("cpu memory_mib architectures", "accelerators"),
    "golden[]": ("name input expect", "tolerance truth"), "golden[].tolerance": ("absolute relative", ""), "golden[].truth": ("", "class counts values"),
    "card": ("training_data limits metrics", ""), "card.metrics[]": ("name value baseline dataset", ""), "media[]": ("file alt", ""),
}
FREE = {"golden[].truth.counts", "golden[].truth.values"}


def faults(folder):
    m = yaml.safe_load((folder / "app.yaml").read_text("utf-8"))
    out = []

    def walk(value, path):
        if isinstance(value, list):
            for item in value:
                walk(item, path + "[]")
        elif isinstance(value, dict) and path not in FREE:
            if set(value) <= TEXT and value:
                if set(value) != TEXT or not all(v.strip() for v in value.values()):
                    out.append(f"{path}: a language is missing")
                return
            if path not in KEYS:
                out.append(f"{path}: no such place")
                return
            need, may = (set(k.split()) for k in KEYS[path])
            out.extend(f"{path}: unknown key {k}" for k in set(value) - need - may)
            out.extend(f"{path}: missing key {k}" for k in need - set(value))
            for key, item in value.items():
                walk(item, f"{path}.{key}" if path else key)

    walk(m, "")
    for key, limit in (("title", 80), ("summary", 240), ("description", 8000), ("changes", 4000)):
        out += [f"{key}.{lang}: too long" for lang in TEXT if len(m[key][lang]) > limit]
    out += [f"not a slug: {s}" for s in [m["name"], m["specialty"], m["scenario"], *(a["id"] for a in m["pipeline"]["alarms"]), *(g["name"] for g in m["golden"])] if not SLUG.match(s)]
    if len({g["name"] for g in m["golden"]}) != len(m["golden"]):
        out.append("golden: a name is used twice")
    for path in [x["file"] for x in m["models"] + m["media"]] + [g[k] for g in m["golden"] for k in ("input", "expect")]:
        if not (folder / path).is_file():
            out.append(f"{path} is missing")
    for p in m["parameters"]:
        if p["type"] == "number" and not p["min"] <= p["default"] <= p["max"]:
            out.append(f"{p['name']}: default out of range")
        if not any(f"params.{p['name']}" in a["when"] for a in m["pipeline"]["alarms"]):
            out.append(f"{p['name']}: used in no rule")
    return out


if __name__ == "__main__":
    found = [f"{folder}: {f}" for folder in map(pathlib.Path, sys.argv[1:]) for f in faults(folder)]
    print("\n".join(found) or "no faults")
    sys.exit(bool(found))
