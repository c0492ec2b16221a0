#!/usr/bin/env bash
# make demo-models: runs the training programs in demo/train/, which generate their data, train their models and write their app folders
# under demo/apps/ (evaluation_sets.py the hidden test sets under demo/evaluation/, cameras.py the clips under demo/cameras/), then those of
# demo/train/format_2/ for demo/format-2/, whose expected results `pithead golden` makes. Says at the end whether the files came out as they
# are committed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
need_debian 'python3 -m pip --version|python3-pip' 'python3 -c "import ensurepip, venv"|python3-venv' \
  '[ -n "$(find /usr/share/fonts -name "NotoSansCJK*" -print -quit)" ]|fonts-noto-cjk'
rust_ready
run() {
  say "== $2"
  "$1" "$2"
}
python=$(python_tools demo/train/requirements.txt train-venv)
run "$python" demo/train/all.py
run "$python" demo/train/evaluation_sets.py
FFMPEG=$(scripts/ffmpeg.sh)
export FFMPEG
run "$python" demo/train/cameras.py

ORT_LIB=$(scripts/onnxruntime.sh)
export ORT_LIB PITHEAD=$target/debug/pithead
cargo build --locked --package pithead || die "the build failed"
python=$(python_tools demo/train/format_2/requirements.txt train-torch-venv)
for program in demo/train/format_2/*.py; do
  case $program in */table.py) continue ;; esac
  grep -q '^if __name__ == "__main__"' "$program" || continue # a module of the others
  run "$python" "$program"
done
run "$python" demo/train/format_2/table.py
if changed=$(git status --porcelain -- demo/apps demo/cameras demo/format-2 demo/evaluation 2>/dev/null); then
  if [ -n "$changed" ]; then say "these files differ from what is committed:"; say "$changed"; else say "every file came out as it is committed"; fi
fi
