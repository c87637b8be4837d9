"""The picture at every width, with every name."""

import io
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from ktrdr_otel.display.panel import OperationPanel
from ktrdr_otel.display.picture import Picture
from ktrdr_otel.operations.models import OperationError, OperationStatus
from tests.unit.display.builders import (
    HandClock,
    an_operation,
    epoch,
    failed,
    finished,
    hold,
    indicator,
    progress,
    tick,
)

PHASES = {"preprocessing": (24, 24), "preparation": (3, 3), "training": (2, 5), "evaluation": (0, 1)}


def a_panel(name: str = "train momentum", message: str = "Epoch 3/5 · Batch 34/50") -> OperationPanel:
    """A training in its third epoch."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    panel.operation_started(an_operation(name))
    state = progress(
        message, 46.2, phase="training", phases=PHASES, estimated_remaining_seconds=123.0, context={}
    )
    panel.unit_finished(failed(indicator(name)), state)
    for index, loss in enumerate((0.9, 0.5), 1):
        metrics = {"loss": loss, "accuracy": 0.6, "val_loss": loss + 0.1}
        panel.unit_finished(finished(epoch(index), 61.0, metrics=metrics), state)
    panel.ticked(tick(10), state)
    clock.advance(0.5)
    panel.ticked(tick(34), state)
    return panel


def drawn(panel: OperationPanel, width: int, *, height: int = 30) -> list[str]:
    """The picture's lines on a terminal of that size, without colours."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    console = Console(
        file=stream, width=width, height=height, force_terminal=True, no_color=True, color_system=None
    )
    console.print(Picture(panel.heard()))
    stream.seek(0)
    return stream.read().split("\n")[:-1]


def test_a_training_at_a_hundred_columns() -> None:
    """Phases with their counts, step with rate and remaining time, losses, and the last steps."""
    text = "\n".join(drawn(a_panel(), 100))

    for part in (
        "● train momentum  training-1",
        "running  500 ms",
        "Preprocessing",
        "24/24",
        "2/5",
        "46.2 %",
        "▸ Epoch 3/5 · Batch 34/50",
        "48 batch/s  2 min 3 s left",
        "█▁  loss 0.5  accuracy 0.6  val loss 0.6",
        "✗    500 ms  Processing AAPL (1/2) [1h] - Computing train momentum (3/8)",
        "✓ 1 min 1 s  Epoch 2/5",
    ):
        assert part in text


@given(st.integers(20, 200), st.integers(5, 60))
def test_no_line_is_wider_than_the_terminal_and_no_picture_higher(width: int, height: int) -> None:
    """A wrapped or scrolled frame could not be drawn over by the next one."""
    lines = drawn(a_panel(), width, height=height)

    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) <= max(height, 8)  # below the last steps there is nothing to leave out


def test_a_narrow_terminal_keeps_what_matters() -> None:
    """Status, counts, percent and remaining time are whole at 40 columns; names are cut."""
    text = "\n".join(drawn(a_panel("a name that is much too long for this"), 40))

    for part in ("running  500 ms", "24/24", "46.2 %", "2 min 3 s left", "loss 0.5", "…"):
        assert part in text
    assert "training-1" not in text


@given(st.text(st.characters(), max_size=30))
def test_any_name_is_text(name: str) -> None:
    """No name, message or metric is obeyed by the terminal or read as markup."""
    panel = a_panel(name, name)
    state = progress(name, phases={name: (1, 2), "x": (1, 2)})
    panel.unit_finished(finished(epoch(1), metrics={name: 1.0}), state)
    panel.ticked(tick(1, unit=name), state)
    assert all(line.isprintable() or not line for line in _without_spaces(drawn(panel, 100)))
    error = OperationError(type="ValueError", message=name, step=name)
    panel.status_changed("training-1", OperationStatus.FAILED, state, error)

    assert all(line.isprintable() or not line for line in _without_spaces(drawn(panel, 100)))


def test_markup_in_a_name_is_shown() -> None:
    """`[red]` is what the user called it."""
    assert "[red]A[/red]" in drawn(a_panel("[red]A[/red]"), 100)[0]


def test_a_failure_says_what_broke() -> None:
    """The last frame has the error, its step and the state in red words."""
    panel = a_panel()
    error = OperationError(type="ValueError", message="no volume", step="Loading data")
    panel.status_changed("training-1", OperationStatus.FAILED, progress("Loading data"), error)
    text = "\n".join(drawn(panel, 100))

    assert "failed  500 ms" in text
    assert "ValueError in Loading data: no volume" in text


def _without_spaces(lines: list[str]) -> list[str]:
    # Spaces of other widths are shown as they are, and `isprintable` knows only the common one.
    return ["".join(line.split()) for line in lines]


def test_a_stall_is_said_while_it_lasts() -> None:
    """In the sentence that everybody uses, below the step; whoever ended is not stalled."""
    panel = a_panel()
    sentence = "stalled 8 s in Computing RSI (20/40) [1h] AAPL: waiting (1 % CPU), in read, job.py:8"
    panel.stands(sentence)
    assert sentence in drawn(panel, 100)
    panel.status_changed("one", OperationStatus.COMPLETED, progress("Training complete", 100.0), None)
    assert sentence not in drawn(panel, 100)


def test_a_hold_says_how_long_it_has_been_held_of_what_is_allowed() -> None:
    """Neither a remaining time nor the rate of what came before it; when it has ended they are back."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    panel.operation_started(an_operation())
    for count in (10, 34):
        panel.ticked(tick(count), progress())
        clock.advance(0.5)
    held = {"progress_type": "hold", "item": "the broker", "allowance_seconds": 60.0}
    state = progress("the broker", context=held, estimated_remaining_seconds=0.0)
    panel.unit_started(hold(), state)
    clock.advance(3)
    line = next(each for each in drawn(panel, 100) if "the broker" in each)

    assert line.endswith(" 3 s of 60 s")
    assert "left" not in line
    assert "batch/s" not in line
    after = progress("Loading", estimated_remaining_seconds=9.0)
    panel.unit_finished(finished(hold()), state)
    panel.unit_started(indicator(), after)
    assert "9.0 s left" in "\n".join(drawn(panel, 100))


def test_a_hold_of_another_process_is_known_from_its_state() -> None:
    """Whoever came when it was under way does not know since when."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    state = progress("the broker", context={"progress_type": "hold", "allowance_seconds": 60.0})
    present = indicator()._replace(progress_type="")
    panel.unit_started(present, state)
    assert panel.heard().held is None
    panel.unit_started(present, progress())
    panel.unit_started(present, state)
    clock.advance(3)
    panel.unit_started(present, state)

    assert panel.heard().held == (3.0, 60.0)


def test_the_head_says_a_stall_of_this_process() -> None:
    """From what is allowed on, and until it moves; a process that was stopped meanwhile was not silent."""
    clock = HandClock()
    panel = OperationPanel(monotonic=clock.monotonic)
    panel.operation_started(an_operation())
    state = progress(allowance_seconds=10.0)
    panel.unit_started(indicator(), replace(state, moved_monotonic_ns=clock.monotonic_ns()))
    clock.advance(300)
    assert " running " in drawn(panel, 100)[0]
    for _ in range(28):
        clock.advance(0.5)
        head = drawn(panel, 100)[0]
    assert " stalled 14 s " in head
    panel.unit_started(indicator(), replace(state, moved_monotonic_ns=clock.monotonic_ns()))
    assert " running " in drawn(panel, 100)[0]
