"""Which operation and checkpoint a piece of code runs in, and the inbox into which their events go.

Producers only ever append to the inbox (a deque, atomic): a lock here could deadlock, since a garbage-
collected generator that holds a checkpoint ends it inside whatever critical section happens to allocate
(`test_generator_collected_inside_a_drain` proves it).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry.trace import Tracer

from ktrdr_otel.cancellation import CancellationToken

KEPT_LOGS: Final = 200  # log records per operation; the oldest go first

if TYPE_CHECKING:
    from ktrdr_otel.checkpoint import Checkpoint
    from ktrdr_otel.operations.logs import LogInbox
    from ktrdr_otel.tracking import Track


class Happening(IntEnum):
    """What has happened to something that is no checkpoint."""

    SPAN_STARTED = 1  # a span that no checkpoint made, perhaps with our attributes
    SPAN_ENDED = 2
    LOOP_ENDED = 3


# A checkpoint at its start and once more at its end (it knows when: the less that waits, the less the garbage collector
# has to walk), or (what, the span or loop that it happened to, CLOCK_MONOTONIC ns).
Inbox = deque["Checkpoint | tuple[Happening, Any, int]"]


@dataclass(eq=False, slots=True)
class ActiveOperation:
    """An operation that runs in this process, as its checkpoints need it."""

    operation_id: str
    token: CancellationToken
    tracer: Tracer
    inbox: Inbox
    root: "Checkpoint | None" = None  # set when its span has been opened
    loops: "list[Track[Any]] | None" = None  # read by the pump while they run
    logs: "LogInbox" = field(default_factory=lambda: deque(maxlen=KEPT_LOGS))  # read by the store's thread
    listeners: list[Any] = field(default_factory=list)  # told by the pump, in order
    drain: Callable[[], None] = lambda: None  # all that has happened is told
    ended: bool = False


class Sighting(threading.local):
    """What the thread's checkpoint is doing, for the span processor that is called in between."""

    opening: "Checkpoint | None" = None
    closing: "Checkpoint | None" = None


sighting = Sighting()
current_checkpoint: "ContextVar[Checkpoint | None]" = ContextVar("ktrdr_otel_checkpoint", default=None)

_active: dict[str, ActiveOperation] = {}
_forget_hooks: list[Callable[[], None]] = []
_fork_generation = 0


def activate(operation: ActiveOperation) -> None:
    """The operation runs; checkpoints without one of their own may join it."""
    _active[operation.operation_id] = operation


def deactivate(operation: ActiveOperation) -> None:
    """The operation has ended; a checkpoint that still refers to it is a plain span from now on."""
    operation.ended = True
    _active.pop(operation.operation_id, None)


def active_operations() -> Mapping[str, ActiveOperation]:
    """The operations that run in this process, by id."""
    return _active


def sole_operation() -> ActiveOperation | None:
    """The only operation that runs in this process, None if there is none or more than one."""
    if len(_active) != 1:
        return None
    return next(iter(list(_active.values())), None)


def current_operation() -> ActiveOperation | None:
    """The operation of the innermost open checkpoint, else the only one that runs, else None."""
    checkpoint = current_checkpoint.get()
    if checkpoint is not None and checkpoint.operation is not None and not checkpoint.operation.ended:
        return checkpoint.operation
    return sole_operation()


def fork_generation() -> int:
    """Rises in each forked child: what was opened under another generation belongs to the parent."""
    return _fork_generation


def when_forked(forget: Callable[[], None]) -> None:
    """`forget` is called in each child that this process forks from now on."""
    _forget_hooks.append(forget)


def _start_afresh_in_child() -> None:
    global _fork_generation  # the process's own state, changed in this one place
    _fork_generation += 1
    for operation in _active.values():
        operation.ended = True
    _active.clear()
    sighting.opening = sighting.closing = None
    if current_checkpoint.get() is not None:
        current_checkpoint.set(None)
        otel_context.attach(otel_context.Context())
    for forget in _forget_hooks:
        forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh_in_child)
