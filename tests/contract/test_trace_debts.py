"""What the trace of a dead run owes, and whose turn it is to pay: the same on every store."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from ktrdr_otel.clock import utc_from_ns
from ktrdr_otel.operations.models import Checkpoint, Ending, OperationStatus
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.trace_export import TraceExport, TraceReceiver
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import SqlOperationStore, open_store
from ktrdr_otel.storage.traces import owed_checkpoints_query
from ktrdr_otel.watcher.record import Record
from tests.contract.builders import new, progress, unit

EXPORT = TraceExport(
    receivers=(
        TraceReceiver(protocol="http/protobuf", endpoint="http://jaeger:4318/v1/traces"),
        TraceReceiver(protocol="grpc", endpoint="http://tempo:4317"),
    ),
    live="markers",
    resource={"service.name": "trading", "process.pid": 7},
    scope_version="1.0",
)
SECOND = 10**9
DIED_NS = 10**18


def exported(store: SqlOperationStore, operation_id: str = "one") -> None:
    """An operation that runs and exports."""
    begun = dataclasses.replace(new(operation_id), trace_export=EXPORT)
    store.create(begun, wall_ns=DIED_NS, monotonic_ns=1)


def lost(store: SqlOperationStore, operation_id: str = "one") -> None:
    """Its process is gone."""
    assert store.mark_lost(operation_id, reason="it died", ended_ns=DIED_NS, heartbeat_ns=DIED_NS)


def owed(store: SqlOperationStore, *, left_open: bool = False, limit: int = 100) -> list[Checkpoint]:
    """The checkpoints that are owed, page by page."""
    debt = store.trace_debt("one")
    assert debt is not None
    found: list[Checkpoint] = []
    while page := store.owed_checkpoints(
        "one",
        debt.confirmed,
        left_open=left_open,
        after=found[-1].sequence if found else 0,
        limit=limit,
    ):
        assert len(page) <= limit
        found += page
    return found


def test_a_running_operation_owes_nothing(store: SqlOperationStore) -> None:
    """Its own process exports; one that nobody else could export for owes nothing either."""
    exported(store)
    store.create(new("silent"), wall_ns=DIED_NS, monotonic_ns=1)
    lost(store, "silent")
    assert store.traces_owed(now_ns=DIED_NS) == []
    assert store.take_trace("one", now_ns=DIED_NS) is None
    assert store.take_trace("silent", now_ns=DIED_NS) is None


def test_how_a_trace_is_exported_is_known_also_where_nothing_is_owed(store: SqlOperationStore) -> None:
    """As whom and under which scope; None where nobody else could export it."""
    exported(store)
    store.create(new("silent"), wall_ns=DIED_NS, monotonic_ns=1)
    assert store.trace_export("one") == EXPORT
    assert store.trace_export("silent") is None
    assert store.trace_export("none") is None


def test_a_lost_operation_owes_what_was_not_confirmed(store: SqlOperationStore) -> None:
    """With all that it takes to send it: where to, as whom, from which place on, and what has markers."""
    exported(store)
    places = {2: 1, 3: 2, 5: 0}  # of one that nobody is to export it is 0
    ended = [unit(span_id)._replace(export_place=place) for span_id, place in places.items()]
    started = [unit(4, ended=False)]
    store.write(
        Batch(finished=ended, started=started, confirmed={"one": 1}, marked={"one": {1: True, 4: True}})
    )
    # Told twice; and of one it turned out that its marker was refused, of another that it never had one.
    store.write(Batch(marked={"one": {4: True, 5: True}}))
    store.write(Batch(marked={"one": {5: False, 6: False}}))
    lost(store)
    assert store.traces_owed(now_ns=DIED_NS) == ["one"]
    debt = store.take_trace("one", now_ns=DIED_NS)
    assert debt is not None
    assert debt.export == EXPORT
    assert debt.confirmed == 1
    assert debt.marked == {f"{1:016x}", f"{4:016x}"}
    assert debt.root_span_id == "cd" * 8
    assert debt.operation.lost_reason == "it died"
    assert [row.span_id for row in owed(store, left_open=True)] == [f"{4:016x}"]
    assert [row.span_id for row in owed(store)] == [f"{3:016x}"]


def test_a_marker_of_an_operation_that_is_not_there_is_nobody_s(store: SqlOperationStore) -> None:
    """A span can say that it belongs to an operation of another store: the rest of the batch is stored all the same."""
    exported(store)
    store.write(Batch(marked={"elsewhere": {7: True}, "one": {1: True}}, finished=[unit(1)]))
    lost(store)
    debt = store.trace_debt("one")
    assert debt is not None
    assert debt.marked == {f"{1:016x}"}
    assert store.trace_debt("elsewhere") is None


def test_one_turn_at_a_time_whoever_asks(database: str) -> None:
    """Of many processes one sends; it has a minute, after which somebody else may."""
    stores = [open_store(Settings(database=database))]
    exported(stores[0])
    lost(stores[0])
    if not stores[0].is_in_memory:
        stores += [open_store(Settings(database=database)) for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(stores[number % len(stores)].take_trace, "one", now_ns=DIED_NS)
            for number in range(16)
        ]
        assert sum(each.result() is not None for each in asked) == 1
    assert stores[0].take_trace("one", now_ns=DIED_NS + 59 * SECOND) is None
    assert stores[0].take_trace("one", now_ns=DIED_NS + 60 * SECOND) is not None
    for each in stores:
        each.close()


def test_what_a_receiver_does_not_take_is_tried_after_longer_and_longer_pauses(
    store: SqlOperationStore,
) -> None:
    """15 s, 30 s, a minute, ten minutes at most; and given up after a day."""
    exported(store)
    lost(store)
    now_ns, pauses = DIED_NS, []
    for _ in range(8):
        assert store.take_trace("one", now_ns=now_ns) is not None
        store.put_off_trace("one", EXPORT.receivers, now_ns=now_ns)
        seconds = next(
            seconds for seconds in range(1000) if store.traces_owed(now_ns=now_ns + seconds * SECOND)
        )
        pauses.append(seconds)
        now_ns += seconds * SECOND
    assert pauses == [15, 30, 60, 120, 240, 480, 600, 600]
    assert store.traces_owed(now_ns=DIED_NS + 24 * 3600 * SECOND) == []


def test_who_has_the_credentials_does_not_wait_for_a_turn(store: SqlOperationStore) -> None:
    """Neither through the pause after somebody else's failure, which its own tries leave as it is."""
    exported(store)
    lost(store)
    assert store.take_trace("one", now_ns=DIED_NS) is not None
    store.put_off_trace("one", EXPORT.receivers, now_ns=DIED_NS)
    for _ in range(5):
        assert store.take_trace("one", now_ns=DIED_NS) is None
        assert store.take_trace("one", now_ns=DIED_NS, first=True) is not None
        store.put_off_trace("one", EXPORT.receivers, now_ns=DIED_NS)
    assert store.take_trace("one", now_ns=DIED_NS + 15 * SECOND) is not None


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_whoever_looks_comes_after_the_watcher_of_the_dead(store: SqlOperationStore) -> None:
    """A server sees the loss within a tenth of a second, and lacks the credentials: it has to wait for 20 s."""
    exported(store)
    worker = this_worker()
    record = Record(
        {
            **store.watching(),
            "pid": worker.pid,
            "started_ticks": worker.pid_started_ticks,
            "boot_id": worker.boot_id,
            "site_packages": [],
        }
    )
    record.lost("one", "it died", ended_ns=DIED_NS)
    record.close()
    assert store.take_trace("one", now_ns=DIED_NS + 19 * SECOND) is None
    assert store.traces_owed(now_ns=DIED_NS + 19 * SECOND) == []
    assert store.traces_owed(now_ns=DIED_NS + 20 * SECOND) == ["one"]
    assert store.take_trace("one", now_ns=DIED_NS, first=True) is not None


def test_who_has_the_credentials_waits_for_a_request_that_is_under_way(store: SqlOperationStore) -> None:
    """Else everything would be sent twice."""
    exported(store)
    lost(store)
    assert store.take_trace("one", now_ns=DIED_NS) is not None
    assert store.take_trace("one", now_ns=DIED_NS + 11 * SECOND, first=True) is None
    assert store.take_trace("one", now_ns=DIED_NS + 12 * SECOND, first=True) is not None
    assert store.traces_owed(now_ns=DIED_NS + 12 * SECOND) == []
    assert store.traces_owed(now_ns=DIED_NS + 12 * SECOND, due=False) == ["one"]


def test_what_is_complete_is_not_sent_again(store: SqlOperationStore) -> None:
    """Not by anybody; what it took to send it is not kept."""
    exported(store)
    store.write(Batch(marked={"one": {1: True, 4: True}}))
    lost(store)
    assert store.take_trace("one", now_ns=DIED_NS) is not None
    store.trace_complete("one")
    assert store.traces_owed(now_ns=DIED_NS + 3600 * SECOND) == []
    assert store.take_trace("one", now_ns=DIED_NS + 3600 * SECOND) is None
    store.leave_trace("one", confirmed=7, marked={})
    debt = store.take_trace("one", now_ns=DIED_NS)
    assert debt is not None
    assert debt.marked == frozenset()


def test_what_has_arrived_is_owed_no_more_and_the_turn_goes_on(store: SqlOperationStore) -> None:
    """Page by page, in any order of places; whoever still sends keeps the others away."""
    exported(store)
    places = [4, 2, 3, 1]
    ended = [unit(10 + place)._replace(export_place=place) for place in places]
    store.write(Batch(finished=ended, started=[unit(1, ended=False)]))
    lost(store)
    assert store.take_trace("one", now_ns=DIED_NS) is not None
    assert [row.export_place for row in owed(store, limit=3)] == places
    first, *_, last = owed(store)
    (still_open,) = owed(store, left_open=True)
    store.spans_arrived("one", [first.sequence, still_open.sequence], now_ns=DIED_NS + 50 * SECOND)
    assert owed(store, left_open=True) == []
    assert [row.export_place for row in owed(store)] == places[1:]
    store.spans_arrived("one", [last.sequence], now_ns=DIED_NS + 50 * SECOND)
    assert [row.export_place for row in owed(store)] == places[1:3]
    assert store.traces_owed(now_ns=DIED_NS + 109 * SECOND) == []
    assert store.traces_owed(now_ns=DIED_NS + 110 * SECOND) == ["one"]


def test_a_receiver_that_has_everything_is_owed_nothing(store: SqlOperationStore) -> None:
    """Another one that failed is owed the rest alone."""
    exported(store)
    lost(store)
    assert store.take_trace("one", now_ns=DIED_NS) is not None
    store.put_off_trace("one", EXPORT.receivers[1:], now_ns=DIED_NS)
    debt = store.trace_debt("one")
    assert debt is not None
    assert debt.export.receivers == EXPORT.receivers[1:]


def test_the_marks_of_a_trace_that_is_complete_are_forgotten(store: SqlOperationStore) -> None:
    """Those of another are not."""
    for operation_id in ("one", "two"):
        exported(store, operation_id)
        store.write(Batch(marked={operation_id: {1: True}}))
        lost(store, operation_id)
    store.trace_complete("one")
    store.leave_trace("one", confirmed=0, marked={})
    marked = {each: debt.marked for each in ("one", "two") if (debt := store.trace_debt(each)) is not None}
    assert marked == {"one": frozenset(), "two": {f"{1:016x}"}}


def test_a_long_trace_is_walked_over_and_not_sorted(tmp_path: Path) -> None:
    """Each page goes on where the last one ended: its plan, not its milliseconds."""
    path = tmp_path / "operations.db"
    open_store(Settings(database=str(path))).close()
    engine = create_engine(f"sqlite:///{path}")
    for left_open in (True, False):
        query = owed_checkpoints_query(1, 1, left_open=left_open, after=1, limit=1)
        words = query.compile(engine, compile_kwargs={"literal_binds": True})
        with engine.connect() as connection:
            plan = " ".join(row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {words}")))
        assert "checkpoints_of_operation (operation_key=? AND sequence>?)" in plan
        assert "TEMP B-TREE" not in plan
    engine.dispose()


def test_a_process_that_was_only_frozen_exports_for_itself_again(store: SqlOperationStore) -> None:
    """Its heartbeat takes the declaration back, and the debt with it; whoever was sending changes nothing of that."""
    exported(store)
    store.write(Batch(marked={"one": {1: True}}))
    lost(store)
    store.write(Batch(beating=["one"], wall_ns=DIED_NS + SECOND, monotonic_ns=2))
    assert store.get("one").operation.status is OperationStatus.RUNNING
    assert store.traces_owed(now_ns=DIED_NS + SECOND) == []
    store.put_off_trace("one", EXPORT.receivers[1:], now_ns=DIED_NS + SECOND)
    store.trace_complete("one")
    assert store.mark_lost("one", reason="it died", ended_ns=DIED_NS, heartbeat_ns=DIED_NS + SECOND)
    debt = store.trace_debt("one")
    assert debt is not None
    assert debt.export.receivers == EXPORT.receivers
    assert debt.marked == {f"{1:016x}"}


def test_a_run_that_has_ended_may_still_be_sending(store: SqlOperationStore) -> None:
    """Its process has two minutes to say that all has arrived; if it dies meanwhile others send the rest."""
    exported(store)
    lost(store)  # it was only frozen, and comes back to its end
    ending = Ending(status=OperationStatus.COMPLETED, ended_at=utc_from_ns(DIED_NS), progress=progress())
    store.write(Batch(endings={"one": ending}))
    assert store.traces_owed(now_ns=DIED_NS + 119 * SECOND, due=True) == []
    assert store.traces_owed(now_ns=DIED_NS + 120 * SECOND, due=True) == ["one"]
    store.trace_complete("one")
    assert store.traces_owed(now_ns=DIED_NS + 3600 * SECOND, due=False) == []


def test_a_run_that_ended_while_its_receiver_was_away_owes_the_rest(store: SqlOperationStore) -> None:
    """Its process says how far it came, and leaves."""
    exported(store)
    ending = Ending(status=OperationStatus.COMPLETED, ended_at=utc_from_ns(DIED_NS), progress=progress())
    store.write(Batch(endings={"one": ending}))
    store.leave_trace("one", confirmed=3, marked={9: True})
    debt = store.take_trace("one", now_ns=DIED_NS)
    assert debt is not None
    assert (debt.confirmed, debt.marked) == (3, frozenset({f"{9:016x}"}))
