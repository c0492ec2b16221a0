#!/usr/bin/env bash
# make demo-models: runs demo/train.sh, which generates the data, trains the demo models and writes the ONNX files.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
[ -x demo/train.sh ] || die "demo/train.sh is not there"
exec demo/train.sh
