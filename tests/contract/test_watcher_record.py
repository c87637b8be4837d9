"""What a watcher writes with statements of its own, in every store that another process can see."""

import json
import time
from dataclasses import replace

import pytest

from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.storage import SqlOperationStore
from ktrdr_otel.watcher.place import Place
from ktrdr_otel.watcher.process import Watcher
from ktrdr_otel.watcher.record import Record
from tests.contract.builders import NOW, new, progress, watching_me

STALL = {"step": "Load", "activity": "waiting", "stack": "Thread 1"}


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_the_time_of_a_stop_is_no_silence(store: SqlOperationStore) -> None:
    """As the watcher tells it, before the process itself has stored that it moved; then that is newer."""
    store.create(new("one"), wall_ns=10**18, monotonic_ns=5)
    moved = replace(progress(), moved_monotonic_ns=10**9, allowance_seconds=3.0, slow_after_seconds=None)
    store.write(Batch(progress={"one": moved}))
    record = Record(watching_me(store))
    record.suspended("one")
    assert store.get("one").operation.suspended
    record.resumed("one", since_ns=2 * 10**9, now_ns=10 * 10**9)
    seen = store.get("one")
    assert not seen.operation.suspended
    assert seen.movement is not None
    assert seen.movement.monotonic_ns == 9 * 10**9
    record.resumed("one", since_ns=2 * 10**9, now_ns=10 * 10**9)
    assert store.get("one").movement == seen.movement
    record.goes_on("one", json.dumps(dict.fromkeys(("since", "until"), NOW.isoformat()) | STALL))
    record.close()
    gone_on = store.get("one")
    assert not gone_on.operation.stalled
    later = gone_on.movement
    assert later is not None
    assert abs(later.monotonic_ns - time.monotonic_ns()) < 10 * 10**9


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_a_place_is_stored_for_who_cannot_store_it(store: SqlOperationStore) -> None:
    """Message and context, as the process itself would have; of an operation that has ended there is none."""
    store.create(new("one"), wall_ns=10**18, monotonic_ns=5)
    store.write(Batch(progress={"one": progress()}))
    record = Record(watching_me(store))
    known = record.place("one")
    assert known is not None
    assert known.message == progress().message
    assert known.context["symbol"] == "AAPL"
    record.is_in("one", Place("Load MSFT (3/10)", {"item": "MSFT", "index": 3}))
    seen = store.get("one").operation
    assert (seen.message, seen.context) == ("Load MSFT (3/10)", {"item": "MSFT", "index": 3})
    record.lost("one", "gone", ended_ns=10**18)
    assert record.place("one") is None
    record.close()


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


@pytest.mark.parametrize("database", ["file", "postgresql"], indirect=True)
def test_who_stores_that_it_moves_is_suspended_no_more(store: SqlOperationStore) -> None:
    """Its watcher sees it up to a quarter of a second later."""
    store.create(new("one"), wall_ns=10**18, monotonic_ns=5)
    record = Record(watching_me(store))
    record.suspended("one")
    record.close()
    assert store.get("one").operation.suspended
    store.write(Batch(progress={"one": progress()}))
    assert not store.get("one").operation.suspended
