"""A store of each kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import SqlOperationStore, open_store


@pytest.fixture(params=["file", "memory", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return str(tmp_path / "folder" / "operations.db") if request.param == "file" else "sqlite:///:memory:"


@pytest.fixture
def store(database: str) -> Iterator[SqlOperationStore]:
    """An empty store of each kind."""
    opened = open_store(Settings(database=database))
    yield opened
    opened.close()
