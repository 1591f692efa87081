#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An oslo.messaging server that answers list_providers with what it was given.

usage: echo_server.py URL EXCHANGE TOPIC SERVER RESULT_FILE

It does no work of its own: what it costs is what any Python service costs that
takes a call and answers it. It ends with its input.
"""
import json
import sys

from oslo_config import cfg
import oslo_messaging
from oslo_messaging._metrics import client as metrics


class Endpoint(object):
    target = oslo_messaging.Target(version='1.0')

    def __init__(self, result):
        self.result = result

    def list_providers(self, ctxt, **arguments):
        return self.result


def main():
    url, exchange, topic, name, result = sys.argv[1:]
    with open(result) as f:
        endpoint = Endpoint(json.load(f))
    conf = cfg.ConfigOpts()
    conf.register_opts(metrics.oslo_messaging_metrics,
                       group='oslo_messaging_metrics')
    conf([], project='bench')
    transport = oslo_messaging.get_rpc_transport(conf, url)
    target = oslo_messaging.Target(exchange=exchange, topic=topic, server=name)
    server = oslo_messaging.get_rpc_server(
        transport, target, [endpoint], executor='threading',
        access_policy=oslo_messaging.rpc.dispatcher.DefaultRPCAccessPolicy)
    server.start()
    sys.stdin.read()
    server.stop()
    server.wait()
    transport.cleanup()


if __name__ == '__main__':
    main()
