#!/usr/bin/env bash
# make bench: builds the release binaries and runs each benchmark in bench/. Prints one line per figure with its limit;
# exit status 1 if a limit was missed or a benchmark could not run. The figures mean something only on a quiet machine.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
rust_ready
need_debian 'command -v wrk|wrk' 'command -v ab|apache2-utils' 'command -v curl|curl' 'python3 -m pip --version|python3-pip' 'python3 -c "import ensurepip, venv"|python3-venv'
scripts/onnxruntime.sh >/dev/null
cargo build --release --locked --package pithead --bin pithead --package pithead-edge --bin pithead-edge

failed=()
for bench in catalogue memory speed overload predict pipeline mlserver deploy registry uploads check; do
  "bench/$bench.sh" || failed+=("$bench")
done
[ ${#failed[@]} = 0 ] || die "missed a limit or did not run: ${failed[*]}"
