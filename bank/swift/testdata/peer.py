# SPDX-License-Identifier: Apache-2.0
"""Reads a bank with python-swiftclient, as karbor's bank plugin does, and
writes objects for the other side. Prints what it read as JSON."""
import json
import sys

import swiftclient

auth_url, container = sys.argv[1:3]
conn = swiftclient.Connection(
    authurl=auth_url, auth_version='3', user='karbor', key='password', tenant_name='service',
    os_options={'user_domain_name': 'Default', 'project_domain_name': 'Default'}, retries=3)

read = {}
for entry in conn.get_container(container, full_listing=True)[1]:
    headers, body = conn.get_object(container, entry['name'])
    read[entry['name']] = [headers.get('x-object-meta-serialized'), body.decode('latin-1')]

for name, body, serialized in (
        ('/checkpoints/py/index.json', '{"a": [1, "\\u00fc"]}', True),
        ('/checkpoints/py/resource-data/r@1/status', 'available', False),
        ('/checkpoints/py/resource-data/r@1/data_1', '"\\u00fc"', True)):
    conn.put_object(container, name, body, headers={'x-object-meta-serialized': str(serialized)})

print(json.dumps(read))
