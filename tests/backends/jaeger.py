"""A real Jaeger with the project's own configuration, on free ports."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import yaml

from tests.dashboards.test_configuration import DASHBOARDS
from tests.dashboards.test_real_servers import free_port, until

_PORTS = ("8888", "8889", "13133", "16686", "16685", "4317", "4318")


@dataclass(frozen=True)
class Jaeger:
    """Where it is reached."""

    query: str
    otlp: str
    span_metrics: int  # the port at which Prometheus asks for them

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The records of a trace, as OTLP JSON; none where it has none."""
        answer = httpx.get(f"{self.query}/api/v3/traces/{trace_id}", timeout=30)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        answer.raise_for_status()
        return [
            span
            for resource in answer.json()["result"]["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@contextmanager
def running_jaeger(
    binary: str, folder: Path, storage: Literal["badger", "memory"], pages: str | None = None
) -> Iterator[Jaeger]:
    """It answers until the block ends; `pages` is the folder of its built user interface."""
    ports = {port: free_port() for port in _PORTS}
    text = (DASHBOARDS / "jaeger/jaeger.yaml").read_text()
    for port in _PORTS:
        text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{ports[port]}")
    config = yaml.safe_load(text.replace("/badger", str(folder / "badger")))
    reader = config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    reader["host"], reader["port"] = "127.0.0.1", ports["8888"]
    if storage == "memory":
        config["extensions"]["jaeger_storage"]["backends"] = {"spans": {"memory": {"max_traces": 10_000}}}
    if pages is not None:
        config["extensions"]["jaeger_query"]["ui"] = {"assets_path": pages}
    for part in ("keys", "values"):
        (folder / "badger" / part).mkdir(parents=True, exist_ok=True)
    (folder / "jaeger.yaml").write_text(yaml.safe_dump(config))
    with (folder / "jaeger.log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "--config", str(folder / "jaeger.yaml")], stdout=log, stderr=log, cwd=folder
        )
        try:
            until(lambda: httpx.get(f"http://127.0.0.1:{ports['13133']}/status").status_code == 200)
            yield Jaeger(
                f"http://127.0.0.1:{ports['16686']}", f"http://127.0.0.1:{ports['4318']}", int(ports["8889"])
            )
        finally:
            process.terminate()
            process.wait(30)
