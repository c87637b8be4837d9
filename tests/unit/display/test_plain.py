"""Lines for pipes."""

import io

from ktrdr_otel.display.plain import PlainLines
from ktrdr_otel.operations.models import OperationError, OperationStatus
from tests.unit.display.builders import (
    HandClock,
    an_operation,
    container,
    epoch,
    finished,
    hold,
    indicator,
    progress,
    tick,
)

HOSTILE = "A\x1b[31m\n\r[red]\x9b2J\u2028"


def lines_of(stream: io.StringIO) -> list[str]:
    """What was written, by line ends alone."""
    return stream.getvalue().split("\n")[:-1]


def test_a_run_reads_as_percent_and_message() -> None:
    """Containers are silent; an epoch says its metrics; the end says how it ended."""
    clock, stream = HandClock(), io.StringIO()
    plain = PlainLines(stream, monotonic=clock.monotonic)
    plain.operation_started(an_operation())
    plain.unit_started(container(), progress("nothing to say"))
    plain.unit_started(indicator(), progress("Computing RSI", 3.25, estimated_remaining_seconds=75.0))
    clock.advance(1)
    plain.unit_finished(finished(epoch(1), metrics={"loss": 0.12345}), progress("Epoch 1/5", 50))
    plain.status_changed("training-1", OperationStatus.COMPLETED, progress("done", 100), None)

    assert lines_of(stream) == [
        "operation training-1: train momentum",
        "  3.2 %  Computing RSI  (1 min 15 s left)",
        " 50.0 %  Epoch 1/5  loss 0.1235",
        "100.0 %  operation training-1 completed",
    ]


def test_what_is_lost_is_said_once() -> None:
    """The status is the word for it; what broke a run that failed has a name of its own."""
    stream = io.StringIO()
    plain = PlainLines(stream)
    for status, kind in ((OperationStatus.LOST, "lost"), (OperationStatus.FAILED, "ValueError")):
        error = OperationError(type=kind, message="why", step=None)
        plain.status_changed("training-1", status, progress("", 45), error)

    assert lines_of(stream) == [
        " 45.0 %  operation training-1 lost: why",
        " 45.0 %  operation training-1 failed: ValueError: why",
    ]


def test_a_hold_says_what_is_allowed() -> None:
    """What is left of other work says nothing of a wait."""
    stream = io.StringIO()
    PlainLines(stream).unit_started(hold(), progress("the broker", estimated_remaining_seconds=0.0))

    assert lines_of(stream) == [" 10.0 %  the broker  (1 min 0 s allowed)"]


def test_a_fast_run_has_ten_lines_a_second_and_the_last_of_each_kind() -> None:
    """Of 3,000 units in a second that alternate between three kinds, only a few are said, and the last ones."""
    clock, stream = HandClock(), io.StringIO()
    plain = PlainLines(stream, monotonic=clock.monotonic)
    for number in range(1000):
        plain.unit_started(indicator(), progress(f"indicator {number}"))
        plain.unit_started(epoch(1), progress(f"epoch {number}"))
        plain.ticked(tick(number), progress(f"batch {number}"))
        clock.advance(0.001)
    plain.close()
    said = lines_of(stream)

    assert {"indicator 999", "epoch 999", "batch 999"} <= {line.partition("%  ")[2] for line in said}


def test_a_loop_says_a_turn_a_second_and_its_last() -> None:
    """Fifty turns of a tenth of a second are five lines and the end; of another loop the end is told too."""
    clock, stream = HandClock(), io.StringIO()
    plain = PlainLines(stream, monotonic=clock.monotonic)
    for word in ("row", "batch"):
        for number in range(1, 51):
            clock.advance(0.1)
            plain.ticked(tick(number, unit=word), progress(f"{word} {number}"))
    clock.advance(0.1)
    plain.close()
    said = [line.partition("%  ")[2] for line in lines_of(stream)]

    assert [line for line in said if line.startswith("row")] == [
        *(f"row {number}" for number in (1, 11, 21, 31, 41)),
        "row 50",
    ]
    assert said[-1] == "batch 50"
    assert len(said) <= 12


def test_the_last_turn_of_a_loop_without_a_total_is_said() -> None:
    """Nobody knows that it is the last one until something else is said, or the end."""
    clock, stream = HandClock(), io.StringIO()
    plain = PlainLines(stream, monotonic=clock.monotonic)
    for number in (1, 2, 3):
        plain.ticked(tick(number, None), progress(f"row {number}"))
        clock.advance(0.1)
    plain.unit_started(indicator(), progress("Computing RSI"))
    plain.ticked(tick(1, None), progress("row 1 again"))
    plain.close()
    said = [line.partition("%  ")[2] for line in lines_of(stream)]

    assert said == ["row 1", "row 3", "Computing RSI", "row 1 again"]


def test_units_inside_a_loop_do_not_make_its_turns_faster() -> None:
    """A unit for each turn of a tenth of a second: every unit is said, and a turn a second."""
    clock, stream = HandClock(), io.StringIO()
    plain = PlainLines(stream, monotonic=clock.monotonic)
    for number in range(1, 51):
        plain.unit_started(indicator(), progress(f"indicator {number}"))
        clock.advance(0.1)
        plain.ticked(tick(number), progress(f"row {number}"))
        clock.advance(0.1)
    plain.close()
    said = [line.partition("%  ")[2] for line in lines_of(stream)]

    assert sum(line.startswith("indicator") for line in said) == 50
    assert sum(line.startswith("row") for line in said) <= 11
    assert said[-1] == "row 50"


def test_a_tick_belongs_to_the_symbol_that_is_under_way() -> None:
    """A loop inside a symbol does not make its units look like another scope's, which would say them all."""
    clock, stream = HandClock(), io.StringIO()
    plain = PlainLines(stream, monotonic=clock.monotonic)
    for number in range(100):
        plain.unit_started(indicator(), progress(f"indicator {number}"))
        plain.ticked(tick(number), progress(f"batch {number}"))
    plain.close()

    assert len(lines_of(stream)) <= 3


def test_each_symbol_and_timeframe_has_its_last_line() -> None:
    """The pace drops what is between, never where one symbol ended."""
    clock, stream = HandClock(), io.StringIO()
    plain = PlainLines(stream, monotonic=clock.monotonic)
    for symbol in ("AAPL", "MSFT"):
        for timeframe in ("1h", "1d"):
            for number in range(5):
                unit = indicator(symbol=symbol, timeframe=timeframe)
                plain.unit_started(unit, progress(f"{symbol} {timeframe} {number}"))
    plain.close()
    said = stream.getvalue()

    assert all(f"{symbol} {timeframe} 4" in said for symbol in ("AAPL", "MSFT") for timeframe in ("1h", "1d"))


def test_hostile_names_are_text() -> None:
    """No name, id, message or error reaches the terminal as a command or as another line."""
    stream = io.StringIO()
    plain = PlainLines(stream)
    plain.operation_started(an_operation(HOSTILE, HOSTILE))
    plain.unit_started(indicator(HOSTILE, HOSTILE), progress(HOSTILE))
    plain.ticked(tick(1, unit=HOSTILE), progress(HOSTILE + "!"))
    plain.unit_finished(finished(epoch(1), metrics={HOSTILE: 1.0}), progress(HOSTILE))
    error = OperationError(type="ValueError", message=HOSTILE, step=HOSTILE)
    plain.status_changed(HOSTILE, OperationStatus.FAILED, progress(HOSTILE), error)
    said = lines_of(stream)

    assert all(line.isprintable() for line in said)
    assert "A\\x1b[31m\\n\\r[red]\\x9b2J\\u2028" in said[0]
