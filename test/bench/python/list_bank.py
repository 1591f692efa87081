#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Print how many seconds, and seconds of CPU time, a listing of a bank takes.

usage: list_bank.py BANK PROVIDER COUNT

It does what Karbor's Python code does for a listing, and nothing else: walk the
index of the provider, then read index.json of one checkpoint after the other.
"""
import json
import os
import sys
import time


def main():
    bank, provider, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    begin, used = time.monotonic(), time.process_time()
    entries = []
    for _, _, files in os.walk(os.path.join(bank, 'indices/by-provider', provider)):
        entries += files
    entries.sort()
    checkpoints = []
    for entry in entries:
        name = entry.split('@', 1)[1]
        with open(os.path.join(bank, 'checkpoints', name, 'index.json')) as f:
            checkpoints.append(json.load(f))
    text = json.dumps(checkpoints)
    seconds, used = time.monotonic() - begin, time.process_time() - used
    if len(checkpoints) != count or not text:
        sys.exit('%d checkpoints instead of %d' % (len(checkpoints), count))
    print('%.6f %.6f' % (seconds, used))


if __name__ == '__main__':
    main()
