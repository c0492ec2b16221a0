#!/usr/bin/env python3
"""From "start" in the deploy wizard to "running", as the deployment's page says it: the operator of a running demo signs in, deploys
each licensed app to each node that has it not yet, and asks the page's live part until it says so. Exits 1 when one took too long.
"""

import argparse
import http.client
import json
import pathlib
import re
import sys
import time
import urllib.parse

SESSION, CSRF = "__Host-session", "__Host-csrf"


class Browser:
    """One person's session, over one kept-alive connection."""

    def __init__(self, base, email, password):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=30)
        self.cookies, self.csrf = {}, ""
        self.csrf = self.field(self.get("/sign-in"))
        status, _, _ = self.post("/sign-in", [("email", email), ("password", password)])
        assert status == 303, f"sign-in: {status}"
        self.csrf = self.field(self.get("/account"))

    @staticmethod
    def field(html):
        return re.search(r'name="_csrf" value="([^"]+)"', html).group(1)

    def ask(self, method, path, body=None):
        headers = {"cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), "accept-language": "en"}
        if body is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        for cookie in answer.headers.get_all("set-cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            if name in (SESSION, CSRF):
                self.cookies[name] = value
        return answer.status, answer.headers.get("location"), text

    def get(self, path):
        status, _, text = self.ask("GET", path)
        assert status == 200, f"{path}: {status}"
        return text

    def post(self, path, fields):
        return self.ask("POST", path, urllib.parse.urlencode([*fields, ("_csrf", self.csrf)]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", required=True)
    parser.add_argument("--sign-ins", type=pathlib.Path, required=True)
    parser.add_argument("--limit-seconds", type=float, default=5)
    options = parser.parse_args()
    person = next(p for p in json.loads(options.sign_ins.read_text()) if p["role"] == "operator-deployer")
    browser = Browser(options.site, person["email"], person["password"])
    offers = re.findall(r'name="license" value="([^"]+)".*?<option value="([^"]+)"', browser.get("/mine/deploy"), re.S)
    nodes = sorted(set(re.findall(r'href="/mine/nodes/(nod_[0-9a-f]+)"', browser.get("/mine/nodes"))))
    assert offers and nodes, "the demo has no licences or nodes"
    took = []
    for license_id, release_id in offers:
        for node in nodes:
            begin = time.perf_counter()
            status, place, _ = browser.post("/mine/deploy", [("license", license_id), ("release", release_id), ("node", node)])
            if status != 303:
                continue  # it is there already
            while 'state-installed"' not in browser.get(f"{place}/fragment"):
                assert time.perf_counter() - begin < 60, f"{place} does not run after a minute"
                time.sleep(0.02)
            took.append(time.perf_counter() - begin)
    if not took:
        sys.exit("nothing could be deployed")
    worst = max(took)
    word = "ok" if worst < options.limit_seconds else "MISSED"
    name = f'"start" to "running", slowest of {len(took)}'
    print(f"{name:<46} {worst:10.2f} {'s':<6} (limit < {options.limit_seconds:g})  {word}")
    print(f"{'the same, median':<46} {sorted(took)[len(took) // 2]:10.2f} s")
    sys.exit(0 if word == "ok" else 1)


if __name__ == "__main__":
    main()
