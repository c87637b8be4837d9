"""What does a checkpoint cost, beside a bare span of the same attributes?

A whole checkpoint, with processor, bridge, manager, store, watcher and exporter thread at work, against
`start_as_current_span` under a BatchSpanProcessor. Both export to the same exporter, which throws away. `ratio`
compares what the observed loop takes while the background threads of each side work beside it: it is long enough for
several flushes of the store. `ratio_to_the_end` adds the wait until all that the loop left behind has been processed
and stored, `cpu_ratio` is that whole work in CPU time of all threads, which other work on the machine disturbs less.
`burst_ratio` is what the loop pays when it opens as many as one timeframe of a training does, and both sides have
come to rest before. It fails where anything that was begun is not in the store at the end.
"""

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer
from tqdm import tqdm

from ktrdr_otel import checkpoint, observe, semconv, track
from ktrdr_otel.observation import Observation
from ktrdr_otel.progress.plan import Plan
from tests.benchmarks.harness import Spread, interleaved, report

UNITS = 40_000  # 0.6 s: the store is flushed every 0.25 s
PAIRS = 12
BURST = 80  # the indicators and fuzzy sets of one timeframe
BURST_PAIRS = 150
TURNS = 200_000
TRACK_PAIRS = 12


class Discard(SpanExporter):
    """Takes every span and keeps none."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Nothing is left of them."""
        return SpanExportResult.SUCCESS


class Cost(NamedTuple):
    """What a loop took, in seconds."""

    loop: float
    to_the_end: float  # until all has been exported, and stored
    cpu: float  # of all threads, to the end


def bare_loop(tracer: Tracer, batch: BatchSpanProcessor, units: int = UNITS) -> Cost:
    """A loop of bare spans."""
    began, cpu = time.perf_counter(), time.process_time()
    for index in range(1, units + 1):
        with tracer.start_as_current_span(
            "computing_indicator RSI",
            attributes={
                semconv.OPERATION_ID: "bench",
                semconv.PROGRESS_TYPE: semconv.INDICATOR_COMPUTATION,
                semconv.STEP: semconv.COMPUTING_INDICATOR,
                semconv.SYMBOL_NAME: "AAPL",
                semconv.SYMBOL_INDEX: 2,
                semconv.SYMBOL_TOTAL: 5,
                semconv.TIMEFRAME: "1h",
                semconv.ITEM_NAME: "RSI",
                semconv.ITEM_INDEX: index,
                semconv.ITEM_TOTAL: UNITS,
            },
        ):
            pass
    looped = time.perf_counter()
    batch.force_flush()
    return Cost(looped - began, time.perf_counter() - began, time.process_time() - cpu)


def checkpoint_loop(observation: Observation, units: int = UNITS) -> Cost:
    """A loop of checkpoints."""
    began, cpu = time.perf_counter(), time.process_time()
    for index in range(1, units + 1):
        with checkpoint(
            "indicator_computation",
            symbol="AAPL",
            symbol_index=2,
            total_symbols=5,
            timeframe="1h",
            indicator_name="RSI",
            indicator_index=index,
            total_indicators=UNITS,
        ):
            pass
    looped = time.perf_counter()
    if not observation.flush():
        raise RuntimeError("not everything was stored and delivered")
    return Cost(looped - began, time.perf_counter() - began, time.process_time() - cpu)


def stored_units(database: Path) -> int:
    """Indicators in the store, each span once."""
    with closing(sqlite3.connect(database)) as connection:
        counted = (
            "SELECT count(DISTINCT span_id) FROM checkpoints WHERE progress_type = ? AND status = 'completed'"
        )
        return int(connection.execute(counted, [semconv.INDICATOR_COMPUTATION]).fetchone()[0])


def track_loop() -> float:
    """Seconds of a tracked loop whose turns do nothing."""
    began = time.perf_counter()
    for _ in track(range(TURNS), "batch", total=TURNS):
        pass
    return time.perf_counter() - began


def tqdm_loop() -> float:
    """Seconds of the same loop under tqdm."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        began = time.perf_counter()
        for _ in tqdm(range(TURNS), total=TURNS, file=nowhere):
            pass
        return time.perf_counter() - began


def main() -> None:
    """The figures are printed."""
    provider = TracerProvider()
    batch = BatchSpanProcessor(Discard(), max_queue_size=2 * UNITS)
    provider.add_span_processor(batch)
    tracer = provider.get_tracer("bare")
    with (
        tempfile.TemporaryDirectory() as folder,
        observe(
            "bench",
            display="off",
            database=str(database := Path(folder) / "operations.db"),
            exporters=[Discard()],
            plan=Plan.training(steps=0, indicators=(PAIRS + 1) * UNITS, fuzzy_sets=0, epochs=1),
        ) as observation,
    ):
        bare_loop(tracer, batch)
        checkpoint_loop(observation)
        spans = interleaved(PAIRS, lambda: bare_loop(tracer, batch), lambda: checkpoint_loop(observation))
        bursts = interleaved(
            BURST_PAIRS,
            lambda: bare_loop(tracer, batch, BURST).loop,
            lambda: checkpoint_loop(observation, BURST).loop,
        )
        loops = interleaved(TRACK_PAIRS, tqdm_loop, track_loop)
        begun = (PAIRS + 1) * UNITS + BURST_PAIRS * BURST
        counted, stored = observation.status()["items_completed"] - TURNS, stored_units(database)
        if not begun == counted == stored:
            raise RuntimeError(f"{begun} were begun, {counted} are counted, {stored} stored")
    report(
        "checkpoint_cost",
        {
            "ratio": statistics.median(ours.loop / bare.loop for bare, ours in spans),
            "ratio_spread": Spread.of([ours.loop / bare.loop for bare, ours in spans]),
            "ratio_to_the_end": Spread.of([ours.to_the_end / bare.to_the_end for bare, ours in spans]),
            "cpu_ratio": Spread.of([ours.cpu / bare.cpu for bare, ours in spans]),
            "burst_ratio": Spread.of([ours / bare for bare, ours in bursts]),
            "bare_microseconds": Spread.of([bare.loop / UNITS * 1e6 for bare, _ in spans]),
            "checkpoint_microseconds": Spread.of([ours.loop / UNITS * 1e6 for _, ours in spans]),
            "track_ratio": statistics.median(ours / theirs for theirs, ours in loops),
            "track_ratio_spread": Spread.of([ours / theirs for theirs, ours in loops]),
            "track_microseconds": Spread.of([ours / TURNS * 1e6 for _, ours in loops]),
        },
    )


if __name__ == "__main__":
    main()
