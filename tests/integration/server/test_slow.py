"""Who is slow is said so wherever one looks, and nowhere an alarm."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel.operations.ports import Batch
from tests.integration.command_line import answer, ktrdr_otel
from tests.integration.server.conftest import Running, begin, progress


@pytest.fixture
def database(tmp_path: Path, running: Running) -> Path:
    """The store of a running operation that has not moved for ten seconds, where such steps take less than five."""
    begin(running.service)
    silent = replace(
        progress(3),
        message="Computing RSI (20/40)",
        last_progress_at=datetime.now(UTC),
        moved_monotonic_ns=time.monotonic_ns() - 10 * 10**9,
        allowance_seconds=3600.0,
        slow_after_seconds=5.0,
    )
    running.service.write(Batch(progress={"one": silent}))
    return tmp_path / "operations.db"


def test_the_command_line_says_who_is_slow(database: Path, running: Running) -> None:
    """`list`, `show` and `check`, of a store and of a server; it is an exit code of 0."""
    for where in (("--database", str(database)), ("--url", running.url)):
        [row] = ktrdr_otel("operations", "list", *where).stdout.splitlines()[1:]
        assert "slow" in row
        shown = ktrdr_otel("operations", "show", "one", *where).stdout
        assert "status        running, slow\n" in shown
        assert "in Computing RSI (20/40), longer than such steps take" in shown
        checked = ktrdr_otel("operations", "check", "one", *where)
        assert checked.returncode == 0
        assert checked.stdout.startswith("slow: ")
        assert answer(ktrdr_otel("operations", "show", "one", "--json", *where))["slow"] is True


def test_the_server_says_who_is_slow(database: Path, running: Running) -> None:
    """As `slow`, beside `stalled` and `suspended`, which it is not; the page's badge is made of these three."""
    for form in (
        running.client.get("/api/v1/operations/one").json(),
        running.client.get("/api/v1/operations").json()["operations"][0],
    ):
        assert (form["slow"], form["stalled"], form["suspended"]) == (True, False, False)

    def is_scraped(name: str, value: str) -> bool:
        lines = running.client.get("/metrics").text.splitlines()
        return any(line.startswith(name + "{") and line.endswith(value) for line in lines)

    running.until(lambda: is_scraped("ktrdr_operation_slow", " 1.0"))
    assert is_scraped("ktrdr_operation_stalled", " 0.0")
