"""Ten thousand hostile bodies: refused with 400 or understood, never a fault, and a refused one changes nothing."""

import asyncio
import gzip
import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrdr_otel.clock import SystemClock
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.server.app import create_app
from ktrdr_otel.server.ingest import Bucket
from ktrdr_otel.server.settings import load_server_settings
from ktrdr_otel.settings import load_settings
from tests.integration.server.spans import TRACE_ID, request, span

CASES = 10_000
_VALID = request(
    span("load", own=b"\x01" * 8, parent=b"\x02" * 8, progress__type="load", item__index=1, item__total=3),
    span("operation", own=b"\x02" * 8, operation__type="training", error="broken"),
    operation_id="fuzzed",
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid request, cut, or with bytes changed, or put together wrongly."""
    body = bytearray(_VALID)
    for _ in range(draw(st.integers(0, 4))):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))]) + draw(st.binary(max_size=8))


_WORDS = st.text(max_size=12) | st.sampled_from(
    ["epoch", "indicator_computation", "fuzzy_generation", "preparation", ""]
)
_VALUES = _WORDS | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=True, allow_infinity=True)
_KEYS = st.sampled_from(
    [
        "operation__id",
        "operation__type",
        "operation__name",
        "operation__status",
        "progress__type",
        "step",
        "symbol__name",
        "symbol__index",
        "symbol__total",
        "timeframe",
        "item__name",
        "item__index",
        "item__total",
        "training__loss",
        "span__state",
    ]
)
_STRANGE = st.lists(
    st.tuples(
        st.binary(min_size=0, max_size=17) | st.just(b"\x07" * 8),
        st.binary(min_size=0, max_size=9) | st.just(b"\x07" * 8),
        st.dictionaries(_KEYS, _VALUES, max_size=8),
        st.integers(0, 2**64 - 1),
        st.booleans(),
    ),
    max_size=4,
)


@st.composite
def strange(draw: st.DrawFn) -> bytes:
    """A well-formed request whose values make no sense."""
    spans = []
    for own, parent, attributes, moment, fails in draw(_STRANGE):
        told: dict[str, Any] = attributes
        made = span("x", **told)
        made.span_id, made.parent_span_id = own, parent
        made.trace_id = TRACE_ID if draw(st.booleans()) else own
        if draw(st.booleans()):
            made.end_time_unix_nano = moment
        if fails:
            made.status.code = 2  # type: ignore[assignment] # protobuf's enums are numbers
        spans.append(made)
    return request(*spans, operation_id=draw(st.sampled_from(["fuzzed", "other", "", None])))


@pytest.fixture
def app() -> Iterator[tuple[FastAPI, OperationsService]]:
    """The application on a store in memory, without a limit on requests."""
    service = open_service(load_settings(database="sqlite:///:memory:"))
    made = create_app(service, load_server_settings(), SystemClock())
    seconds = itertools.count()
    made.state.bucket = Bucket(now=lambda: float(next(seconds)))
    yield made, service
    service.close()


@pytest.mark.timeout(600)
def test_no_body_breaks_the_server(app: tuple[FastAPI, OperationsService]) -> None:
    """200 or 400; after a 400 the store is what it was."""
    made, service = app
    bodies = st.one_of(st.binary(max_size=200), damaged(), strange())
    counted: dict[int, int] = {}
    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://localhost")

    @settings(max_examples=CASES, suppress_health_check=list(HealthCheck), deadline=None, database=None)
    @given(body=bodies, packed=st.sampled_from([False, False, True]))
    def send(body: bytes, packed: bool) -> None:
        headers = {"Content-Type": "application/x-protobuf"}
        if packed:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1)
        before = _state(service)
        answer = loop.run_until_complete(client.post("/v1/traces", content=body, headers=headers))
        counted[answer.status_code] = counted.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            assert _state(service) == before

    send()
    loop.run_until_complete(client.aclose())
    loop.close()
    assert sum(counted.values()) >= CASES
    assert set(counted) == {200, 400}


def _state(service: OperationsService) -> Any:
    return service.last_sequence(), service.last_key()
