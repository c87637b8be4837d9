"""Log records and samples of processes, in every store."""

import pytest
from sqlalchemy import text

from ktrdr_otel.clock import utc_from_ns
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import SqlOperationStore, open_store
from ktrdr_otel.watcher.record import Record
from tests.contract.builders import logged, new, unit, watching_me


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
