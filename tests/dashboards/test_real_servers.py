"""With a real Prometheus and a real Alertmanager: every panel has data, and a stall reaches whoever should hear."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dashboards.build import boards
from dashboards.queries import SERVER_JOB
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.gpu import Gpus
from ktrdr_otel.watcher.kernel import memory_limit
from tests.dashboards.test_configuration import DASHBOARDS, panels
from tests.integration.otlp_receivers import HttpReceiver

SHORT = {
    "KTRDR_OTEL_STALL_FLOOR_SECONDS": "3",
    "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "3",
    "KTRDR_OTEL_LEASE_SECONDS": "5",
}
# A training's words without a training: each phase, then whatever is asked for, until the pipe is closed.
JOB = """
import contextlib, os, sys, time
from ktrdr_otel import checkpoint, hold, observe
from ktrdr_otel.progress.plan import Plan
from ktrdr_otel.settings import load_settings
from ktrdr_otel.wiring import serving

gates = os.environ.get("GATES")  # a folder: who has it goes on when the test says so

def is_open(gate):
    return gates is None or os.path.exists(f"{gates}/{gate}")

def step(index, seconds, name="RSI", gate=None):
    with checkpoint("indicator_computation", symbol="AAPL", symbol_index=1, total_symbols=1, timeframe="1h",
                    indicator_name=name, indicator_index=index, total_indicators=60):
        time.sleep(seconds)
        while gate is not None and not is_open(gate):
            time.sleep(0.05)

kind, database, port, operation_id = sys.argv[1:]
served = serving(load_settings(database=database), host=None, port=int(port)) if port else contextlib.nullcontext()
plan = Plan.training(steps=0, indicators=60, fuzzy_sets=20, epochs=40, preparation=0, evaluation=0)
with contextlib.suppress(ValueError), served, observe(kind, operation_type="training", operation_id=operation_id,
                                                     database=database, display="off", plan=plan):
    for index in range(1, 21):
        step(index, 0.1, f"I{index}")
    if kind == "stall":
        step(21, 12, gate="resume")
    if kind == "slow":
        for index in range(21, 33):
            step(index, 1)
    if kind == "held":
        with hold("a broker", allowance_seconds=60):
            time.sleep(12)
    if kind == "kill":
        step(21, 60)
    if kind == "fail":
        with checkpoint("preprocessing", symbol="AAPL", symbol_index=1, total_symbols=1, timeframe="1h",
                        preprocessing_step="loading_data"):
            raise ValueError("no such file")
    for index in range(1, 21):
        with checkpoint("fuzzy_generation", symbol="AAPL", symbol_index=1, total_symbols=1, timeframe="1h",
                        fuzzy_set_name=f"F{index}", fuzzy_index=index, total_fuzzy_sets=20):
            time.sleep(0.05)
    index = 0
    while index < 40 or not is_open("end"):
        index = min(index + 1, 40)
        with checkpoint("epoch", epoch_index=index, total_epochs=40) as epoch:
            time.sleep(0.2)
            epoch.record({"loss": 1 / index, "accuracy": 0.5, "val_loss": 1.1 / index, "val_accuracy": 0.4,
                          "learning_rate": 0.001})
"""


@dataclass
class Watched:
    """The servers, and what the webhook has heard."""

    prometheus: str
    database: str
    heard: list[dict[str, Any]]
    gates: Path  # in which files say when jobs that serve go on
    serving_jobs: list[int] = field(
        default_factory=list
    )  # ports at which Prometheus looks for jobs that serve
    otlp: str = ""  # who takes the spans of such a job
    jobs: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query; it is no error."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def alerts(self, name: str, operation: str, status: str) -> list[dict[str, Any]]:
        """What the webhook was told of them."""
        return [
            alert
            for alert in list(self.heard)
            if alert["labels"]["alertname"] == name
            and alert["labels"].get("ktrdr_operation_id") == operation
            and alert["status"] == status
        ]

    def seen(self, selector: str, seconds: int = 300) -> list[float]:
        """When Prometheus saw each sample of the series that match, oldest first."""
        samples = [each for series in self.query(f"{selector}[{seconds}s]") for each in series["values"]]
        return sorted(moment for moment, _ in samples)

    def start(self, kind: str, *, serves: bool = False) -> "subprocess.Popen[bytes]":
        """A job of that kind runs; with `serves` it is scraped itself, exports its spans and pushes its metrics."""
        arguments = [
            sys.executable,
            "-c",
            JOB,
            kind,
            self.database,
            str(self.serving_jobs.pop()) if serves else "",
            kind,
        ]
        exporting = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp,
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "GATES": str(self.gates),
        }
        job = subprocess.Popen(arguments, env={**os.environ, **SHORT, **(exporting if serves else {})})
        self.jobs.append(job)
        return job


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(wanted: Callable[[], Any], seconds: float = 40) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if answer := wanted():
                return answer
        except (httpx.TransportError, json.JSONDecodeError):
            pass  # a server that is on its way answers with what it likes
        time.sleep(0.1)
    raise AssertionError("it did not come to be")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The operations server, Prometheus and Alertmanager with our files, and a webhook."""
    folder = tmp_path_factory.mktemp("servers")
    heard: list[dict[str, Any]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    webhook = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    serving, scraping, alerting, *serving_jobs = (free_port() for _ in range(5))
    database = str(folder / "operations.db")
    alerts = yaml.safe_load((DASHBOARDS / "alertmanager/alertmanager.yml").read_text())
    alerts["route"].update(group_wait="0s", group_interval="1s")
    alerts["route"]["routes"][0].update(group_interval="1s", repeat_interval="1s")
    for receiver in alerts["receivers"]:
        receiver["webhook_configs"][0]["url"] = f"http://127.0.0.1:{webhook.server_port}/"
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(alerts))
    config = yaml.safe_load((DASHBOARDS / "prometheus/prometheus.yml").read_text())
    del config["otlp"]
    config["global"] = {"scrape_interval": "2s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DASHBOARDS / "prometheus/alerts.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{alerting}"]}]
    config["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
        for name, ports in ((SERVER_JOB, [serving]), ("ktrdr-otel", serving_jobs))
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = (folder / "log").open("wb")
    commands = [
        [sys.executable, "-m", "ktrdr_otel", "serve", "--port", str(serving), "--database", database],
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{scraping}",
            "--rules.alert.resend-delay=1s",  # what Alertmanager has missed by starting later is told again
            "--enable-feature=exemplar-storage",
        ],
        [
            "prometheus-alertmanager",
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{alerting}",
            "--cluster.listen-address=",
        ],
    ]
    processes = [
        subprocess.Popen(each, stdout=log, stderr=log, env={**os.environ, **SHORT}) for each in commands
    ]
    spans = HttpReceiver()
    made = Watched(f"http://127.0.0.1:{scraping}", database, heard, folder, serving_jobs, spans.url)
    try:
        url = f"http://127.0.0.1:{scraping}"
        until(lambda: httpx.get(f"{url}/-/ready").status_code == 200)
        until(lambda: httpx.get(f"http://127.0.0.1:{alerting}/-/ready").status_code == 200)
        until(lambda: made.query('up{job="ktrdr-otel-server"} == 1'))
        yield made
    finally:
        for job in made.jobs:
            job.kill()
            job.wait()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(20)
        log.close()
        spans.close()
        webhook.shutdown()
        webhook.server_close()


@pytest.mark.timeout(300)
def test_a_stall_reaches_the_webhook_and_everything_else_is_silent(watched: Watched) -> None:
    """With symbol, timeframe and indicator, and its end; slow and held runs are silent; a kill is lost; each once."""
    assert watched.start("plain").wait(60) == 0  # what it took is known from here on
    jobs = {
        kind: watched.start(kind, serves=kind in ("slow", "stall"))
        for kind in ("stall", "slow", "held", "kill", "fail")
    }
    alert = until(lambda: watched.alerts("PreprocessingStalled", "stall", "firing"))[0]
    assert alert["annotations"]["summary"] == "stall is stalled in computing_indicator RSI [1h] AAPL"
    assert alert["labels"]["ktrdr_item_name"] == "RSI"
    stalls = 'ktrdr_operation_stalled{ktrdr_operation_id="stall"} == 1'
    until(lambda: {each["metric"]["job"] for each in watched.query(stalls)} == {SERVER_JOB, "ktrdr-otel"})
    (watched.gates / "resume").touch()
    jobs["kill"].kill()
    lost = until(lambda: watched.alerts("OperationLost", "kill", "firing"))[0]["annotations"]["summary"]
    assert lost == "kill is lost in computing_indicator RSI [1h] AAPL: its process is gone without a word"
    failed = until(lambda: watched.alerts("OperationFailed", "fail", "firing"))[0]["annotations"]["summary"]
    assert failed == "fail has failed in loading_data [1h] AAPL"
    until(lambda: watched.alerts("PreprocessingStalled", "stall", "resolved"))
    for name, kind in (
        ("PreprocessingStalled", "stall"),
        ("OperationLost", "kill"),
        ("OperationFailed", "fail"),
    ):
        is_told_once(watched, name, kind)
    is_told_at_the_next_evaluation(watched, "OperationLost", "kill")
    every_panel_has_data(watched)
    (watched.gates / "end").touch()
    for job in jobs.values():
        job.wait(60)
    watchdog = [alert for alert in watched.heard if alert["labels"]["alertname"] == "Watchdog"]
    assert len(watchdog) > 2, "the dead man's switch is told again and again"
    for kind in ("slow", "held"):
        assert watched.alerts("PreprocessingStalled", kind, "firing") == []
    for kind in ("stall", "slow", "held"):
        for name in ("TrainingStalled", "OperationStalled"):
            assert watched.alerts(name, kind, "firing") == []


def is_told_once(watched: Watched, name: str, operation: str) -> None:
    """One alert, with one set of labels from one moment on, however often that is repeated."""
    told = watched.alerts(name, operation, "firing")
    assert len({(alert["fingerprint"], alert["startsAt"]) for alert in told}) == 1, told
    of_it = f'alertname="{name}", ktrdr_operation_id="{operation}", alertstate="firing"'
    assert len(watched.query(f"last_over_time(ALERTS{{{of_it}}}[5m])")) == 1


def is_told_at_the_next_evaluation(watched: Watched, name: str, operation: str) -> None:
    """After the scrape that brought its end: by Prometheus' own times, which no busy machine stretches."""
    ended = watched.seen(f'{instruments.ENDED.series}{{ktrdr_operation_id="{operation}"}}')[0]
    firing = watched.seen(f'ALERTS{{alertname="{name}", ktrdr_operation_id="{operation}"}}')[0]
    evaluations = watched.seen('ALERTS{alertname="Watchdog"}')  # which fires in each
    assert firing in evaluations
    # A scrape's time is that of its beginning: an evaluation may begin before it has ended.
    between = [moment for moment in evaluations if ended < moment < firing]
    assert len(between) <= 1, (ended, between, firing)


def every_query() -> Iterator[tuple[str, str, str]]:
    """Board, panel and query, as Grafana would send it."""
    for name, text in boards().items():
        for panel in panels(json.loads(text)):
            for target in panel["targets"]:
                yield name, panel["title"], filled_in(target["expr"])


def filled_in(expression: str) -> str:
    """With Grafana's variables as it would fill them in: all operations, the server's job, five minutes."""
    expression = expression.replace("$operation", ".*").replace("$job", SERVER_JOB)
    return re.sub(r"\$__(range|rate_interval)", "5m", expression)


def every_annotation() -> Iterator[tuple[str, str, str]]:
    """Board, name and query of what is marked in all its panels."""
    for name, text in boards().items():
        for annotation in json.loads(text)["annotations"].get("list", []):
            yield name, annotation["name"], filled_in(annotation["expr"])


def every_variable() -> Iterator[tuple[str, str, str, str]]:
    """Board and name of each variable that asks; the label whose values it wants, of which series."""
    for name, text in boards().items():
        for variable in json.loads(text)["templating"].get("list", []):
            if variable["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr] # the one form that we use
                yield name, variable["name"], series, label


def is_beyond_this_machine(expression: str) -> bool:
    """Whether it asks for GPUs and there are none, or for a limit of memory where nothing limits it."""
    if "ktrdr_gpu_" in expression:
        return not Gpus().points()
    return instruments.MEMORY_LIMIT.series in expression and memory_limit(os.getpid()) is None


def every_panel_has_data(watched: Watched) -> None:
    """Every query of every panel, as Grafana would send it, while runs are in training."""
    until(lambda: watched.query("ktrdr_training_loss"), 60)
    until(
        lambda: watched.query("count_over_time(ktrdr_otel_exported_total[5m]) > 2")
    )  # a rate needs two scrapes
    empty = [
        (name, title, expression)
        for name, title, expression in every_query()
        if not watched.query(expression) and not is_beyond_this_machine(expression)
    ]
    assert not empty, empty
    every_mark_and_variable_has_data(watched)
    found = httpx.get(
        f"{watched.prometheus}/api/v1/query_exemplars",
        params={
            "query": "ktrdr_checkpoint_duration_seconds_bucket",
            "start": time.time() - 300,
            "end": time.time(),
        },
    ).json()
    assert found["data"], "exemplars lead to traces"
    assert len(found["data"][0]["exemplars"][0]["labels"]["trace_id"]) == 32


def every_mark_and_variable_has_data(watched: Watched) -> None:
    """Every query of annotations and variables, as Grafana would send it, of the last five minutes."""
    now = time.time()
    marks = list(every_annotation())
    assert {name for _, name, _ in marks} == {"Stalls", "Ends"}
    for board, name, expression in marks:
        asked: dict[str, str | float] = {"query": expression, "start": now - 300, "end": now, "step": 1}
        answer = httpx.get(f"{watched.prometheus}/api/v1/query_range", params=asked, timeout=10).json()
        assert answer["status"] == "success", (board, name, answer)
        assert answer["data"]["result"], (board, name)
    variables = list(every_variable())
    assert {name for _, name, _, _ in variables} == {"job", "operation"}
    for board, name, series, label in variables:
        asked = {"match[]": series, "start": now - 300, "end": now}
        answer = httpx.get(
            f"{watched.prometheus}/api/v1/label/{label}/values", params=asked, timeout=10
        ).json()
        assert answer["status"] == "success", (board, name, answer)
        assert answer["data"], (board, name)
        assert name != "job" or SERVER_JOB in answer["data"], "it is the one that is chosen at first"
