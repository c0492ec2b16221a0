#!/usr/bin/env bash
# make check: everything that can be said about the code without running it. Runs all steps, fails if one did.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
rust_ready

failed=()
step() { local name=$1; shift; say "== $name"; "$@" || failed+=("$name"); }
step "format" cargo fmt --all --check
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked
for file in scripts/*.sh bench/*.sh .ci/run; do step "syntax of $file" bash -n "$file"; done
if cargo deny --version >/dev/null 2>&1; then
  step "dependencies" cargo deny --offline --locked check licenses bans sources
else
  say "== dependencies: not checked, cargo-deny is not installed (cargo install --locked cargo-deny)"
fi
[ ${#failed[@]} = 0 ] || die "failed: $(IFS=,; printf '%s' "${failed[*]}")"
say "make check: all steps passed"
