"""Which receiver an exporter sends to, as it may be written down: without anything secret."""

import math
import os
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Span

from ktrdr_otel.exporters.endpoints import shown
from ktrdr_otel.operations.trace_export import TraceExport, TraceReceiver

HTTP = "http/protobuf"
GRPC = "grpc"
SDK_HTTP = "opentelemetry.exporter.otlp.proto.http."
SDK_GRPC = "opentelemetry.exporter.otlp.proto.grpc."
# Each names an installed package that makes the SDK's HTTP session or its gRPC credentials.
HTTP_CREDENTIAL_PROVIDERS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
CREDENTIAL_PROVIDERS = (
    *HTTP_CREDENTIAL_PROVIDERS,
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_TRACES_CREDENTIAL_PROVIDER",
)


def receiver_of(exporter: SpanExporter) -> TraceReceiver | None:
    """The receiver; None where it is none that another process could send to as well."""
    ours = getattr(exporter, "receiver", None)
    if isinstance(ours, TraceReceiver):
        return ours
    # The SDK's exporters have no public name for it.
    endpoint = getattr(exporter, "_endpoint", None)
    kind = type(exporter).__module__
    if not isinstance(endpoint, str):
        return None
    if kind.startswith(SDK_HTTP):
        return TraceReceiver(protocol=HTTP, endpoint=shown(endpoint))
    if kind.startswith(SDK_GRPC):
        scheme = "http" if getattr(exporter, "_insecure", False) else "https"
        return TraceReceiver(protocol=GRPC, endpoint=shown(f"{scheme}://{endpoint}"))
    return None


def environment_for(exporter: SpanExporter) -> dict[str, str]:
    """What another process has to find in its environment to send to the same receiver with the same credentials.

    A credential provider is code of somebody else's, which reads nobody knows what: it finds all that it finds here.
    """
    has_provider = any(os.environ.get(name) for name in CREDENTIAL_PROVIDERS)
    chosen = {
        name: value for name, value in os.environ.items() if has_provider or name.startswith(_INHERITED)
    }
    endpoint = getattr(exporter, "endpoint", None)
    receiver = receiver_of(exporter)
    if isinstance(endpoint, str) and receiver is not None:
        # By these alone: the run may have named other exporters beside it.
        chosen.pop("OTEL_TRACES_EXPORTER", None)
        chosen["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = endpoint
        chosen["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = receiver.protocol
    return chosen


def trace_export(exporters: Sequence[SpanExporter], live: str, root: Span) -> TraceExport | None:
    """How the trace of the root is exported; None where it is not, or where nobody else could."""
    receivers = [receiver for exporter in exporters if (receiver := receiver_of(exporter)) is not None]
    context = root.get_span_context()
    if not receivers or not isinstance(root, ReadableSpan) or not context.trace_flags & 1:
        return None
    scope = root.instrumentation_scope
    return TraceExport(
        receivers=receivers,
        live=live,
        resource={name: _plain(value) for name, value in root.resource.attributes.items()},
        scope_version="" if scope is None else scope.version or "",
    )


def _plain(value: object) -> object:
    """The value as JSON has it: a resource may hold bytes, and numbers that are none."""
    if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else str(value)


_INHERITED = (
    "OTEL_EXPORTER_OTLP_", "OTEL_PYTHON_EXPORTER_OTLP_", "KTRDR_OTEL_",
    "PYTHON", "LANG", "LC_", "PATH", "HOME", "USERPROFILE", "SYSTEMROOT",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_",
)  # fmt: skip
