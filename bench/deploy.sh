#!/usr/bin/env bash
# From "start" in the deploy wizard to "running" on a node: see deploy.py.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
prepare
start_server small 60
wait_demo 300
python3 bench/deploy.py --site "$base" --sign-ins "$data/sign-ins.json"
