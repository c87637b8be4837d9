"""The page across breaks: a server that restarts, a token that is asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import NO_CONNECTION, NOT_FOUND
from tests.browser.conftest import OpenPage
from tests.browser.serving import Puppet, Server

TOKEN = "a-token-of-these-tests"


def test_a_restarted_server_is_found_again_and_no_step_is_missing(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """What happened while there was no server is on the page afterwards, without a reload, each step once."""
    job = puppet("long")
    watched = open_page(server)
    page = watched.page
    page.get_by_role("link", name="puppet").click()
    for index in range(1, 4):
        job.do("step", "load", item=f"bars {index}", index=index, total=9)
    steps = page.locator(".waterfall header .quiet")
    expect(page.locator(".slowest tbody tr")).to_have_count(3)
    expect(page.locator("#link")).to_have_text("live")
    page.evaluate("window.notReloaded = true")

    watched.expected = NO_CONNECTION
    server.stop()
    expect(page.locator("#link")).to_have_attribute("data-state", "waiting")
    for index in range(4, 9):
        job.do("step", "load", item=f"bars {index}", index=index, total=9)
    server.start()
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator(".slowest tbody tr")).to_have_count(8)
    for times in page.locator(".slowest tbody .times").all_inner_texts():
        assert times == "1"

    job.do("step", "load", item="bars 9", index=9, total=9)
    assert job.end() == 0
    expect(page.locator(".hero")).to_have_attribute("data-condition", "completed")
    expect(steps).to_have_text("10 steps")
    assert page.evaluate("window.notReloaded")


def test_an_end_during_the_break_is_seen_after_it(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """Silence is never taken for success, and the true end is shown as soon as there is a server."""
    job = puppet("ends-unseen")
    watched = open_page(server)
    watched.page.get_by_role("link", name="puppet").click()
    expect(watched.page.locator("#link")).to_have_text("live")
    watched.expected = NO_CONNECTION
    server.stop()
    job.do("fail", "load", item="MSFT", index=1, total=2, message="no route")
    assert job.end() == 1
    expect(watched.page.locator(".hero")).to_have_attribute("data-condition", "running")
    server.start()
    expect(watched.page.locator("[data-notice='failed']")).to_contain_text("ConnectionError: no route")


def test_a_page_that_nobody_looks_at_gives_its_connection_back(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """A browser has six connections to a server: a hidden page lets go of its own, and is up to date when seen."""
    job = puppet("hidden")
    job.do("step", "load", item="bars 1", index=1, total=3)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    expect(page.locator("#link")).to_have_text("live")
    look = """(hidden) => {
      Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(look, True)
    page.evaluate(
        "{ const now = performance.now.bind(performance); performance.now = () => now() + 61_000; }"
    )
    job.do("step", "load", item="bars 2", index=2, total=3)
    expect(page.locator("#link")).to_have_text("paused while unseen")
    job.do("step", "load", item="bars 3", index=3, total=3)
    assert job.end() == 0
    page.evaluate(look, False)
    expect(page.locator(".hero")).to_have_attribute("data-condition", "completed")
    expect(page.locator(".slowest tbody tr")).to_have_count(3)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Server]:
    """A server that asks for a token."""
    running = Server(tmp_path / "operations.db", ["--token", TOKEN])
    running.start()
    yield running
    running.stop()


def test_a_browser_logs_in_once(locked: Server, open_page: OpenPage) -> None:
    """A wrong token is refused in words; the right one leads to the page that was asked for, also the next time."""
    page = open_page(locked, "/#/operations/wanted", expected=NOT_FOUND).page
    page.get_by_label("Token").fill("not-the-token-at-all")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This is not the server's token.")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("There is no operation wanted.")).to_be_visible()
    page.goto(locked.url)
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    assert page.evaluate("document.cookie") == ""  # no script can read it
