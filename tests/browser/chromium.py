"""Debian's Chromium, driven by Playwright; a page that hears everything that goes wrong in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

EXECUTABLE = "/usr/bin/chromium"
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; it is gone behind the block, and Playwright's event loop with it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


NO_CONNECTION = "Failed to load resource: net::"
NOT_FOUND = "Failed to load resource: the server responded with a status of 404"


class Watched:
    """A page in which nothing may go wrong: no console error or warning, no exception, no foreign request."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self.expected: str | None = None  # how a line begins that the browser itself writes
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("dialog", lambda dialog: self._asked(dialog))
        page.on("request", lambda request: self._went(request.url, origin))

    def _heard(self, kind: str, text: str) -> None:
        # The browser reports refused connections and answers of 404 by itself; a page cannot prevent that.
        if self.expected is not None and text.startswith(self.expected):
            return
        if kind in ("error", "warning"):
            self.faults.append(f"console {kind}: {text}")

    def _asked(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _went(self, url: str, origin: str) -> None:
        if not url.startswith((f"{origin}/", "data:")):
            self.faults.append(f"request to {url}")

    def check(self) -> None:
        """Nothing has gone wrong."""
        assert not self.faults, self.faults
