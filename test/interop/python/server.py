"""A Python server with the methods of goserver.

usage: server.py URL TOPIC SERVER [OPTION=VALUE ...]
It writes a line for each cast that it gets and ends with its input.
"""
# SPDX-License-Identifier: Apache-2.0
import sys
import time

import oslo_messaging as om

import common
import peer


class Endpoint(object):
    target = om.Target(version='1.5')

    def __init__(self, name):
        self.name = name

    def echo(self, ctxt, **kw):
        return {'ctxt': ctxt, 'kw': kw}

    def who(self, ctxt):
        return self.name

    def none(self, ctxt):
        return None

    def slow(self, ctxt, secs):
        time.sleep(secs)
        return 'done'

    def note(self, ctxt, **kw):
        peer.say({'note': kw, 'server': self.name})

    def fail(self, ctxt, msg):
        raise ValueError(msg)

    def failmy(self, ctxt):
        raise common.MyErr('custom failure', code=418, extra='e')


class Backup(object):
    target = om.Target(namespace='backup', version='2.0')

    def run(self, ctxt, x):
        return x * 2


def main():
    url, topic, name = sys.argv[1:4]
    _, transport = peer.transport(url, sys.argv[4:])
    server = om.get_rpc_server(
        transport, om.Target(topic=topic, server=name),
        [Endpoint(name), Backup()], executor='threading',
        access_policy=om.rpc.dispatcher.DefaultRPCAccessPolicy)
    server.start()
    peer.say('ready')
    for _ in peer.commands():
        pass
    server.stop()
    server.wait()
    transport.cleanup()


main()
