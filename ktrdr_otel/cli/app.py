"""The command line: our own command groups, and those that others register by entry point."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ktrdr_otel.cli.doctor import doctor
from ktrdr_otel.cli.operations import operations
from ktrdr_otel.cli.output import fail

ENTRY_POINTS = "ktrdr_otel.commands"

# What an installation without extras lacks is said when it is asked for, not when it is installed.
_EXTRA_OF = {"train": "pipeline", "data": "pipeline"}


class Commands(TyperGroup):
    """Says of a command whose extra is not installed which one that is."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the first argument."""
        if args and args[0] in _EXTRA_OF and args[0] not in self.commands:
            fail(
                f"`{args[0]}` needs what is not installed: {ctx.obj or 'the extra is missing'}",
                hint=f"pip install 'ktrdr-otel[{_EXTRA_OF[args[0]]}]'",
            )
        return super().resolve_command(ctx, args)


def build_app() -> typer.Typer:
    """The whole command line, with the commands of every installed package."""
    app = typer.Typer(
        name="ktrdr-otel",
        help="See where a long training job is, whether it moves, and what it is stuck on.",
        no_args_is_help=True,
        add_completion=False,
        cls=Commands,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.add_typer(operations, name="operations")
    app.command()(doctor)
    problems = _register_others(app)

    @app.callback()
    def root(
        context: typer.Context,
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
        ] = False,
    ) -> None:
        context.obj = "; ".join(problems)

    return app


def _register_others(app: typer.Typer) -> list[str]:
    problems = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            _load(point)(app)
        except ImportError as error:
            problems.append(str(error))
    return problems


def _load(point: EntryPoint) -> Callable[[typer.Typer], None]:
    register: Callable[[typer.Typer], None] = point.load()
    return register


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"ktrdr-otel {version('ktrdr-otel')}")
        except PackageNotFoundError:
            typer.echo("ktrdr-otel, run from a source tree")
        raise typer.Exit
