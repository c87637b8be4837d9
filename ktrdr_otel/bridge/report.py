"""What an operation reported: how long it was silent, where its time went, which step was the longest."""

from dataclasses import dataclass, field

from ktrdr_otel.progress.events import Unit


@dataclass(slots=True)
class Report:
    """Grows with each update; times in seconds, gaps from the monotonic clock."""

    last_update_monotonic_ns: int
    planned_units: int | None = None
    units_of_plan: int = 0
    finished_units: int = 0
    checkpoints: int = 0
    longest_silence_seconds: float = 0.0
    longest_step_seconds: float = 0.0
    longest_step: str | None = None
    phase_spans_ns: dict[str, tuple[int, int]] = field(default_factory=dict)

    def updated_at(self, monotonic_ns: int) -> None:
        """Something was reported at that moment."""
        silence = (monotonic_ns - self.last_update_monotonic_ns) / 1e9
        self.longest_silence_seconds = max(self.longest_silence_seconds, silence)
        self.last_update_monotonic_ns = max(self.last_update_monotonic_ns, monotonic_ns)

    def ended(self, unit: Unit, phase: str | None) -> None:
        """The unit has ended, in that phase of the operation."""
        self.checkpoints += 1
        if unit.ended_ns is None or unit.progress_type is None:
            return
        seconds = (unit.ended_ns - unit.started_ns) / 1e9
        if seconds > self.longest_step_seconds:
            self.longest_step_seconds, self.longest_step = seconds, unit.name
        if unit.is_finished_work:
            self.finished_units += 1
        if phase is not None:
            first, last = self.phase_spans_ns.get(phase, (unit.started_ns, unit.ended_ns))
            self.phase_spans_ns[phase] = (min(first, unit.started_ns), max(last, unit.ended_ns))

    @property
    def seconds_per_phase(self) -> dict[str, float]:
        """From the first start to the last end of each phase's units."""
        return {phase: (last - first) / 1e9 for phase, (first, last) in self.phase_spans_ns.items()}
