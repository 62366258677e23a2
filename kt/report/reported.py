"""A run as its folder describes it: `report.json` and `shown.json`, each read once. Pages need nothing else."""

from dataclasses import dataclass, field
from pathlib import Path

from kt import kinds
from kt.base.console import shown as in_words
from kt.base.files import read_json
from kt.base.run_folder import REPORT, SHOWN
from kt.errors import ReleaseError, one_line
from kt.kinds.kind import Nouns
from kt.report.entry import Entry
from kt.report.shown import Shown

FORMAT = 1
"""Increased when a key of `report.json` changes its meaning or is removed, not for a new key."""

_MOST_BYTES = 2**28  # a confusion matrix of 3,000 classes takes 90 MB


@dataclass(frozen=True)
class ReportedRun:
    """The data that sections are made from.

    report: the content of `report.json`, whose keys docs/report.md explains. shown: the content of `shown.json`; empty
    where no pictures are shown, such as for the closing lines of a run.
    """

    report: Entry
    shown: Shown = field(default_factory=Shown)

    @property
    def nouns(self) -> Nouns:
        """What a person calls the run's examples."""
        return kinds.nouns(self.report["data"]["kind"].text())

    @classmethod
    def read(cls, folder: Path) -> "ReportedRun":
        """The run in this folder. Raises ReleaseError, with what to do, if its files are missing or damaged."""
        report, shown = (_read(folder, name) for name in (REPORT, SHOWN))
        if report["format"].value != FORMAT:
            raise ReleaseError(
                f"{report.file} is of format {report['format'].value!r}, and this kt reads {FORMAT}. Take the kt that "
                "wrote it, or a newer one."
            )
        return cls(report, Shown.from_json(shown))


def _read(folder: Path, name: str) -> Entry:
    file = in_words(folder / name)
    try:
        content = Entry(read_json(folder / name, most_bytes=_MOST_BYTES), file)
    except FileNotFoundError:
        why = "has no report yet" if name == REPORT else f"has no {name}: an earlier kt made it, and its page stays"
        raise ReleaseError(f"{in_words(folder)} {why}.") from None
    except ValueError as error:
        raise ReleaseError(
            f"{file} is damaged: {one_line(error)}. Put it back as the run wrote it, or run the recipe once more."
        ) from None
    if not isinstance(content.value, dict):
        raise content.damaged("an object")
    return content
