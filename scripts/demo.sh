#!/usr/bin/env bash
# make demo: builds the release binaries, gets ONNX Runtime, then becomes `pithead demo`, so that Ctrl-C reaches it.
# PORT moves the site and, by the same distance, the edge endpoint and the nodes. SCALE is small or ordos.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"

port=${PORT:-8080} scale=${SCALE:-small}
[[ $port =~ ^[0-9]{1,5}$ ]] && [ "$((10#$port))" -ge 1 ] && [ "$((10#$port))" -le 65535 ] || die "PORT must be a port number, it is \"$port\""
case $scale in small|ordos) ;; *) die "SCALE must be small or ordos, it is \"$scale\"" ;; esac
rust_ready
library=$(scripts/onnxruntime.sh)
cargo build --release --locked --package pithead --bin pithead --package pithead-edge --bin pithead-edge
exec "$target/release/pithead" demo --data data/demo --port "$port" --scale "$scale" --ort-lib "$library" --edge-bin "$target/release/pithead-edge"
