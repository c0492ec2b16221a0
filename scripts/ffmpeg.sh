#!/usr/bin/env bash
# ffmpeg.sh [--path] [FOLDER]: puts ffmpeg (pinned version and hash) into FOLDER, by default .cache/ffmpeg/<version>, and prints its path: what
# a node decodes cameras and video files with, by `--ffmpeg`. Does nothing but check the hash when it is there already. Without a network, lay
# the wheel into FOLDER first; what fails names it. With --path it prints where ffmpeg will be, and gets nothing.
#
# It comes out of the `imageio-ffmpeg` wheel, because Debian 12 has version 5, which cannot loop a file that it is only handed, and bare machines
# have none. The program is under the GPL, version 3: it is fetched, not passed on, and runs as a process of its own. It needs glibc 2.28.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

version=9.0.2 package=0.8.1
machine=$(uname -m)
[ "$(uname -s)" = Linux ] || die "ffmpeg is pinned for Linux only, this is $(uname -s)"
case $machine in
  x86_64)
    wheel_sha256=050d6850601c3b3890bd2b28306f3b842b3daea390a561101174375a1c460bda
    program_sha256=0d709a0bed1a43f24cd2c420878c63afea4580671b6949ad19ed124572f3bc3d ;;
  aarch64|arm64) machine=aarch64
    wheel_sha256=fad3176f859b25869e60a8ed79957d4e3ed74a97a95e5f0cdcb91455f6c6d00e
    program_sha256=0b0b5ac30495b4e07ce1321b8d58200f901f57782884a8b6b264c7528c2c9e77 ;;
  *) die "no ffmpeg is pinned for the architecture $machine (x86_64 and aarch64 are)" ;;
esac
get=1
if [ "${1:-}" = --path ]; then get=''; shift; fi
folder=${1:-$cache/ffmpeg/$version}
program=$folder/ffmpeg

if [ -z "$get" ] || is_sha256 "$program_sha256" "$program"; then printf '%s\n' "$program"; exit 0; fi
command -v python3 >/dev/null || die "python3 is missing: apt-get install python3 python3-pip"
mkdir -p "$folder"
work=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

wheel=$(pinned_wheel imageio-ffmpeg "$package" "manylinux_2_28_$machine" "$wheel_sha256" "$folder" "$work" 68 py3-none)
python3 - "$work/program" "$wheel" "imageio_ffmpeg/binaries/ffmpeg-linux-$machine-v$version" <<'PY'
import pathlib, sys, zipfile
with zipfile.ZipFile(sys.argv[2]) as archive:
    pathlib.Path(sys.argv[1]).write_bytes(archive.read(sys.argv[3]))
PY
is_sha256 "$program_sha256" "$work/program" || die "the program in ${wheel##*/} has not the pinned sha256"
chmod 0755 "$work/program"
mv -f "$work/program" "$program" # last, and on the same file system: seen whole or not at all
printf '%s\n' "$program"
