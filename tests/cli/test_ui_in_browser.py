"""MLflow's own UI, as `launch.py ui` opens it, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import chromium
from tests.cli.running_ui import running_ui
from tests.cli.tracked_sweep import POINTS, D, K, make_tracked_sweep

pytestmark = pytest.mark.slow
TRIALS = [f"{index:03d}-{arm}" for index, (arm, _) in enumerate(POINTS)]
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("runs")
    make_tracked_sweep(folder)
    make_tracked_sweep(folder, name="other")
    with running_ui(folder, "s") as (_, printed):
        yield printed


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page


def test_the_printed_address_opens_on_the_comparison(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text("8 matching runs")).to_be_visible()  # and none of the other sweep
    links = page.locator(".ag-row a")
    expect(links).to_have_count(len(TRIALS))
    assert links.all_inner_texts() == TRIALS[::-1]  # the last is the best
    expect(page.get_by_text("sweep s", exact=True).first).to_be_visible()
    parallel = page.locator(".parcoords")
    expect(parallel).to_have_count(2)
    for index, axes in enumerate(([D, K, "val/miou"], [D, "val/miou"])):
        labels = parallel.nth(index).locator("text.label")
        expect(labels).to_have_count(len(axes))
        ends = [(label[:6], label[-4:]) for label in labels.all_text_contents()]  # long ones are shortened
        assert ends == [(axis[:6], axis[-4:]) for axis in axes]
    for cost in ("perf/loss_memory_mib", "perf/step_ms"):
        expect(page.get_by_text(f"{cost} vs. val/miou")).to_be_visible()


def test_a_sweep_expands_to_its_trials_and_they_compare(page: Page, address: str) -> None:
    trials = expand_sweep(page, address, "s")
    expect(trials).to_have_count(len(TRIALS))
    assert sorted(trials.all_inner_texts()) == TRIALS

    compare_trials(page)
    expect(page.get_by_text("Comparing 8 Runs from 1 Experiment")).to_be_visible()
    choose_metric(page, "val/miou")
    plot = page.locator(".js-plotly-plot").first
    for axis in (D, K, "val/miou"):
        expect(plot.locator(".axis-title", has_text=axis)).to_have_count(1)
    # What is drawn is what was logged, trial by trial.
    drawn = plot.evaluate("plot => Object.fromEntries(plot.data[0].dimensions.map(d => [d.label, d.values]))")
    shown = {miou: (d, k) for d, k, miou in zip(drawn[D], drawn[K], drawn["val/miou"], strict=True)}
    for miou, (arm, point) in zip(sorted(shown), POINTS, strict=True):
        if arm == "knn_softmax":
            assert shown[miou] == (point[D], point[K])
    assert sorted(drawn["val/miou"]) == pytest.approx([0.53 + index / 100 for index in range(len(TRIALS))])


def expand_sweep(page: Page, address: str, name: str) -> Locator:
    """Show the trials below a sweep in the list of runs; return their names."""
    page.goto(f"{address.partition('?')[0]}?compareRunsMode=TABLE")
    parent = page.locator(".ag-row").filter(has=page.get_by_role("link", name=f"sweep {name}", exact=True))
    expect(parent.first).to_be_visible()
    trials = page.locator(".ag-row a").filter(has_text=re.compile(r"^\d{3}-"))
    expect(trials).to_have_count(0)
    parent.locator("button").first.click()
    expect(trials.first).to_be_visible()
    return trials


def compare_trials(page: Page) -> None:
    """Tick all trials that are shown, and press Compare."""
    trials = page.locator(".ag-row").filter(has=page.locator("a").filter(has_text=re.compile(r"^\d{3}-")))
    for box in trials.locator(".ag-selection-checkbox input").all():
        box.check(force=True)
    page.get_by_role("button", name="Compare").click()


def choose_metric(page: Page, metric: str) -> None:
    """Have MLflow's page that compares runs show this metric alone."""
    box = page.get_by_role("combobox").nth(1)
    box.click()
    chosen = page.locator(".du-bois-light-select-item-option-selected")
    expect(chosen).to_have_count(1)
    first = chosen.get_attribute("title")
    if first != metric:
        for name in (metric, first):
            box.fill(str(name))  # of many metrics the list shows a part
            page.locator(f'.du-bois-light-select-item-option[title="{name}"]').click()
    page.keyboard.press("Escape")
