#!/usr/bin/env bash
# Requests a second for a model of 12 numbers over the Open Inference Protocol at 16 connections: a node, and MLServer with the same model file,
# three times in turn. MLServer runs as one process, which is its quicker way for so small a model.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need_debian 'command -v wrk|wrk' 'command -v curl|curl'
prepare
peer_python=$(python_tools bench/mlserver/requirements.txt mlserver-venv)
start_server small 60
wait_demo 300

app=coke-quality at=''
for each in "$node" "http://127.0.0.1:$((port + 1022))" "http://127.0.0.1:$((port + 1023))"; do
  name=$(curl -fsS -X POST -d '{}' -H 'content-type: application/json' "$each/v2/repository/index" |
    python3 -c 'import json, sys; print(next((m["name"] for m in json.load(sys.stdin) if sys.argv[1] in m["name"] and m["state"] == "READY"), ""))' "$app")
  [ -z "$name" ] || { at=$each/v2/models/$name/infer; break; }
done
[ -n "$at" ] || die "no node serves $app"

peer_port=$(free_block) peer=''
mkdir "$data/peer"
cp bench/mlserver/runtime.py "$data/peer"
printf '{"host": "127.0.0.1", "http_port": %s, "grpc_port": %s, "metrics_port": %s, "parallel_workers": 0, "debug": false}' \
  "$peer_port" "$((peer_port + 363))" "$((peer_port + 1021))" >"$data/peer/settings.json"
printf '{"name": "%s", "implementation": "runtime.OnnxModel", "parameters": {"uri": "%s"}}' "$app" "$root/demo/apps/$app/model.onnx" >"$data/peer/model-settings.json"
(cd "$data/peer" && exec "$(dirname "$peer_python")/mlserver" start . >"$data/peer.log" 2>&1) &
peer=$!
trap 'status=$?; kill "$peer" 2>/dev/null || true; stop_server; rm -rf "$data"; exit $status' EXIT
other=http://127.0.0.1:$peer_port/v2/models/$app/infer
for _ in $(seq 240); do curl -fsS -o /dev/null "${other%/infer}/ready" 2>/dev/null && break; sleep 0.25; done

body='{"inputs": [{"name": "x", "shape": [1, 12], "datatype": "FP32", "data": [10.2, 25.1, 0.71, 78, 15.5, 2.1, 1.21, 0.12, 10.1, 76.5, 19.2, 1285]}]}'
printf 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[%s]==]\n' "$body" >"$data/infer.lua"
# Both say the same of the same numbers.
python3 - "$at" "$other" "$body" <<'PY'
import json, sys, urllib.request
at, other, body = sys.argv[1:]
def ask(url):
    answer = urllib.request.urlopen(urllib.request.Request(url, body.encode(), {"content-type": "application/json"}), timeout=10)
    return json.load(answer)["outputs"][0]["data"]
ours, theirs = ask(at), ask(other)
assert len(ours) == 3 and all(abs(a - b) < 1e-3 for a, b in zip(ours, theirs)), (ours, theirs)
PY
rate() {
  local out
  out=$(wrk -t1 -c16 -d"$2"s -s "$data/infer.lua" "$1")
  if grep -qE 'Non-2xx|Socket errors' <<<"$out"; then say "$out"; die "not every request was answered"; fi
  awk '/^Requests\/sec:/ { print $2 }' <<<"$out"
}
rate "$at" 2 >/dev/null; rate "$other" 2 >/dev/null
ratios=()
for _ in 1 2 3; do
  ours=$(rate "$at" 5) theirs=$(rate "$other" 5)
  printf '  node %s/s, MLServer %s/s\n' "$ours" "$theirs"
  ratios+=("$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.1f", a / b }')")
done
verdict "inference protocol beside MLServer, least of 3" "$(printf '%s\n' "${ratios[@]}" | sort -n | head -n 1)" x -ge 12
exit "$bench_failed"
