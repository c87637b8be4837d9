"""With a current Jaeger and Prometheus: both faces, exemplars, ends, span metrics, every query of every panel.

`make test-backends JAEGER_BIN=... PROMETHEUS_BIN=...`; pytest does not collect it by itself:
few machines have them.
"""

import json
import subprocess
import time
from typing import Any

import httpx
import pytest
import yaml

from tests.backends.servers import PUSHED, SCRAPED, Backends
from tests.dashboards.test_real_servers import every_panel_has_data, until


def names(backends: Backends, selector: str) -> set[str]:
    """Names of the series that match now."""
    return {each["metric"]["__name__"] for each in backends.watched.query(selector)}


def same_names_on_both_faces(backends: Backends) -> bool:
    """But for the step under way, which is scraped alone, and the server's own health."""
    pushed = names(backends, f'{{__name__=~"ktrdr_.+",{PUSHED[1:]}')
    scraped = names(backends, f'{{__name__=~"ktrdr_.+",{SCRAPED[1:]}')
    own = {name for name in scraped | pushed if name.startswith("ktrdr_otel_")}
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


@pytest.mark.timeout(300)
def test_a_run_is_on_both_faces_and_then_on_none(backends: Backends) -> None:
    """The same names, exemplars of both, gone at its end, its spans in Jaeger and in the span metrics once each."""
    job = backends.start("plain")
    until(lambda: names(backends, f"ktrdr_training_loss{PUSHED}"), 60)
    until(lambda: same_names_on_both_faces(backends))
    trace_ids = {
        each["labels"]["trace_id"]
        for selector in (PUSHED, SCRAPED)
        for each in until(lambda selector=selector: exemplars(backends, selector))  # type: ignore[misc] # bound now
    }
    assert len(trace_ids) == 1
    assert job.wait(60) == 0
    ended = time.monotonic()
    until(lambda: not backends.watched.query(f"ktrdr_operation_progress_ratio{PUSHED}"), 10)
    assert time.monotonic() - ended < 5, "without a mark it would stay for five minutes"
    assert backends.watched.query(f"ktrdr_operation_end_timestamp_seconds{PUSHED}")
    spans = until(lambda: backends.jaeger.spans(next(iter(trace_ids))))
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
