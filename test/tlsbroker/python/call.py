"""One call from oslo.messaging: prints the double of 21.

usage: call.py URL TOPIC TIMEOUT
"""
# SPDX-License-Identifier: Apache-2.0
import sys

from oslo_config import cfg
import oslo_messaging as om
from oslo_messaging._metrics import client as metrics


def main():
    url, topic, timeout = sys.argv[1:4]
    conf = cfg.ConfigOpts()
    conf.register_opts(metrics.oslo_messaging_metrics,
                       group='oslo_messaging_metrics')
    conf([], project='tls')
    transport = om.get_rpc_transport(conf, url)
    client = om.RPCClient(transport, om.Target(topic=topic),
                          timeout=int(timeout), retry=1)
    print(client.call({}, 'double', x=21))


main()
