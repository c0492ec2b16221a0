#!/usr/bin/env bash
# openvino.sh [FOLDER]: puts an ONNX Runtime with OpenVINO built in (pinned versions and hashes) into FOLDER, by default
# .cache/openvino/<version>, and prints the path of its libonnxruntime.so.<version>: what follows `openvino=` in `--provider`. Does nothing but
# check the hashes when all is there already. Without a network, lay the wheel into FOLDER first; what fails names it.
#
# It comes out of the `onnxruntime-openvino` wheel (MIT licence), for x86-64 alone. The newer plugin, `onnxruntime-ep-openvino`, is for nodes with
# processors of Intel: on others it offers no device. The parts for graphics and neural processors stay in the wheel.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=1.24.1
wheel_sha256=3007c803634cc69c6d52af1dea7ce729d9bb62b9a11070fd2f959119199007a8
parts="2d963a419b96018b79dfe63bb50120ddcb724149912a8a6d8ac747a557c089f4  libonnxruntime.so.$version
bf0159d2681d76e7de03fbd302a9204e5490f30816bd41826d57acf7a8dff363  libonnxruntime_providers_openvino.so
5e02c1ff90e7d71365264dbb6767c00f04a8b57a96cddbc0085c61fa1393250d  libonnxruntime_providers_shared.so
ac9634b715a242a61644c77bc38f17508fe73f517e418027e2410f4bee004943  libopenvino.so.2541
034df890550ae9199fe5f8608c0df8fd0fe355f303bad56bea10bae14c14c3cb  libopenvino_intel_cpu_plugin.so
f426710881d8c1a01d5ed6d7eaa076d923b19983d3ab3a18bb19d25dba7d8923  libopenvino_onnx_frontend.so.2541
6781dc6aa8b2ca237d0164258e70266a44667756c02a9a039782ec1d1a67b653  libtbb.so.12"

[ "$(uname -sm)" = "Linux x86_64" ] || die "OpenVINO is pinned for Linux on x86-64 only, this is $(uname -sm)"
folder=${1:-$cache/openvino/$version}
library=$folder/libonnxruntime.so.$version

whole() { [ -d "$1" ] && (cd "$1" && printf '%s\n' "$parts" | sha256sum --check --status 2>/dev/null); }

if whole "$folder"; then printf '%s\n' "$library"; exit 0; fi
command -v python3 >/dev/null || die "python3 is missing: apt-get install python3 python3-pip"
mkdir -p "$folder"
work=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

wheel=$(pinned_wheel onnxruntime-openvino "$version" manylinux_2_28_x86_64 "$wheel_sha256" "$folder" "$work" 84)

# The licence texts stay next to the libraries: they have to travel with them.
mkdir "$work/parts"
python3 - "$work" <<PY
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
with zipfile.ZipFile("$wheel") as archive:
    for name in [line.split()[1] for line in """$parts""".splitlines()]:
        (folder / "parts" / name).write_bytes(archive.read(f"onnxruntime/capi/{name}"))
    for name in ["LICENSE", "ThirdPartyNotices.txt"]:
        (folder / "parts" / name).write_bytes(archive.read(f"onnxruntime/{name}"))
PY
whole "$work/parts" || die "a library in ${wheel##*/} has not the pinned sha256"
chmod 0755 "$work/parts/"*.so*
mv -f "$work/parts/"* "$folder/"
printf '%s\n' "$library"
