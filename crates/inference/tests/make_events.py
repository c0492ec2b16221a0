"""Makes events.json: events of clips as they were and as an app tells them, and the counts of sed_eval's event-based metrics.

Needs `sed_eval==0.2.1` (MIT), which has no matching for events that are found late; those cases are matched by scipy's maximum bipartite
matching over the rule of src/truth.rs, written down here once more. Run: python3 make_events.py
"""

import json
import os

import numpy as np
import sed_eval
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

TOLERANCE = 1.0
NAMES = ["danger", "gate", "bay"]


def clip(rng, longest):
    """Events that happened, and the same with some left out, some moved, some made up."""
    there, told = [], []
    for _ in range(rng.integers(0, 9)):
        begin, name = round(rng.uniform(0, 20), 4), str(rng.choice(NAMES))
        end = round(begin + rng.uniform(0, longest), 4)
        there.append([name, begin, end])
        if rng.uniform() < 0.8:
            late = rng.normal(0, 0.8) if longest <= TOLERANCE else rng.uniform(-1.5, longest + 1)
            told.append([name if rng.uniform() < 0.9 else str(rng.choice(NAMES)), max(0.0, round(begin + late, 4)), round(end + 5, 4)])
    for _ in range(rng.integers(0, 4)):
        told.append([str(rng.choice(NAMES)), round(rng.uniform(0, 20), 4), 25.0])
    rng.shuffle(told)
    return [sorted(there), [[name, float(begin), float(end)] for name, begin, end in told]]


def by_sed_eval(clips):
    metrics = sed_eval.sound_event.EventBasedMetrics(
        event_label_list=NAMES, t_collar=TOLERANCE, evaluate_onset=True, evaluate_offset=False, event_matching_type="optimal")
    as_list = lambda events: [{"event_label": n, "event_onset": b, "event_offset": max(e, b), "file": "a"} for n, b, e in events]
    for there, told in clips:
        # sed_eval asks for the end of the last event.
        if there:
            metrics.evaluate(as_list(there), as_list(told))
    figures = metrics.results_overall_metrics()["f_measure"]
    counts = [int(metrics.overall[key]) for key in ("Ntp", "Nref", "Nsys")]
    return counts, [figures["precision"], figures["recall"], figures["f_measure"]]


def by_scipy(clips):
    counts = np.zeros(3, int)
    for there, told in clips:
        hit = [[n == m and b - TOLERANCE <= c <= max(e, b + TOLERANCE) for m, c, _ in told] for n, b, e in there]
        right = (maximum_bipartite_matching(csr_matrix(np.array(hit, int)), perm_type="column") >= 0).sum() if there and told else 0
        counts += [right, len(there), len(told)]
    right, there, told = (int(n) for n in counts)
    precision, recall = right / told, right / there
    return [right, there, told], [precision, recall, 2 * precision * recall / (precision + recall)]


def case(seed, longest, by):
    rng = np.random.default_rng(seed)
    clips = [each for each in (clip(rng, longest) for _ in range(12)) if each[0]]
    counts, figures = by(clips)
    return {"clips": clips, "counts": counts, "figures": figures}


cases = [case(seed, 0.0 if seed < 3 else 1.0, by_sed_eval) for seed in range(6)] + [case(seed, 6.0, by_scipy) for seed in range(6, 9)]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "events.json"), "w") as out:
    json.dump(cases, out, separators=(",", ":"))
    out.write("\n")
