"""What the drawn displays remember."""

from ktrdr_otel.display.panel import OperationPanel
from ktrdr_otel.operations.models import OperationStatus
from tests.unit.display.builders import (
    HandClock,
    an_operation,
    container,
    epoch,
    failed,
    finished,
    indicator,
    progress,
    tick,
)


def test_the_rate_of_units_is_that_of_the_last_seconds() -> None:
    """Four units a second, after a slow beginning that says nothing any more."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    panel.unit_finished(finished(indicator()), progress())
    clock.advance(60)
    for _ in range(40):
        clock.advance(0.25)
        panel.unit_finished(finished(indicator()), progress())
    rate = panel.heard().rate

    assert rate is not None
    assert rate == (4.0, "step")


def test_the_rate_of_slow_units_is_known_from_two() -> None:
    """One unit a minute has a rate too, and it falls while nothing comes."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    panel.unit_finished(finished(indicator()), progress())
    assert panel.heard().rate is None
    clock.advance(60)
    panel.unit_finished(finished(indicator()), progress())
    assert panel.heard().rate == (1 / 60, "step")
    clock.advance(60)

    assert panel.heard().rate == (1 / 120, "step")


def test_a_loop_has_the_rate_of_its_turns() -> None:
    """Turns outrank units while a loop runs; the next loop of the word goes on where the last one ended."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    for count in (0, 50, 100, 50, 100):
        panel.unit_finished(finished(indicator()), progress())
        panel.ticked(tick(count), progress())
        clock.advance(0.5)

    assert panel.heard().rate == (200 / 2.5, "batch")


def test_a_loop_of_another_word_starts_afresh() -> None:
    """Batches say nothing about rows."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    for count in (0, 50):
        panel.ticked(tick(count), progress())
        clock.advance(0.5)
    panel.ticked(tick(7, unit="row"), progress())

    assert panel.heard().rate is None


def test_after_the_loops_the_rate_is_that_of_the_units_again() -> None:
    """A loop that ended long ago is no rate of now."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    for count in (0, 50):
        panel.ticked(tick(count), progress())
        clock.advance(0.5)
    for _ in range(10):
        clock.advance(1)
        panel.unit_finished(finished(indicator()), progress())

    assert panel.heard().rate == (1.0, "step")


def test_the_last_steps_say_how_they_ended() -> None:
    """Failed and cancelled units did not end well; containers are no steps."""
    panel = OperationPanel(monotonic=HandClock().monotonic)
    panel.unit_finished(finished(container()), progress())
    panel.unit_finished(finished(indicator("RSI"), 0.25), progress())
    panel.unit_finished(failed(indicator("ATR")), progress())
    panel.unit_finished(finished(indicator("SMA"), cancelled=True), progress())
    last = panel.heard().last

    assert [step.well for step in last] == [True, False, False]
    assert last[0].what == "Processing AAPL (1/2) [1h] - Computing RSI (3/8)"
    assert last[0].seconds == 0.25


def test_memory_is_bounded_and_time_stands_still_at_the_end() -> None:
    """A week of epochs is no more than a minute of them."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    panel.operation_started(an_operation())
    for number in range(2000):
        panel.unit_finished(finished(epoch(1), metrics={"loss": float(number)}), progress())
    clock.advance(10)
    panel.status_changed("training-1", OperationStatus.COMPLETED, progress("done", 100), None)
    clock.advance(1000)
    heard = panel.heard()

    assert (len(heard.last), len(heard.losses)) == (8, 200)
    assert heard.metrics == {"loss": 1999.0}
    assert heard.elapsed_seconds == 10
