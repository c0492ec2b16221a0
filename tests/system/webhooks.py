"""Checks signed messages with the reference library of Standard Webhooks: lines of JSON {secret, headers, body, good} come in."""
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    case = json.loads(line)
    try:
        Webhook(case["secret"]).verify(case["body"], case["headers"])
        good = True
    except WebhookVerificationError as e:
        good = False
        print(e, file=sys.stderr)
    assert good == case["good"], case
print("ok")
