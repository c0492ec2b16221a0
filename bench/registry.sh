#!/usr/bin/env bash
# The registry beside Debian's docker-registry and nginx on the same machine, with the same clients: push of a 1 GiB blob in one streamed
# PATCH, pull of it (nginx from the same file), and manifests by tag at 32 connections, alone and while another developer moves a tag 20
# times a second. The peers ask for no credentials, ours always does.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need_debian 'command -v docker-registry|docker-registry' 'command -v nginx|nginx-light' 'command -v wrk|wrk' 'command -v curl|curl'
prepare
size=$((1 << 30)) rounds=${ROUNDS:-3}
peer='' web=''
trap 'status=$?; for p in $peer $web; do kill "$p" 2>/dev/null || true; done; stop_server; rm -rf "$data"; exit $status' EXIT

start_server small 60
wait_demo 300
read -r user token < <(python3 -c 'import json, sys; p = next(p for p in json.load(open(sys.argv[1])) if p["role"] == "ordos-signal"); print(p["email"], p["token"])' "$data/sign-ins.json")
ours=$base/v2/ordos-signal/bench auth="$user:$token"

peer_port=$(free_port) web_port=$(free_port)
mkdir -p "$data/peer" "$data/web/tmp"
cat >"$data/peer.yml" <<YML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $data/peer}, delete: {enabled: true}}
http: {addr: 127.0.0.1:$peer_port}
YML
docker-registry serve "$data/peer.yml" >"$data/peer.log" 2>&1 & peer=$!
cat >"$data/nginx.conf" <<CONF
daemon off; pid $data/web/pid; error_log $data/web/error.log; worker_processes 1; user root;
events { worker_connections 256; }
http { access_log off; sendfile on; client_body_temp_path $data/web/tmp; proxy_temp_path $data/web/tmp; fastcgi_temp_path $data/web/tmp; uwsgi_temp_path $data/web/tmp; scgi_temp_path $data/web/tmp;
  server { listen 127.0.0.1:$web_port; root $data/web; } }
CONF
nginx -c "$data/nginx.conf" 2>"$data/web.log" & web=$!
theirs=http://127.0.0.1:$peer_port/v2/bench/bench

# Random bytes, so that nobody compresses them; each push another blob, by its last bytes.
head -c "$size" /dev/urandom >"$data/blob"

location() { tr -d '\r' | sed -n 's/^[Ll]ocation: //p'; }
absolute() { case $1 in http*) printf %s "$1" ;; *) printf %s "$base$1" ;; esac; }
# push REPOSITORY CREDENTIALS: prints MB/s of the PATCH and the PUT together.
push() {
  local repository=$1 credentials=$2 digest at begin end with=()
  [ -z "$credentials" ] || with=(-u "$credentials")
  head -c 16 /dev/urandom | dd of="$data/blob" bs=1 seek=$((size - 16)) conv=notrunc status=none
  digest=sha256:$(sha256sum <"$data/blob" | cut -d' ' -f1)
  sync
  at=$(absolute "$(curl -fsSi "${with[@]}" -X POST -H 'Content-Length: 0' "$repository/blobs/uploads/" | location)")
  begin=$(date +%s%N)
  at=$(absolute "$(curl -fsSi "${with[@]}" -X PATCH -H 'Content-Type: application/octet-stream' -T "$data/blob" "$at" | location)")
  case $at in *\?*) at="$at&" ;; *) at="$at?" ;; esac
  curl -fsS "${with[@]}" -X PUT -H 'Content-Length: 0' -H 'Content-Type: application/octet-stream' "${at}digest=$digest"
  end=$(date +%s%N)
  printf '%s\n' "$digest" >"$data/digest"
  awk -v n="$size" -v t=$((end - begin)) 'BEGIN { printf "%.0f\n", n / 1e6 / (t / 1e9) }'
}
# pull URL CREDENTIALS: prints MB/s.
pull() {
  local with=(); [ -z "$2" ] || with=(-u "$2")
  curl -fsS "${with[@]}" -o /dev/null -w '%{size_download} %{speed_download}\n' "$1" | awk -v n="$size" '$1 == n { printf "%.0f\n", $2 / 1e6 }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
memory_kib() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$server/status"; }

: >"$data/push.ours"; : >"$data/push.theirs"; : >"$data/pull.ours"; : >"$data/pull.web"; : >"$data/pull.theirs"
before=$(memory_kib VmRSS)
printf 5 >"/proc/$server/clear_refs" # the peak begins anew
for _ in $(seq "$rounds"); do # in turn, so that a slow moment of the machine meets all
  push "$ours" "$auth" >>"$data/push.ours"; cp "$data/digest" "$data/digest.ours"
  push "$theirs" "" >>"$data/push.theirs"; cp "$data/digest" "$data/digest.theirs"
done
peak=$(memory_kib VmHWM)
# nginx serves the very file that we serve: how fast a file is read depends on how it was written, and by whom.
hex=$(sed s/sha256:// "$data/digest.ours"); mine=$(find "$data/storage" -type f -name "*$hex*" -size +1000M | head -n 1)
[ -n "$mine" ] || die "the pushed blob is not in $data/storage"
ln "$mine" "$data/web/blob"
for _ in $(seq "$rounds"); do
  pull "$ours/blobs/$(cat "$data/digest.ours")" "$auth" >>"$data/pull.ours"
  pull "http://127.0.0.1:$web_port/blob" "" >>"$data/pull.web"
  pull "$theirs/blobs/$(cat "$data/digest.theirs")" "" >>"$data/pull.theirs"
done

# The same small manifest under a tag on both.
printf '{}' >"$data/config"
config=sha256:$(sha256sum <"$data/config" | cut -d' ' -f1)
manifest='{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.test.config.v1+json","digest":"'$config'","size":2},"layers":[]}'
for each in "$ours|$auth" "$theirs|"; do
  repository=${each%|*} credentials=${each#*|} with=(); [ -z "$credentials" ] || with=(-u "$credentials")
  at=$(absolute "$(curl -fsSi "${with[@]}" -X POST -H 'Content-Length: 0' "$repository/blobs/uploads/" | location)")
  case $at in *\?*) at="$at&" ;; *) at="$at?" ;; esac
  curl -fsS "${with[@]}" -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$data/config" "${at}digest=$config"
  curl -fsS "${with[@]}" -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' -d "$manifest" "$repository/manifests/1.0" -o /dev/null
done
rate() { # rate URL HEADER
  local out; out=$(wrk -t1 -c32 -d5s ${2:+-H "$2"} -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$1")
  if grep -qE 'Non-2xx|Socket errors' <<<"$out"; then say "$out"; die "not every request was answered"; fi
  awk '/^Requests\/sec:/ { print $2 }' <<<"$out"
}
bearer=$(curl -fsS -u "$auth" "$base/token?service=pithead&scope=repository:ordos-signal/bench:pull" | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
tags_ours=$(rate "$ours/manifests/1.0" "Authorization: Bearer $bearer")
# Another developer's tag moves between two manifests; one connection, so that the writer costs little beside the server.
cat >"$data/writes.py" <<'PY'
import base64, hashlib, http.client, json, sys, time
host, sign_ins = sys.argv[1], json.load(open(sys.argv[2]))
who = next(p for p in sign_ins if p["role"] == "taihang-ai")
line = http.client.HTTPConnection(host)
credentials = base64.b64encode(f"{who['email']}:{who['token']}".encode()).decode()
def call(method, path, kind, body, expected):
    line.request(method, path, body, {"Authorization": "Basic " + credentials, "Content-Type": kind})
    answer = line.getresponse(); text = answer.read()
    if answer.status != expected: sys.exit(f"{method} {path}: {answer.status} {text[:200]}")
config = b"{}"
digest = "sha256:" + hashlib.sha256(config).hexdigest()
call("POST", f"/v2/taihang-ai/bench/blobs/uploads/?digest={digest}", "application/octet-stream", config, 201)
kind, named = "application/vnd.oci.image.manifest.v1+json", {"mediaType": "application/vnd.test.config.v1+json", "digest": digest, "size": 2}
manifest = lambda n: json.dumps({"schemaVersion": 2, "mediaType": kind, "config": named, "layers": [], "annotations": {"n": str(n)}}).encode()
written, begin = 0, time.monotonic()
while time.monotonic() < begin + float(sys.argv[3]):
    call("PUT", "/v2/taihang-ai/bench/manifests/moving", kind, manifest(written % 2), 201)
    written += 1
    time.sleep(max(0, begin + written / 20 - time.monotonic()))
print(written)
PY
python3 "$data/writes.py" "${base#http://}" "$data/sign-ins.json" 6 >"$data/written" & writer=$!
sleep 0.5
tags_written=$(rate "$ours/manifests/1.0" "Authorization: Bearer $bearer")
wait "$writer" || die "the tag could not be moved"
[ "$(cat "$data/written")" -ge 100 ] || die "only $(cat "$data/written") writes in 6 s"
tags_theirs=$(rate "$theirs/manifests/1.0" "")

push_ours=$(median <"$data/push.ours") push_theirs=$(median <"$data/push.theirs")
pull_ours=$(median <"$data/pull.ours") pull_web=$(median <"$data/pull.web") pull_theirs=$(median <"$data/pull.theirs")
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
printf 'push 1 GiB, MB/s: ours %s, docker-registry %s\n' "$push_ours" "$push_theirs"
printf 'pull 1 GiB, MB/s: ours %s, nginx %s, docker-registry %s\n' "$pull_ours" "$pull_web" "$pull_theirs"
printf 'manifests by tag at 32 connections, /s: ours %s, while 20 writes a second go on %s, docker-registry %s\n' "$tags_ours" "$tags_written" "$tags_theirs"
verdict "push, ratio to docker-registry" "$(ratio "$push_ours" "$push_theirs")" x -ge 2
verdict "pull through the server, ratio to nginx" "$(ratio "$pull_ours" "$pull_web")" x -ge 0.6
verdict "manifests by tag, ratio to docker-registry" "$(ratio "$tags_ours" "$tags_theirs")" x -ge 5
verdict "manifests by tag while 20 writes a second go on, ratio to docker-registry" "$(ratio "$tags_written" "$tags_theirs")" x -ge 20
verdict "memory growth while pushing" "$(awk -v a="$peak" -v b="$before" 'BEGIN { printf "%.1f", (a - b) / 1024 }')" MiB -lt 16
exit "$bench_failed"
