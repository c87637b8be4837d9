"""A server of its own for each test, and a page that nothing may go wrong in."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import Watched, chromium
from tests.browser.serving import Puppet, Server

OpenPage = Callable[..., Watched]


# Of a module, not of the session: Playwright's loop runs in this thread, and tests of asyncio need it free.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with chromium() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server on an empty store."""
    running = Server(tmp_path / "operations.db")
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages of a server, each in a profile of its own; behind the test all of them are without fault."""
    opened: list[Watched] = []
    with ExitStack() as stack:

        def opens(server: Server, path: str = "/", *, width: int = 1400, height: int = 900) -> Watched:
            context = browser.new_context(viewport={"width": width, "height": height})
            stack.callback(context.close)
            watched = Watched(context.new_page(), server.url)
            opened.append(watched)
            watched.page.goto(server.url + path)
            return watched

        yield opens
        for each in opened:
            each.check()


@pytest.fixture
def puppet(server: Server) -> Iterator[Callable[..., Puppet]]:
    """Starts operations that do as they are told; they are gone behind the test."""
    started: list[Puppet] = []

    def start(operation_id: str, **more: str) -> Puppet:
        started.append(Puppet(server.database, operation_id, **more))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        if each.process.stdin is not None:
            each.process.stdin.close()
