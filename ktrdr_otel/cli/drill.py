"""`ktrdr-otel drill`: a job that really stalls, hangs, freezes or dies, to see what that looks like."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import typer

from ktrdr_otel.cli.command import command
from ktrdr_otel.cli.output import CANCELLED, Database, told

logger = logging.getLogger("drill")  # the program's, as far as anyone knows

_STUCK_SECONDS: Final = 18.0
_ITEMS: Final = 40
_ITEM_SECONDS: Final = 0.2
_SLOW_SECONDS: Final = 4.5  # of an item that took `_ITEM_SECONDS` in the run before
_FAILED: Final = 1
# Short allowances, where the environment says none: a drill is over in half a minute.
_SHORT: Final = {
    "KTRDR_OTEL_STALL_FLOOR_SECONDS": "3",
    "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "3",
    "KTRDR_OTEL_LEASE_SECONDS": "5",
}
# Long enough to be looked at while an item is slow.
_SHORT_OF_SLOW: Final = _SHORT | {
    "KTRDR_OTEL_STALL_FLOOR_SECONDS": "8",
    "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "8",
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
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="How long it is stuck, slow or stopped.")
    ] = _STUCK_SECONDS,
) -> None:
    """Run a job of half a minute that really stalls, hangs, freezes or dies."""
    for name, value in (_SHORT_OF_SLOW if kind is Drill.SLOW else _SHORT).items():
        os.environ.setdefault(name, value)
    named = operation_id or f"drill-{kind.value}-{os.getpid()}"
    typer.echo(f"{_WHAT[kind].format(seconds=seconds)} In another terminal:")
    typer.echo(f"  {command('operations watch', named, database=database)}")
    typer.echo(f"  {command('operations check', named, database=database)}")
    if kind in (Drill.STALL, Drill.GIL, Drill.WAIT):
        typer.echo(f"  {command('operations stack', named, database=database)}")
    sys.stdout.flush()
    with told():
        if kind is Drill.SLOW:
            _rehearse(f"{named}-before", database)
        code = _run(kind, named, database, seconds)
    if code:
        raise typer.Exit(code)
    typer.echo(f"operation {named} has completed: {command('operations show', named, database=database)}")


def _run(kind: Drill, named: str, database: str | None, seconds: float) -> int:
    """The exit code of the job; what ended it is two lines, as `train` says it."""
    from ktrdr_otel import CancellationError, checkpoint, observe
    from ktrdr_otel.errors import KtrdrOtelError
    from ktrdr_otel.operations.durations import DRILL

    operation = None
    try:
        with observe(
            f"drill {kind.value}",
            operation_type=DRILL,
            operation_id=named,
            database=database,
            display="auto" if sys.stdout.isatty() else "off",
        ) as operation:
            for index in range(1, _ITEMS + 1):
                goes_wrong = index == _ITEMS // 2
                if goes_wrong and kind is Drill.SLOW:
                    work_slowly(seconds)
                    goes_wrong = False  # the item behind them is as fast as the others
                with checkpoint(
                    "indicator_computation",
                    symbol="AAPL",
                    symbol_index=1,
                    total_symbols=1,
                    timeframe="1h",
                    indicator_name="RSI" if goes_wrong else f"SMA_{index}",
                    indicator_index=index,
                    total_indicators=_ITEMS,
                ):
                    if goes_wrong:
                        logger.warning("the bars of AAPL have a gap")
                        operation.flush()  # who is stuck in the middle of a write keeps all others from writing
                        _HAPPENS[kind](seconds)
                    else:
                        time.sleep(_ITEM_SECONDS)
    except CancellationError as error:
        typer.echo(f"cancelled: {error}", err=True)
        return CANCELLED
    except Exception as error:
        if operation is None and isinstance(error, KtrdrOtelError):
            raise
        if operation is not None:
            typer.echo(operation.failed_at() or operation.last_message(), err=True)
        typer.echo(f"ERROR: {error}", err=True)
        return _FAILED
    return 0


def _rehearse(named: str, database: str | None) -> None:
    """A run before, from which is known how long such an item takes; it is no drill, so that it teaches."""
    from ktrdr_otel import observe

    with observe(
        "drill slow, the run before",
        operation_type="rehearsal",
        operation_id=named,
        database=database,
        display="off",
    ):
        _slow_items(6, _ITEM_SECONDS)


def stall_busy(seconds: float) -> None:
    """A loop that ends too late."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        pass


def hold_the_gil(seconds: float) -> None:
    """A native call that lets no Python thread run."""
    if sys.platform == "win32":
        time.sleep(seconds)
    else:
        ctypes.PyDLL(None).sleep(int(seconds))


def wait_for_nobody(seconds: float) -> None:
    """A read on a pipe into which nobody writes, until it is closed."""
    reading, writing = os.pipe()
    closer = subprocess.Popen(  # noqa: S603 # our own interpreter
        [sys.executable, "-c", f"import time; time.sleep({seconds})"], pass_fds=(writing,)
    )
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    closer.wait()


def work_slowly(seconds: float) -> None:
    """Slow, and moving: every item inside its allowance."""
    _slow_items(max(round(seconds / _SLOW_SECONDS), 1), _SLOW_SECONDS)


def _slow_items(count: int, seconds: float) -> None:
    from ktrdr_otel import checkpoint

    for index in range(1, count + 1):
        # Without a name: all of them are of one kind.
        with checkpoint("slow_item", index=index, total=count):
            time.sleep(seconds)


def freeze(seconds: float) -> None:
    """Stopped by a signal; a child continues it."""
    with subprocess.Popen(  # noqa: S603 # our own words
        ["/bin/sh", "-c", f"sleep {seconds:g}; kill -CONT {os.getpid()}"]
    ):
        os.kill(os.getpid(), signal.SIGSTOP)


def die(_seconds: float) -> None:
    """Killed without a word."""
    if sys.stdout.isatty():
        # The display has hidden the terminal's cursor, and nobody will be there to show it again.
        os.write(1, b"\x1b[?25h")
    os.kill(os.getpid(), signal.SIGKILL)


def fail(_seconds: float) -> None:
    """An exception."""
    raise ValueError("the drill was told to fail here")


_WHAT: Final = {
    Drill.STALL: "One step will take {seconds:g} s of a busy loop, 3 s are allowed.",
    Drill.GIL: "A native call will hold the interpreter's lock for {seconds:g} s.",
    Drill.WAIT: "One step will wait {seconds:g} s for somebody who does not come.",
    Drill.SLOW: "Items will take much longer than in a run before, none beyond its allowance.",
    Drill.FREEZE: "The process will be stopped by a signal for {seconds:g} s.",
    Drill.KILL: "The process will be killed by SIGKILL in about four seconds.",
    Drill.FAIL: "One step will raise an exception in about four seconds.",
}
_HAPPENS: Final[dict[Drill, Callable[[float], None]]] = {
    Drill.STALL: stall_busy,
    Drill.GIL: hold_the_gil,
    Drill.WAIT: wait_for_nobody,
    Drill.FREEZE: freeze,
    Drill.KILL: die,
    Drill.FAIL: fail,
}
