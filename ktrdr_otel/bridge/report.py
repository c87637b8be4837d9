"""What an operation reported: how long it was silent, where its time went, which step was the longest."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.operations.step_row import ENDED, NAME, STARTED, StepRow
from ktrdr_otel.progress.events import Unit


@dataclass(slots=True)
class Report:
    """Grows with each update; times in seconds, gaps from the monotonic clock."""

    last_update_monotonic_ns: int
    phase_of: Callable[[str | None], str | None]
    planned_units: int | None = None
    units_of_plan: int = 0
    finished_units: int = 0
    checkpoints: int = 0
    longest_silence_ns: int = 0
    longest_step_ns: int = 0
    longest_step: str | None = None
    spans_ns: dict[str, list[int]] = field(default_factory=dict)  # first start and last end per progress type

    def updated_at(self, monotonic_ns: int) -> None:
        """Something was reported at that moment."""
        silence_ns = monotonic_ns - self.last_update_monotonic_ns
        if silence_ns > 0:
            self.last_update_monotonic_ns = monotonic_ns
            if silence_ns > self.longest_silence_ns:
                self.longest_silence_ns = silence_ns

    def updated_by(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Their starts and ends were reported, in the order of their ends."""
        latest_ns, silence_ns = self.last_update_monotonic_ns, self.longest_silence_ns
        for checkpoint in checkpoints:
            for at_ns in (checkpoint.began_monotonic_ns, checkpoint.ended_monotonic_ns):
                if at_ns > latest_ns:
                    if at_ns - latest_ns > silence_ns:
                        silence_ns = at_ns - latest_ns
                    latest_ns = at_ns
        self.last_update_monotonic_ns, self.longest_silence_ns = latest_ns, silence_ns

    def finished(self, progress_type: str, rows: Sequence[StepRow]) -> None:
        """These units of that type have ended well."""
        self.checkpoints += len(rows)
        self.finished_units += len(rows)
        longest = max(rows, key=_length_ns)
        self._stretch(progress_type, min(row[STARTED] for row in rows), max(row[ENDED] for row in rows))
        self._compare(longest[NAME], _length_ns(longest))

    def ended(self, unit: Unit, is_finished_work: bool) -> None:
        """The unit has ended."""
        self.checkpoints += 1
        progress_type, started_ns, ended_ns = unit.progress_type, unit.started_ns, unit.ended_ns
        if ended_ns is None or progress_type is None:
            return
        if is_finished_work:
            self.finished_units += 1
        self._compare(unit.name, ended_ns - started_ns)
        self._stretch(progress_type, started_ns, ended_ns)

    def _compare(self, name: str, length_ns: int) -> None:
        if length_ns > self.longest_step_ns:
            self.longest_step_ns, self.longest_step = length_ns, name

    def _stretch(self, progress_type: str, started_ns: int, ended_ns: int) -> None:
        span = self.spans_ns.setdefault(progress_type, [started_ns, ended_ns])
        span[0] = min(started_ns, span[0])
        span[1] = max(ended_ns, span[1])

    @property
    def longest_silence_seconds(self) -> float:
        """The longest gap between two updates: starts and ends of units, turns of loops."""
        return self.longest_silence_ns / 1e9

    @property
    def longest_step_seconds(self) -> float:
        """The length of the longest unit."""
        return self.longest_step_ns / 1e9

    @property
    def seconds_per_phase(self) -> dict[str, float]:
        """From the first start to the last end of each phase's units."""
        phases: dict[str, tuple[int, int]] = {}
        for progress_type, (first, last) in self.spans_ns.items():
            phase = self.phase_of(progress_type)
            if phase is not None:
                begins, ends = phases.get(phase, (first, last))
                phases[phase] = (min(begins, first), max(ends, last))
        return {phase: (last - first) / 1e9 for phase, (first, last) in phases.items()}


def _length_ns(row: StepRow) -> int:
    return int(row[ENDED] - row[STARTED])
