"""Runs the server: in this thread until it is told to stop, or beside a training."""

import asyncio
import contextlib
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ktrdr_otel.clock import SystemClock
from ktrdr_otel.errors import SettingsError
from ktrdr_otel.metrics.state import Health
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.server.app import create_app
from ktrdr_otel.server.settings import ServerSettings

logger = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 3  # for requests that are under way when it stops
_LAST_NEWS_SECONDS: Final = 0.3  # what has just ended reaches its readers before they are sent away
_FIRST_REQUEST_SECONDS: Final = 10.0  # for a connection to say what it wants
_SPARE_FILES: Final = 200


class _Protocol(HttpToolsProtocol):
    """A connection that says nothing is closed: it would hold the place of somebody who asks."""

    def connection_made(self, transport: Any) -> None:
        """Somebody has connected."""
        super().connection_made(transport)
        self._silence: asyncio.TimerHandle = self.loop.call_later(
            _FIRST_REQUEST_SECONDS, self._close_if_silent
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._silence.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        asked = cast("RequestResponseCycle | None", self.cycle)  # None until the first request
        if asked is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn, whose streams end with a reason when it stops."""

    def __init__(self, service: OperationsService, settings: ServerSettings, own: Health = list) -> None:
        self.app: FastAPI = create_app(service, settings, SystemClock(), own)
        self._settings = settings
        self._socket = _listening(settings)
        super().__init__(
            uvicorn.Config(
                self.app,
                http=_Protocol,
                ws="websockets-sansio",
                limit_concurrency=settings.max_connections,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                access_log=False,
                log_config=None,
                server_header=False,
            )
        )

    @property
    def url(self) -> str:
        """Where it is reached from this machine."""
        host, port = self._socket.getsockname()[:2]
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 # compared, not listened on
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    def serve_forever(self) -> None:
        """It serves until SIGINT or SIGTERM."""
        _allow_files(self._settings.max_connections)
        self.run(sockets=[self._socket])

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """It serves from a thread of its own while the block runs."""
        thread = threading.Thread(target=self.serve_forever, name="ktrdr-otel server", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.should_exit = True
            thread.join(_GRACE_SECONDS + 2)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the program's own; only a server in the main thread listens to them."""
        if threading.current_thread() is threading.main_thread():
            with super().capture_signals():
                yield
        else:
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams say goodbye first: they would not end by themselves."""
        backend = getattr(self.app.state, "backend", None)
        if backend is not None:
            await asyncio.sleep(_LAST_NEWS_SECONDS)
            backend.hub.close("the server stops")
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def _listening(settings: ServerSettings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; choose another --port"
        ) from error
    listener.setblocking(False)
    return listener


def _allow_files(connections: int) -> None:
    """Each connection is an open file, and many systems start with 1,024."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            logger.warning("only %d files may be open: fewer than %d connections fit", most, connections)
