"""What `ktrdr-otel doctor` looks at: python and platform, each setting and its source, store, receiver, extras."""

import difflib
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ktrdr_otel.cli.finding import Finding
from ktrdr_otel.cli.watching import watching
from ktrdr_otel.errors import KtrdrOtelError
from ktrdr_otel.server.settings import ServerSettings
from ktrdr_otel.settings import Settings, load_settings

if TYPE_CHECKING:
    from ktrdr_otel.operations.trace_export import TraceExport

_EXTRAS: Final = {
    "pipeline": "torch",
    "server": "fastapi",
    "postgresql": "psycopg",
    "dashboards": "grafana_foundation_sdk",
    "notify": "apprise",
    "gpu": "pynvml",
    "samples": "bokeh_sampledata",
    "trace-file": "opentelemetry.exporter.otlp.json.file",
}
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SECRET: Final = ("TOKEN", "PASSWORD", "SECRET", "HEADERS", "KEY")
_PREFIX: Final = "KTRDR_OTEL_"
_PROBE_TIMEOUT_SECONDS: Final = 3.0


def examine(database: str | None, otlp_endpoint: str | None) -> list[Finding]:
    """Everything, in the order in which a person wants to read it; what is given outranks the environment."""
    return [
        _python(),
        _platform(),
        *_settings_and_store(database),
        *_open_telemetry(),
        _receiver(otlp_endpoint),
        *watching(),
        *_open_spans(),
        *(_extra(name, module) for name, module in _EXTRAS.items()),
        _stacks(),
    ]


def _python() -> Finding:
    ours = f"{platform.python_implementation()} {platform.python_version()}"
    return Finding("python", "ok", f"{ours}, opentelemetry-sdk {version('opentelemetry-sdk')}")


def _platform() -> Finding:
    if platform.system() == "Linux":
        return Finding("platform", "ok", f"Linux {platform.release()}")
    return Finding(
        "platform",
        "warning",
        platform.platform(),
        "outside Linux a dead run is told by its lease alone: after KTRDR_OTEL_LEASE_SECONDS, not at once",
    )


def _settings_and_store(database: str | None) -> Iterator[Finding]:
    try:
        settings = load_settings(database=database)
    except KtrdrOtelError as error:
        yield Finding("settings", "error", str(error), "correct or unset the variable")
        return
    given = {"database": "--database"} if database is not None else {}
    for name in Settings.model_fields:
        variable = f"{_PREFIX}{name.upper()}"
        source = given.get(name) or (variable if _is_set(variable) else "default")
        value = _shown_database(settings) if name == "database" else getattr(settings, name)
        yield Finding("setting", "ok", f"{name} = {value}  ({source})")
    yield from _unknown_settings()
    yield from _store(settings)


def _is_set(variable: str) -> bool:
    return any(name.upper() == variable for name in os.environ)


def _unknown_settings() -> Iterator[Finding]:
    known = {f"{_PREFIX}{name.upper()}" for name in (*Settings.model_fields, *ServerSettings.model_fields)}
    for name in sorted(os.environ):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            advice = f"did you mean {near[0]}?" if near else "it has no effect"
            yield Finding("setting", "warning", f"{name} is no setting", advice)


def _shown_database(settings: Settings) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from ktrdr_otel.storage.engine import name_of

    try:
        return name_of(make_url(settings.database_url))
    except (ArgumentError, ValueError):
        return "(not shown: it cannot be read, and may hold a password)"


def _store(settings: Settings) -> Iterator[Finding]:
    from ktrdr_otel.runtime import open_service

    most = 1000
    try:
        service = open_service(settings)
        try:
            found = service.list(limit=most)
            newest = found[0].operation_id if found else None
            export = None if newest is None else service.trace_export(newest)
            owed = len(service.traces.owed(due=False))
            where = service.describe()
        finally:
            service.close()
    except KtrdrOtelError as error:
        yield Finding("store", "error", str(error), "give another --database or KTRDR_OTEL_DATABASE")
        return
    yield Finding("store", "ok", f"{where} opens; {len(found)}{'+' if len(found) == most else ''} operations")
    if newest is not None:
        yield _newest_run(newest, export)
    if owed:
        yield Finding(
            "traces",
            "warning",
            f"runs that are over whose receivers still lack spans: {owed}",
            "start the receivers: whichever command or server looks at the store next sends them, for a day",
        )


def _newest_run(operation_id: str, export: "TraceExport | None") -> Finding:
    """How it was exported, whatever program it ran in: what that has set up cannot be seen from here."""
    from ktrdr_otel.exporters.endpoints import shown

    if export is None:
        return Finding(
            "newest run",
            "ok",
            f"{operation_id}: sent to no receiver by us; a provider of its program's own may have sent it",
        )
    where = ", ".join(shown(receiver.endpoint) for receiver in export.receivers)
    return Finding("newest run", "ok", f"{operation_id}: exported to {where}, open spans: {export.live}")


def _open_telemetry() -> Iterator[Finding]:
    for name in sorted(os.environ):
        if name.startswith("OTEL_"):
            hidden = any(word in name for word in _SECRET) or "@" in os.environ[name]
            yield Finding("environment", "ok", f"{name} = {'***' if hidden else os.environ[name]}")
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding(
            "traces",
            "warning",
            "OTEL_SDK_DISABLED turns tracing off; progress goes on",
            "unset it to send traces",
        )


def _receiver(given: str | None) -> Finding:
    from ktrdr_otel.exporters.doctor import probe_endpoint
    from ktrdr_otel.exporters.endpoints import shown, traces_url

    base = given or _first(_ENDPOINTS)
    if base is None:
        return Finding(
            "traces",
            "ok",
            "no receiver configured: traces stay in the process",
            "--otlp-endpoint URL or OTEL_EXPORTER_OTLP_ENDPOINT sends them",
        )
    try:
        url = traces_url(base)
    except KtrdrOtelError as error:
        return Finding("traces", "error", str(error), "correct the endpoint")
    by_grpc = given is None and _is_grpc(base)
    problem = _probe_connection(base) if by_grpc else probe_endpoint(url)
    if problem is None:
        return Finding("traces", "ok", f"{shown(base)} answers")
    return Finding("traces", "error", problem, "start a receiver there, or unset the endpoint")


def _open_spans() -> Iterator[Finding]:
    """How spans are seen while they are open: by us, or by whoever has configured OpenTelemetry here."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from ktrdr_otel.exporters.processor import live_processors

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        modes = {str(processor.live) for processor in live_processors()}
        if modes:
            shown = ", ".join(sorted(modes))
            yield Finding("open spans", "ok", f"{shown}, by the application's LiveSpanProcessor")
        else:
            yield Finding(
                "open spans",
                "warning",
                "off: the application's own provider exports, and shows spans when they have ended",
                "give it ktrdr_otel.LiveSpanProcessor(exporter) in place of its batch processor",
            )
        return
    with suppress(KtrdrOtelError):  # said with the settings
        yield Finding("open spans", "ok", _SHOWN[load_settings().live])


_SHOWN: Final = {
    "snapshot": "snapshot: for storages where the last write wins, such as Jaeger's Badger",
    "markers": "markers: for storages that keep every record; KTRDR_OTEL_LIVE=snapshot suits Jaeger's Badger",
    "off": "off: spans are seen when they have ended",
}


def _is_grpc(endpoint: str) -> bool:
    protocol = _first(_PROTOCOLS)
    return protocol == "grpc" if protocol else urlsplit(endpoint).port == 4317  # gRPC's port by convention


def _probe_connection(endpoint: str) -> str | None:
    """None if somebody listens there: an export over gRPC would leave an empty request behind."""
    from ktrdr_otel.exporters.endpoints import shown

    parts = urlsplit(endpoint)
    try:
        socket.create_connection(
            (parts.hostname or "", parts.port or 4317), timeout=_PROBE_TIMEOUT_SECONDS
        ).close()
    except OSError as error:
        return f"{shown(endpoint)}: {error.strerror or error}"
    return None


def _first(variables: tuple[str, ...]) -> str | None:
    return next((value for name in variables if (value := os.environ.get(name, "").strip())), None)


def _stacks() -> Finding:
    from ktrdr_otel.operations.stack import py_spy

    if py_spy() is not None:
        return Finding("extra", "ok", "stacks is installed")
    return Finding("extra", "warning", "stacks is not installed", "pip install 'ktrdr-otel[stacks]'")


def _extra(name: str, module: str) -> Finding:
    try:
        there = find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if there:
        return Finding("extra", "ok", f"{name} is installed")
    return Finding("extra", "warning", f"{name} is not installed", f"pip install 'ktrdr-otel[{name}]'")
