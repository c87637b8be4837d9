"""The servers, once for all files."""

from collections.abc import Iterator

import pytest

from tests.backends.servers import Backends, started


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Jaeger, Prometheus with its OTLP receiver, and the operations server."""
    with started(tmp_path_factory.mktemp("backends")) as servers:
        yield servers
