"""REST: what anyone can ask, and what the answers look like."""

import threading
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from ktrdr_otel import semconv
from ktrdr_otel.metrics.state import Point
from ktrdr_otel.operations.logs import Logged
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.watcher.record import Record
from tests.integration.server.conftest import Running, Serve, begin, finish, progress, unit

OPERATIONS = "/api/v1/operations"
AnyCase = Case[Any]


@schemathesis.serializer("application/x-protobuf")
def as_bytes(_context: Any, value: Any) -> bytes:
    """Whatever was generated, as it is."""
    return value.encode() if isinstance(value, str) else bytes(value)


def test_operations_come_page_by_page(running: Running) -> None:
    """The newest first; the last page has no next."""
    for number in range(5):
        begin(running.service, f"op-{number}")
    first = running.client.get(OPERATIONS, params={"limit": 3}).json()
    assert [each["operation_id"] for each in first["operations"]] == ["op-4", "op-3", "op-2"]
    second = running.client.get(OPERATIONS, params={"limit": 3, "cursor": first["next"]}).json()
    assert [each["operation_id"] for each in second["operations"]] == ["op-1", "op-0"]
    assert second["next"] is None


def test_operations_are_filtered(running: Running) -> None:
    """By status and by type."""
    for name in ("one", "two"):
        begin(running.service, name)
    finish(running.service, "one")

    def found(**filters: str) -> list[str]:
        answer = running.client.get(OPERATIONS, params=filters).json()
        return [each["operation_id"] for each in answer["operations"]]

    assert found(status="completed") == ["one"]
    assert found(status="running", operation_type="training") == ["two"]
    assert found(operation_type="other") == []


def test_an_operation_has_its_links(serve: Serve) -> None:
    """Templates are settings; what stands in them is quoted."""
    running = serve(
        trace_url="http://jaeger:16686/trace/{trace_id}",
        dashboard_url="http://grafana/d/x?var-operation={operation_id}",
    )
    begin(running.service, "a&b c")
    [operation] = running.client.get(OPERATIONS).json()["operations"]
    assert operation["links"] == {
        "trace": f"http://jaeger:16686/trace/{'ab' * 16}",
        "dashboard": "http://grafana/d/x?var-operation=a%26b%20c",
    }


def test_checkpoints_and_metrics_are_read_on_from_a_cursor(running: Running) -> None:
    """Epochs count from 0; a loss that diverged is null."""
    begin(running.service)
    epochs = [
        unit("one", number)._replace(
            progress_type="epoch",
            context={"epoch_index": number, "total_epochs": 3},
            metrics={"loss": float("nan") if number == 3 else 1 / number},
        )
        for number in (1, 2, 3)
    ]
    running.service.write(Batch(finished=[unit("one", 9), *epochs], progress={"one": progress(4)}))
    page = running.client.get(f"{OPERATIONS}/one/checkpoints", params={"limit": 3}).json()
    rest = running.client.get(f"{OPERATIONS}/one/checkpoints", params={"after": page["next"]}).json()
    assert len(page["checkpoints"]) == 3
    assert len(rest["checkpoints"]) == 1
    assert rest["next"] is None
    metrics = running.client.get(f"{OPERATIONS}/one/metrics").json()["metrics"]
    assert [(each["epoch"], each["loss"]) for each in metrics] == [(0, 1.0), (1, 0.5), (2, None)]


def test_logs_and_samples_are_those_of_the_operation(running: Running) -> None:
    """The last records with their step, as text; CPU and memory with the limit."""
    begin(running.service)
    begin(running.service, "two")
    place = {semconv.PROGRESS_TYPE: "load", semconv.ITEM_NAME: "MSFT"}
    records = [
        Logged("one", 10**18 + number, "ERROR", "bars", f"<b>{number}</b>", 7, 9, place)
        for number in range(3)
    ]
    running.service.write(Batch(logs=records))
    watcher = Record({**running.service.watching(), **_this_process()})
    watcher.sample("one", at_ns=10**18, cpu_share=0.98, rss_bytes=2**20, limit_bytes=2**30)
    watcher.close()
    asked = running.client.get(f"{OPERATIONS}/one/logs", params={"limit": 2}).json()["logs"]
    assert [each["message"] for each in asked] == ["<b>1</b>", "<b>2</b>"]
    assert (asked[0]["step"], asked[0]["span_id"], asked[0]["at"]) == (
        "Load MSFT",
        f"{9:016x}",
        "2001-09-09T01:46:40.000000Z",
    )
    assert running.client.get(f"{OPERATIONS}/one/samples").json() == {
        "samples": [
            {
                "at": "2001-09-09T01:46:40.000000Z",
                "cpu_share": 0.98,
                "rss_bytes": 2**20,
                "limit_bytes": 2**30,
            }
        ]
    }
    for part in ("logs", "samples"):
        assert running.client.get(f"{OPERATIONS}/two/{part}").json() == {part: []}


def _this_process() -> dict[str, object]:
    worker = this_worker()
    return {"pid": worker.pid, "started_ticks": worker.pid_started_ticks, "boot_id": worker.boot_id}


def test_a_cancel_reaches_the_store(running: Running) -> None:
    """Where its worker looks; an operation that has ended cannot be cancelled."""
    begin(running.service)
    answer = running.client.post(f"{OPERATIONS}/one/cancel", json={"reason": "enough"})
    assert (answer.status_code, answer.json()["reason"]) == (202, "enough")
    finish(running.service)
    assert running.client.post(f"{OPERATIONS}/one/cancel").status_code == 409


@pytest.mark.parametrize("path", ["", "/checkpoints", "/metrics", "/logs", "/samples", "/events"])
def test_what_does_not_exist_is_404_in_one_sentence(running: Running, path: str) -> None:
    """On every route that names an operation."""
    answer = running.client.get(f"{OPERATIONS}/nothing{path}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "no operation nothing"})


@pytest.mark.parametrize("path", ["", "/checkpoints", "/metrics", "/logs", "/samples", "/events", "/cancel"])
def test_an_operation_id_may_have_slashes(running: Running, path: str) -> None:
    """However the client writes them; what follows the id is no part of it."""
    begin(running.service, "nightly/2026 07")
    finish(running.service, "nightly/2026 07")
    for written in ("nightly/2026%2007", "nightly%2F2026%2007"):
        if path == "/cancel":
            answer = running.client.post(f"{OPERATIONS}/{written}/cancel")
            assert answer.json() == {"detail": "operation nightly/2026 07 is completed already"}
        else:
            assert running.client.get(f"{OPERATIONS}/{written}{path}").status_code == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "status=odd", "limit=99999", "cursor=" + "x" * 300])
def test_what_cannot_be_understood_is_400_and_says_where(running: Running, query: str) -> None:
    """Never a 500."""
    answer = running.client.get(f"{OPERATIONS}?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]


def test_the_openapi_document_holds_what_it_says(running: Running) -> None:
    """schemathesis asks every route all it can think of, and compares the answers with the document."""
    begin(running.service)
    finish(running.service)
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    paths = set(httpx.get(f"{running.url}/openapi.json").json()["paths"])
    assert {OPERATIONS, f"{OPERATIONS}/{{operation_id}}/cancel", "/v1/traces", "/healthz"} <= paths
    failures: list[str] = []

    def ask(case: AnyCase) -> None:
        if case.operation.path.endswith("/events"):
            return  # a stream does not end; its own tests read it
        try:
            case.call_and_validate(timeout=10)
        except FailureGroup as error:
            failures.extend(f"{case.operation.label}: {each}" for each in error.exceptions)

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        for example in _cases(operation, 60):
            ask(example)
    assert not failures, "\n".join(sorted(set(failures)))


def _cases(operation: object, count: int) -> list[AnyCase]:
    from hypothesis import HealthCheck, Phase, given, settings

    cases: list[AnyCase] = []

    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(case=operation.as_strategy())  # type: ignore[attr-defined] # an APIOperation
    def collect(case: AnyCase) -> None:
        cases.append(case)

    collect()
    return cases


def test_a_scrape_that_hangs_hangs_alone(serve: Serve) -> None:
    """A driver that does not answer keeps no server from starting, and no other request waiting."""
    asked, answer = threading.Event(), threading.Event()

    def own() -> list[Point]:
        asked.set()
        answer.wait(30)
        return []

    running = serve(own=own)
    told: list[int] = []
    scrape = threading.Thread(target=lambda: told.append(running.client.get("/metrics").status_code))
    scrape.start()
    assert asked.wait(10)
    with httpx.Client(base_url=running.url) as another:
        assert another.get("/healthz").status_code == 200
    assert not told
    answer.set()
    scrape.join()
    assert told == [200]
