"""What is known of a run besides its steps: its log, its traceback, its process and the stacks of the moment."""

from collections.abc import Callable
from datetime import UTC, datetime

from playwright.sync_api import expect

from ktrdr_otel.operations.models import NewOperation, Worker
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.browser.conftest import OpenPage
from tests.browser.serving import Puppet, Server
from tests.browser.test_page_for_everyone import faults
from tests.browser.test_page_names import HOSTILE

CONFLICT = "Failed to load resource: the server responded with a status of 409"
SHORT = {"KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "1", "KTRDR_OTEL_STALL_FLOOR_SECONDS": "1"}


def test_the_log_of_a_failed_run_is_open_and_only_text(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """Hostile words are shown, not obeyed; the failed step says what was logged in it, the banner its traceback."""
    job = puppet("failed")
    for text in HOSTILE:
        job.do("step", "load", item="AAPL", index=1, total=2, logged=text)
    job.do("fail", "load", item="MSFT", index=2, total=2, message="no answer", logged="the last try")
    assert job.end() == 1
    page = open_page(server, "/#/operations/failed").page
    log = page.get_by_role("region", name="Log")
    expect(log.locator("details")).to_have_attribute("open", "")
    records = log.locator("li")
    expect(records).to_have_count(len(HOSTILE) + 1)
    for place, text in enumerate(HOSTILE):
        assert records.nth(place).locator(".log-message").text_content() == text
    expect(records.last).to_contain_text("Load MSFT (2/2)")
    expect(records.last).to_be_in_viewport()
    expect(page.get_by_role("region", name="Errors")).to_contain_text("ERROR: the last try")
    banner = page.locator("[data-notice='failed']")
    banner.locator("summary").click()
    expect(banner.locator("pre")).to_contain_text("Traceback (most recent call last):")
    expect(banner.locator("pre")).to_contain_text("ConnectionError: no answer")
    assert page.evaluate("window.taken") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert faults(page) == []
    page.set_viewport_size({"width": 400, "height": 860})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_role("button", name="Take the stacks now")).to_be_hidden()


def test_the_log_of_a_run_that_moves_opens_by_a_click(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """It is there and closed; what is logged from then on comes by itself."""
    job = puppet("moves")
    job.do("step", "load", item="AAPL", index=1, total=3, logged="first")
    server.begins_a_step("moves")
    page = open_page(server, "/#/operations/moves").page
    log = page.get_by_role("region", name="Log")
    expect(log.locator("summary")).to_contain_text("1 record, 1 of them warnings or worse")
    expect(log.locator("li")).to_have_count(0)
    log.locator("summary").click()
    expect(log.locator("li")).to_have_count(1)
    job.do("step", "load", item="MSFT", index=2, total=3, logged="second")
    expect(log.locator("li")).to_have_count(2, timeout=15_000)


def test_a_stalled_process_is_looked_at_by_a_click(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """CPU and memory as lines with words; the stacks of the moment are taken when somebody asks."""
    job = puppet("still", **SHORT)
    job.do("open", "load", item="bars", index=1, total=2, logged="waiting for bars")
    server.begins_a_step("still")
    page = open_page(server, "/#/operations/still").page
    expect(page.locator("[data-notice='stalled']")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("region", name="Log").locator("li")).to_contain_text("waiting for bars")
    process = page.get_by_role("region", name="Process")
    expect(process.get_by_role("img", name="CPU: ")).to_be_visible()
    expect(process.get_by_role("img", name="Memory: ")).to_be_visible()
    process.get_by_role("button", name="Take the stacks now").click()
    expect(process.locator("pre")).to_contain_text('Thread "MainThread"')
    expect(process.locator("pre")).to_contain_text("<module>")
    assert faults(page) == []
    job.process.kill()
    expect(page.locator(".hero")).to_have_attribute("data-condition", "lost", timeout=30_000)
    expect(process.locator("header")).to_contain_text("seen last at")
    expect(process.get_by_role("button", name="Take the stacks now")).to_be_hidden()


def test_why_there_is_no_stack_is_said(server: Server, open_page: OpenPage) -> None:
    """Of a process on another machine."""
    service = open_service(load_settings(database=str(server.database)))
    elsewhere = Worker(
        host="trainer-7", boot_id="another", pid=1, pid_started_ticks=1, pid_namespace="pid:[1]"
    )
    service.adopt(
        NewOperation(
            operation_id="far",
            operation_type="training",
            name="far away",
            started_at=datetime.now(UTC),
            trace_id=None,
            span_id=None,
            worker=elsewhere,
            lease_seconds=600,
        )
    )
    service.close()
    page = open_page(server, "/#/operations/far", expected=CONFLICT).page
    page.get_by_role("button", name="Take the stacks now").click()
    expect(page.get_by_role("region", name="Process")).to_contain_text("operation far runs on trainer-7")
