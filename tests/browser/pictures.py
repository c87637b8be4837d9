"""Takes the README's pictures of the page: `python -m tests.browser.pictures`."""

import re
import tempfile
import time
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import chromium
from tests.browser.serving import Puppet, Server
from tests.browser.training import start_training

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_SYMBOLS = "AAPL,GOOG,IBM,MSFT"
_LINKS = [
    "--trace-url",
    "http://localhost:16686/trace/{trace_id}",
    "--dashboard-url",
    "http://localhost:3000/d/ktrdr-operation?var-operation={operation_id}",
]


def open_page(
    browser: Browser, server: Server, *, scheme: Literal["light", "dark"], width: int, height: int
) -> Page:
    """The list of operations."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(server.url)
    return page


def take(page: Page, name: str) -> None:
    """The picture is kept."""
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=PICTURES / f"{name}.png")
    print(f"docs/pictures/{name}.png")


def bring_history(server: Server, folder: Path) -> None:
    """Operations that ended in each of the ways."""
    start_training(
        server.database, folder, "training-1042", pause=0.0, failing="IBM", symbols="AAPL,IBM"
    ).wait()
    cancelled = Puppet(server.database, "import-0117", name="nightly import")
    for index, item in enumerate(("AAPL", "FB"), start=1):
        cancelled.do("step", "load", item=item, index=index, total=7)
    cancelled.do("open", "load", item="GOOG", index=3, total=7)
    server.begins_a_step("import-0117")
    server.ask("/operations/import-0117/cancel", {"reason": "the exchange is closed"})
    while cancelled.process.poll() is None:
        cancelled.do("open", "load", item="GOOG", index=3, total=7)
        time.sleep(0.3)
    start_training(server.database, folder, "training-1043", pause=0.025, symbols=_SYMBOLS, epochs=25).wait()
    killed = Puppet(server.database, "import-0118", name="nightly import")
    for index, item in enumerate(("AAPL", "FB", "GOOG", "IBM"), start=1):
        killed.do("step", "load", item=item, index=index, total=7)
    killed.do("open", "load", item="MSFT", index=5, total=7)
    server.begins_a_step("import-0118")
    killed.process.kill()
    killed.process.wait()


def take_all(browser: Browser, server: Server, folder: Path) -> None:
    """The pictures of a training as it goes on."""
    bring_history(server, folder)
    listing = open_page(browser, server, scheme="light", width=1400, height=460)
    training = start_training(
        server.database, folder, "training-1044", pause=0.025, symbols=_SYMBOLS, epochs=25
    )
    pages = {
        "preprocessing": open_page(browser, server, scheme="dark", width=1400, height=1130),
        "training": open_page(browser, server, scheme="light", width=1400, height=1130),
        "phone": open_page(browser, server, scheme="dark", width=400, height=860),
    }
    for page in pages.values():
        page.locator("a[href='#/operations/training-1044']").click()
    page = pages["preprocessing"]
    expect(page.locator(".matrix tbody tr:not(.to-come)")).to_have_count(3, timeout=60_000)
    expect(page.locator(".matrix td[data-state='active'] [data-kind='indicator']")).to_have_text(
        re.compile(r"[1-3]\d/40"), timeout=30_000
    )
    take(page, "page-preprocessing")
    take(listing, "page-list")
    page = pages["training"]
    expect(page.locator(".curves header .quiet")).to_contain_text(
        re.compile(r"epoch ([89]|10|11) "), timeout=60_000
    )
    take(page, "page-training")
    take(pages["phone"], "page-phone")
    training.wait()


def main() -> None:
    """All pictures are new."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        server = Server(Path(name) / "operations.db", _LINKS)
        server.start()
        try:
            take_all(browser, server, Path(name))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
