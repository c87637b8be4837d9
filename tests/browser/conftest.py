"""A server of its own for each test, and a page that nothing may go wrong in."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import Watched, chromium
from tests.browser.serving import Puppet, Server
from tests.browser.training import start_training

expect.set_options(timeout=20_000)

OpenPage = Callable[..., Watched]
Train = Callable[..., "subprocess.Popen[bytes]"]


def all_read(page: Page) -> None:
    """The page shows everything that there was when it was opened."""
    expect(page.locator("[aria-busy='true']")).to_have_count(0)


# Of a module, not of the session: Playwright's loop runs in this thread, and tests of asyncio need it free.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with chromium() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server on an empty store, which the test may stop."""
    yield from _running(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server for tests that bring operations of their own and leave it as it is."""
    yield from _running(tmp_path_factory.mktemp("server"))


def _running(folder: Path) -> Iterator[Server]:
    server = Server(folder / "operations.db")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages of a server, each in a profile of its own; behind the test all of them are without fault."""
    opened: list[Watched] = []
    with ExitStack() as stack:

        def opens(
            server: Server,
            path: str = "/",
            *,
            width: int = 1400,
            height: int = 900,
            expected: str | None = None,
        ) -> Watched:
            context = browser.new_context(viewport={"width": width, "height": height})
            stack.callback(context.close)
            watched = Watched(context.new_page(), server.url)
            watched.expected = expected
            opened.append(watched)
            watched.page.goto(server.url + path)
            all_read(watched.page)
            return watched

        yield opens
        for each in opened:
            each.check()


@pytest.fixture
def puppet(request: pytest.FixtureRequest) -> Iterator[Callable[..., Puppet]]:
    """Starts operations that do as they are told, seen by the test's server; they are gone behind the test."""
    started: list[Puppet] = []
    name = "server" if "server" in request.fixturenames else "shared"
    database = request.getfixturevalue(name).database

    def start(operation_id: str, **more: str) -> Puppet:
        started.append(Puppet(database, operation_id, **more))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        if each.process.stdin is not None:
            each.process.stdin.close()


@pytest.fixture
def train(server: Server, tmp_path: Path) -> Iterator[Train]:
    """Starts trainings that are seen by the test's server; they are gone behind the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(operation_id: str, **more: object) -> "subprocess.Popen[bytes]":
        started.append(start_training(server.database, tmp_path, operation_id, **more))  # type: ignore[arg-type] # as it takes them
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
