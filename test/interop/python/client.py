"""A Python client: runs the calls that the test writes to its input.

usage: client.py URL TOPIC [OPTION=VALUE ...]
A command is {"op": "call"|"cast", "method": ..., "kw": {}, "ctxt": {},
"prepare": {}}; the answer is {"result": ...} or {"error": {...}}.
"""
# SPDX-License-Identifier: Apache-2.0
import sys

import oslo_messaging as om

import peer


def main():
    url, topic = sys.argv[1:3]
    _, transport = peer.transport(url, sys.argv[3:])
    client = om.RPCClient(transport, om.Target(topic=topic))
    peer.say('ready')
    for c in peer.commands():
        prepared = client.prepare(**c.get('prepare', {}))
        try:
            op = getattr(prepared, c['op'])
            result = op(c.get('ctxt', {}), c['method'], **c.get('kw', {}))
            peer.say({'result': result})
        except Exception as e:  # every error is for the test to judge
            peer.say({'error': {
                'class': type(e).__name__, 'module': type(e).__module__,
                'text': str(e), 'code': getattr(e, 'code', None),
                'kwargs': getattr(e, 'kwargs', None),
                'exc_type': getattr(e, 'exc_type', None),
                'value': getattr(e, 'value', None)}})
    transport.cleanup()


main()
