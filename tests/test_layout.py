"""The pages of a run and of a comparison in a real browser: nothing lies beside a narrow screen, or the paper."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the extra 'test'")

from playwright.sync_api import Browser, sync_playwright
from test_report import made_up

from kt.report import write
from kt.report.comparison import comparison_page
from kt.report.rates import write_rates

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

A4 = 703  # CSS pixels between margins of 12 mm
BESIDE = """() => [...document.querySelectorAll('td, th, svg, img, pre, p')]
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(one => one.tagName + ' ' + one.textContent.trim().slice(0, 40))"""
SCROLLED = """() => [...document.querySelectorAll('table')]
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .every(one => ['auto', 'scroll'].includes(getComputedStyle(one.closest('.scroll, .many')).overflowX))"""

LONG = "a_class_with_a_name_that_is_one_word_and_never_ends"


def comparison() -> str:
    rows = [
        {
            "name": name, "title": title, "weights": "imagenet", "balanced_accuracy": 0.7, "interval": [0.6, 0.8],
            "phases": [{"name": "train_head", "epochs": 5, "lr": 1e-3, "trainable": "kt.freeze.frozen"}],
            "validation_balanced_accuracy": 0.7, "seconds": 700.0, "error": None,
            "against_scratch": {"balanced_accuracy": 0.2, "interval": [0.1, 0.3], "p_value": 0.01,
                                "verdict": "positive"},
            "runs": [{"seed": 0, "balanced_accuracy": 0.7}],
        }
        for name, title in (("scratch", "from scratch"), ("probe_all", "linear probe, all depths"))
    ]  # fmt: skip
    return comparison_page(
        {
            "recipe": {"name": "leaves"}, "started": "2026-05-04T10:12:13", "seconds": 800.0, "backend": "tensorflow",
            "kt": "0.1.0", "finished": True, "seeds": [0, 1], "strategies": rows, "best": "probe_all", "curves": [],
            "verdict": "positive", "command": "kt compare recipes/leaves.py --data " + "photos/" * 20, "versions": {},
            "machine": {}, "notes": ["cut to fit the budget of 15 min 00 s: no learning curves"],
            "data": {"origin": "photos", "digest": "d1" * 32, "rendered": False, "classes": ["a", "b"],
                     "image_size": [224, 224], "pictures": {"train": 300, "test": 90}, "things": {"test": 90}},
            "plan": {"strategies": [{"name": "scratch", "epochs": 5, "steps": 400, "seconds": 90.0}], "seeds": 2,
                     "pictures": {"train": 300}, "shares": [], "estimated_seconds": 700.0, "budget_seconds": 900.0,
                     "cut": ["no learning curves"]},
            "transfer_gain": {"strategy": "probe_all", "balanced_accuracy": 0.2, "interval": [0.1, 0.3],
                              "p_value": 0.01, "verdict": "positive", "scratch_steps": 400, "pictures": 300,
                              "scratch_needs": None,
                              "strategy_needs": None},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    sizes = {"few": ("bad", LONG), "many": tuple(f"{LONG}_{i}" for i in range(12)), "most": tuple(map(str, range(30)))}
    for name, classes in sizes.items():
        write(*made_up(classes, images=2 * len(classes) + 36), folder / name)
    found = {name: folder / name / "report.html" for name in sizes}
    found["comparison"] = folder / "compare.html"
    found["comparison"].write_text(comparison(), encoding="utf-8")
    rates = {
        "recipe": "leaves", "phase": "fine_tune", "started": "2026-05-04T10:12:13", "seconds": 9.0, "seed": 0,
        "kt": "1", "first_loss": 1.0, "batch_losses": [1.0, 0.9, 2.0], "lr": 1e-5, "backend": "tensorflow",
        "suggested": 1e-4, "why": "it falls fastest there", "set": "--set fine_tune.lr=1e-4",
        "rates": [1e-5, 1e-4, 1e-3], "losses": [1.0, 0.8, 2.0], "smoothed": [1.0, 0.8, 2.0], "diverged_at": None,
        "measured_on": 100, "pictures": 200, "layer_rates": False, "command": "kt lr-find " + "photos/" * 20,
    }  # fmt: skip
    found["rates"] = write_rates(rates, folder)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=[] if os.geteuid() else ["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("name", ["few", "many", "most", "comparison", "rates"])
@pytest.mark.parametrize("width", [375, 768, 1280])
def test_the_page_is_as_wide_as_the_screen_and_wide_tables_scroll_in_their_box(
    name: str, width: int, pages: dict[str, Path], browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(pages[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SCROLLED)
    page.close()


@pytest.mark.parametrize("name", ["few", "many", "most", "comparison", "rates"])
def test_on_paper_every_column_lies_on_the_page(name: str, pages: dict[str, Path], browser: Browser) -> None:
    page = browser.new_page(viewport={"width": A4, "height": 1000})
    page.emulate_media(media="print")
    page.goto(pages[name].as_uri())
    assert page.evaluate(BESIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= A4
    page.close()
