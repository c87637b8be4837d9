"""What OpenTelemetry's standard environment variables say about pushing metrics."""

import os
from typing import Final

from ktrdr_otel.errors import SettingsError

_DEFAULT_INTERVAL_SECONDS: Final = 10.0
_DEFAULT_URL: Final = "http://localhost:4318/v1/metrics"


def push_url_from_environment() -> str | None:
    """Where metrics are pushed: only where `OTEL_*` asks for metrics, for Jaeger takes none.

    `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` is used as it is; with `OTEL_METRICS_EXPORTER=otlp` the general endpoint
    is completed. Raises `SettingsError` for another exporter.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    own = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "").strip()
    asked = os.environ.get("OTEL_METRICS_EXPORTER", "").strip() or ("otlp" if own else "none")
    if asked == "none":
        return None
    if asked != "otlp":
        raise SettingsError(f"OTEL_METRICS_EXPORTER: {asked!r} is not supported; use otlp or none")
    general = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    return own or (f"{general.rstrip('/')}/v1/metrics" if general else _DEFAULT_URL)


def push_interval_seconds() -> float:
    """The seconds between two pushes; `OTEL_METRIC_EXPORT_INTERVAL` says it in milliseconds."""
    given = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    if not given:
        return _DEFAULT_INTERVAL_SECONDS
    if not given.isdecimal() or int(given) == 0:
        raise SettingsError(f"OTEL_METRIC_EXPORT_INTERVAL: {given!r} is no positive whole number")
    return int(given) / 1000
