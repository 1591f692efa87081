#!/usr/bin/python3
"""Fills Keystone with what the tests log in to: identity.py AUTH_URL PASSWORD <CATALOGUE. Repeating it changes nothing.

A line of the catalogue is USER NAME TYPE URL. What Keystone has and these lines have not is deleted from it: the service
does not run, and a client would wait for it.
"""
import sys

from keystoneauth1 import session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client

AUTH_URL, PASSWORD = sys.argv[1:]
CATALOGUE = [line.split() for line in sys.stdin]
REGION = "RegionOne"
ROLES = ["admin", "member", "reader", "service", "swiftoperator", "ResellerAdmin"]
PROJECTS = ["admin", "demo", "alt_demo", "service"]
GRANTS = [  # user, project, role
    ("admin", "admin", "admin"), ("admin", "demo", "admin"),
    ("demo", "demo", "member"), ("alt_demo", "alt_demo", "member"),
] + [(user, "service", role) for user in ["karbor"] + [c[0] for c in CATALOGUE[1:]] for role in ("admin", "service")]


def main():
    auth = v3.Password(auth_url=AUTH_URL, username="admin", password=PASSWORD, project_name="admin",
                       user_domain_name="Default", project_domain_name="Default")
    keystone = client.Client(session=session.Session(auth=auth, timeout=60), endpoint_override=AUTH_URL)

    def ensure(manager, names, **fields):
        """The objects of that manager by name, missing ones made."""
        have = {x.name: x for x in manager.list()}
        for name in names:
            if name not in have:
                have[name] = manager.create(name, **fields)
        return have

    roles = ensure(keystone.roles, ROLES)
    projects = ensure(keystone.projects, PROJECTS, domain="default")
    users = ensure(keystone.users, sorted({g[0] for g in GRANTS}), domain="default", password=PASSWORD)
    for user, project, role in GRANTS:
        keystone.roles.grant(roles[role], user=users[user], project=projects[project])

    services = {(s.name, s.type): s for s in keystone.services.list()}
    endpoints = {(e.service_id, e.interface): e for e in keystone.endpoints.list()}
    for known, service in services.items():
        if known not in [(name, kind) for _, name, kind, _ in CATALOGUE]:
            keystone.services.delete(service)
    for _, name, kind, url in CATALOGUE:
        service = services.get((name, kind)) or keystone.services.create(name, type=kind)
        for interface in ("public", "internal", "admin"):
            endpoint = endpoints.get((service.id, interface))
            if endpoint is None:
                keystone.endpoints.create(service, url, interface=interface, region=REGION)
            elif endpoint.url != url:  # the port block moved
                keystone.endpoints.update(endpoint, url=url)


main()
