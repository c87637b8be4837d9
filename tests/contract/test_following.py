"""What whoever follows a store reads of it: what runs, what is new, what has ended; and when."""

from datetime import timedelta

from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.operations.models import (
    Ending,
    OperationStatus,
)
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import SqlOperationStore, open_store
from tests.contract.builders import NOW, new, progress, unit


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


def test_whoever_waits_hears_of_what_another_connection_writes(database: str) -> None:
    """Within a second; silence is told too, but by a memory database, which cannot know."""
    writer = open_store(Settings(database=database))
    reader = writer if database.endswith(":memory:") else open_store(Settings(database=database))
    changes = reader.changes()
    assert changes.wait(1)
    if reader is not writer:
        assert not changes.wait(0.3)
    writer.create(new("one"), wall_ns=1, monotonic_ns=1)
    assert changes.wait(20)
    changes.close()
    changes.forget()
    for each in {writer, reader}:
        each.close()
