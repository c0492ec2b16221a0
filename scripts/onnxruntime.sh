#!/usr/bin/env bash
# onnxruntime.sh [FOLDER]: puts libonnxruntime.so.<version> (pinned version and hash) and the link libonnxruntime.so into FOLDER, by default
# .cache/onnxruntime/<version>, and prints its path. Does nothing but check the hash when it is there already,
# so it works offline from the second time on. Without a network, lay the wheel into FOLDER first; what fails names it.
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

if is_sha256 "$library_sha256" "$library"; then printf '%s\n' "$library"; exit 0; fi
command -v python3 >/dev/null || die "python3 is missing: apt-get install python3 python3-pip"
mkdir -p "$folder"
work=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

wheel=$(pinned_wheel onnxruntime "$version" "manylinux_2_28_$machine" "$wheel_sha256" "$folder" "$work" 27)

# The licence texts stay next to the library: they have to travel with it.
python3 - "$work" "$wheel" "$version" <<'PY'
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
is_sha256 "$library_sha256" "$work/library" || die "the library in ${wheel##*/} has not the pinned sha256"
chmod 0755 "$work/library"
mv -f "$work/LICENSE" "$work/ThirdPartyNotices.txt" "$folder/"
mv -f "$work/library" "$library" # last, and on the same file system: seen whole or not at all
ln -sf "${library##*/}" "$folder/libonnxruntime.so"
printf '%s\n' "$library"
