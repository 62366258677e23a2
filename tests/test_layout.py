"""Every page in a real browser: on a phone, on paper, light and dark, by keyboard, and with and without its script."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("playwright.sync_api", reason="needs the extra 'test'")

from axe_playwright_python.sync_playwright import Axe
from pages import PAGES, written
from playwright.sync_api import Browser, Page, expect, sync_playwright

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


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return written(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=[] if os.geteuid() else ["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_is_as_wide_as_the_screen_and_wide_tables_scroll_in_their_box(
    name: str, width: int, pages: dict[str, Path], browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(pages[name].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SCROLLED)
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_every_column_lies_on_the_page(name: str, pages: dict[str, Path], browser: Browser) -> None:
    page = browser.new_page(viewport={"width": A4, "height": 1000})
    page.emulate_media(media="print")
    page.goto(pages[name].as_uri())
    assert page.evaluate(BESIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= A4
    page.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (768, "light"), (1280, "light"), (1280, "dark")])
def test_axe_finds_nothing_that_keeps_people_out(
    name: str, width: int, scheme: Literal["light", "dark"], pages: dict[str, Path], browser: Browser
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(pages[name].as_uri())
    found = Axe().run(page).response
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
    assert "color-contrast" in {each["id"] for each in found["passes"]}  # AA, in this colour scheme
    page.close()


@pytest.fixture
def report(pages: dict[str, Path], browser: Browser) -> Iterator[Page]:
    """The report of thirty classes; it may not ask for anything, or complain."""
    page, asked, complaints = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(pages["most"].as_uri())
    yield page
    assert [url for url in asked if not url.startswith("data:")] == [pages["most"].as_uri()]
    assert complaints == []
    page.close()


def column(page: Page, caption: str, place: int) -> list[str]:
    return page.get_by_role("table", name=caption).locator(f"tbody tr > :nth-child({place})").all_text_contents()


def test_a_column_sorts_by_its_numbers_up_and_down_and_says_so(report: Page) -> None:
    caption = "The classes, the lowest F1 first"
    table = report.get_by_role("table", name=caption)
    recall = table.get_by_role("columnheader", name="recall")
    expect(recall).to_have_attribute("aria-sort", "none")
    rows = table.locator("tbody tr")
    rows.evaluate_all("all => all.forEach((row, i) => { row.cells[2].textContent = ((i * 7) % 30 / 30).toFixed(3); })")
    before = column(report, caption, 3)
    recall.get_by_role("button").click()
    expect(recall).to_have_attribute("aria-sort", "ascending")
    assert column(report, caption, 3) == sorted(before, key=float) != before
    recall.get_by_role("button").press("Enter")
    expect(recall).to_have_attribute("aria-sort", "descending")
    assert column(report, caption, 3) == sorted(before, key=float, reverse=True)
    table.get_by_role("columnheader", name="class").get_by_role("button").click()
    expect(recall).to_have_attribute("aria-sort", "none")
    assert column(report, caption, 1) == [str(i) for i in range(30)]  # 2 before 10


def test_sizes_and_times_sort_by_what_they_are_and_dashes_come_last(report: Page) -> None:
    caption = "What was exported, and how it answers compared with the trained model on the test pictures"
    body = report.get_by_role("table", name=caption).locator("tbody")
    body.evaluate(
        """body => {
            for (const [text, key] of [["950 kB", "950000"], ["\u2013", ""], ["12.5 MB", "12500000"]]) {
                const row = body.rows[0].cloneNode(true);
                row.cells[6].textContent = text;
                row.cells[6].dataset.sort = key;
                body.append(row);
            }
        }"""
    )
    size = report.get_by_role("table", name=caption).get_by_role("columnheader", name="size")
    size.get_by_role("button").click()
    assert column(report, caption, 7) == ["950 kB", "9.1 MB", "9.1 MB", "12.5 MB", "\u2013"]
    size.get_by_role("button").click()
    assert column(report, caption, 7) == ["12.5 MB", "9.1 MB", "9.1 MB", "950 kB", "\u2013"]


def test_a_long_table_finds_a_row_and_says_how_many_there_are(report: Page) -> None:
    table = report.get_by_role("table", name="The classes, the lowest F1 first")
    field = report.get_by_role("searchbox", name="Find").first
    field.fill("29")
    expect(table.locator("tbody tr:visible")).to_have_count(1)
    expect(report.locator(".filter output").first).to_have_text("1 of 30")
    field.fill("")
    expect(table.locator("tbody tr:visible")).to_have_count(30)


def test_the_keyboard_reaches_what_scrolls_and_shows_where_it_is(report: Page) -> None:
    report.set_viewport_size({"width": 360, "height": 800})
    box = report.get_by_role("group", name="What was exported")
    expect(box).to_have_attribute("tabindex", "0")
    box.focus()
    report.keyboard.press("ArrowRight")
    report.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())
    report.keyboard.press("Tab")
    shown = "() => getComputedStyle(document.activeElement).outlineStyle + document.activeElement.tagName"
    assert report.evaluate(shown) == "solidBUTTON"
    report.set_viewport_size({"width": 1600, "height": 800})
    expect(box).not_to_have_attribute("tabindex", "0")  # it does not scroll, so nobody needs to stop there


def test_what_is_folded_opens_for_the_printer_and_closes_again(report: Page) -> None:
    folded = report.locator("details")
    before = folded.evaluate_all("all => all.map(one => one.open)")
    assert not all(before)
    report.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.evaluate_all("all => all.every(one => one.open)")
    report.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.evaluate_all("all => all.map(one => one.open)") == before


def test_without_scripts_the_page_has_the_same_content(pages: dict[str, Path], browser: Browser, report: Page) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["most"].as_uri())
    assert page.locator("th button, .filter").count() == 0
    for selector in ("h1, h2, h3", "td", "svg", "img", "caption"):
        assert page.locator(selector).count() == report.locator(selector).count() > 0
    context.close()


def test_no_other_script_runs_on_the_page(pages: dict[str, Path], browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(
        pages["few"].read_text(encoding="utf-8").replace(
            "</main>", "<script>document.title = 'mine'</script><p onclick=\"document.title = 'mine'\">click</p></main>"
        )
    )  # fmt: skip
    page.get_by_text("click", exact=True).click()
    assert page.title() == "apples: report"
    assert page.locator("th button").count() > 0  # its own script does
    page.close()


def test_paper_is_light_whatever_the_screen_is(pages: dict[str, Path], browser: Browser) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(pages["few"].as_uri())
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 252)" != dark
    page.close()
