"""docs/FAMILIES.md."""
import importlib, re

from compare import words
from families import OWN, counted

WANTED = 22  # families, of those of the reference
HEAD = "| family | package | lines edited | largest difference | check | before the edits of the reading | compared with |\n|---|---|---|---|---|---|---|"
PLAIN, TORCH, REFUSED = "## Without torch", "## With torch", "## What format 2 does not run"


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def line(cells):
    return "| " + " | ".join(cell(v) for v in cells) + " |"


def told(row):
    """A verdict with its reason, where that is known."""
    fails = row["verdict"] != "passes"
    return ("fails" if fails and row.get("why") else row["verdict"]) + (f": {row['why']}" if row.get("why") else "")


def row(r):
    return line((r["family"], r["package"], r.get("edited", ""), words(r.get("worst")), told(r), r.get("before", ""), r["compared"]))


def versions(names):
    return "Versions: " + ", ".join(f"{name} {importlib.import_module(name).__version__}" for name in names) + "."


def kept(old, title):
    """A section as an earlier run wrote it."""
    found = re.search(rf"^{title}\n.*?(?=^## |\Z)", old, re.M | re.S)
    return found.group().rstrip() if found else f"{title}\n\nNot run yet."


def verdicts(section, names):
    """Case → (passes, by hand), of the rows of a section, which stand in the order of the cases."""
    lines = [l for l in section.splitlines() if l.startswith("| ")][1:]
    rows = [re.split(r"(?<!\\) \| ", l.removeprefix("| ").removesuffix(" |")) for l in lines]
    return {name: (cells[4].strip() == "passes", cells[2].startswith("by hand")) for name, cells in zip(names, rows)} if len(rows) == len(names) else {}


def families(all_verdicts):
    listed = counted(all_verdicts)
    good = [name for _, name, counts, *_ in listed if counts]
    own = [name for _, name, counts, cases, *_ in listed if counts and any(case in OWN for case in cases)]
    clean = [name for _, name, counts, _, others, _ in listed if counts and all(all_verdicts.get(case, (True,))[0] for case in others)]
    tasks = {re.sub(r"(Ultralytics \w+).*", r"\1", name) for name in good}
    yes = lambda case: {True: "passes", False: "differs, known"}[all_verdicts[case][0]] + (", by hand" if all_verdicts[case][1] else "") if case in all_verdicts else "not run"
    out = [
        "## Families counted", "",
        f"By the rows of the reference of vision models, sections 2 and 5: **{len(good)} of {len(listed)} families** are listed by `init` with at most ten edited lines, pass the check",
        f"and agree with the publisher in all their cases; wanted are {WANTED}. Of these {len(own)} were held against code of the publisher or of the library that made the model,",
        f"{len(good) - len(own)} against a rewriting of it; {len(clean)} have no row that is known to differ. Counting Ultralytics by task, final rows and raw ones as one, they are {len(tasks)}.", "",
        "| section | family | counts | cases | beside them | why not, remark |", "|---|---|---|---|---|---|",
    ]
    for section, name, counts, cases, others, why in listed:
        out.append(line((section, name, "yes" if counts else "**no**", ", ".join(cases), ", ".join(f"{case} ({yes(case)})" for case in others), why)))
    return out, len(good), len(own)


def of(rows, title, about, names):
    return "\n".join([title, "", about, "", versions(names), "", HEAD, *[row(r) for r in rows]])


def of_refusals(refusals, lacking):
    out = [REFUSED, "", "| family | package | what `pithead init` says | what it would need |", "|---|---|---|---|"]
    for r in refusals:
        said = r["said"] if r["code"] else "**not refused**: " + re.sub(r"^.*: read as", "read as", r["said"])
        out.append(line((r["family"], r["package"], said, r["needs"])))
    return "\n".join(out + [f"| {family} | not run | | {needs} |" for family, needs in lacking])


def table(old, names, rows=None, torch_rows=None, refusals=None, lacking=()):
    """The document: a run writes its own sections and leaves the others as they are. `names`: of the cases without torch, and with it."""
    plain = kept(old, PLAIN) if rows is None else of(rows, PLAIN, "By `scripts/families.sh`.", ("sklearn", "skl2onnx", "lightgbm", "onnxmltools", "xgboost", "onnxruntime", "cv2", "PIL", "pandas", "pyclipper", "shapely"))
    about = "By `scripts/families.sh --torch`. Networks are untrained, with fixed seeds, and thresholds in gaps between scores."
    torch = kept(old, TORCH) if torch_rows is None else of(torch_rows, TORCH, about, ("torch", "torchvision", "ultralytics", "onnxruntime"))
    refused = kept(old, REFUSED) if refusals is None else of_refusals(refusals, lacking)
    counts, good, own = families(verdicts(plain, names[0]) | verdicts(torch, names[1]))
    return "\n".join([*INTRODUCTION, "", *counts, "", plain, "", torch, "", refused]) + "\n", good, own


INTRODUCTION = [
    "# Families of exported models, beside their publishers' code", "",
    "Written by `scripts/families.sh`; change it there. Each model went through `pithead init`, the lines edited are in the script (two of",
    "them name the specialty and the scenario), the publisher's answers became the expected results, and `pithead check` judged with the",
    "default tolerance (scores 0.001 + 1 %, boxes and masks overlap by 0.9). Differences are those of the app's answers from the publisher's. *By hand*: `init` does not know",
    "it, or writes one model of several; so many lines has the step, or have the steps. *constants*: a graph made with `onnx.helper`, of fixed boxes whose scores move with the mean",
    "of each channel, or of random weights: it shows decoding and what becomes of the input, not the family's network. *rewritten*: compared with the publisher's pre- and",
    "post-processing rewritten in numpy, OpenCV and Pillow, and the same model run by ONNX Runtime, for the publisher's own needs torch; else with the code of the package itself.",
]
