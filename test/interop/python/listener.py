"""A Python listener for notifications: writes a line for each.

usage: listener.py URL TOPIC[,TOPIC...] POOL|- [OPTION=VALUE ...]
An event whose type is "again" is requeued once. It ends with its input.
"""
# SPDX-License-Identifier: Apache-2.0
import sys

import oslo_messaging as om

import peer


class Endpoint(object):
    def __init__(self):
        self.seen = set()

    def _take(self, priority, ctxt, publisher_id, event_type, payload,
              metadata):
        peer.say({'priority': priority, 'ctxt': ctxt,
                  'publisher_id': publisher_id, 'event_type': event_type,
                  'payload': payload, 'metadata': metadata})
        if event_type == 'again' and event_type not in self.seen:
            self.seen.add(event_type)
            return om.NotificationResult.REQUEUE

    def info(self, *args):
        return self._take('info', *args)

    def warn(self, *args):
        return self._take('warn', *args)

    def error(self, *args):
        return self._take('error', *args)


def main():
    url, topics, pool = sys.argv[1:4]
    _, transport = peer.transport(url, sys.argv[4:],
                                  get=om.get_notification_transport)
    listener = om.get_notification_listener(
        transport, [om.Target(topic=t) for t in topics.split(',')],
        [Endpoint()], executor='threading', allow_requeue=True,
        pool=None if pool == '-' else pool)
    listener.start()
    peer.say('ready')
    for _ in peer.commands():
        pass
    listener.stop()
    listener.wait()
    transport.cleanup()


main()
