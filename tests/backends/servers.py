"""A current Jaeger and Prometheus, from binaries, with the project's own configurations; and who reports to them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from dashboards.queries import SERVER_JOB
from tests.backends.jaeger import Jaeger, running_jaeger
from tests.dashboards.test_configuration import DASHBOARDS
from tests.dashboards.test_real_servers import JOB, SHORT, Watched, free_port, until

PUSHED = '{job="worker"}'
SCRAPED = f'{{job="{SERVER_JOB}"}}'
_BINARIES = ("JAEGER_BIN", "PROMETHEUS_BIN")


@dataclass
class Backends:
    """The servers, and runs that push to them."""

    watched: Watched
    jaeger: Jaeger
    promtool: str
    config: Path
    page: str  # the operations server

    @property
    def reporting(self) -> dict[str, str]:
        """The environment of a program that exports its spans to Jaeger and pushes its metrics to Prometheus."""
        return {
            "KTRDR_OTEL_LIVE": "snapshot",  # as the compose file has it: Badger
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.jaeger.otlp,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{self.watched.prometheus}/api/v1/otlp/v1/metrics",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=worker",
        }

    def start(self, kind: str, operation_id: str = "") -> "subprocess.Popen[bytes]":
        """A job of that kind runs, and reports."""
        arguments = [sys.executable, "-c", JOB, kind, self.watched.database, "", operation_id or kind]
        job = subprocess.Popen(arguments, env={**os.environ, **SHORT, **self.reporting})
        self.watched.jobs.append(job)
        return job


@contextmanager
def started(folder: Path) -> Iterator[Backends]:
    """Jaeger, Prometheus with its OTLP receiver, and the operations server answer, until the block is left."""
    missing = [name for name in _BINARIES if not Path(os.environ.get(name, "")).is_file()]
    assert not missing, f"set {' and '.join(missing)} to real binaries: nothing here can be shown without"
    with running_jaeger(os.environ["JAEGER_BIN"], folder, "badger") as jaeger:
        yield from _beside(jaeger, folder, os.environ["PROMETHEUS_BIN"])


def _beside(jaeger: Jaeger, folder: Path, prometheus: str) -> Iterator[Backends]:
    serving, scraping = free_port(), free_port()
    database = str(folder / "operations.db")
    config = folder / "prometheus.yml"
    config.write_text(_prometheus_config(serving, jaeger.span_metrics))
    commands = [
        [sys.executable, "-m", "ktrdr_otel", "serve", "--port", str(serving), "--database", database],
        [
            prometheus,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{scraping}",
            "--web.enable-otlp-receiver",
            "--enable-feature=exemplar-storage",
        ],
    ]
    with (folder / "log").open("wb") as log:
        processes = [
            subprocess.Popen(each, stdout=log, stderr=log, env={**os.environ, **SHORT}) for each in commands
        ]
        watched = Watched(f"http://127.0.0.1:{scraping}", database, [], folder)
        try:
            until(lambda: watched.query('up{job="jaeger-spanmetrics"} == 1'))
            until(lambda: watched.query(f'up{{job="{SERVER_JOB}"}} == 1'))
            yield Backends(
                watched,
                jaeger=jaeger,
                promtool=str(Path(prometheus).with_name("promtool")),
                config=config,
                page=f"http://127.0.0.1:{serving}",
            )
        finally:
            for job in watched.jobs:
                job.kill()
                job.wait()
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(30)


def _prometheus_config(serving: int, span_metrics: int) -> str:
    """The project's own, with the addresses of this test and every second."""
    config = yaml.safe_load((DASHBOARDS / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DASHBOARDS / "prometheus/alerts.yml")]
    del config["alerting"]
    targets = {"jaeger-spanmetrics": span_metrics}
    for scrape in config["scrape_configs"]:
        scrape.pop("authorization", None)
        port = targets.get(scrape["job_name"], serving)
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    return yaml.safe_dump(config)
