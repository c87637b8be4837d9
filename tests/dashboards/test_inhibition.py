"""A real Alertmanager with our configuration: what silences what."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.dashboards.test_configuration import DASHBOARDS, alerts
from tests.dashboards.test_real_servers import free_port, until


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; nobody listens at those of its receivers."""
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus-alertmanager",
        f"--config.file={DASHBOARDS / 'alertmanager/alertmanager.yml'}",
        f"--storage.path={folder}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: httpx.get(f"{url}/-/ready").status_code == httpx.codes.OK)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def silenced_by(alertmanager: str, source: dict[str, str], operation_id: str) -> set[str]:
    """Which of our alerts about the operation are silent while the source fires."""
    targets = [
        {"alertname": rule["alert"], "ktrdr_operation_id": operation_id}
        for rule in alerts()
        if rule["alert"] not in (source["alertname"], "OperationLost")
    ]
    sent = httpx.post(f"{alertmanager}/api/v2/alerts", json=[{"labels": each} for each in [source, *targets]])
    assert sent.status_code == httpx.codes.OK, sent.text
    about = {"filter": f'ktrdr_operation_id="{operation_id}"'}

    def told() -> list[dict[str, dict[str, str]]]:
        found = httpx.get(f"{alertmanager}/api/v2/alerts", params=about).json()
        there = [
            each for each in found if each["labels"] != source and each["status"]["state"] != "unprocessed"
        ]
        return there if len(there) == len(targets) else []

    return {each["labels"]["alertname"] for each in until(told) if each["status"]["inhibitedBy"]}


def test_lost_silences_whatever_else_a_dead_process_would_be_told_of(alertmanager: str) -> None:
    """Every alert that says that it does not move or is not heard; of the same operation only."""
    lost = {"alertname": "OperationLost", "ktrdr_operation_id": "one"}
    stalls = {rule["alert"] for rule in alerts() if rule["alert"].endswith("Stalled")}
    assert len(stalls) == 3
    assert silenced_by(alertmanager, lost, "one") == {*stalls, "HeartbeatMissing"}
    assert silenced_by(alertmanager, lost, "two") == set()


def test_a_server_that_is_down_silences_nothing(alertmanager: str) -> None:
    """Others may be up, and know: that no run is called missing while none is, the rules see to."""
    down = {"alertname": "OperationsServiceDown", "instance": "here", "job": "ktrdr-otel-server"}
    assert silenced_by(alertmanager, down, "three") == set()
