#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Print how many empty tasks a second taskflow's parallel engine runs.

usage: taskflow_bench.py [TASKS [WIDTH [WORKERS]]]

The flow is that of BenchmarkRun: WIDTH chains of tasks beside each other. Only
the run is timed, not the building and compiling of the flow.
"""
import sys
import time

from taskflow import engines
from taskflow import task
from taskflow.patterns import graph_flow


class Empty(task.Task):
    def execute(self):
        return None


def main():
    given = [int(a) for a in sys.argv[1:]]
    tasks, width, workers = given + [1000, 10, 2][len(given):]
    flow = graph_flow.Flow('bench')
    made = []
    for i in range(tasks):
        made.append(Empty(name='t%d' % i))
        flow.add(made[i])
        if i >= width:
            flow.link(made[i - width], made[i])
    engine = engines.load(flow, engine='parallel', executor='threads',
                          max_workers=workers)
    engine.compile()
    engine.prepare()
    engine.validate()
    begin = time.monotonic()
    engine.run()
    print('%.0f' % (tasks / (time.monotonic() - begin)))


if __name__ == '__main__':
    main()
