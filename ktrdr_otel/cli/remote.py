"""The operations of a server, asked over HTTP, with the methods that a store's own service has."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx
from httpx_sse import SSEError, connect_sse

from ktrdr_otel.context import KEPT_LOGS
from ktrdr_otel.errors import StoreError, StoreUnavailableError, UncancellableError, UnknownOperationError
from ktrdr_otel.operations.json_form import checkpoint_of, log_line_of, operation_of, sample_of
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import Checkpoint, Operation, OperationStatus
from ktrdr_otel.operations.samples import Sample
from ktrdr_otel.operations.stack import StackTaken
from ktrdr_otel.operations.trace_export import TraceExport

_TIMEOUT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 30.0  # a stream says something every 10 s
_AGAIN_SECONDS: Final = 1.0
_PAGE: Final = 1000


class RemoteOperations:
    """A server's operations; every method raises `StoreUnavailableError` when it cannot be asked."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self._url, headers=headers, timeout=_TIMEOUT_SECONDS, follow_redirects=False
        )

    def list(self, *, status: OperationStatus | None = None, limit: int = 50) -> list[Operation]:
        """Operations, the newest first."""
        found: list[Operation] = []
        cursor: str | None = None
        while len(found) < limit:
            wanted = {"status": status, "cursor": cursor, "limit": min(limit - len(found), _PAGE)}
            page = self._get("/api/v1/operations", **wanted)
            found.extend(operation_of(form) for form in page["operations"])
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def get(self, operation_id: str) -> Operation:
        """The operation; raises `UnknownOperationError`."""
        return operation_of(self._get(_path(operation_id)))

    def checkpoints(self, operation_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Checkpoint]:
        """Checkpoints of a higher sequence than `after`, in order; raises `UnknownOperationError`."""
        found: list[Checkpoint] = []
        cursor: int | None = after
        while cursor is not None and len(found) < limit:
            page = self._get(
                f"{_path(operation_id)}/checkpoints", after=cursor, limit=min(limit - len(found), _PAGE)
            )
            found.extend(checkpoint_of(operation_id, form) for form in page["checkpoints"])
            cursor = page["next"]
        return found

    def logs(self, operation_id: str, *, newest: int = KEPT_LOGS) -> Sequence[LogLine]:
        """So many of its last log records, in order; raises `UnknownOperationError`."""
        found = self._get(f"{_path(operation_id)}/logs", limit=newest)
        return [log_line_of(form) for form in found["logs"]]

    def trace_export(self, operation_id: str) -> TraceExport | None:
        """None: where the spans of its runs go, and of what process they are, a server tells nobody."""
        return None

    def samples(self, operation_id: str) -> Sequence[Sample]:
        """What its process used, in order, the newest as it was; raises `UnknownOperationError`."""
        return [sample_of(form) for form in self._get(f"{_path(operation_id)}/samples")["samples"]]

    def stack(self, operation_id: str) -> StackTaken:
        """All threads of the operation's process, taken now, or why there are none; raises `UnknownOperationError`."""
        with self._told(operation_id):
            answer = self._ask(f"{_path(operation_id)}/stack")
            if answer.status_code == httpx.codes.CONFLICT:
                return StackTaken(False, str(answer.json()["detail"]))
            answer.raise_for_status()
            return StackTaken(True, str(answer.json()["stack"]))

    def request_cancel(self, operation_id: str, reason: str = "Operation cancelled") -> str:
        """The operation will stop at its next checkpoint, for the reason that was given first, which is returned.

        Raises `UnknownOperationError` and `UncancellableError`.
        """
        with self._told(operation_id):
            answer = self._client.post(f"{_path(operation_id)}/cancel", json={"reason": reason})
            if answer.status_code == httpx.codes.CONFLICT:
                raise UncancellableError(str(answer.json()["detail"]))
            return str(answer.raise_for_status().json()["reason"])

    def follow(self, operation_id: str) -> Iterator[Checkpoint | Operation]:
        """Each finished step from the first on, and each new state, to the end.

        A server that was away is waited for.
        """
        last_id: int | None = None
        self.get(operation_id)
        while True:
            try:
                for event in self._events(operation_id, last_id):
                    last_id = int(event.id)
                    if event.event == "step":
                        yield checkpoint_of(operation_id, json.loads(event.data))
                    elif event.event in ("state", "end"):
                        yield operation_of(json.loads(event.data))
                    if event.event == "end":
                        return
            except httpx.TransportError:
                pass
            time.sleep(_AGAIN_SECONDS)

    def describe(self) -> str:
        """Where they are, for people."""
        return self._url

    def close(self) -> None:
        """No connection is open."""
        self._client.close()

    def _events(self, operation_id: str, last_id: int | None) -> Iterator[Any]:
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        with (
            self._told(operation_id),
            connect_sse(
                self._client,
                "GET",
                f"{_path(operation_id)}/events",
                params={} if last_id is not None else {"after": 0},
                headers=headers,
                timeout=httpx.Timeout(_TIMEOUT_SECONDS, read=_SILENCE_SECONDS),
            ) as source,
        ):
            source.response.raise_for_status()
            yield from source.iter_sse()

    def _get(self, path: str, **params: Any) -> Any:
        wanted = {name: value for name, value in params.items() if value is not None}
        with self._told(path.split("/")[4] if path.count("/") > 3 else ""):
            answer = self._ask(path, **wanted)
            answer.raise_for_status()
            return answer.json()

    def _ask(self, path: str, **params: Any) -> httpx.Response:
        try:
            return self._client.get(path, params=params)
        except httpx.TransportError as error:
            raise StoreUnavailableError(self._url, f"does not answer: {error}") from error

    @contextmanager
    def _told(self, operation_id: str) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPStatusError as error:
            raise _as_ours(self._url, error.response, operation_id) from error
        except (SSEError, json.JSONDecodeError) as error:
            raise StoreUnavailableError(self._url, "does not answer as a ktrdr-otel server does") from error
        except httpx.InvalidURL as error:
            raise StoreUnavailableError(self._url, f"is no URL: {error}") from error


def _as_ours(url: str, response: httpx.Response, operation_id: str) -> StoreError:
    if response.status_code == 404 and operation_id:
        return UnknownOperationError(operation_id)
    if response.status_code == 401:
        return StoreUnavailableError(url, "needs a token; set KTRDR_OTEL_TOKEN")
    try:
        response.read()
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    return StoreUnavailableError(url, f"{response.status_code}: {detail}")


def _path(operation_id: str) -> str:
    from urllib.parse import quote

    return f"/api/v1/operations/{quote(operation_id, safe='')}"
