#!/usr/bin/env bash
# What the pipeline costs beside the engine: a picture to a tensor, decoding and NMS of 8,400 candidates, a step of the vendor's own over them,
# and all of it around a model of about 10 ms. One thread, each pair of calls in turn.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
python=$(python_tools demo/train/requirements.txt train-venv)
"$python" bench/cnn.py "$data/cnn" >/dev/null
"$python" bench/heads.py "$data"
out=$(cargo bench --quiet --locked --package inference --bench pipeline -- "$library" "$data")
value() { awk -v name="$1" '$1 == name { print $2 }' <<<"$out"; }
verdict "1080p picture to a tensor of 640, letterbox" "$(value picture_ms)" ms -lt 3
verdict "the same, mean and std of each channel" "$(value picture_mean_ms)" ms -lt 3
verdict "decode and NMS of 8,400 candidates of 80 labels" "$(value decode_ms)" ms -lt 1
verdict "own step over 84 x 8,400 floats" "$(value own_ms)" ms -lt 50
verdict "pipeline beside a model of $(value engine_ms) ms, PNG included" "$(value overhead_percent)" % -lt 5
exit "$bench_failed"
