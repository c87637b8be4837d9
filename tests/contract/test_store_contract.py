"""What every store keeps: one suite for each kind of database."""

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, text

from ktrdr_otel import semconv
from ktrdr_otel.clock import ns_from_utc, utc_from_ns
from ktrdr_otel.errors import OperationExistsError, StoreUnavailableError, UnknownOperationError
from ktrdr_otel.operations.durations import Learned
from ktrdr_otel.operations.logs import Logged
from ktrdr_otel.operations.models import (
    CheckpointStatus,
    Ending,
    NewOperation,
    OperationError,
    OperationStatus,
    Progress,
)
from ktrdr_otel.operations.ports import Batch, StoredSpan
from ktrdr_otel.operations.step_row import row_of_unit
from ktrdr_otel.operations.stored_unit import unit_of
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit, UnitError
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import SqlOperationStore, open_store, sql
from ktrdr_otel.storage.engine import Database
from ktrdr_otel.storage.evidence import latest_samples_query
from ktrdr_otel.storage.queries import checkpoints_query, steps_query
from ktrdr_otel.storage.watching import watching
from ktrdr_otel.watcher.process import Watcher
from ktrdr_otel.watcher.record import Record

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def new(operation_id: str) -> NewOperation:
    """An operation that begins."""
    return NewOperation(
        operation_id=operation_id,
        operation_type="training",
        name="train",
        started_at=NOW,
        trace_id="ab" * 16,
        span_id="cd" * 8,
        worker=this_worker(),
        lease_seconds=15,
    )


def unit(span_id: int, *, ended: bool = True, error: UnitError | None = None) -> Unit:
    """A unit of operation `one`, 2 s long."""
    context = {
        "symbol": "AAPL",
        "timeframe": "1h",
        "indicator_name": "rsi",
        "indicator_index": 3,
        "total_indicators": 40,
    }
    return Unit(
        "one",
        7,
        span_id,
        1,
        "computing_indicator rsi",
        "indicator_computation",
        context,
        10**18,
        0,
        10**18 + 2 * 10**9 if ended else None,
        {"loss": 0.5},
        error,
    )


def watching_me(store: SqlOperationStore) -> dict[str, Any]:
    """What a watcher of this process is told of its store."""
    mine = this_worker()
    return {
        **store.watching(),
        "pid": mine.pid,
        "started_ticks": mine.pid_started_ticks,
        "boot_id": mine.boot_id,
        "site_packages": [],
    }


def progress(percentage: float = 12.5) -> Progress:
    """Somewhere on the way."""
    return Progress(
        phase="preprocessing",
        percentage=percentage,
        message="Processing AAPL",
        context={"symbol": "AAPL", "strange": object},
        last_progress_at=NOW,
        items_completed=3,
        items_planned=40,
        estimated_remaining_seconds=1.5,
    )


def test_an_operation_comes_back_as_it_was_begun(store: SqlOperationStore) -> None:
    """Running, at 0 %."""
    store.create(new("one"), wall_ns=10**18, monotonic_ns=5)
    stored = store.get("one")
    assert stored.operation.status is OperationStatus.RUNNING
    assert stored.operation.trace_id == "ab" * 16
    assert stored.heartbeat.worker == this_worker()
    assert (stored.heartbeat.wall_ns, stored.heartbeat.monotonic_ns) == (10**18, 5)


def test_an_id_is_taken_once(store: SqlOperationStore) -> None:
    """The second is refused, the first stays."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    with pytest.raises(OperationExistsError, match="operation one exists already"):
        store.create(new("one"), wall_ns=2, monotonic_ns=2)
    assert store.get("one").heartbeat.wall_ns == 1


def test_an_unknown_id_is_said(store: SqlOperationStore) -> None:
    """By every method that takes one."""
    for ask in (
        lambda: store.get("none"),
        lambda: store.checkpoints("none", after=0, limit=1),
        lambda: store.logs("none", newest=1),
        lambda: store.samples("none", most=2),
        lambda: store.request_cancel("none", "why", wall_ns=1),
    ):
        with pytest.raises(UnknownOperationError, match="no operation none"):
            ask()


def test_the_newest_come_first_page_by_page(store: SqlOperationStore) -> None:
    """By the order in which they began, not by the clock."""
    for name in ("one", "two", "three"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)

    def page(before: str | None) -> list[str]:
        found = store.find(status=None, operation_type=None, limit=2, before=before)
        return [each.operation.operation_id for each in found]

    assert page(None) == ["three", "two"]
    assert page("two") == ["one"]
    assert store.find(status=OperationStatus.FAILED, operation_type=None, limit=9, before=None) == []


def test_a_finished_checkpoint_takes_a_new_place(store: SqlOperationStore) -> None:
    """Whoever reads on from a cursor misses neither starts nor ends."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(started=[unit(1, ended=False)], finished=[unit(2)]))
    first = store.checkpoints("one", after=0, limit=10)
    assert [(row.span_id[-1], row.status) for row in first] == [
        ("2", CheckpointStatus.COMPLETED),
        ("1", CheckpointStatus.RUNNING),
    ]
    store.write(Batch(closed=[unit(1, error=UnitError("ValueError", "boom"))]))
    [ended] = store.checkpoints("one", after=first[-1].sequence, limit=10)
    assert (ended.status, ended.symbol, ended.item_name, ended.item_index) == (
        CheckpointStatus.FAILED,
        "AAPL",
        "rsi",
        3,
    )
    assert ended.error is not None
    assert (ended.error.type, ended.error.message) == ("ValueError", "boom")
    assert ended.metrics == {"loss": 0.5}
    assert len(store.checkpoints("one", after=0, limit=10)) == 2


def test_live_state_and_heartbeat_are_replaced(store: SqlOperationStore) -> None:
    """The latest wins; what JSON cannot say is said in words."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(progress={"one": progress()}, beating=["one"], wall_ns=20, monotonic_ns=30))
    stored = store.get("one")
    assert (stored.operation.percentage, stored.operation.last_progress_at) == (12.5, NOW)
    assert stored.operation.context["strange"] == "<class 'object'>"
    assert (stored.heartbeat.wall_ns, stored.heartbeat.monotonic_ns) == (20, 30)


def test_an_end_closes_what_was_open(store: SqlOperationStore) -> None:
    """With error and time, and no remaining time."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(started=[unit(1, ended=False)]))
    error = OperationError(
        type="ValueError", message="boom", step="Processing AAPL", traceback="Traceback ..."
    )
    store.write(
        Batch(
            endings={
                "one": Ending(status=OperationStatus.FAILED, ended_at=NOW, progress=progress(50), error=error)
            }
        )
    )
    operation = store.get("one").operation
    assert (operation.status, operation.ended_at, operation.error) == (OperationStatus.FAILED, NOW, error)
    assert operation.estimated_remaining_seconds is None
    assert [row.status for row in store.checkpoints("one", after=0, limit=9)] == [CheckpointStatus.FAILED]


def test_what_an_end_closes_takes_a_new_place(store: SqlOperationStore) -> None:
    """Whoever reads on from a cursor hears that the open steps have ended."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(started=[unit(1, ended=False), unit(2, ended=False)]))
    seen = store.last_sequence()
    store.write(
        Batch(
            endings={
                "one": Ending(status=OperationStatus.CANCELLED, ended_at=NOW, progress=progress(), reason="x")
            }
        )
    )
    closed = store.checkpoints("one", after=seen, limit=9)
    assert [(row.span_id[-1], row.status) for row in closed] == [
        ("1", CheckpointStatus.CANCELLED),
        ("2", CheckpointStatus.CANCELLED),
    ]
    assert len(store.checkpoints("one", after=0, limit=9)) == 2
    assert [step.sequence for step in store.steps(after=seen, limit=9)] == [row.sequence for row in closed]


def test_steps_of_all_operations_come_in_one_order(store: SqlOperationStore) -> None:
    """Ended units only, of one operation or of all, on from a cursor."""
    for name in ("one", "two"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)
    store.write(
        Batch(finished=[unit(1), unit(2)._replace(operation_id="two")], started=[unit(3, ended=False)])
    )
    container = unit(4)._replace(progress_type=None)
    store.write(Batch(finished=[container, unit(5)]))
    steps = store.steps(after=0, limit=9)
    assert [(step.operation_id, step.span_id[-1]) for step in steps] == [
        ("one", "1"),
        ("two", "2"),
        ("one", "5"),
    ]
    assert [step.span_id[-1] for step in store.steps(after=0, limit=9, operation_id="two")] == ["2"]
    assert store.steps(after=steps[-1].sequence, limit=9) == []
    assert store.last_sequence() == steps[-1].sequence


def test_who_follows_hears_of_what_runs_what_is_new_and_what_was_asked_for(store: SqlOperationStore) -> None:
    """An operation that came and went between two looks is not missed."""
    for name in ("one", "two", "three"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)
    done = Ending(status=OperationStatus.COMPLETED, ended_at=NOW, progress=progress(100))
    store.write(Batch(endings={"one": done, "three": done}))
    key = store.get("two").key

    def names(*ids: str, after_key: int) -> list[str]:
        return [each.operation.operation_id for each in store.following(ids, after_key=after_key)]

    assert names(after_key=key) == ["two", "three"]
    assert names("one", after_key=key + 1) == ["one", "two"]


def test_the_newest_ends_of_a_time_are_found(store: SqlOperationStore) -> None:
    """The oldest of them first, each as it ended; what runs and what ended before is not among them."""
    for number in range(5):
        store.create(new(f"run {number}"), wall_ns=1, monotonic_ns=1)
    statuses = (OperationStatus.COMPLETED, OperationStatus.FAILED, OperationStatus.CANCELLED)
    for number, status in zip((2, 0, 3), statuses, strict=True):
        at = NOW + timedelta(seconds=(2, 0, 3).index(number))
        store.write(Batch(endings={f"run {number}": Ending(status=status, ended_at=at, progress=progress())}))
    assert store.mark_lost("run 4", reason="gone", ended_ns=ns_from_utc(NOW) + 10**10, heartbeat_ns=1)
    found = [each.operation for each in store.ended_since(ns_from_utc(NOW) + 1, limit=2)]
    assert [each.operation_id for each in found] == ["run 3", "run 4"]
    assert [each.status.value for each in found] == ["cancelled", "lost"]
    assert found[0].ended_at == NOW + timedelta(seconds=2)
    assert found[0].context["symbol"] == "AAPL"
    everyone = store.ended_since(0, limit=9)
    assert [each.operation.operation_id for each in everyone] == ["run 2", "run 0", "run 3", "run 4"]


def test_who_was_taken_for_dead_and_has_ended_otherwise_is_found(store: SqlOperationStore) -> None:
    """Of those that are asked for; not who is lost still, or runs again."""
    for name in ("lost", "back", "over", "other"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)
    for name in ("lost", "back", "over"):
        assert store.mark_lost(name, reason="gone", ended_ns=2, heartbeat_ns=1)
    ending = Ending(status=OperationStatus.COMPLETED, ended_at=NOW, progress=progress())
    store.write(Batch(endings={"over": ending, "other": ending}, beating=["back"], wall_ns=3))
    found = store.ended_otherwise(["lost", "back", "over"])
    assert [(each.operation.operation_id, each.operation.status.value) for each in found] == [
        ("over", "completed")
    ]


def test_metrics_have_a_history(store: SqlOperationStore) -> None:
    """A loss that diverged is what it was, not a hole."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    first = unit(1)._replace(metrics={"loss": float("nan"), "accuracy": 0.5})
    second = unit(2)._replace(metrics={"loss": float("inf")})
    store.write(Batch(finished=[first, unit(3)._replace(metrics=None), second]))
    found = store.measured("one", after=0, limit=9)
    assert [str(row.metrics["loss"]) for row in found] == ["nan", "inf"]
    assert found[0].metrics["accuracy"] == 0.5
    assert len(store.measured("one", after=found[0].sequence, limit=9)) == 1


def test_attributes_without_a_column_come_back_with_their_kind(store: SqlOperationStore) -> None:
    """The program's own and what few steps say; what no database takes as far as it goes, what is too long not."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    own = {
        "rows": 15847,
        "share": 0.5,
        "is_gapless": False,
        "columns": ("open", "close"),
        "text": "a\0b\ud83d",
        "diverged": float("nan"),
        "huge": 2**70,
        "long": "x" * 20_000,
        "last": "fits",
    }
    context = {"preparation_phase": "splitting_data", "total_samples": 9}
    ended = unit(1)._replace(progress_type="preparation", context=context, attributes=own)
    store.write(Batch(finished=[ended, unit(2)]))
    first, second = store.checkpoints("one", after=0, limit=9)
    assert first.attributes == {
        semconv.SAMPLE_TOTAL: 9,
        "rows": 15847,
        "share": 0.5,
        "is_gapless": False,
        "columns": ["open", "close"],
        "text": "a\N{REPLACEMENT CHARACTER}b?",
        "diverged": "nan",
        "last": "fits",
    }
    assert second.attributes == {}


def logged(number: int, operation_id: str = "one") -> Logged:
    """The record of that number, logged while an indicator was computed."""
    place = {
        semconv.PROGRESS_TYPE: semconv.INDICATOR_COMPUTATION,
        semconv.SYMBOL_NAME: "AAPL",
        semconv.SYMBOL_INDEX: 1,
        semconv.SYMBOL_TOTAL: 5,
        semconv.ITEM_NAME: "RSI",
        semconv.ITEM_INDEX: 15,
        semconv.ITEM_TOTAL: 40,
    }
    where = ("/job.py", 12, "load")
    return Logged(operation_id, 10**18 + number, "WARNING", "bars", f"record {number}", 7, 9, place, *where)


def test_the_last_log_records_of_an_operation_are_kept(store: SqlOperationStore) -> None:
    """Never more than two hundred of each, in order, with the step in which they were logged."""
    for name in ("one", "two"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)
    store.write(Batch(logs=[*(logged(number) for number in range(150)), logged(0, "two")]))
    store.write(Batch(logs=[logged(number) for number in range(150, 450)]))
    store.write(Batch(logs=[logged(450)]))
    kept = store.logs("one", newest=1000)
    assert [line.message for line in kept] == [f"record {number}" for number in range(251, 451)]
    assert [line.message for line in store.logs("one", newest=2)] == ["record 449", "record 450"]
    assert [line.message for line in store.logs("two", newest=9)] == ["record 0"]
    last = kept[-1]
    assert (last.level, last.logger, last.step) == (
        "WARNING",
        "bars",
        "Processing AAPL (1/5) - Computing RSI (15/40)",
    )
    assert (last.trace_id, last.span_id) == (f"{7:032x}", f"{9:016x}")
    assert (last.file, last.line, last.function) == ("/job.py", 12, "load")
    assert (last.at - utc_from_ns(10**18)).total_seconds() == 0


def test_a_message_that_no_database_takes_is_stored_as_far_as_it_goes(store: SqlOperationStore) -> None:
    """A NUL and half a character keep nothing else from being stored."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(logs=[logged(1)._replace(message="a\0b\udcff", attributes={})], finished=[unit(1)]))
    [line] = store.logs("one", newest=9)
    assert (line.message, line.step) == ("a\N{REPLACEMENT CHARACTER}b?", None)


def test_samples_of_a_long_run_are_put_together(database: str) -> None:
    """Mean CPU, highest memory, the newest as it was; a short run's come as they are."""
    store = open_store(Settings(database=database))
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    engine = store._database.engine
    with engine.begin() as connection:
        key = connection.execute(text("SELECT key FROM operations")).scalar_one()
        for number in range(101):
            connection.execute(
                text(
                    "INSERT INTO samples (operation_key, at_ns, cpu_share, rss_bytes, limit_bytes)"
                    " VALUES (:key, :at, :cpu, :rss, 5000)"
                ),
                {"key": key, "at": number, "cpu": number % 2, "rss": number},
            )
    few = store.samples("one", most=11)
    assert len(few) <= 11
    assert (few[-1].cpu_share, few[-1].rss_bytes, few[-1].limit_bytes) == (0.0, 100, 5000)
    assert [sample.rss_bytes for sample in few] == sorted(sample.rss_bytes for sample in few)
    assert few[0].cpu_share == pytest.approx(0.5, abs=0.1)
    assert [sample.rss_bytes for sample in store.samples("one", most=200)] == list(range(101))
    store.close()


def test_spans_are_known_by_their_ids(store: SqlOperationStore) -> None:
    """Open or ended; of another operation, or of none, they are unknown."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(finished=[unit(2**63 + 1)], started=[unit(2, ended=False)]))
    assert store.known_spans("one", [2**63 + 1, 2, 3]) == {
        2**63 + 1: StoredSpan(has_ended=True, parent_span_id=1),
        2: StoredSpan(has_ended=False, parent_span_id=1),
    }


def test_old_steps_are_forgotten_and_running_operations_keep_theirs(store: SqlOperationStore) -> None:
    """However long ago a running one began."""
    for name in ("one", "two"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)
    store.write(Batch(finished=[unit(1), unit(2)._replace(operation_id="two")]))
    store.write(Batch(logs=[logged(1), logged(2, "two")]))
    ended_at = datetime(2020, 1, 1, tzinfo=UTC)
    done = Ending(status=OperationStatus.COMPLETED, ended_at=ended_at, progress=progress(100))
    store.write(Batch(endings={"one": done}))
    assert store.forget_steps(ended_before_ns=1_500_000_000 * 10**9) == 0
    assert store.forget_steps(ended_before_ns=1_700_000_000 * 10**9) == 1
    assert store.checkpoints("one", after=0, limit=9) == []
    assert len(store.checkpoints("two", after=0, limit=9)) == 1
    assert (len(store.logs("one", newest=9)), len(store.logs("two", newest=9))) == (0, 1)
    assert store.get("one").operation.status is OperationStatus.COMPLETED


def test_what_is_forgotten_holds_nobody_up(store: SqlOperationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is of anything, no transaction takes more than so many rows; other operations keep theirs."""
    monkeypatch.setattr(sql, "_MOST_FORGOTTEN", 2)
    for name in ("one", "two"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)
        units = [unit(number)._replace(operation_id=name) for number in range(5)]
        store.write(
            Batch(
                finished=units,
                logs=[logged(1, name)] * 5,
                marked={name: {each.span_id: True for each in units}},
            )
        )
    done = Ending(status=OperationStatus.COMPLETED, ended_at=NOW, progress=progress(100))
    store.write(Batch(endings={"one": done}))
    deleted: list[int] = []

    def count(connection: object, cursor: Any, statement: str, *rest: object) -> None:
        if statement.startswith("DELETE"):
            deleted.append(cursor.rowcount)

    event.listen(store._database.engine, "after_cursor_execute", count)
    assert store.forget_steps(ended_before_ns=2 * 10**18) == 5
    assert deleted == [2, 2, 1, 0, 2, 2, 1, 2, 2, 1]
    assert (len(store.checkpoints("two", after=0, limit=9)), len(store.logs("two", newest=9))) == (5, 5)


def test_whoever_waits_hears_of_what_another_connection_writes(database: str) -> None:
    """Within a second; silence is told too, but by a memory database, which cannot know."""
    writer = open_store(Settings(database=database))
    reader = writer if database.endswith(":memory:") else open_store(Settings(database=database))
    changes = reader.changes()
    assert changes.wait(1)
    if reader is not writer:
        assert not changes.wait(0.3)
    writer.create(new("one"), wall_ns=1, monotonic_ns=1)
    assert changes.wait(1)
    changes.close()
    changes.forget()
    for each in {writer, reader}:
        each.close()


def test_many_rows_come_back_as_they_were_whatever_they_share(store: SqlOperationStore) -> None:
    """Statements of many rows and of few; columns that are the same in all, in some and in none; all of them."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.create(new("two"), wall_ns=1, monotonic_ns=1)
    units = [
        unit(number)._replace(
            started_ns=10**18 + number,
            ended_ns=10**18 + number,
            trace_id=8 if 256 <= number < 512 else number,
            name="equal" if number < 300 else f"name {number}",
            context={"item": f"item {number}", "index": number, "total": True}
            if number % 2
            else {"item": "1"},
            metrics={"loss": float(number)} if number > 520 else None,
            error=UnitError("ValueError", str(number)) if number == 530 else None,
            parent_span_id=None if number < 256 else 1,
        )
        for number in range(1, 547)
    ]
    others = [each._replace(operation_id="two") for each in units[::50]]
    flat = [row_of_unit(each) for each in (*units[100:400], *others)]
    store.write(Batch(finished=[*reversed(units[:100]), *units[400:]], rows=flat))
    for operation_id, begun in (("one", units), ("two", others)):
        stored = store.checkpoints(operation_id, after=0, limit=1000)
        assert [row.sequence for row in stored] == sorted({row.sequence for row in stored})
        assert [(unit_of(row), row.item_name, row.item_index, row.item_total) for row in stored] == [
            (
                unit_of(row)._replace(
                    operation_id=operation_id,
                    span_id=each.span_id,
                    trace_id=each.trace_id,
                    parent_span_id=each.parent_span_id,
                    name=each.name,
                    metrics=each.metrics,
                    error=each.error,
                ),
                each.context["item"],
                each.context.get("index"),
                each.context.get("total"),
            )
            for row, each in zip(stored, begun, strict=True)
        ]
    twins = [unit(1)._replace(operation_id="three")] * 17
    store.create(new("three"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(rows=[row_of_unit(each) for each in twins], logs=[logged(1, "three")] * 17))
    stored = store.checkpoints("three", after=0, limit=1000)
    assert [unit_of(row) for row in stored] == [unit_of(stored[0])] * len(twins)
    assert [line.message for line in store.logs("three", newest=99)] == ["record 1"] * len(twins)


def test_what_no_database_takes_keeps_no_end_from_being_stored(store: SqlOperationStore) -> None:
    """What is no text, a NUL, an index beyond 64 bits, a list and a mapping are stored as far as they go."""
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    odd = unit(5)._replace(
        name="load a\udcff\0",
        progress_type="caf\udce9",
        context={
            "item": "\udcff",
            "index": 2**70,
            "total": 3,
            "symbol": {"AAPL": 1},
            "timeframe": ["1h", "\udcff"],
        },
    )
    error = OperationError(type="OSError", message="no file a\udcff", step=None)
    ending = Ending(status=OperationStatus.FAILED, ended_at=NOW, progress=progress(), error=error)
    learned = Learned()
    learned.add(odd)
    store.write(Batch(finished=[odd], endings={"one": ending}, learned=learned))
    stored = store.get("one").operation
    assert stored.status is OperationStatus.FAILED
    assert stored.error is not None
    assert stored.error.message == "no file a?"
    [row] = store.checkpoints("one", after=0, limit=9)
    assert (row.name, row.item_name, row.item_index, row.item_total) == ("load a?\ufffd", "?", None, 3)
    assert (row.symbol, row.timeframe) == ("{'AAPL': 1}", "['1h', '\\udcff']")
    assert list(store.durations()) == [("caf?", "?", "['1h', '\\udcff']")]


def test_a_server_that_no_longer_answers_is_away_in_seconds(postgresql_url: str) -> None:
    """Every connection has the limits, the watcher's too; those of the URL win."""
    database = Database(f"{postgresql_url}?connect_timeout=3")
    with database.reading() as connection:
        told = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr] # it is open
    database.close()
    assert (told["connect_timeout"], told["tcp_user_timeout"], told["keepalives_idle"]) == (
        "3",
        "10000",
        "10",
    )
    with psycopg.connect(watching(database)["database"]) as other:
        assert other.info.get_parameters() == told


def test_a_cancel_request_is_heard_by_the_operations_worker(store: SqlOperationStore) -> None:
    """The first reason stays, and is seen until the operation ends in its own way."""
    for name in ("one", "two"):
        store.create(new(name), wall_ns=1, monotonic_ns=1)
    store.request_cancel("one", "enough", wall_ns=1)
    store.request_cancel("one", "again", wall_ns=2)
    assert store.cancel_reasons(["one", "two"]) == {"one": "enough"}
    assert [store.get(name).operation.cancel_reason for name in ("one", "two")] == ["enough", None]
    store.write(
        Batch(endings={"one": Ending(status=OperationStatus.COMPLETED, ended_at=NOW, progress=progress())})
    )
    assert store.get("one").operation.cancel_reason is None
    store.request_cancel("one", "too late", wall_ns=3)
    assert store.get("one").operation.cancel_reason is None


def test_durations_are_learned_over_runs(store: SqlOperationStore) -> None:
    """Means per progress type, item and timeframe."""
    for seconds in (1, 3):
        learned = Learned()
        learned.add(unit(1)._replace(ended_ns=10**18 + seconds * 10**9))
        store.write(Batch(learned=learned, beating=["none"]))
    assert store.durations() == {("indicator_computation", "rsi", "1h"): pytest.approx(2.0)}


def test_the_hot_query_walks_an_index(tmp_path: Path) -> None:
    """Its plan, not its milliseconds."""
    path = tmp_path / "operations.db"
    open_store(Settings(database=str(path))).close()
    engine = create_engine(f"sqlite:///{path}")
    query = str(
        checkpoints_query(1, after=5, limit=10).compile(engine, compile_kwargs={"literal_binds": True})
    )
    with engine.connect() as connection:
        plan = " ".join(row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
    engine.dispose()
    assert "checkpoints_of_operation (operation_key=? AND sequence>?)" in plan
    assert "TEMP B-TREE" not in plan


def test_an_end_walks_only_what_is_open(tmp_path: Path) -> None:
    """Among millions of rows: by the plans of the statements that it really makes."""
    store = open_store(Settings(database=str(tmp_path / "operations.db")))
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    store.write(Batch(started=[unit(7, ended=False)]))
    made: list[tuple[str, Any]] = []

    def keep(connection: object, cursor: object, statement: str, parameters: Any, *rest: object) -> None:
        made.append((statement, parameters))

    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", keep)
    ending = Ending(status=OperationStatus.COMPLETED, ended_at=NOW, progress=progress())
    store.write(Batch(endings={"one": ending}))
    event.remove(engine, "before_cursor_execute", keep)
    about_steps = [each for each in made if "checkpoints" in each[0]]
    assert len(about_steps) == 2
    with sqlite3.connect(tmp_path / "operations.db") as connection:
        for statement, parameters in about_steps:
            plan = " ".join(
                row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            )
            assert "checkpoints USING INDEX checkpoints_open (operation_key=?)" in plan
    connection.close()
    store.close()


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_two_processes_open_a_fresh_store_at_once(database: str) -> None:
    """One migrates, the other waits."""
    program = (
        "import sys; from ktrdr_otel.settings import Settings; from ktrdr_otel.storage import open_store;"
        "sys.stdin.readline(); open_store(Settings(database=sys.argv[1])).close()"
    )
    arguments = [sys.executable, "-c", program, database]
    both = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, problems = process.communicate(timeout=60)
        assert process.returncode == 0, problems


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """In one line that says what to do."""
    path = tmp_path / "operations.db"
    open_store(Settings(database=str(path))).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreUnavailableError, match="newer than this ktrdr-otel knows"):
        open_store(Settings(database=str(path)))


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("postgresql+psycopg://me:secret@nowhere/x", "psycopg"),
        ("nonsense://x", "the database URL: cannot be used"),
        (
            "mysql://somebody@host/name",
            "mysql://somebody@host/name: cannot be used; say sqlite:///path, a path, or",
        ),
        ("/proc/nowhere/operations.db", "/proc/nowhere/operations.db"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line_without_secrets(database: str, said: str) -> None:
    """The password is in no message."""
    with pytest.raises(StoreUnavailableError) as caught:
        open_store(Settings(database=database))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no database at all\n" * 100)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        open_store(Settings(database=str(path)))
    assert path.read_text().startswith("these are my notes")


def test_whoever_comes_first_declares_an_operation_lost(database: str) -> None:
    """Eight at once: one did; what was open is lost; a worker that beats again corrects it."""
    store = open_store(Settings(database=database))
    store.create(new("one"), wall_ns=5, monotonic_ns=1)
    store.write(Batch(started=[unit(1, ended=False)]))
    with ThreadPoolExecutor(8) as threads:
        declared = list(
            threads.map(lambda _: store.mark_lost("one", reason="gone", ended_ns=7, heartbeat_ns=5), range(8))
        )
    assert sorted(declared) == [False] * 7 + [True]
    assert store.get("one").operation.lost_reason == "gone"
    assert [row.status for row in store.checkpoints("one", after=0, limit=9)] == [CheckpointStatus.LOST]
    store.write(Batch(beating=["one"], wall_ns=8, monotonic_ns=9))
    back = store.get("one").operation
    assert (back.status, back.lost_reason, back.ended_at) == (OperationStatus.RUNNING, None, None)
    assert not store.mark_lost("one", reason="gone", ended_ns=7, heartbeat_ns=5), "it has beaten since"
    store.close()


def test_the_query_of_the_streams_walks_an_index(tmp_path: Path) -> None:
    """From the cursor on, for one operation and for all."""
    path = tmp_path / "operations.db"
    open_store(Settings(database=str(path))).close()
    engine = create_engine(f"sqlite:///{path}")
    for key, used in (
        (None, "INTEGER PRIMARY KEY (rowid>?)"),
        (1, "checkpoints_of_operation (operation_key=? AND sequence>?)"),
    ):
        query = str(
            steps_query(key, after=5, limit=10).compile(engine, compile_kwargs={"literal_binds": True})
        )
        with engine.connect() as connection:
            plan = " ".join(row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
        assert used in plan
        assert "TEMP B-TREE" not in plan
    engine.dispose()


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_the_newest_sample_of_each_watched_process_is_read(store: SqlOperationStore) -> None:
    """As a watcher writes them; an operation that nobody watches has none."""
    for operation_id in ("one", "two", "three"):
        store.create(new(operation_id), wall_ns=10**18, monotonic_ns=5)
    record = Record(watching_me(store))
    for operation_id, share in (("one", 0.5), ("one", 1.5), ("two", 0.25)):
        record.sample(operation_id, at_ns=10**18, cpu_share=share, rss_bytes=2**40, limit_bytes=None)
    record.close()
    found = store.latest_samples(["one", "two", "three"])
    assert {each: sample.cpu_share for each, sample in found.items()} == {"one": 1.5, "two": 0.25}
    assert (found["one"].rss_bytes, found["one"].limit_bytes) == (2**40, None)
    assert store.latest_samples(["three"]) == store.latest_samples([]) == {}


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_a_watcher_takes_over_what_a_dead_one_has_said(
    store: SqlOperationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stall stays while nothing has moved since, and is over once it has; the process runs, so it is resumed."""
    monkeypatch.setattr("ktrdr_otel.watcher.process._IDLE_SECONDS", 0.3)
    store.create(new("one"), wall_ns=1, monotonic_ns=1)
    pulse = Pulse.create()
    pulse.tick()
    record = Record(watching_me(store))
    stall = {
        "since": NOW.isoformat(),
        "until": None,
        "noticed_at": NOW.isoformat(),
        "step": "Load",
        "activity": "waiting",
        "stack": "Thread 1",
        "moved": pulse.look().moved,
    }
    record.stalled("one", json.dumps(stall))
    record.suspended("one")
    record.close()
    config = {
        **watching_me(store),
        "pulse": pulse.path,
        "heartbeat_seconds": 2.0,
        "unknown_seconds": 300.0,
        "allowances": [],
        "py_spy": None,
        "closing": None,
    }
    Watcher(config).run()
    seen = store.get("one").operation
    assert (seen.stalled, seen.suspended) == (True, False)
    pulse.tick()
    Watcher(config).run()
    seen = store.get("one").operation
    assert (seen.stalled, seen.suspended) == (False, False)
    assert seen.stall is not None
    assert seen.stall.until is not None
    pulse.close()


def test_reading_the_newest_samples_never_walks_over_the_old_ones(tmp_path: Path) -> None:
    """Its plan, not its milliseconds."""
    path = tmp_path / "operations.db"
    open_store(Settings(database=str(path))).close()
    engine = create_engine(f"sqlite:///{path}")
    query = str(latest_samples_query(["one"]).compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        plan = " ".join(row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
    engine.dispose()
    assert "SEARCH samples USING COVERING INDEX samples_of_operation (operation_key=?)" in plan
    assert "SCAN samples" not in plan
