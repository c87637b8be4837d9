"""The exporters and queue limits that OpenTelemetry's standard environment variables ask for."""

import os
from dataclasses import dataclass
from importlib.metadata import entry_points

from opentelemetry.sdk.trace.export import SpanExporter

from ktrdr_otel.errors import SettingsError
from ktrdr_otel.exporters.endpoints import shown, traces_url
from ktrdr_otel.exporters.otlp import OtlpGrpcExporter, OtlpHttpExporter
from ktrdr_otel.exporters.queue import DEFAULT_INTERVAL_SECONDS, DEFAULT_MAX_BATCH, DEFAULT_MAX_QUEUE

_NAMES = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GRPC_PORT = 4317


def sdk_disabled() -> bool:
    """Whether `OTEL_SDK_DISABLED` turns tracing off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporters_from_environment() -> list[SpanExporter]:
    """One exporter for each name in `OTEL_TRACES_EXPORTER`; `otlp` if just an endpoint is set; else none.

    Raises `SettingsError` that names the variable.
    """
    asked = os.environ.get(_NAMES, "").strip()
    if not asked:
        asked = "otlp" if _first(_ENDPOINTS)[1] else "none"
    names = [name.strip() for name in asked.split(",") if name.strip()]
    return [_exporter(name) for name in names if name != "none"]


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What the exporter thread may hold and how long it may wait."""

    max_queue: int
    max_batch: int
    interval_seconds: float


def queue_limits_from_environment() -> QueueLimits:
    """The limits that the `OTEL_BSP_*` variables set, else our own.

    Raises `SettingsError` for a value that is no positive whole number.
    """
    return QueueLimits(
        max_queue=_positive("OTEL_BSP_MAX_QUEUE_SIZE", DEFAULT_MAX_QUEUE),
        max_batch=_positive("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", DEFAULT_MAX_BATCH),
        interval_seconds=_positive("OTEL_BSP_SCHEDULE_DELAY", int(DEFAULT_INTERVAL_SECONDS * 1000)) / 1000,
    )


def _positive(variable: str, default: int) -> int:
    given = os.environ.get(variable, "").strip()
    if not given:
        return default
    if not given.isdecimal() or int(given) == 0:
        raise SettingsError(f"{variable}: {given!r} is no positive whole number")
    return int(given)


def _exporter(name: str) -> SpanExporter:
    if name == "otlp":
        return _otlp_exporter()
    found = list(entry_points(group="opentelemetry_traces_exporter", name=name))
    if not found:
        raise SettingsError(
            f"{_NAMES}: there is no exporter {name!r}; otlp, console or none, or install its package"
        )
    exporter = found[0].load()()
    if not isinstance(exporter, SpanExporter):
        raise SettingsError(
            f"{_NAMES}: {name!r} names a {type(exporter).__name__}, which is no span exporter"
        )
    return exporter


def _otlp_exporter() -> SpanExporter:
    setting, endpoint = _first(_ENDPOINTS)
    protocol_setting, protocol = _first(_PROTOCOLS)
    if not protocol:
        # The specification's default, but for the port that is gRPC's by convention.
        protocol = "grpc" if _is_grpc_port(endpoint) else "http/protobuf"
    if protocol == "grpc":
        return OtlpGrpcExporter(endpoint or f"http://localhost:{_GRPC_PORT}")
    if protocol != "http/protobuf":
        raise SettingsError(f"{protocol_setting}: {protocol!r} is not supported; use http/protobuf or grpc")
    if setting == _ENDPOINTS[0]:
        # The signal's own endpoint is used as it is.
        traces_url(endpoint, setting)
        return OtlpHttpExporter(endpoint)
    return OtlpHttpExporter(traces_url(endpoint or "http://localhost:4318", setting))


def _first(variables: tuple[str, ...]) -> tuple[str, str]:
    """The first variable that is set, and its value; the last one's name and "" if none is."""
    for variable in variables:
        value = os.environ.get(variable, "").strip()
        if value:
            return variable, value
    return variables[-1], ""


def _is_grpc_port(endpoint: str) -> bool:
    return shown(endpoint).rstrip("/").endswith(f":{_GRPC_PORT}")
