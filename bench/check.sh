#!/usr/bin/env bash
# The whole check of a package with a network of 10 MB, golden samples and run card included: `pithead check`, as a developer runs it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
python=$(python_tools demo/train/requirements.txt train-venv)
bytes=$("$python" bench/cnn.py "$data/cnn")
times=()
for _ in 1 2 3; do
  begin=$(now_ms)
  "$target/release/pithead" check "$data/cnn" --ort-lib "$library" --json >"$data/report.json" || { cat "$data/report.json" >&2; die "the check did not pass"; }
  times+=("$(($(now_ms) - begin))")
done
slowest=$(printf '%s\n' "${times[@]}" | sort -n | tail -n 1)
verdict "check of a network of $(awk "BEGIN { printf \"%.1f\", $bytes / 1e6 }") MB, slowest of 3" "$(awk "BEGIN { printf \"%.2f\", $slowest / 1000 }")" s -lt 15
python3 - "$data/report.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
card = report["run_card"]
steps = ", ".join(f"{s['code']} {s['duration_ms']:.0f} ms" for s in report["steps"] if s["duration_ms"] >= 50)
print(f"  one prediction: median {card['latency_ms']['median']:.1f} ms; memory {card['peak_memory_bytes'] / 1e6:.0f} MB; {steps}")
PY
exit "$bench_failed"
