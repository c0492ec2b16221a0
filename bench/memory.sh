#!/usr/bin/env bash
# Memory of the server after the demo has loaded, and a minute after requests at 32 connections (what threads hold by then is not given
# back); the time from start to ready on an existing database.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# resident FIELD: a figure of the server's memory in MB (VmRSS, VmHWM).
resident() { awk -v field="$1:" '$1 == field { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$server/status"; }

prepare
start_server small 60
wait_demo 300
verdict "server memory after the demo has loaded" "$(resident VmRSS)" MB -lt 120
# Searches, each of them another one, so that no page comes from the cache; then one page that does.
cat >"$data/searches.lua" <<'LUA'
local number = 0
request = function()
  number = number + 1
  return wrk.format("GET", "/apps?q=belt+" .. number)
end
LUA
for load in "-s $data/searches.lua $base" "$base/apps"; do
  # shellcheck disable=SC2086 # the words of one load
  out=$(wrk -t1 -c32 -d10s $load)
  if grep -qE 'Non-2xx|Socket errors' <<<"$out"; then say "$out"; die "not every request was answered"; fi
done
sleep 60
verdict "server memory a minute after requests" "$(resident VmRSS)" MB -lt 120
printf '%-46s %10s %-6s\n' "server memory, highest so far" "$(resident VmHWM)" MB
stop_server
start_server small 60
verdict "start to ready, existing database" "$ready_ms" ms -lt 1000
exit "$bench_failed"
