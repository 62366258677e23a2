"""Facts of every page that need no browser: it reads well without sight, without colour vision and without scripts."""

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from pages import PAGES, written

STYLE = Path(__file__).parent.parent / "kt" / "report" / "page.css"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = written(tmp_path_factory.mktemp("pages"))
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


class Outline(HTMLParser):
    """The elements of a page, with their attributes and the elements that they are in."""

    VOID = ("meta", "img", "br", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.text: Counter[str] = Counter()
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open:
            self.text[self._open[-1]] += 1

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes, _ in self.elements if tag in tags]


@pytest.fixture(params=PAGES)
def outline(request: pytest.FixtureRequest, pages: dict[str, str]) -> Outline:
    return Outline(pages[request.param])


def test_each_page_has_its_landmarks_its_language_and_one_title(outline: Outline) -> None:
    for tag in ("header", "main", "footer", "h1"):
        assert len(outline.named(tag)) == 1, tag
    assert [above for tag, _, above in outline.elements if tag == "title" and "svg" not in above] == [("html", "head")]
    assert outline.named("html") == [{"lang": "en"}]
    for attributes in outline.named("nav"):
        assert attributes["aria-label"]


def test_headings_begin_at_1_and_never_skip_a_level(outline: Outline) -> None:
    levels = [int(tag[1]) for tag, _, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_each_picture_and_each_chart_has_words(outline: Outline) -> None:
    assert all(attributes.get("alt") for attributes in outline.named("img"))
    for tag, attributes, above in outline.elements:
        if tag == "svg" and "svg" not in above and attributes.get("aria-hidden") != "true":
            assert attributes["role"] in ("img", "group") and len(attributes["aria-label"] or "") > 20


def test_each_table_has_a_caption_and_each_head_says_what_it_heads(outline: Outline) -> None:
    tables = outline.named("table")
    assert len(outline.named("caption")) == len(tables)
    assert {attributes.get("scope") for attributes in outline.named("th")} <= {"col", "row"}
    for tag, _, above in outline.elements:
        if tag == "table":  # a wide one scrolls in its own box
            assert above[-1] == "div"


def test_ids_are_unique_and_each_link_leads_to_one(outline: Outline) -> None:
    ids = Counter(attributes["id"] for _, attributes, _ in outline.elements if "id" in attributes)
    assert [name for name, number in ids.items() if number > 1] == []
    for _, attributes, _ in outline.elements:
        for name in ("aria-labelledby", "for"):
            assert attributes.get(name) is None or attributes[name] in ids
        if (address := attributes.get("href")) is not None:
            assert address.startswith("data:image/") or (address.startswith("#") and address[1:] in ids)


def test_no_address_leads_outside_and_nothing_but_one_script_runs(outline: Outline) -> None:
    for tag, attributes, _ in outline.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "video", "audio")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert (value or "").startswith(("#", "data:image/"))
            elif name not in ("alt", "title", "aria-label"):
                assert "//" not in (value or "")
    assert outline.named("script") == [{}]


def test_boxes_that_scroll_can_be_reached_and_have_a_name(outline: Outline) -> None:
    for attributes in outline.named("div"):
        if attributes.get("class") in ("scroll", "many"):
            assert attributes["tabindex"] == "0" and attributes["role"] == "group" and attributes["aria-label"]


def test_the_contents_lead_to_every_titled_section_of_a_report(pages: dict[str, str]) -> None:
    for name in ("few", "most"):
        links = re.findall(r'<li><a href="#([^"]+)">', pages[name])
        titled = re.findall(r'<section aria-labelledby="([^"]+)"><h2 id="\1">', pages[name])
        assert links == titled and len(links) > 8
        assert links[:2] == ["can-i-trust-it", "what-to-do-next"]


# ------------------------------------------------------------------------------------------------------------- colours


def colours(dark: bool) -> dict[str, tuple[float, float, float]]:
    """The colours of the style sheet in one scheme, red, green and blue from 0 to 1."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, tuple[float, float, float]] = {}
    for block in blocks[: 2 if dark else 1]:
        for name, value in re.findall(r"--([\w-]+): ([^;]+);", block):
            if value.startswith("#"):
                found[name] = tuple(int(value[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[assignment]
            else:
                found[name] = tuple(int(part) / 255 for part in value.split())  # type: ignore[assignment]
    return found


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast ratio of WCAG 2: 1 to 21."""

    def luminance(colour: tuple[float, ...]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT = [
    ("ink", "ground"), ("ink", "card"), ("quiet", "ground"), ("quiet", "card"), ("first", "ground"), ("first", "card"),
    ("good", "good-ground"), ("bad", "bad-ground"), ("ink", "good-ground"), ("ink", "bad-ground"), ("bad", "ground"),
]  # fmt: skip
GRAPHICS = [
    ("first", "ground"),
    ("second", "ground"),
    ("edge", "ground"),
    ("good", "good-ground"),
    ("bad", "bad-ground"),
]


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_charts_stand_out_from_what_is_behind_them(dark: bool) -> None:
    palette = colours(dark)
    for front, back in TEXT:
        assert contrast(palette[front], palette[back]) >= 4.5, (front, back)  # WCAG 2, AA
    for front, back in GRAPHICS:
        assert contrast(palette[front], palette[back]) >= 3, (front, back)


@pytest.mark.parametrize("dark", [False, True])
def test_the_numbers_of_a_confusion_matrix_stand_out_at_every_shade(dark: bool) -> None:
    palette = colours(dark)
    for step in range(0, 66, 5):  # the template gives a full row 0.65
        mixed = tuple(
            step / 100 * shade + (1 - step / 100) * ground
            for shade, ground in zip(palette["shade"], palette["ground"], strict=True)
        )
        assert contrast(palette["ink"], mixed) >= 4.5, step


def test_the_ratio_is_that_of_wcag() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert contrast((0x76 / 255,) * 3, (1, 1, 1)) == pytest.approx(4.54, abs=0.01)


# ---------------------------------------------------------------------------------------------------------------- size


def test_a_run_of_two_thousand_pictures_has_a_page_below_five_megabytes(tmp_path: Path) -> None:
    from test_report import made_up

    from kt.report import write

    results, splits, scores = made_up(tuple(f"kind {i}" for i in range(20)), images=500)  # 1,000 train, 500, 500
    write(results, splits, scores, tmp_path)
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == 2000
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
