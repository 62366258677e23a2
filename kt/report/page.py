"""The report's page: a self-contained HTML file, made from a run's folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kt.base.numbers import duration
from kt.report.reported import ReportedRun
from kt.report.sections import SECTIONS, Section
from kt.report.templates import filled


@dataclass(frozen=True)
class _Page:
    """The data of the page's frame: the recipe's name and description, when and how it ran, and the sections."""

    name: str
    description: str
    facts: tuple[str, ...]
    rendered: bool
    sections: tuple[Markup, ...]


def render_page(run: ReportedRun, sections: Sequence[Section] = SECTIONS) -> str:
    """The whole page as text. sections: of the page, in this order; those without data are left out.

    Raises ReleaseError, which names the entry, if the run's files are damaged.
    """
    recipe, gathered = run.report["recipe"], [(section, section.gather(run)) for section in sections]
    page = _Page(
        name=recipe["name"].text(),
        description=recipe["description"].text(),
        facts=tuple(_facts(run)),
        rendered=run.report["data"]["rendered"].flag(),
        sections=tuple(section.html(data) for section, data in gathered if data is not None),
    )
    return filled("page", page)


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
