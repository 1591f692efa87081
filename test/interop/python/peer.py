"""What the Python peers share: configuration and a transport."""
# SPDX-License-Identifier: Apache-2.0
import json
import sys

from oslo_config import cfg
import oslo_messaging as om
from oslo_messaging._metrics import client as metrics


def transport(url, options=(), exmods=('common',), get=om.get_rpc_transport):
    """Makes a transport with its own configuration."""
    conf = cfg.ConfigOpts()
    conf.register_opts(metrics.oslo_messaging_metrics,
                       group='oslo_messaging_metrics')
    conf([], project='interop')
    # The driver reads the exchange while it is made.
    for option in options:
        if option.startswith('control_exchange='):
            om.set_transport_defaults(option.split('=', 1)[1])
    t = get(conf, url, allowed_remote_exmods=list(exmods))
    for option in options:
        name, value = option.split('=', 1)
        if name != 'control_exchange':
            conf.set_override(name, value, group='oslo_messaging_rabbit')
    return conf, t


def say(value):
    """Writes one JSON line for the test to read.

    Line and end go out in one write: print() writes them apart, and endpoints
    speak from several threads.
    """
    sys.stdout.write(json.dumps(value, sort_keys=True) + '\n')
    sys.stdout.flush()


def commands():
    """Yields the JSON lines that the test writes."""
    for line in sys.stdin:
        yield json.loads(line)
