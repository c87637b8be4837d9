"""A running server on a free port, and operations to look at."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from ktrdr_otel.metrics.state import Health
from ktrdr_otel.operations.models import Ending, NewOperation, OperationStatus, Progress
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.runtime import open_service
from ktrdr_otel.server.run import Server
from ktrdr_otel.server.settings import load_server_settings
from ktrdr_otel.settings import load_settings

TOKEN = "a-token-of-these-tests"


class Running:
    """A server, the service it serves, and a client."""

    def __init__(self, server: Server, service: OperationsService, client: httpx.Client) -> None:
        self.server = server
        self.service = service
        self.client = client
        self.url = server.url

    def until(self, wanted: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
        """It is so, within that time."""
        deadline = time.monotonic() + timeout_seconds
        while not wanted():
            assert time.monotonic() < deadline, "it did not come to be"
            time.sleep(0.01)


Serve = Callable[..., Running]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers, each in a thread; they stop behind the test."""
    with ExitStack() as stack:

        def start(database: str | None = None, own: Health = list, **settings: object) -> Running:
            service = open_service(load_settings(database=database or str(tmp_path / "operations.db")))
            stack.callback(service.close)
            server = Server(service, load_server_settings(**{"port": 0, **settings}), own)
            stack.enter_context(server.beside())
            client = stack.enter_context(httpx.Client(base_url=server.url, timeout=10))
            running = Running(server, service, client)
            running.until(lambda: server.started)
            return running

        yield start


@pytest.fixture
def running(serve: Serve) -> Running:
    """A server on an empty store, without a token."""
    return serve()


def begin(service: OperationsService, operation_id: str = "one") -> None:
    """An operation of this process runs; nobody beats for it but this process is there."""
    service.adopt(
        NewOperation(
            operation_id=operation_id,
            operation_type="training",
            name=f"train {operation_id}",
            started_at=datetime.now(UTC),
            trace_id="ab" * 16,
            span_id="cd" * 8,
            worker=this_worker(),
            lease_seconds=15,
        )
    )


def unit(operation_id: str, number: int, *, ended: bool = True) -> Unit:
    """The unit of that number, 1 ms long."""
    begun = time.time_ns()
    return Unit(
        operation_id,
        7,
        number,
        None,
        "load",
        "load",
        {"item": f"item {number}", "index": number},
        begun,
        0,
        begun + 10**6 if ended else None,
    )


def progress(count: int) -> Progress:
    """So many units are finished."""
    return Progress(
        phase="load",
        percentage=float(min(count, 99)),
        message=f"{count} done",
        context={},
        last_progress_at=datetime.now(UTC),
        items_completed=count,
        items_planned=None,
        estimated_remaining_seconds=None,
    )


def finish(
    service: OperationsService,
    operation_id: str = "one",
    count: int = 0,
    *,
    status: OperationStatus = OperationStatus.COMPLETED,
    ended_at: datetime | None = None,
) -> None:
    """The operation has ended so, now if it is not said when."""
    ending = Ending(status=status, ended_at=ended_at or datetime.now(UTC), progress=progress(count))
    service.write(Batch(endings={operation_id: ending}))
