"""Published models through `pithead init`, beside their publishers' own code. Run by scripts/families.sh.

For each case: the model out of a package (or a graph of constants where decoding alone is looked at), `pithead init` with two or three
samples, at most ten edited lines of app.yaml (`LISTED` and `CASES`), the publisher's answers written as expected results, `pithead check`,
and the app's own answers beside them. Writes a table. No weights are kept in the repository; torch is not needed.
"""
import argparse, contextlib, importlib, io, json, pathlib, re, shutil, subprocess, sys

import yaml

from cases import CASES, LACKING, REFUSED
from publishers import work

MOST_EDITS = 10
LISTED = [("specialty: to-be-chosen", "specialty: safety-supervision"), ("scenario: to-be-chosen", "scenario: ppe-check")]


def pithead(*words):
    done = subprocess.run([args.pithead, *map(str, words)], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def edit(file, edits):
    """Lines of app.yaml by what they say before their comment; each must be there once. Gives how many lines are not as they were written."""
    lines, n = file.read_text().split("\n"), 0
    for old, new in edits:
        plain = lambda line: re.sub(r"\s+# .*$", "", line).strip().removeprefix("- ")
        at = [k for k, line in enumerate(lines) if not line.lstrip().startswith("#") and plain(line) == old]
        if len(at) != 1:
            raise ValueError(f"app.yaml has {len(at)} lines `{old}`")
        indent = re.match(r" *", lines[at[0]]).group()
        lines[at[0]] = "\n".join((indent + line).rstrip() for line in new.split("\n"))
        n += sum(line != old for line in new.split("\n"))
        lines = "\n".join(lines).split("\n")
    if n > MOST_EDITS:
        raise ValueError(f"{n} edited lines")
    file.write_text("\n".join(lines))
    return n


def answers(folder):
    """What the app says to its samples: of a copy, whose expected results it makes anew."""
    copy = folder.with_name(folder.name + ".answers")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    code, out, err = pithead("golden", copy, "--ort-lib", args.ort_lib, "--lang", "en")
    if code:
        raise ValueError(err or out)
    return [json.loads((copy / sample["expect"]).read_text()) for sample in yaml.safe_load((copy / "app.yaml").read_text())["golden"]]


def ids(app):
    post = app["steps"][0]["model"]["post"][0]
    [step] = post.values()
    return [item["id"] for item in step.get("labels", step.get("items"))]


def difference(got, want):
    """Largest differences, and what has no counterpart: of boxes the nearest of the same label."""
    out = {"score": 0.0, "box": 0.0, "value": 0.0, "n": 0, "unmatched": []}
    left = list(got.get("detections", []))
    for d in want.get("detections", []):
        out["n"] += 1
        near = [(max(abs(a - b) for a, b in zip(g["box"], d["box"])) + abs(g["score"] - d["score"]), k) for k, g in enumerate(left) if g["label"] == d["label"]]
        if not near or min(near)[0] > 25:
            out["unmatched"].append(f"publisher's alone: {d['label']} {d['score']:.4f}")
            continue
        g = left.pop(min(near)[1])
        out["score"] = max(out["score"], abs(g["score"] - d["score"]))
        out["box"] = max(out["box"], max(abs(a - b) for a, b in zip(g["box"], d["box"])))
    out["unmatched"] += [f"app's alone: {g['label']} {g['score']:.4f}" for g in left]
    for key, name, number in [("classes", "label", "score"), ("values", "id", "value")]:
        known = {item[name]: item[number] for item in got.get(key, [])}
        for item in want.get(key, []):
            out["n"] += 1
            if item[name] not in known:
                out["unmatched"].append(f"publisher's alone: {item[name]}")
            else:
                out[number] = max(out[number], abs(known[item[name]] - item[number]))
    return out


def case(name, family, package, make, more, samples, edits, compared, why=""):
    row = {"name": name, "family": family, "package": package, "compared": compared, "why": why}
    model, reference = make()
    folder, samples = work / "apps" / name, samples()
    shutil.rmtree(folder, ignore_errors=True)
    code, out, err = pithead("init", model, "--name", name, "--dir", folder, "--ort-lib", args.ort_lib, "--lang", "en", *more, "--pictures", *samples)
    row["init"] = out or err
    if code:
        return {**row, "verdict": f"init refuses: {(err or out).splitlines()[0]}"}
    app = yaml.safe_load((folder / "app.yaml").read_text())
    labels = ids(app)
    want = [reference(sample, labels) for sample in samples]
    row["as_written"] = worst([difference(g, w) for g, w in zip(answers(folder), want)]) if edits else None
    row["edited"] = edit(folder / "app.yaml", LISTED + edits)
    for sample, result in zip(app["golden"], want):
        (folder / sample["expect"]).write_text(json.dumps(result, indent=1))
    row["worst"] = worst([difference(g, w) for g, w in zip(answers(folder), want)])
    code, out, err = pithead("check", folder, "--ort-lib", args.ort_lib, "--lang", "en")
    row["check"] = out or err
    row["verdict"] = "passes" if code == 0 else "fails: " + " ".join(re.findall(r"^     (.*)$", out, re.M)[:2] or [err])
    return row


def worst(all_):
    return {"score": max(d["score"] for d in all_), "box": max(d["box"] for d in all_), "value": max(d["value"] for d in all_),
            "n": sum(d["n"] for d in all_), "unmatched": [u for d in all_ for u in d["unmatched"]]}


def words(d):
    if d is None:
        return ""
    parts = [f"{text} {d[key]:.2g}" + unit for key, text, unit in [("score", "score", ""), ("box", "box", " px"), ("value", "value", "")] if d[key] > 0]
    alone = {}  # the same label on several samples is told once
    for text, score in (text.rsplit(" ", 1) for text in d["unmatched"]):
        alone.setdefault(text, []).append(score)
    parts += [f"{text} {min(scores)} to {max(scores)} ({len(scores)}×)" if len(scores) > 1 else f"{text} {scores[0]}" for text, scores in alone.items()]
    return f"{', '.join(parts) or 'none'}; of {d['n']}"


def refused(name, family, package, make, must, needs):
    folder = work / "apps" / name
    shutil.rmtree(folder, ignore_errors=True)
    code, out, err = pithead("init", make(), "--name", name, "--dir", folder, "--ort-lib", args.ort_lib, "--lang", "en")
    said = (err or out).splitlines()[0].split(".onnx: ", 1)[-1] if err or out else ""
    right = must in said
    return {"name": name, "family": family, "package": package, "code": code, "said": said, "right": right, "needs": needs}


def told(row):
    """A verdict with its reason, where that is known."""
    fails = row["verdict"] != "passes"
    return ("fails" if fails and row.get("why") else row["verdict"]) + (f": {row['why']}" if row.get("why") else "")


def table(rows, refusals):
    cell = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    versions = {name: importlib.import_module(name).__version__ for name in ("sklearn", "skl2onnx", "lightgbm", "onnxmltools", "xgboost", "onnxruntime", "cv2", "PIL")}
    out = [
        "# Families of exported models, beside their publishers' code", "",
        "Written by `scripts/families.sh`; change it there. Each model went through `pithead init`, the lines edited are in the script (two of",
        "them name the specialty and the scenario), the publisher's answers became the expected results, and `pithead check` judged with the",
        "default tolerance (scores 0.001 + 1 %, boxes overlap by 0.9). Differences are those of the app's answers from the publisher's. *constants*: a",
        "graph made with `onnx.helper` whose boxes are fixed and whose scores move with the mean of each channel: it shows decoding and what becomes",
        "of the picture, not the family's network. *rewritten*: compared with the publisher's pre- and post-processing rewritten in numpy, OpenCV",
        "and Pillow, and the same model run by ONNX Runtime, for the publisher's own needs torch; else with the code of the package itself.", "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".", "",
        "| family | package | lines edited | largest difference | check | before the edits of the reading | compared with |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        out.append("| " + " | ".join(cell(v) for v in (r["family"], r["package"], r.get("edited", ""), words(r.get("worst")), told(r), words(r.get("as_written")), r["compared"])) + " |")
    out += ["", "## What format 2 does not run", "", "| family | package | what `pithead init` says | what it would need |", "|---|---|---|---|"]
    for r in refusals:
        said = r["said"] if r["code"] else "**not refused**: " + re.sub(r"^.*: read as", "read as", r["said"])
        out.append("| " + " | ".join(cell(v) for v in (r["family"], r["package"], said, r["needs"])) + " |")
    out += [f"| {family} | not run | | {needs} |" for family, needs in LACKING]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pithead", required=True)
    parser.add_argument("--ort-lib", required=True)
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--only", default="", help="names of cases, with commas between; no table is written")
    args = parser.parse_args()
    only, rows, refusals, bad = set(filter(None, args.only.split(","))), [], [], 0
    for it in CASES:
        if only and it[0] not in only:
            continue
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                rows.append(case(*it))
        except Exception as e:  # one case must not hide the others
            rows.append({"name": it[0], "family": it[1], "package": it[2], "compared": it[7], "why": "", "verdict": f"not done: {type(e).__name__}: {e}"})
        r = rows[-1]
        # What is known to fail and does not any more is looked at, too.
        bad += not r["verdict"].startswith("fails: " if r.get("why") else "passes")
        print(f"{r['name']}: {words(r.get('worst'))}; check {r['verdict']}", flush=True)
    for it in REFUSED:
        if only and it[0] not in only:
            continue
        refusals.append(refused(*it))
        bad += not refusals[-1]["right"]
        print(f"{it[0]}: {'refused' if refusals[-1]['code'] else 'NOT REFUSED'}: {refusals[-1]['said']}", flush=True)
    (work / "report.json").write_text(json.dumps({"cases": rows, "refused": refusals}, indent=1, ensure_ascii=False))
    if args.table and not only:
        args.table.write_text(table(rows, refusals))
    print(f"{len(rows) + len(refusals)} cases, {bad} of them not as they should be")
    sys.exit(bool(bad))
