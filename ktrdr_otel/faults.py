"""How a fault of observing is told: to the log, and to nobody else.

Not by `logger.exception`: that formats the whole chain, and an exception of the observed program may be in it, whose
own code runs when it is formatted, and may raise (`test_an_exception_that_cannot_be_formatted_is_kept_all_the_same`).
"""

import contextlib
import logging
import sys
import traceback
from typing import Final

from ktrdr_otel.errors import message_of

_DEEPEST: Final = 12  # frames


def report(logger: logging.Logger, what: str, *arguments: object) -> None:
    """The log says what went wrong, with the exception that is being handled and where it was; never raises."""
    fault = sys.exception()
    assert fault is not None
    # A handler or filter of the program's that raises is the one thing that nobody is left to tell of.
    with contextlib.suppress(Exception):
        frames = "".join(traceback.format_tb(fault.__traceback__, -_DEEPEST))
        logger.error(
            f"{what}: %s: %s\n%s", *arguments, type(fault).__name__, message_of(fault), frames.rstrip()
        )
