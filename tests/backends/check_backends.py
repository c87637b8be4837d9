"""With a current Jaeger and Prometheus: both faces, exemplars, ends, span metrics, every panel.

`make test-backends JAEGER_BIN=... PROMETHEUS_BIN=...`; pytest does not collect it by itself:
few machines have them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.dashboards.test_configuration import DASHBOARDS
from tests.dashboards.test_real_servers import JOB, SHORT, Watched, every_panel_has_data, free_port, until

PUSHED = '{instance="the-worker"}'
BINARIES = ("JAEGER_BIN", "PROMETHEUS_BIN")


@dataclass
class Backends:
    """The servers, and a run of each kind that pushes to them."""

    watched: Watched
    jaeger: str
    otlp: str
    promtool: str
    config: Path

    def start(self, kind: str) -> "subprocess.Popen[bytes]":
        """A job of that kind runs; it exports its spans to Jaeger and pushes its metrics to Prometheus."""
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{self.watched.prometheus}/api/v1/otlp/v1/metrics",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=worker,service.instance.id=the-worker",
        }
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, kind, self.watched.database], env={**os.environ, **SHORT, **given}
        )
        self.watched.jobs.append(job)
        return job


def prometheus_config(serving: int, span_metrics: int) -> str:
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


def jaeger_config(folder: Path, ports: dict[str, int]) -> str:
    """The project's own, with the addresses and folders of this test."""
    text = (DASHBOARDS / "jaeger/jaeger.yaml").read_text().replace("/badger", str(folder / "badger"))
    for port in ("8889", "13133", "16686", "16685", "4317", "4318"):
        text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{ports[port]}")
    return text.replace("host: 0.0.0.0, port: 8888", f"host: 127.0.0.1, port: {ports['8888']}")


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Jaeger, Prometheus with its OTLP receiver, and the operations server."""
    missing = [name for name in BINARIES if not Path(os.environ.get(name, "")).is_file()]
    assert not missing, f"set {' and '.join(missing)} to real binaries: nothing here can be shown without"
    folder = tmp_path_factory.mktemp("backends")
    jaeger, prometheus = (os.environ[name] for name in BINARIES)
    ports = {port: free_port() for port in ("8888", "8889", "13133", "16686", "16685", "4317", "4318")}
    serving, scraping = free_port(), free_port()
    database = str(folder / "operations.db")
    (folder / "jaeger.yaml").write_text(jaeger_config(folder, ports))
    config = folder / "prometheus.yml"
    config.write_text(prometheus_config(serving, ports["8889"]))
    for part in ("keys", "values"):
        (folder / "badger" / part).mkdir(parents=True)
    commands = [
        [sys.executable, "-m", "ktrdr_otel", "serve", "--port", str(serving), "--database", database],
        [jaeger, "--config", str(folder / "jaeger.yaml")],
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
        watched = Watched(f"http://127.0.0.1:{scraping}", database, [])
        made = Backends(
            watched,
            f"http://127.0.0.1:{ports['16686']}",
            f"http://127.0.0.1:{ports['4318']}",
            str(Path(prometheus).with_name("promtool")),
            config,
        )
        try:
            until(lambda: httpx.get(f"http://127.0.0.1:{ports['13133']}/status").status_code == 200)
            until(lambda: watched.query('up{job="jaeger-spanmetrics"} == 1'))
            until(lambda: watched.query(f'up{{instance="127.0.0.1:{serving}"}} == 1'))
            yield made
        finally:
            for job in watched.jobs:
                job.kill()
                job.wait()
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(30)


def names(backends: Backends, selector: str) -> set[str]:
    """Names of the series that match now."""
    return {each["metric"]["__name__"] for each in backends.watched.query(selector)}


def same_names_on_both_faces(backends: Backends) -> bool:
    """But for the step under way, which is scraped alone, and the server's own health."""
    pushed = names(backends, f'{{__name__=~"ktrdr_.+",{PUSHED[1:]}')
    scraped = names(backends, '{__name__=~"ktrdr_.+",instance!="the-worker"}')
    own = {name for name in scraped if name.startswith("ktrdr_otel_") or name.endswith("_created")}
    return scraped - own == {"ktrdr_operation_step_info", *(pushed - own)}


def exemplars(backends: Backends, selector: str) -> list[dict[str, Any]]:
    """Exemplars of the checkpoints' durations."""
    answer = httpx.get(
        f"{backends.watched.prometheus}/api/v1/query_exemplars",
        params={
            "query": f"ktrdr_checkpoint_duration_seconds_bucket{selector}",
            "start": time.time() - 300,
            "end": time.time(),
        },
    ).json()
    return [each for series in answer["data"] for each in series["exemplars"]]


def spans_of(backends: Backends, trace_id: str) -> list[dict[str, Any]]:
    """The spans of a trace as Jaeger gives them."""
    answer = httpx.get(f"{backends.jaeger}/api/v3/traces/{trace_id}")
    if answer.status_code == 404:
        return []
    return [
        span
        for resource in answer.json()["result"]["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


@pytest.mark.timeout(300)
def test_a_run_is_on_both_faces_and_then_on_none(backends: Backends) -> None:
    """The same names, exemplars of both, gone at its end, its spans in Jaeger and in the span metrics once each."""
    job = backends.start("plain")
    until(lambda: names(backends, f"ktrdr_training_loss{PUSHED}"), 60)
    until(lambda: same_names_on_both_faces(backends))
    trace_ids = {
        each["labels"]["trace_id"]
        for selector in (PUSHED, '{instance!="the-worker"}')
        for each in until(lambda selector=selector: exemplars(backends, selector))  # type: ignore[misc] # bound now
    }
    assert len(trace_ids) == 1
    assert job.wait(60) == 0
    ended = time.monotonic()
    until(lambda: not backends.watched.query(f"ktrdr_operation_progress_ratio{PUSHED}"), 10)
    assert time.monotonic() - ended < 5, "without a mark it would stay for five minutes"
    assert backends.watched.query(f"ktrdr_operation_end_timestamp_seconds{PUSHED}")
    spans = until(lambda: spans_of(backends, next(iter(trace_ids))))
    assert len({span["spanId"] for span in spans}) == len(spans)
    # The connector shows a new counter as 0 until its next flush; the histogram says the number at once.
    calls = 'sum(traces_spanmetrics_duration_milliseconds_count{service_name="worker"})'
    until(lambda: backends.watched.query(f"{calls} == {len(spans)}"), 90)
    time.sleep(3)
    assert backends.watched.query(f"{calls} == {len(spans)}"), "a span was counted twice"


@pytest.mark.timeout(300)
def test_a_stall_that_is_seen_on_both_faces_is_one_alert_and_every_panel_has_data(backends: Backends) -> None:
    """A join of series that are there twice would be an error, and silent."""
    backends.start("fail")
    backends.start("stall")
    until(lambda: backends.watched.query(f"ktrdr_operation_stalled{PUSHED} == 1"))
    firing = 'ALERTS{alertname="PreprocessingStalled",alertstate="firing"}'
    (alert,) = until(lambda: backends.watched.query(firing))
    assert alert["metric"]["ktrdr_item_name"] == "RSI"
    assert len(backends.watched.query('ktrdr_operation_stalled{ktrdr_operation_id="stall"}')) == 2
    every_panel_has_data(backends.watched)
    until(lambda: not backends.watched.query(firing), 60)


def test_no_rule_has_met_an_error(backends: Backends) -> None:
    """As Prometheus itself says, after all of the above."""
    answer = httpx.get(f"{backends.watched.prometheus}/api/v1/rules").json()
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    assert rules
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_its_own_promtool_takes_the_configuration_with_the_otlp_section(backends: Backends) -> None:
    """Debian's does not know that section."""
    assert "otlp" in yaml.safe_load(backends.config.read_text())
    done = subprocess.run(
        [backends.promtool, "check", "config", str(backends.config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, json.dumps([done.stdout, done.stderr])
