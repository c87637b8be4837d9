"""Runs as people see them in the browser: from start to end, failing, cancelled by a click."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.chromium import NOT_FOUND
from tests.browser.conftest import OpenPage, Train
from tests.browser.serving import Puppet, Server
from tests.integration.command_line import ktrdr_otel

# Every percentage that the page has shown.
_RECORD = """() => {
  const node = document.querySelector('.percent');
  window.seen = [node.textContent];
  new MutationObserver(() => window.seen.push(node.textContent))
    .observe(node, {childList: true, characterData: true, subtree: true});
}"""


def test_a_training_is_seen_live_from_its_start_to_its_end(
    server: Server, open_page: OpenPage, train: Train, tmp_path: Path
) -> None:
    """It appears in the open list by itself; its page fills to 100 % without a reload, and never falls back."""
    page = open_page(server).page
    expect(page.get_by_text("Nothing has run yet.")).to_be_visible()
    gate = tmp_path / "gate"
    training = train("watched", gate=gate)
    page.get_by_role("link", name="train momentum_daily_weekly").click(timeout=60_000)
    page.locator(".percent").wait_for()
    page.evaluate(_RECORD)
    expect(page.locator(".hero")).to_have_attribute("data-condition", "running")
    expect(
        page.locator(".matrix td[data-state='partly'], .matrix td[data-state='active']").first
    ).to_be_visible()
    expect(page.locator(".matrix tr.to-come")).to_have_count(1)
    gate.touch()

    expect(page.locator(".hero")).to_have_attribute("data-condition", "completed", timeout=60_000)
    assert training.wait(30) == 0
    shown = [float(each.split()[0]) for each in page.evaluate("window.seen")]
    assert shown == sorted(shown)
    assert any(0 < each < 100 for each in shown)
    expect(page.locator(".percent")).to_have_text("100.0 %")
    expect(page.locator("#link")).to_have_text("completed")
    expect(page.locator(".matrix td.cell[data-state='done']")).to_have_count(4)
    expect(page.locator(".matrix td.end[data-state='done']")).to_have_count(4)
    expect(page.locator(".phases li[data-state='done']")).to_have_count(4)
    expect(page.locator(".curves .legend")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Loss: .* after epoch 8; best"))).to_be_visible()
    # Two symbols of 2 x (1 + 40 + 40) + 2 steps and 3 holders, 3 preparations, 8 epochs, evaluation, 2 holders.
    expect(page.locator(".waterfall header .quiet")).to_have_text("348 steps")


def test_a_failing_training_says_where_and_why(server: Server, open_page: OpenPage, train: Train) -> None:
    """The head, the banner and the errors name the exception and the step where it broke."""
    page = open_page(server, "/#/operations/failing", expected=NOT_FOUND).page
    expect(page.get_by_text("There is no operation failing.")).to_be_visible()
    training = train("failing", pause=0.001, failing="MSFT")
    assert training.wait(60) == 1
    page.reload()
    expect(page.locator(".hero")).to_have_attribute("data-condition", "failed")
    banner = page.locator("[data-notice='failed']")
    expect(banner).to_contain_text("ConnectionError: Failed to load MSFT: Connection timeout")
    expect(banner).to_contain_text("Processing MSFT (2/2) [1d] - Loading data")
    errors = page.get_by_role("region", name="Errors")
    expect(errors).to_contain_text("loading data · MSFT · 1d")
    expect(page.locator(".matrix td.cell[data-state='failed']")).to_have_count(1)
    page.get_by_role("link", name="Operations", exact=True).click()
    expect(page.locator("tr[data-condition='failed']")).to_contain_text("Failed to load MSFT")


def test_a_failure_reaches_the_open_page(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """Whoever watches sees it fail, and hears it: the announcement is in a polite live region."""
    job = puppet("breaks")
    job.do("step", "load", item="AAPL", index=1, total=2)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    expect(page.locator(".hero")).to_have_attribute("data-condition", "running")
    job.do("fail", "load", item="MSFT", index=2, total=2, message="Connection timeout")
    expect(page.locator("[data-notice='failed']")).to_contain_text("ConnectionError: Connection timeout")
    expect(page.locator("#announcer")).to_have_text("puppet: failed, ConnectionError")
    assert job.end() == 1


def test_a_click_cancels_an_operation(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """The dialog asks for a reason; the program stops at its next step, and the page shows who asked why."""
    job = puppet("endless")
    job.do("on", "poll", item="broker", index=1, total=2)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_label("Reason").fill("wrong bars")
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator(".hero")).to_have_attribute("data-condition", "cancelled")
    expect(page.locator("[data-notice='cancelled']")).to_contain_text("wrong bars")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    job.process.wait(30)


def test_who_is_asked_to_stop_in_a_long_step_is_known_to_everybody(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """It cannot hear it before its next step: until then whoever looks sees that it was asked, and why."""
    job = puppet("deaf")
    job.do("open", "poll", item="broker", index=1, total=2)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_enabled()
    server.ask("/operations/deaf/cancel", {"reason": "wrong bars"})
    expect(page.locator("[data-notice='asked']")).to_contain_text("wrong bars")
    expect(page.get_by_role("button", name="Cancelling …")).to_be_disabled()
    said = ktrdr_otel("operations", "show", "deaf", database=server.database).stdout
    assert "asked to stop wrong bars\n" in said
    said = ktrdr_otel("operations", "check", "deaf", database=server.database).stdout
    assert said.endswith("; asked to stop: wrong bars\n")
    for _ in range(2):  # the first line ends the long step
        job.do("step", "poll", item="broker", index=2, total=2)
    expect(page.locator("[data-notice='cancelled']")).to_contain_text("wrong bars")
    expect(page.locator("[data-notice='asked']")).to_have_count(0)


def test_a_long_step_is_seen_while_it_is_open(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """What a program is busy with stands in the waterfall before it has ended, and changes when it has."""
    job = puppet("busy")
    page = open_page(server).page
    job.do("open", "load", item="bars", index=1, total=2)
    page.get_by_role("link", name="puppet").click()
    page.get_by_label("Filter steps").fill("load")
    page.locator(".waterfall details summary").click()
    row = page.locator(".waterfall details tbody tr")
    expect(row).to_contain_text("running")
    slowest = page.locator(".slowest tbody tr")
    expect(slowest).to_contain_text("still running: bars")
    expect(slowest.locator(".total")).to_have_text(
        re.compile(r"^([3-9]\.\d\d|[1-5]\d\.\d)\ss$"), timeout=15_000
    )
    expect(page.locator(".shares li")).to_contain_text("Load (still running)")
    job.do(
        "open", "load", item="prices", index=2, total=2
    )  # ends the first; read by it, so it is none itself
    expect(row).to_contain_text("completed")
    assert job.end() == 0
    expect(slowest).to_have_text(re.compile("^bars"))
    expect(page.locator(".shares li .key")).to_have_text("Load")


def test_what_holds_steps_is_seen_to_end_among_them(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """A symbol that was open ends in the waterfall though steps go on; the newest of them stays in view."""
    job = puppet("holder")
    page = open_page(server).page
    job.do("open", "symbol", symbol="AAPL", symbol_index=1, total_symbols=1)
    page.get_by_role("link", name="puppet").click()
    page.locator(".waterfall details summary").click()
    holder = page.locator(".waterfall details tbody tr", has_text="symbol AAPL")
    expect(holder).to_contain_text("running")
    job.do("step", "load")  # ends what is open
    job.do("on", "poll", item="broker", index=1, total=2)
    expect(page.locator(".waterfall header .quiet")).to_have_text(
        re.compile(r"^[1-9]\d\d steps"), timeout=30_000
    )
    expect(page.locator(".latest")).to_be_hidden()
    page.get_by_label("Filter steps").fill("symbol")
    expect(holder).to_contain_text("completed", timeout=15_000)


def test_a_stall_is_told_while_it_lasts_and_remembered_afterwards(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """Alive without progress: the page says so with what the process does and its stack; progress ends it."""
    short = {"KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "1", "KTRDR_OTEL_STALL_FLOOR_SECONDS": "1"}
    job = puppet("still", **short)
    job.do("open", "load", item="bars", index=1, total=2)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    stall = page.locator("[data-notice='stalled']")
    expect(stall).to_contain_text("alive, but no progress", timeout=30_000)
    expect(page.locator(".hero .badge")).to_have_text("stalled")
    expect(stall).to_contain_text("Load bars (1/2)")
    stall.locator("summary").click()
    expect(stall.locator("pre")).to_contain_text("<module>")
    job.do("step", "load")  # ends what is open
    job.do("on", "poll", item="broker", index=1, total=2)  # it would stall again
    expect(page.locator("[data-notice='stalled-once']")).to_contain_text("It stalled at", timeout=30_000)
    expect(page.locator(".hero .badge")).to_have_text("running")


def test_a_killed_process_is_lost_on_the_open_page(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """The page says that the process is gone, as soon as the server knows, and that its open step is lost with it."""
    job = puppet("killed")
    job.do("step", "load", item="AAPL", index=1, total=2)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    expect(page.locator(".slowest tbody tr")).to_have_count(1)
    place = {"symbol": "AAPL", "symbol_index": 1, "total_symbols": 1, "timeframe": "1h"}
    job.do(
        "open",
        "indicator_computation",
        indicator_name="RSI",
        indicator_index=20,
        total_indicators=40,
        **place,
    )
    expect(page.locator(".slowest tbody tr")).to_have_count(2, timeout=15_000)
    job.process.kill()
    job.process.wait()
    expect(page.locator("[data-notice='lost']")).to_contain_text("The process is gone.", timeout=30_000)
    expect(page.locator(".hero")).to_have_attribute("data-condition", "lost")
    expect(page.locator(".matrix td.cell")).to_have_attribute("data-state", "lost")
    expect(page.locator(".matrix td.cell")).to_have_text("lost")
    errors = page.get_by_role("region", name="Errors")
    expect(errors).to_contain_text(re.compile(r"lost: process \d+ "))


def test_the_dialog_can_be_left_and_nothing_is_cancelled(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """Escape closes it; the operation runs on to its end."""
    job = puppet("kept")
    job.do("step", "load", item="AAPL", index=1, total=2)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    job.do("step", "load", item="MSFT", index=2, total=2)
    assert job.end() == 0
    expect(page.locator(".hero")).to_have_attribute("data-condition", "completed")


def test_links_lead_to_the_trace_and_the_dashboard_of_this_run(tmp_path: Path, open_page: OpenPage) -> None:
    """They are made from the server's settings, and open beside the page without telling where they come from."""
    templates = [
        "--trace-url",
        "http://jaeger/t/{trace_id}",
        "--dashboard-url",
        "http://grafana/{operation_id}",
    ]
    server = Server(tmp_path / "operations.db", templates)
    server.start()
    try:
        assert Puppet(server.database, "linked run").end() == 0
        page = open_page(server, "/#/operations/linked%20run").page
        trace_id = server.ask("/operations/linked%20run")["trace_id"]
        trace = page.get_by_role("link", name="Trace")
        expect(trace).to_have_attribute("href", f"http://jaeger/t/{trace_id}")
        expect(trace).to_have_attribute("rel", "noopener noreferrer")
        expect(page.get_by_role("link", name="Dashboard")).to_have_attribute(
            "href", "http://grafana/linked%20run"
        )
    finally:
        server.stop()
