"""Whatever is stalled is told by one alert and by one only, whichever faces tell of it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ktrdr_otel import semconv
from ktrdr_otel.bridge.training_bridge import TrainingProgressBridge
from ktrdr_otel.metrics import instruments
from ktrdr_otel.progress.plan import PHASE_OF_TYPE
from tests.dashboards.test_configuration import DASHBOARDS, alerts, run

PREPROCESSING, TRAINING, OPERATION = STALLS = ("PreprocessingStalled", "TrainingStalled", "OperationStalled")
SCRAPED = ("ktrdr-otel-server",)
PUSHED = ("worker",)
BOTH = (*SCRAPED, *PUSHED)
# Phase and progress type of the step under way, as a bridge tells them, and whose stall that is.
PLACES = {
    ("preprocessing", semconv.PREPROCESSING): PREPROCESSING,
    ("preprocessing", semconv.INDICATOR_COMPUTATION): PREPROCESSING,
    ("preprocessing", semconv.FUZZY_GENERATION): PREPROCESSING,
    ("preprocessing", semconv.HOLD): PREPROCESSING,
    ("preparation", semconv.PREPARATION): PREPROCESSING,
    ("epoch", semconv.EPOCH): TRAINING,
    ("batch", semconv.EPOCH): TRAINING,
    ("batch", semconv.HOLD): TRAINING,
    ("remote_snapshot", semconv.EPOCH): TRAINING,
    ("evaluation", semconv.EVALUATION): TRAINING,
    ("evaluation", ""): TRAINING,
    ("hold", semconv.HOLD): OPERATION,
    ("load", "load"): OPERATION,
    ("load", ""): OPERATION,
    ("", ""): OPERATION,
}


def series(name: str, **labels: str) -> dict[str, str]:
    """One that is 1 for a minute."""
    inner = ", ".join(f'{label}="{value}"' for label, value in labels.items() if value)
    return {"series": f"{name}{{{inner}}}", "values": "1x4"}


def stalled(phase: str, progress_type: str, jobs: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The series of an operation that does not move, as those jobs tell them."""
    for job in jobs:
        own = {"job": job, "ktrdr_operation_id": "one", "ktrdr_operation_type": "training"}
        yield series(instruments.STALLED.series, **own)
        if phase:
            yield series(instruments.PHASE_INFO.series, **own, ktrdr_phase=phase)
        if job in SCRAPED:
            yield series(instruments.STEP_INFO.series, **own, ktrdr_progress_type=progress_type)


def test_a_stall_is_told_by_one_alert_on_each_face_and_on_both(tmp_path: Path) -> None:
    """By the one whose it is: in preprocessing, in training, or in words of the job's own."""
    told = 'count by (alertname) (ALERTS{alertname=~".*Stalled"})'
    tests = [
        {
            "name": f"{phase} {progress_type} {jobs}",
            "interval": "15s",
            "input_series": list(stalled(phase, progress_type, jobs)),
            "promql_expr_test": [
                {
                    "expr": told,
                    "eval_time": "45s",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
                }
            ],
        }
        for (phase, progress_type), alert in PLACES.items()
        for jobs in (SCRAPED, PUSHED, BOTH)
    ]
    written = tmp_path / "each_test.yml"
    rules = str(DASHBOARDS / "prometheus/alerts.yml")
    written.write_text(yaml.safe_dump({"rule_files": [rules], "evaluation_interval": "15s", "tests": tests}))
    run("promtool", "test", "rules", str(written))


def alert_of(phase: str) -> str:
    """The one alert that takes a stall in that phase."""
    found = []
    for rule in alerts():
        if rule["alert"] in STALLS:
            operator, phases = re.search(r'ktrdr_phase(=~|!~)"([^"]+)"', rule["expr"]).groups()  # type: ignore[union-attr] # each has one
            if (re.fullmatch(phases, phase) is not None) == (operator == "=~"):
                found.append(rule["alert"])
    [alert] = found
    return str(alert)


@pytest.mark.parametrize(
    ("tell", "alert"),
    [
        (lambda bridge: bridge.on_symbol_processing("AAPL", 1, 2, semconv.LOADING_DATA), PREPROCESSING),
        (lambda bridge: bridge.on_indicator_computation("AAPL", 1, 2, "1h", "RSI", 1, 9), PREPROCESSING),
        (lambda bridge: bridge.on_fuzzy_generation("AAPL", 1, 2, "1h", "rsi", 1, 9), PREPROCESSING),
        (lambda bridge: bridge.on_preparation_phase(semconv.SPLITTING_DATA), PREPROCESSING),
        (lambda bridge: bridge.on_epoch_started(0, 9), TRAINING),
        (lambda bridge: bridge.on_batch(0, 0, 9), TRAINING),
        (lambda bridge: bridge.on_epoch(0, 9), TRAINING),
        (lambda bridge: bridge.on_remote_snapshot({"progress": {"epoch": 1}}), TRAINING),
        (lambda bridge: bridge.on_item(semconv.EVALUATION, {}), TRAINING),
        (lambda bridge: bridge.on_item("load", {"item": "MSFT"}), OPERATION),
        (lambda bridge: bridge.on_item(semconv.HOLD, {"item": "a broker"}), OPERATION),
        (lambda bridge: bridge.on_loop("page", 3, 9, {}), OPERATION),
    ],
)
def test_every_phase_that_a_bridge_tells_is_known_to_the_alerts(
    tell: Callable[[TrainingProgressBridge], None], alert: str
) -> None:
    """What it calls its phases is what the rules part them by; a hold stays in the phase in which it began."""
    bridge = TrainingProgressBridge(context=None, update_progress_callback=lambda *_, **__: None)
    tell(bridge)
    assert alert_of(bridge.phase) == alert
    bridge.on_item(semconv.HOLD, {"item": "a broker"})
    assert alert_of(bridge.phase) == alert


def test_every_phase_of_a_plan_is_known_to_the_alerts() -> None:
    """None of the seed's is taken for a job's own word."""
    assert {phase: alert_of(phase) for phase in PHASE_OF_TYPE.values()} == {
        "preprocessing": PREPROCESSING,
        "preparation": PREPROCESSING,
        "training": TRAINING,
        "evaluation": TRAINING,
    }
