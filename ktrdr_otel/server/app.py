"""The application: its routes, who may use them, and what runs beside them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from ktrdr_otel.clock import Clock
from ktrdr_otel.errors import StoreError
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.health import store_points
from ktrdr_otel.metrics.prometheus import PrometheusFace
from ktrdr_otel.metrics.state import Health, MetricsState, Point
from ktrdr_otel.metrics.usage import Usage
from ktrdr_otel.notify import Notifier, Outbox
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.server.api import (
    EVERYWHERE,
    Backend,
    explain,
    health_api,
    metrics_api,
    operation_form,
    operations_api,
    problem,
)
from ktrdr_otel.server.auth import Gate, PageHeaders, log_in
from ktrdr_otel.server.follower import Deliver, Follower
from ktrdr_otel.server.hub import Hub
from ktrdr_otel.server.ingest import Bucket, Ingest, traces_api
from ktrdr_otel.server.retention import forget_old_steps
from ktrdr_otel.server.settings import ServerSettings
from ktrdr_otel.server.stream import streams

logger = logging.getLogger(__name__)

_PAGE: Final = Path(__file__).parent / "page"
_LAST_MESSAGES_SECONDS: Final = 5.0
_LONGEST_BODY: Final = 64 * 1024  # of anything but spans


def create_app(
    service: OperationsService, settings: ServerSettings, clock: Clock, own: Health = list
) -> FastAPI:
    """The server on that service; whoever runs it owns the service and closes it afterwards.

    `own` gives the numbers of the plugin where it observes in this process.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hub = Hub(service, lambda operation: operation_form(settings, operation))
        app.state.backend = Backend(service, settings, hub)
        metrics = MetricsState()
        deliveries: list[Deliver] = [hub.stored, metrics.stored]
        outbox = None if settings.notify is None else Outbox(settings.notify.get_secret_value())
        if outbox is not None:
            deliveries.append(Notifier(outbox).stored)
        # The last one: it reads the store, and what is told before it is told whatever becomes of that.
        deliveries.append(Usage(metrics, service.latest_samples).stored)
        follower = Follower(service, *deliveries, recall=metrics.recall)

        def health() -> list[Point]:
            looking_on = (instruments.SUBSCRIBERS, (), float(hub.subscribers))
            return [looking_on, *store_points(service, is_followed=not follower.is_away), *own()]

        app.state.metrics = PrometheusFace(metrics, health)
        # What rendering imports late is imported: the first scrape should not pay for it. Without numbers: those of
        # `own` come from drivers, which may not answer, and this is the event loop.
        PrometheusFace(MetricsState(), list).render("")
        service.listen(hub.progressed)
        follower.start()
        tasks = [asyncio.create_task(hub.run())]
        if settings.keep_days is not None:
            tasks.append(asyncio.create_task(forget_old_steps(service, settings.keep_days)))
        try:
            yield
        finally:
            service.listen(None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(follower.stop)
            if outbox is not None:
                await asyncio.to_thread(outbox.close, _LAST_MESSAGES_SECONDS)

    app = FastAPI(
        title="ktrdr-otel",
        summary="Where long jobs are, whether they move, and what they are stuck on.",
        version="1",
        docs_url=None,  # their scripts come from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=EVERYWHERE,
        max_body_size=_LONGEST_BODY,
    )
    app.state.bucket = Bucket()
    app.state.ingest = Ingest(service, clock)
    # An operation's id may have slashes: whatever follows it is looked for first.
    for router in (streams, traces_api, metrics_api, health_api, operations_api):
        app.include_router(router)
    _add_page(app, settings)
    _leave_out_422(app)
    app.openapi()  # FastAPI would put its routes together at the first request, which should not pay for it
    app.add_exception_handler(StoreError, _explained)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(PageHeaders)
    return app


def _add_page(app: FastAPI, settings: ServerSettings) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_PAGE / "index.html")

    @app.get("/login", include_in_schema=False)
    async def login_form() -> Response:
        return FileResponse(_PAGE / "login.html")

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        return await log_in(request, settings)

    app.mount("/page", StaticFiles(directory=_PAGE), name="page")


def _leave_out_422(app: FastAPI) -> None:
    """FastAPI documents an answer that this server never gives: what it cannot understand is 400."""
    described = app.openapi

    def described_truly() -> dict[str, Any]:
        document = described()
        for path in document["paths"].values():
            for route in path.values():
                route["responses"].pop("422", None)
        return document

    app.openapi = described_truly  # type: ignore[method-assign] # FastAPI's own way to change it


async def _explained(_request: Request, error: Exception) -> Response:
    return explain(error)


async def _misunderstood(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return problem(400, f"{where}: {first['msg']}")
