#!/usr/bin/env bash
# Ten uploads of 500 MB at once, in chunks of 16 MiB as the browser sends them and then each in one body as docker does: what the server's
# memory grows by over idle. Needs 6 GB of disk while it runs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
start_server small 60
wait_demo 300
read -r user token < <(python3 -c 'import json, sys; p = next(p for p in json.load(open(sys.argv[1])) if p["role"] == "ordos-signal"); print(p["email"], p["token"])' "$data/sign-ins.json")
head -c 500000000 /dev/urandom >"$data/blob"
memory_kib() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$server/status"; }
for chunk in $((16 << 20)) 500000000; do
  sleep 5 # what the load before has left is given back
  idle=$(memory_kib VmRSS)
  printf 5 >"/proc/$server/clear_refs" # the peak begins anew
  python3 bench/uploads.py "$base" ordos-signal/bench "$user:$token" "$data/blob" 10 "$chunk"
  verdict "memory growth, ten uploads in bodies of $((chunk / 1000000)) MB" \
    "$(awk -v a="$(memory_kib VmHWM)" -v b="$idle" 'BEGIN { printf "%.1f", (a - b) / 1024 }')" MiB -lt 64
done
exit "$bench_failed"
