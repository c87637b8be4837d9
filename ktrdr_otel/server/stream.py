"""The two kinds of stream: server-sent events and WebSocket. Both say the same."""

import asyncio
import contextlib
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException, Query, Request, WebSocket
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ktrdr_otel.errors import UnknownOperationError
from ktrdr_otel.server.api import UNKNOWN, OperationId, backend_of
from ktrdr_otel.server.hub import Hub

streams = APIRouter(prefix="/api/v1", tags=["streams"])

_HIGHEST: Final = 2**63 - 1
_RETRY_MS: Final = 1000  # a browser that was cut comes back after so long

After = Annotated[
    int | None,
    Query(ge=0, le=_HIGHEST, description="Steps of a higher sequence; without it steps from now on."),
]
LastEventId = Annotated[
    int | None,
    Header(ge=0, le=_HIGHEST, description="As a browser sends it that comes back; wins over `after`."),
]
_DESCRIBED: Final = {
    200: {
        "description": (
            "Server-sent events. `state`: the operation, the latest wins. `step`: a finished unit, none missing. "
            "`end`: the operation as it ended. `bye`: the server stops. The id is the sequence to go on from."
        ),
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class EventStream(Response):
    """Chunks of a hub's readers as server-sent events, for as long as somebody reads.

    One task beside the request's own: a thousand readers have to fit into a small process.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, operation_id: str | None, after: int | None, *, steps: bool = True) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        self._hub = hub
        self._operation_id = operation_id
        self._after = after
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The stream, to its end or until the reader goes."""
        headers = [each for each in self.raw_headers if each[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        telling = asyncio.ensure_future(self._tell(send))
        leaving = asyncio.ensure_future(_until_gone(receive))
        leaving.add_done_callback(lambda _: telling.cancel())
        try:
            await telling
        except asyncio.CancelledError:
            if not leaving.done():
                raise
        except OSError:
            pass  # the reader went while it was told something
        finally:
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving

    async def _tell(self, send: Send) -> None:
        await send(
            {"type": "http.response.body", "body": f"retry: {_RETRY_MS}\n".encode(), "more_body": True}
        )
        told = self._hub.follow(self._operation_id, self._after, steps=self._steps)
        async with contextlib.aclosing(told) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk.sse, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@streams.get("/events", response_class=Response, responses=_DESCRIBED)  # type: ignore[arg-type] # as OpenAPI has it
async def follow_all(
    request: Request,
    after: After = None,
    steps: Annotated[bool, Query(description="Without steps only states and ends are told.")] = True,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow all operations as server-sent events."""
    after = after if last_event_id is None else last_event_id
    return EventStream(backend_of(request).hub, None, after, steps=steps)


@streams.get(
    "/operations/{operation_id:path}/events",
    response_class=Response,
    responses={**_DESCRIBED, **UNKNOWN},  # type: ignore[dict-item] # as OpenAPI has it
)
async def follow_one(
    request: Request, operation_id: OperationId, after: After = None, last_event_id: LastEventId = None
) -> Response:
    """Follow one operation as server-sent events, to its end."""
    backend = backend_of(request)
    await to_thread.run_sync(backend.service.get, operation_id)
    return EventStream(backend.hub, operation_id, after if last_event_id is None else last_event_id)


@streams.websocket("/operations/{operation_id:path}/ws")
async def follow_by_websocket(socket: WebSocket, operation_id: str, after: int | None = None) -> None:
    """The same messages, each a JSON text `{"event", "id", "data"}`."""
    backend = backend_of(socket)
    try:
        await to_thread.run_sync(backend.service.get, operation_id)
    except UnknownOperationError as error:
        raise HTTPException(404, str(error)) from error
    await socket.accept()
    telling = asyncio.ensure_future(_tell_socket(socket, backend.hub, operation_id, after))
    try:
        while True:
            receiving = asyncio.ensure_future(socket.receive())
            await asyncio.wait({telling, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                receiving.cancel()
                telling.result()
                await socket.close(1000, "the stream has ended")
                return
            if receiving.result()["type"] == "websocket.disconnect":
                return
    except (WebSocketDisconnect, OSError):
        pass  # the reader went while it was told something
    finally:
        telling.cancel()


async def _tell_socket(socket: WebSocket, hub: Hub, operation_id: str, after: int | None) -> None:
    async with contextlib.aclosing(hub.follow(operation_id, after)) as chunks:
        async for chunk in chunks:
            for text in chunk.texts:
                await socket.send_text(text)
