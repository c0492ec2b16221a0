#!/usr/bin/env bash
# make fuzz: hostile models through the confined child, and damaged documents through the parsers of the server, for so many seconds.
# Not an optimised build: this one stops at every overflow of a number. Exit status 1 where something was found; it is printed with its
# seed, and `fuzz --only TARGET SEED --lib FILE` does that one again.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
seconds=${1:-600} seed=${2:-}
rust_ready
library=$(scripts/onnxruntime.sh)
cargo build --locked --package inference --example fuzz --example check_child
exec "$target/debug/examples/fuzz" --seconds "$seconds" ${seed:+--seed "$seed"} --lib "$library"
