"""Trace and span ids from a generator of our own.

The SDK's default draws from Python's global `random`: observing a seeded program would change its results, and two
runs with one seed would have the same ids.
"""

import random

from ktrdr_otel.context import when_forked

_random = random.Random()  # noqa: S311 # ids, not secrets
when_forked(_random.seed)


def new_trace_id() -> int:
    """A fresh 128-bit trace id, never zero."""
    return _random.getrandbits(128) or 1


def new_span_id() -> int:
    """A fresh 64-bit span id, never zero."""
    return _random.getrandbits(64) or 1
