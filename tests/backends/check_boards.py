"""With a Grafana besides: no panel of any board shows an error or stays empty; pictures for the docs.

`make test-backends JAEGER_BIN=... PROMETHEUS_BIN=... GRAFANA_URL=...`: that Grafana gets our boards, and our two data
sources pointed to the servers of this test. A user and password stand in the URL, if it wants them.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Browser

from tests.backends.grafana import Grafana, empty_panels, failed_panels
from tests.backends.servers import Backends
from tests.browser.chromium import chromium
from tests.browser.training import start_training
from tests.dashboards.test_real_servers import is_beyond_this_machine, until

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_SECONDS = 100.0  # that the boards show
_SYMBOLS = "AAPL,GOOG,IBM,MSFT"
_NEEDS_A_GPU = {"GPU", "GPU memory"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def grafana(backends: Backends) -> Iterator[Grafana]:
    """The Grafana of GRAFANA_URL, with our boards and sources."""
    url = os.environ.get("GRAFANA_URL", "")
    assert url, "set GRAFANA_URL to a running Grafana"
    with contextlib.closing(Grafana(url)) as made:
        made.provision(prometheus=backends.watched.prometheus, jaeger=backends.jaeger.query)
        yield made


def bring_history(backends: Backends, folder: Path) -> None:
    """Runs that completed, failed and were lost."""
    for operation_id, failing in (("training-1040", ""), ("training-1041", "IBM")):
        start_training(
            Path(backends.watched.database),
            folder,
            operation_id,
            pause=0.01,
            failing=failing,
            symbols=_SYMBOLS,
            reporting=backends.reporting,
        ).wait(180)
    killed = backends.start("kill", "training-1042")
    at_last = 'ktrdr_operation_step_info{ktrdr_operation_id="training-1042", ktrdr_item_name="RSI"}'
    until(lambda: backends.watched.query(at_last))
    time.sleep(2.5)  # until it is watched
    killed.kill()
    until(
        lambda: backends.watched.query('ktrdr_operation_end_timestamp_seconds{ktrdr_operation_status="lost"}')
    )


def look(grafana: Grafana, backends: Backends, browser: Browser, board: str, at: float) -> None:
    """The board as of then is drawn without a fault, on a screen and on a phone, and its picture kept."""
    for width, suffix in ((1400, ""), (400, "-phone")):
        page = grafana.show(
            browser, f"ktrdr-{board}", seconds=_SECONDS, until=at, width=width, page=backends.page
        )
        assert failed_panels(page) == []
        assert set(empty_panels(page)) <= _NEEDS_A_GPU
        if not suffix or board == "preprocessing":
            page.screenshot(path=PICTURES / f"board-{board}{suffix}.png")
        page.close()


@pytest.mark.timeout(600)
def test_no_panel_shows_an_error_or_stays_empty(
    backends: Backends, grafana: Grafana, browser: Browser, tmp_path: Path
) -> None:
    """While one run stalls and another goes from its preprocessing into its epochs, after others that ended badly."""
    bring_history(backends, tmp_path)
    training = start_training(
        Path(backends.watched.database),
        tmp_path,
        "training-1043",
        pause=0.3,
        symbols="AAPL,GOOG",
        epochs=25,
        reporting=backends.reporting,
    )
    backends.watched.jobs.append(training)
    until(
        lambda: backends.watched.query(
            'ktrdr_operation_items_completed{ktrdr_operation_id="training-1043"} > 60'
        ),
        120,
    )
    backends.start("stall", "training-1044")
    silence = (
        'time() - ktrdr_operation_last_progress_timestamp_seconds{ktrdr_operation_id="training-1044"} > 9'
    )
    until(lambda: backends.watched.query(silence), 120)
    stalled_at = time.time()
    until(lambda: backends.watched.query('ktrdr_training_epoch{ktrdr_operation_id="training-1043"} > 7'), 180)
    in_training_at = time.time()
    answers = list(grafana.answers(_SECONDS, in_training_at))
    assert [each for each in answers if each.error is not None] == []
    empty = [each for each in answers if not each.values and not is_beyond_this_machine(each.expression)]
    assert empty == []
    for board, at in (
        ("operations", stalled_at),
        ("preprocessing", stalled_at),
        ("training", in_training_at),
        ("health", in_training_at),
    ):
        look(grafana, backends, browser, board, at)


def test_a_board_leads_to_the_page_and_to_the_trace_of_an_operation(
    backends: Backends, grafana: Grafana, browser: Browser
) -> None:
    """The links of its table, followed: the page names the operation, Grafana's trace view its root span."""
    board = grafana.show(
        browser, "ktrdr-operations", seconds=_SECONDS, until=time.time(), width=1400, page=backends.page
    )
    page_url = board.locator("a[href*='operations/training-1040']").first.get_attribute("href")
    trace_url = board.locator("a[href*='explore?left']").first.get_attribute("href")
    assert page_url == f"{backends.page}/#/operations/training-1040"
    assert trace_url
    board.goto(page_url)
    board.get_by_text("training-1040").first.wait_for()
    board.goto(urljoin(os.environ["GRAFANA_URL"], trace_url))
    board.get_by_text("computing_indicator").first.wait_for()
    board.close()


def test_an_exemplar_leads_to_a_trace_that_grafana_can_show(backends: Backends, grafana: Grafana) -> None:
    """The trace id of a board's exemplar, asked of Jaeger through Grafana, as a click would."""
    told = httpx.get(
        f"{backends.watched.prometheus}/api/v1/query_exemplars",
        params={
            "query": "ktrdr_checkpoint_duration_seconds_bucket",
            "start": time.time() - 600,
            "end": time.time(),
        },
    ).json()
    trace_ids = {each["labels"]["trace_id"] for series in told["data"] for each in series["exemplars"]}
    assert trace_ids
    spans = {trace_id: grafana.spans(trace_id) for trace_id in trace_ids}
    assert min(spans.values()) > 0, spans
