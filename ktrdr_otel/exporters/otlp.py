"""The SDK's OTLP exporters, made to say what became of a batch: an outage, poison, spans not stored.

`requests` and gRPC are imported when an exporter is made, not before.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ktrdr_otel.exporters.delivery import AccountableExporter, Delivery, Fate
from ktrdr_otel.exporters.endpoints import shown
from ktrdr_otel.exporters.receivers import (
    GRPC,
    HTTP,
    HTTP_CREDENTIAL_PROVIDERS,
    SDK_GRPC,
    SDK_HTTP,
    receiver_of,
)
from ktrdr_otel.exporters.sdk_log import overheard
from ktrdr_otel.operations.trace_export import TraceReceiver

if TYPE_CHECKING:
    import requests

_HTTP_LOGGER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_GRPC_LOGGER = "opentelemetry.exporter.otlp.proto.grpc.exporter"

# The OTLP specification, "Failures": what to retry, and what must not be sent again as it was.
_FATE_OF_STATUS: Mapping[int, Fate] = {
    HTTPStatus.BAD_REQUEST: Fate.INDIGESTIBLE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Fate.INDIGESTIBLE,
    HTTPStatus.TOO_MANY_REQUESTS: Fate.UNREACHABLE,
    HTTPStatus.BAD_GATEWAY: Fate.UNREACHABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: Fate.UNREACHABLE,
    HTTPStatus.GATEWAY_TIMEOUT: Fate.UNREACHABLE,
}
_FATE_OF_CODE: Mapping[str, Fate] = {
    "UNAVAILABLE": Fate.UNREACHABLE,
    "CANCELLED": Fate.UNREACHABLE,
    "ABORTED": Fate.UNREACHABLE,
    "OUT_OF_RANGE": Fate.UNREACHABLE,
    "DATA_LOSS": Fate.UNREACHABLE,
    "INVALID_ARGUMENT": Fate.INDIGESTIBLE,
    "UNAUTHENTICATED": Fate.REFUSED,
    "PERMISSION_DENIED": Fate.REFUSED,
    "NOT_FOUND": Fate.REFUSED,
    "UNIMPLEMENTED": Fate.REFUSED,
}


@dataclass(slots=True)
class _Heard:
    """The newest answer to a request, or what went wrong instead."""

    response: "requests.Response | None" = None
    error: Exception | None = None

    def forget(self) -> None:
        """Nothing has been heard."""
        self.response = self.error = None


class OtlpHttpExporter(AccountableExporter):
    """Sends protobuf over HTTP to a traces URL, with the headers, TLS and timeout of `OTEL_EXPORTER_OTLP_*`.

    `timeout_seconds` bounds one export with all the SDK's own retries.
    """

    def __init__(self, url: str, *, timeout_seconds: float | None = None) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        self.target = f"OTLP/HTTP {shown(url)}"
        self.endpoint = url
        self.receiver = TraceReceiver(protocol=HTTP, endpoint=shown(url))
        self._heard = _Heard()
        self._session: requests.Session | None = None
        # With one of these the SDK makes the session itself, and its answers are not ours to hear.
        if not any(os.environ.get(name) for name in HTTP_CREDENTIAL_PROVIDERS):
            self._session = _attentive_session(self._heard)
        self._exporter: SpanExporter = OTLPSpanExporter(
            endpoint=url, timeout=timeout_seconds, session=self._session
        )

    def deliver(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """What the receiver answered, in the end, to the SDK's attempts."""
        heard = self._heard
        heard.forget()
        with overheard(_HTTP_LOGGER) as notes:
            result = self._exporter.export(spans)
        if heard.error is not None:
            return _delivery_of_error(heard.error)
        if heard.response is not None:
            return _delivery_of_response(heard.response)
        if result is SpanExportResult.SUCCESS:
            return Delivery(Fate.DELIVERED)
        said = _last_message(notes)
        # Nothing was sent although we would have heard: it could not be encoded, or is too large.
        return Delivery(Fate.FAILED if self._session is None else Fate.INDIGESTIBLE, error=said)

    def shutdown(self) -> None:
        """The SDK's retries end; a request that hangs is not waited for."""
        with overheard(_HTTP_LOGGER):
            self._exporter.shutdown()


class OtlpGrpcExporter(AccountableExporter):
    """Sends protobuf over gRPC to an endpoint, with the headers, TLS and timeout of `OTEL_EXPORTER_OTLP_*`.

    The SDK does not tell how many spans a receiver took but did not store: `rejected` is always 0.
    """

    def __init__(self, endpoint: str, *, timeout_seconds: float | None = None) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        self.target = f"OTLP/gRPC {shown(endpoint)}"
        self.endpoint = endpoint
        self.receiver = TraceReceiver(protocol=GRPC, endpoint=shown(endpoint))
        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=endpoint, timeout=timeout_seconds)

    def deliver(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """What the receiver answered, in the end, to the SDK's attempts."""
        with overheard(_GRPC_LOGGER) as notes:
            result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            return Delivery(Fate.DELIVERED)
        code = _status_code(notes)
        return Delivery(_FATE_OF_CODE.get(code or "", Fate.FAILED), error=code or _last_message(notes))

    def shutdown(self) -> None:
        """The channel is closed; a call that is under way is cancelled."""
        with overheard(_GRPC_LOGGER):
            self._exporter.shutdown()


class OverheardExporter(AccountableExporter):
    """An application's own OTLP exporter of the SDK, which says what became of a batch in its log alone."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_grpc = type(exporter).__module__.startswith(SDK_GRPC)
        self.receiver = receiver_of(exporter)
        where = "" if self.receiver is None else f" {self.receiver.endpoint}"
        self.target = f"OTLP/{'gRPC' if self._is_grpc else 'HTTP'}{where}"
        endpoint = getattr(exporter, "_endpoint", None)
        self.endpoint = endpoint if isinstance(endpoint, str) and not self._is_grpc else None

    def deliver(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """What its log says that the receiver answered, in the end, to its attempts."""
        with overheard(_GRPC_LOGGER if self._is_grpc else _HTTP_LOGGER) as notes:
            result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            return Delivery(Fate.DELIVERED)
        if self._is_grpc:
            code = _status_code(notes)
            return Delivery(_FATE_OF_CODE.get(code or "", Fate.FAILED), error=code or _last_message(notes))
        return Delivery(_fate_of_http_log(notes), error=_last_message(notes))

    def shutdown(self) -> None:
        """It is the application's exporter, and its processor that shuts it down."""
        with overheard(_GRPC_LOGGER if self._is_grpc else _HTTP_LOGGER):
            self._exporter.shutdown()


def accountable(exporter: SpanExporter) -> SpanExporter:
    """The exporter, which if it is one of the SDK's for OTLP tells an outage from a batch that is at fault."""
    kind = type(exporter).__module__
    return OverheardExporter(exporter) if kind.startswith((SDK_HTTP, SDK_GRPC)) else exporter


def _fate_of_http_log(notes: Sequence[logging.LogRecord]) -> Fate:
    for note in reversed(notes):
        arguments = note.args if isinstance(note.args, tuple) else ()
        if note.msg.startswith("Failed to export %s batch code") and len(arguments) > 1:
            status = arguments[1]
            return _FATE_OF_STATUS.get(status, Fate.REFUSED) if isinstance(status, int) else Fate.FAILED
        if note.msg.startswith(("Failed to encode", "Dropping span batch")):
            return Fate.INDIGESTIBLE
        if "max retries" in note.msg:
            return Fate.UNREACHABLE
    return Fate.FAILED


def _attentive_session(heard: _Heard) -> "requests.Session":
    import requests

    class AttentiveSession(requests.Session):
        def request(self, *args: Any, **kwargs: Any) -> requests.Response:
            heard.forget()
            try:
                heard.response = super().request(*args, **kwargs)
            except Exception as error:
                heard.error = error
                raise
            return heard.response

    return AttentiveSession()


def _delivery_of_error(error: Exception) -> Delivery:
    import requests

    if isinstance(error, requests.ReadTimeout):
        # It may have been stored; a batch that makes a receiver hang every time is suspected in the end.
        return Delivery(Fate.FAILED, error="no answer in time")
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    # Only the innermost cause: the outer messages quote the URL.
    why = (
        f"{type(cause).__name__}: {cause.strerror}" if isinstance(cause, OSError) and cause.strerror else None
    )
    # An unusable URL or header is a ValueError; everything else is the network's.
    fate = Fate.REFUSED if isinstance(error, ValueError) else Fate.UNREACHABLE
    return Delivery(fate, error=why or type(error).__name__)


def _delivery_of_response(response: "requests.Response") -> Delivery:
    if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
        fate = _FATE_OF_STATUS.get(response.status_code, Fate.REFUSED)
        return Delivery(fate, error=f"HTTP {response.status_code} {response.reason}")
    rejected, why = _partial_success(response)
    if rejected:
        return Delivery(Fate.DELIVERED, rejected=rejected, error=f"{rejected} spans not stored: {why}")
    return Delivery(Fate.DELIVERED)


def _partial_success(response: "requests.Response") -> tuple[int, str]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    if not response.headers.get("content-type", "").startswith("application/x-protobuf"):
        return 0, ""
    try:
        partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    except DecodeError:
        return 0, ""
    return max(0, partial.rejected_spans), partial.error_message or "no reason given"


def _status_code(notes: Sequence[logging.LogRecord]) -> str | None:
    for note in reversed(notes):
        for argument in note.args or ():
            if isinstance(argument, Enum):  # grpc.StatusCode
                return argument.name
    return None


def _last_message(notes: Sequence[logging.LogRecord]) -> str:
    return notes[-1].getMessage() if notes else "the exporter does not say why"
