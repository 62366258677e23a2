"""The report's page: a self-contained HTML file, made from a run's folder."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from markupsafe import Markup

from kt.base.numbers import duration
from kt.report.reported import ReportedRun
from kt.report.sections import SECTIONS, Section
from kt.report.templates import filled

_TITLED = re.compile(r"""<section(?: aria-labelledby="[^"]*")?>\s*<h2(?: id="([^"]*)")?>(.*?)</h2>""", re.DOTALL)


@dataclass(frozen=True)
class _Entry:
    """A line of the contents: a section's title, and the id of its heading."""

    title: Markup
    anchor: str


@dataclass(frozen=True)
class _Page:
    """The data of the page's frame: the recipe's name and description, when and how it ran, and the sections.

    first: the sections before the contents, which have no heading.
    """

    name: str
    description: str
    facts: tuple[str, ...]
    rendered: bool
    contents: tuple[_Entry, ...]
    first: tuple[Markup, ...]
    sections: tuple[Markup, ...]


def render_page(run: ReportedRun, sections: Sequence[Section] = SECTIONS) -> str:
    """The whole page as text. sections: of the page, in this order; those without data are left out.

    A section that begins with `<section><h2>` is in the contents, which stand before the first such section.

    Raises ReleaseError, which names the entry, if the run's files are damaged.
    """
    recipe, gathered = run.report["recipe"], [(section, section.gather(run)) for section in sections]
    made = [section.html(data) for section, data in gathered if data is not None]
    titles = [found for html in made for found in _TITLED.finditer(html)]
    first = tuple(takewhile(lambda html: not _TITLED.search(html), made))
    page = _Page(
        name=recipe["name"].text(),
        description=recipe["description"].text(),
        facts=tuple(_facts(run)),
        rendered=run.report["data"]["rendered"].flag(),
        contents=tuple(_Entry(Markup(found[2]), _anchor(found)) for found in titles),  # noqa: S704 - escaped by a template
        first=first,
        sections=tuple(map(_anchored, made[len(first) :])),
    )
    return filled("page", page)


def _anchor(found: re.Match[str]) -> str:
    """The id of a heading: its own, or made of its letters: `the-test-pictures`."""
    return (
        found[1] or "-".join(re.findall(r"[a-z0-9]+", re.sub(r"<[^>]*>|&[^;]*;", " ", found[2]).lower())) or "section"
    )


def _anchored(html: Markup) -> Markup:
    """The section with an id at its heading, by which the section is named too."""

    def named(found: re.Match[str]) -> str:
        anchor = _anchor(found)
        return f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{found[2]}</h2>'

    return Markup(_TITLED.sub(named, html))  # noqa: S704 - the section is markup already


def _facts(run: ReportedRun) -> Iterator[str]:
    """When it ran, how long it took, and on which backend and version; missing facts are left out."""
    report = run.report
    started, seconds = report["started"].text(), report["seconds"].number_or_none()
    if started:
        yield started[:16].replace("T", " ")
    if seconds is not None:
        yield duration(seconds)
    if backend := report["backend"].text():
        yield f"{backend}, mixed precision" if report["mixed_precision"].flag() else backend
    if version := report["kt"].text():
        yield f"kt {version}"
