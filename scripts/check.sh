#!/usr/bin/env bash
# make check: everything that can be said about the code without running it. Runs all steps, fails if one did.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
rust_ready

failed=()
step() { local name=$1; shift; say "== $name"; "$@" || failed+=("$name"); }
step "format" cargo fmt --all --check
# Built by its benchmark with rustc alone.
step "format of bench/overload.rs" rustfmt --edition 2024 --config-path rustfmt.toml --check bench/overload.rs
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked
for file in scripts/*.sh bench/*.sh .ci/run; do step "syntax of $file" bash -n "$file"; done

# deny: the dependency rules of deny.toml. cargo-deny reads all crates of the lock file, those of other systems too, so they are fetched first;
# nothing is fetched where they are there.
deny() {
  local checks=(licenses bans sources) dbs='' status=0
  cargo fetch --locked --quiet || return
  if [ -n "${ADVISORY_DB:-}" ]; then
    [ -d "$ADVISORY_DB/.git" ] && [ -d "$ADVISORY_DB/crates" ] || { say "ADVISORY_DB is no clone of the RustSec advisory database: $ADVISORY_DB"; return 1; }
    dbs=$(mktemp -d) || return
    # cargo-deny (since 0.18) looks for the database under this name, which it makes from the address of the RustSec repository.
    ln -s "$(realpath "$ADVISORY_DB")" "$dbs/advisory-db-3157b0e258782691" || return
    checks+=(advisories)
  else
    say "advisories: not checked; set ADVISORY_DB to a clone of the RustSec advisory database that is younger than 90 days"
  fi
  # --workspace: without it only the server's dependencies would be judged. --offline: a database is never fetched, and one too old is an error.
  ADVISORY_DBS=${dbs:-.cache/advisory-dbs} cargo deny --offline --locked --workspace check "${checks[@]}" || status=$?
  [ -z "$dbs" ] || rm -rf "$dbs"
  return "$status"
}
if cargo deny --version >/dev/null 2>&1; then
  step "dependencies" deny
else
  say "== dependencies: not checked, cargo-deny is not installed (cargo install --locked cargo-deny)"
fi
[ ${#failed[@]} = 0 ] || die "failed: $(IFS=,; printf '%s' "${failed[*]}")"
say "make check: all steps passed"
