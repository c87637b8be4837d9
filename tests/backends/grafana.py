"""A real Grafana, told through its HTTP API what to show; what it answers, and what it draws."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import yaml
from playwright.sync_api import Browser, Page

from dashboards.build import boards
from dashboards.queries import SERVER_JOB
from tests.dashboards.test_configuration import DASHBOARDS, panels

_ROW_PIXELS: Final = 38  # of a board's grid
_MARGIN_PIXELS: Final = 140
_FAILED: Final = ".panel-info-corner--error, [data-testid='data-testid Panel status error']"
_BUSY: Final = "[aria-label='Panel loading bar'], .panel-loading"
# All panels are there, and for two seconds none was loading.
_IS_DRAWN: Final = f"""count => {{
    const busy = document.querySelector(`{_BUSY}`) || document.querySelectorAll('.react-grid-item').length < count
    if (busy) window.quietSince = undefined
    else window.quietSince ??= performance.now()
    return !busy && performance.now() - window.quietSince > 2000
}}"""


@dataclass(frozen=True)
class Answer:
    """What Grafana makes of one query."""

    board: str
    panel: str
    expression: str
    error: str | None
    values: int


class Grafana:
    """Boards and sources of ours are in it; whatever else it has stays as it was."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(base_url=self._url, timeout=30)

    def close(self) -> None:
        """No connection is open."""
        self._client.close()

    def provision(self, *, prometheus: str, jaeger: str) -> None:
        """The project's sources, at the addresses of this test, and its boards."""
        text = (DASHBOARDS / "grafana/provisioning/datasources/sources.yml").read_text()
        addresses = {"prometheus": prometheus, "jaeger": jaeger}
        # In provisioning files a dollar is doubled, so that it is not taken for a variable of the environment.
        for source in yaml.safe_load(text.replace("$$", "$"))["datasources"]:
            self._client.delete(f"/api/datasources/uid/{source['uid']}")
            source["url"] = addresses[source["type"]]
            self._ask("/api/datasources", source)
        for board in boards().values():
            self._ask("/api/dashboards/db", {"dashboard": json.loads(board), "overwrite": True})

    def answers(self, seconds: float, until: float) -> Iterator[Answer]:
        """What each query of each panel gives, of so many seconds up to then."""
        for name, text in boards().items():
            for panel in panels(json.loads(text)):
                for target in panel["targets"]:
                    yield self._answer(name, panel["title"], target, until - seconds, until)

    def spans(self, trace_id: str) -> int:
        """How many spans the trace has, asked of Jaeger as Grafana's trace view asks."""
        answer = self._client.get(f"/api/datasources/proxy/uid/jaeger/api/traces/{trace_id}")
        return len(answer.json()["data"][0]["spans"]) if answer.status_code == 200 else 0

    def show(
        self, browser: Browser, uid: str, *, seconds: float, until: float, width: int, page: str
    ) -> Page:
        """The board is drawn, whole, and nothing in it is under way."""
        text = json.loads(boards()[f"{uid}.json"])
        places = [panel["gridPos"] for panel in text["panels"]]
        rows = max(place["y"] + place["h"] for place in places)
        if width < 768:  # there all panels stand below each other
            rows = sum(place["h"] for place in places) + len(places)
        asked = {
            "orgId": 1,
            "from": int((until - seconds) * 1000),
            "to": int(until * 1000),
            "var-job": SERVER_JOB,
            "var-page": page,
            "refresh": "",
            "kiosk": "",
        }
        size = {"width": width, "height": rows * _ROW_PIXELS + _MARGIN_PIXELS}
        shown = browser.new_page(viewport=size, color_scheme="light")  # type: ignore[arg-type] # a mapping will do
        shown.goto(f"{self._url}/d/{uid}?{urlencode(asked)}", wait_until="domcontentloaded")
        shown.wait_for_function(_IS_DRAWN, arg=len(places), timeout=60_000)
        return shown

    def _answer(self, board: str, panel: str, target: dict[str, Any], begin: float, end: float) -> Answer:
        expression = target["expr"].replace("$operation", ".*").replace("$job", SERVER_JOB)
        asked = {
            **target,
            "expr": expression,
            "refId": "A",
            "datasource": {"type": "prometheus", "uid": "prometheus"},
            "range": not target.get("instant"),
            "intervalMs": 1000,
            "maxDataPoints": 400,
        }
        times = {"from": str(int(begin * 1000)), "to": str(int(end * 1000))}
        told = self._ask("/api/ds/query", {"queries": [asked], **times})["results"]["A"]
        values = sum(
            sum(value is not None for value in column)
            for frame in told.get("frames", [])
            if (frame.get("schema", {}).get("name") or "") != "exemplar"
            for column in frame["data"]["values"][1:]
        )
        return Answer(board, panel, expression, told.get("error"), values)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.post(path, json=body)
        assert answer.status_code in (200, 207, 400), (path, answer.text)
        told: dict[str, Any] = answer.json()
        assert "results" in told or answer.status_code == 200, (path, answer.text)
        return told


def failed_panels(page: Page) -> list[str]:
    """What the drawn board says of itself: panels with an error, by their text."""
    return [re.sub(r"\s+", " ", each.inner_text()) for each in page.locator(_FAILED).all()]


def empty_panels(page: Page) -> list[str]:
    """Titles of the panels in which nothing is drawn."""
    titles: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('[data-panelid], .react-grid-item')]
            .filter(panel => /No data/.test(panel.innerText))
            .map(panel => panel.innerText.split('\\n')[0])"""
    )
    return titles
