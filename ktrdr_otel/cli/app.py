"""The command line: our own command groups, and those that others register by entry point."""

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from ktrdr_otel.cli.doctor import doctor
from ktrdr_otel.cli.drill import drill
from ktrdr_otel.cli.operations import operations
from ktrdr_otel.cli.output import CANCELLED, USAGE, fail, say_error
from ktrdr_otel.cli.serve import serve
from ktrdr_otel.cli.trace import trace

ENTRY_POINTS = "ktrdr_otel.commands"
PROGRAM = "ktrdr-otel"

# What an installation without extras lacks is said when it is asked for, not when it is installed.
_EXTRA_OF = {"train": "pipeline", "data": "pipeline"}


class Commands(TyperGroup):
    """Says of a command that could not be registered what it lacks, and how to get it."""

    problems: tuple[str, ...] = ()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of the first argument."""
        asked = args[0] if args else ""
        if asked and asked not in self.commands:
            why = "; ".join(self.problems)
            if asked in _EXTRA_OF:
                what = f"`{asked}` needs an extra that is not installed{f' ({why})' if why else ''}"
                fail(what, hint=f"pip install '{PROGRAM}[{_EXTRA_OF[asked]}]'")
            if why and not asked.startswith("-"):
                fail(f"no command `{asked}`, but some could not be loaded: {why}")
        return super().resolve_command(ctx, args)


def build_app() -> typer.Typer:
    """The whole command line, with the commands of every installed package."""

    class OurCommands(Commands):
        pass

    app = typer.Typer(
        name=PROGRAM,
        help="See where a long training job is, whether it moves, and what it is stuck on.",
        no_args_is_help=True,
        add_completion=False,
        cls=OurCommands,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.add_typer(operations, name="operations")
    app.add_typer(trace, name="trace")
    app.command()(doctor)
    app.command(short_help="Serve a store: page, REST, streams.")(serve)
    app.command(short_help="A job that really stalls, hangs or dies.")(drill)

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
        ] = False,
    ) -> None:
        pass

    OurCommands.problems = tuple(_register_others(app))
    return app


def run(app: typer.Typer) -> NoReturn:
    """The process ends with the command's exit code; what is wrong with its arguments is one line on stderr."""
    try:
        code = typer.main.get_command(app).main(prog_name=PROGRAM, standalone_mode=False)
    except Abort:
        sys.exit(CANCELLED)
    except TyperException as error:
        _explain(error)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: TyperException) -> NoReturn:
    context, message = getattr(error, "ctx", None), error.format_message()
    if context is not None and message == context.get_help():
        # A group that was named without a command: its help is what was asked for.
        typer.echo(message)
        sys.exit()
    path = PROGRAM if context is None else context.command_path
    say_error(" ".join(message.split()).rstrip("."), hint=f"see `{path} --help`")
    sys.exit(error.exit_code if error.exit_code > USAGE else USAGE)


def _register_others(app: typer.Typer) -> list[str]:
    """Why some of them are missing: the fault of one package must not cost the commands of the others."""
    problems = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            register: Callable[[typer.Typer], None] = point.load()
            register(app)
        except Exception as error:
            problems.append(f"{point.name}: {error}")
    return problems


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"{PROGRAM} {version(PROGRAM)}")
        except PackageNotFoundError:
            typer.echo(f"{PROGRAM}, run from a source tree")
        raise typer.Exit
