"""The sections of a run's page, one file each: their content, as typed data, and their HTML.

A section reads only the run's folder, so a page can be made again at any time. To add a section, write a file with
`gather` and `html` and put it into `SECTIONS`; docs/report.md has an example.
"""

from typing import Any, Protocol

from markupsafe import Markup

from kt.report.reported import ReportedRun
from kt.report.sections import (
    alike,
    artifacts,
    feature_map,
    findings,
    headlines,
    limits,
    more_pictures,
    next_steps,
    on_test,
    pictures,
    reproduce,
    slices,
    training,
    tried,
    unfamiliar,
    unsure,
    verdicts,
    where_it_looks,
    wrongest,
)


class Section(Protocol):
    """A part of the page: a module of this package, or any object with these two functions."""

    def gather(self, run: ReportedRun) -> Any:
        """The section's content, as a frozen dataclass; None leaves the section out.

        Raises ReleaseError if the run's files are damaged, as an `Entry` does by itself.
        """
        ...

    def html(self, data: Any) -> Markup:
        """The section as HTML. data: what `gather` gave, never None."""
        ...


SECTIONS: tuple[Section, ...] = (
    headlines,
    verdicts,
    next_steps,
    limits,
    alike,
    on_test,
    unsure,
    slices,
    unfamiliar,
    wrongest,
    feature_map,
    where_it_looks,
    more_pictures,
    findings,
    pictures,
    training,
    tried,
    artifacts,
    reproduce,
)
"""All sections, in the order of the page: first what decides whether to use the model, then how it came about."""
