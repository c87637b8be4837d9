"""`observe` and `track`, the front door: a long job becomes an operation with a trace and live progress."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from ktrdr_otel.cancellation import CancellationToken
from ktrdr_otel.context import current_operation
from ktrdr_otel.ids import new_operation_id
from ktrdr_otel.tracking import Track, length_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from ktrdr_otel.bridge.live import Listener
    from ktrdr_otel.observation import Observation
    from ktrdr_otel.progress.plan import Plan

T = TypeVar("T")


class observe:  # noqa: N801 # reads like the function that it is to its users
    """The block is an operation: a root span, a record in the store, live state that anyone may ask for.

    Works without configuration (an embedded SQLite store, no exporter) and inside an application that has
    set up OpenTelemetry itself. `plan` tells how many units of which word there will be, which makes the ratio
    exact: `{"load": 2, "row": 1000}`. Without one it comes from the items' index and total, and is that of the loops
    that were announced so far. `display` is `auto` (a terminal or a notebook shows
    live progress, elsewhere log records do), `live`, `plain`, `json` or `off`. `exporters` get the trace
    beside those that the environment names, unless the application has a provider of its own. `live` says how spans
    are exported while they are open: `snapshot`, `markers` or `off`.

    An exception ends the operation as failed and goes on to the caller; `KeyboardInterrupt` and
    `CancellationError` end it as cancelled, `SystemExit(0)` as completed. Raises `OperationExistsError` when
    `operation_id` is taken, `SettingsError` for settings that cannot be used. A store that cannot be opened,
    or fails as the operation begins, is said in the log, and the job goes on without a record.

    >>> with observe("train momentum", operation_type="training", display="off") as operation:
    ...     operation.status()["status"]
    'running'
    """

    def __init__(
        self,
        name: str,
        *,
        operation_type: str = "operation",
        operation_id: str | None = None,
        plan: "Plan | Mapping[str, int] | None" = None,
        display: str | None = None,
        database: str | None = None,
        notify: str | None = None,
        otlp_endpoint: str | None = None,
        trace_file: Path | None = None,
        exporters: "Iterable[SpanExporter]" = (),
        live: str | None = None,
        cancellation_token: CancellationToken | None = None,
        listeners: "Iterable[Listener]" = (),
    ) -> None:
        self._name = name
        self._operation_type = operation_type
        self._operation_id = operation_id or new_operation_id(operation_type)
        self._plan = plan
        self._display = display
        self._database = database
        self._notify = notify
        self._otlp_endpoint = otlp_endpoint
        self._trace_file = trace_file
        self._exporters = tuple(exporters)
        self._live = live
        self._token = cancellation_token or CancellationToken()
        self._listeners = tuple(listeners)
        self._observation: Observation | None = None

    def __enter__(self) -> "Observation":
        # Everything heavy is loaded here, at the first operation: importing the front door stays cheap.
        from ktrdr_otel.progress.plan import Plan
        from ktrdr_otel.settings import load_settings
        from ktrdr_otel.wiring import begin

        settings = load_settings(
            display=self._display, database=self._database, notify=self._notify, live=self._live
        )
        self._observation = begin(
            settings,
            name=self._name,
            operation_type=self._operation_type,
            operation_id=self._operation_id,
            plan=Plan(self._plan) if isinstance(self._plan, Mapping) else self._plan,
            token=self._token,
            otlp_endpoint=self._otlp_endpoint,
            trace_file=self._trace_file,
            exporters=self._exporters,
            listeners=self._listeners,
        )
        return self._observation

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._observation is not None:
            self._observation.end(error, traceback)


def track(iterable: Iterable[T], unit: str = "item", *, total: int | None = None) -> Iterator[T]:
    """The same turns, counted into the current operation; outside of any, the loop is an operation of its own.

    Costs about what tqdm does per turn and makes no span. Cancellation is heard at each turn
    (`CancellationError`). `total` is taken from `len(iterable)` where it has one.

    >>> [square for square in track([1, 4, 9], "square")]
    [1, 4, 9]
    """
    if total is None:
        total = length_of(iterable)
    operation = current_operation()
    if operation is not None:
        return iter(Track(iterable, unit, total, operation))
    return _track_alone(iterable, unit, total)


def _track_alone(iterable: Iterable[T], unit: str, total: int | None) -> Iterator[T]:
    with observe(unit, operation_type="loop") as observation:
        yield from Track(iterable, unit, total, observation.active)
