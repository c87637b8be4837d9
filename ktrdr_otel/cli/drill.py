"""`ktrdr-otel drill`: a job that really stalls, hangs, freezes or dies, to see what that looks like."""

import ctypes
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import typer

from ktrdr_otel.cli.output import Database, told

logger = logging.getLogger("drill")  # the program's, as far as anyone knows

_STUCK_SECONDS: Final = 18.0
_ITEMS: Final = 40
# Short allowances, where the environment says none: a drill is over in half a minute.
_SHORT: Final = {
    "KTRDR_OTEL_STALL_FLOOR_SECONDS": "3",
    "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "3",
    "KTRDR_OTEL_LEASE_SECONDS": "5",
}


class Drill(StrEnum):
    """What goes wrong."""

    STALL = "stall"
    GIL = "gil"
    WAIT = "wait"
    SLOW = "slow"
    FREEZE = "freeze"
    KILL = "kill"
    FAIL = "fail"


def drill(
    kind: Annotated[Drill, typer.Argument(help="What goes wrong.")],
    database: Database = None,
    operation_id: Annotated[str | None, typer.Option("--operation-id", metavar="ID")] = None,
) -> None:
    """Run a job of half a minute that really stalls, hangs, freezes or dies."""
    for name, value in _SHORT.items():
        os.environ.setdefault(name, value)
    from ktrdr_otel import checkpoint, observe

    named = operation_id or f"drill-{kind.value}-{os.getpid()}"
    shown = f" --database {shlex.quote(database)}" if database else ""
    typer.echo(f"{_WHAT[kind]} In another terminal:")
    typer.echo(f"  ktrdr-otel operations watch {named}{shown}")
    typer.echo(f"  ktrdr-otel operations check {named}{shown}")
    if kind in (Drill.STALL, Drill.GIL, Drill.WAIT):
        typer.echo(f"  ktrdr-otel operations stack {named}{shown}")
    sys.stdout.flush()
    with (
        told(),
        observe(f"drill {kind.value}", operation_type="drill", operation_id=named, database=database) as _,
    ):
        for index in range(1, _ITEMS + 1):
            with checkpoint(
                "indicator_computation",
                symbol="AAPL",
                symbol_index=1,
                total_symbols=1,
                timeframe="1h",
                indicator_name="RSI" if index == _ITEMS // 2 else f"SMA_{index}",
                indicator_index=index,
                total_indicators=_ITEMS,
            ):
                if index == _ITEMS // 2:
                    logger.warning("the bars of AAPL have a gap")
                    _HAPPENS[kind]()
                else:
                    time.sleep(0.2)
    typer.echo(f"operation {named} has completed: ktrdr-otel operations show {named}{shown}")


def stall_busy() -> None:
    """A loop that ends too late."""
    ends_at = time.monotonic() + _STUCK_SECONDS
    while time.monotonic() < ends_at:
        pass


def hold_the_gil() -> None:
    """A native call that lets no Python thread run."""
    if sys.platform == "win32":
        time.sleep(_STUCK_SECONDS)
    else:
        ctypes.PyDLL(None).sleep(int(_STUCK_SECONDS))


def wait_for_nobody() -> None:
    """A read on a pipe into which nobody writes, until it is closed."""
    reading, writing = os.pipe()
    closer = subprocess.Popen(  # noqa: S603 # our own interpreter
        [sys.executable, "-c", f"import time; time.sleep({_STUCK_SECONDS})"], pass_fds=(writing,)
    )
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    closer.wait()


def work_slowly() -> None:
    """Slow, and moving: every step inside its allowance."""
    from ktrdr_otel import checkpoint

    for index in range(1, 7):
        with checkpoint("slow_item", item=f"item {index}", index=index, total=6):
            time.sleep(2.7)


def freeze() -> None:
    """Stopped by a signal; a child continues it."""
    with subprocess.Popen(  # noqa: S603 # our own words
        ["/bin/sh", "-c", f"sleep {_STUCK_SECONDS:.0f}; kill -CONT {os.getpid()}"]
    ):
        os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    """Killed without a word, a second after the last that it said."""
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    """An exception."""
    raise ValueError("the drill was told to fail here")


_WHAT: Final = {
    Drill.STALL: f"One step will take {_STUCK_SECONDS:.0f} s of a busy loop, 3 s are allowed.",
    Drill.GIL: f"A native call will hold the interpreter's lock for {_STUCK_SECONDS:.0f} s.",
    Drill.WAIT: f"One step will wait {_STUCK_SECONDS:.0f} s for somebody who does not come.",
    Drill.SLOW: "Steps will be slow, none beyond its allowance: nothing is stalled.",
    Drill.FREEZE: f"The process will be stopped by a signal for {_STUCK_SECONDS:.0f} s.",
    Drill.KILL: "The process will be killed by SIGKILL in about five seconds.",
    Drill.FAIL: "One step will raise an exception in about four seconds.",
}
_HAPPENS: Final[dict[Drill, Callable[[], None]]] = {
    Drill.STALL: stall_busy,
    Drill.GIL: hold_the_gil,
    Drill.WAIT: wait_for_nobody,
    Drill.SLOW: work_slowly,
    Drill.FREEZE: freeze,
    Drill.KILL: die,
    Drill.FAIL: fail,
}
