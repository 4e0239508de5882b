"""What a chart says when one points at it, and when its data does not come; the curve of a backtest."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from console.common import clock
from deployments.backtests import work
from deployments.backtests.asked import Asked
from deployments.backtests.services import backtest_create
from tests.backtest import demand
from tests.pages.browser.conftest import Site

pytestmark = pytest.mark.browser

MINUTE = 60_000
START = 1_767_225_600_000  # 2026-01-01 00:00 UTC
SHOWN = """() => Chart.getChart('fleet-replicas').tooltip.dataPoints
    .map(one => `${one.dataset.label} ${one.formattedValue}`)"""


def data(**changes: Any) -> dict[str, Any]:
    """An hour: a sample a minute with a gap, one decision in the middle, a limit drawn by its two ends."""
    ready = [[START + MINUTE * at, None if 20 <= at < 25 else at] for at in range(61)]
    wanted = [[START, 5], [START + 30 * MINUTE, 40], [START + 60 * MINUTE, 40]]
    limit = [[START, 50], [START + 60 * MINUTE, 50]]
    return {"unit": "replicas", "from": START, "to": START + 60 * MINUTE, "span": 60 * MINUTE, "series": [
        {"name": "Ready", "color": "ok", "style": "area", "points": ready},
        {"name": "Wanted", "color": "accent", "style": "step", "points": wanted},
        {"name": "Max", "color": "warn", "style": "dashed", "points": limit},
    ], **changes}  # fmt: skip


def answering(answer: Callable[[Route], None], site: Site) -> Page:
    page = site.open(site.cast.viewer, "/claims")
    page.route("**/events*", lambda route: route.abort())
    page.route("**/charts/fleet/replicas.json*", answer)
    page.goto("/")
    return page


def with_data(found: dict[str, Any]) -> Callable[[Route], None]:
    return lambda route: route.fulfill(content_type="application/json", body=json.dumps(found))


def point_at(page: Page, minute: int) -> list[str]:
    """What the tooltip lists with the mouse over this minute of the hour."""
    canvas = page.locator("#fleet-replicas")
    canvas.scroll_into_view_if_needed()
    x, y = canvas.evaluate(f"""canvas => {{
        const {{ scales: {{ x }}, chartArea }} = Chart.getChart(canvas), box = canvas.getBoundingClientRect();
        return [box.left + x.getPixelForValue({START + minute * MINUTE}), box.top + (chartArea.top + chartArea.bottom) / 2];
    }}""")
    page.mouse.move(x, y)
    page.wait_for_timeout(200)
    found: list[str] = page.evaluate(SHOWN)
    return found


@pytest.fixture(autouse=True)
def without_a_stream_it_says_so(site: Site) -> None:
    """The stream is cut on purpose here, and an answer refused: the browser's own words about that are no complaint."""
    heard = site._note

    def note(message: Any) -> None:
        if "ERR_FAILED" not in message.text and "503" not in message.text:
            heard(message)

    site._note = note  # type: ignore[method-assign]


def test_pointing_at_a_chart_lists_all_series_at_that_moment(site: Site) -> None:
    page = answering(with_data(data()), site)
    expect(page.locator("#fleet-replicas-table tbody tr")).to_have_count(61)
    assert point_at(page, 10) == ["Ready 10", "Wanted 5", "Max 50"]
    assert point_at(page, 29) == ["Ready 29", "Wanted 5", "Max 50"], "what was decided holds until the next decision"
    assert point_at(page, 31) == ["Ready 31", "Wanted 40", "Max 50"]
    assert point_at(page, 22) == ["Wanted 5", "Max 50"], "where nothing was measured, nothing is said"


def test_pointing_at_a_note_or_into_a_hold_tells_it(site: Site) -> None:
    notes = [
        {"kind": "note", "text": "1.4 out", "at": START + 30 * MINUTE, "until": None, "moment": True},
        {
            "kind": "hold",
            "text": "Frozen: work",
            "at": START + 40 * MINUTE,
            "until": START + 50 * MINUTE,
            "moment": False,
        },
        {"kind": "hold", "text": "Pinned to 4", "at": START + 45 * MINUTE, "until": None, "moment": False},
    ]
    page = answering(with_data(data(notes=notes)), site)
    expect(page.locator("#fleet-replicas-table tbody tr")).to_have_count(61)
    for minute, told in ((10, []), (30, ["1.4 out"]), (42, ["Frozen: work"]), (47, ["Frozen: work", "Pinned to 4"]),
                         (55, ["Pinned to 4"])):  # fmt: skip
        point_at(page, minute)
        assert page.evaluate("() => Chart.getChart('fleet-replicas').tooltip.footer") == told, minute


def test_bars_list_the_day_that_is_pointed_at(site: Site) -> None:
    day = 24 * 60 * MINUTE
    series = [
        {"name": "a", "color": "info", "style": "line", "points": [[START + day * at, at + 1] for at in range(3)]},
        {"name": "b", "color": "ok", "style": "line", "points": [[START + day * 2, 7]]},
    ]
    page = site.open(site.cast.admin, "/claims")
    page.route("**/events*", lambda route: route.abort())
    page.route("**/charts/spend.json*", with_data(data(unit="USD", to=START + 2 * day, series=series)))
    page.goto("/")
    expect(page.locator("#fleet-spend-table tbody tr")).to_have_count(3)
    canvas = page.locator("#fleet-spend")
    canvas.scroll_into_view_if_needed()
    for at, said in ((0, ["a 1"]), (2, ["a 3", "b 7"])):
        x, y = canvas.evaluate(f"""canvas => {{
            const chart = Chart.getChart(canvas), box = canvas.getBoundingClientRect();
            const bar = chart.getDatasetMeta(0).data[{at}];
            return [box.left + bar.x, box.top + chart.chartArea.bottom - 3];
        }}""")
        page.mouse.move(x, y)
        page.wait_for_timeout(200)
        assert page.evaluate(SHOWN.replace("fleet-replicas", "fleet-spend")) == said


def test_a_chart_that_cannot_be_fetched_says_so_until_it_can(site: Site) -> None:
    broken = [True]

    def answer(route: Route) -> None:
        if broken[0]:
            route.fulfill(status=503, body="{}", content_type="application/json")
        else:
            with_data(data())(route)

    page = answering(answer, site)
    missing = page.locator("#fleet-replicas + [role=status]")
    expect(missing).to_have_text("This chart's data did not come. It is asked for again.")
    broken[0] = False
    page.evaluate("document.dispatchEvent(new CustomEvent('refresh-charts', { detail: null }))")
    expect(missing).to_have_count(0)
    assert point_at(page, 10) == ["Ready 10", "Wanted 5", "Max 50"]


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(site: Site) -> None:
    held: list[Route] = []
    page = answering(lambda route: held.append(route), site)
    page.evaluate("document.dispatchEvent(new CustomEvent('refresh-charts', { detail: null }))")
    page.wait_for_timeout(300)
    old, new = held
    rows = page.locator("#fleet-replicas-table tbody tr")
    with_data(data())(new)
    expect(rows).to_have_count(61)
    with_data(data(series=[{"name": "Ready", "color": "ok", "style": "area", "points": [[START, 1]]}]))(old)
    page.wait_for_timeout(300)
    expect(rows).to_have_count(61)


def test_a_table_that_leaves_rows_out_says_how_many(site: Site) -> None:
    many = [[START + 1000 * at, at] for at in range(300)]
    found = data(series=[{"name": "Ready", "color": "ok", "style": "area", "points": many}])
    page = answering(with_data(found), site)
    expect(page.locator("#fleet-replicas-table caption")).to_have_text("The newest 120 of 300 moments.")
    expect(page.locator("#fleet-replicas-table tbody tr")).to_have_count(120)


def test_what_was_made_afterwards_is_shaded_named_in_the_legend_and_told_in_the_table(site: Site) -> None:
    words = "Simulated history, made afterwards"
    made = {"from": START - 60 * MINUTE, "to": START + 20 * MINUTE, "text": words}
    page = answering(with_data(data(made=made)), site)
    expect(page.locator("#fleet-replicas-table tbody tr")).to_have_count(61)
    chart = "Chart.getChart('fleet-replicas')"
    assert page.evaluate(f"() => {chart}.legend.legendItems.map(one => one.text)") == ["Ready", "Wanted", "Max", words]
    box = page.evaluate(
        f"() => {{ const b = {chart}.options.plugins.annotation.annotations.made; return [b.xMin, b.xMax]; }}"
    )
    assert box == [made["from"], made["to"]]
    rows = page.locator("#fleet-replicas-table tbody tr")
    assert rows.nth(0).locator("td").last.text_content() == "samples"
    assert rows.nth(60).locator("td").last.text_content() == "simulation, made afterwards"
    told = f"() => {chart}.tooltip.footer"
    point_at(page, 10)
    assert page.evaluate(told) == [words]
    point_at(page, 40)
    assert page.evaluate(told) == []
    page.evaluate(
        f"() => {{ const c = {chart}, i = c.legend.legendItems[3]; c.legend.options.onClick.call(c.legend, {{}}, i, c.legend); }}"
    )
    visible = f"() => {chart}.data.datasets.map((_, at) => {chart}.isDatasetVisible(at))"
    assert page.evaluate(visible) == [True] * 3, "the legend's swatch is no switch"


def test_the_curve_of_a_backtest_is_drawn_in_the_colours_of_the_theme(site: Site) -> None:
    actor, one = site.cast.admin.actor, demand.deployment(site.cast)
    trace = b"timestamp_s\n" + b"".join(f"{at}\n".encode() for at in range(0, 1200, 3))
    asked = Asked(trace=trace, trace_name="noon.csv", baselines=["hpa"])
    run = backtest_create(actor=actor, deployment_id=one.id, asked=asked, now=clock.now())
    work.backtest_pass(now=clock.now())
    page = site.open(site.cast.viewer, f"/backtests/{run.id}")
    colors = "() => Chart.getChart('curve')?.data.datasets.map(one => one.borderColor)"
    page.wait_for_function(colors)
    light = page.evaluate(colors)
    assert len(light) == 3, "as set, the baseline, and the line over the target"
    assert all(one.startswith("rgb") for one in light)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => !({colors})().some(one => light.includes(one))", arg=light)
