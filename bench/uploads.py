"""Uploads one file many times at once: BASE REPOSITORY USER:TOKEN FILE UPLOADS CHUNK. Prints the rate of all together."""

import base64
import hashlib
import http.client
import os
import sys
import threading
import time
import urllib.parse

base, repository, credentials, path, uploads, chunk = sys.argv[1:7]
host = urllib.parse.urlsplit(base).netloc
uploads, chunk, size = int(uploads), int(chunk), os.path.getsize(path)
authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
with open(path, "rb") as file:
    digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
failures = []


def call(connection, method, target, expected, headers=(), part=None):
    connection.putrequest(method, target)
    connection.putheader("Authorization", authorization)
    connection.putheader("Content-Length", str(part[2] if part else 0))
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    if part:
        connection.sock.sendfile(*part)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != expected:
        raise RuntimeError(f"{method} {target}: {answer.status} {body[:300]!r}")
    return answer


def upload():
    try:
        connection = http.client.HTTPConnection(host, timeout=600)
        at = call(connection, "POST", f"/v2/{repository}/blobs/uploads/", 202).headers["Location"]
        with open(path, "rb") as file:
            for offset in range(0, size, chunk):
                length = min(chunk, size - offset)
                place = [("Content-Range", f"{offset}-{offset + length - 1}")]
                at = call(connection, "PATCH", at, 202, place, (file, offset, length)).headers["Location"]
        call(connection, "PUT", f"{at}?digest={digest}", 201)
    except Exception as error:  # told below, for all threads
        failures.append(error)


begin = time.monotonic()
threads = [threading.Thread(target=upload) for _ in range(uploads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if failures:
    sys.exit(f"{len(failures)} uploads failed: {failures[0]}")
seconds = time.monotonic() - begin
print(f"{uploads} uploads of {size / 1e6:.0f} MB in bodies of {chunk / 1e6:.0f} MB: {seconds:.1f} s, {uploads * size / 1e6 / seconds:.0f} MB/s together")
