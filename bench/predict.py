#!/usr/bin/env python3
"""Latency of POST /v1/apps/{app}/predict on an edge node, for the smallest demo model that runs there.

Finds the demo apps that a node has ready (Open Inference Protocol v2, repository index), takes the one with the smallest
model files, and sends the input of its first golden sample over one kept-alive connection. Exits 1 when p50 is not below the limit.
"""

import argparse
import http.client
import json
import pathlib
import sys
import time
import urllib.parse

import yaml


def smallest_first(folder):
    """Demo apps as (bytes of the model files, folder, app.yaml)."""
    apps = []
    for file in folder.glob("*/app.yaml"):
        app = yaml.safe_load(file.read_text(encoding="utf-8"))
        size = sum((file.parent / model["file"]).stat().st_size for model in app["models"])
        apps.append((size, file.parent, app))
    return sorted(apps, key=lambda each: each[0])


def ready_apps(address):
    """Names of the models that the node at `address` (host:port) serves; the app is the last but one or the only part."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("POST", "/v2/repository/index", "{}", {"content-type": "application/json"})
    answer = connection.getresponse()
    models = json.loads(answer.read()) if answer.status == 200 else []
    return {part for model in models if model.get("state") == "READY" for part in model["name"].replace(".", "/").split("/")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", action="append", required=True, help="base URL of a node; may be given several times")
    parser.add_argument("--apps", type=pathlib.Path, required=True, help="folder with the demo apps")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--limit-ms", type=float, default=2.0)
    arguments = parser.parse_args()

    nodes = [urllib.parse.urlsplit(url).netloc for url in arguments.node]
    ready = {address: ready_apps(address) for address in nodes}
    for size, folder, app in smallest_first(arguments.apps):
        address = next((address for address in nodes if app["name"] in ready[address]), None)
        if address:
            break
    else:
        sys.exit(f"no demo app of {arguments.apps} runs on {', '.join(nodes)}")

    body = (folder / app["golden"][0]["input"]).read_bytes()
    kind = {b"\x89PN": "image/png", b"\xff\xd8\xff": "image/jpeg"}.get(body[:3], "text/csv")
    path = "/v1/apps/" + urllib.parse.quote(app["name"]) + "/predict"
    connection = http.client.HTTPConnection(address, timeout=10)
    times = []
    for turn in range(arguments.requests + 50):
        begin = time.perf_counter()
        connection.request("POST", path, body, {"content-type": kind})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{path} answered {answer.status}: {text[:300]!r}")
        if turn >= 50:
            times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    p50, p95 = times[len(times) // 2], times[len(times) * 95 // 100]
    good = p50 < arguments.limit_ms
    print(f"{'predict, ' + app['name'] + f' ({size} bytes)':<46} {p50:>10.3f} ms     (limit < {arguments.limit_ms:g})  {'ok' if good else 'MISSED'}")
    print(f"{'predict, 95th percentile':<46} {p95:>10.3f} ms")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
