"""A store, and somebody else who reads it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A store of its own."""
    return str(tmp_path / "operations.db")


@pytest.fixture
def service(database: str) -> Iterator[OperationsService]:
    """Someone else who reads the store."""
    opened = open_service(load_settings(database=database))
    yield opened
    opened.close()
