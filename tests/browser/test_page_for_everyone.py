"""The page without a mouse, without eyes, on a telephone, in the dark, and without flicker."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.serving import Puppet, Server
from tests.browser.training import start_training

# What a change of data did to the document: elements that came or went.
_WATCH = """() => {
  window.changes = [];
  new MutationObserver((records) => {
    for (const record of records)
      for (const node of [...record.addedNodes, ...record.removedNodes])
        if (node.nodeType === 1) window.changes.push(node.outerHTML.slice(0, 80));
  }).observe(document.querySelector('main'), {childList: true, subtree: true});
}"""


def faults(page: Page) -> list[Any]:
    """What axe finds wrong with the page."""
    return [
        (each["id"], [node["target"] for node in each["nodes"]])
        for each in Axe().run(page).response["violations"]
    ]


@pytest.fixture(scope="module")
def trained(shared: Server) -> Server:
    """A server that knows one completed training."""
    folder = shared.database.parent
    assert start_training(shared.database, folder, "trained", pause=0.0, epochs=4).wait(90) == 0
    return shared


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/#/operations/trained", "/login"])
def test_axe_finds_nothing(
    path: str, scheme: Literal["light", "dark"], trained: Server, open_page: OpenPage
) -> None:
    """Names, roles, landmarks, labels and contrast hold in both themes, with every table opened."""
    page = open_page(trained, path).page
    page.emulate_media(color_scheme=scheme)
    page.get_by_role("heading", level=1).wait_for()
    page.locator("details:visible summary").evaluate_all("all => all.forEach((each) => each.click())")
    assert faults(page) == []


def test_axe_finds_nothing_in_what_only_a_run_shows(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """The page of a running operation and the question whether to cancel it."""
    job = puppet("asked")
    job.do("step", "load", item="bars", index=1, total=3)
    page = open_page(server, "/#/").page
    page.get_by_role("link", name="puppet").click()
    expect(page.locator(".slowest tbody tr")).to_have_count(1)
    assert faults(page) == []
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_label("Reason")).to_be_focused()
    assert faults(page) == []


def test_the_waterfall_is_used_by_keyboard(trained: Server, open_page: OpenPage) -> None:
    """Arrows choose a step and say it; plus and minus zoom; the same steps stand in a table."""
    page = open_page(trained, "/#/operations/trained").page
    box = page.get_by_role("group", name="Waterfall of steps")
    box.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".detail")).to_contain_text("operation")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    expect(page.locator(".detail")).to_contain_text("computing indicator")
    steps = page.locator(".waterfall header .quiet")
    everything = steps.inner_text()
    page.keyboard.press("+")
    expect(steps).to_contain_text(" in ")
    page.keyboard.press("0")
    expect(steps).to_have_text(everything)
    page.get_by_label("Filter steps").fill("evaluation")
    expect(steps).to_have_text("1 step")
    page.locator(".waterfall details summary").click()
    expect(page.locator(".waterfall details tbody th")).to_have_text(["evaluation"])


def test_dragging_zooms_and_a_double_click_shows_all(trained: Server, open_page: OpenPage) -> None:
    """A mouse chooses a time in the waterfall and in the strip above it."""
    page = open_page(trained, "/#/operations/trained", height=1600).page
    steps = page.locator(".waterfall header .quiet")
    everything = steps.inner_text()
    for selector in (".rows", ".overview"):
        box = page.locator(selector).bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 30, steps=4)
        page.mouse.up()
        expect(steps).to_contain_text(" in ")
        page.mouse.dblclick(box["x"] + box["width"] * 0.9, box["y"] + 30)
        expect(steps).to_have_text(everything)


def test_a_telephone_shows_all_of_it_without_scrolling_sideways(trained: Server, open_page: OpenPage) -> None:
    """Nothing is wider than 400 pixels."""
    page = open_page(trained, width=400, height=800).page
    page.get_by_role("link", name="train momentum_daily_weekly").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.get_by_role("link", name="train momentum_daily_weekly").click()
    expect(page.locator(".hero")).to_have_attribute("data-condition", "completed")
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_an_update_changes_words_and_not_elements(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """While steps of known items finish, no element of the list or of the page comes or goes: nothing flickers."""
    job = puppet("calm")
    job.do("step", "load", item="bars", index=1, total=20)
    listing, page = open_page(server).page, open_page(server).page
    page.get_by_role("link", name="puppet").click()
    expect(page.locator(".slowest tbody tr")).to_have_count(1)
    expect(page.locator(".phases li")).to_have_count(1)
    for each in (listing, page):
        each.locator(".badge").first.wait_for()
        each.evaluate(_WATCH)
    for index in range(2, 20):
        job.do("step", "load", item="bars", index=index, total=20)
    expect(page.locator(".slowest .times").last).to_have_text("19")
    expect(listing.locator(".c-progress .number")).to_have_text("95.0 %")
    assert page.evaluate("window.changes") == []
    assert listing.evaluate("window.changes") == []


def test_focus_and_choices_survive_updates(
    server: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """Who types into the filter or holds a chosen step is not disturbed by what arrives."""
    job = puppet("typed")
    job.do("step", "load", item="bars", index=1, total=3)
    page = open_page(server).page
    page.get_by_role("link", name="puppet").click()
    page.get_by_label("Filter steps").fill("bar")
    job.do("step", "load", item="bars", index=2, total=3)
    job.do("step", "other", item="prices", index=1, total=1)
    expect(page.locator(".slowest tbody tr")).to_have_count(2)
    expect(page.get_by_label("Filter steps")).to_be_focused()
    expect(page.locator(".waterfall header .quiet")).to_have_text("2 steps")
