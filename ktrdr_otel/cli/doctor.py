"""`ktrdr-otel doctor`: what is configured, what answers, what to do."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ktrdr_otel.cli.output import AsJson, Database, print_json

_MARKS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    database: Database = None,
    otlp_endpoint: Annotated[str | None, typer.Option("--otlp-endpoint", help="OTLP base URL.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is configured, what answers, and what to do."""
    from ktrdr_otel.cli.findings import examine
    from ktrdr_otel.display.base import printable

    findings = examine(database, otlp_endpoint)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = typer.style(f"{finding.state:<8}", fg=_MARKS[finding.state])
            typer.echo(f"{mark} {finding.name:<11} {printable(finding.what)}")
            if finding.advice:
                typer.echo(f"{'':<20} {'→' if _can_show_arrow() else '->'} {finding.advice}")
    raise typer.Exit(1 if any(finding.state == "error" for finding in findings) else 0)


def _can_show_arrow() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower()
