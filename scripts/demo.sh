#!/usr/bin/env bash
# make demo: looks whether ports and data folder are free, gets ONNX Runtime, builds while ffmpeg for the cameras is got, then becomes
# `pithead demo`, so that Ctrl-C reaches it. Without ffmpeg it runs all the same, without cameras.
# PORT moves the site and, by the same distance, the edge endpoint and the nodes. SCALE is small or ordos.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

data=data/demo
port=${PORT:-8080} scale=${SCALE:-small}
[[ $port =~ ^[0-9]{1,5}$ ]] && [ "$((10#$port))" -ge 1 ] && [ "$((10#$port))" -le 64512 ] \
  || die "PORT must be a port number up to 64512, for the demo also takes ports up to 1023 above it; it is \"$port\""
port=$((10#$port))
case $scale in small|ordos) ;; *) die "SCALE must be small or ordos, it is \"$scale\"" ;; esac
rust_ready

# all_free: fails with a line for each port or lock that the demo would fail on after the build. Asks as the program does: it binds with
# SO_REUSEADDR, takes flock on `lock`, and lets a node that a former demo left behind keep its port. Makes no file.
all_free() {
  python3 - "$port" "$data" <<'PY'
import fcntl, os, socket, sys

port, data = int(sys.argv[1]), sys.argv[2]
faults = []

def held(path):
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        pass
    except BlockingIOError:
        return True
    except OSError as e:
        faults.append(f"cannot open {path}: {e.strerror}")
    return False

def refused(number):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", number))
            s.listen()
        except OSError as e:
            return e.strerror

def family(base):
    return [(base, "the site"), (base + 363, "the node endpoint")] + [(base + 1020 + n, f"node {n}") for n in (1, 2, 3)]

if held(f"{data}/lock"):
    sys.exit(f"error: another demo runs in {data}; end it first (Ctrl-C where it was started)")
for index, (number, what) in enumerate(family(port)):
    if index >= 2 and held(f"{data}/edge-{index - 1}/lock"):
        continue
    if reason := refused(number):
        faults.append(f"port {number}, for {what}, cannot be taken: {reason}")
for fault in faults:
    print(f"error: {fault}", file=sys.stderr)
if any(fault.startswith("port ") for fault in faults):
    other = next((base for base in range(9000, 60000, 1000) if not any(refused(number) for number, _ in family(base))), None)
    if other:
        print(f"to use other ports: PORT={other} make demo", file=sys.stderr)
sys.exit(1 if faults else 0)
PY
}

# build ARGUMENTS: cargo build. On a terminal cargo shows by itself how far it is; elsewhere a line says it each 10 seconds, in packages
# that are ready, whether built now or before. What the compiler says is passed on.
build() {
  if [ -t 2 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${CI:-}" ]; then
    cargo build "$@"
    return
  fi
  python3 - "$@" <<'PY'
import json, re, subprocess, sys, threading, time

arguments = sys.argv[1:]
started = time.monotonic()
fetched, total, ready, names = 0, None, set(), set()
ended = threading.Event()

def tell(text):
    print(text, file=sys.stderr, flush=True)

def each_ten_seconds():
    while not ended.wait(10):
        seconds = round(time.monotonic() - started)
        if total is None:
            tell(f"  {seconds} s: getting the sources, {fetched} so far")
        else:
            tell(f"  {seconds} s: {len(ready)} of {total} packages are ready")

def pass_on(stream):
    global fetched
    for line in stream:
        word = re.match(r" *(Compiling|Downloading|Downloaded) ", line)
        if not word:
            sys.stderr.write(line)
            sys.stderr.flush()
        elif word[1] == "Downloaded":
            fetched += 1

def run(command, on_line):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    reader = threading.Thread(target=pass_on, args=[process.stderr])
    reader.start()
    for line in process.stdout:
        on_line(line)
    reader.join()
    return process.wait()

def on_package(line):
    if name := line.removesuffix("\n").removesuffix(" (*)"):
        names.add(name)

def on_message(line):
    try:
        message = json.loads(line)
    except ValueError:
        return
    if message.get("reason") == "compiler-artifact" and "custom-build" not in message["target"]["kind"]:
        ready.add(message["package_id"])

threading.Thread(target=each_ten_seconds, daemon=True).start()
packages = [word for i, word in enumerate(arguments) if word == "--package" or arguments[i - 1] == "--package"]
try:
    if status := run(["cargo", "tree", "--locked", "--prefix", "none", "-e", "normal,build", *packages], on_package):
        sys.exit(status)
    total = len(names)
    status = run(["cargo", "build", "--message-format=json-render-diagnostics", *arguments], on_message)
except KeyboardInterrupt:
    status = 130
ended.set()
sys.exit(status)
PY
}

# find_ffmpeg: sets `cameras` to the options for cameras: an ffmpeg of version 6 or newer on the search path, else the pinned one, which is got
# beside the build where it is not there yet; the demo does not wait for it. What keeps it away is said in one line.
find_ffmpeg() {
  local version program
  version=$(ffmpeg -version 2>/dev/null | sed -n '1s/^ffmpeg version n\{0,1\}\([0-9]\{1,4\}\)\..*/\1/p') || version=''
  if [ "${version:-0}" -ge 6 ]; then
    program=$(readlink -f "$(type -P ffmpeg)")
  else
    program=$(scripts/ffmpeg.sh --path) || { say "the demo runs without cameras"; return; }
    (get_ffmpeg &) # no child of the demo, which this becomes
  fi
  cameras=(--ffmpeg "$program")
}

get_ffmpeg() {
  local said
  said=$(scripts/ffmpeg.sh 2>&1 >/dev/null) || say "no ffmpeg, so the demo runs without cameras: ${said##*$'\n'}"
}

all_free || exit 1
say "== ONNX Runtime"
library=$(scripts/onnxruntime.sh)
cameras=()
find_ffmpeg
say "== build: all packages the first time, which takes minutes; later only what changed"
build --profile demo --locked --package pithead --bin pithead --package pithead-edge --bin pithead-edge || {
  status=$?
  [ "$status" != 130 ] || exit 130 # Ctrl-C
  die "the build failed"
}
say "== start, on port $port"
exec "$target/demo/pithead" demo --data "$data" --port "$port" --scale "$scale" --ort-lib "$library" --edge-bin "$target/demo/pithead-edge" --further demo/format-2 "${cameras[@]}"
