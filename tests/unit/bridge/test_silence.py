"""What stood still and what was only stopped, by a signal that the watcher has seen."""

from collections.abc import Iterator

import pytest

from ktrdr_otel.bridge.silence import Silence
from ktrdr_otel.pulse import Pulse
from tests.unit.conftest import Bench
from tests.unit.exporters.conftest import FakeClock

SECOND_NS = 1_000_000_000
ALLOWED_SECONDS = 2.0


class Watched:
    """An operation in a step for which two seconds are allowed, and the page on which its watcher writes."""

    def __init__(self, bench: Bench, pulse: Pulse) -> None:
        self.clock = FakeClock()
        self.pulse = pulse
        self.silence = Silence("one", bench.active, clock=self.clock, pulse=pulse, step=lambda: "Load (1/2)")

    def look(self) -> None:
        """The pump looks, and learns what is allowed."""
        self.silence.look()
        self.silence.allowed_seconds = ALLOWED_SECONDS

    def is_stopped(self, seconds: float) -> None:
        """By a signal; the watcher sees it, twice."""
        half_ns = int(seconds / 2 * SECOND_NS)
        for first in (True, False):
            self.clock.now_ns += half_ns
            self.pulse.add_stopped(half_ns, seen_first_at_ns=self.clock.now_ns if first else None)

    def moves(self) -> None:
        """A step has ended, or begun."""
        self.silence.ends(self.clock.now_ns)


@pytest.fixture
def watched(bench: Bench) -> Iterator[Watched]:
    """It has moved just now."""
    pulse = Pulse.create()
    yield Watched(bench, pulse)
    pulse.close()


def test_time_for_which_it_was_stopped_is_no_stall(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """However often, in one step."""
    watched.look()
    for _ in range(3):
        watched.is_stopped(10)
        watched.clock.advance(0.5)
    watched.moves()
    assert caplog.messages == []


def test_a_stop_before_anybody_could_look_is_no_stall(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The step had just begun: the pump looks at that only when the process goes on."""
    watched.look()
    watched.clock.advance(0.1)
    watched.moves()
    watched.is_stopped(10)
    watched.look()
    watched.clock.advance(0.5)
    watched.moves()
    assert caplog.messages == []


def test_a_stop_excuses_no_stall_after_it(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the same step nor in the next."""
    watched.look()
    watched.is_stopped(10)
    watched.clock.advance(3)
    watched.moves()
    watched.look()
    watched.clock.advance(4)
    watched.moves()
    assert caplog.messages == [
        "operation one stood still for 13.0 s in Load (1/2)",
        "operation one stood still for 4.0 s in Load (1/2)",
    ]
