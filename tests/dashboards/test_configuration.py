"""Every file that another program reads is checked by that program, or by what it promises to read."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from dashboards.build import FOLDER, boards, differences
from ktrdr_otel import semconv
from ktrdr_otel.metrics.instruments import CHECKPOINT_DURATION, INSTRUMENTS, label_of
from ktrdr_otel.metrics.prometheus import PrometheusFace
from ktrdr_otel.metrics.state import Exemplar, MetricsState

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "dashboards"


def run(*arguments: str, folder: Path = ROOT) -> str:
    """What the program says; it has ended well."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_boards_are_what_their_code_says() -> None:
    """Nobody edits the JSON by hand."""
    assert differences() == []
    assert sorted(path.name for path in FOLDER.glob("*.json")) == sorted(boards())


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """The board's panels, those inside rows too."""
    found: list[dict[str, Any]] = []
    for panel in board["panels"]:
        found.extend(panel.get("panels") or [])
        if panel["type"] != "row":
            found.append(panel)
    return found


@pytest.mark.parametrize("name", sorted(boards()))
def test_every_panel_answers_a_question(name: str) -> None:
    """It has a title, a question, a unit and a query; no two overlap, and no line has a hole."""
    board = json.loads(boards()[name])
    assert board["uid"]
    taken: set[tuple[int, int]] = set()
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith("?"), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for y in {y for _, y in taken}:
        columns = sorted(x for x, each in taken if each == y)
        assert columns == list(range(24)), f"a hole in line {y}: {columns}"


def rules() -> list[dict[str, Any]]:
    """Every rule: what is recorded, and the alerts."""
    [group] = yaml.safe_load((DASHBOARDS / "prometheus/alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def alerts() -> list[dict[str, Any]]:
    """The rules that tell somebody."""
    return [rule for rule in rules() if "alert" in rule]


def unknown_names(text: str) -> set[str]:
    """What is called like a metric or label of ours there, and is none."""
    known = {each.series for each in INSTRUMENTS} | {label for each in INSTRUMENTS for label in each.labels}
    known |= {f"{each.series}_{part}" for each in INSTRUMENTS for part in ("bucket", "sum", "count")}
    known |= {rule["record"] for rule in rules() if "record" in rule}
    return set(re.findall(r"\bktrdr_[a-z_:]+", text)) - known - {"ktrdr_otel"}


def test_boards_and_rules_ask_only_for_metrics_that_there_are() -> None:
    """Every name in every query is in the table of instruments, or recorded by a rule."""
    for text in [*boards().values(), (DASHBOARDS / "prometheus/alerts.yml").read_text()]:
        assert unknown_names(text) == set()


def test_rules_are_right() -> None:
    """promtool checks them, and runs their tests."""
    run("promtool", "check", "rules", "alerts.yml", folder=DASHBOARDS / "prometheus")
    tests = sorted(path.name for path in (DASHBOARDS / "prometheus").glob("*_test.yml"))
    assert tests == ["ends_test.yml", "health_test.yml", "stalls_test.yml"]
    run("promtool", "test", "rules", *tests, folder=DASHBOARDS / "prometheus")


def test_each_alert_has_a_tested_summary() -> None:
    """promtool's tests have every alert fire, in its words."""
    texts = [path.read_text() for path in (DASHBOARDS / "prometheus").glob("*_test.yml")]
    fired = {
        told["alertname"]
        for text in texts
        for test in yaml.safe_load(text)["tests"]
        for told in test.get("alert_rule_test", [])
        if any(alert["exp_annotations"]["summary"] for alert in told["exp_alerts"])
    }
    assert fired == {rule["alert"] for rule in alerts()}


def test_each_alert_has_a_runbook() -> None:
    """With all four parts, where the alert says that it is; and no runbook is left over."""
    for rule in alerts():
        assert rule["labels"]["severity"]
        path, _, where = rule["annotations"]["runbook"].partition(" ")
        assert where == "in the project ktrdr-otel", "nobody would look for a relative path in a chat"
        text = (ROOT / path).read_text()
        for part in ("# " + rule["alert"], "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"):
            assert part in text
    assert {path.stem for path in (DASHBOARDS / "runbooks").glob("*.md")} == {
        rule["alert"] for rule in alerts()
    }


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """All but the section that Debian's does not know yet, which is there."""
    config = yaml.safe_load((DASHBOARDS / "prometheus/prometheus.yml").read_text())
    assert config.pop("otlp")["promote_resource_attributes"] == ["service.name", "service.instance.id"]
    config["rule_files"] = [str(DASHBOARDS / "prometheus/alerts.yml")]
    (tmp_path / "token").write_text("x")
    config["scrape_configs"][0]["authorization"]["credentials_file"] = str(tmp_path / "token")
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    run("promtool", "check", "config", str(tmp_path / "prometheus.yml"))


def test_alertmanager_takes_its_configuration() -> None:
    """amtool says so."""
    run("amtool", "check-config", str(DASHBOARDS / "alertmanager/alertmanager.yml"))


def test_compose_takes_the_compose_file() -> None:
    """Its syntax; and every port is on loopback, every image pinned, no secret in the file."""
    run("docker-compose", "-f", "docker-compose.yml", "config", "-q")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        assert "healthcheck" in service or name in ("secrets", "demo"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert re.search(r":v?\d+\.\d+", service["image"]), name
        for key, value in (service.get("environment") or {}).items():
            assert not re.search("TOKEN|PASSWORD", key) or str(value).startswith("/run/"), (name, key)


def test_the_first_start_makes_secrets_and_the_second_leaves_them(tmp_path: Path) -> None:
    """Readable by whatever user a container runs as, and each another; as the compose file's own script says."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    script = services["secrets"]["command"][-1].replace("$$", "$")
    script = script.replace("/run/ktrdr-otel", str(tmp_path / "secrets")).replace(
        "/badger", str(tmp_path / "badger")
    )
    (tmp_path / "secrets").mkdir()
    (tmp_path / "chown").write_text("#!/bin/sh\n")  # another owner than one's own takes a root
    (tmp_path / "chown").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    made = []
    for _ in range(2):
        subprocess.run(["sh", "-c", script], check=True, env={"PATH": path})
        made.append({each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()})
    assert made[0] == made[1]
    assert made[0].keys() == {"token", "password", "grafana"}
    assert len(set(made[0].values())) == 3
    assert all(re.fullmatch("[0-9a-f]{48}", secret) for secret in made[0].values())
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "secrets").iterdir()} == {0o444}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "badger/keys").is_dir()


def test_a_secret_that_is_used_is_one_that_is_made() -> None:
    """Every file under /run/ktrdr-otel that a service, Prometheus or the image's entry names."""
    compose = (ROOT / "docker-compose.yml").read_text()
    made = set(re.findall(r"\w+", re.search(r"for name in ([\w ]+);", compose)[1]))  # type: ignore[index] # it is there
    texts = [
        compose.replace("/run/ktrdr-otel/$$name", ""),
        (DASHBOARDS / "prometheus/prometheus.yml").read_text(),
    ]
    used = {name for text in texts for name in re.findall(r"/run/ktrdr-otel/(\w+)", text)}
    used |= set(re.findall(r"\$folder/(\w+)", (DASHBOARDS / "with-secrets").read_text()))
    assert used == made


def test_provisioning_is_what_grafana_reads() -> None:
    """Sources of the uids that the boards name; a provider whose folder the compose file mounts."""
    sources = yaml.safe_load((DASHBOARDS / "grafana/provisioning/datasources/sources.yml").read_text())
    assert sources["apiVersion"] == 1
    uids = {source["uid"] for source in sources["datasources"]}
    texts = unquote("".join(boards().values()))  # links to Grafana's own pages have theirs in the address
    assert set(re.findall(r'"datasource":\s*{[^}]*"uid":\s*"([^"]+)"', texts)) == uids
    provider = yaml.safe_load((DASHBOARDS / "grafana/provisioning/dashboards/boards.yml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert any(mount.split(":")[:2] == ["./dashboards/grafana/boards", folder] for mount in mounts)


def provisioned() -> dict[str, dict[str, Any]]:
    """The settings of each data source, by its kind."""
    text = (DASHBOARDS / "grafana/provisioning/datasources/sources.yml").read_text()
    return {source["type"]: source for source in yaml.safe_load(text)["datasources"]}


def test_an_exemplar_leads_to_a_source_that_is_there() -> None:
    """By the label that our exemplars have, to the source of traces."""
    [way] = provisioned()["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert way["datasourceUid"] == provisioned()["jaeger"]["uid"]
    state = MetricsState()
    face = PrometheusFace(state, list)
    state.observe(CHECKPOINT_DURATION, ("epoch", "", ""), 1.0, Exemplar("ab" * 16))
    text, _ = face.render("application/openmetrics-text")
    assert f'# {{{way["name"]}="{"ab" * 16}"}}' in text.decode()


def test_a_trace_leads_to_metrics_that_are_there() -> None:
    """To the source of metrics, by an attribute of every span of an operation, made the label that its series have."""
    way = provisioned()["jaeger"]["jsonData"]["tracesToMetrics"]
    assert way["datasourceUid"] == provisioned()["prometheus"]["uid"]
    assert way["tags"] == [{"key": semconv.OPERATION_ID, "value": label_of(semconv.OPERATION_ID)}]
    by_series = {each.series: each for each in INSTRUMENTS}
    for query in way["queries"]:
        series, labels = re.fullmatch(r"(\w+)\{(.*)\}", query["query"]).groups()  # type: ignore[union-attr] # it is one
        assert labels == "$$__tags", "in provisioning files a dollar is doubled"
        assert semconv.OPERATION_ID in by_series[series].attributes
