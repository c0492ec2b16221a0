#!/usr/bin/env bash
# onnxruntime.sh [FOLDER]: puts libonnxruntime.so.<version> (pinned version and hash) and the link libonnxruntime.so into FOLDER, by default
# .cache/onnxruntime/<version>, and prints its path. Does nothing but check the hash when it is there already,
# so it works offline from the second time on. Without a network, lay the wheel named below into FOLDER first.
#
# The library comes out of the `onnxruntime` wheel (MIT licence), because Debian 12 packages no ONNX Runtime. The wheel of
# CPython 3.11 is taken whatever Python runs here: the library inside does not depend on Python. It needs glibc 2.28.
# To move to another version: change the table, both hashes of both architectures, and run the tests.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=1.32.0
machine=$(uname -m)
[ "$(uname -s)" = Linux ] || die "ONNX Runtime is pinned for Linux only, this is $(uname -s)"
case $machine in
  x86_64)
    wheel_sha256=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
    library_sha256=6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f ;;
  aarch64|arm64) machine=aarch64
    wheel_sha256=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
    library_sha256=49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a ;;
  *) die "no ONNX Runtime is pinned for the architecture $machine (x86_64 and aarch64 are)" ;;
esac
folder=${1:-$cache/onnxruntime/$version}
library=$folder/libonnxruntime.so.$version # the name tells the engine its version, which its API does not without unsafe code
wheel=onnxruntime-$version-cp311-cp311-manylinux_2_28_$machine.whl

is() { [ -f "$2" ] && printf '%s  %s\n' "$1" "$2" | sha256sum --check --status; }

if is "$library_sha256" "$library"; then printf '%s\n' "$library"; exit 0; fi
command -v python3 >/dev/null || die "python3 is missing: apt-get install python3 python3-pip"
mkdir -p "$folder"
work=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

if is "$wheel_sha256" "$folder/$wheel"; then
  cp "$folder/$wheel" "$work/"
else
  python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: apt-get install python3-pip"
  say "getting ONNX Runtime $version for $machine (about 27 MB)"
  python3 -m pip --disable-pip-version-check --no-input download --quiet --retries 5 --timeout 60 --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --platform "manylinux_2_28_$machine" --dest "$work" "onnxruntime==$version" >&2 \
    || die "pip could not get onnxruntime $version; without a network, lay $wheel into $folder and run this again"
  [ -f "$work/$wheel" ] || die "pip brought another file than $wheel: $(ls "$work")"
  is "$wheel_sha256" "$work/$wheel" || die "$wheel has not the pinned sha256; nothing of it was used"
fi

# The licence texts stay next to the library: they have to travel with it.
python3 - "$work" "$work/$wheel" "$version" <<'PY'
import pathlib, sys, zipfile
folder, wheel, version = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
wanted = {
    f"onnxruntime/capi/libonnxruntime.so.{version}": "library",
    "onnxruntime/LICENSE": "LICENSE",
    "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt",
}
with zipfile.ZipFile(wheel) as archive:
    for inside, name in wanted.items():
        (folder / name).write_bytes(archive.read(inside))
PY
is "$library_sha256" "$work/library" || die "the library in $wheel has not the pinned sha256"
chmod 0755 "$work/library"
mv -f "$work/LICENSE" "$work/ThirdPartyNotices.txt" "$folder/"
mv -f "$work/library" "$library" # last, and on the same file system: seen whole or not at all
ln -sf "${library##*/}" "$folder/libonnxruntime.so"
printf '%s\n' "$library"
