"""Takes the pictures of MLflow's UI for docs/tracking.md: python -m docs.images.mlflow OUTPUT SWEEP, from the root.

Writes mlflow_comparison.png, mlflow_trials.png and mlflow_compare.png beside itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium
from tests.cli.running_ui import running_ui
from tests.cli.test_ui_in_browser import choose_metric, compare_trials, expand_sweep

_PATIENCE_MS = 120_000


def main() -> None:
    """Take the pictures."""
    output, sweep = Path(sys.argv[1]), sys.argv[2]
    expect.set_options(timeout=_PATIENCE_MS)
    with running_ui(output, sweep) as (_, address), chromium() as browser:
        page = _new_page(browser)
        page.goto(address)
        expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_attached()
        _take(page, "comparison")
        page = _new_page(browser)
        expand_sweep(page, address, sweep)
        _take(page, "trials")
        compare_trials(page)
        choose_metric(page, "val/miou")
        _take(page, "compare")


def _new_page(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1480, "height": 860})
    page.set_default_timeout(_PATIENCE_MS)
    return page


def _take(page: Page, name: str) -> None:
    assistant = page.locator('[data-component-id="mlflow.assistant.chat_panel.close"]')
    if assistant.is_visible():
        assistant.click()
    page.wait_for_timeout(3000)  # transitions
    path = Path(__file__).with_name(f"mlflow_{name}.png")
    page.screenshot(path=str(path))
    with Image.open(path) as picture:  # half the size
        fewer = picture.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    fewer.save(path, optimize=True)


if __name__ == "__main__":
    main()
