#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""brieflogin.py CONFIG USER PROJECT SECONDS: logs in at a Keystone of its own, which has the keys and the database of the
one that CONFIG describes, and whose tokens end after so many seconds. Prints the token and Keystone's answer as JSON."""
import json
import os
import sys

config, user, project, seconds = sys.argv[1:]
os.environ["OS_KEYSTONE_CONFIG_FILES"] = config
sys.argv = sys.argv[:1]

import webob  # noqa: E402
from keystone.server import wsgi  # noqa: E402
from oslo_config import cfg  # noqa: E402

application = wsgi.initialize_public_application()
cfg.CONF.set_override("expiration", int(seconds), group="token")
domain = {"name": "Default"}
request = webob.Request.blank("/v3/auth/tokens", method="POST", content_type="application/json", body=json.dumps({"auth": {
    "identity": {"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": "password"}}},
    "scope": {"project": {"name": project, "domain": domain}},
}}).encode())
answer = request.get_response(application)
if answer.status_int != 201:
    sys.exit(answer.text)
print(json.dumps({"token": answer.headers["X-Subject-Token"], "body": answer.json_body}), flush=True)
os._exit(0)  # the token gets no younger by an orderly end
