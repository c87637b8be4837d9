"""Ids of operations; ids of traces and spans, from a generator of our own.

The SDK's default draws from Python's global `random`: observing a seeded program would change its results, and two
runs with one seed would have the same ids.
"""

import random
import uuid
from typing import Final

from ktrdr_otel.context import when_forked
from ktrdr_otel.errors import SettingsError

_LONGEST_OPERATION_ID: Final = 200  # characters

_random = random.Random()  # noqa: S311 # ids, not secrets
when_forked(_random.seed)


def new_trace_id() -> int:
    """A fresh 128-bit trace id, never zero."""
    return _random.getrandbits(128) or 1


def new_span_id() -> int:
    """A fresh 64-bit span id, never zero."""
    return _random.getrandbits(64) or 1


def new_operation_id(operation_type: str) -> str:
    """A fresh id that begins with the type, as far as an id can."""
    kind = "".join(filter(str.isprintable, operation_type))
    return f"{kind[:64]}-{uuid.uuid4().hex[:12]}"


def check_operation_id(operation_id: str) -> None:
    """Raises `SettingsError` unless it is 1 to 200 printable characters: it stands in tables, URLs and metrics."""
    if not (0 < len(operation_id) <= _LONGEST_OPERATION_ID and operation_id.isprintable()):
        shown = ascii(operation_id if len(operation_id) < 50 else operation_id[:50] + "...")
        raise SettingsError(
            f"operation id {shown}: give it 1 to {_LONGEST_OPERATION_ID} printable characters"
        )
