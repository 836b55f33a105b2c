"""The page of a made-up sweep in a real browser: drawn, sorted, filtered, printed, dark, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from essnet.report import comparison_json, load_comparison
from essnet.report.page import write_page
from tests.browser import chromium
from tests.report.full_sweep import BEST, CLASS_NAMES, HOSTILE, make_full_sweep

pytestmark = pytest.mark.slow

CHARTS = {"heat-map", "cost-memory", "cost-time", "curves", "importance", "classes", "embeddings"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = make_full_sweep(tmp_path_factory.mktemp("runs") / "study")
    comparison = load_comparison(folder)
    path = folder.path / "comparison.html"
    write_page([comparison], path)
    return path, comparison_json([comparison])


@contextmanager
def opened(browser: Browser, path: Path, *, width: int = 1280, scripts: bool = True, **options: Any) -> Iterator[Page]:
    """Open a page; at the end there must have been no message, no dialog and no request but for the file itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, java_script_enabled=scripts, reduced_motion="reduce", **options
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    seen: list[str] = []
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: seen.append(request.url) if not request.url.startswith("data:") else None)
    try:
        page.goto(path.as_uri())
        if scripts:
            page.wait_for_selector("html[data-charts=drawn]")
        yield page
        assert seen == [path.as_uri()]
    finally:
        context.close()


def drawn_sizes(page: Page) -> dict[str, tuple[float, float]]:
    """Return the size of each interactive chart's drawing, by name."""
    found: dict[str, tuple[float, float]] = {}
    for place in page.locator(".chart.drawn .live").all():
        box = place.locator("svg.main-svg").first.bounding_box()
        _, name = str(place.get_attribute("id")).split("-", 1)  # behind the sweep's
        found[name] = (box["width"], box["height"]) if box else (0, 0)
    return found


@pytest.mark.parametrize("width", [400, 1280, 1920])
def test_every_chart_is_drawn_and_nothing_sticks_out(browser: Browser, written: Any, width: int) -> None:
    with opened(browser, written[0], width=width) as page:
        sizes = drawn_sizes(page)
        assert set(sizes) == CHARTS
        assert all(250 < across <= width and down > 150 for across, down in sizes.values()), sizes
        assert page.locator(".chart .static:visible").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for table in ("classes", "confusions", "failures"):
            box = page.locator(f"#study-{table}-part .scroll").first
            assert box.evaluate("(one) => one.scrollWidth <= one.clientWidth"), table
        # What plotly.js drew: cells, bars, lines and points, and not empty axes.
        for kind in (
            ".heatmaplayer image, .heatmaplayer rect",
            ".barlayer path",
            ".scatterlayer .js-line",
            ".point path",
        ):
            assert page.locator(kind).count() > 0, kind


def test_paper_has_the_pictures(browser: Browser, written: Any) -> None:
    with opened(browser, written[0]) as page:
        page.emulate_media(media="print")
        assert page.locator(".chart .live:visible").count() == 0
        assert page.locator(".chart .static:visible").count() == len(CHARTS)
        assert pictures_with_pixels(page) == len(CHARTS)
        assert page.locator("#table-configurations tbody tr:visible").count() == 14
        assert page.locator(".filter:visible").count() == 0
        assert page.locator("#table-trials-study tbody tr:visible").count() == 19  # folded up on the screen
        pages = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", page.pdf(format="A4"))
        lies_across = [float(width) > float(height) for width, height in pages]
        assert lies_across.count(True) == 1  # with all trials and their metrics
        assert len(lies_across) > 4
        page.emulate_media(media="screen")
        assert page.locator("#table-trials-study tbody tr:visible").count() == 0


def test_older_browsers_open_what_is_folded_up_for_paper_and_close_it_again(browser: Browser, written: Any) -> None:
    with opened(browser, written[0]) as page:
        closed = page.locator("details:not([open])")
        assert closed.count() == 2
        page.locator("summary", has_text="6 classes").click()
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert closed.count() == 0
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert closed.count() == 1


def pictures_with_pixels(page: Page) -> int:
    return int(
        page.evaluate("[...document.querySelectorAll('img.static')].filter((one) => one.naturalWidth > 300).length")
    )


def test_without_scripts_there_are_pictures_and_whole_tables(browser: Browser, written: Any) -> None:
    with opened(browser, written[0], scripts=False) as page:
        assert page.locator(".chart .static:visible").count() == len(CHARTS)
        assert all(str(one.get_attribute("alt")) for one in page.locator("img").all())
        boxes = [one.bounding_box() for one in page.locator(".chart .static").all()]
        assert all(box is not None and box["width"] > 300 and box["height"] > 150 for box in boxes)
        assert page.locator("#table-configurations tbody tr:visible").count() == 14
        assert page.locator(".filter:visible").count() == 0
        trials = page.locator("#table-trials-study tbody tr:visible")
        assert trials.count() == 0
        page.emulate_media(media="print")
        assert trials.count() == 19
        page.emulate_media(media="screen")
        page.locator("summary", has_text="19 trials").click()
        assert trials.count() == 19


def column(page: Page, title: str) -> list[str]:
    titles = [text.strip() for text in page.locator("#table-configurations thead th").all_inner_texts()]
    rows = page.locator("#table-configurations tbody tr:visible").all()
    return [row.locator("th, td").nth(titles.index(title)).inner_text() for row in rows]


def test_the_table_sorts_by_any_column(browser: Browser, written: Any) -> None:
    with opened(browser, written[0]) as page:
        button = page.locator("#table-configurations thead button", has_text="x MiB")
        button.click()
        falling = [float(text) for text in column(page, "x MiB")]
        assert falling == sorted(falling, reverse=True)
        assert falling[0] > falling[-1]
        button.press("Enter")
        assert [float(text) for text in column(page, "x MiB")] == falling[::-1]
        assert page.locator('th[aria-sort="ascending"]').inner_text().startswith("x MiB")
        page.locator("#table-configurations thead button", has_text="k").first.click()
        assert column(page, "k")[-2:] == ["-", "-"]  # what has none stays last
        page.locator("#table-configurations thead button", has_text="k").first.click()
        assert column(page, "k")[-2:] == ["-", "-"]
        page.locator("#table-configurations thead button", has_text="trial").click()
        names = column(page, "trial")
        assert names == sorted(names)


def test_the_table_is_filtered_by_words(browser: Browser, written: Any) -> None:
    with opened(browser, written[0]) as page:
        box = page.locator('input[data-filters="table-configurations"]')
        box.fill("EXACT")
        assert column(page, "trial") == ["017-exact"]
        assert page.locator("#configurations .count").inner_text() == "1 of 14"
        box.fill("knn 18.0")
        assert column(page, "d") == ["32"] * 4
        box.fill("nothing has this")
        assert column(page, "trial") == []
        box.fill("")
        assert len(column(page, "trial")) == 14


def test_a_click_on_a_point_leads_to_its_row(browser: Browser, written: Any) -> None:
    with opened(browser, written[0]) as page:
        page.locator('input[data-filters="table-configurations"]').fill("017-exact")  # its row is hidden then
        star = page.locator("#study-cost-memory .trace.scatter .point[d]").last  # the baseline's trace is the last
        star.scroll_into_view_if_needed()
        box = star.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator("#study-cost-memory .hoverlayer .hovertext").wait_for()
        assert "000-full" in str(page.locator("#study-cost-memory .hoverlayer").text_content())
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        chosen = page.locator("tr.chosen")
        chosen.wait_for()
        assert "000-full" in chosen.inner_text()


def test_the_answer_and_the_table_are_those_of_the_json(browser: Browser, written: Any) -> None:
    path, values = written
    with opened(browser, path) as page:
        assert page.locator(".answer").inner_text() == values["answer"]
        rows = dict(zip(column(page, "trial"), column(page, "val/miou"), strict=True))
        for one in values["configurations"]:
            (text,) = [text for name, text in rows.items() if name.split()[0] == one["trials"][0]]
            assert float(text.split()[0]) == pytest.approx(one["mean"], abs=5e-4)
        assert values["best"] == BEST
        assert column(page, "trial")[0].split()[0] == values["baseline"]


def test_names_and_errors_are_text_and_nothing_else(browser: Browser, written: Any) -> None:
    """`opened` sees the dialog that the name of a class would bring up."""
    with opened(browser, written[0]) as page:
        assert page.locator("script").count() == 5
        assert HOSTILE in page.locator("#study-failures-part").inner_text()
        assert HOSTILE in page.locator("#study-confusions-part").inner_text()
        assert HOSTILE in page.locator("#study-pictures-part .classes").inner_text()
        for chart in ("classes", "embeddings"):
            drawn = page.locator(f"#study-{chart} svg text").all_text_contents()
            assert any(HOSTILE in text for text in drawn), chart
            assert any("car $5$ | x" in text for text in drawn), chart


@pytest.mark.parametrize("view", ["phone", "paper", "dark"])
def test_the_pictures_have_a_legend_that_can_be_read(browser: Browser, written: Any, view: str) -> None:
    scheme = "dark" if view == "dark" else "light"
    with opened(browser, written[0], width=400 if view == "phone" else 1280, color_scheme=scheme) as page:
        page.emulate_media(media="print" if view == "paper" else "screen")
        entries = page.locator("#study-pictures-part .classes li")
        assert sorted(entries.all_inner_texts()) == sorted(CLASS_NAMES)
        background = str(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        colours = set()
        for entry in entries.all():
            box, swatch = entry.bounding_box(), entry.locator(".swatch").bounding_box()
            assert box is not None
            assert swatch is not None
            assert min(swatch["width"], swatch["height"]) > 8
            assert box["x"] + box["width"] <= (400 if view == "phone" else 1280)
            colours.add(entry.locator(".swatch").evaluate("(one) => getComputedStyle(one).borderTopColor"))
            assert contrast(entry.evaluate("(one) => getComputedStyle(one).color"), background) > 4.5
        assert len(colours) == len(CLASS_NAMES)


def luminance(colour: str) -> float:
    """Of `rgb(r, g, b)`, as WCAG has it."""
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_readable_charts_included(browser: Browser, written: Any, scheme: str) -> None:
    with opened(browser, written[0], color_scheme=scheme) as page:

        def style(selector: str, name: str) -> str:
            return str(page.locator(selector).first.evaluate(f"(one) => getComputedStyle(one).{name}"))

        background = style("body", "backgroundColor")
        assert (luminance(background) < 0.1) == (scheme == "dark")
        for selector in ("body", ".reading", "td", ".absent, figcaption", "summary"):
            assert contrast(style(selector, "color"), background) > 4.5, selector
        assert contrast(style("#study-curves .xtick text", "fill"), background) > 4.5
        assert contrast(style("tr.best td", "color"), style("tr.best td", "backgroundColor")) > 4.5


def test_a_change_of_scheme_reaches_the_charts(browser: Browser, written: Any) -> None:
    tick = "getComputedStyle(document.querySelector('#study-curves .xtick text')).fill"
    with opened(browser, written[0], color_scheme="light") as page:
        before = page.evaluate(tick)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"(before) => {tick} !== before", arg=before)
        assert luminance(str(page.evaluate(tick))) > 0.5


def test_the_file_is_small_and_has_no_way_out(written: Any) -> None:
    text = written[0].read_text(encoding="utf-8")
    assert written[0].stat().st_size < 10_000_000
    assert "default-src 'none'" in text
    assert "<script>alert" not in text
