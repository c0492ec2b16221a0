#!/usr/bin/env bash
# make test: installs what the tests need where it is missing, starts a PostgreSQL of its own, builds, runs every test, and
# says what passed. What it starts ends with it. Exit status 0 only if every test ran and passed: an ignored test is a failure.
#
# The tests find what they need in these variables, each set by this script. None begins with PITHEAD_: those are settings of the
# server, which refuses unknown ones.
#   TEST_POSTGRES_URL   superuser URL of an empty PostgreSQL; a test makes its own database in it
#   ORT_LIB             libonnxruntime.so
#   OPENVINO_LIB        libonnxruntime.so with OpenVINO built in; on x86-64 alone
#   TEST_EDGE_BIN       the node agent, built
#   TEST_FFMPEG         ffmpeg, for cameras and video files
#   TEST_GSTREAMER      Python with GStreamer's RTSP server, the cameras
#   TEST_CHROMEDRIVER   chromedriver, and TEST_CHROMIUM the browser
#   TEST_SKOPEO         skopeo
#   TEST_GO_CLIENTS     tests/system/go_clients, built
#   TEST_TRACKING       detections that crates/inference/tests/tracking/detections.py makes
#   TEST_PYTHON         Python with the packages of scripts/test-requirements.txt
# With TEST_ONLY_SETUP=1 it gets and starts all this, runs no test, and ends with status 3.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

postgres_bin() { find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1 | xargs -r dirname; }
chromium_path() { type -P chromium || type -P chromium-browser || type -P google-chrome; }

# Debian's own Python: another one does not see its packages.
has_gstreamer() { /usr/bin/python3 -c 'import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(Gst.ElementFactory.find(name) for name in ("videotestsrc", "rtph264pay", "vp8enc", "x264enc", "x265enc"))'; }

rust_ready
need_debian \
  '[ -n "$(postgres_bin)" ]|postgresql' \
  'chromium_path|chromium' \
  'command -v chromedriver|chromium-driver' \
  'command -v skopeo|skopeo' \
  '[ -x /usr/sbin/mosquitto ]|mosquitto' \
  'command -v mosquitto_pub|mosquitto-clients' \
  'command -v curl|curl' \
  'has_gstreamer|gir1.2-gst-rtsp-server-1.0' \
  'has_gstreamer|python3-gi' \
  'has_gstreamer|gstreamer1.0-plugins-base' \
  'has_gstreamer|gstreamer1.0-plugins-good' \
  'has_gstreamer|gstreamer1.0-plugins-bad' \
  'has_gstreamer|gstreamer1.0-plugins-ugly' \
  'python3 -m pip --version|python3-pip' \
  'python3 -c "import ensurepip, venv"|python3-venv'

postgres_pid='' work=$(mktemp -d "$([ "$(id -u)" = 0 ] && echo /tmp || echo "${TMPDIR:-/tmp}")/pithead-test.XXXXXX")
clean_up() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "$postgres_pid" ]; then
    kill -INT "$postgres_pid" 2>/dev/null || true # "fast shutdown": ends open sessions too
    wait "$postgres_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# PostgreSQL refuses to run as root. setpriv becomes the command, so that the pid is PostgreSQL's own.
if [ "$(id -u)" = 0 ]; then
  as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups --)
else
  as_postgres=(env --)
fi

start_postgres() {
  local bin password port try
  bin=$(postgres_bin)
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  mkdir "$work/pg"
  (umask 077; printf '%s\n' "$password" >"$work/pg/password")
  [ "$(id -u)" != 0 ] || { chmod 0711 "$work"; chown -R postgres "$work/pg"; }
  # From / because the user postgres may not enter this folder.
  (cd / && "${as_postgres[@]}" "$bin/initdb" --pgdata="$work/pg/data" --username=postgres --pwfile="$work/pg/password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync) >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log" >&2; die "initdb failed"; }
  for try in 1 2 3; do # another process may take the port between the choice and the start
    port=$(free_port)
    (cd / && exec "${as_postgres[@]}" "$bin/postgres" -D "$work/pg/data" -p "$port" -h 127.0.0.1 -k "$work/pg" -c fsync=off -c synchronous_commit=off \
      -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB -c logging_collector=off -c timezone=UTC) >"$work/postgres.log" 2>&1 &
    postgres_pid=$!
    for _ in $(seq 150); do
      if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && kill -0 "$postgres_pid" 2>/dev/null; then
        export TEST_POSTGRES_URL=postgres://postgres:$password@127.0.0.1:$port/postgres
        say "PostgreSQL: $("$bin/postgres" --version), port $port"
        return
      fi
      kill -0 "$postgres_pid" 2>/dev/null || break
      sleep 0.2
    done
    kill -INT "$postgres_pid" 2>/dev/null || true; wait "$postgres_pid" 2>/dev/null || true; postgres_pid=''
  done
  cat "$work/postgres.log" >&2
  die "PostgreSQL did not start"
}

# tracking_data: detections of people in published sequences, for crates/inference/tests/tracking.rs; prints their folder.
tracking_data() {
  local folder=$cache/tracking wheel
  mkdir -p "$folder"
  wheel=$(pinned_wheel motmetrics 1.4.0 any cd4d691bd787360f1cd0a2127fe8a14d0646fb2912b344a9498719e132b25738 "$folder" "$work" 1 py3-none)
  cp -n "$wheel" "$folder/"
  "$TEST_PYTHON" crates/inference/tests/tracking/detections.py "$wheel" "$folder" >&2 || die "no detections could be made"
  printf '%s\n' "$folder"
}

ORT_LIB=$(scripts/onnxruntime.sh)
if [ "$(uname -m)" = x86_64 ]; then OPENVINO_LIB=$(scripts/openvino.sh); export OPENVINO_LIB; fi
TEST_PYTHON=$(python_tools)
TEST_TRACKING=$(tracking_data)
TEST_FFMPEG=$(scripts/ffmpeg.sh)
TEST_GSTREAMER=/usr/bin/python3
TEST_CHROMEDRIVER=$(command -v chromedriver) TEST_CHROMIUM=$(chromium_path) TEST_SKOPEO=$(command -v skopeo)
TEST_EDGE_BIN=$target/debug/pithead-edge
TEST_GO_CLIENTS=$(go_clients)
export ORT_LIB TEST_FFMPEG TEST_GSTREAMER TEST_PYTHON TEST_TRACKING TEST_CHROMEDRIVER TEST_CHROMIUM TEST_SKOPEO TEST_EDGE_BIN TEST_GO_CLIENTS
start_postgres
[ -z "${TEST_ONLY_SETUP:-}" ] || { say "the parts are there; no test was run, because TEST_ONLY_SETUP is set"; exit 3; }

started=$SECONDS status=0
# One build: `cargo test` also makes the programs that its tests start; a plain build first would choose other features and compile twice.
cargo test --workspace --locked --no-run || die "the build failed"
cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$work/tests.log" || status=1

# Count from the summary line of each test program. Each group of tests is named by the line above it ("Running …", "Doc-tests …").
counts=$(awk '/^test result: / { passed += $4; failed += $6; ignored += $8; programs++ } END { print passed + 0, failed + 0, ignored + 0, programs + 0 }' "$work/tests.log")
read -r passed failed ignored programs <<<"$counts"
say
sed -n 's/^ *Running \(.*\) (.*/\1/p; s/^ *Doc-tests \(.*\)/documentation of \1/p; s/^test result: \([a-zA-Z]*\)\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/    \1: \2 passed, \3 failed, \4 ignored/p' "$work/tests.log" >&2
sed -n 's/^test \(.*\) \.\.\. FAILED$/  FAILED   \1/p; s/^test \(.*\) \.\.\. ignored.*/  IGNORED  \1/p' "$work/tests.log" >&2
say "make test: $passed passed, $failed failed, $ignored ignored, in $programs test programs, $((SECONDS - started)) s"
[ "$passed" -gt 0 ] || { say "error: no test ran"; status=1; }
[ "$failed" = 0 ] || status=1
[ "$ignored" = 0 ] || { say "error: ignored tests count as failures: nothing is skipped silently"; status=1; }
exit "$status"
