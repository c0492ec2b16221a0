#!/usr/bin/env bash
# make chaos: the server is killed, its database held by another process, its connections cut, its clock and its nodes' clocks moved by 400
# days and (as root, on a file system of its own) its disk filled, for so many seconds, while clients push, order, pay and deploy. Exit
# status 1 where something acknowledged is lost.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
rust_ready
ORT_LIB=$(scripts/onnxruntime.sh)
TEST_EDGE_BIN=$target/debug/pithead-edge CHAOS_SECONDS=${1:-600}
export ORT_LIB TEST_EDGE_BIN CHAOS_SECONDS
# The same build as that of `make test`, with the programs that the test starts.
cargo test --workspace --locked --no-run
exec cargo test --workspace --locked --test system chaos:: -- --nocapture
