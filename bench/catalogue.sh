#!/usr/bin/env bash
# The catalogue page with 270 listings on SQLite: requests per second and p99 at 32 connections.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
start_server ordos 60
wait_demo 900
count=$(curl -fsS "$base/apps" | wc -c)
[ "$count" -gt 2000 ] || die "the catalogue page has only $count bytes"
wrk -t1 -c32 -d2s "$base/apps" >/dev/null # warm
out=$(wrk -t1 -c32 -d10s --latency "$base/apps")
if grep -qE 'Non-2xx|Socket errors' <<<"$out"; then say "$out"; die "not every request was answered"; fi
rate=$(awk '/^Requests\/sec:/ { print $2 }' <<<"$out")
p99=$(awk '$1 == "99%" { v = $2; if (v ~ /us$/) print v / 1000; else if (v ~ /ms$/) print v + 0; else print v * 1000 }' <<<"$out")
[ -n "$rate" ] && [ -n "$p99" ] || { say "$out"; die "wrk printed no result"; }
verdict "catalogue, 270 listings, 32 connections" "$rate" "req/s" -ge 4000
verdict "catalogue, 99th percentile" "$p99" ms -lt 25
exit "$bench_failed"
