"""Calls the service as karbor-api does, and says which errors arrive.

usage: client.py URL EXCHANGE TOPIC
Reads one JSON object a line, {"method", "args", "context", "namespace"}, and
writes one a line: {"result"} or what the error is.
"""
# SPDX-License-Identifier: Apache-2.0
import json
import sys

from oslo_config import cfg
import oslo_messaging as om
from oslo_messaging._metrics import client as metrics

from karbor import exception


def main():
    url, exchange, topic = sys.argv[1:]
    conf = cfg.ConfigOpts()
    conf.register_opts(metrics.oslo_messaging_metrics,
                       group='oslo_messaging_metrics')
    conf([], project='golden')
    om.set_transport_defaults(exchange)
    transport = om.get_rpc_transport(
        conf, url, allowed_remote_exmods=[exception.__name__])
    target = om.Target(topic=topic, version='1.0')
    client = om.RPCClient(transport, target, timeout=30)
    for line in sys.stdin:
        c = json.loads(line)
        prepared = client
        if c.get('namespace'):
            prepared = client.prepare(namespace=c['namespace'])
        try:
            answer = {'result': prepared.call(
                c.get('context') or {}, c['method'], **c['args'])}
        except Exception as e:  # every error is for the test to judge
            answer = {
                'class': type(e).__name__, 'module': type(e).__module__,
                'known': isinstance(e, exception.KarborException),
                'code': getattr(e, 'code', None),
                'msg': getattr(e, 'msg', str(e)), 'text': str(e),
                'rebuilt': getattr(e, 'rebuilt', None)}
        print(json.dumps(answer), flush=True)
    transport.cleanup()


main()
