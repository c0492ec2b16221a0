#!/usr/bin/env bash
# How many answers a second the server makes, none of them from the page cache, with the client on the same cores: the listing, the search, an
# API's list of 50 nodes, a node's poll when nothing has changed. And the time from start to ready with data that is there.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need_debian 'command -v wrk|wrk' 'command -v ab|apache2-utils' 'command -v curl|curl'
prepare
start_server small 60
wait_demo 300
app=$(curl -fsS "$base/apps" | grep -oE '"/apps/[a-z0-9-]+/[a-z0-9-]+"' | head -n 1 | tr -d '"')
[ -n "$app" ] || die "the catalogue lists no app"

# Each request another one: {n} in the path is a number that rises.
cat >"$data/rising.lua" <<'LUA'
local n, path = 0, ''
function init(args) path = args[1] end
function request()
  n = n + 1
  return wrk.format('GET', (path:gsub('{n}', n)))
end
LUA
# rate PATH [HEADER]: answers a second at 32 connections, or so many as `connections` says, after two seconds to warm up.
rate() {
  local out
  wrk -t1 -c"${connections:-32}" -d2s ${2:+-H "$2"} -s "$data/rising.lua" "$base" -- "$1w" >/dev/null
  out=$(wrk -t1 -c"${connections:-32}" -d8s ${2:+-H "$2"} -s "$data/rising.lua" "$base" -- "$1")
  if grep -qE 'Non-2xx|Socket errors' <<<"$out"; then say "$out"; die "not every request was answered"; fi
  awk '/^Requests\/sec:/ { print $2 }' <<<"$out"
}
verdict "listing, uncached, 32 connections" "$(rate "$app?n={n}")" req/s -ge 2000
verdict "search, uncached, 8 connections" "$(connections=8 rate "/apps?q=belt+{n}")" req/s -ge 4000

# The mine gets nodes until it has 50: rows as those of a node that was enrolled, for nobody waits for 50 agents.
python3 - "$data/pithead.db" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
columns = [c[1] for c in db.execute("PRAGMA table_info(nodes)")]
rows = [dict(zip(columns, r)) for r in db.execute("SELECT * FROM nodes WHERE certificate_serial IS NOT NULL")]
owner = rows[0]["organization_id"]
own = db.execute("SELECT count(*) FROM nodes WHERE organization_id = ?", (owner,)).fetchone()[0]
for n in range(own, 50):
    row = dict(rows[0], id=f"nod_{n:032x}", name=f"Node {n}", certificate_serial=f"bench-{n}", code_hash=None)
    db.execute(f"INSERT INTO nodes ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})", [row[c] for c in columns])
db.commit()
PY
token=$(python3 -c 'import json, sys; print(next(p["token"] for p in json.load(open(sys.argv[1])) if p["role"] == "operator-owner"))' "$data/sign-ins.json")
listed=$(curl -fsS -H "Authorization: Bearer $token" "$base/api/v1/nodes" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["items"]))')
[ "$listed" = 50 ] || die "the list has $listed nodes, not 50"
verdict "JSON list of 50 nodes, 32 connections" "$(rate "/api/v1/nodes?" "Authorization: Bearer $token")" req/s -ge 3000

# A node's poll over mutual TLS, with the tag that its agent holds.
python3 - "$data" <<'PY'
import json, sys
identity, state = (json.load(open(f"{sys.argv[1]}/edge-1/{name}.json")) for name in ("identity", "state"))
open(f"{sys.argv[1]}/node.pem", "w").write(identity["certificate_pem"] + identity["key_pem"])
open(f"{sys.argv[1]}/tag", "w").write(state["etag"])
PY
edge=https://127.0.0.1:$((port + 363))
polls() { # polls SECONDS
  ab -q -k -c "$connections" -t "$1" -n 10000000 -E "$data/node.pem" -H "If-None-Match: \"$(cat "$data/tag")\"" \
    -H 'Accept: application/vnd.margo.manifest.v1+json' "$edge/api/v1/deployments" 2>&1
}
connections=32
polls 2 >/dev/null
out=$(polls 8)
asked=$(awk '/^Complete requests:/ { print $3 }' <<<"$out") unchanged=$(awk '/^Non-2xx responses:/ { print $3 }' <<<"$out")
[ -n "$asked" ] && [ "$asked" = "$unchanged" ] || { say "$out"; die "not every poll was answered with 304"; }
verdict "unchanged poll, mutual TLS, $connections connections" "$(awk '/^Requests per second:/ { print $4 }' <<<"$out")" req/s -ge 12000

stop_server
start_server small 60
verdict "start to ready, data of the demo" "$(awk -v t="$ready_ms" 'BEGIN { printf "%.2f", t / 1000 }')" s -lt 0.3
exit "$bench_failed"
