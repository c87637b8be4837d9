"""Which way queries walk on a store that has grown: their plans, not their milliseconds."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, text

from ktrdr_otel.operations.models import (
    Ending,
    OperationStatus,
)
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store
from ktrdr_otel.storage.evidence import latest_samples_query
from ktrdr_otel.storage.queries import checkpoints_query, steps_query
from tests.contract.builders import NOW, new, progress, unit


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
