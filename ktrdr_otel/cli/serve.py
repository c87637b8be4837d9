"""`ktrdr-otel serve`: the operations of a store, for browsers, programs and other machines."""

import gc
import logging
import sys
from typing import Annotated

import typer

from ktrdr_otel.cli.output import Database, fail, service, told

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on (127.0.0.1).")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on (9464); 0: any that is free.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", help="What who asks must know; better KTRDR_OTEL_TOKEN, which `ps` does not show."
    ),
]


def serve(
    database: Database = None,
    host: Host = None,
    port: Port = None,
    token: Token = None,
    keep_days: Annotated[
        float | None, typer.Option("--keep-days", help="Delete steps of operations that ended before.")
    ] = None,
    notify: Annotated[
        str | None, typer.Option("--notify", metavar="URL", help="Apprise URL, told of stalls and ends.")
    ] = None,
    trace_url: Annotated[
        str | None, typer.Option("--trace-url", help="Link to a trace, with {trace_id} in it.")
    ] = None,
    dashboard_url: Annotated[
        str | None, typer.Option("--dashboard-url", help="Link to a dashboard, with {operation_id} in it.")
    ] = None,
) -> None:
    """Serve the operations of a store: page, REST, streams and /v1/traces."""
    try:
        from ktrdr_otel.server.run import Server
        from ktrdr_otel.server.settings import load_server_settings
    except ModuleNotFoundError as error:
        fail(f"`serve` needs {error.name}, which is not installed", hint="pip install 'ktrdr-otel[server]'")
    from ktrdr_otel.server.log import log_to_stderr

    with told():
        settings = load_server_settings(
            host=host,
            port=port,
            token=token,
            keep_days=keep_days,
            notify=notify,
            trace_url=trace_url,
            dashboard_url=dashboard_url,
        )
    with service(database) as opened, told():
        server = Server(opened, settings)
        # What there is by now stays as long as the process. Walking it took every hundredth scrape 75 ms
        # (`tests.benchmarks.scrape`); in a process that observes, the collector is the program's own.
        gc.collect()
        gc.freeze()
        log_to_stderr(logging.INFO)
        typer.echo(f"serving {opened.describe()} at {server.url}")
        sys.stdout.flush()
        server.serve_forever()
