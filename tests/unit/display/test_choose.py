"""Which display suits where."""

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest

from ktrdr_otel.display import choose_display
from ktrdr_otel.display.choose import Mode
from ktrdr_otel.display.json_lines import JsonLines
from ktrdr_otel.display.live import LiveDisplay
from ktrdr_otel.display.log import LogRecords
from ktrdr_otel.display.notebook import NotebookDisplay
from ktrdr_otel.display.plain import PlainLines
from tests.unit.display.builders import HandClock, an_operation, epoch, finished, progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture(autouse=True)
def _xterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize(
    ("mode", "terminal", "kind"),
    [
        ("auto", True, LiveDisplay),
        ("auto", False, LogRecords),
        ("live", True, LiveDisplay),
        ("live", False, PlainLines),
        ("plain", True, PlainLines),
        ("plain", False, PlainLines),
        ("json", True, JsonLines),
        ("json", False, JsonLines),
    ],
)
def test_mode_and_stream_choose_the_display(mode: Mode, terminal: bool, kind: type) -> None:
    """A library draws on terminals alone; a program that asks for lines gets them anywhere."""
    assert type(choose_display(mode, Terminal() if terminal else io.StringIO())) is kind


def test_off_is_none() -> None:
    """Nothing hears, nothing is shown."""
    assert choose_display("off", Terminal()) is None


def test_a_terminal_that_cannot_redraw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TERM=dumb` is somebody who looks, at an editor's shell."""
    monkeypatch.setenv("TERM", "dumb")

    assert isinstance(choose_display("auto", Terminal()), PlainLines)
    assert isinstance(choose_display("live", Terminal()), PlainLines)


def test_a_terminal_without_the_letters_gets_lines() -> None:
    """In an ASCII locale a bar would be an error of encoding."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal.isatty = lambda: True  # type: ignore[method-assign] # as a pseudo-terminal in that locale

    assert isinstance(choose_display("live", terminal), PlainLines)


def test_a_program_without_streams_is_observed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sys.stdout` is None in a program without a console, and may be closed in a daemon."""
    monkeypatch.setattr(sys, "stdout", None)
    assert choose_display("plain") is None
    assert isinstance(choose_display("auto"), LogRecords)
    closed = io.StringIO()
    closed.close()

    assert isinstance(choose_display("auto", closed), LogRecords)


def test_a_second_picture_is_not_drawn_on_the_same_terminal() -> None:
    """Two would tear each other; the second operation is in the log."""
    first = choose_display("live", Terminal())
    assert first is not None
    first.operation_started(an_operation())
    try:
        assert isinstance(choose_display("live", Terminal()), LogRecords)
    finally:
        first.close()

    assert isinstance(choose_display("live", Terminal()), LiveDisplay)


def test_a_notebook_shows_one_output_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a kernel runs, the picture is HTML under one display id, four times a second at most."""
    shown: list[tuple[str, str, str]] = []
    display = SimpleNamespace(
        HTML=lambda html: html,
        display=lambda html, display_id: shown.append(("display", display_id, html)),
        update_display=lambda html, display_id: shown.append(("update", display_id, html)),
    )
    ipython = ModuleType("IPython")
    vars(ipython).update(display=display, get_ipython=lambda: object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert isinstance(choose_display("auto", io.StringIO()), NotebookDisplay)
    clock = HandClock()
    notebook = NotebookDisplay(monotonic=clock.monotonic)
    notebook.operation_started(an_operation("<script>alert(1)</script>"))
    for _ in range(100):
        notebook.unit_finished(finished(epoch(1)), progress("Epoch 1/5"))
        clock.advance(0.01)

    assert [what for what, _, _ in shown] == ["display"] + ["update"] * 4
    assert len({display_id for _, display_id, _ in shown}) == 1
    assert "Epoch 1/5" in shown[-1][2]
    assert "<script>" not in shown[-1][2]
