"""Calls from oslo.messaging until the input ends, a JSON line for each.

usage: load.py SETTINGS

SETTINGS is a JSON object: url, topic, prefix, methods, timeout, callers, pause
and every (seconds), options of [oslo_messaging_rabbit]. On the input, "pause"
and "run" hold and resume the callers. Once nothing is under way after a pause,
and at the end, a line tells how many calls each caller has begun.
"""
# SPDX-License-Identifier: Apache-2.0
import json
import sys
import threading
import time

from oslo_config import cfg
import oslo_messaging as om
from oslo_messaging._metrics import client as metrics


class Load:
    def __init__(self, client, settings):
        self.client = client
        self.settings = settings
        self.sent = [0] * settings['callers']
        self.changed = threading.Condition()
        self.running = True
        self.over = False
        self.busy = 0
        self.writing = threading.Lock()

    def write(self, line):
        with self.writing:
            print(json.dumps(line), flush=True)

    def change(self, running, over=False):
        with self.changed:
            self.running, self.over = running, over
            self.changed.notify_all()

    def settled(self):
        with self.changed:
            self.changed.wait_for(lambda: not self.busy)
            self.write({'state': 'idle', 'sent': list(self.sent)})

    def caller(self, i):
        methods = self.settings['methods']
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.running or self.over)
                if self.over:
                    return
                self.busy += 1
                method = methods[self.sent[i] % len(methods)]
                self.sent[i] += 1
                mine = '%s%d-%d' % (self.settings['prefix'], i, self.sent[i])
            begun = time.time()
            self.call(mine, method, begun)
            with self.changed:
                self.busy -= 1
                self.changed.notify_all()
                rest = max(self.settings['pause'],
                           begun + self.settings['every'] - time.time())
                self.changed.wait_for(
                    lambda: self.over or not self.running, timeout=rest)

    def call(self, mine, method, begun):
        line = {'id': mine, 'method': method, 'begun': begun}
        try:
            if self.client.call({}, method, id=mine) != mine:
                line['error'] = 'another answer'
        except om.MessagingTimeout:
            line['error'] = 'timeout'
        except Exception as e:  # the test judges
            line['error'] = type(e).__name__
        line['ended'] = time.time()
        self.write(line)


def main():
    settings = json.loads(sys.argv[1])
    conf = cfg.ConfigOpts()
    conf.register_opts(metrics.oslo_messaging_metrics,
                       group='oslo_messaging_metrics')
    conf([], project='load')
    transport = om.get_rpc_transport(conf, settings['url'])
    for name, value in settings['options'].items():
        try:
            conf.set_override(name, value, group='oslo_messaging_rabbit')
        except cfg.NoSuchOptError:
            pass  # of later releases
    client = om.RPCClient(transport, om.Target(topic=settings['topic']),
                          timeout=settings['timeout'])
    load = Load(client, settings)
    callers = [threading.Thread(target=load.caller, args=(i,))
               for i in range(settings['callers'])]
    for c in callers:
        c.start()
    for word in sys.stdin:
        load.change(word.strip() == 'run')
        if word.strip() == 'pause':
            load.settled()
    load.change(False, over=True)
    for c in callers:
        c.join()
    load.settled()
    transport.cleanup()


main()
