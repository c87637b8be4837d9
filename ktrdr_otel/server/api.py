"""REST: what runs, what ran, and stopping it."""

import logging
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from ktrdr_otel import semconv
from ktrdr_otel.context import KEPT_LOGS
from ktrdr_otel.display.strict_json import strict_json
from ktrdr_otel.errors import StoreError, UncancellableError, UnknownOperationError
from ktrdr_otel.metrics.prometheus import PrometheusFace
from ktrdr_otel.operations.json_form import checkpoint_json, log_line_json, operation_json, sample_json
from ktrdr_otel.operations.models import Checkpoint, Operation, OperationStatus
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.server.forms import (
    CancelForm,
    CancelRequested,
    CheckpointsPage,
    Health,
    LogsPage,
    MetricsPage,
    OperationForm,
    OperationsPage,
    Problem,
    SamplesPage,
    StackForm,
)
from ktrdr_otel.server.hub import Hub
from ktrdr_otel.server.settings import ServerSettings

logger = logging.getLogger(__name__)

_HIGHEST: Final = 2**63 - 1

UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Problem, "description": "No such operation"}
}
_UNCANCELLABLE: Final[dict[int | str, dict[str, Any]]] = {
    409: {"model": Problem, "description": "It has ended, or is only reported to this server"}
}
EVERYWHERE: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "A request that cannot be understood, or a foreign Host"},
    401: {"model": Problem, "description": "A token is needed"},
    403: {"model": Problem, "description": "A foreign Origin"},
    413: {"model": Problem, "description": "A body that is too large"},
    503: {"model": Problem, "description": "The store cannot be reached"},
}

operations_api = APIRouter(prefix="/api/v1/operations", tags=["operations"])
metrics_api = APIRouter(tags=["metrics"])
health_api = APIRouter(tags=["health"])

OperationId = Annotated[str, Path(max_length=200)]
Cursor = Annotated[int, Query(ge=0, le=_HIGHEST, description="Only those of a higher sequence.")]
Limit = Annotated[int, Query(ge=1, le=1000)]


@dataclass(slots=True)
class Backend:
    """What the server's routes work on."""

    service: OperationsService
    settings: ServerSettings
    hub: Hub

    def form(self, operation: Operation) -> dict[str, Any]:
        """The operation as everyone sees it, with its links."""
        return operation_form(self.settings, operation)


def operation_form(settings: ServerSettings, operation: Operation) -> dict[str, Any]:
    """The operation as the API and the streams give it."""
    return {**operation_json(operation), "links": settings.links(operation)}


def backend_of(connection: HTTPConnection) -> Backend:
    """The backend of the server that was asked."""
    backend: Backend = connection.app.state.backend
    return backend


Asked = Annotated[Backend, Depends(backend_of)]


def as_json(form: Any, *, status: int = 200) -> Response:
    """The form, where a number that JSON has not is null."""
    return Response(strict_json(form), status_code=status, media_type="application/json")


def problem(status: int, detail: str) -> Response:
    """What is wrong, in one sentence."""
    return as_json({"detail": detail}, status=status)


@operations_api.get("", response_model=OperationsPage, responses=UNKNOWN)
def list_operations(
    backend: Asked,
    status: OperationStatus | None = None,
    operation_type: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
) -> Response:
    """List operations, the newest first."""
    if cursor is not None:
        backend.service.get(cursor)
    found = backend.service.list(status=status, operation_type=operation_type, limit=limit + 1, before=cursor)
    page = found[:limit]
    return as_json(
        {
            "operations": [backend.form(operation) for operation in page],
            "next": page[-1].operation_id if len(found) > limit else None,
        }
    )


@operations_api.get("/{operation_id:path}/checkpoints", response_model=CheckpointsPage, responses=UNKNOWN)
def list_checkpoints(
    backend: Asked, operation_id: OperationId, after: Cursor = 0, limit: Limit = 500
) -> Response:
    """List the checkpoints of an operation in the order in which they changed."""
    found = backend.service.checkpoints(operation_id, after=after, limit=limit + 1)
    return as_json(
        {
            "checkpoints": [checkpoint_json(each) for each in found[:limit]],
            "next": _next(found, limit),
        }
    )


@operations_api.get("/{operation_id:path}/metrics", response_model=MetricsPage, responses=UNKNOWN)
def list_metrics(
    backend: Asked, operation_id: OperationId, after: Cursor = 0, limit: Limit = 500
) -> Response:
    """List loss, accuracy and learning rate, epoch by epoch."""
    found = backend.service.measured(operation_id, after=after, limit=limit + 1)
    return as_json({"metrics": [_metrics_form(each) for each in found[:limit]], "next": _next(found, limit)})


@operations_api.get("/{operation_id:path}/logs", response_model=LogsPage, responses=UNKNOWN)
def list_logs(
    backend: Asked, operation_id: OperationId, limit: Annotated[int, Query(ge=1, le=KEPT_LOGS)] = KEPT_LOGS
) -> Response:
    """List the last records that the program has logged, with the step of each."""
    found = backend.service.logs(operation_id, newest=limit)
    return as_json({"logs": [log_line_json(each) for each in found]})


@operations_api.get("/{operation_id:path}/samples", response_model=SamplesPage, responses=UNKNOWN)
def list_samples(
    backend: Asked, operation_id: OperationId, limit: Annotated[int, Query(ge=2, le=1000)] = 240
) -> Response:
    """List CPU and memory of an operation's process; the newest sample is the last."""
    found = backend.service.samples(operation_id, most=limit)
    return as_json({"samples": [sample_json(each) for each in found]})


@operations_api.post(
    "/{operation_id:path}/cancel",
    response_model=CancelRequested,
    status_code=202,
    responses={**UNKNOWN, **_UNCANCELLABLE},
)
def cancel_operation(backend: Asked, operation_id: OperationId, form: CancelForm | None = None) -> Response:
    """Ask an operation to stop at its next step."""
    try:
        reason = backend.service.request_cancel(operation_id, (form or CancelForm()).reason)
    except UncancellableError as error:
        return problem(409, str(error))
    return as_json({"operation_id": operation_id, "cancel_requested": True, "reason": reason}, status=202)


@operations_api.get(
    "/{operation_id:path}/stack",
    response_model=StackForm,
    responses={**UNKNOWN, 409: {"model": Problem, "description": "There is no stack to take"}},
)
def take_stack(backend: Asked, operation_id: OperationId) -> Response:
    """Take the stacks of all threads of a running operation on the server's machine, now."""
    taken = backend.service.stack(operation_id)
    return as_json({"stack": taken.text}) if taken.is_there else problem(409, taken.text)


@operations_api.get("/{operation_id:path}", response_model=OperationForm, responses=UNKNOWN)
def show_operation(backend: Asked, operation_id: OperationId) -> Response:
    """Show one operation: where it is, how it ended, and why."""
    return as_json(backend.form(backend.service.get(operation_id)))


@metrics_api.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text format, or OpenMetrics", "content": {"text/plain": {}}}
    },
)
def metrics(request: Request) -> Response:
    """Give all metrics, as Prometheus scrapes them."""
    face: PrometheusFace = request.app.state.metrics
    body, content_type = face.render(request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


@health_api.get("/healthz", response_model=Health)
def health(backend: Asked) -> Response:
    """Whether the server and its store answer."""
    try:
        backend.service.last_key()
    except StoreError as error:
        logger.warning("the store does not answer: %s", error)
        return problem(503, "the store does not answer")
    return as_json({"status": "ok", "store": "ok"})


def explain(error: Exception) -> Response:
    """An error of the service as an answer."""
    if isinstance(error, UnknownOperationError):
        return problem(404, f"no operation {error.operation_id}")
    logger.warning("a request could not be answered: %s", error)
    return problem(503, "the store does not answer; see the server's log")


def _next(found: Any, limit: int) -> int | None:
    return found[limit - 1].sequence if len(found) > limit else None


def _metrics_form(checkpoint: Checkpoint) -> dict[str, Any]:
    form = checkpoint_json(checkpoint)
    is_epoch = checkpoint.progress_type == semconv.EPOCH and checkpoint.item_index is not None
    return {
        "sequence": checkpoint.sequence,
        "progress_type": checkpoint.progress_type,
        "epoch": (checkpoint.item_index or 1) - 1 if is_epoch else None,
        "at": form["ended_at"],
        **{name: value for name, value in form["metrics"].items() if name in semconv.TRAINING_METRICS},
    }
