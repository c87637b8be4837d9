"""How long an operation has not moved: what was too long is said in the program's log and in its trace."""

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise

from ktrdr_otel import semconv
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.clock import Clock
from ktrdr_otel.context import ActiveOperation
from ktrdr_otel.events import add_event
from ktrdr_otel.operations.own_stacks import own_threads
from ktrdr_otel.pulse import Pulse

logger = logging.getLogger(__name__)

_LONGEST_LOOK_NS = 1_000_000_000


class Silence:
    """Judged when it ends, and looked at while it lasts; only the pump's thread calls it. Times are monotonic.

    A silence is judged by what was allowed when the operation was looked at last (`allowed_seconds`), and not at all
    if nobody has looked since it began.
    """

    def __init__(
        self,
        operation_id: str,
        active: ActiveOperation,
        *,
        clock: Clock,
        pulse: Pulse | None,
        step: Callable[[], str],
    ) -> None:
        self.since_ns = clock.monotonic_ns()  # it moved last
        self.allowed_seconds: float | None = None
        self._operation_id = operation_id
        self._active = active
        self._clock = clock
        self._pulse = pulse
        self._step = step
        self._seen_since_ns = self._looked_ns = self.since_ns
        self._seen_ns = 0  # seen without a movement
        self._stopped_ns = 0  # for how long the process had been stopped when it moved last

    def ends(self, at_ns: int) -> None:
        """Something has begun, ended or ticked: what was silent for too long until then was a stall."""
        since_ns = self.since_ns
        self.goes_on_from(at_ns)
        if self._pulse is not None:
            # Also for spans that no processor was called for, whose steps nobody has written there.
            self._pulse.tick()
        allowed, self.allowed_seconds = self.allowed_seconds, None
        if allowed is not None:
            self.judge(since_ns, at_ns, allowed)

    def goes_on_from(self, at_ns: int) -> None:
        """Until then there was none, as somebody else has judged."""
        self.since_ns = max(at_ns, self.since_ns)

    def judge(self, since_ns: int, until_ns: int, allowed_seconds: float) -> None:
        """A silence that was too long was a stall, but for the time for which the process was stopped."""
        if (until_ns - since_ns) / 1e9 > allowed_seconds:
            stopped_ns = self._stopped_for_ns(since_ns)
            if (until_ns - since_ns - stopped_ns) / 1e9 > allowed_seconds:
                self._tell_of_stall(since_ns, until_ns)

    def _stopped_for_ns(self, since_ns: int) -> int:
        """For how long the process was stopped in that silence."""
        if self._pulse is None:
            return 0
        # The second where it was stopped before anybody of ours could look at the movement before.
        return max(self._pulse.stopped_ns - self._stopped_ns, self._pulse.last_stop_ns(since_ns))

    def look(self) -> None:
        """The program's own log says it once while it lasts, where a thread of ours can run.

        A watcher that cannot take the stack from outside has it from here.
        """
        if self._pulse is not None and self._pulse.wants_stacks():
            self._pulse.tell_stacks(own_threads())
        now_ns = self._clock.monotonic_ns()
        if self.since_ns != self._seen_since_ns:
            self._seen_since_ns, self._seen_ns, self._looked_ns = self.since_ns, 0, now_ns
            if self._pulse is not None:
                self._stopped_ns = self._pulse.stopped_ns
        before_ns = self._seen_ns
        gap_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        # A longer gap is no silence that was seen: the process was stopped, or nobody but one thread could run.
        if gap_ns <= _LONGEST_LOOK_NS:
            self._seen_ns += gap_ns
        allowed = self.allowed_seconds
        if allowed is not None and before_ns / 1e9 <= allowed < self._seen_ns / 1e9:
            logger.warning(
                "operation %s is stalled: it has not moved for %.1f s in %s",
                self._operation_id,
                self._seen_ns / 1e9,
                self._where(),
            )

    def _tell_of_stall(self, since_ns: int, until_ns: int) -> None:
        """The trace says it too: as events of the root, the only span that is surely still open."""
        root = self._active.root
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        where = self._where()
        logger.warning(
            "operation %s stood still for %.1f s in %s",
            self._operation_id,
            (until_ns - since_ns) / 1e9,
            where,
        )
        if root is not None:
            for name, at_ns in ((semconv.STALLED_EVENT, since_ns), (semconv.RESUMED_EVENT, until_ns)):
                told_at = wall_ns - (now_ns - at_ns)
                add_event(root.span, name, {semconv.PROGRESS_MESSAGE: where}, at_ns=told_at)

    def _where(self) -> str:
        return self._step() or "what comes before its first step"


def longest_gap(
    checkpoints: Sequence[Checkpoint], before_ns: int, least_ns: int
) -> tuple[int, int, list[Checkpoint]] | None:
    """When nothing moved for the longest time inside the longest of them, and which were open then, innermost first.

    Source of silences that nobody could see: a call that let no thread of ours look lies behind all of them. None if
    the longest took no more than `least_ns`; `before_ns` is when something had moved before them.
    """
    longest = max(checkpoints, key=lambda each: each.ended_monotonic_ns - each.began_monotonic_ns)
    began_ns, ended_ns = longest.began_monotonic_ns, longest.ended_monotonic_ns
    if ended_ns - began_ns <= least_ns:
        return None
    # What began or ended inside it, in it or beside it, moved too.
    moves = {before_ns, *(each.began_monotonic_ns for each in checkpoints)}
    moves.update(each.ended_monotonic_ns for each in checkpoints)
    moves = {at_ns for at_ns in moves if began_ns <= at_ns <= ended_ns}
    since_ns, until_ns = max(pairwise(sorted(moves)), key=lambda gap: gap[1] - gap[0])
    silent = [
        each
        for each in checkpoints
        if each.began_monotonic_ns <= since_ns and each.ended_monotonic_ns >= until_ns
    ]
    return since_ns, until_ns, silent  # the innermost has ended first
