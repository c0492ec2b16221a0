#!/usr/bin/env bash
# The smallest demo model through a node's own API: see predict.py.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
python=$(python_tools)
start_server small 60
wait_demo 300
"$python" bench/predict.py --node "$node" --node "http://127.0.0.1:$((port + 1022))" --node "http://127.0.0.1:$((port + 1023))" --apps demo/apps
