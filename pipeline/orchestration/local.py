"""A training in this process: checked before it begins, observed while it runs, summed up at its end."""

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal
from uuid import uuid4

import typer

from ktrdr_otel import CancellationError, CancellationToken, KtrdrOtelError, observe, semconv
from ktrdr_otel.display.choose import is_drawable
from ktrdr_otel.exporters.endpoints import traces_url
from ktrdr_otel.ids import check_operation_id
from ktrdr_otel.notify import check_notify
from ktrdr_otel.observation import Observation
from ktrdr_otel.runtime import open_service
from ktrdr_otel.server.settings import load_server_settings
from ktrdr_otel.settings import load_settings, said_as
from ktrdr_otel.wiring import serving
from pipeline.errors import InputError
from pipeline.orchestration.run_folder import run_folder
from pipeline.orchestration.summary import Summary
from pipeline.strategy import Strategy, load_strategy

FAILED = 1
USAGE = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class TrainingRequest:
    """What somebody wants trained, and how it is to be seen."""

    strategy: Path
    data: Path
    symbols: tuple[str, ...] | None
    timeframes: tuple[str, ...] | None
    operation_id: str | None
    output: Path
    database: str | None
    otlp_endpoint: str | None
    trace_file: Path | None
    live: str | None
    notify: str | None
    serve_at: tuple[str | None, int | None] | None  # host and port, None for the usual; None: not at all
    epochs: int | None
    seed: int
    display: Literal["live", "plain", "json"]


class LocalTraining:
    """Runs a request; `run` gives the exit code of the command line."""

    def __init__(self, request: TrainingRequest) -> None:
        self._request = request
        self._operation_id = request.operation_id or f"training-{uuid4().hex[:12]}"
        self._token = CancellationToken()
        self._signal: int | None = None

    def run(self) -> int:
        """0: the training has completed; 1: it failed; 2: its input cannot be used; 130 or 143: it was stopped."""
        try:
            strategy, folder = self._check()
        except (InputError, KtrdrOtelError) as error:
            typer.echo(f"error: {error}", err=True)
            return USAGE
        # What torch has loaded stays: to walk its half a million objects took the garbage collector 0.2 s in the middle
        # of a run, in whichever thread it came over.
        gc.freeze()
        return self._train(strategy, folder)

    def _check(self) -> tuple[Strategy, Path]:
        """The strategy, and the run's folder: whatever can be known to be wrong is said before any operation exists."""
        request = self._request
        check_operation_id(self._operation_id)
        strategy = load_strategy(request.strategy, symbols=request.symbols, timeframes=request.timeframes)
        for path in strategy.ignored:
            self._say(f"{request.strategy}: {path} is not used")
        self._check_settings()
        from pipeline.readiness import check_bars, check_training

        check_bars(strategy, request.data)
        self._say("loading torch (a few seconds)")
        check_training(strategy, request.epochs)
        return strategy, run_folder(request.output, self._operation_id)

    def _check_settings(self) -> None:
        """What is refused when the run begins is refused before anything is loaded for it."""
        request = self._request
        settings = load_settings(database=request.database, live=request.live, notify=request.notify)
        if settings.notify is not None:
            check_notify(settings.notify.get_secret_value(), said_as(("notify",), {"notify": request.notify}))
        if request.otlp_endpoint is not None:
            traces_url(request.otlp_endpoint)
        if request.serve_at is not None:
            host, port = request.serve_at
            load_server_settings(host=host, port=port)
        open_service(settings).close()

    def _train(self, strategy: Strategy, folder: Path) -> int:
        from pipeline.training_pipeline import TrainingPipeline

        request = self._request
        observation: Observation | None = None
        pipeline = TrainingPipeline(
            strategy,
            request.data,
            epochs=request.epochs,
            seed=request.seed,
            on_early_stop=lambda: observation.forgo(semconv.EPOCH) if observation is not None else None,
        )
        try:
            with (
                self._served(),
                self._heard_signals(),
                observe(
                    f"train {strategy.name}",
                    operation_type="training",
                    operation_id=self._operation_id,
                    plan=pipeline.plan(),
                    display=self._display(),
                    database=request.database,
                    notify=request.notify,
                    otlp_endpoint=request.otlp_endpoint,
                    trace_file=request.trace_file,
                    live=request.live,
                    cancellation_token=self._token,
                ) as observation,
            ):
                outcome = pipeline.train_strategy(
                    snapshot_folder=folder,
                    operation_id=self._operation_id,
                    trace_id=observation.trace_id,
                )
                summary = Summary(observation, outcome, request.trace_file, request.database)
        except (CancellationError, KeyboardInterrupt):
            return self._stopped(observation)
        except KtrdrOtelError as error:
            if observation is None:
                typer.echo(f"error: {error}", err=True)
                return USAGE
            return _failed(observation, error)
        except Exception as error:
            return _failed(observation, error)
        if request.display != "json":
            summary.print()
        return 0

    @contextmanager
    def _served(self) -> Iterator[None]:
        """Others can look on, from a browser or from another machine."""
        at = self._request.serve_at
        if at is None:
            yield
            return
        with serving(load_settings(database=self._request.database), host=at[0], port=at[1]) as url:
            self._say(f"serving at {url}")
            yield

    def _display(self) -> str:
        if self._request.display == "live" and not is_drawable(sys.stdout):
            return "plain"
        return self._request.display

    def _say(self, line: str) -> None:
        typer.echo(line, err=self._request.display == "json")

    def _stopped(self, observation: Observation | None) -> int:
        if observation is not None:
            typer.echo(observation.last_message(), err=True)
        typer.echo(f"cancelled: {self._token.reason or 'interrupted'}", err=True)
        return 128 + (self._signal or signal.SIGINT)

    @contextmanager
    def _heard_signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM cancels at the next step; a second one ends the process at once."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def hear(number: int, _frame: FrameType | None) -> None:
            if self._signal is not None:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self._signal = number
            self._token.cancel("Ctrl-C" if number == signal.SIGINT else "SIGTERM")

        for number in _SIGNALS:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _failed(observation: Observation | None, error: Exception) -> int:
    if observation is not None:
        typer.echo(observation.failed_at() or observation.last_message(), err=True)
    typer.echo(f"ERROR: {error}", err=True)
    return FAILED
