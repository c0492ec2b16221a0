#!/usr/bin/env bash
# Memory of the server after the demo has loaded, and the time from start to ready on an existing database.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
start_server small 60
wait_demo 300
kib=$(awk '/^VmRSS:/ { print $2 }' "/proc/$server/status")
peak=$(awk '/^VmHWM:/ { print $2 }' "/proc/$server/status")
verdict "server memory after the demo has loaded" "$(awk "BEGIN { printf \"%.1f\", $kib * 1024 / 1e6 }")" MB -lt 120
printf '%-46s %10s %-6s\n' "server memory, highest so far" "$(awk "BEGIN { printf \"%.1f\", $peak * 1024 / 1e6 }")" MB
stop_server
start_server small 60
verdict "start to ready, existing database" "$ready_ms" ms -lt 1000
exit "$bench_failed"
