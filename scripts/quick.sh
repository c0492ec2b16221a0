#!/usr/bin/env bash
# make quick: the unit tests of the server and of the app format, on SQLite only: no PostgreSQL, browser, ONNX Runtime or network. What it
# leaves out is in `make test`. Words after it are handed on: `scripts/quick.sh trade` runs the tests with "trade" in their names.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
rust_ready
unset TEST_POSTGRES_URL # with it each test would run on PostgreSQL too
started=$SECONDS
cargo test --locked --lib --package pithead --package app-package -- "$@" || die "a test failed, or the build"
say "make quick: passed on SQLite in $((SECONDS - started)) s; make test runs everything"
