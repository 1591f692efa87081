"""A Python notifier: publishes what the test writes to its input.

usage: notifier.py URL TOPIC[,TOPIC...] [OPTION=VALUE ...]
A command is {"op": PRIORITY, "method": EVENT_TYPE, "kw": PAYLOAD,
"ctxt": CONTEXT}; each is answered with a line.
"""
# SPDX-License-Identifier: Apache-2.0
import sys

import oslo_messaging as om

import peer


def main():
    url, topics = sys.argv[1:3]
    _, transport = peer.transport(url, sys.argv[3:],
                                  get=om.get_notification_transport)
    notifier = om.Notifier(transport, publisher_id='py.host',
                           driver='messagingv2', topics=topics.split(','))
    peer.say('ready')
    for c in peer.commands():
        getattr(notifier, c['op'])(c.get('ctxt', {}), c['method'],
                                   c.get('kw', {}))
        peer.say('sent')
    transport.cleanup()


main()
