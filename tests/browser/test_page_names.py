"""Names that try to be something else, and values at the edge."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import NOT_FOUND
from tests.browser.conftest import OpenPage, all_read
from tests.browser.serving import Puppet, Server

HOSTILE = [
    "<script>window.taken = 1</script>",
    '<img src=x onerror="window.taken = 1">',
    "\"'><svg onload=window.taken=1>",
    "__proto__",
    "constructor",
    "javascript:window.taken=1",
    "{{7*7}} ${7*7}",
    "\u202eLPAA",
    "AAPL\n<b>bold</b>",
    "x" * 300,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_wherever_it_stands(
    name: str, shared: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """As the operation's, a symbol's, a timeframe's, an item's name and in an error it is shown, not obeyed."""
    identity = f"hostile-{HOSTILE.index(name)}"
    job = puppet(identity, name=f"train {name}", kind="training")
    place: dict[str, object] = {"symbol": name, "symbol_index": 1, "total_symbols": 1, "timeframe": name}
    counted = {"indicator_name": name, "indicator_index": 1, "total_indicators": 2}
    job.do("step", "indicator_computation", **place, **counted)
    job.do("fail", name, item=name, index=1, total=2, message=name)
    assert job.end() == 1

    page = open_page(shared).page
    page.locator("tr", has=page.get_by_text(identity, exact=True)).get_by_role("link").click()
    expect(page.locator(".hero")).to_have_attribute("data-condition", "failed")
    all_read(page)
    shown = page.locator("main").evaluate("node => node.textContent")
    assert shown.count(name) >= 5
    expect(page.locator(".matrix tbody th")).to_have_text(re.compile(re.escape(name.split("\n")[0])))
    page.locator(".waterfall details summary").click()
    expect(page.locator(".waterfall details tbody tr")).to_have_count(3)
    assert page.evaluate("window.taken") is None
    assert (
        page.evaluate("document.querySelectorAll('main script, main img, main b, main svg[onload]').length")
        == 0
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("identity", ["50%", "ä ö", "<b>", "x y?z#w", "nightly/2026 07"])
def test_an_id_is_found_by_its_link(
    identity: str, shared: Server, open_page: OpenPage, puppet: Callable[..., Puppet]
) -> None:
    """Whatever stands in an operation's id, its link in the list leads to its page."""
    job = puppet(identity)
    assert job.end() == 0
    page = open_page(shared).page
    page.locator("tr", has=page.get_by_text(identity, exact=True)).get_by_role("link").click()
    expect(page.locator(".hero .id")).to_have_text(identity)
    expect(page.locator(".hero")).to_have_attribute("data-condition", "completed")


def test_a_hash_that_names_nothing_leads_somewhere(shared: Server, open_page: OpenPage) -> None:
    """A broken or unknown address is answered with words and a way out."""
    page = open_page(shared, "/#/operations/%E0%A4%A", expected=NOT_FOUND).page
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    page.goto(f"{shared.url}/#/operations/none")
    page.get_by_role("link", name="All operations").click()
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()
