"""Published models through `pithead init`, beside their publishers' own code. Run by scripts/families.sh.

For each case: the model out of a package (or a graph of constants where decoding alone is looked at), `pithead init` with two or three
samples, at most ten edited lines of app.yaml (`LISTED` and cases.py), or steps written by hand, the publisher's answers written as expected
results, `pithead check`, and the app's own answers beside them. Writes a table. No weights are kept in the repository; what needs torch is
in torch_cases.py and runs with --torch alone.

compare.py: how far answers are from each other. table.py, families.py: the table, and which families count. publishers.py: packages by hash,
pictures. graph.py, masks.py: graphs, masks. By noun: models.py (pictures of published models), constants.py (detectors), trees.py (tables),
ocr.py, layout.py (own steps), sound.py, anomalies.py, segments.py, forecasts.py, objects.py (models in a row, galleries), heads.py (Ultralytics, torch).
"""
import argparse, contextlib, io, json, pathlib, re, shutil, subprocess, sys, time

import yaml

from cases import CASES, LACKING, REFUSED
from compare import difference, words, worst
from publishers import work
from table import table
from torch_cases import TORCH

MOST_EDITS = 10
LISTED = [("specialty: to-be-chosen", "specialty: safety-supervision"), ("scenario: to-be-chosen", "scenario: ppe-check")]
BY_HAND = {
    "format": 2, "version": "0.1.0", "summary": {"en": "Written by hand."}, "specialty": "safety-supervision", "scenario": "ppe-check", "license": "LicenseRef-Proprietary",
    "card": {"training_data": {"en": "See the publisher."}, "limits": {"en": "For tests alone."}, "metrics": []},
}


def pithead(*words):
    done = subprocess.run([args.pithead, *map(str, words)], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def init(it, models, folder, *more):
    return pithead("init", *models, "--name", it.name, "--dir", folder, "--ort-lib", args.ort_lib, "--lang", "en", *more)


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
        n += sum(line.strip().removeprefix("- ") != old for line in new.split("\n"))
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
        raise ValueError(f"golden: {err or out}")
    return [json.loads((copy / sample["expect"]).read_text()) for sample in yaml.safe_load((copy / "app.yaml").read_text())["golden"]]


def ids(app):
    model = app["steps"][0]["model"]
    step = next(iter(model["post"][0].values())) if "post" in model else app["steps"][1]["wasm"]
    return [item["id"] for item in step.get("labels", step.get("items", [step["label"]] if "label" in step else []))]


def write(it, folder, steps, files, samples):
    """The package of steps that were written by hand. Gives their lines."""
    (folder / "golden").mkdir(parents=True)
    for name, source in files.items():
        shutil.copyfile(source, folder / name) if isinstance(source, pathlib.Path) else (folder / name).write_text(source)
    golden = []
    for k, sample in enumerate(samples, 1):
        shutil.copyfile(sample, folder / "golden" / f"{k}{sample.suffix}")
        golden.append({"name": f"sample-{k}", "input": f"golden/{k}{sample.suffix}", "expect": f"golden/{k}.json"})
        (folder / "golden" / f"{k}.json").write_text("{}")
    app = yaml.safe_dump({**BY_HAND, "name": it.name, "title": {"en": it.name}, "input": it.input, "golden": golden}, allow_unicode=True)
    (folder / "app.yaml").write_text(app + "steps:" + steps)
    return len(steps.strip().splitlines())


def case(it):
    row = {"name": it.name, "family": it.family, "package": it.package, "compared": it.compared, "why": it.why}
    *made, reference = it.make()
    folder, samples = work / "apps" / it.name, it.samples()
    shutil.rmtree(folder, ignore_errors=True)
    if it.input:
        steps, files = made
        models = [file for file in files.values() if isinstance(file, pathlib.Path) and file.suffix == ".onnx"]
        said = init(it, models[:1], folder)
        row["init"] = said[1] or said[2]
        if len(models) == 1 and said[0]:
            row["before"] = "init: " + row["init"].splitlines()[0].split(".onnx: ", 1)[-1]
        shutil.rmtree(folder, ignore_errors=True)
        n = write(it, folder, steps, files, samples)
        row["edited"] = f"by hand, {n} lines"
    else:
        models = made[0] if isinstance(made[0], list) else made
        code, out, err = init(it, models, folder, *it.more, "--pictures", *samples)
        row["init"] = out or err
        if code and not (folder / "app.yaml").is_file():
            return {**row, "verdict": f"init refuses: {(err or out).splitlines()[0]}"}
        unrun = code and next(iter(re.findall(r"^not all expected results.*?`.*?`: (.*)$", row["init"], re.M)), row["init"])
    app = yaml.safe_load((folder / "app.yaml").read_text())
    want = [reference(sample, ids(app)) for sample in samples]
    compared = lambda: worst([difference(g, w) for g, w in zip(answers(folder), want)])
    if not it.input:
        # Samples that the app cannot run before the edits: init says so, and writes the rest.
        row["before"] = f"init: {unrun}" if unrun else words(compared()) if it.edits else ""
        row["edited"] = edit(folder / "app.yaml", LISTED + it.edits)
    for sample, result in zip(app["golden"], want):
        (folder / sample["expect"]).write_text(json.dumps(result, indent=1, ensure_ascii=False))
    row["worst"] = compared()
    code, out, err = pithead("check", folder, "--ort-lib", args.ort_lib, "--lang", "en")
    row["check"] = out or err
    row["verdict"] = "passes" if code == 0 else "fails: " + " ".join(re.findall(r"^     (.*)$", out, re.M)[:2] or [err])
    return row


def refused(name, family, package, make, must, needs):
    folder = work / "apps" / name
    shutil.rmtree(folder, ignore_errors=True)
    code, out, err = pithead("init", make(), "--name", name, "--dir", folder, "--ort-lib", args.ort_lib, "--lang", "en")
    said = (err or out).splitlines()[0].split(".onnx: ", 1)[-1] if err or out else ""
    return {"name": name, "family": family, "package": package, "code": code, "said": said, "right": must in said and code != 0, "needs": needs}


def tried(cases, only):
    """The rows of the cases, and how many are not as they should be: what is known to fail and does not any more is looked at, too."""
    rows, bad = [], 0
    for it in cases:
        if only and it.name not in only:
            continue
        began = time.monotonic()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                rows.append(case(it))
        except Exception as e:  # one case must not hide the others
            rows.append({"name": it.name, "family": it.family, "package": it.package, "compared": it.compared, "why": "", "verdict": f"not done: {type(e).__name__}: {e}"})
        r = rows[-1]
        bad += not r["verdict"].startswith("fails: " if r.get("why") else "passes")
        print(f"{r['name']}: {words(r.get('worst'))}; {r.get('edited', '-')} edited; check {r['verdict']} ({time.monotonic() - began:.0f} s)", flush=True)
    return rows, bad


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pithead", required=True)
    parser.add_argument("--ort-lib", required=True)
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--only", default="", help="names of cases, with commas between; no table is written")
    parser.add_argument("--torch", action="store_true", help="the cases of torch_cases.py in the place of the others")
    args = parser.parse_args()
    only, refusals = set(filter(None, args.only.split(","))), []
    rows, bad = tried(TORCH if args.torch else CASES, only)
    for it in [] if args.torch else REFUSED:
        if only and it[0] not in only:
            continue
        refusals.append(refused(*it))
        bad += not refusals[-1]["right"]
        print(f"{it[0]}: {'refused' if refusals[-1]['code'] else 'NOT REFUSED'}: {refusals[-1]['said']}", flush=True)
    (work / f"report{'-torch' * args.torch}.json").write_text(json.dumps({"cases": rows, "refused": refusals}, indent=1, ensure_ascii=False))
    if args.table and not only:
        new = {"torch_rows": rows} if args.torch else {"rows": rows, "refusals": refusals, "lacking": LACKING}
        names = [[it.name for it in cases] for cases in (CASES, TORCH)]
        text, good, own = table(args.table.read_text() if args.table.exists() else "", names, **new)
        args.table.write_text(text)
        print(f"{good} families count, {own} of them by code of the publisher or of the library that made the model")
    print(f"{len(rows) + len(refusals)} cases, {bad} of them not as they should be")
    sys.exit(bool(bad))
