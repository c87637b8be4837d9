"""`ktrdr-otel train` and `ktrdr-otel data`. Everything heavy is imported when it is needed: the first line is quick."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from ktrdr_otel.cli.output import fail, print_json
from ktrdr_otel.cli.serve import Host, Port
from pipeline.errors import InputError

_NEEDED = ("numpy", "pandas", "talib", "torch", "safetensors", "yaml")

data = typer.Typer(help="Bars: write samples, check a folder.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """The command line has `train` and `data`; raises ImportError where the extra `pipeline` is not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(f"no module {missing[0]}")
    app.command()(train)
    app.add_typer(data, name="data")


@data.command()
def samples(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Write daily and weekly bars of AAPL, GOOG, IBM and MSFT into DIR."""
    from pipeline.data import write_samples

    try:
        written = write_samples(folder)
    except InputError as error:
        fail(str(error))
    typer.echo(f"{len(written)} files of bars in {folder}: {', '.join(path.name for path in written)}")


@data.command(short_help="Check every file of bars in DIR.")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every file of bars in DIR; exit code 1 if one cannot be used."""
    from pipeline.data import check_folder

    try:
        reports = check_folder(folder)
    except InputError as error:
        fail(str(error))
    if as_json:
        print_json(
            [
                {
                    "file": report.path.name,
                    "rows": report.rows,
                    "first": None if report.first is None else report.first.isoformat(),
                    "last": None if report.last is None else report.last.isoformat(),
                    "gaps": report.gaps,
                    "problems": list(report.problems),
                }
                for report in reports
            ]
        )
    else:
        for report in reports:
            span = "" if report.first is None else f"  {report.first:%Y-%m-%d} to {report.last:%Y-%m-%d}"
            gaps = f"  {report.gaps} gaps" if report.gaps else ""
            state = "ok   " if report.usable else "error"
            typer.echo(f"{state} {report.path.name:<24} {report.rows:>8} bars{span}{gaps}")
            for problem in report.problems:
                typer.echo(f"      {problem}")
        if not reports:
            typer.echo(f"no bars in {folder}; files are named SYMBOL_TIMEFRAME.csv or .parquet")
    raise typer.Exit(0 if all(report.usable for report in reports) else 1)


def train(
    strategy: Annotated[Path, typer.Argument(metavar="STRATEGY", help="A v3 strategy file.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of bars.")],
    symbols: Annotated[str | None, typer.Option("--symbols", help="Instead of the strategy's: A,B.")] = None,
    timeframes: Annotated[
        str | None, typer.Option("--timeframes", help="Instead of the strategy's: 1d,1w.")
    ] = None,
    operation_id: Annotated[str | None, typer.Option("--operation-id", metavar="ID")] = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where the model snapshot goes.")
    ] = Path("runs"),
    database: Annotated[str | None, typer.Option("--database", help="SQLAlchemy URL or SQLite file.")] = None,
    otlp_endpoint: Annotated[
        str | None, typer.Option("--otlp-endpoint", metavar="URL", help="OTLP/HTTP base URL for the trace.")
    ] = None,
    trace_file: Annotated[
        Path | None, typer.Option("--trace-file", metavar="F", help="Write the trace as OTLP JSON lines.")
    ] = None,
    live: Annotated[
        Literal["snapshot", "markers", "off"] | None,
        typer.Option("--live", metavar="MODE", help="Export of open spans: snapshot, markers, off."),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the store while it trains.")] = False,
    notify: Annotated[
        str | None, typer.Option("--notify", metavar="URL", help="Apprise URL, told of stalls and the end.")
    ] = None,
    host: Host = None,
    port: Port = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1)] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, also on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per step.")] = False,
) -> None:
    """Train a strategy on a folder of bars, with live progress."""
    # Said before anything is imported that takes a second.
    typer.echo(f"{strategy}: checking the strategy and its bars", err=as_json)
    from pipeline.orchestration.local import LocalTraining, TrainingRequest

    request = TrainingRequest(
        strategy=strategy,
        data=data,
        symbols=_names(symbols, "--symbols"),
        timeframes=_names(timeframes, "--timeframes"),
        operation_id=operation_id,
        output=output,
        database=database,
        otlp_endpoint=otlp_endpoint,
        trace_file=trace_file,
        live=live,
        notify=notify,
        serve_at=(host, port) if serve else None,
        epochs=epochs,
        seed=seed,
        display="json" if as_json else "plain" if plain else "live",
    )
    raise typer.Exit(LocalTraining(request).run())


def _names(given: str | None, option: str) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if not names:
        fail(f"{option} names nothing", hint="give names with commas between them")
    return names
