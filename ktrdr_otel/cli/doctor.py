"""`ktrdr-otel doctor`: what is configured, what answers, what to do."""

import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Annotated

import typer

from ktrdr_otel.cli.output import print_json
from ktrdr_otel.errors import KtrdrOtelError
from ktrdr_otel.settings import Settings, load_settings

_EXTRAS = {
    "pipeline": "torch",
    "samples": "bokeh_sampledata",
    "trace-file": "opentelemetry.exporter.otlp.json.file",
}
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SECRET = ("TOKEN", "PASSWORD", "HEADERS", "KEY")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` where something is wrong or less than it could be."""

    name: str
    state: str  # ok, warning, error
    what: str
    advice: str | None = None


def doctor(
    database: Annotated[str | None, typer.Option("--database", help="SQLAlchemy URL or SQLite file.")] = None,
    otlp_endpoint: Annotated[str | None, typer.Option("--otlp-endpoint", help="OTLP/HTTP base URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is configured, what answers, and what to do."""
    findings = [_python(), *_platform(), *_environment()]
    try:
        settings = load_settings(database=database)
    except KtrdrOtelError as error:
        findings.append(Finding("settings", "error", str(error), "correct or unset the variable"))
    else:
        findings.append(_store(settings))
    findings.append(_endpoint(otlp_endpoint))
    findings.extend(_extra(name, module) for name, module in _EXTRAS.items())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8} {finding.name:<12} {finding.what}")
            if finding.advice:
                typer.echo(f"{'':<21} → {finding.advice}")
    raise typer.Exit(1 if any(finding.state == "error" for finding in findings) else 0)


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_implementation()} {sys.version.split()[0]}")


def _platform() -> list[Finding]:
    if platform.system() == "Linux":
        return [Finding("platform", "ok", f"Linux {platform.release()}")]
    return [
        Finding(
            "platform",
            "warning",
            platform.platform(),
            "outside Linux a dead run is told by its lease alone: after that many seconds, not at once",
        )
    ]


def _environment() -> list[Finding]:
    found = []
    for name in sorted(os.environ):
        if name.startswith(("KTRDR_OTEL_", "OTEL_")):
            secret = any(word in name for word in _SECRET) or "@" in os.environ[name]
            found.append(Finding("environment", "ok", f"{name}={'***' if secret else os.environ[name]}"))
    return found


def _store(settings: Settings) -> Finding:
    from ktrdr_otel.wiring import open_service

    try:
        service = open_service(settings)
        count = len(service.list(limit=1000))
        where = service.describe()
        service.close()
    except KtrdrOtelError as error:
        return Finding("store", "error", str(error), "give another --database or KTRDR_OTEL_DATABASE")
    return Finding("store", "ok", f"{where}, {count}{'+' if count == 1000 else ''} operations")


def _endpoint(given: str | None) -> Finding:
    from ktrdr_otel.exporters.doctor import probe_endpoint
    from ktrdr_otel.exporters.endpoints import shown, traces_url

    base = given or next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    if base is None:
        return Finding(
            "traces",
            "ok",
            "no exporter configured: traces stay in the process",
            "--otlp-endpoint URL sends them",
        )
    try:
        problem = probe_endpoint(traces_url(base))
    except KtrdrOtelError as error:
        return Finding("traces", "error", str(error), "correct the endpoint")
    if problem is None:
        return Finding("traces", "ok", f"{shown(base)} answers")
    return Finding(
        "traces", "error", f"{shown(base)}: {problem}", "start a receiver there, or unset the endpoint"
    )


def _extra(name: str, module: str) -> Finding:
    try:
        there = find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if there:
        return Finding("extra", "ok", f"{name} is installed")
    return Finding("extra", "warning", f"{name} is not installed", f"pip install 'ktrdr-otel[{name}]'")
