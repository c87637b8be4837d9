"""The servers, anew for each file: what runs have taught in one would be known in the next."""

from collections.abc import Iterator

import pytest

from tests.backends.servers import Backends, started


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Jaeger, Prometheus with its OTLP receiver, and the operations server."""
    with started(tmp_path_factory.mktemp("backends")) as servers:
        yield servers
