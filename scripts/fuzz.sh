#!/usr/bin/env bash
# make fuzz: hostile models through the confined child, damaged documents through the parsers that server and node share, then damaged
# requests and documents against a server and a node, for so many seconds in all. Not an optimised build: this one stops at every overflow of
# a number. Exit status 1 where something was found; it is printed with its seed. `fuzz --only TARGET SEED --lib FILE` does a case of the
# first part again, FUZZ_SEED=SEED the second part from that case on.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
seconds=${1:-600} seed=${2:-} status=0
rust_ready
ORT_LIB=$(scripts/onnxruntime.sh)
cargo build --locked --package inference --example fuzz --example check_child
"$target/debug/examples/fuzz" --seconds $((seconds * 2 / 3)) ${seed:+--seed "$seed"} --lib "$ORT_LIB" || status=1
TEST_EDGE_BIN=$target/debug/pithead-edge FUZZ_SECONDS=$((seconds / 6))
export ORT_LIB TEST_EDGE_BIN FUZZ_SECONDS
[ -z "$seed" ] || export FUZZ_SEED=$seed
# Each of the five tests takes so long, two at a time.
# The same build as that of `make test`, with the programs that the tests start.
cargo test --workspace --locked --no-run
cargo test --workspace --locked --test system parsers:: -- --nocapture || status=1
exit "$status"
