#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Waits for a service's parts and makes what tests expect to be there: seed.py AUTH_URL PASSWORD cinder|neutron|nova|manila SECONDS.

Repeating it changes nothing.
"""
import sys
import time

from keystoneauth1 import exceptions
from keystoneauth1 import session
from keystoneauth1.identity import v3

AUTH_URL, PASSWORD, SERVICE, SECONDS = sys.argv[1:]
PATIENCE = int(SECONDS)
LOGIN = session.Session(auth=v3.Password(
    auth_url=AUTH_URL, username="admin", password=PASSWORD, project_name="admin",
    user_domain_name="Default", project_domain_name="Default"), timeout=60)


class Service:
    def __init__(self, kind, headers=None):
        self.url = LOGIN.get_endpoint(service_type=kind, interface="public")
        self.headers = headers or {}

    def get(self, path):
        return LOGIN.get(self.url + path, headers=self.headers).json()

    def post(self, path, body):
        return LOGIN.post(self.url + path, headers=self.headers, json=body).json()

    def wait_for(self, what, satisfied):
        """Asks until satisfied() is true. A service that is just starting may refuse or fail meanwhile."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if satisfied():
                    return
                why = "not yet"
            except (exceptions.ConnectFailure, exceptions.HttpError) as error:
                why = error
            if time.monotonic() > end:
                sys.exit("%s: %s after %d s: %s" % (SERVICE, what, PATIENCE, why))
            time.sleep(0.5)

    def wait_for_daemons(self, path, *binaries):
        def up():
            return {s["binary"] for s in self.get(path)["services"] if s["state"] == "up"} >= set(binaries)
        self.wait_for("no " + ", ".join(binaries), up)


def cinder():
    service = Service("volumev3")
    service.wait_for_daemons("/os-services", "cinder-scheduler", "cinder-volume", "cinder-backup")
    if not any(t["name"] == "file" for t in service.get("/types")["volume_types"]):
        service.post("/types", {"volume_type": {"name": "file", "extra_specs": {"volume_backend_name": "file"}}})


def neutron():
    service = Service("network")
    service.wait_for("no answer", lambda: "networks" in service.get("/v2.0/networks?fields=id"))
    networks = service.get("/v2.0/networks?name=public")["networks"]
    network = networks[0] if networks else service.post("/v2.0/networks", {"network": {
        "name": "public", "router:external": True,
        "provider:network_type": "flat", "provider:physical_network": "public"}})["network"]
    if not network["subnets"]:
        service.post("/v2.0/subnets", {"subnet": {
            "network_id": network["id"], "name": "public", "ip_version": 4, "cidr": "203.0.113.0/24", "enable_dhcp": False}})


def nova():
    service = Service("compute")
    service.wait_for_daemons("/os-services", "nova-conductor", "nova-scheduler", "nova-compute")
    service.wait_for("no hypervisor", lambda: service.get("/os-hypervisors")["hypervisors"])
    there = {f["name"] for f in service.get("/flavors")["flavors"]}
    for name, ram, disk in (("m1.nano", 64, 1), ("m1.tiny", 512, 1), ("m1.small", 2048, 20)):
        if name not in there:
            service.post("/flavors", {"flavor": {"name": name, "ram": ram, "disk": disk, "vcpus": 1}})


def manila():
    service = Service("sharev2", {"X-OpenStack-Manila-API-Version": "2.65"})
    service.wait_for_daemons("/services", "manila-scheduler", "manila-share")
    if not any(t["name"] == "default" for t in service.get("/types")["share_types"]):
        service.post("/types", {"share_type": {"name": "default", "share_type_access:is_public": True, "extra_specs": {
            "driver_handles_share_servers": "False", "snapshot_support": "True",
            "create_share_from_snapshot_support": "True", "revert_to_snapshot_support": "True"}}})


{"cinder": cinder, "neutron": neutron, "nova": nova, "manila": manila}[SERVICE]()
