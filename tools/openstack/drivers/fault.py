# SPDX-License-Identifier: Apache-2.0
"""Failures and delays that a test asks for in the name of a resource, or in its metadata under the key "fault".

The text is searched for words of the form fail-STEP and slow-STEP-SECONDS, wherever they stand: a volume named
"db fail-snapshot slow-delete-3" cannot be snapshotted and takes three seconds to go. Which steps there are, the drivers
say.
"""
import re
import time

WORD = re.compile(r"(fail|slow)-([a-z]+)(?:-(\d+))?")


class Asked(Exception):
    """A failure that a test asked for."""


def provoke(step, *texts):
    """Waits, then raises Asked, if one of the texts (None is no text) asks for that at this step."""
    words = [w for text in texts for w in WORD.findall(text or "")]
    time.sleep(sum(int(seconds or 1) for kind, at, seconds in words if (kind, at) == ("slow", step)))
    if any((kind, at) == ("fail", step) for kind, at, _ in words):
        raise Asked("asked to fail at step %s" % step)
