"""Pushes and pulls files through the Python oras client: in chunks, with Basic and with Bearer credentials."""
import filecmp
import os
import sys

import oras.client

host, repository, user, token, folder = sys.argv[1:]
os.chdir(folder)
with open("config.json", "w") as file:
    file.write("{}")
for backend, tag in (("basic", "1"), ("token", "2")):
    client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend=backend)
    client.auth.set_basic_auth(user, token)
    target = f"{host}/{repository}:{tag}"
    with open("model.onnx", "wb") as file:
        file.write(os.urandom(5 * 1024 * 1024 + 17))
    answer = client.push(
        target=target,
        files=["model.onnx:application/vnd.cncf.model.weight.v1.raw"],
        manifest_config="config.json:application/vnd.test.config.v1+json",
        disable_path_validation=True,
        do_chunked=True,
        chunk_size=2 * 1024 * 1024,
    )
    assert answer.status_code == 201, answer.text
    pulled = client.pull(target=target, outdir=f"out-{tag}", overwrite=True)
    assert len(pulled) == 1 and filecmp.cmp("model.onnx", pulled[0], shallow=False), pulled
    assert tag in client.get_tags(target), client.get_tags(target)
    assert client.get_manifest(target)["config"]["mediaType"] == "application/vnd.test.config.v1+json"
try:
    client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend="basic")
    client.auth.set_basic_auth(user, "pht_not-a-token")
    client.pull(target=f"{host}/{repository}:1", outdir="out-x")
    raise SystemExit("a wrong token was taken")
except ValueError:
    pass
print("ok")
