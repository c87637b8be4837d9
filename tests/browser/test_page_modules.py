"""The page's modules by themselves, in the browser that runs them."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.serving import Server

# Steps of one operation: 25 symbols x 4 timeframes x 200 counted ones.
_MANY = """() => {
  const at = (ms) => new Date(Date.UTC(2026, 0, 1) + ms).toISOString().replace('Z', '000Z');
  const rows = [];
  for (let index = 0; index < 20000; index += 1) rows.push({
    sequence: index + 1, progress_type: index % 2 ? 'fuzzy_generation' : 'indicator_computation',
    name: 'computing_indicator', step: 'computing_indicator',
    symbol: `S${Math.floor(index / 800)}`, timeframe: `${Math.floor(index / 200) % 4}h`,
    item_name: `i${index % 100}`, item_index: index % 100 + 1, item_total: 100,
    started_at: at(index * 5), ended_at: at(index * 5 + 5),
    status: 'completed', trace_id: 'a', span_id: String(index), parent_span_id: 'r', metrics: {} });
  return rows;
}"""


@pytest.fixture
def page(shared: Server, open_page: OpenPage) -> Page:
    """A page that can import the modules."""
    return open_page(shared).page


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("duration(0.85)", "850 µs"),
        ("duration(0)", "0 µs"),
        ("duration(12.44)", "12.4 ms"),
        ("duration(999.6)", "1.00 s"),
        ("duration(59949)", "59.9 s"),
        ("duration(59951)", "1 min 00 s"),
        ("duration(3_840_000)", "1 h 04 min"),
        ("duration(200_000_000)", "2 d 7 h"),
        ("duration(null)", "–"),
        ("ticking(-5)", "0 s"),
        ("percent(99.97)", "99.9 %"),
        ("percent(100)", "100.0 %"),
        ("percent(62.449)", "62.4 %"),
        ("value(0.00025)", "0.00025"),
        ("value(null)", "–"),
        ("offset(1500, 500)", "1.5 s"),
        ("offset(0.25, 0.05)", "0.25 ms"),
        (
            "Math.round((moment('2026-11-24T13:04:33.409062Z') - Date.UTC(2026, 10, 24, 13, 4, 33)) * 1000)",
            "409062",
        ),
        ("moment(null)", "null"),
        ("memory(812 * 2 ** 20)", "812 MiB"),
        ("memory(3 * 2 ** 29)", "1.5 GiB"),
        ("activity(0.98)", "one core busy (98 %)"),
        ("activity(3.9)", "4 cores busy (390 %)"),
        ("activity(0.23)", "partly busy (23 % CPU)"),
        ("activity(0)", "waiting (0 % CPU)"),
    ],
)
def test_numbers_and_times_are_said_as_people_read_them(call: str, said: str, page: Page) -> None:
    """Units fit the amount, microseconds survive, and 100 % is said of nothing that is not complete."""
    names = "duration, ticking, percent, value, offset, moment, memory, activity"
    found: str = page.evaluate(f"import('/page/format.js').then(({{ {names} }}) => String({call}))")
    assert found.replace("\u202f", " ").replace("\u00a0", " ") == said


def count(page: Page, order: str) -> dict[str, Any]:
    """What `Steps` counts when the rows come in that order, each twice."""
    found: dict[str, Any] = page.evaluate(
        f"""async () => {{
          const {{ Steps }} = await import('/page/steps.js');
          const rows = ({_MANY})().slice(0, 400);
          const open = rows.map((row) => ({{...row, ended_at: null, status: 'running'}}));
          const steps = new Steps();
          for (const each of {order}) steps.add(each);
          const cells = [...steps.symbols.values()].flatMap((symbol) => [...symbol.timeframes.values()]);
          return {{ rows: steps.rows.length,
            sorted: steps.rows.every((row, at) => at === 0 || steps.rows[at - 1].start <= row.start),
            counted: [...steps.items.values()].reduce((sum, item) => sum + item.count, 0),
            cells: cells.map((cell) => [cell.indicator.done, cell.fuzzy.done]) }};
        }}"""
    )
    return found


@pytest.mark.parametrize(
    "order",
    [
        "[rows]",
        "[rows, rows]",
        "[open, rows, open]",
        "rows.map((row) => [row]).reverse()",
        "[rows.slice(200), rows.slice(0, 250)]",
    ],
)
def test_steps_count_once_in_whatever_order_they_come(order: str, page: Page) -> None:
    """Twice, backwards, open after finished: the same rows, the same counts."""
    assert count(page, order) == {
        "rows": 400,
        "sorted": True,
        "counted": 400,
        "cells": [[100, 100], [100, 100]],
    }


def test_twenty_thousand_steps_stay_smooth(page: Page) -> None:
    """Scrolled and zoomed, a frame of the waterfall takes far less than a hundred times as long as with 200 of them.

    It prints the medians of 60: below 16 ms a screen misses no frame.
    """
    few, many = page.evaluate(
        f"""async () => {{
          const {{ Steps }} = await import('/page/steps.js');
          const {{ Waterfall }} = await import('/page/waterfall.js');
          const start = Date.UTC(2026, 0, 1);
          const frame = async (rows) => {{
            const steps = new Steps();
            steps.add(rows);
            const waterfall = new Waterfall();
            document.querySelector('main').replaceChildren(waterfall.node);
            waterfall.show(steps, start, start + 100_005, false);
            await new Promise(requestAnimationFrame);
            const times = [];
            for (let turn = 0; turn < 60; turn += 1) {{
              const began = performance.now();
              waterfall.box.scrollTop = turn * 5000;
              waterfall.span.zoom(turn % 20 < 10 ? 0.9 : 1.1, start + 40_000);
              waterfall.refresh();
              waterfall.picture.draw();
              waterfall.overview.draw(steps, start);
              times.push(performance.now() - began);
            }}
            waterfall.close();
            return times.sort((one, other) => one - other)[30];
          }};
          const rows = ({_MANY})();
          return [await frame(rows.slice(0, 200)), await frame(rows)];
        }}"""
    )
    print(f"\n{few:.1f} ms with 200 steps, {many:.1f} ms with 20,000")
    assert many < 100 * few


def test_what_is_too_much_to_draw_stays_counted(page: Page) -> None:
    """Of 60,000 steps at least the newest 50,000 can be drawn, and all are counted."""
    found = page.evaluate(
        f"""async () => {{
          const {{ Steps }} = await import('/page/steps.js');
          const steps = new Steps();
          for (const turn of [0, 1, 2])
            steps.add(({_MANY})().map((row) => ({{...row, span_id: `${{turn}} ${{row.span_id}}`}})));
          const counted = [...steps.items.values()].reduce((sum, item) => sum + item.count, 0);
          return {{ kept: steps.rows.length, left: steps.left, counted }};
        }}"""
    )
    assert found == {"kept": 50_000, "left": 10_000, "counted": 60_000}


def test_a_stall_is_told_with_activity_and_stack(page: Page) -> None:
    """A stalled operation has a banner that says since when, what the process does, and the stack as text."""
    page.evaluate(
        """async () => {
          const { Banner } = await import('/page/banner.js');
          const banner = new Banner();
          document.querySelector('main').replaceChildren(banner.node);
          const stall = { since: new Date(Date.now() - 65_500).toISOString().replace('Z', '000Z'), until: null,
            activity: 'one core busy, 98 %', stack: 'compute (zigzag.py:88)\\n<module> (train.py:1)' };
          banner.show({ status: 'running', stalled: true, message: 'Computing zigzag (8/40)', stall });
        }"""
    )
    notice = page.locator("[data-notice='stalled']")
    expect(notice).to_contain_text("Stalled for 1 min 05 s: alive, but no progress.")
    expect(notice).to_contain_text("one core busy, 98 % · Computing zigzag (8/40)")
    notice.locator("summary").click()
    expect(notice.locator("pre")).to_contain_text("<module> (train.py:1)")
    assert page.locator("main module").count() == 0


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://jaeger.example/trace/1", "https://jaeger.example/trace/1"),
        ("javascript:alert(1)", None),
        (" JAVASCRIPT:alert(1)", None),
        ("data:text/html,<script>1</script>", None),
        ("http://[", None),
        (None, None),
    ],
)
def test_only_web_addresses_become_links(address: str | None, link: str | None, page: Page) -> None:
    """A template could hold anything; a browser is sent to http and https alone."""
    found = page.evaluate("async (address) => (await import('/page/dom.js')).safeLink(address)", address)
    assert found == link
