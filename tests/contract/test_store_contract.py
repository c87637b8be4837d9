"""What every store keeps: one suite for each kind of database."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from ktrdr_otel import semconv
from ktrdr_otel.errors import OperationExistsError, UnknownOperationError
from ktrdr_otel.operations.durations import Learned
from ktrdr_otel.operations.models import (
    CheckpointStatus,
    Ending,
    OperationError,
    OperationStatus,
)
from ktrdr_otel.operations.ports import Batch, StoredSpan
from ktrdr_otel.operations.step_row import row_of_unit
from ktrdr_otel.operations.stored_unit import unit_of
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import UnitError
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import SqlOperationStore, open_store, sql
from tests.contract.builders import NOW, logged, new, progress, unit


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
