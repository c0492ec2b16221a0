#!/usr/bin/env bash
# Twice the rate at which a route is saturated, from an open-loop generator: those that are admitted are answered nearly as quickly as when it
# is quiet, the others are told when to come again, and memory stays. Each page is another one, so that none comes from the cache.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
rustc --edition 2024 -O bench/overload.rs -o "$data/overload"
# The generator stands for other machines: it has a core of its own, and the server, which is a machine of one core then, the other one.
if [ "$(nproc)" -gt 1 ]; then
  start_server small 60 taskset -c 0
  generator='taskset -c 1'
else
  start_server small 60
  generator=''
fi
wait_demo 300
app=$(curl -fsS "$base/apps" | grep -oE '"/apps/[a-z0-9-]+/[a-z0-9-]+"' | head -n 1 | tr -d '"')
[ -n "$app" ] || die "the catalogue lists no app"

# overload NAME PATH: offers twice the saturated rate, checks the figures.
overload() {
  local name=$1 path=$2 out
  out=$($generator "$data/overload" "${base#http://}" "$path" "$server")
  value() { awk -v name="$1" '$1 == name { print $2 }' <<<"$out"; }
  printf '%-46s %10s req/s  offered %s, admitted %s, 429 %s, 503 %s\n' "$name, saturated" "$(value saturated_rate)" "$(value offered_rate)" \
    "$(value overload_200)" "$(value overload_429)" "$(value overload_503)"
  printf '%-46s p50 %s, p99 %s; quiet p50 %s, p99 %s; after p99 %s\n' "$name, ms" "$(value overload_p50)" "$(value overload_p99)" \
    "$(value quiet_p50)" "$(value quiet_p99)" "$(value after_p99)"
  printf '%-46s %10s ms (the generator, of those due)\n' "$name, sent late, p99" "$(value overload_late_p99)"
  verdict "$name, offered" "$(value offered_rate)" req/s -ge "$(awk -v r="$(value saturated_rate)" 'BEGIN { printf "%.0f", r * 1.9 }')"
  verdict "$name, admitted p99 / quiet p99" "$(awk -v o="$(value overload_p99)" -v q="$(value quiet_p99)" 'BEGIN { printf "%.2f", o / q }')" "" -lt 5
  verdict "$name, refused without Retry-After" "$(value overload_without_retry_after)" "" -lt 1
  verdict "$name, neither served nor refused" "$(value overload_other)" "" -lt 1
  verdict "$name, memory growth" "$(value memory_growth)" MB -lt 100
}

overload "listing" "$app?n={n}"
overload "search" "/apps?q=belt+{n}"
exit "$bench_failed"
