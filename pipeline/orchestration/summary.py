"""What a person wants to know when a training has ended."""

import time
from pathlib import Path

import typer

from ktrdr_otel.cli.command import command
from ktrdr_otel.display.base import seconds_text
from ktrdr_otel.observation import Observation
from ktrdr_otel.progress.messages import sentence
from pipeline.training_pipeline import TrainingOutcome


class Summary:
    """The figures of a run, taken while it is still observed; printed after it has ended."""

    def __init__(
        self,
        observation: Observation,
        outcome: TrainingOutcome,
        trace_file: Path | None,
        database: str | None,
    ) -> None:
        began = time.perf_counter()
        self._report = observation.report()
        self._overhead_seconds = observation.overhead_seconds()
        self._elapsed_seconds = observation.elapsed_seconds() - (time.perf_counter() - began)
        self._operation_id = observation.operation_id
        self._trace_id = observation.trace_id
        self._store = observation.store()
        self._outcome = outcome
        self._trace_file = trace_file
        self._database = database

    def print(self) -> None:
        """The summary is on the standard output."""
        typer.echo()
        for name, value in self._lines():
            typer.echo(f"{name + ':':<18} {value}" if name else value)

    def _lines(self) -> list[tuple[str, str]]:
        report, outcome = self._report, self._outcome
        phases = ", ".join(
            f"{sentence(phase).lower()} {seconds_text(seconds)}"
            for phase, seconds in report.seconds_per_phase.items()
        )
        dropped = ", ".join(
            f"{name.replace('_', ' ')} {count}" for name, count in outcome.dropped.items() if count
        )
        rows = ", ".join(f"{name} {count}" for name, count in outcome.rows.items())
        store, named = self._database, self._operation_id
        early = ", stopped early" if outcome.stopped_early else ""
        return [
            ("operation", self._operation_id),
            ("time", f"{seconds_text(self._elapsed_seconds)}: {phases}"),
            ("updates reported", f"{report.units_of_plan} of {report.planned_units} planned"),
            ("longest silence", self._silence()),
            ("observing cost", self._cost()),
            ("rows", f"{rows}; {outcome.features} features"),
            ("rows dropped", dropped or "none"),
            ("epochs", f"{outcome.epochs}{early}"),
            ("test", self._metrics()),
            ("model snapshot", str(outcome.snapshot)),
            ("trace", f"{self._trace_id}{f' in {self._trace_file}' if self._trace_file else ''}"),
            ("record", self._store),
            ("", ""),
            ("", "What to type next:"),
            ("", f"  {command('operations show', named, database=store)}"),
            ("", f"  {command('trace show', named, database=store)}"),
            ("", f"  {command('serve', database=store)}"),
            ("", f"  {command('drill stall')}"),
        ]

    def _silence(self) -> str:
        report = self._report
        longest = f"{report.longest_step}, {seconds_text(report.longest_step_seconds)}"
        return f"{seconds_text(report.longest_silence_seconds)} (longest step: {longest})"

    def _cost(self) -> str:
        if self._overhead_seconds is None:
            return "not measured: this platform does not account for threads"
        share = self._overhead_seconds / self._elapsed_seconds * 100
        return f"{seconds_text(self._overhead_seconds)} of CPU, {share:.2f} % of the run"

    def _metrics(self) -> str:
        return "  ".join(
            f"{name} {value:.4g}" for name, value in self._outcome.metrics.items() if isinstance(value, float)
        )
