#!/usr/bin/env bash
# make demo-models: runs each training program in demo/train/, which generates its data, trains its model and writes its app folder
# under demo/apps/ (evaluation_sets.py the hidden test sets under demo/evaluation/). Says at the end whether the files came out as they
# are committed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
need_debian 'python3 -m pip --version|python3-pip' 'python3 -c "import ensurepip, venv"|python3-venv' \
  '[ -n "$(find /usr/share/fonts -name "NotoSansCJK*" -print -quit)" ]|fonts-noto-cjk'
python=$(python_tools demo/train/requirements.txt train-venv)
for program in demo/train/*.py; do
  grep -q '^if __name__ == "__main__"' "$program" || continue # a module of the others
  say "== $program"
  "$python" "$program"
done
if changed=$(git status --porcelain -- demo/apps demo/evaluation 2>/dev/null); then
  if [ -n "$changed" ]; then say "these files differ from what is committed:"; say "$changed"; else say "every file came out as it is committed"; fi
fi
