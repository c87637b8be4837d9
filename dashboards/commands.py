"""`ktrdr-otel dashboards`."""

from importlib.util import find_spec
from typing import Annotated

import typer

from ktrdr_otel.cli.output import fail

dashboards = typer.Typer(help="Grafana boards, as code.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """The command line has `dashboards`; raises ImportError where the extra is not installed."""
    if find_spec("grafana_foundation_sdk") is None:
        raise ImportError("no module grafana_foundation_sdk")
    app.add_typer(dashboards, name="dashboards")


@dashboards.callback()
def group() -> None:
    """Grafana boards, as code."""


@dashboards.command()
def build(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a file differs.")
    ] = False,
) -> None:
    """Write the boards' JSON files."""
    from dashboards.build import FOLDER, differences, write

    if not check:
        typer.echo(f"{len(write())} boards in {FOLDER}")
        return
    if differing := differences():
        fail(
            f"{', '.join(differing)} differ from their code", hint="run `ktrdr-otel dashboards build`", code=1
        )
    typer.echo("the boards are what their code says")
