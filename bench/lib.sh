# Shared by the benchmarks next to it; sourced, never run. Each benchmark starts its own release server on data of its own.
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
cd "$root"
server='' data='' bench_failed=0

# prepare: the data folder and the clean-up. Ends only what it started, by pid.
prepare() {
  [ -x "$target/release/pithead" ] && [ -x "$target/release/pithead-edge" ] || die "the release binaries are missing; run make bench"
  library=$(scripts/onnxruntime.sh)
  data=$(mktemp -d "${TMPDIR:-/tmp}/pithead-bench.XXXXXX")
  trap 'status=$?; stop_server; rm -rf "$data"; exit $status' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# free_block: a PORT whose whole family is free: the site, the edge endpoint (PORT+363) and three nodes (PORT+1021 and on).
free_block() {
  python3 - <<'PY'
import random, socket, sys
for _ in range(200):
    port = random.randrange(20000, 40000)
    sockets = []
    try:
        for each in (port, port + 363, port + 1021, port + 1022, port + 1023):
            s = socket.socket(); s.bind(("127.0.0.1", each)); sockets.append(s)
        print(port); sys.exit()
    except OSError:
        pass
    finally:
        for s in sockets: s.close()
sys.exit("no free ports")
PY
}

now_ms() { date +%s%3N; }

# start_server SCALE LIMIT_SECONDS [COMMAND…]: sets base and server; ready_ms is the time from start to a ready /readyz.
start_server() {
  local scale=$1 limit=$2 begin
  shift 2
  port=$(free_block); base=http://127.0.0.1:$port; node=http://127.0.0.1:$((port + 1021))
  begin=$(now_ms)
  "$@" "$target/release/pithead" demo --data "$data" --port "$port" --scale "$scale" --ort-lib "$library" --edge-bin "$target/release/pithead-edge" >"$data.log" 2>&1 &
  server=$!
  while ! curl -fsS -o /dev/null "$base/readyz" 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || { tail -n 20 "$data.log" >&2; server=''; die "the server ended before it was ready"; }
    [ "$(($(now_ms) - begin))" -lt "$((limit * 1000))" ] || die "the server was not ready in $limit s"
    sleep 0.02
  done
  ready_ms=$(($(now_ms) - begin))
}

# wait_demo: the demo has loaded when its sign-ins are written and the first node serves a model.
wait_demo() {
  local limit=$1 begin; begin=$(now_ms)
  while ! { [ -s "$data/sign-ins.json" ] && curl -fsS -X POST -d '{}' -H 'content-type: application/json' "$node/v2/repository/index" 2>/dev/null | grep -q '"READY"'; }; do
    kill -0 "$server" 2>/dev/null || die "the server ended while the demo data was loading"
    [ "$(($(now_ms) - begin))" -lt "$((limit * 1000))" ] || die "the demo was not loaded in $limit s"
    sleep 0.5
  done
}

stop_server() {
  [ -n "$server" ] || return 0
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  rm -f "$data.log"
  server=''
}

# verdict NAME VALUE UNIT COMPARISON LIMIT: prints the line and remembers a miss. COMPARISON is -lt, -gt and so on; numbers may have decimals.
verdict() {
  local name=$1 value=$2 unit=$3 comparison=$4 limit=$5 word=ok sign
  case $comparison in -lt) sign='<' ;; -ge) sign='>=' ;; *) die "verdict: $comparison" ;; esac
  awk -v v="$value" -v l="$limit" -v s="$sign" 'BEGIN { exit !(s == "<" ? v < l : v >= l) }' || { word=MISSED; bench_failed=1; }
  printf '%-46s %10s %-6s (limit %s %s)  %s\n' "$name" "$value" "$unit" "$sign" "$limit" "$word"
}
