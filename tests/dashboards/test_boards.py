"""What the boards count where several processes tell of it; the limits and links of their panels."""

import json
from pathlib import Path
from typing import Any

import yaml

from dashboards.build import boards
from dashboards.health import MOST_SPANS, MOST_STEPS
from dashboards.operations import LEASE_SECONDS, MISSING_SECONDS
from dashboards.queries import SERVER_JOB
from ktrdr_otel.exporters.queue import DEFAULT_MAX_QUEUE
from ktrdr_otel.operations import writer
from ktrdr_otel.settings import Settings
from tests.dashboards.test_configuration import panels, rules, run

PLACE = 'ktrdr_progress_type="epoch"'


def every_panel() -> dict[tuple[str, str], dict[str, Any]]:
    """Each panel by its board's uid and its title."""
    read = [json.loads(text) for text in boards().values()]
    return {(board["uid"], panel["title"]): panel for board in read for panel in panels(board)}


def expression(board: str, title: str, job: str) -> str:
    """The panel's first query, as Grafana would send it for that job."""
    asked: str = every_panel()[f"ktrdr-{board}", title]["targets"][0]["expr"]
    asked = asked.replace("$__rate_interval", "1m").replace("$__range", "5m")
    return asked.replace("$operation", ".*").replace("$job", job)


def counted(job: str, instance: str, operation: str) -> list[dict[str, str]]:
    """An operation, as that process tells of it: two had ended before; every 15 s an epoch ends, after 2 s."""
    own = f'job="{job}", instance="{instance}"'
    told = f'{own}, ktrdr_operation_id="{operation}"'
    ended = f'{own}, ktrdr_operation_type="training", ktrdr_operation_status="failed"'
    values = {
        f"ktrdr_operation_start_timestamp_seconds{{{told}}}": "0x20",
        f"ktrdr_operations_total{{{ended}}}": "2x20",
        f'ktrdr_operation_duration_seconds_bucket{{{ended}, le="60"}}': "2x20",
        f'ktrdr_operation_duration_seconds_bucket{{{ended}, le="+Inf"}}': "2x20",
        f"ktrdr_checkpoint_duration_seconds_count{{{own}, {PLACE}}}": "0+1x20",
        f"ktrdr_checkpoint_duration_seconds_sum{{{own}, {PLACE}}}": "0+2x20",
    }
    return [{"series": name, "values": told} for name, told in values.items()]


def expected(
    folder: Path, series: list[dict[str, str]], job: str, answers: dict[tuple[str, str], float]
) -> None:
    """Each panel shows that one value, says promtool."""
    samples = [
        {
            "expr": f"sum({expression(*panel, job)})",
            "eval_time": "4m",
            "exp_samples": [{"labels": "{}", "value": value}],
        }
        for panel, value in answers.items()
    ]
    test = {"interval": "15s", "input_series": series, "promql_expr_test": samples}
    written = folder / "boards_test.yml"
    written.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    run("promtool", "test", "rules", str(written))


def test_shares_are_of_what_is_allowed(tmp_path: Path) -> None:
    """Half of the allowance is used up by silence, a quarter of the limit by memory."""
    own = f'job="{SERVER_JOB}", instance="a", ktrdr_operation_id="one"'
    values = {
        "ktrdr_operation_last_progress_timestamp_seconds": "225x20",  # looked at after four minutes
        "ktrdr_operation_stall_allowance_seconds": "30x20",
        "ktrdr_operation_memory_usage_bytes": "256x20",
        "ktrdr_operation_memory_limit_bytes": "1024x20",
    }
    series = [{"series": f"{name}{{{own}}}", "values": told} for name, told in values.items()]
    answers = {
        ("operations", "Silence of what is allowed"): 0.5,
        ("operations", "Memory of what is allowed"): 0.25,
    }
    expected(tmp_path, series, SERVER_JOB, answers)


def test_what_two_servers_on_one_store_tell_is_counted_once(tmp_path: Path) -> None:
    """Each of them counts every operation."""
    series = [*counted(SERVER_JOB, "a", "one"), *counted(SERVER_JOB, "b", "one")]
    answers = {
        ("operations", "Running"): 1.0,
        ("operations", "Ends by status"): 2.0,
        ("operations", "Time to the end"): 30.0,
        ("preprocessing", "Units per second"): 1 / 15,
        ("training", "Time per epoch"): 2.0,
    }
    expected(tmp_path, series, SERVER_JOB, answers)


def test_what_two_workers_push_is_added(tmp_path: Path) -> None:
    """Each of them counts its own operation."""
    series = [*counted("worker", "a", "one"), *counted("worker", "b", "two")]
    answers = {
        ("operations", "Running"): 2.0,
        ("operations", "Ends by status"): 4.0,
        ("operations", "Time to the end"): 30.0,
        ("preprocessing", "Units per second"): 2 / 15,
        ("training", "Time per epoch"): 2.0,
    }
    expected(tmp_path, series, "worker", answers)


def limits(board: str, title: str) -> list[tuple[str, float]]:
    """From which value on a panel has which colour."""
    steps = every_panel()[f"ktrdr-{board}", title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [(step["color"], step["value"]) for step in steps if step["value"] is not None]


def test_limits_are_those_at_which_something_happens() -> None:
    """A lease, an alert, a stall, a bound from which on something is dropped."""
    assert Settings().lease_seconds == LEASE_SECONDS
    [missing] = [rule for rule in rules() if rule.get("record") == "ktrdr_operation:missing_seconds"]
    assert f"> {MISSING_SECONDS}\n" in missing["expr"]
    assert DEFAULT_MAX_QUEUE == MOST_SPANS
    assert writer._MAX_WAITING == MOST_STEPS
    assert limits("operations", "Heartbeat age") == [("orange", LEASE_SECONDS), ("red", MISSING_SECONDS)]
    assert limits("operations", "Silence of what is allowed") == [("orange", 0.8), ("red", 1)]
    assert limits("operations", "Memory of what is allowed") == [("orange", 0.8), ("red", 0.95)]
    assert limits("health", "Export queue") == [("orange", MOST_SPANS / 2), ("red", MOST_SPANS)]
    assert limits("health", "Waiting") == [("orange", MOST_STEPS / 10), ("red", MOST_STEPS)]
    assert limits("health", "Dropped over time") == [("red", 1)]


def test_every_board_of_operations_leads_to_their_traces() -> None:
    """By a column with the trace of each."""
    for board in ("operations", "preprocessing", "training"):
        linked = [
            override["matcher"]["options"]
            for (uid, _), panel in every_panel().items()
            for override in panel["fieldConfig"].get("overrides", [])
            if uid == f"ktrdr-{board}" and any(each["id"] == "links" for each in override["properties"])
        ]
        assert {"operation", "trace"} <= set(linked)
