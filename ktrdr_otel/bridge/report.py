"""What an operation reported: how long it was silent, where its time went, which step was the longest."""

from collections.abc import Callable
from dataclasses import dataclass, field

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

    def ended(self, unit: Unit, is_finished_work: bool) -> None:
        """The unit has ended."""
        self.checkpoints += 1
        progress_type, started_ns, ended_ns = unit.progress_type, unit.started_ns, unit.ended_ns
        if ended_ns is None or progress_type is None:
            return
        if ended_ns - started_ns > self.longest_step_ns:
            self.longest_step_ns, self.longest_step = ended_ns - started_ns, unit.name
        if is_finished_work:
            self.finished_units += 1
        span = self.spans_ns.get(progress_type)
        if span is None:
            self.spans_ns[progress_type] = [started_ns, ended_ns]
            return
        if started_ns < span[0]:
            span[0] = started_ns
        if ended_ns > span[1]:
            span[1] = ended_ns

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
