#!/bin/bash
# healthcheck.sh PORT PATH: succeeds if http://127.0.0.1:PORT/PATH answers 200. Bash alone: the images hold no HTTP client.
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3
IFS=' ' read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
