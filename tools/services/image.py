#!/usr/bin/python3
"""Uploads the public image "tiny" (1 MiB of random bytes) unless it is there: image.py AUTH_URL PASSWORD."""
import os
import sys

import requests

AUTH_URL, PASSWORD = sys.argv[1:]
MIB = 1 << 20


def call(method, url, **kw):
    reply = requests.request(method, url, timeout=60, **kw)
    reply.raise_for_status()
    return reply


def main():
    default = {"id": "default"}
    login = call("POST", AUTH_URL + "/auth/tokens", json={"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": default, "password": PASSWORD}}},
        "scope": {"project": {"name": "admin", "domain": default}}}})
    headers = {"X-Auth-Token": login.headers["X-Subject-Token"]}
    glance = next(e["url"] for s in login.json()["token"]["catalog"] if s["type"] == "image"
                  for e in s["endpoints"] if e["interface"] == "public") + "/v2/images"
    images = call("GET", glance, params={"name": "tiny"}, headers=headers).json()["images"]
    image = images[0] if images else call("POST", glance, headers=headers, json={
        "name": "tiny", "disk_format": "raw", "container_format": "bare", "visibility": "public"}).json()
    if image["status"] == "queued":
        call("PUT", "%s/%s/file" % (glance, image["id"]), data=os.urandom(MIB),
             headers={**headers, "Content-Type": "application/octet-stream"})


main()
